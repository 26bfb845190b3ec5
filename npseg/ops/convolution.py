"""Convolution: every output is a weighted sum of the pixels in its window.

    y[n, o, i, j] = bias[o] + sum over c', k, l of
                    weight[o, c', k, l] * x[n, c, i * s_h - top + k * d_h, j * s_w - left + l * d_w]

Here c is channel c' of o's group: with `groups` groups, output channel o sees only the C_in // groups channels of its
own group. As everywhere in deep learning the kernel is not flipped, so this is what mathematics calls
cross-correlation.
"""

from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import own_form, resolve
from npseg.geometry import Padding, Pair, Size, Window, convolution_window
from npseg.matrices.convolution import check_convolution_weight
from npseg.ops import arguments
from npseg.ops.activation import relu_backward
from npseg.ops.examples import BadExample, Example
from npseg.ops.pooling import max_pool2d


@np.errstate(all="ignore")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> Array:
    """Convolve images with a kernel (cross-correlation: the kernel is not flipped).

        y[n, o, i, j] = bias[o] + sum over c', k, l of
                        weight[o, c', k, l] * x[n, c, i * s_h - top + k * d_h, j * s_w - left + l * d_w]

    Args:
        x: images (N, C_in, H, W), float32 or float64.
        weight: (C_out, C_in // groups, K_h, K_w).
        bias: (C_out,), or None.
        stride: pixels from one window to the next, an int or (h, w).
        padding: zeros around the image: an int, (h, w), ((top, bottom), (left, right)), "valid" (none), or "same"
            (output = ceil(input / stride), the odd pixel at the bottom and right).
        dilation: pixels from one tap of the window to the next; above 1 the convolution is called dilated or atrous.
        groups: cut the channels into so many independent convolutions.
        engine: how to compute it, one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C_out, H_out, W_out), H_out = floor((H + top + bottom - d_h * (K_h - 1) - 1) / s_h) + 1.

    Raises:
        TypeError: an argument is of the wrong type, or the arrays' dtypes differ.
        ValueError: shapes or numbers do not fit together, or the result exceeds 64 GiB.

    Its adjoint in x is `conv2d_grad_input`, in the weight `conv2d_grad_weight`; `npseg.matrices.conv2d_matrix` is the
    same map written out. Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016).

    Lessons: notebooks/02_convolution.ipynb, and of dilation notebooks/04_dilation.ipynb

    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv2d(x, np.ones((1, 1, 3, 3)))[0, 0]
    array([[45., 54.],
           [81., 90.]])
    """
    return _convolved(x, weight, bias, stride, padding, dilation, groups, engine, relu=False)


@np.errstate(all="ignore")
def conv2d_relu(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> Array:
    """The same as `relu(conv2d(...))`, but what is negative is cut off before it is stored."""
    return _convolved(x, weight, bias, stride, padding, dilation, groups, engine, relu=True)


def _convolved(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    engine: str | None,
    relu: bool,
) -> Array:
    x, weight, window, bias = _checked(x, weight, bias, stride, padding, dilation, groups)
    return resolve(engine).conv(x, weight, window, int(groups), bias, relu)


@np.errstate(all="ignore")
def conv2d_relu_max_pool2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    ceil_mode: bool = False,
) -> Array:
    """The same as `max_pool2d(conv2d_relu(...), 2)[0]`, but where the engine can, what loses is never stored."""
    x, weight, window, bias = _checked(x, weight, bias, stride, padding, dilation, groups)
    own = own_form("conv_relu_halved")
    y: Array | None = None if own is None else own(x, weight, window, int(groups), bias)
    if y is None:
        y = max_pool2d(resolve(None).conv(x, weight, window, int(groups), bias, True), 2, ceil_mode=ceil_mode)[0]
    return y


@np.errstate(all="ignore")
def conv2d_backward(
    grad: Array,
    x: Array,
    weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of `conv2d` with respect to its input, weight and bias.

        grad_x[n, c, h, w]       = sum over all taps (o, i, j, k, l) that see (h, w) of
                                   grad[n, o, i, j] * weight[o, c', k, l]
        grad_weight[o, c', k, l] = sum over n, i, j of
                                   grad[n, o, i, j] * x[n, c, i * s_h - top + k * d_h, j * s_w - left + l * d_w]
        grad_bias[o]             = sum over n, i, j of grad[n, o, i, j]

    Args:
        grad: (N, C_out, H_out, W_out), the loss's gradient with respect to y.
        x, weight, stride, padding, dilation, groups, engine: as given to `conv2d`.

    Returns:
        grad_x, grad_weight, grad_bias, shaped like x, weight and bias.

    Raises:
        TypeError, ValueError: as `conv2d`; grad is not shaped like y.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> grad_x, grad_weight, grad_bias = conv2d_backward(np.ones((1, 1, 2, 2)), x, weight)
    >>> grad_x[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    x = arguments.images(x)
    weight, window = _geometry(x, weight, stride, padding, dilation, groups)
    size = arguments.size_of(x)
    grad = output_gradient(grad, len(x), weight.shape[0], window, size)
    checks.same_dtype(grad=grad, x=x, weight=weight)
    checks.fits_memory(x.shape, x.itemsize, "x", "its gradient")
    chosen = resolve(engine)
    grad_x = chosen.conv_grad_input(grad, weight, size, window, int(groups))
    grad_weight = chosen.conv_grad_weight(x, grad, window, int(groups))
    return grad_x, grad_weight, bias_gradient(grad)


@np.errstate(all="ignore")
def conv2d_grad_input(
    grad: Array,
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> Array:
    """The gradient of `conv2d` with respect to its input alone: the adjoint of x -> conv2d(x, weight).

        grad_x[n, c, h, w] = sum over all taps (o, i, j, k, l) that see (h, w) of
                             grad[n, o, i, j] * weight[o, c', k, l]

    Args:
        grad: (N, C_out, H_out, W_out).
        weight: (C_out, C_in // groups, K_h, K_w).
        input_size: (H, W) of x, which several sizes of grad's own would fit.
        stride, padding, dilation, groups, engine: as given to `conv2d`.

    Returns:
        (N, C_in, H, W).

    Raises:
        TypeError, ValueError: as `conv2d`; grad's size does not follow from input_size.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> conv2d_grad_input(np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0]]]]), (1, 3))
    array([[[[ 1., 12., 20.]]]])
    """
    weight, groups = check_convolution_weight(weight, groups)
    size = checks.size(input_size, "input_size")
    window = convolution_window(
        weight.shape[2:], size, stride=stride, padding=padding, dilation=dilation, argument="weight"
    )
    batch = len(arguments.images(grad, "grad"))
    grad = output_gradient(grad, batch, weight.shape[0], window, size)
    checks.same_dtype(grad=grad, weight=weight)
    arguments.result_fits((batch, weight.shape[1] * groups, *size), grad, "grad", "input_size")
    return resolve(engine).conv_grad_input(grad, weight, size, window, groups)


@np.errstate(all="ignore")
def conv2d_grad_weight(
    grad: Array,
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> Array:
    """The gradient of `conv2d` with respect to its weight alone: the adjoint of weight -> conv2d(x, weight).

        grad_weight[o, c', k, l] = sum over n, i, j of
                                   grad[n, o, i, j] * x[n, c, i * s_h - top + k * d_h, j * s_w - left + l * d_w]

    Args:
        grad: (N, C_out, H_out, W_out).
        x: (N, C_in, H, W).
        kernel_size: of the weight, an int or (K_h, K_w).
        stride, padding, dilation, groups, engine: as given to `conv2d`.

    Returns:
        (C_out, C_in // groups, K_h, K_w).

    Raises:
        TypeError, ValueError: as `conv2d`; grad is not shaped like y.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> conv2d_grad_weight(np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0, 3.0]]]]), (1, 2))
    array([[[[21., 32.]]]])
    """
    x = arguments.images(x)
    groups = checks.integer(groups, "groups", at_least=1)
    size = arguments.size_of(x)
    window = convolution_window(kernel_size, size, stride=stride, padding=padding, dilation=dilation)
    out_channels = arguments.images(grad, "grad").shape[1]
    grad = output_gradient(grad, len(x), out_channels, window, size)
    checks.same_dtype(grad=grad, x=x)
    if x.shape[1] % groups or out_channels % groups:
        raise ValueError(f"groups must divide {x.shape[1]} input and {out_channels} output channels, got {groups}")
    shape = out_channels, x.shape[1] // groups, *window.kernel_size
    arguments.result_fits(shape, x, "x", "kernel_size")
    return resolve(engine).conv_grad_weight(x, grad, window, groups)


def bias_gradient(grad: Array) -> Array:
    """A bias is added at every position of every image, so its gradient is the sum over them: (C,)."""
    own = own_form("bias_gradient")
    return np.asarray(grad.sum(axis=(0, 2, 3)) if own is None else own(grad))


@np.errstate(all="ignore")
def relu_and_bias_gradient(grad: Array, y: Array) -> tuple[Array, Array]:
    """Back through the ReLU of y = relu(sums + bias): the gradient of the sums, (N, C, H, W), and of the bias, (C,)."""
    own = own_form("relu_and_bias_gradient")
    if own is not None:
        gradients: tuple[Array, Array] = own(grad, y)
        return gradients
    grad_sums = relu_backward(grad, y)
    return grad_sums, bias_gradient(grad_sums)


def _checked(
    x: Array, weight: Any, bias: Any, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Array, Array, Window, Array | None]:
    """The checked images, weight, window and bias of a convolution whose result memory can hold."""
    x = arguments.images(x)
    weight, window = _geometry(x, weight, stride, padding, dilation, groups)
    bias = arguments.optional_bias(bias, weight.shape[0])
    checks.same_dtype(x=x, weight=weight, bias=bias)
    _check_result(x, weight.shape[0], window)
    return x, weight, window, bias


def _geometry(
    x: Array, weight: Any, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Array, Window]:
    """The checked weight and the window in which it sees x."""
    weight, groups = check_convolution_weight(weight, groups)
    channels = x.shape[1]
    if channels % groups:
        raise ValueError(f"groups must divide the {channels} channels of x, got {groups}")
    if weight.shape[1] != channels // groups:
        raise ValueError(
            f"weight must have C_in // groups = {channels} // {groups} = {channels // groups} along its second axis, "
            f"got shape {weight.shape}"
        )
    window = convolution_window(
        weight.shape[2:],
        arguments.size_of(x),
        stride=stride,
        padding=padding,
        dilation=dilation,
        argument="weight",
    )
    return weight, window


def _check_result(x: Array, out_channels: int, window: Window) -> None:
    size = arguments.size_of(x)
    arguments.result_fits(
        (len(x), out_channels, *window.output_size(size)),
        x,
        "x",
        lambda: arguments.blamed(window, size, "weight" if out_channels > x.shape[1] else "x"),
    )


def output_gradient(grad: Any, batch: int, out_channels: int, window: Window, size: Size) -> Array:
    """A gradient shaped like y."""

    def formula() -> str:
        rows, columns = (axis.output_formula(length) for axis, length in zip(window.axes, size, strict=True))
        return f"y's: N, C_out, {rows}, {columns}"

    return arguments.gradient(grad, (batch, out_channels, *window.output_size(size)), formula)


EXAMPLES = [
    Example("conv2d", {"x": (2, 3, 5, 7), "weight": (4, 3, 3, 2), "bias": (4,)}),
    Example("conv2d", {"x": (1, 2, 4, 4), "weight": (3, 2, 1, 1)}),
    Example(
        "conv2d",
        {"x": (2, 4, 7, 6), "weight": (6, 2, 3, 2), "bias": (6,)},
        {"stride": (2, 1), "padding": ((2, 1), (0, 1)), "dilation": (1, 2), "groups": 2},
    ),
    Example("conv2d", {"x": (1, 2, 6, 5), "weight": (2, 2, 4, 3)}, {"stride": (3, 2), "padding": "same"}),
    Example("conv2d", {"x": (2, 3, 1, 1), "weight": (2, 3, 3, 3), "bias": (2,)}, {"padding": 1}),
    Example("conv2d", {"x": (1, 1, 3, 8), "weight": (2, 1, 2, 2)}, {"padding": (4, 5), "dilation": 3, "stride": 2}),
    Example("conv2d", {"x": (0, 2, 5, 4), "weight": (3, 2, 2, 3), "bias": (3,)}),
    Example(
        "conv2d_grad_input", {"grad": (2, 4, 3, 4), "weight": (4, 2, 2, 3)}, {"input_size": (6, 6), "stride": (2, 1)}
    ),
    Example(
        "conv2d_grad_weight",
        {"grad": (2, 4, 3, 4), "x": (2, 6, 6, 6)},
        {"kernel_size": (2, 3), "stride": (2, 1), "groups": 2},
    ),
]

_IMAGE, _KERNEL = (1, 2, 5, 4), (3, 2, 3, 3)
BAD_EXAMPLES = [
    BadExample("conv2d", {"x": (2, 5, 4), "weight": _KERNEL}, {}, "x"),
    BadExample("conv2d", {"x": (1, 0, 5, 4), "weight": _KERNEL}, {}, "x"),
    BadExample("conv2d", {"x": _IMAGE, "weight": (3, 2, 3)}, {}, "weight"),
    BadExample("conv2d", {"x": _IMAGE, "weight": (3, 1, 3, 3)}, {}, "weight"),
    BadExample("conv2d", {"x": _IMAGE, "weight": (3, 2, 6, 3)}, {}, "weight"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL, "bias": (2,)}, {}, "bias"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"stride": 0}, "stride"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"stride": 1.0}, "stride", TypeError),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"stride": True}, "stride", TypeError),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"stride": (1, 2, 3)}, "stride"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"dilation": 3}, "weight"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"padding": -1}, "padding"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"padding": "full"}, "padding"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"padding": 10**9}, "padding"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"groups": 2}, "groups"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"groups": 3}, "groups"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"engine": "cuda"}, "engine"),
    BadExample("conv2d", {"x": _IMAGE, "weight": _KERNEL}, {"engine": 3}, "engine", TypeError),
    BadExample("conv2d_backward", {"grad": (1, 3, 3, 3), "x": _IMAGE, "weight": _KERNEL}, {}, "grad"),
    BadExample("conv2d_grad_input", {"grad": (1, 3, 3, 3), "weight": _KERNEL}, {"input_size": (5, 4)}, "grad"),
    BadExample(
        "conv2d_grad_input", {"grad": (1, 3, 3, 2), "weight": _KERNEL}, {"input_size": 5}, "input_size", TypeError
    ),
    BadExample("conv2d_grad_weight", {"grad": (1, 3, 3, 3), "x": _IMAGE}, {"kernel_size": 3}, "grad"),
    BadExample("conv2d_grad_weight", {"grad": (1, 3, 3, 2), "x": _IMAGE}, {"kernel_size": 3, "groups": 2}, "groups"),
    BadExample(
        "conv2d_grad_weight", {"grad": (1, 3, 4, 2), "x": (1, 2, 6, 4)}, {"kernel_size": 3, "groups": 3}, "groups"
    ),
]
