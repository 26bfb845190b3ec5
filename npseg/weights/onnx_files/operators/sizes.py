"""Operators that compute with sizes, and constants."""

import math

import numpy as np

from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Length, Lengths, Map, PoolIndices, Zeros, lengths_of, whole_numbers

MOST_DESCRIBED = 2**28
"""How many numbers a file may describe in all instead of holding them: a few bytes could ask for any memory."""


def constant(node: OperatorNode) -> None:
    """Constant: a value written at its place."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        given = node.attribute(name, None)
        if given is not None:
            dtype = np.float32 if "float" in name else np.int64
            node.result(given if isinstance(given, np.ndarray) else np.array(given, dtype))
            return
    raise RefusedError("constants of text or of sparse numbers")


def constant_of_shape(node: OperatorNode) -> None:
    """ConstantOfShape: one number many times; as many zeros as a map has are for max unpooling."""
    value: np.ndarray = node.attribute("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise RefusedError(f"value must be one number, got shape {value.shape}")
    count = node.value(0)
    if isinstance(count, Zeros) and not value.any():
        node.result(count)
        return
    shape = whole_numbers(count)
    if shape is None or min(shape, default=0) < 0:
        raise RefusedError(f"shape must be constant, got {shape}")
    node.network.described += math.prod(shape)
    if node.network.described > MOST_DESCRIBED:
        raise RefusedError(f"constants of more than {MOST_DESCRIBED:,} numbers that are not in the file")
    node.result(np.broadcast_to(value.ravel()[0], shape))


def reduce_prod(node: OperatorNode) -> None:
    """ReduceProd of a map's sizes: how many numbers it has."""
    lengths = lengths_of(node.value(0))
    axes = node.numbers("axes", 1)
    node.attribute("keepdims", 1)
    node.attribute("noop_with_empty_axes", 0)
    if lengths is None or axes not in (None, [0]):
        raise RefusedError("npseg multiplies the sizes of a map, and nothing else")
    node.result(Zeros(lengths))


def shape(node: OperatorNode) -> None:
    """Shape: the sizes of a map, those known as numbers."""
    value = node.value(0)
    start, end = node.attribute("start", 0), node.attribute("end", None)
    if isinstance(value, np.ndarray):
        node.result(tuple(value.shape)[start:end])
        return
    if isinstance(value, PoolIndices):
        value = Map(value.pool, 4)
    if not isinstance(value, Map):
        raise RefusedError("the shape of what is no map")
    node.result(lengths_of_map(node, value)[start:end])


def lengths_of_map(node: OperatorNode, value: Map) -> Lengths:
    """(N, C, H, W); only the channels are a number, so that rows and columns can be traced to their map."""
    lengths = [Length(value, axis) for axis in range(value.axes)]
    return (lengths[0], node.network.channels_of(value), *lengths[2:])


def gather(node: OperatorNode) -> None:
    """Gather: one or several of a list of sizes."""
    lengths, places = lengths_of(node.value(0)), whole_numbers(node.value(1))
    if lengths is None or places is None or node.attribute("axis", 0) != 0:
        raise RefusedError("npseg picks from lists of sizes, and from nothing else")
    if any(not -len(lengths) <= place < len(lengths) for place in places):
        raise RefusedError(f"places {places} lie outside a list of {len(lengths)}")
    node.result(tuple(lengths[place] for place in places))


def unsqueeze(node: OperatorNode) -> None:
    """Unsqueeze: axes of length 1 for a constant, or for a size, which is a list of one either way."""
    value, axes = node.value(0), node.numbers("axes", 1)
    lengths = lengths_of(value)
    if lengths is not None and len(lengths) == 1:
        node.result(lengths)
    elif isinstance(value, np.ndarray) and axes is not None:
        node.result(np.expand_dims(value, tuple(axes)))
    else:
        raise RefusedError("npseg gives axes of length 1 to sizes and constants, and to nothing else")


def squeeze(node: OperatorNode) -> None:
    """Squeeze of a size."""
    lengths = lengths_of(node.value(0))
    node.numbers("axes", 1)
    if lengths is None or len(lengths) != 1:
        raise RefusedError("npseg takes axes of length 1 from sizes, and from nothing else")
    node.result(lengths)


def cast(node: OperatorNode) -> None:
    """Cast of sizes, which stay what they are."""
    lengths = lengths_of(node.value(0))
    node.attribute("to", 0)
    node.attribute("saturate", 1)
    node.attribute("round_mode", "up")
    if lengths is None:
        raise RefusedError("npseg's numbers keep their type")
    node.result(lengths)
