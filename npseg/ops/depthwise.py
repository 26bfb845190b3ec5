"""Depthwise and depthwise separable convolution: space and channels taken apart.

A depthwise convolution gives each channel filters of its own and never mixes channels; a 1x1 (pointwise) convolution
mixes channels and never looks sideways. One after the other they are a separable convolution, with K*K*C + C*M weights
in place of K*K*C*M.
"""

from typing import Any

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Padding, Pair, Window, convolution_window
from npseg.ops import arguments
from npseg.ops.convolution import conv2d, conv2d_backward, output_gradient
from npseg.ops.examples import BadExample, Example


def depthwise_conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    engine: str | None = None,
) -> Array:
    """Convolve every channel with its own kernels: `conv2d` with as many groups as channels.

        y[n, c * m + a, i, j] = bias[c * m + a] + sum over k, l of
                                weight[c * m + a, 0, k, l] * x[n, c, i s_h - top + k d_h, j s_w - left + l d_w]

    with multiplier m = weight.shape[0] // C and a = 0 ... m - 1.

    Args:
        x: (N, C, H, W).
        weight: (C * multiplier, 1, K_h, K_w); output channel c * multiplier + a belongs to input channel c.
        bias: (C * multiplier,), or None.
        stride, padding, dilation, engine: as in `conv2d`.

    Returns:
        (N, C * multiplier, H_out, W_out), sized as in `conv2d`.

    Raises:
        TypeError, ValueError: as `conv2d`; the weight's channels are not a multiple of x's.

    Source: Howard et al., "MobileNets" (2017), section 3.1.

    Lesson: notebooks/05_depthwise_separable.ipynb

    >>> import numpy as np
    >>> x = np.stack([np.ones((3, 3)), np.full((3, 3), 2.0)])[None]
    >>> depthwise_conv2d(x, np.ones((2, 1, 3, 3)))[0, :, 0, 0]
    array([ 9., 18.])
    """
    x = arguments.images(x)
    _check_depthwise(weight, x.shape[1], "weight")
    return conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1], engine=engine)


def depthwise_conv2d_backward(
    grad: Array,
    x: Array,
    weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    engine: str | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of `depthwise_conv2d`: those of `conv2d` with as many groups as channels.

    Args:
        grad: (N, C * multiplier, H_out, W_out), the loss's gradient with respect to y.
        x, weight, stride, padding, dilation, engine: as given to `depthwise_conv2d`.

    Returns:
        grad_x, grad_weight, grad_bias, shaped like x, weight and bias.

    Raises:
        TypeError, ValueError: as `depthwise_conv2d`; grad is not shaped like y.

    Lesson: notebooks/05_depthwise_separable.ipynb

    >>> import numpy as np
    >>> x, weight = np.ones((1, 2, 3, 3)), np.ones((2, 1, 3, 3))
    >>> depthwise_conv2d_backward(np.ones((1, 2, 1, 1)), x, weight)[2]
    array([1., 1.])
    """
    x = arguments.images(x)
    _check_depthwise(weight, x.shape[1], "weight")
    return conv2d_backward(
        grad, x, weight, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1], engine=engine
    )


def separable_conv2d(
    x: Array,
    depthwise_weight: Array,
    pointwise_weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    engine: str | None = None,
) -> Array:
    """A depthwise convolution, then a 1x1 convolution that mixes its channels.

        y[n, o, i, j] = bias[o] + sum over b of pointwise_weight[o, b, 0, 0] * depthwise_conv2d(x)[n, b, i, j]

    Args:
        x: (N, C, H, W).
        depthwise_weight: (C * multiplier, 1, K_h, K_w).
        pointwise_weight: (C_out, C * multiplier, 1, 1).
        bias: (C_out,), added at the end, or None.
        stride, padding, dilation: of the depthwise convolution, as in `conv2d`.
        engine: as in `conv2d`.

    Returns:
        (N, C_out, H_out, W_out), sized as in `conv2d`.

    Raises:
        TypeError, ValueError: as `conv2d`; the two weights' channels do not fit together.

    It equals a dense convolution whose kernel is the product of the two, so of limited rank. Source: Sifre,
    "Rigid-motion scattering for image classification" (2014); Chollet, "Xception" (2017).

    Lesson: notebooks/05_depthwise_separable.ipynb

    >>> import numpy as np
    >>> x = np.ones((1, 2, 3, 3))
    >>> separable_conv2d(x, np.ones((2, 1, 3, 3)), np.ones((1, 2, 1, 1)))
    array([[[[18.]]]])
    """
    x = arguments.images(x)
    _check_separable(x, depthwise_weight, pointwise_weight, stride, padding, dilation)
    depthwise = depthwise_conv2d(x, depthwise_weight, stride=stride, padding=padding, dilation=dilation, engine=engine)
    return conv2d(depthwise, pointwise_weight, bias, engine=engine)


def separable_conv2d_backward(
    grad: Array,
    x: Array,
    depthwise_weight: Array,
    pointwise_weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    engine: str | None = None,
) -> tuple[Array, Array, Array, Array]:
    """The gradients of `separable_conv2d`: back through the pointwise convolution, then through the depthwise one.

    The depthwise result is computed again, so that the forward pass need not keep it.

    Args:
        grad: (N, C_out, H_out, W_out), the loss's gradient with respect to y.
        x, depthwise_weight, pointwise_weight, stride, padding, dilation, engine: as given to `separable_conv2d`.

    Returns:
        grad_x, grad_depthwise_weight, grad_pointwise_weight, grad_bias.

    Raises:
        TypeError, ValueError: as `separable_conv2d`; grad is not shaped like y.

    Lesson: notebooks/05_depthwise_separable.ipynb

    >>> import numpy as np
    >>> x, depthwise, pointwise = np.ones((1, 2, 3, 3)), np.ones((2, 1, 3, 3)), np.ones((1, 2, 1, 1))
    >>> separable_conv2d_backward(np.ones((1, 1, 1, 1)), x, depthwise, pointwise)[2]
    array([[[[9.]],
    <BLANKLINE>
            [[9.]]]])
    """
    x = arguments.images(x)
    window = _check_separable(x, depthwise_weight, pointwise_weight, stride, padding, dilation)
    output_gradient(grad, len(x), len(pointwise_weight), window, arguments.size_of(x))
    depthwise = depthwise_conv2d(x, depthwise_weight, stride=stride, padding=padding, dilation=dilation, engine=engine)
    grad_depthwise, grad_pointwise_weight, grad_bias = conv2d_backward(grad, depthwise, pointwise_weight, engine=engine)
    grad_x, grad_depthwise_weight, _ = depthwise_conv2d_backward(
        grad_depthwise, x, depthwise_weight, stride=stride, padding=padding, dilation=dilation, engine=engine
    )
    return grad_x, grad_depthwise_weight, grad_pointwise_weight, grad_bias


def _check_depthwise(weight: Any, channels: int, name: str) -> Array:
    checked = checks.floats(weight, name, "(C * multiplier, 1, K_h, K_w)")
    if checked.shape[1] != 1 or checked.shape[0] % channels:
        raise ValueError(
            f"{name} must have shape (C * multiplier, 1, K_h, K_w) with C = {channels}, the channels of x, "
            f"got {checked.shape}"
        )
    return checked


def _check_separable(
    x: Array, depthwise_weight: Any, pointwise_weight: Any, stride: Pair, padding: Padding, dilation: Pair
) -> Window:
    """The two weights under their own names; inside, each is just the weight of a convolution."""
    depthwise = _check_depthwise(depthwise_weight, x.shape[1], "depthwise_weight")
    pointwise = checks.floats(pointwise_weight, "pointwise_weight", "(C_out, C * multiplier, 1, 1)")
    expected = pointwise.shape[0], depthwise.shape[0], 1, 1
    checks.shape(pointwise, "pointwise_weight", expected, "C_out, then the depthwise_weight's channels")
    checks.same_dtype(x=x, depthwise_weight=depthwise, pointwise_weight=pointwise)
    return convolution_window(
        depthwise.shape[2:],
        arguments.size_of(x),
        stride=stride,
        padding=padding,
        dilation=dilation,
        argument="depthwise_weight",
    )


EXAMPLES = [
    Example("depthwise_conv2d", {"x": (2, 3, 5, 6), "weight": (3, 1, 3, 2), "bias": (3,)}),
    Example(
        "depthwise_conv2d",
        {"x": (2, 2, 6, 5), "weight": (4, 1, 2, 3), "bias": (4,)},
        {"stride": (1, 2), "padding": ((0, 1), (2, 0)), "dilation": (2, 1)},
    ),
    Example(
        "separable_conv2d",
        {"x": (2, 3, 5, 6), "depthwise_weight": (6, 1, 3, 2), "pointwise_weight": (4, 6, 1, 1), "bias": (4,)},
        {"stride": (2, 1), "padding": (1, 0)},
    ),
    Example(
        "separable_conv2d",
        {"x": (1, 2, 4, 5), "depthwise_weight": (2, 1, 3, 3), "pointwise_weight": (3, 2, 1, 1)},
        {"padding": "same", "dilation": 2},
    ),
]

BAD_EXAMPLES = [
    BadExample("depthwise_conv2d", {"x": (1, 2, 4, 4), "weight": (3, 1, 2, 2)}, {}, "weight"),
    BadExample("depthwise_conv2d", {"x": (1, 2, 4, 4), "weight": (2, 2, 2, 2)}, {}, "weight"),
    BadExample("depthwise_conv2d", {"x": (1, 2, 4, 4), "weight": (4, 1, 2, 2), "bias": (2,)}, {}, "bias"),
    BadExample(
        "separable_conv2d",
        {"x": (1, 2, 4, 4), "depthwise_weight": (3, 1, 2, 2), "pointwise_weight": (1, 3, 1, 1)},
        {},
        "depthwise_weight",
    ),
    BadExample(
        "separable_conv2d",
        {"x": (1, 2, 4, 4), "depthwise_weight": (4, 1, 2, 2), "pointwise_weight": (1, 2, 1, 1)},
        {},
        "pointwise_weight",
    ),
    BadExample(
        "separable_conv2d",
        {"x": (1, 2, 4, 4), "depthwise_weight": (4, 1, 2, 2), "pointwise_weight": (1, 4, 2, 1)},
        {},
        "pointwise_weight",
    ),
]
