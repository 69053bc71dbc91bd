/* Sums of products of bytes with zero point 128 and int8 weights within +-127, which lie in columns of 64 outputs, one
   after another: (inputs / 4, 64, 4) each, and the last one with the outputs that are left, up to a multiple of 16. */

/* Returns the outputs of a column. left: the outputs from its first one on. */
NAME_INLINE int NAME_column(int left)
{
    return left < 64 ? (left + 15) / 16 * 16 : 64;
}

#if defined(NAME_DSP)
/* Adds the products of four inputs with four weights. even, odd: two of the inputs each. */
NAME_INLINE int32_t NAME_add_four(int32_t sum, int16x2_t even, int16x2_t odd, const int8_t *w)
{
    int8x4_t four;
    memcpy(&four, w, 4);
    sum = __smlad(even, __sxtb16(four), sum);
    return __smlad(odd, __sxtb16(four >> 8), sum);
}
#endif

/* The sums of one row and 16 outputs of a column. */
NAME_INLINE void NAME_tile_base(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w, int inputs,
                                int column)
{
    int k, i;
#if defined(NAME_X86)
    const __m128i zero_point = _mm_set1_epi8((char)-128);
    __m128i low[4], high[4];
    for (i = 0; i < 4; i++)
        low[i] = high[i] = _mm_setzero_si128();
    for (k = 0; k < inputs; k += 4) {
        int32_t four;
        __m128i v;
        memcpy(&four, x + k, 4);
        v = _mm_xor_si128(_mm_set1_epi32(four), zero_point);
        v = _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8);
        for (i = 0; i < 4; i++) {
            const __m128i u = _mm_loadu_si128((const __m128i *)(const void *)(w + 16 * i));
            low[i] = _mm_add_epi32(low[i], _mm_madd_epi16(v, _mm_srai_epi16(_mm_unpacklo_epi8(u, u), 8)));
            high[i] = _mm_add_epi32(high[i], _mm_madd_epi16(v, _mm_srai_epi16(_mm_unpackhi_epi8(u, u), 8)));
        }
        w += 4 * column;
    }
    for (i = 0; i < 4; i++) {
        const __m128 a = _mm_castsi128_ps(low[i]), b = _mm_castsi128_ps(high[i]);
        const __m128i even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
        const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd));
        _mm_storeu_si128((__m128i *)(void *)(sums + 4 * i), _mm_add_epi32(even, odd));
    }
#elif defined(NAME_NEON)
    int32x4_t sum[4];
    for (i = 0; i < 4; i++)
        sum[i] = vdupq_n_s32(0);
    for (k = 0; k < inputs; k += 4) {
        uint32_t four;
        int8x16_t v;
        memcpy(&four, x + k, 4);
        v = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
        for (i = 0; i < 4; i++) {
            const int8x16_t u = vld1q_s8(w + 16 * i);
#if defined(__ARM_FEATURE_DOTPROD)
            sum[i] = vdotq_s32(sum[i], u, v);
#else
            const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(u), vget_low_s8(v)));
            const int32x4_t high = vpaddlq_s16(vmull_high_s8(u, v));
            sum[i] = vaddq_s32(sum[i], vpaddq_s32(low, high));
#endif
        }
        w += 4 * column;
    }
    for (i = 0; i < 4; i++)
        vst1q_s32(sums + 4 * i, sum[i]);
#elif defined(NAME_WASM)
    v128_t low[4], high[4];
    for (i = 0; i < 4; i++)
        low[i] = high[i] = wasm_i32x4_splat(0);
    for (k = 0; k < inputs; k += 4) {
        uint32_t four;
        v128_t v;
        memcpy(&four, x + k, 4);
        v = wasm_i16x8_extend_low_i8x16(wasm_i32x4_splat((int32_t)(four ^ 0x80808080u)));
        for (i = 0; i < 4; i++) {
            const v128_t u = wasm_v128_load(w + 16 * i);
            low[i] = wasm_i32x4_add(low[i], wasm_i32x4_dot_i16x8(v, wasm_i16x8_extend_low_i8x16(u)));
            high[i] = wasm_i32x4_add(high[i], wasm_i32x4_dot_i16x8(v, wasm_i16x8_extend_high_i8x16(u)));
        }
        w += 4 * column;
    }
    for (i = 0; i < 4; i++)
        wasm_v128_store(sums + 4 * i, wasm_i32x4_add(wasm_i32x4_shuffle(low[i], high[i], 0, 2, 4, 6),
                                                     wasm_i32x4_shuffle(low[i], high[i], 1, 3, 5, 7)));
#elif defined(NAME_DSP)
    for (i = 0; i < 16; i += 4) {
        const int8_t *next = w + 4 * i;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (k = 0; k < inputs; k += 4) {
            uint32_t four;
            int16x2_t even, odd;
            memcpy(&four, x + k, 4);
            four ^= 0x80808080u;
            even = __sxtb16((int8x4_t)four);
            odd = __sxtb16((int8x4_t)(four >> 8));
            a = NAME_add_four(a, even, odd, next);
            b = NAME_add_four(b, even, odd, next + 4);
            c = NAME_add_four(c, even, odd, next + 8);
            d = NAME_add_four(d, even, odd, next + 12);
            next += 4 * column;
        }
        sums[i] = a, sums[i + 1] = b, sums[i + 2] = c, sums[i + 3] = d;
    }
#else
    for (i = 0; i < 16; i++)
        sums[i] = 0;
    for (k = 0; k < inputs; k += 4) {
        for (i = 0; i < 16; i++)
            sums[i] += (x[k] - 128) * w[4 * i] + (x[k + 1] - 128) * w[4 * i + 1] + (x[k + 2] - 128) * w[4 * i + 2] +
                       (x[k + 3] - 128) * w[4 * i + 3];
        w += 4 * column;
    }
#endif
}
