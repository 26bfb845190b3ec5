"""The definition of every kernel: nested loops over the taps, one multiplication at a time.

Slow, and the one to read first: the other engines are right where they agree with this one. The three kernels of the
convolution run over the very same taps and differ only in which two factors they multiply and where the product goes:

    y[n, o, i, j]                += x[n, c, h, w]      * weight[o, c', k, l]
    grad_x[n, c, h, w]           += grad[n, o, i, j]   * weight[o, c', k, l]
    grad_weight[o, c', k, l]     += grad[n, o, i, j]   * x[n, c, h, w]

where h = i * stride - top + k * dilation, w likewise, and c is channel c' of o's group.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from npseg.checks import Array
from npseg.engines.finishing import finished
from npseg.geometry import Axis, Size, Window
from npseg.matrices import SparseMatrix

OPTIONS: dict[str, tuple[str, ...]] = {}


class Tap(NamedTuple):
    """One multiplication of a convolution: the index of its output, of its input and of its weight."""

    output: tuple[int, int, int, int]
    input: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]


def taps(
    batch: int, weight_shape: tuple[int, ...], input_size: Size, output_size: Size, window: Window, groups: int
) -> Iterator[Tap]:
    """Every multiplication of a convolution, output by output."""
    out_channels, group_channels = weight_shape[:2]
    for n, o, i, j in np.ndindex(batch, out_channels, *output_size):
        group = o // (out_channels // groups)
        for c in range(group_channels):
            for k, h in _line(window.rows, i, input_size[0]):
                for l, w in _line(window.columns, j, input_size[1]):  # noqa: E741 (k, l: the kernel's row and column)
                    yield Tap((n, o, i, j), (n, group * group_channels + c, h, w), (o, c, k, l))


def _line(axis: Axis, output: int, size: int) -> Iterator[tuple[int, int]]:
    """The taps of one output along one axis: (kernel position, input position)."""
    for k in axis.taps_of(output, size):
        yield k, axis.position(output, k)


def conv(x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None, relu: bool = False) -> Array:
    """(N, C_out, H_out, W_out): each output is the sum of its window's products; then the bias, and the ReLU."""
    input_size = x.shape[2], x.shape[3]
    output_size = window.output_size(input_size)
    y = np.zeros((x.shape[0], weight.shape[0], *output_size), x.dtype)
    for tap in taps(x.shape[0], weight.shape, input_size, output_size, window, groups):
        y[tap.output] += x[tap.input] * weight[tap.weight]
    return finished(y, bias, relu)


def conv_grad_input(grad: Array, weight: Array, size: Size, window: Window, groups: int) -> Array:
    """(N, C_in, H, W): each output's gradient goes back to the pixels it saw, where windows overlap it adds up."""
    grad_x = np.zeros((grad.shape[0], weight.shape[1] * groups, *size), grad.dtype)
    for tap in taps(grad.shape[0], weight.shape, size, (grad.shape[2], grad.shape[3]), window, groups):
        grad_x[tap.input] += grad[tap.output] * weight[tap.weight]
    return grad_x


def conv_grad_weight(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """(C_out, C_in // groups, K_h, K_w): each weight collects from all the places where it was used."""
    grad_weight = np.zeros((grad.shape[1], x.shape[1] // groups, *window.kernel_size), x.dtype)
    input_size, output_size = (x.shape[2], x.shape[3]), (grad.shape[2], grad.shape[3])
    for tap in taps(x.shape[0], grad_weight.shape, input_size, output_size, window, groups):
        grad_weight[tap.weight] += grad[tap.output] * x[tap.input]
    return grad_weight


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The largest pixel of each window and its position h * W + w; the first of equals, and NaN above all."""
    height, width = x.shape[2:]
    y = np.empty((*x.shape[:2], *window.output_size((height, width))), x.dtype)
    indices = np.empty(y.shape, np.int64)
    for n, c, i, j in np.ndindex(y.shape):
        best: tuple[int, int] | None = None
        for _, h in _line(window.rows, i, height):
            for _, w in _line(window.columns, j, width):
                if best is None or _beats(x[n, c, h, w], x[n, c, *best]):
                    best = h, w
        assert best is not None, "every window has a real pixel"
        y[n, c, i, j] = x[n, c, *best]
        indices[n, c, i, j] = best[0] * width + best[1]
    return y, indices


def _beats(challenger: Any, champion: Any) -> bool:
    """Strictly larger, where NaN is larger than any number and nothing is larger than NaN."""
    return bool(not np.isnan(champion) and (challenger > champion or np.isnan(challenger)))


def scatter(values: Array, indices: Array, size: Size) -> Array:
    """(N, C, H, W): every value added at its position, zeros elsewhere."""
    x = np.zeros((*values.shape[:2], *size), values.dtype)
    for n, c, i, j in np.ndindex(values.shape):
        h, w = divmod(indices[n, c, i, j], size[1])
        x[n, c, h, w] += values[n, c, i, j]
    return x


def gather(x: Array, indices: Array) -> Array:
    """The shape of `indices`: the value at each position."""
    values = np.empty(indices.shape, x.dtype)
    for n, c, i, j in np.ndindex(indices.shape):
        h, w = divmod(indices[n, c, i, j], x.shape[3])
        values[n, c, i, j] = x[n, c, h, w]
    return values


def resize(x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array:
    """(N, C, H_out, W_out): each output is a weighted sum over the entries of its row's and its column's taps."""
    y = np.zeros((*x.shape[:2], rows.shape[0], columns.shape[0]), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        for a in range(rows.indptr[i], rows.indptr[i + 1]):
            for b in range(columns.indptr[j], columns.indptr[j + 1]):
                y[n, c, i, j] += rows.data[a] * columns.data[b] * x[n, c, rows.indices[a], columns.indices[b]]
    return y
