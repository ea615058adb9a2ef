/* Spikes as lists of the channels that fired: what follows costs what fires.
 */
#ifndef SPIKEFRONT_EVENTS_H
#define SPIKEFRONT_EVENTS_H

#include "vector.h"

#define SLACK 64 /* lists are written in whole vectors, past their end */

/* Appends base + c for every set bit c of a row; returns the new end of the list. */
INLINE uint16_t *list_bits(const uint64_t *bits, int64_t channels, int64_t base, uint16_t *list)
{
#ifdef __AVX512VBMI2__
    const uint32_t *parts = (const uint32_t *)bits;
    __m512i numbers = _mm512_add_epi16(
        _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13,
                         12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
        _mm512_set1_epi16((short)base));
    for (int64_t part = 0; part * 32 < channels; part++) {
        _mm512_storeu_si512(list, _mm512_maskz_compress_epi16(parts[part], numbers));
        list += __builtin_popcount(parts[part]);
        numbers = _mm512_add_epi16(numbers, _mm512_set1_epi16(32));
    }
#else
    for (int64_t word = 0; word < words_of(channels); word++)
        for (uint64_t left = bits[word]; left; left &= left - 1)
            *list++ = (uint16_t)(base + word * 64 + __builtin_ctzll(left));
#endif
    return list;
}

/* The same for integer spikes, with their values beside them. */
INLINE uint16_t *list_counts(const uint8_t *counts, int64_t channels, int64_t base, uint16_t *list,
                             uint8_t *values)
{
    uint16_t *start = list;
#ifdef __AVX512VBMI2__
    for (int64_t c = 0; c < channels; c += 32) {
        __mmask32 there = channels - c >= 32 ? 0xffffffffu : (1u << (channels - c)) - 1;
        __m256i loaded = _mm256_maskz_loadu_epi8(there, counts + c);
        __mmask32 fires = _mm256_test_epi8_mask(loaded, loaded);
        __m512i numbers = _mm512_add_epi16(
            _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14,
                             13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
            _mm512_set1_epi16((short)(base + c)));
        _mm512_storeu_si512(list, _mm512_maskz_compress_epi16(fires, numbers));
        _mm256_storeu_si256((__m256i *)(values + (list - start)),
                            _mm256_maskz_compress_epi8(fires, loaded));
        list += __builtin_popcount(fires);
    }
#else
    for (int64_t c = 0; c < channels; c++)
        if (counts[c]) {
            values[list - start] = counts[c];
            *list++ = (uint16_t)(base + c);
        }
#endif
    return list;
}

/* Copies a run of a list, `shift` added to each entry (modulo 2^16). */
INLINE void copy_shifted(uint16_t *restrict to, const uint16_t *restrict from, int64_t count,
                         uint16_t shift)
{
    for (int64_t i = 0; i < count; i += LANES) {
        loose_shorts moved = *(const loose_shorts *)(from + i) + (int16_t)shift;
        *(loose_shorts *)(to + i) = moved;
    }
}

INLINE void copy_values(uint8_t *restrict to, const uint8_t *restrict from, int64_t count)
{
    for (int64_t i = 0; i < count; i += 32)
        memcpy(to + i, from + i, 32);
}

#endif
