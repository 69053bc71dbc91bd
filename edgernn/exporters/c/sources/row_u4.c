/* y: one row of a matrix of halves of bytes with zero point 8, the low half first; 32 of them share a factor. */
NAME_KERNEL NAME_TARGET void NAME_row_u4_LEVEL(float *restrict y, const uint8_t *restrict halves,
                                               const float *restrict factors, int count)
{
    int j;
    for (; count > 0; count -= 32) {
        const int pairs = (count < 32 ? count : 32) / 2; /* if it were constant, gcc would not use vectors */
        for (j = 0; j < pairs; j++) {
            y[2 * j] = (float)((halves[j] & 15) - 8) * *factors;
            y[2 * j + 1] = (float)((halves[j] >> 4) - 8) * *factors;
        }
        if (count < 32 && count % 2 != 0)
            y[2 * pairs] = (float)((halves[pairs] & 15) - 8) * *factors;
        y += 2 * pairs;
        halves += pairs;
        factors++;
    }
}
