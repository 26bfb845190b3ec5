"""Convolutions on maps hardly larger than the window: the same results as im2col's, whatever the window."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import npseg
from npseg.engines import im2col
from npseg.geometry import Axis, Window

if "numba" not in npseg.engines():
    pytest.skip("Numba is not installed", allow_module_level=True)

from npseg.engines.numba import plan
from npseg.engines.numba.compiling import on_all_cores
from npseg.engines.numba.microkernel import ROWS
from npseg.engines.numba.small_maps import SmallMap, pairs_of_taps
from npseg.engines.numba.small_maps_weights import SmallMapWeights
from npseg.engines.numba.turning import turn

DTYPES = [np.float32, np.float64]


@on_all_cores()
def _turn(task, target, places, matrix, rows, columns):
    turn(target, 0, places, 0, matrix, 0, matrix.shape[1], rows, columns)


@pytest.mark.parametrize("dtype", DTYPES)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), beyond=st.integers(0, 3))
@settings(max_examples=20)
def test_turning_a_matrix(dtype, rows, columns, beyond):
    matrix = np.random.default_rng(0).standard_normal((rows, columns + beyond)).astype(dtype)
    target = np.full((columns, rows + 2), 7, dtype)
    places = np.arange(columns)[::-1] * (rows + 2)
    _turn(1, target.reshape(-1), places, matrix, rows, columns)
    np.testing.assert_array_equal(target[::-1, :rows], matrix[:, :columns].T)
    assert (target[:, rows:] == 7).all()


@st.composite
def axes(draw):
    axis = Axis(
        draw(st.integers(1, 7)),
        draw(st.integers(1, 3)),
        *(draw(st.integers(0, 4)) for _ in "ab"),
        draw(st.integers(1, 2)),
    )
    size = draw(st.integers(1, 6))
    assume(axis.output_size(size) >= 1)
    return axis, size


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    rows=axes(),
    columns=axes(),
    images=st.integers(1, 3),
    groups=st.integers(1, 2),
    channels=st.sampled_from([1, 5, 16, 130]),
    out_channels=st.sampled_from([ROWS, ROWS + 3, 37]),
    relu=st.booleans(),
)
@settings(max_examples=30)
def test_all_passes(dtype, rows, columns, images, groups, channels, out_channels, relu):
    (row_axis, height), (column_axis, width) = rows, columns
    window = Window(row_axis, column_axis)
    rng = np.random.default_rng(0)
    x, weight, grad, bias = (
        rng.integers(-4, 5, shape).astype(dtype)  # whole numbers: every order of summation gives the same
        for shape in (
            (images, groups * channels, height, width),
            (groups * out_channels, channels, *window.kernel_size),
            (images, groups * out_channels, *window.output_size((height, width))),
            (groups * out_channels,),
        )
    )
    taps = pairs_of_taps(images, (height, width), grad.shape[2:], window)
    assume(taps)
    area, per_group = window.area, weight.size // groups
    y, grad_x, grad_weight = np.empty_like(grad), np.empty_like(x), np.empty_like(weight)
    steps = per_group, channels * area, area
    SmallMap(x.shape, grad.shape, taps, area, groups, steps, x.dtype).run(x, weight, y, bias, relu)
    np.testing.assert_array_equal(y, im2col.conv(x, weight, window, groups, bias, relu))
    exchanged, steps = {tap: pairs.exchanged() for tap, pairs in taps.items()}, (per_group, area, channels * area)
    SmallMap(grad.shape, x.shape, exchanged, area, groups, steps, x.dtype).run(grad, weight, grad_x)
    np.testing.assert_array_equal(grad_x, im2col.conv_grad_input(grad, weight, (height, width), window, groups))
    SmallMapWeights(x.shape, grad.shape, taps, area, groups, x.dtype).run(x, grad, grad_weight)
    np.testing.assert_array_equal(grad_weight, im2col.conv_grad_weight(x, grad, window, groups))


def test_the_first_dense_layers_as_convolutions_are_served_so():
    window = Window(Axis(7, 1, 3, 3), Axis(7, 1, 3, 3))
    assert plan.is_small((4, 128, 4, 4), (4, 256, 4, 4), window, 1)
    assert plan.is_small((1, 512, 7, 7), (1, 4096, 7, 7), window, 1)
    assert not plan.is_small((1, 512, 56, 56), (1, 4096, 56, 56), window, 1)


@pytest.mark.parametrize(
    ("shape", "out_shape", "window", "small"),
    [
        ((1, 16, 14, 14), (1, 16, 14, 14), Window(Axis(3, 1, 1, 1), Axis(3, 1, 1, 1)), True),
        ((1, 16, 28, 28), (1, 16, 28, 28), Window(Axis(3, 1, 1, 1), Axis(3, 1, 1, 1)), False),
        ((1, 256, 28, 28), (1, 256, 28, 28), Window(Axis(3, 1, 1, 1), Axis(3, 1, 1, 1)), True),
        ((1, 21, 224, 224), (1, 21, 7, 7), Window(Axis(64, 32, 16, 16), Axis(64, 32, 16, 16)), False),
        ((1, 16, 2, 2), (1, 16, 4, 4), Window(Axis(1, 1, 1, 1), Axis(1, 1, 1, 1)), False),
    ],
)
def test_maps_are_small_by_pixels_channels_and_stride(shape, out_shape, window, small):
    assert plan.is_small(shape, out_shape, window, 1) == small


def test_a_single_tap_is_served_so_forward_only():
    window, shape = Window(Axis(1), Axis(1)), (4, 256, 4, 4)
    assert plan.is_small(shape, shape, window, 1, forward=True)
    assert not plan.is_small(shape, shape, window, 1)
    assert not plan.is_small((1, 256, 14, 14), (1, 256, 14, 14), window, 1, forward=True)
