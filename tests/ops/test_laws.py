"""Laws that operations obey among themselves, whatever their numbers."""

import numpy as np
import pytest
import scipy.signal

from npseg import engines, matrices, ops
from npseg.ops.transposed import conv_transpose2d_grad_input

per_engine = pytest.mark.parametrize("engine", engines())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def whole(rng, *shape):
    """Small whole numbers, exact on every engine."""
    return rng.integers(-4, 5, shape).astype(np.float64)


@per_engine
def test_convolution_is_linear(rng, engine):
    x, other, weight = whole(rng, 2, 3, 6, 5), whole(rng, 2, 3, 6, 5), whole(rng, 4, 3, 3, 2)
    arguments = {"stride": (2, 1), "padding": (1, 2), "engine": engine}
    together = ops.conv2d(3 * x - 2 * other, weight, **arguments)
    apart = 3 * ops.conv2d(x, weight, **arguments) - 2 * ops.conv2d(other, weight, **arguments)
    np.testing.assert_array_equal(together, apart)


@per_engine
def test_convolution_moves_with_the_image(rng, engine):
    x, weight = whole(rng, 1, 2, 9, 8), whole(rng, 3, 2, 3, 2)
    moved = np.roll(x, (2, 3), axis=(2, 3))
    y, y_moved = (ops.conv2d(image, weight, engine=engine) for image in (x, moved))
    np.testing.assert_array_equal(y_moved[:, :, 2:, 3:], y[:, :, :-2, :-3])


@per_engine
def test_identity_kernel(rng, engine):
    x = whole(rng, 2, 3, 4, 5)
    weight = np.zeros((3, 3, 3, 5))
    weight[range(3), range(3), 1, 2] = 1
    np.testing.assert_array_equal(ops.conv2d(x, weight, padding="same", engine=engine), x)


@per_engine
def test_the_kernel_is_not_flipped(rng, engine):
    x, weight = rng.standard_normal((7, 9)), rng.standard_normal((3, 4))
    y = ops.conv2d(x[None, None], weight[None, None], engine=engine)[0, 0]
    np.testing.assert_allclose(y, scipy.signal.correlate2d(x, weight, mode="valid"), rtol=1e-10, atol=1e-12)
    grown = ops.conv_transpose2d(x[None, None], weight[None, None], engine=engine)[0, 0]
    np.testing.assert_allclose(grown, scipy.signal.convolve2d(x, weight, mode="full"), rtol=1e-10, atol=1e-12)


@per_engine
def test_dilation_is_a_kernel_stuffed_with_zeros(rng, engine):
    x, weight = whole(rng, 1, 2, 9, 10), whole(rng, 3, 2, 3, 2)
    stuffed = np.zeros((3, 2, 7, 3))
    stuffed[:, :, ::3, ::2] = weight
    for padding in (0, (2, 1), "same"):
        dilated = ops.conv2d(x, weight, dilation=(3, 2), padding=padding, engine=engine)
        np.testing.assert_array_equal(dilated, ops.conv2d(x, stuffed, padding=padding, engine=engine))


@per_engine
def test_stride_skips_outputs(rng, engine):
    x, weight = whole(rng, 1, 2, 9, 10), whole(rng, 3, 2, 3, 2)
    dense = ops.conv2d(x, weight, padding=1, engine=engine)
    strided = ops.conv2d(x, weight, padding=1, stride=(3, 2), engine=engine)
    np.testing.assert_array_equal(strided, dense[:, :, ::3, ::2])


@per_engine
def test_groups_are_a_block_diagonal(rng, engine):
    x, weight = whole(rng, 2, 6, 5, 4), whole(rng, 4, 3, 3, 2)
    dense = np.zeros((4, 6, 3, 2))
    dense[:2, :3], dense[2:, 3:] = weight[:2], weight[2:]
    grouped = ops.conv2d(x, weight, groups=2, padding=1, engine=engine)
    np.testing.assert_array_equal(grouped, ops.conv2d(x, dense, padding=1, engine=engine))


@per_engine
def test_depthwise_is_one_group_a_channel(rng, engine):
    x, weight = whole(rng, 2, 3, 5, 4), whole(rng, 6, 1, 3, 2)
    y = ops.depthwise_conv2d(x, weight, stride=(1, 2), engine=engine)
    np.testing.assert_array_equal(y, ops.conv2d(x, weight, stride=(1, 2), groups=3, engine=engine))
    for channel in range(6):  # output channel c * multiplier + j belongs to input channel c
        alone = ops.conv2d(x[:, channel // 2, None], weight[channel, None], stride=(1, 2), engine=engine)
        np.testing.assert_array_equal(y[:, channel], alone[:, 0])


@per_engine
def test_separable_is_a_dense_kernel_of_limited_rank(rng, engine):
    x, depthwise, pointwise = whole(rng, 2, 3, 6, 5), whole(rng, 6, 1, 3, 2), whole(rng, 4, 6, 1, 1)
    dense = np.einsum("ocm,cmkl->ockl", pointwise.reshape(4, 3, 2), depthwise.reshape(3, 2, 3, 2))
    y = ops.separable_conv2d(x, depthwise, pointwise, stride=2, padding=1, engine=engine)
    np.testing.assert_array_equal(y, ops.conv2d(x, dense, stride=2, padding=1, engine=engine))


@per_engine
def test_convolution_theorem(rng, engine):
    """On a line closed to a ring, the Fourier transform turns the convolution into a product."""
    x, weight = rng.standard_normal((6, 8)), rng.standard_normal((3, 4))
    ring = np.pad(x, ((0, 2), (0, 3)), mode="wrap")
    y = ops.conv2d(ring[None, None], weight[None, None], engine=engine)[0, 0]
    product = np.fft.fft2(x) * np.conj(np.fft.fft2(weight, s=x.shape))  # conj: the kernel is not flipped
    np.testing.assert_allclose(y, np.fft.ifft2(product).real, rtol=1e-10, atol=1e-10)


@per_engine
def test_transposed_convolution_is_the_convolutions_adjoint(rng, engine):
    """<conv(x), g> = <x, conv_transpose(g)> with the same weight: its axes already stand right."""
    x, weight = whole(rng, 2, 3, 7, 6), whole(rng, 4, 3, 3, 2)
    arguments = {"stride": (2, 1), "padding": (1, 0), "engine": engine}
    y = ops.conv2d(x, weight, **arguments)
    grad = whole(rng, *y.shape)
    transposed = ops.conv_transpose2d(grad, weight, **arguments)
    assert np.sum(y * grad) == np.sum(x * transposed)
    np.testing.assert_array_equal(transposed, ops.conv2d_grad_input(grad, weight, (7, 6), **arguments))


@per_engine
@pytest.mark.parametrize("arguments", [{"stride": (2, 3), "output_padding": (1, 2)}, {"padding": "same", "groups": 2}])
def test_transposed_convolutions_input_gradient_alone(rng, engine, arguments):
    """What networks use where upsampling is not trained."""
    x, weight = whole(rng, 2, 4, 3, 5), whole(rng, 4, 2, 2, 3)
    grad = whole(rng, *ops.conv_transpose2d(x, weight, **arguments).shape)
    alone = conv_transpose2d_grad_input(grad, weight, (3, 5), **arguments, engine=engine)
    np.testing.assert_array_equal(alone, ops.conv_transpose2d_backward(grad, x, weight, **arguments)[0])
    with pytest.raises(ValueError, match="grad"):
        conv_transpose2d_grad_input(grad[:, :, 1:], weight, (3, 5), **arguments, engine=engine)


@per_engine
def test_transposed_convolution_stuffs_zeros_between_pixels(rng, engine):
    x, weight = whole(rng, 1, 2, 4, 5), whole(rng, 2, 3, 3, 4)
    stuffed = np.zeros((1, 2, 4 * 3 - 2, 5 * 2 - 1))
    stuffed[:, :, ::3, ::2] = x
    flipped = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    y = ops.conv_transpose2d(x, weight, stride=(3, 2), engine=engine)
    np.testing.assert_array_equal(y, ops.conv2d(stuffed, flipped, padding=(2, 3), engine=engine))


@per_engine
def test_one_image_at_a_time_backwards_is_the_batch_backwards(rng, engine):
    """The weight's gradient of a batch is the sum over its images."""
    x, weight = whole(rng, 3, 2, 5, 4), whole(rng, 4, 2, 2, 3)
    grad = whole(rng, 3, 4, 4, 2)
    together = ops.conv2d_grad_weight(grad, x, (2, 3), engine=engine)
    apart = sum(ops.conv2d_grad_weight(grad[n, None], x[n, None], (2, 3), engine=engine) for n in range(3))
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(together, ops.conv2d_backward(grad, x, weight, engine=engine)[1])


@pytest.mark.parametrize("arguments", [{}, {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)}])
def test_columns_added_back_count_the_overlaps(rng, arguments):
    x = whole(rng, 2, 3, 6, 7)
    restored = ops.col2im(ops.im2col(x, (3, 2), **arguments), (6, 7), (3, 2), **arguments)
    overlaps = ops.col2im(ops.im2col(np.ones_like(x), (3, 2), **arguments), (6, 7), (3, 2), **arguments)
    np.testing.assert_array_equal(restored, overlaps * x)


@per_engine
def test_convolution_is_a_matrix_product_of_columns(rng, engine):
    x, weight = whole(rng, 2, 3, 6, 7), whole(rng, 4, 3, 3, 2)
    columns = ops.im2col(x, (3, 2), stride=(2, 3), padding=1)
    y = ops.conv2d(x, weight, stride=(2, 3), padding=1, engine=engine)
    np.testing.assert_array_equal((weight.reshape(4, -1) @ columns).reshape(y.shape), y)


@per_engine
def test_fully_connected_layer_is_a_convolution_as_large_as_the_image(rng, engine):
    x, weight, bias = whole(rng, 3, 2, 4, 5), whole(rng, 7, 2, 4, 5), whole(rng, 7)
    dense = ops.linear(x.reshape(3, -1), weight.reshape(7, -1), bias)
    np.testing.assert_array_equal(ops.conv2d(x, weight, bias, engine=engine)[:, :, 0, 0], dense)


@per_engine
def test_unpooling_keeps_the_maxima(rng, engine):
    x = rng.standard_normal((2, 3, 6, 8))
    y, indices = ops.max_pool2d(x, (3, 2), engine=engine)
    unpooled = ops.max_unpool2d(y, indices, (6, 8), engine=engine)
    np.testing.assert_array_equal(unpooled, np.where(unpooled != 0, x, 0))
    assert np.count_nonzero(unpooled) == y.size
    again, places = ops.max_pool2d(np.where(unpooled != 0, x, -np.inf), (3, 2), engine=engine)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(places, indices)
    np.testing.assert_array_equal(ops.max_unpool2d_backward(unpooled, indices, engine=engine), y)


@per_engine
def test_nearest_unpooling_is_undone_by_every_pool(rng, engine):
    x = whole(rng, 2, 3, 4, 5)
    enlarged = ops.nearest_unpool2d(x, (4, 2), engine=engine)
    np.testing.assert_array_equal(ops.max_pool2d(enlarged, (4, 2), engine=engine)[0], x)
    np.testing.assert_array_equal(ops.avg_pool2d(enlarged, (4, 2), engine=engine), x)
    np.testing.assert_array_equal(ops.nearest_unpool2d_backward(enlarged, (4, 2), engine=engine), 8 * x)


@per_engine
def test_a_nail_in_every_cell_is_undone_by_a_sum(rng, engine):
    x = whole(rng, 2, 3, 4, 5)
    nails = ops.bed_of_nails_unpool2d(x, (2, 3), engine=engine)
    np.testing.assert_array_equal(nails[:, :, ::2, ::3], x)
    assert np.count_nonzero(nails) == np.count_nonzero(x)
    np.testing.assert_array_equal(ops.bed_of_nails_unpool2d_backward(nails, (2, 3), engine=engine), x)


@per_engine
def test_average_pooling_is_a_convolution_with_equal_weights(rng, engine):
    x = whole(rng, 2, 3, 6, 9)
    pooled = ops.avg_pool2d(x, (2, 4), stride=(1, 2), padding=(1, 0), engine=engine)
    weight = np.full((3, 1, 2, 4), 1 / 8)
    convolved = ops.depthwise_conv2d(x, weight, stride=(1, 2), padding=(1, 0), engine=engine)
    np.testing.assert_array_equal(pooled, convolved)  # eighths are exact
    np.testing.assert_allclose(
        ops.global_avg_pool2d(x), ops.avg_pool2d(x, (6, 9), engine=engine), rtol=1e-12, atol=1e-12
    )


@per_engine
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("output_size", [(9, 7), (2, 3), (1, 1), (5, 6)])
def test_bilinear_weights_add_up_to_one(engine, align_corners, output_size):
    constant = np.full((1, 2, 5, 6), 3.0)
    arguments = {"align_corners": align_corners, "engine": engine}
    np.testing.assert_allclose(ops.resize_bilinear(constant, output_size, **arguments), 3.0, rtol=1e-14)


@per_engine
def test_bilinear_resizing_to_the_same_size_changes_nothing(rng, engine):
    x = rng.standard_normal((1, 2, 5, 6))
    for align_corners in (True, False):
        y = ops.resize_bilinear(x, (5, 6), align_corners=align_corners, engine=engine)
        np.testing.assert_array_equal(y, x)


@per_engine
def test_bilinear_resizing_keeps_a_slope(engine):
    """Corners aligned, a plane stays a plane; with half-pixel centres it does so away from the border."""
    i, j = np.mgrid[:5, :7].astype(float)
    y = ops.resize_bilinear((2 * i + 3 * j)[None, None], (9, 13), align_corners=True, engine=engine)[0, 0]
    i, j = np.mgrid[:9, :13] / 2
    np.testing.assert_allclose(y, 2 * i + 3 * j, rtol=1e-12, atol=1e-12)


@per_engine
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_fixed_bilinear_filter_upsamples_like_resizing_inside(rng, engine, factor):
    """FCN's upsampling filters start as this; at the border they differ, since zeros lie beyond it."""
    x = rng.standard_normal((1, 1, 5, 6))
    size = 2 * factor - factor % 2
    centre = (size - 1) / 2
    line = 1 - np.abs(np.arange(size) - centre) / factor
    arguments = {"stride": factor, "padding": (size - factor) // 2, "engine": engine}
    learned = ops.conv_transpose2d(x, np.outer(line, line)[None, None], **arguments)
    resized = ops.resize_bilinear(x, (5 * factor, 6 * factor), engine=engine)
    assert learned.shape == resized.shape
    inside = np.s_[:, :, factor:-factor, factor:-factor]
    np.testing.assert_allclose(learned[inside], resized[inside], rtol=1e-10, atol=1e-12)


def test_softmax_ignores_a_shift(rng):
    x = rng.standard_normal((2, 4, 3, 5))
    for shift in (-1000.0, 3.0, 1000.0):
        np.testing.assert_allclose(ops.softmax(x + shift), ops.softmax(x), rtol=1e-10)
        np.testing.assert_allclose(ops.log_softmax(x + shift), ops.log_softmax(x), rtol=1e-9)
    np.testing.assert_allclose(ops.softmax(x).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(ops.log_softmax(x, axis=-1)), ops.softmax(x, axis=-1), rtol=1e-12)


def test_cropping_and_its_gradient_are_each_others_adjoint(rng):
    x = whole(rng, 2, 3, 6, 7)
    cropped = ops.crop2d(x, (3, 4), (2, 1))
    np.testing.assert_array_equal(cropped, x[:, :, 2:5, 1:5])
    padded = ops.crop2d_backward(cropped, (6, 7), (2, 1))
    np.testing.assert_array_equal(ops.crop2d(padded, (3, 4), (2, 1)), cropped)
    assert np.abs(padded).sum() == np.abs(cropped).sum()


def test_a_kernel_of_ones_counts_multiplications():
    """nnz is the number of multiplications: taps that see a real pixel, so a convolution of ones adds up to it."""
    window = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "dilation": (1, 2)}
    matrix = matrices.conv2d_matrix(np.ones((4, 3, 3, 2)), (7, 6), **window)
    assert ops.conv2d(np.ones((1, 3, 7, 6)), np.ones((4, 3, 3, 2)), **window).sum() == matrix.nnz
