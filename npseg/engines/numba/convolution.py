"""The three convolution kernels: what is prepared once for a shape, and then run."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from npseg import buffers, checks
from npseg.checks import Array
from npseg.engines import choice, im2col
from npseg.engines.numba import depthwise, plan, transposed
from npseg.engines.numba.compiling import plain
from npseg.engines.numba.direct import Correlation
from npseg.engines.numba.grids import Grid
from npseg.engines.numba.long_rows import Enlargement, Reduction
from npseg.engines.numba.microkernel import ROWS
from npseg.engines.numba.small_maps import SmallMap, pairs_of_taps
from npseg.engines.numba.small_maps_weights import SmallMapWeights
from npseg.engines.numba.weights import WeightGradient
from npseg.engines.numba.winograd import Winograd
from npseg.engines.numba.winograd_weights import WinogradWeights
from npseg.geometry import Size, Window

Shape = tuple[int, ...]

prepared = lru_cache(maxsize=256)
"""A training step asks for the same shapes again and again."""


def conv(x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None, relu: bool = False) -> Array:
    """(N, C_out, H_out, W_out): the convolution, with the bias added and the negative cut off while it is stored."""
    if _for_im2col(x, weight):
        return im2col.conv(x, weight, window, groups, bias, relu)
    window = window.with_short_strides((x.shape[2], x.shape[3]))
    if groups == x.shape[1]:
        return depthwise.depthwise_conv(x, weight, window, bias, relu)
    x, weight, bias = plain(x), plain(weight), None if bias is None else plain(bias)
    y = buffers.empty((len(x), len(weight), *window.output_size((x.shape[2], x.shape[3]))), x.dtype)
    _forward(x.shape, y.shape, window, groups, x.dtype, _winograd()).run(x, weight, y, bias, relu)
    return y


def conv_relu_halved(x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None) -> Array | None:
    """(N, C_out, H_out / 2, W_out / 2): of each 2x2 results of `conv` with ReLU the largest, or None: it takes a pool.

    Winograd's tiles are stored that way; it is no other form of computing, so these are the same numbers.
    """
    if _for_im2col(x, weight) or groups == x.shape[1]:
        return None
    window = window.with_short_strides((x.shape[2], x.shape[3]))
    batch, channels, height, width = len(x), len(weight), *window.output_size((x.shape[2], x.shape[3]))
    convolution = _halved(x.shape, (batch, channels, height, width), window, groups, x.dtype, _winograd())
    if convolution is None:
        return None
    y = buffers.empty((batch, channels, height // 2, width // 2), x.dtype)
    convolution.run(plain(x), plain(weight), y, None if bias is None else plain(bias), relu=True)
    return y


def conv_grad_input(grad: Array, weight: Array, size: Size, window: Window, groups: int) -> Array:
    """(N, C_in, H, W): phase by phase of the stride.

    The zeros around the gradient meet weights where no position is. A weight that is not finite makes NaN of them, so
    then, which is rare, im2col does it again: it has no such zeros.
    """
    if _for_im2col(grad, weight):
        return im2col.conv_grad_input(grad, weight, size, window, groups)
    window = window.with_short_strides(size)
    if weight.shape[1] == 1:
        grad_x = depthwise.depthwise_grad_input(grad, weight, size, window, groups)
        finite = [bool(np.isfinite(weight).all())]
    else:
        grad, weight = plain(grad), plain(weight)
        make = buffers.empty if transposed.all_reached(window) else buffers.zeros
        grad_x = make((len(grad), weight.shape[1] * groups, *size), grad.dtype)
        convolutions = _input_gradient(grad.shape, grad_x.shape, window, groups, grad.dtype, _winograd())
        finite = [convolution.run(grad, weight, grad_x) for convolution in convolutions]
    return grad_x if all(finite) else im2col.conv_grad_input(grad, weight, size, window, groups)


def conv_grad_weight(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """(C_out, C_in // groups, K_h, K_w)."""
    if _for_im2col(x, grad):
        return im2col.conv_grad_weight(x, grad, window, groups)
    window = window.with_short_strides((x.shape[2], x.shape[3]))
    if groups == x.shape[1]:
        return depthwise.depthwise_grad_weight(x, grad, window)
    x, grad = plain(x), plain(grad)
    grad_weight = buffers.empty((grad.shape[1], x.shape[1] // groups, *window.kernel_size), x.dtype)
    _weight_gradient(x.shape, grad.shape, window, groups, x.dtype, _winograd()).run(x, grad, grad_weight)
    return grad_weight


def _for_im2col(*arrays: Array) -> bool:
    """Whether speed does not matter: nothing to do, or a view of a giant, of which a copy would not fit memory."""
    return any(not array.size or array.nbytes > checks.BYTES_LIMIT for array in arrays)


def _winograd() -> str:
    """Which of Winograd's algorithms are allowed: none for operations alone, all in networks, unless told otherwise."""
    allowed: str = choice.option("numba", "winograd", alone="off", in_networks="f4")
    return allowed


def _is_for_winograd(window: Window, groups: int, dtype: np.dtype[Any]) -> bool:
    """3x3, without strides or groups, float32."""
    return (
        groups == 1 and dtype == np.float32 and all(axis.kernel_size == 3 and axis.stride == 1 for axis in window.axes)
    )


def _tile_size(
    allowed: str, shape: Shape, out_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any], small: bool
) -> int:
    """The m of Winograd's algorithm, 0 for none."""
    if not _is_for_winograd(window, groups, dtype):
        return 0
    dilation = window.rows.dilation, window.columns.dilation
    return plan.tile_size(allowed, shape[0], shape[1], out_shape[1], (out_shape[2], out_shape[3]), dilation, small)


@prepared
def _weight_gradient(
    shape: Shape, grad_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any], winograd: str
) -> WeightGradient | WinogradWeights | SmallMapWeights:
    """The weight gradient of a convolution of this shape."""
    small = grad_shape[1] // groups >= ROWS and plan.is_small(shape, grad_shape, window, groups)
    if _is_for_winograd(window, groups, dtype) and window.rows.dilation == window.columns.dilation == 1:
        size = grad_shape[2], grad_shape[3]
        m = plan.weight_tile_size(winograd, shape[0], shape[1], grad_shape[1], size, small)
        if m:
            return WinogradWeights(shape, grad_shape, window, m)
    if small:
        taps = pairs_of_taps(shape[0], shape[2:], grad_shape[2:], window)
        return SmallMapWeights(shape, grad_shape, taps, window.area, groups, dtype)
    return WeightGradient(shape, grad_shape, window, groups, dtype)


@prepared
def _forward(
    shape: Shape, out_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any], winograd: str
) -> Correlation | Winograd | SmallMap | Reduction:
    """A convolution of this shape."""
    small = plan.is_small(shape, out_shape, window, groups, forward=True)
    m = _tile_size(winograd, shape, out_shape, window, groups, dtype, small)
    if m:
        return Winograd(shape, out_shape, window, m)
    channels, out_channels = shape[1] // groups, out_shape[1] // groups
    steps = out_channels * channels * window.area, channels * window.area, window.area
    if small:
        pairs = pairs_of_taps(shape[0], shape[2:], out_shape[2:], window)
        return SmallMap(shape, out_shape, pairs, window.area, groups, steps, dtype)
    if plan.has_long_rows(window):
        return Reduction(shape, out_shape, window, groups, dtype)
    taps = np.array(list(product(*(range(length) for length in window.kernel_size))))
    grid = Grid(
        height=out_shape[2],
        width=out_shape[3],
        stride=(window.rows.stride, window.columns.stride),
        tap_rows=taps[:, 0] * window.rows.dilation - window.rows.before,
        tap_columns=taps[:, 1] * window.columns.dilation - window.columns.before,
        step=(1, 1),
        kind_rows=np.zeros(1, np.int64),
        kind_columns=np.zeros(1, np.int64),
        places=np.arange(window.area)[None],
    )
    blocking = plan.blocking(shape[0], channels, out_channels, grid, dtype.itemsize)
    return Correlation(shape, out_shape, grid, groups, steps, blocking, dtype)


@prepared
def _halved(
    shape: Shape, out_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any], winograd: str
) -> Winograd | None:
    """The convolution of this shape, storing the largest of each 2x2 results, if it is one by Winograd."""
    convolution = _forward(shape, out_shape, window, groups, dtype, winograd)
    dilated = window.rows.dilation > 1 or window.columns.dilation > 1
    if not isinstance(convolution, Winograd) or out_shape[2] % 2 or out_shape[3] % 2 or dilated:
        return None
    return Winograd(shape, out_shape, window, convolution.numbers.m, pooled=True)


@prepared
def _input_gradient(
    shape: Shape, out_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any], winograd: str
) -> Sequence[Correlation | Winograd | SmallMap | Enlargement]:
    """The gradient with respect to an input of `out_shape`, given the output's of `shape`."""
    small = plan.is_small(out_shape, shape, window, groups)
    m = _tile_size(winograd, shape, out_shape, window, groups, dtype, small)
    if m:
        rows, columns = (replace(axis, before=axis.extent - 1 - axis.before) for axis in window.axes)
        return [Winograd(shape, out_shape, Window(rows, columns), m, flip=True)]
    channels, out_channels = shape[1] // groups, out_shape[1] // groups
    steps = channels * out_channels * window.area, window.area, out_channels * window.area
    if small:
        pairs = pairs_of_taps(shape[0], out_shape[2:], shape[2:], window)
        seen = {tap: joined.exchanged() for tap, joined in pairs.items()}
        return [SmallMap(shape, out_shape, seen, window.area, groups, steps, dtype)]
    if plan.has_long_rows(window):
        return [Enlargement(shape, out_shape, window, groups, dtype)]
    return [
        Correlation(
            shape,
            out_shape,
            grid,
            groups,
            steps,
            plan.blocking(shape[0], channels, out_channels * len(grid.places), grid, dtype.itemsize),
            dtype,
        )
        for grid in transposed.grids(window, (out_shape[2], out_shape[3]))
    ]
