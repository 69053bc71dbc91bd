/* y = x W + bias. w, in half precision: (outputs / 32, inputs, 32); y and bias: outputs, up to a multiple of 32. */
NAME_INLINE NAME_TARGET void NAME_panels_f16_LEVEL(float *restrict y, const float *restrict x, const uint16_t *restrict w,
                                                   const float *restrict bias, int inputs, int panels)
{
    float sums[4][32];
    int k, p, j;
    for (p = 0; p < panels; p++)
        for (j = 0; j < 32; j++)
            sums[p][j] = 0.0f;
    for (k = 0; k < inputs; k++) {
        const float value = x[k];
        for (p = 0; p < panels; p++) {
            float lanes[32];
            NAME_widen_LEVEL(lanes, w + 32 * (p * inputs + k));
            for (j = 0; j < 32; j++)
                sums[p][j] += value * lanes[j];
        }
    }
    for (p = 0; p < panels; p++)
        for (j = 0; j < 32; j++)
            y[32 * p + j] = sums[p][j] + bias[32 * p + j];
}

NAME_KERNEL NAME_TARGET void NAME_product_f16_LEVEL(float *restrict y, const float *restrict x, const uint16_t *restrict w,
                                                    const float *restrict bias, int inputs, int outputs)
{
    int at = 0;
    for (; at + 32 * (NAME_PANELS_LEVEL - 1) < outputs; at += 32 * NAME_PANELS_LEVEL)
        NAME_panels_f16_LEVEL(y + at, x, w + at * inputs, bias + at, inputs, NAME_PANELS_LEVEL);
    for (; at < outputs; at += 32)
        NAME_panels_f16_LEVEL(y + at, x, w + at * inputs, bias + at, inputs, 1);
}
