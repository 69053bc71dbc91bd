/* What the tests need of the standard library, for WebAssembly without one. main.c defines it. */
#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void free(void *memory);
