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

If one chunk holds all channels, each block is stored before the next one takes its sums' place. Positions q where the
window reaches from the end of one row into the next are computed and thrown away. On small maps these are too many;
there the band is written out as columns after all, of several images at once.

With a stride s, a tap sees only every s-th pixel. The band is then cut into planes of pixels that are s apart, and each
tap is again a shift in one of these planes.

The gradient with respect to the input, which is the transposed convolution, has the same form (see `transposed`). What
differs is which weight belongs to which tap, and that one position has several kinds of results, each with its own
place in y.
"""

from typing import Any

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import on_all_cores
from npseg.engines.numba.filling import LARGE_STRIDE, clear, fill_band, fill_columns, fill_planes, places_along_a_line
from npseg.engines.numba.grids import Blocking, Grid, Numbers, named
from npseg.engines.numba.microkernel import ROWS, multiply_rows, rounded_to_lanes
from npseg.engines.numba.packing import MOST_PARTS, pack, pack_blocks
from npseg.engines.numba.storing import store_band, store_columns
from npseg.geometry import ceil_divide


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
            read_beyond = band_columns
            self.band_size = group_channels * taps * pitch + read_beyond
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
        self.numbers = n = Numbers(
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
            read_beyond=read_beyond,
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
                pack(parts, packed, weight, grid.places, parts, group, finite, self.words)
            if numbers.as_columns:
                places = self.line_places
                bands[0, -numbers.read_beyond :] = 0  # see `filling.clear`
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
    n = named(numbers)
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
            clear(right, channels * len(plane_rows) * n.plane_rows * n.pitch, n.read_beyond)
        if n.pack_ahead:
            left, left_start = packed[first_block:last_block], c * taps * ROWS
        else:
            left, left_start = packed[thread * n.blocks : (thread + 1) * n.blocks], 0
            if not pack_blocks(left, weights, places, group, 0, first_block, last_block, 0, c, c + channels, n):
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
                        store_columns(y, results, bias[channel], channel, to, first, columns, relu, n)
                    else:
                        store_band(y, results, bias[channel], channel, to, image, first, relu, n)


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
    fill_columns(columns, line, source, tap_rows, places, channel, group, named(numbers))
