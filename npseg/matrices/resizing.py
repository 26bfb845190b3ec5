"""Unpooling and bilinear interpolation, an axis at a time: `each_channel` joins the two axes."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.geometry import Pair, Size
from npseg.matrices.sparse_matrix import SparseMatrix, each_channel


@lru_cache(maxsize=32)
def nearest_rows(size: int, scale: int, dtype: np.dtype[Any]) -> SparseMatrix:
    """One axis of nearest unpooling, (size * scale, size): output i copies pixel i // scale."""
    outputs = np.arange(size * scale, dtype=np.int64)
    return SparseMatrix.from_taps(outputs, outputs // scale, np.ones(len(outputs), dtype), (len(outputs), size))


@lru_cache(maxsize=32)
def nail_rows(size: int, scale: int, dtype: np.dtype[Any]) -> SparseMatrix:
    """One axis of bed-of-nails unpooling, (size * scale, size): output i * scale copies pixel i, the rest is empty."""
    pixels = np.arange(size, dtype=np.int64)
    return SparseMatrix.from_taps(pixels * scale, pixels, np.ones(size, dtype), (size * scale, size))


@lru_cache(maxsize=32)
def bilinear_rows(size: int, outputs: int, *, align_corners: bool, dtype: np.dtype[Any]) -> SparseMatrix:
    """One axis of linear interpolation, (outputs, size): at most two neighbours a row, their weights adding up to 1.

    Half-pixel centres: output i samples x = (i + 1/2) * size / outputs - 1/2, clamped at 0; with `align_corners`,
    x = i * (size - 1) / (outputs - 1), so that the first and last pixels stay where they are.
    """
    # Whole numbers up to the last division, so that a weight that should be 0 or 1 is.
    position = np.arange(outputs, dtype=np.int64)
    if align_corners:
        numerator, denominator = position * (size - 1), max(outputs - 1, 1)
    else:
        numerator, denominator = np.maximum((2 * position + 1) * size - outputs, 0), 2 * outputs
    left, remainder = np.divmod(numerator, denominator)
    right = np.minimum(left + 1, size - 1)
    remainder[right == left] = 0

    taps = np.stack([left, right], axis=1)
    weights = np.stack([denominator - remainder, remainder], axis=1)
    kept = weights != 0
    data = (weights[kept] / denominator).astype(dtype)
    return SparseMatrix.from_taps(np.nonzero(kept)[0], taps[kept], data, (outputs, size))


def nearest_unpool2d_matrix(
    channels: int, input_size: Size, scale: Pair, *, dtype: DTypeLike = np.float64
) -> SparseMatrix:
    """Nearest unpooling of one image as a matrix: a single 1 in each row.

    Args:
        channels: C.
        input_size: (H, W).
        scale: how many copies of a pixel, per axis.
        dtype: of the entries.

    Returns:
        (C * H * scale_h * W * scale_w, C * H * W).

    >>> nearest_unpool2d_matrix(1, (1, 2), (1, 2)).toarray()
    array([[1., 0.],
           [1., 0.],
           [0., 1.],
           [0., 1.]])
    """
    input_size, scales, of_dtype = _unpooling(input_size, scale, dtype)
    rows, columns = (nearest_rows(n, s, of_dtype) for n, s in zip(input_size, scales, strict=True))
    return each_channel(channels, rows, columns, "input_size")


def bed_of_nails_unpool2d_matrix(
    channels: int, input_size: Size, scale: Pair, *, dtype: DTypeLike = np.float64
) -> SparseMatrix:
    """Bed-of-nails unpooling of one image as a matrix: a 1 where a nail stands, empty rows elsewhere.

    Args:
        channels: C.
        input_size: (H, W).
        scale: the size of a nail's cell, per axis.
        dtype: of the entries.

    Returns:
        (C * H * scale_h * W * scale_w, C * H * W).

    >>> bed_of_nails_unpool2d_matrix(1, (1, 2), (1, 2)).toarray()
    array([[1., 0.],
           [0., 0.],
           [0., 1.],
           [0., 0.]])
    """
    input_size, scales, of_dtype = _unpooling(input_size, scale, dtype)
    rows, columns = (nail_rows(n, s, of_dtype) for n, s in zip(input_size, scales, strict=True))
    return each_channel(channels, rows, columns, "input_size")


def _unpooling(input_size: Any, scale: Any, dtype: DTypeLike) -> tuple[Size, Size, np.dtype[Any]]:
    """Checked arguments of an unpooling matrix whose rows fit in memory."""
    size, scales = checks.size(input_size, "input_size"), checks.pair(scale, "scale", at_least=1)
    checks.fits_memory(size, 8, "input_size", "the sparse matrix's rows")
    checks.fits_memory((*size, *scales), 8, "scale", "the sparse matrix's rows")
    return size, scales, checks.float_dtype(dtype, "dtype")


def resize_bilinear_matrix(
    channels: int,
    input_size: Size,
    output_size: Size,
    *,
    align_corners: bool = False,
    dtype: DTypeLike = np.float64,
) -> SparseMatrix:
    """Bilinear interpolation of one image as a matrix: at most four neighbours a row, their weights adding up to 1.

    Args:
        channels: C.
        input_size: (H, W).
        output_size: (H_out, W_out).
        align_corners: keep the corner pixels' centres in place instead of the image's edges.
        dtype: of the entries.

    Returns:
        (C * H_out * W_out, C * H * W).

    >>> resize_bilinear_matrix(1, (1, 2), (1, 4)).toarray()
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    input_size = checks.size(input_size, "input_size")
    output_size = checks.size(output_size, "output_size")
    channels = checks.integer(channels, "channels", at_least=1)
    checks.integer(channels * input_size[0] * input_size[1], "the number of pixels that input_size gives", at_least=1)
    checks.fits_memory(output_size, 8, "output_size", "the sparse matrix's rows")
    rows, columns = bilinear_axes(input_size, output_size, align_corners, checks.float_dtype(dtype, "dtype"))
    return each_channel(channels, rows, columns, "output_size")


def bilinear_axes(
    input_size: Size, output_size: Size, align_corners: bool, dtype: np.dtype[Any]
) -> tuple[SparseMatrix, SparseMatrix]:
    """Bilinear interpolation taken apart into its rows and its columns."""
    aligned = checks.flag(align_corners, "align_corners")
    for n, out in zip(input_size, output_size, strict=True):  # positions are whole numbers up to 2 * n * out
        checks.integer(2 * n * out, "twice input_size times output_size", at_least=0)
    rows, columns = (
        bilinear_rows(n, out, align_corners=aligned, dtype=dtype)
        for n, out in zip(input_size, output_size, strict=True)
    )
    return rows, columns
