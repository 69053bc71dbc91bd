/* y = x W + bias, from the rounded x of NAME_round_blocks. w: halves of bytes with zero point 8,
   (outputs / 16, blocks, 4, 16, 4), the low one of an input, the high one of the input 16 later. factors:
   (outputs / 16, blocks, 16). y and bias: outputs, up to a multiple of 16. */
#if defined(NAME_X86)

NAME_KERNEL void NAME_product_u4_base(float *restrict y, const int8_t *restrict bytes, const float *restrict scales,
                                      const int32_t *restrict offsets, const uint8_t *restrict w,
                                      const float *restrict factors, const float *restrict bias, int blocks,
                                      int outputs)
{
    const __m128i mask = _mm_set1_epi8(15), zero = _mm_setzero_si128();
    int tile, block, group, i;
    for (tile = 0; tile < outputs; tile += 16) {
        __m128 y4[4];
        for (i = 0; i < 4; i++)
            y4[i] = _mm_setzero_ps();
        for (block = 0; block < blocks; block++) {
            const __m128 scale = _mm_set1_ps(scales[block]);
            __m128i even[4], odd[4];
            for (i = 0; i < 4; i++)
                even[i] = odd[i] = zero;
            for (group = 0; group < 4; group++) {
                int32_t four;
                __m128i first, second;
                memcpy(&four, bytes + 32 * block + 4 * group, 4);
                first = _mm_set1_epi32(four);
                first = _mm_srai_epi16(_mm_unpacklo_epi8(first, first), 8);
                memcpy(&four, bytes + 32 * block + 16 + 4 * group, 4);
                second = _mm_set1_epi32(four);
                second = _mm_srai_epi16(_mm_unpacklo_epi8(second, second), 8);
                for (i = 0; i < 4; i++) {
                    const __m128i u = _mm_loadu_si128((const __m128i *)(const void *)(w + 16 * i));
                    const __m128i low = _mm_and_si128(u, mask), high = _mm_and_si128(_mm_srli_epi16(u, 4), mask);
                    even[i] = _mm_add_epi32(even[i], _mm_madd_epi16(first, _mm_unpacklo_epi8(low, zero)));
                    odd[i] = _mm_add_epi32(odd[i], _mm_madd_epi16(first, _mm_unpackhi_epi8(low, zero)));
                    even[i] = _mm_add_epi32(even[i], _mm_madd_epi16(second, _mm_unpacklo_epi8(high, zero)));
                    odd[i] = _mm_add_epi32(odd[i], _mm_madd_epi16(second, _mm_unpackhi_epi8(high, zero)));
                }
                w += 64;
            }
            for (i = 0; i < 4; i++) {
                const __m128 a = _mm_castsi128_ps(even[i]), b = _mm_castsi128_ps(odd[i]);
                __m128i sum = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
                sum = _mm_add_epi32(sum, _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd)));
                sum = _mm_add_epi32(sum, _mm_set1_epi32(offsets[block]));
                y4[i] = _mm_add_ps(y4[i], _mm_mul_ps(_mm_cvtepi32_ps(sum),
                                                     _mm_mul_ps(_mm_loadu_ps(factors + 4 * i), scale)));
            }
            factors += 16;
        }
        for (i = 0; i < 4; i++)
            _mm_storeu_ps(y + tile + 4 * i, _mm_add_ps(y4[i], _mm_loadu_ps(bias + tile + 4 * i)));
    }
}

/* Adds the products of 4 + 4 inputs with the weights of 8 outputs. */
NAME_INLINE NAME_AVX2 __m256i NAME_add_halves(__m256i sum, __m256i first, __m256i second, const uint8_t *w)
{
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i u = _mm256_loadu_si256((const __m256i *)(const void *)w);
    const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(u, mask), first);
    const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(u, 4), mask), second);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_set1_epi16(1), _mm256_add_epi16(low, high)));
}

NAME_KERNEL NAME_AVX2 void NAME_product_u4_avx2(float *restrict y, const int8_t *restrict bytes,
                                                const float *restrict scales, const int32_t *restrict offsets,
                                                const uint8_t *restrict w, const float *restrict factors,
                                                const float *restrict bias, int blocks, int outputs)
{
    int tile, block, group;
    for (tile = 0; tile < outputs; tile += 16) {
        __m256 y0 = _mm256_setzero_ps(), y1 = _mm256_setzero_ps();
        for (block = 0; block < blocks; block++) {
            const __m256 scale = _mm256_set1_ps(scales[block]);
            __m256i sum0 = _mm256_set1_epi32(offsets[block]), sum1 = sum0;
            for (group = 0; group < 4; group++) {
                int32_t first, second;
                memcpy(&first, bytes + 32 * block + 4 * group, 4);
                memcpy(&second, bytes + 32 * block + 16 + 4 * group, 4);
                sum0 = NAME_add_halves(sum0, _mm256_set1_epi32(first), _mm256_set1_epi32(second), w);
                sum1 = NAME_add_halves(sum1, _mm256_set1_epi32(first), _mm256_set1_epi32(second), w + 32);
                w += 64;
            }
            y0 = _mm256_add_ps(y0, _mm256_mul_ps(_mm256_cvtepi32_ps(sum0),
                                                 _mm256_mul_ps(_mm256_loadu_ps(factors), scale)));
            y1 = _mm256_add_ps(y1, _mm256_mul_ps(_mm256_cvtepi32_ps(sum1),
                                                 _mm256_mul_ps(_mm256_loadu_ps(factors + 8), scale)));
            factors += 16;
        }
        _mm256_storeu_ps(y + tile, _mm256_add_ps(y0, _mm256_loadu_ps(bias + tile)));
        _mm256_storeu_ps(y + tile + 8, _mm256_add_ps(y1, _mm256_loadu_ps(bias + tile + 8)));
    }
}

NAME_KERNEL NAME_VNNI void NAME_product_u4_vnni(float *restrict y, const int8_t *restrict bytes,
                                                const float *restrict scales, const int32_t *restrict offsets,
                                                const uint8_t *restrict w, const float *restrict factors,
                                                const float *restrict bias, int blocks, int outputs)
{
    const __m512i mask = _mm512_set1_epi8(15);
    int tile, block, group;
    for (tile = 0; tile < outputs; tile += 16) {
        __m512 total = _mm512_setzero_ps();
        for (block = 0; block < blocks; block++) {
            __m512i sum = _mm512_set1_epi32(offsets[block]);
            for (group = 0; group < 4; group++) {
                const __m512i u = _mm512_loadu_si512(w);
                int32_t first, second;
                memcpy(&first, bytes + 32 * block + 4 * group, 4);
                memcpy(&second, bytes + 32 * block + 16 + 4 * group, 4);
                sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(u, mask), _mm512_set1_epi32(first));
                sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(u, 4), mask),
                                          _mm512_set1_epi32(second));
                w += 64;
            }
            total = _mm512_add_ps(total, _mm512_mul_ps(_mm512_cvtepi32_ps(sum),
                                                       _mm512_mul_ps(_mm512_loadu_ps(factors),
                                                                     _mm512_set1_ps(scales[block]))));
            factors += 16;
        }
        _mm512_storeu_ps(y + tile, _mm512_add_ps(total, _mm512_loadu_ps(bias + tile)));
    }
}

#else

#if defined(NAME_DSP)
/* Adds the products of eight inputs with eight weights. even, odd: two of the inputs each, of the first four and of the
   second four. */
NAME_INLINE int32_t NAME_add_eight(int32_t sum, const int16x2_t *even, const int16x2_t *odd, const uint8_t *w)
{
    uint32_t u;
    memcpy(&u, w, 4);
    sum = __smlad(even[0], (int16x2_t)(u & 0x000f000fu), sum);
    sum = __smlad(odd[0], (int16x2_t)(u >> 8 & 0x000f000fu), sum);
    sum = __smlad(even[1], (int16x2_t)(u >> 4 & 0x000f000fu), sum);
    return __smlad(odd[1], (int16x2_t)(u >> 12 & 0x000f000fu), sum);
}
#endif

NAME_KERNEL void NAME_product_u4_base(float *restrict y, const int8_t *restrict bytes, const float *restrict scales,
                                      const int32_t *restrict offsets, const uint8_t *restrict w,
                                      const float *restrict factors, const float *restrict bias, int blocks,
                                      int outputs)
{
    int tile, block, group, i;
    for (tile = 0; tile < outputs; tile += 16) {
        float total[16];
        for (i = 0; i < 16; i++)
            total[i] = 0.0f;
        for (block = 0; block < blocks; block++) {
            int32_t sums[16];
#if defined(NAME_NEON)
            const int8x16_t mask = vdupq_n_s8(15);
            int32x4_t sum[4];
            for (i = 0; i < 4; i++)
                sum[i] = vdupq_n_s32(offsets[block]);
            for (group = 0; group < 4; group++) {
                uint32_t four;
                int8x16_t first, second;
                memcpy(&four, bytes + 32 * block + 4 * group, 4);
                first = vreinterpretq_s8_u32(vdupq_n_u32(four));
                memcpy(&four, bytes + 32 * block + 16 + 4 * group, 4);
                second = vreinterpretq_s8_u32(vdupq_n_u32(four));
                for (i = 0; i < 4; i++) {
                    const uint8x16_t u = vld1q_u8(w + 16 * i);
                    const int8x16_t low = vandq_s8(vreinterpretq_s8_u8(u), mask);
                    const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(u, 4));
#if defined(__ARM_FEATURE_DOTPROD)
                    sum[i] = vdotq_s32(vdotq_s32(sum[i], low, first), high, second);
#else
                    int16x8_t a = vmull_s8(vget_low_s8(low), vget_low_s8(first)), b = vmull_high_s8(low, first);
                    a = vmlal_s8(a, vget_low_s8(high), vget_low_s8(second));
                    b = vmlal_high_s8(b, high, second);
                    sum[i] = vaddq_s32(sum[i], vpaddq_s32(vpaddlq_s16(a), vpaddlq_s16(b)));
#endif
                }
                w += 64;
            }
            for (i = 0; i < 4; i++)
                vst1q_s32(sums + 4 * i, sum[i]);
#elif defined(NAME_WASM)
            const v128_t mask = wasm_i8x16_splat(15);
            v128_t even[4], odd[4];
            for (i = 0; i < 4; i++)
                even[i] = odd[i] = wasm_i32x4_splat(0);
            for (group = 0; group < 4; group++) {
                int32_t four;
                v128_t first, second;
                memcpy(&four, bytes + 32 * block + 4 * group, 4);
                first = wasm_i16x8_extend_low_i8x16(wasm_i32x4_splat(four));
                memcpy(&four, bytes + 32 * block + 16 + 4 * group, 4);
                second = wasm_i16x8_extend_low_i8x16(wasm_i32x4_splat(four));
                for (i = 0; i < 4; i++) {
                    const v128_t u = wasm_v128_load(w + 16 * i);
                    const v128_t low = wasm_v128_and(u, mask), high = wasm_u8x16_shr(u, 4);
                    even[i] = wasm_i32x4_add(even[i], wasm_i32x4_dot_i16x8(first, wasm_i16x8_extend_low_i8x16(low)));
                    odd[i] = wasm_i32x4_add(odd[i], wasm_i32x4_dot_i16x8(first, wasm_i16x8_extend_high_i8x16(low)));
                    even[i] = wasm_i32x4_add(even[i], wasm_i32x4_dot_i16x8(second, wasm_i16x8_extend_low_i8x16(high)));
                    odd[i] = wasm_i32x4_add(odd[i], wasm_i32x4_dot_i16x8(second, wasm_i16x8_extend_high_i8x16(high)));
                }
                w += 64;
            }
            for (i = 0; i < 4; i++) {
                const v128_t sum = wasm_i32x4_add(wasm_i32x4_shuffle(even[i], odd[i], 0, 2, 4, 6),
                                                  wasm_i32x4_shuffle(even[i], odd[i], 1, 3, 5, 7));
                wasm_v128_store(sums + 4 * i, wasm_i32x4_add(sum, wasm_i32x4_splat(offsets[block])));
            }
#elif defined(NAME_DSP)
            for (i = 0; i < 16; i += 4) {
                const uint8_t *next = w + 4 * i;
                int32_t a = offsets[block], b = a, c = a, d = a;
                for (group = 0; group < 4; group++) {
                    int16x2_t even[2], odd[2];
                    int half;
                    for (half = 0; half < 2; half++) {
                        int8x4_t four;
                        memcpy(&four, bytes + 32 * block + 16 * half + 4 * group, 4);
                        even[half] = __sxtb16(four);
                        odd[half] = __sxtb16(four >> 8);
                    }
                    a = NAME_add_eight(a, even, odd, next);
                    b = NAME_add_eight(b, even, odd, next + 4);
                    c = NAME_add_eight(c, even, odd, next + 8);
                    d = NAME_add_eight(d, even, odd, next + 12);
                    next += 64;
                }
                sums[i] = a, sums[i + 1] = b, sums[i + 2] = c, sums[i + 3] = d;
            }
            w += 256;
#else
            for (i = 0; i < 16; i++)
                sums[i] = offsets[block];
            for (group = 0; group < 4; group++) {
                const int8_t *const first = bytes + 32 * block + 4 * group, *const second = first + 16;
                for (i = 0; i < 16; i++) {
                    int j;
                    for (j = 0; j < 4; j++)
                        sums[i] += (w[4 * i + j] & 15) * first[j] + (w[4 * i + j] >> 4) * second[j];
                }
                w += 64;
            }
#endif
            for (i = 0; i < 16; i++)
                total[i] += (float)sums[i] * (factors[i] * scales[block]);
            factors += 16;
        }
        for (i = 0; i < 16; i++)
            y[tile + i] = total[i] + bias[tile + i];
    }
}

#endif
