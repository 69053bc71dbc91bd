/* Loops that benchmarks/c.py times: many steps of a graph, and many readings of its weights. */
#include <stddef.h>
#include <stdint.h>

typedef void (*step_function)(const void *in, const void *out, void *scratch, const void *weights, int level);
typedef uint64_t vector __attribute__((vector_size(64), aligned(1)));

void steps(step_function step, const void *in, const void *out, void *scratch, const void *weights, int level, int count)
{
    while (count-- > 0)
        step(in, out, scratch, weights, level);
}

/* Returns a sum of all words, so that no reading can be left out. */
uint64_t readings(const char *bytes, size_t size, int count)
{
    vector a = {0}, b = {0}, c = {0}, d = {0};
    size_t at;
    while (count-- > 0) {
        for (at = 0; at + 256 <= size; at += 256) {
            a ^= *(const vector *)(const void *)(bytes + at);
            b ^= *(const vector *)(const void *)(bytes + at + 64);
            c ^= *(const vector *)(const void *)(bytes + at + 128);
            d ^= *(const vector *)(const void *)(bytes + at + 192);
        }
        a += 1;
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}
