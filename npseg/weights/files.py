"""Files of weights, the format by the file's ending.

.npz            an npseg model (`npseg.models.save`), or any .npz of arrays
.safetensors    https://github.com/huggingface/safetensors
.pth, .pt       PyTorch state dictionaries; read without PyTorch, and nothing in them is run
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npseg import checks, models, npz
from npseg.checks import Array
from npseg.files import write_whole
from npseg.nn import Graph
from npseg.weights import pytorch, safetensors_files
from npseg.weights.numbers import writable

NATIVE = ".npz"


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a file by their names.

    Args:
        path: a file that ends in .npz, .safetensors, .pth or .pt. Of an npseg model, parameters and buffers are taken.

    Returns:
        Arrays as the file has them, bfloat16 as float32; tensors that PyTorch wrote as views of one storage share
        memory here as well.

    Raises:
        OSError: no such file, or not readable.
        ValueError: another ending, a damaged file, or a pickle that wants something run; the message names the file.
        ImportError: .safetensors without the library.
    """
    path = checks.path(path, "path")
    read_file, _ = FORMATS[_ending(path)]
    try:
        arrays: dict[str, Array] = read_file(path)
        return arrays
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(f"{path}: ") else f"{path}: {error}") from error


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays to a file, whole or not at all.

    Args:
        path: as in `read`. A .pth or .pt opens with `torch.load(path, weights_only=True)`.
        arrays: by name; floating, signed integer, uint8 or bool, in any memory layout.

    Raises:
        OSError: the folder is missing, full or not writable; an older file is untouched.
        TypeError, ValueError: another ending, or arrays of another kind.
        ImportError: .safetensors without the library.
    """
    path = checks.path(path, "path")
    _, write_file = FORMATS[_ending(path)]
    checked = writable(arrays)
    write_whole(path, lambda file: write_file(file, checked))


def write_model(path: str | os.PathLike[str], model: Graph) -> None:
    """Write a network: as an npseg model where the ending is .npz, otherwise its parameters and buffers by their names.

    Raises:
        OSError, TypeError, ValueError, ImportError: as in `write`.
    """
    checks.instance(model, "model", Graph)
    if _ending(checks.path(path, "path")) == NATIVE:
        models.save(model, path)
    else:
        write(path, model.parameters | model.buffers)


def _read_npz(path: Path) -> dict[str, Array]:
    """All arrays; of an npseg model those behind "parameters/" and "buffers/"."""
    arrays = npz.read(path)
    if arrays.get("header", np.empty(0)).dtype.kind != "U":
        return arrays
    groups = {name: name.partition("/") for name in arrays}
    return {inner: arrays[name] for name, (group, _, inner) in groups.items() if group in ("parameters", "buffers")}


def _write_npz(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """As `numpy.savez`, which takes no array named "file"."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


FORMATS: dict[str, Any] = {
    NATIVE: (_read_npz, _write_npz),
    ".safetensors": (safetensors_files.read, safetensors_files.write),
    ".pth": (pytorch.read, pytorch.write),
    ".pt": (pytorch.read, pytorch.write),
}
"""How each is read and written, by the file's ending."""


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"{path}: must end in {', '.join(FORMATS)}, got {ending!r}")
    return ending
