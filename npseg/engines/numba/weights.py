"""The gradient with respect to the weight: a matrix product whose inner dimension is the positions.

    grad_weight[o, c, k, l] = sum over n, i, j of grad[n, o, i, j] * x[n, c, what (i, j) sees through tap (k, l)]

For the microkernel, the gradient is A, packed so that the values of ROWS channels at one position lie side by side.
The row of B that belongs to a position is what its window sees. If x is turned to have its channels last, padded, then
all channels and the taps (k, 0), (k, 1), ... of one row of the window lie side by side in memory as they are:

    for each part of the positions and some blocks of output channels:                        (shared among the threads)
        for each chunk of positions p of the part, each row k of the window, each block of output channels:
            sums[o, (l, c)] += sum over p of grad[p, o] * x_turned[where p's window has its row k, l * C + c]
    grad_weight = the sum of the parts' sums, in order, turned back

With dilation the taps of a row do not lie side by side, and each tap is a product of its own. Where there are fewer
positions than output channels, turning the result back would cost more than writing out x's columns, each position's
window in the order of the weight: then B is these columns, and the product is the gradient, in its place at once.
"""

from typing import Any, NamedTuple

import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import numbers_of, on_all_cores
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES, VECTORS, multiply_rows, rounded_to_lanes
from npseg.engines.numba.turning import turn, turn_line
from npseg.geometry import Window, ceil_divide

DEPTH = 384
"""Positions that are multiplied at a time: as many as keep both factors of a tile in the first cache."""

BLOCKS_OF_TASK, STRIP_VECTORS = 16, 6
"""The part of a product that a thread takes at once: blocks of rows, and vectors of columns, in whole tiles."""


class _Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    images: int
    channels: int
    group_channels: int
    height: int
    width: int
    out_channels: int
    group_out_channels: int
    out_height: int
    out_width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    dilation_h: int
    dilation_w: int
    turned_height: int
    turned_width: int
    as_columns: bool
    products: int
    columns: int
    pitch: int
    parts: int
    part_positions: int
    blocks: int


_named = numbers_of(_Numbers)


class WeightGradient:
    """The weight gradient of one shape, prepared.

    Args:
        shape: of x.
        grad_shape: of the output's gradient.
        window: in which the outputs see x.
        groups: how many independent parts the channels are cut into.
        dtype: of all arrays.
    """

    def __init__(
        self, shape: tuple[int, ...], grad_shape: tuple[int, ...], window: Window, groups: int, dtype: np.dtype[Any]
    ) -> None:
        self.groups, self.dtype = groups, dtype
        rows, columns = window.axes
        group_channels, group_out_channels = shape[1] // groups, grad_shape[1] // groups
        positions = grad_shape[0] * grad_shape[2] * grad_shape[3]
        as_columns = positions <= group_out_channels
        joined = columns.dilation == 1
        if as_columns:
            products, width = 1, group_channels * window.area
        elif joined:
            products, width = rows.kernel_size, columns.kernel_size * group_channels
        else:
            products, width = window.area, group_channels
        all_blocks = -(-group_out_channels // ROWS)
        pitch = rounded_to_lanes(width, dtype.itemsize)
        strips = ceil_divide(width, STRIP_VECTORS * VECTOR_BYTES // dtype.itemsize)
        tasks = strips * ceil_divide(all_blocks, BLOCKS_OF_TASK)
        parts = 1 if as_columns else _parts(positions, tasks, all_blocks * ROWS * products * pitch)
        turned_height = (grad_shape[2] - 1) * rows.stride + rows.extent
        turned_width = (grad_shape[3] - 1) * columns.stride + columns.extent
        self.numbers = n = _Numbers(
            images=shape[0],
            channels=shape[1],
            group_channels=group_channels,
            height=shape[2],
            width=shape[3],
            out_channels=grad_shape[1],
            group_out_channels=group_out_channels,
            out_height=grad_shape[2],
            out_width=grad_shape[3],
            kernel_h=rows.kernel_size,
            kernel_w=columns.kernel_size,
            stride_h=rows.stride,
            stride_w=columns.stride,
            top=rows.before,
            left=columns.before,
            dilation_h=rows.dilation,
            dilation_w=columns.dilation,
            turned_height=turned_height,
            turned_width=turned_width,
            as_columns=as_columns,
            products=products,
            columns=width,
            pitch=pitch,
            parts=parts,
            part_positions=-(-positions // parts),
            blocks=all_blocks,
        )
        self.words = np.array(n)
        self.packed_places = np.arange(n.out_height * n.out_width) * ROWS
        self.pixel_places = np.arange(turned_width) * group_channels
        self.tasks = parts * tasks
        image, i, j = np.unravel_index(np.arange(positions), (grad_shape[0], *grad_shape[2:]))
        if as_columns:
            self.offsets = np.arange(positions) * pitch
            self.starts = np.zeros(1, np.int64)
        else:
            pixel = (image * turned_height + i * rows.stride) * turned_width + j * columns.stride
            self.offsets = pixel * group_channels
            taps = np.arange(products)
            k, l = (taps, 0 * taps) if joined else np.divmod(taps, columns.kernel_size)  # noqa: E741
            self.starts = (k * rows.dilation * turned_width + l * columns.dilation) * group_channels

    def run(self, x: Array, grad: Array, grad_weight: Array) -> None:
        """Write grad_weight."""
        n, lanes = self.numbers, VECTOR_BYTES // self.dtype.itemsize
        positions = n.images * n.out_height * n.out_width
        pixels = n.images * n.turned_height * n.turned_width
        turned_size = positions * n.pitch if n.as_columns else pixels * n.group_channels + VECTORS * lanes
        in_place = n.as_columns and n.pitch == n.columns and n.group_out_channels % ROWS == 0
        shape = n.parts, n.blocks, n.products, ROWS * n.pitch
        packed, turned, sums = buffers.workspace(
            self.dtype, (n.blocks, positions * ROWS), (turned_size,), (0,) if in_place else shape
        )
        # Also what does not count is zero: tiny numbers from before would take a hundred times as long.
        turned[-VECTORS * lanes :] = 0
        if n.group_out_channels % ROWS:
            packed[-1] = 0
        x, grad = x.reshape(-1), grad.reshape(-1)
        for group in range(self.groups):
            target = grad_weight.reshape(self.groups, -1)[group]
            if in_place:
                sums = target.reshape(shape)
            _pack_gradient(n.blocks * n.images, packed, grad, self.packed_places, group, self.words)
            if n.as_columns:
                _write_columns(positions, turned, x, group, self.words)
            else:
                _turn(n.images * n.turned_height, turned, x, self.pixel_places, group, self.words)
            _multiply(self.tasks, sums, packed, turned, self.offsets, self.starts, self.words)
            if not in_place:
                _turn_back(n.group_out_channels, target, sums, self.words)


def _parts(positions: int, tasks: int, sums: int) -> int:
    """Into how many parts to cut the positions, so that there are tasks enough, but no more sums than that is worth."""
    wanted = -(-16 // tasks)
    return max(1, min(wanted, positions // (4 * DEPTH), 2**20 // sums))


@on_all_cores()
def _pack_gradient(task: int, packed: Array, grad: Array, places: Array, group: int, numbers: Array) -> None:
    """packed[b, p, m] = grad of channel b * ROWS + m at position p; those beyond the last stay zero."""
    n = _named(numbers)
    plane = n.out_height * n.out_width
    block, image = task // n.images, task % n.images
    first = block * ROWS
    start = (image * n.out_channels + group * n.group_out_channels + first) * plane
    channels = min(ROWS, n.group_out_channels - first)
    turn(packed[block], image * plane * ROWS, places, 0, grad, start, plane, channels, plane)


@on_all_cores()
def _turn(line: int, turned: Array, x: Array, places: Array, group: int, numbers: Array) -> None:
    """turned[n, h, w, c] = x[n, c, h - top, w - left], or 0 where that is padding."""
    n = _named(numbers)
    image, row = line // n.turned_height, line % n.turned_height - n.top
    size = n.turned_width * n.group_channels
    target = turned[line * size : (line + 1) * size]
    start = ((image * n.channels + group * n.group_channels) * n.height + row) * n.width
    width = n.width if 0 <= row < n.height else 0
    turn_line(target, places, n.group_channels, x, start, n.height * n.width, n.group_channels, n.left, width)


@on_all_cores()
def _write_columns(p: int, columns: Array, x: Array, group: int, numbers: Array) -> None:
    """columns[p, (c, k, l)] = what position p sees through tap (k, l) of channel c, or 0."""
    n = _named(numbers)
    plane = n.out_height * n.out_width
    image, i, j = p // plane, p % plane // n.out_width, p % n.out_width
    line = columns[p * n.pitch : (p + 1) * n.pitch]
    at = 0
    for c in range(n.group_channels):
        start = (image * n.channels + group * n.group_channels + c) * n.height
        for k in range(n.kernel_h):
            row = i * n.stride_h + k * n.dilation_h - n.top
            column = j * n.stride_w - n.left
            for l in range(n.kernel_w):  # noqa: E741
                seen = column + l * n.dilation_w
                inside = 0 <= row < n.height and 0 <= seen < n.width
                line[at] = x[(start + row) * n.width + seen] if inside else 0
                at += 1
    for k in range(n.columns, n.pitch):
        line[k] = 0


@on_all_cores()
def _multiply(
    task: int, sums: Array, packed: Array, turned: Array, offsets: Array, starts: Array, numbers: Array
) -> None:
    """sums[part, block, product] = the packed gradient times what the positions of the part see."""
    n = _named(numbers)
    width = STRIP_VECTORS * (VECTOR_BYTES // turned.itemsize)
    strips, groups_of_blocks = -(-n.columns // width), -(-n.blocks // BLOCKS_OF_TASK)
    column, rest = task % strips * width, task // strips
    part, first_block = rest // groups_of_blocks, rest % groups_of_blocks * BLOCKS_OF_TASK
    first, end = part * n.part_positions, min((part + 1) * n.part_positions, len(offsets))
    for p in range(first, end, DEPTH):
        for product in range(n.products):
            for block in range(first_block, min(first_block + BLOCKS_OF_TASK, n.blocks)):
                multiply_rows(
                    packed[block],
                    p * ROWS,
                    turned,
                    starts[product] + column,
                    offsets,
                    p,
                    min(DEPTH, end - p),
                    sums[part, block, product],
                    column,
                    n.pitch,
                    min(width, n.columns - column),
                    p - first,
                )


@on_all_cores()
def _turn_back(o: int, grad_weight: Array, sums: Array, numbers: Array) -> None:
    """grad_weight[o, c, k, l] = the sum over the parts, in order."""
    n = _named(numbers)
    area = n.kernel_h * n.kernel_w
    row_taps = n.kernel_w if n.products == n.kernel_h and not n.as_columns else 1
    block, line = o // ROWS, o % ROWS * n.pitch
    target = grad_weight[o * n.group_channels * area : (o + 1) * n.group_channels * area]
    for part in range(n.parts):
        for product in range(n.products):
            source = sums[part, block, product, line : line + n.pitch]
            if n.as_columns:
                for k in range(n.columns):
                    target[k] = source[k]
                continue
            for l in range(row_taps):  # noqa: E741
                seen, place = source[l * n.group_channels :], target[product * row_taps + l :]
                if part == 0:
                    for c in range(n.group_channels):
                        place[c * area] = seen[c]
                else:
                    for c in range(n.group_channels):
                        place[c * area] += seen[c]
