/* y = x W + bias. w, in half precision: (outputs / 32, inputs, 32); y and bias: outputs, up to a multiple of 32. */
NAME_KERNEL NAME_TARGET void NAME_product_f16_LEVEL(float *restrict y, const float *restrict x, const uint16_t *restrict w,
                                                    const float *restrict bias, int inputs, int outputs)
{
    int panel, k, j;
    for (panel = 0; panel < outputs; panel += 32) {
        float sums[32];
        for (j = 0; j < 32; j++)
            sums[j] = 0.0f;
        for (k = 0; k < inputs; k++) {
            const float value = x[k];
            for (j = 0; j < 32; j++)
                sums[j] += value * NAME_widened(w[j]);
            w += 32;
        }
        for (j = 0; j < 32; j++)
            y[panel + j] = sums[j] + bias[panel + j];
    }
}
