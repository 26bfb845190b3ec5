"""NaN and infinity propagate, on all engines alike; float32 is never widened on the way."""

import tracemalloc

import numpy as np
import pytest
from calls import arrays_in
from hypothesis import given
from hypothesis import strategies as st
from windows import convolutions, pools

import npseg
from npseg import engines, ops

SPECIAL = np.array([np.nan, np.inf, -np.inf])


def spoiled(array, places):
    """A few entries replaced by NaN and infinities."""
    array = array.copy()
    for number, place in enumerate(places):
        array.flat[place % array.size] = SPECIAL[number % 3]
    return array


def assert_engines_agree(function):
    expected = arrays_in(function("loops"))
    for engine in engines():
        for ours, theirs in zip(arrays_in(function(engine)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=engine)


places = st.lists(st.integers(0, 10**4), min_size=1, max_size=3)


@given(convolutions(), places)
def test_convolution(drawn, places):
    """Padding is 0, and 0 times a finite weight is 0: an image may hold anything."""
    x = spoiled(drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size), places)
    weight = drawn.whole_numbers(drawn.out_channels, drawn.channels // drawn.groups, *drawn.kernel)
    assert_engines_agree(lambda engine: (ops.conv2d(x, weight, **drawn.arguments, engine=engine),))
    grad = drawn.whole_numbers(*ops.conv2d(x, weight, **drawn.arguments).shape)
    assert_engines_agree(lambda engine: ops.conv2d_backward(grad, x, weight, **drawn.arguments, engine=engine))


@given(convolutions(), places, st.sampled_from(["weight", "grad"]))
def test_convolution_without_padding(drawn, places, name):
    """Away from padding weights and cotangents may hold anything too."""
    arguments = {**drawn.arguments, "padding": 0}
    size = [max(n, d * (k - 1) + 1) for n, d, k in zip(drawn.size, drawn.dilation, drawn.kernel, strict=True)]
    arrays = {
        "x": drawn.whole_numbers(drawn.batch, drawn.channels, *size),
        "weight": drawn.whole_numbers(drawn.out_channels, drawn.channels // drawn.groups, *drawn.kernel),
    }
    arrays["grad"] = drawn.whole_numbers(*ops.conv2d(**arrays, **arguments).shape)
    arrays[name] = spoiled(arrays[name], places)
    assert_engines_agree(lambda engine: (ops.conv2d(arrays["x"], arrays["weight"], **arguments, engine=engine),))
    assert_engines_agree(lambda engine: ops.conv2d_backward(**arrays, **arguments, engine=engine))


@given(convolutions(), places)
def test_transposed_convolution(drawn, places):
    arguments = {**drawn.arguments, "padding": "valid"}
    x = spoiled(drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size), places)
    weight = drawn.whole_numbers(drawn.channels, drawn.out_channels // drawn.groups, *drawn.kernel)
    assert_engines_agree(lambda engine: (ops.conv_transpose2d(x, weight, **arguments, engine=engine),))


@given(pools(), places)
def test_pooling(pool, places):
    drawn, ceil_mode = pool
    x = spoiled(drawn.numbers(drawn.batch, drawn.channels, *drawn.size), places)
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "ceil_mode": ceil_mode}
    assert_engines_agree(lambda engine: ops.max_pool2d(x, drawn.kernel, **arguments, engine=engine))
    assert_engines_agree(lambda engine: (ops.avg_pool2d(x, drawn.kernel, **arguments, engine=engine),))
    y, indices = ops.max_pool2d(x, drawn.kernel, **arguments)
    assert_engines_agree(lambda engine: (ops.max_pool2d_backward(y, indices, drawn.size, engine=engine),))


@given(st.tuples(*[st.integers(1, 6)] * 4), places)
def test_resizing_and_unpooling(sizes, places):
    x = spoiled(np.arange(2.0 * sizes[0] * sizes[1]).reshape(1, 2, *sizes[:2]), places)
    assert_engines_agree(lambda engine: (ops.resize_bilinear(x, sizes[2:], engine=engine),))
    assert_engines_agree(lambda engine: (ops.nearest_unpool2d(x, sizes[2:], engine=engine),))
    assert_engines_agree(lambda engine: (ops.bed_of_nails_unpool2d(x, sizes[2:], engine=engine),))


def test_one_nan_reaches_the_outputs_that_see_it_and_no_other():
    x = np.zeros((1, 1, 6, 7))
    x[0, 0, 2, 3] = np.nan
    for engine in engines():
        y = ops.conv2d(x, np.ones((1, 1, 3, 2)), engine=engine)[0, 0]
        seen = np.zeros((4, 6), bool)
        seen[0:3, 2:4] = True
        np.testing.assert_array_equal(np.isnan(y), seen)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operations_without_examples_never_warn_either(dtype):
    info = np.finfo(dtype)
    extremes = np.array([np.nan, np.inf, -np.inf, info.max, info.min, info.smallest_subnormal, 0, 1], dtype)
    x, vector = np.random.default_rng(0).choice(extremes, (3, 2, 4, 5)), np.array([1, info.max], dtype)
    labels = np.random.default_rng(1).integers(0, 2, (3, 4, 5))
    with np.errstate(all="raise"):
        for training in (True, False):
            y, saved = ops.batch_norm2d(x, vector, vector, vector.copy(), vector.copy(), training=training, eps=0.0)
            ops.batch_norm2d_backward(y, x, vector, saved)
        for reduction in ("mean", "sum", "none"):
            for weight in (None, vector):
                ops.cross_entropy2d(x, labels, class_weight=weight, reduction=reduction)
                ops.cross_entropy2d_backward(x, labels, class_weight=weight, reduction=reduction)
        ops.dropout_backward(*ops.dropout(x, 0.9, np.random.default_rng(0)))
        for engine in engines():
            y, indices = ops.max_pool2d(x, 2, engine=engine)
            ops.max_unpool2d_backward(ops.max_unpool2d(y, indices, (4, 5), engine=engine), indices, engine=engine)


# ------------------------------------------------------------------------------------------------ memory by dtype

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 16, 61, 57))  # large enough that NumPy reuses temporaries in both dtypes
WEIGHT, DEPTHWISE = RNG.standard_normal((8, 16, 3, 2)), RNG.standard_normal((16, 1, 3, 2))
POINTWISE, UPSAMPLING = RNG.standard_normal((8, 16, 1, 1)), RNG.standard_normal((16, 4, 3, 2))
VECTOR, DENSE = RNG.random(16), RNG.standard_normal((8, 16 * 61 * 57))
LOGITS, LABELS = RNG.standard_normal((2, 400, 17, 13)), np.zeros((2, 17, 13), np.uint8)


def normalise(x, vector):
    y, saved = ops.batch_norm2d(x, vector, vector, vector.copy(), vector.copy(), training=True)
    return ops.batch_norm2d_backward(y, x, vector, saved)


TRAINING = {
    "conv2d": (lambda x, w: ops.conv2d(x, w, padding=1), X, WEIGHT),
    "conv2d_backward": (lambda x, w: ops.conv2d_backward(ops.conv2d(x, w), x, w), X, WEIGHT),
    "separable": (lambda x, d, p: ops.separable_conv2d(x, d, p), X, DEPTHWISE, POINTWISE),
    "transposed": (lambda x, w: ops.conv_transpose2d(x, w, stride=2), X, UPSAMPLING),
    "transposed backward": (
        lambda x, w: ops.conv_transpose2d_backward(ops.conv_transpose2d(x, w), x, w),
        X,
        UPSAMPLING,
    ),
    "avg_pool2d": (lambda x: ops.avg_pool2d_backward(ops.avg_pool2d(x, 2), (61, 57), 2), X),
    "resize_bilinear": (lambda x: ops.resize_bilinear(x, (60, 50)), X),
    "relu": (lambda x: ops.relu_backward(x, ops.relu(x)), X),
    "relu6": (lambda x: ops.relu6_backward(x, ops.relu6(x)), X),
    "softmax": (lambda x: ops.log_softmax(ops.softmax(x)), X),
    "cross_entropy2d": (lambda x: (ops.cross_entropy2d(x, LABELS), ops.cross_entropy2d_backward(x, LABELS)), LOGITS),
    "batch_norm2d": (normalise, X, VECTOR),
    "local_response_norm": (lambda x: ops.local_response_norm_backward(ops.local_response_norm(x, 5), x, 5), X),
    "dropout": (lambda x: ops.dropout(x, 0.5, np.random.default_rng(0)), X),
    "linear": (lambda x, w: ops.linear_backward(ops.linear(x.reshape(2, -1), w), x.reshape(2, -1), w), X, DENSE),
}


def peak(function, *arrays):
    tracemalloc.start()
    function(*arrays)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest


@pytest.fixture
def smallest_blocks():
    """One output row at a time in either dtype; otherwise float64 would get by with fewer."""
    limit = npseg.get_column_limit()
    npseg.set_column_limit(1)
    yield
    npseg.set_column_limit(limit)


@pytest.mark.usefixtures("smallest_blocks")
@pytest.mark.parametrize("name", TRAINING)
def test_float32_takes_half_the_memory_of_float64(name):
    """A float64 temporary on the way would show: it would not shrink with its inputs."""
    function, *arrays = TRAINING[name]
    halves = [array.astype(np.float32) for array in arrays]
    function(*halves)
    assert peak(function, *halves) < 0.55 * peak(function, *arrays) + 40_000
