""".safetensors files, by the library of that name (`pip install 'npseg[weights]'`).

A JSON header with names, dtypes, shapes and offsets, then the numbers: https://github.com/huggingface/safetensors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npseg.checks import Array
from npseg.weights.numbers import WRITABLE, widened

DTYPES = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "BOOL": "bool",
}
BFLOAT16 = "BF16"


def read(path: Path) -> dict[str, Array]:
    """The arrays by name; bfloat16 comes as float32.

    Raises:
        OSError: no such file, or not readable.
        ImportError: the library is not installed.
        ValueError: not such a file, damaged, or with a dtype that NumPy lacks.
    """
    return _parsed(path.read_bytes())


def write(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write C-contiguous arrays, of the dtypes in `WRITABLE`, by their names.

    The library takes memory as it lies: strides it does not see, and what is not contiguous it would scramble without a
    word. So what shall be written is read back and compared first.

    Raises:
        ImportError: the library is not installed.
        RuntimeError: it came back changed.
    """
    _library()
    from safetensors.numpy import save

    content = save(dict(arrays))
    found = _parsed(content)
    if found.keys() != arrays.keys():
        raise RuntimeError("safetensors lost or added arrays; nothing was written")
    for name, array in arrays.items():
        if (
            found[name].dtype != array.dtype
            or found[name].shape != array.shape
            or found[name].tobytes() != array.tobytes()
        ):
            raise RuntimeError(f"safetensors changed {name!r}; nothing was written")
    file.write(content)


def _library() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            ".safetensors files need the library safetensors, which is not installed: pip install 'npseg[weights]'"
        ) from error
    return safetensors


def _parsed(content: bytes) -> dict[str, Array]:
    library = _library()
    try:
        tensors = library.deserialize(content)
    except library.SafetensorError as error:
        raise ValueError(f"not a .safetensors file, or damaged: {error}") from error
    return {name: _array(name, tensor) for name, tensor in tensors}


def _array(name: str, tensor: Mapping[str, Any]) -> Array:
    """One array that can be written to, in native byte order."""
    kind = tensor["dtype"]
    if kind == BFLOAT16:
        return widened(np.frombuffer(tensor["data"], "<u2")).reshape(tensor["shape"])
    if kind not in DTYPES:
        raise ValueError(f"{name!r} is {kind}, which NumPy lacks; known are {', '.join([*DTYPES, BFLOAT16])}")
    dtype = np.dtype(DTYPES[kind])
    assert dtype in WRITABLE
    little = np.frombuffer(bytearray(tensor["data"]), dtype.newbyteorder("<"))
    return np.asarray(little, dtype).reshape(tensor["shape"])
