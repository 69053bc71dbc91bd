"""The floor of a step's time in compiled code: that of reading the weights once, from where they lie in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from edgernn.runtime.compiling import library

__all__ = ["floor", "reader"]

_SOURCE = b"""/* Reads memory as fast as the processor can, and returns a sum of all words. */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t vector __attribute__((vector_size(64), aligned(1)));

#define READER(name)                                                        \\
    static uint64_t name(const char *bytes, size_t size, int count)         \\
    {                                                                       \\
        vector a = {0}, b = {0}, c = {0}, d = {0};                          \\
        size_t at;                                                          \\
        while (count-- > 0) {                                               \\
            for (at = 0; at + 256 <= size; at += 256) {                     \\
                a ^= *(const vector *)(const void *)(bytes + at);           \\
                b ^= *(const vector *)(const void *)(bytes + at + 64);      \\
                c ^= *(const vector *)(const void *)(bytes + at + 128);     \\
                d ^= *(const vector *)(const void *)(bytes + at + 192);     \\
            }                                                               \\
            a += 1;                                                         \\
        }                                                                   \\
        a ^= b ^ c ^ d;                                                     \\
        return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];       \\
    }

READER(plain)

#if defined(__x86_64__)
__attribute__((target("avx2"))) READER(avx2)
__attribute__((target("avx512f"))) READER(avx512)
#endif

uint64_t read_memory(const char *bytes, size_t size, int count)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return avx512(bytes, size, count);
    if (__builtin_cpu_supports("avx2"))
        return avx2(bytes, size, count);
#endif
    return plain(bytes, size, count);
}
"""


def reader() -> Any:
    """Return the compiled function `read_memory(address, bytes, count)`, which reads memory `count` times.

    Raises EngineError without a C compiler.
    """
    function = library(_SOURCE).read_memory
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_uint64
    return function


def floor(address: int, size: int) -> Callable[[], object]:
    """Return a function that reads `size` bytes at `address` once. Raises EngineError without a C compiler."""
    return partial(reader(), address, size, 1)
