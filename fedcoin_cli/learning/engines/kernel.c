/* Counts of coalitions on a CPU. All coalitions of a list are evaluated on one block of LANES images before the next
   block, so that what a block needs stays in a core's cache. `kernel.py` prepares the arrays.

   A coalition's sum over its members is built by additions only, from the sum of an earlier coalition that is a
   proper subset: a stack holds a nested chain of them. Ascending masks and the prefixes of a ranking cost one addition
   each. Nothing is ever subtracted: no sum drifts, and none remembers who is not a member.

   No running sum is long, whoever chose the numbers: a layer adds at most BLOCK products before it goes on with a new
   sum, and a chain of members at most CHAIN. `tolerance.py` derives from that how far rounding can move a logit.

   The vectors are those of GCC and Clang: the same text becomes AVX-512, AVX2, SSE or NEON. The file includes itself
   twice: what stands below its #else is compiled for float and for double. */

#ifndef REAL
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, TILE = 10, EVEN = 8 };
#elif defined(__AVX__)
enum { WIDTH = 8, TILE = 5, EVEN = 4 };
#else
enum { WIDTH = 4, TILE = 5, EVEN = 4 };
#endif
enum { LANES = 32, BLOCK = 32, CHAIN = 64, PAIR = 2, SIDE = 2 };

typedef int32_t integers __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

/* Outputs of a layer are computed TILE at a time, else EVEN or PAIR: the first by which their number can be divided. Pairs
   take twice as long each. Callers round a number of units up to this. */
int32_t fedcoin_padded(int32_t units)
{
    int32_t tiles = (units + TILE - 1) / TILE * TILE, evens = (units + EVEN - 1) / EVEN * EVEN;
    int32_t pairs = (units + PAIR - 1) / PAIR * PAIR, best = evens < tiles ? evens : tiles;
    return 2 * pairs < best ? pairs : best;
}

/* Cuts the stack down to proper subsets of `mask`. Returns how many members are to be added, which are in `missing`. */
static int32_t unwind(const uint64_t *stack, int32_t *depth, const uint64_t *mask, int32_t words, uint64_t *missing)
{
    for (;; --*depth) {
        uint64_t foreign = 0;
        int32_t number = 0;
        for (int32_t w = 0; w < words; w++) {
            uint64_t held = stack[*depth * words + w];
            foreign |= held & ~mask[w];
            missing[w] = mask[w] & ~held;
            number += __builtin_popcountll(missing[w]);
        }
        if (!foreign && number)
            return number;
    }
}

/* Puts the stack's top and the highest of the missing members on top of the stack. Returns that member. */
static int32_t join(uint64_t *stack, int32_t depth, int32_t words, uint64_t *missing)
{
    uint64_t *top = stack + (depth + 1) * words;
    int32_t highest = 0;
    for (int32_t w = 0; w < words; w++) {
        top[w] = top[w - words];
        highest = missing[w] ? w : highest;
    }
    int32_t bit = 63 - __builtin_clzll(missing[highest]);
    top[highest] |= (uint64_t)1 << bit;
    missing[highest] ^= (uint64_t)1 << bit;
    return 64 * highest + bit;
}

/* Adds to `counts` the correct images in the blocks from..to-1 of each non-empty mask.

   first: weighted first pre-activations (blocks, clients, units[0], LANES); labels, sizes: (blocks)
   masks: (number, words); units: (layers + 1), of the first layer and of the `layers` above it, rounded up
   relu: (layers), what stands below each: 0 nothing, 1 a ReLU, 2 tanh, 3 a sigmoid; kernels, biases: (number, ...), the
   aggregates' layers above the first; weights: (number), of the members, which their sums have been multiplied by
   stack: (clients + 2, words), zero; sums: (clients + 1, units[0], LANES), zero, of the members since the last whole
   chain; bases: (clients / CHAIN + 1, units[0], LANES), zero, of whole chains; values: (2, widest, LANES) */
void fedcoin_counts(
    const float *first, const int32_t *labels, const int32_t *sizes, int32_t from, int32_t to, int32_t clients,
    const uint64_t *masks, int32_t words, int32_t number, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const float *kernels, const float *biases, const float *weights,
    uint64_t *stack, float *sums, float *bases, float *values, int32_t widest, int32_t *counts);
void fedcoin_counts_wide(
    const float *first, const int32_t *labels, const int32_t *sizes, int32_t from, int32_t to, int32_t clients,
    const uint64_t *masks, int32_t words, int32_t number, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const double *kernels, const double *biases, const double *weights,
    uint64_t *stack, double *sums, double *bases, double *values, int32_t widest, int32_t *counts);

#define REAL float
#define INTEGER int32_t
#define COUNTS fedcoin_counts
#include "kernel.c"

#undef REAL
#undef INTEGER
#undef COUNTS
#define REAL double
#define INTEGER int64_t
#define COUNTS fedcoin_counts_wide
#define LONG WIDE_LONG
#define VECTORS WIDE_VECTORS
#define reals wide_reals
#define bits wide_bits
#define narrow wide_narrow
#define tile wide_tile
#define tiles wide_tiles
#define correct wide_correct
#define larger wide_larger
#define smaller wide_smaller
#define within wide_within
#define power wide_power
#define bend wide_bend
#include "kernel.c"

#else /* REAL, INTEGER of the same size, COUNTS, and the names below: once for float, once for double */

enum { LONG = 4 * WIDTH / sizeof(REAL), VECTORS = LANES / LONG };
typedef REAL reals __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef INTEGER bits __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef float narrow __attribute__((vector_size(4 * LONG), aligned(4), may_alias));
#include "curves.h"

/* `size` outputs of a dense layer, relu(x) * kernel + bias. With `joining`, x + joining takes the place of x and is kept
   in `sum`: the last member is added on the way; `base` is what stands below its chain.
   x, joining, base, sum: (inputs, VECTORS); kernel: (inputs, outputs). */
static inline __attribute__((always_inline)) void tile(
    const REAL *kernel, const REAL *bias, int32_t size, int32_t inputs, int32_t outputs, int32_t relu, const reals *x,
    const narrow *joining, const reals *base, reals *sum, reals *y)
{
    for (int32_t side = 0; side < VECTORS; side += SIDE)
        for (int32_t start = 0; start < inputs; start += BLOCK) {
            int32_t end = inputs - start > BLOCK ? start + BLOCK : inputs;
            reals total[TILE][SIDE];
            for (int32_t t = 0; t < size; t++)
                for (int32_t v = 0; v < SIDE; v++)
                    total[t][v] = (start ? 0 : bias[t]) - (reals){0};
            for (int32_t i = start; i < end; i++) {
                reals in[SIDE];
                for (int32_t v = 0; v < SIDE; v++) {
                    int32_t at = i * VECTORS + side + v;
                    in[v] = x[at];
                    if (joining)
                        sum[at] = in[v] += __builtin_convertvector(joining[at], reals);
                    if (base)
                        in[v] += base[at];
                    if (relu)
                        in[v] = larger(in[v], (reals){0});
                }
                for (int32_t t = 0; t < size; t++)
                    for (int32_t v = 0; v < SIDE; v++)
                        total[t][v] += kernel[i * outputs + t] * in[v];
            }
            for (int32_t t = 0; t < size; t++)
                for (int32_t v = 0; v < SIDE; v++) {
                    int32_t at = t * VECTORS + side + v;
                    if (start)
                        total[t][v] += y[at];
                    y[at] = total[t][v];
                }
        }
}

/* All outputs of one, `size` at a time. */
static inline __attribute__((always_inline)) void tiles(
    const REAL *kernel, const REAL *bias, int32_t size, int32_t inputs, int32_t outputs, int32_t relu, const reals *x,
    const narrow *joining, const reals *base, reals *sum, reals *y)
{
    if (joining && base)
        tile(kernel, bias, size, inputs, outputs, relu, x, joining, base, sum, y);
    else if (joining)
        tile(kernel, bias, size, inputs, outputs, relu, x, joining, 0, sum, y);
    for (int32_t o = joining ? size : 0; o < outputs; o += size)
        if (base)
            tile(kernel + o, bias + o, size, inputs, outputs, relu, sum, 0, base, 0, y + o * VECTORS);
        else
            tile(kernel + o, bias + o, size, inputs, outputs, relu, sum, 0, 0, 0, y + o * VECTORS);
}

/* Of the first `size` images those whose logit of class `label` is above all lower classes, below no higher one. */
static int32_t correct(const reals *logits, int32_t classes, int32_t label, int32_t size)
{
    INTEGER right[LANES];
    int32_t count = 0;
    for (int32_t v = 0; v < VECTORS; v++) {
        reals own = logits[label * VECTORS + v];
        bits all = own == own;
        for (int32_t c = 0; c < label; c++)
            all &= own > logits[c * VECTORS + v];
        for (int32_t c = label + 1; c < classes; c++)
            all &= own >= logits[c * VECTORS + v];
        memcpy(right + v * LONG, &all, sizeof all);
    }
    for (int32_t lane = 0; lane < size; lane++)
        count -= right[lane];
    return count;
}

/* As declared above. */
void COUNTS(
    const float *first, const int32_t *labels, const int32_t *sizes, int32_t from, int32_t to, int32_t clients,
    const uint64_t *masks, int32_t words, int32_t number, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const REAL *kernels, const REAL *biases, const REAL *weights,
    uint64_t *stack, REAL *sums, REAL *bases, REAL *values, int32_t widest, int32_t *counts)
{
    size_t row = (size_t)units[0] * LANES;
    int32_t vectors = units[0] * VECTORS;
    uint64_t *missing = stack + (size_t)(clients + 1) * words;
    for (int32_t block = from, depth = 0; block < to; block++, depth = 0) {
        const REAL *kernel = kernels, *bias = biases;
        for (int32_t m = 0; m < number; m++) {
            const reals *x = 0, *base = 0;
            const narrow *joining = 0;
            reals *y = 0;
            int32_t left = unwind(stack, &depth, masks + (size_t)m * words, words, missing);
            while (left--) {
                joining = (const narrow *)(first + ((size_t)block * clients + join(stack, depth, words, missing)) * row);
                x = (const reals *)(sums + (depth % CHAIN ? depth : 0) * row);
                base = depth < CHAIN ? 0 : (const reals *)(bases + depth / CHAIN * row);
                for (int32_t i = 0; i < vectors && base && depth % CHAIN == 0; i++)
                    ((reals *)base)[i] = base[i - vectors] + ((const reals *)(sums + depth * row))[i];
                y = (reals *)(sums + ++depth * row);
                for (int32_t i = 0; i < vectors && (left || !layers || relu[0] >= TANH); i++)
                    y[i] = x[i] + __builtin_convertvector(joining[i], reals);
            }
            for (int32_t layer = 0; layer < layers; layer++) {
                int32_t inputs = units[layer], outputs = units[layer + 1], bent = relu[layer], fused = !layer;
                reals *sum = y;
                if (bent >= TANH) {
                    sum = layer ? y : (reals *)(values + (size_t)widest * LANES);
                    bend(y, base, sum, inputs * VECTORS, bent, weights[m]);
                    bent = fused = 0;
                }
                if (bent != relu[layer] || layer)
                    base = 0;
                y = (reals *)(values + (size_t)(layer % 2) * widest * LANES);
                if (!fused)
                    joining = 0;
                if (outputs % TILE == 0)
                    tiles(kernel, bias, TILE, inputs, outputs, bent, x, joining, base, sum, y);
                else if (outputs % EVEN == 0)
                    tiles(kernel, bias, EVEN, inputs, outputs, bent, x, joining, base, sum, y);
                else
                    tiles(kernel, bias, PAIR, inputs, outputs, bent, x, joining, base, sum, y);
                kernel += (size_t)inputs * outputs;
                bias += outputs;
            }
            if (!layers && base) {
                const reals *sum = y;
                y = (reals *)values;
                for (int32_t i = 0; i < vectors; i++)
                    y[i] = sum[i] + base[i];
            }
            counts[m] += correct(y, classes, labels[block], sizes[block]);
        }
    }
}
#endif
