"""Resizing: every plane times a sparse matrix along its rows and another along its columns.

    y[plane] = rows @ x[plane] @ columns.T

Bilinear interpolation, average pooling, nearest unpooling and bed of nails are such products, and so are their
gradients. Along the rows the product is a sum of whole lines, LANES numbers at a time, whatever the matrix. Along the
columns a vector of outputs needs pixels from different places, which is what vectors do badly, unless neighbours of the
result see neighbours of the line, or every second one, or are two phases of the same:

    one phase, step 1 or 2:    y[begin + k]           = sum over e of weight[e]    * line[place[e]    + step * k]
    two phases:                y[begin + 2 k + p]     = sum over e of weight[p, e] * line[place[p, e] + k]

These are the pools with stride 1 or 2 and the enlargements by two. All else, such as bilinear interpolation by 8, is
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
    batch, channels, height, width = x.shape
    outputs = rows.shape[0], columns.shape[0]
    y = buffers.empty((batch, channels, *outputs), x.dtype)
    plan = _ready(columns)
    larger = outputs[1] > width
    band = min(outputs[0], max(BAND, KEPT * outputs[0] // (height * outputs[1])) if larger else BAND)
    first, last = _needed(rows, band)
    kept = int((last - first).max()) * outputs[1] if larger else band * width + LANES
    task = _enlarge if larger else _reduce
    task(
        batch * channels * len(first),
        np.array([height, width, *outputs, band, len(first), *plan[:4]]),
        plain(x).reshape(-1),
        y.reshape(-1),
        buffers.empty((numba.config.NUMBA_NUM_THREADS, kept), x.dtype),
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


def _needed(matrix: SparseMatrix, band: int) -> tuple[Array, Array]:
    """For each band of outputs the first input that one of them sees, and the one behind the last."""
    starts = matrix.indptr[np.append(np.arange(0, matrix.shape[0], band), matrix.shape[0])]
    first = np.zeros(len(starts) - 1, np.int64)
    last = np.zeros_like(first)
    filled = np.nonzero(starts[1:] > starts[:-1])[0]
    if len(filled):
        first[filled] = np.minimum.reduceat(matrix.indices, starts[filled])
        last[filled] = np.maximum.reduceat(matrix.indices, starts[filled]) + 1
    return first, last


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
        alike = np.array([_follows(matrix, row, phases, step) for row in range(outputs - phases)], np.bool_)
        breaks = np.concatenate([[-1], np.nonzero(~alike)[0], [len(alike)]])
        longest = int(np.argmax(np.diff(breaks)))
        begin, end = int(breaks[longest]) + 1, int(breaks[longest + 1]) + phases
        end -= (end - begin) % phases
        if end - begin >= max(LANES * phases, outputs // 2):
            return phases, step, begin, end
    return 0, 0, 0, 0


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
def _reduce(
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
    strips: Array,
    strip_places: Array,
    strip_starts: Array,
) -> None:
    """One band of one plane: along the rows, then along the columns."""
    sizes = sizes_of(numbers)
    plane, i = task // sizes.bands, task % sizes.bands * sizes.band
    count = min(sizes.band, sizes.rows - i)
    lines, begin = kept[numba.get_thread_id()], plane * sizes.height * sizes.width
    _along_rows(x, begin, sizes.width, row_weights, row_places, row_starts, i, count, lines, 0, sizes.width)
    at = (plane * sizes.rows + i) * sizes.columns
    if sizes.phases:
        _regularly(lines, 0, sizes.width, count, sizes, weights, places, starts, y, at, sizes.columns)
    else:
        _in_strips(
            lines, 0, sizes.width, count, sizes.columns, strips, strip_places, strip_starts, y, at, sizes.columns
        )


@on_all_cores()
def _enlarge(
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
    strips: Array,
    strip_places: Array,
    strip_starts: Array,
) -> None:
    """One band of one plane: along the columns, then along the rows."""
    sizes = sizes_of(numbers)
    plane, band = task // sizes.bands, task % sizes.bands
    h, count = first[band], last[band] - first[band]
    lines, begin = kept[numba.get_thread_id()], (plane * sizes.height + h) * sizes.width
    pitch = sizes.columns
    if sizes.phases:
        _regularly(x, begin, sizes.width, count, sizes, weights, places, starts, lines, 0, pitch)
    else:
        _in_strips(x, begin, sizes.width, count, sizes.columns, strips, strip_places, strip_starts, lines, 0, pitch)
    i = band * sizes.band
    at = (plane * sizes.rows + i) * sizes.columns
    count = min(sizes.band, sizes.rows - i)
    _along_rows(lines, -h * pitch, pitch, row_weights, row_places, row_starts, i, count, y, at, sizes.columns)


@inner
def _along_rows(
    source: Array,
    begin: int,
    pitch: int,
    weights: Array,
    places: Array,
    starts: Array,
    i: int,
    count: int,
    target: Array,
    to: int,
    length: int,
) -> None:
    """Rows i ... i + count - 1 of the matrix times lines; line k of the source is at begin + k * pitch."""
    zero = source.dtype.type(0)
    for row in range(i, i + count):
        first, last = starts[row], starts[row + 1]
        if length < LANES:
            for j in range(length):
                number = zero
                for e in range(first, last):
                    number += weights[e] * source[begin + places[e] * pitch + j]
                target[to + j] = number
        elif last - first == 2:  # the most common case, without a loop
            a, b = begin + places[first] * pitch, begin + places[first + 1] * pitch
            u, v = spread(weights[first]), spread(weights[first + 1])
            for block in range(0, length, LANES):
                j = min(block, length - LANES)
                total = multiply_add(u, load(source, a + j), spread(zero))
                store(target, to + j, multiply_add(v, load(source, b + j), total))
        else:
            for block in range(0, length, LANES):
                j = min(block, length - LANES)
                total = spread(zero)
                for e in range(first, last):
                    total = multiply_add(spread(weights[e]), load(source, begin + places[e] * pitch + j), total)
                store(target, to + j, total)
        to += length


@inner
def _regularly(
    source: Array,
    begin: int,
    pitch: int,
    count: int,
    sizes: Any,
    weights: Array,
    places: Array,
    starts: Array,
    target: Array,
    to: int,
    target_pitch: int,
) -> None:
    """`count` lines times the matrix, whose outputs between sizes.begin and sizes.end are regular."""
    periods = (sizes.end - sizes.begin) // sizes.phases
    first, middle, last = starts[sizes.begin], starts[sizes.begin + 1], starts[sizes.begin + sizes.phases]
    zero = spread(source.dtype.type(0))
    for _ in range(count):
        for block in range(0, periods, LANES):
            k = min(block, periods - LANES)
            even = odd = zero
            for e in range(first, middle):
                place = begin + places[e] + sizes.step * k
                pixels = load(source, place) if sizes.step == 1 else load_pairs(source, place)[0]
                even = multiply_add(spread(weights[e]), pixels, even)
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
        begin += pitch
        to += target_pitch


@inner
def _in_strips(
    source: Array,
    begin: int,
    pitch: int,
    count: int,
    outputs: int,
    strips: Array,
    places: Array,
    starts: Array,
    target: Array,
    to: int,
    target_pitch: int,
) -> None:
    """`count` lines times the matrix, LANES outputs at a time; a pixel touches no output that has no weight for it."""
    zero, weights = spread(source.dtype.type(0)), strips.reshape(-1)
    for strip in range(len(places)):
        j = max(min(strip * LANES, outputs - LANES), 0)
        for line in range(count):
            total = zero
            pixel, at = begin + line * pitch + places[strip] - starts[strip], to + line * target_pitch + j
            for w in range(starts[strip], starts[strip + 1]):
                weight = load(weights, w * LANES)
                total = select(differ(weight, zero), multiply_add(weight, spread(source[pixel + w]), total), total)
            if outputs < LANES:
                store_some(target, at, total, outputs)
            else:
                store(target, at, total)
