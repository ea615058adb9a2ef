/* Sixteen lanes at a time: the vector types and the few operations that C lacks for them.
 *
 * GCC and clang turn these types into whatever vectors the machine has. Only what selects by bits
 * is written for AVX-512 as well, where a comparison already is a mask of bits.
 */
#ifndef SPIKEFRONT_VECTOR_H
#define SPIKEFRONT_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef float reals __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));
typedef int16_t shorts __attribute__((vector_size(32)));
typedef float loose_reals __attribute__((vector_size(64), aligned(4)));
typedef int16_t loose_shorts __attribute__((vector_size(32), aligned(2)));

INLINE int64_t groups_of(int64_t channels) { return (channels + LANES - 1) / LANES; }
INLINE int64_t words_of(int64_t channels) { return (channels + 63) / 64; }

INLINE reals all(float x) { return x - (reals){0}; }

/* Product and sum; how it rounds is free, so it is used for sums in float alone. */
INLINE reals multiply_add(reals a, reals b, reals sum)
{
#ifdef __AVX512F__
    return (reals)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#else
    return a * b + sum;
#endif
}

/* One bit per lane: a >= b. */
INLINE uint16_t at_least(reals a, reals b)
{
#ifdef __AVX512F__
    return (uint16_t)_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ);
#else
    ints holds = a >= b;
    uint16_t bits = 0;
    for (int j = 0; j < LANES; j++)
        bits |= (uint16_t)((holds[j] & 1) << j);
    return bits;
#endif
}

/* Lanes of x whose bit is not set; zero elsewhere. */
INLINE reals unless(uint16_t bits, reals x)
{
#ifdef __AVX512F__
    return (reals)_mm512_maskz_mov_ps((__mmask16)~bits, (__m512)x);
#else
    reals out;
    for (int j = 0; j < LANES; j++)
        out[j] = bits >> j & 1 ? 0.0f : x[j];
    return out;
#endif
}

/* Lanes of x whose bit is set; zero elsewhere. */
INLINE reals where(uint16_t bits, reals x) { return unless((uint16_t)~bits, x); }

INLINE reals rounded(reals x)
{
#ifdef __AVX512F__
    return (reals)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    for (int j = 0; j < LANES; j++)
        x[j] = rintf(x[j]);
    return x;
#endif
}

INLINE reals rounded_down(reals x)
{
#ifdef __AVX512F__
    return (reals)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    for (int j = 0; j < LANES; j++)
        x[j] = floorf(x[j]);
    return x;
#endif
}

INLINE reals chosen(ints mask, reals yes, reals no)
{
    return (reals)((mask & (ints)yes) | (~mask & (ints)no));
}

INLINE reals clamped(reals x, float low, float high)
{
    x = chosen(x < all(low), all(low), x);
    return chosen(x > all(high), all(high), x);
}

INLINE reals load(const float *x) { return *(const loose_reals *)x; }

/* The first lanes, up to 16, as a mask of bits. */
INLINE uint16_t first_of(int64_t lanes)
{
    return lanes >= LANES ? 0xffff : (uint16_t)((1u << lanes) - 1);
}

INLINE reals load_some(const float *x, int64_t lanes)
{
#ifdef __AVX512F__
    return (reals)_mm512_maskz_loadu_ps(first_of(lanes), x);
#else
    if (lanes >= LANES)
        return load(x);
    reals out = {0};
    memcpy(&out, x, (size_t)lanes * sizeof(float));
    return out;
#endif
}

INLINE void store_some(float *x, reals values, int64_t lanes)
{
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(x, first_of(lanes), (__m512)values);
#else
    memcpy(x, &values, lanes >= LANES ? sizeof values : (size_t)lanes * sizeof(float));
#endif
}

/* Up to 16 small integers as floats. */
INLINE reals load_counts(const uint8_t *x, int64_t lanes)
{
#ifdef __AVX512BW__
    __m128i loaded = _mm_maskz_loadu_epi8(first_of(lanes), x);
    return (reals)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(loaded));
#else
    uint8_t bytes[LANES] = {0};
    memcpy(bytes, x, lanes >= LANES ? LANES : (size_t)lanes);
    typedef uint8_t small __attribute__((vector_size(16)));
    small loaded;
    memcpy(&loaded, bytes, sizeof loaded);
    return __builtin_convertvector(loaded, reals);
#endif
}

INLINE void store_counts(uint8_t *x, reals values, int64_t lanes)
{
#ifdef __AVX512BW__
    __m128i stored = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32((__m512)values));
    _mm_mask_storeu_epi8(x, first_of(lanes), stored);
#else
    typedef uint8_t small __attribute__((vector_size(16)));
    small stored = __builtin_convertvector(__builtin_convertvector(values, ints), small);
    memcpy(x, &stored, lanes >= LANES ? LANES : (size_t)lanes);
#endif
}

#endif
