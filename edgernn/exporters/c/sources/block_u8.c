/* Sums of up to 4 rows (rows, inputs) and 64 outputs, (rows, 64), less `offset`, which only VNNI needs: each weight is
   read once for all rows. */
NAME_INLINE void NAME_block_base(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                 const int32_t *restrict offset, int inputs, int rows, int outputs)
{
    int at, row;
    (void)offset;
    for (at = 0; at < outputs; at += 16) {
        for (row = 0; row < rows; row++)
            NAME_tile_base(sums + 64 * row + at, x + row * inputs, w + at * inputs, inputs);
    }
}

#if defined(NAME_X86)
NAME_INLINE NAME_AVX2 void NAME_block_avx2(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                           const int32_t *restrict offset, int inputs, int rows, int outputs)
{
    const __m256i zero_point = _mm256_set1_epi8((char)-128);
    int at, row, k;
    (void)offset;
    for (at = 0; at < outputs; at += 16) {
        const int8_t *const tile = w + at * inputs;
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
                low[row] = NAME_add_products(low[row], magnitude, v, tile + 16 * k);
                high[row] = NAME_add_products(high[row], magnitude, v, tile + 16 * k + 32);
            }
        }
        for (row = 0; row < 4; row++) {
            _mm256_storeu_si256((__m256i *)(void *)(sums + 64 * row + at), low[row]);
            _mm256_storeu_si256((__m256i *)(void *)(sums + 64 * row + at + 8), high[row]);
        }
    }
}

/* The same of 16 outputs for each of some tiles, whose number is constant. */
NAME_INLINE NAME_VNNI void NAME_tiles_vnni(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                           const int32_t *restrict offset, int inputs, int rows, int tiles)
{
    const uint8_t *const second = x + (rows > 1 ? inputs : 0);
    const uint8_t *const third = x + (rows > 2 ? 2 * inputs : 0);
    const uint8_t *const fourth = x + (rows > 3 ? 3 * inputs : 0);
    __m512i sum[4][4];
    int tile, row, k;
    for (tile = 0; tile < tiles; tile++) {
        for (row = 0; row < 4; row++)
            sum[row][tile] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(offset + 16 * tile));
    }
    for (k = 0; k < inputs; k += 4) {
        int32_t four[4];
        memcpy(four, x + k, 4);
        memcpy(four + 1, second + k, 4);
        memcpy(four + 2, third + k, 4);
        memcpy(four + 3, fourth + k, 4);
        for (tile = 0; tile < tiles; tile++) {
            const __m512i u = _mm512_loadu_si512(w + 16 * tile * inputs + 16 * k);
            for (row = 0; row < 4; row++)
                sum[row][tile] = _mm512_dpbusd_epi32(sum[row][tile], _mm512_set1_epi32(four[row]), u);
        }
    }
    for (tile = 0; tile < tiles; tile++) {
        for (row = 0; row < 4; row++)
            _mm512_storeu_si512(sums + 64 * row + 16 * tile, sum[row][tile]);
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
