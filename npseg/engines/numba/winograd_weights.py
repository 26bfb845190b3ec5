"""Winograd's weight gradient: the same idea with the roles of outputs and weights exchanged.

Along one axis, the gradient of a 3-tap weight over m outputs is itself a convolution, with m taps and 3 outputs, and
needs m + 2 multiplications, not 3 m. For tiles of m x m outputs, with d the pixels that a tile sees and g its gradient:

    grad_weight = A^T [ sum over the tiles of (G g G^T) * (B^T d B) ] A

The pixels are transformed as in the forward pass. For each of the (m + 2)^2 entries, the sum over tiles is a matrix
product, gradients (C_out, tiles) times pixels (tiles, C). Here channels lie side by side: pixels come with their
channels last, gradients in blocks of ROWS channels, as the microkernel wants them (`winograd_weight_tiles`).

    for each block of tiles:
        for each tile:      pixels[e, tile, c] = (B^T d B)[e]
        for each tile:      grads[e, o, tile] = (G g G^T)[e]
        for each entry e:   sums[e, o, c] += sum over tiles of grads[e, o, tile] * pixels[e, tile, c]
    grad_weight[o, c] = A^T sums A

With many channels each of these steps is shared among the threads by itself. With few, the sums are small, and each
part of the tiles has sums of its own: a core goes through a part strip by strip, in its own cache, and in the end the
parts' sums are added up in order.
"""

from typing import NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import Task, numbers_of, on_all_cores
from npseg.engines.numba.entries import multiply_entries, multiply_entry, uneven
from npseg.engines.numba.microkernel import ROWS, rounded_to_lanes
from npseg.engines.numba.winograd import F
from npseg.engines.numba.winograd_matrices import back_to_weights_of_four, back_to_weights_of_two
from npseg.engines.numba.winograd_weight_tiles import (
    dealt,
    grads_of_row_of_four,
    grads_of_row_of_two,
    pixels_of_row_of_four,
    pixels_of_row_of_two,
)
from npseg.geometry import Window, ceil_divide

BLOCK_BYTES = 3 * 2**20
"""Transformed pixels and gradients of one block of tiles, unless the sums, which each block adds to, are larger."""

STRIP_BYTES = 5 * 2**17
"""Transformed pixels and gradients of a strip: half of what a core's own cache holds."""

PART_SUMS_BYTES = 5 * 2**17
"""Up to so many bytes of sums, which each strip adds to, a core goes strip by strip."""

PARTS = 16
"""Of the tiles then, each with sums of its own, which have to be added up: at most so many, and fewer of few tiles."""

CHANNELS = 64
"""Channels whose tile is transformed at a time, at most: it stays in the first cache."""


class _Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    m: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    top: int
    left: int
    tile_rows: int
    tile_columns: int
    rows: int
    rows_at_once: int
    parts: int
    part_rows: int
    wide: int
    pitch: int
    blocks: int


_named = numbers_of(_Numbers)


class WinogradWeights:
    """The weight gradient of a 3x3 convolution of stride 1, without dilation, of one shape, prepared.

    Args:
        shape: of x.
        grad_shape: of the output's gradient.
        window: in which the outputs see x.
        m: 2 or 4.
    """

    def __init__(self, shape: tuple[int, ...], grad_shape: tuple[int, ...], window: Window, m: int) -> None:
        tile_rows, tile_columns = -(-grad_shape[2] // m), -(-grad_shape[3] // m)
        groups = ceil_divide(shape[1], CHANNELS)
        wide = rounded_to_lanes(ceil_divide(shape[1], groups), 4)
        pitch, blocks = groups * wide, ceil_divide(grad_shape[1], ROWS)
        rows = shape[0] * tile_rows
        row_bytes = (m + 2) ** 2 * (pitch + blocks * ROWS) * tile_columns * 4
        sums_bytes = (m + 2) ** 2 * pitch * blocks * ROWS * 4
        # The order of summation follows from these, which therefore may not depend on the number of threads.
        parts = min(PARTS, rows * row_bytes // (2 * sums_bytes)) if sums_bytes <= PART_SUMS_BYTES else 1
        if parts >= 4:
            part_rows = ceil_divide(rows, parts // 4 * 4)
            rows_at_once = min(part_rows, max(1, STRIP_BYTES // row_bytes))
        else:
            part_rows = rows
            rows_at_once = ceil_divide(rows, max(1, round(rows * row_bytes / max(BLOCK_BYTES, sums_bytes))))
        self.numbers = _Numbers(
            m=m,
            channels=shape[1],
            height=shape[2],
            width=shape[3],
            out_channels=grad_shape[1],
            out_height=grad_shape[2],
            out_width=grad_shape[3],
            top=window.rows.before,
            left=window.columns.before,
            tile_rows=tile_rows,
            tile_columns=tile_columns,
            rows=rows,
            rows_at_once=rows_at_once,
            parts=ceil_divide(rows, part_rows),
            part_rows=part_rows,
            wide=wide,
            pitch=pitch,
            blocks=blocks,
        )
        self.words = np.array(self.numbers)
        self.pixel_places = dealt(tile_columns * m + 2, m, tile_columns + 1) * wide
        self.grad_places = dealt(grad_shape[3], m, tile_columns) * ROWS

    def run(self, x: Array, grad: Array, grad_weight: Array) -> None:
        """Write grad_weight."""
        n, threads = self.numbers, numba.config.NUMBA_NUM_THREADS
        entries, tiles = (n.m + 2) ** 2, n.rows_at_once * n.tile_columns
        in_parts = n.parts > 1
        workers = threads if in_parts else 1
        pixels, grads, sums, lines = buffers.workspace(
            F,
            (workers, entries, uneven(tiles * n.pitch)),
            (workers, entries, uneven(n.blocks * tiles * ROWS)),
            (n.parts, entries, uneven(n.blocks * ROWS * n.pitch)),
            (threads, 2 * (n.m + 2) * n.m * (n.tile_columns + 1) * max(n.wide, ROWS)),
        )
        lines.fill(0)  # what is in no tile is transformed, too: see `filling.clear`
        run = self._in_parts if in_parts else self._in_blocks
        run(x.reshape(-1), grad.reshape(-1), pixels, grads, sums, lines)
        TRANSFORMS[n.m].transform_back(n.out_channels, grad_weight.reshape(-1), sums, self.words)

    def _in_parts(self, x: Array, grad: Array, pixels: Array, grads: Array, sums: Array, lines: Array) -> None:
        """Each part of the tiles in one core, from pixels and gradients to sums of its own."""
        n = self.numbers
        offsets = np.arange(n.rows_at_once * n.tile_columns) * n.pitch
        TRANSFORMS[n.m].add_up_part(
            n.parts, sums, x, grad, self.pixel_places, self.grad_places, pixels, grads, lines, offsets, self.words
        )

    def _in_blocks(self, x: Array, grad: Array, pixels: Array, grads: Array, sums: Array, lines: Array) -> None:
        """Step by step, each shared by all cores, for one block of tiles after the other."""
        n, transforms = self.numbers, TRANSFORMS[self.numbers.m]
        for first in range(0, n.rows, n.rows_at_once):
            rows = min(n.rows_at_once, n.rows - first)
            tasks = rows * (n.pitch // n.wide)
            transforms.transform_pixels(tasks, pixels[0], x, self.pixel_places, first, lines, self.words)
            tasks = rows * n.blocks
            transforms.transform_grads(tasks, grads[0], grad, self.grad_places, first, rows, lines, self.words)
            offsets = np.arange(rows * n.tile_columns) * n.pitch
            multiply_entries(grads[0], pixels[0], sums[0], offsets, n.blocks, n.pitch, n.channels, first)


class _Transforms(NamedTuple):
    """The tasks of one m."""

    transform_pixels: Task
    transform_grads: Task
    add_up_part: Task
    transform_back: Task


def _transforms(m: int) -> _Transforms:
    """Each m has tasks of its own, and only those that are used are compiled."""

    @on_all_cores()
    def transform_pixels(
        task: int, pixels: Array, x: Array, places: Array, first: int, all_lines: Array, numbers: Array
    ) -> None:
        """pixels[e, tile, c] = (B^T d B)[e] for a row of tiles and some channels."""
        n = _named(numbers)
        groups, lines = n.pitch // n.wide, all_lines[numba.get_thread_id()]
        row, c = task // groups, task % groups * n.wide
        to = row * n.tile_columns * n.pitch + c
        if m == 4:
            pixels_of_row_of_four(pixels, to, x, places, first + row, c, lines, n)
        else:
            pixels_of_row_of_two(pixels, to, x, places, first + row, c, lines, n)

    @on_all_cores()
    def transform_grads(
        task: int, grads: Array, grad: Array, places: Array, first: int, rows: int, all_lines: Array, numbers: Array
    ) -> None:
        """grads[e, block, tile, o] = (G g G^T)[e] for a row of tiles and a block of channels."""
        n = _named(numbers)
        row, block, lines = task // n.blocks, task % n.blocks, all_lines[numba.get_thread_id()]
        to = (block * rows + row) * n.tile_columns * ROWS
        if m == 4:
            grads_of_row_of_four(grads, to, grad, places, first + row, block, lines, n)
        else:
            grads_of_row_of_two(grads, to, grad, places, first + row, block, lines, n)

    @on_all_cores()
    def add_up_part(
        part: int,
        sums: Array,
        x: Array,
        grad: Array,
        pixel_places: Array,
        grad_places: Array,
        all_pixels: Array,
        all_grads: Array,
        all_lines: Array,
        offsets: Array,
        numbers: Array,
    ) -> None:
        """sums[part] = grads pixels for a part of the rows, strip by strip, in memory that only this core uses."""
        n = _named(numbers)
        thread, begin, end = numba.get_thread_id(), part * n.part_rows, min((part + 1) * n.part_rows, n.rows)
        pixels, grads, lines, row_tiles = all_pixels[thread], all_grads[thread], all_lines[thread], n.tile_columns
        for first in range(begin, end, n.rows_at_once):
            rows = min(n.rows_at_once, end - first)
            for r in range(rows):
                for c in range(0, n.pitch, n.wide):
                    to = r * row_tiles * n.pitch + c
                    if m == 4:
                        pixels_of_row_of_four(pixels, to, x, pixel_places, first + r, c, lines, n)
                    else:
                        pixels_of_row_of_two(pixels, to, x, pixel_places, first + r, c, lines, n)
                for block in range(n.blocks):
                    to = (block * rows + r) * row_tiles * ROWS
                    if m == 4:
                        grads_of_row_of_four(grads, to, grad, grad_places, first + r, block, lines, n)
                    else:
                        grads_of_row_of_two(grads, to, grad, grad_places, first + r, block, lines, n)
            for e in range(len(pixels)):
                seen, line = offsets[: rows * row_tiles], sums[part, e]
                multiply_entry(grads[e], pixels[e], 0, line, seen, 0, n.blocks, n.pitch, n.channels, first - begin, 0)

    @on_all_cores(allocates=True)
    def transform_back(o: int, grad_weight: Array, sums: Array, numbers: Array) -> None:
        """grad_weight[o, c] = A^T sums A, after the parts' sums were added up."""
        n = _named(numbers)
        size, entry = n.m + 2, sums.shape[2]
        for part in range(1, n.parts):
            for e in range(size * size):
                whole, more = sums[0, e, o * n.pitch : (o + 1) * n.pitch], sums[part, e, o * n.pitch :]
                for c in range(n.pitch):
                    whole[c] += more[c]
        down, lines = np.empty(3 * size * CHANNELS, F), np.empty(3 * CHANNELS, F)
        for c in range(0, n.channels, CHANNELS):
            channels = min(CHANNELS, n.channels - c)
            at = o * n.pitch + c
            for v in range(size):
                if m == 4:
                    back_to_weights_of_four(
                        sums.reshape(-1), v * entry + at, 6 * entry, down, v * channels, 6 * channels, channels
                    )
                else:
                    back_to_weights_of_two(
                        sums.reshape(-1), v * entry + at, 4 * entry, down, v * channels, 4 * channels, channels
                    )
            for k in range(3):
                if m == 4:
                    back_to_weights_of_four(down, k * 6 * channels, channels, lines, 0, channels, channels)
                else:
                    back_to_weights_of_two(down, k * 4 * channels, channels, lines, 0, channels, channels)
                for l in range(3):  # noqa: E741
                    start = (o * n.channels + c) * 9 + k * 3 + l
                    place, line = grad_weight[start:], lines[l * channels : (l + 1) * channels]
                    for j in range(channels):
                        place[j * 9] = line[j]

    return _Transforms(transform_pixels, transform_grads, add_up_part, transform_back)


TRANSFORMS = {m: _transforms(m) for m in (2, 4)}
