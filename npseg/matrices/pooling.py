"""Pooling: the selection that max pooling made, and the means of average pooling, an axis at a time."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Axis, Padding, Pair, Size, Window, check_real_pixels, pooling_window
from npseg.matrices.sparse_matrix import SparseMatrix, each_channel


def max_pool2d_matrix(indices: Array, input_size: Size, *, dtype: DTypeLike = np.float64) -> SparseMatrix:
    """The selection that max pooling made on one image: a single 1 in each row.

    Its transpose is max unpooling where no index repeats, and in any case the backward pass of max pooling.

    Args:
        indices: (C, H_out, W_out) int64, as `npseg.ops.max_pool2d` returns them for one image.
        input_size: (H, W) of the pooled image.
        dtype: of the entries.

    Returns:
        (C * H_out * W_out, C * H * W).

    >>> max_pool2d_matrix(np.array([[[3]]]), (2, 2)).toarray()
    array([[0., 0., 0., 1.]])
    """
    indices = checks.indices(indices, "indices", "(C, H_out, W_out)")
    size = checks.size(input_size, "input_size")
    checks.integer(len(indices) * size[0] * size[1], "the number of pixels that input_size gives", at_least=0)
    check_positions(indices, size)
    return selection_matrix(indices, size, checks.float_dtype(dtype, "dtype"))


def selection_matrix(indices: Array, size: Size, dtype: DTypeLike) -> SparseMatrix:
    """The selection of checked positions (planes, H_out, W_out), each within its own plane of `size`."""
    plane = np.arange(len(indices))[:, None, None] * (size[0] * size[1])
    columns = (plane + indices).ravel()
    shape = indices.size, len(indices) * size[0] * size[1]
    return SparseMatrix.from_taps(np.arange(len(columns)), columns, np.ones(len(columns), dtype), shape)


def check_positions(indices: Array, size: Size) -> None:
    """Every flat position h * W + w must lie in its plane, before anything reads or writes there."""
    checks.fits_memory(indices.shape, indices.itemsize, "indices", "their copy")
    if indices.size and (indices.min() < 0 or indices.max() >= size[0] * size[1]):
        raise ValueError(
            f"indices must lie in 0 ... {size[0] * size[1] - 1} (a plane of {size[0]} x {size[1]}), "
            f"got {indices.min()} ... {indices.max()}"
        )


def window_rows(axis: Axis, size: int, dtype: DTypeLike) -> SparseMatrix:
    """One axis of a pool, (outputs, size): each row holds a 1 at every pixel of its window."""
    taps = axis.taps(size, axis.output_size(size))
    return SparseMatrix.from_taps(
        taps.output, taps.input, np.ones(len(taps.input), dtype), (axis.output_size(size), size)
    )


@lru_cache(maxsize=32)
def averaging_rows(axis: Axis, asked: Axis, size: int, *, count_padding: bool, dtype: DTypeLike) -> SparseMatrix:
    """One axis of average pooling, (outputs, size): each row holds 1 / count at the pixels of its window.

    Args:
        axis: the axis with ceil mode's overhang.
        asked: the axis with the padding that was asked for, which is all that `count_padding` counts.
        size: the number of pixels.
        count_padding: divide by the pixels of the padded line, not by the real ones alone.
        dtype: of the entries.
    """
    window = window_rows(axis, size, dtype)
    line, length = (asked.on_padding(), size + asked.before + asked.after) if count_padding else (axis, size)
    counts = np.array([len(line.taps_of(i, length)) for i in range(window.shape[0])])
    return replace(window, data=(1.0 / counts[window.rows]).astype(dtype))


def avg_pool2d_matrix(
    channels: int,
    input_size: Size,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dtype: DTypeLike = np.float64,
) -> SparseMatrix:
    """Average pooling of one image as a matrix: each row holds 1 / count at the pixels of its window.

    Args:
        channels: C.
        input_size: (H, W).
        kernel_size, stride, padding, ceil_mode, count_include_pad: as in `npseg.ops.avg_pool2d`.
        dtype: of the entries.

    Returns:
        (C * H_out * W_out, C * H * W).

    >>> avg_pool2d_matrix(1, (1, 4), (1, 2)).toarray()
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    input_size = checks.size(input_size, "input_size")
    asked, window = pooling_window(kernel_size, input_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    blamed = "padding" if window.mostly_padding(input_size) else "input_size"
    checks.fits_memory(window.output_size(input_size), 8, blamed, "the sparse matrix's rows")
    rows, columns = averaging_axes(asked, window, input_size, count_include_pad, checks.float_dtype(dtype, "dtype"))
    return each_channel(channels, rows, columns, blamed)


def averaging_axes(
    asked: Window, window: Window, input_size: Size, count_include_pad: bool, dtype: np.dtype[Any]
) -> tuple[SparseMatrix, SparseMatrix]:
    """Average pooling taken apart into its rows and its columns; both windows from `pooling_window`."""
    count_padding = checks.flag(count_include_pad, "count_include_pad")
    if not count_padding:
        check_real_pixels(window, input_size)
    rows, columns = (
        averaging_rows(axis, plain, size, count_padding=count_padding, dtype=dtype)
        for axis, plain, size in zip(window.axes, asked.axes, input_size, strict=True)
    )
    return rows, columns
