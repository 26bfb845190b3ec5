"""Depthwise convolution: too little arithmetic for a matrix product, so what counts is to read each pixel once.

Every channel has kernels of its own, and its plane fits a cache. A vector of neighbouring results is computed at a
time. Where it looks beside the image, its lanes are not loaded but zero, so nothing is padded or copied:

    for each image, channel, band of rows:                                            (shared among the threads)
        for each strip of `lanes` columns j:
            for each row i of the band:
                y[i, j] = bias + sum over taps (k, l) that see row h of x:  weight[k, l] * x[h, j * s - left + l * d]

Mostly the kernel is 3x3, with stride 1 or 2. Then the strip runs down the rows of x instead, with three sums open at a
time: row h of x is the bottom row that one row of results waits for, the middle one of the next, and the top one of the
one after that (with stride 2, every second row is the bottom row of one and the top row of the next). So each row is
loaded once, not three times. Both gradients run down the rows alike.

The gradient of x has the same form with the kernel turned around; where the convolution has a stride, pixels that are
`stride` apart form a phase, which only some taps reach. The gradient of the weight adds up grad * x for every tap, band
by band of rows; then the bands' sums are added in their order.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import inner, kernel, plain
from npseg.engines.numba.microkernel import VECTOR_BYTES
from npseg.engines.numba.pointwise import BLOCK
from npseg.engines.numba.registers import (
    everywhere,
    interleaved,
    load_some,
    load_spaced,
    multiply_add,
    positive,
    store_some,
    total,
)
from npseg.geometry import Axis, Size, Window

TASK = 1 << 14
"""Results that a thread computes at once, in whole rows."""

prepared = lru_cache(maxsize=256)
"""A training step asks for the same windows again and again."""


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


def depthwise_conv(x: Array, weight: Array, window: Window, bias: Array | None = None, relu: bool = False) -> Array:
    """The convolution of every channel with kernels of its own.

    Args:
        x: (N, C, H, W).
        weight: (C * multiplier, 1, K_h, K_w); output channel c * multiplier + a belongs to input channel c.
        window: what each output sees.
        bias: (C * multiplier,), added while the result is stored, or None.
        relu: whether to cut off the negative; NaN stays NaN.

    Returns:
        (N, C * multiplier, H_out, W_out).
    """
    y = buffers.empty((len(x), len(weight), *window.output_size((x.shape[2], x.shape[3]))), x.dtype)
    bias = np.zeros(len(weight), x.dtype) if bias is None else plain(bias)
    _correlate(x, weight, bias, y, window, (window.rows.stride, window.columns.stride), (1, 1), relu)
    return y


def depthwise_grad_input(grad: Array, weight: Array, size: Size, window: Window, channels: int) -> Array:
    """The gradient of x, given that of y: what each pixel was seen by, through the kernel turned around.

    Args:
        grad: (N, C * multiplier, H_out, W_out).
        weight: (C * multiplier, 1, K_h, K_w).
        size: (H, W) of x.
        window: of the convolution.
        channels: C.

    Returns:
        (N, C, H, W).
    """
    grad_x = buffers.empty((len(grad), channels, *size), grad.dtype)
    if _is_3x3(window, stride=2) and len(weight) == channels:
        top, left = window.rows.before, window.columns.before
        pair, seen, stored = _strips_in_turns(left, grad.shape[3], size[1], grad.itemsize)
        _spread_3x3(plain(grad), plain(weight).reshape(channels, 9), grad_x, top, left, pair, seen, stored)
        return grad_x
    bias, phases = np.zeros(channels, grad.dtype), (window.rows.stride, window.columns.stride)
    _correlate(grad, weight[:, :, ::-1, ::-1], bias, grad_x, _turned_around(window), (1, 1), phases, False)
    return grad_x


def depthwise_grad_weight(x: Array, grad: Array, window: Window) -> Array:
    """The gradient of the weight.

    Args:
        x: (N, C, H, W).
        grad: (N, C * multiplier, H_out, W_out), the gradient of y.
        window: of the convolution.

    Returns:
        (C * multiplier, 1, K_h, K_w).
    """
    strides = window.rows.stride, window.columns.stride
    taps = _taps(window, strides, (1, 1), _size(x), _size(grad), x.itemsize)
    band = -(-BLOCK // grad.shape[3])
    parts = buffers.zeros((len(x), -(-grad.shape[2] // band), grad.shape[1], window.area), x.dtype)
    if _is_3x3(window, strides[0]) and strides[0] <= 2 and taps.table.shape[1] == 9:
        run = _sum_3x3 if strides[0] == 1 else _sum_3x3_by_two
        run(plain(x), plain(grad), parts, band, window.rows.before, taps.table, taps.stored)
    else:
        image, spacing = _at_most_two_apart(x, strides[1])
        table = taps.table, taps.stored
        _multiply_and_sum(image, plain(grad), parts, band, *table, strides[0], spacing, taps.kernel_columns)
    total: Array = parts.sum(axis=(0, 1), dtype=np.float64)
    return total.astype(x.dtype).reshape(-1, 1, *window.kernel_size)


def _correlate(
    source: Array, weight: Array, bias: Array, y: Array, window: Window, strides: Size, phases: Size, relu: bool
) -> None:
    """Write y: result i of an axis looks at positions (i * stride - before + k * dilation) / phases, where whole."""
    taps = _taps(window, strides, phases, _size(source), _size(y), y.itemsize)
    weight = plain(weight).reshape(len(weight), window.area)
    special = phases == (1, 1) and strides[0] <= 2 and _is_3x3(window, strides[0])
    if special and source.shape[1] <= y.shape[1] and taps.table.shape[1] == 9:
        run = _run_3x3 if strides[0] == 1 else _run_3x3_by_two
        run(plain(source), weight, bias, y, window.rows.before, taps.table, taps.stored, relu)
        return
    source, spacing = _at_most_two_apart(source, strides[1])
    results = y if phases[1] <= 2 else buffers.empty((*y.shape[:3], -(-y.shape[3] // phases[1]) * phases[1]), y.dtype)
    table = taps.starts, taps.table, taps.stored
    _run(source, weight, bias, results, *table, strides[0], spacing, phases[0], relu)
    if results is not y:
        in_turns = results.reshape(*y.shape[:3], phases[1], -1).swapaxes(3, 4)
        y[...] = in_turns.reshape(results.shape)[..., : y.shape[3]]


def _at_most_two_apart(source: Array, stride: int) -> tuple[Array, tuple[int, ...]]:
    """Images whose pixels that are `stride` apart lie one or two apart, and which of both.

    With a stride above 2 the columns are sorted: every `stride`-th one, then their right neighbours, and so on.
    """
    if stride <= 2:
        return plain(source), (stride,) * stride
    count = -(-source.shape[3] // stride)
    padded = np.zeros((*source.shape[:3], count * stride), source.dtype)
    padded[..., : source.shape[3]] = source
    return plain(padded.reshape(*source.shape[:3], count, stride).swapaxes(3, 4)).reshape(padded.shape), (1,)


@prepared
def _turned_around(window: Window) -> Window:
    """The window through which a pixel is seen, where a stride leaves gaps between the outputs."""
    rows, columns = (replace(axis, before=axis.extent - 1 - axis.before) for axis in window.axes)
    return Window(rows, columns)


@prepared
def _is_3x3(window: Window, stride: int) -> bool:
    """Whether it is 3x3, with this stride and no dilation."""
    return all((axis.kernel_size, axis.stride, axis.dilation) == (3, stride, 1) for axis in window.axes)


def _size(x: Array) -> Size:
    return x.shape[2], x.shape[3]


# ------------------------------------------------------------------------------------------------- which taps see what


@prepared
def _taps(window: Window, strides: Size, phases: Size, source_size: Size, size: Size, itemsize: int) -> Taps:
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
def _strips_in_turns(left: int, source_width: int, width: int, itemsize: int) -> tuple[int, Array, Array]:
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


# ----------------------------------------------------------------------------------------------------- y and grad_x


@kernel()
def _run(
    source: Array,
    weight: Array,
    bias: Array,
    y: Array,
    starts: Array,
    table: Array,
    stored: Array,
    row_stride: int,
    spacing: tuple[int, ...],
    row_phases: int,
    relu: bool,
) -> None:
    """Any window, and any number of channels of the source for each of y's, or the other way round."""
    images, channels, height, width = y.shape
    band = -(-TASK // (width * row_phases))
    bands = -(-height // (band * row_phases))
    for task in numba.prange(images * channels * row_phases * bands):
        plane, phase, first = task // (row_phases * bands), task // bands % row_phases, task % bands * band
        last, start = min(first + band, -(-(height - phase) // row_phases)), bias[plane % channels]
        _fill_rows(
            source,
            weight,
            start,
            y,
            starts,
            table,
            stored,
            row_stride,
            spacing,
            row_phases,
            relu,
            plane,
            phase,
            first,
            last,
        )


@inner
def _fill_rows(
    source: Array,
    weight: Array,
    bias: Any,
    y: Array,
    starts: Array,
    table: Array,
    stored: Array,
    row_stride: int,
    spacing: tuple[int, ...],
    row_phases: int,
    relu: bool,
    plane: int,
    row_phase: int,
    first: int,
    last: int,
) -> None:
    """Rows number first ... last - 1 of one phase in one plane, four at a time where none looks beside the image."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = source.shape, y.shape
    sources, sharing = max(1, from_channels // channels), max(1, channels // from_channels)
    image, kernel = plane // sharing * sources, plane % channels * sources
    lanes, phases, step = VECTOR_BYTES // y.itemsize, stored.shape[1], row_stride * source_width
    phase_width = width // phases
    first_tap, last_tap = starts[row_phase * phases], starts[(row_phase + 1) * phases]
    highest, lowest = 0, 0
    for t in range(first_tap, last_tap):
        highest, lowest = min(highest, table[0, t, ROW]), max(lowest, table[0, t, ROW])
    # In rows begin ... end - 1 no tap looks above or beneath the image.
    begin, end = max(first, -(highest // row_stride)), min(last, (source_height - 1 - lowest) // row_stride + 1)
    for strip in range(len(table)):
        q = first
        while q < last:
            four = begin <= q < end and begin + 4 <= end
            if four:
                q = min(q, end - 4)  # some rows twice rather than one by one
            to = (plane * height + q * row_phases + row_phase) * width + strip * lanes * (2 if phases == 2 else 1)
            even_a, even_b, even_c, even_d = everywhere(bias), everywhere(bias), everywhere(bias), everywhere(bias)
            for phase in range(phases):
                a, b, c, d = everywhere(bias), everywhere(bias), everywhere(bias), everywhere(bias)
                pair = row_phase * phases + phase
                for s in range(sources):
                    above = (image + s) * source_height + q * row_stride
                    for t in range(np.uintp(starts[pair]), np.uintp(starts[pair + 1])):
                        row, seen, beyond = table[strip, t, ROW], table[strip, t, SEEN], table[strip, t, BEYOND]
                        here = (above + row) * source_width + table[strip, t, COLUMN]
                        factor = everywhere(weight[kernel + s, np.uintp(table[strip, t, PLACE])])
                        if four:
                            a = multiply_add(factor, load_spaced(source, here, spacing, seen, beyond), a)
                            b = multiply_add(factor, load_spaced(source, here + step, spacing, seen, beyond), b)
                            c = multiply_add(factor, load_spaced(source, here + 2 * step, spacing, seen, beyond), c)
                            d = multiply_add(factor, load_spaced(source, here + 3 * step, spacing, seen, beyond), d)
                        elif 0 <= q * row_stride + row < source_height:
                            a = multiply_add(factor, load_spaced(source, here, spacing, seen, beyond), a)
                if relu:
                    a, b, c, d = positive(a), positive(b), positive(c), positive(d)
                if phases == 2 and phase == 0:
                    even_a, even_b, even_c, even_d = a, b, c, d
                elif phases == 2:
                    _store_in_turns(y, to, stored, strip, even_a, a)
                    if four:
                        _store_in_turns(y, to + row_phases * width, stored, strip, even_b, b)
                        _store_in_turns(y, to + 2 * row_phases * width, stored, strip, even_c, c)
                        _store_in_turns(y, to + 3 * row_phases * width, stored, strip, even_d, d)
                else:
                    place, there = to + phase * phase_width, stored[strip, phase]
                    store_some(y, place, there, a)
                    if four:
                        store_some(y, place + row_phases * width, there, b)
                        store_some(y, place + 2 * row_phases * width, there, c)
                        store_some(y, place + 3 * row_phases * width, there, d)
            q += 4 if four else 1


@inner
def _store_in_turns(y: Array, place: int, stored: Array, strip: int, even: Any, odd: Any) -> None:
    left, right = interleaved(even, odd)
    store_some(y, place, stored[strip, 0], left)
    store_some(y, place + VECTOR_BYTES // y.itemsize, stored[strip, 1], right)


@kernel()
def _run_3x3(
    source: Array, weight: Array, bias: Array, y: Array, top: int, table: Array, stored: Array, relu: bool
) -> None:
    """A window of 3x3 neighbouring pixels at every place."""
    images, channels, height, width = y.shape
    band = -(-TASK // width)
    bands = -(-height // band)
    for task in numba.prange(images * channels * bands):
        plane, first = task // bands, task % bands * band
        last, start = min(first + band, height), bias[plane % channels]
        _run_down(source, weight, start, y, top, table, stored, relu, plane, first, last)


@inner
def _run_down(
    source: Array,
    weight: Array,
    bias: Any,
    y: Array,
    top: int,
    table: Array,
    stored: Array,
    relu: bool,
    plane: int,
    first: int,
    last: int,
) -> None:
    """Rows first ... last - 1 of one plane of results, strip by strip."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = source.shape, y.shape
    lanes, above, o = VECTOR_BYTES // y.itemsize, plane // (channels // from_channels) * source_height, plane % channels
    w00, w01, w02 = everywhere(weight[o, 0]), everywhere(weight[o, 1]), everywhere(weight[o, 2])
    w10, w11, w12 = everywhere(weight[o, 3]), everywhere(weight[o, 4]), everywhere(weight[o, 5])
    w20, w21, w22 = everywhere(weight[o, 6]), everywhere(weight[o, 7]), everywhere(weight[o, 8])
    for strip in range(len(table)):
        column, there = table[strip, 0, COLUMN], stored[strip, 0]
        seen_a, seen_b, seen_c = table[strip, 0, SEEN], table[strip, 1, SEEN], table[strip, 2, SEEN]
        closing, middle, opening = everywhere(bias), everywhere(bias), everywhere(bias)
        for i in range(first - 2, last):
            h = i + 2 - top  # the row of the source with which result i closes and result i + 2 opens
            if 0 <= h < source_height:
                here = (above + h) * source_width + column
                a, b, c = (
                    load_some(source, here, seen_a),
                    load_some(source, here + 1, seen_b),
                    load_some(source, here + 2, seen_c),
                )
                closing = multiply_add(w22, c, multiply_add(w21, b, multiply_add(w20, a, closing)))
                middle = multiply_add(w12, c, multiply_add(w11, b, multiply_add(w10, a, middle)))
                opening = multiply_add(w02, c, multiply_add(w01, b, multiply_add(w00, a, opening)))
            if i >= first:
                to = (plane * height + i) * width + strip * lanes
                store_some(y, to, there, positive(closing) if relu else closing)
            closing, middle, opening = middle, opening, everywhere(bias)


@kernel()
def _run_3x3_by_two(
    source: Array, weight: Array, bias: Array, y: Array, top: int, table: Array, stored: Array, relu: bool
) -> None:
    """A window of 3x3 neighbouring pixels at every second place, in both directions."""
    images, channels, height, width = y.shape
    band = -(-TASK // width)
    bands = -(-height // band)
    for task in numba.prange(images * channels * bands):
        plane, first = task // bands, task % bands * band
        last, start = min(first + band, height), bias[plane % channels]
        _run_down_by_two(source, weight, start, y, top, table, stored, relu, plane, first, last)


@inner
def _run_down_by_two(
    source: Array,
    weight: Array,
    bias: Any,
    y: Array,
    top: int,
    table: Array,
    stored: Array,
    relu: bool,
    plane: int,
    first: int,
    last: int,
) -> None:
    """As `_run_down`. Every second row closes one result and opens the next; those between belong to one alone."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = source.shape, y.shape
    lanes, above, o = VECTOR_BYTES // y.itemsize, plane // (channels // from_channels) * source_height, plane % channels
    w00, w01, w02 = everywhere(weight[o, 0]), everywhere(weight[o, 1]), everywhere(weight[o, 2])
    w10, w11, w12 = everywhere(weight[o, 3]), everywhere(weight[o, 4]), everywhere(weight[o, 5])
    w20, w21, w22 = everywhere(weight[o, 6]), everywhere(weight[o, 7]), everywhere(weight[o, 8])
    two = (2, 2)
    for strip in range(len(table)):
        column, there = table[strip, 0, COLUMN], stored[strip, 0]
        seen_a, seen_b, seen_c = table[strip, 0, SEEN], table[strip, 1, SEEN], table[strip, 2, SEEN]
        beyond_a, beyond_b, beyond_c = table[strip, 0, BEYOND], table[strip, 1, BEYOND], table[strip, 2, BEYOND]
        current = everywhere(bias)
        for i in range(first - 1, last):
            opening, h = everywhere(bias), 2 * i + 1 - top
            if i >= first and 0 <= h < source_height:
                here = (above + h) * source_width + column
                a = load_spaced(source, here, two, seen_a, beyond_a)
                b = load_spaced(source, here + 1, two, seen_b, beyond_b)
                c = load_spaced(source, here + 2, two, seen_c, beyond_c)
                current = multiply_add(w12, c, multiply_add(w11, b, multiply_add(w10, a, current)))
            if 0 <= h + 1 < source_height:
                here = (above + h + 1) * source_width + column
                a = load_spaced(source, here, two, seen_a, beyond_a)
                b = load_spaced(source, here + 1, two, seen_b, beyond_b)
                c = load_spaced(source, here + 2, two, seen_c, beyond_c)
                current = multiply_add(w22, c, multiply_add(w21, b, multiply_add(w20, a, current)))
                opening = multiply_add(w02, c, multiply_add(w01, b, multiply_add(w00, a, opening)))
            if i >= first:
                to = (plane * height + i) * width + strip * lanes
                store_some(y, to, there, positive(current) if relu else current)
            current = opening


@kernel()
def _spread_3x3(
    grad: Array, weight: Array, grad_x: Array, top: int, left: int, pair: int, seen: Array, stored: Array
) -> None:
    """The gradient of x for such a window: each row of grad goes to three rows of x, and each column to three."""
    images, channels, height, width = grad_x.shape
    begin, end = top // 2, (height - 1 + top) // 2 + 1  # pairs of rows 2 * i - top and the next
    band = -(-TASK // (2 * width))
    bands = -(-(end - begin) // band)
    for task in numba.prange(images * channels * bands):
        plane, first = task // bands, begin + task % bands * band
        _spread_down(grad, weight, grad_x, top, left, pair, seen, stored, plane, first, min(first + band, end))


@inner
def _spread_down(
    grad: Array,
    weight: Array,
    grad_x: Array,
    top: int,
    left: int,
    pair: int,
    seen: Array,
    stored: Array,
    plane: int,
    first: int,
    last: int,
) -> None:
    """Pairs of rows first ... last - 1 of one plane.

    The even row and column of a pair hear of two rows or columns of grad, the one of the same number through the
    kernel's first tap, and the one before through its last. The odd ones hear of one, through the middle tap.
    """
    (_, channels, source_height, source_width), (_, _, height, width) = grad.shape, grad_x.shape
    lanes, o, zero = VECTOR_BYTES // grad.itemsize, plane % channels, everywhere(grad.dtype.type(0))
    w00, w01, w02 = everywhere(weight[o, 0]), everywhere(weight[o, 1]), everywhere(weight[o, 2])
    w10, w11, w12 = everywhere(weight[o, 3]), everywhere(weight[o, 4]), everywhere(weight[o, 5])
    w20, w21, w22 = everywhere(weight[o, 6]), everywhere(weight[o, 7]), everywhere(weight[o, 8])
    for strip in range(len(seen)):
        p = pair + strip * lanes
        seen_a, seen_b, there, further = seen[strip, 0], seen[strip, 1], stored[strip, 0], stored[strip, 1]
        even, odd = zero, zero
        for i in range(first - 1, last):
            next_even, next_odd, middle_even, middle_odd = zero, zero, zero, zero
            if 0 <= i < source_height:
                here = (plane * source_height + i) * source_width + p
                a, b = load_some(grad, here, seen_a), load_some(grad, here - 1, seen_b)
                even, odd = multiply_add(w00, a, multiply_add(w02, b, even)), multiply_add(w01, a, odd)
                middle_even, middle_odd = multiply_add(w10, a, multiply_add(w12, b, zero)), multiply_add(w11, a, zero)
                next_even, next_odd = multiply_add(w20, a, multiply_add(w22, b, zero)), multiply_add(w21, a, zero)
            h = 2 * i - top
            to = (plane * height + h) * width + 2 * p - left
            if i >= first and 0 <= h < height:
                these, those = interleaved(even, odd)
                store_some(grad_x, to, there, these)
                store_some(grad_x, to + lanes, further, those)
            if i >= first and 0 <= h + 1 < height:
                these, those = interleaved(middle_even, middle_odd)
                store_some(grad_x, to + width, there, these)
                store_some(grad_x, to + width + lanes, further, those)
            even, odd = next_even, next_odd


# --------------------------------------------------------------------------------------------- the weight's gradient


@kernel()
def _multiply_and_sum(
    x: Array,
    grad: Array,
    parts: Array,
    band: int,
    table: Array,
    stored: Array,
    row_stride: int,
    spacing: tuple[int, ...],
    kernel_columns: int,
) -> None:
    """The sums over each image's bands of rows: parts (N, bands, C_out, K_h * K_w)."""
    images, bands, channels, _ = parts.shape
    for task in numba.prange(images * channels * bands):
        for t in range(0, table.shape[1], kernel_columns):
            for f in range(0, kernel_columns, 3):
                t0, t1, t2 = t + f, t + min(f + 1, kernel_columns - 1), t + min(f + 2, kernel_columns - 1)
                _sum_three(
                    x, grad, parts, band, table, stored, row_stride, spacing, task // bands, task % bands, t0, t1, t2
                )


@inner
def _sum_three(
    x: Array,
    grad: Array,
    parts: Array,
    band: int,
    table: Array,
    stored: Array,
    row_stride: int,
    spacing: tuple[int, ...],
    plane: int,
    part: int,
    t0: int,
    t1: int,
    t2: int,
) -> None:
    """One band's sums for three taps of a row of the kernel, perhaps some of them the same; grad is loaded once."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = x.shape, grad.shape
    lanes, above = VECTOR_BYTES // x.itemsize, plane // (channels // from_channels) * source_height
    zero, row = everywhere(x.dtype.type(0)), table[0, t0, ROW]
    begin = max(part * band, -(row // row_stride))  # from here on the row lies in the image
    end = min(min((part + 1) * band, height), (source_height - 1 - row) // row_stride + 1)
    a, b, c = zero, zero, zero
    for strip in range(len(table)):
        there, column_a = stored[strip, 0], table[strip, t0, COLUMN]
        column_b, column_c = table[strip, t1, COLUMN], table[strip, t2, COLUMN]
        seen_a, seen_b, seen_c = table[strip, t0, SEEN], table[strip, t1, SEEN], table[strip, t2, SEEN]
        beyond_a, beyond_b, beyond_c = table[strip, t0, BEYOND], table[strip, t1, BEYOND], table[strip, t2, BEYOND]
        for i in range(begin, end):
            g = load_some(grad, (plane * height + i) * width + strip * lanes, there)
            here = (above + i * row_stride + row) * source_width
            a = multiply_add(g, load_spaced(x, here + column_a, spacing, seen_a, beyond_a), a)
            b = multiply_add(g, load_spaced(x, here + column_b, spacing, seen_b, beyond_b), b)
            c = multiply_add(g, load_spaced(x, here + column_c, spacing, seen_c, beyond_c), c)
    sums = parts[plane // channels, part, plane % channels]
    sums[table[0, t0, PLACE]], sums[table[0, t1, PLACE]], sums[table[0, t2, PLACE]] = total(a), total(b), total(c)


@kernel()
def _sum_3x3(x: Array, grad: Array, parts: Array, band: int, top: int, table: Array, stored: Array) -> None:
    """As `_multiply_and_sum`, for a window of 3x3 neighbouring pixels at every place."""
    images, bands, channels, _ = parts.shape
    for task in numba.prange(images * channels * bands):
        _sum_down(x, grad, parts, band, top, table, stored, task // bands, task % bands)


@inner
def _sum_down(
    x: Array, grad: Array, parts: Array, band: int, top: int, table: Array, stored: Array, plane: int, part: int
) -> None:
    """One band. As in `_run_down` each row of x is loaded once, here for three rows of grad."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = x.shape, grad.shape
    lanes, above = VECTOR_BYTES // x.itemsize, plane // (channels // from_channels) * source_height
    zero, first, last = everywhere(x.dtype.type(0)), part * band, min((part + 1) * band, height)
    s00, s01, s02, s10, s11, s12, s20, s21, s22 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    for strip in range(len(table)):
        column, there = table[strip, 0, COLUMN], stored[strip, 0]
        seen_a, seen_b, seen_c = table[strip, 0, SEEN], table[strip, 1, SEEN], table[strip, 2, SEEN]
        closing, middle = zero, zero
        for i in range(first - 2, last):
            opening, h = zero, i + 2 - top
            if i + 2 < last:
                opening = load_some(grad, (plane * height + i + 2) * width + strip * lanes, there)
            if 0 <= h < source_height:
                here = (above + h) * source_width + column
                a, b = load_some(x, here, seen_a), load_some(x, here + 1, seen_b)
                c = load_some(x, here + 2, seen_c)
                # Not where there is no such row of grad: 0 * infinity would be NaN.
                if i >= first:
                    s20, s21, s22 = (
                        multiply_add(closing, a, s20),
                        multiply_add(closing, b, s21),
                        multiply_add(closing, c, s22),
                    )
                if first <= i + 1 < last:
                    s10, s11, s12 = (
                        multiply_add(middle, a, s10),
                        multiply_add(middle, b, s11),
                        multiply_add(middle, c, s12),
                    )
                if i + 2 < last:
                    s00, s01, s02 = (
                        multiply_add(opening, a, s00),
                        multiply_add(opening, b, s01),
                        multiply_add(opening, c, s02),
                    )
            closing, middle = middle, opening
    n, o = plane // channels, plane % channels
    parts[n, part, o, 0], parts[n, part, o, 1], parts[n, part, o, 2] = total(s00), total(s01), total(s02)
    parts[n, part, o, 3], parts[n, part, o, 4], parts[n, part, o, 5] = total(s10), total(s11), total(s12)
    parts[n, part, o, 6], parts[n, part, o, 7], parts[n, part, o, 8] = total(s20), total(s21), total(s22)


@kernel()
def _sum_3x3_by_two(x: Array, grad: Array, parts: Array, band: int, top: int, table: Array, stored: Array) -> None:
    """As `_multiply_and_sum`, for a window of 3x3 neighbouring pixels at every second place."""
    images, bands, channels, _ = parts.shape
    for task in numba.prange(images * channels * bands):
        _sum_down_by_two(x, grad, parts, band, top, table, stored, task // bands, task % bands)


@inner
def _sum_down_by_two(
    x: Array, grad: Array, parts: Array, band: int, top: int, table: Array, stored: Array, plane: int, part: int
) -> None:
    """One band. As in `_run_down_by_two` each row of x is loaded once, every second one for two rows of grad."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = x.shape, grad.shape
    lanes, above = VECTOR_BYTES // x.itemsize, plane // (channels // from_channels) * source_height
    zero, first, last = everywhere(x.dtype.type(0)), part * band, min((part + 1) * band, height)
    s00, s01, s02, s10, s11, s12, s20, s21, s22 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    two = (2, 2)
    for strip in range(len(table)):
        column, there = table[strip, 0, COLUMN], stored[strip, 0]
        seen_a, seen_b, seen_c = table[strip, 0, SEEN], table[strip, 1, SEEN], table[strip, 2, SEEN]
        beyond_a, beyond_b, beyond_c = table[strip, 0, BEYOND], table[strip, 1, BEYOND], table[strip, 2, BEYOND]
        current = zero
        for i in range(first - 1, last):
            following, h = zero, 2 * i + 1 - top
            if i + 1 < last:
                following = load_some(grad, (plane * height + i + 1) * width + strip * lanes, there)
            if i >= first and 0 <= h < source_height:
                here = (above + h) * source_width + column
                s10 = multiply_add(current, load_spaced(x, here, two, seen_a, beyond_a), s10)
                s11 = multiply_add(current, load_spaced(x, here + 1, two, seen_b, beyond_b), s11)
                s12 = multiply_add(current, load_spaced(x, here + 2, two, seen_c, beyond_c), s12)
            if 0 <= h + 1 < source_height:
                here = (above + h + 1) * source_width + column
                a = load_spaced(x, here, two, seen_a, beyond_a)
                b = load_spaced(x, here + 1, two, seen_b, beyond_b)
                c = load_spaced(x, here + 2, two, seen_c, beyond_c)
                if i >= first:
                    s20, s21, s22 = (
                        multiply_add(current, a, s20),
                        multiply_add(current, b, s21),
                        multiply_add(current, c, s22),
                    )
                if i + 1 < last:
                    s00, s01, s02 = (
                        multiply_add(following, a, s00),
                        multiply_add(following, b, s01),
                        multiply_add(following, c, s02),
                    )
            current = following
    n, o = plane // channels, plane % channels
    parts[n, part, o, 0], parts[n, part, o, 1], parts[n, part, o, 2] = total(s00), total(s01), total(s02)
    parts[n, part, o, 3], parts[n, part, o, 4], parts[n, part, o, 5] = total(s10), total(s11), total(s12)
    parts[n, part, o, 6], parts[n, part, o, 7], parts[n, part, o, 8] = total(s20), total(s21), total(s22)
