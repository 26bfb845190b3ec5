"""Layers of pooling: windows without weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from npseg import ops
from npseg.checks import Array
from npseg.geometry import Axis, Padding, Size, Window, pooling_window
from npseg.nn.layers.layer import C, Gradients, Layer, Mode, Shape, Wanted, axes_of_any_size, size_of


class Winners(NamedTuple):
    """What a max pool remembers: where each maximum was found, and on a map of which size."""

    indices: Array
    input_size: Size


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """`npseg.ops.max_pool2d`, in ceil mode unless told otherwise, as in Caffe.

    Its by-product `<pool>.indices`, where each maximum was found, is for a `MaxUnpool2d` further on.
    """

    by_products: ClassVar[tuple[str, ...]] = ("indices",)

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: Padding = 0
    ceil_mode: bool = True
    dilation: int | tuple[int, int] = 1

    @property
    def halves(self) -> bool:
        """Whether its windows are the 2x2 that lie side by side."""
        return self.axes() == (Axis(2, 2), Axis(2, 2))

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H_out, W_out)."""
        size = size_of(inputs[0])
        return inputs[0][0], *_window(self, size).output_size(size)

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis]:
        """The window's rows and columns."""
        return _axes(self, inputs)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the winners' positions and the input's size, not the input."""
        (x,) = inputs
        y, indices = ops.max_pool2d(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )
        return y, Winners(indices, (x.shape[2], x.shape[3]))

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each gradient goes to the pixel that won."""
        return (ops.max_pool2d_backward(grad, saved.indices, saved.input_size),), {}


@dataclass(frozen=True)
class MaxUnpool2d(Layer):
    """`npseg.ops.max_unpool2d`: each value goes back to where a max pool found its maximum, zeros elsewhere.

    It takes three maps: the values; the pool's by-product `<pool>.indices`; and one of the size that the pool's input
    had, of which nothing else is used. The window is the pool's; it says where the result lies on the image.
    """

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: Padding = 0
    ceil_mode: bool = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """The values' channels at the third map's size.

        Raises:
            ValueError: the values are not of the indices' shape.
        """
        values, indices, reference = inputs
        self.axes(*inputs)  # refuses a window that is none
        if values != indices:
            raise ValueError(f"values must have the shape of their pool's indices, {indices}, got {values}")
        return values[0], *size_of(reference)

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis]:
        """The rows and columns of the pool that this undoes."""
        return _axes(self, inputs[2:])

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """Back through the pool's window."""
        axes = self.axes(*inputs)
        return rows.back_through(axes[0]), columns.back_through(axes[1])

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the indices, which the pool keeps anyway."""
        x, indices, reference = inputs
        return ops.max_unpool2d(x, indices, (reference.shape[2], reference.shape[3])), indices

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each value's gradient is fetched from where the value was put; positions and sizes have none."""
        return (ops.max_unpool2d_backward(grad, saved), None, None), {}


@dataclass(frozen=True)
class AvgPool2d(Layer):
    """`npseg.ops.avg_pool2d`, in ceil mode unless told otherwise, as in Caffe."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: Padding = 0
    ceil_mode: bool = True
    count_include_pad: bool = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H_out, W_out)."""
        size = size_of(inputs[0])
        return inputs[0][0], *_window(self, size).output_size(size)

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis]:
        """The window's rows and columns."""
        return _axes(self, inputs)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the input's size."""
        (x,) = inputs
        return ops.avg_pool2d(x, self.kernel_size, **self._arguments()), (x.shape[2], x.shape[3])

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each gradient is shared among the window's pixels."""
        return (ops.avg_pool2d_backward(grad, saved, self.kernel_size, **self._arguments()),), {}

    def _arguments(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
        }


@dataclass(frozen=True)
class GlobalAvgPool2d(Layer):
    """`npseg.ops.global_avg_pool2d`: the mean of each plane, whatever its size, as a map of one pixel."""

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, 1, 1)."""
        return inputs[0][0], 1, 1

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis] | None:
        """A window as large as the map; the next one, if there were one, would begin where it ends."""
        return (Axis(inputs[0][1], inputs[0][1]), Axis(inputs[0][2], inputs[0][2])) if inputs else None

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the input's size."""
        (x,) = inputs
        return ops.global_avg_pool2d(x), (x.shape[2], x.shape[3])

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each gradient is shared among the plane's pixels."""
        return (ops.global_avg_pool2d_backward(grad, saved),), {}


Pool = MaxPool2d | MaxUnpool2d | AvgPool2d


def _window(pool: Pool, size: Size) -> Window:
    """The pool's window on a map of this size, ceil mode's overhang included."""
    _, overhanging = pooling_window(
        pool.kernel_size,
        size,
        stride=pool.stride,
        padding=pool.padding,
        dilation=_dilation(pool),
        ceil_mode=pool.ceil_mode,
    )
    return overhanging


def _axes(pool: Pool, inputs: tuple[Shape, ...]) -> tuple[Axis, Axis]:
    if inputs:
        return _window(pool, size_of(inputs[0])).axes
    stride = pool.kernel_size if pool.stride is None else pool.stride
    return axes_of_any_size(pool.kernel_size, stride, pool.padding, _dilation(pool))


def _dilation(pool: Pool) -> int | tuple[int, int]:
    return pool.dilation if isinstance(pool, MaxPool2d) else 1
