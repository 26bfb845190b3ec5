"""Cropping: how a skip connection is cut to lie on the same pixels as the map it joins."""

from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Size
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example


def crop2d(x: Array, size: Size, offset: int | tuple[int, int]) -> Array:
    """Cut out a rectangle: y[n, c, h, w] = x[n, c, h + top, w + left].

    Args:
        x: (N, C, H, W).
        size: (H_out, W_out) of the rectangle.
        offset: where it starts, an int or (top, left).

    Returns:
        (N, C, H_out, W_out), a copy.

    Raises:
        TypeError, ValueError: arguments are not of this form, or the rectangle reaches outside.

    `npseg.geometry.AffineMap.crop_to` says which offset aligns two maps. Source: FCN's crop layers (Caffe's `Crop`).

    Lesson: notebooks/10_skips.ipynb

    >>> crop2d(np.arange(5.0).reshape(1, 1, 1, 5), (1, 3), (0, 1))
    array([[[[1., 2., 3.]]]])
    """
    x = arguments.images(x)
    (height, width), (top, left) = rectangle(arguments.size_of(x), size, offset)
    checks.fits_memory((*x.shape[:2], height, width), x.itemsize, "x")
    return x[:, :, top : top + height, left : left + width].copy()


def crop2d_backward(grad: Array, input_size: Size, offset: int | tuple[int, int]) -> Array:
    """The gradient of `crop2d`: grad in its place, zeros where x was cut off.

    Args:
        grad: (N, C, H_out, W_out), the loss's gradient with respect to y.
        input_size: (H, W) of x.
        offset: as given to `crop2d`.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form, or grad would reach outside.

    Lesson: notebooks/10_skips.ipynb

    >>> crop2d_backward(np.ones((1, 1, 1, 3)), (1, 5), (0, 1))
    array([[[[0., 1., 1., 1., 0.]]]])
    """
    grad = arguments.images(grad, "grad")
    full = checks.size(input_size, "input_size")
    (height, width), (top, left) = rectangle(full, arguments.size_of(grad), offset)
    arguments.result_fits((*grad.shape[:2], *full), grad, "grad", "input_size")
    grad_x = np.zeros((*grad.shape[:2], *full), grad.dtype)
    grad_x[:, :, top : top + height, left : left + width] = grad
    return grad_x


def rectangle(full: Size, size: Any, offset: Any) -> tuple[Size, Size]:
    """A rectangle's size and place, within the map it is cut from.

    Raises:
        TypeError, ValueError: arguments are not of this form, or the rectangle reaches outside.
    """
    height, width = checks.size(size, "size")
    top, left = checks.pair(offset, "offset", at_least=0)
    if top + height > full[0] or left + width > full[1]:
        raise ValueError(
            f"offset must leave the crop inside the map: offset + size <= input size, got ({top}, {left}) + "
            f"({height}, {width}) on {full}"
        )
    return (height, width), (top, left)


EXAMPLES = [
    Example("crop2d", {"x": (2, 3, 5, 7)}, {"size": (3, 4), "offset": (2, 1)}),
    Example("crop2d", {"x": (1, 2, 4, 3)}, {"size": (3, 2), "offset": 1}),
]

BAD_EXAMPLES = [
    BadExample("crop2d", {"x": (1, 2, 4, 3)}, {"size": (3, 3), "offset": 1}, "offset"),
    BadExample("crop2d", {"x": (1, 2, 4, 3)}, {"size": (3, 3), "offset": -1}, "offset"),
    BadExample("crop2d", {"x": (1, 2, 4, 3)}, {"size": 3, "offset": 0}, "size", TypeError),
    BadExample("crop2d_backward", {"grad": (1, 2, 4, 3)}, {"input_size": (4, 2), "offset": 0}, "offset"),
]
