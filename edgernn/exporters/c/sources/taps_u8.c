/* Sums of products of bytes with zero point 128, of up to 16 channels at each of some taps, and int8 weights within
   +-127, (taps / 4, channels, 4), less `offset`, which only VNNI needs. step: weights of four taps. */
NAME_INLINE void NAME_taps_base(int32_t *restrict sums, const uint8_t *const *restrict seen, const int8_t *restrict w,
                                const int32_t *restrict offset, int at, int count, int taps, int step)
{
    int j, tap;
    (void)offset;
    for (j = 0; j < count; j++)
        sums[j] = 0;
    for (tap = 0; tap < taps; tap += 4) {
        const uint8_t *const a = seen[tap] + at, *const b = seen[tap + 1] + at;
        const uint8_t *const c = seen[tap + 2] + at, *const d = seen[tap + 3] + at;
        for (j = 0; j < count; j++)
            sums[j] += (a[j] - 128) * w[4 * j] + (b[j] - 128) * w[4 * j + 1] + (c[j] - 128) * w[4 * j + 2] +
                       (d[j] - 128) * w[4 * j + 3];
        w += step;
    }
}

#if defined(NAME_X86)
/* Eight channels in lanes of 32 bits. */
NAME_INLINE NAME_AVX2 __m256i NAME_eight(const uint8_t *x)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
}

NAME_INLINE NAME_AVX2 void NAME_taps_avx2(int32_t *restrict sums, const uint8_t *const *restrict seen,
                                          const int8_t *restrict w, const int32_t *restrict offset, int at, int count,
                                          int taps, int step)
{
    const __m256i zero_point = _mm256_set1_epi8((char)-128);
    int half, tap;
    if (count < 16) {
        NAME_taps_base(sums, seen, w, offset, at, count, taps, step);
        return;
    }
    for (half = 0; half < 16; half += 8) {
        __m256i sum = _mm256_setzero_si256();
        for (tap = 0; tap < taps; tap += 4) {
            const __m256i a = NAME_eight(seen[tap] + at + half), b = NAME_eight(seen[tap + 1] + at + half);
            const __m256i c = NAME_eight(seen[tap + 2] + at + half), d = NAME_eight(seen[tap + 3] + at + half);
            const __m256i low = _mm256_or_si256(a, _mm256_slli_epi32(b, 8));
            const __m256i high = _mm256_or_si256(_mm256_slli_epi32(c, 16), _mm256_slli_epi32(d, 24));
            const __m256i v = _mm256_xor_si256(_mm256_or_si256(low, high), zero_point);
            sum = NAME_add_products(sum, _mm256_abs_epi8(v), v, w + tap / 4 * step + 4 * half);
        }
        _mm256_storeu_si256((__m256i *)(void *)(sums + half), sum);
    }
}

NAME_INLINE NAME_VNNI void NAME_taps_vnni(int32_t *restrict sums, const uint8_t *const *restrict seen,
                                          const int8_t *restrict w, const int32_t *restrict offset, int at, int count,
                                          int taps, int step)
{
    const __mmask16 mask = (__mmask16)((1u << count) - 1u);
    __m512i sum = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(offset));
    int tap;
    for (tap = 0; tap < taps; tap += 4) {
        const __m512i a = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, seen[tap] + at));
        const __m512i b = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, seen[tap + 1] + at));
        const __m512i c = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, seen[tap + 2] + at));
        const __m512i d = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, seen[tap + 3] + at));
        const __m512i low = _mm512_or_si512(a, _mm512_slli_epi32(b, 8));
        const __m512i high = _mm512_or_si512(_mm512_slli_epi32(c, 16), _mm512_slli_epi32(d, 24));
        sum = _mm512_dpbusd_epi32(sum, _mm512_or_si512(low, high), _mm512_loadu_si512(w + tap / 4 * step));
    }
    _mm512_storeu_si512(sums, sum);
}
#endif
