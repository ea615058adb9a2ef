/* Sums of spikes, and how many windows see them. Rows are (image, y, x, step).
 */
#include "vector.h"

/* counts = first + bits, over rows of channels; `first` are bits or counts, one is NULL. */
struct sum {
    const uint64_t *first_bits;
    const uint8_t *first_counts;
    const uint64_t *bits;
    uint8_t *out;
    int64_t rows, channels;
};

/* Up to 64 channels: `first` plus one where a bit is set. */
INLINE void add_word(const uint8_t *first, uint64_t bits, uint8_t *out, int64_t channels)
{
#ifdef __AVX512BW__
    __mmask64 there = channels >= 64 ? ~0ull : (1ull << channels) - 1;
    __m512i sum = first ? _mm512_maskz_loadu_epi8(there, first) : _mm512_setzero_si512();
    sum = _mm512_mask_add_epi8(sum, bits, sum, _mm512_set1_epi8(1));
    _mm512_mask_storeu_epi8(out, there, sum);
#else
    for (int64_t c = 0; c < channels && c < 64; c++)
        out[c] = (uint8_t)((first ? first[c] : 0) + (bits >> c & 1));
#endif
}

void add_spikes(const struct sum *s)
{
    int64_t words = words_of(s->channels);
    for (int64_t row = 0; row < s->rows; row++)
        for (int64_t w = 0; w < words; w++) {
            int64_t at = row * s->channels + w * 64, left = s->channels - w * 64;
            const uint8_t *first = s->first_counts ? s->first_counts + at : NULL;
            if (s->first_bits) {
                add_word(NULL, s->first_bits[row * words + w], s->out + at, left);
                first = s->out + at;
            }
            add_word(first, s->bits[row * words + w], s->out + at, left);
        }
}

/* Per image, the sum over all its spikes of n times the windows that see them. */
struct reach {
    const uint64_t *bits;
    const uint8_t *counts;
    int64_t images, height, width, steps, channels;
    int64_t kernel, stride, padding;
    int64_t *counted; /* [images], added to what is there */
};

static int64_t sum_of(const uint8_t *counts, int64_t n)
{
    int64_t total = 0, i = 0;
#ifdef __AVX512BW__
    __m512i sums = _mm512_setzero_si512();
    for (; i + 64 <= n; i += 64) {
        __m512i loaded = _mm512_loadu_si512(counts + i);
        sums = _mm512_add_epi64(sums, _mm512_sad_epu8(loaded, _mm512_setzero_si512()));
    }
    total = _mm512_reduce_add_epi64(sums);
#endif
    for (; i < n; i++)
        total += counts[i];
    return total;
}

static int64_t windows_over(int64_t at, int64_t size, const struct reach *r)
{
    int64_t outputs = (size + 2 * r->padding - r->kernel) / r->stride + 1, seen = 0;
    for (int64_t o = 0; o < outputs; o++) {
        int64_t first = o * r->stride - r->padding;
        seen += at >= first && at < first + r->kernel;
    }
    return seen;
}

void count_reach(const struct reach *r)
{
    int64_t words = words_of(r->channels), columns[r->width];
    for (int64_t x = 0; x < r->width; x++)
        columns[x] = windows_over(x, r->width, r);
    for (int64_t y = 0; y < r->height; y++) {
        int64_t lines = windows_over(y, r->height, r);
        for (int64_t image = 0; image < r->images; image++)
            for (int64_t x = 0, next; x < r->width; x = next) {
                /* Pixels that as many windows see, all but those at the margins, are one run. */
                for (next = x + 1; next < r->width && columns[next] == columns[x];)
                    next++;
                int64_t row = ((image * r->height + y) * r->width + x) * r->steps, n = 0;
                int64_t rows = (next - x) * r->steps;
                if (r->bits)
                    for (int64_t w = row * words; w < (row + rows) * words; w++)
                        n += __builtin_popcountll(r->bits[w]);
                else
                    n = sum_of(r->counts + row * r->channels, rows * r->channels);
                r->counted[image] += n * lines * columns[x];
            }
    }
}
