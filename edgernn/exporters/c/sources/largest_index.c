/* y (outer, inner): the indices of the largest elements of x (outer, count, inner) along its second axis; of equal
   ones, of the first. */
NAME_KERNEL NAME_TARGET void NAME_largest_index_LEVEL(int64_t *restrict y, const float *restrict x, int outer,
                                                      int count, int inner)
{
    int row, k, j;
    for (row = 0; row < outer; row++) {
        for (j = 0; j < inner; j++) {
            int best = 0;
            for (k = 1; k < count; k++)
                best = x[k * inner + j] > x[best * inner + j] ? k : best;
            y[row * inner + j] = best;
        }
        x += count * inner;
    }
}
