"""Where windows lie on an image that is padded for real."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npseg.checks import Array

Sides = Sequence[tuple[int, int]]
"""((top, bottom), (left, right))"""


def both(value: Any) -> tuple[Any, Any]:
    """A value for each axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def padding_sides(padding: Any, size: Any, kernel: Any, stride: Any, dilation: Any) -> Sides:
    """((top, bottom), (left, right)); all but the padding is needed for "same" alone."""
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str):
        sides = []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            missing = max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
            sides.append((missing // 2, missing - missing // 2))
        return tuple(sides)
    height, width = both(padding)
    return both(height), both(width)


def padded(x: Array, sides: Sides, value: float = 0.0) -> Array:
    """The images with `value` around them."""
    return np.pad(x, ((0, 0), (0, 0), *sides), constant_values=value)


def without_padding(x: Array, sides: Sides) -> Array:
    """The images that were padded like this."""
    (top, bottom), (left, right) = sides
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def seen(output: tuple[int, int], kernel: Any, stride: Any, dilation: Any) -> list[list[int]]:
    """The rows and the columns of the padded image that an output sees."""
    return [
        [place * s + k * d for k in range(taps)]
        for place, taps, s, d in zip(output, kernel, stride, dilation, strict=True)
    ]


def windows(x: Array, kernel: Any, stride: Any, dilation: Any) -> Iterator[tuple[int, int, Array]]:
    """(i, j, window) for every window (N, C, K_h, K_w) that fits on a padded image."""
    height, width = (
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    )
    for i, j in itertools.product(range(height), range(width)):
        rows, columns = seen((i, j), kernel, stride, dilation)
        yield i, j, x[:, :, rows][:, :, :, columns]


def windows_to_map(entries: Sequence[tuple[int, int, Array]], lead: tuple[int, ...]) -> Array:
    """Values at (i, j) gathered into (..., H_out, W_out)."""
    height, width = (1 + max(entry[axis] for entry in entries) for axis in (0, 1))
    y = np.zeros((*lead, height, width))
    for i, j, value in entries:
        y[..., i, j] = value
    return y
