"""Layers: an operation together with the shapes of its parameters.

A layer is a frozen description and keeps nothing. Its parameters are passed in, and what its backward pass needs is
passed out, so

    y, saved = layer.forward(inputs, parameters, mode)
    grad_inputs, grad_parameters = layer.backward(grad, saved, parameters, wanted)

are pure functions (but for batch normalisation's running statistics), and one description can be read by many: the
graph runs it, and shapes, coordinates and files are derived from it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg import buffers, ops
from npseg.checks import Array
from npseg.geometry import Axis, Padding, convolution_window, parse_padding, pooling_window, transposed_window

Shape = tuple[int, ...]
Randomness = np.random.Generator | Sequence[np.random.Generator]


@dataclass(frozen=True)
class Mode:
    """How a forward pass runs: training or not, and where its random draws come from.

    `rng` is one generator for the whole batch, or one for each image, which makes an image's draws independent of the
    batch it is in.
    """

    training: bool = False
    rng: Randomness | None = None


@dataclass(frozen=True)
class Wanted:
    """Which gradients the walk back still needs from a layer."""

    inputs: bool = True
    parameters: bool = True


@dataclass(frozen=True)
class ParameterSpec:
    """One array of a layer: its shape, and the name of its initialiser in `npseg.nn.initialisation`."""

    shape: Shape
    initialiser: str


Gradients = tuple[tuple[Array | None, ...], dict[str, Array]]


@dataclass(frozen=True)
class Layer(ABC):
    """What every layer can do; the defaults are those of a layer without parameters that leaves shapes alone."""

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The learned arrays by name."""
        return {}

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The arrays that a training pass updates without a gradient."""
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H, W) of the output from those of the inputs; the batch is left out."""
        return inputs[0]

    def axes(self) -> tuple[Axis, Axis] | None:
        """The window's rows and columns, for layers that have one."""
        return None

    @abstractmethod
    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The output, and what `backward` needs."""

    @abstractmethod
    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The gradients of the inputs (None where not wanted or always zero) and of the parameters."""


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

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (C_out, C_in // groups, K_h, K_w) and the bias (C_out,)."""
        shape = self.out_channels, self.in_channels // self.groups, *_pair(self.kernel_size)
        return _weight_and_bias(shape, self.initialiser, self.out_channels if self.bias else None)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C_out, H_out, W_out)."""
        size = inputs[0][1], inputs[0][2]
        window = convolution_window(
            self.kernel_size, size, stride=self.stride, padding=self.padding, dilation=self.dilation
        )
        return self.out_channels, *window.output_size(size)

    def axes(self) -> tuple[Axis, Axis]:
        """The window's rows and columns; with "same" padding those of a stride-1 convolution."""
        return _axes(self.kernel_size, self.stride, self.padding, self.dilation)

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
            grads["weight"] = ops.conv2d_grad_weight(grad, x, _pair(self.kernel_size), **self.arguments())
            if self.bias and grad_bias is not None:
                grads["bias"] = grad_bias
        return (grad_x,), grads

    def arguments(self) -> dict[str, Any]:
        """Where the windows lie, as the operations take it."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}


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

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (C_in, C_out // groups, K_h, K_w) and the bias (C_out,)."""
        shape = self.in_channels, self.out_channels // self.groups, *_pair(self.kernel_size)
        return _weight_and_bias(shape, self.initialiser, self.out_channels if self.bias else None)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C_out, H_out, W_out)."""
        size = inputs[0][1], inputs[0][2]
        window = transposed_window(
            self.kernel_size,
            size,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
        )
        return self.out_channels, *window.input_size(size)

    def axes(self) -> tuple[Axis, Axis]:
        """The rows and columns of the convolution that this is the transpose of."""
        return _axes(self.kernel_size, self.stride, self.padding, self.dilation)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The transposed convolution; the backward pass needs its input."""
        (x,) = inputs
        return ops.conv_transpose2d(x, parameters["weight"], parameters.get("bias"), **self._arguments()), x

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The input's gradient is a convolution of grad; a frozen upsampler needs no other."""
        x, weight, arguments = saved, parameters["weight"], self._arguments()
        if wanted.parameters:
            grad_x, grad_weight, grad_bias = ops.conv_transpose2d_backward(grad, x, weight, **arguments)
            grads = {"weight": grad_weight, "bias": grad_bias} if self.bias else {"weight": grad_weight}
            return (grad_x if wanted.inputs else None,), grads
        size = x.shape[2], x.shape[3]
        return (ops.transposed.conv_transpose2d_grad_input(grad, weight, size, **arguments),), {}

    def _arguments(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


@dataclass(frozen=True)
class Linear(Layer):
    """`npseg.ops.linear` with its weight and bias."""

    in_features: int
    out_features: int
    bias: bool = True
    initialiser: str = "he_normal"

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (C_out, C_in) and the bias (C_out,)."""
        shape = self.out_features, self.in_features
        return _weight_and_bias(shape, self.initialiser, self.out_features if self.bias else None)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C_out,)."""
        return (self.out_features,)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The product; the backward pass needs its input."""
        (x,) = inputs
        return ops.linear(x, parameters["weight"], parameters.get("bias")), x

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """All three at once: they are cheap."""
        grad_x, grad_weight, grad_bias = ops.linear_backward(grad, saved, parameters["weight"])
        grads = {"weight": grad_weight, "bias": grad_bias} if self.bias else {"weight": grad_weight}
        return (grad_x if wanted.inputs else None,), grads if wanted.parameters else {}


@dataclass(frozen=True)
class BatchNorm2d(Layer):
    """`npseg.ops.batch_norm2d`: weight and bias are its gamma and beta, the running statistics its buffers."""

    channels: int
    momentum: float = 0.1
    eps: float = 1e-5

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (gamma) and the bias (beta), (C,) each."""
        return {
            "weight": ParameterSpec((self.channels,), "ones"),
            "bias": ParameterSpec((self.channels,), "zeros"),
        }

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The running mean and variance, (C,) each."""
        return {
            "running_mean": ParameterSpec((self.channels,), "zeros"),
            "running_var": ParameterSpec((self.channels,), "ones"),
        }

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Normalise by the batch while training, by the running statistics otherwise."""
        (x,) = inputs
        names = "weight", "bias", "running_mean", "running_var"
        y, saved = ops.batch_norm2d(
            x,
            *(parameters[name] for name in names),
            training=mode.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        return y, (x, saved)

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """In the mode of the forward pass."""
        x, statistics = saved
        grad_x, grad_gamma, grad_beta = ops.batch_norm2d_backward(grad, x, parameters["weight"], statistics)
        return (grad_x,), {"weight": grad_gamma, "bias": grad_beta} if wanted.parameters else {}


@dataclass(frozen=True)
class ReLU(Layer):
    """`npseg.ops.relu`."""

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the output, which the next layer keeps anyway."""
        y = ops.relu(inputs[0])
        return y, y

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The gradient passes where the output is positive."""
        return (ops.relu_backward(grad, saved),), {}


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """`npseg.ops.max_pool2d`, in ceil mode unless told otherwise, as in Caffe."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: Padding = 0
    ceil_mode: bool = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H_out, W_out)."""
        channels, *size = inputs[0]
        _, window = pooling_window(
            self.kernel_size, (size[0], size[1]), stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode
        )
        return channels, *window.output_size((size[0], size[1]))

    def axes(self) -> tuple[Axis, Axis]:
        """The window's rows and columns."""
        return _axes(self.kernel_size, self.kernel_size if self.stride is None else self.stride, self.padding, 1)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the winners' positions and the input's size, not the input."""
        (x,) = inputs
        y, indices = ops.max_pool2d(
            x, self.kernel_size, stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode
        )
        return y, (indices, (x.shape[2], x.shape[3]))

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each gradient goes to the pixel that won."""
        indices, size = saved
        return (ops.max_pool2d_backward(grad, indices, size),), {}


@dataclass(frozen=True)
class Dropout(Layer):
    """`npseg.ops.dropout` while training; otherwise the input as it is."""

    p: float = 0.5

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the mask; None where nothing was switched off.

        Raises:
            ValueError: training without a generator, or with another number of generators than images.
        """
        (x,) = inputs
        if not mode.training or self.p == 0:
            return x, None
        if mode.rng is None:
            raise ValueError("rng must be given to train a network with dropout, got None")
        if isinstance(mode.rng, np.random.Generator):
            return ops.dropout(x, self.p, mode.rng)
        if len(mode.rng) != len(x):
            raise ValueError(f"rng must be one generator, or one for each of {len(x)} images, got {len(mode.rng)}")
        y, mask = buffers.empty_like(x), buffers.empty_like(x)
        for n, rng in enumerate(mode.rng):
            y[n], mask[n] = ops.dropout(x[n], self.p, rng)
        return y, mask

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Through the same mask."""
        return (grad if saved is None else ops.dropout_backward(grad, saved),), {}


@dataclass(frozen=True)
class Flatten(Layer):
    """A map of one fixed size as a vector, in the order (C, H, W): where a classifier loses its positions."""

    shape: tuple[int, int, int]

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C * H * W,)."""
        return (math.prod(self.shape),)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back.

        Raises:
            ValueError: the map has another size; a fully connected layer fits only one.
        """
        (x,) = inputs
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"x must give a map of {self.shape}, the only one that the fully connected layer fits, "
                f"got {x.shape[1:]}"
            )
        return x.reshape(len(x), math.prod(self.shape)), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The same numbers in the map's shape."""
        return (grad.reshape(len(grad), *self.shape),), {}


@dataclass(frozen=True)
class Crop(Layer):
    """Cut the first input to the size of the second, starting at `offset` (`npseg.ops.crop2d`)."""

    offset: int | tuple[int, int] = 0

    def output_shape(self, *inputs: Shape) -> Shape:
        """The first input's channels at the second's size."""
        return inputs[0][0], *inputs[1][1:]

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the uncropped size, or None where nothing is cut off and x is passed on."""
        x, reference = inputs
        if x.shape[2:] == reference.shape[2:] and self.offset in (0, (0, 0)):
            return x, None
        cropped = ops.crop2d(x, (reference.shape[2], reference.shape[3]), self.offset)
        return cropped, (x.shape[2], x.shape[3])

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The second input gives only its size, so it has no gradient."""
        return (grad if saved is None else ops.crop2d_backward(grad, saved, self.offset), None), {}


@dataclass(frozen=True)
class Add(Layer):
    """The sum of two maps: where a skip connection joins."""

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back."""
        a, b = inputs
        return np.add(a, b, out=buffers.empty_like(a)), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Both terms get the whole gradient."""
        return (grad, grad), {}


LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (Conv2d, ConvTranspose2d, Linear, BatchNorm2d, ReLU, MaxPool2d, Dropout, Flatten, Crop, Add)
}
"""Every layer by the name that descriptions and files know it by."""


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _weight_and_bias(shape: Shape, initialiser: str, bias: int | None) -> dict[str, ParameterSpec]:
    specs = {"weight": ParameterSpec(shape, initialiser)}
    if bias is not None:
        specs["bias"] = ParameterSpec((bias,), "zeros")
    return specs


def _axes(kernel_size: Any, stride: Any, padding: Padding, dilation: Any) -> tuple[Axis, Axis]:
    kernels, strides, dilations = _pair(kernel_size), _pair(stride), _pair(dilation)
    sides = parse_padding(padding)
    if isinstance(sides, str):
        extents = [dilations[a] * (kernels[a] - 1) for a in (0, 1)]
        sides = (extents[0] // 2, extents[0] - extents[0] // 2), (extents[1] // 2, extents[1] - extents[1] // 2)
    rows, columns = (Axis(kernels[a], strides[a], *sides[a], dilations[a]) for a in (0, 1))
    return rows, columns
