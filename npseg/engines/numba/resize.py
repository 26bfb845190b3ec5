"""Resizing: every plane times a sparse matrix along its rows and another along its columns.

    y[plane] = rows @ x[plane] @ columns.T

Bilinear interpolation, average pooling, nearest unpooling and bed of nails are such products, and so are their
gradients. Along the rows the product is a sum of whole lines, LANES numbers at a time, whatever the matrix. Along the
columns a vector of outputs needs pixels from different places, which is what vectors do badly, unless neighbours of the
result see neighbours of the line, or every second one, or are two phases of the same:

    one phase, step 1 or 2:    y[begin + k]           = sum over e of weight[e]    * line[place[e]    + step * k]
    two phases:                y[begin + 2 k + p]     = sum over e of weight[p, e] * line[place[p, e] + k]

These are the pools with stride 1 or 2 and the enlargements by two. With step 2 a row's entries must be neighbours: one
load brings two of them, the even places and the odd. The shortest sums, of one or two entries, have loops of their own,
since counting the entries would cost more than adding them. All else, such as bilinear interpolation by 8, is
taken in strips of LANES outputs: their weights for one pixel stand side by side, and are multiplied by that pixel.

    y[j : j + LANES] = sum over the pixels w that one of them sees of weights[w, j : j + LANES] * line[w]

What makes a plane smaller comes first, band by band, so that what lies between stays in the cache.
"""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.cells import in_cells
from npseg.engines.numba.compiling import inner, numbers_of, on_all_cores, plain
from npseg.engines.numba.vectors import (
    LANES,
    differ,
    load,
    load_pairs,
    multiply_add,
    select,
    spread,
    store,
    store_pairs,
    store_some,
)
from npseg.matrices import SparseMatrix

BAND = 16
"""Output rows that a thread takes at once when the plane becomes smaller."""

KEPT = 1 << 13
"""Numbers between the two products that a thread keeps when the plane becomes larger."""


class Sizes(NamedTuple):
    """The numbers of one call."""

    height: int
    width: int
    rows: int
    columns: int
    band: int
    bands: int
    phases: int
    step: int
    begin: int
    end: int


sizes_of = numbers_of(Sizes)


class Entries(NamedTuple):
    """The entries of a sparse matrix, or of its strips, as compiled code takes them apart."""

    weights: Array
    places: Array
    starts: Array


class Columns(NamedTuple):
    """The matrix along the columns, made ready: outputs begin ... end - 1 are regular, or there are strips instead."""

    phases: int
    step: int
    begin: int
    end: int
    strips: Array
    """(pixels of all strips, LANES)"""
    strip_places: Array
    """The first pixel of each strip."""
    strip_starts: Array
    """Where each strip begins in `strips`, and where the last one ends."""


def resize(x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array:
    """(N, C, H_out, W_out): `rows @ plane @ columns.T` for every plane."""
    y = in_cells(x, rows, columns)
    if y is not None:
        return y
    batch, channels, height, width = x.shape
    outputs = rows.shape[0], columns.shape[0]
    y = buffers.empty((batch, channels, *outputs), x.dtype)
    plan = _ready(columns)
    larger = outputs[1] > width
    band = min(outputs[0], max(BAND, KEPT * outputs[0] // (height * outputs[1])) if larger else BAND)
    first, last, most = _needed(rows, band)
    kept = most * outputs[1] if larger else band * width + LANES
    lines = buffers.empty((numba.config.NUMBA_NUM_THREADS, kept), x.dtype)
    _resize(
        batch * channels * len(first),
        np.array([height, width, *outputs, band, len(first), *plan[:4]]),
        plain(x).reshape(-1),
        y.reshape(-1),
        lines,
        first,
        last,
        plain(rows.data),
        rows.indices,
        rows.indptr,
        plain(columns.data),
        columns.indices,
        columns.indptr,
        *plan[4:],
    )
    return y


_seen: WeakKeyDictionary[SparseMatrix, dict[int, tuple[Array, Array, int]]] = WeakKeyDictionary()


def _needed(matrix: SparseMatrix, band: int) -> tuple[Array, Array, int]:
    """For each band of outputs the first input that one of them sees, and the one behind the last; most of a band."""
    seen = _seen.setdefault(matrix, {})
    if band not in seen:
        starts = matrix.indptr[np.append(np.arange(0, matrix.shape[0], band), matrix.shape[0])]
        first = np.zeros(len(starts) - 1, np.int64)
        last = np.zeros_like(first)
        filled = np.nonzero(starts[1:] > starts[:-1])[0]
        if len(filled):
            first[filled] = np.minimum.reduceat(matrix.indices, starts[filled])
            last[filled] = np.maximum.reduceat(matrix.indices, starts[filled]) + 1
        seen[band] = first, last, int((last - first).max())
    return seen[band]


_known: WeakKeyDictionary[SparseMatrix, Columns] = WeakKeyDictionary()


def _ready(matrix: SparseMatrix) -> Columns:
    known = _known.get(matrix)
    if known is None:
        regular = _regular_part(matrix)
        known = _known[matrix] = Columns(*regular, *(_no_strips(matrix) if regular[0] else _strips(matrix)))
    return known


def _regular_part(matrix: SparseMatrix) -> tuple[int, int, int, int]:
    """Phases, step, and from where to where the outputs follow them; no phases where too few do."""
    outputs, inputs = matrix.shape
    for phases, step in ((1, 1), (1, 2), (2, 1)):
        if step == 2 and outputs > inputs:
            continue  # loading pairs reads one pixel too many, for which only lines of our own have room
        if step == 2 and not _neighbours(matrix):
            continue
        alike = np.array([_follows(matrix, row, phases, step) for row in range(outputs - phases)], np.bool_)
        breaks = np.concatenate([[-1], np.nonzero(~alike)[0], [len(alike)]])
        longest = int(np.argmax(np.diff(breaks)))
        begin, end = int(breaks[longest]) + 1, int(breaks[longest + 1]) + phases
        end -= (end - begin) % phases
        if end - begin >= max(LANES * phases, outputs // 2):
            return phases, step, begin, end
    return 0, 0, 0, 0


def _neighbours(matrix: SparseMatrix) -> bool:
    """Whether every row's entries stand side by side."""
    first, behind = matrix.indptr[:-1], matrix.indptr[1:]
    filled = behind > first
    spans = matrix.indices[behind[filled] - 1] - matrix.indices[first[filled]] + 1
    return np.array_equal(spans, (behind - first)[filled])


def _follows(matrix: SparseMatrix, row: int, phases: int, step: int) -> bool:
    """Whether the row `phases` further on is the same as this one, moved by `step`."""
    here = slice(matrix.indptr[row], matrix.indptr[row + 1])
    there = slice(matrix.indptr[row + phases], matrix.indptr[row + phases + 1])
    return np.array_equal(matrix.indices[here] + step, matrix.indices[there]) and np.array_equal(
        matrix.data[here], matrix.data[there]
    )


def _no_strips(matrix: SparseMatrix) -> tuple[Array, Array, Array]:
    return np.empty((0, LANES), matrix.data.dtype), np.empty(0, np.int64), np.zeros(1, np.int64)


def _strips(matrix: SparseMatrix) -> tuple[Array, Array, Array]:
    """`strips`, `strip_places` and `strip_starts`; the last strip overlaps the one before."""
    weights, places, _ = _no_strips(matrix)
    parts, firsts, starts = [weights], list(places), [0]
    outputs = matrix.shape[0]
    for block in range(0, outputs, LANES):
        begin = max(min(block, outputs - LANES), 0)
        entries = slice(matrix.indptr[begin], matrix.indptr[min(begin + LANES, outputs)])
        pixels = matrix.indices[entries]
        first, behind = int(pixels.min(initial=matrix.shape[1])), int(pixels.max(initial=-1)) + 1
        part = np.zeros((max(behind - first, 0), LANES), matrix.data.dtype)
        part[pixels - first, matrix.rows[entries] - begin] = matrix.data[entries]
        parts.append(part)
        firsts.append(first)
        starts.append(starts[-1] + len(part))
    return np.concatenate(parts), np.array(firsts), np.array(starts)


@on_all_cores()
def _resize(
    task: int,
    numbers: Array,
    x: Array,
    y: Array,
    kept: Array,
    first: Array,
    last: Array,
    row_weights: Array,
    row_places: Array,
    row_starts: Array,
    weights: Array,
    places: Array,
    starts: Array,
    strip_weights: Array,
    strip_places: Array,
    strip_starts: Array,
) -> None:
    """One band of one plane. Compiled code knows only arrays; here they get the names of what they belong to."""
    sizes, lines = sizes_of(numbers), kept[numba.get_thread_id()]
    rows, columns = Entries(row_weights, row_places, row_starts), Entries(weights, places, starts)
    strips = Entries(strip_weights, strip_places, strip_starts)
    plane, band = task // sizes.bands, task % sizes.bands
    i = band * sizes.band
    count, at = min(sizes.band, sizes.rows - i), (plane * sizes.rows + i) * sizes.columns
    if sizes.columns > sizes.width:
        h, seen = first[band], last[band] - first[band]
        begin, pitch = (plane * sizes.height + h) * sizes.width, sizes.columns
        _along_columns(x, begin, sizes, seen, columns, strips, lines, 0)
        _along_rows(lines, -h * pitch, pitch, rows, i, count, y, at, pitch)
    else:
        _along_rows(x, plane * sizes.height * sizes.width, sizes.width, rows, i, count, lines, 0, sizes.width)
        _along_columns(lines, 0, sizes, count, columns, strips, y, at)


@inner
def _along_columns(
    source: Array, begin: int, sizes: Any, count: int, columns: Any, strips: Any, target: Array, to: int
) -> None:
    """`count` lines times the matrix, from source[begin] on, to target[to] on."""
    if sizes.phases:
        _regularly(source, begin, sizes, count, columns, target, to)
    else:
        _in_strips(source, begin, sizes, count, strips, target, to)


@inner
def _along_rows(
    source: Array,
    begin: int,
    pitch: int,
    rows: Any,
    i: int,
    count: int,
    target: Array,
    to: int,
    length: int,
) -> None:
    """Rows i ... i + count - 1 of the matrix times lines; line k of the source is at begin + k * pitch."""
    weights, places, starts = rows
    zero = spread(source.dtype.type(0))
    for row in range(i, i + count):
        first, last = starts[row], starts[row + 1]
        if length < LANES:
            for j in range(length):
                number = source.dtype.type(0)
                for e in range(first, last):
                    number += weights[e] * source[begin + places[e] * pitch + j]
                target[to + j] = number
        elif last - first <= 2:  # the most common cases, without a loop over the entries
            _sum_of_two(source, begin, pitch, rows, first, last - first, target, to, length)
        else:
            for block in range(0, length, LANES):
                j = min(block, length - LANES)
                total = zero
                for e in range(first, last - 1, 2):
                    a, b = begin + places[e] * pitch + j, begin + places[e + 1] * pitch + j
                    total = multiply_add(spread(weights[e]), load(source, a), total)
                    total = multiply_add(spread(weights[e + 1]), load(source, b), total)
                if (last - first) % 2:
                    odd = load(source, begin + places[last - 1] * pitch + j)
                    total = multiply_add(spread(weights[last - 1]), odd, total)
                store(target, to + j, total)
        to += length


@inner
def _sum_of_two(
    source: Array, begin: int, pitch: int, rows: Any, first: int, lines: int, target: Array, to: int, length: int
) -> None:
    """A row of at most two entries, from the `first` on, times lines of LANES numbers or more."""
    weights, places, _ = rows
    zero = spread(source.dtype.type(0))
    if lines == 0:
        for block in range(0, length, LANES):
            store(target, to + min(block, length - LANES), zero)
        return
    a, u = begin + places[first] * pitch, spread(weights[first])
    if lines == 1:
        for block in range(0, length, LANES):
            j = min(block, length - LANES)
            store(target, to + j, multiply_add(u, load(source, a + j), zero))
        return
    b, v = begin + places[first + 1] * pitch, spread(weights[first + 1])
    for block in range(0, length, LANES):
        j = min(block, length - LANES)
        store(target, to + j, multiply_add(v, load(source, b + j), multiply_add(u, load(source, a + j), zero)))


@inner
def _regularly(source: Array, begin: int, sizes: Any, count: int, columns: Any, target: Array, to: int) -> None:
    """`count` lines times the matrix, whose outputs between sizes.begin and sizes.end are regular."""
    weights, places, starts = columns
    periods = (sizes.end - sizes.begin) // sizes.phases
    first, middle, last = starts[sizes.begin], starts[sizes.begin + 1], starts[sizes.begin + sizes.phases]
    zero = spread(source.dtype.type(0))
    halves = sizes.step == 2 and middle - first == 2
    copies = sizes.phases == 2 and middle - first == last - middle == 1
    for _ in range(count):
        if halves:
            _add_neighbours(source, begin, periods, weights, places, first, target, to + sizes.begin)
        elif copies:
            _double(source, begin, periods, weights, places, first, target, to + sizes.begin)
        for block in range(0, 0 if halves or copies else periods, LANES):
            k = min(block, periods - LANES)
            even = odd = zero
            if sizes.step == 2:
                for e in range(first, middle - 1, 2):  # neighbours, which come by the same load
                    a, b = load_pairs(source, begin + places[e] + 2 * k)
                    even = multiply_add(spread(weights[e]), a, even)
                    even = multiply_add(spread(weights[e + 1]), b, even)
                if (middle - first) % 2:
                    a = load_pairs(source, begin + places[middle - 1] + 2 * k)[0]
                    even = multiply_add(spread(weights[middle - 1]), a, even)
            else:
                for e in range(first, middle):
                    even = multiply_add(spread(weights[e]), load(source, begin + places[e] + k), even)
            if sizes.phases == 1:
                store(target, to + sizes.begin + k, even)
            else:
                for e in range(middle, last):
                    odd = multiply_add(spread(weights[e]), load(source, begin + places[e] + k), odd)
                store_pairs(target, to + sizes.begin + 2 * k, even, odd)
        for outside in range(sizes.begin + sizes.columns - sizes.end):
            j = outside if outside < sizes.begin else outside - sizes.begin + sizes.end
            number = source.dtype.type(0)
            for e in range(starts[j], starts[j + 1]):
                number += weights[e] * source[begin + places[e]]
            target[to + j] = number
        begin += sizes.width
        to += sizes.columns


@inner
def _add_neighbours(
    source: Array, begin: int, periods: int, weights: Array, places: Array, first: int, target: Array, to: int
) -> None:
    """Step 2 with two entries, as in a 2x2 pool: no loop over them."""
    u, v = spread(weights[first]), spread(weights[first + 1])
    zero, begin = spread(source.dtype.type(0)), begin + places[first]
    for block in range(0, periods, LANES):
        k = min(block, periods - LANES)
        a, b = load_pairs(source, begin + 2 * k)
        store(target, to + k, multiply_add(v, b, multiply_add(u, a, zero)))


@inner
def _double(
    source: Array, begin: int, periods: int, weights: Array, places: Array, first: int, target: Array, to: int
) -> None:
    """Two phases of one entry each, as in the gradient of a 2x2 pool."""
    u, v, zero = spread(weights[first]), spread(weights[first + 1]), spread(source.dtype.type(0))
    a, b = begin + places[first], begin + places[first + 1]
    for block in range(0, periods, LANES):
        k = min(block, periods - LANES)
        even, odd = multiply_add(u, load(source, a + k), zero), multiply_add(v, load(source, b + k), zero)
        store_pairs(target, to + 2 * k, even, odd)


@inner
def _in_strips(source: Array, begin: int, sizes: Any, count: int, strips: Any, target: Array, to: int) -> None:
    """`count` lines times the matrix, LANES outputs at a time; a pixel touches no output that has no weight for it."""
    strip_weights, places, starts = strips
    zero, weights, outputs = spread(source.dtype.type(0)), strip_weights.reshape(-1), sizes.columns
    for strip in range(len(places)):
        j = max(min(strip * LANES, outputs - LANES), 0)
        for line in range(count):
            total = zero
            pixel, at = begin + line * sizes.width + places[strip] - starts[strip], to + line * outputs + j
            for w in range(starts[strip], starts[strip + 1]):
                weight = load(weights, w * LANES)
                total = select(differ(weight, zero), multiply_add(weight, spread(source[pixel + w]), total), total)
            if outputs < LANES:
                store_some(target, at, total, outputs)
            else:
                store(target, at, total)
