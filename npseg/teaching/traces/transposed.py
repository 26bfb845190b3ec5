"""The transposed convolution, seen three ways that give the same numbers.

"scatter"        every input pixel stamps the kernel into the output; stamps overlap and add
"gather"         every output pixel collects the stamps that reach it: a row of the sparse matrix
"zero_stuffed"   a plain convolution, stride 1, of the input with zeros between its pixels, by the flipped kernel
"""

from npseg import checks, ops
from npseg.checks import Array
from npseg.geometry import Padding, Pair, Size, Window, transposed_window
from npseg.ops.arguments import size_of
from npseg.teaching.traces.convolution import forward, to_input, to_weight
from npseg.teaching.traces.linear import VIEWS, Stages, Trace
from npseg.teaching.traces.step import FORWARD, Roles

ZERO_STUFFED = "zero_stuffed"


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
    view: str = "scatter",
) -> Trace:
    """A step for each input pixel ("scatter"), or for each output pixel ("gather", "zero_stuffed")."""
    checks.choice(view, "view", (*VIEWS, ZERO_STUFFED))
    ops.conv_transpose2d(
        x,
        weight,
        bias,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    window = _window(weight, size_of(x), stride, padding, output_padding, dilation)
    if view == ZERO_STUFFED:
        stuffed = stuff_with_zeros(x, window)
        flipped = flip(weight, groups)
        trace = forward("conv_transpose2d", stuffed, flipped, bias, window.over_zero_stuffed(), groups, "gather")
        return trace.named(Roles("zero-stuffed input", "flipped kernel", "output"))
    size = window.input_size(size_of(x))
    return to_input("conv_transpose2d", x, weight, size, window, groups, view, roles=FORWARD, bias=bias)


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
) -> Stages:
    """The gradient of the input, which is a plain convolution of `grad`, then the gradient of the weights."""
    ops.conv_transpose2d_backward(
        grad,
        x,
        weight,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    window = _window(weight, size_of(x), stride, padding, output_padding, dilation)
    to_x = forward("conv_transpose2d_backward", grad, weight, None, window, groups, "gather")
    to_kernel = to_weight("conv_transpose2d_backward", grad, x, window, groups, "gather")
    return Stages(
        to_x.named(Roles("gradient of the output", "kernel", "gradient of the input")),
        to_kernel.named(Roles("gradient of the output", "input", "gradient of the kernel")),
    )


def stuff_with_zeros(x: Array, window: Window) -> Array:
    """The pixels stride apart, zeros between them but none after the last."""
    stride = window.rows.stride, window.columns.stride
    height, width = ((length - 1) * step + 1 for length, step in zip(size_of(x), stride, strict=True))
    return ops.bed_of_nails_unpool2d(x, stride)[:, :, :height, :width]


def flip(weight: Array, groups: int) -> Array:
    """(C_in, C_out // groups, K_h, K_w) -> (C_out, C_in // groups, K_h, K_w), both axes of the kernel reversed."""
    in_channels, group_out_channels, *kernel = weight.shape
    by_group = weight.reshape(groups, in_channels // groups, group_out_channels, *kernel)
    flipped = by_group.swapaxes(1, 2)[..., ::-1, ::-1]
    return flipped.reshape(groups * group_out_channels, in_channels // groups, *kernel)


def _window(weight: Array, size: Size, stride: Pair, padding: Padding, output_padding: Pair, dilation: Pair) -> Window:
    return transposed_window(
        weight.shape[2:], size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
