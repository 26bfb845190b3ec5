"""Lines of pixels: read with the padding around them, and stored with bias and ReLU."""

from typing import Any

from npseg.checks import Array
from npseg.engines.numba.compiling import inner


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
    seen, pixels = line[begin:end], source[start + begin * stride :]
    if stride == 1:
        for j in range(len(seen)):
            seen[j] = pixels[j]
    else:
        for j in range(len(seen)):
            seen[j] = pixels[j * stride]
    for j in range(end, len(line)):
        line[j] = 0


@inner
def store_line(y: Array, start: int, sums: Array, shift: Any, begin: int, end: int, step: int, relu: bool) -> None:
    """y[start + j * step] = sums[j] + shift from begin to end, the negative cut off if asked for."""
    pixels, seen, zero = y[start + begin * step :], sums[begin:end], sums.dtype.type(0)
    if step == 1 and relu:
        for j in range(len(seen)):
            value = seen[j] + shift
            pixels[j] = zero if value <= zero else value
    elif step == 1:
        for j in range(len(seen)):
            pixels[j] = seen[j] + shift
    else:
        for j in range(len(seen)):
            value = seen[j] + shift
            pixels[j * step] = zero if relu and value <= zero else value
