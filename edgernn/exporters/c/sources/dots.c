#if defined(NAME_X86)
/* Sums as a type of the compiler: gcc copies sums of type __m512i before and after each instruction. */
typedef int32_t NAME_sums __attribute__((vector_size(64)));

/* Adds to each of 16 sums the products of four unsigned with four signed bytes. */
NAME_INLINE NAME_VNNI NAME_sums NAME_add_dots(NAME_sums sums, __m512i u, __m512i s)
{
    return (NAME_sums)_mm512_dpbusd_epi32((__m512i)sums, u, s);
}
#endif
