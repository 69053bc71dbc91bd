/* y = x W + bias. w: (outputs / 32, inputs, 32); y and bias: outputs, up to a multiple of 32. */
NAME_INLINE NAME_TARGET void NAME_panels_f32_LEVEL(float *restrict y, const float *restrict x, const float *restrict w,
                                                   const float *restrict bias, int inputs, int panels)
{
    int lane, k, p, j;
    for (lane = 0; lane < 32; lane += NAME_LANES) {
        float sums[4][NAME_LANES];
        for (p = 0; p < panels; p++)
            for (j = 0; j < NAME_LANES; j++)
                sums[p][j] = 0.0f;
        for (k = 0; k < inputs; k++) {
            const float value = x[k];
            for (p = 0; p < panels; p++)
                for (j = 0; j < NAME_LANES; j++)
                    sums[p][j] += value * w[32 * (p * inputs + k) + lane + j];
        }
        for (p = 0; p < panels; p++)
            for (j = 0; j < NAME_LANES; j++)
                y[32 * p + lane + j] = sums[p][j] + bias[32 * p + lane + j];
    }
}

NAME_KERNEL NAME_TARGET void NAME_product_f32_LEVEL(float *restrict y, const float *restrict x, const float *restrict w,
                                                    const float *restrict bias, int inputs, int outputs)
{
    const int left = (outputs + 31) / 32 % NAME_PANELS_LEVEL; /* panels after the last whole group of them */
    int at = 0;
    for (; at + 32 * (NAME_PANELS_LEVEL - 1) < outputs; at += 32 * NAME_PANELS_LEVEL)
        NAME_panels_f32_LEVEL(y + at, x, w + at * inputs, bias + at, inputs, NAME_PANELS_LEVEL);
    if (left == 1)
        NAME_panels_f32_LEVEL(y + at, x, w + at * inputs, bias + at, inputs, 1);
    if (left == 2)
        NAME_panels_f32_LEVEL(y + at, x, w + at * inputs, bias + at, inputs, 2);
    if (left == 3)
        NAME_panels_f32_LEVEL(y + at, x, w + at * inputs, bias + at, inputs, 3);
}
