/* Rows of y = x W + bias, each sum in the order of product_f32. x_step: the elements from one row of x to the next.
   w: (outputs / 32, inputs, 32); bias: outputs, up to a multiple of 32, and so the last row of y. */
NAME_KERNEL void NAME_product_rows_f32_base(float *restrict y, const float *restrict x, const float *restrict w,
                                            const float *restrict bias, int rows, int x_step, int inputs, int outputs)
{
    int row;
    for (row = 0; row < rows; row++)
        NAME_product_f32_base(y + row * outputs, x + row * x_step, w, bias, inputs, outputs);
}

#if defined(NAME_X86)

NAME_KERNEL NAME_AVX2 void NAME_product_rows_f32_avx2(float *restrict y, const float *restrict x,
                                                      const float *restrict w, const float *restrict bias, int rows,
                                                      int x_step, int inputs, int outputs)
{
    int row;
    for (row = 0; row < rows; row++)
        NAME_product_f32_avx2(y + row * outputs, x + row * x_step, w, bias, inputs, outputs);
}

/* Adds the products of one input of a row with the weights of 32 outputs. */
NAME_INLINE NAME_VNNI void NAME_add_row(__m512 *sums, float x, __m512 low, __m512 high)
{
    const __m512 value = _mm512_set1_ps(x);
    sums[0] = _mm512_add_ps(sums[0], _mm512_mul_ps(value, low));
    sums[1] = _mm512_add_ps(sums[1], _mm512_mul_ps(value, high));
}

NAME_INLINE NAME_VNNI void NAME_store_row(float *y, const __m512 *sums, const float *bias, int count)
{
    float all[32];
    _mm512_storeu_ps(all, _mm512_add_ps(sums[0], _mm512_loadu_ps(bias)));
    _mm512_storeu_ps(all + 16, _mm512_add_ps(sums[1], _mm512_loadu_ps(bias + 16)));
    memcpy(y, all, (size_t)count * sizeof *y);
}

/* Four rows, for which the weights are read once. */
NAME_INLINE NAME_VNNI void NAME_four_rows(float *y, const float *x, const float *w, const float *bias, int x_step,
                                          int inputs, int outputs)
{
    int at, k;
    for (at = 0; at < outputs; at += 32) {
        const int count = outputs - at < 32 ? outputs - at : 32;
        __m512 a[2], b[2], c[2], d[2];
        a[0] = a[1] = b[0] = b[1] = c[0] = c[1] = d[0] = d[1] = _mm512_setzero_ps();
        for (k = 0; k < inputs; k++) {
            const __m512 low = _mm512_loadu_ps(w), high = _mm512_loadu_ps(w + 16);
            NAME_add_row(a, x[k], low, high);
            NAME_add_row(b, x[x_step + k], low, high);
            NAME_add_row(c, x[2 * x_step + k], low, high);
            NAME_add_row(d, x[3 * x_step + k], low, high);
            w += 32;
        }
        NAME_store_row(y + at, a, bias + at, count);
        NAME_store_row(y + outputs + at, b, bias + at, count);
        NAME_store_row(y + 2 * outputs + at, c, bias + at, count);
        NAME_store_row(y + 3 * outputs + at, d, bias + at, count);
    }
}

NAME_KERNEL NAME_VNNI void NAME_product_rows_f32_vnni(float *restrict y, const float *restrict x,
                                                      const float *restrict w, const float *restrict bias, int rows,
                                                      int x_step, int inputs, int outputs)
{
    for (; rows >= 4; rows -= 4) {
        NAME_four_rows(y, x, w, bias, x_step, inputs, outputs);
        y += 4 * outputs;
        x += 4 * x_step;
    }
    for (; rows > 0; rows--) {
        NAME_product_f32_vnni(y, x, w, bias, inputs, outputs);
        y += outputs;
        x += x_step;
    }
}

#endif
