"""Convolutions and their gradients: one set of taps, in which three arrays change roles.

output               += input                * kernel
input's gradient     += output's gradient    * kernel
kernel's gradient    += input                * output's gradient
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from npseg import ops
from npseg.checks import Array
from npseg.geometry import Padding, Pair, Size, Window, convolution_window
from npseg.matrices.convolution import convolution_taps
from npseg.ops.arguments import size_of
from npseg.teaching.traces.linear import Stages, TapTable, Trace
from npseg.teaching.traces.step import GRADIENTS, Roles, Step

GRAD_WEIGHT = Roles("input", "gradient of the output", "gradient of the kernel")


def forward(
    operation: str, x: Array, weight: Array, bias: Array | None, window: Window, groups: int, view: str
) -> Trace:
    """Each output is the sum of its window's products."""
    size = size_of(x)
    shape = len(x), len(weight), *window.output_size(size)
    taps = convolution_taps(window, size, window.output_size(size), weight.shape, groups, "x")
    table = TapTable(taps.output, taps.input, taps.weight)
    table = table.of_batch(len(x), target=_volume(shape), source=_volume(x.shape))
    return Trace(operation, x, weight, shape, table, view, bias=bias, window=window, windowed="target")


def to_input(
    operation: str,
    grad: Array,
    weight: Array,
    size: Size,
    window: Window,
    groups: int,
    view: str,
    *,
    roles: Roles = GRADIENTS,
    bias: Array | None = None,
) -> Trace:
    """Each output goes back to the pixels that it saw; where windows overlap, the products add up."""
    shape = len(grad), weight.shape[1] * groups, *size
    taps = convolution_taps(window, size, size_of(grad), weight.shape, groups, "grad")
    table = TapTable(taps.input, taps.output, taps.weight).sorted()
    table = table.of_batch(len(grad), target=_volume(shape), source=_volume(grad.shape))
    return Trace(operation, grad, weight, shape, table, view, roles=roles, bias=bias, window=window, windowed="source")


@dataclass(frozen=True, eq=False)
class WeightGradient(Trace):
    """Each weight collects from all places where it was used: the input correlated with the output's gradient."""

    def _step(self, number: int) -> Step:
        step = super()._step(number)
        return replace(step, columns_row=self._columns_row(step)) if self.view == "gather" else step

    def _columns_row(self, step: Step) -> int:
        """The row of the im2col columns that holds the pixels under this weight, channel by channel."""
        out_channels, group_channels, height, width = self.target_shape
        o, c, k, l = step.position  # noqa: E741 (k, l: the kernel's row and column)
        groups = self.source.shape[1] // group_channels
        channel = o // (out_channels // groups) * group_channels + c
        return int((channel * height + k) * width + l)


def to_weight(operation: str, x: Array, grad: Array, window: Window, groups: int, view: str) -> Trace:
    """The trace of a kernel's gradient."""
    shape = grad.shape[1], x.shape[1] // groups, *window.kernel_size
    taps = convolution_taps(window, size_of(x), size_of(grad), shape, groups, "x")
    table = TapTable(taps.weight, taps.input, taps.output)
    table = table.of_batch(len(x), source=_volume(x.shape), weight=_volume(grad.shape)).sorted()
    return WeightGradient(operation, x, grad, shape, table, view, roles=GRAD_WEIGHT, has_matrix=False)


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    view: str = "gather",
) -> Trace:
    """A step for each output (n, o, i, j)."""
    ops.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    window = _window(weight, size_of(x), stride, padding, dilation)
    return forward("conv2d", x, weight, bias, window, groups, view)


def conv2d_grad_input(
    grad: Array,
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    view: str = "scatter",
) -> Trace:
    """A step for each output's gradient, which is sent to the pixels that the output saw."""
    ops.conv2d_grad_input(grad, weight, input_size, stride=stride, padding=padding, dilation=dilation, groups=groups)
    size = input_size[0], input_size[1]
    window = _window(weight, size, stride, padding, dilation)
    return to_input("conv2d_grad_input", grad, weight, size, window, groups, view)


def conv2d_grad_weight(
    grad: Array,
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    view: str = "gather",
) -> Trace:
    """A step for each weight (o, c', k, l), the sum over all places where it was used."""
    ops.conv2d_grad_weight(grad, x, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups)
    window = convolution_window(kernel_size, size_of(x), stride=stride, padding=padding, dilation=dilation)
    return to_weight("conv2d_grad_weight", x, grad, window, groups, view)


def conv2d_backward(
    grad: Array,
    x: Array,
    weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Stages:
    """First the gradient of the input as a scatter, then the gradient of the weights as a correlation."""
    ops.conv2d_backward(grad, x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    window = _window(weight, size_of(x), stride, padding, dilation)
    return _gradients("conv2d_backward", grad, x, weight, window, groups)


def depthwise_conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    view: str = "gather",
) -> Trace:
    """A step for each output, whose window sees a single channel."""
    ops.depthwise_conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    window = _window(weight, size_of(x), stride, padding, dilation)
    return forward("depthwise_conv2d", x, weight, bias, window, x.shape[1], view)


def depthwise_conv2d_backward(
    grad: Array, x: Array, weight: Array, *, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1
) -> Stages:
    """As `conv2d_backward`."""
    ops.depthwise_conv2d_backward(grad, x, weight, stride=stride, padding=padding, dilation=dilation)
    window = _window(weight, size_of(x), stride, padding, dilation)
    return _gradients("depthwise_conv2d_backward", grad, x, weight, window, x.shape[1])


def separable_conv2d(
    x: Array,
    depthwise_weight: Array,
    pointwise_weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Stages:
    """Two stages: a step for each output of the depthwise convolution, then one for each of the 1x1 convolution."""
    ops.separable_conv2d(x, depthwise_weight, pointwise_weight, bias, stride=stride, padding=padding, dilation=dilation)
    depthwise = depthwise_conv2d(x, depthwise_weight, stride=stride, padding=padding, dilation=dilation)
    pointwise = conv2d(depthwise.result, pointwise_weight, bias)
    return _stages(
        "separable_conv2d",
        (depthwise, Roles("input", "depthwise kernel", "depthwise output")),
        (pointwise, Roles("depthwise output", "pointwise kernel", "output")),
    )


def separable_conv2d_backward(
    grad: Array,
    x: Array,
    depthwise_weight: Array,
    pointwise_weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Stages:
    """Four stages: back through the 1x1 convolution, its weights, back through the depthwise one, its weights."""
    ops.separable_conv2d_backward(
        grad, x, depthwise_weight, pointwise_weight, stride=stride, padding=padding, dilation=dilation
    )
    depthwise = depthwise_conv2d(x, depthwise_weight, stride=stride, padding=padding, dilation=dilation)
    pointwise = conv2d_backward(grad, depthwise.result, pointwise_weight)
    to_depthwise, to_pointwise_weight = pointwise.stages
    depthwise_gradients = depthwise_conv2d_backward(
        to_depthwise.result, x, depthwise_weight, stride=stride, padding=padding, dilation=dilation
    )
    to_x, to_depthwise_weight = depthwise_gradients.stages
    between = "gradient of the depthwise output"
    return _stages(
        "separable_conv2d_backward",
        (to_depthwise, Roles("gradient of the output", "pointwise kernel", between)),
        (
            to_pointwise_weight,
            Roles("depthwise output", "gradient of the output", "gradient of the pointwise kernel"),
        ),
        (to_x, Roles(between, "depthwise kernel", "gradient of the input")),
        (to_depthwise_weight, Roles("input", between, "gradient of the depthwise kernel")),
    )


def _gradients(operation: str, grad: Array, x: Array, weight: Array, window: Window, groups: int) -> Stages:
    return Stages(
        to_input(operation, grad, weight, size_of(x), window, groups, "scatter"),
        to_weight(operation, x, grad, window, groups, "gather"),
    )


def _stages(operation: str, *stages: tuple[Trace, Roles]) -> Stages:
    """The stages of one operation, under its name."""
    return Stages(*(replace(stage, operation=operation, roles=roles) for stage, roles in stages))


def _window(weight: Array, size: Size, stride: Pair, padding: Padding, dilation: Pair) -> Window:
    return convolution_window(
        weight.shape[2:], size, stride=stride, padding=padding, dilation=dilation, argument="weight"
    )


def _volume(shape: Sequence[int]) -> int:
    """The numbers of one image."""
    _, channels, height, width = shape
    return channels * height * width
