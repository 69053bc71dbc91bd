/* Prints hashes of what the kernels and a language model of each precision compute, at each level of instructions. On
   WebAssembly, where there is no library, run.mjs calls `hash` and prints. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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

void *malloc(size_t size)
{
    static union { char bytes[1 << 23]; double aligned; } heap;
    static size_t used;
    void *const made = heap.bytes + used;
    used += (size + 15) / 16 * 16;
    return used <= sizeof heap ? made : NULL;
}

void *calloc(size_t count, size_t size)
{
    return memset(malloc(count * size), 0, count * size);
}

void free(void *memory)
{
    (void)memory;
}

#endif

/* SOURCES */

int levels(void);
uint64_t hash(int what, int level);

int levels(void)
{
    return KERNELS_level() + 1;
}

uint64_t hash(int what, int level)
{
    return what == 0   ? hash_of_kernels(level)
           : what == 1 ? hash_of_fp32(level)
           : what == 2 ? hash_of_int8(level)
                       : hash_of_int4(level);
}

#if !defined(__wasm__)
#include <stdio.h>

int main(void)
{
    static const char *const names[] = {"kernels", "fp32", "int8", "int4"};
    int what, level;
    for (what = 0; what < 4; what++)
        for (level = 0; level < levels(); level++) {
            const uint64_t value = hash(what, level);
            printf("%s %d %08lx%08lx\n", names[what], level, (unsigned long)(value >> 32),
                   (unsigned long)(value & 0xffffffffu));
        }
    return 0;
}
#endif
