"""A network written as an .onnx file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.files import write_whole
from npseg.geometry import Size
from npseg.nn import Flatten, Graph, Node
from npseg.nn.steps import IMAGE
from npseg.weights.onnx_files.layer_converters import CONVERTERS
from npseg.weights.onnx_files.library import onnx_library
from npseg.weights.onnx_files.writing import GraphWriter, Place

OPSET, IR_VERSION = 18, 8
"""The versions of the operators and of the format: of December 2022, so that runtimes since then read the files."""

PRODUCER = "npseg"

FILE_LIMIT = 2**31 - 2**20
"""The bytes of parameters that fit in one file: the format's 2 GiB, less room for all else."""

AMPLE_SIZE = (512, 512)
"""An image large enough for every network that takes any."""


def export_onnx(
    model: Graph,
    path: str | os.PathLike[str],
    *,
    input_size: Size | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network to an .onnx file, whole or not at all, as it predicts.

    The file's network takes "image", (N, C, H, W), for any N, H and W unless input_size is given. Constants have the
    names of the parameters and buffers. Dropout is left out, batch normalisation uses the running statistics. Numbers
    keep the network's dtype; ONNX Runtime has convolutions of float32 alone, and no output padding of a stride or more.

    Args:
        model: the network.
        path: where the file shall be; an older one is replaced in one step.
        input_size: (H, W) of the only images that the file's network takes. It must be given where the network flattens
            a map of more than one pixel, as classifiers with fully connected layers do.
        metadata: text to keep in the file by name, such as the classes.

    Raises:
        OSError: the folder is missing, full or not writable; an older file is untouched.
        TypeError: an argument is not of this form.
        ValueError: a layer cannot be said in ONNX, the message names it; input_size is missing or does not fit; or the
            file would exceed the format's 2 GiB.
        ImportError: the library onnx is not installed.

    Source: https://onnx.ai/onnx/repo-docs/IR.html
    """
    checks.instance(model, "model", Graph)
    metadata = {} if metadata is None else checks.mapping(metadata, "metadata", "text")
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"metadata must be text by name, got {checks.describe(name)}: {checks.describe(text)}")
    content = _model_proto(model, _image_size(model, input_size), metadata).SerializeToString()
    write_whole(checks.path(path, "path"), lambda file: file.write(content))


def _image_size(model: Graph, input_size: Size | None) -> Size | None:
    """The one size of image that the network takes, None where it takes any."""
    if input_size is not None:
        size = checks.size(input_size, "input_size")
        model.shapes(size)
        return size
    for node in model.nodes:
        if isinstance(node.layer, Flatten) and node.layer.shape[1:] != (1, 1):
            raise ValueError(
                f"input_size must be given: {node.name!r} flattens a map of {node.layer.shape[1:]} pixels, "
                f"which images of one size alone give"
            )
    return None


def _model_proto(model: Graph, size: Size | None, metadata: Mapping[str, str]) -> Any:
    """The network in ONNX's terms."""
    helper = onnx_library().helper
    writer = GraphWriter(model.dtype)
    output = _write_nodes(model, writer)
    graph = helper.make_graph(
        writer.nodes,
        PRODUCER,
        [_tensor_info(model, IMAGE, ("N", model.input_channels, *(size or ("H", "W"))))],
        [_tensor_info(model, output, _output_dimensions(model, size))],
        _tensors(writer.constants),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=opsets)
    helper.set_model_props(proto, dict(metadata))
    return proto


def _write_nodes(model: Graph, writer: GraphWriter) -> str:
    """Every layer's nodes and constants; the name of the output."""
    arrays = model.parameters | model.buffers
    taken = {name for node in model.nodes for name in node.inputs}
    maps = {IMAGE: IMAGE}
    for node in model.nodes:
        by_products = {key: f"{node.name}.{key}" for key in node.layer.by_products if f"{node.name}.{key}" in taken}
        maps |= {name: name for name in by_products.values()}
        parameters = {key: f"{node.name}.{key}" for key in node.layer.parameter_specs() | node.layer.buffer_specs()}
        for name in parameters.values():
            writer.constant(name, arrays[name])
        inputs = tuple(maps[name] for name in node.inputs)
        maps[node.name] = _write_layer(node, Place(node.name, inputs, parameters, by_products, writer))
    last = model.nodes[-1].name
    return last if maps[last] == last else writer.add("Identity", [maps[last]], last)


def _write_layer(node: Node, place: Place) -> str:
    """One layer's nodes; the name of its map."""
    layer = node.layer
    if type(layer) not in CONVERTERS:
        raise ValueError(f"layer {node.name!r}: ONNX files cannot hold a {type(layer).__name__}")
    try:
        return CONVERTERS[type(layer)](layer, place)
    except ValueError as error:
        raise ValueError(f"layer {node.name!r} ({type(layer).__name__}): {error}") from error


def _tensors(constants: Mapping[str, Array]) -> list[Any]:
    """ONNX's form of arrays, which together must leave room in one file."""
    needed = sum(value.nbytes for value in constants.values())
    if needed > FILE_LIMIT:
        raise ValueError(f"model has {needed:,} bytes of parameters, an .onnx file holds at most {FILE_LIMIT:,}")
    from_array = onnx_library().numpy_helper.from_array
    return [from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]


def _tensor_info(model: Graph, name: str, dimensions: Sequence[int | str]) -> Any:
    """What is known of an input or output: its numbers' type, and its lengths or their names."""
    helper = onnx_library().helper
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(model.dtype), dimensions)


def _output_dimensions(model: Graph, size: Size | None) -> list[int | str]:
    """The output's lengths; of those that depend on the image, the names."""
    channels, *output_size = model.shapes(size or AMPLE_SIZE)[model.nodes[-1].name]
    if size is None and output_size:
        as_large_as_image = model.nodes[-1].inputs[1:] == (IMAGE,)
        return ["N", channels, *(("H", "W") if as_large_as_image else ("H_out", "W_out"))]
    return ["N", channels, *output_size]
