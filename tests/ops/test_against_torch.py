"""The same numbers as PyTorch, forward and backward, where PyTorch is installed."""

import numpy as np
import pytest
from calls import EXAMPLES, arrays_in, backward, draw, forward, has_backward, named, output
from definitions import both, padding_sides
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import convolutions, pairs, pools, transposed_convolutions

from npseg import ops

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def tensor(array):
    return torch.tensor(np.ascontiguousarray(array), requires_grad=array.dtype.kind == "f")


def pad(x, sides, value=0.0):
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    sides = padding_sides(padding, x.shape[2:], weight.shape[2:], both(stride), both(dilation))
    return functional.conv2d(pad(x, sides), weight, bias, both(stride), 0, both(dilation), groups)


def depthwise_conv2d(x, weight, bias=None, **arguments):
    return conv2d(x, weight, bias, groups=x.shape[1], **arguments)


def separable_conv2d(x, depthwise_weight, pointwise_weight, bias=None, **arguments):
    return functional.conv2d(depthwise_conv2d(x, depthwise_weight, **arguments), pointwise_weight, bias)


def conv_transpose2d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """PyTorch crops evenly; uneven crops and appended zeros are a (negative) padding of the uncropped result."""
    stride, dilation, extra = both(stride), both(dilation), both(output_padding)
    full = functional.conv_transpose2d(x, weight, None, stride, 0, 0, groups, dilation)
    if padding == "same":
        surplus = [n - m * s for n, m, s in zip(full.shape[2:], x.shape[2:], stride, strict=True)]
        sides = [(max(0, n) // 2, n - max(0, n) // 2) for n in surplus]
    else:
        sides = padding_sides(padding, None, None, None, None)
    y = pad(full, [(-first, extra - last) for (first, last), extra in zip(sides, extra, strict=True)])
    return y if bias is None else y + bias[:, None, None]


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1):
    sides = padding_sides(padding, x.shape[2:], both(kernel_size), both(stride), both(dilation))
    return functional.unfold(pad(x, sides), both(kernel_size), both(dilation), 0, both(stride))


def avg_pool2d(x, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    stride = kernel_size if stride is None else stride
    if isinstance(padding, (int, tuple)) and np.ndim(padding) < 2 and max(both(padding)) <= min(both(kernel_size)) // 2:
        return functional.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad)
    assert not ceil_mode
    assert count_include_pad
    sides = padding_sides(padding, x.shape[2:], both(kernel_size), both(stride), (1, 1))
    return functional.avg_pool2d(pad(x, sides), kernel_size, stride)


def max_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
    stride = kernel_size if stride is None else stride
    if isinstance(padding, (int, tuple)) and np.ndim(padding) < 2:
        return functional.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)
    assert not ceil_mode
    height, width = x.shape[2:]
    sides = padding_sides(padding, (height, width), both(kernel_size), both(stride), both(dilation))
    padded = pad(x, sides, value=-np.inf)
    y, indices = functional.max_pool2d(padded, kernel_size, stride, 0, dilation, return_indices=True)
    row = torch.div(indices, padded.shape[3], rounding_mode="floor") - sides[0][0]
    return y, row * width + indices % padded.shape[3] - sides[1][0]


def crop2d(x, size, offset):
    top, left = both(offset)
    return x[:, :, top : top + size[0], left : left + size[1]]


def resize_bilinear(x, output_size, *, align_corners=False):
    return functional.interpolate(x, output_size, mode="bilinear", align_corners=align_corners)


def bed_of_nails_unpool2d(x, scale):
    nail = torch.zeros(1, 1, *both(scale), dtype=x.dtype)
    nail[..., 0, 0] = 1
    return functional.conv_transpose2d(x, nail.repeat(x.shape[1], 1, 1, 1), stride=both(scale), groups=x.shape[1])


TORCH = {
    "avg_pool2d": avg_pool2d,
    "bed_of_nails_unpool2d": bed_of_nails_unpool2d,
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "crop2d": crop2d,
    "depthwise_conv2d": depthwise_conv2d,
    "global_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1),
    "im2col": im2col,
    "linear": lambda x, weight, bias=None: functional.linear(x, weight, bias),
    "local_response_norm": lambda x, size, **arguments: functional.local_response_norm(x, size, **arguments),
    "log_softmax": lambda x, axis=1: functional.log_softmax(x, axis),
    "max_pool2d": max_pool2d,
    "nearest_unpool2d": lambda x, scale: functional.interpolate(x, scale_factor=both(scale), mode="nearest"),
    "relu": lambda x: functional.relu(x),
    "relu6": lambda x: functional.relu6(x),
    "resize_bilinear": resize_bilinear,
    "segmentation_map": lambda logits: torch.argmax(logits, dim=1),
    "separable_conv2d": separable_conv2d,
    "softmax": lambda x, axis=1: functional.softmax(x, axis),
}


def compare(example, arrays, rtol=1e-10, atol=1e-11):
    """Forward and backward, both ways."""
    tensors = {name: tensor(array) for name, array in arrays.items()}
    theirs = TORCH[example.operation](**tensors, **example.arguments)
    ours = forward(example, arrays)
    expected = output(theirs)
    np.testing.assert_allclose(output(ours), expected.detach().numpy(), rtol=rtol, atol=atol)
    if isinstance(theirs, tuple):
        np.testing.assert_array_equal(ours[1], theirs[1].numpy())
    if has_backward(example.operation):
        grad = np.random.default_rng(0).standard_normal(output(ours).shape).astype(output(ours).dtype)
        expected.backward(torch.tensor(grad))
        for name, gradient in backward(example, arrays, ours, grad).items():
            np.testing.assert_allclose(gradient, tensors[name].grad.numpy(), rtol=rtol, atol=atol, err_msg=name)


# PyTorch pools with even padding of at most half a kernel; without ceil mode the rest can be padded beforehand.
COMPARED = [
    example
    for example in EXAMPLES
    if example.operation in TORCH and not (example.arguments.get("ceil_mode") and "padding" in example.arguments)
]


@pytest.mark.parametrize("example", COMPARED, ids=named)
def test_float64(example):
    compare(example, draw(example))


@pytest.mark.parametrize("example", COMPARED, ids=named)
def test_float32(example):
    compare(example, draw(example, np.float32), rtol=1e-4, atol=1e-5)


class Call:
    """A drawn call in the form of an example."""

    def __init__(self, operation, **arguments):
        self.operation = operation
        self.arguments = arguments


@given(convolutions())
def test_convolution(drawn):
    arrays = {
        "x": drawn.numbers(drawn.batch, drawn.channels, *drawn.size),
        "weight": drawn.numbers(drawn.out_channels, drawn.channels // drawn.groups, *drawn.kernel),
        "bias": drawn.numbers(drawn.out_channels),
    }
    compare(Call("conv2d", **drawn.arguments), arrays)


@given(transposed_convolutions())
def test_transposed_convolution(drawn_and_extra):
    drawn, extra = drawn_and_extra
    arrays = {
        "x": drawn.numbers(drawn.batch, drawn.channels, *drawn.size),
        "weight": drawn.numbers(drawn.channels, drawn.out_channels // drawn.groups, *drawn.kernel),
        "bias": drawn.numbers(drawn.out_channels),
    }
    compare(Call("conv_transpose2d", **drawn.arguments, output_padding=extra), arrays)


@given(st.tuples(st.integers(0, 2), st.integers(0, 2)), transposed_convolutions())
def test_transposed_convolution_with_pytorchs_own_padding(padding, drawn_and_extra):
    drawn, extra = drawn_and_extra
    x = drawn.numbers(drawn.batch, drawn.channels, *drawn.size)
    weight = drawn.numbers(drawn.channels, drawn.out_channels // drawn.groups, *drawn.kernel)
    arguments = {"stride": drawn.stride, "dilation": drawn.dilation, "groups": drawn.groups}
    arguments |= {"padding": padding, "output_padding": extra}
    extents = [d * (k - 1) + 1 for d, k in zip(drawn.dilation, drawn.kernel, strict=True)]
    sizes = zip(drawn.size, drawn.stride, padding, extents, extra, strict=True)
    if min((n - 1) * s - 2 * p + e + more for n, s, p, e, more in sizes) < 1:
        with pytest.raises(ValueError, match="padding"):
            ops.conv_transpose2d(x, weight, **arguments)
        return
    theirs = functional.conv_transpose2d(tensor(x), tensor(weight), **arguments)
    np.testing.assert_allclose(ops.conv_transpose2d(x, weight, **arguments), theirs.detach(), rtol=1e-10, atol=1e-11)


@given(pools(dilations=pairs))
def test_max_pooling(pool):
    drawn, ceil_mode = pool
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "dilation": drawn.dilation, "ceil_mode": ceil_mode}
    arrays = {"x": drawn.numbers(drawn.batch, drawn.channels, *drawn.size)}
    theirs, _ = functional.max_pool2d(tensor(arrays["x"]), drawn.kernel, **arguments, return_indices=True)
    if torch.isinf(theirs).any():
        with pytest.raises(ValueError, match="padding must leave every window a real pixel"):
            ops.max_pool2d(**arrays, kernel_size=drawn.kernel, **arguments)
        return
    compare(Call("max_pool2d", kernel_size=drawn.kernel, **arguments), arrays)


@given(pools(), st.booleans())
def test_average_pooling(pool, count_include_pad):
    drawn, ceil_mode = pool
    call = Call(
        "avg_pool2d",
        kernel_size=drawn.kernel,
        stride=drawn.stride,
        padding=drawn.padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    arrays = {"x": drawn.numbers(drawn.batch, drawn.channels, *drawn.size)}
    tensors = tensor(arrays["x"])
    theirs = functional.avg_pool2d(tensors, **call.arguments)
    ours = forward(call, arrays)
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-10, atol=1e-11)
    grad = drawn.numbers(*ours.shape)
    theirs.backward(torch.tensor(grad))
    np.testing.assert_allclose(backward(call, arrays, ours, grad)["x"], tensors.grad, rtol=1e-10, atol=1e-11)


@settings(max_examples=50)
@given(st.tuples(*[st.integers(1, 9)] * 4), st.booleans(), st.integers(0, 1000))
def test_bilinear_resizing(sizes, align_corners, seed):
    arrays = {"x": np.random.default_rng(seed).standard_normal((2, 2, *sizes[:2]))}
    compare(Call("resize_bilinear", output_size=sizes[2:], align_corners=align_corners), arrays)


def test_max_unpooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 8))
    y, indices = ops.max_pool2d(x, (2, 4))
    theirs = functional.max_unpool2d(tensor(y), torch.tensor(indices), (2, 4))
    np.testing.assert_array_equal(ops.max_unpool2d(y, indices, (6, 8)), theirs.detach())


def test_fold():
    columns = np.random.default_rng(0).standard_normal((2, 12, 12))
    theirs = functional.fold(tensor(columns), (5, 6), (2, 3), (1, 2), (1, 0), (1, 1))
    ours = ops.col2im(columns, (5, 6), (2, 3), dilation=(1, 2), padding=(1, 0))
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-12)


def test_batch_norm():
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    gamma, beta, mean = rng.standard_normal((3, 3))
    var = rng.random(3) + 0.5
    for training in (True, False):
        ours_mean, ours_var = mean.copy(), var.copy()
        theirs_mean, theirs_var = torch.tensor(mean), torch.tensor(var)
        tensors = [tensor(array) for array in (x, gamma, beta)]
        theirs = functional.batch_norm(
            tensors[0], theirs_mean, theirs_var, *tensors[1:], training=training, momentum=0.3, eps=0.01
        )
        ours, saved = ops.batch_norm2d(x, gamma, beta, ours_mean, ours_var, training=training, momentum=0.3, eps=0.01)
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ours_mean, theirs_mean, rtol=1e-12)
        np.testing.assert_allclose(ours_var, theirs_var, rtol=1e-12)
        theirs.backward(torch.tensor(grad))
        gradients = ops.batch_norm2d_backward(grad, x, gamma, saved)
        for gradient, expected in zip(gradients, tensors, strict=True):
            np.testing.assert_allclose(gradient, expected.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [True, False])
def test_cross_entropy(reduction, weighted):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 4, 3, 5)) * 3, rng.integers(0, 4, (2, 3, 5))
    labels[0, 0], labels[1, 2, 3] = 255, 255
    weight = np.array([0.5, 0.0, 2.0, 1.5]) if weighted else None
    given = tensor(logits)
    theirs = functional.cross_entropy(
        given,
        torch.tensor(labels),
        weight=None if weight is None else torch.tensor(weight),
        ignore_index=255,
        reduction=reduction,
    )
    arguments = {"class_weight": weight, "reduction": reduction}
    np.testing.assert_allclose(ops.cross_entropy2d(logits, labels, **arguments), theirs.detach(), rtol=1e-12)
    theirs.sum().backward()
    ours = ops.cross_entropy2d_backward(logits, labels, **arguments)
    np.testing.assert_allclose(ours, given.grad, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12])
def test_local_response_norm_of_every_span(size):
    rng = np.random.default_rng(size)
    x, grad = rng.standard_normal((2, 5, 2, 3)) * 3, rng.standard_normal((2, 5, 2, 3))
    arguments = {"alpha": 0.8, "beta": 0.6, "k": 1.5}
    given = tensor(x)
    theirs = functional.local_response_norm(given, size, **arguments)
    np.testing.assert_allclose(ops.local_response_norm(x, size, **arguments), theirs.detach(), rtol=1e-12)
    theirs.backward(torch.tensor(grad))
    ours = ops.local_response_norm_backward(grad, x, size, **arguments)
    np.testing.assert_allclose(ours, given.grad, rtol=1e-10, atol=1e-12)


SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0])


@given(pools(), st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_max_pooling_of_special_values(pool, choices):
    """Where NaN, infinities, equal pixels and signed zeros meet, the same pixel wins."""
    drawn, ceil_mode = pool
    x = np.resize(SPECIAL[choices], (1, 1, *drawn.size))
    arguments = {"stride": drawn.stride, "padding": drawn.padding, "ceil_mode": ceil_mode}
    y, indices = functional.max_pool2d(torch.tensor(x), drawn.kernel, **arguments, return_indices=True)
    comparable = ~np.isnan(y.numpy())  # PyTorch names the last NaN of a window
    for engine in ("loops", "im2col", "sparse"):
        ours = ops.max_pool2d(x, drawn.kernel, **arguments, engine=engine)
        np.testing.assert_array_equal(ours[0], y.numpy())
        np.testing.assert_array_equal(ours[1][comparable], indices.numpy()[comparable])


def test_relu_and_softmax_of_special_values():
    x = np.array([[np.nan, np.inf, -np.inf, 0.0], [1.0, -np.inf, 1e300, -1e300], [-np.inf] * 4])
    given = tensor(x)
    theirs = functional.relu(given)
    np.testing.assert_array_equal(ops.relu(x), theirs.detach())
    grad = np.arange(12.0).reshape(3, 4) + 1
    theirs.backward(torch.tensor(grad))
    np.testing.assert_array_equal(ops.relu_backward(grad, ops.relu(x)), given.grad)
    np.testing.assert_array_equal(ops.softmax(x), functional.softmax(given, 1).detach())
    np.testing.assert_array_equal(ops.log_softmax(x), functional.log_softmax(given, 1).detach())


def test_arrays_in_a_result_are_all_numpy():
    assert all(
        type(array) is np.ndarray for example in COMPARED for array in arrays_in(forward(example, draw(example)))
    )
