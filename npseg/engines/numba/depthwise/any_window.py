"""Depthwise convolution with any window, stride, dilation and number of results for each channel."""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import Task, inner, on_all_cores
from npseg.engines.numba.depthwise.taps import BEYOND, COLUMN, PLACE, ROW, SEEN, band_of
from npseg.engines.numba.microkernel import VECTOR_BYTES
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


@inner
def _run(
    task: int,
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
    """Any window, and any number of channels of the source for each of y's, or the other way round.

    A task is a band of the rows of one phase in one plane, four rows at a time where none looks beside the image.
    """
    (_, from_channels, source_height, source_width), (_, channels, height, width) = source.shape, y.shape
    plane_and_phase, first, last = band_of(task, -(-height // row_phases), width)
    plane, row_phase = plane_and_phase // row_phases, plane_and_phase % row_phases
    last = min(last, -(-(height - row_phase) // row_phases))
    start = everywhere(bias[plane % channels])
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
            even_a, even_b, even_c, even_d = start, start, start, start
            for phase in range(phases):
                a, b, c, d = start, start, start, start
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


@inner
def _add_up(
    task: int,
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
    plane, part = task // parts.shape[1], task % parts.shape[1]
    for t in range(0, table.shape[1], kernel_columns):
        for f in range(0, kernel_columns, 3):
            t0, t1, t2 = t + f, t + min(f + 1, kernel_columns - 1), t + min(f + 2, kernel_columns - 1)
            _sum_three(x, grad, parts, band, table, stored, row_stride, spacing, plane, part, t0, t1, t2)


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


def _tasks(spacing: tuple[int, ...]) -> tuple[Task, Task]:
    """Both for pixels one apart, spacing (1,), or two, (2, 2): how vectors are loaded is part of the compiled code."""

    @on_all_cores()
    def run(
        task: int,
        source: Array,
        weight: Array,
        bias: Array,
        y: Array,
        starts: Array,
        table: Array,
        stored: Array,
        row_stride: int,
        row_phases: int,
        relu: bool,
    ) -> None:
        _run(task, source, weight, bias, y, starts, table, stored, row_stride, spacing, row_phases, relu)

    @on_all_cores()
    def add_up(
        task: int,
        x: Array,
        grad: Array,
        parts: Array,
        band: int,
        table: Array,
        stored: Array,
        row_stride: int,
        kernel_columns: int,
    ) -> None:
        _add_up(task, x, grad, parts, band, table, stored, row_stride, spacing, kernel_columns)

    return run, add_up


ONE_APART, TWO_APART = _tasks((1,)), _tasks((2, 2))
"""The convolution or input gradient, and the weight's gradient, as tasks of all cores."""
