"""What a training step of npseg keeps of the forward pass until the backward pass has used it."""

import math
from collections.abc import Mapping

from npseg.nn import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Graph,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Node,
    ReLU,
    ReLU6,
)
from npseg.nn.layers import Shape

INDEX_BYTES = 8
"""Of one position that a max pool remembers."""

KEEPS_INPUT = (Conv2d, ConvTranspose2d, Linear, BatchNorm2d, LocalResponseNorm)
KEEPS_OUTPUT = (ReLU, ReLU6)


def saved_bytes(model: Graph, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Bytes that each layer adds to what is kept for the backward pass, for one image.

    A map that several layers need is kept once, and counted at the first of them. A convolution, linear or
    normalising layer keeps its input, a ReLU its output, dropout its mask, a max pool its winners' positions (8 bytes
    each), batch normalisation the mean and the inverse deviation of each channel too; the others keep nothing. What a
    ReLU reads from a convolution is never stored.
    """
    itemsize = model.dtype.itemsize
    kept: set[str] = set()
    bytes_of = {}
    for node in model.nodes:
        maps = {_stored(model, name) for name in _maps_kept(node)} - kept
        kept |= maps
        values = sum(math.prod(shapes[name]) for name in maps)
        bytes_of[node.name] = values * itemsize + _of_its_own(node.layer, shapes[node.name], itemsize)
    return bytes_of


def _maps_kept(node: Node) -> tuple[str, ...]:
    """The maps that a layer's backward pass needs."""
    if isinstance(node.layer, KEEPS_INPUT):
        return (node.inputs[0],)
    return (node.name,) if isinstance(node.layer, KEEPS_OUTPUT) else ()


def _stored(model: Graph, name: str) -> str:
    """The map whose memory this one shares: flattening and a dropout of nothing pass their input on."""
    node = next((node for node in model.nodes if node.name == name), None)
    passes_on = node is not None and (isinstance(node.layer, Flatten) or node.layer == Dropout(0))
    return _stored(model, node.inputs[0]) if node is not None and passes_on else name


def _of_its_own(layer: Layer, output: Shape, itemsize: int) -> int:
    """Bytes beside the maps."""
    if isinstance(layer, MaxPool2d):
        return math.prod(output) * INDEX_BYTES
    if isinstance(layer, Dropout) and layer.p > 0:
        return math.prod(output) * itemsize
    if isinstance(layer, BatchNorm2d):
        return 2 * layer.channels * itemsize
    return 0
