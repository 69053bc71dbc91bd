/* y (outer, inner): sums of x (outer, count, inner) along its second axis, divided by a number. */
NAME_KERNEL NAME_TARGET void NAME_sums_LEVEL(float *restrict y, const float *restrict x, int outer, int count,
                                             int inner, float divisor)
{
    int row, k, j;
    for (row = 0; row < outer; row++) {
        if (inner == 1) {
            y[row] = NAME_sum(x, count) / divisor;
        } else {
            for (j = 0; j < inner; j++)
                y[row * inner + j] = x[j];
            for (k = 1; k < count; k++) {
                for (j = 0; j < inner; j++)
                    y[row * inner + j] += x[k * inner + j];
            }
            for (j = 0; j < inner; j++)
                y[row * inner + j] /= divisor;
        }
        x += count * inner;
    }
}
