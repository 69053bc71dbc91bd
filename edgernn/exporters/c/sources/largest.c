/* y (outer, inner): the largest elements of x (outer, count, inner) along its second axis. */
NAME_KERNEL NAME_TARGET void NAME_largest_LEVEL(float *restrict y, const float *restrict x, int outer, int count,
                                                int inner)
{
    int row, k, j;
    for (row = 0; row < outer; row++) {
        for (j = 0; j < inner; j++)
            y[row * inner + j] = x[j];
        for (k = 1; k < count; k++) {
            for (j = 0; j < inner; j++) {
                const float value = x[k * inner + j];
                y[row * inner + j] = value > y[row * inner + j] ? value : y[row * inner + j];
            }
        }
        x += count * inner;
    }
}
