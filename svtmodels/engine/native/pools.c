/* Max pooling 3x3, stride 2, padding 1. Rows are (image, y, x, step).
 */
#include "vector.h"


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

/* Of spikes, and of currents. */
POOL(pool_bits, uint64_t, 0, EITHER)
POOL(pool_currents, float, -INFINITY, LARGER)
