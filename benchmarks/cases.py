"""What `benchmarks.ops` measures: the operations, their sizes, the passes of each, and how much work they are.

Work is counted for the direct algorithm, whatever an engine does: a multiplication and an addition for every tap on a
real pixel (padding costs nothing). Traffic is counted once for every array that a pass reads or writes.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from math import prod

import numpy as np

from npseg.checks import Array
from npseg.geometry import Axis

AIMS = {
    "3x3, 64 channels and 28 pixels or more": (0.65, 0.4),
    "3x3 on 14x14, or 16 to 32 channels": (1.25, 1.0),
    "3x3, dilated": (1.15, 0.6),
    "1x1": (1.25, 1.0),
    "7x7 (fc6)": (0.45, 0.3),
    "transposed": (0.7, 0.4),
    "depthwise": (1.2, 0.7),
    "pools, unpooling, bilinear, batch norm": (0.6, 0.3),
    "softmax and cross-entropy": (1.0, 0.7),
}
"""Groups of operations, each with the ratio npseg / PyTorch that it must not exceed, and the one that it aims at."""

WIDE, SMALL, DILATED, POINTWISE, FC6, TRANSPOSED, DEPTHWISE, PLANES, LOSS = AIMS

Shape = tuple[int, ...]

FORWARD, BACKWARD, INPUT_GRADIENT, WEIGHT_GRADIENT = "forward", "backward", "input gradient", "weight gradient"
FORWARD_AND_BACKWARD = "forward and backward"


@dataclass(frozen=True)
class Pass:
    """One direction of an operation, with its work."""

    name: str
    operations: int
    """Of the direct algorithm, in floating point."""
    traffic: int
    """Bytes read and written, each array once, float32 and int64."""


@dataclass(frozen=True)
class Case:
    """One operation at one size."""

    group: str
    name: str
    kind: str
    """The key of its two forms in `npseg_side.KINDS` and `pytorch_side.KINDS`."""
    shapes: tuple[tuple[str, Shape], ...]
    """The arrays that it needs."""
    options: tuple[tuple[str, int], ...]
    passes: tuple[Pass, ...]

    @property
    def for_winograd(self) -> bool:
        """Whether the Winograd algorithm can compute it."""
        options = dict(self.options)
        return self.kind == "convolution" and [options[name] for name in ("kernel_size", "stride", "groups")] == [
            3,
            1,
            1,
        ]

    def arrays(self) -> dict[str, Array]:
        """The arrays, the same in every process."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return {name: _array(rng, name, shape, dict(self.options)) for name, shape in self.shapes}


def _array(rng: np.random.Generator, name: str, shape: Shape, options: dict[str, int]) -> Array:
    if name == "labels":
        labels = rng.integers(0, options["classes"], shape)
        labels[rng.random(shape) < 0.05] = 255
        return labels
    if name == "indices":
        return _places_in_cells(rng, shape, options["scale"])
    return rng.standard_normal(shape, dtype=np.float32)


def _places_in_cells(rng: np.random.Generator, shape: Shape, scale: int) -> Array:
    """For each value the flat position of a random pixel of its cell, as max pooling would give."""
    *_, height, width = shape
    rows = np.arange(height)[:, None] * scale + rng.integers(0, scale, shape)
    columns = np.arange(width) * scale + rng.integers(0, scale, shape)
    return np.asarray(rows * (width * scale) + columns)


def _numbers(*shapes: Shape) -> int:
    return sum(prod(shape) for shape in shapes)


# ------------------------------------------------------------------------------------------------------- convolutions


def convolution(
    group: str,
    channels: int,
    size: int,
    *,
    out: int | None = None,
    batch: int = 1,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Case:
    """A convolution whose padding keeps the size, at stride 1; depthwise with as many groups as channels."""
    out, padding = out or channels, dilation * (kernel - 1) // 2
    axis = Axis(kernel, stride, padding, padding, dilation)
    outputs = axis.output_size(size)
    shapes: dict[str, Shape] = {
        "x": (batch, channels, size, size),
        "weight": (out, channels // groups, kernel, kernel),
        "bias": (out,),
        "grad": (batch, out, outputs, outputs),
    }
    form = ("depthwise " if groups > 1 else "") + f"{kernel}x{kernel}"
    details = _details(stride=stride, dilation=dilation)
    return Case(
        group,
        f"{form}, {channels} -> {out} at {size}x{size}{details}, batch {batch}",
        "convolution",
        tuple(shapes.items()),
        (
            ("kernel_size", kernel),
            ("stride", stride),
            ("padding", padding),
            ("dilation", dilation),
            ("groups", groups),
        ),
        _convolution_passes(shapes, batch * out * channels // groups, len(axis.taps(size, outputs).output)),
    )


def transposed(channels: int, size: int, stride: int, *, batch: int = 1) -> Case:
    """A transposed convolution that enlarges `stride` times, as FCN's upsamplers do: kernel 2 * stride."""
    kernel, padding, larger = 2 * stride, stride // 2, size * stride
    shapes: dict[str, Shape] = {
        "x": (batch, channels, size, size),
        "weight": (channels, channels, kernel, kernel),
        "grad": (batch, channels, larger, larger),
    }
    taps = len(Axis(kernel, stride, padding, padding).taps(larger, size).output)
    return Case(
        TRANSPOSED,
        f"transposed k{kernel}s{stride}, {channels} channels, {size}x{size} -> {larger}x{larger}, batch {batch}",
        "transposed",
        tuple(shapes.items()),
        (("kernel_size", kernel), ("stride", stride), ("padding", padding)),
        _convolution_passes(shapes, batch * channels * channels, taps),
    )


def _convolution_passes(shapes: dict[str, Shape], pairs: int, taps: int) -> tuple[Pass, ...]:
    """The three passes do the same multiplications, and read two of the same three arrays to write the third."""
    operations = 2 * pairs * taps * taps
    traffic = 4 * _numbers(shapes["x"], shapes["weight"], shapes["grad"])
    return tuple(Pass(name, operations, traffic) for name in (FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT))


def _details(**options: int) -> str:
    return "".join(f", {name} {value}" for name, value in options.items() if value != 1)


# --------------------------------------------------------------------------------------------- plane by plane, and loss


def pool(kind: str, channels: int, size: int, kernel: int, stride: int, *, batch: int = 1) -> Case:
    """Max or average pooling."""
    padding = (kernel - 1) // 2
    axis = Axis(kernel, stride, padding, padding)
    outputs = axis.output_size(size)
    x, y = (batch, channels, size, size), (batch, channels, outputs, outputs)
    numbers = _numbers(x, y) + (2 * _numbers(y) if kind == "max pool" else 0)  # an int64 index is as long as two
    taps = batch * channels * len(axis.taps(size, outputs).output) ** 2
    return Case(
        PLANES,
        f"{kind} {kernel}x{kernel}, stride {stride}, {channels} channels at {size}x{size}, batch {batch}",
        kind,
        (("x", x), ("grad", y)),
        (("kernel_size", kernel), ("stride", stride), ("padding", padding)),
        (
            Pass(FORWARD, taps, 4 * numbers),
            Pass(BACKWARD, _numbers(y) if kind == "max pool" else taps, 4 * numbers),
        ),
    )


def enlargement(kind: str, channels: int, size: int, scale: int, *, batch: int = 1) -> Case:
    """Max, nearest or bed-of-nails unpooling, or bilinear resizing."""
    small, large = (batch, channels, size, size), (batch, channels, size * scale, size * scale)
    shapes = {"x": small, "grad": large} | ({"indices": small} if kind == "max unpooling" else {})
    numbers = _numbers(small, large) + (2 * _numbers(small) if kind == "max unpooling" else 0)
    per_pixel = 7 if kind == "bilinear" else 0  # four products and their sum; unpooling moves, but computes nothing ...
    backward = per_pixel or (1 if kind == "nearest unpooling" else 0)  # ... unless a cell's gradients are added
    return Case(
        PLANES,
        f"{kind} x{scale}, {channels} channels at {size}x{size}, batch {batch}",
        kind,
        tuple(shapes.items()),
        (("scale", scale),),
        (
            Pass(FORWARD, per_pixel * _numbers(large), 4 * numbers),
            Pass(BACKWARD, backward * _numbers(large), 4 * numbers),
        ),
    )


def batch_norm(channels: int, size: int, *, batch: int) -> Case:
    """Batch normalisation while training."""
    x = batch, channels, size, size
    per_channel = tuple((name, (channels,)) for name in ("gamma", "beta"))
    return Case(
        PLANES,
        f"batch norm, {channels} channels at {size}x{size}, batch {batch}",
        "batch norm",
        (("x", x), ("grad", x), *per_channel),
        (("channels", channels),),
        (Pass(FORWARD, 6 * _numbers(x), 8 * _numbers(x)), Pass(BACKWARD, 9 * _numbers(x), 12 * _numbers(x))),
    )


def cross_entropy(classes: int, size: int, *, batch: int) -> Case:
    """The loss of a segmentation; its gradient comes with the loss, as in training."""
    x, labels = (batch, classes, size, size), (batch, size, size)
    read = 4 * _numbers(x) + 8 * _numbers(labels)
    return Case(
        LOSS,
        f"cross-entropy, {classes} classes at {size}x{size}, batch {batch}",
        "cross-entropy",
        (("x", x), ("labels", labels)),
        (("classes", classes),),
        (
            Pass(FORWARD, 4 * _numbers(x), read),
            Pass(FORWARD_AND_BACKWARD, 6 * _numbers(x), read + 4 * _numbers(x)),
        ),
    )


# ------------------------------------------------------------------------------------------------------------ the lists

CASES = (
    convolution(WIDE, 64, 224),
    convolution(WIDE, 64, 112),
    convolution(WIDE, 128, 112),
    convolution(WIDE, 128, 56),
    convolution(WIDE, 128, 56, batch=4),
    convolution(WIDE, 256, 56),
    convolution(WIDE, 256, 28),
    convolution(WIDE, 256, 28, batch=4),
    convolution(WIDE, 512, 28),
    convolution(SMALL, 512, 14),
    convolution(SMALL, 512, 14, batch=4),
    convolution(SMALL, 16, 128, batch=4),
    convolution(SMALL, 16, 64, out=32, batch=4),
    convolution(SMALL, 32, 64, batch=4),
    convolution(DILATED, 512, 28, dilation=2),
    convolution(POINTWISE, 64, 56, out=256, kernel=1),
    convolution(POINTWISE, 256, 28, kernel=1, batch=4),
    convolution(POINTWISE, 4096, 7, kernel=1),
    convolution(POINTWISE, 512, 14, out=21, kernel=1),
    convolution(FC6, 512, 7, out=4096, kernel=7),
    convolution(FC6, 128, 4, out=256, kernel=7, batch=4),
    transposed(21, 14, 2),
    transposed(21, 28, 8),
    transposed(21, 16, 8, batch=4),
    transposed(21, 7, 32),
    convolution(DEPTHWISE, 64, 112, groups=64),
    convolution(DEPTHWISE, 64, 112, groups=64, stride=2),
    convolution(DEPTHWISE, 512, 14, groups=512, batch=4),
    convolution(DEPTHWISE, 256, 28, groups=256, stride=2, batch=4),
    pool("max pool", 64, 224, 2, 2),
    pool("max pool", 64, 112, 3, 2),
    pool("average pool", 64, 224, 2, 2),
    pool("average pool", 64, 112, 3, 2),
    enlargement("max unpooling", 64, 112, 2),
    enlargement("nearest unpooling", 64, 112, 2),
    enlargement("bed of nails", 64, 112, 2),
    enlargement("bilinear", 64, 112, 2),
    enlargement("bilinear", 21, 28, 8),
    batch_norm(64, 112, batch=4),
    cross_entropy(21, 224, batch=1),
    cross_entropy(11, 128, batch=4),
)

QUICK_CASES = (
    convolution(WIDE, 16, 12, batch=2),
    convolution(SMALL, 8, 7, out=6),
    convolution(DILATED, 8, 12, dilation=2),
    convolution(POINTWISE, 8, 6, kernel=1),
    convolution(FC6, 8, 4, out=16, kernel=7),
    transposed(3, 4, 2),
    convolution(DEPTHWISE, 8, 12, groups=8, stride=2),
    pool("max pool", 4, 12, 2, 2),
    pool("average pool", 4, 11, 3, 2),
    enlargement("max unpooling", 4, 6, 2),
    enlargement("nearest unpooling", 4, 6, 2),
    enlargement("bed of nails", 4, 6, 2),
    enlargement("bilinear", 4, 6, 2),
    batch_norm(4, 6, batch=2),
    cross_entropy(5, 8, batch=2),
)
"""One small case of each kind: not to measure, but to see that all of it runs."""


def chosen(cases: Sequence[Case], patterns: Sequence[str]) -> Iterator[Case]:
    """The cases in whose name or group one of the (shell) patterns occurs; all, where there are no patterns."""
    for case in cases:
        texts = case.name, case.group
        if not patterns or any(fnmatch(text, f"*{pattern}*") for text in texts for pattern in patterns):
            yield case


def lines(cases: Sequence[Case]) -> int:
    """How many passes they have in all."""
    return sum(len(case.passes) for case in cases)
