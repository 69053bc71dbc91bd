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

/* Returns the hyperbolic tangent by a quotient of polynomials. Largest error: 3.7e-7. */
NAME_INLINE float NAME_tanh(float x)
{
    float z, p, q;
    x = NAME_clamp(x, 0x41100000); /* 9 */
    z = x * x;
    p = -2.76076847742355e-16f;
    p = p * z + 2.00018790482477e-13f;
    p = p * z + -8.60467152213735e-11f;
    p = p * z + 5.12229709037114e-08f;
    p = p * z + 1.48572235717979e-05f;
    p = p * z + 6.37261928875436e-04f;
    p = p * z + 4.89352455891786e-03f;
    p = p * x;
    q = 1.19825839466702e-06f;
    q = q * z + 1.18534705686654e-04f;
    q = q * z + 2.26843463243900e-03f;
    q = q * z + 4.89352518554385e-03f;
    return p / q;
}

/* Returns 1 / (1 + exp(-x)) by a quotient of polynomials. Largest error: 2.0e-7. */
NAME_INLINE float NAME_sigmoid(float x)
{
    float z, p, q;
    x = NAME_clamp(x, 0x41900000); /* 18 */
    z = x * x;
    p = 4.37031012579801e-11f;
    p = p * z + 1.15627324459942e-07f;
    p = p * z + 6.08574864600143e-05f;
    p = p * z + 8.51377133304701e-03f;
    p = p * z + 2.48287947061529e-01f;
    p = p * x;
    q = 6.10247389755681e-13f;
    q = q * z + 5.76102136993427e-09f;
    q = q * z + 6.29106785017040e-06f;
    q = q * z + 1.70198817374094e-03f;
    q = q * z + 1.16817656904453e-01f;
    q = q * z + 9.93151921023180e-01f;
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
