/* Counts along rankings on a CPU, block of images by block of images. `walker.py` prepares the arrays.

   A block's pre-activations of all clients stay in a core's cache for all rankings of the block. A coalition's sums
   grow by one client a step, by additions only, and every ranking begins them anew: no sum drifts. The layers above
   the first have the members' weighted sums as kernels; a product with one over the coalition's weight after each of
   them keeps magnitudes those of one client.

   How far rounding moves a logit stays within `tolerance.py`, whose M = 3 + min(K, CHAIN) + ceil(K / CHAIN) roundings
   are for an average and whose T = 2 + min(n, BLOCK) + ceil(n / BLOCK) are for a layer's sum of n products. A member's
   value times its weight is rounded once. It then passes at most CHAIN - 1 additions of its chain, and one for each
   further chain, the last of which may be unfinished: with the product min(K, CHAIN) + ceil(K / CHAIN) - 1, four less
   than M. A product of a layer passes at most min(n, BLOCK) roundings in its block, the first of which may be fused
   with it, and one for each block: two less than T. What is left of M and T, for kernels as for biases, covers the
   rounding of the scale, the product with it and the addition of the bias, three. A positive factor of all logits
   changes no label, so the weight that sums over members still contain is no error; a ReLU passes it on.

   Weights are at most 1 and at least 2^-31, those of kernels LIFT times as much. In float a product of sums is
   then at least LIFT 2^-62 times what it stands for: what is lost below 2^-126 is less than 2^-78, and `TINY` is 2^-70.
   It is at most LIFT K^2 times: below `LIMIT`, 2^80, nothing comes near 2^127.

   The vectors are those of GCC and Clang: the same text becomes AVX-512, AVX2, SSE or NEON. The file includes itself
   twice: what stands below its #else is compiled for float and for double. */

#ifndef REAL
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, TILE = 10 };
#elif defined(__AVX__)
enum { WIDTH = 8, TILE = 5 };
#else
enum { WIDTH = 4, TILE = 5 };
#endif
/* Images are laid out in rows of LANES. */
enum { LANES = 16, BLOCK = 32, CHAIN = 64 };

/* Outputs of a layer are computed TILE at a time: callers round their number up. */
int32_t fedcoin_walk_tile(void) { return TILE; }

/* The counts of each non-empty coalition on the way of each ranking, for the blocks from..to-1.

   first: weighted first pre-activations (rows, clients, units[0], LANES); labels: (rows, LANES), -1 where no image is;
   a block is the rows starts[block]..starts[block + 1] - 1. orders: (blocks, rankings, clients); steps: how many
   coalitions of a ranking are wanted. units: (layers + 1), of the first layer and of the `layers` above it, rounded up
   to whole tiles; relu: (layers), what is below each: 0 nothing, 1 a ReLU, 2 tanh, 3 a sigmoid; upper: (clients, size), weighted: each layer's kernel (inputs,
   outputs) and its biases, filled up to a multiple of LANES. weights: (clients), whole numbers; a sum over members is
   `factor` over their weight times too large where a kernel has been applied, and their weight over `largest` times the
   average elsewhere. memory: zeros, as many as
   the larger of units[0] * LANES and size; then (2, units[0], LANES), (3, size) and (2, widest, LANES). counts: (blocks,
   rankings, steps), to which is added */
void fedcoin_walk(
    const float *first, const int32_t *labels, const int32_t *starts, int32_t from, int32_t to, int32_t clients,
    const uint16_t *orders, int32_t rankings, int32_t steps, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const float *upper, int32_t size, const double *weights, double factor, double largest, float *memory, int32_t widest,
    uint8_t *counts);
void fedcoin_walk_wide(
    const float *first, const int32_t *labels, const int32_t *starts, int32_t from, int32_t to, int32_t clients,
    const uint16_t *orders, int32_t rankings, int32_t steps, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const double *upper, int32_t size, const double *weights, double factor, double largest, double *memory, int32_t widest,
    uint8_t *counts);

#define REAL float
#define INTEGER int32_t
#define WALK fedcoin_walk
#include "walks.c"

#undef REAL
#undef INTEGER
#undef WALK
#define REAL double
#define INTEGER int64_t
#define WALK fedcoin_walk_wide
#define LONG WIDE_LONG
#define VECTORS WIDE_VECTORS
#define SIDE WIDE_SIDE
#define reals wide_reals
#define bits wide_bits
#define narrow wide_narrow
#define whole wide_whole
#define grow wide_grow
#define fold wide_fold
#define larger wide_larger
#define smaller wide_smaller
#define run wide_run
#define tile wide_tile
#define correct wide_correct
#define within wide_within
#define power wide_power
#define bend wide_bend
#include "walks.c"

#else /* REAL, INTEGER of the same size, WALK, and the names below: once for float, once for double */

enum { LONG = 4 * WIDTH / sizeof(REAL), VECTORS = LANES / LONG, SIDE = VECTORS > 1 ? 2 : 1 };
typedef REAL reals __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef INTEGER bits __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef float narrow __attribute__((vector_size(4 * LONG), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * LONG), aligned(4), may_alias));
#include "curves.h"

/* A chain's kernels with those of one member more; with `base`, what stands below the chain, their sum as well. */
static void grow(const reals *chain, const reals *more, const reals *base, reals *grown, reals *sum, int32_t vectors)
{
    for (int32_t v = 0; v < vectors; v++) {
        reals next = grown[v] = chain[v] + more[v];
        if (base)
            sum[v] = base[v] + next;
    }
}

/* base + chain, as the new base. */
static void fold(const reals *base, const reals *chain, reals *sum, int32_t vectors)
{
    for (int32_t v = 0; v < vectors; v++)
        sum[v] = base[v] + chain[v];
}

/* What `number` inputs add to TILE outputs: see `tile`. */
static inline __attribute__((always_inline)) void run(
    const REAL *kernel, int32_t outputs, const reals *x, const reals *base, const narrow *joining,
    reals *sum, int32_t relu, int32_t number, reals (*part)[SIDE])
{
    for (int32_t i = 0; i < number; i++) {
        reals in[SIDE];
        for (int32_t v = 0; v < SIDE; v++) {
            int32_t at = i * VECTORS + v;
            in[v] = x[at];
            if (joining)
                sum[at] = in[v] += __builtin_convertvector(joining[at], reals);
            if (base)
                in[v] += base[at];
            if (relu)
                in[v] = larger(in[v], (reals){0});
        }
        for (int32_t t = 0; t < TILE; t++)
            for (int32_t v = 0; v < SIDE; v++)
                part[t][v] += kernel[(size_t)i * outputs + t] * in[v];
    }
}

/* y = ((x + base) · kernel) * scale + bias for TILE outputs; x: (inputs, LANES), kernel: (inputs, outputs), y: (TILE,
   LANES). With `joining`, x + joining takes the place of x and is kept in `sum`. With `relu` only what is positive
   counts. */
static inline __attribute__((always_inline)) void tile(
    const REAL *kernel, const REAL *bias, int32_t inputs, int32_t outputs, REAL scale, const reals *x,
    const reals *base, const narrow *joining, reals *sum, int32_t relu, reals *y)
{
    for (int32_t side = 0; side < VECTORS; side += SIDE) {
        reals total[TILE][SIDE];
        for (int32_t t = 0; t < TILE; t++)
            for (int32_t v = 0; v < SIDE; v++)
                total[t][v] = (reals){0};
        for (int32_t start = 0; start < inputs; start += BLOCK) {
            int32_t at = start * VECTORS + side, left = inputs - start;
            const REAL *rows = kernel + (size_t)start * outputs;
            const reals *beneath = base ? base + at : 0;
            const narrow *more = joining ? joining + at : 0;
            reals part[TILE][SIDE];
            for (int32_t t = 0; t < TILE; t++)
                for (int32_t v = 0; v < SIDE; v++)
                    part[t][v] = (reals){0};
            run(rows, outputs, x + at, beneath, more, sum + at, relu, left < BLOCK ? left : BLOCK, part);
            for (int32_t t = 0; t < TILE; t++)
                for (int32_t v = 0; v < SIDE; v++)
                    total[t][v] += part[t][v];
        }
        for (int32_t t = 0; t < TILE; t++)
            for (int32_t v = 0; v < SIDE; v++)
                y[t * VECTORS + side + v] = total[t][v] * scale + bias[t];
    }
}

/* How many of the images have their label's logit above all lower ones and below no higher one. */
static inline int32_t correct(const reals *logits, const whole *labels, int32_t classes)
{
    bits right = {0};
    for (int32_t v = 0; v < VECTORS; v++) {
        reals best = logits[v];
        bits found = {0};
        for (int32_t c = 1; c < classes; c++) {
            reals other = logits[c * VECTORS + v];
            bits more = other > best;
            best = (reals)(((bits)other & more) | ((bits)best & ~more));
            found = (more & c) | (found & ~more);
        }
        right += found == __builtin_convertvector(labels[v], bits);
    }
    int32_t count = 0;
    for (int32_t lane = 0; lane < LONG; lane++)
        count -= right[lane];
    return count;
}

/* As declared above. */
void WALK(
    const float *first, const int32_t *labels, const int32_t *starts, int32_t from, int32_t to, int32_t clients,
    const uint16_t *orders, int32_t rankings, int32_t steps, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const REAL *upper, int32_t size, const double *weights, double factor, double largest, REAL *memory, int32_t widest,
    uint8_t *counts)
{
    size_t row = (size_t)units[0] * LANES;
    int32_t vectors = units[0] * VECTORS, above = size / LONG;
    const reals *zero = (const reals *)memory;
    reals *x = (reals *)memory + (vectors > above ? vectors : above), *base = x + vectors, *chains = base + vectors;
    reals *chain = chains + above, *sums = chain + above, *values = sums + above;
    for (int32_t block = from; block < to; block++)
        for (int32_t at = starts[block]; at < starts[block + 1]; at++)
            for (int32_t r = 0; r < rankings; r++) {
                size_t way = (size_t)block * rankings + r;
                const uint16_t *order = orders + way * clients;
                const float *rows = first + (size_t)at * clients * row;
                double weight = 0;
                for (int32_t s = 0; s < steps; s++) {
                    int32_t far = s >= CHAIN, begins = s % CHAIN == 0;
                    const narrow *joining = (const narrow *)(rows + order[s] * row);
                    const reals *more = (const reals *)upper + (size_t)order[s] * above;
                    if (far && begins) {
                        fold(s == CHAIN ? zero : base, x, base, vectors);
                        fold(s == CHAIN ? zero : chains, chain, chains, above);
                    }
                    grow(begins ? zero : chain, more, far ? chains : 0, chain, sums, above);
                    const REAL *below = (const REAL *)(far ? sums : chain);
                    const reals *sum = begins ? zero : x;
                    weight += weights[order[s]];
                    REAL scale = factor / weight;
                    reals *y = values;
                    for (int32_t i = 0; i < vectors && (!layers || relu[0] >= TANH); i++) {
                        x[i] = sum[i] + __builtin_convertvector(joining[i], reals);
                        if (!layers)
                            y[i] = x[i];
                        if (!layers && far)
                            y[i] += base[i];
                    }
                    for (int32_t layer = 0; layer < layers; layer++) {
                        int32_t inputs = units[layer], outputs = units[layer + 1], fused = !layer, bent = relu[layer];
                        const REAL *bias = below + (size_t)inputs * outputs;
                        reals *in = layer ? y : x;
                        const reals *beneath = far && !layer ? base : 0;
                        if (bent >= TANH) {
                            in = layer ? y : values + (size_t)widest * VECTORS;
                            bend(layer ? y : x, beneath, in, inputs * VECTORS, bent, weight / largest);
                            beneath = 0;
                            bent = fused = 0;
                        }
                        y = values + (size_t)(layer % 2) * widest * VECTORS;
                        for (int32_t o = 0; o < outputs; o += TILE, fused = 0) {
                            reals *out = y + o * VECTORS;
                            const REAL *k = below + o, *b = bias + o;
                            if (fused && bent && far)
                                tile(k, b, inputs, outputs, scale, sum, base, joining, x, 1, out);
                            else if (fused && bent)
                                tile(k, b, inputs, outputs, scale, sum, 0, joining, x, 1, out);
                            else if (fused)
                                tile(k, b, inputs, outputs, scale, sum, beneath, joining, x, 0, out);
                            else if (beneath)
                                tile(k, b, inputs, outputs, scale, in, beneath, 0, 0, bent, out);
                            else if (bent)
                                tile(k, b, inputs, outputs, scale, in, 0, 0, 0, 1, out);
                            else
                                tile(k, b, inputs, outputs, scale, in, 0, 0, 0, 0, out);
                        }
                        below = bias + outputs;
                    }
                    counts[way * steps + s] += correct(y, (const whole *)(labels + (size_t)at * LANES), classes);
                }
            }
}
#endif
