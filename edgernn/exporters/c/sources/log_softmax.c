/* y (rows, count): the logarithm of the softmax of each row of x. */
NAME_KERNEL NAME_TARGET void NAME_log_softmax_LEVEL(float *restrict y, const float *restrict x, int rows, int count)
{
    int row, j;
    for (row = 0; row < rows; row++) {
        float largest = x[0], sum;
        for (j = 1; j < count; j++)
            largest = x[j] > largest ? x[j] : largest;
        for (j = 0; j < count; j++)
            y[j] = NAME_exp(x[j] - largest);
        sum = NAME_log(NAME_sum(y, count));
        for (j = 0; j < count; j++)
            y[j] = x[j] - largest - sum;
        x += count;
        y += count;
    }
}
