/* Returns x with its magnitude limited to the number that has these bits. */
NAME_INLINE float NAME_clamp(float x, int32_t bits)
{
    union { float value; int32_t bits; } number;
    int32_t magnitude;
    number.value = x;
    magnitude = number.bits & 0x7fffffff;
    magnitude = magnitude < bits ? magnitude : bits;
    number.bits = (number.bits & (int32_t)0x80000000u) | magnitude;
    return number.value;
}

/* Returns the hyperbolic tangent by a quotient of polynomials. Largest error: 4.1e-7. */
NAME_INLINE float NAME_tanh(float x)
{
    float z, p, q;
    x = NAME_clamp(x, 0x41000000); /* 8 */
    z = x * x;
    p = 46.6624158f;
    p = p * z + 12124.6848f;
    p = p * z + 532776.681f;
    p = p * z + 4125686.82f;
    p = p * x;
    q = z + 977.905099f;
    q = q * z + 98042.1469f;
    q = q * z + 1907996.82f;
    q = q * z + 4125689.46f;
    return p / q;
}

/* Returns 1 / (1 + exp(-x)), which is 1/2 + tanh(x / 2) / 2. Largest error: 2.4e-7. */
NAME_INLINE float NAME_sigmoid(float x)
{
    float z, p, q;
    x = NAME_clamp(x, 0x41800000); /* 16 */
    z = x * x;
    p = 46.6624158f;
    p = p * z + 48498.7393f;
    p = p * z + 8524426.89f;
    p = p * z + 264043957.0f;
    p = p * x;
    q = z + 3911.6204f;
    q = q * z + 1568674.35f;
    q = q * z + 122111797.0f;
    q = q * z + 1.0561765e+09f;
    return p / q + 0.5f;
}

/* Returns x rounded to an integer, half to even. |x| < 2^21. */
NAME_INLINE int32_t NAME_round(float x)
{
    union { float value; int32_t bits; } number;
    number.value = x + 12582912.0f;
    return number.bits - 0x4B400000;
}

/* Returns x / step as an unsigned byte with zero point 128. */
NAME_INLINE uint8_t NAME_quantise(float x, float step)
{
    int32_t number = NAME_round(NAME_clamp(x / step, 0x43000000)); /* 128 */
    return (uint8_t)((number < 127 ? number : 127) + 128);
}

/* Returns the magnitude of x. */
NAME_INLINE float NAME_magnitude(float x)
{
    union { float value; int32_t bits; } number;
    number.value = x;
    number.bits &= 0x7fffffff;
    return number.value;
}

/* Returns 2 to the power of an integer between -126 and 127. */
NAME_INLINE float NAME_scale(int32_t exponent)
{
    union { float value; int32_t bits; } number;
    number.bits = (exponent + 127) * 0x800000;
    return number.value;
}

/* Returns exp(x). Largest error: 8.1e-8, relative. */
NAME_INLINE float NAME_exp(float x)
{
    int32_t n, half;
    float r, p;
    x = x > -110.0f ? x : -110.0f;
    x = x < 100.0f ? x : 100.0f;
    n = NAME_round(x * 1.44269504f); /* x = n log 2 + r */
    r = x - (float)n * 0.693359375f;
    r = r - (float)n * -2.12194440e-4f;
    p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    half = n / 2; /* 2 to the power of n may be beyond the largest number */
    return p * NAME_scale(half) * NAME_scale(n - half);
}

/* Returns the natural logarithm of x: minus infinity for 0, and not a number below. Largest error: 7.9e-8, relative. */
NAME_INLINE float NAME_log(float x)
{
    union { float value; int32_t bits; } number;
    int32_t exponent;
    float m, z, p;
    number.value = x < 1.17549435e-38f ? x * 16777216.0f : x;
    exponent = (number.bits - 0x3f3504f3) >> 23; /* so that the rest lies between sqrt(1/2) and sqrt(2) */
    number.bits -= exponent * 0x800000;
    exponent -= x < 1.17549435e-38f ? 24 : 0;
    m = number.value - 1.0f;
    z = m * m;
    p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z + (float)exponent * -2.12194440e-4f - 0.5f * z;
    p = m + p + (float)exponent * 0.693359375f;
    p = x < NAME_INFINITY ? p : x;
    return x > 0.0f ? p : x == 0.0f ? -NAME_INFINITY : NAME_NAN;
}

/* Returns x to the power of y, for x above 0: exp(y log x), with y log x times the error of a logarithm. */
NAME_INLINE float NAME_power(float x, float y)
{
    return NAME_exp(y * NAME_log(x));
}

/* Returns the square root of x, correctly rounded: by an instruction, or bit by bit. */
#if defined(NAME_X86)
NAME_INLINE float NAME_sqrt(float x)
{
    return x < 0.0f ? NAME_NAN : _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}
#elif defined(NAME_NEON)
NAME_INLINE float NAME_sqrt(float x)
{
    return x < 0.0f ? NAME_NAN : vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
}
#else
NAME_INLINE float NAME_sqrt(float x)
{
    union { float value; uint32_t bits; } number;
    uint32_t root = 0, bit, odd;
    uint64_t rest;
    int32_t exponent;
    if (!(x > 0.0f && x < NAME_INFINITY))
        return x < 0.0f ? NAME_NAN : x;
    number.value = x < 1.17549435e-38f ? x * 16777216.0f : x;
    exponent = (int32_t)(number.bits >> 23) - 127;
    odd = (uint32_t)exponent & 1u;
    rest = (uint64_t)((number.bits & 0x7fffffu) | 0x800000u) << (23 + odd);
    for (bit = 0x800000u; bit; bit >>= 1) {
        const uint64_t next = (uint64_t)(2 * root + bit) * bit;
        if (rest >= next) {
            rest -= next;
            root += bit;
        }
    }
    root += rest > root; /* the nearest: no square root lies halfway */
    exponent = (exponent - (int32_t)odd) / 2 - (x < 1.17549435e-38f ? 12 : 0);
    number.bits = root + (uint32_t)(exponent + 126) * 0x800000u;
    return number.value;
}
#endif

/* Returns x rounded to an integer, half to even. */
NAME_INLINE float NAME_nearest(float x)
{
    const float large = x < 0.0f ? -8388608.0f : 8388608.0f;
    return NAME_magnitude(x) < 8388608.0f ? x + large - large : x;
}

/* Returns the largest integer that is not above x. */
NAME_INLINE float NAME_floor(float x)
{
    const float nearest = NAME_nearest(x);
    return nearest > x ? nearest - 1.0f : nearest;
}

/* Returns the error function of x. Largest error: 4.7e-7. */
NAME_INLINE float NAME_erf(float x)
{
    const float a = NAME_magnitude(x), t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f, y;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    y = 1.0f - p * t * NAME_exp(-a * a);
    return x < 0.0f ? -y : y;
}

/* Returns x rounded to an integer, half to even, plus a zero point, within limits. */
NAME_INLINE int32_t NAME_integer(float x, int32_t zero, int32_t low, int32_t high)
{
    const int32_t number = NAME_round(NAME_clamp(x, 0x44800000)) + zero; /* 1024 */
    return number < low ? low : number > high ? high : number;
}

/* Returns the number in single precision that has these bits in half precision, which is finite. */
NAME_INLINE float NAME_widened(uint16_t half)
{
    union { float value; uint32_t bits; } number;
    const uint32_t magnitude = half & 0x7fffu, sign = (uint32_t)(half & 0x8000u) << 16;
    const float small = (float)(int32_t)magnitude * 5.9604644775390625e-8f; /* below 2^-14, of less precision */
    number.bits = (magnitude << 13) + 0x38000000u;
    number.value = magnitude < 0x400u ? small : number.value;
    number.bits |= sign;
    return number.value;
}

/* Returns the sum of x, in an order that vectors of any width can follow. */
NAME_INLINE float NAME_sum(const float *x, int count)
{
    float sums[16], sum = 0.0f;
    int i, j;
    for (j = 0; j < 16; j++)
        sums[j] = 0.0f;
    for (i = 0; i + 16 <= count; i += 16) {
        for (j = 0; j < 16; j++)
            sums[j] += x[i + j];
    }
    for (; i < count; i++)
        sum += x[i];
    for (j = 0; j < 16; j++)
        sum += sums[j];
    return sum;
}

/* Rounds (sums + bias) * scale to bytes with a zero point. */
NAME_INLINE void NAME_requantise(uint8_t *restrict y, const int32_t *restrict sums, const float *restrict scale,
                                 const int32_t *restrict bias, int zero, int count)
{
    int i;
    for (i = 0; i < count; i++)
        y[i] = (uint8_t)NAME_integer((float)(sums[i] + bias[i]) * scale[i], zero, 0, 255);
}

/* Scales integers and adds a bias. */
NAME_INLINE void NAME_scale_and_add(float *restrict y, const int32_t *restrict sums, const float *restrict scale,
                                    const float *restrict bias, int count)
{
    int i;
    for (i = 0; i < count; i++)
        y[i] = (float)sums[i] * scale[i] + bias[i];
}

/* The places (height, width) that a kernel sees which begins at a line and a column; -1 for those that lie beyond. */
NAME_INLINE void NAME_places(int *restrict places, int line, int column, int height, int width, int kernel_y,
                             int kernel_x, int dilation_y, int dilation_x)
{
    int ky, kx;
    for (ky = 0; ky < kernel_y; ky++) {
        const int row = line + ky * dilation_y;
        for (kx = 0; kx < kernel_x; kx++) {
            const int at = column + kx * dilation_x;
            *places++ = row >= 0 && row < height && at >= 0 && at < width ? row * width + at : -1;
        }
    }
}
