"""Winograd's convolution: fewer multiplications for 3x3 kernels, paid for with additions.

m outputs of a 3-tap filter need m + 2 multiplications, not 3 m: transform the pixels and the weights by small constant
matrices, multiply entry by entry, transform back. In two dimensions, for a tile of m x m outputs, (m + 2)^2 replace
9 m^2:

    Y = A^T [ (G g G^T) * (B^T d B) ] A           d: (m + 2) x (m + 2) pixels, g: 3 x 3 weights, *: entry by entry

F(2x2, 3x3) saves a factor of 2.25, F(4x4, 3x3) one of 4. Summed over the channels, each of the (m + 2)^2 entries is a
matrix product, weights (C_out, C) times pixels (C, tiles):

    for each strip of rows of tiles (and group of output channels):                   (shared among the threads)
        for each channel c:                 pixels[e, c, tile] = (B^T d B)[e]                 (e: the entry)
        for each block of ROWS outputs o:
            for each entry e:               products[e, o, tile] = sum over c of weights[e, o, c] * pixels[e, c, tile]
            for each o:                     y = A^T products A + bias

So all between an image and its convolution stays in a core's own cache. Where the weights are too many to be read for
every strip, each of the three steps is shared among the threads by itself, for larger blocks of tiles or for groups of
output channels. How rows of tiles are transformed is in `winograd_tiles`, their products are in `entries`. Where a
network's ReLU and 2x2 max pool follow, and nothing is kept for a way back, only the largest of each 2x2 is stored.

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
from npseg.engines.numba.entries import multiply_entries, multiply_entry, uneven
from npseg.engines.numba.microkernel import ROWS, rounded_to_lanes
from npseg.engines.numba.winograd_matrices import weights_of_four, weights_of_two
from npseg.engines.numba.winograd_tiles import (
    IN_VECTOR,
    clear_entries,
    output_rows_of_four,
    output_rows_of_two,
    pixel_rows_of_four,
    pixel_rows_of_two,
    together,
)
from npseg.geometry import Window, ceil_divide

PIXEL_BYTES = 8 * 2**20
"""Transformed pixels up to this size are kept while the output channels are worked through in groups."""

BLOCK_BYTES = 3 * 2**20
"""Otherwise: transformed pixels and products of one block of tiles. They go through the shared cache twice."""

WEIGHT_BYTES = 5 * 2**20
"""Transformed weights of one group of output channels."""

STRIP_BYTES = 5 * 2**17
"""Transformed pixels of a strip: half of what a core's own cache holds, since other things pass through it."""

STRIP_WEIGHT_BYTES = 5 * 2**20
"""Up to so many bytes of transformed weights, which every strip reads, convolutions go strip by strip."""

LEAST_TILES = 16
"""Tiles that a strip should have: rather than make smaller ones, several cores share a strip's output channels."""

TOGETHER = 16
"""Channels whose weights are gathered before they are transformed."""

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
    rows_together: int
    wide: int
    rows: int
    rows_at_once: int
    blocks: int
    blocks_at_once: int
    strip: int
    pool: int
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
        pooled: of the outputs, whose H_out and W_out are even and whose window has no dilation, only the largest of
            each 2x2 are stored: y is (N, C_out, H_out / 2, W_out / 2).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        window: Window,
        m: int,
        *,
        flip: bool = False,
        pooled: bool = False,
    ) -> None:
        rows, columns = window.axes
        tile_rows = ceil_divide(ceil_divide(out_shape[2], rows.dilation), m)
        tile_columns = ceil_divide(ceil_divide(out_shape[3], columns.dilation), m)
        all_rows = shape[0] * rows.dilation * columns.dilation * tile_rows
        blocks = -(-out_shape[1] // ROWS)
        tile_bytes = 4 * (m + 2) ** 2 * tile_columns
        weight_bytes = 4 * (m + 2) ** 2 * shape[1] * blocks * ROWS
        if all_rows * tile_bytes * shape[1] <= PIXEL_BYTES:
            row_parts = 1
            block_parts = -(-weight_bytes // WEIGHT_BYTES)
        else:
            row_parts = max(1, round(all_rows * tile_bytes * (shape[1] + out_shape[1]) / BLOCK_BYTES))
            block_parts = 1
        strip = 0  # none: block by block
        if weight_bytes <= STRIP_WEIGHT_BYTES:
            strip = _rows_of_strip(all_rows, tile_columns, tile_bytes * shape[1])
        self.together = together(m, tile_columns)
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
            rows_together=self.together.rows,
            wide=self.together.wide,
            rows=all_rows,
            rows_at_once=-(-all_rows // row_parts),
            blocks=blocks,
            blocks_at_once=-(-blocks // block_parts),
            strip=strip,
            pool=2 if pooled else 1,
            flip=flip,
        )
        self.words = np.array(self.numbers)

    def run(self, source: Array, weight: Array, y: Array, bias: Array | None = None, relu: bool = False) -> bool:
        """Write y; with relu, cut off the negative results. Always true: here NaN may spread within its tile."""
        bias = np.zeros(self.numbers.out_channels, F) if bias is None else bias
        run = self._in_strips if self.numbers.strip else self._in_blocks
        run(source.reshape(-1), weight.reshape(-1), y.reshape(-1), bias, relu)
        return True

    def _in_strips(self, source: Array, weight: Array, y: Array, bias: Array, relu: bool) -> None:
        """Each strip in one core, from its pixels to its outputs."""
        n, threads, transforms = self.numbers, numba.config.NUMBA_NUM_THREADS, TRANSFORMS[self.numbers.m]
        entries, pitch = (n.m + 2) ** 2, rounded_to_lanes(n.strip * n.tile_columns, 4)
        weights, pixels, products, lines = buffers.workspace(
            F,
            (entries, uneven(n.blocks * n.channels * ROWS)),
            (threads, entries, uneven(n.channels * pitch)),
            (threads, entries, uneven(ROWS * pitch)),
            (threads, self.together.numbers),
        )
        lines.fill(0)  # see `filling.clear`
        offsets, strips = np.arange(n.channels) * pitch, ceil_divide(n.rows, n.strip)
        parts = min(ceil_divide(threads, strips), n.blocks)
        transforms.weights(n.blocks, weights, weight, 0, self.words)
        transforms.strip(
            strips * parts, parts, y, source, weights, bias, relu, pixels, products, offsets, pitch, lines, self.words
        )

    def _in_blocks(self, source: Array, weight: Array, y: Array, bias: Array, relu: bool) -> None:
        """Step by step, each shared by all cores: in several blocks of tiles, or several groups of output channels."""
        n, threads, transforms = self.numbers, numba.config.NUMBA_NUM_THREADS, TRANSFORMS[self.numbers.m]
        entries, pitch = (n.m + 2) ** 2, uneven(rounded_to_lanes(n.rows_at_once * n.tile_columns, 4))
        weights, pixels, products, lines = buffers.workspace(
            F,
            (entries, uneven(n.blocks_at_once * n.channels * ROWS)),
            (entries, uneven(n.channels * pitch)),
            (entries, uneven(n.blocks_at_once * ROWS * pitch)),
            (threads, self.together.numbers),
        )
        lines.fill(0)
        offsets = np.arange(n.channels) * pitch
        for row in range(0, n.rows, n.rows_at_once):
            rows = min(n.rows_at_once, n.rows - row)
            parts = ceil_divide(rows, n.rows_together)
            transforms.pixels(n.channels * parts, pixels, source, row, rows, pitch, lines, self.words)
            for block in range(0, n.blocks, n.blocks_at_once):
                blocks = min(n.blocks_at_once, n.blocks - block)
                if row == 0:
                    transforms.weights(blocks, weights, weight, block, self.words)
                multiply_entries(weights, pixels, products, offsets, blocks, pitch, rows * n.tile_columns, 0)
                tasks = min(blocks * ROWS, n.out_channels - block * ROWS) * parts
                transforms.outputs(tasks, y, products, bias, relu, block, row, rows, pitch, lines, self.words)


def _rows_of_strip(rows: int, tiles: int, row_bytes: int) -> int:
    """How many rows of tiles a strip has.

    Args:
        rows: of tiles, of all images.
        tiles: in a row.
        row_bytes: of a row's transformed pixels.
    """
    threads = numba.config.NUMBA_NUM_THREADS
    most = max(STRIP_BYTES // row_bytes, 1)
    strip = min(most, max(ceil_divide(rows, threads), ceil_divide(LEAST_TILES, tiles)))
    strips = ceil_divide(rows, strip)
    return ceil_divide(rows, ceil_divide(strips, threads) * threads) if strips >= threads else strip


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


class _Transforms(NamedTuple):
    """The tasks of one m."""

    weights: Task
    pixels: Task
    outputs: Task
    strip: Task


def _transforms(m: int) -> _Transforms:
    """Each m has tasks of its own, and only those that are used are compiled.

    They name what they call: a kernel that had it from around would not be found again where kernels are kept.
    """

    @on_all_cores(allocates=True)
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
        groups = -(-rows // n.rows_together)
        c, row = task // groups, task % groups * n.rows_together
        count = min(n.rows_together, rows - row)
        lines = all_lines[numba.get_thread_id()]
        if m == 4:
            pixel_rows_of_four(pixels, c * pitch + row * n.tile_columns, source, c, first + row, count, lines, n)
        else:
            pixel_rows_of_two(pixels, c * pitch + row * n.tile_columns, source, c, first + row, count, lines, n)
        if row + count == rows:
            clear_entries(pixels, c * pitch, rows * n.tile_columns, 0)

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
        groups = -(-rows // n.rows_together)
        o, row = task // groups, task % groups * n.rows_together
        count = min(n.rows_together, rows - row)
        lines, at = all_lines[numba.get_thread_id()], o * pitch + row * n.tile_columns
        if row + count == rows:
            clear_entries(products, o * pitch, rows * n.tile_columns, IN_VECTOR)
        if m == 4:
            output_rows_of_four(y, products, at, bias, relu, block * ROWS + o, first + row, count, lines, n)
        else:
            output_rows_of_two(y, products, at, bias, relu, block * ROWS + o, first + row, count, lines, n)

    @on_all_cores()
    def convolve_strip(
        task: int,
        parts: int,
        y: Array,
        source: Array,
        weights: Array,
        bias: Array,
        relu: bool,
        all_pixels: Array,
        all_products: Array,
        offsets: Array,
        pitch: int,
        all_lines: Array,
        numbers: Array,
    ) -> None:
        """Some rows of tiles, for a part of the output channels, in memory that only this core uses."""
        n = _named(numbers)
        thread = numba.get_thread_id()
        pixels, products, lines = all_pixels[thread], all_products[thread], all_lines[thread]
        first, part = task // parts * n.strip, task % parts
        rows = min(n.strip, n.rows - first)
        for c in range(n.channels):
            if m == 4:
                pixel_rows_of_four(pixels, c * pitch, source, c, first, rows, lines, n)
            else:
                pixel_rows_of_two(pixels, c * pitch, source, c, first, rows, lines, n)
            clear_entries(pixels, c * pitch, rows * n.tile_columns, 0)
        if rows > n.rows_together:  # what is not transformed back at once does not end with a vector
            for o in range(ROWS):
                clear_entries(products, o * pitch, rows * n.tile_columns, IN_VECTOR)
        for block in range(part * n.blocks // parts, (part + 1) * n.blocks // parts):
            for e in range(len(weights)):
                multiply_entry(
                    weights[e], pixels[e], 0, products[e], offsets, block, 1, pitch, rows * n.tile_columns, 0, 0
                )
            for o in range(min(ROWS, n.out_channels - block * ROWS)):
                if m == 4:
                    output_rows_of_four(y, products, o * pitch, bias, relu, block * ROWS + o, first, rows, lines, n)
                else:
                    output_rows_of_two(y, products, o * pitch, bias, relu, block * ROWS + o, first, rows, lines, n)

    return _Transforms(transform_weights, transform_pixels, transform_back, convolve_strip)


TRANSFORMS = {m: _transforms(m) for m in (2, 4)}
