/* A synapse with integer weights where much fires: dense products of bytes, four at a time.
 *
 * The same sums as those of synapse.c, exactly: 8-bit spikes times 8-bit codes in 32 bits. The map
 * of an image is spread out to bytes, with its margin, so that each line of a window is one run.
 */
#include "synapse.h"

#define PIXELS 4 /* output positions at once, which share the weights that are read */
#define WIDE 4   /* groups at once */

struct map {
    uint8_t *bytes; /* [lines][steps][columns][channels] */
    int64_t lines, columns, channels;
};

static struct map map_of(const struct synapse *s)
{
    struct map m = {.bytes = s->workspace, .channels = (s->inputs + 3) / 4 * 4};
    int pointwise = is_pointwise(s);
    m.lines = pointwise ? 1 : s->height + 2 * s->padding;
    m.columns = pointwise ? s->height * s->width : s->width + 2 * s->padding;
    return m;
}

static void spread_row(const struct synapse *s, int64_t row, uint8_t *out)
{
    if (s->counts) {
        memcpy(out, s->counts + row * s->inputs, (size_t)s->inputs);
        return;
    }
    const uint64_t *bits = s->bits + row * words_of(s->inputs);
    for (int64_t c = 0; c < s->inputs; c += 64) {
#ifdef __AVX512BW__
        int64_t left = s->inputs - c;
        __mmask64 there = left >= 64 ? ~0ull : (1ull << left) - 1;
        _mm512_mask_storeu_epi8(out + c, there, _mm512_maskz_set1_epi8(bits[c / 64], 1));
#else
        for (int64_t j = c; j < s->inputs && j < c + 64; j++)
            out[j] = bits[c / 64] >> (j - c) & 1;
#endif
    }
}

/* Margins and padding channels were zeroed once and are never written. */
static void spread_image(const struct synapse *s, int64_t image, const struct map *m)
{
    int64_t width = m->columns - 2 * s->padding, height = m->lines - 2 * s->padding;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int64_t t = 0; t < s->steps; t++) {
                int64_t row = ((image * height + y) * width + x) * s->steps + t;
                int64_t line = (y + s->padding) * s->steps + t;
                spread_row(s, row, m->bytes + (line * m->columns + x + s->padding) * m->channels);
            }
}

INLINE ints add_dots(ints sum, uint32_t four, const int8_t *codes)
{
#ifdef __AVX512VNNI__
    return (ints)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32((int)four),
                                     _mm512_loadu_si512(codes));
#else
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < 4; i++)
            sum[j] += (int32_t)(four >> 8 * i & 255) * codes[4 * j + i];
    return sum;
#endif
}

/* Sums of PIXELS windows that lie `step` bytes apart, `count` groups each. */
INLINE void sum_windows(const uint8_t *in, int64_t step, int64_t lines, int64_t pitch, int64_t run,
                        const int8_t *codes, int64_t row, const int count, ints sums[PIXELS][WIDE])
{
    ints s[PIXELS][WIDE];
    for (int p = 0; p < PIXELS; p++)
        for (int g = 0; g < count; g++)
            s[p][g] = (ints){0};
    for (int64_t line = 0; line < lines; line++, in += pitch)
        for (int64_t k = 0; k < run; k += 4, codes += row)
            for (int p = 0; p < PIXELS; p++) {
                uint32_t four;
                memcpy(&four, in + p * step + k, sizeof four);
                for (int g = 0; g < count; g++)
                    s[p][g] = add_dots(s[p][g], four, codes + g * 4 * LANES);
            }
    for (int p = 0; p < PIXELS; p++)
        for (int g = 0; g < count; g++)
            sums[p][g] = s[p][g];
}

static void sum_some(const uint8_t *in, int64_t step, int64_t lines, int64_t pitch, int64_t run,
                     const int8_t *codes, int64_t row, int64_t count, ints sums[PIXELS][WIDE])
{
    switch (count) {
    case 1: sum_windows(in, step, lines, pitch, run, codes, row, 1, sums); break;
    case 2: sum_windows(in, step, lines, pitch, run, codes, row, 2, sums); break;
    case 3: sum_windows(in, step, lines, pitch, run, codes, row, 3, sums); break;
    default: sum_windows(in, step, lines, pitch, run, codes, row, WIDE, sums);
    }
}

/* PIXELS neighbours of one output line, all steps of them. */
INLINE void run_pixels(const struct synapse *s, const struct map *m, int64_t line, int64_t x,
                       int64_t first_row, int64_t pixels, const int only)
{
    int64_t groups = groups_of(s->outputs), run = s->kernel * m->channels;
    int64_t pitch = s->steps * m->columns * m->channels, step = s->stride * m->channels;
    for (int64_t first = 0; first < groups; first += WIDE) {
        int64_t count = groups - first < WIDE ? groups - first : WIDE;
        reals membranes[PIXELS][WIDE] = {0};
        for (int64_t t = 0; t < s->steps; t++) {
            const uint8_t *in = m->bytes + ((line * s->stride * s->steps + t) * m->columns +
                                            x * s->stride) * m->channels;
            ints sums[PIXELS][WIDE];
            sum_some(in, step, s->kernel, pitch, run, s->codes + first * 4 * LANES,
                     groups * 4 * LANES, count, sums);
            for (int64_t p = 0; p < pixels; p++) {
                reals exact[WIDE];
                for (int64_t g = 0; g < count; g++)
                    exact[g] = __builtin_convertvector(sums[p][g], reals);
                settle(s, first_row + p * s->steps + t, first, count, exact, membranes[p], only);
            }
        }
    }
}

/* Does not count operations: see `count_reach`. */
void run_integers(const struct synapse *s)
{
    struct map m = map_of(s);
    int64_t height = is_pointwise(s) ? 1 : s->out_height;
    int64_t width = is_pointwise(s) ? m.columns : s->out_width;
    memset(m.bytes, 0, (size_t)(m.lines * s->steps * m.columns * m.channels));
    for (int64_t image = 0; image < s->images; image++) {
        spread_image(s, image, &m);
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x += PIXELS) {
                int64_t row = ((image * height + y) * width + x) * s->steps;
                int64_t pixels = width - x < PIXELS ? width - x : PIXELS;
                if (only_spikes(s))
                    run_pixels(s, &m, y, x, row, pixels, 1);
                else
                    run_pixels(s, &m, y, x, row, pixels, 0);
            }
    }
}

/* Bytes of `workspace` that it needs: the map, and what is read past its end. */
int64_t map_bytes_of(const struct synapse *s)
{
    struct map m = map_of(s);
    int64_t past = (PIXELS * s->stride + s->kernel) * m.channels + 64;
    return m.lines * s->steps * m.columns * m.channels + past;
}

/* Whether the machine adds up four products of bytes in one instruction. */
int64_t has_byte_products(void)
{
#ifdef __AVX512VNNI__
    return 1;
#else
    return 0;
#endif
}
