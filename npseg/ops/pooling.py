"""Pooling: each window becomes one number, its largest pixel or its mean.

    max:   y[n, c, i, j] = max over the real pixels (h, w) of the window of x[n, c, h, w]
    mean:  y[n, c, i, j] = sum over the real pixels (h, w) of the window of x[n, c, h, w] / count[i, j]

Padding never wins a maximum. Going back, the maximum's gradient goes to the one pixel that won, the mean's to all
alike.
"""

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import resolve
from npseg.geometry import Padding, Pair, Size, Window, check_real_pixels, pooling_window
from npseg.matrices.pooling import averaging_axes
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def max_pool2d(
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    engine: str | None = None,
) -> tuple[Array, Array]:
    """The largest pixel of each window, and where it was.

        y[n, c, i, j] = max over k, l of x[n, c, i s_h - top + k d_h, j s_w - left + l d_w]

    Args:
        x: (N, C, H, W).
        kernel_size: an int or (K_h, K_w).
        stride: pixels from one window to the next; None is kernel_size.
        padding: how far windows may reach beyond the image, as in `conv2d`; padding itself never wins.
        dilation: pixels from one tap to the next.
        ceil_mode: let a last window overhang the image instead of leaving pixels unseen; with "same" it changes
            nothing.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        y: (N, C, H_out, W_out), H_out = floor((H + top + bottom - d_h * (K_h - 1) - 1) / s_h) + 1, or ceil for floor
            with ceil_mode, less a last window that would start at or beyond H + top.
        indices: int64, of y's shape: the winner's flat position h * W + w. Of equal pixels the first in row-major order
            wins; NaN wins over numbers, the first one.

    Raises:
        TypeError, ValueError: arguments are not of this form, no window fits, or one sees no real pixel.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> y, indices = max_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]), (1, 2))
    >>> y, indices
    (array([[[[5., 2.]]]]), array([[[[1, 2]]]]))
    """
    x = arguments.images(x)
    size = arguments.size_of(x)
    _, window = pooling_window(
        kernel_size, size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    _check_result(x, window)
    check_real_pixels(window, size)
    return resolve(engine).max_pool(x, window)


@np.errstate(all="ignore")
def max_pool2d_backward(grad: Array, indices: Array, input_size: Size, *, engine: str | None = None) -> Array:
    """The gradient of `max_pool2d`: each window's gradient goes to the pixel that won; overlapping windows add up.

        grad_x[n, c, indices[n, c, i, j]] += grad[n, c, i, j]

    Args:
        grad: (N, C, H_out, W_out), the loss's gradient with respect to y.
        indices: int64, of grad's shape, from `max_pool2d`.
        input_size: (H, W) of x.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form, or an index lies outside the plane.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> max_pool2d_backward(np.array([[[[1.0, 10.0]]]]), np.array([[[[1, 1]]]]), (1, 3))
    array([[[[ 0., 11.,  0.]]]])
    """
    grad = arguments.images(grad, "grad")
    indices = checks.indices(indices, "indices", arguments.IMAGES)
    checks.shape(indices, "indices", grad.shape, "grad's")
    size = checks.size(input_size, "input_size")
    arguments.check_positions(indices, size)
    arguments.result_fits((*grad.shape[:2], *size), grad, "grad", "input_size")
    return resolve(engine).scatter(grad, indices, size)


@np.errstate(all="ignore")
def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    engine: str | None = None,
) -> Array:
    """The mean of each window.

        y[n, c, i, j] = sum over k, l of x[n, c, i s_h - top + k, j s_w - left + l] / count[i, j]

    Args:
        x: (N, C, H, W).
        kernel_size: an int or (K_h, K_w).
        stride: pixels from one window to the next; None is kernel_size.
        padding: zeros around the image, as in `conv2d`.
        ceil_mode: let a last window overhang the image; with "same" it changes nothing.
        count_include_pad: count[i, j] is the window's pixels on the padded image (ceil mode's overhang is never
            counted); if False, its real pixels alone.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C, H_out, W_out), sized as in `max_pool2d`.

    Raises:
        TypeError, ValueError: arguments are not of this form, no window fits, or, without count_include_pad, a window
            sees no real pixel.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> avg_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]), (1, 2))
    array([[[[3., 2.]]]])
    """
    x = arguments.images(x)
    size = arguments.size_of(x)
    asked, window = pooling_window(kernel_size, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    _check_result(x, window)
    rows, columns = averaging_axes(asked, window, size, count_include_pad, x.dtype)
    return resolve(engine).resize(x, rows, columns)


@np.errstate(all="ignore")
def avg_pool2d_backward(
    grad: Array,
    input_size: Size,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    engine: str | None = None,
) -> Array:
    """The gradient of `avg_pool2d`: each window's gradient is shared among its pixels; overlapping windows add up.

        grad_x[n, c, h, w] = sum over the windows (i, j) that see (h, w) of grad[n, c, i, j] / count[i, j]

    Args:
        grad: (N, C, H_out, W_out), the loss's gradient with respect to y.
        input_size: (H, W) of x.
        kernel_size, stride, padding, ceil_mode, count_include_pad, engine: as given to `avg_pool2d`.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: as `avg_pool2d`; grad's size does not follow from input_size.

    Lesson: notebooks/06_pooling_unpooling.ipynb

    >>> avg_pool2d_backward(np.array([[[[2.0, 10.0]]]]), (1, 4), (1, 2))
    array([[[[1., 1., 5., 5.]]]])
    """
    grad = arguments.images(grad, "grad")
    size = checks.size(input_size, "input_size")
    asked, window = pooling_window(kernel_size, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    height, width = (axis.output_formula(length) for axis, length in zip(window.axes, size, strict=True))
    checks.shape(grad, "grad", (*grad.shape[:2], *window.output_size(size)), f"y's: N, C, {height}, {width}")
    arguments.result_fits((*grad.shape[:2], *size), grad, "grad", "input_size")
    rows, columns = averaging_axes(asked, window, size, count_include_pad, grad.dtype)
    return resolve(engine).resize(grad, rows.T, columns.T)


@np.errstate(all="ignore")
def global_avg_pool2d(x: Array) -> Array:
    """The mean of each whole plane: y[n, c, 0, 0] = mean over h, w of x[n, c, h, w].

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C, 1, 1).

    Raises:
        TypeError, ValueError: x is not of this form.

    Source: Lin, Chen, Yan, "Network in network" (2013), section 3.2.

    Lesson: notebooks/01_what_segmentation_is.ipynb

    >>> global_avg_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]))
    array([[[[2.5]]]])
    """
    return np.asarray(arguments.images(x).mean(axis=(2, 3), keepdims=True))


@np.errstate(all="ignore")
def global_avg_pool2d_backward(grad: Array, input_size: Size) -> Array:
    """The gradient of `global_avg_pool2d`: grad_x[n, c, h, w] = grad[n, c, 0, 0] / (H * W).

    Args:
        grad: (N, C, 1, 1), the loss's gradient with respect to y.
        input_size: (H, W) of x.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form.

    Lesson: notebooks/01_what_segmentation_is.ipynb

    >>> global_avg_pool2d_backward(np.array([[[[4.0]]]]), (1, 4))
    array([[[[1., 1., 1., 1.]]]])
    """
    grad = arguments.images(grad, "grad")
    checks.shape(grad, "grad", (*grad.shape[:2], 1, 1), "y's: N, C, 1, 1")
    size = checks.size(input_size, "input_size")
    arguments.result_fits((*grad.shape[:2], *size), grad, "grad", "input_size")
    return np.broadcast_to(grad / (size[0] * size[1]), (*grad.shape[:2], *size)).copy()


def _check_result(x: Array, window: Window) -> None:
    size = arguments.size_of(x)
    shape = *x.shape[:2], *window.output_size(size)
    checks.fits_memory(shape, np.dtype(np.int64).itemsize, lambda: arguments.blamed(window, size, "x"))


EXAMPLES = [
    Example("max_pool2d", {"x": (2, 3, 6, 4)}, {"kernel_size": 2}),
    Example(
        "max_pool2d",
        {"x": (2, 2, 7, 5)},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 2), (0, 1)), "ceil_mode": True},
    ),
    Example("max_pool2d", {"x": (1, 2, 6, 7)}, {"kernel_size": (2, 3), "stride": 1, "dilation": (3, 2), "padding": 1}),
    Example("max_pool2d", {"x": (1, 1, 5, 6)}, {"kernel_size": (3, 2), "stride": 2, "padding": "same"}),
    Example("max_pool2d", {"x": (1, 2, 1, 1)}, {"kernel_size": 2, "ceil_mode": True}),
    Example("avg_pool2d", {"x": (2, 3, 6, 4)}, {"kernel_size": 2}),
    Example(
        "avg_pool2d",
        {"x": (2, 2, 7, 5)},
        {"kernel_size": (3, 2), "stride": (2, 3), "padding": ((1, 2), (0, 1)), "ceil_mode": True},
    ),
    Example(
        "avg_pool2d",
        {"x": (2, 2, 7, 5)},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "count_include_pad": False},
    ),
    Example("avg_pool2d", {"x": (1, 1, 5, 6)}, {"kernel_size": (3, 2), "stride": 2, "padding": "same"}),
    Example("avg_pool2d", {"x": (1, 1, 3, 2)}, {"kernel_size": 2, "stride": (3, 2), "padding": 3}),
    Example("global_avg_pool2d", {"x": (2, 3, 4, 5)}),
]

_IMAGE = (1, 2, 5, 4)
BAD_EXAMPLES = [
    BadExample("max_pool2d", {"x": _IMAGE}, {"kernel_size": 6}, "kernel_size"),
    BadExample("max_pool2d", {"x": _IMAGE}, {"kernel_size": 2, "stride": 0}, "stride"),
    BadExample("max_pool2d", {"x": _IMAGE}, {"kernel_size": 2, "padding": 2, "stride": 1}, "padding"),
    BadExample("max_pool2d", {"x": _IMAGE}, {"kernel_size": 2, "ceil_mode": 1}, "ceil_mode", TypeError),
    BadExample("max_pool2d", {"x": (1, 1, 1, 1)}, {"kernel_size": 3, "stride": 2, "ceil_mode": True}, "kernel_size"),
    BadExample("avg_pool2d", {"x": _IMAGE}, {"kernel_size": (5, 5)}, "kernel_size"),
    BadExample("avg_pool2d", {"x": _IMAGE}, {"kernel_size": 2, "padding": 2, "count_include_pad": False}, "padding"),
    BadExample("avg_pool2d", {"x": _IMAGE}, {"kernel_size": 2, "padding": 10**9}, "padding"),
    BadExample("avg_pool2d_backward", {"grad": (1, 2, 3, 2)}, {"input_size": (5, 4), "kernel_size": 2}, "grad"),
    BadExample("global_avg_pool2d_backward", {"grad": (1, 2, 3, 2)}, {"input_size": (5, 4)}, "grad"),
    BadExample("global_avg_pool2d_backward", {"grad": (1, 2, 1, 1)}, {"input_size": (0, 4)}, "input_size"),
]
