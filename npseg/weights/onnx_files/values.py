"""What the names in an ONNX graph stand for while it is read: maps, constants, and sizes not known yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg.checks import Array


@dataclass(frozen=True)
class Map:
    """What the network computes: a map (N, C, H, W), or a vector (N, C).

    Attributes:
        name: of the npseg node that makes it.
        axes: how many it has in the file: 4; 3 for (N, C, L), which is (N, C, L, 1) here; or 2.
    """

    name: str
    axes: int


@dataclass(frozen=True)
class PoolIndices:
    """Where the maxima of the max pool of this name were found."""

    pool: str


@dataclass(frozen=True)
class Length:
    """A map's length along an axis, plus a number: known when the network runs."""

    of: Map
    axis: int
    plus: int = 0


Lengths = tuple[int | Length, ...]
"""A list of sizes, as Shape gives it and Slice, Resize and Reshape take it."""


@dataclass(frozen=True)
class Flat:
    """A map or a pool's indices as one list of numbers."""

    of: Map | PoolIndices


@dataclass(frozen=True)
class Zeros:
    """So many zeros as a map of these sizes has numbers."""

    shape: Lengths


@dataclass(frozen=True)
class Scattered:
    """A map's numbers put to where a pool found its maxima, among the zeros of a map of these sizes."""

    values: Map
    indices: PoolIndices
    shape: Lengths


Value = Map | PoolIndices | Lengths | Flat | Zeros | Scattered | Array


def lengths_of(value: Any) -> Lengths | None:
    """A value as a list of sizes: lengths already, or a constant of integers with at most one axis."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim <= 1:
        return tuple(int(number) for number in value.ravel())
    return None


def whole_numbers(value: Any) -> list[int] | None:
    """A value as a list of integers that are known now."""
    lengths = lengths_of(value)
    if lengths is None or any(isinstance(length, Length) for length in lengths):
        return None
    return [length for length in lengths if isinstance(length, int)]


def reference_of(lengths: Sequence[int | Length], plus: tuple[int, int] = (0, 0)) -> Map | None:
    """The map whose rows and columns these two lengths are, plus two numbers; None if they are not a map's."""
    rows, columns = lengths
    if isinstance(rows, Length) and isinstance(columns, Length):
        of_one_map = rows.of == columns.of and (rows.axis, columns.axis) == (2, 3)
        if of_one_map and (rows.plus, columns.plus) == plus:
            return rows.of
    return None
