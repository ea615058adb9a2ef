/* A synapse that spikes drive: convolution or pointwise map, affine, and the neurons behind it.
 *
 * Weights are rows, one per kernel position and input channel, of all output channels; the sum of
 * an output position is the sum of the rows of the spikes in its window. All steps of a position
 * follow each other, so the neurons' membranes never leave the core, and what comes out is bits.
 * Integer weights are summed in 16 bits, and moved into 32 bits before they can overflow.
 *
 * Rows of an activation are (image, position, step); `groups` are sixteen output channels.
 */
#include "events.h"
#include "neuron.h"

#define BLOCK 8 /* groups whose sums stay in registers */

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
    uint16_t *lists;   /* workspace: see `workspace_of` */
};

/* Sums of one list of weight rows. Small blocks have several sums on their way, as an addition
 * takes three to four cycles. */
#define SUM_REALS(NAME, COUNT, WAYS)                                                              \
    INLINE void NAME(const float *weights, const uint16_t *list, int64_t n, reals *sums)          \
    {                                                                                             \
        reals s[WAYS][COUNT];                                                                     \
        for (int w = 0; w < WAYS; w++)                                                            \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[w][j] = (reals){0};                                                             \
        int64_t i = 0;                                                                            \
        for (; i + WAYS <= n; i += WAYS)                                                          \
            for (int w = 0; w < WAYS; w++) {                                                      \
                const reals *row = (const reals *)(weights + (int64_t)list[i + w] * COUNT * LANES); \
                for (int j = 0; j < COUNT; j++)                                                   \
                    s[w][j] += row[j];                                                            \
            }                                                                                     \
        for (; i < n; i++) {                                                                      \
            const reals *row = (const reals *)(weights + (int64_t)list[i] * COUNT * LANES);       \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[0][j] += row[j];                                                                \
        }                                                                                         \
        for (int j = 0; j < COUNT; j++) {                                                         \
            sums[j] = s[0][j];                                                                    \
            for (int w = 1; w < WAYS; w++)                                                        \
                sums[j] += s[w][j];                                                               \
        }                                                                                         \
    }                                                                                             \
    INLINE void NAME##_counted(const float *weights, const uint16_t *list, const uint8_t *values, \
                               const float *table, int64_t n, reals *sums)                        \
    {                                                                                             \
        reals s[WAYS][COUNT];                                                                     \
        for (int w = 0; w < WAYS; w++)                                                            \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[w][j] = (reals){0};                                                             \
        int64_t i = 0;                                                                            \
        for (; i + WAYS <= n; i += WAYS)                                                          \
            for (int w = 0; w < WAYS; w++) {                                                      \
                const reals *row = (const reals *)(weights + (int64_t)list[i + w] * COUNT * LANES); \
                reals value = all(table[values[i + w]]);                                          \
                for (int j = 0; j < COUNT; j++)                                                   \
                    s[w][j] = multiply_add(value, row[j], s[w][j]);                               \
            }                                                                                     \
        for (; i < n; i++) {                                                                      \
            const reals *row = (const reals *)(weights + (int64_t)list[i] * COUNT * LANES);       \
            reals value = all(table[values[i]]);                                                  \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[0][j] = multiply_add(value, row[j], s[0][j]);                                   \
        }                                                                                         \
        for (int j = 0; j < COUNT; j++) {                                                         \
            sums[j] = s[0][j];                                                                    \
            for (int w = 1; w < WAYS; w++)                                                        \
                sums[j] += s[w][j];                                                               \
        }                                                                                         \
    }

#define SUM_INTEGERS(NAME, COUNT)                                                                 \
    INLINE void NAME(const int16_t *weights, const uint16_t *list, const uint8_t *values,         \
                     int64_t n, int64_t capacity, reals *sums)                                    \
    {                                                                                             \
        ints total[COUNT];                                                                        \
        for (int j = 0; j < COUNT; j++)                                                           \
            total[j] = (ints){0};                                                                 \
        for (int64_t start = 0; start < n; start += capacity) {                                   \
            int64_t end = start + capacity < n ? start + capacity : n;                            \
            shorts s[COUNT];                                                                      \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[j] = (shorts){0};                                                               \
            if (values)                                                                           \
                for (int64_t i = start; i < end; i++) {                                           \
                    const shorts *row =                                                           \
                        (const shorts *)(weights + (int64_t)list[i] * COUNT * LANES);             \
                    for (int j = 0; j < COUNT; j++)                                               \
                        s[j] += row[j] * (int16_t)values[i];                                      \
                }                                                                                 \
            else                                                                                  \
                for (int64_t i = start; i < end; i++) {                                           \
                    const shorts *row =                                                           \
                        (const shorts *)(weights + (int64_t)list[i] * COUNT * LANES);             \
                    for (int j = 0; j < COUNT; j++)                                               \
                        s[j] += row[j];                                                           \
                }                                                                                 \
            for (int j = 0; j < COUNT; j++)                                                       \
                total[j] += __builtin_convertvector(s[j], ints);                                  \
        }                                                                                         \
        for (int j = 0; j < COUNT; j++)                                                           \
            sums[j] = __builtin_convertvector(total[j], reals);                                   \
    }

SUM_REALS(reals_1, 1, 4)
SUM_REALS(reals_2, 2, 2)
SUM_REALS(reals_3, 3, 2)
SUM_REALS(reals_4, 4, 1)
SUM_REALS(reals_5, 5, 1)
SUM_REALS(reals_6, 6, 1)
SUM_REALS(reals_7, 7, 1)
SUM_REALS(reals_8, 8, 1)
SUM_INTEGERS(integers_1, 1)
SUM_INTEGERS(integers_2, 2)
SUM_INTEGERS(integers_3, 3)
SUM_INTEGERS(integers_4, 4)
SUM_INTEGERS(integers_5, 5)
SUM_INTEGERS(integers_6, 6)
SUM_INTEGERS(integers_7, 7)
SUM_INTEGERS(integers_8, 8)

/* The spikes of one window: weight rows, and values where they are integers (else NULL). */
struct window {
    const uint16_t *list;
    const uint8_t *values;
    int64_t n;
};

#define SUM_CASE(COUNT)                                                                           \
    case COUNT:                                                                                   \
        if (s->integers)                                                                          \
            integers_##COUNT((const int16_t *)weights, w->list, w->values, w->n, s->capacity,     \
                             sums);                                                               \
        else if (w->values)                                                                       \
            reals_##COUNT##_counted((const float *)weights, w->list, w->values, s->values, w->n,  \
                                    sums);                                                        \
        else                                                                                      \
            reals_##COUNT((const float *)weights, w->list, w->n, sums);                           \
        break;

static inline void sum_rows(const struct synapse *s, const void *weights, int64_t count,
                            const struct window *w, reals *sums)
{
    switch (count) {
        SUM_CASE(1)
        SUM_CASE(2)
        SUM_CASE(3)
        SUM_CASE(4)
        SUM_CASE(5)
        SUM_CASE(6)
        SUM_CASE(7)
        SUM_CASE(8)
    }
}

static int64_t operations_of(const struct synapse *s, const struct window *w)
{
    int64_t total = 0;
    if (!s->operations) {
        if (!w->values)
            return w->n * s->outputs;
        for (int64_t i = 0; i < w->n; i++)
            total += w->values[i];
        return total * s->outputs;
    }
    for (int64_t i = 0; i < w->n; i++)
        total += (int64_t)s->operations[w->list[i]] * (w->values ? w->values[i] : 1);
    return total;
}

/* One output position at one step, `row` of the output; `membranes` are those of its neurons. */
static void run_window(const struct synapse *s, const struct window *w, int64_t image, int64_t row,
                       reals *membranes)
{
    int64_t groups = groups_of(s->outputs), rows = s->kernel * s->kernel * s->inputs;
    int64_t size = s->integers ? sizeof(int16_t) : sizeof(float);
    const char *weights = s->weights;
    for (int64_t first = 0; first < groups; first += BLOCK) {
        int64_t count = groups - first < BLOCK ? groups - first : BLOCK;
        reals sums[BLOCK];
        sum_rows(s, weights, count, w, sums);
        weights += rows * count * LANES * size;
        for (int64_t j = 0; j < count; j++) {
            int64_t group = first + j, at = group * LANES, left = s->outputs - at;
            reals x = sums[j] * load(s->scale + at) + load(s->bias + at);
            if (s->base)
                x = load_some(s->base + row * s->outputs + at, left) + x;
            if (s->currents)
                store_some(s->currents + row * s->outputs + at, x, left);
            if (s->neuron.kind != NO_NEURON)
                fire(&s->neuron, &s->out, row, group, x, membranes + group);
        }
    }
    if (s->neuron.kind != NO_NEURON)
        clear_rest(&s->neuron, &s->out, row);
    s->counted[image] += operations_of(s, w);
}

static void clear(reals *membranes, int64_t groups)
{
    for (int64_t g = 0; g < groups; g++)
        membranes[g] = (reals){0};
}

/* Each position sees itself alone. */
static void run_pointwise(const struct synapse *s)
{
    int64_t rows = s->height * s->width * s->steps, words = words_of(s->inputs);
    uint16_t *list = s->lists;
    uint8_t *values = (uint8_t *)(list + s->inputs + SLACK);
    reals membranes[groups_of(s->outputs)];
    for (int64_t row = 0; row < s->images * rows; row++) {
        if (row % s->steps == 0)
            clear(membranes, groups_of(s->outputs));
        uint16_t *end = s->bits
                            ? list_bits(s->bits + row * words, s->inputs, 0, list)
                            : list_counts(s->counts + row * s->inputs, s->inputs, 0, list, values);
        struct window w = {list, s->bits ? NULL : values, end - list};
        run_window(s, &w, row / rows, row, membranes);
    }
}

/* The lists of one image: of every line of pixels and step, entry x * inputs + c, in order. */
struct lines {
    uint16_t *entries; /* [height][steps][width * inputs + SLACK] */
    uint8_t *values;   /* the same */
    int32_t *starts;   /* [height][steps][width + 1] */
    int64_t length;    /* of a line's list at most */
};

static struct lines lines_of(const struct synapse *s, uint16_t **rest)
{
    int64_t lines = s->height * s->steps, length = s->width * s->inputs + SLACK;
    uint16_t *at = s->lists;
    struct lines l = {.entries = at, .length = length};
    at += lines * length;
    l.values = (uint8_t *)at;
    at += (lines * length + 1) / 2;
    at += (uintptr_t)at % 4 / 2;
    l.starts = (int32_t *)at;
    *rest = at + 2 * lines * (s->width + 1);
    return l;
}

static void list_image(const struct synapse *s, int64_t image, const struct lines *l)
{
    int64_t words = words_of(s->inputs);
    for (int64_t y = 0; y < s->height; y++)
        for (int64_t t = 0; t < s->steps; t++) {
            int64_t line = y * s->steps + t;
            uint16_t *list = l->entries + line * l->length, *end = list;
            uint8_t *values = l->values + line * l->length;
            int32_t *starts = l->starts + line * (s->width + 1);
            for (int64_t x = 0; x < s->width; x++) {
                int64_t row = ((image * s->height + y) * s->width + x) * s->steps + t;
                starts[x] = (int32_t)(end - list);
                end = s->bits ? list_bits(s->bits + row * words, s->inputs, x * s->inputs, end)
                              : list_counts(s->counts + row * s->inputs, s->inputs, x * s->inputs,
                                            end, values + (end - list));
            }
            starts[s->width] = (int32_t)(end - list);
        }
}

/* The window of an output position: the runs of its lines, entries made weight rows. */
static int64_t gather(const struct synapse *s, const struct lines *l, int64_t y, int64_t x,
                      int64_t t, uint16_t *list, uint8_t *values)
{
    int64_t top = y * s->stride - s->padding, left = x * s->stride - s->padding, n = 0;
    int64_t from = left < 0 ? 0 : left;
    int64_t to = left + s->kernel < s->width ? left + s->kernel : s->width;
    if (from >= to)
        return 0;
    for (int64_t k = 0; k < s->kernel; k++) {
        if (top + k < 0 || top + k >= s->height)
            continue;
        int64_t line = (top + k) * s->steps + t;
        const int32_t *starts = l->starts + line * (s->width + 1);
        int64_t begin = starts[from], count = starts[to] - begin;
        int64_t shift = (k * s->kernel - left) * s->inputs;
        copy_shifted(list + n, l->entries + line * l->length + begin, count, (uint16_t)shift);
        if (s->counts)
            copy_values(values + n, l->values + line * l->length + begin, count);
        n += count;
    }
    return n;
}

static void run_convolution(const struct synapse *s)
{
    uint16_t *list;
    struct lines l = lines_of(s, &list);
    uint8_t *values = (uint8_t *)(list + s->kernel * s->kernel * s->inputs + SLACK);
    reals membranes[groups_of(s->outputs)];
    int64_t row = 0;
    for (int64_t image = 0; image < s->images; image++) {
        list_image(s, image, &l);
        for (int64_t y = 0; y < s->out_height; y++)
            for (int64_t x = 0; x < s->out_width; x++) {
                clear(membranes, groups_of(s->outputs));
                for (int64_t t = 0; t < s->steps; t++, row++) {
                    int64_t n = gather(s, &l, y, x, t, list, values);
                    struct window w = {list, s->counts ? values : NULL, n};
                    run_window(s, &w, image, row, membranes);
                }
            }
    }
}

void run_synapse(const struct synapse *s)
{
    if (s->kernel == 1 && s->stride == 1 && s->padding == 0)
        run_pointwise(s);
    else
        run_convolution(s);
}

/* Bytes of `lists` that a synapse needs. */
int64_t workspace_of(const struct synapse *s)
{
    int64_t window = s->kernel * s->kernel * s->inputs + SLACK;
    int64_t lines = s->height * s->steps, length = s->width * s->inputs + SLACK;
    return 3 * window + lines * (3 * length + 4 * (s->width + 1)) + 64;
}
