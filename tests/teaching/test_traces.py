"""A trace is the operation: its steps add up to the result, and stand where im2col and the sparse matrix have them."""

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npseg import matrices, ops, use_engine
from npseg.teaching import OPERATIONS, trace

sys.path.append(str(Path(__file__).parents[1] / "ops"))  # pytest's own way, should this file run alone
from windows import convolutions, pairs, pools, transposed_convolutions

views = st.sampled_from(["gather", "scatter"])


def added_up(steps, shape):
    """The result, from nothing but what the steps say."""
    result = np.zeros(shape)
    for step in steps:
        if step.view == "gather":
            result[step.position] = step.value
            assert step.value == (step.sums[-1] if step.sums else 0) + (step.bias or 0)
            assert all(product.output == step.position for product in step.products)
        running = np.zeros(shape) if step.view == "gather" else result
        for product, total in zip(step.products, step.sums, strict=True):
            assert product.product == product.input_value * product.weight_value
            running[product.output] += product.product
            assert running[product.output] == total
    return result


def assert_equal(steps, expected, source, weight=None):
    """The steps add up to the expected result, and their factors stand in the arrays."""
    np.testing.assert_array_equal(added_up(steps, expected.shape), expected)
    np.testing.assert_array_equal(steps.result, expected)
    for step in steps:
        for product in step.products:
            assert source[product.input] == product.input_value
            assert (product.weight is None) == (weight is None)
            assert weight is None or weight[product.weight] == product.weight_value


def assert_rows(steps, *of_images):
    """Each step is the row of its image's matrix (scattering: of its transpose) that it says it is."""
    for n in range(len(steps.source)):
        matrix = of_images[n] if len(of_images) > 1 else of_images[0]
        np.testing.assert_array_equal(steps.matrix(n).toarray(), matrix.toarray())
        rows = (matrix if steps.view == "gather" else matrix.T).toarray()
        shape = steps.source.shape if steps.view == "gather" else steps.target_shape
        for step in (step for step in steps if step.position[0] == n):
            flat = np.zeros(rows.shape[1])
            for product in step.products:
                index = product.input if step.view == "gather" else product.output
                flat[np.ravel_multi_index(index[1:], shape[1:])] += product.weight_value
            np.testing.assert_array_equal(flat, rows[step.row])


def assert_columns(steps, windowed, drawn, stride, padding, dilation):
    """Each window's pixels stand in the im2col column that the step names, in their order."""
    columns = ops.im2col(windowed, drawn.kernel, stride=stride, padding=padding, dilation=dilation)
    area = drawn.kernel[0] * drawn.kernel[1]
    for step in steps:
        n = step.position[0]
        sides = [product.input if steps.view == "gather" else product.output for product in step.products]
        for c in {index[1] for index in sides}:
            column = columns[n, c * area : (c + 1) * area, step.column]
            seen = [
                windowed[n, c, h, w] if (h, w) in step.window.real else 0
                for h in step.window.rows
                for w in step.window.columns
            ]
            np.testing.assert_array_equal(column, seen)


def convolution_arrays(drawn):
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    weight = drawn.whole_numbers(drawn.out_channels, drawn.channels // drawn.groups, *drawn.kernel)
    return x, weight, drawn.whole_numbers(drawn.out_channels)


@settings(max_examples=20)
@given(convolutions(), views)
def test_convolution(drawn, view):
    x, weight, bias = convolution_arrays(drawn)
    steps = trace("conv2d", x, weight, **drawn.arguments, view=view)
    assert_equal(steps, ops.conv2d(x, weight, **drawn.arguments), x, weight)
    assert_rows(steps, matrices.conv2d_matrix(weight, drawn.size, **drawn.arguments))
    biased = trace("conv2d", x, weight, bias, **drawn.arguments, view=view)
    np.testing.assert_array_equal(biased.result, ops.conv2d(x, weight, bias, **drawn.arguments))
    if view == "gather":
        assert_columns(steps, x, drawn, drawn.stride, drawn.padding, drawn.dilation)
        np.testing.assert_array_equal(added_up(biased, biased.result.shape), biased.result)


@settings(max_examples=20)
@given(convolutions(), views)
def test_convolution_backward(drawn, view):
    x, weight, _ = convolution_arrays(drawn)
    arguments = drawn.arguments
    grad = drawn.whole_numbers(*ops.conv2d(x, weight, **arguments).shape)
    grad_x, grad_weight, _ = ops.conv2d_backward(grad, x, weight, **arguments)

    to_input = trace("conv2d_grad_input", grad, weight, drawn.size, **arguments, view=view)
    assert_equal(to_input, grad_x, grad, weight)
    assert_rows(to_input, matrices.conv2d_matrix(weight, drawn.size, **arguments).T)
    if view == "scatter":
        assert_columns(to_input, grad_x, drawn, drawn.stride, drawn.padding, drawn.dilation)

    to_weight = trace("conv2d_grad_weight", grad, x, drawn.kernel, **arguments, view=view)
    assert_equal(to_weight, grad_weight, x, grad)
    if view == "gather":
        undivided = {name: value for name, value in arguments.items() if name != "groups"}
        columns = ops.im2col(x, drawn.kernel, **undivided)
        for step in to_weight:
            o = step.position[0]
            by_columns = sum(columns[n, step.columns_row] @ grad[n, o].ravel() for n in range(len(x)))
            assert by_columns == step.value

    both = trace("conv2d_backward", grad, x, weight, **arguments)
    for stage, expected in zip(both.stages, (grad_x, grad_weight), strict=True):
        np.testing.assert_array_equal(added_up(stage, expected.shape), expected)


@settings(max_examples=20)
@given(convolutions(groups=2))
def test_depthwise_and_separable(drawn):
    arguments = {name: value for name, value in drawn.arguments.items() if name != "groups"}
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    depthwise = drawn.whole_numbers(2 * drawn.channels, 1, *drawn.kernel)
    pointwise = np.moveaxis(drawn.whole_numbers(2 * drawn.channels, 3, 1, 1), 0, 1)
    bias = drawn.whole_numbers(3)
    steps = trace("depthwise_conv2d", x, depthwise, **arguments)
    between = ops.depthwise_conv2d(x, depthwise, **arguments)
    assert_equal(steps, between, x, depthwise)
    assert_columns(steps, x, drawn, **arguments)
    assert_rows(steps, matrices.conv2d_matrix(depthwise, drawn.size, **arguments, groups=drawn.channels))

    first, second = trace("separable_conv2d", x, depthwise, pointwise, bias, **arguments).stages
    assert_equal(first, between, x, depthwise)
    y = ops.separable_conv2d(x, depthwise, pointwise, bias, **arguments)
    assert_equal(second, y, between, pointwise)

    grad = drawn.whole_numbers(*y.shape)
    back = trace("separable_conv2d_backward", grad, x, depthwise, pointwise, **arguments).stages
    grad_x, grad_depthwise, grad_pointwise, _ = ops.separable_conv2d_backward(
        grad, x, depthwise, pointwise, **arguments
    )
    for stage, expected in zip(back[1:], (grad_pointwise, grad_x, grad_depthwise), strict=True):
        np.testing.assert_array_equal(added_up(stage, expected.shape), expected)

    grad = drawn.whole_numbers(*between.shape)
    gradients = ops.depthwise_conv2d_backward(grad, x, depthwise, **arguments)
    for stage, expected in zip(
        trace("depthwise_conv2d_backward", grad, x, depthwise, **arguments).stages, gradients[:2], strict=True
    ):
        np.testing.assert_array_equal(added_up(stage, expected.shape), expected)


@settings(max_examples=20)
@given(transposed_convolutions())
def test_transposed_convolution(drawn_and_extra):
    """Stamping, collecting and convolving the zero-stuffed input are the same numbers."""
    drawn, extra = drawn_and_extra
    arguments = {**drawn.arguments, "output_padding": extra}
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    weight = drawn.whole_numbers(drawn.channels, drawn.out_channels // drawn.groups, *drawn.kernel)
    bias = drawn.whole_numbers(drawn.out_channels)
    y = ops.conv_transpose2d(x, weight, **arguments)
    matrix = matrices.conv_transpose2d_matrix(weight, drawn.size, **arguments)
    for view in ("scatter", "gather"):
        steps = trace("conv_transpose2d", x, weight, **arguments, view=view)
        assert_equal(steps, y, x, weight)
        assert_rows(steps, matrix)

    stuffed = trace("conv_transpose2d", x, weight, **arguments, view="zero_stuffed")
    assert_equal(stuffed, y, stuffed.source, stuffed.weight)
    nails = stuffed.source[:, :, :: drawn.stride[0], :: drawn.stride[1]]
    np.testing.assert_array_equal(nails, x)
    assert np.count_nonzero(stuffed.source) == np.count_nonzero(x)
    positions = np.arange(stuffed.source[0].size).reshape(stuffed.source.shape[1:])
    seen = positions[:, :: drawn.stride[0], :: drawn.stride[1]].ravel()
    np.testing.assert_array_equal(stuffed.matrix().toarray()[:, seen], matrix.toarray())
    for view in ("scatter", "gather", "zero_stuffed"):
        biased = trace("conv_transpose2d", x, weight, bias, **arguments, view=view)
        np.testing.assert_array_equal(biased.result, ops.conv_transpose2d(x, weight, bias, **arguments))

    grad = drawn.whole_numbers(*y.shape)
    gradients = ops.conv_transpose2d_backward(grad, x, weight, **arguments)
    stages = trace("conv_transpose2d_backward", grad, x, weight, **arguments).stages
    for stage, expected in zip(stages, gradients[:2], strict=True):
        np.testing.assert_array_equal(added_up(stage, expected.shape), expected)
    assert_rows(stages[0], matrix.T)


@settings(max_examples=20)
@given(pools(dilations=pairs))
def test_max_pooling(pool):
    drawn, ceil_mode = pool
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "dilation": drawn.dilation, "ceil_mode": ceil_mode}
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    try:
        y, indices = ops.max_pool2d(x, drawn.kernel, **arguments)
    except ValueError:
        with pytest.raises(ValueError, match="padding must leave every window a real pixel"):
            trace("max_pool2d", x, drawn.kernel, **arguments)
        return
    steps = trace("max_pool2d", x, drawn.kernel, **arguments)
    assert_equal(steps, y, x)
    selections = [matrices.max_pool2d_matrix(image, drawn.size) for image in indices]
    assert_rows(steps, *selections)
    for step in steps:
        assert step.winner == indices[step.position]
        assert step.value == max(step.candidate_values) == max(x[index] for index in step.candidates)
        assert step.column == step.position[2] * y.shape[3] + step.position[3]
    if not ceil_mode:
        columns = ops.im2col(x, drawn.kernel, stride=drawn.stride, padding=drawn.padding, dilation=drawn.dilation)
        area = drawn.kernel[0] * drawn.kernel[1]
        for step in steps:
            n, c = step.position[:2]
            taps = columns[n, c * area : (c + 1) * area, step.column]
            assert set(step.candidate_values) <= set(taps)
            assert np.count_nonzero(taps) == np.count_nonzero(step.candidate_values)

    grad = drawn.whole_numbers(*y.shape)
    grad_x = ops.max_pool2d_backward(grad, indices, drawn.size)
    for view in ("scatter", "gather"):
        back = trace("max_pool2d_backward", grad, indices, drawn.size, view=view)
        assert_equal(back, grad_x, grad)
        assert_rows(back, *(selection.T for selection in selections))


@settings(max_examples=20)
@given(pools(), st.booleans(), views)
def test_average_pooling(pool, count_include_pad, view):
    drawn, ceil_mode = pool
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "ceil_mode": ceil_mode}
    arguments["count_include_pad"] = count_include_pad
    x = drawn.whole_numbers(drawn.batch, drawn.channels, *drawn.size)
    matrix = matrices.avg_pool2d_matrix(drawn.channels, drawn.size, drawn.kernel, **arguments)
    steps = trace("avg_pool2d", x, drawn.kernel, **arguments, view=view)
    y = ops.avg_pool2d(x, drawn.kernel, **arguments, engine="loops")
    assert_equal(steps, y, x)
    assert_rows(steps, matrix)
    if view == "gather" and not ceil_mode:
        assert_columns(steps, x, drawn, drawn.stride, drawn.padding, 1)

    grad = drawn.whole_numbers(*y.shape)
    back = trace("avg_pool2d_backward", grad, drawn.size, drawn.kernel, **arguments, view=view)
    grad_x = ops.avg_pool2d_backward(grad, drawn.size, drawn.kernel, **arguments, engine="loops")
    assert_equal(back, grad_x, grad)
    assert_rows(back, matrix.T)


@settings(max_examples=20)
@given(st.tuples(*[st.integers(1, 4)] * 4), st.booleans(), views, st.integers(0, 1000))
def test_resizing(sizes, align_corners, view, seed):
    size, scale = sizes[:2], sizes[2:]
    enlarged = size[0] * scale[0], size[1] * scale[1]
    rng = np.random.default_rng(seed)
    x, grad = (rng.integers(-4, 5, (2, 2, *of)).astype(float) for of in (size, enlarged))
    for name in ("nearest_unpool2d", "bed_of_nails_unpool2d"):
        matrix = getattr(matrices, f"{name}_matrix")(2, size, scale)
        steps = trace(name, x, scale, view=view)
        assert_equal(steps, getattr(ops, name)(x, scale), x)
        assert_rows(steps, matrix)
        back = trace(f"{name}_backward", grad, scale, view=view)
        assert_equal(back, getattr(ops, f"{name}_backward")(grad, scale), grad)
        assert_rows(back, matrix.T)

    output_size = scale[1] + 2, scale[0] + 3
    grad = rng.integers(-4, 5, (2, 2, *output_size)).astype(float)
    corners = {"align_corners": align_corners}
    matrix = matrices.resize_bilinear_matrix(2, size, output_size, **corners)
    steps = trace("resize_bilinear", x, output_size, **corners, view=view)
    assert_equal(steps, ops.resize_bilinear(x, output_size, **corners, engine="loops"), x)
    assert_rows(steps, matrix)
    back = trace("resize_bilinear_backward", grad, size, **corners, view=view)
    assert_equal(back, ops.resize_bilinear_backward(grad, size, **corners, engine="loops"), grad)
    assert_rows(back, matrix.T)


@settings(max_examples=20)
@given(st.tuples(*[st.integers(1, 4)] * 2), views, st.integers(0, 1000))
def test_max_unpooling(size, view, seed):
    rng = np.random.default_rng(seed)
    x, large = rng.integers(-4, 5, (2, 3, *size)).astype(float), (size[0] * 2, size[1] * 3)
    grad = rng.integers(-4, 5, (2, 3, *large)).astype(float)
    _, indices = ops.max_pool2d(grad, (2, 3))
    steps = trace("max_unpool2d", x, indices, large, view=view)
    assert_equal(steps, ops.max_unpool2d(x, indices, large), x)
    selections = [matrices.max_pool2d_matrix(image, large) for image in indices]
    assert_rows(steps, *(selection.T for selection in selections))
    back = trace("max_unpool2d_backward", grad, indices, view=view)
    assert_equal(back, ops.max_unpool2d_backward(grad, indices), grad)
    assert_rows(back, *selections)


@settings(max_examples=20)
@given(transposed_convolutions())
def test_deconvolution(drawn_and_extra):
    """Each step is an equation: the solution convolved again, beside what it should give."""
    drawn, _ = drawn_and_extra
    arguments = {name: value for name, value in drawn.arguments.items() if name != "groups"}
    try:
        x = ops.deconvolve2d(drawn.whole_numbers(*drawn.size), drawn.whole_numbers(*drawn.kernel), **arguments)
    except ValueError:
        return
    y, kernel = drawn.whole_numbers(*drawn.size), drawn.whole_numbers(*drawn.kernel)
    steps = trace("deconvolve2d", y, kernel, **arguments)
    again = ops.conv2d(x[None, None], kernel[None, None], **arguments, engine="loops")
    if again.shape[2:] == y.shape:  # "same" pads otherwise where the stride outgrows the kernel
        assert_equal(steps, again, x[None, None], kernel[None, None])
        assert_rows(steps, matrices.conv2d_matrix(kernel[None, None], x.shape, **arguments))
    assert [step.wanted for step in steps] == y.ravel().tolist()


@settings(max_examples=20)
@given(st.sampled_from(["mean", "sum"]), st.booleans(), st.integers(0, 1000))
def test_cross_entropy(reduction, weighted, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 3, 2, 4))
    labels = rng.choice([0, 1, 2, 255], (2, 2, 4))
    arguments = {"class_weight": rng.random(3) if weighted else None, "reduction": reduction}
    with use_engine("loops"):
        steps = trace("cross_entropy2d", logits, labels, **arguments)
        losses = ops.cross_entropy2d(logits, labels, **{**arguments, "reduction": "none"})
        gradient = ops.cross_entropy2d_backward(logits, labels, **arguments)
        assert steps.result == ops.cross_entropy2d(logits, labels, **arguments)
    for step in steps:
        n, h, w = step.position
        assert step.value == losses[step.position]
        np.testing.assert_array_equal(step.gradient, gradient[n, :, h, w])
        assert step.label == (None if labels[step.position] == 255 else labels[step.position])
        if step.label is not None:
            raised = np.exp(step.logits)
            np.testing.assert_allclose(step.probabilities, raised / raised.sum())
            assert step.value == pytest.approx(-step.weight * np.log(step.probabilities[step.label]))
            true = np.eye(3)[step.label]
            np.testing.assert_allclose(step.gradient, step.share * (step.probabilities - true), atol=1e-15)
    back = trace("cross_entropy2d_backward", logits, labels, **arguments)
    np.testing.assert_allclose(back.result, gradient)


def test_any_numbers_equal_the_definition_to_the_last_bit():
    """The loops engine adds in the order of the taps, and so do the traces, float32 included."""
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 5, 4), (2, 3, 3, 2), (2,)))
    steps = trace("conv2d", x, weight, bias, padding=1, dilation=(1, 2))
    assert steps.result.dtype == np.float32
    np.testing.assert_array_equal(steps.result, ops.conv2d(x, weight, bias, padding=1, dilation=(1, 2), engine="loops"))
    assert [step.value for step in steps] == steps.result.ravel().tolist()


def test_what_is_not_finite_goes_through_without_warnings():
    x = np.array([[[[np.inf, 1.0, -np.inf, np.nan, 2.0, 3.0]]]])
    weight, bias = np.array([[[[1.0, 1.0, 1.0]]]]), np.array([np.inf])
    steps = trace("conv2d", x, weight, bias)
    np.testing.assert_array_equal(steps.result, ops.conv2d(x, weight, bias, engine="loops"))
    assert [str(step.value) for step in steps] == ["nan"] * 4
    assert "inf*1 + 1*1 + -inf*1 + bias inf = nan" in str(steps[0])


def test_every_operation_is_named_and_called_as_in_ops():
    for name, function in OPERATIONS.items():
        ours = list(inspect.signature(function).parameters)
        theirs = list(inspect.signature(getattr(ops, name)).parameters)
        assert [p for p in ours if p != "view"] == [p for p in theirs if p != "engine"], name


def test_what_cannot_be_traced_is_refused():
    x, weight = np.ones((1, 1, 3, 4)), np.ones((1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"operation must be one of .*'conv2d'.*got 'convolve'"):
        trace("convolve", x)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        trace("conv2d", x, weight, stride=0)
    with pytest.raises(ValueError, match="view must be one of"):
        trace("conv2d", x, weight, view="zero_stuffed")
    with pytest.raises(ValueError, match="at least one image"):
        trace("conv2d", x[:0], weight)
    with pytest.raises(IndexError, match=r"step must lie in 0 \.\.\. 5, got 6"):
        trace("conv2d", x, weight)[6]
    with pytest.raises(IndexError, match="got -11"):
        trace("conv2d_backward", np.ones((1, 1, 2, 3)), x, weight)[-11]


def test_what_the_target_looks_like_on_the_way():
    x, weight = np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[1.0, 1.0]]]])
    gathered = trace("conv2d", x, weight, np.array([10.0]))
    assert gathered.after(1).ravel().tolist() == [13, 0]
    scattered = trace("conv_transpose2d", x, weight, np.array([10.0]))
    assert [scattered.after(n).ravel().tolist() for n in range(4)] == [
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 3, 2, 0],
        [11, 13, 15, 13],
    ]


SENTENCES = [
    (
        trace("conv2d", np.arange(6.0).reshape(1, 1, 2, 3), np.array([[[[1.0, -1.0]]]]), np.array([2.0]))[0],
        "Output (0, 0, 0, 0) looks through the 1x2 window whose top left is at row 0, column 0 of the input: "
        "0*1 + 1*(-1) + bias 2 = 1. It is column 0 of the im2col matrix and row 0 of the sparse matrix.",
    ),
    (
        trace("conv2d", np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)), padding=1, dilation=2)[0],
        "Output (0, 0, 0, 0) looks through the 2x2 window with dilation 2 whose top left is at row -1, column -1 of "
        "the input (outside): 4*1 = 4 (3 of 4 taps on padding). It is column 0 of the im2col matrix and row 0 of the "
        "sparse matrix.",
    ),
    (
        trace("conv_transpose2d", np.array([[[[1.0, 2.0]]]]), np.array([[[[3.0, 1.0]]]]))[1],
        "Input (0, 0, 0, 1) = 2 is sent to the output through the 1x2 window whose top left is at row 0, column 1 of "
        "the output: += 2*3 at (0, 0, 0, 1), now 7; += 2*1 at (0, 0, 0, 2), now 2. Where something stands already, += "
        "adds to it. It is column 1 of the im2col matrix and column 1 of the sparse matrix (row 1 of its transpose).",
    ),
    (
        trace("max_pool2d", np.array([[[[1.0, 5.0, 5.0]]]]), (1, 3))[0],
        "Output (0, 0, 0, 0) looks through the 1x3 window whose top left is at row 0, column 0 of the input: "
        "max(1, 5, 5) = 5. The winner is input (0, 0, 0, 1), index 1, the first of 2 equal pixels. It is column 0 of "
        "the im2col matrix and row 0 of the sparse matrix.",
    ),
    (
        trace("bed_of_nails_unpool2d", np.array([[[[7.0]]]]), (1, 2))[0],
        "Output (0, 0, 0, 0) is a copy of input (0, 0, 0, 0): 7. It is row 0 of the sparse matrix.",
    ),
    (
        trace("bed_of_nails_unpool2d", np.array([[[[7.0]]]]), (1, 2))[1],
        "Nothing of the input reaches output (0, 0, 0, 1): it stays 0. It is row 1 of the sparse matrix.",
    ),
    (
        trace("conv2d_grad_weight", np.array([[[[1.0, 2.0]]]]), np.array([[[[3.0, 4.0, 5.0]]]]), (1, 2))[1],
        "Gradient of the kernel (0, 0, 0, 1) collects 2 products: 4*1 + 5*2 = 14. It is row 0 of the gradient of the "
        "output, as a matrix, times row 1 of the im2col matrix of the input.",
    ),
    (
        trace("cross_entropy2d", np.log([1.0, 3.0]).reshape(1, 2, 1, 1), np.array([[[0]]]))[0],
        "Pixel (0, 0, 0) has the logits (0, 1.099); softmax makes them the probabilities (0.25, 0.75). The true class "
        "is 0: 1 * -log(0.25) = 1.386.",
    ),
]


@pytest.mark.parametrize(("step", "sentence"), SENTENCES)
def test_a_step_is_told_in_plain_words(step, sentence):
    assert str(step) == sentence
