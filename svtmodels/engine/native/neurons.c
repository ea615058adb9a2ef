/* Neurons on real-valued currents: of a residual stream, or behind what no spikes drive. */
#include "neuron.h"

struct layer {
    const float *currents; /* [positions, steps, channels]; [positions, channels] if static */
    int64_t positions, steps, channels;
    int64_t is_static; /* the same currents at every step */
    struct neuron neuron;
    struct spikes out;
};

/* Official neurons, which most are, group by group. */
static void run_leaky(const struct layer *l)
{
    int64_t groups = groups_of(l->channels), words = words_of(l->channels);
    reals theta = all(l->neuron.theta);
    for (int64_t p = 0; p < l->positions; p++)
        for (int64_t g = 0; g < groups; g++) {
            const float *x = l->currents + p * (l->is_static ? 1 : l->steps) * l->channels;
            uint16_t *bits = (uint16_t *)(l->out.bits + p * l->steps * words) + g;
            int64_t left = l->channels - g * LANES;
            reals v = {0};
            for (int64_t t = 0; t < l->steps; t++, bits += words * 4) {
                reals h = v + (load_some(x + g * LANES, left) - v) * 0.5f;
                *bits = at_least(h, theta) & first_of(left);
                v = unless(*bits, h);
                x += l->is_static ? 0 : l->channels;
            }
        }
    for (int64_t row = 0; row < l->positions * l->steps; row++)
        clear_rest(&l->neuron, &l->out, row);
}

void run_neurons(const struct layer *l)
{
    if (l->neuron.kind == LEAKY && l->neuron.tau == 2) {
        run_leaky(l);
        return;
    }
    int64_t groups = groups_of(l->channels);
    reals membranes[groups];
    for (int64_t p = 0; p < l->positions; p++) {
        for (int64_t g = 0; g < groups; g++)
            membranes[g] = (reals){0};
        for (int64_t t = 0; t < l->steps; t++) {
            int64_t row = p * l->steps + t;
            const float *x = l->currents + (l->is_static ? p : row) * l->channels;
            for (int64_t g = 0; g < groups; g++)
                fire(&l->neuron, &l->out, row, g,
                     load_some(x + g * LANES, l->channels - g * LANES), membranes + g);
            clear_rest(&l->neuron, &l->out, row);
        }
    }
}
