"""Layers of convolution: the plain one, fused with its ReLU or with ReLU and pool, and the transposed one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npseg import checks, ops
from npseg.checks import Array
from npseg.geometry import Axis, Padding, Size, Window, convolution_window, transposed_window
from npseg.nn.layers.layer import (
    C,
    Gradients,
    Layer,
    Mode,
    ParameterSpec,
    Shape,
    Wanted,
    axes_of_any_size,
    check_weight,
    pair,
    size_of,
    weight_and_bias,
)
from npseg.nn.layers.pooling import MaxPool2d


@dataclass(frozen=True)
class Conv2d(Layer):
    """`npseg.ops.conv2d` with its weight and bias."""

    in_channels: int
    out_channels: int
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Padding = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True
    initialiser: str = "he_normal"

    def __post_init__(self) -> None:
        """Check what the parameters' shapes follow from."""
        check_weight(self.in_channels, self.out_channels, self.kernel_size, self.groups)
        checks.flag(self.bias, "bias")

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (C_out, C_in // groups, K_h, K_w) and the bias (C_out,)."""
        shape = self.out_channels, self.in_channels // self.groups, *pair(self.kernel_size)
        return weight_and_bias(shape, self.initialiser, self.out_channels if self.bias else None)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C_out, H_out, W_out)."""
        size = size_of(inputs[0])
        return self.out_channels, *self._window(size).output_size(size)

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis]:
        """The window's rows and columns."""
        if inputs:
            return self._window(size_of(inputs[0])).axes
        return axes_of_any_size(self.kernel_size, self.stride, self.padding, self.dilation)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The convolution; the backward pass needs its input."""
        (x,) = inputs
        return ops.conv2d(x, parameters["weight"], parameters.get("bias"), **self.arguments()), x

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Only the gradients that are wanted: the input's is never computed for an image."""
        grad_bias = ops.convolution.bias_gradient(grad) if self.bias and wanted.parameters else None
        return self.gradients(grad, grad_bias, saved, parameters["weight"], wanted)

    def gradients(self, grad: Array, grad_bias: Array | None, x: Array, weight: Array, wanted: Wanted) -> Gradients:
        """The gradients of input and weight, beside that of the bias, which is known already."""
        grad_x, grads = None, {}
        if wanted.inputs:
            grad_x = ops.conv2d_grad_input(grad, weight, (x.shape[2], x.shape[3]), **self.arguments())
        if wanted.parameters:
            grads["weight"] = ops.conv2d_grad_weight(grad, x, pair(self.kernel_size), **self.arguments())
            if self.bias and grad_bias is not None:
                grads["bias"] = grad_bias
        return (grad_x,), grads

    def arguments(self) -> dict[str, Any]:
        """Where the windows lie, as the operations take it."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def _window(self, size: Size) -> Window:
        return convolution_window(
            self.kernel_size, size, stride=self.stride, padding=self.padding, dilation=self.dilation
        )


@dataclass(frozen=True)
class Conv2dReLU(Layer):
    """A convolution and the ReLU that alone reads it, in one step: how a graph runs the two, no layer of its own.

    The map between them is never stored, and on the way back one pass over the gradient serves ReLU and bias.
    """

    convolution: Conv2d

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs input and output."""
        (x,) = inputs
        y = ops.convolution.conv2d_relu(x, parameters["weight"], parameters.get("bias"), **self.convolution.arguments())
        return y, (x, y)

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Through the ReLU, then through the convolution."""
        x, y = saved
        grad_sums, grad_bias = ops.convolution.relu_and_bias_gradient(grad, y)
        return self.convolution.gradients(grad_sums, grad_bias, x, parameters["weight"], wanted)


@dataclass(frozen=True)
class Conv2dReLUMaxPool2d(Layer):
    """The same with the pool of 2x2 windows that alone reads it, in one step: how a graph runs the three for good.

    What a way back would need, the map between them and where its maxima are, is never stored.
    """

    convolution: Conv2d
    pool: MaxPool2d

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is kept."""
        (x,) = inputs
        y = ops.convolution.conv2d_relu_max_pool2d(
            x,
            parameters["weight"],
            parameters.get("bias"),
            ceil_mode=self.pool.ceil_mode,
            **self.convolution.arguments(),
        )
        return y, None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """There is no way back."""
        raise RuntimeError("a step with a pool is for outputs alone, got a gradient")


@dataclass(frozen=True)
class ConvTranspose2d(Layer):
    """`npseg.ops.conv_transpose2d` with its weight, and a bias where asked for."""

    in_channels: int
    out_channels: int
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Padding = 0
    output_padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = False
    initialiser: str = "bilinear"

    def __post_init__(self) -> None:
        """Check what the parameters' shapes follow from."""
        check_weight(self.in_channels, self.out_channels, self.kernel_size, self.groups)
        checks.flag(self.bias, "bias")

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (C_in, C_out // groups, K_h, K_w) and the bias (C_out,)."""
        shape = self.in_channels, self.out_channels // self.groups, *pair(self.kernel_size)
        return weight_and_bias(shape, self.initialiser, self.out_channels if self.bias else None)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C_out, H_out, W_out)."""
        size = size_of(inputs[0])
        return self.out_channels, *self._window(size).input_size(size)

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis]:
        """The rows and columns of the convolution that this is the transpose of."""
        if inputs:
            return self._window(size_of(inputs[0])).axes
        return axes_of_any_size(self.kernel_size, self.stride, self.padding, self.dilation)

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """Back through the window."""
        axes = self.axes(*inputs)
        return rows.back_through(axes[0]), columns.back_through(axes[1])

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The transposed convolution; the backward pass needs its input."""
        (x,) = inputs
        return ops.conv_transpose2d(x, parameters["weight"], parameters.get("bias"), **self.arguments()), x

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The input's gradient is a convolution of grad; a frozen upsampler needs no other."""
        x, weight, arguments = saved, parameters["weight"], self.arguments()
        if wanted.parameters:
            grad_x, grad_weight, grad_bias = ops.conv_transpose2d_backward(grad, x, weight, **arguments)
            grads = {"weight": grad_weight, "bias": grad_bias} if self.bias else {"weight": grad_weight}
            return (grad_x if wanted.inputs else None,), grads
        size = x.shape[2], x.shape[3]
        return (ops.transposed.conv_transpose2d_grad_input(grad, weight, size, **arguments),), {}

    def arguments(self) -> dict[str, Any]:
        """Where the stamps lie, as the operations take it."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def _window(self, size: Size) -> Window:
        return transposed_window(
            self.kernel_size,
            size,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
        )
