"""Weights as the microkernel reads them: for each block of ROWS results, channel and tap, its ROWS weights together.

They are packed ahead, by all threads, where several tasks multiply with them, and otherwise in the task that does, so
that they are still in its cache.

On the way every weight is looked at: one that is not finite makes NaN of the zeros around the image.
"""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import inner, on_all_cores
from npseg.engines.numba.grids import named
from npseg.engines.numba.microkernel import ROWS

MOST_PARTS = 64
"""Into so many parts at most the packing of weights is cut: a part shall be worth a thread's while."""


@on_all_cores()
def pack(
    part: int,
    packed: Array,
    weights: Array,
    places: Array,
    parts: int,
    group: int,
    finite: Array,
    numbers: Array,
) -> None:
    """All weights as the microkernel reads them: block by block, for each channel and tap ROWS results side by side."""
    n = named(numbers)
    if n.block_by_block:
        begin, end = part * len(packed) // parts, (part + 1) * len(packed) // parts
        good = pack_blocks(packed, weights, places, group, begin, begin, end, 0, 0, n.group_channels, n)
    else:
        begin, end = part * n.group_channels // parts, (part + 1) * n.group_channels // parts
        good = pack_blocks(packed, weights, places, group, 0, 0, len(packed), begin, begin, end, n)
    if not good:
        finite[part] = False


@inner
def pack_blocks(
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
    packed: Array,
    weights: Array,
    places: Array,
    group: int,
    block: int,
    first: int,
    channels: int,
    n: Any,
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
