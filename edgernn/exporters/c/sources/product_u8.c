/* y = (x - 128) W * scale + bias. x: bytes with zero point 128, up to a multiple of 4. w: int8 within +-127, in columns.
   offset: 128 times the sum of the weights of each output. y, scale, bias and offset: outputs, up to a multiple of 16. */
NAME_KERNEL void NAME_product_u8_base(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                      const float *restrict scale, const float *restrict bias,
                                      const int32_t *restrict offset, int inputs, int outputs)
{
    int at, tile;
    (void)offset;
    for (at = 0; at < outputs; at += 64) {
        const int column = NAME_column(outputs - at);
        for (tile = at; tile < at + column; tile += 16) {
            int32_t sums[16];
            NAME_tile_base(sums, x, w + at * inputs + 4 * (tile - at), inputs, column);
            NAME_scale_and_add(y + tile, sums, scale + tile, bias + tile, 16);
        }
    }
}

#if defined(NAME_X86)

/* Computes the outputs of some tiles of a column, whose number is constant. */
NAME_INLINE NAME_AVX2 void NAME_some_tiles_u8_avx2(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                   const float *restrict scale, const float *restrict bias, int inputs,
                                                   int column, int tiles)
{
    const __m256i zero_point = _mm256_set1_epi8((char)-128);
    __m256i sum[8];
    int32_t sums[64];
    int k, i;
    for (i = 0; i < 2 * tiles; i++)
        sum[i] = _mm256_setzero_si256();
    for (k = 0; k < inputs; k += 4) {
        int32_t four;
        __m256i v, magnitude;
        memcpy(&four, x + k, 4);
        v = _mm256_xor_si256(_mm256_set1_epi32(four), zero_point);
        magnitude = _mm256_abs_epi8(v);
        for (i = 0; i < 2 * tiles; i++)
            sum[i] = NAME_add_products(sum[i], magnitude, v, w + 32 * i);
        w += 4 * column;
    }
    for (i = 0; i < 2 * tiles; i++)
        _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * i), sum[i]);
    NAME_scale_and_add(y, sums, scale, bias, 16 * tiles);
}

NAME_KERNEL NAME_AVX2 void NAME_product_u8_avx2(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                const float *restrict scale, const float *restrict bias,
                                                const int32_t *restrict offset, int inputs, int outputs)
{
    int at = 0, column, tile;
    (void)offset;
    for (; at + 64 <= outputs; at += 64)
        NAME_some_tiles_u8_avx2(y + at, x, w + at * inputs, scale + at, bias + at, inputs, 64, 4);
    column = NAME_column(outputs - at);
    for (tile = 0; tile < column; tile += 16)
        NAME_some_tiles_u8_avx2(y + at + tile, x, w + at * inputs + 4 * tile, scale + at + tile, bias + at + tile, inputs,
                                column, 1);
}

NAME_INLINE NAME_VNNI __m512i NAME_four_inputs(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

/* Computes the outputs of some tiles of a column. The sums of each tile, some for inputs by turns, hide the latency of the
   instruction. tiles, turns: constant, and at most 8 sums in all. */
NAME_INLINE NAME_VNNI void NAME_some_tiles_u8_vnni(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                   const float *restrict scale, const float *restrict bias,
                                                   const int32_t *restrict offset, int inputs, int column, int tiles,
                                                   int turns)
{
    NAME_sums sums[8] = {{0}};
    int tile, turn, k;
    for (k = 0; k + 4 * turns <= inputs; k += 4 * turns) {
        for (turn = 0; turn < turns; turn++) {
            const __m512i u = NAME_four_inputs(x + k + 4 * turn);
            for (tile = 0; tile < tiles; tile++)
                sums[tile + tiles * turn] = NAME_add_dots(sums[tile + tiles * turn], u, _mm512_loadu_si512(w + 64 * tile));
            w += 4 * column;
        }
    }
    for (; k < inputs; k += 4) {
        const __m512i u = NAME_four_inputs(x + k);
        for (tile = 0; tile < tiles; tile++)
            sums[tile] = NAME_add_dots(sums[tile], u, _mm512_loadu_si512(w + 64 * tile));
        w += 4 * column;
    }
    for (tile = 0; tile < tiles; tile++) {
        __m512 product;
        for (turn = 1; turn < turns; turn++)
            sums[tile] += sums[tile + tiles * turn];
        product = _mm512_cvtepi32_ps(_mm512_sub_epi32((__m512i)sums[tile], _mm512_loadu_si512(offset + 16 * tile)));
        product = _mm512_mul_ps(product, _mm512_loadu_ps(scale + 16 * tile));
        _mm512_storeu_ps(y + 16 * tile, _mm512_add_ps(product, _mm512_loadu_ps(bias + 16 * tile)));
    }
}

NAME_KERNEL NAME_VNNI void NAME_product_u8_vnni(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                const float *restrict scale, const float *restrict bias,
                                                const int32_t *restrict offset, int inputs, int outputs)
{
    int at = 0, column, tile;
    for (; at + 64 <= outputs; at += 64)
        NAME_some_tiles_u8_vnni(y + at, x, w + at * inputs, scale + at, bias + at, offset + at, inputs, 64, 4, 2);
    column = NAME_column(outputs - at);
    for (tile = 0; tile < column; tile += 16)
        NAME_some_tiles_u8_vnni(y + at + tile, x, w + at * inputs + 4 * tile, scale + at + tile, bias + at + tile,
                                offset + at + tile, inputs, column, 1, 4);
}

#endif
