"""Bilinear interpolation: a smooth resize by weighted means of the four nearest pixels."""

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import resolve
from npseg.geometry import Size
from npseg.matrices.resizing import bilinear_axes
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def resize_bilinear(x: Array, output_size: Size, *, align_corners: bool = False, engine: str | None = None) -> Array:
    """Resize images, interpolating linearly along both axes.

        y[n, c, i, j] = (1 - a) (1 - b) x[h, w] + (1 - a) b x[h, w + 1] + a (1 - b) x[h + 1, w] + a b x[h + 1, w + 1]

    where h + a = max((i + 1/2) * H / H_out - 1/2, 0), with a in [0, 1), and w + b likewise; pixels beyond the border
    are the border's own.

    Args:
        x: (N, C, H, W).
        output_size: (H_out, W_out).
        align_corners: let h + a = i * (H - 1) / (H_out - 1) instead, so that the corner pixels' centres stay in place;
            an output of one pixel then samples pixel 0.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H_out, W_out).

    Raises:
        TypeError, ValueError: arguments are not of this form, or the result exceeds 64 GiB.

    A transposed convolution with a fixed bilinear kernel does the same away from the borders.

    Lesson: notebooks/07_bilinear.ipynb

    >>> resize_bilinear(np.array([[[[0.0, 4.0]]]]), (1, 4))
    array([[[[0., 1., 3., 4.]]]])
    """
    x = arguments.images(x)
    size = checks.size(output_size, "output_size")
    arguments.result_fits((*x.shape[:2], *size), x, "x", "output_size")
    rows, columns = bilinear_axes(arguments.size_of(x), size, align_corners, x.dtype)
    return resolve(engine).resize(x, rows, columns)


@np.errstate(all="ignore")
def resize_bilinear_backward(
    grad: Array, input_size: Size, *, align_corners: bool = False, engine: str | None = None
) -> Array:
    """The gradient of `resize_bilinear`: each output's gradient goes to its four neighbours, by the same weights.

        grad_x = R^T grad,  where y = R x

    Args:
        grad: (N, C, H_out, W_out), the loss's gradient with respect to y.
        input_size: (H, W) of x.
        align_corners, engine: as given to `resize_bilinear`.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form.

    Lesson: notebooks/07_bilinear.ipynb

    >>> resize_bilinear_backward(np.ones((1, 1, 1, 4)), (1, 2))
    array([[[[2., 2.]]]])
    """
    grad = arguments.images(grad, "grad")
    size = checks.size(input_size, "input_size")
    arguments.result_fits((*grad.shape[:2], *size), grad, "grad", "input_size")
    rows, columns = bilinear_axes(size, arguments.size_of(grad), align_corners, grad.dtype)
    return resolve(engine).resize(grad, rows.T, columns.T)


EXAMPLES = [
    Example("resize_bilinear", {"x": (2, 3, 3, 4)}, {"output_size": (7, 6)}),
    Example("resize_bilinear", {"x": (2, 2, 7, 5)}, {"output_size": (3, 4)}),
    Example("resize_bilinear", {"x": (1, 2, 3, 4)}, {"output_size": (6, 7), "align_corners": True}),
    Example("resize_bilinear", {"x": (1, 2, 4, 3)}, {"output_size": (1, 1), "align_corners": True}),
    Example("resize_bilinear", {"x": (1, 1, 1, 1)}, {"output_size": (3, 2)}),
]

BAD_EXAMPLES = [
    BadExample("resize_bilinear", {"x": (1, 2, 3, 4)}, {"output_size": 6}, "output_size", TypeError),
    BadExample("resize_bilinear", {"x": (1, 2, 3, 4)}, {"output_size": (0, 6)}, "output_size"),
    BadExample("resize_bilinear", {"x": (1, 2, 3, 4)}, {"output_size": (10**6, 10**6)}, "output_size"),
    BadExample(
        "resize_bilinear",
        {"x": (1, 2, 3, 4)},
        {"output_size": (6, 6), "align_corners": None},
        "align_corners",
        TypeError,
    ),
    BadExample("resize_bilinear_backward", {"grad": (1, 2, 3, 4)}, {"input_size": (3.0, 4)}, "input_size", TypeError),
]
