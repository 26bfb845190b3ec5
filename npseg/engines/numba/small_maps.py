"""Maps of few pixels: products of the taps that meet real pixels, and of no others.

Rows of such maps fill no vectors, and much of what a window sees is padding: a 7x7 window on 4x4 pixels, as in the
fully convolutional form of a classifier's first dense layer, looks at it through two taps of three. So each tap is a
product of its own, over the pairs of an output p and a pixel q that it joins. The channels lie side by side, the
positions are rows, and the microkernel picks the rows that it needs:

    turned[q, c] = x[n, c, q]                                                             (shared among the threads)
    for each strip of output channels o, as wide as a tile:                               (shared among the threads)
        for each chunk of channels c:
            turned weight[t, c, o] = weight[o, c, t]
            for each tap t, for its pairs (p, q), ROWS at a time:
                sums[p, o] += sum over c of  turned[q, c] * turned weight[t, c, o]
        y[n, o, p] = sums[p, o] + bias[o]

Such layers often have more weights than anything else: each is read once, and turned in the cache. The gradient with
respect to the input is the same with p and q exchanged, that with respect to the weight has a file of its own.
"""

from itertools import product
from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import numbers_of, on_all_cores
from npseg.engines.numba.microkernel import (
    ROWS,
    VECTOR_BYTES,
    rounded_to_lanes,
)
from npseg.engines.numba.turning import turn
from npseg.engines.numba.unpacked import PICKED_VECTORS, multiply_picked
from npseg.geometry import Window, ceil_divide

WEIGHTS = 400_000
"""Bytes of turned weights that the second cache holds beside what is multiplied with them."""

Shape = tuple[int, ...]


class Pairs(NamedTuple):
    """What a tap joins: two equally long lists of places, counted through all images."""

    outputs: Array
    inputs: Array

    def exchanged(self) -> "Pairs":
        """As the input gradient sees them."""
        return Pairs(self.inputs, self.outputs)


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
    strips: int


_named = numbers_of(_Numbers)


class SmallMap:
    """A convolution of one shape, or its input gradient, prepared.

    Args:
        source_shape: (N, C, H, W) of what is multiplied with the weight.
        out_shape: (N, C_out, H_out, W_out) of the result.
        taps: for every tap that meets real pixels, the places in the result and in the source.
        area: taps of the window.
        groups: how many independent parts the channels are cut into.
        weight_steps: entries from one group's weights to the next, one result channel's, one source channel's.
        dtype: of all arrays.
    """

    def __init__(
        self,
        source_shape: Shape,
        out_shape: Shape,
        taps: dict[int, Pairs],
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
            pitch=pitch_of(channels, dtype),
            chunk=chunk,
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
        self.pixel_places = np.arange(images * n.pixels) * n.pitch
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
        turn_channels(turned, source, self.pixel_places)
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


def pitch_of(channels: int, dtype: np.dtype[Any]) -> int:
    """From pixel to pixel in what is turned: not a power of two, or all rows of a tile would meet in the same cache."""
    return rounded_to_lanes(channels, dtype.itemsize) + VECTOR_BYTES // dtype.itemsize


def turn_channels(turned: Array, source: Array, pixel_places: Array) -> None:
    """turned[(n, pixel), c] = source[n, c, pixel], where each pixel has its place."""
    images, channels = source.shape[:2]
    tasks = images * ceil_divide(channels, 64)
    _turn_channels(tasks, turned, source.reshape(-1), pixel_places, images, channels)


@on_all_cores()
def _turn_channels(task: int, turned: Array, source: Array, pixel_places: Array, images: int, channels: int) -> None:
    """64 channels of an image."""
    pixels = len(pixel_places) // images
    image, first = task % images, task // images * 64
    start, rows = (image * channels + first) * pixels, min(64, channels - first)
    turn(turned, first, pixel_places, image * pixels, source, start, pixels, rows, pixels)


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
    # Also what does not count begins at zero: tiny numbers from before would take a hundred times as long.
    sums[:] = 0
    if rows < width:
        turned_weights[:] = 0
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
