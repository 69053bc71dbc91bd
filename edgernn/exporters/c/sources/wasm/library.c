/* The functions of string.h. Compilers would otherwise make calls of these functions of their own loops. */
#include <stdint.h>
#include <string.h>

#define OWN __attribute__((no_builtin))

OWN void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

OWN void *memmove(void *to, const void *from, size_t count)
{
    char *const writes = to;
    const char *const reads = from;
    size_t i;
    if ((uintptr_t)to <= (uintptr_t)from)
        for (i = 0; i < count; i++)
            writes[i] = reads[i];
    else
        for (i = count; i > 0; i--)
            writes[i - 1] = reads[i - 1];
    return to;
}

OWN void *memset(void *to, int value, size_t count)
{
    char *const writes = to;
    size_t i;
    for (i = 0; i < count; i++)
        writes[i] = (char)value;
    return to;
}
