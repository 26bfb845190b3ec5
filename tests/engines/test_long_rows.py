"""The compiled engine's convolutions with long rows and large strides, both ways, beside im2col."""

import numpy as np
import pytest

import npseg
from npseg import ops
from npseg.engines import im2col
from npseg.geometry import Axis, Window

numba = pytest.importorskip("numba", reason="Numba is not installed")
long_rows = pytest.importorskip("npseg.engines.numba.long_rows")
plan = pytest.importorskip("npseg.engines.numba.plan")

WINDOWS = {
    "k16s8": (Window(Axis(16, 8, 4, 4), Axis(16, 8, 4, 4)), 1),
    "k64s32": (Window(Axis(64, 32, 16, 16), Axis(64, 32, 16, 16)), 1),
    "three taps": (Window(Axis(24, 8, 3, 5), Axis(48, 16, 20, 9)), 1),
    "strides longer than the kernel": (Window(Axis(3, 5, 0, 1), Axis(16, 19, 2, 0)), 1),
    "every row": (Window(Axis(5, 1, 2, 2), Axis(32, 8, 0, 0)), 1),
    "groups": (Window(Axis(16, 8, 4, 4), Axis(32, 9, 7, 1)), 2),
}
SIZES = [(5, 7), (3, 18)]
"""Of the small map: less than a tile, and more than two."""


def arrays(window, groups, size, dtype, *, more=(0, 0)):
    """The small map, the weight and the large map, on which a window may stand back from the end by `more`."""
    rng = np.random.default_rng((*size, groups))
    large_size = [
        (n - 1) * axis.stride + axis.extent - axis.before - axis.after + extra
        for n, axis, extra in zip(size, window.axes, more, strict=True)
    ]
    shapes = [(2, 4, *size), (4, 8 // groups, *window.kernel_size), (2, 8, *large_size)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def close(result, expected, dtype):
    bound = (1e-12 if dtype == np.float64 else 2e-6) * np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WINDOWS)
def test_enlarged_as_by_im2col(name, size, dtype):
    window, groups = WINDOWS[name]
    more = [min(2, axis.stride - 1) for axis in window.axes]
    small, weight, large = arrays(window, groups, size, dtype, more=more)
    result = np.full_like(large, np.nan)  # every pixel is written
    assert long_rows.Enlargement(small.shape, large.shape, window, groups, small.dtype).run(small, weight, result)
    close(result, im2col.conv_grad_input(small, weight, large.shape[2:], window, groups), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WINDOWS)
def test_reduced_as_by_im2col(name, size, dtype):
    window, groups = WINDOWS[name]
    small, weight, large = arrays(window, groups, size, dtype)
    bias = np.array([-0.5, 0.0, 2.0, -20.0], dtype)
    result = np.full_like(small, np.nan)
    reduction = long_rows.Reduction(large.shape, small.shape, window, groups, small.dtype)
    reduction.run(large, weight, result)
    close(result, im2col.conv(large, weight, window, groups), dtype)
    reduction.run(large, weight, result, bias, True)
    close(result, im2col.conv(large, weight, window, groups, bias, True), dtype)
    assert (result == 0).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_its_kernel_reaches(value):
    """A weight that is not finite meets no zero that the definition does not have."""
    small, weight, large = arrays(WINDOWS["k16s8"][0], 1, (5, 7), np.float32)
    small, weight = np.abs(small), np.abs(weight)
    weight[1, 2, 3, 5] = small[0, 0, 2, 3] = value
    with npseg.use_engine("numba"):
        enlarged = ops.conv_transpose2d(small, weight, stride=8, padding=4)
    expected = ops.conv_transpose2d(small, weight, stride=8, padding=4, engine="im2col")
    assert enlarged.shape == large.shape
    np.testing.assert_array_equal(np.isnan(enlarged), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(enlarged), np.isinf(expected))
    assert np.isfinite(enlarged).any()


@pytest.mark.parametrize("threads", [1, 2])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    if threads > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("this machine has fewer")
    window, groups = WINDOWS["k16s8"]
    small, weight, large = arrays(window, groups, (5, 7), np.float32)
    before = numba.get_num_threads()
    results = []
    for count in (before, threads):
        numba.set_num_threads(count)
        enlarged, reduced = np.empty_like(large), np.empty_like(small)
        long_rows.Enlargement(small.shape, large.shape, window, groups, small.dtype).run(small, weight, enlarged)
        long_rows.Reduction(large.shape, small.shape, window, groups, small.dtype).run(large, weight, reduced)
        results.append((enlarged, reduced))
    numba.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_which_windows_they_serve():
    served = {(16, 8), (32, 16), (64, 32), (16, 16)}
    for kernel, stride in served | {(4, 2), (3, 1), (16, 1), (20, 10), (14, 14)}:
        axis = Axis(kernel, stride)
        assert plan.has_long_rows(Window(axis, axis)) == ((kernel, stride) in served)
    assert not plan.has_long_rows(Window(Axis(16, 8, 0, 0, 2), Axis(16, 8)))
