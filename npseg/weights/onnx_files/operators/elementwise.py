"""Operators that keep a map's shape: activations, normalisations, sums."""

import math

import numpy as np

from npseg.checks import Array
from npseg.nn import (
    Add,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    ReLU,
    ReLU6,
    Scale,
    Softmax,
)
from npseg.weights.onnx_files.nodes import OperatorNode, shortest
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Length, Lengths, Map, lengths_of

LARGEST = float(np.finfo(np.float32).max)
"""What older files have for "without a bound"."""


def identity(node: OperatorNode) -> None:
    """Identity: another name for the same."""
    node.result(node.value(0))


def relu(node: OperatorNode) -> None:
    """Relu."""
    node.result(node.layer(ReLU(), node.map()))


def clip(node: OperatorNode) -> None:
    """Clip, where it is a ReLU or a ReLU6."""
    x = node.map()
    low, high = node.scalar("min", 1, -math.inf), node.scalar("max", 2, math.inf)
    assert low is not None
    assert high is not None
    if low <= -LARGEST and high >= LARGEST:
        node.result(x)
    elif low == 0 and high >= LARGEST:
        node.result(node.layer(ReLU(), x))
    elif (low, high) == (0, 6):
        node.result(node.layer(ReLU6(), x))
    else:
        raise RefusedError(f"npseg has no clip to {low:g} ... {high:g}, only to 0 ... 6 and to 0 and above")


def dropout(node: OperatorNode) -> None:
    """Dropout, which passes its input on outside training."""
    x = node.map()
    p = node.scalar("ratio", 1, 0.5)
    node.attribute("seed", 0)
    training = node.has(2) and bool(node.array(2, "training_mode").any())
    if (training or (node.opset < 7 and not node.attribute("is_test", 0))) and p != 0:
        raise RefusedError("dropout in training mode")
    if node.is_used(1):
        raise RefusedError("the mask of a dropout")
    assert p is not None
    if not 0 <= p < 1:
        raise RefusedError(f"ratio must be from 0 to below 1, got {p}")
    node.result(node.layer(Dropout(p), x))


def batch_normalization(node: OperatorNode) -> None:
    """BatchNormalization by given statistics."""
    x = node.map(axes=(3, 4))
    is_test = node.attribute("is_test", 0) or node.opset >= 7
    node.attribute("consumed_inputs", None)
    if node.attribute("training_mode", 0) or not is_test or any(map(node.is_used, range(1, 5))):
        raise RefusedError("batch normalisation in training mode")
    if not node.attribute("spatial", 1):
        raise RefusedError("batch normalisation of each pixel by itself")
    momentum = round(1 - node.attribute("momentum", 0.9), 9)  # the weight of the newest batch, there of the old ones
    layer = BatchNorm2d(node.network.channels_of(x), momentum, node.attribute("epsilon", 1e-5))
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: node.array(place, name) for place, name in enumerate(names, start=1)}
    node.result(node.layer(layer, x, arrays=arrays))


def lrn(node: OperatorNode) -> None:
    """LRN, for spans with a middle."""
    x = node.map(axes=(3, 4))
    size = node.attribute("size", 0)
    if size % 2 == 0:
        raise RefusedError(
            f"size must be odd: of an even span, ONNX puts the odd channel after, npseg before; got {size}"
        )
    alpha, beta, k = node.attribute("alpha", 1e-4), node.attribute("beta", 0.75), node.attribute("bias", 1.0)
    node.result(node.layer(LocalResponseNorm(size, alpha, beta, k), x))


def softmax(node: OperatorNode) -> None:
    """Softmax."""
    x, axis = _normalised(node)
    node.result(node.layer(Softmax(axis), x))


def log_softmax(node: OperatorNode) -> None:
    """LogSoftmax."""
    x, axis = _normalised(node)
    node.result(node.layer(LogSoftmax(axis), x))


def _normalised(node: OperatorNode) -> tuple[Map, int]:
    """A softmax's map and axis; before version 13, all that stands after the axis was normalised together with it."""
    x = node.map()
    axis = node.axis(node.attribute("axis", -1 if node.opset >= 13 else 1), x)
    shape = node.network.known_shape(x)
    alone = axis == x.axes - 1 or (axis == 1 and shape is not None and shape[1:] == (1, 1))
    if not (node.opset >= 13 or alone):
        raise RefusedError(f"a softmax over axis {axis} and all axes after it")
    return x, axis


def add(node: OperatorNode) -> None:
    """Add: of two maps, of the bias that a convolution lacks, or of sizes."""
    node.attribute("broadcast", 0)
    first, second = node.value(0), node.value(1)
    if isinstance(first, Map) and isinstance(second, Map):
        node.result(_sum(node, first, second))
    elif isinstance(first, Map) and isinstance(second, np.ndarray):
        node.result(_biased(node, first, second))
    elif isinstance(second, Map) and isinstance(first, np.ndarray):
        node.result(_biased(node, second, first))
    else:
        node.result(_sum_of_lengths(lengths_of(first), lengths_of(second)))


def mul(node: OperatorNode) -> None:
    """Mul by one number, or by one for each channel."""
    node.attribute("broadcast", 0)
    places = (0, 1) if isinstance(node.value(0), Map) else (1, 0)
    x, factor = node.map(places[0]), node.array(places[1], "one of the two")
    factors = _one_for_each_channel(node, x, factor)
    if factor.size == 1:
        value = float(factor.ravel()[0])
        node.result(node.layer(Scale(shortest(value) if factor.dtype == np.float32 else value), x))
    else:
        node.result(_affine(node, x, factors, np.zeros_like(factors)))


def sum_of_all(node: OperatorNode) -> None:
    """Sum: of any number of maps, two by two."""
    total = node.map(0)
    for place in range(1, len(node.proto.input)):
        is_last = place == len(node.proto.input) - 1
        total = _sum(node, total, node.map(place), "" if is_last else f"_{place}")
    node.result(total)


def _sum(node: OperatorNode, first: Map, second: Map, suffix: str = "") -> Map:
    if not node.network.same_shapes(first, second):
        raise RefusedError("npseg adds maps of one shape, and no others")
    return node.layer(Add(), first, second, suffix=suffix)


def _biased(node: OperatorNode, x: Map, bias: Array) -> Map:
    """x plus constants: the bias of the layer that makes x, where it has none and makes x for nobody else."""
    layer, biases = node.network.layer_of(x), _one_for_each_channel(node, x, bias)
    if isinstance(layer, Conv2d | Linear) and not layer.bias and node.readers(x) == 1:
        node.network.give_bias(x, biases)
        return x
    return _affine(node, x, np.ones_like(biases), biases)


def _one_for_each_channel(node: OperatorNode, x: Map, constant: Array) -> Array:
    """A constant as (C,); before version 7, the attribute axis says which axis of x its first is."""
    channels = node.network.channels_of(x)
    fitting = ((1, channels, *(1,) * (x.axes - 2)), (1,) * x.axes)
    by_axis = node.attribute("axis", -1) == 1 and constant.shape == (channels,)
    if not by_axis and (1,) * (x.axes - constant.ndim) + constant.shape not in fitting:
        raise RefusedError(f"npseg adds and multiplies by one number for each channel, got shape {constant.shape}")
    if constant.dtype != node.network.dtype:
        raise RefusedError(f"all numbers must be of the image's type, {node.network.dtype}, got {constant.dtype}")
    return np.broadcast_to(constant.ravel(), (channels,))


def _affine(node: OperatorNode, x: Map, weight: Array, bias: Array) -> Map:
    """weight * x + bias, for each channel: batch normalisation by mean 0 and variance 1."""
    if x.axes == 2:
        raise RefusedError("npseg adds to vectors only as the bias of a dense layer, and multiplies them by one number")
    zeros, ones = np.zeros_like(bias), np.ones_like(bias)
    arrays = {"weight": weight, "bias": bias, "running_mean": zeros, "running_var": ones}
    return node.layer(BatchNorm2d(len(bias), eps=0.0), x, arrays=arrays)


def _sum_of_lengths(first: Lengths | None, second: Lengths | None) -> Lengths:
    """Sizes plus numbers, such as a crop's end."""
    if first is None or second is None or len(first) != len(second):
        raise RefusedError("npseg adds maps of one shape, and no others")
    return tuple(_sum_of_two(a, b) for a, b in zip(first, second, strict=True))


def _sum_of_two(a: int | Length, b: int | Length) -> int | Length:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if isinstance(a, Length) and isinstance(b, int):
        return Length(a.of, a.axis, a.plus + b)
    if isinstance(a, int) and isinstance(b, Length):
        return Length(b.of, b.axis, b.plus + a)
    raise RefusedError("the sum of two sizes is not followed")
