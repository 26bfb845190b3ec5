"""Layers that bring maps together: enlarged, cut or resized to one size, added, stacked, or taken apart again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg import buffers, checks, ops
from npseg.checks import Array
from npseg.geometry import Size
from npseg.nn.layers.layer import C, Gradients, Layer, Mode, Shape, Wanted, pair, size_of


@dataclass(frozen=True)
class Crop(Layer):
    """Cut the first input to the size of the second, starting at `offset` (`npseg.ops.crop2d`)."""

    offset: int | tuple[int, int] = 0

    def output_shape(self, *inputs: Shape) -> Shape:
        """The first input's channels at the second's size.

        Raises:
            ValueError: the crop reaches outside the first input.
        """
        size, _ = ops.cropping.rectangle(size_of(inputs[0]), size_of(inputs[1]), self.offset)
        return inputs[0][0], *size

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """What was pixel `offset` is now pixel 0."""
        top, left = checks.pair(self.offset, "offset", at_least=0)
        return rows.cropped(top), columns.cropped(left)

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
    """The sum of two maps of one shape: where a skip connection joins.

    A map is not repeated to fit the other, as NumPy would: the gradient of the smaller one would be a sum.
    """

    def output_shape(self, *inputs: Shape) -> Shape:
        """That of both.

        Raises:
            ValueError: the maps differ in shape.
        """
        if len(set(inputs)) > 1:
            raise ValueError(f"inputs must be maps of one shape to be added, got shapes {list(inputs)}")
        return inputs[0]

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back."""
        a, b = inputs
        self.output_shape(a.shape, b.shape)
        return np.add(a, b, out=buffers.empty_like(a)), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Both terms get the whole gradient."""
        return (grad, grad), {}


@dataclass(frozen=True)
class Concat(Layer):
    """Several maps of one size, their channels one after another: where the branches of an inception module meet."""

    def output_shape(self, *inputs: Shape) -> Shape:
        """All channels together.

        Raises:
            ValueError: the maps differ in size.
        """
        _check_sizes(inputs)
        return sum(shape[0] for shape in inputs), *inputs[0][1:]

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs each map's channels."""
        _check_sizes([x.shape[1:] for x in inputs])
        channels = [x.shape[1] for x in inputs]
        y = buffers.empty((len(inputs[0]), sum(channels), *inputs[0].shape[2:]), inputs[0].dtype)
        return np.concatenate(inputs, axis=1, out=y), channels

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each map gets the gradient of its own channels."""
        last_channels = np.cumsum(saved)[:-1]
        return tuple(np.split(grad, last_channels, axis=1)), {}


@dataclass(frozen=True)
class SelectChannels(Layer):
    """So many of a map's channels, from the first one given: what undoes a `Concat`."""

    first: int
    channels: int

    def __post_init__(self) -> None:
        """Check the arguments."""
        checks.integer(self.first, "first", at_least=0)
        checks.integer(self.channels, "channels", at_least=1)

    def output_shape(self, *inputs: Shape) -> Shape:
        """The selected channels.

        Raises:
            ValueError: the map has fewer.
        """
        if self.first + self.channels > inputs[0][0]:
            raise ValueError(
                f"channels must lie in the map, got {self.first} ... {self.first + self.channels - 1} of {inputs[0][0]}"
            )
        return self.channels, *inputs[0][1:]

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the number of all channels."""
        (x,) = inputs
        self.output_shape(x.shape[1:])
        return x[:, self.first : self.first + self.channels].copy(), x.shape[1]

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Zeros for the channels that were left out."""
        grad_x = np.zeros((len(grad), saved, *grad.shape[2:]), grad.dtype)
        grad_x[:, self.first : self.first + self.channels] = grad
        return (grad_x,), {}


def _check_sizes(shapes: Sequence[Shape]) -> None:
    if len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(f"inputs must be maps of one size to be stacked, got shapes {list(shapes)}")


@dataclass(frozen=True)
class ResizeBilinear(Layer):
    """The first input at the size of the second (`npseg.ops.resize_bilinear`): an upsampling without weights."""

    align_corners: bool = False

    def __post_init__(self) -> None:
        """Check the argument."""
        checks.flag(self.align_corners, "align_corners")

    def output_shape(self, *inputs: Shape) -> Shape:
        """The first input's channels at the second's size."""
        return inputs[0][0], *inputs[1][1:]

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """By the ratio of the two sizes, which must be known.

        Raises:
            ValueError: they are not.
        """
        if len(inputs) != 2:
            raise ValueError("input_size must be given: what a ResizeBilinear does to coordinates depends on it")
        (height, width), (rows_out, columns_out) = size_of(inputs[0]), size_of(inputs[1])
        return (
            rows.resized(height, rows_out, align_corners=self.align_corners),
            columns.resized(width, columns_out, align_corners=self.align_corners),
        )

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the first input's size."""
        x, reference = inputs
        size = reference.shape[2], reference.shape[3]
        return ops.resize_bilinear(x, size, align_corners=self.align_corners), (x.shape[2], x.shape[3])

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The second input gives only its size, so it has no gradient."""
        return (ops.resize_bilinear_backward(grad, saved, align_corners=self.align_corners), None), {}


@dataclass(frozen=True)
class EnlargeBilinear(Layer):
    """A map at a whole multiple of its size (`npseg.ops.resize_bilinear`).

    A pool that rounds up and this layer at the pool's stride lead back to the pool's own pixels, whatever the size,
    with a surplus at the bottom and right that a `Crop` cuts off; `ResizeBilinear` would squeeze it in.
    """

    scale: int | tuple[int, int]

    def __post_init__(self) -> None:
        """Check the argument."""
        checks.pair(self.scale, "scale", at_least=1)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H * scale_h, W * scale_w)."""
        return inputs[0][0], *self._size(size_of(inputs[0]))

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """By the scale; without the inputs' shapes as for any map of more than one pixel."""
        size = size_of(inputs[0]) if inputs else (2, 2)
        height, width = self._size(size)
        return (
            rows.resized(size[0], height, align_corners=False),
            columns.resized(size[1], width, align_corners=False),
        )

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the input's size."""
        (x,) = inputs
        size = x.shape[2], x.shape[3]
        return ops.resize_bilinear(x, self._size(size)), size

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each pixel gets the gradients of the pixels it was spread over."""
        return (ops.resize_bilinear_backward(grad, saved),), {}

    def _size(self, size: Size) -> Size:
        height, width = pair(self.scale)
        return size[0] * height, size[1] * width
