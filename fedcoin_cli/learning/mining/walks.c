/* Counts along rankings on a CPU, block of images by block of images. `walker.py` prepares the arrays.

   A block's pre-activations of all clients stay in a core's cache for all rankings of the block. A coalition's sums
   grow by one client a step, by additions only, and every ranking begins them anew: no sum drifts. The layers above
   the first have the members' weighted sums as kernels; a division by the coalition's weight after each of them keeps
   magnitudes those of one client.

   The vectors are those of GCC and Clang: the same text becomes AVX-512, AVX2, SSE or NEON. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, TILE = 10 };
#elif defined(__AVX__)
enum { WIDTH = 8, TILE = 5 };
#else
enum { WIDTH = 4, TILE = 5 };
#endif
/* Images are laid out in rows of LANES; inputs are summed CHUNK at a time before the parts are added up. */
enum { LANES = 16, VECTORS = LANES / WIDTH, CHUNK = 64 };

typedef float floats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

int32_t fedcoin_walk_tile(void) { return TILE; }

static inline __attribute__((always_inline)) floats rectified(floats x) { return (floats)((integers)x & (x > 0)); }

/* y = (x · kernel) * scale + bias for TILE outputs; x: (inputs, LANES), kernel: (inputs, outputs), y: (TILE, LANES).
   With `joining`, x grows by it on the way; with `relu` only what is positive of x counts. */
static inline __attribute__((always_inline)) void tile(
    const float *kernel, const float *bias, int32_t inputs, int32_t outputs, float scale, int32_t relu, floats *x,
    const floats *joining, floats *y)
{
    floats total[TILE][VECTORS];
    memset(total, 0, sizeof total);
    for (int32_t from = 0; from < inputs; from += CHUNK) {
        int32_t to = from + CHUNK < inputs ? from + CHUNK : inputs;
        floats part[TILE][VECTORS];
        memset(part, 0, sizeof part);
        for (int32_t i = from; i < to; i++)
            for (int32_t v = 0; v < VECTORS; v++) {
                floats in = x[i * VECTORS + v];
                if (joining)
                    x[i * VECTORS + v] = in += joining[i * VECTORS + v];
                if (relu)
                    in = rectified(in);
                for (int32_t t = 0; t < TILE; t++)
                    part[t][v] += kernel[(size_t)i * outputs + t] * in;
            }
        for (int32_t t = 0; t < TILE; t++)
            for (int32_t v = 0; v < VECTORS; v++)
                total[t][v] += part[t][v];
    }
    for (int32_t t = 0; t < TILE; t++)
        for (int32_t v = 0; v < VECTORS; v++)
            y[t * VECTORS + v] = total[t][v] * scale + bias[t];
}

/* How many of the images have their own class above all lower ones and below no higher one; label −1: no image. */
static int32_t correct(const floats *logits, const integers *labels, int32_t classes)
{
    int32_t count = 0;
    for (int32_t v = 0; v < VECTORS; v++) {
        integers label = labels[v], right = label >= 0;
        floats own = logits[v];
        for (int32_t c = 1; c < classes; c++) {
            integers mine = label == c;
            own = (floats)(((integers)logits[c * VECTORS + v] & mine) | ((integers)own & ~mine));
        }
        for (int32_t c = 0; c < classes; c++) {
            floats other = logits[c * VECTORS + v];
            right &= (own > other) | ((own >= other) & (label <= c));
        }
        for (int32_t lane = 0; lane < WIDTH; lane++)
            count -= right[lane];
    }
    return count;
}

/* The counts of each proper, non-empty coalition on the way of each ranking, for the blocks from..to-1.

   first: weighted first pre-activations (rows, clients, units[0], LANES); labels: (rows, LANES); a block is the rows
   starts[block]..starts[block + 1] - 1. orders: (blocks, rankings, clients); steps: how many coalitions of a ranking
   are wanted. units: (layers + 1), of the first layer and of the `layers` above it, rounded up to whole tiles;
   relu: (layers), what is below each; kernels, biases: (clients, ...), weighted; weights: (clients).
   sums: (units[0], LANES); kernel, bias: one client's; values: (2, widest, LANES); counts: (blocks, rankings, steps) */
void fedcoin_walk(
    const float *first, const int32_t *labels, const int32_t *starts, int32_t from, int32_t to, int32_t clients,
    const uint16_t *orders, int32_t rankings, int32_t steps, const int32_t *units, int32_t layers, int32_t classes,
    const int32_t *relu, const float *kernels, const float *biases, const float *weights, int32_t kernel_size,
    int32_t bias_size, float *sums, float *kernel, float *bias, float *values, int32_t widest, uint16_t *counts)
{
    size_t row = (size_t)units[0] * LANES;
    for (int32_t block = from; block < to; block++)
        for (int32_t at = starts[block]; at < starts[block + 1]; at++)
            for (int32_t r = 0; r < rankings; r++) {
                const uint16_t *order = orders + ((size_t)block * rankings + r) * clients;
                uint16_t *count = counts + ((size_t)block * rankings + r) * steps;
                float weight = 0;
                memset(sums, 0, row * sizeof *sums);
                memset(kernel, 0, kernel_size * sizeof *kernel);
                memset(bias, 0, bias_size * sizeof *bias);
                for (int32_t s = 0; s < steps; s++) {
                    const floats *joining = (const floats *)(first + ((size_t)at * clients + order[s]) * row);
                    const float *more = kernels + (size_t)order[s] * kernel_size;
                    const float *offset = biases + (size_t)order[s] * bias_size;
                    floats *x = (floats *)sums;
                    weight += weights[order[s]];
                    for (int32_t i = 0; i < kernel_size; i++)
                        kernel[i] += more[i];
                    for (int32_t i = 0; i < bias_size; i++)
                        bias[i] += offset[i];
                    for (int32_t i = 0; i < units[0] * VECTORS && !layers; i++)
                        x[i] += joining[i];
                    const float *below = kernel, *base = bias;
                    float scale = 1 / weight;
                    for (int32_t layer = 0; layer < layers; layer++) {
                        int32_t inputs = units[layer], outputs = units[layer + 1], fused = !layer;
                        floats *y = (floats *)(values + (size_t)(layer % 2) * widest * LANES);
                        for (int32_t o = 0; o < outputs; o += TILE, fused = 0)
                            if (fused)
                                tile(below, base, inputs, outputs, scale, relu[0], x, joining, y);
                            else
                                tile(below + o, base + o, inputs, outputs, scale, relu[layer], x, 0, y + o * VECTORS);
                        below += (size_t)inputs * outputs;
                        base += outputs;
                        x = y;
                    }
                    count[s] += correct(x, (const integers *)(labels + (size_t)at * LANES), classes);
                }
            }
}
