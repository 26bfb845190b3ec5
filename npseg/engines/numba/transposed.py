"""The gradient with respect to the input, which is the transposed convolution: a convolution for each stride phase.

Pixel h receives from output i through tap k where h = i * stride - before + k * dilation. Write h + before = stride * q
+ r with the phase r = 0 ... stride - 1. Only taps with k * dilation = r modulo the stride reach it, and through these

    i = q + (r - k * dilation) / stride

So all pixels of one phase are a convolution of the gradient, without a stride, by their own few taps. Phases whose
taps look at the same places (with kernel size 2 * stride all do) are computed together, as several kinds of results of
one position q. Nothing is added twice, so nothing has to be zeroed first, but for phases that no tap reaches.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from npseg.engines.numba.grids import Grid
from npseg.geometry import Axis, Size, Window


@dataclass(frozen=True)
class _Phases:
    """Phases of one axis whose taps see the same shifts."""

    shifts: tuple[int, ...]
    """What position q sees: outputs q + shift."""
    residues: tuple[int, ...]
    """The phases r."""
    taps: tuple[tuple[int, ...], ...]
    """For each phase, the kernel tap of each shift."""


@cache
def _phases_of(axis: Axis) -> list[_Phases]:
    """The phases of an axis, those with equal shifts together; without those that no tap reaches."""
    together = defaultdict(list)
    for residue in range(axis.stride):
        taps = [k for k in range(axis.kernel_size) if (k * axis.dilation - residue) % axis.stride == 0]
        shifts = tuple((residue - k * axis.dilation) // axis.stride for k in taps)
        if taps:
            together[shifts].append((residue, tuple(taps)))
    return [
        _Phases(shifts, tuple(residue for residue, _ in members), tuple(taps for _, taps in members))
        for shifts, members in together.items()
    ]


def grids(window: Window, size: Size) -> list[Grid]:
    """The positions to compute for an image gradient of this size, a grid for each group of phases."""
    width = window.columns.kernel_size
    result = []
    for rows in _phases_of(window.rows):
        for columns in _phases_of(window.columns):
            top, height = _positions(rows, window.rows, size[0])
            left, breadth = _positions(columns, window.columns, size[1])
            if height < 1 or breadth < 1:
                continue
            kinds = list(product(range(len(rows.residues)), range(len(columns.residues))))
            taps = list(product(range(len(rows.shifts)), range(len(columns.shifts))))
            grid = Grid(
                height=height,
                width=breadth,
                stride=(1, 1),
                tap_rows=np.array([top + rows.shifts[t] for t, _ in taps]),
                tap_columns=np.array([left + columns.shifts[u] for _, u in taps]),
                step=(window.rows.stride, window.columns.stride),
                kind_rows=np.array([_pixel(window.rows, top, rows.residues[a]) for a, _ in kinds]),
                kind_columns=np.array([_pixel(window.columns, left, columns.residues[b]) for _, b in kinds]),
                places=np.array([[rows.taps[a][t] * width + columns.taps[b][u] for t, u in taps] for a, b in kinds]),
            )
            result.append(grid)
    return result


def all_reached(window: Window) -> bool:
    """Whether every phase has a tap, so that every pixel gets a result."""
    return all(sum(len(phases.residues) for phases in _phases_of(axis)) == axis.stride for axis in window.axes)


def _pixel(axis: Axis, position: int, residue: int) -> int:
    return axis.stride * position + residue - axis.before


def _positions(phases: _Phases, axis: Axis, size: int) -> tuple[int, int]:
    """The first position q that has a pixel in one of the phases, and how many there are."""
    first = min(-((residue - axis.before) // axis.stride) for residue in phases.residues)
    last = max((size - 1 + axis.before - residue) // axis.stride for residue in phases.residues)
    return first, last - first + 1
