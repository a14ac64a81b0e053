/* LSTM and GRU on a CPU, step after step: a step's products and activations of ROWS images and one vector of units, in
   all gates, stay in registers, and no product is written to memory. `recurrent.py` prepares the arrays.

   Whatever weights come to: an image's sums have one order, wherever it stands and whatever it is computed beside. What
   is no number stays none. Activations err by at most 3 units of their own size; what is below 2^-86 counts as that.

   The vectors are those of GCC and Clang: the same text becomes AVX-512, AVX2, SSE or NEON. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { WIDTH = 16, ROWS = 6 };
#elif defined(__AVX__)
enum { WIDTH = 8, ROWS = 3 };
#else
enum { WIDTH = 4, ROWS = 3 };
#endif
enum { SUMS = 4 };

#define INLINE static inline __attribute__((always_inline))
typedef float reals __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t bits __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

/* Units are computed so many at a time, and images: callers round their memory up. */
int32_t fedcoin_recurrent_units(void) { return WIDTH; }
int32_t fedcoin_recurrent_rows(void) { return ROWS; }

/* x where it is nearer to 0, else `end` with its sign. */
INLINE reals within(reals x, float end)
{
    reals high = (reals){0} + end;
#if defined(__AVX512F__)
    return (reals)_mm512_max_ps((__m512)-high, _mm512_min_ps((__m512)high, (__m512)x)); /* the second where one is none */
#else
    bits above = x > high, below = x < -high;
    x = (reals)(((bits)high & above) | ((bits)x & ~above));
    return (reals)(((bits)-high & below) | ((bits)x & ~below));
#endif
}

/* e^x, and the same less 1, right relative to its own size. */
typedef struct {
    reals whole, less;
} powers;

INLINE powers power(reals x)
{
    const float shift = 0x1.8p23; /* an integer is in the last bits of what it is added to */
    reals shifted = x * 0x1.715476p0f + shift, k = shifted - shift;
    reals rest = x - k * 0x1.62ep-1f;
    rest -= k * 0x1.0bfbe8p-15f;
    reals sum = (reals){0} + 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1;
    sum *= rest;
    reals scale = (reals)(((bits)shifted << 23) + (127 << 23));
    return (powers){sum * scale + scale, sum * scale + (scale - 1)};
}

/* sigmoid(gate) * tanh(x), in one division. */
INLINE reals gated(reals gate, reals x)
{
    reals less = power(within(2 * x, 20)).less; /* tanh(10) is 1 */
    return less / ((2 + less) * (1 + power(within(-gate, 60)).whole));
}

INLINE reals sigmoid(reals x) { return 1 / (1 + power(within(-x, 60)).whole); }

/* What one input adds to the sums; that of the last gate is sum[last]. */
INLINE void add(const reals *row, int32_t gates, int32_t last, float in, reals *sum)
{
    for (int32_t k = 0; k < gates - 1; k++)
        sum[k] += row[k] * in;
    sum[last] += row[gates - 1] * in;
}

/* Four gates are an LSTM's (input, output, forget, cell), three a GRU's (update, reset, hidden, of
   which what inputs add is summed apart from what states add). A layer in one direction, from its first step to its last.

   x: (steps, …) `far` numbers from each other, (images, inputs). packed: for each WIDTH units two rows of biases (SUMS,
   WIDTH), which are added, then a row (gates, WIDTH) for each input and each of the `hidden` states; units: those rounded
   up to whole vectors, what is added having weights of zero. states: (2, images rounded up, units), the first of which is
   what begins; after `steps` the last is in states[steps % 2]. cells: (images rounded up, units). y: nothing, or where
   outputs go: (steps, …) `apart` numbers from each other, (images, hidden). */
INLINE void layer(
    int32_t gates, const float *x, int32_t far, int32_t steps, int32_t images, int32_t inputs, const float *packed,
    int32_t units, int32_t hidden, int32_t backwards, float *states, float *cells, float *y, int32_t apart)
{
    size_t size = 2 * SUMS + (size_t)gates * (inputs + hidden), all = (size_t)(images + ROWS - 1) / ROWS * ROWS * units;
    for (int32_t s = 0; s < steps; s++) {
        int32_t step = backwards ? steps - 1 - s : s;
        const float *now = x + (size_t)step * far, *before = states + s % 2 * all;
        float *after = states + (s + 1) % 2 * all;
        for (int32_t u = 0; u < units; u += WIDTH) {
            const reals *bias = (const reals *)packed + u / WIDTH * size;
            const reals *fed = bias + 2 * SUMS, *back = fed + (size_t)inputs * gates;
            for (int32_t i = 0; i < images; i += ROWS) {
                reals sum[ROWS][SUMS];
                const float *in[ROWS], *state = before + (size_t)i * units;
                for (int32_t r = 0; r < ROWS; r++) {
                    in[r] = now + (size_t)(i + r < images ? i + r : images - 1) * inputs;
                    for (int32_t k = 0; k < SUMS; k++)
                        sum[r][k] = bias[k] + bias[SUMS + k];
                }
                for (int32_t n = 0; n < inputs; n++)
                    for (int32_t r = 0; r < ROWS; r++)
                        add(fed + (size_t)n * gates, gates, gates - 1, in[r][n], sum[r]);
                for (int32_t n = 0; n < hidden; n++)
                    for (int32_t r = 0; r < ROWS; r++)
                        add(back + (size_t)n * gates, gates, SUMS - 1, state[r * units + n], sum[r]);
                for (int32_t r = 0; r < ROWS; r++) {
                    size_t at = (size_t)(i + r) * units + u;
                    reals *own = sum[r], made;
                    if (gates == SUMS) {
                        reals *cell = (reals *)(cells + at);
                        *cell = *cell * sigmoid(own[2]) + gated(own[0], own[3]);
                        made = gated(own[1], *cell);
                    } else
                        made = *(const reals *)(before + at) * sigmoid(own[0]) + gated(-own[0], own[2] + sigmoid(own[1]) * own[3]);
                    *(reals *)(after + at) = made;
                }
            }
        }
        for (int32_t i = 0; y && i < images; i++)
            memcpy(y + (size_t)step * apart + (size_t)i * hidden, after + (size_t)i * units, 4 * (size_t)hidden);
    }
}

void fedcoin_lstm(
    const float *x, int32_t far, int32_t steps, int32_t images, int32_t inputs, const float *packed,
    int32_t units, int32_t hidden, int32_t backwards, float *states, float *cells, float *y, int32_t apart)
{
    layer(4, x, far, steps, images, inputs, packed, units, hidden, backwards, states, cells, y, apart);
}

void fedcoin_gru(
    const float *x, int32_t far, int32_t steps, int32_t images, int32_t inputs, const float *packed,
    int32_t units, int32_t hidden, int32_t backwards, float *states, float *cells, float *y, int32_t apart)
{
    layer(3, x, far, steps, images, inputs, packed, units, hidden, backwards, states, cells, y, apart);
}
