"""Where a window looks: output sizes, taps, padding, and how coordinates travel through layers.

A window is the product of two axes, so everything here is one-dimensional arithmetic, done once for rows and once for
columns. Output i of an axis looks through tap k at input

    h = i * stride - before + k * dilation            0 <= k < kernel_size

and a tap outside 0 <= h < size looks at padding. "same", ceil mode and output padding only change `before` and `after`;
past this file they do not exist.

    valid    before = after = 0
    same     before + after = max((ceil(size / stride) - 1) * stride + extent - size, 0), the odd pixel after
    ceil     `after` is what the last window, which may overhang, needs
    output padding p of a transposed convolution: `after` shrinks by p
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache, wraps
from itertools import chain
from typing import Any, ParamSpec, Protocol, Self, TypeAlias, TypeVar, cast

import numpy as np

from npseg import checks
from npseg.checks import Array

Size: TypeAlias = tuple[int, int]
Pair: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[Sequence[int]]
Sides: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")

AXIS_NAMES = ("height", "width")

OUTPUT_FORMULA = "((input + padding - (dilation * (kernel_size - 1) + 1)) / stride) + 1"
"""A convolution's or pool's output size in words, to be rounded by what stands before it: floor or ceil."""
TRANSPOSED_FORMULA = "(input - 1) * stride + dilation * (kernel_size - 1) + 1 - padding"
"""A transposed convolution's output size in words; output padding counts as padding taken away."""


@dataclass(frozen=True)
class Taps:
    """All taps of one axis that reach a real pixel, sorted by output, then kernel: three equally long int64 arrays."""

    output: Array
    kernel: Array
    input: Array


@dataclass(frozen=True)
class Axis:
    """One dimension of a window; `before` and `after` are its padding (an `after` below 0 leaves pixels unread)."""

    kernel_size: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Pixels from the first tap to the last: dilation * (kernel_size - 1) + 1."""
        return self.dilation * (self.kernel_size - 1) + 1

    def output_size(self, size: int) -> int:
        """floor((size + before + after - extent) / stride) + 1; below 1 where the window does not fit."""
        return (size + self.before + self.after - self.extent) // self.stride + 1

    def output_formula(self, size: int, rounding: str = "floor") -> str:
        """The formula of `output_size` with its numbers, for errors."""
        padded, extent = f"{size} + {self.before} + {self.after}", f"{self.dilation} * ({self.kernel_size} - 1) + 1"
        return f"{rounding}(({padded} - ({extent})) / {self.stride}) + 1"

    def input_size(self, output: int) -> int:
        """The transposed convolution's size: (output - 1) * stride + extent - before - after."""
        return (output - 1) * self.stride + self.extent - self.before - self.after

    def input_formula(self, output: int) -> str:
        """The formula of `input_size` with its numbers, for errors."""
        stamped = f"({output} - 1) * {self.stride} + {self.dilation} * ({self.kernel_size} - 1) + 1"
        return f"{stamped} - {self.before} {'-' if self.after >= 0 else '+'} {abs(self.after)}"

    def taps_of(self, output: int, size: int) -> range:
        """The kernel positions through which this output sees real pixels."""
        first = output * self.stride - self.before
        start = max(0, -(first // self.dilation))
        stop = min(self.kernel_size, (size - 1 - first) // self.dilation + 1)
        return range(start, max(start, stop))

    def position(self, output: int, kernel: int) -> int:
        """The input position that this output sees through this tap."""
        return output * self.stride - self.before + kernel * self.dilation

    def taps(self, size: int, outputs: int) -> Taps:
        """Every tap of `outputs` outputs that falls on a line of `size` pixels."""
        taps = [(i, k, self.position(i, k)) for i in range(outputs) for k in self.taps_of(i, size)]
        output, kernel, position = np.array(taps, dtype=np.int64).reshape(-1, 3).T.copy()
        return Taps(output, kernel, position)

    def spans(self, size: int, outputs: int) -> list[tuple[int, slice, slice]]:
        """Tap by tap, which outputs see real pixels, and which pixels: (kernel, outputs, inputs) with equal lengths."""
        spans = []
        for kernel in self._live_taps(size, outputs):
            offset = self.position(0, kernel)
            start = max(0, -(offset // self.stride))
            stop = min(outputs, (size - 1 - offset) // self.stride + 1)
            if start < stop:
                pixels = slice(start * self.stride + offset, (stop - 1) * self.stride + offset + 1, self.stride)
                spans.append((kernel, slice(start, stop), pixels))
        return spans

    def real_taps(self, size: int, outputs: int) -> int:
        """How many taps of `outputs` outputs together fall on a line of `size` pixels."""
        if self.kernel_size > outputs:
            return sum(len(self.taps_of(output, size)) for output in range(outputs))
        return sum(windows.stop - windows.start for _, windows, _ in self.spans(size, outputs))

    def _live_taps(self, size: int, outputs: int) -> Sequence[int]:
        """The taps that can reach a real pixel at all: few, even where a giant kernel lies mostly on padding."""
        if self.kernel_size <= size + outputs:
            return range(self.kernel_size)
        return sorted({k for i in range(outputs) for k in self.taps_of(i, size)})

    def from_output(self, first: int) -> Self:
        """The same axis counted from output number `first`."""
        return replace(self, before=self.before - first * self.stride)

    def over_zero_stuffed(self) -> Self:
        """The axis by which a plain convolution, kernel reversed, makes the transposed convolution's output.

        It slides over the line of pixels `stride` apart with zeros between them; its padding is below 0 where the
        transposed convolution crops more than a kernel.
        """
        reach = self.extent - 1
        return replace(self, stride=1, before=reach - self.before, after=reach - self.after)

    def on_padding(self) -> Self:
        """The same axis over the padded line, whose padding counts as pixels."""
        return replace(self, before=0, after=0)


@dataclass(frozen=True)
class Window:
    """A kernel-sized window that slides over an image: one axis for the rows, one for the columns."""

    rows: Axis
    columns: Axis

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Rows, then columns."""
        return self.rows, self.columns

    @property
    def kernel_size(self) -> Size:
        """(height, width) in taps."""
        return self.rows.kernel_size, self.columns.kernel_size

    @cached_property
    def area(self) -> int:
        """The number of taps."""
        return self.rows.kernel_size * self.columns.kernel_size

    def output_size(self, size: Size) -> Size:
        """How many windows fit on an image of this size, per axis."""
        return self.rows.output_size(size[0]), self.columns.output_size(size[1])

    def input_size(self, output: Size) -> Size:
        """The image that a transposed convolution makes from a map of this size."""
        return self.rows.input_size(output[0]), self.columns.input_size(output[1])

    def mostly_padding(self, size: Size) -> bool:
        """Whether the padding outgrows the image along some axis: a large result is then the padding's doing."""
        return any(axis.before + axis.after > length for axis, length in zip(self.axes, size, strict=True))

    def with_short_strides(self, size: Size) -> Self:
        """The same outputs with strides no longer than the padded image: of what lies beyond, nothing is ever seen."""
        if self.rows.stride == self.columns.stride == 1:
            return self
        lengths = [length + axis.before + axis.after for axis, length in zip(self.axes, size, strict=True)]
        if all(axis.stride <= length for axis, length in zip(self.axes, lengths, strict=True)):
            return self
        rows, columns = (
            replace(axis, stride=min(axis.stride, length)) for axis, length in zip(self.axes, lengths, strict=True)
        )
        return replace(self, rows=rows, columns=columns)

    def enlarged_by(self, size: Size, *, image: str, kernel: str = "weight") -> str:
        """The argument that adds most to the size of a transposed convolution's result, by its caller's names."""
        contributions = {
            image: max(size),
            kernel: max(self.kernel_size),
            "stride": max(length * (axis.stride - 1) for axis, length in zip(self.axes, size, strict=True)),
            "dilation": max((axis.dilation - 1) * (axis.kernel_size - 1) for axis in self.axes),
        }
        return max(contributions, key=lambda name: contributions[name])

    def over_zero_stuffed(self) -> Self:
        """The window over the zero-stuffed map that makes the transposed convolution's output."""
        return replace(self, rows=self.rows.over_zero_stuffed(), columns=self.columns.over_zero_stuffed())

    def from_row(self, first: int) -> Self:
        """The same window counted from output row `first`."""
        return replace(self, rows=self.rows.from_output(first))


def parse_padding(padding: Any) -> Sides | str:
    """Padding as ((top, bottom), (left, right)), or "same", whose amount depends on the operation."""
    if isinstance(padding, str):
        if checks.choice(padding, "padding", ("valid", "same")) == "same":
            return "same"
        return (0, 0), (0, 0)
    if checks.is_pair(padding) and all(isinstance(side, (tuple, list)) for side in padding):
        top_bottom, left_right = (checks.size(s, f"padding[{a}]", at_least=0) for a, s in enumerate(padding))
        return top_bottom, left_right
    height, width = checks.pair(padding, "padding", at_least=0)
    return (height, height), (width, width)


def _remembered(make: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Keep what was made from plain arguments: a training step asks for the same windows again and again.

    Plain are numbers, words, windows and tuples of numbers that are exactly that: True equals 1, but must be refused
    where 1 is right, so it must not find what was made for 1.
    """
    kept = lru_cache(maxsize=1024, typed=True)(make)

    @wraps(make)
    def remembering(*arguments: Arguments.args, **named: Arguments.kwargs) -> Made:
        is_kept = all(map(_is_plain, (*arguments, *named.values())))
        return (cast("Callable[Arguments, Made]", kept) if is_kept else make)(*arguments, **named)

    return remembering


def _is_plain(value: object) -> bool:
    if type(value) is tuple:
        return set(map(type, value)) == {int}
    return value is None or type(value) in (int, str, bool, Window)


@_remembered
def convolution_window(
    kernel_size: Pair,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    argument: str = "kernel_size",
) -> Window:
    """The window of a convolution on images of `input_size`, refused where not even one output fits.

    `argument` is what the caller's user knows the kernel by.
    """
    axes = _unpadded_axes(kernel_size, stride, dilation)
    input_size = checks.size(input_size, "input_size")
    sides = parse_padding(padding)
    if isinstance(sides, str):
        sides = _same_padding(axes[0], input_size[0]), _same_padding(axes[1], input_size[1])
    window = _padded(axes, sides)
    for axis, size, name in zip(window.axes, input_size, AXIS_NAMES, strict=True):
        _check_output(axis, size, axis.output_size(size), name, argument, rounding="floor")
    return window


def _unpadded_axes(kernel_size: Pair, stride: Pair, dilation: Pair) -> tuple[Axis, Axis]:
    kernels = checks.pair(kernel_size, "kernel_size", at_least=1)
    strides = checks.pair(stride, "stride", at_least=1)
    dilations = checks.pair(dilation, "dilation", at_least=1)
    rows, columns = (Axis(kernels[a], strides[a], dilation=dilations[a]) for a in (0, 1))
    return rows, columns


def _padded(axes: tuple[Axis, Axis], sides: Sides) -> Window:
    return Window(*(replace(axis, before=side[0], after=side[1]) for axis, side in zip(axes, sides, strict=True)))


def _same_padding(axis: Axis, size: int) -> tuple[int, int]:
    """TensorFlow's: just enough for ceil(size / stride) outputs, the odd pixel at the end."""
    total = max((ceil_divide(size, axis.stride) - 1) * axis.stride + axis.extent - size, 0)
    return total // 2, total - total // 2


@_remembered
def pooling_window(
    kernel_size: Pair,
    input_size: Size,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Window, Window]:
    """The window of a pool, twice: with the padding asked for, and with ceil mode's overhang added to it."""
    stride = kernel_size if stride is None else stride
    ceil_mode = checks.flag(ceil_mode, "ceil_mode")
    input_size = checks.size(input_size, "input_size")
    sides = parse_padding(padding)
    if not ceil_mode or isinstance(sides, str):
        window = convolution_window(kernel_size, input_size, stride=stride, padding=padding, dilation=dilation)
        return window, window
    asked = _padded(_unpadded_axes(kernel_size, stride, dilation), sides)
    overhanging = [
        _ceil_axis(axis, size, name) for axis, size, name in zip(asked.axes, input_size, AXIS_NAMES, strict=True)
    ]
    return asked, Window(*overhanging)


def _ceil_axis(axis: Axis, size: int, name: str) -> Axis:
    """Round the number of outputs up, but drop a last window that would start past the image and its first padding."""
    outputs = ceil_divide(size + axis.before + axis.after - axis.extent, axis.stride) + 1
    if (outputs - 1) * axis.stride >= size + axis.before:
        outputs -= 1
    _check_output(axis, size, outputs, name, "kernel_size", rounding="ceil")
    return replace(axis, after=(outputs - 1) * axis.stride + axis.extent - size - axis.before)


@_remembered
def transposed_window(
    kernel_size: Pair,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
) -> Window:
    """The window of the convolution that a transposed convolution of `input_size` maps is the transpose of."""
    unpadded = _unpadded_axes(kernel_size, stride, dilation)
    extras = checks.pair(output_padding, "output_padding", at_least=0)
    input_size = checks.size(input_size, "input_size")
    sides = parse_padding(padding)
    if sides == "same" and any(extras):
        raise ValueError(f'output_padding must be 0 with padding="same", got {output_padding}')
    axes = []
    for a, (axis, name) in enumerate(zip(unpadded, AXIS_NAMES, strict=True)):
        if extras[a] >= max(axis.stride, axis.dilation):
            raise ValueError(
                f"output_padding must be below max(stride, dilation) = max({axis.stride}, {axis.dilation}) along the "
                f"{name}, got {extras[a]}"
            )
        if isinstance(sides, str):
            surplus = axis.extent - axis.stride
            before, after = max(surplus, 0) // 2, surplus - max(surplus, 0) // 2
        else:
            before, after = sides[a]
        axes.append(replace(axis, before=before, after=after - extras[a]))
        _check_transposed(axes[a], input_size[a], name)
    return Window(*axes)


def _check_output(axis: Axis, size: int, outputs: int, name: str, argument: str, *, rounding: str) -> None:
    if outputs < 1:
        raise ValueError(
            f"{argument} must fit the padded input, got kernel_size {axis.kernel_size} along the {name}: output = "
            f"{rounding}{OUTPUT_FORMULA} = {axis.output_formula(size, rounding)} = {outputs}, which must be at least 1"
        )


def _check_transposed(axis: Axis, size: int, name: str) -> None:
    if axis.input_size(size) < 1:
        raise ValueError(
            f"padding must leave an output, got ({axis.before}, {axis.after}) along the {name} (less output_padding): "
            f"output = {TRANSPOSED_FORMULA} = {axis.input_formula(size)} = {axis.input_size(size)}, which must be at "
            f"least 1"
        )


@_remembered
def check_real_pixels(window: Window, input_size: Size) -> None:
    """Refuse a window that would see nothing but padding: it has no maximum and no mean."""
    checks.instance(window, "window", Window)
    input_size = checks.size(input_size, "input_size")
    for axis, size, name in zip(window.axes, input_size, AXIS_NAMES, strict=True):
        outputs = axis.output_size(size)
        # Of all others the whole window lies on the image.
        at_the_start = range(min(outputs, ceil_divide(axis.before, axis.stride)))
        at_the_end = range(max(0, (size - axis.extent + axis.before) // axis.stride + 1), outputs)
        for output in chain(at_the_start, at_the_end):
            if not axis.taps_of(output, size):
                raise ValueError(
                    f"padding must leave every window a real pixel, got ({axis.before}, {axis.after}) along the "
                    f"{name}: window {output} covers {axis.position(output, 0)} ... "
                    f"{axis.position(output, axis.kernel_size - 1)} (dilation {axis.dilation}) of a {name} of {size}"
                )


def ceil_divide(a: int, b: int) -> int:
    """The quotient, rounded up."""
    return -(-a // b)


class Coordinates(Protocol):
    """What is known of the pixels of one axis of a map, and how each kind of layer changes it."""

    def through(self, axis: Axis) -> Self:
        """After a convolution or pool with this window."""

    def back_through(self, axis: Axis) -> Self:
        """After a transposed convolution with this window."""

    def cropped(self, offset: int) -> Self:
        """After the first `offset` pixels were cut off."""

    def resized(self, size: int, outputs: int, *, align_corners: bool) -> Self:
        """After linear interpolation from `size` pixels to `outputs`."""


@dataclass(frozen=True)
class AffineMap:
    """Where a map's pixels lie on the image: pixel i is centred at x = scale * i + offset.

    Carried through the layers, it says how to crop a skip connection so that both maps lie on the same pixels
    (Long, Shelhamer, Darrell 2015, and the coordinate maps of their released code).

    >>> AffineMap().through(Axis(7, 2, 3, 3)).through(Axis(2, 2))
    AffineMap(scale=Fraction(4, 1), offset=Fraction(1, 1))
    """

    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        """Check the arguments: a scale of 0 is that of many pixels resized from one."""
        checks.instance(self.offset, "offset", Fraction)
        if checks.instance(self.scale, "scale", Fraction) < 0:
            raise ValueError(f"scale must be at least 0, got {self.scale}")

    def through(self, axis: Axis) -> "AffineMap":
        """After a convolution or pool: a window's output lies at the middle of its taps."""
        return AffineMap(self.scale * axis.stride, self.offset + self.scale * _middle(axis))

    def back_through(self, axis: Axis) -> "AffineMap":
        """After a transposed convolution, which undoes `through`."""
        scale = self.scale / axis.stride
        return AffineMap(scale, self.offset - scale * _middle(axis))

    def cropped(self, offset: int) -> "AffineMap":
        """After the first `offset` pixels were cut off."""
        return AffineMap(self.scale, self.offset + self.scale * offset)

    def resized(self, size: int, outputs: int, *, align_corners: bool) -> "AffineMap":
        """After linear interpolation from `size` pixels to `outputs`, which samples as `npseg.ops.resize_bilinear`."""
        if align_corners:
            return AffineMap(self.scale * Fraction(size - 1, max(outputs - 1, 1)), self.offset)
        ratio = Fraction(size, outputs)
        return AffineMap(self.scale * ratio, self.offset + self.scale * (ratio - 1) / 2)

    def crop_to(self, other: "AffineMap") -> int:
        """How many pixels to cut off at the start so that this map lies on `other`'s pixels.

        Raises:
            ValueError: no whole, non-negative number of pixels aligns the two.
        """
        checks.instance(other, "other", AffineMap)
        offset = (other.offset - self.offset) / (self.scale or 1)
        if self.scale != other.scale or offset.denominator != 1 or offset < 0:
            raise ValueError(
                f"no crop aligns x = {self.scale} * i + {self.offset} with x = {other.scale} * i + {other.offset}: "
                f"scales must be equal and the offset's difference a whole number of pixels of at least 0, got {offset}"
            )
        return int(offset)


def _middle(axis: Axis) -> Fraction:
    """The middle of the first window, in input pixels."""
    return Fraction(axis.extent - 1, 2) - axis.before
