"""Every kernel as one sparse matrix, applied to all images of the batch at once.

An image is a column vector: a batch (N, C, H, W) becomes a matrix (C * H * W, N), and

    y = A x          grad_x = A^T grad          grad_weight = the sum of A's gradient over the places of each weight

Max pooling is not linear, but once the maxima are known it is: it selects. The matrix of that selection has a single 1
in each row; its transpose is unpooling.
"""

from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines.finishing import finished
from npseg.geometry import Size, Window
from npseg.matrices import SparseMatrix
from npseg.matrices.convolution import convolution_matrix, convolution_taps
from npseg.matrices.pooling import selection_matrix, window_rows
from npseg.matrices.sparse_matrix import kronecker

OPTIONS: dict[str, tuple[str, ...]] = {}


def conv(x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None, relu: bool = False) -> Array:
    """(N, C_out, H_out, W_out) = A x, then the bias, and the ReLU."""
    input_size = x.shape[2], x.shape[3]
    output_size = window.output_size(input_size)
    matrix = convolution_matrix(window, input_size, output_size, weight, groups, "weight")
    return finished(_apply(matrix, x, (weight.shape[0], *output_size)), bias, relu)


def conv_grad_input(grad: Array, weight: Array, size: Size, window: Window, groups: int) -> Array:
    """(N, C_in, H, W) = A^T grad."""
    matrix = convolution_matrix(window, size, (grad.shape[2], grad.shape[3]), weight, groups, "weight")
    return _apply(matrix.T, grad, (weight.shape[1] * groups, *size))


def conv_grad_weight(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """(C_out, C_in // groups, K_h, K_w): A's entries have gradient grad x^T, and a weight stands in many places."""
    shape = grad.shape[1], x.shape[1] // groups, *window.kernel_size
    input_size, output_size = (x.shape[2], x.shape[3]), (grad.shape[2], grad.shape[3])
    taps = convolution_taps(window, input_size, output_size, shape, groups, "x")
    grad_entries = np.zeros(len(taps.weight), x.dtype)
    for image, grad_image in zip(x, grad, strict=True):
        grad_entries += grad_image.ravel()[taps.output] * image.ravel()[taps.input]

    # places @ grad_entries adds, for each weight, the gradients of all the entries that are copies of it.
    order = np.argsort(taps.weight, kind="stable")
    entries = len(taps.weight)
    places = SparseMatrix.from_taps(
        taps.weight[order], order, np.ones(entries, x.dtype), (int(np.prod(shape)), entries)
    )
    return (places @ grad_entries).reshape(shape)


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The largest entry in each row of the window's pattern; the first of equals, and NaN above all."""
    rows, columns = (window_rows(axis, n, x.dtype) for axis, n in zip(window.axes, x.shape[2:], strict=True))
    pattern = kronecker(rows, columns, "kernel_size")
    checks.fits_memory((*x.shape[:2], pattern.nnz), max(x.itemsize, 8), "x", "the windows' pixels")
    pixels = x.reshape(x.shape[0] * x.shape[1], pattern.shape[1])[:, pattern.indices]
    starts = pattern.indptr[:-1]
    maxima = np.maximum.reduceat(pixels, starts, axis=1)
    is_maximum = (pixels == maxima[:, pattern.rows]) | np.isnan(pixels)
    entries = np.where(is_maximum, np.arange(pattern.nnz), pattern.nnz)
    first = np.minimum.reduceat(entries, starts, axis=1)
    shape = *x.shape[:2], rows.shape[0], columns.shape[0]
    return np.take_along_axis(pixels, first, axis=1).reshape(shape), pattern.indices[first].reshape(shape)


def scatter(values: Array, indices: Array, size: Size) -> Array:
    """(N, C, H, W) = S^T values, where S selects the positions."""
    selection = _selection(indices, size, values.dtype)
    return (selection.T @ values.ravel()).reshape(*values.shape[:2], *size)


def gather(x: Array, indices: Array) -> Array:
    """The shape of `indices` = S x, where S selects the positions."""
    selection = _selection(indices, (x.shape[2], x.shape[3]), x.dtype)
    return (selection @ x.ravel()).reshape(indices.shape)


def resize(x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array:
    """(N, C, H_out, W_out): the Kronecker product of both axes, applied to every plane."""
    planes = x.reshape(x.shape[0] * x.shape[1], 1, *x.shape[2:])
    resized = _apply(kronecker(rows, columns, "engine"), planes, (1, rows.shape[0], columns.shape[0]))
    return resized.reshape(*x.shape[:2], rows.shape[0], columns.shape[0])


def _apply(matrix: SparseMatrix, x: Array, shape: tuple[int, ...]) -> Array:
    """The matrix times every image, as images of `shape` again."""
    checks.fits_memory((len(x), max(matrix.shape[1], matrix.nnz)), x.itemsize, "engine", "the sparse matrix's products")
    images = x.reshape(len(x), matrix.shape[1]).T
    return np.ascontiguousarray((matrix @ images).T).reshape(len(x), *shape)


def _selection(indices: Array, size: Size, dtype: np.dtype[Any]) -> SparseMatrix:
    """The planes of all images at once, one below the other."""
    planes = indices.reshape(indices.shape[0] * indices.shape[1], *indices.shape[2:])
    return selection_matrix(planes, size, dtype)
