/* y: the numbers of a row in half precision. */
NAME_KERNEL NAME_TARGET void NAME_row_f16_LEVEL(float *restrict y, const uint16_t *restrict halves, int count)
{
    int j;
    for (j = 0; j < count; j++)
        y[j] = NAME_widened(halves[j]);
}
