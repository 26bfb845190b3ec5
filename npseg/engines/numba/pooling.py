"""Max pooling, and values sent to positions and fetched from there.

`max_pool` looks at LANES windows of a row side by side, and reads each tap of all of them as one vector:

    for each plane and band of output rows:                                           (shared among the threads)
        copy the band's pixels into lines with -inf around them, unless no window sees padding
        for each output row i, LANES outputs j at a time:
            for each row of the window that lies on the image, for each tap of that row:
                where pixels exceed largest:  largest = pixels, place = tap

Padding, -inf, exceeds nothing. Of equal pixels the first stays, since its rivals come later.

`scatter` and `gather` follow one index after another. Where every index lies in a 2x2 cell of its own, as those of the
most common pool do, they write and read whole cells, LANES at a time, and `scatter` needs no zeros first.

Whoever calls has checked the indices. Another thread may change them afterwards, so the kernels compare each index once
more, as they use it: one that lies outside its plane is passed over, and no other memory is touched.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers, checks
from npseg.checks import Array
from npseg.engines import im2col
from npseg.engines.numba.compiling import inner, numbers_of, on_all_cores, plain
from npseg.engines.numba.vectors import (
    LANES,
    below,
    both,
    copy,
    distances,
    either,
    equal,
    everywhere,
    exceeds,
    load,
    load_every,
    load_pairs,
    numbers,
    plus,
    positions,
    select,
    spread,
    store,
    store_pairs,
    store_some,
)
from npseg.geometry import Axis, Size, Window, ceil_divide

BAND = 8
"""Output rows that a thread takes at once."""

CHECKED = 1 << 14
"""Indices that a thread checks at once."""

# -------------------------------------------------------------------------------------------------------- max pooling


class Line(NamedTuple):
    """One axis of a window, and how many pixels and outputs lie along it."""

    pixels: int
    outputs: int
    kernel_size: int
    stride: int
    before: int
    dilation: int


line_of = numbers_of(Line)


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """(N, C, H_out, W_out): the largest pixels, and as int64 where they are, h * W + w."""
    if x.nbytes > checks.BYTES_LIMIT:  # a view of a giant, of which a copy would not fit memory
        return im2col.max_pool(x, window)
    batch, channels, height, width = x.shape
    window = window.with_short_strides((height, width))  # for which the lines below make room
    size = window.output_size((height, width))
    y, indices = buffers.empty((batch, channels, *size), x.dtype), buffers.empty((batch, channels, *size), np.int64)
    planes = batch * channels
    arrays: tuple[Array, ...] = plain(x).reshape(-1), y.reshape(-1), indices.reshape(-1)
    if window.rows == window.columns == Axis(2, 2) and width < 2**30:
        halve = _halve if size[1] >= LANES else _halve_narrow
        halve(planes * ceil_divide(size[0], BAND), *arrays, *size, height, width)
        return y, indices
    rows, columns = (_line(axis, n, m) for axis, n, m in zip(window.axes, (height, width), size, strict=True))
    arrays = *arrays, np.array(rows), np.array(columns)
    last = (columns.outputs - 1) * columns.stride + window.columns.extent - columns.before
    whole = ceil_divide(columns.outputs, LANES) * LANES
    pitch = whole * columns.stride + window.columns.extent
    if pitch > 8 * (width + LANES * columns.stride):  # mostly padding
        _pool_rows(planes * rows.outputs, *arrays)
        return y, indices
    direct = columns.before == 0 and last <= width and columns.outputs >= LANES and columns.kernel_size > 1
    band = 0 if direct else min(height, (BAND - 1) * rows.stride + window.rows.extent) * pitch
    bands = np.full((numba.config.NUMBA_NUM_THREADS, band), -np.inf, x.dtype)
    first = _first_taps(columns, whole).astype(np.int32 if height * width < 2**31 else np.int64)
    _pool_bands(planes * ceil_divide(rows.outputs, BAND), *arrays, bands, pitch, first, direct)
    return y, indices


def _line(axis: Axis, pixels: int, outputs: int) -> Line:
    return Line(pixels, outputs, axis.kernel_size, axis.stride, axis.before, axis.dilation)


def _first_taps(line: Line, length: int) -> Array:
    """(length,) how far behind its window's corner each output sees its first pixel."""
    corners = np.arange(length) * line.stride - line.before
    return np.maximum(-(corners // line.dilation), 0) * line.dilation


@on_all_cores()
def _halve(task: int, x: Array, y: Array, indices: Array, rows: int, columns: int, height: int, width: int) -> None:
    """The pool of most networks, 2x2 windows side by side: one band of one plane, each window's four pixels at once."""
    bands = -(-rows // BAND)
    plane, begin = task // bands, task % bands * BAND
    corner, right = spread(np.int32(0)), spread(np.int32(1))
    under, diagonal = spread(np.int32(width)), spread(np.int32(width + 1))
    for i in range(begin, min(begin + BAND, rows)):
        place = 2 * i * width
        upper, at = plane * height * width + place, (plane * rows + i) * columns
        for block in range(0, columns, LANES):
            j = min(block, columns - LANES)
            largest, second = load_pairs(x, upper + 2 * j)
            third, fourth = load_pairs(x, upper + width + 2 * j)
            contested = numbers(largest, largest)
            largest, to, contested = _challenged(largest, corner, contested, second, right)
            largest, to, contested = _challenged(largest, to, contested, third, under)
            largest, to, contested = _challenged(largest, to, contested, fourth, diagonal)
            store(y, at + j, largest)
            store(indices, at + j, positions(place + 2 * j, 2, to))


@inner
def _better(largest: float, place: Any, challenger: float, to: Any) -> tuple[float, Any]:
    """The larger one; NaN is larger than any number, and nothing is larger than NaN."""
    wins = (not challenger <= largest) & (largest == largest)
    return (challenger if wins else largest), (to if wins else place)


@on_all_cores()
def _halve_narrow(
    task: int, x: Array, y: Array, indices: Array, rows: int, columns: int, height: int, width: int
) -> None:
    """The same where not even one vector's windows lie side by side: one window after the other."""
    bands = -(-rows // BAND)
    plane, begin = task // bands, task % bands * BAND
    for i in range(begin, min(begin + BAND, rows)):
        at, place = (plane * rows + i) * columns, 2 * i * width
        start = plane * height * width + place
        upper, lower = x[start : start + 2 * columns], x[start + width : start + width + 2 * columns]
        line, places = y[at : at + columns], indices[at : at + columns]
        for j in range(columns):
            largest, to = _better(upper[2 * j], 0, upper[2 * j + 1], 1)
            largest, to = _better(largest, to, lower[2 * j], width)
            line[j], to = _better(largest, to, lower[2 * j + 1], width + 1)
            places[j] = place + 2 * j + to


@on_all_cores()
def _pool_bands(
    task: int,
    x: Array,
    y: Array,
    indices: Array,
    row_numbers: Array,
    column_numbers: Array,
    bands: Array,
    pitch: int,
    first: Array,
    direct: bool,
) -> None:
    """One band of one plane, a vector at a time; `direct`: no window sees padding left or right."""
    rows, columns = line_of(row_numbers), line_of(column_numbers)
    per_plane = -(-rows.outputs // BAND)
    plane, begin_row = task // per_plane, task % per_plane * BAND
    end_row = min(begin_row + BAND, rows.outputs)
    begin = plane * rows.pixels * columns.pixels
    top = max(0, begin_row * rows.stride - rows.before)
    band = bands[numba.get_thread_id()]
    if not direct:
        reach = (end_row - 1) * rows.stride - rows.before + (rows.kernel_size - 1) * rows.dilation + 1
        for h in range(top, min(reach, rows.pixels)):
            line = (h - top) * pitch
            copy(
                x, begin + h * columns.pixels, band, line + columns.before, min(columns.pixels, pitch - columns.before)
            )
        _pool_lines(band, -top * pitch, pitch, plane, begin_row, end_row, rows, columns, first, y, indices)
    else:
        _pool_lines(x, begin, columns.pixels, plane, begin_row, end_row, rows, columns, first, y, indices)


@inner
def _seen(line: Line, output: int) -> tuple[int, int]:
    """Where an output's first pixel lies, and how many of its taps see pixels."""
    corner = output * line.stride - line.before
    first = corner + max(0, -(corner // line.dilation)) * line.dilation
    stop = min(line.pixels, corner + (line.kernel_size - 1) * line.dilation + 1)
    return first, (stop - first - 1) // line.dilation + 1


@inner
def _pool_lines(
    source: Array,
    origin: int,
    pitch: int,
    plane: int,
    begin_row: int,
    end_row: int,
    rows: Line,
    columns: Line,
    first: Array,
    y: Array,
    indices: Array,
) -> None:
    """Some rows of outputs.

    Args:
        source: pixels in lines, with padding left and right where windows see it.
        origin: where the line of the image's row 0 begins, or would begin.
        pitch: from one line to the next.
        plane: which one; `source` may hold no other.
        begin_row, end_row: the outputs' rows.
        rows, columns: the window.
        first: how far behind its corner each window has its first pixel, which wins where all are -inf.
        y, indices: where the results go.
    """
    number, stride = first.dtype.type, columns.stride
    paired = columns.kernel_size // 2 * 2 if stride == 2 and columns.dilation == 1 else 0  # taps that one load brings
    lowest, zero = spread(source.dtype.type(-np.inf)), spread(number(0))
    all_lanes = numbers(lowest, lowest)
    next_row, next_tap = spread(number(rows.dilation * columns.pixels)), spread(number(columns.dilation))
    for i in range(begin_row, end_row):
        h, taps = _seen(rows, i)
        at = (plane * rows.outputs + i) * columns.outputs
        for block in range(0, columns.outputs, LANES):
            j = max(min(block, columns.outputs - LANES), 0)
            left = origin + h * pitch + j * stride
            largest, place, contested, row = lowest, load(first, j), all_lanes, zero
            for _ in range(taps):
                tap = row
                for l in range(0, paired, 2):  # noqa: E741
                    even, odd = load_pairs(source, left + l)
                    largest, place, contested = _challenged(largest, place, contested, even, tap)
                    tap = plus(tap, next_tap)
                    largest, place, contested = _challenged(largest, place, contested, odd, tap)
                    tap = plus(tap, next_tap)
                for l in range(paired, columns.kernel_size):  # noqa: E741
                    w = left + l * columns.dilation
                    if stride == 1:
                        pixels = load(source, w)
                    elif stride == 2:
                        pixels = load_pairs(source, w)[0] if l == 0 else load_pairs(source, w - 1)[1]
                    else:
                        pixels = load_every(source, w, stride)
                    largest, place, contested = _challenged(largest, place, contested, pixels, tap)
                    tap = plus(tap, next_tap)
                row = plus(row, next_row)
                left += rows.dilation * pitch
            places = positions(h * columns.pixels - columns.before + j * stride, stride, place)
            if columns.outputs >= LANES:
                store(y, at + j, largest)
                store(indices, at + j, places)
            else:
                store_some(y, at, largest, columns.outputs)
                store_some(indices, at, places, columns.outputs)


@inner
def _challenged(largest: Any, place: Any, contested: Any, pixels: Any, tap: Any) -> tuple[Any, Any, Any]:
    """The larger ones, where they are, and where others may still win: NaN wins, and nothing wins against NaN."""
    wins = both(contested, exceeds(pixels, largest))
    return select(wins, pixels, largest), select(wins, tap, place), both(contested, numbers(pixels, pixels))


@on_all_cores()
def _pool_rows(task: int, x: Array, y: Array, indices: Array, row_numbers: Array, column_numbers: Array) -> None:
    """One row of outputs, one by one."""
    rows, columns = line_of(row_numbers), line_of(column_numbers)
    plane, i = task // rows.outputs, task % rows.outputs
    begin, at = plane * rows.pixels * columns.pixels, task * columns.outputs
    top, down = _seen(rows, i)
    for j in range(columns.outputs):
        left, across = _seen(columns, j)
        place = top * columns.pixels + left
        best, best_place = x[begin + place], place
        for k in range(down):
            for l in range(across):  # noqa: E741
                to = place + k * rows.dilation * columns.pixels + l * columns.dilation
                best, best_place = _better(best, best_place, x[begin + to], to)
        y[at + j], indices[at + j] = best, best_place


# ------------------------------------------------------------------------------------------------- scatter and gather


def scatter(values: Array, indices: Array, size: Size) -> Array:
    """(N, C, H, W): every value added at its position, zeros elsewhere; plane by plane, so always in the same order."""
    batch, channels = values.shape[:2]
    x = buffers.empty((batch, channels, *size), values.dtype)
    _scatter(batch * channels, _planes(values), _planes(indices), _planes(x), *values.shape[2:], *size)
    return x


def _planes(maps: Array) -> Array:
    """(N, C, H, W) -> (N * C, H * W)."""
    batch, channels, height, width = maps.shape
    return plain(maps).reshape(batch * channels, height * width)


@on_all_cores()
def _scatter(
    plane: int, values: Array, indices: Array, x: Array, rows: int, columns: int, height: int, width: int
) -> None:
    if not (
        _may_be_cells(rows, columns, height, width) and _scatter_cells(plane, values, indices, x, rows, columns, width)
    ):
        for k in range(x.shape[1]):
            x[plane, k] = 0
        pixels = np.uint64(x.shape[1])
        for k in range(values.shape[1]):
            place = np.uint64(indices[plane, k])  # one that is negative becomes larger than any plane
            if place < pixels:
                x[plane, place] += values[plane, k]


def gather(x: Array, indices: Array) -> Array:
    """The shape of `indices`: the value at each position."""
    values = buffers.empty(indices.shape, x.dtype)
    planes = len(x) * x.shape[1]
    _gather(planes, _planes(x), _planes(indices), _planes(values), *indices.shape[2:], *x.shape[2:])
    return values


@on_all_cores()
def _gather(
    plane: int, x: Array, indices: Array, values: Array, rows: int, columns: int, height: int, width: int
) -> None:
    if not (
        _may_be_cells(rows, columns, height, width) and _gather_cells(plane, x, indices, values, rows, columns, width)
    ):
        pixels = np.uint64(x.shape[1])
        for k in range(values.shape[1]):
            place = np.uint64(indices[plane, k])
            values[plane, k] = x[plane, place] if place < pixels else x.dtype.type(0)


# ------------------------------------------------------------------------------------------------- cells of two by two


@inner
def _may_be_cells(rows: int, columns: int, height: int, width: int) -> bool:
    """Whether each index may lie in a 2x2 cell of its own that together fill the plane, in rows of a vector or more."""
    return columns >= LANES and height == 2 * rows and width == 2 * columns


@inner
def _in_cells(indices: Array, at: int, corner: int, width: int) -> Any:
    """Which pixel of its cell each of LANES indices names: a vector of truth values for each of the four.

    The first cell begins at `corner`, the next at corner + 2, and so on.
    """
    place = distances(corner, 2, load(indices, at))
    return (
        equal(place, spread(0)),
        equal(place, spread(1)),
        equal(place, spread(width)),
        equal(place, spread(width + 1)),
    )


@inner
def _scatter_cells(plane: int, values: Array, indices: Array, x: Array, rows: int, columns: int, width: int) -> bool:
    """Write whole cells; False as soon as an index does not lie in its own."""
    values, indices, x = values[plane], indices[plane], x[plane]
    zero = spread(values.dtype.type(0))
    for i in range(rows):
        for block in range(0, columns, LANES):
            j = min(block, columns - LANES)
            at, corner = i * columns + j, 2 * i * width + 2 * j
            value, (a, b, c, d) = load(values, at), _in_cells(indices, at, corner, width)
            if not everywhere(either(either(a, b), either(c, d))):
                return False
            store_pairs(x, corner, select(a, value, zero), select(b, value, zero))
            store_pairs(x, corner + width, select(c, value, zero), select(d, value, zero))
    return True


@inner
def _gather_cells(plane: int, x: Array, indices: Array, values: Array, rows: int, columns: int, width: int) -> bool:
    """Read whole cells, and keep of each the pixel that is named; False as soon as an index is not in its own."""
    x, indices, values = x[plane], indices[plane], values[plane]
    for i in range(rows):
        for block in range(0, columns, LANES):
            j = min(block, columns - LANES)
            at, corner = i * columns + j, 2 * i * width + 2 * j
            a, b, c, d = _in_cells(indices, at, corner, width)
            if not everywhere(either(either(a, b), either(c, d))):
                return False
            left, right = load_pairs(x, corner)
            under, diagonal = load_pairs(x, corner + width)
            store(values, at, select(a, left, select(b, right, select(c, under, diagonal))))
    return True


# -------------------------------------------------------------------------------------------------------------- checks


def positions_inside(indices: Array, size: Size) -> bool:
    """Whether every index lies in a plane of this size."""
    flat = plain(indices).reshape(-1)
    inside = np.empty(ceil_divide(flat.size, CHECKED), np.bool_)
    _inside(len(inside), flat, min(size[0] * size[1], checks.LARGEST_INTEGER), inside)
    return bool(inside.all())


@on_all_cores()
def _inside(task: int, indices: Array, pixels: int, inside: Array) -> None:
    first, last = task * CHECKED, min(task * CHECKED + CHECKED, len(indices))
    limit = spread(pixels)
    so_far = equal(limit, limit)
    for block in range(first, last - LANES + 1, LANES):
        so_far = both(so_far, below(load(indices, block), limit))
    inside[task] = everywhere(so_far)
    for k in range(last - (last - first) % LANES, last):
        inside[task] &= 0 <= indices[k] < pixels


def positions_distinct(indices: Array, size: Size) -> bool:
    """Whether every index lies in a plane of this size, and none stands twice in one plane."""
    distinct = np.empty(len(indices) * indices.shape[1], np.bool_)
    _distinct(len(distinct), _planes(indices), *indices.shape[2:], *size, distinct)
    return bool(distinct.all())


@on_all_cores(allocates=True)
def _distinct(plane: int, indices: Array, rows: int, columns: int, height: int, width: int, distinct: Array) -> None:
    cells = _may_be_cells(rows, columns, height, width) and _all_in_cells(plane, indices, rows, columns, width)
    distinct[plane] = cells or _all_differ(plane, indices, np.zeros(height * width, np.bool_))


@inner
def _all_in_cells(plane: int, indices: Array, rows: int, columns: int, width: int) -> bool:
    indices = indices[plane]
    for i in range(rows):
        for block in range(0, columns, LANES):
            j = min(block, columns - LANES)
            a, b, c, d = _in_cells(indices, i * columns + j, 2 * i * width + 2 * j, width)
            if not everywhere(either(either(a, b), either(c, d))):
                return False
    return True


@inner
def _all_differ(plane: int, indices: Array, marked: Array) -> bool:
    """Mark every pixel that is named."""
    for k in range(indices.shape[1]):
        place = indices[plane, k]
        if not 0 <= place < len(marked) or marked[place]:
            return False
        marked[place] = True
    return True
