/* A synapse that spikes drive, and what becomes of the sums of one of its output positions.
 */
#ifndef SPIKEFRONT_SYNAPSE_H
#define SPIKEFRONT_SYNAPSE_H

#include "neuron.h"

#define BLOCK 8 /* groups of a block of weights, whose sums stay in registers */

struct synapse {
    const uint64_t *bits;  /* spikes [images, height * width, steps, words], or */
    const uint8_t *counts; /* integer spikes [images, height * width, steps, inputs] */
    int64_t images, height, width, steps, inputs;
    int64_t kernel, stride, padding, out_height, out_width, outputs;
    const void *weights; /* [blocks][kernel * kernel * inputs][16 * groups of the block] */
    int64_t integers;    /* whether they are int16 */
    int64_t capacity;    /* spikes that 16 bits can hold the sum of */
    const float *values; /* [256]: what an integer spike multiplies by */
    const float *scale, *bias;       /* [16 * groups] */
    const int32_t *operations;       /* per weight row, or NULL: `outputs` each */
    struct neuron neuron;
    struct spikes out;
    float *currents;   /* [images, positions, steps, outputs], or NULL */
    const float *base; /* added to the currents, of their shape, or NULL */
    int64_t *counted;  /* [images]: operations, added to what is there */
    const int8_t *codes; /* [kernel * kernel * inputs / 4][16 * groups][4], for dense products */
    void *workspace;     /* see `workspace_of` */
};

/* Whether each position sees itself alone. */
INLINE int is_pointwise(const struct synapse *s)
{
    return s->kernel == 1 && s->stride == 1 && s->padding == 0;
}

/* Whether nothing but spikes of official neurons is wanted, which is most of the time. */
INLINE int only_spikes(const struct synapse *s)
{
    return s->neuron.kind == LEAKY && s->neuron.tau == 2 && !s->currents && !s->base;
}

/* Currents of `count` groups from `first` on, and the neurons behind them, at one output row.
 * `only` is `only_spikes`, a literal where this is inlined. */
INLINE void settle(const struct synapse *s, int64_t row, int64_t first, int64_t count,
                   const reals *sums, reals *membranes, const int only)
{
    int64_t behind = s->outputs - (first + count) * LANES;
    if (only) {
        uint16_t *bits = (uint16_t *)(s->out.bits + row * words_of(s->outputs)) + first;
        reals theta = all(s->neuron.theta);
        for (int64_t j = 0; j < count; j++) {
            int64_t at = (first + j) * LANES;
            reals x = sums[j] * load(s->scale + at) + load(s->bias + at);
            reals h = membranes[j] + (x - membranes[j]) * 0.5f;
            bits[j] = at_least(h, theta);
            membranes[j] = unless(bits[j], h);
        }
        if (behind < 0)
            bits[count - 1] &= (uint16_t)(0xffff >> -behind);
        if (behind <= 0)
            clear_rest(&s->neuron, &s->out, row);
        return;
    }
    for (int64_t j = 0; j < count; j++) {
        int64_t group = first + j, at = group * LANES, left = s->outputs - at;
        reals x = sums[j] * load(s->scale + at) + load(s->bias + at);
        if (s->base)
            x = load_some(s->base + row * s->outputs + at, left) + x;
        if (s->currents)
            store_some(s->currents + row * s->outputs + at, x, left);
        if (s->neuron.kind != NO_NEURON)
            fire(&s->neuron, &s->out, row, group, x, membranes + j);
    }
    if (s->neuron.kind != NO_NEURON && behind <= 0)
        clear_rest(&s->neuron, &s->out, row);
}

INLINE void clear(reals *membranes, int64_t groups)
{
    for (int64_t g = 0; g < groups; g++)
        membranes[g] = (reals){0};
}

#endif
