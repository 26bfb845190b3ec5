"""The compiled engine's resizing where the generic tests' small maps do not reach: lines longer than a vector."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from npseg import use_engine
from npseg.engines import im2col, resolve
from npseg.geometry import pooling_window
from npseg.matrices import SparseMatrix
from npseg.matrices.pooling import averaging_axes
from npseg.matrices.resizing import bilinear_axes, nail_rows, nearest_rows

SIZES = [(5, 7), (9, 40), (33, 35)]
DTYPES = [np.float32, np.float64]


def averaging(kernel_size, **options):
    return lambda size, dtype: averaging_axes(*pooling_window(kernel_size, size, **options), size, True, dtype)


def enlarging(axis_rows, vertical, horizontal):
    return lambda size, dtype: (axis_rows(size[0], vertical, dtype), axis_rows(size[1], horizontal, dtype))


def bilinear(vertical, horizontal, align_corners=False):
    return lambda size, dtype: bilinear_axes(
        size, (round(size[0] * vertical), round(size[1] * horizontal)), align_corners, dtype
    )


def with_gaps(size, dtype):
    """Along the columns every output adds two pixels that are no neighbours; the next output sees two further on."""
    outputs = np.arange((size[1] - 1) // 2)
    places = (2 * outputs[:, None] + [0, 2]).ravel()
    shape = len(outputs), size[1]
    columns = SparseMatrix.from_taps(np.repeat(outputs, 2), places, np.ones(len(places), dtype), shape)
    return nearest_rows(size[0], 1, dtype), columns


EXACT = {  # weights that are powers of two
    "average 2x2": averaging(2),
    "average 2x4": averaging((2, 4)),
    "with gaps": with_gaps,
    "nearest": enlarging(nearest_rows, 3, 2),
    "bed of nails": enlarging(nail_rows, 2, 3),
    "bilinear x2": bilinear(2, 2),
    "bilinear x8": bilinear(8, 8),
}
ROUNDED = {
    "average 2x4, overhanging": averaging((2, 4), ceil_mode=True),
    "average 3x3, stride 2": averaging(3, stride=2, padding=1),
    "average 3x3, stride 1": averaging(3, stride=1, padding=1),
    "larger and smaller": bilinear(1.7, 0.4),
    "smaller and larger": bilinear(0.4, 2.3, align_corners=True),
}


def resized(matrices, size, dtype, transposed, *, special=False):
    """What the compiled engine makes of it, and what the engine in NumPy does."""
    rows, columns = matrices(size, np.dtype(dtype))
    if transposed:
        rows, columns = rows.T, columns.T
    rng = np.random.default_rng(size)
    x = rng.integers(-8, 9, (2, 3, rows.shape[1], columns.shape[1])).astype(dtype)
    if special:
        x[0, 0, 0, 0], x[0, 1, -1, -1], x[1, 2, x.shape[2] // 2, x.shape[3] // 2] = np.nan, np.inf, -np.inf
    with use_engine("numba"), np.errstate(invalid="ignore"):
        return resolve(None).resize(x, rows, columns), im2col.resize(x, rows, columns)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", EXACT)
def test_whole_numbers_agree_bit_for_bit(name, size, transposed, dtype):
    ours, expected = resized(EXACT[name], size, dtype, transposed)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ROUNDED)
def test_other_weights_agree_but_for_rounding(name, size, transposed, dtype):
    ours, expected = resized(ROUNDED[name], size, dtype, transposed)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_nan_and_infinity_reach_what_sees_them_and_nothing_else(name, transposed):
    ours, expected = resized((EXACT | ROUNDED)[name], (33, 35), np.float32, transposed, special=True)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(expected))


def test_no_images():
    rows, columns = bilinear(2, 2)((9, 40), np.dtype(np.float32))
    with use_engine("numba"):
        assert resolve(None).resize(np.zeros((0, 3, 9, 40), np.float32), rows, columns).shape == (0, 3, 18, 80)
