/* Leaky integrate-and-fire neurons over all time steps in one pass, forward and backward.
 *
 *     h = v + (x[t] - v) / tau;   s = h >= theta;   v = h * (1 - s);   v starts at 0
 *
 * Time runs inside a block of LANES neurons, so the membrane never leaves the core: the forward
 * pass is bound by memory. Compile with -ffp-contract=off: a fused multiply-add would round
 * differently from the plain torch twin. x is [steps, n] with `stride` elements between steps
 * (0 repeats one static input), all other arrays are [steps, n] and contiguous. Arrays of bfloat16
 * are computed on in float: their membrane is never rounded to 8 bits.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 64

static inline float exp_f32(float x)
{
    /* Cephes' expf as straight arithmetic, so that it vectorises; relative error 2e-7. */
    x = x < -87.0f ? -87.0f : x; /* fmaxf and fminf, calls for the sake of NaN, do not vectorise */
    x = x > 87.0f ? 87.0f : x;
    float k = rintf(x * 1.44269504088896341f);
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)k + 127) << 23;
    float two_k;
    memcpy(&two_k, &bits, sizeof two_k);
    return p * two_k;
}

static inline double exp_f64(double x) { return exp(x); }

static inline float from_bf16(uint16_t stored)
{
    uint32_t bits = (uint32_t)stored << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* To nearest, ties to even; NaN stays NaN, where the carry could turn it into infinity. */
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)(x != x ? 0x7fc0 : rounded);
}

#define ITSELF(x) (x)

/* Division by tau; by the official tau of 2 it is an exact halving. `halve` and, but for the last
 * block, `m` are literals where a block is inlined: with them as variables gcc 12 vectorises
 * nothing, and the forward pass is 8 times slower (4.1 against 0.5 ms on [4, 786432]). */
#define CHARGE(v, x) (halve ? (v) + ((x) - (v)) * (real)0.5 : (v) + ((x) - (v)) / tau)
#define INLINE static inline __attribute__((always_inline))

/* Runs BLOCK over n neurons; its last two arguments are m and halve. */
#define OVER_BLOCKS(BLOCK, ...)                                                                   \
    int64_t i = 0;                                                                                \
    if (tau == 2.0)                                                                               \
        for (; i + LANES <= n; i += LANES)                                                        \
            BLOCK(__VA_ARGS__, LANES, 1);                                                         \
    else                                                                                          \
        for (; i + LANES <= n; i += LANES)                                                        \
            BLOCK(__VA_ARGS__, LANES, 0);                                                         \
    if (i < n)                                                                                    \
        BLOCK(__VA_ARGS__, n - i, tau == 2.0)

#define DEFINE_LIF(SUFFIX, real_t, store_t, LOAD, STORE, EXP)                                     \
    INLINE void forward_##SUFFIX(const store_t *restrict x, store_t *restrict s, int64_t steps,   \
                                 int64_t n, int64_t stride, real_t tau, real_t theta, int64_t m,  \
                                 int halve)                                                       \
    {                                                                                             \
        typedef real_t real;                                                                      \
        real v[LANES];                                                                            \
        for (int j = 0; j < LANES; j++)                                                           \
            v[j] = 0;                                                                             \
        for (int64_t t = 0; t < steps; t++) {                                                     \
            const store_t *restrict xt = x + t * stride;                                          \
            store_t *restrict st = s + t * n;                                                     \
            for (int64_t j = 0; j < m; j++) {                                                     \
                real h = CHARGE(v[j], LOAD(xt[j]));                                               \
                real fired = h >= theta ? (real)1 : (real)0;                                      \
                st[j] = STORE(fired);                                                             \
                v[j] = h * ((real)1 - fired);                                                     \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
    void lif_forward_##SUFFIX(const store_t *restrict x, store_t *restrict s, int64_t steps,      \
                              int64_t n, int64_t stride, double tau, double theta)                \
    {                                                                                             \
        OVER_BLOCKS(forward_##SUFFIX, x + i, s + i, steps, n, stride, (real_t)tau,                \
                    (real_t)theta);                                                               \
    }                                                                                             \
    /* gx = dL/dx from gs = dL/ds. Spike gradient: alpha * sig(alpha u) * (1 - sig(alpha u)),     \
     * u = h - theta; the reset is detached from the spike, as in the official networks. */       \
    INLINE void backward_##SUFFIX(const store_t *restrict x, const store_t *restrict gs,          \
                                  store_t *restrict gx, int64_t steps, int64_t n, int64_t stride, \
                                  real_t tau, real_t theta, real_t alpha, int64_t m, int halve)   \
    {                                                                                             \
        typedef real_t real;                                                                      \
        real keep = (real)1 - (real)1 / tau;                                                      \
        real h[steps][LANES], v[LANES], gv[LANES];                                                \
        for (int j = 0; j < LANES; j++)                                                           \
            v[j] = gv[j] = 0;                                                                     \
        for (int64_t t = 0; t < steps; t++) {                                                     \
            const store_t *restrict xt = x + t * stride;                                          \
            real *restrict ht = h[t];                                                             \
            for (int64_t j = 0; j < m; j++) {                                                     \
                ht[j] = CHARGE(v[j], LOAD(xt[j]));                                                \
                v[j] = ht[j] >= theta ? (real)0 : ht[j];                                          \
            }                                                                                     \
        }                                                                                         \
        for (int64_t t = steps - 1; t >= 0; t--) {                                                \
            const store_t *restrict gst = gs + t * n;                                             \
            const real *restrict ht = h[t];                                                       \
            store_t *restrict gxt = gx + t * n;                                                   \
            for (int64_t j = 0; j < m; j++) {                                                     \
                real silent = ht[j] >= theta ? (real)0 : (real)1;                                 \
                real sig = (real)1 / ((real)1 + EXP(-alpha * (ht[j] - theta)));                   \
                real gh = LOAD(gst[j]) * alpha * sig * ((real)1 - sig) + gv[j] * silent;          \
                gxt[j] = STORE(gh / tau);                                                         \
                gv[j] = gh * keep;                                                                \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
    void lif_backward_##SUFFIX(const store_t *restrict x, const store_t *restrict gs,             \
                               store_t *restrict gx, int64_t steps, int64_t n, int64_t stride,    \
                               double tau, double theta, double alpha)                            \
    {                                                                                             \
        OVER_BLOCKS(backward_##SUFFIX, x + i, gs + i, gx + i, steps, n, stride, (real_t)tau,      \
                    (real_t)theta, (real_t)alpha);                                                \
    }

/* The same forward pass with a membrane of few bits: what is left of it after a spike or none is
 * rounded to a multiple of `step`, half to even, and kept within [-half, half - 1] of them. */
#define DEFINE_STATES(SUFFIX, real_t, RINT)                                                       \
    INLINE void states_##SUFFIX(const real_t *restrict x, real_t *restrict s, int64_t steps,      \
                                int64_t n, int64_t stride, real_t tau, real_t theta, real_t step, \
                                real_t half, int64_t m, int halve)                                \
    {                                                                                             \
        typedef real_t real;                                                                      \
        real v[LANES];                                                                            \
        for (int j = 0; j < LANES; j++)                                                           \
            v[j] = 0;                                                                             \
        for (int64_t t = 0; t < steps; t++) {                                                     \
            const real *restrict xt = x + t * stride;                                             \
            real *restrict st = s + t * n;                                                        \
            for (int64_t j = 0; j < m; j++) {                                                     \
                real h = CHARGE(v[j], xt[j]);                                                     \
                st[j] = h >= theta ? (real)1 : (real)0;                                           \
                real level = RINT(h * ((real)1 - st[j]) / step);                                  \
                level = level < -half ? -half : level;                                            \
                level = level > half - 1 ? half - 1 : level;                                      \
                v[j] = level * step;                                                              \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
    void lif_states_##SUFFIX(const real_t *restrict x, real_t *restrict s, int64_t steps,         \
                             int64_t n, int64_t stride, double tau, double theta, double step,    \
                             double half)                                                         \
    {                                                                                             \
        OVER_BLOCKS(states_##SUFFIX, x + i, s + i, steps, n, stride, (real_t)tau, (real_t)theta,  \
                    (real_t)step, (real_t)half);                                                  \
    }

DEFINE_STATES(f32, float, rintf)
DEFINE_STATES(f64, double, rint)

DEFINE_LIF(f32, float, float, ITSELF, ITSELF, exp_f32)
DEFINE_LIF(f64, double, double, ITSELF, ITSELF, exp_f64)
DEFINE_LIF(bf16, float, uint16_t, from_bf16, to_bf16, exp_f32)
