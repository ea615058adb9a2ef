/* Neurons on real-valued currents: of a residual stream, or behind what no spikes drive. */
#include "neuron.h"

struct layer {
    const float *currents; /* [positions, steps, channels]; [positions, channels] if static */
    int64_t positions, steps, channels;
    int64_t is_static; /* the same currents at every step */
    struct neuron neuron;
    struct spikes out;
};

void run_neurons(const struct layer *l)
{
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
