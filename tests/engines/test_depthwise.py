"""The compiled engine's depthwise convolution: any window, several kernels for a channel, any number of threads."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import npseg
from npseg import buffers
from npseg.engines import im2col, loops
from npseg.geometry import Axis, Window

if "numba" not in npseg.engines():
    pytest.skip("Numba is not installed", allow_module_level=True)

import numba

from npseg.engines.numba.depthwise import depthwise_conv, depthwise_grad_input, depthwise_grad_weight

DTYPES = st.sampled_from([np.float32, np.float64])
AXES = st.builds(
    Axis, st.integers(1, 5), st.integers(1, 4), st.integers(-2, 4), st.integers(-2, 4), dilation=st.integers(1, 3)
)
WINDOWS = st.builds(Window, AXES, AXES)
SIZES = st.tuples(st.integers(1, 12), st.one_of(st.integers(1, 12), st.integers(30, 75)))


def window_3x3(stride, padding=1):
    return Window(*[Axis(3, stride, padding, padding)] * 2)


def whole_numbers(*shape, dtype, seed):
    """Their sums and products are exact, whatever the order."""
    return np.random.default_rng((seed, *shape)).integers(-4, 5, shape).astype(dtype)


def arrays(window, size, batch=2, channels=3, multiplier=1, dtype=np.float64, make=whole_numbers):
    """x, weight, grad and bias."""
    outputs = channels * multiplier
    x = make(batch, channels, *size, dtype=dtype, seed=0)
    weight = make(outputs, 1, *window.kernel_size, dtype=dtype, seed=1)
    grad = make(batch, outputs, *window.output_size(size), dtype=dtype, seed=2)
    return x, weight, grad, make(outputs, dtype=dtype, seed=3)


def all_passes(x, weight, grad, bias, window):
    """The results of the compiled engine."""
    return (
        depthwise_conv(x, weight, window),
        depthwise_conv(x, weight, window, bias, relu=True),
        depthwise_grad_input(grad, weight, x.shape[2:], window, x.shape[1]),
        depthwise_grad_weight(x, grad, window),
    )


def all_passes_of(engine, x, weight, grad, bias, window):
    """What another engine says."""
    return (
        engine.conv(x, weight, window, x.shape[1]),
        engine.conv(x, weight, window, x.shape[1], bias, relu=True),
        engine.conv_grad_input(grad, weight, x.shape[2:], window, x.shape[1]),
        engine.conv_grad_weight(x, grad, window, x.shape[1]),
    )


def assert_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(WINDOWS, SIZES, st.integers(1, 3), st.integers(1, 3), DTYPES)
@example(window_3x3(1), (9, 40), 3, 1, np.float32)
@example(window_3x3(2), (9, 75), 3, 1, np.float32)
@example(window_3x3(1, padding=-1), (9, 40), 1, 2, np.float64)
@example(window_3x3(2, padding=2), (8, 40), 2, 2, np.float64)
@example(window_3x3(1), (3, 1), 1, 1, np.float32)  # two of the kernel's columns see nothing
@example(Window(Axis(3, 1, 500, 500, 500), Axis(2, 3, 900, 900, 900)), (4, 5), 1, 1, np.float32)
def test_it_agrees_to_the_last_bit(window, size, channels, multiplier, dtype):
    assume(min(window.output_size(size)) >= 1)
    given = arrays(window, size, channels=channels, multiplier=multiplier, dtype=dtype)
    assert_equal(all_passes(*given, window), all_passes_of(im2col, *given, window))


@given(st.integers(1, 2), st.integers(-3, 3), st.integers(-3, 3), SIZES, DTYPES)
def test_3x3_wherever_it_lies(stride, top, left, size, dtype):
    window = Window(Axis(3, stride, top, 1), Axis(3, stride, left, 1))
    assume(min(window.output_size(size)) >= 1)
    given = arrays(window, size, dtype=dtype)
    assert_equal(all_passes(*given, window), all_passes_of(im2col, *given, window))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_rounding_stays_small(stride, dtype):
    def numbers(*shape, dtype, seed):
        return np.random.default_rng(seed).standard_normal(shape).astype(dtype)

    window = window_3x3(stride)
    given = arrays(window, (150, 170), dtype=dtype, make=numbers)
    exact = all_passes_of(im2col, *(array.astype(np.float64) for array in given), window)
    sizes = all_passes_of(im2col, *(np.abs(array).astype(np.float64) for array in given), window)
    for ours, expected, size in zip(all_passes(*given, window), exact, sizes, strict=True):
        assert np.all(np.abs(ours - expected) <= 10 * np.finfo(dtype).eps * size)


WINDOWS_OF_EVERY_KERNEL = [
    window_3x3(1),
    window_3x3(2),
    Window(Axis(3, 1), Axis(3, 1)),
    Window(Axis(3, 2), Axis(3, 2)),
    Window(Axis(2, 1, 1, 0, 2), Axis(3, 1, 2, 2, 2)),
    Window(Axis(2, 2, 1, 0), Axis(4, 2, 1, 2)),
    Window(Axis(2, 1), Axis(5, 3, 1, 1)),
]


@pytest.mark.parametrize("window", WINDOWS_OF_EVERY_KERNEL, ids=str)
@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["x", "grad"])
def test_a_special_number_reaches_what_sees_it_and_nothing_else(where, special, window):
    """At the borders above all: a lane or a row too much would show."""
    x, weight, grad, bias = arrays(window, (6, 19), batch=1, channels=1)
    passes = slice(None)
    if where == "grad" and window.rows.before + window.rows.after > 0:
        passes = slice(3)  # padding times infinity: there the weight's gradient is not specified
    spoilt = x if where == "x" else grad
    height, width = spoilt.shape[2:]
    for i, j in np.ndindex(height, width):
        if i in (0, 1, height - 1) and j in (0, 1, 7, 8, width - 2, width - 1):
            former, spoilt[0, 0, i, j] = spoilt[0, 0, i, j], special
            with np.errstate(invalid="ignore"):
                theirs = all_passes_of(im2col, x, weight, grad, bias, window)
            assert_equal(all_passes(x, weight, grad, bias, window)[passes], theirs[passes])
            spoilt[0, 0, i, j] = former


@pytest.mark.parametrize("window", WINDOWS_OF_EVERY_KERNEL, ids=str)
def test_the_number_of_threads_changes_nothing(window):
    given = (np.random.default_rng(0).standard_normal(a.shape) for a in arrays(window, (300, 150)))
    given = [array.astype(np.float32) for array in given]
    everyone = all_passes(*given, window)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        alone = all_passes(*given, window)
    finally:
        numba.set_num_threads(threads)
    assert_equal(alone, everyone)


@pytest.mark.parametrize("window", WINDOWS_OF_EVERY_KERNEL, ids=str)
def test_any_layout_and_used_memory(window):
    """Arrays that are not plain, read-only among them, and results on memory that is full of old numbers."""
    given = arrays(window, (60, 70), dtype=np.float32)
    turned = [np.asfortranarray(array[::-1])[::-1] for array in given]
    for array in (*given, *turned):
        array.flags.writeable = False
    expected = all_passes_of(im2col, *given, window)
    with buffers.reused():
        for _ in range(2):
            old = [buffers.empty(array.shape, array.dtype) for array in expected]
            for array in old:
                array.fill(np.nan)
            del old, array
            assert_equal(all_passes(*turned, window), expected)


def test_no_images():
    window = window_3x3(1)
    given = arrays(window, (5, 6), batch=0)
    assert_equal(all_passes(*given, window), all_passes_of(loops, *given, window))
