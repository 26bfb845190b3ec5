"""Winograd's convolution: fewer multiplications for 3x3 kernels, paid for with additions.

m outputs of a 3-tap filter need m + 2 multiplications, not 3 m: transform the pixels and the weights by small constant
matrices, multiply entry by entry, transform back. In two dimensions, for a tile of m x m outputs, (m + 2)^2 replace
9 m^2:

    Y = A^T [ (G g G^T) * (B^T d B) ] A           d: (m + 2) x (m + 2) pixels, g: 3 x 3 weights, *: entry by entry

F(2x2, 3x3) saves a factor of 2.25, F(4x4, 3x3) one of 4. Summed over the channels, each of the (m + 2)^2 entries is a
matrix product, weights (C_out, C) times pixels (C, tiles), which is where the time goes:

    for each block of tiles (or group of output channels):
        for each channel and row of tiles:  pixels[e, c, tile] = (B^T d B)[e]                 (e: the entry)
        for each entry e:                   products[e, o, tile] = sum over c of weights[e, o, c] * pixels[e, c, tile]
        for each o and row of tiles:        y = A^T products A + bias

With dilation d, the outputs that are d apart see only pixels that are d apart: each of these d * d grids is an image of
its own. The gradient with respect to the input is the same convolution with the kernels turned by half a turn.

Sums of transformed numbers are larger than the result, so it is less exact: relative to the largest |y|, about 1e-6 for
m = 2, which is hardly more than directly, and 2e-5 for m = 4. Source: Lavin, Gray, "Fast algorithms for convolutional
neural networks" (2016); the matrices are those of the points 0, 1, -1, (2, -2,) infinity.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import Task, inner, numbers_of, on_all_cores
from npseg.engines.numba.lines import copy_line, inside, store_line
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES, multiply_rows, rounded_to_lanes
from npseg.engines.numba.winograd_matrices import (
    back_of_four,
    back_of_two,
    join_four,
    join_two,
    neighbours_of_four,
    neighbours_of_two,
    pixels_of_four,
    pixels_of_two,
    split_in_four,
    split_in_two,
    weights_of_four,
    weights_of_two,
)
from npseg.geometry import Window, ceil_divide

PIXEL_BYTES = 8 * 2**20
"""Transformed pixels up to this size are kept while the output channels are worked through in groups."""

BLOCK_BYTES = 3 * 2**20
"""Otherwise: transformed pixels and products of one block of tiles. They go through the shared cache twice."""

WEIGHT_BYTES = 5 * 2**19
"""Transformed weights of one group of output channels."""

TOGETHER = 16
"""Channels whose weights are gathered before they are transformed."""

DEPTH = 256
"""Channels (or tiles) that are multiplied at a time."""

BLOCKS_OF_TASK, COLUMNS_OF_TASK = 8, 6 * VECTOR_BYTES
"""The part of a product that a thread takes at once; columns in whole tiles of the microkernel."""

F = np.float32


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
    dilation_h: int
    dilation_w: int
    tile_rows: int
    tile_columns: int
    padded_columns: int
    rows: int
    rows_at_once: int
    blocks: int
    blocks_at_once: int
    flip: bool


_named = numbers_of(_Numbers)


class Winograd:
    """A 3x3 convolution of stride 1 and one shape, prepared.

    Args:
        shape: of the source, (N, C, H, W).
        out_shape: (N, C_out, H_out, W_out).
        window: what the outputs see; for an input gradient, what the pixels receive from.
        m: 2 or 4.
        flip: the weight is (C, C_out, 3, 3) and is turned by half a turn: this is an input gradient.
    """

    def __init__(self, shape: tuple[int, ...], out_shape: tuple[int, ...], window: Window, m: int, flip: bool) -> None:
        rows, columns = window.axes
        tile_rows = ceil_divide(ceil_divide(out_shape[2], rows.dilation), m)
        tile_columns = ceil_divide(ceil_divide(out_shape[3], columns.dilation), m)
        all_rows = shape[0] * rows.dilation * columns.dilation * tile_rows
        blocks = -(-out_shape[1] // ROWS)
        tile_bytes = 4 * (m + 2) ** 2 * tile_columns
        if all_rows * tile_bytes * shape[1] <= PIXEL_BYTES:
            row_parts = 1
            block_parts = -(-4 * (m + 2) ** 2 * shape[1] * blocks * ROWS // WEIGHT_BYTES)
        else:
            row_parts = max(1, round(all_rows * tile_bytes * (shape[1] + out_shape[1]) / BLOCK_BYTES))
            block_parts = 1
        self.numbers = _Numbers(
            m=m,
            channels=shape[1],
            height=shape[2],
            width=shape[3],
            out_channels=out_shape[1],
            out_height=out_shape[2],
            out_width=out_shape[3],
            top=rows.before,
            left=columns.before,
            dilation_h=rows.dilation,
            dilation_w=columns.dilation,
            tile_rows=tile_rows,
            tile_columns=tile_columns,
            padded_columns=rounded_to_lanes(tile_columns + 1, 4),
            rows=all_rows,
            rows_at_once=-(-all_rows // row_parts),
            blocks=blocks,
            blocks_at_once=-(-blocks // block_parts),
            flip=flip,
        )
        self.words = np.array(self.numbers)

    def run(self, source: Array, weight: Array, y: Array, bias: Array | None = None, relu: bool = False) -> bool:
        """Write y; with relu, cut off the negative results. Always true: here NaN may spread within its tile."""
        n, threads, transforms = self.numbers, numba.config.NUMBA_NUM_THREADS, TRANSFORMS[self.numbers.m]
        entries, pitch = (n.m + 2) ** 2, uneven(rounded_to_lanes(n.rows_at_once * n.tile_columns, 4))
        weights, pixels, products, lines = buffers.workspace(
            F,
            (entries, uneven(n.blocks_at_once * n.channels * ROWS)),
            (entries, uneven(n.channels * pitch)),
            (entries, uneven(n.blocks_at_once * ROWS * pitch)),
            (threads, (2 * n.m + 5) * n.m * n.padded_columns),
        )
        offsets = np.arange(n.channels) * pitch
        bias = np.zeros(n.out_channels, F) if bias is None else bias
        source, weight, y = source.reshape(-1), weight.reshape(-1), y.reshape(-1)
        for row in range(0, n.rows, n.rows_at_once):
            rows = min(n.rows_at_once, n.rows - row)
            transforms.transform_pixels(n.channels * rows, pixels, source, row, rows, pitch, lines, self.words)
            for block in range(0, n.blocks, n.blocks_at_once):
                blocks = min(n.blocks_at_once, n.blocks - block)
                if row == 0:  # there are several blocks of tiles, or several groups of channels, but never both
                    transforms.transform_weights(blocks, weights, weight, block, self.words)
                multiply_entries(weights, pixels, products, offsets, blocks, pitch, rows * n.tile_columns, 0)
                lines_back = min(blocks * ROWS, n.out_channels - block * ROWS) * rows
                transforms.transform_back(
                    lines_back, y, products, bias, relu, block, row, rows, pitch, lines, self.words
                )
        return True


def uneven(length: int) -> int:
    """A length that keeps the entries, which are written together, out of one another's places in the cache."""
    return length + (16 if length % 1024 == 0 else 0) + 16


def multiply_entries(
    a: Array, b: Array, c: Array, offsets: Array, blocks: int, pitch: int, columns: int, accumulate: int
) -> None:
    """c[e] (+)= a[e] b[e] for each entry e: a packed in blocks of ROWS, the rows of b at the offsets, c's at pitch."""
    tasks = len(a) * ceil_divide(blocks, BLOCKS_OF_TASK) * ceil_divide(columns, COLUMNS_OF_TASK)
    _multiply_entries(tasks, a, b, c, offsets, blocks, pitch, columns, accumulate)


@on_all_cores()
def _multiply_entries(
    task: int, a: Array, b: Array, c: Array, offsets: Array, blocks: int, pitch: int, columns: int, accumulate: int
) -> None:
    """One entry, some blocks of rows, some columns."""
    depth = len(offsets)
    groups, strips = -(-blocks // BLOCKS_OF_TASK), -(-columns // COLUMNS_OF_TASK)
    strip, group, entry = task % strips, task // strips % groups, task // strips // groups
    column = strip * COLUMNS_OF_TASK
    for k in range(0, depth, DEPTH):
        for block in range(group * BLOCKS_OF_TASK, min((group + 1) * BLOCKS_OF_TASK, blocks)):
            multiply_rows(
                a[entry],
                (block * depth + k) * ROWS,
                b[entry],
                column,
                offsets,
                k,
                min(DEPTH, depth - k),
                c[entry],
                block * ROWS * pitch + column,
                pitch,
                min(COLUMNS_OF_TASK, columns - column),
                accumulate + k,
            )


@inner
def _gather_weights(g: Array, weight: Array, o: int, c: int, channels: int, n: Any) -> None:
    """g[k, tap, m] = the weight of output channel o + m and channel c + k; turned by half a turn with `flip`."""
    for k in range(channels):
        for m in range(min(ROWS, n.out_channels - o)):
            line = g[k * 9 * ROWS + m : (k + 1) * 9 * ROWS]
            start = ((c + k) * n.out_channels + o + m if n.flip else (o + m) * n.channels + c + k) * 9
            taps = weight[start : start + 9]
            if n.flip:
                for t in range(9):
                    line[(8 - t) * ROWS] = taps[t]
            else:
                for t in range(9):
                    line[t * ROWS] = taps[t]


@inner
def _place_of_row(row: int, n: Any) -> tuple[int, int, int]:
    """The image, and the first output's row and column, of a row of tiles; each grid of a dilation has its own rows."""
    grid, tile = row // n.tile_rows, row % n.tile_rows
    image, phase = grid // (n.dilation_h * n.dilation_w), grid % (n.dilation_h * n.dilation_w)
    return image, tile * n.m * n.dilation_h + phase // n.dilation_w, phase % n.dilation_w


class _Transforms(NamedTuple):
    """The tasks of one m."""

    transform_weights: Task
    transform_pixels: Task
    transform_back: Task


def _transforms(m: int) -> _Transforms:
    """Each m has tasks of its own, and only those that are used are compiled."""

    @on_all_cores()
    def transform_weights(block: int, transformed: Array, weight: Array, first: int, numbers: Array) -> None:
        """transformed[e, block, c, m] = (G g G^T)[e] of output channel (first + block) * ROWS + m and channel c."""
        n = _named(numbers)
        size, pitch = n.m + 2, transformed.shape[1]
        everything = transformed.reshape(-1)
        g, half = np.zeros(TOGETHER * 9 * ROWS, F), np.empty(size * 3 * ROWS, F)
        for c in range(0, n.channels, TOGETHER):
            channels = min(TOGETHER, n.channels - c)
            _gather_weights(g, weight, (first + block) * ROWS, c, channels, n)
            for k in range(channels):
                to = (block * n.channels + c + k) * ROWS
                if m == 4:
                    weights_of_four(g, k * 9 * ROWS, 3 * ROWS, half, 0, 3 * ROWS, 3 * ROWS)
                    for u in range(6):
                        weights_of_four(half, u * 3 * ROWS, ROWS, everything, u * 6 * pitch + to, pitch, ROWS)
                else:
                    weights_of_two(g, k * 9 * ROWS, 3 * ROWS, half, 0, 3 * ROWS, 3 * ROWS)
                    for u in range(4):
                        weights_of_two(half, u * 3 * ROWS, ROWS, everything, u * 4 * pitch + to, pitch, ROWS)

    @on_all_cores()
    def transform_pixels(
        task: int, pixels: Array, source: Array, first: int, rows: int, pitch: int, all_lines: Array, numbers: Array
    ) -> None:
        """pixels[e, c, tile] = (B^T d B)[e] for some rows of tiles."""
        n = _named(numbers)
        size, tiles, entry, wide = n.m + 2, n.tile_columns, pixels.shape[1], n.padded_columns
        length = tiles * n.m + 2
        spaced = n.m * wide
        lines = all_lines[numba.get_thread_id()]
        line, parts, down = lines[:spaced], lines[spaced : spaced * (size + 1)], lines[spaced * (size + 1) :]
        c, row = task // rows, task % rows
        image, i, j = _place_of_row(first + row, n)
        begin, end = inside(j - n.left, n.dilation_w, n.width, length)
        for u in range(size):
            seen = i - n.top + u * n.dilation_h
            if 0 <= seen < n.height:
                start = ((image * n.channels + c) * n.height + seen) * n.width + j - n.left
                copy_line(line[:length], source, start, n.dilation_w, begin, end)
            else:
                for k in range(length):
                    line[k] = 0
            if m == 4:
                split_in_four(line, 0, parts, u * spaced, wide, wide)
            else:
                split_in_two(line, 0, parts, u * spaced, wide, wide)
        at = c * pitch + row * tiles
        if m == 4:
            pixels_of_four(parts, 0, spaced, down, 0, spaced, spaced)
            for u in range(6):
                neighbours_of_four(down, u * spaced, wide, pixels.reshape(-1), u * 6 * entry + at, entry, tiles)
        else:
            pixels_of_two(parts, 0, spaced, down, 0, spaced, spaced)
            for u in range(4):
                neighbours_of_two(down, u * spaced, wide, pixels.reshape(-1), u * 4 * entry + at, entry, tiles)

    @on_all_cores()
    def transform_back(
        task: int,
        y: Array,
        products: Array,
        bias: Array,
        relu: bool,
        block: int,
        first: int,
        rows: int,
        pitch: int,
        all_lines: Array,
        numbers: Array,
    ) -> None:
        """y = A^T products A + bias, for some blocks of channels and rows of tiles."""
        n = _named(numbers)
        size, tiles, entry, wide = n.m + 2, n.tile_columns, products.shape[1], n.padded_columns
        channel = block * ROWS
        lines = all_lines[numba.get_thread_id()]
        down, parts, line = lines[: n.m * size * wide], lines[n.m * size * wide :], lines[n.m * (size + 1) * wide :]
        o, row = task // rows, task % rows
        image, i, j = _place_of_row(first + row, n)
        at = o * pitch + row * tiles
        for v in range(size):
            if m == 4:
                back_of_four(products.reshape(-1), v * entry + at, 6 * entry, down, v * wide, 6 * wide, tiles)
            else:
                back_of_two(products.reshape(-1), v * entry + at, 4 * entry, down, v * wide, 4 * wide, tiles)
        length = min(-(-(n.out_width - j) // n.dilation_w), tiles * n.m)
        for u in range(min(n.m, -(-(n.out_height - i) // n.dilation_h))):
            if m == 4:
                back_of_four(down, u * 6 * wide, wide, parts, 0, wide, tiles)
                join_four(parts, 0, wide, line, 0, tiles)
            else:
                back_of_two(down, u * 4 * wide, wide, parts, 0, wide, tiles)
                join_two(parts, 0, wide, line, 0, tiles)
            start = ((image * n.out_channels + channel + o) * n.out_height + i + u * n.dilation_h) * n.out_width + j
            store_line(y, start, line, bias[channel + o], 0, length, n.dilation_w, relu)

    return _Transforms(transform_weights, transform_pixels, transform_back)


TRANSFORMS = {m: _transforms(m) for m in (2, 4)}
