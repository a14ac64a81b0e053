/* ReLU, tanh and sigmoid of vectors. Whoever includes it has REAL, reals, bits of the same size, and names for what is
   below.

   Of both kinds of numbers tanh errs by at most 7 units and sigmoid by 4, in absolute terms; `tolerance.py` has 32. What
   is no number stays none, and tanh(0) is 0. */

#ifndef CURVES
#define CURVES
enum { TANH = 2, SIGMOID = 3, ROWS = 4 };
#if defined(__AVX512F__)
#include <immintrin.h>
#define PICK(name, than) sizeof(REAL) == 4 ? (reals)_mm512_##name##_ps((__m512)a, (__m512)b) \
                                           : (reals)_mm512_##name##_pd((__m512d)a, (__m512d)b)
#elif defined(__AVX__)
#include <immintrin.h>
#define PICK(name, than) sizeof(REAL) == 4 ? (reals)_mm256_##name##_ps((__m256)a, (__m256)b) \
                                           : (reals)_mm256_##name##_pd((__m256d)a, (__m256d)b)
#else
#define PICK(name, than) (reals)(((bits)a & (a than b)) | ((bits)b & ~(a than b)))
#endif
#endif

/* Of two numbers one; b where one of them is none. */
static inline __attribute__((always_inline)) reals larger(reals a, reals b) { return PICK(max, >); }
static inline __attribute__((always_inline)) reals smaller(reals a, reals b) { return PICK(min, <); }

/* x where it is within, else the end that it is beyond. */
static inline __attribute__((always_inline)) reals within(reals x, REAL end)
{
    reals high = (reals){0} + end;
    return larger(-high, smaller(high, x));
}

/* e^x of ROWS vectors side by side, as 2^k times a polynomial of the rest, at most ln 2 / 2 either way. What is beyond the
   ends moves no curve by a unit, and two of them can be multiplied. */
static inline __attribute__((always_inline)) void power(reals *x)
{
    const int32_t single = sizeof(REAL) == 4;
    const REAL shift = single ? 0x1.8p23 : 0x1.8p52; /* an integer is in the last bits of what it is added to */
    static const REAL inverse[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                   1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,     1.0 / 6,
                                   0.5,             1,              1};
    reals shifted[ROWS], sum[ROWS];
    int32_t at = single ? 6 : 0;
    for (int32_t r = 0; r < ROWS; r++) {
        x[r] = within(x[r], single ? 32 : 64);
        shifted[r] = x[r] * (REAL)0x1.71547652b82fep0 + shift;
        reals k = shifted[r] - shift;
        x[r] -= k * (REAL)(single ? 0x1.62ep-1 : 0x1.62e42fee00000p-1);
        x[r] -= k * (REAL)(single ? 0x1.0bfbe8p-15 : 0x1.a39ef35793c76p-33);
        sum[r] = (reals){0} + inverse[at];
    }
#pragma GCC unroll 12
    for (at++; at < 13; at++)
        for (int32_t r = 0; r < ROWS; r++)
            sum[r] = sum[r] * x[r] + inverse[at];
    for (int32_t r = 0; r < ROWS; r++) {
        bits scale = ((bits)shifted[r] << (single ? 23 : 52)) + ((INTEGER)(single ? 127 : 1023) << (single ? 23 : 52));
        x[r] = sum[r] * (reals)scale;
    }
}

/* y = weight * f(x / weight), of x + base where there is one: sums over members keep their weight. Two units share a
   division, of the same images. */
static void bend(const reals *x, const reals *base, reals *y, int32_t vectors, int32_t kind, REAL weight)
{
    REAL share = (kind == TANH ? 2 : -1) / weight, end = kind == TANH ? weight : 0, top = kind == TANH ? -2 * weight : weight;
    for (int32_t start = 0; start < vectors; start += ROWS * VECTORS)
        for (int32_t v = start; v < start + VECTORS; v++) {
            int32_t at[ROWS];
            reals e[ROWS];
            for (int32_t r = 0; r < ROWS; r++) {
                at[r] = v + r * VECTORS < vectors ? v + r * VECTORS : v;
                e[r] = x[at[r]];
                if (base)
                    e[r] += base[at[r]];
                e[r] *= share;
            }
            power(e);
            for (int32_t r = 0; r < ROWS; r += 2) {
                reals one = 1 + e[r], other = 1 + e[r + 1], both = top / (one * other);
                y[at[r]] = end + both * other;
                y[at[r + 1]] = end + both * one;
            }
        }
}
