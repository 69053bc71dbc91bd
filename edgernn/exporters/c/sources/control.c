/* A thread may flush denormals to zero or round in another direction. A step switches that off while it runs. */
#if defined(NAME_X86)
#define NAME_UNUSUAL 0xe040u /* of MXCSR: flush to zero, the direction of rounding, denormals are zeros */
typedef unsigned int NAME_control;
NAME_INLINE NAME_control NAME_enter(void)
{
    const NAME_control control = _mm_getcsr();
    if (control & NAME_UNUSUAL)
        _mm_setcsr(control & ~NAME_UNUSUAL);
    return control;
}

NAME_INLINE void NAME_leave(NAME_control control)
{
    if (control & NAME_UNUSUAL)
        _mm_setcsr(control);
}
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define NAME_UNUSUAL 0x1c00000u /* of FPCR: flush to zero and the direction of rounding */
typedef uint64_t NAME_control;
NAME_INLINE NAME_control NAME_enter(void)
{
    NAME_control control;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(control));
    if (control & NAME_UNUSUAL)
        __asm__ __volatile__("msr fpcr, %0" : : "r"(control & ~(NAME_control)NAME_UNUSUAL) : "memory");
    return control;
}

NAME_INLINE void NAME_leave(NAME_control control)
{
    if (control & NAME_UNUSUAL)
        __asm__ __volatile__("msr fpcr, %0" : : "r"(control) : "memory");
}
#else
typedef int NAME_control;
NAME_INLINE NAME_control NAME_enter(void)
{
    return 0;
}

NAME_INLINE void NAME_leave(NAME_control control)
{
    (void)control;
}
#endif
