/* Rounds x to signed bytes, 32 of which share a scale, as onnxruntime does. offsets: -8 times the sum of a block.
   A block below 2^-120 becomes zeros, since its factor would be infinite. */
NAME_KERNEL void NAME_round_blocks_base(int8_t *restrict bytes, float *restrict scales, int32_t *restrict offsets,
                                        const float *restrict x, int blocks)
{
    int block, j;
    for (block = 0; block < blocks; block++) {
        union { float value; int32_t bits; } largest;
        int32_t sum = 0;
        float factor;
        largest.bits = 0;
        for (j = 0; j < 32; j++) {
            union { float value; int32_t bits; } number;
            number.value = x[j];
            number.bits &= 0x7fffffff;
            largest.bits = number.bits > largest.bits ? number.bits : largest.bits;
        }
        scales[block] = largest.value / 127.0f;
        factor = largest.bits > 0x03800000 ? 127.0f / largest.value : 0.0f;
        for (j = 0; j < 32; j++) {
            bytes[j] = (int8_t)NAME_round(x[j] * factor);
            sum += bytes[j];
        }
        offsets[block] = -8 * sum;
        x += 32;
        bytes += 32;
    }
}

#if defined(NAME_X86)

NAME_INLINE NAME_AVX2 __m256 NAME_magnitudes(const float *x)
{
    return _mm256_and_ps(_mm256_loadu_ps(x), _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
}

NAME_INLINE NAME_AVX2 float NAME_largest_magnitude(const float *restrict x)
{
    const __m256 low = _mm256_max_ps(NAME_magnitudes(x), NAME_magnitudes(x + 8));
    const __m256 high = _mm256_max_ps(NAME_magnitudes(x + 16), NAME_magnitudes(x + 24));
    const __m256 both = _mm256_max_ps(low, high);
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
    most = _mm_max_ps(most, _mm_shuffle_ps(most, most, 0x4e));
    most = _mm_max_ps(most, _mm_shuffle_ps(most, most, 0xb1));
    return _mm_cvtss_f32(most);
}

/* Rounds x * factor to 32 bytes. Returns their sum. */
NAME_INLINE NAME_AVX2 int32_t NAME_round_block(int8_t *restrict bytes, const float *restrict x, float factor)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* of fours of bytes, which are packed by halves */
    __m256i numbers[4], low, high, eight;
    __m128i sum;
    int i;
    for (i = 0; i < 4; i++)
        numbers[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(factor)));
    low = _mm256_packs_epi32(numbers[0], numbers[1]);
    high = _mm256_packs_epi32(numbers[2], numbers[3]);
    _mm256_storeu_si256((__m256i *)(void *)bytes, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order));
    eight = _mm256_add_epi32(_mm256_add_epi32(numbers[0], numbers[1]), _mm256_add_epi32(numbers[2], numbers[3]));
    sum = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
}

NAME_KERNEL NAME_AVX2 void NAME_round_blocks_avx2(int8_t *restrict bytes, float *restrict scales,
                                                  int32_t *restrict offsets, const float *restrict x, int blocks)
{
    int block;
    for (block = 0; block < blocks; block++)
        scales[block] = NAME_largest_magnitude(x + 32 * block);
    for (block = 0; block < blocks; block++) { /* a loop of its own, so that blocks wait less for each other */
        const float largest = scales[block], factor = largest > 7.52316385e-37f ? 127.0f / largest : 0.0f;
        scales[block] = largest / 127.0f;
        offsets[block] = -8 * NAME_round_block(bytes + 32 * block, x + 32 * block, factor);
    }
}

#define NAME_round_blocks_vnni NAME_round_blocks_avx2

#endif
