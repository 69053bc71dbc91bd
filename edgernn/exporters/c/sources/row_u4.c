/* y: one row of a matrix of halves of bytes with zero point 8, the low half first; 32 of them share a factor. */
NAME_KERNEL NAME_TARGET void NAME_row_u4_LEVEL(float *restrict y, const uint8_t *restrict halves,
                                               const float *restrict factors, int count)
{
    const int blocks = count / 32, rest = count % 32;
    int block, j;
    for (block = 0; block < blocks; block++) {
        for (j = 0; j < 16; j++) {
            y[2 * j] = (float)((halves[j] & 15) - 8) * factors[block];
            y[2 * j + 1] = (float)((halves[j] >> 4) - 8) * factors[block];
        }
        y += 32;
        halves += 16;
    }
    for (j = 0; j < rest; j++)
        y[j] = (float)((j & 1 ? halves[j / 2] >> 4 : halves[j / 2] & 15) - 8) * factors[blocks];
}
