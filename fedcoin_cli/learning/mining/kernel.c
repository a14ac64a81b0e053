/* Counts of coalitions on a CPU. All coalitions of a list are evaluated on one block of LANES images before the next
   block, so that what a block needs stays in a core's cache. `kernel.py` and `votes.py` prepare the arrays.

   A coalition's sum over its members is built by additions only, from the sum of an earlier coalition that is a
   proper subset: a stack holds a nested chain of them. Ascending masks and the prefixes of a ranking cost one addition
   each. Nothing is ever subtracted: no sum drifts, and none remembers who is not a member.

   The vectors are those of GCC and Clang: the same text becomes AVX-512, AVX2, SSE or NEON. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, TILE = 10, SIDE = 2 };
#elif defined(__AVX__)
enum { WIDTH = 8, TILE = 5, SIDE = 2 };
#else
enum { WIDTH = 4, TILE = 5, SIDE = 2 };
#endif
enum { LANES = 32, VECTORS = LANES / WIDTH };

typedef float floats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

/* Outputs of a layer are computed TILE at a time: callers round their number up. */
int32_t fedcoin_tile(void) { return TILE; }

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

/* TILE outputs of a dense layer, relu(x) * kernel + bias. With `joining`, x + joining takes the place of x and is kept
   in `sum`: the last member is added on the way. x, joining, sum: (inputs, VECTORS); kernel: (inputs, outputs). */
static inline __attribute__((always_inline)) void tile(
    const float *kernel, const float *bias, int32_t inputs, int32_t outputs, int32_t relu, const floats *x,
    const floats *joining, floats *sum, floats *y)
{
    for (int32_t side = 0; side < VECTORS; side += SIDE) {
        floats total[TILE][SIDE];
        for (int32_t t = 0; t < TILE; t++)
            for (int32_t v = 0; v < SIDE; v++)
                total[t][v] = bias[t] - (floats){0};
        for (int32_t i = 0; i < inputs; i++) {
            floats in[SIDE];
            for (int32_t v = 0; v < SIDE; v++) {
                int32_t at = i * VECTORS + side + v;
                in[v] = x[at];
                if (joining)
                    sum[at] = in[v] += joining[at];
                if (relu)
                    in[v] = (floats)((integers)in[v] & (in[v] > 0));
            }
            for (int32_t t = 0; t < TILE; t++)
                for (int32_t v = 0; v < SIDE; v++)
                    total[t][v] += kernel[i * outputs + t] * in[v];
        }
        for (int32_t t = 0; t < TILE; t++)
            for (int32_t v = 0; v < SIDE; v++)
                y[t * VECTORS + side + v] = total[t][v];
    }
}

/* Of the first `size` images those whose logit of class `label` is above all lower classes, below no higher one. */
static int32_t correct(const floats *logits, int32_t classes, int32_t label, int32_t size)
{
    int32_t right[LANES], count = 0;
    for (int32_t v = 0; v < VECTORS; v++) {
        floats own = logits[label * VECTORS + v];
        integers all = own == own;
        for (int32_t c = 0; c < label; c++)
            all &= own > logits[c * VECTORS + v];
        for (int32_t c = label + 1; c < classes; c++)
            all &= own >= logits[c * VECTORS + v];
        memcpy(right + v * WIDTH, &all, sizeof all);
    }
    for (int32_t lane = 0; lane < size; lane++)
        count -= right[lane];
    return count;
}

/* Adds to `counts` the correct images in the blocks from..to-1 of each non-empty mask.

   first: weighted first pre-activations (blocks, clients, units[0], LANES); labels, sizes: (blocks)
   masks: (number, words); units: (layers + 1), of the first layer and of the `layers` above it, rounded up
   relu: (layers), what stands below each; kernels, biases: (number, ...), the aggregates' layers above the first
   stack: (clients + 2, words), zero; sums: (clients + 1, units[0], LANES), zero; values: (2, widest, LANES) */
void fedcoin_counts(
    const float *first, const int32_t *labels, const int32_t *sizes, int32_t from, int32_t to, int32_t clients,
    const uint64_t *masks, int32_t words, int32_t number, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const float *kernels, const float *biases, uint64_t *stack, float *sums, float *values,
    int32_t widest, int32_t *counts)
{
    size_t row = (size_t)units[0] * LANES;
    uint64_t *missing = stack + (size_t)(clients + 1) * words;
    for (int32_t block = from, depth = 0; block < to; block++, depth = 0) {
        const float *kernel = kernels, *bias = biases;
        for (int32_t m = 0; m < number; m++) {
            const floats *x = 0, *joining = 0;
            floats *y = 0;
            int32_t left = unwind(stack, &depth, masks + (size_t)m * words, words, missing);
            while (left--) {
                joining = (const floats *)(first + ((size_t)block * clients + join(stack, depth, words, missing)) * row);
                x = (const floats *)(sums + depth * row);
                y = (floats *)(sums + ++depth * row);
                for (int32_t i = 0; i < units[0] * VECTORS && (left || !layers); i++)
                    y[i] = x[i] + joining[i];
            }
            for (int32_t layer = 0; layer < layers; layer++) {
                int32_t inputs = units[layer], outputs = units[layer + 1], fused = !layer;
                floats *sum = y;
                y = (floats *)(values + (size_t)(layer % 2) * widest * LANES);
                for (int32_t o = 0; o < outputs; o += TILE, fused = 0)
                    if (fused)
                        tile(kernel, bias, inputs, outputs, relu[0], x, joining, sum, y);
                    else
                        tile(kernel + o, bias + o, inputs, outputs, relu[layer], sum, 0, 0, y + o * VECTORS);
                kernel += (size_t)inputs * outputs;
                bias += outputs;
            }
            counts[m] += correct(y, classes, labels[block], sizes[block]);
        }
    }
}

/* The proxy in integers: adds to `counts` the images in which base + leads of the members is nowhere negative.

   leads: (blocks, clients, units, LANES), base: (blocks, units, LANES); the rest as above, with units for units[0] */
void fedcoin_votes(
    const int32_t *leads, const int32_t *base, int32_t from, int32_t to, int32_t clients, int32_t units,
    const uint64_t *masks, int32_t words, int32_t number, uint64_t *stack, int32_t *sums, int32_t *counts)
{
    size_t row = (size_t)units * LANES;
    uint64_t *missing = stack + (size_t)(clients + 1) * words;
    for (int32_t block = from, depth = 0; block < to; block++, depth = 0) {
        memcpy(sums, base + block * row, sizeof *sums * row);
        for (int32_t m = 0; m < number; m++) {
            integers signs[VECTORS], total = {0};
            int32_t left = unwind(stack, &depth, masks + (size_t)m * words, words, missing);
            while (left--) {
                const int32_t *own = leads + ((size_t)block * clients + join(stack, depth, words, missing)) * row;
                const integers *joining = (const integers *)own, *x = (const integers *)(sums + depth * row);
                integers *sum = (integers *)(sums + ++depth * row);
                memset(signs, 0, sizeof signs);
                for (int32_t u = 0; u < units; u++)
                    for (int32_t v = 0; v < VECTORS; v++) {
                        int32_t at = u * VECTORS + v;
                        sum[at] = x[at] + joining[at];
                        signs[v] |= sum[at];
                    }
            }
            for (int32_t v = 0; v < VECTORS; v++)
                total -= signs[v] >= 0;
            int32_t lanes[WIDTH], count = 0;
            memcpy(lanes, &total, sizeof lanes);
            for (int32_t lane = 0; lane < WIDTH; lane++)
                count += lanes[lane];
            counts[m] += count;
        }
    }
}
