"""Operators of classifiers' ends: maps become vectors, and vectors are multiplied by matrices."""

import math

import numpy as np

from npseg.nn import Flatten, GlobalAvgPool2d, Linear
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.operators.unpooling import unpooled
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Flat, Length, Map, PoolIndices, Scattered, lengths_of, whole_numbers


def flatten(node: OperatorNode) -> None:
    """Flatten: all but the batch becomes one axis."""
    x = node.map(axes=(2, 4))
    axis = node.attribute("axis", 1)
    if axis not in (1, 1 - x.axes):
        raise RefusedError(f"npseg flattens all but the batch, axis 1, not axis {axis}")
    node.result(flattened(node, x))


def flattened(node: OperatorNode, x: Map) -> Map:
    """A map as a vector (N, C * H * W)."""
    if x.axes == 2:
        return x
    shape = node.network.known_shape(x)
    if shape is None:
        raise RefusedError("a map is flattened whose size depends on the image, which the file does not fix")
    channels, height, width = shape
    return node.layer(Flatten((channels, height, width)), x, axes=2)


def reshape(node: OperatorNode) -> None:
    """Reshape, where it flattens, or is a part of max unpooling."""
    shape = node.attribute("shape", None)
    lengths = lengths_of(node.value(1)) if shape is None else tuple(shape)
    if lengths is None:
        raise RefusedError("shape must be constant or a list of sizes")
    if node.attribute("allowzero", 0) and 0 in lengths:
        raise RefusedError("an empty result")
    value = node.value(0)
    if lengths == (-1,) and isinstance(value, Map | PoolIndices):
        node.result(Flat(value))
    elif isinstance(value, Scattered):
        node.result(unpooled(node, value, lengths))
    elif isinstance(value, np.ndarray) and (known := whole_numbers(lengths)) is not None:
        try:
            node.result(value.reshape([length or value.shape[place] for place, length in enumerate(known)]))
        except (ValueError, IndexError) as error:
            raise RefusedError(f"a constant of shape {value.shape} does not fit the shape {lengths}") from error
    else:
        x = node.map(axes=(2, 4))
        if len(lengths) != 2 or not _keeps_batch(node, x, lengths):
            raise RefusedError(f"npseg reshapes maps to vectors alone, not to {len(lengths)} axes")
        node.result(flattened(node, x))


def _keeps_batch(node: OperatorNode, x: Map, lengths: tuple[int | Length, ...]) -> bool:
    """Whether the first axis stays the batch, and all the others become the second."""
    first, second = lengths
    shape = node.network.known_shape(x)
    features = None if shape is None else math.prod(shape)
    batches = [0, Length(x, 0)] + [node.network.batch] * (node.network.batch is not None)
    batch_kept = first in batches or (isinstance(first, Length) and first.axis == 0 and first.plus == 0)
    return (batch_kept and second in (-1, features)) or (first == -1 and features is not None and second == features)


def gemm(node: OperatorNode) -> None:
    """Gemm, the general matrix product alpha * A * B + beta * C, where A is what the network computes."""
    x = node.map(axes=(2,))
    if node.attribute("transA", 0):
        raise RefusedError("a product with the batch's transpose")
    weight = node.array(1, "weight")
    weight = weight if node.attribute("transB", 0) else weight.T
    node.attribute("broadcast", 0)  # before version 7; the bias says by its shape whether it is needed
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    if weight.ndim != 2:
        raise RefusedError(f"weight must have 2 axes, got shape {weight.shape}")
    arrays = {"weight": weight if alpha == 1 else weight * weight.dtype.type(alpha)}
    if node.has(2):
        bias = node.array(2, "bias")
        if bias.size not in (1, len(weight)) or (bias.ndim and bias.shape[-1] != bias.size):
            raise RefusedError(f"bias must be one number for each feature, got shape {bias.shape}")
        arrays["bias"] = np.broadcast_to(bias.ravel() * bias.dtype.type(beta), (len(weight),))
    node.result(_linear(node, x, arrays))


def matmul(node: OperatorNode) -> None:
    """MatMul of a vector with a constant matrix."""
    x, weight = node.map(axes=(2,)), node.array(1, "weight")
    if weight.ndim != 2:
        raise RefusedError(f"weight must have 2 axes, got shape {weight.shape}")
    node.result(_linear(node, x, {"weight": weight.T}))


def _linear(node: OperatorNode, x: Map, arrays: dict[str, np.ndarray]) -> Map:
    out_features, in_features = arrays["weight"].shape
    if in_features != node.network.channels_of(x):
        raise RefusedError(f"its weight is for {in_features} features, its vector has {node.network.channels_of(x)}")
    return node.layer(Linear(in_features, out_features, bias="bias" in arrays), x, arrays=arrays)


def reduce_mean(node: OperatorNode) -> None:
    """ReduceMean over rows and columns: a global average pool."""
    x = node.map(axes=(4,))
    axes = node.numbers("axes", 1)
    keep = node.attribute("keepdims", 1)
    node.attribute("noop_with_empty_axes", 0)
    if axes is None or sorted(node.axis(axis, x) for axis in axes) != [2, 3]:
        raise RefusedError(f"npseg's mean is over rows and columns, axes 2 and 3, not {axes}")
    pooled = node.layer(GlobalAvgPool2d(), x)
    node.result(pooled if keep else flattened(node, pooled))
