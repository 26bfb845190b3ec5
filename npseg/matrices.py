"""Linear operations as sparse matrices: one row per output, one entry per tap that sees a real pixel.

A 3x3 convolution of a 4x4 image has 2 * 2 outputs and 4 * 4 inputs, so it is a (4, 16) matrix with 9 entries a row; its
transposed convolution on a 2x2 image is a (16, 4) matrix of the transposed pattern. Compressed sparse rows keep three
arrays: row r owns `data[indptr[r]:indptr[r + 1]]`, which stand in the columns `indices[indptr[r]:indptr[r + 1]]`.

An image (C, H, W) is flattened in that order: pixel (c, h, w) is column (c * H + h) * W + w.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.checks import Array
from npseg.geometry import (
    Axis,
    Padding,
    Pair,
    Size,
    Window,
    check_real_pixels,
    convolution_window,
    pooling_window,
    transposed_window,
)


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A matrix of compressed sparse rows; the columns of a row are sorted and none stands twice.

    Args:
        data: (nnz,) the entries, row by row; a stored entry may be zero.
        indices: (nnz,) int64, the column of each entry.
        indptr: (rows + 1,) int64, where each row starts in `data`.
        shape: (rows, columns).

    >>> matrix = SparseMatrix(np.array([2.0, 3.0]), np.array([0, 2]), np.array([0, 1, 2]), (2, 3))
    >>> matrix.toarray()
    array([[2., 0., 0.],
           [0., 0., 3.]])
    >>> matrix @ np.array([1.0, 10.0, 100.0])
    array([  2., 300.])
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        rows, columns = self.shape
        checks.indices(self.indices, "indices", "(N,)")
        checks.indices(self.indptr, "indptr", "(rows,)")
        checks.shape(self.data, "data", self.indices.shape, "one entry for each of indices")
        checks.shape(self.indptr, "indptr", (rows + 1,), "rows + 1")
        if self.indptr[0] != 0 or self.indptr[-1] != self.nnz or np.any(self.indptr[1:] < self.indptr[:-1]):
            raise ValueError(f"indptr must rise from 0 to the {self.nnz} entries, got {self.indptr}")
        if self.nnz and (self.indices.min() < 0 or self.indices.max() >= columns):
            raise ValueError(
                f"indices must lie in 0 ... {columns - 1}, got {self.indices.min()} ... {self.indices.max()}"
            )

    @classmethod
    def from_taps(cls, rows: Array, columns: Array, data: Array, shape: tuple[int, int]) -> Self:
        """A matrix from its entries, which come sorted by row, then column."""
        lengths = np.bincount(rows, minlength=shape[0])
        return cls(data, columns, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), shape)

    @property
    def nnz(self) -> int:
        """The stored entries: the multiplications of one product with a vector."""
        return len(self.data)

    @property
    def row_lengths(self) -> Array:
        """(rows,) the number of entries in each row."""
        return np.diff(self.indptr)

    @property
    def rows(self) -> Array:
        """(nnz,) the row of each entry."""
        return np.repeat(np.arange(self.shape[0]), self.row_lengths)

    @property
    def T(self) -> "SparseMatrix":  # noqa: N802 (NumPy's name)
        """The transpose: the same entries, sorted by column instead of row."""
        checks.fits_memory((self.shape[1] + 1,), 8, "matrix", "the transpose's indptr")
        order = np.argsort(self.indices, kind="stable")
        return SparseMatrix.from_taps(
            self.indices[order], self.rows[order], self.data[order], (self.shape[1], self.shape[0])
        )

    @np.errstate(all="ignore")
    def __matmul__(self, x: Array) -> Array:
        """The product with a vector (columns,) or with several side by side (columns, k)."""
        x = checks.array(x, "x")
        if x.ndim not in (1, 2) or x.shape[0] != self.shape[1]:
            raise ValueError(f"x must have shape ({self.shape[1]},) or ({self.shape[1]}, k), got {x.shape}")
        checks.same_dtype(matrix=self.data, x=x)
        vectors = x[:, None] if x.ndim == 1 else x
        checks.fits_memory((self.nnz, vectors.shape[1]), x.itemsize, "x", "the products")
        result = np.zeros((self.shape[0], vectors.shape[1]), x.dtype)
        filled = self.row_lengths > 0
        if filled.any():
            products = self.data[:, None] * vectors[self.indices]
            result[filled] = np.add.reduceat(products, self.indptr[:-1][filled], axis=0)
        return result.reshape(self.shape[0], *x.shape[1:])

    def toarray(self) -> Array:
        """The dense matrix, zeros written out.

        Raises:
            ValueError: it would take more than 64 GiB.
        """
        checks.fits_memory(self.shape, self.data.itemsize, "matrix", "the dense matrix")
        dense = np.zeros(self.shape, self.data.dtype)
        dense[self.rows, self.indices] = self.data
        return dense

    def to_scipy(self) -> Any:
        """The same matrix as a `scipy.sparse.csr_array`.

        Raises:
            ImportError: SciPy is not installed.
        """
        try:
            from scipy.sparse import csr_array  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError("to_scipy needs SciPy, which is not installed: pip install scipy") from error
        return csr_array((self.data, self.indices, self.indptr), shape=self.shape)


def identity(size: int, dtype: DTypeLike) -> SparseMatrix:
    """Ones on the diagonal."""
    positions = np.arange(size, dtype=np.int64)
    return SparseMatrix.from_taps(positions, positions, np.ones(size, dtype), (size, size))


def kronecker(a: SparseMatrix, b: SparseMatrix, name: str) -> SparseMatrix:
    """The Kronecker product: entry (i, j) of `a` times the whole of `b`.

    With `a` acting on rows and `b` on columns it acts on the flattened image, which makes any separable operation, such
    as bilinear interpolation, one matrix. `name` is the argument to blame where the result would not fit.
    """
    checks.fits_memory((a.shape[0], b.shape[0]), 8, name, "the sparse matrix's rows")
    checks.fits_memory((a.nnz, b.nnz), 4 * 8, name, "the sparse matrix's entries")
    entries = np.outer(a.row_lengths, b.row_lengths).ravel()
    rows = np.repeat(np.arange(len(entries)), entries)
    within_row = np.arange(len(rows)) - np.repeat(np.cumsum(entries) - entries, entries)
    row_a, row_b = np.divmod(rows, b.shape[0])
    entry_a, entry_b = np.divmod(within_row, b.row_lengths[row_b])
    entry_a += a.indptr[row_a]
    entry_b += b.indptr[row_b]
    columns = a.indices[entry_a] * b.shape[1] + b.indices[entry_b]
    shape = a.shape[0] * b.shape[0], a.shape[1] * b.shape[1]
    return SparseMatrix.from_taps(rows, columns, a.data[entry_a] * b.data[entry_b], shape)


def _each_channel(channels: Any, rows: SparseMatrix, columns: SparseMatrix, name: str) -> SparseMatrix:
    """A separable operation on every channel by itself: a block diagonal of one plane's matrix.

    `name` is the argument to blame where not even the plane's matrix would fit in memory.
    """
    channels = checks.integer(channels, "channels", at_least=1)
    plane = kronecker(rows, columns, name)
    checks.fits_memory((channels, plane.nnz), 4 * 8, "channels", "the sparse matrix's entries")
    return kronecker(identity(channels, rows.data.dtype), plane, "channels")


# --------------------------------------------------------------------------------------------------- convolution


@dataclass(frozen=True)
class ConvolutionTaps:
    """Every multiplication of a convolution of one image, sorted by output, then input: three equally long arrays.

    output[t] and input[t] are flat positions in (C_out, H_out, W_out) and (C_in, H, W), weight[t] one in the weights.
    """

    output: Array
    input: Array
    weight: Array


def convolution_taps(
    window: Window, input_size: Size, output_size: Size, weight_shape: tuple[int, ...], groups: int, name: str
) -> ConvolutionTaps:
    """The taps of a convolution: the pattern of its sparse matrix, and which weight stands in which place.

    `name` is the argument to blame where they would not fit in memory.
    """
    out_channels, group_channels, *kernel_size = weight_shape
    checks.fits_memory((out_channels, *output_size), 8, name, "the sparse matrix's rows")
    rows = window.rows.taps(input_size[0], output_size[0])
    columns = window.columns.taps(input_size[1], output_size[1])
    entries = out_channels, group_channels, len(rows.input), len(columns.input)
    checks.fits_memory(entries, 4 * 8, name, "the sparse matrix's entries")

    # One output channel first: (channel of the group, tap of a row, tap of a column).
    channel = np.arange(group_channels)[:, None, None]
    row, column = np.arange(len(rows.input))[:, None], np.arange(len(columns.input))
    plane = np.broadcast_to(
        rows.output[row] * output_size[1] + columns.output[column], (group_channels, row.size, column.size)
    ).ravel()
    pixel = ((channel * input_size[0] + rows.input[row]) * input_size[1] + columns.input[column]).ravel()
    weight = ((channel * kernel_size[0] + rows.kernel[row]) * kernel_size[1] + columns.kernel[column]).ravel()
    order = np.lexsort((pixel, plane))
    plane, pixel, weight = plane[order], pixel[order], weight[order]

    # Every other output channel sees the same taps, through its own weights, in its own group's channels.
    out_channel = np.arange(out_channels)[:, None]
    group = out_channel // (out_channels // groups)
    return ConvolutionTaps(
        output=(out_channel * (output_size[0] * output_size[1]) + plane).ravel(),
        input=(group * (group_channels * input_size[0] * input_size[1]) + pixel).ravel(),
        weight=(out_channel * (group_channels * kernel_size[0] * kernel_size[1]) + weight).ravel(),
    )


def convolution_matrix(
    window: Window, input_size: Size, output_size: Size, weight: Array, groups: int, name: str
) -> SparseMatrix:
    """The matrix of a convolution whose geometry is already parsed; `name` as in `convolution_taps`."""
    taps = convolution_taps(window, input_size, output_size, weight.shape, groups, name)
    shape = (
        weight.shape[0] * output_size[0] * output_size[1],
        groups * weight.shape[1] * input_size[0] * input_size[1],
    )
    return SparseMatrix.from_taps(taps.output, taps.input, weight.ravel()[taps.weight], shape)


def conv2d_matrix(
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> SparseMatrix:
    """The convolution of one image as a matrix: `conv2d(x)[n].ravel() == matrix @ x[n].ravel()`.

    Args:
        weight: (C_out, C_in // groups, K_h, K_w).
        input_size: (H, W) of the image.
        stride, padding, dilation, groups: as in `npseg.ops.conv2d`.

    Returns:
        (C_out * H_out * W_out, C_in * H * W), of the weight's dtype.

    >>> kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    >>> matrix = conv2d_matrix(kernel, (4, 4))
    >>> matrix.shape, matrix.nnz
    ((4, 16), 36)
    >>> matrix.toarray()[0].reshape(4, 4)
    array([[1., 2., 3., 0.],
           [4., 5., 6., 0.],
           [7., 8., 9., 0.],
           [0., 0., 0., 0.]])
    """
    weight, groups = check_convolution_weight(weight, groups)
    input_size = checks.size(input_size, "input_size")
    window = convolution_window(
        weight.shape[2:], input_size, stride=stride, padding=padding, dilation=dilation, argument="weight"
    )
    blamed = "padding" if window.mostly_padding(input_size) else "input_size"
    return convolution_matrix(window, input_size, window.output_size(input_size), weight, groups, blamed)


def conv_transpose2d_matrix(
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> SparseMatrix:
    """The transposed convolution of one image as a matrix: the transpose of a convolution's, with weights of its own.

    Args:
        weight: (C_in, C_out // groups, K_h, K_w).
        input_size: (H, W) of the map that is to be enlarged.
        stride, padding, output_padding, dilation, groups: as in `npseg.ops.conv_transpose2d`.

    Returns:
        (C_out * H_out * W_out, C_in * H * W), of the weight's dtype.

    >>> conv_transpose2d_matrix(np.ones((1, 1, 3, 3)), (2, 2)).shape
    (16, 4)
    """
    weight, groups = check_convolution_weight(weight, groups)
    input_size = checks.size(input_size, "input_size")
    window = transposed_window(
        weight.shape[2:], input_size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    output_size = window.input_size(input_size)
    blamed = window.enlarged_by(input_size, image="input_size")
    checks.fits_memory((weight.shape[1] * groups, *output_size), 8, blamed, "the sparse matrix's rows")
    return convolution_matrix(window, output_size, input_size, weight, groups, "input_size").T


def check_convolution_weight(weight: Array, groups: int) -> tuple[Array, int]:
    """A weight of four axes whose first is divisible into groups."""
    weight = checks.floats(weight, "weight", "(C_out, C_in // groups, K_h, K_w)")
    checks.fits_memory(weight.shape, weight.itemsize, "weight", "its gradient or copy")
    groups = checks.integer(groups, "groups", at_least=1)
    if weight.shape[0] % groups:
        raise ValueError(f"groups must divide the {weight.shape[0]} channels that weight comes with, got {groups}")
    return weight, groups


# ------------------------------------------------------------------------------------------------------- pooling


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
    dtype = checks.float_dtype(dtype, "dtype")
    rows, columns = averaging_axes(asked, window, input_size, count_include_pad, dtype)
    return _each_channel(channels, rows, columns, blamed)


def averaging_axes(
    asked: Window, window: Window, input_size: Size, count_include_pad: bool, dtype: DTypeLike
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


# ------------------------------------------------------------------------------- unpooling and interpolation


def nearest_rows(size: int, scale: int, dtype: DTypeLike) -> SparseMatrix:
    """One axis of nearest unpooling, (size * scale, size): output i copies pixel i // scale."""
    outputs = np.arange(size * scale, dtype=np.int64)
    return SparseMatrix.from_taps(outputs, outputs // scale, np.ones(len(outputs), dtype), (len(outputs), size))


def nail_rows(size: int, scale: int, dtype: DTypeLike) -> SparseMatrix:
    """One axis of bed-of-nails unpooling, (size * scale, size): output i * scale copies pixel i, the rest is empty."""
    pixels = np.arange(size, dtype=np.int64)
    return SparseMatrix.from_taps(pixels * scale, pixels, np.ones(size, dtype), (size * scale, size))


def bilinear_rows(size: int, outputs: int, *, align_corners: bool, dtype: DTypeLike) -> SparseMatrix:
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
    input_size, scales, dtype = _unpooling(input_size, scale, dtype)
    rows, columns = (nearest_rows(n, s, dtype) for n, s in zip(input_size, scales, strict=True))
    return _each_channel(channels, rows, columns, "input_size")


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
    input_size, scales, dtype = _unpooling(input_size, scale, dtype)
    rows, columns = (nail_rows(n, s, dtype) for n, s in zip(input_size, scales, strict=True))
    return _each_channel(channels, rows, columns, "input_size")


def _unpooling(input_size: Any, scale: Any, dtype: DTypeLike) -> tuple[Size, Size, DTypeLike]:
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
    checks.fits_memory(output_size, 8, "output_size", "the sparse matrix's rows")
    rows, columns = bilinear_axes(input_size, output_size, align_corners, checks.float_dtype(dtype, "dtype"))
    return _each_channel(channels, rows, columns, "output_size")


def bilinear_axes(
    input_size: Size, output_size: Size, align_corners: bool, dtype: DTypeLike
) -> tuple[SparseMatrix, SparseMatrix]:
    """Bilinear interpolation taken apart into its rows and its columns."""
    aligned = checks.flag(align_corners, "align_corners")
    rows, columns = (
        bilinear_rows(n, out, align_corners=aligned, dtype=dtype)
        for n, out in zip(input_size, output_size, strict=True)
    )
    return rows, columns
