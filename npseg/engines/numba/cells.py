"""Cells of two by two: planes made twice as large, or half as large, in one pass.

Where both matrices of a resizing have the same entries for every cell, the two products are one loop:

    twice as large:   y[2 i + a, 2 j + b] = rows[a] * (columns[b] * x[i, j])
    half as large:    y[i, j] = sum over b of columns[b] * (sum over a of rows[a] * x[2 i + a, 2 j + b])

Nearest unpooling, bed of nails, the average of 2x2 pixels and the gradients of all three are such products. What they
cost is memory, so every number is read once and written once, and nothing is kept between the two. Where a matrix has
no entry, the pixel is passed over: zero times infinity would not be zero.
"""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import inner, on_all_cores, plain
from npseg.engines.numba.vectors import LANES, load, load_pairs, multiply_add, spread, store, store_pairs
from npseg.geometry import ceil_divide
from npseg.matrices import SparseMatrix

BAND = 32
"""Rows of cells that a thread takes at once."""


class Side(NamedTuple):
    """What the two pixels of a cell are multiplied by along one axis, and which of them have an entry."""

    weights: Array
    seen: Array


_known: WeakKeyDictionary[SparseMatrix, Side | None] = WeakKeyDictionary()


def in_cells(x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array | None:
    """`rows @ plane @ columns.T` for every plane; None where the matrices are not made of cells, or of a few only."""
    larger = columns.shape[0] > columns.shape[1]
    if min(columns.shape) < LANES:
        return None
    down, across = (_side(matrix.T if larger else matrix) for matrix in (rows, columns))
    if down is None or across is None:
        return None
    batch, channels = x.shape[:2]
    cells = rows.shape[1] if larger else rows.shape[0]
    y = buffers.empty((batch, channels, rows.shape[0], columns.shape[0]), x.dtype)
    arrays = plain(x).reshape(-1), y.reshape(-1)
    (_enlarge if larger else _reduce)(
        batch * channels * ceil_divide(cells, BAND), *arrays, cells, min(columns.shape), *down, *across
    )
    return y


def _side(matrix: SparseMatrix) -> Side | None:
    """Of a matrix (n, 2 n) whose rows have the same entries, each row's two places further on; None of any other."""
    cells, pixels = matrix.shape
    if pixels != 2 * cells:
        return None
    if matrix not in _known:
        _known[matrix] = _same_side(matrix)
    return _known[matrix]


def _same_side(matrix: SparseMatrix) -> Side | None:
    cells, entries = matrix.shape[0], int(matrix.row_lengths[0])
    if np.any(matrix.row_lengths != entries):
        return None
    places = matrix.indices.reshape(cells, entries) - 2 * np.arange(cells)[:, None]
    weights = matrix.data.reshape(cells, entries)
    if np.any(places < 0) or np.any(places > 1) or np.any(places != places[0]) or np.any(weights != weights[0]):
        return None
    side = Side(np.zeros(2, matrix.data.dtype), np.zeros(2, np.bool_))
    side.weights[places[0]], side.seen[places[0]] = weights[0], True
    return side


@inner
def _band(task: int, cells: int) -> tuple[int, int, int]:
    """A task's plane, and its first row of cells and the one behind its last."""
    bands = -(-cells // BAND)
    first = task % bands * BAND
    return task // bands, first, min(first + BAND, cells)


@on_all_cores()
def _enlarge(
    task: int,
    x: Array,
    y: Array,
    cells: int,
    width: int,
    rows: Array,
    seen_rows: Array,
    columns: Array,
    seen_columns: Array,
) -> None:
    """Some rows of cells of one plane."""
    plane, first, last = _band(task, cells)
    for row in range(plane * cells + first, plane * cells + last):
        for a in range(2):
            to = (2 * row + a) * 2 * width
            _enlarge_line(x, row * width, y, to, width, rows[a], columns, seen_rows[a], seen_columns)


@inner
def _enlarge_line(
    x: Array, at: int, y: Array, to: int, width: int, down: Any, columns: Array, seen: bool, seen_columns: Array
) -> None:
    """One of the two lines that become of x[at : at + width]."""
    zero, down = spread(x.dtype.type(0)), spread(down)
    left, right = spread(columns[0]), spread(columns[1])
    has_left, has_right = seen and seen_columns[0], seen and seen_columns[1]
    for block in range(0, width, LANES):
        j = min(block, width - LANES)
        pixels = load(x, at + j)
        even = multiply_add(down, multiply_add(left, pixels, zero), zero) if has_left else zero
        odd = multiply_add(down, multiply_add(right, pixels, zero), zero) if has_right else zero
        store_pairs(y, to + 2 * j, even, odd)


@on_all_cores()
def _reduce(
    task: int,
    x: Array,
    y: Array,
    cells: int,
    width: int,
    rows: Array,
    seen_rows: Array,
    columns: Array,
    seen_columns: Array,
) -> None:
    """Some rows of cells of one plane."""
    plane, first, last = _band(task, cells)
    zero = spread(x.dtype.type(0))
    up, down, left, right = spread(rows[0]), spread(rows[1]), spread(columns[0]), spread(columns[1])
    for row in range(plane * cells + first, plane * cells + last):
        upper, lower = 2 * row * 2 * width, (2 * row + 1) * 2 * width
        for block in range(0, width, LANES):
            j = min(block, width - LANES)
            even = odd = total = zero
            if seen_rows[0]:
                a, b = load_pairs(x, upper + 2 * j)
                even, odd = multiply_add(up, a, even), multiply_add(up, b, odd)
            if seen_rows[1]:
                a, b = load_pairs(x, lower + 2 * j)
                even, odd = multiply_add(down, a, even), multiply_add(down, b, odd)
            if seen_columns[0]:
                total = multiply_add(left, even, total)
            if seen_columns[1]:
                total = multiply_add(right, odd, total)
            store(y, row * width + j, total)
