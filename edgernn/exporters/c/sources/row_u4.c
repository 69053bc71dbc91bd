/* y: one row of a matrix of halves of bytes with zero point 8, the low half first; 32 of them share a factor. */
NAME_KERNEL NAME_TARGET void NAME_row_u4_LEVEL(float *restrict y, const uint8_t *restrict halves,
                                               const float *restrict factors, int count)
{
    int j, k;
    for (j = 0; j + 32 <= count; j += 32)
        for (k = 0; k < 16; k++) {
            y[j + 2 * k] = (float)((halves[j / 2 + k] & 15) - 8) * factors[j / 32];
            y[j + 2 * k + 1] = (float)((halves[j / 2 + k] >> 4) - 8) * factors[j / 32];
        }
    for (; j < count; j++)
        y[j] = (float)((j & 1 ? halves[j / 2] >> 4 : halves[j / 2] & 15) - 8) * factors[j / 32];
}
