"""Making maps larger (or smaller) without learned weights: the three unpoolings and bilinear interpolation."""

from collections.abc import Callable

from npseg import ops
from npseg.checks import Array
from npseg.geometry import Pair, Size
from npseg.matrices import (
    SparseMatrix,
    bed_of_nails_unpool2d_matrix,
    nearest_unpool2d_matrix,
    resize_bilinear_matrix,
)
from npseg.ops.arguments import size_of
from npseg.teaching.traces.linear import Trace, from_matrix
from npseg.teaching.traces.pooling import planes, selection_of_batch
from npseg.teaching.traces.step import GRADIENTS

UnpoolingMatrix = Callable[..., SparseMatrix]


def max_unpool2d(x: Array, indices: Array, output_size: Size, *, view: str = "scatter") -> Trace:
    """A step for each value, which returns to where max pooling found it."""
    y = ops.max_unpool2d(x, indices, output_size)
    selection = selection_of_batch(indices, output_size, x)
    return from_matrix("max_unpool2d", x, selection.T, y.shape, view=view)


def max_unpool2d_backward(grad: Array, indices: Array, *, view: str = "gather") -> Trace:
    """A step for each value's gradient, which is fetched from where the value was put."""
    grad_x = ops.max_unpool2d_backward(grad, indices)
    selection = selection_of_batch(indices, size_of(grad), grad)
    return from_matrix("max_unpool2d_backward", grad, selection, grad_x.shape, view=view, roles=GRADIENTS)


def nearest_unpool2d(x: Array, scale: Pair, *, view: str = "gather") -> Trace:
    """A step for each output, a copy of its cell's value."""
    y = ops.nearest_unpool2d(x, scale)
    return from_matrix("nearest_unpool2d", x, _matrix(nearest_unpool2d_matrix, x, scale), y.shape, view=view)


def nearest_unpool2d_backward(grad: Array, scale: Pair, *, view: str = "scatter") -> Trace:
    """A step for each gradient, which is sent to its cell's value."""
    grad_x = ops.nearest_unpool2d_backward(grad, scale)
    matrix = _matrix(nearest_unpool2d_matrix, grad_x, scale).T
    return from_matrix("nearest_unpool2d_backward", grad, matrix, grad_x.shape, view=view, roles=GRADIENTS)


def bed_of_nails_unpool2d(x: Array, scale: Pair, *, view: str = "gather") -> Trace:
    """A step for each output: a nail, or 0."""
    y = ops.bed_of_nails_unpool2d(x, scale)
    return from_matrix("bed_of_nails_unpool2d", x, _matrix(bed_of_nails_unpool2d_matrix, x, scale), y.shape, view=view)


def bed_of_nails_unpool2d_backward(grad: Array, scale: Pair, *, view: str = "scatter") -> Trace:
    """A step for each gradient, which is sent on where a nail stood, else nowhere."""
    grad_x = ops.bed_of_nails_unpool2d_backward(grad, scale)
    matrix = _matrix(bed_of_nails_unpool2d_matrix, grad_x, scale).T
    return from_matrix("bed_of_nails_unpool2d_backward", grad, matrix, grad_x.shape, view=view, roles=GRADIENTS)


def resize_bilinear(x: Array, output_size: Size, *, align_corners: bool = False, view: str = "gather") -> Trace:
    """A step for each output, a weighted mean of at most four pixels."""
    y = ops.resize_bilinear(x, output_size, align_corners=align_corners)
    matrix = resize_bilinear_matrix(planes(x), size_of(x), size_of(y), align_corners=align_corners, dtype=x.dtype)
    return from_matrix("resize_bilinear", x, matrix, y.shape, view=view)


def resize_bilinear_backward(
    grad: Array, input_size: Size, *, align_corners: bool = False, view: str = "scatter"
) -> Trace:
    """A step for each output's gradient, which its neighbours share by the same weights."""
    grad_x = ops.resize_bilinear_backward(grad, input_size, align_corners=align_corners)
    matrix = resize_bilinear_matrix(
        planes(grad), size_of(grad_x), size_of(grad), align_corners=align_corners, dtype=grad.dtype
    )
    return from_matrix("resize_bilinear_backward", grad, matrix.T, grad_x.shape, view=view, roles=GRADIENTS)


def _matrix(of_unpooling: UnpoolingMatrix, x: Array, scale: Pair) -> SparseMatrix:
    """The matrix over all planes of the map that is (or was) to be enlarged."""
    return of_unpooling(planes(x), size_of(x), scale, dtype=x.dtype)
