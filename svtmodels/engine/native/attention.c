/* What attentions compute besides their synapses. All sums are small integers, exact in float.
 *
 * Activations are rows (image, token, step); all images of a batch at once.
 */
#include "events.h"
#include "neuron.h"

struct attention {
    const uint64_t *q_bits, *k_bits, *v_bits;    /* spikes, or */
    const uint8_t *q_counts, *k_counts, *v_counts; /* integer spikes */
    int64_t images, tokens, steps, heads, qk, v; /* channels of all heads */
    float unit, scale; /* the products times unit, then times scale */
    struct neuron neuron;
    struct spikes out;
    float *currents;  /* [images, tokens, steps, v], or NULL */
    int64_t *counted; /* [images]: operations, added to what is there */
    float *products;  /* workspace: [steps][qk / heads][v / heads, padded] */
};

/* The part of word `w` that channels from, ..., from + count - 1 take, as a mask. */
INLINE uint64_t part_of(int64_t w, int64_t from, int64_t count)
{
    int64_t first = from > w * 64 ? from - w * 64 : 0, end = from + count - w * 64;
    uint64_t below = end >= 64 ? ~0ull : (1ull << end) - 1;
    return below & ~0ull << first;
}

static int64_t count_bits(const uint64_t *row, int64_t from, int64_t count)
{
    int64_t n = 0;
    if (from / 64 == (from + count - 1) / 64)
        return __builtin_popcountll(row[from / 64] >> from % 64 & part_of(0, 0, count));
    for (int64_t w = from / 64; w * 64 < from + count; w++)
        n += __builtin_popcountll(row[w] & part_of(w, from, count));
    return n;
}

static void copy_bits(const uint64_t *row, uint64_t *to, int64_t from, int64_t count)
{
    if (from / 64 == (from + count - 1) / 64) {
        to[from / 64] |= row[from / 64] & part_of(0, 0, count) << from % 64;
        return;
    }
    for (int64_t w = from / 64; w * 64 < from + count; w++)
        to[w] |= row[w] & part_of(w, from, count);
}

/* Channels of a head that fire, and how often. */
static int64_t list_head(const uint64_t *bits, const uint8_t *counts, int64_t row, int64_t channels,
                         int64_t from, int64_t count, uint16_t *list, uint8_t *values)
{
    int64_t n = 0;
    if (!bits) {
        const uint8_t *at = counts + row * channels + from;
        for (int64_t c = 0; c < count; c++)
            if (at[c]) {
                values[n] = at[c];
                list[n++] = (uint16_t)c;
            }
        return n;
    }
    const uint64_t *at = bits + row * words_of(channels);
    for (int64_t c = 0; c < count;) {
        int64_t word = (from + c) / 64, shift = (from + c) % 64, here = 64 - shift;
        here = here < count - c ? here : count - c;
        uint64_t left = at[word] >> shift;
        if (here < 64)
            left &= (1ull << here) - 1;
        for (; left; left &= left - 1) {
            values[n] = 1;
            list[n++] = (uint16_t)(c + __builtin_ctzll(left));
        }
        c += here;
    }
    return n;
}

/* A head's values as floats, [groups] of sixteen. */
static int64_t spread_head(const struct attention *a, int64_t row, int64_t from, int64_t count,
                           reals *out)
{
    int64_t total = 0;
    for (int64_t c = 0; c < count; c += LANES) {
        int64_t lanes = count - c < LANES ? count - c : LANES;
        if (a->v_bits) {
            const uint64_t *at = a->v_bits + row * words_of(a->v);
            int64_t first = from + c, shift = first % 64;
            uint64_t bits = at[first / 64] >> shift;
            if (shift + lanes > 64)
                bits |= at[first / 64 + 1] << (64 - shift);
            bits &= (1u << lanes) - 1;
            total += __builtin_popcountll(bits);
            out[c / LANES] = where((uint16_t)bits, all(1));
            continue;
        }
        const uint8_t *at = a->v_counts + row * a->v + from + c;
        for (int64_t j = 0; j < lanes; j++)
            total += at[j];
        out[c / LANES] = load_counts(at, lanes);
    }
    return total;
}

/* k^T v of one head at one step: [qk / heads][groups]. */
static void multiply_keys(const struct attention *a, int64_t image, int64_t head, int64_t t,
                          reals *product)
{
    int64_t keys = a->qk / a->heads, width = a->v / a->heads, groups = groups_of(width);
    uint16_t list[keys + 1];
    uint8_t counts[keys + 1];
    reals values[groups];
    for (int64_t i = 0; i < keys * groups; i++)
        product[i] = (reals){0};
    for (int64_t n = 0; n < a->tokens; n++) {
        int64_t row = (image * a->tokens + n) * a->steps + t;
        int64_t fires =
            list_head(a->k_bits, a->k_counts, row, a->qk, head * keys, keys, list, counts);
        if (!fires)
            continue;
        int64_t sum = spread_head(a, row, head * width, width, values);
        for (int64_t i = 0; i < fires; i++) {
            a->counted[image] += sum * counts[i];
            reals value = all(counts[i]), *into = product + list[i] * groups;
            for (int64_t g = 0; g < groups; g++)
                into[g] += value * values[g];
        }
    }
}

/* Spikes of one head: its groups may begin anywhere in a row, so bits are set one group after the
 * other; the rows must be zero before. */
static void fire_head(const struct attention *a, int64_t row, int64_t from, int64_t width,
                      const reals *currents, reals *membranes)
{
    for (int64_t c = 0; c < width; c += LANES) {
        int64_t lanes = width - c < LANES ? width - c : LANES, first = from + c;
        if (a->neuron.kind >= COUNT_TO_EVEN) {
            store_counts(a->out.counts + row * a->v + first, counted(&a->neuron, currents[c / LANES]),
                         lanes);
            continue;
        }
        uint64_t spikes = fired(&a->neuron, currents[c / LANES], membranes + c / LANES);
        spikes &= (1u << lanes) - 1;
        uint64_t *at = a->out.bits + row * words_of(a->v) + first / 64;
        at[0] |= spikes << first % 64;
        if (first % 64 + lanes > 64)
            at[1] |= spikes >> (64 - first % 64);
    }
}

/* neuron(q (k^T v) scale), per head; out's bits must be zero before. */
void run_matrix_attention(const struct attention *a)
{
    int64_t keys = a->qk / a->heads, width = a->v / a->heads, groups = groups_of(width);
    reals *products = (reals *)a->products, sums[groups], membranes[groups];
    uint16_t list[keys + 1];
    uint8_t counts[keys + 1];
    for (int64_t unit = 0; unit < a->images * a->heads; unit++) {
        int64_t image = unit / a->heads, head = unit % a->heads;
        for (int64_t t = 0; t < a->steps; t++)
            multiply_keys(a, image, head, t, products + t * keys * groups);
        for (int64_t n = 0; n < a->tokens; n++) {
            for (int64_t g = 0; g < groups; g++)
                membranes[g] = (reals){0};
            for (int64_t t = 0; t < a->steps; t++) {
                int64_t row = (image * a->tokens + n) * a->steps + t;
                const reals *product = products + t * keys * groups;
                int64_t fires =
                    list_head(a->q_bits, a->q_counts, row, a->qk, head * keys, keys, list, counts);
                for (int64_t g = 0; g < groups; g++)
                    sums[g] = (reals){0};
                for (int64_t i = 0; i < fires; i++) {
                    reals value = all(counts[i]);
                    a->counted[image] += counts[i] * width;
                    for (int64_t g = 0; g < groups; g++)
                        sums[g] += value * product[list[i] * groups + g];
                }
                for (int64_t g = 0; g < groups; g++) {
                    sums[g] = (sums[g] * a->unit) * a->scale;
                    if (a->currents)
                        store_some(a->currents + row * a->v + head * width + g * LANES, sums[g],
                                   width - g * LANES);
                }
                fire_head(a, row, head * width, width, sums, membranes);
            }
        }
    }
}

/* q * neuron(sum over tokens of k * v), channel by channel. `currents` [images, steps, v]. */
void run_hadamard_attention(const struct attention *a)
{
    int64_t words = words_of(a->v), groups = words * 4;
    reals sums[groups], membranes[groups];
    uint64_t mask[words];
    memset(mask, 0, sizeof mask);
    for (int64_t image = 0; image < a->images; image++) {
        for (int64_t g = 0; g < groups; g++)
            membranes[g] = (reals){0};
        for (int64_t t = 0; t < a->steps; t++) {
            for (int64_t g = 0; g < groups; g++)
                sums[g] = (reals){0};
            for (int64_t n = 0; n < a->tokens; n++) {
                int64_t row = ((image * a->tokens + n) * a->steps + t) * words;
                for (int64_t w = 0; w < words; w++) {
                    uint64_t both = a->k_bits[row + w] & a->v_bits[row + w];
                    a->counted[image] += __builtin_popcountll(both);
                    for (int64_t g = 0; g < 4; g++)
                        sums[w * 4 + g] += where((uint16_t)(both >> 16 * g), all(1));
                }
            }
            for (int64_t g = 0; g < groups; g++) {
                ((uint16_t *)mask)[g] = fired(&a->neuron, sums[g], membranes + g);
                if (a->currents && g < groups_of(a->v))
                    store_some(a->currents + (image * a->steps + t) * a->v + g * LANES, sums[g],
                               a->v - g * LANES);
            }
            for (int64_t n = 0; n < a->tokens; n++) {
                int64_t row = ((image * a->tokens + n) * a->steps + t) * words;
                for (int64_t w = 0; w < words; w++)
                    a->out.bits[row + w] = a->q_bits[row + w] & mask[w];
            }
        }
    }
}

/* k * neuron(sum over a head's channels of q), token by token: k is `v_bits` here, as it is what
 * passes. out's bits must be zero before. `currents` [images, tokens, steps, heads]. */
void run_token_attention(const struct attention *a)
{
    int64_t queries = a->qk / a->heads, width = a->v / a->heads, groups = groups_of(a->heads);
    int64_t words = words_of(a->v);
    reals sums[groups], membranes[groups];
    for (int64_t place = 0; place < a->images * a->tokens; place++) {
        int64_t image = place / a->tokens;
        for (int64_t g = 0; g < groups; g++)
            membranes[g] = (reals){0};
        for (int64_t t = 0; t < a->steps; t++) {
            int64_t row = place * a->steps + t;
            float *sum = (float *)sums;
            for (int64_t h = 0; h < a->heads; h++) {
                int64_t n = count_bits(a->q_bits + row * words_of(a->qk), h * queries, queries);
                sum[h] = (float)n;
                a->counted[image] += n;
            }
            for (int64_t h = a->heads; h < groups * LANES; h++)
                sum[h] = 0;
            if (a->currents)
                memcpy(a->currents + row * a->heads, sum, (size_t)a->heads * sizeof(float));
            const uint64_t *from = a->v_bits + row * words;
            uint64_t *to = a->out.bits + row * words;
            for (int64_t g = 0; g < groups; g++) {
                uint16_t mask = fired(&a->neuron, sums[g], membranes + g);
                for (int64_t h = g * LANES; h < a->heads && h < (g + 1) * LANES; h++)
                    if (mask >> (h - g * LANES) & 1)
                        copy_bits(from, to, h * width, width);
            }
        }
    }
}

/* Bytes of `products` that an attention needs. */
int64_t products_of(const struct attention *a)
{
    return a->steps * (a->qk / a->heads) * groups_of(a->v / a->heads) * (int64_t)sizeof(reals);
}
