/* y: one row of a matrix of halves of bytes with zero point 8, the low half first; 32 of them share a factor. */
NAME_KERNEL NAME_TARGET void NAME_row_u4_LEVEL(float *restrict y, const uint8_t *restrict halves,
                                               const float *restrict factors, int count)
{
    int at, j;
    for (at = 0; at < count; at += 32) {
        const int pairs = (count - at < 32 ? count - at : 32) / 2; /* if it were constant, gcc would not use vectors */
        const float factor = factors[at / 32];
        for (j = 0; j < pairs; j++) {
            y[at + 2 * j] = (float)((halves[at / 2 + j] & 15) - 8) * factor;
            y[at + 2 * j + 1] = (float)((halves[at / 2 + j] >> 4) - 8) * factor;
        }
    }
    if (count % 2 != 0)
        y[count - 1] = (float)((halves[count / 2] & 15) - 8) * factors[count / 32];
}
