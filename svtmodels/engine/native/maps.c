/* Maps of pixels: pooling, the dense convolutions of an image, depthwise ones, sums of spikes.
 *
 * Rows are (image, y, x, step).
 */
#include "neuron.h"

struct pool {
    const void *in;
    void *out;
    int64_t images, height, width, row; /* row: words, or floats, of all steps of a pixel */
};

#define POOL(NAME, type, START, JOIN)                                                             \
    void NAME(const struct pool *p)                                                               \
    {                                                                                             \
        int64_t out_height = (p->height + 1) / 2, out_width = (p->width + 1) / 2;                 \
        for (int64_t image = 0; image < p->images; image++)                                       \
            for (int64_t y = 0; y < out_height; y++)                                              \
                for (int64_t x = 0; x < out_width; x++) {                                         \
                    type *restrict out = (type *)p->out +                                         \
                                         ((image * out_height + y) * out_width + x) * p->row;     \
                    for (int64_t i = 0; i < p->row; i++)                                          \
                        out[i] = START;                                                           \
                    for (int64_t r = 2 * y - 1; r <= 2 * y + 1; r++)                              \
                        for (int64_t c = 2 * x - 1; c <= 2 * x + 1; c++) {                        \
                            if (r < 0 || c < 0 || r >= p->height || c >= p->width)                \
                                continue;                                                         \
                            const type *restrict in =                                             \
                                (const type *)p->in +                                             \
                                ((image * p->height + r) * p->width + c) * p->row;                \
                            for (int64_t i = 0; i < p->row; i++)                                  \
                                out[i] = JOIN(out[i], in[i]);                                     \
                        }                                                                         \
                }                                                                                 \
    }

#define EITHER(a, b) ((a) | (b))
#define LARGER(a, b) ((b) > (a) ? (b) : (a))

/* Max pooling 3x3, stride 2, padding 1: of spikes, and of currents. */
POOL(pool_bits, uint64_t, 0, EITHER)
POOL(pool_currents, float, -INFINITY, LARGER)

/* counts = first + bits, over rows of channels; `first` are bits or counts, one is NULL. */
struct sum {
    const uint64_t *first_bits;
    const uint8_t *first_counts;
    const uint64_t *bits;
    uint8_t *out;
    int64_t rows, channels;
};

INLINE void spread_bits(const uint64_t *row, int64_t from, uint8_t *out)
{
    uint64_t bits = row[from / 64] >> from % 64;
    for (int j = 0; j < LANES; j++)
        out[j] = bits >> j & 1;
}

void add_spikes(const struct sum *s)
{
    int64_t words = words_of(s->channels);
    for (int64_t row = 0; row < s->rows; row++)
        for (int64_t c = 0; c < s->channels; c += LANES) {
            int64_t lanes = s->channels - c < LANES ? s->channels - c : LANES;
            uint8_t sum[LANES], other[LANES];
            spread_bits(s->bits + row * words, c, sum);
            if (s->first_bits)
                spread_bits(s->first_bits + row * words, c, other);
            else
                memcpy(other, s->first_counts + row * s->channels + c, (size_t)lanes);
            for (int j = 0; j < LANES; j++)
                sum[j] += other[j];
            memcpy(s->out + row * s->channels + c, sum, (size_t)lanes);
        }
}

/* A convolution of real values: [images, height, width, inputs] to currents. */
struct dense {
    const float *in;
    int64_t images, height, width, inputs;
    int64_t kernel, stride, padding, out_height, out_width, outputs;
    const float *weights; /* [kernel * kernel * inputs][16 * groups] */
    const float *scale, *bias;
    float grid, largest; /* inputs are rounded to it and clamped, unless it is 0 */
    float *out;          /* [images, out_height, out_width, outputs] */
    float *rounded;      /* workspace: one image */
};

static const float *image_of(const struct dense *d, int64_t image)
{
    int64_t size = d->height * d->width * d->inputs;
    const float *in = d->in + image * size;
    if (d->grid == 0)
        return in;
    for (int64_t i = 0; i < size; i += LANES) {
        reals x = rounded(load_some(in + i, size - i) * d->grid);
        store_some(d->rounded + i, clamped(x, -d->largest, d->largest), size - i);
    }
    return d->rounded;
}

#define WIDE 4
#define PIXELS 4

/* Sums of PIXELS neighbouring outputs, `count` groups each. */
INLINE void sum_pixels(const struct dense *d, const float *in, int64_t y, int64_t x, int64_t pixels,
                       int64_t first, const int64_t count, reals sums[PIXELS][WIDE])
{
    int64_t row = groups_of(d->outputs) * LANES;
    for (int64_t r = 0; r < d->kernel; r++) {
        int64_t py = y * d->stride - d->padding + r;
        if (py < 0 || py >= d->height)
            continue;
        for (int64_t c = 0; c < d->kernel; c++) {
            const float *w = d->weights + (r * d->kernel + c) * d->inputs * row + first * LANES;
            int64_t px = x * d->stride - d->padding + c;
            for (int64_t i = 0; i < d->inputs; i++, w += row) {
                reals weights[WIDE];
                for (int64_t g = 0; g < count; g++)
                    weights[g] = load(w + g * LANES);
                for (int64_t p = 0; p < PIXELS; p++) {
                    int64_t at = px + p * d->stride;
                    if (p >= pixels || at < 0 || at >= d->width)
                        continue;
                    reals value = all(in[(py * d->width + at) * d->inputs + i]);
                    for (int64_t g = 0; g < count; g++)
                        sums[p][g] = multiply_add(value, weights[g], sums[p][g]);
                }
            }
        }
    }
}

void run_dense(const struct dense *d)
{
    int64_t groups = groups_of(d->outputs);
    for (int64_t image = 0; image < d->images; image++) {
        const float *in = image_of(d, image);
        for (int64_t y = 0; y < d->out_height; y++)
            for (int64_t x = 0; x < d->out_width; x += PIXELS)
                for (int64_t first = 0; first < groups; first += WIDE) {
                    int64_t pixels = d->out_width - x < PIXELS ? d->out_width - x : PIXELS;
                    int64_t count = groups - first < WIDE ? groups - first : WIDE;
                    reals sums[PIXELS][WIDE] = {0};
                    switch (count) {
                    case 1: sum_pixels(d, in, y, x, pixels, first, 1, sums); break;
                    case 2: sum_pixels(d, in, y, x, pixels, first, 2, sums); break;
                    case 3: sum_pixels(d, in, y, x, pixels, first, 3, sums); break;
                    default: sum_pixels(d, in, y, x, pixels, first, WIDE, sums);
                    }
                    for (int64_t p = 0; p < pixels; p++)
                        for (int64_t g = 0; g < count; g++) {
                            int64_t at = (first + g) * LANES;
                            int64_t row = (image * d->out_height + y) * d->out_width + x + p;
                            reals sum = sums[p][g] * load(d->scale + at) + load(d->bias + at);
                            store_some(d->out + row * d->outputs + at, sum, d->outputs - at);
                        }
                }
    }
}

/* A depthwise convolution of spikes, stride 1, that keeps the map's size, and its neurons. */
struct depthwise {
    const uint64_t *bits;
    const uint8_t *counts;
    int64_t images, height, width, steps, channels, kernel;
    const float *weights; /* [kernel * kernel][16 * groups] */
    const float *scale, *bias;
    float unit; /* of an integer spike */
    struct neuron neuron;
    struct spikes out;
    float *currents; /* or NULL */
};

static reals sum_window(const struct depthwise *d, int64_t image, int64_t y, int64_t x, int64_t t,
                        int64_t group)
{
    int64_t margin = d->kernel / 2, row = groups_of(d->channels) * LANES;
    reals sum = {0};
    for (int64_t r = 0; r < d->kernel; r++) {
        int64_t py = y + r - margin;
        if (py < 0 || py >= d->height)
            continue;
        for (int64_t c = 0; c < d->kernel; c++) {
            int64_t px = x + c - margin;
            if (px < 0 || px >= d->width)
                continue;
            int64_t from = ((image * d->height + py) * d->width + px) * d->steps + t;
            reals w = load(d->weights + (r * d->kernel + c) * row + group * LANES);
            if (d->bits) {
                const uint64_t *at = d->bits + from * words_of(d->channels);
                sum += where(((const uint16_t *)at)[group], w);
            } else {
                int64_t first = group * LANES;
                reals n = load_counts(d->counts + from * d->channels + first, d->channels - first);
                sum = multiply_add(n * d->unit, w, sum);
            }
        }
    }
    return sum;
}

void run_depthwise(const struct depthwise *d)
{
    int64_t row = 0;
    for (int64_t image = 0; image < d->images; image++)
        for (int64_t y = 0; y < d->height; y++)
            for (int64_t x = 0; x < d->width; x++, row += d->steps) {
                for (int64_t g = 0; g < groups_of(d->channels); g++) {
                    reals membrane = {0};
                    for (int64_t t = 0; t < d->steps; t++) {
                        int64_t at = g * LANES, left = d->channels - at;
                        reals sum = sum_window(d, image, y, x, t, g);
                        sum = sum * load(d->scale + at) + load(d->bias + at);
                        if (d->currents)
                            store_some(d->currents + (row + t) * d->channels + at, sum, left);
                        if (d->neuron.kind != NO_NEURON)
                            fire(&d->neuron, &d->out, row + t, g, sum, &membrane);
                    }
                }
                if (d->neuron.kind != NO_NEURON)
                    for (int64_t t = 0; t < d->steps; t++)
                        clear_rest(&d->neuron, &d->out, row + t);
            }
}

/* Per image, the sum over all its spikes of n times the windows that see them. */
struct reach {
    const uint64_t *bits;
    const uint8_t *counts;
    int64_t images, height, width, steps, channels;
    int64_t kernel, stride, padding;
    int64_t *counted; /* [images], added to what is there */
};

static int64_t windows_over(int64_t at, int64_t size, const struct reach *r)
{
    int64_t outputs = (size + 2 * r->padding - r->kernel) / r->stride + 1, seen = 0;
    for (int64_t o = 0; o < outputs; o++) {
        int64_t first = o * r->stride - r->padding;
        seen += at >= first && at < first + r->kernel;
    }
    return seen;
}

void count_reach(const struct reach *r)
{
    int64_t words = words_of(r->channels), columns[r->width];
    for (int64_t x = 0; x < r->width; x++)
        columns[x] = windows_over(x, r->width, r);
    for (int64_t y = 0; y < r->height; y++) {
        int64_t lines = windows_over(y, r->height, r);
        for (int64_t image = 0; image < r->images; image++)
            for (int64_t x = 0; x < r->width; x++) {
                int64_t row = ((image * r->height + y) * r->width + x) * r->steps, n = 0;
                if (r->bits)
                    for (int64_t w = row * words; w < (row + r->steps) * words; w++)
                        n += __builtin_popcountll(r->bits[w]);
                else
                    for (int64_t c = row * r->channels; c < (row + r->steps) * r->channels; c++)
                        n += r->counts[c];
                r->counted[image] += n * lines * columns[x];
            }
    }
}
