"""Depthwise convolution with 3x3 neighbouring pixels, at every place or at every second one: each row is loaded once.

A strip of columns runs down the rows of the source with three sums open at a time (the folder's first page says why).
"""

from npseg.checks import Array
from npseg.engines.numba.compiling import inner, on_all_cores
from npseg.engines.numba.depthwise.taps import BEYOND, COLUMN, SEEN, band_of
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


@on_all_cores()
def run(
    task: int,
    source: Array,
    weight: Array,
    bias: Array,
    y: Array,
    top: int,
    table: Array,
    stored: Array,
    relu: bool,
) -> None:
    """A window of 3x3 neighbouring pixels at every place: one band of rows of one plane, strip by strip."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = source.shape, y.shape
    plane, first, last = band_of(task, height, width)
    lanes, above, o = VECTOR_BYTES // y.itemsize, plane // (channels // from_channels) * source_height, plane % channels
    start = everywhere(bias[o])
    w00, w01, w02 = everywhere(weight[o, 0]), everywhere(weight[o, 1]), everywhere(weight[o, 2])
    w10, w11, w12 = everywhere(weight[o, 3]), everywhere(weight[o, 4]), everywhere(weight[o, 5])
    w20, w21, w22 = everywhere(weight[o, 6]), everywhere(weight[o, 7]), everywhere(weight[o, 8])
    for strip in range(len(table)):
        column, there = table[strip, 0, COLUMN], stored[strip, 0]
        seen_a, seen_b, seen_c = table[strip, 0, SEEN], table[strip, 1, SEEN], table[strip, 2, SEEN]
        closing, middle, opening = start, start, start
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
            closing, middle, opening = middle, opening, start


@on_all_cores()
def run_by_two(
    task: int,
    source: Array,
    weight: Array,
    bias: Array,
    y: Array,
    top: int,
    table: Array,
    stored: Array,
    relu: bool,
) -> None:
    """The same at every second place: every second row closes one result and opens the next."""
    (_, from_channels, source_height, source_width), (_, channels, height, width) = source.shape, y.shape
    plane, first, last = band_of(task, height, width)
    lanes, above, o = VECTOR_BYTES // y.itemsize, plane // (channels // from_channels) * source_height, plane % channels
    start = everywhere(bias[o])
    w00, w01, w02 = everywhere(weight[o, 0]), everywhere(weight[o, 1]), everywhere(weight[o, 2])
    w10, w11, w12 = everywhere(weight[o, 3]), everywhere(weight[o, 4]), everywhere(weight[o, 5])
    w20, w21, w22 = everywhere(weight[o, 6]), everywhere(weight[o, 7]), everywhere(weight[o, 8])
    two = (2, 2)
    for strip in range(len(table)):
        column, there = table[strip, 0, COLUMN], stored[strip, 0]
        seen_a, seen_b, seen_c = table[strip, 0, SEEN], table[strip, 1, SEEN], table[strip, 2, SEEN]
        beyond_a, beyond_b, beyond_c = table[strip, 0, BEYOND], table[strip, 1, BEYOND], table[strip, 2, BEYOND]
        current = start
        for i in range(first - 1, last):
            opening, h = start, 2 * i + 1 - top
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


def pairs_of_rows(top: int, height: int) -> tuple[int, int]:
    """The numbers of the pairs of rows 2 * i - top and the next that a plane of this height has: from, to."""
    return top // 2, (height - 1 + top) // 2 + 1


_pairs_of_rows = inner(pairs_of_rows)


@on_all_cores()
def spread(
    task: int, grad: Array, weight: Array, grad_x: Array, top: int, left: int, pair: int, seen: Array, stored: Array
) -> None:
    """The gradient of x for such a window: each row of grad goes to three rows of x, and each column to three.

    A pair of rows are 2 * i - top and the next. The even row and column of a pair hear of two rows or columns of grad,
    the one of the same number through the kernel's first tap, and the one before through its last. The odd ones hear of
    one, through the middle tap.
    """
    (_, channels, source_height, source_width), (_, _, height, width) = grad.shape, grad_x.shape
    begin, end = _pairs_of_rows(top, height)
    plane, first, last = band_of(task, end - begin, 2 * width)
    first, last = begin + first, begin + last
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


@on_all_cores()
def add_up(task: int, x: Array, grad: Array, parts: Array, band: int, top: int, table: Array, stored: Array) -> None:
    """The weight's gradient, band by band: each row of x is loaded once for three of grad."""
    plane, part = task // parts.shape[1], task % parts.shape[1]
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


@on_all_cores()
def add_up_by_two(
    task: int, x: Array, grad: Array, parts: Array, band: int, top: int, table: Array, stored: Array
) -> None:
    """The same at every second place: each row of x is loaded once, every second one for two rows of grad."""
    plane, part = task // parts.shape[1], task % parts.shape[1]
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
