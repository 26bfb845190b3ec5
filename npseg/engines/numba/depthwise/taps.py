"""Depthwise convolution, which taps see what: a table for each strip of columns, and the bands that are tasks.

Beside the image a tap sees nothing. Which lanes of a vector do is the same for all rows, so it is worked out once for a
shape, as the bits of a number for each strip and tap.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.microkernel import VECTOR_BYTES
from npseg.geometry import Axis, Size, Window

TASK = 1 << 14
"""Results that a thread computes at once, in whole rows."""

prepared = lru_cache(maxsize=256)
"""A training step asks for the same windows again and again."""


def bands_of(rows: int, width: int) -> int:
    """How many tasks a plane's rows make."""
    return -(-rows // -(-TASK // width))


@inner
def band_of(task: int, rows: int, width: int) -> tuple[int, int, int]:
    """The plane that a task belongs to, and its band: rows first ... last - 1."""
    band = -(-TASK // width)
    bands = -(-rows // band)
    first = task % bands * band
    return task // bands, first, min(first + band, rows)


class Taps(NamedTuple):
    """What a plane of results looks at, strip by strip.

    The result in row q of row phase r and column p of column phase s is (q * phases + r, p * phases + s) in its plane.
    """

    starts: Array
    """Where the taps of each pair of phases start."""
    table: Array
    """(strips, taps, 5): of each tap what the following names say."""
    stored: Array
    """(strips, column phases): the lanes that have a result, each a bit of a number."""
    kernel_columns: int
    """Taps that share a row of the kernel, without those that never see a pixel."""


PLACE, ROW, COLUMN, SEEN, BEYOND = range(5)
"""Where the tap is in the flat kernel; the row that row 0 looks at; the column that the strip's first lane looks at;
the lanes that see a pixel, as bits; and where these pixels are two apart, the same for the vector that follows."""


@prepared
def taps_of(window: Window, strides: Size, phases: Size, source_size: Size, size: Size, itemsize: int) -> Taps:
    """The taps of all pairs of phases, in the kernel's order, without those that never see a pixel."""
    rows, columns = (_along(*each) for each in zip(window.axes, strides, phases, source_size, size, strict=True))
    stride, count, lanes = strides[1], -(-size[1] // phases[1]), VECTOR_BYTES // itemsize
    strips, both = np.arange(0, count, lanes).reshape(-1, 1, 1), np.arange(2 * lanes)
    offsets = columns[:, 2:]
    first = strips * stride + offsets  # (strips, taps, 1)
    pixels = first + both * (1 if stride <= 2 else stride)
    # Lanes beyond the last result see nothing: in the weight's gradient, 0 * infinity would be NaN.
    seen = (pixels >= 0) & (pixels < np.minimum(source_size[1], offsets + (count - 1) * stride + 1))
    if stride > 2:  # see `_at_most_two_apart`
        first = first % stride * -(-source_size[1] // stride) + first // stride

    row, column = (indices.ravel() for indices in np.indices((len(rows), len(columns))))
    table = np.empty((len(strips), len(row), 5), np.int64)
    table[..., PLACE] = rows[row, 0] * window.columns.kernel_size + columns[column, 0]
    table[..., ROW], table[..., COLUMN] = rows[row, 2], first[:, column, 0]
    table[..., SEEN], table[..., BEYOND] = _bits(seen[..., :lanes])[:, column], _bits(seen[..., lanes:])[:, column]
    pairs = rows[row, 1] * phases[1] + columns[column, 1]
    order = np.argsort(pairs, kind="stable")

    if phases[1] == 2:
        stored = _bits(strips * 2 + both.reshape(2, lanes) < size[1])
    else:
        stored = np.repeat(_bits(strips[..., 0] + both[:lanes] < count), phases[1]).reshape(len(strips), phases[1])
    starts = np.searchsorted(pairs[order], np.arange(phases[0] * phases[1] + 1))
    return Taps(starts, table[:, order].copy(), stored, max(1, len(columns)))


@prepared
def strips_in_turns(left: int, source_width: int, width: int, itemsize: int) -> tuple[int, Array, Array]:
    """Strips of pairs of results p, which are columns 2 * p - left and the next, and look at columns p and p - 1.

    The first p, and as bits the lanes that see something in each of the two columns and the results that are stored.
    """
    lanes, first = VECTOR_BYTES // itemsize, left // 2
    p, lane = np.arange(first, (width - 1 + left) // 2 + 1, lanes).reshape(-1, 1, 1), np.arange(2 * lanes)
    columns = p + np.arange(0, -2, -1).reshape(-1, 1) + lane[:lanes]
    results = 2 * p - left + lane.reshape(2, lanes)
    seen = (columns >= 0) & (columns < source_width)
    return first, _bits(seen), _bits((results >= 0) & (results < width))


def _along(axis: Axis, stride: int, phases: int, source_size: int, size: int) -> Array:
    """(taps, 3): where in the kernel, of which phase, and what number 0 of that phase looks at through it."""
    taps = np.arange(axis.kernel_size)
    positions = taps * axis.dilation - axis.before
    phase = -positions % phases
    offsets = (positions + phase) // phases
    alive = (offsets < source_size) & (offsets + (-(-size // phases) - 1) * stride >= 0)
    return np.stack([taps, phase, offsets], axis=1)[alive]


def _bits(flags: Array) -> Array:
    """The flags of all lanes, along the last axis, in one number."""
    return np.asarray(flags @ (1 << np.arange(flags.shape[-1])))
