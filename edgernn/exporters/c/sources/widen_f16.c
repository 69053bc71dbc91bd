/* Converts 32 numbers from half to single precision, which is exact. */
NAME_INLINE void NAME_widen_base(float *restrict y, const uint16_t *restrict halves)
{
    int j;
#if defined(NAME_NEON)
    for (j = 0; j < 32; j += 4)
        vst1q_f32(y + j, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves + j))));
#else
    for (j = 0; j < 32; j++)
        y[j] = NAME_widened(halves[j]);
#endif
}

#if defined(NAME_X86)
NAME_INLINE NAME_AVX2 void NAME_widen_avx2(float *restrict y, const uint16_t *restrict halves)
{
    int j;
    for (j = 0; j < 32; j++)
        y[j] = NAME_widened(halves[j]);
}

NAME_INLINE NAME_VNNI void NAME_widen_vnni(float *restrict y, const uint16_t *restrict halves)
{
    _mm512_storeu_ps(y, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)halves)));
    _mm512_storeu_ps(y + 16, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(halves + 16))));
}
#endif
