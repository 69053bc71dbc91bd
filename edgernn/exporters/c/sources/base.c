#include <float.h>

/* Every level of instructions gives the same bits: products and sums are never contracted into one operation. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#if defined(__FAST_MATH__) || (defined(FLT_EVAL_METHOD) && (FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2))
#error "-ffast-math, and floats of more than 32 bits (-mfpmath=387), change the bits"
#endif

#if defined(_MSC_VER) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 199901L)
#define restrict __restrict
#endif

#if defined(__clang__)
#define NAME_KERNEL __attribute__((noinline)) static
#define NAME_INLINE __attribute__((always_inline)) static inline
#elif defined(__GNUC__)
#define NAME_KERNEL __attribute__((noinline, noclone)) static
#define NAME_INLINE __attribute__((always_inline)) static inline
#else
#define NAME_KERNEL static
#define NAME_INLINE static inline
#endif

#if defined(__clang__) || defined(__GNUC__)
#define NAME_ALIGNED __attribute__((aligned(64))) static
#else
#define NAME_ALIGNED static
#endif

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__) && !defined(NAME_PORTABLE)
#define NAME_X86
#include <immintrin.h>
#define NAME_AVX2 __attribute__((target("avx2")))
#define NAME_VNNI __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define NAME_AT(level, kernel, ...) \
    ((level) == 2   ? kernel##_vnni(__VA_ARGS__) \
     : (level) == 1 ? kernel##_avx2(__VA_ARGS__) \
                    : kernel##_base(__VA_ARGS__))
#else
#if defined(__aarch64__) && defined(__ARM_NEON) && !defined(NAME_PORTABLE)
#define NAME_NEON
#include <arm_neon.h>
#elif defined(__wasm_simd128__) && !defined(NAME_PORTABLE)
#define NAME_WASM
#include <wasm_simd128.h>
#else
#define NAME_LANES 8
#if defined(__ARM_FEATURE_SIMD32) && !defined(NAME_PORTABLE)
#define NAME_DSP
#include <arm_acle.h>
#endif
#endif
#define NAME_AT(level, kernel, ...) ((void)(level), kernel##_base(__VA_ARGS__))
#endif

/* The sums of floating-point numbers that a kernel computes at once, LANES in each of some panels: as many as there are
   registers for, so that no sum waits for the one before it. */
#if !defined(NAME_LANES)
#define NAME_LANES 32
#endif
#define NAME_PANELS_base 1
#define NAME_PANELS_avx2 2
#define NAME_PANELS_vnni 4

/* The sums that a kernel computes at once for each of four rows. */
#define NAME_COLUMNS_base 16
#define NAME_COLUMNS_avx2 16
#define NAME_COLUMNS_vnni 32

#if defined(__clang__) || defined(__GNUC__)
#define NAME_INFINITY __builtin_inff()
#define NAME_NAN __builtin_nanf("")
#else
#define NAME_INFINITY ((float)(1e300 * 1e300))
#define NAME_NAN (NAME_INFINITY * 0.0f)
#endif
