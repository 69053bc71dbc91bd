/* Sums of up to 4 rows (rows, inputs) and the outputs of a column, (rows, 64), less `offset`, which only VNNI needs: each
   weight is read once for all rows. */
NAME_INLINE void NAME_block_base(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                 const int32_t *restrict offset, int inputs, int rows, int outputs)
{
    const int column = NAME_column(outputs);
    int at, row;
    (void)offset;
    for (at = 0; at < column; at += 16) {
        for (row = 0; row < rows; row++)
            NAME_tile_base(sums + 64 * row + at, x + row * inputs, w + 4 * at, inputs, column);
    }
}

#if defined(NAME_X86)
NAME_INLINE NAME_AVX2 void NAME_block_avx2(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                           const int32_t *restrict offset, int inputs, int rows, int outputs)
{
    const __m256i zero_point = _mm256_set1_epi8((char)-128);
    const int column = NAME_column(outputs);
    int at, row, k;
    (void)offset;
    for (at = 0; at < column; at += 16) {
        const int8_t *next = w + 4 * at;
        __m256i low[4], high[4];
        for (row = 0; row < 4; row++)
            low[row] = high[row] = _mm256_setzero_si256();
        for (k = 0; k < inputs; k += 4) {
            for (row = 0; row < 4; row++) {
                __m256i v, magnitude;
                int32_t four;
                memcpy(&four, x + (row < rows ? row * inputs : 0) + k, 4);
                v = _mm256_xor_si256(_mm256_set1_epi32(four), zero_point);
                magnitude = _mm256_abs_epi8(v);
                low[row] = NAME_add_products(low[row], magnitude, v, next);
                high[row] = NAME_add_products(high[row], magnitude, v, next + 32);
            }
            next += 4 * column;
        }
        for (row = 0; row < 4; row++) {
            _mm256_storeu_si256((__m256i *)(void *)(sums + 64 * row + at), low[row]);
            _mm256_storeu_si256((__m256i *)(void *)(sums + 64 * row + at + 8), high[row]);
        }
    }
}

/* The same of a column of some tiles of 16 outputs, whose number is constant. */
NAME_INLINE NAME_VNNI void NAME_tiles_vnni(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                           const int32_t *restrict offset, int inputs, int rows, int tiles)
{
    const uint8_t *const second = x + (rows > 1 ? inputs : 0);
    const uint8_t *const third = x + (rows > 2 ? 2 * inputs : 0);
    const uint8_t *const fourth = x + (rows > 3 ? 3 * inputs : 0);
    NAME_sums sum[4][4];
    int tile, row, k;
    for (tile = 0; tile < tiles; tile++) {
        for (row = 0; row < 4; row++)
            sum[row][tile] = -(NAME_sums)_mm512_loadu_si512(offset + 16 * tile);
    }
    for (k = 0; k < inputs; k += 4) {
        int32_t four[4];
        memcpy(four, x + k, 4);
        memcpy(four + 1, second + k, 4);
        memcpy(four + 2, third + k, 4);
        memcpy(four + 3, fourth + k, 4);
        for (tile = 0; tile < tiles; tile++) {
            const __m512i u = _mm512_loadu_si512(w + 64 * tile);
            for (row = 0; row < 4; row++)
                sum[row][tile] = NAME_add_dots(sum[row][tile], _mm512_set1_epi32(four[row]), u);
        }
        w += 64 * tiles;
    }
    for (tile = 0; tile < tiles; tile++) {
        for (row = 0; row < 4; row++)
            _mm512_storeu_si512(sums + 64 * row + 16 * tile, (__m512i)sum[row][tile]);
    }
}

NAME_INLINE NAME_VNNI void NAME_block_vnni(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                           const int32_t *restrict offset, int inputs, int rows, int outputs)
{
    if (outputs > 48)
        NAME_tiles_vnni(sums, x, w, offset, inputs, rows, 4);
    else if (outputs > 32)
        NAME_tiles_vnni(sums, x, w, offset, inputs, rows, 3);
    else if (outputs > 16)
        NAME_tiles_vnni(sums, x, w, offset, inputs, rows, 2);
    else
        NAME_tiles_vnni(sums, x, w, offset, inputs, rows, 1);
}
#endif
