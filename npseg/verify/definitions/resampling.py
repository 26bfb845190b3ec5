"""What makes maps smaller or larger: pools, unpooling, interpolation, cropping."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.verify.definitions.windows import both, padded, padding_sides, windows, windows_to_map


def pooling_axis(
    size: int, kernel: int, stride: int, sides: tuple[int, int], dilation: int, ceil_mode: bool
) -> tuple[int, int]:
    """The number of windows along one axis, and how far the last one reaches beyond the padded line."""
    room = size + sum(sides) - dilation * (kernel - 1) - 1
    outputs = (math.ceil(room / stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (outputs - 1) * stride >= size + sides[0]:
        outputs -= 1
    return outputs, max(0, (outputs - 1) * stride - room)


def pooling_windows(
    x: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, values: tuple[float, float]
) -> Iterator[tuple[int, int, Array]]:
    """Windows on an image extended by (the padding, the overhang), filled with `values`."""
    kernel = both(kernel_size)
    stride, dilation = kernel if stride is None else both(stride), both(dilation)
    sides = padding_sides(padding, x.shape[2:], kernel, stride, dilation)
    ceil_mode = ceil_mode and padding != "same"
    axes = [pooling_axis(*axis, ceil_mode) for axis in zip(x.shape[2:], kernel, stride, sides, dilation, strict=True)]
    x = padded(padded(x, sides, values[0]), [(0, overhang) for _, overhang in axes], values[1])
    for i, j, window in windows(x, kernel, stride, dilation):
        if i < axes[0][0] and j < axes[1][0]:
            yield i, j, window


def max_pool2d(
    x: Array, kernel_size: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[Array, Array]:
    """Walk each window in row-major order, taking what is strictly larger, or the first NaN."""
    positions = np.broadcast_to(np.arange(x[0, 0].size).reshape(x.shape[2:]), x.shape).astype(float)
    arguments = kernel_size, stride, padding, dilation, ceil_mode
    maxima, winners = [], []
    for (i, j, pixels), (_, _, places) in zip(
        pooling_windows(x, *arguments, (0, 0)), pooling_windows(positions, *arguments, (-1, -1)), strict=True
    ):
        best, place = np.zeros(x.shape[:2]), np.full(x.shape[:2], -1.0)
        for n, c, k, l in np.ndindex(pixels.shape):  # noqa: E741
            challenger = pixels[n, c, k, l]
            if places[n, c, k, l] < 0:
                continue
            if place[n, c] < 0 or challenger > best[n, c] or (math.isnan(challenger) and not math.isnan(best[n, c])):
                best[n, c], place[n, c] = challenger, places[n, c, k, l]
        maxima.append((i, j, best))
        winners.append((i, j, place))
    return windows_to_map(maxima, x.shape[:2]), windows_to_map(winners, x.shape[:2]).astype(np.int64)


def avg_pool2d(
    x: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The sum of each window over what it counts."""
    arguments = kernel_size, stride, padding, 1, ceil_mode
    counted = (1, 0) if count_include_pad else (0, 0)
    return windows_to_map(
        [
            (i, j, window.sum(axis=(2, 3)) / counts.sum(axis=(2, 3)))
            for (i, j, window), (_, _, counts) in zip(
                pooling_windows(x, *arguments, (0, 0)),
                pooling_windows(np.ones(x.shape), *arguments, counted),
                strict=True,
            )
        ],
        x.shape[:2],
    )


def global_avg_pool2d(x: Array) -> Array:
    """The mean of each plane."""
    return np.asarray(x.sum(axis=(2, 3), keepdims=True) / (x.shape[2] * x.shape[3]))


def nearest_unpool2d(x: Array, scale: Any) -> Array:
    """Each pixel becomes a cell of ones."""
    return np.kron(x, np.ones((1, 1, *both(scale))))


def bed_of_nails_unpool2d(x: Array, scale: Any) -> Array:
    """Each pixel becomes a cell with one nail."""
    nail = np.zeros((1, 1, *both(scale)))
    nail[..., 0, 0] = 1
    return np.kron(x, nail)


def max_unpool2d(x: Array, indices: Array, output_size: Any) -> Array:
    """Each value at its position."""
    y = np.zeros((*x.shape[:2], *output_size))
    for n, c, i, j in np.ndindex(x.shape):
        y[n, c].flat[indices[n, c, i, j]] = x[n, c, i, j]
    return y


def resize_bilinear(x: Array, output_size: Any, *, align_corners: bool = False) -> Array:
    """Linear interpolation along the rows, then along the columns."""

    def sample(line: Array, outputs: int) -> Array:
        """One line, its pixels at 0, 1, 2, ...; beyond its ends it stays as it is."""
        n, values = len(line), []
        for i in range(outputs):
            if align_corners:
                place = Fraction(i * (n - 1), max(outputs - 1, 1))
            else:
                place = Fraction((2 * i + 1) * n - outputs, 2 * outputs)
            place = min(max(place, Fraction(0)), Fraction(n - 1))
            left = math.floor(place)
            part = float(place - left)
            values.append((1 - part) * line[left] + part * line[min(left + 1, n - 1)])
        return np.array(values)

    rows = np.apply_along_axis(sample, 2, x, output_size[0])
    return np.apply_along_axis(sample, 3, rows, output_size[1])


def crop2d(x: Array, size: Any, offset: Any) -> Array:
    """Row by row, column by column."""
    top, left = both(offset)
    rows, columns = [top + i for i in range(size[0])], [left + j for j in range(size[1])]
    return x[:, :, rows][:, :, :, columns]
