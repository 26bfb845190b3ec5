"""The im2col engine's columns stay below the limit, one output row of one image being the least."""

import tracemalloc

import numpy as np
import pytest

import npseg
from npseg import ops
from npseg.engines.columns import blocks


@pytest.fixture(autouse=True)
def usual_limit():
    limit = npseg.get_column_limit()
    yield
    npseg.set_column_limit(limit)


def test_the_limit_is_256_mebibytes_by_default():
    assert npseg.get_column_limit() == 256 * 2**20


@pytest.mark.parametrize(
    ("wrong", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)]
)
def test_the_limit_is_a_positive_integer(wrong, error):
    with pytest.raises(error, match="bytes"):
        npseg.set_column_limit(wrong)
    assert npseg.get_column_limit() == 256 * 2**20


@pytest.mark.parametrize("limit", [1, 1000, 5000, 20_000, 10**6, 2**40])
def test_blocks_cover_every_output_once_and_stay_below_the_limit(limit):
    npseg.set_column_limit(limit)
    for batch, (height, width) in [(1, (7, 5)), (5, (4, 3)), (3, (1, 9)), (0, (4, 4))]:
        seen = np.zeros((batch, height), int)
        for block in blocks(batch, (height, width), 40):
            rows = seen[block.images, block.rows]
            rows += 1
            assert rows.size == 1 or rows.size * width * 40 <= limit
        assert np.all(seen == 1)


def peak_beyond_the_result(function):
    """Bytes allocated at most while running, less those of the result."""
    function()
    tracemalloc.start()
    result = function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - result.nbytes


X = np.zeros((4, 8, 64, 48), np.float32)
WEIGHT = np.zeros((8, 8, 3, 3), np.float32)
IMAGE, ROW = 8 * 9 * 64 * 48 * 4, 8 * 9 * 48 * 4  # bytes of columns
KERNELS = {
    "conv": lambda: ops.conv2d(X, WEIGHT, padding=1, engine="im2col"),
    "conv_grad_input": lambda: ops.conv2d_grad_input(X, WEIGHT, (64, 48), padding=1, engine="im2col"),
    "conv_grad_weight": lambda: ops.conv2d_grad_weight(X, X, 3, padding=1, engine="im2col"),
    "transposed": lambda: ops.conv_transpose2d(X, WEIGHT, padding=1, engine="im2col"),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("limit", [1, 10 * ROW, IMAGE, 2 * IMAGE])
def test_columns_stay_below_the_limit(kernel, limit):
    """Beside the columns there is a product as tall as the output channels: here a ninth of them."""
    npseg.set_column_limit(limit)
    allowed = max(limit, ROW)
    assert peak_beyond_the_result(KERNELS[kernel]) < 1.5 * allowed + 50_000


def test_the_columns_are_really_measured():
    """All columns at once, as the public im2col gives them, take four images' worth."""
    assert ops.im2col(X, 3, padding=1).nbytes == 4 * IMAGE
    npseg.set_column_limit(IMAGE)
    assert peak_beyond_the_result(KERNELS["conv"]) > IMAGE / 2


@pytest.mark.parametrize("limit", [1, 3000, 10_000])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_result_does_not_depend_on_the_blocks(limit, groups):
    rng = np.random.default_rng(0)
    x, weight = (
        rng.integers(-4, 5, (3, 4, 9, 7)).astype(float),
        rng.integers(-4, 5, (6, 4 // groups, 3, 2)).astype(float),
    )
    arguments = {
        "stride": (2, 1),
        "padding": ((2, 1), (0, 1)),
        "dilation": (1, 2),
        "groups": groups,
        "engine": "im2col",
    }
    y = ops.conv2d(x, weight, **arguments)
    gradients = ops.conv2d_backward(y, x, weight, **arguments)
    npseg.set_column_limit(limit)
    np.testing.assert_array_equal(ops.conv2d(x, weight, **arguments), y)
    for ours, theirs in zip(ops.conv2d_backward(y, x, weight, **arguments), gradients, strict=True):
        np.testing.assert_array_equal(ours, theirs)
