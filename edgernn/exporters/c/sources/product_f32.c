/* y = x W + bias. w: (outputs / 32, inputs, 32); y and bias: outputs, up to a multiple of 32. */
NAME_KERNEL NAME_TARGET void NAME_product_f32_LEVEL(float *restrict y, const float *restrict x, const float *restrict w,
                                                    const float *restrict bias, int inputs, int outputs)
{
    int at, k, j;
    for (at = 0; at < outputs; at += NAME_LANES) {
        const float *lanes = w + at % 32;
        float sums[NAME_LANES];
        for (j = 0; j < NAME_LANES; j++)
            sums[j] = 0.0f;
        for (k = 0; k < inputs; k++) {
            const float value = x[k];
            for (j = 0; j < NAME_LANES; j++)
                sums[j] += value * lanes[j];
            lanes += 32;
        }
        for (j = 0; j < NAME_LANES; j++)
            y[at + j] = sums[j] + bias[at + j];
        if ((at + NAME_LANES) % 32 == 0)
            w += 32 * inputs;
    }
}
