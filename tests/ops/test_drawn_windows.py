"""Random windows: every engine equals the definition, to the last bit, forward and backward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windows import amounts, convolutions, pairs, pools, transposed_convolutions

from npseg import engines, ops
from npseg.verify import definitions


def assert_engines_equal(function, expected):
    for engine in engines():
        np.testing.assert_array_equal(function(engine), expected, err_msg=engine)


@given(convolutions())
def test_convolution(drawn):
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    weight = drawn.whole_numbers(drawn.out_channels, drawn.channels // drawn.groups, *drawn.kernel)
    bias = drawn.whole_numbers(drawn.out_channels)
    expected = definitions.conv2d(x, weight, bias, **drawn.arguments)
    assert_engines_equal(lambda engine: ops.conv2d(x, weight, bias, **drawn.arguments, engine=engine), expected)


@given(convolutions())
def test_convolution_backward(drawn):
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    weight = drawn.whole_numbers(drawn.out_channels, drawn.channels // drawn.groups, *drawn.kernel)
    grad = drawn.whole_numbers(*ops.conv2d(x, weight, **drawn.arguments).shape)
    expected = ops.conv2d_backward(grad, x, weight, **drawn.arguments, engine="loops")
    # <A x, g> = <x, A^T g>, exactly, since the numbers are small and whole; bilinear in x and the weight.
    pairing = np.sum(definitions.conv2d(x, weight, **drawn.arguments) * grad)
    assert pairing == np.sum(x * expected[0]) == np.sum(weight * expected[1])
    for engine in engines():
        gradients = ops.conv2d_backward(grad, x, weight, **drawn.arguments, engine=engine)
        for ours, theirs in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@given(transposed_convolutions())
def test_transposed_convolution(drawn_and_extra):
    drawn, extra = drawn_and_extra
    arguments = {**drawn.arguments, "output_padding": extra}
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    weight = drawn.whole_numbers(drawn.channels, drawn.out_channels // drawn.groups, *drawn.kernel)
    bias = drawn.whole_numbers(drawn.out_channels)
    expected = definitions.conv_transpose2d(x, weight, bias, **arguments)
    assert_engines_equal(lambda engine: ops.conv_transpose2d(x, weight, bias, **arguments, engine=engine), expected)

    grad = drawn.whole_numbers(*expected.shape)
    pairing = np.sum((expected - bias[:, None, None]) * grad)
    for engine in engines():
        grad_x, grad_weight, grad_bias = ops.conv_transpose2d_backward(grad, x, weight, **arguments, engine=engine)
        assert pairing == np.sum(x * grad_x) == np.sum(weight * grad_weight)
        np.testing.assert_array_equal(grad_bias, grad.sum(axis=(0, 2, 3)))


@given(pools(dilations=pairs))
def test_max_pooling(pool):
    drawn, ceil_mode = pool
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "dilation": drawn.dilation, "ceil_mode": ceil_mode}
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)  # many ties
    expected, expected_indices = definitions.max_pool2d(x, drawn.kernel, **arguments)
    if (expected_indices < 0).any():  # a dilated window can step over every pixel
        with pytest.raises(ValueError, match="padding must leave every window a real pixel"):
            ops.max_pool2d(x, drawn.kernel, **arguments)
        return
    y, indices = ops.max_pool2d(x, drawn.kernel, **arguments)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    grad = drawn.whole_numbers(*y.shape)
    grad_x = ops.max_pool2d_backward(grad, indices, drawn.size, engine="loops")
    for engine in engines():
        for ours, theirs in zip(ops.max_pool2d(x, drawn.kernel, **arguments, engine=engine), (y, indices), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ops.max_pool2d_backward(grad, indices, drawn.size, engine=engine), grad_x)


@given(pools(), st.booleans(), st.tuples(amounts, amounts))
def test_average_pooling(pool, count_include_pad, beyond):
    """With padding counted, a window may see nothing but padding."""
    drawn, ceil_mode = pool
    padding = drawn.padding
    if count_include_pad:
        padding = tuple((amount, amount + more) for amount, more in zip(padding, beyond, strict=True))
    arguments = {"stride": drawn.stride, "padding": padding, "ceil_mode": ceil_mode}
    arguments["count_include_pad"] = count_include_pad
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    expected = definitions.avg_pool2d(x, drawn.kernel, **arguments)
    grad = drawn.whole_numbers(*expected.shape)
    for engine in engines():
        y = ops.avg_pool2d(x, drawn.kernel, **arguments, engine=engine)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        grad_x = ops.avg_pool2d_backward(grad, drawn.size, drawn.kernel, **arguments, engine=engine)
        assert np.sum(y * grad) == pytest.approx(np.sum(x * grad_x), rel=1e-10, abs=1e-10)


@given(convolutions(groups=1))
def test_columns(drawn):
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "dilation": drawn.dilation}
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    columns = ops.im2col(x, drawn.kernel, **arguments)
    np.testing.assert_array_equal(columns, definitions.im2col(x, drawn.kernel, **arguments))
    other = drawn.whole_numbers(*columns.shape)
    assert np.sum(columns * other) == np.sum(x * ops.col2im(other, drawn.size, drawn.kernel, **arguments))


@given(st.tuples(*[st.integers(1, 7)] * 4), st.booleans(), st.integers(0, 1000))
def test_bilinear_resizing(sizes, align_corners, seed):
    size, output_size = sizes[:2], sizes[2:]
    rng = np.random.default_rng(seed)
    x, grad = rng.standard_normal((1, 2, *size)), rng.standard_normal((1, 2, *output_size))
    expected = definitions.resize_bilinear(x, output_size, align_corners=align_corners)
    for engine in engines():
        y = ops.resize_bilinear(x, output_size, align_corners=align_corners, engine=engine)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        grad_x = ops.resize_bilinear_backward(grad, size, align_corners=align_corners, engine=engine)
        assert np.sum(y * grad) == pytest.approx(np.sum(x * grad_x), rel=1e-10, abs=1e-10)


@given(st.tuples(*[st.integers(1, 4)] * 4), st.integers(0, 1000))
def test_unpooling(sizes, seed):
    size, scale = sizes[:2], sizes[2:]
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, (1, 2, *size)).astype(float)
    grad = rng.integers(-4, 5, (1, 2, size[0] * scale[0], size[1] * scale[1])).astype(float)
    for engine in engines():
        for unpool in ("nearest_unpool2d", "bed_of_nails_unpool2d"):
            y = getattr(ops, unpool)(x, scale, engine=engine)
            np.testing.assert_array_equal(y, getattr(definitions, unpool)(x, scale))
            grad_x = getattr(ops, f"{unpool}_backward")(grad, scale, engine=engine)
            assert np.sum(y * grad) == np.sum(x * grad_x)
