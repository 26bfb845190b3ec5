"""Receptive fields: which pixels of the image can influence a value, carried exactly through windows and branches.

Along one axis, value i of a map sees the image's pixels first(i) ... last(i). A convolution or pool with kernel k,
stride s, `before` pixels of padding and dilation d makes of them

    first'(i) = min over taps t of first(i s - before + t d)        last'(i) = max of last(...)

so a field of r pixels at distance a from its neighbour becomes r + d (k - 1) a, and a becomes a s. A transposed
convolution reads the other way: output o sees the inputs j with o = j s - before + t d, of which there are more or
fewer depending on o modulo s. Therefore first and last are kept for one period of i, and all stay whole numbers.
The image is taken to be unbounded: a field that reaches past the border counts in full, as in the literature.

Source: Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks" (Distill, 2019), which
covers the windows; the periods for transposed convolutions and interpolation are ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from npseg import checks
from npseg.geometry import Axis
from npseg.nn import Add, Concat, Graph
from npseg.nn.layers import Shape
from npseg.nn.steps import IMAGE

Interval: TypeAlias = tuple[int, int] | None
"""The first and last pixel, or None where nothing is seen."""

JOINING = (Add, Concat)
"""Layers whose output sees all inputs; a crop's second input gives no more than its size."""


@dataclass(frozen=True)
class Footprint:
    """What each value of one axis sees of the image, for one period: value i + len(intervals) sees `advance` further.

    >>> Footprint().through(Axis(3, 1, 1, 1)).through(Axis(2, 2)).intervals
    ((-1, 2),)
    """

    intervals: tuple[Interval, ...] = ((0, 0),)
    advance: int = 1

    def at(self, i: int) -> Interval:
        """The first and last pixel that value i sees."""
        periods, phase = divmod(i, len(self.intervals))
        interval = self.intervals[phase]
        return (
            None if interval is None else (interval[0] + periods * self.advance, interval[1] + periods * self.advance)
        )

    @property
    def sizes(self) -> list[int]:
        """How many pixels the values of one period see, from first to last."""
        return [0 if interval is None else interval[1] - interval[0] + 1 for interval in self.intervals]

    def through(self, axis: Axis) -> "Footprint":
        """After a convolution or pool: a window sees what its taps see."""
        period = len(self.intervals) // math.gcd(len(self.intervals), axis.stride)
        seen = [[axis.position(i, tap) for tap in range(axis.kernel_size)] for i in range(period)]
        return self._reading(seen, period * axis.stride)

    def back_through(self, axis: Axis) -> "Footprint":
        """After a transposed convolution: an output sees the inputs whose stamps reach it."""
        period = len(self.intervals) * axis.stride
        reaching = [[o + axis.before - tap * axis.dilation for tap in range(axis.kernel_size)] for o in range(period)]
        seen = [[position // axis.stride for position in row if position % axis.stride == 0] for row in reaching]
        return self._reading(seen, len(self.intervals))

    def cropped(self, offset: int) -> "Footprint":
        """After the first `offset` pixels were cut off."""
        return self._reading([[i + offset] for i in range(len(self.intervals))], len(self.intervals))

    def resized(self, size: int, outputs: int, *, align_corners: bool) -> "Footprint":
        """After linear interpolation: an output sees its two neighbours, or the one it falls on.

        A map of one pixel has no neighbours, and its outputs see that pixel.
        """
        if align_corners:
            numerator, denominator, start = size - 1, max(outputs - 1, 1), 0
        else:
            numerator, denominator, start = 2 * size, 2 * outputs, size - outputs
        common = math.gcd(numerator, denominator, start)
        numerator, denominator, start = numerator // common, denominator // common, start // common
        period = denominator * len(self.intervals)
        positions = [divmod(start + o * numerator, denominator) for o in range(period)]
        seen = [[left, left + 1] if remainder else [left] for left, remainder in positions]
        if size == 1:
            seen = [[(2 * (start + o * numerator) + denominator) // (2 * denominator)] for o in range(period)]
        return self._reading(seen, numerator * len(self.intervals))

    def joined(self, other: "Footprint") -> "Footprint":
        """What a sum of two maps sees: all that either sees.

        Raises:
            ValueError: the two do not advance alike, so that they lie on the same pixels nowhere but at the start.
        """
        period = math.lcm(len(self.intervals), len(other.intervals))
        mine, theirs = (period // len(f.intervals) * f.advance for f in (self, other))
        if mine != theirs:
            raise ValueError(
                f"maps that are joined must have the same effective stride, got {self.advance}/{len(self.intervals)} "
                f"and {other.advance}/{len(other.intervals)}"
            )
        return _shortest([_hull([self.at(i), other.at(i)]) for i in range(period)], mine)

    def _reading(self, seen: Sequence[Sequence[int]], steps: int) -> "Footprint":
        """Values that see these values of ours; one period later, those `steps` further."""
        advance = steps * self.advance // len(self.intervals)
        return _shortest([_hull([self.at(i) for i in row]) for row in seen], advance)


def _hull(intervals: Sequence[Interval]) -> Interval:
    """From the first pixel of any to the last of any."""
    seen = [interval for interval in intervals if interval is not None]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None


def _shortest(intervals: Sequence[Interval], advance: int) -> Footprint:
    """The footprint with its shortest period."""
    length = len(intervals)
    for period in range(1, length):
        if length % period == 0 and advance * period % length == 0:
            shorter = Footprint(tuple(intervals[:period]), advance * period // length)
            if all(shorter.at(i) == interval for i, interval in enumerate(intervals)):
                return shorter
    return Footprint(tuple(intervals), advance)


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field along one axis, where paths of different lengths may lead to a map.

    Attributes:
        narrowest: through the path that sees least.
        widest: through the path that sees most.
        union: through all paths together; larger than the widest where branches are not centred on each other.
    """

    narrowest: Footprint = Footprint()
    widest: Footprint = Footprint()
    union: Footprint = Footprint()

    @property
    def size(self) -> int:
        """Pixels that one value can depend on, from the first to the last: what is called the receptive field."""
        return max(self.union.sizes)

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest field of any single path, and of any value of the map."""
        return min(self.narrowest.sizes), max(self.widest.sizes)

    def through(self, axis: Axis) -> "ReceptiveField":
        """After a convolution or pool."""
        return ReceptiveField(*(path.through(axis) for path in self._paths))

    def back_through(self, axis: Axis) -> "ReceptiveField":
        """After a transposed convolution."""
        return ReceptiveField(*(path.back_through(axis) for path in self._paths))

    def cropped(self, offset: int) -> "ReceptiveField":
        """After the first `offset` pixels were cut off."""
        return ReceptiveField(*(path.cropped(offset) for path in self._paths))

    def resized(self, size: int, outputs: int, *, align_corners: bool) -> "ReceptiveField":
        """After linear interpolation."""
        return ReceptiveField(*(path.resized(size, outputs, align_corners=align_corners) for path in self._paths))

    def joined(self, other: "ReceptiveField") -> "ReceptiveField":
        """Where two paths meet."""
        return ReceptiveField(
            min(self.narrowest, other.narrowest, key=lambda path: min(path.sizes)),
            max(self.widest, other.widest, key=lambda path: max(path.sizes)),
            self.union.joined(other.union),
        )

    @property
    def _paths(self) -> tuple[Footprint, Footprint, Footprint]:
        return self.narrowest, self.widest, self.union


def receptive_fields(model: Graph, shapes: Mapping[str, Shape]) -> dict[str, tuple[ReceptiveField, ReceptiveField]]:
    """The receptive field of every map, along rows and columns.

    Args:
        model: the network.
        shapes: of its maps, from `model.shapes(input_size)`.

    Returns:
        By map name, "image" included.

    Raises:
        TypeError, ValueError: an argument is not of this form; maps of different strides are joined.

    >>> from npseg.models import vgg
    >>> model = vgg()
    >>> [receptive_fields(model, model.shapes((224, 224)))[name][0].size for name in ("pool3", "pool5", "fc6")]
    [44, 212, 404]
    """
    checks.instance(model, "model", Graph)
    missing = {name for node in model.nodes for name in node.inputs} - set(checks.mapping(shapes, "shapes", "shapes"))
    if missing:
        raise ValueError(f"shapes must hold the shape of every map, without {sorted(missing)}")
    fields = {IMAGE: (ReceptiveField(), ReceptiveField())}
    for node in model.nodes:
        inputs = tuple(shapes[name] for name in node.inputs)
        rows, columns = node.layer.carry(*fields[node.inputs[0]], *inputs)
        if isinstance(node.layer, JOINING):
            for name in node.inputs[1:]:
                rows, columns = rows.joined(fields[name][0]), columns.joined(fields[name][1])
        fields[node.name] = rows, columns
    return fields
