#if defined(NAME_X86)
/* Adds the products of four inputs with 32 weights of 8 outputs. */
NAME_INLINE NAME_AVX2 __m256i NAME_add_products(__m256i sum, __m256i magnitude, __m256i v, const int8_t *w)
{
    const __m256i u = _mm256_sign_epi8(_mm256_loadu_si256((const __m256i *)(const void *)w), v);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_set1_epi16(1), _mm256_maddubs_epi16(magnitude, u)));
}
#endif
