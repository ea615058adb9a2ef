/* Sums of weight rows: what a window's spikes add up to, in up to eight groups of registers.
 */
#ifndef SPIKEFRONT_SUMS_H
#define SPIKEFRONT_SUMS_H

#include "synapse.h"

/* Sums of one list of weight rows, each times its value where spikes are integers. Small blocks
 * have several sums on their way, as an addition takes three to four cycles. */
#define SUM_REALS(NAME, COUNT, WAYS, ADD)                                                         \
    INLINE void NAME(const float *weights, const uint16_t *list, const uint8_t *values,           \
                     const float *table, int64_t n, reals *sums)                                  \
    {                                                                                             \
        (void)values, (void)table;                                                                \
        reals s[WAYS][COUNT];                                                                     \
        for (int w = 0; w < WAYS; w++)                                                            \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[w][j] = (reals){0};                                                             \
        int64_t i = 0;                                                                            \
        for (; i + WAYS <= n; i += WAYS)                                                          \
            for (int w = 0; w < WAYS; w++) {                                                      \
                const reals *row = (const reals *)(weights + (int64_t)list[i + w] * COUNT * LANES); \
                for (int j = 0; j < COUNT; j++)                                                   \
                    s[w][j] = ADD(i + w, row[j], s[w][j]);                                        \
            }                                                                                     \
        for (; i < n; i++) {                                                                      \
            const reals *row = (const reals *)(weights + (int64_t)list[i] * COUNT * LANES);       \
            for (int j = 0; j < COUNT; j++)                                                       \
                s[0][j] = ADD(i, row[j], s[0][j]);                                                \
        }                                                                                         \
        for (int j = 0; j < COUNT; j++) {                                                         \
            sums[j] = s[0][j];                                                                    \
            for (int w = 1; w < WAYS; w++)                                                        \
                sums[j] += s[w][j];                                                               \
        }                                                                                         \
    }

#define ADD_ROW(i, row, sum) ((sum) + (row))
#define ADD_COUNTED(i, row, sum) multiply_add(all(table[values[i]]), row, sum)

/* The sums are 32-bit integers, in vectors that are called reals until `as_reals`. */
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
            sums[j] = (reals)total[j];                                                            \
    }

SUM_REALS(reals_1, 1, 4, ADD_ROW)
SUM_REALS(reals_2, 2, 2, ADD_ROW)
SUM_REALS(reals_3, 3, 2, ADD_ROW)
SUM_REALS(reals_4, 4, 1, ADD_ROW)
SUM_REALS(reals_5, 5, 1, ADD_ROW)
SUM_REALS(reals_6, 6, 1, ADD_ROW)
SUM_REALS(reals_7, 7, 1, ADD_ROW)
SUM_REALS(reals_8, 8, 1, ADD_ROW)
SUM_REALS(counted_1, 1, 4, ADD_COUNTED)
SUM_REALS(counted_2, 2, 2, ADD_COUNTED)
SUM_REALS(counted_3, 3, 2, ADD_COUNTED)
SUM_REALS(counted_4, 4, 1, ADD_COUNTED)
SUM_REALS(counted_5, 5, 1, ADD_COUNTED)
SUM_REALS(counted_6, 6, 1, ADD_COUNTED)
SUM_REALS(counted_7, 7, 1, ADD_COUNTED)
SUM_REALS(counted_8, 8, 1, ADD_COUNTED)
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
    uint16_t *list;
    uint8_t *values;
    int64_t n;
};

#define SUM_CASE(COUNT)                                                                           \
    case COUNT:                                                                                   \
        if (s->integers)                                                                          \
            integers_##COUNT((const int16_t *)weights, w->list, w->values, w->n, s->capacity,     \
                             sums);                                                               \
        else if (w->values)                                                                       \
            counted_##COUNT((const float *)weights, w->list, w->values, s->values, w->n, sums);   \
        else                                                                                      \
            reals_##COUNT((const float *)weights, w->list, NULL, NULL, w->n, sums);               \
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

#endif
