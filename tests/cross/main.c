/* Prints a hash of what a language model computes, at each precision and each level of instructions. On WebAssembly,
   where there is no library, run.mjs calls `hash` and prints. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__wasm__)

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        ((volatile char *)to)[i] = (char)value;
    return to;
}

#endif

/* Adds the bits of numbers to a hash by FNV-1a. */
static uint64_t hashed(uint64_t hash, const float *values, int count)
{
    int i, shift;
    for (i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        for (shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 255)) * 1099511628211u;
    }
    return hash;
}

/* MODELS */

int levels(void);
uint64_t hash(int precision, int level);

int levels(void)
{
    return fp32_level() + 1;
}

uint64_t hash(int precision, int level)
{
    return precision == 0 ? hash_of_fp32(level) : precision == 1 ? hash_of_int8(level) : hash_of_int4(level);
}

#if !defined(__wasm__)
#include <stdio.h>

int main(void)
{
    static const char *const names[] = {"fp32", "int8", "int4"};
    int precision, level;
    for (precision = 0; precision < 3; precision++)
        for (level = 0; level < levels(); level++) {
            const uint64_t value = hash(precision, level);
            printf("%s %d %08lx%08lx\n", names[precision], level, (unsigned long)(value >> 32),
                   (unsigned long)(value & 0xffffffffu));
        }
    return 0;
}
#endif
