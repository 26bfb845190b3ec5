"""An .onnx file read as a network."""

import os
from collections import Counter
from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import describe
from npseg.geometry import Size
from npseg.nn import Flatten, Graph
from npseg.nn.steps import IMAGE
from npseg.weights.onnx_files.library import onnx_library
from npseg.weights.onnx_files.network import Network
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.operators import NO_PART_OF_NETWORKS, OPERATORS
from npseg.weights.onnx_files.reading import Content, RefusedError, read_content
from npseg.weights.onnx_files.values import Map, Value

ELEMENTS = {1: np.float32, 11: np.float64}
"""The types of numbers that npseg computes with, by ONNX's number for them."""


def load_onnx(path: str | os.PathLike[str], output: str | None = None) -> Graph:
    """Read an .onnx file that is made of operations that npseg has, as a network of its layers.

    Args:
        path: the file, with all its constants in it.
        output: the name of the result to make, which must be given where the file has several.

    Returns:
        A graph from images (N, C, H, W) to the result, of the file's float32 or float64. Layers have the names of the
        file's nodes, parameters those of their layers. An input of three axes (N, C, L) is given as (N, C, L, 1), and
        one of two, (N, C), as (N, C, 1, 1); so are maps of three axes that come out.

    Raises:
        OSError: no such file, or not readable.
        ValueError: not an ONNX file, damaged, or made of anything that npseg has not, such as 1-D and 3-D maps, whole
            numbers, dilated average pools, antialiasing, or batch normalisation in training mode. The message names the
            file, the node and what it is about. Nothing is left out or computed "nearly".
        ImportError: the library onnx is not installed.

    Source: https://onnx.ai/onnx/operators, versions 6 to 28.
    """
    path = checks.path(path, "path")
    if output is not None and not isinstance(output, str):
        raise TypeError(f"output must be the name of a result, got {checks.describe(output)}")
    try:
        return _network(read_content(path), output)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _network(content: Content, output: str | None) -> Graph:
    graph = content.graph
    results = [value.name for value in graph.output]
    if output is None and len(results) == 1:
        output = results[0]
    if output is None or output not in results:
        raise RefusedError(f"output must name one of its {len(results)} results {results}, got {describe(output)}")
    network, values = _start(content)
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(results)
    for proto in graph.node:
        _read_node(OperatorNode(proto, content.opset, values, network, uses))
    result = values[output]
    if not isinstance(result, Map):
        raise RefusedError(f"its result {output!r} is not a map that the network computes")
    return network.graph(result)


def _read_node(node: OperatorNode) -> None:
    """One node; every refusal says which."""
    kind = node.proto.op_type
    try:
        if node.proto.domain not in ("", "ai.onnx"):
            raise RefusedError(f"an operator of the domain {describe(node.proto.domain)}")
        if kind not in OPERATORS:
            raise RefusedError(NO_PART_OF_NETWORKS.get(kind, "npseg has no such operation"))
        OPERATORS[kind](node)
        node.check_all_asked()
    except (ValueError, TypeError, OverflowError, LookupError) as error:  # refused here, or by a layer
        raise RefusedError(f"node {node.name!r} ({kind}): {error}") from error


def _start(content: Content) -> tuple[Network, dict[str, Value]]:
    """The network before its first node, and what the names stand for: constants, and the image."""
    inputs = [value for value in content.graph.input if value.name not in content.constants]
    if len(inputs) != 1:
        raise RefusedError(f"a network has one input, this one has {len(inputs)}: {[value.name for value in inputs]}")
    (image,) = inputs
    element, lengths = _tensor_type(image)
    if element not in ELEMENTS:
        raise RefusedError(f"npseg computes with float32 and float64, not with {_element_name(element)}")
    axes = len(lengths)
    if axes not in (2, 3, 4):
        kind = {1: "a list", 5: "a 3-D map"}.get(axes, f"{axes} axes")
        raise RefusedError(f"the input {image.name!r} must be a map (N, C, H, W), got {kind}")
    batch, channels, *size = lengths
    if channels is None:
        raise RefusedError(f"the input {image.name!r} must have a known number of channels")
    network = Network(np.dtype(ELEMENTS[element]), channels, _image_size(axes, size), batch)
    values: dict[str, Value] = dict(content.constants)
    values[image.name] = Map(IMAGE, axes)
    if axes == 2:
        layer = Flatten((channels, 1, 1))
        values[image.name] = network.add(f"{image.name}_as_vector", layer, [Map(IMAGE, 2)], 2, {})
    return network, values


def _tensor_type(value: Any) -> tuple[int, list[int | None]]:
    """An input's type of numbers, and its lengths; None for those that are not fixed."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise RefusedError(f"the input {value.name!r} must be a tensor with a known number of axes")
    lengths = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]
    return tensor.elem_type, lengths


def _element_name(element: int) -> str:
    """A type of numbers in words."""
    types = onnx_library().TensorProto.DataType
    return str(types.Name(element)).lower() if element in types.values() else f"type {element}"


def _image_size(axes: int, size: list[int | None]) -> Size | None:
    """The one size that the network takes; a vector is a map of one pixel."""
    height, width = [*size, 1, 1][:2] if axes < 4 else size
    return None if height is None or width is None else (height, width)
