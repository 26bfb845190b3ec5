"""Max pooling, scatter and gather of the compiled engine where the generic tests' small maps do not reach."""

import numpy as np
import pytest

from npseg.engines import im2col
from npseg.geometry import pooling_window

numba = pytest.importorskip("numba", reason="Numba is not installed")
pooling = pytest.importorskip("npseg.engines.numba.pooling")

WINDOWS = {
    "2x2": {"kernel_size": 2},
    "2x2, overhanging": {"kernel_size": 2, "ceil_mode": True},
    "3x3, stride 2": {"kernel_size": 3, "stride": 2, "padding": 1},
    "3x3, stride 1": {"kernel_size": 3, "stride": 1, "padding": 1},
    "3x2, stride 3": {"kernel_size": (3, 2), "stride": 3, "padding": ((0, 2), (1, 0))},
    "stride 2, one column": {"kernel_size": (2, 1), "stride": 2},
    "dilated": {"kernel_size": (3, 4), "stride": (1, 2), "dilation": (5, 3), "padding": (4, 3)},
    "mostly padding": {"kernel_size": (1, 900), "stride": (1, 1), "padding": ((0, 0), (860, 860))},
}
SIZES = [(7, 5), (23, 33), (19, 75), (40, 64)]
SPECIAL = [np.nan, -np.inf, np.inf, 0.0, -0.0]


def draw(shape, dtype, seed=0):
    """Few different numbers, so that many are equal, and special ones among them."""
    rng = np.random.default_rng((seed, *shape))
    x = rng.integers(-2, 3, shape).astype(dtype)
    special = rng.random(shape) < 0.05
    x[special] = rng.choice(SPECIAL, special.sum())
    x[0, 0] = -np.inf
    return x


def window_of(name, size):
    options = dict(WINDOWS[name])
    if name == "dilated" and min(size) < 10:
        options["dilation"] = (2, 1)
    return pooling_window(options.pop("kernel_size"), size, **options)[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WINDOWS)
def test_first_maximum_wins_and_padding_never(name, size, dtype):
    x, window = draw((2, 3, *size), dtype), window_of(name, size)
    y, indices = pooling.max_pool(x, window)
    expected, expected_indices = im2col.max_pool(x, window)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == dtype
    assert indices.dtype == np.int64


def cells(shape, seed=0):
    """One index in each 2x2 cell."""
    rng = np.random.default_rng((seed, *shape))
    rows = 2 * np.arange(shape[2])[:, None] + rng.integers(0, 2, shape)
    return (rows * 2 * shape[3]) + 2 * np.arange(shape[3]) + rng.integers(0, 2, shape)


def moved(indices, position):
    """The same indices, but one elsewhere."""
    indices = indices.copy()
    indices[1, 2, 3, -1] = position
    return indices


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [5, 16, 37])
@pytest.mark.parametrize("strange", [None, 0])
def test_scatter_adds_and_gather_fetches(columns, strange, dtype):
    indices = cells((2, 3, 9, columns))
    if strange is not None:
        indices = moved(indices, strange)
    size = 18, 2 * columns
    values, x = draw(indices.shape, dtype), draw((2, 3, *size), dtype)
    np.testing.assert_array_equal(pooling.scatter(values, indices, size), im2col.scatter(values, indices, size))
    np.testing.assert_array_equal(pooling.gather(x, indices), im2col.gather(x, indices))


@pytest.mark.parametrize("columns", [5, 37])
def test_checks_say_what_is_wrong_anywhere(columns):
    indices, size = cells((2, 3, 9, columns)), (18, 2 * columns)
    assert pooling.positions_inside(indices, size)
    assert pooling.positions_distinct(indices, size)
    for outside in (-1, size[0] * size[1], np.iinfo(np.int64).min, np.iinfo(np.int64).max):
        assert not pooling.positions_inside(moved(indices, outside), size)
        assert not pooling.positions_distinct(moved(indices, outside), size)
    twice = moved(indices, indices[1, 2, 0, 0])
    assert pooling.positions_inside(twice, size)
    assert not pooling.positions_distinct(twice, size)
    elsewhere = moved(indices, next(p for p in range(99) if p not in indices[1, 2]))
    assert pooling.positions_distinct(elsewhere, size)


def test_the_number_of_threads_changes_nothing():
    x, window = draw((2, 5, 33, 41), np.float32), window_of("3x3, stride 2", (33, 41))
    _, indices = pooling.max_pool(x, window)
    values = np.random.default_rng(0).standard_normal(indices.shape, dtype=np.float32)

    def results():
        return *pooling.max_pool(x, window), pooling.scatter(values, indices, (33, 41))

    threads, expected = numba.get_num_threads(), results()
    numba.set_num_threads(1)
    try:
        for one, many in zip(results(), expected, strict=True):
            np.testing.assert_array_equal(one, many)
    finally:
        numba.set_num_threads(threads)


def test_no_images():
    x, window = np.zeros((0, 3, 33, 40), np.float32), window_of("3x3, stride 2", (33, 40))
    y, indices = pooling.max_pool(x, window)
    assert y.shape == indices.shape == (0, 3, 17, 20)
    assert pooling.scatter(y, indices, (33, 40)).shape == x.shape
    assert pooling.gather(x, indices).shape == y.shape
    assert pooling.positions_inside(indices, (33, 40))
    assert pooling.positions_distinct(indices, (33, 40))
