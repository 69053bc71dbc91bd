/* y (count, rows, columns) = a (count, rows, inner) by b (count, inner, columns). a_step and b_step: the elements from
   one matrix to the next, 0 where all products share one. */
NAME_KERNEL NAME_TARGET void NAME_matmul_f32_LEVEL(float *restrict y, const float *restrict a, const float *restrict b,
                                                   int count, int rows, int inner, int columns, int a_step, int b_step)
{
    int each, row, k, j;
    for (each = 0; each < count; each++) {
        for (row = 0; row < rows; row++) {
            for (j = 0; j < columns; j++)
                y[j] = 0.0f;
            for (k = 0; k < inner; k++) {
                const float value = a[each * a_step + row * inner + k];
                const float *const next = b + each * b_step + k * columns;
                for (j = 0; j < columns; j++)
                    y[j] += value * next[j];
            }
            y += columns;
        }
    }
}
