/* y (rows, count): each row of x, less its mean, divided by its standard deviation, times scale, plus bias. */
NAME_KERNEL NAME_TARGET void NAME_layer_norm_LEVEL(float *restrict y, const float *restrict x,
                                                   const float *restrict scale, const float *restrict bias, int rows,
                                                   int count, float epsilon)
{
    int row, j;
    for (row = 0; row < rows; row++) {
        const float mean = NAME_sum(x, count) / (float)count;
        float deviation;
        for (j = 0; j < count; j++)
            y[j] = (x[j] - mean) * (x[j] - mean);
        deviation = NAME_sqrt(NAME_sum(y, count) / (float)count + epsilon);
        for (j = 0; j < count; j++)
            y[j] = (x[j] - mean) / deviation * scale[j] + bias[j];
        x += count;
        y += count;
    }
}
