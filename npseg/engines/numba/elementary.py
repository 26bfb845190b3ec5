"""exp and log, written so that a loop over them becomes vector instructions.

Numba calls the C library's functions, one number at a time. In float32 a few multiplications do as well, for a whole
vector at once. Both take a number apart into a power of two, which is only bits, and a factor near 1, for which a
polynomial is exact to the last bit or so:

    exp(x) = 2^n * exp(r),    n = x / ln 2 rounded,  |r| <= ln 2 / 2
    log(x) = n * ln 2 + log(f),  x = 2^n * f,  sqrt(1/2) <= f < sqrt(2)

ln 2 is subtracted in two parts, the first of so few digits that n times it is exact (Cody and Waite). The polynomials
are those of Moshier's Cephes library (`expf`, `logf`). In float64 the C library stays.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from npseg.engines.numba.compiling import inner

_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUNDING = np.float32(1.5 * 2**23)
"""Added to a number below 2^22, it leaves no place for a fraction; the sum's last bits are then the integer."""
_ROUNDING_BITS = _ROUNDING.view(np.int32)
_SMALLEST_NORMAL, _TO_NORMAL = np.float32(2.0**-126), np.float32(2.0**25)
_SQRT_HALF, _HALF, _ONE = np.float32(0.70710677), np.float32(0.5), np.float32(1)
_INFINITY = np.float32(np.inf)


def exponential(x: Any) -> Any:
    """exp(x), within 2 units in the last place; in float32 vectorisable."""
    return np.exp(x)


def logarithm(x: Any) -> Any:
    """log(x), within 2 units in the last place; in float32 vectorisable."""
    return np.log(x)


@overload(exponential, jit_options={"fastmath": {"contract"}})  # type: ignore[misc, untyped-decorator, unused-ignore]
def _exponential_of(x: Any) -> Any:
    return _exponential if x == types.float32 else exponential


@overload(logarithm, jit_options={"fastmath": {"contract"}})  # type: ignore[misc, untyped-decorator, unused-ignore]
def _logarithm_of(x: Any) -> Any:
    return _logarithm if x == types.float32 else logarithm


def _exponential(x: Any) -> Any:
    # Beyond these bounds the result is 0 or infinite. A comparison with NaN is false, so NaN stays.
    x = np.float32(-104) if x < np.float32(-104) else x
    x = np.float32(89) if x > np.float32(89) else x
    rounded = np.float32(x * _LOG2_E + _ROUNDING)
    n = np.int32(rounded.view(np.int32) - _ROUNDING_BITS)
    whole = rounded - _ROUNDING
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = (p * r) * r + r + _ONE
    # In two steps, since 2^n itself may lie outside the range where the result is still inside, or subnormal.
    half = np.int32(n >> np.int32(1))
    return p * _power_of_two(half) * _power_of_two(np.int32(n - half))


@inner
def _power_of_two(n: Any) -> Any:
    return np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


def _logarithm(x: Any) -> Any:
    subnormal = x < _SMALLEST_NORMAL
    bits = np.float32(x * _TO_NORMAL if subnormal else x).view(np.int32)
    n = np.float32((bits >> np.int32(23)) - np.int32(126)) - np.float32(25 if subnormal else 0)
    f = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)  # 1/2 <= f < 1
    below = f < _SQRT_HALF
    n = n - _ONE if below else n
    r = (f + f if below else f) - _ONE
    p = np.float32(7.0376836292e-2)
    p = p * r - np.float32(1.1514610310e-1)
    p = p * r + np.float32(1.1676998740e-1)
    p = p * r - np.float32(1.2420140846e-1)
    p = p * r + np.float32(1.4249322787e-1)
    p = p * r - np.float32(1.6668057665e-1)
    p = p * r + np.float32(2.0000714765e-1)
    p = p * r - np.float32(2.4999993993e-1)
    p = p * r + np.float32(3.3333331174e-1)
    square = r * r
    result = (r + (p * r * square + n * _LN2_LOW - _HALF * square)) + n * _LN2_HIGH
    result = result if x < _INFINITY else x  # infinity and NaN
    if x == np.float32(0):
        return -_INFINITY
    return np.float32(np.nan) if x < np.float32(0) else result
