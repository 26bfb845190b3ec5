"""The gradient with respect to the weight on maps of few pixels: a product for each tap.

    turned[q, c] = x[n, c, q]                                                             (shared among the threads)
    for each block of ROWS output channels o, each strip of channels c:                   (shared among the threads)
        for each tap t:   sums[t, o, c] = sum over its pairs (p, q) of  grad[n, o, p] * turned[q, c]
        grad_weight[o, c, t] = sums[t, o, c]

A pair is an output p and a real pixel q that it sees through the tap (see `small_maps`). Each entry of the gradient is
written once; it is so much larger than x and grad that both stay in the cache.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import numbers_of, on_all_cores
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES
from npseg.engines.numba.small_maps import Pairs, Shape, pitch_of, turn_channels
from npseg.engines.numba.turning import turn
from npseg.engines.numba.unpacked import multiply_in_place
from npseg.geometry import ceil_divide

STRIP_VECTORS = 8
"""Vectors of channels that a thread takes at once."""


class _Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    images: int
    channels: int
    group_channels: int
    pixels: int
    group_out_channels: int
    out_pixels: int
    area: int
    pitch: int
    chunk: int
    sums_pitch: int
    strips: int


_named = numbers_of(_Numbers)


class SmallMapWeights:
    """The weight gradient of one shape, prepared; ROWS output channels in a group at least.

    Args:
        shape: of x.
        grad_shape: of the output's gradient.
        taps: for every tap that meets real pixels, the places in the gradient and in x.
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
            group_out_channels=group_out_channels,
            out_pixels=grad_shape[2] * grad_shape[3],
            area=area,
            pitch=pitch_of(shape[1], dtype),
            chunk=chunk,
            sums_pitch=pitch_of(chunk, dtype),
            strips=strips,
        )
        self.words = np.array(n)
        self.tasks = groups * ceil_divide(group_out_channels, ROWS) * strips
        none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
        every = [taps.get(tap, none) for tap in range(area)]
        self.first = np.cumsum([0, *(len(pairs.outputs) for pairs in every)])
        outputs, inputs = (np.concatenate(places) for places in zip(*every, strict=True))
        image, position = np.divmod(outputs, n.out_pixels)
        self.places = image * grad_shape[1] * n.out_pixels + position
        self.offsets = inputs * n.pitch
        self.pixel_places = np.arange(n.images * n.pixels) * n.pitch
        self.channel_places = np.arange(n.chunk) * area

    def run(self, x: Array, grad: Array, grad_weight: Array) -> None:
        """Write grad_weight."""
        n, lanes = self.numbers, VECTOR_BYTES // self.dtype.itemsize
        turned, sums = buffers.workspace(
            self.dtype,
            (n.images * n.pixels * n.pitch + lanes,),
            (numba.config.NUMBA_NUM_THREADS, n.area * ROWS * n.sums_pitch),
        )
        if n.channels % lanes:
            turned.fill(0)  # see `filling.clear`
        turn_channels(turned, x, self.pixel_places)
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
        start = ((group * n.group_out_channels + row + m) * n.group_channels + first) * n.area
        turn(grad_weight, start, channel_places, 0, sums, m * n.sums_pitch, ROWS * n.sums_pitch, n.area, channels)
