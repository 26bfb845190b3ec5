"""Winograd's weight gradient: the same idea with the roles of outputs and weights exchanged.

Along one axis, the gradient of a 3-tap weight over m outputs is itself a convolution, with m taps and 3 outputs, and
needs m + 2 multiplications, not 3 m. For tiles of m x m outputs, with d the pixels that a tile sees and g its gradient:

    grad_weight = A^T [ sum over the tiles of (G g G^T) * (B^T d B) ] A

The pixels are transformed as in the forward pass. For each of the (m + 2)^2 entries, the sum over tiles is a matrix
product, gradients (C_out, tiles) times pixels (tiles, C). Here channels lie side by side, so that the transforms run
along them: pixels come with their channels last, gradients in blocks of ROWS channels, as the microkernel wants them.

    for each block of tiles:
        for each tile:      pixels[e, tile, c] = (B^T d B)[e]
        for each tile:      grads[e, o, tile] = (G g G^T)[e]
        for each entry e:   sums[e, o, c] += sum over tiles of grads[e, o, tile] * pixels[e, tile, c]
    grad_weight[o, c] = A^T sums A
"""

from typing import NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import Task, inner, numbers_of, on_all_cores
from npseg.engines.numba.entries import multiply_entries, uneven
from npseg.engines.numba.microkernel import ROWS, rounded_to_lanes
from npseg.engines.numba.transforms import linear
from npseg.engines.numba.winograd import F
from npseg.engines.numba.winograd_matrices import pixels_of_four, pixels_of_two
from npseg.geometry import Window, ceil_divide

BLOCK_BYTES = 3 * 2**20
"""Transformed pixels and gradients of one block of tiles, unless the sums, which each block adds to, are larger."""

_BACK = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, 0], [0, 1, 1, -1]]),
    4: np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 1]]),
}
"""A^T for each m."""

_GRADS = {
    2: np.array([[1, 0], [1 / 2, 1 / 2], [1 / 2, -1 / 2], [0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6, 1 / 6],
            [1 / 24, 1 / 12, 1 / 6, 1 / 3],
            [1 / 24, -1 / 12, 1 / 6, -1 / 3],
            [0, 0, 0, 1],
        ]
    ),
}
"""G for each m."""

_grads_of_two, _grads_of_four = linear(_GRADS[2]), linear(_GRADS[4])
_back_of_two, _back_of_four = linear(_BACK[2]), linear(_BACK[4])

CHANNELS = 64
"""Channels whose tile is transformed at a time: it stays in the first cache."""


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
    turned_width: int
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
        pitch, blocks = rounded_to_lanes(shape[1], 4), -(-grad_shape[1] // ROWS)
        rows = shape[0] * tile_rows
        row_bytes = (m + 2) ** 2 * (pitch + blocks * ROWS) * tile_columns * 4
        sums_bytes = (m + 2) ** 2 * pitch * blocks * ROWS * 4
        parts = max(1, round(rows * row_bytes / max(BLOCK_BYTES, sums_bytes)))
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
            rows_at_once=-(-rows // parts),
            turned_width=tile_columns * m + 2,
            pitch=pitch,
            blocks=blocks,
        )
        self.words = np.array(self.numbers)

    def run(self, x: Array, grad: Array, grad_weight: Array) -> None:
        """Write grad_weight."""
        n, threads, transforms = self.numbers, numba.config.NUMBA_NUM_THREADS, TRANSFORMS[self.numbers.m]
        size = n.m + 2
        tiles = n.rows_at_once * n.tile_columns
        pixels, grads, sums, lines = buffers.workspace(
            F,
            (size**2, uneven(tiles * n.pitch)),
            (size**2, uneven(n.blocks * tiles * ROWS)),
            (size**2, uneven(n.blocks * ROWS * n.pitch)),
            (threads, size * n.turned_width * n.pitch + size * size * CHANNELS),
        )
        x, grad = x.reshape(-1), grad.reshape(-1)
        for first in range(0, n.rows, n.rows_at_once):
            rows = min(n.rows_at_once, n.rows - first)
            transforms.transform_pixels(rows * ceil_divide(n.channels, CHANNELS), pixels, x, first, lines, self.words)
            transforms.transform_grads(rows * n.blocks, grads, grad, first, rows, lines, self.words)
            offsets = np.arange(rows * n.tile_columns) * n.pitch
            multiply_entries(grads, pixels, sums, offsets, n.blocks, n.pitch, n.channels, first)
        transforms.transform_back(n.out_channels, grad_weight.reshape(-1), sums, self.words)


@inner
def _turn_line(
    target: Array, source: Array, start: int, plane: int, channels: int, pitch: int, exists: bool, left: int, width: int
) -> None:
    """target[j * pitch + c] = source[start + c * plane + j - left], or 0 where a line of `width` has no such pixel."""
    length = len(target) // pitch
    begin = min(max(0, left), length) if exists else length
    end = min(max(begin, width + left), length)
    for k in range(begin * pitch):
        target[k] = 0
    for c in range(0, channels, 16):
        if channels - c >= 16:
            for j in range(begin, end):
                place, pixels = target[j * pitch + c : j * pitch + c + 16], source[start + c * plane + j - left :]
                for k in range(16):
                    place[k] = pixels[np.uintp(k * plane)]
        else:
            for k in range(channels - c):
                line, pixels = target[c + k :], source[start + (c + k) * plane - left + begin :]
                for j in range(end - begin):
                    line[(begin + j) * pitch] = pixels[j]
    for k in range(end * pitch, length * pitch):
        target[k] = 0


@inner
def _turn_block(target: Array, source: Array, start: int, plane: int, channels: int, exists: bool, width: int) -> None:
    """target[j, m] = source[start + m * plane + j], for ROWS channels of which some may be missing, zeros elsewhere."""
    if channels == ROWS and exists:
        for j in range(width):
            place, pixels = target[j * ROWS : (j + 1) * ROWS], source[start + j :]
            for m in range(ROWS):
                place[m] = pixels[np.uintp(m * plane)]
        for k in range(width * ROWS, len(target)):
            target[k] = 0
        return
    for k in range(len(target)):
        target[k] = 0
    if exists:
        for m in range(channels):
            line, pixels = target[m:], source[start + m * plane :]
            for j in range(width):
                line[j * ROWS] = pixels[j]


class _Transforms(NamedTuple):
    """The tasks of one m."""

    transform_pixels: Task
    transform_grads: Task
    transform_back: Task


def _transforms(m: int) -> _Transforms:
    """Each m has tasks of its own, and only those that are used are compiled."""

    @on_all_cores()
    def transform_pixels(task: int, pixels: Array, x: Array, first: int, all_lines: Array, numbers: Array) -> None:
        """pixels[e, tile, c] = (B^T d B)[e] for some rows of tiles."""
        n = _named(numbers)
        size, entry, width = n.m + 2, pixels.shape[1], n.turned_width
        groups = -(-n.channels // CHANNELS)
        row, group = task // groups, task % groups
        lines = all_lines[numba.get_thread_id()]
        c, channels = group * CHANNELS, min(CHANNELS, n.channels - group * CHANNELS)
        wide = min(CHANNELS, n.pitch - c)  # whole vectors, of which what lies beyond the channels is not used
        image, i = (first + row) // n.tile_rows, (first + row) % n.tile_rows * n.m - n.top
        down = lines[size * width * wide :]
        for u in range(size):
            target = lines[u * width * wide : (u + 1) * width * wide]
            start = ((image * n.channels + c) * n.height + i + u) * n.width
            _turn_line(target, x, start, n.height * n.width, channels, wide, 0 <= i + u < n.height, n.left, n.width)
        for tile in range(n.tile_columns):
            at = tile * n.m * wide
            to = (row * n.tile_columns + tile) * n.pitch + c
            if m == 4:
                pixels_of_four(lines, at, width * wide, down, 0, 6 * wide, 6 * wide)
                for u in range(6):
                    pixels_of_four(down, u * 6 * wide, wide, pixels.reshape(-1), u * 6 * entry + to, entry, wide)
            else:
                pixels_of_two(lines, at, width * wide, down, 0, 4 * wide, 4 * wide)
                for u in range(4):
                    pixels_of_two(down, u * 4 * wide, wide, pixels.reshape(-1), u * 4 * entry + to, entry, wide)

    @on_all_cores()
    def transform_grads(
        task: int, grads: Array, grad: Array, first: int, rows: int, all_lines: Array, numbers: Array
    ) -> None:
        """grads[e, block, tile, o] = (G g G^T)[e] for some rows of tiles."""
        n = _named(numbers)
        entry, width, tiles = grads.shape[1], n.tile_columns * n.m, rows * n.tile_columns
        row, block = task // n.blocks, task % n.blocks
        lines = all_lines[numba.get_thread_id()]
        channels = min(ROWS, n.out_channels - block * ROWS)
        image, i = (first + row) // n.tile_rows, (first + row) % n.tile_rows * n.m
        down = lines[n.m * width * ROWS :]
        for u in range(n.m):
            start = ((image * n.out_channels + block * ROWS) * n.out_height + i + u) * n.out_width
            target = lines[u * width * ROWS : (u + 1) * width * ROWS]
            _turn_block(target, grad, start, n.out_height * n.out_width, channels, i + u < n.out_height, n.out_width)
        for tile in range(n.tile_columns):
            at = tile * n.m * ROWS
            to = (block * tiles + row * n.tile_columns + tile) * ROWS
            if m == 4:
                _grads_of_four(lines, at, width * ROWS, down, 0, 4 * ROWS, 4 * ROWS)
                for u in range(6):
                    _grads_of_four(down, u * 4 * ROWS, ROWS, grads.reshape(-1), u * 6 * entry + to, entry, ROWS)
            else:
                _grads_of_two(lines, at, width * ROWS, down, 0, 2 * ROWS, 2 * ROWS)
                for u in range(4):
                    _grads_of_two(down, u * 2 * ROWS, ROWS, grads.reshape(-1), u * 4 * entry + to, entry, ROWS)

    @on_all_cores(allocates=True)
    def transform_back(o: int, grad_weight: Array, sums: Array, numbers: Array) -> None:
        """grad_weight[o, c] = A^T sums A."""
        n = _named(numbers)
        size, entry = n.m + 2, sums.shape[1]
        down, lines = np.empty(3 * size * CHANNELS, F), np.empty(3 * CHANNELS, F)
        for c in range(0, n.channels, CHANNELS):
            channels = min(CHANNELS, n.channels - c)
            at = o * n.pitch + c
            for v in range(size):
                if m == 4:
                    _back_of_four(
                        sums.reshape(-1), v * entry + at, 6 * entry, down, v * channels, 6 * channels, channels
                    )
                else:
                    _back_of_two(
                        sums.reshape(-1), v * entry + at, 4 * entry, down, v * channels, 4 * channels, channels
                    )
            for k in range(3):
                if m == 4:
                    _back_of_four(down, k * 6 * channels, channels, lines, 0, channels, channels)
                else:
                    _back_of_two(down, k * 4 * channels, channels, lines, 0, channels, channels)
                for l in range(3):  # noqa: E741
                    start = (o * n.channels + c) * 9 + k * 3 + l
                    place, line = grad_weight[start:], lines[l * channels : (l + 1) * channels]
                    for j in range(channels):
                        place[j * 9] = line[j]

    return _Transforms(transform_pixels, transform_grads, transform_back)


TRANSFORMS = {m: _transforms(m) for m in (2, 4)}
