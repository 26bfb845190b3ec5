"""Models in files: one .npz that holds the graph's description, every array, and whatever its owner adds.

    header             JSON: format, version, the graph's description, metadata
    parameters/NAME    one array per parameter
    buffers/NAME       one array per buffer (running statistics)
    extra/NAME         arrays of the owner's, such as an optimiser's

Reading executes nothing from the file, and makes no room for more numbers than it has, so files from strangers are safe
to open.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npseg import checks, npz
from npseg.checks import Array
from npseg.files import write_whole
from npseg.nn.graph import Graph
from npseg.nn.layers import ParameterSpec

FORMAT = "npseg model"
VERSION = 1


def save(
    model: Graph,
    path: str | os.PathLike[str],
    extra: Mapping[str, Array] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model to one file, whole or not at all.

    Args:
        model: the network.
        path: where the file shall be; an older one is replaced in one step.
        extra: arrays to keep beside the model's, by name.
        metadata: anything JSON can hold, NaN excepted.

    Raises:
        OSError: the folder is missing, full or not writable; an older file is untouched.
        TypeError, ValueError: metadata that JSON cannot hold, or an extra that is no array of numbers or text.
    """
    path = checks.path(path, "path")
    checks.instance(model, "model", Graph)
    metadata = {} if metadata is None else checks.mapping(metadata, "metadata", "anything JSON can hold")
    extra = {} if extra is None else checks.mapping(extra, "extra", "arrays")
    header = {"format": FORMAT, "version": VERSION, "graph": model.describe(), "metadata": dict(metadata)}
    arrays = {"header": np.array(json.dumps(header, allow_nan=False))}
    arrays |= {f"parameters/{name}": array for name, array in model.parameters.items()}
    arrays |= {f"buffers/{name}": array for name, array in model.buffers.items()}
    for name, array in extra.items():
        if checks.array(array, f"extra[{name!r}]").dtype.hasobject:
            raise TypeError(f"extra[{name!r}] must hold numbers or text, got {checks.describe(array)}")
        arrays[f"extra/{name}"] = array

    def write(file: BinaryIO) -> None:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stubs mistake the arrays for savez's own keywords

    write_whole(path, write)


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a model that `save` wrote; errors as in `read`."""
    model, _, _ = read(path)
    return model


def read(path: str | os.PathLike[str]) -> tuple[Graph, dict[str, Array], dict[str, Any]]:
    """Read a model and what was kept beside it.

    Returns:
        The model, the extra arrays by name, and the metadata.

    Raises:
        OSError: no such file, or not readable.
        ValueError: anything wrong inside the file: cut short, damaged, of another kind or version, an array missing,
            of another shape or dtype than the network needs. The message names the file.
    """
    path = checks.path(path, "path")
    arrays = npz.read(path)
    model, metadata = _described(path, arrays)
    model.parameters = _fitting(path, model.parameter_specs, model.dtype, arrays, "parameters")
    model.buffers = _fitting(path, model.buffer_specs, model.dtype, arrays, "buffers")
    return model, _group(arrays, "extra"), metadata


def read_description(path: str | os.PathLike[str]) -> tuple[Graph, dict[str, Any]]:
    """Read a file's description alone, which is quick however large the network.

    Returns:
        The layers of the model, without its weights, and the metadata; errors as in `read`.
    """
    path = checks.path(path, "path")
    return _described(path, npz.read(path, only="header"))


def _read_header(path: Path, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The description and metadata of a file in this format and version."""
    try:
        header: dict[str, Any] = json.loads(str(arrays["header"]))
        known, version = header["format"] == FORMAT, header["version"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{path}: not an npseg model file: it has no readable header") from error
    if not known:
        raise ValueError(f"{path}: not an npseg model file: its format is {header['format']!r}")
    if version != VERSION:
        raise ValueError(f"{path}: format version {version!r} is unknown; this npseg reads version {VERSION}")
    if not isinstance(header.get("graph"), dict) or not isinstance(header.get("metadata"), dict):
        raise ValueError(f"{path}: its header lacks the graph or the metadata")
    return header


def _described(path: Path, arrays: Mapping[str, Array]) -> tuple[Graph, dict[str, Any]]:
    """The network that the header describes, its weights not yet the stored ones, and the metadata."""
    header = _read_header(path, arrays)
    try:
        return Graph.from_description(header["graph"]), header["metadata"]
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{path}: no network can be built from its description: {error}") from error


def _group(arrays: Mapping[str, Array], group: str) -> dict[str, Array]:
    """The arrays of one group, by their names within it."""
    prefix = f"{group}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _fitting(
    path: Path, specs: Mapping[str, ParameterSpec], dtype: np.dtype[Any], arrays: Mapping[str, Array], group: str
) -> dict[str, Array]:
    """One group of stored arrays, which have the names, shapes and dtype that the network needs, and its order."""
    stored = _group(arrays, group)
    if missing := sorted(specs.keys() - stored.keys()):
        raise ValueError(f"{path}: lacks the array {group}/{missing[0]}, which the network needs")
    if unknown := sorted(stored.keys() - specs.keys()):
        raise ValueError(f"{path}: has the array {group}/{unknown[0]}, which the network does not have")
    for name, spec in specs.items():
        array = stored[name]
        if array.shape != spec.shape or array.dtype != dtype:
            raise ValueError(
                f"{path}: {group}/{name} must be {dtype} with shape {spec.shape}, "
                f"got {array.dtype} with shape {array.shape}"
            )
    return {name: np.asarray(stored[name], order="C") for name in specs}
