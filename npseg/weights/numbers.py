"""The kinds of numbers that every format can hold, and bfloat16, which NumPy lacks."""

from collections.abc import Mapping

import numpy as np

from npseg import checks
from npseg.checks import Array

WRITABLE = tuple(
    np.dtype(name) for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
)
"""What `npseg.weights.write` takes, whatever the format."""


def widened(bits: Array) -> Array:
    """bfloat16 numbers, given as uint16, as float32: bfloat16 is float32 without its lower 16 bits, so this is exact.

    >>> widened(np.array([0x3F80, 0xC040], np.uint16))
    array([ 1., -3.], dtype=float32)
    """
    return np.asarray(bits.astype(np.uint32) << 16).view(np.float32)


def writable(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays in native byte order and C order, each copied only where it must be.

    Raises:
        TypeError: not a mapping from names to arrays, or of a dtype that not every format can hold.
    """
    checks.mapping(arrays, "arrays", "arrays")
    checked = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"arrays must have text as names, got {checks.describe(name)}")
        array = checks.array(value, f"arrays[{name!r}]")
        if array.dtype not in WRITABLE:
            known = ", ".join(dtype.name for dtype in WRITABLE)
            raise TypeError(f"arrays[{name!r}] must be one of {known}, got {array.dtype}")
        checked[name] = np.asarray(array, order="C")
    return checked
