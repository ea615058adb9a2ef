/* The first synapse of a static image: a dense convolution of real values, once for all steps.
 */
#include "vector.h"

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
#define PIXELS 4 /* neighbours at once, which share the weights that are read */

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
