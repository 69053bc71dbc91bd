"""The exponential with which samplers weigh tokens: the same bits in every language and on every processor.

The exponentials of numpy and of C libraries differ in the last bit, which can change a drawn token. This one is made
of sums and products alone, which IEEE 754 defines to the bit; `export/CONTRACT.md` states them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["POWERS", "exponentiate"]

_PARTS = 64
_LAST = 960 * _PARTS  # a smaller power of two would make products that some processors round to zero
_BLOCK = 4096  # numbers that stay in a processor's cache from one operation to the next


def _root(part: int) -> float:
    """Return 2**(-part / 64), correctly rounded: the floor of a root is that of whole numbers."""
    value = 1 << (_PARTS * 54 - part)
    for _ in range(_PARTS.bit_length() - 1):
        value = math.isqrt(value)
    return math.ldexp((value + 1) >> 1, -53)


POWERS = tuple(_root(part) for part in range(_PARTS))
_WHOLE = np.ldexp(np.array(POWERS), -np.arange(_LAST // _PARTS + 1)[:, None]).ravel()[: _LAST + 1]
_POWERS = np.append(_WHOLE, 0.0)  # 2**(-n / 64)

# Arrays without axes, because numpy converts a Python number in every operation anew.
_LOWEST, _PER_PART, _PART, _REST, _C5, _C4, _C3, _C2, _C1 = map(
    np.array,
    (
        -666.0,
        -float.fromhex("0x1.71547652b82fep+6"),  # -64 / ln 2
        float.fromhex("0x1.62e42fefap-7"),  # ln 2 / 64 to 37 bits, of which any multiple up to _LAST is exact
        float.fromhex("0x1.cf79abc9e3b3ap-46"),  # what those bits lack
        1 / 120,
        1 / 24 + 3.64e-8,  # makes up for the sixth power, up to a ninth of it
        1 / 6,
        0.5,
        1.0,
    ),
)


def exponentiate(x: npt.NDArray[np.float64]) -> None:
    """Replace each of the float64 numbers x (…), at most 0, by its exponential, and those below about -665.4 by 0.

    x: contiguous. Errors are below 1.1 units in the last place.
    """
    numbers = x.reshape(-1)
    for start in range(0, numbers.size, _BLOCK):
        _exponentiate(numbers[start : start + _BLOCK])


def _exponentiate(x: npt.NDArray[np.float64]) -> None:
    np.maximum(x, _LOWEST, out=x)
    n = x * _PER_PART
    np.rint(n, out=n)
    at = n.astype(np.intp)
    y = n * _PART
    x += y
    n *= _REST
    x += n
    power = _POWERS.take(at, out=n, mode="clip")
    np.multiply(x, _C5, out=y)
    for coefficient in (_C4, _C3, _C2, _C1):
        y += coefficient
        y *= x
    y *= power
    np.add(power, y, out=x)
