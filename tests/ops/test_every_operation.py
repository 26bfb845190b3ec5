"""What every operation owes, tried on every example, on every engine. A new operation is tested by listing examples."""

import itertools

import definitions
import numpy as np
import pytest
from calls import (
    BAD_EXAMPLES,
    EXAMPLES,
    OPERATIONS,
    arrays_in,
    backward,
    call,
    draw,
    draw_integers,
    engines_of,
    forward,
    generator,
    has_backward,
    named,
    output,
    with_engines,
)

from npseg import engines, matrices

DIFFERENTIABLE = [example for example in EXAMPLES if has_backward(example.operation)]
NOT_LINEAR = {"relu", "relu6", "max_pool2d", "local_response_norm", "softmax", "log_softmax", "segmentation_map"}
LINEAR = [example for example in DIFFERENTIABLE if example.operation not in NOT_LINEAR]
IN_BATCHES = [example for example in EXAMPLES if {"x", "grad", "columns", "logits"} & set(example.shapes)]
BY_IMAGE = [example for example in IN_BATCHES if example.operation != "conv2d_grad_weight"]
NOT_EMPTY = [example for example in EXAMPLES if all(0 not in shape for shape in example.shapes.values())]
WITH_MATRIX = [e for e in NOT_EMPTY if has_backward(e.operation) and hasattr(matrices, f"{e.operation}_matrix")]

# These need arguments that no example can draw: indices, labels, statistics, a mask. They have test files of their own.
TESTED_APART = {
    "batch_norm2d",
    "cross_entropy2d",
    "cross_entropy2d_backward",
    "dropout",
    "max_unpool2d",
}


def per_example(examples):
    return pytest.mark.parametrize("example", examples, ids=named)


def per_engine(examples):
    cases = with_engines(examples)
    return pytest.mark.parametrize(
        ("example", "engine"), cases, ids=[f"{named(example)}-{engine}" for example, engine in cases]
    )


def random_like(array, *key):
    return generator(*key).standard_normal(array.shape).astype(array.dtype)


def batch_arguments(example):
    """The arrays with a batch axis; weights and biases have none."""
    return [name for name in example.shapes if name in ("x", "grad", "columns", "logits")]


def test_no_operation_is_left_out():
    tried = {example.operation for example in EXAMPLES} | TESTED_APART
    assert {name for name in OPERATIONS if name.removesuffix("_backward") not in tried} == set()


@per_engine(EXAMPLES)
def test_equals_its_definition(example, engine):
    arrays = draw(example)
    expected = getattr(definitions, example.operation)(**arrays, **example.arguments)
    result = forward(example, arrays, engine)
    assert output(result).shape == output(expected).shape
    np.testing.assert_allclose(output(result), output(expected), rtol=1e-9, atol=1e-11)
    if isinstance(expected, tuple):
        np.testing.assert_array_equal(result[1], expected[1])


@per_engine(LINEAR)
def test_backward_is_the_adjoint(example, engine):
    arrays = {**draw(example)}
    if "bias" in arrays:
        arrays["bias"] = np.zeros_like(arrays["bias"])
    result = forward(example, arrays, engine)
    grad = random_like(output(result), named(example))
    gradient = backward(example, arrays, result, grad, engine)["x"]
    assert gradient.shape == arrays["x"].shape
    np.testing.assert_allclose(np.sum(output(result) * grad), np.sum(arrays["x"] * gradient), rtol=1e-10, atol=1e-12)


@per_engine(DIFFERENTIABLE)
def test_backward_equals_central_differences(example, engine):
    arrays, step = draw(example), 1e-6
    result = forward(example, arrays, engine)
    cotangent = random_like(output(result), named(example), "cotangent")
    gradients = backward(example, arrays, result, cotangent, engine)
    assert list(gradients) == list(arrays)
    for name, array in arrays.items():
        direction = random_like(array, named(example), name)
        ahead, behind = (
            output(forward(example, {**arrays, name: array + sign * step * direction}, engine)) for sign in (1, -1)
        )
        measured = np.sum((ahead - behind) * cotangent) / (2 * step)
        computed = np.sum(gradients[name] * direction)
        assert gradients[name].shape == array.shape
        assert computed == pytest.approx(measured, rel=1e-6, abs=1e-7), f"gradient of {name}"


def matrix_of(example, arrays, result):
    """The operation's own matrix from `npseg.matrices`."""
    function = getattr(matrices, f"{example.operation}_matrix")
    input_size, arguments = arrays["x"].shape[2:], example.arguments
    if example.operation == "max_pool2d":
        return function(result[1][0], input_size)
    if "weight" in arrays:
        return function(arrays["weight"], input_size, **arguments)
    return function(arrays["x"].shape[1], input_size, **arguments)


@per_example(WITH_MATRIX)
def test_matrix_and_its_transpose(example):
    arrays = draw(example)
    if "bias" in arrays:
        arrays["bias"] = np.zeros_like(arrays["bias"])
    result = forward(example, arrays)
    matrix = matrix_of(example, arrays, result)
    y, x = output(result), arrays["x"]
    grad = random_like(y, named(example))
    grad_x = backward(example, arrays, result, grad)["x"]
    assert matrix.shape == (y[0].size, x[0].size)
    np.testing.assert_allclose(matrix @ x[0].ravel(), y[0].ravel(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix.T @ grad[0].ravel(), grad_x[0].ravel(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@per_engine(EXAMPLES)
def test_dtype_is_kept(example, engine, dtype):
    arrays = draw(example, dtype)
    result = forward(example, arrays, engine)
    assert output(result).dtype == (np.int64 if example.operation == "segmentation_map" else dtype)
    if has_backward(example.operation):
        gradients = backward(example, arrays, result, output(result), engine)
        assert {gradient.dtype for gradient in gradients.values()} == {np.dtype(dtype)}


@per_engine(EXAMPLES)
def test_float32_is_as_exact_as_float32_can_be(example, engine):
    arrays = draw(example, np.float32)
    exact = forward(example, {name: array.astype(np.float64) for name, array in arrays.items()}, engine)
    np.testing.assert_allclose(output(forward(example, arrays, engine)), output(exact), rtol=2e-5, atol=2e-5)


@per_engine(EXAMPLES)
def test_arguments_are_not_modified_and_not_shared(example, engine):
    arrays = draw(example)
    for array in arrays.values():
        array.flags.writeable = False
    copies = {name: array.copy() for name, array in arrays.items()}
    result = forward(example, arrays, engine)
    made = arrays_in(result)
    if has_backward(example.operation):
        grad = output(result).copy()
        grad.flags.writeable = False
        made += backward(example, arrays, result, grad, engine).values()
        assert not any(np.shares_memory(grad, array) for array in made)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, copies[name])
        assert not any(np.shares_memory(array, other) for other in made)


@per_engine(EXAMPLES)
def test_results_keep_no_more_memory_than_they_need(example, engine):
    arrays = draw(example)
    result = forward(example, arrays, engine)
    made = arrays_in(result)
    if has_backward(example.operation):
        made += backward(example, arrays, result, output(result), engine).values()
    for array in made:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        assert owner.nbytes <= array.nbytes
        assert array.flags.writeable


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "negative strides": lambda array: np.flip(np.flip(array).copy()),
    "slice": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "unaligned": lambda array: (
        np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@per_engine(EXAMPLES)
def test_any_memory_layout_gives_the_same(example, engine, layout):
    arrays = draw_integers(example)
    relaid = {name: LAYOUTS[layout](array) for name, array in arrays.items()}
    plain, other = forward(example, arrays, engine), forward(example, relaid, engine)
    np.testing.assert_allclose(output(other), output(plain), rtol=1e-14, atol=1e-14)
    assert output(other).dtype.isnative
    if has_backward(example.operation):
        grad = np.round(output(plain))
        gradients = backward(example, arrays, plain, grad, engine)
        for name, gradient in backward(example, relaid, plain, LAYOUTS[layout](grad), engine).items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-14, atol=1e-14)
            assert gradient.dtype.isnative


@per_engine(NOT_EMPTY)
def test_broadcast_arrays_are_like_copies(example, engine):
    arrays = {name: np.broadcast_to(array.ravel()[:1], array.shape) for name, array in draw(example).items()}
    copies = {name: array.copy() for name, array in arrays.items()}
    one, other = forward(example, arrays, engine), forward(example, copies, engine)
    np.testing.assert_allclose(output(one), output(other), rtol=1e-12, atol=1e-12)
    if has_backward(example.operation):
        grad = np.broadcast_to(np.float64(0.5), output(one).shape)
        gradients = backward(example, copies, other, grad.copy(), engine)
        for name, gradient in backward(example, arrays, one, grad, engine).items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-12, atol=1e-12)


@per_engine([example for example in BY_IMAGE if example in NOT_EMPTY])
def test_a_batch_is_its_images_one_by_one(example, engine):
    arrays = draw(example)
    names = batch_arguments(example)
    together = forward(example, arrays, engine)
    singly = [
        forward(example, {**arrays, **{name: arrays[name][n : n + 1] for name in names}}, engine)
        for n in range(len(arrays[names[0]]))
    ]
    joined = np.concatenate([output(result) for result in singly])
    np.testing.assert_allclose(output(together), joined, rtol=1e-12, atol=1e-12)


@per_engine(IN_BATCHES)
def test_an_empty_batch_gives_the_empty_result(example, engine):
    arrays = draw(example)
    empty = {**arrays, **{name: arrays[name][:0] for name in batch_arguments(example)}}
    result, full = forward(example, empty, engine), forward(example, arrays, engine)
    if example.operation == "conv2d_grad_weight":
        np.testing.assert_array_equal(result, np.zeros_like(full))
        return
    assert output(result).shape == (0, *output(full).shape[1:])
    assert output(result).dtype == output(full).dtype
    if has_backward(example.operation):
        gradients = backward(example, empty, result, output(result), engine)
        assert all(gradient.shape == empty[name].shape for name, gradient in gradients.items())
        assert all(np.all(gradient == 0) for gradient in gradients.values())


@per_example([example for example in DIFFERENTIABLE if len(engines_of(example.operation)) > 1])
def test_forward_and_backward_may_run_on_different_engines(example):
    arrays = draw(example)
    grad = random_like(output(forward(example, arrays)), named(example))
    expected = backward(example, arrays, forward(example, arrays, "loops"), grad, "loops")
    for one, other in itertools.permutations(engines(), 2):
        gradients = backward(example, arrays, forward(example, arrays, one), grad, other)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, expected[name], rtol=1e-12, atol=1e-12)


EXACT = {"conv2d", "conv2d_grad_input", "conv2d_grad_weight", "depthwise_conv2d", "separable_conv2d"}
EXACT |= {"conv_transpose2d", "max_pool2d", "nearest_unpool2d", "bed_of_nails_unpool2d"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@per_example([example for example in EXAMPLES if example.operation in EXACT])
def test_engines_agree_bit_for_bit_on_small_whole_numbers(example, dtype):
    arrays = draw_integers(example, dtype)
    expected = forward(example, arrays, "loops")
    grad = generator(named(example)).integers(-4, 4, output(expected).shape).astype(dtype)
    for engine in engines():
        result = forward(example, arrays, engine)
        for ours, theirs in zip(arrays_in(result), arrays_in(expected), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if has_backward(example.operation):
            expected_gradients = backward(example, arrays, expected, grad, "loops")
            for name, gradient in backward(example, arrays, result, grad, engine).items():
                np.testing.assert_array_equal(gradient, expected_gradients[name])


@per_engine(EXAMPLES)
def test_nothing_warns_whatever_the_numbers(example, engine):
    """pytest turns warnings into errors; NumPy is told to raise as well."""
    rng = generator(named(example), "extreme")
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        extremes = np.array([np.nan, np.inf, -np.inf, info.max, -info.max, info.smallest_subnormal, 0, -0.0, 1], dtype)
        arrays = {name: rng.choice(extremes, shape) for name, shape in example.shapes.items()}
        with np.errstate(all="raise"):
            result = forward(example, arrays, engine)
            if has_backward(example.operation):
                backward(example, arrays, result, rng.choice(extremes, output(result).shape), engine)


@pytest.mark.parametrize("example", BAD_EXAMPLES, ids=named)
def test_bad_input_is_refused_by_name(example):
    arrays = draw(example)
    with pytest.raises(example.error, match=rf"\b{example.blames}\b") as caught:
        call(example.operation, **{"engine": None, **arrays, **example.arguments})
    message = str(caught.value)
    assert "got" in message or "too much memory" in message
