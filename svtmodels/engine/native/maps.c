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

/* The first pixel of each 3x3 window, and how many of its lines and columns lie on the map. */
INLINE int64_t window_from(int64_t out) { return out ? 2 * out - 1 : 0; }
INLINE int64_t window_to(int64_t out, int64_t size) { return 2 * out + 2 < size ? 2 * out + 2 : size; }

#define CHUNK 16

/* A chunk of a row is joined over the window before it is stored. */
#define POOL(NAME, type, START, JOIN)                                                             \
    INLINE void NAME##_chunk(const struct pool *p, const type *in, type *out, int64_t y,          \
                             int64_t x, const int64_t count)                                      \
    {                                                                                             \
        type joined[CHUNK];                                                                       \
        for (int64_t i = 0; i < count; i++)                                                       \
            joined[i] = START;                                                                    \
        for (int64_t r = window_from(y); r < window_to(y, p->height); r++)                        \
            for (int64_t c = window_from(x); c < window_to(x, p->width); c++) {                   \
                const type *at = in + (r * p->width + c) * p->row;                                \
                for (int64_t i = 0; i < count; i++)                                               \
                    joined[i] = JOIN(joined[i], at[i]);                                           \
            }                                                                                     \
        for (int64_t i = 0; i < count; i++)                                                       \
            out[i] = joined[i];                                                                   \
    }                                                                                             \
    void NAME(const struct pool *p)                                                               \
    {                                                                                             \
        int64_t out_height = (p->height + 1) / 2, out_width = (p->width + 1) / 2;                 \
        type *out = p->out;                                                                       \
        for (int64_t image = 0; image < p->images; image++) {                                     \
            const type *in = (const type *)p->in + image * p->height * p->width * p->row;         \
            for (int64_t y = 0; y < out_height; y++)                                              \
                for (int64_t x = 0; x < out_width; x++, out += p->row) {                          \
                    int64_t i = 0;                                                                \
                    for (; i + CHUNK <= p->row; i += CHUNK)                                       \
                        NAME##_chunk(p, in + i, out + i, y, x, CHUNK);                            \
                    if (i < p->row)                                                               \
                        NAME##_chunk(p, in + i, out + i, y, x, p->row - i);                       \
                }                                                                                 \
        }                                                                                         \
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

/* Up to 64 channels: `first` plus one where a bit is set. */
INLINE void add_word(const uint8_t *first, uint64_t bits, uint8_t *out, int64_t channels)
{
#ifdef __AVX512BW__
    __mmask64 there = channels >= 64 ? ~0ull : (1ull << channels) - 1;
    __m512i sum = first ? _mm512_maskz_loadu_epi8(there, first) : _mm512_setzero_si512();
    sum = _mm512_mask_add_epi8(sum, bits, sum, _mm512_set1_epi8(1));
    _mm512_mask_storeu_epi8(out, there, sum);
#else
    for (int64_t c = 0; c < channels && c < 64; c++)
        out[c] = (uint8_t)((first ? first[c] : 0) + (bits >> c & 1));
#endif
}

void add_spikes(const struct sum *s)
{
    int64_t words = words_of(s->channels);
    for (int64_t row = 0; row < s->rows; row++)
        for (int64_t w = 0; w < words; w++) {
            int64_t at = row * s->channels + w * 64, left = s->channels - w * 64;
            const uint8_t *first = s->first_counts ? s->first_counts + at : NULL;
            if (s->first_bits) {
                add_word(NULL, s->first_bits[row * words + w], s->out + at, left);
                first = s->out + at;
            }
            add_word(first, s->bits[row * words + w], s->out + at, left);
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
    int64_t integers;    /* whether sums of rounded inputs need all of 32 bits */
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
        reals x = clamped(rounded(load_some(in + i, size - i) * d->grid), -d->largest, d->largest);
        store_some(d->rounded + i, x, size - i);
    }
    return d->rounded;
}

#define WIDE 4
#define PIXELS 4

/* Sums of PIXELS neighbouring outputs, `count` groups each: in float, or exactly in 32 bits. */
#define SUM_PIXELS(NAME, type, SPREAD, ADD)                                                       \
    INLINE void NAME(const struct dense *d, const float *in, int64_t y, int64_t x,                \
                     int64_t pixels, int64_t first, const int64_t count, reals out[PIXELS][WIDE]) \
    {                                                                                             \
        int64_t row = groups_of(d->outputs) * LANES;                                              \
        type sums[PIXELS][WIDE] = {0};                                                            \
        for (int64_t r = 0; r < d->kernel; r++) {                                                 \
            int64_t py = y * d->stride - d->padding + r;                                          \
            if (py < 0 || py >= d->height)                                                        \
                continue;                                                                         \
            for (int64_t c = 0; c < d->kernel; c++) {                                             \
                const float *w = d->weights + (r * d->kernel + c) * d->inputs * row + first * LANES; \
                int64_t px = x * d->stride - d->padding + c;                                      \
                for (int64_t i = 0; i < d->inputs; i++, w += row) {                               \
                    type weights[WIDE];                                                           \
                    for (int64_t g = 0; g < count; g++)                                           \
                        weights[g] = __builtin_convertvector(load(w + g * LANES), type);          \
                    for (int64_t p = 0; p < PIXELS; p++) {                                        \
                        int64_t at = px + p * d->stride;                                          \
                        if (p >= pixels || at < 0 || at >= d->width)                              \
                            continue;                                                             \
                        type value = SPREAD(in[(py * d->width + at) * d->inputs + i]);            \
                        for (int64_t g = 0; g < count; g++)                                       \
                            sums[p][g] = ADD(value, weights[g], sums[p][g]);                      \
                    }                                                                             \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
        for (int64_t p = 0; p < PIXELS; p++)                                                      \
            for (int64_t g = 0; g < count; g++)                                                   \
                out[p][g] = __builtin_convertvector(sums[p][g], reals);                           \
    }

#define ALL_INTEGERS(x) ((int32_t)(x) - (ints){0})
#define ADD_INTEGERS(a, b, sum) ((a) * (b) + (sum))

SUM_PIXELS(sum_reals, reals, all, multiply_add)
SUM_PIXELS(sum_integers, ints, ALL_INTEGERS, ADD_INTEGERS)

INLINE void sum_pixels(const struct dense *d, const float *in, int64_t y, int64_t x, int64_t pixels,
                       int64_t first, const int64_t count, reals out[PIXELS][WIDE])
{
    if (d->integers)
        sum_integers(d, in, y, x, pixels, first, count, out);
    else
        sum_reals(d, in, y, x, pixels, first, count, out);
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
                    reals sums[PIXELS][WIDE];
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
    float *map;      /* workspace: see `spread_bytes_of` */
};

/* Bytes of `map` that it needs; the last pixels of a line read past its end. */
int64_t spread_bytes_of(const struct depthwise *d)
{
    int64_t margin = 2 * (d->kernel / 2), pixel = d->steps * groups_of(d->channels);
    int64_t pixels = (d->height + margin) * (d->width + margin) + PIXELS;
    return pixels * pixel * (int64_t)sizeof(reals);
}

/* One image spread out to floats, with a margin: [lines][columns][steps][16 * groups]. */
static void spread_map(const struct depthwise *d, int64_t image)
{
    int64_t margin = d->kernel / 2, groups = groups_of(d->channels);
    int64_t columns = d->width + 2 * margin;
    for (int64_t y = 0; y < d->height; y++)
        for (int64_t x = 0; x < d->width; x++)
            for (int64_t t = 0; t < d->steps; t++) {
                int64_t row = ((image * d->height + y) * d->width + x) * d->steps + t;
                reals *out = (reals *)d->map +
                             (((y + margin) * columns + x + margin) * d->steps + t) * groups;
                for (int64_t g = 0; g < groups; g++) {
                    if (d->bits) {
                        const uint64_t *at = d->bits + row * words_of(d->channels);
                        out[g] = where(((const uint16_t *)at)[g], all(1));
                        continue;
                    }
                    int64_t first = g * LANES;
                    out[g] = load_counts(d->counts + row * d->channels + first,
                                         d->channels - first) * d->unit;
                }
            }
}

/* One channel group of a line of outputs at one step, up to PIXELS of them. */
INLINE void sum_line(const struct depthwise *d, int64_t y, int64_t x, int64_t t, int64_t group,
                     reals *sums)
{
    int64_t groups = groups_of(d->channels), pixel = d->steps * groups;
    int64_t columns = d->width + d->kernel / 2 * 2;
    reals s[PIXELS];
    for (int p = 0; p < PIXELS; p++)
        s[p] = (reals){0};
    for (int64_t r = 0; r < d->kernel; r++) {
        const reals *in = (const reals *)d->map + ((y + r) * columns + x) * pixel + t * groups + group;
        const float *w = d->weights + (r * d->kernel * groups + group) * LANES;
        for (int64_t c = 0; c < d->kernel; c++, in += pixel, w += groups * LANES) {
            reals weight = load(w);
            for (int p = 0; p < PIXELS; p++)
                s[p] = multiply_add(in[p * pixel], weight, s[p]);
        }
    }
    for (int p = 0; p < PIXELS; p++)
        sums[p] = s[p];
}

static void run_line(const struct depthwise *d, int64_t y, int64_t x, int64_t group, int64_t row)
{
    int64_t at = group * LANES, left = d->channels - at;
    int64_t pixels = d->width - x < PIXELS ? d->width - x : PIXELS;
    reals membranes[PIXELS] = {0}, sums[PIXELS];
    for (int64_t t = 0; t < d->steps; t++) {
        sum_line(d, y, x, t, group, sums);
        for (int64_t p = 0; p < pixels; p++) {
            reals sum = sums[p] * load(d->scale + at) + load(d->bias + at);
            int64_t here = row + p * d->steps + t;
            if (d->currents)
                store_some(d->currents + here * d->channels + at, sum, left);
            if (d->neuron.kind == NO_NEURON)
                continue;
            fire(&d->neuron, &d->out, here, group, sum, membranes + p);
            if (left <= LANES)
                clear_rest(&d->neuron, &d->out, here);
        }
    }
}

void run_depthwise(const struct depthwise *d)
{
    memset(d->map, 0, (size_t)spread_bytes_of(d));
    for (int64_t image = 0; image < d->images; image++) {
        spread_map(d, image);
        for (int64_t y = 0; y < d->height; y++)
            for (int64_t x = 0; x < d->width; x += PIXELS) {
                int64_t row = ((image * d->height + y) * d->width + x) * d->steps;
                for (int64_t g = 0; g < groups_of(d->channels); g++)
                    run_line(d, y, x, g, row);
            }
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

static int64_t sum_of(const uint8_t *counts, int64_t n)
{
    int64_t total = 0, i = 0;
#ifdef __AVX512BW__
    __m512i sums = _mm512_setzero_si512();
    for (; i + 64 <= n; i += 64) {
        __m512i loaded = _mm512_loadu_si512(counts + i);
        sums = _mm512_add_epi64(sums, _mm512_sad_epu8(loaded, _mm512_setzero_si512()));
    }
    total = _mm512_reduce_add_epi64(sums);
#endif
    for (; i < n; i++)
        total += counts[i];
    return total;
}

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
            for (int64_t x = 0, next; x < r->width; x = next) {
                /* Pixels that as many windows see, all but those at the margins, are one run. */
                for (next = x + 1; next < r->width && columns[next] == columns[x];)
                    next++;
                int64_t row = ((image * r->height + y) * r->width + x) * r->steps, n = 0;
                int64_t rows = (next - x) * r->steps;
                if (r->bits)
                    for (int64_t w = row * words; w < (row + rows) * words; w++)
                        n += __builtin_popcountll(r->bits[w]);
                else
                    n = sum_of(r->counts + row * r->channels, rows * r->channels);
                r->counted[image] += n * lines * columns[x];
            }
    }
}
