"""Which size comes out, and where "same" puts the odd pixel: known values, and the formula in the errors."""

import numpy as np
import pytest

from npseg import engines, ops

per_engine = pytest.mark.parametrize("engine", engines())


def row(*values):
    return np.array(values, np.float64).reshape(1, 1, 1, -1)


def column(*values):
    return row(*values).transpose(0, 1, 3, 2)


@per_engine
@pytest.mark.parametrize(
    ("n", "kernel", "stride", "dilation", "before", "after"),
    [
        (13, 6, 5, 1, 1, 2),  # the example of TensorFlow's documentation
        (5, 3, 1, 1, 1, 1),
        (5, 2, 1, 1, 0, 1),  # an odd pixel goes to the end
        (5, 4, 1, 1, 1, 2),
        (5, 3, 2, 1, 1, 1),
        (6, 3, 2, 1, 0, 1),
        (6, 2, 3, 1, 0, 0),  # nothing is needed, and pixels remain unread
        (4, 1, 2, 1, 0, 0),
        (5, 3, 1, 3, 3, 3),
        (5, 2, 2, 2, 1, 1),
        (1, 4, 4, 1, 1, 2),
    ],
)
def test_same_padding_of_a_convolution(engine, n, kernel, stride, dilation, before, after):
    values, taps, amounts = np.arange(1.0, n + 1), 10.0 ** np.arange(kernel), (before, after)
    for image, weight, steps, sides in (
        (row(*values), row(*taps), {"stride": (1, stride), "dilation": (1, dilation)}, ((0, 0), amounts)),
        (column(*values), column(*taps), {"stride": (stride, 1), "dilation": (dilation, 1)}, (amounts, (0, 0))),
    ):
        y = ops.conv2d(image, weight, padding="same", **steps, engine=engine)
        assert y.size == -(-n // stride)
        np.testing.assert_array_equal(y, ops.conv2d(image, weight, padding=sides, **steps, engine=engine))


@per_engine
@pytest.mark.parametrize(
    ("pixels", "kernel", "stride", "expected"),
    [
        # Stamps of 1 2 3: the surplus of K - stride is cut, the first half (rounded down) at the start.
        ([1], [1, 2, 3], 1, [2]),
        ([1], [1, 2, 3], 2, [1, 2]),
        ([1], [1, 2, 3], 3, [1, 2, 3]),
        ([1], [1, 2, 3, 4], 1, [2]),
        ([1], [1, 2, 3, 4], 2, [2, 3]),
        ([1, 10], [1, 2, 3], 1, [12, 23]),
        ([1, 10], [1, 2, 3], 2, [1, 2, 13, 20]),
        # A stamp shorter than the stride: zeros are appended, not spread around.
        ([1, 10], [1, 2], 4, [1, 2, 0, 0, 10, 20, 0, 0]),
        ([1, 10], [5], 3, [5, 0, 0, 50, 0, 0]),
    ],
)
def test_same_padding_of_a_transposed_convolution(engine, pixels, kernel, stride, expected):
    bias = np.array([0.5])
    y = ops.conv_transpose2d(row(*pixels), row(*kernel), bias, stride=(1, stride), padding="same", engine=engine)
    assert (y - 0.5).ravel().tolist() == expected
    y = ops.conv_transpose2d(column(*pixels), column(*kernel), bias, stride=(stride, 1), padding="same", engine=engine)
    assert (y - 0.5).ravel().tolist() == expected


@per_engine
def test_same_transposed_convolution_is_the_adjoint_of_the_same_convolution(engine):
    """As in Keras: it enlarges what "same" made of input * stride pixels."""
    rng = np.random.default_rng(0)
    for kernel in range(1, 6):
        for stride in range(1, 5):
            weight = rng.integers(-4, 5, (2, 3, kernel, 1)).astype(float)
            grad = rng.integers(-4, 5, (1, 2, 3, 2)).astype(float)
            arguments = {"stride": (stride, 1), "padding": "same", "engine": engine}
            y = ops.conv_transpose2d(grad, weight, **arguments)
            assert y.shape == (1, 3, 3 * stride, 2)
            np.testing.assert_array_equal(y, ops.conv2d_grad_input(grad, weight, (3 * stride, 2), **arguments))


@per_engine
def test_output_padding_goes_to_the_bottom_and_right(engine):
    y = ops.conv_transpose2d(row(1, 2), row(1, 1, 1), stride=(1, 3), output_padding=(0, 2), engine=engine)
    assert y.ravel().tolist() == [1, 1, 1, 2, 2, 2, 0, 0]
    cut = ops.conv_transpose2d(
        row(1, 2), row(1, 1, 1), stride=(1, 3), padding=(0, 1), output_padding=(0, 2), engine=engine
    )
    assert cut.ravel().tolist() == [1, 1, 2, 2, 2, 0]
    dilated = ops.conv_transpose2d(row(1), row(1, 1), dilation=(1, 3), output_padding=(0, 2), engine=engine)
    assert dilated.ravel().tolist() == [1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("stride", "dilation", "most"), [((3, 1), 1, (2, 0)), ((1, 1), (1, 4), (0, 3)), (2, (3, 1), (2, 1))]
)
def test_output_padding_is_below_stride_or_dilation(stride, dilation, most):
    x, weight = np.ones((1, 1, 2, 3)), np.ones((1, 1, 2, 2))
    ops.conv_transpose2d(x, weight, stride=stride, dilation=dilation, output_padding=most)
    for axis in (0, 1):
        more = tuple(amount + (a == axis) for a, amount in enumerate(most))
        with pytest.raises(ValueError, match=r"output_padding must be below max\(stride, dilation\) = max\(\d, \d\)"):
            ops.conv_transpose2d(x, weight, stride=stride, dilation=dilation, output_padding=more)
    with pytest.raises(ValueError, match="output_padding must be 0"):
        ops.conv_transpose2d(x, weight, stride=3, padding="same", output_padding=1)
    ops.conv_transpose2d(x, weight, stride=3, padding="same", output_padding=(0, 0))


@per_engine
def test_valid_is_no_padding(engine):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, 5, 4)), rng.standard_normal((2, 2, 3, 2))
    for operation in (ops.conv2d, ops.conv_transpose2d):
        valid, zero = (operation(x, weight, stride=2, padding=p, engine=engine) for p in ("valid", 0))
        np.testing.assert_array_equal(valid, zero)


def test_input_size_may_be_any_that_fits():
    """Several inputs give the same output; the surplus row gets no gradient."""
    grad, weight = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    assert ops.conv2d_grad_input(grad, weight, (4, 5), stride=2).shape == (1, 1, 4, 5)
    assert np.all(ops.conv2d_grad_input(grad, weight, (4, 5), stride=2)[..., 4] == 0)
    for wrong in ((3, 4), (6, 4), (4, 6)):
        with pytest.raises(ValueError, match="grad"):
            ops.conv2d_grad_input(grad, weight, wrong, stride=2)


IMAGE = np.ones((1, 2, 5, 4))
FORMULAS = {
    "conv2d": (
        lambda: ops.conv2d(IMAGE, np.ones((1, 2, 4, 3)), stride=2, padding=((0, 1), (2, 0)), dilation=3),
        r"^weight .*height.*floor\(\(5 \+ 0 \+ 1 - \(3 \* \(4 - 1\) \+ 1\)\) / 2\) \+ 1 = -1, .* at least 1$",
    ),
    "im2col": (
        lambda: ops.im2col(IMAGE, (2, 5)),
        r"^kernel_size .*width.*floor\(\(4 \+ 0 \+ 0 - \(1 \* \(5 - 1\) \+ 1\)\) / 1\) \+ 1 = 0, .* at least 1$",
    ),
    "max_pool2d": (
        lambda: ops.max_pool2d(IMAGE, 7, padding=(0, 1)),
        r"^kernel_size .*height.*floor\(\(5 \+ 0 \+ 0 - \(1 \* \(7 - 1\) \+ 1\)\) / 7\) \+ 1 = 0, .* at least 1$",
    ),
    "avg_pool2d": (
        lambda: ops.avg_pool2d(IMAGE, (1, 8), stride=2, ceil_mode=True),
        r"^kernel_size .*width.*ceil\(\(4 \+ 0 \+ 0 - \(1 \* \(8 - 1\) \+ 1\)\) / 2\) \+ 1 = -1, .* at least 1$",
    ),
    "conv_transpose2d": (
        lambda: ops.conv_transpose2d(IMAGE, np.ones((2, 1, 3, 3)), padding=(0, 3)),
        r"^padding .*width.*\(4 - 1\) \* 1 \+ 1 \* \(3 - 1\) \+ 1 - 3 - 3 = 0, .* at least 1$",
    ),
    "conv2d_backward": (
        lambda: ops.conv2d_backward(np.ones((1, 1, 2, 2)), IMAGE, np.ones((1, 2, 3, 3)), stride=2, padding=(1, 0)),
        r"^grad must have shape \(1, 1, 3, 1\) .*floor\(\(5 \+ 1 \+ 1 - \(1 \* \(3 - 1\) \+ 1\)\) / 2\) \+ 1.*"
        r"got \(1, 1, 2, 2\)$",
    ),
    "conv_transpose2d_backward": (
        lambda: ops.conv_transpose2d_backward(IMAGE, IMAGE, np.ones((2, 1, 3, 3)), stride=2),
        r"^grad must have shape \(1, 1, 11, 9\) .*\(5 - 1\) \* 2 \+ 1 \* \(3 - 1\) \+ 1 - 0 - 0.* got \(1, 2, 5, 4\)$",
    ),
    "separable_conv2d_backward": (
        lambda: ops.separable_conv2d_backward(IMAGE, IMAGE, np.ones((2, 1, 3, 3)), np.ones((3, 2, 1, 1))),
        r"^grad must have shape \(1, 3, 3, 2\) .*floor\(\(5 \+ 0 \+ 0 - \(1 \* \(3 - 1\) \+ 1\)\) / 1\) \+ 1.*"
        r"got \(1, 2, 5, 4\)$",
    ),
    "avg_pool2d_backward": (
        lambda: ops.avg_pool2d_backward(IMAGE, (5, 4), 2),
        r"^grad must have shape \(1, 2, 2, 2\) .*floor\(\(5 \+ 0 \+ 0 - \(1 \* \(2 - 1\) \+ 1\)\) / 2\) \+ 1.*"
        r"got \(1, 2, 5, 4\)$",
    ),
    "col2im": (
        lambda: ops.col2im(np.ones((1, 4, 5)), (3, 3), 2),
        r"^columns must have shape \(N, C \* 4, 2 \* 2 = 4\) .* got \(1, 4, 5\)$",
    ),
    "crop2d": (
        lambda: ops.crop2d(IMAGE, (3, 3), (3, 0)),
        r"^offset .*offset \+ size <= input size, got \(3, 0\) \+ \(3, 3\) on \(5, 4\)$",
    ),
    "conv2d channels": (
        lambda: ops.conv2d(IMAGE, np.ones((2, 2, 3, 3)), groups=2),
        r"^weight must have C_in // groups = 2 // 2 = 1 .* got shape \(2, 2, 3, 3\)$",
    ),
}


@pytest.mark.parametrize("operation", FORMULAS)
def test_errors_print_the_formula_with_its_numbers(operation):
    function, pattern = FORMULAS[operation]
    with pytest.raises(ValueError, match=pattern):
        function()


def test_crops_at_the_border():
    x = np.arange(20.0).reshape(1, 1, 4, 5)
    assert ops.crop2d(x, (1, 1), (3, 4)).item() == 19
    np.testing.assert_array_equal(ops.crop2d(x, (4, 5), 0), x)
    for size, offset in (((1, 1), (4, 0)), ((1, 1), (0, 5)), ((5, 1), 0), ((4, 5), (0, 1))):
        with pytest.raises(ValueError, match="offset"):
            ops.crop2d(x, size, offset)
