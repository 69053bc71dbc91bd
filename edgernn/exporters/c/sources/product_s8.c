/* y = (x * factors) W * scale + bias, with weights in bytes that are computed with as numbers. w: (outputs / 32, inputs,
   32); factors: inputs; y, scale and bias: outputs, up to a multiple of 32. */
NAME_KERNEL NAME_TARGET void NAME_product_s8_LEVEL(float *restrict y, const float *restrict x, const int8_t *restrict w,
                                                   const float *restrict factors, const float *restrict scale,
                                                   const float *restrict bias, int inputs, int outputs)
{
    int panel, k, j;
    for (panel = 0; panel < outputs; panel += 32) {
        float sums[32];
        for (j = 0; j < 32; j++)
            sums[j] = 0.0f;
        for (k = 0; k < inputs; k++) {
            const float value = x[k] * factors[k];
            for (j = 0; j < 32; j++)
                sums[j] += value * (float)w[j];
            w += 32;
        }
        for (j = 0; j < 32; j++)
            y[panel + j] = sums[j] * scale[panel + j] + bias[panel + j];
    }
}
