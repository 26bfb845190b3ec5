"""Lines of pixels: read with the padding around them, and stored with bias and ReLU."""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.vectors import LANES, added, copy, exceeds, load, select, spread, store


@inner
def inside(first: int, step: int, size: int, length: int) -> tuple[int, int]:
    """Which of the places first + j * step, j = 0 ... length - 1, lie in 0 ... size - 1: from begin to end."""
    begin = min(max(0, -(first // step)), length)
    return begin, min(max(begin, (size - 1 - first) // step + 1), length)


@inner
def copy_line(line: Array, source: Array, start: int, stride: int, begin: int, end: int) -> None:
    """line[j] = source[start + j * stride] from begin to end, zeros around it."""
    for j in range(begin):
        line[j] = 0
    if stride == 1:
        copy(source, start + begin, line, begin, end - begin)
    else:
        seen, pixels = line[begin:end], source[start + begin * stride :]
        for j in range(len(seen)):
            seen[j] = pixels[j * stride]
    for j in range(end, len(line)):
        line[j] = 0


@inner
def store_line(y: Array, start: int, sums: Array, shift: Any, begin: int, end: int, step: int, relu: bool) -> None:
    """y[start + j * step] = sums[j] + shift from begin to end, the negative cut off if asked for."""
    length, zero = end - begin, sums.dtype.type(0)
    if step == 1 and length >= LANES:
        shifts, least = spread(shift), spread(zero)
        for block in range(0, length, LANES):
            j = begin + min(block, length - LANES)
            values = added(load(sums, j), shifts)
            store(y, start + j, select(exceeds(values, least), values, least) if relu else values)
        return
    for j in range(begin, end):
        value = sums[np.uintp(j)] + shift
        y[np.uintp(start + j * step)] = zero if relu and value <= zero else value
