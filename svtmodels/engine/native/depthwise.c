/* A depthwise convolution of spikes, and its neurons. Rows are (image, y, x, step).
 */
#include "neuron.h"

#define PIXELS 4 /* neighbours at once, which share the weights that are read */

/* Stride 1; the map keeps its size. */
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
