"""Unpooling: three ways to make a map larger without any weights.

max unpooling     each value returns to where max pooling found it, zeros elsewhere
nearest           each value fills its whole cell
bed of nails      each value stands at the top left of its cell, zeros elsewhere
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import own_form, resolve
from npseg.geometry import Pair, Size
from npseg.matrices import SparseMatrix
from npseg.matrices.resizing import nail_rows, nearest_rows
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example

AxisRows = Callable[[int, int, np.dtype[Any]], SparseMatrix]
"""One axis of an unpooling: from a number of pixels, a scale and a dtype to the matrix (pixels * scale, pixels)."""


@np.errstate(all="ignore")
def max_unpool2d(x: Array, indices: Array, output_size: Size, *, engine: str | None = None) -> Array:
    """Put each value back where max pooling found it.

        y[n, c, indices[n, c, i, j]] = x[n, c, i, j],  zeros elsewhere

    Args:
        x: (N, C, H, W).
        indices: int64, of x's shape: flat positions h * W_out + w, from `max_pool2d`.
        output_size: (H_out, W_out), the size of the map that was pooled.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H_out, W_out).

    Raises:
        TypeError, ValueError: arguments are not of this form; an index lies outside the plane, or stands twice in one
            plane, as overlapping windows can make it.

    Source: Zeiler, Fergus (2014), section 2.1; Badrinarayanan, Kendall, Cipolla, "SegNet" (2017).

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> max_unpool2d(np.array([[[[5.0, 2.0]]]]), np.array([[[[1, 2]]]]), (1, 4))
    array([[[[0., 5., 2., 0.]]]])
    """
    x = arguments.images(x)
    indices = checks.indices(indices, "indices", arguments.IMAGES)
    checks.shape(indices, "indices", x.shape, "x's")
    size = checks.size(output_size, "output_size")
    arguments.result_fits((*x.shape[:2], *size), x, "x", "output_size")
    _check_distinct(indices, size)
    return resolve(engine).scatter(x, indices, size)


@np.errstate(all="ignore")
def max_unpool2d_backward(grad: Array, indices: Array, *, engine: str | None = None) -> Array:
    """The gradient of `max_unpool2d`: each value's gradient is fetched from where the value was put.

        grad_x[n, c, i, j] = grad[n, c, indices[n, c, i, j]]

    Args:
        grad: (N, C, H_out, W_out), the loss's gradient with respect to y.
        indices: (N, C, H, W) int64, as given to `max_unpool2d`.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: as `max_unpool2d`.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> max_unpool2d_backward(np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), np.array([[[[1, 2]]]]))
    array([[[[2., 3.]]]])
    """
    grad = arguments.images(grad, "grad")
    indices = checks.indices(indices, "indices", arguments.IMAGES)
    checks.shape(indices, "indices", (*grad.shape[:2], *indices.shape[2:]), "grad's N and C, then H, W")
    _check_distinct(indices, arguments.size_of(grad))
    return resolve(engine).gather(grad, indices)


def _check_distinct(indices: Array, size: Size) -> None:
    """Each position lies in its plane, and none is named twice there: one of the two values would be lost."""
    checks.fits_memory(indices.shape, indices.itemsize, "indices", "their copy")
    distinct = own_form("positions_distinct")
    if distinct is not None and distinct(indices, size):
        return
    arguments.check_positions(indices, size)
    batch, channels, height, width = indices.shape
    positions = np.sort(indices.reshape(batch, channels, height * width), axis=2)
    repeated = np.argwhere(positions[..., 1:] == positions[..., :-1])
    if len(repeated):
        n, c, place = repeated[0]
        twice = positions[n, c, place]
        raise ValueError(f"indices must name each position once in a plane, got {twice} twice in plane ({n}, {c})")


@np.errstate(all="ignore")
def nearest_unpool2d(x: Array, scale: Pair, *, engine: str | None = None) -> Array:
    """Fill each value's whole cell with it: y[n, c, h, w] = x[n, c, h // scale_h, w // scale_w].

    Args:
        x: (N, C, H, W).
        scale: the cell's size, an int or (h, w).
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H * scale_h, W * scale_w).

    Raises:
        TypeError, ValueError: arguments are not of this form, or the result exceeds 64 GiB.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> nearest_unpool2d(np.array([[[[5.0, 2.0]]]]), (1, 2))
    array([[[[5., 5., 2., 2.]]]])
    """
    return _unpool(x, scale, nearest_rows, engine)


@np.errstate(all="ignore")
def nearest_unpool2d_backward(grad: Array, scale: Pair, *, engine: str | None = None) -> Array:
    """The gradient of `nearest_unpool2d`: the sum over each cell.

        grad_x[n, c, i, j] = sum over the cell, h // scale_h = i and w // scale_w = j, of grad[n, c, h, w]

    Args:
        grad: (N, C, H * scale_h, W * scale_w), the loss's gradient with respect to y.
        scale: as given to `nearest_unpool2d`.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form, or grad's size is not divisible by scale.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> nearest_unpool2d_backward(np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), (1, 2))
    array([[[[3., 7.]]]])
    """
    return _unpool_backward(grad, scale, nearest_rows, engine)


@np.errstate(all="ignore")
def bed_of_nails_unpool2d(x: Array, scale: Pair, *, engine: str | None = None) -> Array:
    """Stand each value at the top left of its cell: y[n, c, i * scale_h, j * scale_w] = x[n, c, i, j], zeros elsewhere.

    Args:
        x: (N, C, H, W).
        scale: the cell's size, an int or (h, w).
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H * scale_h, W * scale_w).

    Raises:
        TypeError, ValueError: arguments are not of this form, or the result exceeds 64 GiB.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> bed_of_nails_unpool2d(np.array([[[[5.0, 2.0]]]]), (1, 2))
    array([[[[5., 0., 2., 0.]]]])
    """
    return _unpool(x, scale, nail_rows, engine)


@np.errstate(all="ignore")
def bed_of_nails_unpool2d_backward(grad: Array, scale: Pair, *, engine: str | None = None) -> Array:
    """The gradient of `bed_of_nails_unpool2d`: what stands at the nails, grad_x[n, c, i, j] = grad[n, c, i s_h, j s_w].

    Args:
        grad: (N, C, H * scale_h, W * scale_w), the loss's gradient with respect to y.
        scale: as given to `bed_of_nails_unpool2d`.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form, or grad's size is not divisible by scale.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> bed_of_nails_unpool2d_backward(np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), (1, 2))
    array([[[[1., 3.]]]])
    """
    return _unpool_backward(grad, scale, nail_rows, engine)


def _unpool(x: Array, scale: Pair, axis_rows: AxisRows, engine: str | None) -> Array:
    """Enlarge by whole factors, an axis at a time; `axis_rows` says what one axis does."""
    x = arguments.images(x)
    height, width = arguments.size_of(x)
    scale_h, scale_w = checks.pair(scale, "scale", at_least=1)
    arguments.result_fits((*x.shape[:2], height * scale_h, width * scale_w), x, "x", "scale")
    rows, columns = axis_rows(height, scale_h, x.dtype), axis_rows(width, scale_w, x.dtype)
    return resolve(engine).resize(x, rows, columns)


def _unpool_backward(grad: Array, scale: Pair, axis_rows: AxisRows, engine: str | None) -> Array:
    """The adjoint of `_unpool`: both axes transposed."""
    grad = arguments.images(grad, "grad")
    height, width = arguments.size_of(grad)
    scale_h, scale_w = checks.pair(scale, "scale", at_least=1)
    if height % scale_h or width % scale_w:
        raise ValueError(f"grad must have a size divisible by scale ({scale_h}, {scale_w}), got ({height}, {width})")
    rows = axis_rows(height // scale_h, scale_h, grad.dtype)
    columns = axis_rows(width // scale_w, scale_w, grad.dtype)
    return resolve(engine).resize(grad, rows.T, columns.T)


EXAMPLES = [
    Example("nearest_unpool2d", {"x": (2, 3, 2, 4)}, {"scale": (3, 2)}),
    Example("nearest_unpool2d", {"x": (1, 1, 3, 1)}, {"scale": 1}),
    Example("bed_of_nails_unpool2d", {"x": (2, 3, 2, 4)}, {"scale": (3, 2)}),
    Example("bed_of_nails_unpool2d", {"x": (1, 1, 3, 1)}, {"scale": 1}),
]

BAD_EXAMPLES = [
    BadExample("nearest_unpool2d", {"x": (1, 2, 3, 4)}, {"scale": 0}, "scale"),
    BadExample("nearest_unpool2d", {"x": (1, 2, 3, 4)}, {"scale": 2.0}, "scale", TypeError),
    BadExample("nearest_unpool2d", {"x": (1, 2, 3, 4)}, {"scale": 10**6}, "scale"),
    BadExample("nearest_unpool2d_backward", {"grad": (1, 2, 3, 4)}, {"scale": 2}, "grad"),
    BadExample("bed_of_nails_unpool2d", {"x": (1, 2, 3, 4)}, {"scale": (1, 2, 3)}, "scale"),
    BadExample("bed_of_nails_unpool2d_backward", {"grad": (1, 2, 3, 4)}, {"scale": (3, 3)}, "grad"),
]
