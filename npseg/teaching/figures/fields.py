"""What windows see: receptive fields, dilation's gaps, and the uneven overlaps of transposed convolution."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Axis
from npseg.teaching.figures.style import BLUE, GREEN, INK, ORANGE, Picture, bare, heat, styled
from npseg.teaching.traces.transposed import conv_transpose2d

Layer = tuple[int, int, int]
"""Kernel size, stride and dilation."""


@styled
def receptive_field_growth(
    layers: Sequence[Layer] = ((3, 1, 1), (3, 1, 1), (3, 1, 1)), *, against: Sequence[Layer] | None = None
) -> Picture:
    """One line of pixels for each layer; one output at the top, and all that it sees below.

    Args:
        layers: (kernel_size, stride, dilation) of each, from the input up.
        against: another stack to be drawn beside it, by default the same with dilation 1, 2, 4, ...

    Raises:
        ValueError: there is no layer.
    """
    layers = _checked_layers(layers, "layers")
    against = None if against is None else _checked_layers(against, "against")
    doubled = [(kernel, stride, 2**depth) for depth, (kernel, stride, _) in enumerate(layers)]
    stacks = [list(layers), doubled if against is None else list(against)]
    widest = max(max(seen[0]) - min(seen[0]) for seen in map(_seen_below, stacks))
    figure = Picture(
        figsize=(min(5.0 + 0.28 * widest, 15.0), 1.0 + 1.0 * sum(map(len, stacks)) + 1.2), layout="constrained"
    )
    figure.suptitle("Receptive field: the input pixels behind one output", fontweight="bold", fontsize=13)
    for axes, stack in zip(figure.subplots(len(stacks), 1, sharex=True), stacks, strict=True):
        _draw_stack(axes, stack)
    axes.set_xlabel("input pixels from the middle")
    return figure


def _axes_of(layers: Sequence[Layer]) -> list[Axis]:
    return [Axis(kernel, stride, dilation=dilation) for kernel, stride, dilation in layers]


def _seen_below(layers: Sequence[Layer]) -> list[set[int]]:
    """The positions that output 0 of the last layer sees, on each map from the input up."""
    seen: list[set[int]] = [{0}]
    for axis in reversed(_axes_of(layers)):
        seen.append({axis.position(i, k) for i in seen[-1] for k in range(axis.kernel_size)})
    return seen[::-1]


def _draw_stack(axes: Axes, layers: Sequence[Layer]) -> None:
    """Maps as rows of dots, each at its place above the input, and a line for each tap."""
    parts, seen = _axes_of(layers), _seen_below(layers)
    steps = list(accumulate((axis.stride for axis in parts), initial=1, func=lambda a, b: a * b))
    starts = [0.0]  # where position 0 of each map lies, in input pixels: in the middle of its taps
    for axis, step in zip(parts, steps, strict=False):
        starts.append(starts[-1] + step * (axis.extent - 1) / 2)

    def place(depth: int, position: int) -> float:
        """Input pixels from the output's middle."""
        return starts[depth] + steps[depth] * position - starts[-1]

    for depth, axis in enumerate(parts):
        for output in seen[depth + 1]:
            for k in range(axis.kernel_size):
                ends = place(depth, axis.position(output, k)), place(depth + 1, output)
                axes.plot(ends, [depth, depth + 1], color="0.75", linewidth=0.9, zorder=1)
    for depth, positions in enumerate(seen):
        color = GREEN if depth == len(parts) else BLUE if depth == 0 else ORANGE
        places = [place(depth, position) for position in sorted(positions)]
        axes.scatter(places, [depth] * len(places), s=46, color=color, zorder=2)
    width = max(seen[0]) - min(seen[0]) + 1
    names = [f"{kernel} taps, stride {stride}, dilation {dilation}" for kernel, stride, dilation in layers]
    axes.set_yticks(range(len(seen)), ["input", *names])
    axes.set(title=f"{width} pixels wide, {len(seen[0])} of them seen", ylim=(-0.5, len(layers) + 0.5))
    axes.tick_params(axis="both", colors=INK, labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bare(axes)


@styled
def dilation_gridding(
    stacks: Sequence[Sequence[int]] = ((1, 1, 1), (2, 2, 2), (1, 2, 5)), *, kernel_size: int = 3
) -> Picture:
    """The taps of a dilated kernel, layer by layer, and how often the whole stack reaches each input pixel.

    Where equal dilations follow one another, whole rows and columns are never seen: the gridding artefact (Wang et al.,
    "Understanding convolution for semantic segmentation", 2018, section 3.2).

    Args:
        stacks: the dilations of each stack's layers, from the input up.
        kernel_size: of all layers.
    """
    stacks = _checked_stacks(stacks)
    kernel_size = _small(kernel_size, "kernel_size")
    layers = max(map(len, stacks))
    counts = [_paths([(kernel_size, 1, dilation) for dilation in stack]) for stack in stacks]
    largest = max(len(count) for count in counts)
    figure = Picture(figsize=(2.2 * layers + 3.2, 2.7 * len(stacks) + 0.7), layout="constrained")
    figure.suptitle("Dilation: taps of each layer, and the paths to each input pixel", fontweight="bold", fontsize=13)
    widths = [1.0] * layers + [1.35]
    grid = figure.subplots(len(stacks), layers + 1, squeeze=False, width_ratios=widths)
    for row, stack, count in zip(grid, stacks, counts, strict=True):
        for axes in row[len(stack) : layers]:
            axes.set_axis_off()
        for number, (axes, dilation) in enumerate(zip(row, stack, strict=False), 1):
            taps = _centred(_paths([(kernel_size, 1, dilation)]), largest)
            seen = np.where(np.outer(taps, taps) > 0, 1.0, np.nan)
            axes.pcolormesh(seen, cmap="Blues", vmin=0, vmax=1.3, edgecolors="white", linewidth=0.8)
            axes.set(title=f"layer {number}: dilation {dilation}", xticks=[], yticks=[], aspect="equal")
            axes.spines[:].set_color("0.8")
        field = _centred(count, largest)
        paths = np.outer(field, field)
        heat(row[-1], paths, largest=paths.max(), digits=largest <= 9)
        unseen = int(np.sum(count == 0))
        share = 1 - (len(count) - unseen) ** 2 / len(count) ** 2
        row[-1].set_title(f"together: {len(count)} x {len(count)} pixels,\n{share:.0%} never seen")
    return figure


def _paths(layers: Sequence[Layer]) -> Array:
    """How many ways lead from one output to each pixel of its field, along one axis."""
    ways = {0: 1}
    for axis in reversed(_axes_of(layers)):
        below: dict[int, int] = {}
        for output, count in ways.items():
            for k in range(axis.kernel_size):
                below[axis.position(output, k)] = below.get(axis.position(output, k), 0) + count
        ways = below
    return np.array([ways.get(position, 0) for position in range(min(ways), max(ways) + 1)])


def _centred(line: Array, length: int) -> Array:
    """The same with zeros on both sides."""
    before = (length - len(line)) // 2
    return np.pad(line, (before, length - len(line) - before))


@styled
def checkerboard(
    pairs: Sequence[tuple[int, int]] = ((2, 2), (3, 2), (4, 2), (5, 3), (6, 3)), *, size: int = 4
) -> Picture:
    """How many stamps of a transposed convolution meet at each output pixel, for pairs of kernel size and stride.

    Even inside only where the stride divides the kernel size; else the overlaps make a checkerboard (Odena, Dumoulin,
    Olah, "Deconvolution and checkerboard artifacts", 2016).

    Args:
        pairs: kernel size and stride.
        size: of the square input.
    """
    pairs = _checked_numbers(pairs, "pairs", "(kernel_size, stride)", 2)
    counts = [overlaps(kernel, stride, size) for kernel, stride in pairs]
    largest = max(int(count.max()) for count in counts)
    figure = Picture(figsize=(2.9 * len(pairs), 4.2), layout="constrained")
    figure.suptitle(
        f"Transposed convolution of {size} x {size} pixels: how many stamps meet", fontweight="bold", fontsize=13
    )
    row = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axes, (kernel, stride), count in zip(row, pairs, counts, strict=True):
        heat(axes, count, largest=largest)
        even = "gaps" if kernel < stride else "even inside" if kernel % stride == 0 else "a checkerboard"
        axes.set_title(f"kernel {kernel}, stride {stride}:\n{even}")
    return figure


def overlaps(kernel_size: int, stride: int, size: int) -> Array:
    """The stamps that meet at each output pixel: the taps of the transposed convolution, counted."""
    kernel_size, stride = _small(kernel_size, "kernel_size"), _small(stride, "stride")
    size = _small(size, "size")
    trace = conv_transpose2d(np.ones((1, 1, size, size)), np.ones((1, 1, kernel_size, kernel_size)), stride=stride)
    return np.bincount(trace.table.target, minlength=int(np.prod(trace.target_shape))).reshape(trace.target_shape[2:])


# -------------------------------------------------------------------------------------------------------------- checks

LARGEST = 64
"""More pixels, taps or layers than these nobody could tell apart."""


def _small(value: Any, name: str) -> int:
    """A number of pixels that can be drawn."""
    if checks.integer(value, name, at_least=1) > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST} to be drawn, got {value}")
    return int(value)


def _checked_layers(layers: Sequence[Layer], name: str) -> list[Layer]:
    return _checked_numbers(layers, name, "(kernel_size, stride, dilation)", 3)


def _checked_numbers(values: Any, name: str, what: str, length: int) -> list[Any]:
    """At least one tuple of so many small numbers."""
    for value in _some(values, name, what):
        if not isinstance(value, (tuple, list)) or len(value) != length:
            raise TypeError(f"{name} must hold {what}, got {checks.describe(value)}")
        for number in value:
            _small(number, name)
    return list(values)


def _checked_stacks(stacks: Any) -> list[Sequence[int]]:
    """At least one stack of at least one dilation."""
    for stack in _some(stacks, "stacks", "the dilations of layers"):
        for dilation in _some(stack, "stacks", "the dilations of layers"):
            _small(dilation, "stacks")
    return list(stacks)


def _some(values: Any, name: str, what: str) -> Sequence[Any]:
    """A tuple or list that is not empty, nor longer than can be drawn."""
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{name} must be a tuple or list of {what}, got {checks.describe(values)}")
    if not 1 <= len(values) <= LARGEST:
        raise ValueError(f"{name} must hold 1 ... {LARGEST} of {what}, got {len(values)}")
    return values
