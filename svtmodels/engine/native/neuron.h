/* What becomes of the currents of sixteen channels at one position, step after step.
 *
 *     h = v + (x - v) / tau;   s = h >= theta;   v = h (1 - s)
 *
 * in this order and rounding, as in ../../parts/lif.c; compile with -ffp-contract=off.
 */
#ifndef SPIKEFRONT_NEURON_H
#define SPIKEFRONT_NEURON_H

#include "vector.h"

enum neuron_kind {
    NO_NEURON,
    LEAKY,          /* spikes: one bit */
    LEAKY_ROUNDED,  /* the same; its membrane is rounded to a grid behind every step */
    COUNT_TO_EVEN,  /* integer spikes round(clamp(x, 0, levels)), halves to even */
    COUNT_HALF_UP   /* the same, halves up */
};

struct neuron {
    int64_t kind;
    float tau, theta;
    float step, half; /* of the grid: its distance, and its levels below zero */
    float levels;
};

/* Spikes of sixteen leaky neurons; `v` is their membrane. */
INLINE uint16_t fired(const struct neuron *n, reals x, reals *v)
{
    reals h = n->tau == 2.0f ? *v + (x - *v) * 0.5f : *v + (x - *v) / n->tau;
    uint16_t spikes = at_least(h, all(n->theta));
    h = unless(spikes, h);
    if (n->kind == LEAKY_ROUNDED)
        h = clamped(rounded(h / n->step), -n->half, n->half - 1) * n->step;
    *v = h;
    return spikes;
}

/* Integer spikes of sixteen neurons without a membrane. */
INLINE reals counted(const struct neuron *n, reals x)
{
    x = clamped(x, 0, n->levels);
    return n->kind == COUNT_TO_EVEN ? rounded(x) : rounded_down(x + 0.5f);
}

/* Where sixteen neurons put their spikes: the group's bits or counts at one position and step. */
struct spikes {
    uint64_t *bits;  /* [rows, words] */
    uint8_t *counts; /* [rows, channels] */
    int64_t channels;
};

INLINE void fire(const struct neuron *n, const struct spikes *out, int64_t row, int64_t group,
                 reals x, reals *v)
{
    int64_t left = out->channels - group * LANES;
    if (n->kind >= COUNT_TO_EVEN) {
        store_counts(out->counts + row * out->channels + group * LANES, counted(n, x), left);
        return;
    }
    uint16_t spikes = fired(n, x, v);
    spikes &= first_of(left);
    ((uint16_t *)(out->bits + row * words_of(out->channels)))[group] = spikes;
}

/* The groups behind the last one belong to no channel, but their bits are read. */
INLINE void clear_rest(const struct neuron *n, const struct spikes *out, int64_t row)
{
    if (n->kind >= COUNT_TO_EVEN)
        return;
    int64_t words = words_of(out->channels);
    uint16_t *bits = (uint16_t *)(out->bits + row * words);
    for (int64_t g = groups_of(out->channels); g < words * 4; g++)
        bits[g] = 0;
}

#endif
