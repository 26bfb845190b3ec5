"""Maps hardly larger than the window: products of the taps that meet real pixels, and of no others.

A 7x7 window on a map of 4x4 pixels, as in the fully convolutional form of a classifier's first dense layer, looks at
padding through two taps of three. So each tap is a product of its own, over the pairs of an output p and a pixel q that
it joins. The channels lie side by side, the positions are rows, and the microkernel picks the rows that it needs:

    turned[q, c] = x[n, c, q]                                                             (shared among the threads)
    for each strip of output channels o, as wide as a tile:                               (shared among the threads)
        for each chunk of channels c:
            turned weight[t, c, o] = weight[o, c, t]
            for each tap t, for its pairs (p, q), ROWS at a time:
                sums[p, o] += sum over c of  turned[q, c] * turned weight[t, c, o]
        y[n, o, p] = sums[p, o] + bias[o]

Such layers have more weights than anything else: each is read once, and turned in the cache. The gradient with respect
to the input is the same with p and q exchanged. The gradient with respect to the weight is a product for each tap, too:

    for each block of ROWS output channels o, each strip of channels c:                   (shared among the threads)
        for each tap t:   sums[t, o, c] = sum over its pairs (p, q) of  grad[n, o, p] * turned[q, c]
        grad_weight[o, c, t] = sums[t, o, c]
"""

from itertools import product
from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import numbers_of, on_all_cores
from npseg.engines.numba.microkernel import (
    PICKED_VECTORS,
    ROWS,
    VECTOR_BYTES,
    multiply_in_place,
    multiply_picked,
    rounded_to_lanes,
)
from npseg.engines.numba.turning import turn
from npseg.geometry import Window, ceil_divide

WEIGHTS = 400_000
"""Bytes of turned weights that the second cache holds beside what is multiplied with them."""

STRIP_VECTORS = 8
"""Vectors of channels of the weight gradient that a thread takes at once."""

Shape = tuple[int, ...]


class Pairs(NamedTuple):
    """What a tap joins: two equally long lists of places, counted through all images."""

    outputs: Array
    inputs: Array


def pairs_of_taps(images: int, size: Shape, out_size: Shape, window: Window) -> dict[int, Pairs]:
    """For every tap that meets a real pixel, the outputs that see one through it, and the pixels."""
    spans = (axis.spans(length, outputs) for axis, length, outputs in zip(window.axes, size, out_size, strict=True))
    places, out_places = (np.arange(images * shape[0] * shape[1]).reshape(images, *shape) for shape in (size, out_size))
    return {
        row * window.columns.kernel_size + column: Pairs(out_places[:, i, j].ravel(), places[:, h, w].ravel())
        for (row, i, h), (column, j, w) in product(*spans)
    }


class _Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    images: int
    channels: int
    group_channels: int
    pixels: int
    out_channels: int
    group_out_channels: int
    out_pixels: int
    group_step: int
    out_step: int
    in_step: int
    area: int
    pitch: int
    chunk: int
    sums_pitch: int
    strips: int


_named = numbers_of(_Numbers)


class SmallMap:
    """A convolution of one shape, or its input gradient, prepared.

    Args:
        source_shape: (N, C, H, W) of what is multiplied with the weight.
        out_shape: (N, C_out, H_out, W_out) of the result.
        taps: for every tap, the places in the result and in the source.
        area: taps of the window.
        groups: how many independent parts the channels are cut into.
        weight_steps: entries from one group's weights to the next, one result channel's, one source channel's.
        dtype: of all arrays.
    """

    def __init__(
        self,
        source_shape: Shape,
        out_shape: Shape,
        taps: dict[int, tuple[Array, Array]],
        area: int,
        groups: int,
        weight_steps: tuple[int, int, int],
        dtype: np.dtype[Any],
    ) -> None:
        self.dtype = dtype
        self.width = width = PICKED_VECTORS * VECTOR_BYTES // dtype.itemsize
        images, channels, height, breadth = source_shape
        out_positions = images * out_shape[2] * out_shape[3]
        chunk = max(1, WEIGHTS // (len(taps) * width * dtype.itemsize))
        chunk = ceil_divide(channels // groups, ceil_divide(channels // groups, chunk))
        self.numbers = n = _Numbers(
            images=images,
            channels=channels,
            group_channels=channels // groups,
            pixels=height * breadth,
            out_channels=out_shape[1],
            group_out_channels=out_shape[1] // groups,
            out_pixels=out_shape[2] * out_shape[3],
            group_step=weight_steps[0],
            out_step=weight_steps[1],
            in_step=weight_steps[2],
            area=area,
            pitch=_pitch(channels, dtype),
            chunk=chunk,
            sums_pitch=width,
            strips=ceil_divide(out_shape[1] // groups, width),
        )
        self.words = np.array(n)
        self.tasks = groups * n.strips
        beyond = out_positions * width  # the row of sums for what fills up a tap's last tile
        rows_of_sums, rows_of_source, self.tiles = [], [], np.zeros(len(taps) + 1, np.int64)
        places = np.full((chunk, area), len(taps) * chunk * width)
        for k, (tap, (to, seen)) in enumerate(taps.items()):
            missing = -len(to) % ROWS
            rows_of_sums += [*(to * width), *[beyond] * missing]
            rows_of_source += [*(seen * n.pitch), *[0] * missing]
            self.tiles[k + 1] = len(rows_of_sums) // ROWS
            places[:, tap] = (k * chunk + np.arange(chunk)) * width
        self.rows_of_sums, self.rows_of_source = np.array(rows_of_sums), np.array(rows_of_source)
        self.places = places.ravel()
        self.pixel_places = np.arange(n.pixels) * n.pitch
        self.channel_places = np.arange(width) * n.out_pixels

    def run(self, source: Array, weight: Array, y: Array, bias: Array | None = None, relu: bool = False) -> bool:
        """Write y; with relu, cut off the negative results. Always true: no weight has met anything but pixels."""
        n, threads = self.numbers, numba.config.NUMBA_NUM_THREADS
        turned, weights, sums = buffers.workspace(
            self.dtype,
            (n.images * n.pixels * n.pitch,),
            (threads, (len(self.tiles) - 1) * n.chunk * self.width + self.width),
            (threads, (n.images * n.out_pixels + 1) * self.width),
        )
        bias = np.zeros(n.out_channels, self.dtype) if bias is None else bias
        _turn_channels(_turns(n), turned, source.reshape(-1), self.pixel_places, n.images, n.channels, n.pitch)
        _correlate(
            self.tasks,
            turned,
            weight.reshape(-1),
            self.places,
            self.rows_of_sums,
            self.rows_of_source,
            self.tiles,
            self.channel_places,
            bias,
            y.reshape(-1),
            weights,
            sums,
            relu,
            self.words,
        )
        return True


class SmallMapWeights:
    """The weight gradient of one shape, prepared; ROWS output channels in a group at least.

    Args:
        shape: of x.
        grad_shape: of the output's gradient.
        taps: for every tap, the places in the gradient and in x.
        area: taps of the window.
        groups: how many independent parts the channels are cut into.
        dtype: of all arrays.
    """

    def __init__(
        self, shape: Shape, grad_shape: Shape, taps: dict[int, Pairs], area: int, groups: int, dtype: np.dtype[Any]
    ) -> None:
        self.dtype = dtype
        group_channels, group_out_channels = shape[1] // groups, grad_shape[1] // groups
        strips = ceil_divide(group_channels, STRIP_VECTORS * VECTOR_BYTES // dtype.itemsize)
        chunk = ceil_divide(group_channels, strips)
        self.numbers = n = _Numbers(
            images=shape[0],
            channels=shape[1],
            group_channels=group_channels,
            pixels=shape[2] * shape[3],
            out_channels=grad_shape[1],
            group_out_channels=group_out_channels,
            out_pixels=grad_shape[2] * grad_shape[3],
            group_step=group_out_channels * group_channels * area,
            out_step=group_channels * area,
            in_step=area,
            area=area,
            pitch=_pitch(shape[1], dtype),
            chunk=chunk,
            sums_pitch=_pitch(chunk, dtype),
            strips=strips,
        )
        self.words = np.array(n)
        self.tasks = groups * ceil_divide(group_out_channels, ROWS) * strips
        none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
        every = [taps.get(tap, none) for tap in range(area)]
        self.first = np.cumsum([0, *(len(pairs.outputs) for pairs in every)])
        outputs, inputs = (np.concatenate(places) for places in zip(*every, strict=True))
        image, position = np.divmod(outputs, n.out_pixels)
        self.places = image * n.out_channels * n.out_pixels + position
        self.offsets = inputs * n.pitch
        self.pixel_places = np.arange(n.pixels) * n.pitch
        self.channel_places = np.arange(n.chunk) * area

    def run(self, x: Array, grad: Array, grad_weight: Array) -> None:
        """Write grad_weight."""
        n = self.numbers
        turned, sums = buffers.workspace(
            self.dtype,
            (n.images * n.pixels * n.pitch + VECTOR_BYTES // self.dtype.itemsize,),
            (numba.config.NUMBA_NUM_THREADS, n.area * ROWS * n.sums_pitch),
        )
        _turn_channels(_turns(n), turned, x.reshape(-1), self.pixel_places, n.images, n.channels, n.pitch)
        _weight_gradient(
            self.tasks,
            turned,
            grad.reshape(-1),
            self.places,
            self.offsets,
            self.first,
            self.channel_places,
            grad_weight.reshape(-1),
            sums,
            self.words,
        )


def _pitch(channels: int, dtype: np.dtype[Any]) -> int:
    """From pixel to pixel in what is turned: not a power of two, or all rows of a tile would meet in the same cache."""
    return rounded_to_lanes(channels, dtype.itemsize) + VECTOR_BYTES // dtype.itemsize


def _turns(n: _Numbers) -> int:
    return n.images * ceil_divide(n.channels, 64)


@on_all_cores()
def _turn_channels(
    task: int, turned: Array, source: Array, pixel_places: Array, images: int, channels: int, pitch: int
) -> None:
    """turned[(n, pixel), c] = source[n, c, pixel], 64 channels of an image."""
    pixels = len(pixel_places)
    image, first = task % images, task // images * 64
    start = image * pixels * pitch + first
    rows = min(64, channels - first)
    turn(turned, start, pixel_places, 0, source, (image * channels + first) * pixels, pixels, rows, pixels)


@on_all_cores()
def _correlate(
    task: int,
    turned: Array,
    weights: Array,
    places: Array,
    rows_of_sums: Array,
    rows_of_source: Array,
    tiles: Array,
    channel_places: Array,
    bias: Array,
    y: Array,
    all_turned_weights: Array,
    all_sums: Array,
    relu: bool,
    numbers: Array,
) -> None:
    """A strip of one group's output channels."""
    n = _named(numbers)
    thread, width = numba.get_thread_id(), len(channel_places)
    turned_weights, sums = all_turned_weights[thread], all_sums[thread]
    group, first = task // n.strips, task % n.strips * width
    rows, channel = min(width, n.group_out_channels - first), group * n.group_out_channels + first
    positions = n.images * n.out_pixels
    for p in range(positions):
        for m in range(rows):
            sums[p * width + m] = bias[channel + m]
    for c in range(0, n.group_channels, n.chunk):
        depth = min(n.chunk, n.group_channels - c)
        start = group * n.group_step + first * n.out_step + c * n.in_step
        run = depth if n.in_step == n.area else 1  # channels whose taps lie one behind the other
        for k in range(0, depth, run):
            turn(
                turned_weights,
                0,
                places,
                k * n.area,
                weights,
                start + k * n.in_step,
                n.out_step,
                rows,
                run * n.area,
            )
        for t in range(len(tiles) - 1):
            for tile in range(tiles[t], tiles[t + 1]):
                multiply_picked(
                    turned,
                    rows_of_source,
                    turned_weights,
                    t * n.chunk * width,
                    depth,
                    sums,
                    rows_of_sums,
                    tile * ROWS,
                    group * n.group_channels + c,
                )
    if relu:
        for k in range(positions * width):
            sums[k] = sums.dtype.type(0) if sums[k] <= 0 else sums[k]
    for image in range(n.images):
        start = (image * n.out_channels + channel) * n.out_pixels
        turn(y, start, channel_places, 0, sums, image * n.out_pixels * width, width, n.out_pixels, rows)


@on_all_cores()
def _weight_gradient(
    task: int,
    turned: Array,
    grad: Array,
    places: Array,
    offsets: Array,
    first_of_taps: Array,
    channel_places: Array,
    grad_weight: Array,
    all_sums: Array,
    numbers: Array,
) -> None:
    """A strip of channels, for ROWS output channels of one group."""
    n = _named(numbers)
    sums = all_sums[numba.get_thread_id()]
    blocks = -(-n.group_out_channels // ROWS)
    strip, block, group = task % n.strips, task // n.strips % blocks, task // n.strips // blocks
    first = strip * n.chunk
    channels = min(n.chunk, n.group_channels - first)
    row = min(block * ROWS, n.group_out_channels - ROWS)  # the last block is a whole one, too
    for tap in range(n.area):
        start = tap * ROWS * n.sums_pitch
        begin, end = first_of_taps[tap], first_of_taps[tap + 1]
        if begin == end:
            for k in range(start, start + ROWS * n.sums_pitch):
                sums[k] = 0
            continue
        multiply_in_place(
            grad,
            (group * n.group_out_channels + row) * n.out_pixels,
            n.out_pixels,
            places,
            turned,
            group * n.group_channels + first,
            offsets,
            begin,
            end - begin,
            sums,
            start,
            n.sums_pitch,
            channels,
            0,
        )
    for m in range(block * ROWS - row, ROWS):  # without those of the block before
        start = group * n.group_step + (row + m) * n.out_step + first * n.area
        turn(grad_weight, start, channel_places, 0, sums, m * n.sums_pitch, ROWS * n.sums_pitch, n.area, channels)
