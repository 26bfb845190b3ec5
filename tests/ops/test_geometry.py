"""Output sizes, taps and coordinate maps."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from npseg.geometry import AffineMap, Axis, convolution_window, pooling_window, transposed_window

axes = st.builds(
    Axis,
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 4),
    before=st.integers(0, 5),
    after=st.integers(-2, 5),
    dilation=st.integers(1, 3),
)


@given(axes, st.integers(1, 9), st.integers(0, 6))
def test_taps_in_every_form_are_the_definition(axis, size, outputs):
    expected = [
        (i, k, i * axis.stride - axis.before + k * axis.dilation)
        for i in range(outputs)
        for k in range(axis.kernel_size)
        if 0 <= i * axis.stride - axis.before + k * axis.dilation < size
    ]
    taps = axis.taps(size, outputs)
    assert list(zip(taps.output, taps.kernel, taps.input, strict=True)) == expected
    assert all(array.dtype == np.int64 for array in (taps.output, taps.kernel, taps.input))
    assert [(i, k, axis.position(i, k)) for i in range(outputs) for k in axis.taps_of(i, size)] == expected
    lines = np.arange(outputs), np.arange(size)
    spanned = [
        (i, k, h)
        for k, seeing, seen in axis.spans(size, outputs)
        for i, h in zip(lines[0][seeing], lines[1][seen], strict=True)
    ]
    assert sorted(spanned) == expected


@given(axes, st.integers(1, 9), st.integers(0, 3))
def test_counting_from_a_later_output_sees_the_same_taps(axis, size, first):
    later = axis.from_output(first)
    expected = [(i - first, k, h) for i, k, h in zip(*vars(axis.taps(size, 6)).values(), strict=True) if i >= first]
    assert list(zip(*vars(later.taps(size, 6 - first)).values(), strict=True)) == expected


@given(axes, st.integers(1, 9))
def test_the_output_size_is_how_many_windows_fit(axis, size):
    padded = size + axis.before + axis.after
    starts = [start for start in range(0, padded, axis.stride) if start + axis.extent <= padded]
    assert max(axis.output_size(size), 0) == len(starts)


@given(axes, st.integers(1, 6))
def test_the_transposed_size_is_one_that_convolves_back(axis, outputs):
    size = axis.input_size(outputs)
    if size >= 1:
        assert axis.output_size(size) == outputs
        assert axis.output_size(size - 1) < outputs


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_same_padding_divides_by_the_stride_rounding_up(size, kernel, stride, dilation):
    window = convolution_window((kernel, 1), (size, 1), stride=stride, padding="same", dilation=dilation)
    assert window.output_size((size, 1)) == (-(-size // stride), 1)
    assert window.rows.after - window.rows.before in (0, 1)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_same_padding_of_a_transposed_convolution_multiplies_by_the_stride(size, kernel, stride, dilation):
    window = transposed_window((kernel, 1), (size, 1), stride=stride, padding="same", dilation=dilation)
    assert window.input_size((size, 1)) == (size * stride, stride)
    assert window.output_size((size * stride, stride)) == (size, 1)


@given(axes, st.integers(1, 9))
def test_ceil_mode_stops_where_all_is_covered_or_the_next_window_would_start_outside(axis, size):
    axis = replace(axis, after=min(max(axis.after, 0), axis.kernel_size), dilation=1)
    assume(size + axis.before + axis.after - axis.kernel_size > -axis.stride)
    kernel, sides = (axis.kernel_size, 1), ((axis.before, axis.after), (0, 0))
    asked, window = pooling_window(kernel, (size, 1), stride=axis.stride, padding=sides, ceil_mode=True)
    assert asked.rows == axis
    last = (window.output_size((size, 1))[0] - 1) * axis.stride
    assert 0 <= last < size + axis.before
    covered = last + axis.extent >= size + axis.before + axis.after
    assert covered or last + axis.stride >= size + axis.before


# ------------------------------------------------------------------------------------------------- coordinate maps


def test_a_window_lies_at_its_middle():
    assert AffineMap().through(Axis(3, 1, 1, 1)) == AffineMap(Fraction(1), Fraction(0))
    assert AffineMap().through(Axis(2, 2)) == AffineMap(Fraction(2), Fraction(1, 2))
    assert AffineMap().through(Axis(3, 2, 1, 1, dilation=2)) == AffineMap(Fraction(2), Fraction(1))


@given(axes)
def test_going_back_undoes_going_through(axis):
    start = AffineMap(Fraction(3), Fraction(5, 2))
    assert start.through(axis).back_through(axis) == start


@given(axes, st.integers(0, 5))
def test_pixels_are_where_the_map_says(axis, output):
    """The mean position of a window's taps is scale * i + offset."""
    map_ = AffineMap().through(axis)
    middle = Fraction(axis.position(output, 0) + axis.position(output, axis.kernel_size - 1), 2)
    assert map_.scale * output + map_.offset == middle


def maps_of_vgg():
    """Pools 1 to 5 and the score in the paper's FCNs: conv1_1 padded by 100, fc6 7x7 and unpadded."""
    conv, pool, fc6 = Axis(3, 1, 1, 1), Axis(2, 2), Axis(7)
    at, pools = AffineMap().through(Axis(3, 1, 100, 100)), {}
    for number, convolutions in enumerate((1, 2, 3, 3, 3), start=1):
        for _ in range(convolutions):
            at = at.through(conv)
        at = pools[number] = at.through(pool)
    return pools, at.through(fc6)


def test_fcn_crops_follow_from_the_coordinates():
    """Published: 32s 19; 16s 5 and 27; 8s 5, 9 and 31."""
    image = AffineMap()
    pools, score = maps_of_vgg()
    assert score.back_through(Axis(64, 32)).crop_to(image) == 19
    up2 = score.back_through(Axis(4, 2))
    pool4 = pools[4].crop_to(up2)
    assert pool4 == 5
    fused = pools[4].cropped(pool4)
    assert fused.back_through(Axis(32, 16)).crop_to(image) == 27
    up4 = fused.back_through(Axis(4, 2))
    pool3 = pools[3].crop_to(up4)
    assert pool3 == 9
    assert pools[3].cropped(pool3).back_through(Axis(16, 8)).crop_to(image) == 31


def test_maps_that_lie_on_the_same_pixels_need_no_crop():
    assert AffineMap(Fraction(2), Fraction(3)).crop_to(AffineMap(Fraction(2), Fraction(3))) == 0


def test_no_whole_crop_is_an_error():
    with pytest.raises(ValueError, match="no crop aligns"):
        AffineMap().crop_to(AffineMap(Fraction(1), Fraction(1, 2)))
    with pytest.raises(ValueError, match="no crop aligns"):
        AffineMap(Fraction(2)).crop_to(AffineMap())
    with pytest.raises(ValueError, match="no crop aligns"):
        AffineMap(Fraction(1), Fraction(3)).crop_to(AffineMap())


@pytest.mark.parametrize("make", [convolution_window, pooling_window, transposed_window])
def test_remembered_windows_do_not_hide_wrong_types(make):
    """True equals 1, and 1.0 too, but what was made for 1 is not for them."""
    window = make(3, (5, 6), stride=1, padding=(1, 1))
    assert make(3, (5, 6), stride=1, padding=[1, 1]) == make(3, (5, 6), stride=np.int64(1), padding=(1, 1)) == window
    for wrong in (True, 1.0):
        with pytest.raises(TypeError, match="stride"):
            make(3, (5, 6), stride=wrong, padding=(1, 1))
        with pytest.raises(TypeError, match="padding"):
            make(3, (5, 6), stride=1, padding=(1, wrong))
