/* y = x W + bias, from the rounded x of NAME_round_blocks. w: halves of bytes with zero point 8, (outputs / 32, blocks, 8,
   16, 4), the low one of an output, the high one of the output 16 later. factors: (outputs / 32, blocks, 32). y and bias:
   outputs, up to a multiple of 32. */
NAME_INLINE void NAME_add_block(float *restrict total, const int32_t *restrict sums, int32_t offset,
                                const float *restrict factors, float scale)
{
    int i;
    for (i = 0; i < 32; i++)
        total[i] += (float)(sums[i] + offset) * (factors[i] * scale);
}

#if defined(NAME_X86)

/* Sets sums[32] to the products of a block of 32 inputs. */
NAME_INLINE void NAME_sums_u4_base(int32_t *restrict sums, const int8_t *restrict x, const uint8_t *restrict w)
{
    const __m128i mask = _mm_set1_epi8(15), zero = _mm_setzero_si128();
    int part, group, i;
    for (part = 0; part < 2; part++) {
        __m128i first[4], second[4]; /* the first and the second two of four outputs */
        for (i = 0; i < 4; i++)
            first[i] = second[i] = zero;
        for (group = 0; group < 8; group++) {
            int32_t four;
            __m128i v;
            memcpy(&four, x + 4 * group, 4);
            v = _mm_set1_epi32(four);
            v = _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8);
            for (i = 0; i < 4; i++) {
                const uint8_t *const next = w + 64 * group + 32 * part + 16 * (i % 2);
                __m128i u = _mm_loadu_si128((const __m128i *)(const void *)next);
                u = _mm_and_si128(i < 2 ? u : _mm_srli_epi16(u, 4), mask);
                first[i] = _mm_add_epi32(first[i], _mm_madd_epi16(v, _mm_unpacklo_epi8(u, zero)));
                second[i] = _mm_add_epi32(second[i], _mm_madd_epi16(v, _mm_unpackhi_epi8(u, zero)));
            }
        }
        for (i = 0; i < 4; i++) {
            const __m128 a = _mm_castsi128_ps(first[i]), b = _mm_castsi128_ps(second[i]);
            const __m128i even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
            const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd));
            int32_t *const to = sums + 16 * (i / 2) + 8 * part + 4 * (i % 2);
            _mm_storeu_si128((__m128i *)(void *)to, _mm_add_epi32(even, odd));
        }
    }
}

NAME_INLINE NAME_AVX2 void NAME_sums_u4_avx2(int32_t *restrict sums, const int8_t *restrict x, const uint8_t *restrict w)
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i pairs[4]; /* 16 products of at most 15 * 127 fit into 16 bits */
    int group, i;
    for (i = 0; i < 4; i++)
        pairs[i] = _mm256_setzero_si256();
    for (group = 0; group < 8; group++) {
        int32_t four;
        __m256i v;
        memcpy(&four, x + 4 * group, 4);
        v = _mm256_set1_epi32(four);
        for (i = 0; i < 2; i++) {
            const __m256i u = _mm256_loadu_si256((const __m256i *)(const void *)(w + 64 * group + 32 * i));
            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(u, 4), mask);
            pairs[i] = _mm256_add_epi16(pairs[i], _mm256_maddubs_epi16(_mm256_and_si256(u, mask), v));
            pairs[i + 2] = _mm256_add_epi16(pairs[i + 2], _mm256_maddubs_epi16(high, v));
        }
    }
    for (i = 0; i < 4; i++)
        _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * i), _mm256_madd_epi16(pairs[i], ones));
}

NAME_KERNEL NAME_AVX2 void NAME_product_u4_avx2(float *restrict y, const int8_t *restrict bytes,
                                                const float *restrict scales, const int32_t *restrict offsets,
                                                const uint8_t *restrict w, const float *restrict factors,
                                                const float *restrict bias, int blocks, int outputs)
{
    int tile, block, i;
    for (tile = 0; tile < outputs; tile += 32) {
        float total[32];
        for (i = 0; i < 32; i++)
            total[i] = 0.0f;
        for (block = 0; block < blocks; block++) {
            int32_t sums[32];
            NAME_sums_u4_avx2(sums, bytes + 32 * block, w);
            NAME_add_block(total, sums, offsets[block], factors, scales[block]);
            w += 512;
            factors += 32;
        }
        for (i = 0; i < 32; i++)
            y[tile + i] = total[i] + bias[tile + i];
    }
}

NAME_INLINE NAME_VNNI __m512 NAME_added_block(__m512 total, NAME_sums sums, const float *factors, __m512 scale)
{
    const __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(factors), scale);
    return _mm512_add_ps(total, _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)sums), factor));
}

/* Computes the outputs of some tiles, whose number is constant: four hide the latency of the instruction. A byte times x is
   that of its low half and 16 times that of its high half, so that one mask and one shift for all inputs are enough. */
NAME_INLINE NAME_VNNI void NAME_tiles_u4_vnni(float *restrict y, const int8_t *restrict bytes,
                                              const float *restrict scales, const int32_t *restrict offsets,
                                              const uint8_t *restrict w, const float *restrict factors,
                                              const float *restrict bias, int blocks, int tiles)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512 total[4][2];
    int tile, block, group;
    for (tile = 0; tile < tiles; tile++)
        total[tile][0] = total[tile][1] = _mm512_setzero_ps();
    for (block = 0; block < blocks; block++) {
        const __m512i offset = _mm512_set1_epi32(offsets[block]), both = _mm512_set1_epi32(17 * offsets[block]);
        const __m512 scale = _mm512_set1_ps(scales[block]);
        NAME_sums low[4], whole[4];
        for (tile = 0; tile < tiles; tile++) {
            low[tile] = (NAME_sums)offset;
            whole[tile] = (NAME_sums)both;
        }
        for (group = 0; group < 8; group++) {
            int32_t four;
            __m512i v;
            memcpy(&four, bytes + 32 * block + 4 * group, 4);
            v = _mm512_set1_epi32(four);
            for (tile = 0; tile < tiles; tile++) {
                const __m512i u = _mm512_loadu_si512(w + 512 * (tile * blocks + block) + 64 * group);
                whole[tile] = NAME_add_dots(whole[tile], u, v);
                low[tile] = NAME_add_dots(low[tile], _mm512_and_si512(u, mask), v);
            }
        }
        for (tile = 0; tile < tiles; tile++) {
            const float *const next = factors + 32 * (tile * blocks + block);
            const NAME_sums high = (whole[tile] - low[tile]) >> 4;
            total[tile][0] = NAME_added_block(total[tile][0], low[tile], next, scale);
            total[tile][1] = NAME_added_block(total[tile][1], high, next + 16, scale);
        }
    }
    for (tile = 0; tile < tiles; tile++) {
        _mm512_storeu_ps(y + 32 * tile, _mm512_add_ps(total[tile][0], _mm512_loadu_ps(bias + 32 * tile)));
        _mm512_storeu_ps(y + 32 * tile + 16, _mm512_add_ps(total[tile][1], _mm512_loadu_ps(bias + 32 * tile + 16)));
    }
}

NAME_KERNEL NAME_VNNI void NAME_product_u4_vnni(float *restrict y, const int8_t *restrict bytes,
                                                const float *restrict scales, const int32_t *restrict offsets,
                                                const uint8_t *restrict w, const float *restrict factors,
                                                const float *restrict bias, int blocks, int outputs)
{
    int at = 0;
    for (; at + 96 < outputs; at += 128)
        NAME_tiles_u4_vnni(y + at, bytes, scales, offsets, w + at * blocks * 16, factors + at * blocks, bias + at,
                           blocks, 4);
    if (at + 64 < outputs)
        NAME_tiles_u4_vnni(y + at, bytes, scales, offsets, w + at * blocks * 16, factors + at * blocks, bias + at,
                           blocks, 3);
    else if (at + 32 < outputs)
        NAME_tiles_u4_vnni(y + at, bytes, scales, offsets, w + at * blocks * 16, factors + at * blocks, bias + at,
                           blocks, 2);
    else if (at < outputs)
        NAME_tiles_u4_vnni(y + at, bytes, scales, offsets, w + at * blocks * 16, factors + at * blocks, bias + at,
                           blocks, 1);
}

#elif defined(NAME_NEON)

NAME_INLINE void NAME_sums_u4_base(int32_t *restrict sums, const int8_t *restrict x, const uint8_t *restrict w)
{
    const uint8x16_t mask = vdupq_n_u8(15);
    int32x4_t sum[8];
    int group, i;
    for (i = 0; i < 8; i++)
        sum[i] = vdupq_n_s32(0);
    for (group = 0; group < 8; group++) {
        uint32_t four;
        int8x16_t v;
        memcpy(&four, x + 4 * group, 4);
        v = vreinterpretq_s8_u32(vdupq_n_u32(four));
        for (i = 0; i < 8; i++) {
            const uint8x16_t u = vld1q_u8(w + 64 * group + 16 * (i % 4));
            const int8x16_t half = vreinterpretq_s8_u8(i < 4 ? vandq_u8(u, mask) : vshrq_n_u8(u, 4));
#if defined(__ARM_FEATURE_DOTPROD)
            sum[i] = vdotq_s32(sum[i], half, v);
#else
            const int16x8_t a = vmull_s8(vget_low_s8(half), vget_low_s8(v)), b = vmull_high_s8(half, v);
            sum[i] = vaddq_s32(sum[i], vpaddq_s32(vpaddlq_s16(a), vpaddlq_s16(b)));
#endif
        }
    }
    for (i = 0; i < 8; i++)
        vst1q_s32(sums + 4 * i, sum[i]);
}

#elif defined(NAME_WASM)

NAME_INLINE void NAME_sums_u4_base(int32_t *restrict sums, const int8_t *restrict x, const uint8_t *restrict w)
{
    const v128_t mask = wasm_i8x16_splat(15);
    int group, i;
    v128_t first[8], second[8]; /* the first and the second two of four outputs */
    for (i = 0; i < 8; i++)
        first[i] = second[i] = wasm_i32x4_splat(0);
    for (group = 0; group < 8; group++) {
        int32_t four;
        v128_t v;
        memcpy(&four, x + 4 * group, 4);
        v = wasm_i16x8_extend_low_i8x16(wasm_i32x4_splat(four));
        for (i = 0; i < 8; i++) {
            const v128_t u = wasm_v128_load(w + 64 * group + 16 * (i % 4));
            const v128_t half = i < 4 ? wasm_v128_and(u, mask) : wasm_u8x16_shr(u, 4);
            first[i] = wasm_i32x4_add(first[i], wasm_i32x4_dot_i16x8(v, wasm_i16x8_extend_low_i8x16(half)));
            second[i] = wasm_i32x4_add(second[i], wasm_i32x4_dot_i16x8(v, wasm_i16x8_extend_high_i8x16(half)));
        }
    }
    for (i = 0; i < 8; i++)
        wasm_v128_store(sums + 4 * i, wasm_i32x4_add(wasm_i32x4_shuffle(first[i], second[i], 0, 2, 4, 6),
                                                     wasm_i32x4_shuffle(first[i], second[i], 1, 3, 5, 7)));
}

#elif defined(NAME_DSP)

NAME_INLINE void NAME_sums_u4_base(int32_t *restrict sums, const int8_t *restrict x, const uint8_t *restrict w)
{
    int group, i;
    for (i = 0; i < 16; i += 2) {
        const uint8_t *next = w + 4 * i;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (group = 0; group < 8; group++) {
            int8x4_t four;
            int16x2_t even, odd;
            uint32_t u, v;
            memcpy(&four, x + 4 * group, 4);
            even = __sxtb16(four);
            odd = __sxtb16(four >> 8);
            memcpy(&u, next, 4);
            memcpy(&v, next + 4, 4);
            a = __smlad(odd, (int16x2_t)(u >> 8 & 0x000f000fu), __smlad(even, (int16x2_t)(u & 0x000f000fu), a));
            b = __smlad(odd, (int16x2_t)(v >> 8 & 0x000f000fu), __smlad(even, (int16x2_t)(v & 0x000f000fu), b));
            c = __smlad(odd, (int16x2_t)(u >> 12 & 0x000f000fu), __smlad(even, (int16x2_t)(u >> 4 & 0x000f000fu), c));
            d = __smlad(odd, (int16x2_t)(v >> 12 & 0x000f000fu), __smlad(even, (int16x2_t)(v >> 4 & 0x000f000fu), d));
            next += 64;
        }
        sums[i] = a, sums[i + 1] = b, sums[i + 16] = c, sums[i + 17] = d;
    }
}

#else

NAME_INLINE void NAME_sums_u4_base(int32_t *restrict sums, const int8_t *restrict x, const uint8_t *restrict w)
{
    int group, i, j;
    for (i = 0; i < 32; i++)
        sums[i] = 0;
    for (group = 0; group < 8; group++)
        for (i = 0; i < 16; i++)
            for (j = 0; j < 4; j++) {
                const uint8_t u = w[64 * group + 4 * i + j];
                sums[i] += (u & 15) * x[4 * group + j];
                sums[i + 16] += (u >> 4) * x[4 * group + j];
            }
}

#endif

NAME_KERNEL void NAME_product_u4_base(float *restrict y, const int8_t *restrict bytes, const float *restrict scales,
                                      const int32_t *restrict offsets, const uint8_t *restrict w,
                                      const float *restrict factors, const float *restrict bias, int blocks,
                                      int outputs)
{
    int tile, block, i;
    for (tile = 0; tile < outputs; tile += 32) {
        float total[32];
        for (i = 0; i < 32; i++)
            total[i] = 0.0f;
        for (block = 0; block < blocks; block++) {
            int32_t sums[32];
            NAME_sums_u4_base(sums, bytes + 32 * block, w);
            NAME_add_block(total, sums, offsets[block], factors, scales[block]);
            w += 512;
            factors += 32;
        }
        for (i = 0; i < 32; i++)
            y[tile + i] = total[i] + bias[tile + i];
    }
}
