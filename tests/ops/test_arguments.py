"""Every argument of every operation: what it takes, what it refuses, and that the error names it."""

import inspect

import numpy as np
import pytest
from calls import EXAMPLES, OPERATIONS, arrays_in, call, draw, forward, named, output, takes_engine, working_calls

from npseg import engines, matrices

SIZES = {
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "output_padding",
    "groups",
    "scale",
    "input_size",
    "output_size",
    "size",
    "offset",
}
NUMBERS = {"alpha", "beta", "k", "p", "momentum", "eps", "regularization"}
FLAGS = {"ceil_mode", "count_include_pad", "align_corners", "training"}
CALLS = working_calls()


def arguments_of(kinds):
    """(operation, parameter) for every parameter of these names that is not an array."""
    return [
        pytest.param(operation, name, id=f"{operation}-{name}")
        for operation, function in OPERATIONS.items()
        for name in inspect.signature(function).parameters
        if name in kinds
        and (name != "size" or "local_response" not in operation)  # a number of channels there
        and not isinstance(CALLS[operation].get(name), np.ndarray)
    ]


def float_arrays():
    return [
        pytest.param(operation, name, id=f"{operation}-{name}")
        for operation, arguments in CALLS.items()
        for name, value in arguments.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    ]


def try_with(operation, name, value):
    return call(operation, **{"engine": None, **CALLS[operation], name: value})


def assert_refused(operation, name, value, error):
    with pytest.raises(error, match=rf"\b{name}\b") as caught:
        try_with(operation, name, value)
    assert type(caught.value) is error, "neither a subclass nor anything NumPy made of it"
    return str(caught.value)


def test_every_operation_is_called():
    assert set(CALLS) == set(OPERATIONS)
    for operation in CALLS:
        call(operation, **{"engine": None, **CALLS[operation]})


@pytest.mark.parametrize(("operation", "name"), arguments_of(SIZES))
def test_sizes_are_integers(operation, name):
    takes_none = name == "stride" and "pool" in operation
    for wrong in (True, np.True_, 1.0, np.float64(2), np.array([1, 1]), np.array(1), {1, 2}, b"12", 1j):
        assert "got" in assert_refused(operation, name, wrong, TypeError)
    for wrong in ((1, 2.0), [True, 1], (1, None)):
        if name != "groups":
            assert_refused(operation, name, wrong, TypeError)
    if not takes_none:
        assert_refused(operation, name, None, TypeError)
    if name in ("input_size", "output_size", "size"):
        assert_refused(operation, name, 3, TypeError)
    elif name != "padding":
        assert_refused(operation, name, "same", TypeError)


@pytest.mark.parametrize(("operation", "name"), arguments_of(SIZES - {"groups"}))
def test_pairs_are_of_two(operation, name):
    for wrong in ((), (1,), (1, 1, 1), [2, 2, 2, 2]):
        assert_refused(operation, name, wrong, ValueError)


@pytest.mark.parametrize(("operation", "name"), arguments_of(SIZES))
def test_sizes_have_a_least(operation, name):
    least = 0 if name in ("padding", "output_padding", "offset") else 1
    wrong = least - 1
    for value in (wrong, -(10**30)) if name not in ("input_size", "output_size", "size") else ((1, wrong), [wrong, 1]):
        message = assert_refused(operation, name, value, ValueError)
        assert f"at least {least}" in message
        assert str(value if isinstance(value, int) else wrong) in message


@pytest.mark.parametrize(("operation", "name"), arguments_of(SIZES))
def test_sizes_fit_in_64_bits(operation, name):
    single = name not in ("input_size", "output_size", "size")
    for wrong in (2**63, 10**400):
        message = assert_refused(operation, name, wrong if single else (1, wrong), ValueError)
        assert f"at most {2**63 - 1}" in message
    try:  # the largest is no trouble either: it works, or is refused by name
        try_with(operation, name, 2**63 - 1 if single else (2**63 - 1, 2**63 - 1))
    except ValueError as error:
        refusal = str(error)
        assert any(argument in refusal for argument in inspect.signature(OPERATIONS[operation]).parameters)


@pytest.mark.parametrize(("operation", "name"), arguments_of(SIZES))
def test_lists_and_numpy_integers_are_as_good(operation, name):
    if name not in CALLS[operation]:
        value = 1 if name in ("stride", "dilation", "groups") else 0
        if name == "stride" and "pool" in operation:
            value = CALLS[operation]["kernel_size"]
    else:
        value = CALLS[operation][name]
    expected = output(try_with(operation, name, value))

    def convert(item, pair, integer):
        return pair(convert(part, pair, integer) for part in item) if isinstance(item, (tuple, list)) else integer(item)

    if isinstance(value, str):
        np.testing.assert_array_equal(output(try_with(operation, name, np.str_(value))), expected)
        return
    for integer in (int, np.int64, np.uint8, np.int16):
        for pair in (tuple, list):
            result = try_with(operation, name, convert(value, pair, integer))
            np.testing.assert_array_equal(output(result), expected)
    if isinstance(value, int) and name != "groups":
        np.testing.assert_array_equal(output(try_with(operation, name, [value, value])), expected)


@pytest.mark.parametrize(("operation", "name"), arguments_of({"padding"}))
def test_padding_is_spelled_in_one_of_five_ways(operation, name):
    for wrong in ("SAME", "full", "", ((1, 1), (1, 1), (1, 1)), ((1,), (1, 1)), ((1, -1), (0, 0))):
        assert_refused(operation, name, wrong, ValueError)
    for wrong in ((1, (1, 1)), ((1, 1), 1), (1, "same"), ((0, 0.0), (0, 0)), ("same", "same")):
        assert_refused(operation, name, wrong, TypeError)


@pytest.mark.parametrize(("operation", "name"), float_arrays())
def test_arrays_are_float_arrays(operation, name):
    value = CALLS[operation][name]
    for wrong in (
        value.tolist(),
        value.astype(np.float16),
        value.astype(np.longdouble),
        value.astype(np.int64),
        value.astype(np.complex128),
        value.astype(object),
        value > 0,
        np.ma.masked_array(value),
        None if name not in ("bias", "class_weight") else 1.0,
        1.0,
    ):
        assert "got" in assert_refused(operation, name, wrong, TypeError)


@pytest.mark.parametrize(("operation", "name"), float_arrays())
def test_all_arrays_share_one_dtype(operation, name):
    floats = [n for n, v in CALLS[operation].items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
    alone = len(floats) == 1 and "saved" not in CALLS[operation]
    other = CALLS[operation][name].astype(np.float32)
    if alone:
        assert output(try_with(operation, name, other)).dtype in (np.float32, np.int64)
    else:
        assert "float32" in assert_refused(operation, name, other, TypeError)


@pytest.mark.parametrize(("operation", "name"), float_arrays())
def test_arrays_have_their_dimensions_and_none_but_the_batch_is_empty(operation, name):
    value = CALLS[operation][name]
    any_shape = operation in (
        "relu",
        "relu6",
        "softmax",
        "log_softmax",
        "dropout",
        "relu_backward",
        "relu6_backward",
        "dropout_backward",
    )
    if not any_shape:
        for wrong in (value[None], value[..., 0].copy()):
            message = assert_refused(operation, name, wrong, ValueError)
            assert "dimensions" in message or "shape" in message
    for axis in range(value.ndim):
        if axis == 0 and name in ("x", "grad", "logits", "columns", "y", "mask") and operation != "deconvolve2d":
            continue
        empty = np.zeros([0 if a == axis else n for a, n in enumerate(value.shape)])
        assert_refused(operation, name, empty, ValueError)


@pytest.mark.parametrize(("operation", "name"), arguments_of(NUMBERS))
def test_numbers_are_finite_numbers(operation, name):
    for wrong in (True, "0.1", None, 1j, np.array(0.5), [0.5]):
        assert_refused(operation, name, wrong, TypeError)
    for wrong in (np.nan, np.inf, -np.inf, 10**400):
        assert_refused(operation, name, wrong, ValueError)


@pytest.mark.parametrize(("operation", "name"), arguments_of(NUMBERS))
def test_numbers_never_widen_float32(operation, name):
    arguments = {
        n: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for n, v in CALLS[operation].items()
    }
    for number in (np.float64(0.25), np.float32(0.25), 0.25):
        result = call(operation, **{"engine": None, **arguments, name: number})
        assert {array.dtype for array in arrays_in(result)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("operation", "name"), arguments_of(FLAGS))
def test_flags_are_true_or_false(operation, name):
    for wrong in (0, 1, "True", None, 1.0, np.array(True)):
        assert_refused(operation, name, wrong, TypeError)
    for right in (True, False):
        one, other = try_with(operation, name, right), try_with(operation, name, np.bool_(right))
        np.testing.assert_array_equal(output(one), output(other))


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, "indices") for operation in CALLS if "indices" in CALLS[operation]]
)
def test_indices_are_int64(operation, name):
    indices = CALLS[operation][name]
    for wrong in (indices.astype(np.int32), indices.astype(np.uint64), indices.astype(float), indices > 0):
        assert str(wrong.dtype) in assert_refused(operation, name, wrong, TypeError)
    assert_refused(operation, name, indices.tolist(), TypeError)
    for outside in (-1, 10**6):
        wrong = indices.copy()
        wrong[1, 2, 0, 1] = outside
        assert str(outside) in assert_refused(operation, name, wrong, ValueError)
    for wrong in (indices[:1], indices[:, :, :-1] if operation != "max_unpool2d_backward" else indices[:, 1:]):
        assert_refused(operation, name, wrong, ValueError)
    swapped = indices.astype(indices.dtype.newbyteorder())
    expected = output(try_with(operation, name, indices))
    np.testing.assert_array_equal(output(try_with(operation, name, swapped)), expected)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "negative strides": lambda array: np.flip(np.flip(array).copy()),
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_arrays_of_any_layout_are_read_only_to_every_operation(operation, layout):
    """Backward passes and the operations without examples included; running statistics alone may change."""
    arguments = CALLS[operation]
    names = [name for name, value in arguments.items() if isinstance(value, np.ndarray)]

    def run(relay):
        arrays = {name: relay(arguments[name].copy()) for name in names}
        for name, array in arrays.items():
            array.flags.writeable = name.startswith("running")
        parameters = inspect.signature(OPERATIONS[operation]).parameters
        fresh = {"rng": np.random.default_rng(0)} if "rng" in parameters else {}
        made = arrays_in(call(operation, **{**arguments, **arrays, **fresh}))
        for name, array in arrays.items():
            if not name.startswith("running"):
                np.testing.assert_array_equal(array, arguments[name])
            assert not any(np.shares_memory(array, other) for other in made)
        return made

    for relaid, plain in zip(run(LAYOUTS[layout]), run(np.copy), strict=True):
        np.testing.assert_allclose(relaid, plain, rtol=1e-12, atol=1e-12)
        assert relaid.dtype == plain.dtype
        assert relaid.dtype.isnative


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if takes_engine(name)])
def test_engine_is_one_of_the_list(operation):
    for name in engines():
        call(operation, **CALLS[operation], engine=name)
    with pytest.raises(ValueError, match="engine") as caught:
        call(operation, **CALLS[operation], engine="cuda")
    assert all(name in str(caught.value) for name in (*engines(), "cuda"))
    for wrong in (1, True, b"loops", ("loops",)):
        with pytest.raises(TypeError, match="engine"):
            call(operation, **CALLS[operation], engine=wrong)


def test_signatures_are_the_contracts():
    """Names, order, what is keyword-only, and defaults."""
    convolution = "stride=1, padding=0, dilation=1, groups=1, engine=None"
    expected = {
        "im2col": "(x, kernel_size, *, stride=1, padding=0, dilation=1)",
        "col2im": "(columns, input_size, kernel_size, *, stride=1, padding=0, dilation=1)",
        "conv2d": f"(x, weight, bias=None, *, {convolution})",
        "conv2d_backward": f"(grad, x, weight, *, {convolution})",
        "conv2d_grad_input": f"(grad, weight, input_size, *, {convolution})",
        "conv2d_grad_weight": f"(grad, x, kernel_size, *, {convolution})",
        "depthwise_conv2d": "(x, weight, bias=None, *, stride=1, padding=0, dilation=1, engine=None)",
        "depthwise_conv2d_backward": "(grad, x, weight, *, stride=1, padding=0, dilation=1, engine=None)",
        "separable_conv2d": "(x, depthwise_weight, pointwise_weight, bias=None, *, stride=1, padding=0, dilation=1, "
        "engine=None)",
        "separable_conv2d_backward": "(grad, x, depthwise_weight, pointwise_weight, *, stride=1, padding=0, "
        "dilation=1, engine=None)",
        "conv_transpose2d": "(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, "
        "engine=None)",
        "conv_transpose2d_backward": "(grad, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1, "
        "groups=1, engine=None)",
        "max_pool2d": "(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, engine=None)",
        "max_pool2d_backward": "(grad, indices, input_size, *, engine=None)",
        "avg_pool2d": "(x, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True, "
        "engine=None)",
        "avg_pool2d_backward": "(grad, input_size, kernel_size, *, stride=None, padding=0, ceil_mode=False, "
        "count_include_pad=True, engine=None)",
        "global_avg_pool2d": "(x)",
        "global_avg_pool2d_backward": "(grad, input_size)",
        "max_unpool2d": "(x, indices, output_size, *, engine=None)",
        "max_unpool2d_backward": "(grad, indices, *, engine=None)",
        "nearest_unpool2d": "(x, scale, *, engine=None)",
        "nearest_unpool2d_backward": "(grad, scale, *, engine=None)",
        "bed_of_nails_unpool2d": "(x, scale, *, engine=None)",
        "bed_of_nails_unpool2d_backward": "(grad, scale, *, engine=None)",
        "resize_bilinear": "(x, output_size, *, align_corners=False, engine=None)",
        "resize_bilinear_backward": "(grad, input_size, *, align_corners=False, engine=None)",
        "deconvolve2d": "(y, kernel, *, stride=1, padding=0, dilation=1, regularization=0.0)",
        "crop2d": "(x, size, offset)",
        "crop2d_backward": "(grad, input_size, offset)",
        "linear": "(x, weight, bias=None)",
        "linear_backward": "(grad, x, weight)",
        "relu": "(x)",
        "relu6": "(x)",
        "relu_backward": "(grad, y)",
        "relu6_backward": "(grad, y)",
        "batch_norm2d": "(x, gamma, beta, running_mean, running_var, *, training, momentum=0.1, eps=1e-05)",
        "batch_norm2d_backward": "(grad, x, gamma, saved)",
        "local_response_norm": "(x, size, *, alpha=0.0001, beta=0.75, k=1.0)",
        "local_response_norm_backward": "(grad, x, size, *, alpha=0.0001, beta=0.75, k=1.0)",
        "dropout": "(x, p, rng)",
        "dropout_backward": "(grad, mask)",
        "softmax": "(x, axis=1)",
        "log_softmax": "(x, axis=1)",
        "cross_entropy2d": "(logits, labels, *, ignore_index=255, class_weight=None, reduction='mean')",
        "cross_entropy2d_backward": "(logits, labels, *, ignore_index=255, class_weight=None, reduction='mean')",
        "segmentation_map": "(logits)",
    }
    assert {name: bare_signature(function) for name, function in OPERATIONS.items()} == expected
    of_matrices = {
        "conv2d_matrix": "(weight, input_size, *, stride=1, padding=0, dilation=1, groups=1)",
        "conv_transpose2d_matrix": "(weight, input_size, *, stride=1, padding=0, output_padding=0, dilation=1, "
        "groups=1)",
        "avg_pool2d_matrix": "(channels, input_size, kernel_size, *, stride=None, padding=0, ceil_mode=False, "
        "count_include_pad=True, dtype=float64)",
        "max_pool2d_matrix": "(indices, input_size, *, dtype=float64)",
        "nearest_unpool2d_matrix": "(channels, input_size, scale, *, dtype=float64)",
        "bed_of_nails_unpool2d_matrix": "(channels, input_size, scale, *, dtype=float64)",
        "resize_bilinear_matrix": "(channels, input_size, output_size, *, align_corners=False, dtype=float64)",
    }
    assert {name: bare_signature(getattr(matrices, name)) for name in of_matrices} == of_matrices


def bare_signature(function):
    """The signature without annotations."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    bare = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return str(bare).replace("<class 'numpy.float64'>", "float64")


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "weight" in e.shapes and "x" in e.shapes], ids=named)
def test_bias_may_be_given_by_place(example):
    arrays = draw(example)
    positional = OPERATIONS[example.operation](*arrays.values(), **example.arguments)
    np.testing.assert_array_equal(positional, forward(example, arrays))
