"""An .onnx file read and checked: what is in it, before anything is made of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npseg.checks import Array, describe
from npseg.weights.onnx_files.library import onnx_library

OPSETS = range(6, 29)
"""The versions of the operators that are understood."""


class RefusedError(ValueError):
    """A file, or something in it, that npseg does not read; the message says what."""


@dataclass(frozen=True)
class Content:
    """A file's graph, in ONNX's own terms, its constants as arrays, and the version of its operators."""

    graph: Any
    constants: dict[str, Array]
    opset: int


def read_content(path: Path) -> Content:
    """Read and check a file.

    Raises:
        OSError: no such file, or not readable.
        RefusedError: not an ONNX file, damaged, of an unknown version, or with parts in other files.
    """
    onnx = onnx_library()
    data = path.read_bytes()
    try:
        proto = onnx.ModelProto.FromString(data)
    except Exception as error:  # the decoder's own kind has no other base
        raise RefusedError(f"not an ONNX file, or damaged: {_first_line(error)}") from error
    _check_contained(proto)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise RefusedError(f"not an ONNX file, or damaged: {_first_line(error)}") from error
    return Content(proto.graph, {tensor.name: as_array(tensor) for tensor in proto.graph.initializer}, _opset(proto))


def as_array(tensor: Any) -> Array:
    """A tensor of the file as an array, which may not be writable."""
    onnx = onnx_library()
    try:
        array: Array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise RefusedError(f"constant {describe(tensor.name)} is damaged: {_first_line(error)}") from error
    return array


def _opset(proto: Any) -> int:
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    opset = int(versions.get("", versions.get("ai.onnx", 0)))
    if opset not in OPSETS:
        raise RefusedError(f"operators of version {opset} are not read, only of {OPSETS.start} ... {OPSETS.stop - 1}")
    return opset


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph, those in attributes and inner graphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _check_contained(proto: Any) -> None:
    """All is in the file and in its one graph.

    Parts in other files are refused before anything looks for them: a path in a file leads anywhere.
    """
    if proto.functions:
        raise RefusedError(f"functions of its own are not read, got {describe(proto.functions[0].name)}")
    if proto.training_info:
        raise RefusedError("a training of its own is not read")
    if proto.graph.sparse_initializer:
        raise RefusedError("sparse constants are not read")
    for tensor in _tensors(proto.graph):
        if tensor.data_location or tensor.external_data:
            raise RefusedError(f"constant {describe(tensor.name)} lies in another file, and only whole files are read")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
