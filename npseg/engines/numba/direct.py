"""Direct convolution: a matrix product whose second matrix is never written out.

im2col copies every pixel once for each tap. The microkernel does not need that: it takes the rows of its second matrix
from anywhere, and the row of a tap is the image itself, shifted. So a task copies a band of rows of the image, with the
padding around it, into memory that fits the cache, and multiplies there:

    for each image, band of output rows, group of output channels:                    (shared among the threads)
        for each chunk of input channels:
            copy their band, padded, all its rows in one line, `pitch` columns a row
            for each block of ROWS output channels o:
                sums[o, q] += sum over channels c and taps t of  weight[o, c, t] * band[c, q + shift[t]]
        y[o, i, j] = sums[o, i * pitch + j] + bias[o]

Positions q where the window reaches from the end of one row into the next are computed and thrown away. On small maps
these are too many; there the band is written out as columns after all, of several images at once.

With a stride s, a tap sees only every s-th pixel. The band is then cut into planes of pixels that are s apart, and each
tap is again a shift in one of these planes.

The gradient with respect to the input, which is the transposed convolution, has the same form (see `transposed`). What
differs is which weight belongs to which tap, and that one position has several kinds of results, each with its own
place in y.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import inner, numbers_of, on_all_cores
from npseg.engines.numba.filling import LARGE_STRIDE, fill_band, fill_columns, fill_planes, places_along_a_line
from npseg.engines.numba.lines import inside, store_line
from npseg.engines.numba.microkernel import ROWS, multiply_rows, rounded_to_lanes
from npseg.geometry import ceil_divide


class Grid(NamedTuple):
    """What is computed: positions (i, j), each of which sees pixels and has results.

    Through tap t, position (i, j) sees pixel (i * stride_h + tap_rows[t], j * stride_w + tap_columns[t]) of the source.
    Its result of kind p goes to pixel (i * step_h + kind_rows[p], j * step_w + kind_columns[p]) of y, or nowhere if
    there is no such pixel. The weight that joins them is at places[p, t] of a kernel.
    """

    height: int
    width: int
    stride: tuple[int, int]
    tap_rows: Array
    tap_columns: Array
    step: tuple[int, int]
    kind_rows: Array
    kind_columns: Array
    places: Array


class Blocking(NamedTuple):
    """How the work is cut into tasks; `plan` decides."""

    as_columns: bool
    """Write the band out as columns."""
    band: int
    """Rows of positions in a band; positions, of all images, if they are written out as columns."""
    chunk: int
    """Source channels that are multiplied at a time."""
    blocks: int
    """Blocks of ROWS results in a task."""
    pack_ahead: bool
    """Pack the weights once, for several bands; otherwise each task packs what it needs."""


class _Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    images: int
    channels: int
    group_channels: int
    height: int
    width: int
    grid_height: int
    grid_width: int
    stride_h: int
    stride_w: int
    out_channels: int
    group_out_channels: int
    rows: int
    out_height: int
    out_width: int
    step_h: int
    step_w: int
    group_step: int
    out_step: int
    in_step: int
    as_columns: bool
    band: int
    chunk: int
    blocks: int
    pack_ahead: bool
    block_by_block: bool
    pitch: int
    band_columns: int
    plane_rows: int
    first_row: int
    first_column: int
    first_pixel: int
    line: int
    row_of_taps: int


_named = numbers_of(_Numbers)

MOST_PARTS = 64
"""Into so many parts at most the packing of weights is cut: a part shall be worth a thread's while."""


class Correlation:
    """A convolution of one shape, prepared: for all channels o, positions (i, j) and kinds p of results,

        y[n, o, place of kind p of (i, j)] = bias[o] + sum over c, t of
                                             weight[o, c, places[p, t]] * source[n, c, what (i, j) sees through t]

    Args:
        source_shape: (N, C, H, W).
        out_shape: (N, C_out, H_out, W_out).
        grid: the positions, what they see and where their results go.
        groups: how many independent parts the channels are cut into.
        weight_steps: entries from one group's weights to the next, one result channel's, one source channel's.
        blocking: how to cut the work.
        dtype: of all arrays.
    """

    def __init__(
        self,
        source_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        grid: Grid,
        groups: int,
        weight_steps: tuple[int, int, int],
        blocking: Blocking,
        dtype: np.dtype[Any],
    ) -> None:
        self.grid, self.groups, self.dtype = grid, groups, dtype
        kinds, taps = grid.places.shape
        group_channels, group_out_channels = source_shape[1] // groups, out_shape[1] // groups
        chunk = min(blocking.chunk, group_channels)
        row_shifts, plane_rows = np.divmod(grid.tap_rows, grid.stride[0])
        column_shifts, plane_columns = np.divmod(grid.tap_columns, grid.stride[1])
        planes, plane_of_tap = np.unique(np.stack([plane_rows, plane_columns]), axis=1, return_inverse=True)
        self.plane_rows, self.plane_columns = planes[0].copy(), planes[1].copy()
        first_row, first_column = int(row_shifts.min()), int(column_shifts.min())
        row_taps = len(np.unique(grid.tap_rows))
        self.tap_rows = grid.tap_rows[:: taps // row_taps].copy()
        if blocking.as_columns:
            band_columns, height = rounded_to_lanes(blocking.band, dtype.itemsize), 0
            pitch = rounded_to_lanes(source_shape[0] * grid.height * grid.width, dtype.itemsize)
            self.offsets = np.arange(chunk * taps) * pitch
            self.band_size = group_channels * taps * pitch + band_columns
            self.line_places = places_along_a_line(grid.tap_columns[: taps // row_taps], pitch)
            first_pixel = int(grid.tap_columns.min())
            line = (grid.width - 1) * grid.stride[1] + len(self.line_places)
        else:
            pitch = grid.width + int(column_shifts.max()) - first_column
            band_columns = rounded_to_lanes(blocking.band * pitch, dtype.itemsize)
            height = blocking.band + int(row_shifts.max()) - first_row
            plane = height * pitch
            shifts = (row_shifts - first_row) * pitch + column_shifts - first_column + plane_of_tap.ravel() * plane
            self.offsets = (np.arange(chunk)[:, None] * (planes.shape[1] * plane) + shifts).ravel()
            read_beyond = band_columns - blocking.band * pitch + pitch - grid.width
            self.band_size = chunk * planes.shape[1] * plane + read_beyond
            self.line_places = places_along_a_line(np.unique(plane_columns), plane)
            first_pixel = first_column * grid.stride[1] + int(plane_columns.min())
            line = pitch * grid.stride[1]
        self.numbers = n = _Numbers(
            images=source_shape[0],
            channels=source_shape[1],
            group_channels=group_channels,
            height=source_shape[2],
            width=source_shape[3],
            grid_height=grid.height,
            grid_width=grid.width,
            stride_h=grid.stride[0],
            stride_w=grid.stride[1],
            out_channels=out_shape[1],
            group_out_channels=group_out_channels,
            rows=group_out_channels * kinds,
            out_height=out_shape[2],
            out_width=out_shape[3],
            step_h=grid.step[0],
            step_w=grid.step[1],
            group_step=weight_steps[0],
            out_step=weight_steps[1],
            in_step=weight_steps[2],
            as_columns=blocking.as_columns,
            band=blocking.band,
            chunk=chunk,
            blocks=blocking.blocks,
            pack_ahead=blocking.pack_ahead,
            block_by_block=taps == 1 or weight_steps[2] < weight_steps[1],
            pitch=pitch,
            band_columns=band_columns,
            plane_rows=height,
            first_row=first_row,
            first_column=first_column,
            first_pixel=first_pixel,
            line=line,
            row_of_taps=taps // row_taps,
        )
        self.words = np.array(n)
        bands = ceil_divide(n.images * n.grid_height * n.grid_width, n.band)
        if not n.as_columns:
            bands = n.images * ceil_divide(n.grid_height, n.band)
        self.tasks = bands * ceil_divide(ceil_divide(n.rows, ROWS), n.blocks)

    def run(self, source: Array, weight: Array, y: Array, bias: Array | None = None, relu: bool = False) -> bool:
        """Write y; with relu, cut off the negative results.

        Returns whether all weights are finite. One that is not has met the zeros around the source, which makes NaN.
        """
        numbers, grid, threads = self.numbers, self.grid, numba.config.NUMBA_NUM_THREADS
        taps = grid.places.shape[1]
        if numbers.pack_ahead:
            blocks, channels = -(-numbers.rows // ROWS), numbers.group_channels
        else:
            blocks, channels = threads * numbers.blocks, numbers.chunk
        packed, bands, lines, sums = buffers.workspace(
            self.dtype,
            (blocks, channels * taps * ROWS),
            (1 if numbers.as_columns else threads, self.band_size),
            (threads, numbers.line),
            (threads, numbers.blocks * ROWS * numbers.band_columns),
        )
        bias = np.zeros(numbers.out_channels, self.dtype) if bias is None else bias
        source, weight, y = source.reshape(-1), weight.reshape(-1), y.reshape(-1)
        finite = np.ones(max(self.tasks, MOST_PARTS), np.bool_)
        for group in range(self.groups):
            if numbers.pack_ahead:
                parts = min(blocks if numbers.block_by_block else channels, MOST_PARTS)
                _pack(parts, packed, weight, grid.places, parts, group, finite, self.words)
            if numbers.as_columns:
                places = self.line_places
                _fill_columns(numbers.group_channels, bands[0], lines, source, self.tap_rows, places, group, self.words)
            _correlate(
                self.tasks,
                source,
                packed,
                weight,
                grid.places,
                self.plane_rows,
                self.plane_columns,
                self.line_places,
                self.offsets,
                grid.kind_rows,
                grid.kind_columns,
                bias,
                y,
                bands,
                lines,
                sums,
                group,
                relu,
                finite,
                self.words,
            )
        return bool(finite.all())


@on_all_cores()
def _pack(
    part: int, packed: Array, weights: Array, places: Array, parts: int, group: int, finite: Array, numbers: Array
) -> None:
    """All weights as the microkernel reads them: block by block, for each channel and tap ROWS results side by side."""
    n = _named(numbers)
    if n.block_by_block:
        begin, end = part * len(packed) // parts, (part + 1) * len(packed) // parts
        good = _pack_blocks(packed, weights, places, group, begin, begin, end, 0, 0, n.group_channels, n)
    else:
        begin, end = part * n.group_channels // parts, (part + 1) * n.group_channels // parts
        good = _pack_blocks(packed, weights, places, group, 0, 0, len(packed), begin, begin, end, n)
    if not good:
        finite[part] = False


@inner
def _pack_blocks(
    packed: Array,
    weights: Array,
    places: Array,
    group: int,
    to_block: int,
    first_block: int,
    last_block: int,
    to_channel: int,
    first: int,
    last: int,
    n: Any,
) -> bool:
    """Some blocks' weights for some source channels, in the order in which they lie; whether all are finite."""
    taps = places.shape[1]
    good = True
    if n.block_by_block:
        for block in range(first_block, last_block):
            line = packed[to_block + block - first_block, to_channel * taps * ROWS :]
            _pack_block(line, weights, places, group, block, first, last - first, n)
            good = good and _all_finite(line[: (last - first) * taps * ROWS])
    else:
        for c in range(first, last):
            for block in range(first_block, last_block):
                line = packed[to_block + block - first_block, (to_channel + c - first) * taps * ROWS :]
                _pack_block(line, weights, places, group, block, c, 1, n)
                good = good and _all_finite(line[: taps * ROWS])
    return good


@inner
def _all_finite(values: Array) -> bool:
    """Whether there is no NaN and no infinity."""
    beyond, largest = 0, np.finfo(values.dtype).max
    for k in range(len(values)):
        beyond += not abs(values[k]) <= largest
    return beyond == 0


@inner
def _pack_block(
    packed: Array, weights: Array, places: Array, group: int, block: int, first: int, channels: int, n: Any
) -> None:
    """One block's weights for some source channels; rows beyond the last result are zero."""
    kinds, taps = places.shape
    if kinds == 1 and (block + 1) * ROWS <= n.rows:  # the common case, side by side at once
        of_tap = places[0]
        start = group * n.group_step + block * ROWS * n.out_step + first * n.in_step
        k = 0
        for c in range(channels):
            kernels = weights[start + c * n.in_step :]
            for t in range(taps):
                beside = packed[k : k + ROWS]
                for m in range(ROWS):
                    beside[m] = kernels[np.uintp(m * n.out_step + of_tap[t])]
                k += ROWS
        return
    for m in range(ROWS):
        row = block * ROWS + m
        column = packed[m:]
        if row < n.rows:
            of_tap = places[row % kinds]
            start = group * n.group_step + row // kinds * n.out_step + first * n.in_step
            k = 0
            for c in range(channels):
                kernels = weights[start + c * n.in_step :]
                for t in range(taps):
                    column[k] = kernels[of_tap[t]]
                    k += ROWS
        else:
            for k in range(channels * taps):
                column[k * ROWS] = 0


@on_all_cores()
def _correlate(
    task: int,
    source: Array,
    packed: Array,
    weights: Array,
    places: Array,
    plane_rows: Array,
    plane_columns: Array,
    line_places: Array,
    offsets: Array,
    kind_rows: Array,
    kind_columns: Array,
    bias: Array,
    y: Array,
    bands: Array,
    lines: Array,
    all_sums: Array,
    group: int,
    relu: bool,
    finite: Array,
    numbers: Array,
) -> None:
    """Task by task: copy the band, multiply, store."""
    n = _named(numbers)
    kinds, taps = places.shape
    first_channel, first_out_channel = group * n.group_channels, group * n.group_out_channels
    all_blocks = -(-n.rows // ROWS)
    parts = -(-all_blocks // n.blocks)
    positions = n.images * n.grid_height * n.grid_width
    bands_of_image = -(-n.grid_height // n.band)
    thread = numba.get_thread_id()
    sums = all_sums[thread]
    place, part = task // parts, task % parts
    first_block = part * n.blocks
    last_block = min(first_block + n.blocks, all_blocks)
    if n.as_columns:
        image, first = 0, place * n.band
        columns = min(n.band, positions - first)
    else:
        image, first = place // bands_of_image, place % bands_of_image * n.band
        columns = min(n.band, n.grid_height - first) * n.pitch
    for c in range(0, n.group_channels, n.chunk):
        channels = min(n.chunk, n.group_channels - c)
        if n.as_columns:
            right, right_start = bands[0], c * taps * n.pitch + first
        else:
            right, right_start = bands[thread], 0
            if n.stride_w < LARGE_STRIDE:
                fill_band(right, source, plane_rows, plane_columns, image, first_channel + c, channels, first, n)
            else:
                line, channel = lines[thread], first_channel + c
                fill_planes(right, line, source, plane_rows, line_places, image, channel, channels, first, n)
        if n.pack_ahead:
            left, left_start = packed[first_block:last_block], c * taps * ROWS
        else:
            left, left_start = packed[thread * n.blocks : (thread + 1) * n.blocks], 0
            if not _pack_blocks(left, weights, places, group, 0, first_block, last_block, 0, c, c + channels, n):
                finite[task] = False
        last_chunk = c + channels == n.group_channels
        for block in range(first_block, last_block):
            # Sums of a single chunk are stored at once, and the next block's take their place, which is in the cache.
            start = 0 if channels == n.group_channels else (block - first_block) * ROWS * n.band_columns
            multiply_rows(
                left[block - first_block],
                left_start,
                right,
                right_start,
                offsets,
                0,
                channels * taps,
                sums,
                start,
                n.band_columns,
                columns,
                c,
            )
            if last_chunk:
                for row in range(block * ROWS, min((block + 1) * ROWS, n.rows)):
                    channel, kind = first_out_channel + row // kinds, row % kinds
                    results = sums[start + (row - block * ROWS) * n.band_columns :]
                    to = kind_rows[kind], kind_columns[kind]
                    if n.as_columns:
                        _store_columns(y, results, bias[channel], channel, to, first, columns, relu, n)
                    else:
                        _store_band(y, results, bias[channel], channel, to, image, first, relu, n)


@on_all_cores()
def _fill_columns(
    channel: int,
    columns: Array,
    lines: Array,
    source: Array,
    tap_rows: Array,
    places: Array,
    group: int,
    numbers: Array,
) -> None:
    """im2col of one group's channels, positions counted through all images."""
    line = lines[numba.get_thread_id()]
    fill_columns(columns, line, source, tap_rows, places, channel, group, _named(numbers))


@inner
def _store_band(
    y: Array, sums: Array, shift: Any, channel: int, to: tuple[int, int], image: int, first: int, relu: bool, n: Any
) -> None:
    """One channel's results of one kind, row of positions by row of positions."""
    rows = min(n.band, n.grid_height - first)
    if n.pitch == n.out_width and n.grid_height == n.out_height and n.step_h == n.step_w == 1:  # all rows at once
        start = ((image * n.out_channels + channel) * n.out_height + first) * n.out_width
        store_line(y, start, sums, shift, 0, rows * n.pitch, 1, relu)
        return
    begin, end = inside(to[1], n.step_w, n.out_width, n.grid_width)
    for r in range(rows):
        row = (first + r) * n.step_h + to[0]
        if 0 <= row < n.out_height:
            start = ((image * n.out_channels + channel) * n.out_height + row) * n.out_width + to[1]
            if n.step_w == 1:
                store_line(y, start, sums[r * n.pitch :], shift, begin, end, 1, relu)
                continue
            for j in range(begin, end):  # a line of so few results is not worth a slice
                value = sums[np.uintp(r * n.pitch + j)] + shift
                y[np.uintp(start + j * n.step_w)] = sums.dtype.type(0) if relu and value <= 0 else value


@inner
def _store_columns(
    y: Array, sums: Array, shift: Any, channel: int, to: tuple[int, int], first: int, columns: int, relu: bool, n: Any
) -> None:
    """The same for positions counted through all images."""
    plane = n.grid_height * n.grid_width
    position = first
    while position < first + columns:
        image, i, j = position // plane, position % plane // n.grid_width, position % n.grid_width
        length = min(n.grid_width - j, first + columns - position)
        row, column = i * n.step_h + to[0], j * n.step_w + to[1]
        if 0 <= row < n.out_height:
            begin, end = inside(column, n.step_w, n.out_width, length)
            start = ((image * n.out_channels + channel) * n.out_height + row) * n.out_width + column
            store_line(y, start, sums[position - first :], shift, begin, end, n.step_w, relu)
        position += length
