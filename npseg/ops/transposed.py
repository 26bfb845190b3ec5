"""Transposed convolution: the map that goes from a convolution's outputs to its inputs, with weights of its own.

    y[n, o, h, w] = bias[o] + sum over c, i, j and the taps k, l with
                              h = i * s_h - top + k * d_h, w = j * s_w - left + l * d_w
                              of x[n, c, i, j] * weight[c, o', k, l]

Every input pixel stamps the kernel, weighted by its value, into the output; stamps overlap and add. As a matrix it is
the transpose of a convolution's. Its connections are a convolution's gradient's, so the code is: the forward pass here
is `conv2d_grad_input`'s, and the backward pass is `conv2d`'s. It learns to enlarge; it does not invert: see
`npseg.ops.deconvolve2d` for that.
"""

from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import resolve
from npseg.geometry import Padding, Pair, Size, Window, transposed_window
from npseg.matrices.convolution import check_convolution_weight
from npseg.ops import arguments
from npseg.ops.convolution import bias_gradient
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> Array:
    """Enlarge maps by stamping the kernel once for every pixel.

        y[n, o, i s_h - top + k d_h, j s_w - left + l d_w] += x[n, c, i, j] * weight[c, o', k, l],  then + bias[o]

    Args:
        x: (N, C_in, H, W).
        weight: (C_in, C_out // groups, K_h, K_w).
        bias: (C_out,), or None.
        stride: output pixels from one stamp to the next, an int or (h, w).
        padding: pixels cut off around the output: an int, (h, w), ((top, bottom), (left, right)), "valid" (none), or
            "same" (output = input * stride: the surplus rows and columns are cut off, the odd one at the bottom and
            right; where the stamps do not reach that far, zeros are appended there).
        output_padding: rows and columns added at the bottom and right, fewer than max(stride, dilation).
        dilation: pixels from one tap of the stamp to the next.
        groups: cut the channels into so many independent transposed convolutions.
        engine: one of `npseg.engines()`; None is the current one.

    Returns:
        (N, C_out, H_out, W_out), H_out = (H - 1) * s_h - top - bottom + d_h * (K_h - 1) + 1 + output_padding.

    Raises:
        TypeError, ValueError: arguments are not of this form or do not fit together, or the result exceeds 64 GiB.

    Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015), section 3.3;
    Dumoulin, Visin (2016), chapter 4.

    Lesson: notebooks/08_transposed.ipynb

    >>> conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 3)), stride=2)
    array([[[[1., 1., 3., 2., 2.]]]])
    """
    x = arguments.images(x)
    weight, window, out_channels = _geometry(x, weight, stride, padding, output_padding, dilation, groups)
    bias = arguments.optional_bias(bias, out_channels)
    checks.same_dtype(x=x, weight=weight, bias=bias)
    size = window.input_size(arguments.size_of(x))
    arguments.result_fits(
        (len(x), out_channels, *size), x, "x", lambda: window.enlarged_by(arguments.size_of(x), image="x")
    )
    y = resolve(engine).conv_grad_input(x, weight, size, window, int(groups))
    if bias is not None:
        y += bias[:, None, None]
    return y


@np.errstate(all="ignore")
def conv_transpose2d_backward(
    grad: Array,
    x: Array,
    weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of `conv_transpose2d` with respect to its input, weight and bias.

        grad_x[n, c, i, j]       = sum over o', k, l of
                                   grad[n, o, i * s_h - top + k * d_h, j * s_w - left + l * d_w] * weight[c, o', k, l]
        grad_weight[c, o', k, l] = sum over n, i, j of
                                   grad[n, o, i * s_h - top + k * d_h, j * s_w - left + l * d_w] * x[n, c, i, j]
        grad_bias[o]             = sum over n, h, w of grad[n, o, h, w]

    so grad_x is a convolution of grad, and grad_weight that convolution's weight gradient with x in the gradient's
    place.

    Args:
        grad: (N, C_out, H_out, W_out), the loss's gradient with respect to y.
        x, weight, stride, padding, output_padding, dilation, groups, engine: as given to `conv_transpose2d`.

    Returns:
        grad_x, grad_weight, grad_bias, shaped like x, weight and bias.

    Raises:
        TypeError, ValueError: as `conv_transpose2d`; grad is not shaped like y.

    Lesson: notebooks/08_transposed.ipynb

    >>> x, weight = np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 3))
    >>> conv_transpose2d_backward(np.ones((1, 1, 1, 5)), x, weight, stride=2)[0]
    array([[[[3., 3.]]]])
    """
    x = arguments.images(x)
    weight, window, out_channels = _geometry(x, weight, stride, padding, output_padding, dilation, groups)
    grad = _gradient(grad, len(x), out_channels, window, arguments.size_of(x))
    checks.same_dtype(grad=grad, x=x, weight=weight)
    chosen = resolve(engine)
    grad_x = chosen.conv(grad, weight, window, int(groups))
    grad_weight = chosen.conv_grad_weight(grad, x, window, int(groups))
    return grad_x, grad_weight, bias_gradient(grad)


@np.errstate(all="ignore")
def conv_transpose2d_grad_input(
    grad: Array,
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    engine: str | None = None,
) -> Array:
    """The gradient of `conv_transpose2d` with respect to its input alone, for upsamplers that are not trained.

    Args:
        grad: (N, C_out, H_out, W_out).
        weight: (C_in, C_out // groups, K_h, K_w).
        input_size: (H, W) of x.
        stride, padding, output_padding, dilation, groups, engine: as given to `conv_transpose2d`.

    Returns:
        (N, C_in, H, W).

    Raises:
        TypeError, ValueError: as `conv_transpose2d`; grad is not shaped like y.
    """
    size = checks.size(input_size, "input_size")
    weight, groups = check_convolution_weight(weight, groups)
    window = transposed_window(
        weight.shape[2:], size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    batch = len(arguments.images(grad, "grad"))
    grad = _gradient(grad, batch, weight.shape[1] * groups, window, size)
    checks.same_dtype(grad=grad, weight=weight)
    arguments.result_fits((batch, weight.shape[0], *size), grad, "grad", "input_size")
    return resolve(engine).conv(grad, weight, window, groups)


def _geometry(
    x: Array, weight: Any, stride: Pair, padding: Padding, output_padding: Pair, dilation: Pair, groups: int
) -> tuple[Array, Window, int]:
    """The checked weight, the window of the convolution that this is the transpose of, and C_out."""
    weight, groups = check_convolution_weight(weight, groups)
    if weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"weight must have the {x.shape[1]} channels of x along its first axis (C_in, C_out // groups, K_h, K_w), "
            f"got shape {weight.shape}"
        )
    window = transposed_window(
        weight.shape[2:],
        arguments.size_of(x),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    return weight, window, weight.shape[1] * groups


def _gradient(grad: Any, batch: int, out_channels: int, window: Window, size: Size) -> Array:
    """A gradient shaped like y."""

    def formula() -> str:
        rows, columns = (axis.input_formula(length) for axis, length in zip(window.axes, size, strict=True))
        return f"y's: N, C_out, {rows}, {columns}"

    return arguments.gradient(grad, (batch, out_channels, *window.input_size(size)), formula)


EXAMPLES = [
    Example("conv_transpose2d", {"x": (2, 3, 4, 5), "weight": (3, 4, 3, 2), "bias": (4,)}, {"stride": (2, 1)}),
    Example(
        "conv_transpose2d",
        {"x": (2, 4, 3, 5), "weight": (4, 3, 4, 3), "bias": (6,)},
        {"stride": (3, 2), "padding": ((1, 2), (0, 1)), "output_padding": (2, 1), "dilation": (1, 2), "groups": 2},
    ),
    Example("conv_transpose2d", {"x": (1, 2, 3, 4), "weight": (2, 3, 5, 3)}, {"stride": (2, 3), "padding": "same"}),
    Example(
        "conv_transpose2d",
        {"x": (2, 2, 3, 4), "weight": (2, 1, 1, 2), "bias": (1,)},
        {"stride": (2, 4), "padding": "same"},
    ),
    Example(
        "conv_transpose2d",
        {"x": (1, 1, 3, 2), "weight": (1, 2, 2, 3)},
        {"stride": 1, "dilation": (4, 3), "output_padding": (3, 2), "padding": (1, 2)},
    ),
    Example("conv_transpose2d", {"x": (1, 2, 1, 1), "weight": (2, 2, 4, 4)}, {"stride": 2, "padding": 1}),
]

_MAP, _KERNEL = (1, 2, 3, 4), (2, 3, 3, 3)
BAD_EXAMPLES = [
    BadExample("conv_transpose2d", {"x": _MAP, "weight": (3, 2, 3, 3)}, {}, "weight"),
    BadExample("conv_transpose2d", {"x": _MAP, "weight": _KERNEL, "bias": (2,)}, {}, "bias"),
    BadExample("conv_transpose2d", {"x": _MAP, "weight": _KERNEL}, {"output_padding": 1}, "output_padding"),
    BadExample(
        "conv_transpose2d", {"x": _MAP, "weight": _KERNEL}, {"stride": 2, "output_padding": -1}, "output_padding"
    ),
    BadExample(
        "conv_transpose2d",
        {"x": _MAP, "weight": _KERNEL},
        {"stride": 2, "output_padding": 1, "padding": "same"},
        "output_padding",
    ),
    BadExample("conv_transpose2d", {"x": _MAP, "weight": _KERNEL}, {"padding": 3}, "padding"),
    BadExample("conv_transpose2d", {"x": _MAP, "weight": _KERNEL}, {"stride": 10**6}, "stride"),
    BadExample("conv_transpose2d", {"x": _MAP, "weight": _KERNEL}, {"groups": 3}, "groups"),
    BadExample("conv_transpose2d_backward", {"grad": _MAP, "x": _MAP, "weight": _KERNEL}, {}, "grad"),
]
