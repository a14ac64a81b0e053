/* Counts of all 2^K coalitions of one image at once, by branch and bound; `cube.py` prepares the arrays and has the
   proof of the tolerance. The model has one hidden layer. Up to a positive scale, by how much the true class leads
   another one is a polynomial in who takes part, x:

       D(x) = sum over units of relu(sum z_i x_i) * (sum d_i x_i)  +  (sum s_i x_i) * (sum beta_i x_i)

   Clients are decided from the highest one down. A node has decided all but the lowest `free` ones. A unit whose sum
   has one sign whatever these do is dropped, or its product is added to a form in them:

       constant + sum linear_j x_j + sum square_ij x_i x_j

   Bounds of the form and of the units still in doubt bound D. Leads of all classes above the tolerance make the image
   right for all 2^free coalitions, which are an interval of masks; one below it makes it wrong for all. With LEAF
   clients free all coalitions are evaluated side by side, in those classes only that are in doubt; what lies within
   the tolerance of a tie is counted in float64. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, WIDTH_BITS = 4 };
#elif defined(__AVX__)
enum { WIDTH = 8, WIDTH_BITS = 3 };
#else
enum { WIDTH = 4, WIDTH_BITS = 2 };
#endif
enum { LEAF = 7, SIZE = 1 << LEAF, VECTORS = SIZE / WIDTH, MOST_CLIENTS = 24, TOGETHER = 4 };

typedef float floats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

/* `units` are numbers of those in doubt, z and d their sums over the members so far: (units), (units, parts).
   linear: (free, parts), square: (pairs i < j of the free ones, parts). A part is a vector of classes. */
typedef struct {
    floats *constant, *linear, *square, *own_square, *d;
    float *z;
    int32_t *unit, units;
} node;

typedef struct {
    int32_t clients, units, classes, label, parts;
    const float *d, *least, *most, *low_lanes, *high_lanes; /* of the label, see fedcoin_cube */
    float *z, *up, *down, *low_z, *high_z;                  /* of the image: the same for z */
    floats *hidden;
    float *tolerance;
    int32_t *used; /* lanes that are classes and can differ from the true one */
    const double *weights, *kernels, *biases;
    double *exact_z, *exact_sums;
    int32_t *counts, *whole;
    node nodes[MOST_CLIENTS + 2];
} work;

int32_t fedcoin_cube_leaf(void) { return LEAF; }
int32_t fedcoin_cube_width(void) { return WIDTH; }

static inline __attribute__((always_inline)) floats negative(floats x) { return (floats)((integers)x & (x < 0)); }
static inline __attribute__((always_inline)) floats positive(floats x) { return (floats)((integers)x & (x > 0)); }

static inline __attribute__((always_inline)) int32_t any(integers x)
{
    int32_t lanes[WIDTH], some = 0;
    memcpy(lanes, &x, sizeof lanes);
    for (int32_t i = 0; i < WIDTH; i++)
        some |= lanes[i];
    return some;
}

/* Whether the image is right for one coalition, in float64 and as the reference has it: averages, then logits. */
static int32_t recount(const work *w, uint32_t mask)
{
    int32_t units = w->units, classes = w->classes;
    double *hidden = w->exact_sums, *kernel = hidden + units, *logits = kernel + classes, total = 0;
    memset(hidden, 0, sizeof *hidden * units);
    memset(logits, 0, sizeof *logits * classes);
    for (int32_t j = 0; j < w->clients; j++)
        total += mask >> j & 1 ? w->weights[j] : 0;
    if (total == 0)
        return 0;
    for (int32_t j = 0; j < w->clients; j++)
        if (mask >> j & 1) {
            double share = w->weights[j] / total;
            for (int32_t h = 0; h < units; h++)
                hidden[h] += share * w->exact_z[(size_t)j * units + h];
            for (int32_t c = 0; c < classes; c++)
                logits[c] += share * w->biases[(size_t)j * classes + c];
        }
    for (int32_t h = 0; h < units; h++)
        if (hidden[h] > 0) {
            memset(kernel, 0, sizeof *kernel * classes);
            for (int32_t j = 0; j < w->clients; j++)
                if (mask >> j & 1)
                    for (int32_t c = 0; c < classes; c++)
                        kernel[c] += w->weights[j] / total * w->kernels[((size_t)h * w->clients + j) * classes + c];
            for (int32_t c = 0; c < classes; c++)
                logits[c] += hidden[h] * kernel[c];
        }
    for (int32_t c = 0; c < classes; c++)
        if (c < w->label ? logits[c] >= logits[w->label] : logits[c] > logits[w->label])
            return 0;
    return 1;
}

/* Adds the products of `number` units that are decided now to one part of the form, and makes its bounds.
   units: their numbers; z, d: their sums, d (number, parts). */
static inline __attribute__((always_inline)) void absorb(
    const work *w, node *s, const floats *from, int32_t free, int32_t parts, int32_t p, int32_t number,
    const int32_t *units, const float *z, const floats *d)
{
    const float *zs[TOGETHER];
    const floats *ds[TOGETHER];
    floats own[TOGETHER];
    for (int32_t k = 0; k < number; k++) {
        zs[k] = w->z + (size_t)units[k] * w->clients;
        ds[k] = (const floats *)w->d + (size_t)units[k] * w->clients * parts + p;
        own[k] = d[k * parts + p];
        s->constant[p] += z[k] * own[k];
    }
    for (int32_t j = 0; j < free; j++) {
        floats joining[TOGETHER], linear = s->linear[j * parts + p];
        float with[TOGETHER];
        for (int32_t k = 0; k < number; k++) {
            with[k] = zs[k][j];
            joining[k] = ds[k][j * parts];
            linear += (z[k] + with[k]) * joining[k];
            linear += with[k] * own[k];
        }
        s->linear[j * parts + p] = linear;
        size_t row = (size_t)j * (j - 1) / 2;
        for (int32_t i = 0; i < j; i++) {
            floats square = from[(row + i) * parts + p];
            for (int32_t k = 0; k < number; k++) {
                square += zs[k][i] * joining[k];
                square += with[k] * ds[k][i * parts];
            }
            s->square[(row + i) * parts + p] = square;
        }
    }
}

/* Makes node `s` of its parent: `joins` says whether client `free`, the highest that the parent has free, takes part
   (-1: the node is the root, whose sums are there already). Units that are decided now are dropped or absorbed. */
static inline __attribute__((always_inline)) void enter(
    const work *w, const node *parent, node *s, int32_t free, int32_t joins, int32_t parts)
{
    const float *up = w->up + (size_t)free * w->units, *down = w->down + (size_t)free * w->units;
    size_t last = (size_t)free * (free - 1) / 2;
    if (joins >= 0)
        for (int32_t p = 0; p < parts; p++) {
            s->constant[p] = parent->constant[p];
            if (joins)
                s->constant[p] += parent->linear[free * parts + p];
            for (int32_t j = 0; j < free; j++) {
                floats linear = parent->linear[j * parts + p];
                if (joins)
                    linear += parent->square[(last + j) * parts + p];
                s->linear[j * parts + p] = linear;
            }
        }
    int32_t fresh[TOGETHER], number = 0, units = 0;
    float fresh_z[TOGETHER];
    floats fresh_d[TOGETHER * parts];
    const floats *from = parent->square;
    s->square = parent->square;
    for (int32_t k = 0; k < parent->units; k++) {
        int32_t unit = parent->unit[k];
        float z = parent->z[k];
        if (joins > 0)
            z += w->z[(size_t)unit * w->clients + free];
        if (z + up[unit] <= 0)
            continue;
        int32_t decided = z + down[unit] >= 0;
        floats *d = decided ? fresh_d + number * parts : s->d + units * parts;
        for (int32_t p = 0; p < parts; p++) {
            d[p] = parent->d[k * parts + p];
            if (joins > 0)
                d[p] += ((const floats *)w->d)[((size_t)unit * w->clients + free) * parts + p];
        }
        if (!decided) {
            s->unit[units] = unit;
            s->z[units++] = z;
            continue;
        }
        fresh[number] = unit;
        fresh_z[number++] = z;
        if (number == TOGETHER) {
            s->square = s->own_square;
            for (int32_t p = 0; p < parts; p++)
                absorb(w, s, from, free, parts, p, TOGETHER, fresh, fresh_z, fresh_d);
            from = s->square;
            number = 0;
        }
    }
    s->units = units;
    if (number)
        s->square = s->own_square;
    for (int32_t p = 0; p < parts; p++)
        switch (number) {
        case 1: absorb(w, s, from, free, parts, p, 1, fresh, fresh_z, fresh_d); break;
        case 2: absorb(w, s, from, free, parts, p, 2, fresh, fresh_z, fresh_d); break;
        case 3: absorb(w, s, from, free, parts, p, 3, fresh, fresh_z, fresh_d); break;
        }
}

/* Whether the node decides all its coalitions: 1 right, -1 wrong, 0 neither; `open` are the lanes in doubt. */
static inline __attribute__((always_inline)) int32_t judge(
    const work *w, const node *s, int32_t free, int32_t parts, integers *open)
{
    const float *up = w->up + (size_t)free * w->units;
    const floats *least = (const floats *)w->least + (size_t)free * w->units * parts;
    const floats *most = (const floats *)w->most + (size_t)free * w->units * parts;
    integers doubt = {0};
    for (int32_t p = 0; p < parts; p++) {
        floats low = s->constant[p], high = low, tolerance = ((const floats *)w->tolerance)[p];
        for (int32_t j = 0; j < free; j++) {
            floats down = s->linear[j * parts + p], upwards = down;
            const floats *square = s->square + (size_t)j * (j - 1) / 2 * parts + p;
            for (int32_t i = 0; i < j; i++) {
                floats below = negative(square[i * parts]);
                down += below;
                upwards += square[i * parts] - below;
            }
            low += negative(down);
            high += positive(upwards);
        }
        for (int32_t k = 0; k < s->units; k++) {
            int32_t unit = s->unit[k];
            float z = s->z[k] + up[unit];
            floats d = s->d[k * parts + p];
            low += z * negative(d + least[unit * parts + p]);
            high += z * positive(d + most[unit * parts + p]);
        }
        integers used = ((const integers *)w->used)[p];
        if (any((high < -tolerance) & used))
            return -1;
        open[p] = (low <= tolerance) & used;
        doubt |= open[p];
    }
    return any(doubt) ? 0 : 1;
}

/* The form in one class for all coalitions of LEAF free clients. */
static void expand(const node *s, int32_t class, int32_t step, float *leads)
{
    const float *linear = (const float *)s->linear + class, *square = (const float *)s->square + class;
    float row[SIZE];
    leads[0] = ((const float *)s->constant)[class];
    for (int32_t j = 0; j < LEAF; square += j++ * step) {
        row[0] = linear[j * step];
        for (int32_t i = 0; i < j; i++)
            for (int32_t t = 0; t < 1 << i; t++)
                row[(1 << i) + t] = row[t] + square[i * step];
        for (int32_t t = 0; t < 1 << j; t++)
            leads[(1 << j) + t] = leads[t] + row[t];
    }
}

/* Evaluates all 2^LEAF coalitions of a node in the classes that are open, and counts them. */
static void leaf(const work *w, const node *s, uint32_t mask, const int32_t *open)
{
    int32_t step = w->parts * WIDTH, others = w->classes - 1;
    integers right[VECTORS], wrong[VECTORS];
    for (int32_t v = 0; v < VECTORS; v++) {
        right[v] = (integers){0} - 1;
        wrong[v] = (integers){0};
    }
    for (int32_t k = 0; k < s->units; k++) {
        const float *high = w->high_z + (size_t)s->unit[k] * VECTORS;
        floats z = *(const floats *)(w->low_z + (size_t)s->unit[k] * WIDTH) + s->z[k];
        for (int32_t v = 0; v < VECTORS; v++)
            w->hidden[k * VECTORS + v] = positive(z + high[v]);
    }
    for (int32_t c = 0; c < others; c++) {
        if (!open[c])
            continue;
        floats leads[VECTORS];
        expand(s, c, step, (float *)leads);
        for (int32_t k = 0; k < s->units; k++) {
            size_t place = (size_t)s->unit[k] * others + c;
            const float *high = w->high_lanes + place * VECTORS;
            floats d = *(const floats *)(w->low_lanes + place * WIDTH) + ((const float *)s->d)[k * step + c];
            for (int32_t v = 0; v < VECTORS; v++)
                leads[v] += w->hidden[k * VECTORS + v] * (d + high[v]);
        }
        integers left = {0};
        for (int32_t v = 0; v < VECTORS; v++) {
            right[v] &= leads[v] > w->tolerance[c];
            wrong[v] |= leads[v] < -w->tolerance[c];
            left |= ~wrong[v];
        }
        if (!any(left))
            return;
    }
    for (int32_t v = 0; v < VECTORS; v++) {
        integers unsure = ~(right[v] | wrong[v]);
        ((integers *)(w->counts + mask))[v] -= right[v];
        if (any(unsure))
            for (uint32_t lane = 0; lane < WIDTH; lane++)
                if (unsure[lane])
                    w->counts[mask + v * WIDTH + lane] += recount(w, mask + v * WIDTH + lane);
    }
}

static inline __attribute__((always_inline)) int32_t visit(
    work *w, int32_t free, uint32_t mask, int32_t joins, int32_t parts)
{
    node *s = w->nodes + free;
    integers open[parts];
    enter(w, s + 1, s, free, joins, parts);
    int32_t verdict = judge(w, s, free, parts, open);
    if (verdict > 0) {
        w->whole[mask >> LEAF]++;
        w->whole[(mask >> LEAF) + (1 << (free - LEAF))]--;
    }
    if (!verdict && free == LEAF)
        leaf(w, s, mask, (const int32_t *)open);
    return !verdict && free > LEAF;
}

static void walk(work *w, int32_t free, uint32_t mask, int32_t joins)
{
    int32_t further;
    switch (w->parts) {
    case 1: further = visit(w, free, mask, joins, 1); break;
    case 2: further = visit(w, free, mask, joins, 2); break;
    default: further = visit(w, free, mask, joins, w->parts);
    }
    if (further) {
        walk(w, free - 1, mask, 0);
        walk(w, free - 1, mask | (uint32_t)1 << (free - 1), 1);
    }
}

static void *take(uint8_t **memory, size_t bytes)
{
    void *taken = *memory;
    *memory += (bytes + 63) / 64 * 64;
    return taken;
}

/* Gives the arrays their places from `memory` on. Returns where they end. */
static uint8_t *lay_out(work *w, uint8_t *memory)
{
    size_t clients = w->clients, units = w->units, part = sizeof(floats) * w->parts;
    w->exact_z = take(&memory, sizeof(double) * clients * units);
    w->exact_sums = take(&memory, sizeof(double) * (units + 2 * w->classes));
    w->z = take(&memory, sizeof(float) * clients * units);
    w->up = take(&memory, sizeof(float) * (clients + 1) * units);
    w->down = take(&memory, sizeof(float) * (clients + 1) * units);
    w->low_z = take(&memory, sizeof(float) * WIDTH * units);
    w->high_z = take(&memory, sizeof(float) * VECTORS * units);
    w->hidden = take(&memory, sizeof(floats) * VECTORS * units);
    w->tolerance = take(&memory, part);
    w->used = take(&memory, part);
    for (size_t b = 0; b <= clients + 1; b++) {
        node *s = w->nodes + b;
        s->constant = take(&memory, part);
        s->linear = take(&memory, part * b);
        s->square = s->own_square = take(&memory, part * (b * (b + 1) / 2));
        s->d = take(&memory, part * units);
        s->z = take(&memory, sizeof(float) * units);
        s->unit = take(&memory, sizeof(int32_t) * units);
    }
    return memory;
}

/* How many bytes of scratch an image takes. */
int64_t fedcoin_cube_bytes(int32_t units, int32_t clients, int32_t classes)
{
    work w = {.clients = clients, .units = units, .classes = classes, .parts = (classes - 2 + WIDTH) / WIDTH};
    uint8_t *nowhere = 0;
    return lay_out(&w, nowhere) - nowhere;
}

/* Scaled z and its sums. Returns whether any class is left to be compared; otherwise `verdict` holds for all. */
static int32_t prepare(
    work *w, const double *z, int64_t stride, const double *sizes, const double *noise, const double *beta, double gamma,
    double *scale, int32_t *verdict)
{
    int32_t clients = w->clients, units = w->units, lanes = w->parts * WIDTH;
    double size[units], bias[lanes], largest = 0, all = 0;
    for (int32_t j = 0; j < clients; j++)
        all += w->weights[j];
    for (int32_t h = 0; h < units; h++) {
        double highest = size[h] = 0;
        for (int32_t j = 0; j < clients; j++) {
            double own = z[((int64_t)j * units + h) * stride];
            w->exact_z[(size_t)j * units + h] = own;
            size[h] += w->weights[j] * fabs(own);
            highest = own > highest ? own : highest;
        }
        if (highest <= 0)
            size[h] = 0; /* no coalition wakes this unit */
        largest = size[h] > largest ? size[h] : largest;
    }
    for (int32_t c = 0; c < lanes; c++) {
        bias[c] = 0;
        for (int32_t j = 0; j < clients; j++)
            bias[c] += all * fabs(beta[j * lanes + c]);
        largest = bias[c] > largest ? bias[c] : largest;
    }
    int exponent = 0;
    frexp(largest, &exponent);
    *scale = ldexp(1, -exponent);
    *verdict = 1;
    int32_t left = 0;
    for (int32_t c = 0; c < lanes; c++) {
        double sum = bias[c], doubtful = all * noise[(size_t)units * lanes + c];
        for (int32_t h = 0; h < units; h++) {
            sum += size[h] * sizes[h * lanes + c];
            doubtful += size[h] * noise[h * lanes + c];
        }
        w->used[c] = sum > 0 ? -1 : 0;
        w->tolerance[c] = (float)((gamma * sum + doubtful) * *scale + 0x1p-100);
        left |= w->used[c];
        if (sum == 0 && c < w->label)
            *verdict = 0; /* a tie in every coalition, with a lower class */
    }
    for (int32_t h = 0; h < units; h++) {
        float *up = w->up + h, *down = w->down + h, *low = w->low_z + h * WIDTH, *high = w->high_z + h * VECTORS;
        double lows[WIDTH] = {0}, highs[VECTORS] = {0};
        up[0] = down[0] = 0;
        for (int32_t j = 0; j < clients; j++) {
            double own = size[h] > 0 ? w->weights[j] * w->exact_z[(size_t)j * units + h] * *scale : 0;
            float x = w->z[(size_t)h * clients + j] = (float)own;
            up[(size_t)(j + 1) * units] = up[(size_t)j * units] + (x > 0 ? x : 0);
            down[(size_t)(j + 1) * units] = down[(size_t)j * units] + (x < 0 ? x : 0);
            for (int32_t i = 0; j < WIDTH_BITS && i < 1 << j; i++)
                lows[(1 << j) + i] = lows[i] + own;
            for (int32_t i = 0, k = j - WIDTH_BITS; k >= 0 && j < LEAF && i < 1 << k; i++)
                highs[(1 << k) + i] = highs[i] + own;
        }
        for (int32_t i = 0; i < WIDTH; i++)
            low[i] = (float)lows[i];
        for (int32_t i = 0; i < VECTORS; i++)
            high[i] = (float)highs[i];
    }
    return left && *verdict;
}

/* The root of the coalitions whose members among the clients from `free` on are those of `mask`. */
static void begin(work *w, int32_t free, uint32_t mask, const double *beta, double scale)
{
    int32_t clients = w->clients, units = w->units, lanes = w->parts * WIDTH;
    node *above = w->nodes + free + 1, *s = w->nodes + free;
    float *constant = (float *)s->constant, *linear = (float *)s->linear, *square = (float *)above->own_square;
    above->square = above->own_square;
    for (int32_t c = 0; c < lanes; c++) {
        double weight = 0, bias = 0;
        for (int32_t j = free; j < clients; j++)
            if (mask >> j & 1) {
                weight += w->weights[j];
                bias += beta[j * lanes + c];
            }
        constant[c] = (float)(weight * bias * scale);
        for (int32_t j = 0; j < free; j++) {
            double own = w->weights[j], tilt = beta[j * lanes + c];
            linear[j * lanes + c] = (float)((own * (bias + tilt) + weight * tilt) * scale);
            for (int32_t i = 0; i < j; i++)
                square[((size_t)j * (j - 1) / 2 + i) * lanes + c] =
                    (float)((w->weights[i] * tilt + own * beta[i * lanes + c]) * scale);
        }
    }
    for (int32_t h = 0; h < units; h++) {
        float *d = (float *)(above->d + (size_t)h * w->parts), z = 0;
        memset(d, 0, sizeof *d * lanes);
        for (int32_t j = free; j < clients; j++)
            if (mask >> j & 1) {
                z += w->z[(size_t)h * clients + j];
                for (int32_t c = 0; c < lanes; c++)
                    d[c] += w->d[((size_t)h * clients + j) * lanes + c];
            }
        above->unit[h] = h;
        above->z[h] = z;
    }
    above->units = units;
}

/* Counts one image in the 2^free coalitions whose members among the clients from `free` on are those of `mask`.

   z: pre-activations (clients, units), one in `stride`; weights: (clients), the largest 1
   Of the image's label, with one lane for every other class, scaled by class, in whole vectors:
   d: (units, clients, lanes), the lead's weights times the client's weight; sizes: (units, lanes), sums of |d|
   least, most: (free clients 0..K, units, lanes), sums of negative and of positive d over the lowest clients
   low_lanes: (units, classes - 1, WIDTH), high_lanes: (units, classes - 1, VECTORS), sums of d over the coalitions of
   the lowest log2(WIDTH) clients, and of the next ones up to LEAF; beta: (clients, lanes)
   noise: (units + 1, lanes), how far float64 may be off for each |z|, and for the biases
   kernels: (units, clients, classes), biases: (clients, classes), as they are
   counts: (2^K) to be added to; whole: (2^(K - LEAF) + 1), differences of what is to be added to 2^LEAF masks each */
void fedcoin_cube(
    const double *z, int64_t stride, int32_t units, int32_t clients, int32_t classes, int32_t label, int32_t free,
    int32_t mask, const double *weights, const float *d, const double *sizes, const float *least, const float *most,
    const float *low_lanes, const float *high_lanes, const double *noise, const double *beta, const double *kernels, const double *biases,
    double gamma, int32_t *counts, int32_t *whole, uint8_t *memory)
{
    work w = {.clients = clients, .units = units, .classes = classes, .label = label, .d = d, .least = least,
              .most = most, .low_lanes = low_lanes, .high_lanes = high_lanes, .weights = weights,
              .kernels = kernels, .biases = biases, .counts = counts, .whole = whole};
    double scale;
    int32_t verdict;
    w.parts = (classes - 2 + WIDTH) / WIDTH;
    lay_out(&w, memory);
    if (prepare(&w, z, stride, sizes, noise, beta, gamma, &scale, &verdict)) {
        begin(&w, free, (uint32_t)mask, beta, scale);
        walk(&w, free, (uint32_t)mask, -1);
    } else if (verdict) {
        whole[mask >> LEAF]++;
        whole[(mask >> LEAF) + (1 << (free - LEAF))]--;
    }
}
