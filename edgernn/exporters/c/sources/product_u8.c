/* y = (x - 128) W * scale + bias. x: bytes with zero point 128, up to a multiple of 4. w: int8 within +-127, in tiles.
   offset: 128 times the sum of the weights of each output. y, scale, bias and offset: outputs, up to a multiple of 16. */
NAME_KERNEL void NAME_product_u8_base(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                      const float *restrict scale, const float *restrict bias,
                                      const int32_t *restrict offset, int inputs, int outputs)
{
    int tile;
    (void)offset;
    for (tile = 0; tile < outputs; tile += 16) {
        int32_t sums[16];
        NAME_tile_base(sums, x, w + tile * inputs, inputs);
        NAME_scale_and_add(y + tile, sums, scale + tile, bias + tile, 16);
    }
}

#if defined(NAME_X86)

NAME_KERNEL NAME_AVX2 void NAME_product_u8_avx2(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                const float *restrict scale, const float *restrict bias,
                                                const int32_t *restrict offset, int inputs, int outputs)
{
    const __m256i zero_point = _mm256_set1_epi8((char)-128);
    const int size = 16 * inputs;
    int tile, k, i;
    (void)offset;
    for (tile = 0; tile < outputs; tile += 32) {
        const int8_t *next = tile + 16 < outputs ? w + size : w; /* the last tile may be alone */
        __m256i sum[4];
        int32_t sums[32];
        for (i = 0; i < 4; i++)
            sum[i] = _mm256_setzero_si256();
        for (k = 0; k < inputs; k += 4) {
            int32_t four;
            __m256i v, magnitude;
            memcpy(&four, x + k, 4);
            v = _mm256_xor_si256(_mm256_set1_epi32(four), zero_point);
            magnitude = _mm256_abs_epi8(v);
            sum[0] = NAME_add_products(sum[0], magnitude, v, w + 16 * k);
            sum[1] = NAME_add_products(sum[1], magnitude, v, w + 16 * k + 32);
            sum[2] = NAME_add_products(sum[2], magnitude, v, next + 16 * k);
            sum[3] = NAME_add_products(sum[3], magnitude, v, next + 16 * k + 32);
        }
        for (i = 0; i < 4; i++)
            _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * i), sum[i]);
        NAME_scale_and_add(y + tile, sums, scale + tile, bias + tile, 16);
        if (tile + 16 < outputs)
            NAME_scale_and_add(y + tile + 16, sums + 16, scale + tile + 16, bias + tile + 16, 16);
        w = next + size;
    }
}

NAME_INLINE NAME_VNNI void NAME_store_scaled(float *y, __m512i sum, const float *scale, const float *bias,
                                             const int32_t *offset)
{
    const __m512i exact = _mm512_sub_epi32(sum, _mm512_loadu_si512(offset));
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(exact), _mm512_loadu_ps(scale));
    _mm512_storeu_ps(y, _mm512_add_ps(product, _mm512_loadu_ps(bias)));
}

NAME_INLINE NAME_VNNI __m512i NAME_four_inputs(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

/* Computes the outputs of some tiles, whose number is constant. The sums of each, two for inputs by turns, hide the latency
   of the instruction. */
NAME_INLINE NAME_VNNI void NAME_some_tiles_u8_vnni(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                   const float *restrict scale, const float *restrict bias,
                                                   const int32_t *restrict offset, int inputs, int tiles)
{
    const int size = 16 * inputs;
    __m512i even[4], odd[4];
    int tile, k;
    for (tile = 0; tile < tiles; tile++)
        even[tile] = odd[tile] = _mm512_setzero_si512();
    for (k = 0; k + 8 <= inputs; k += 8) {
        const __m512i u = NAME_four_inputs(x + k), v = NAME_four_inputs(x + k + 4);
        for (tile = 0; tile < tiles; tile++) {
            const int8_t *const next = w + size * tile + 16 * k;
            even[tile] = _mm512_dpbusd_epi32(even[tile], u, _mm512_loadu_si512(next));
            odd[tile] = _mm512_dpbusd_epi32(odd[tile], v, _mm512_loadu_si512(next + 64));
        }
    }
    if (k < inputs) {
        const __m512i u = NAME_four_inputs(x + k);
        for (tile = 0; tile < tiles; tile++)
            even[tile] = _mm512_dpbusd_epi32(even[tile], u, _mm512_loadu_si512(w + size * tile + 16 * k));
    }
    for (tile = 0; tile < tiles; tile++)
        NAME_store_scaled(y + 16 * tile, _mm512_add_epi32(even[tile], odd[tile]), scale + 16 * tile, bias + 16 * tile,
                          offset + 16 * tile);
}

NAME_KERNEL NAME_VNNI void NAME_product_u8_vnni(float *restrict y, const uint8_t *restrict x, const int8_t *restrict w,
                                                const float *restrict scale, const float *restrict bias,
                                                const int32_t *restrict offset, int inputs, int outputs)
{
    int at = 0;
    for (; at + 64 <= outputs; at += 64)
        NAME_some_tiles_u8_vnni(y + at, x, w + inputs * at, scale + at, bias + at, offset + at, inputs, 4);
    for (; at < outputs; at += 16)
        NAME_some_tiles_u8_vnni(y + at, x, w + inputs * at, scale + at, bias + at, offset + at, inputs, 1);
}

#endif
