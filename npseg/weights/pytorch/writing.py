"""Writing a state dictionary in PyTorch's zip form by hand, for `torch.load(path, weights_only=True)`.

The pickle is as PyTorch's own: an ordered dictionary from names to calls of `torch._utils._rebuild_tensor_v2`, each on
a storage of its own. Storages start at multiples of 64 bytes, so that `torch.load(path, mmap=True)` can map them. Form
and sources: `npseg.weights.pytorch.files`.
"""

import math
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from npseg.checks import Array
from npseg.weights.pytorch.tensors import STORAGES

FOLDER = "archive"
VERSION = b"3\n"
"""Of the zip form, as PyTorch has written it since it exists."""
ALIGNMENT = 64

ZIP_HEADER = 30
"""Bytes of a member's header before its name."""
FIELD_HEADER = 4
"""Bytes of an extra field's kind and length."""

STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write C-contiguous arrays, of the dtypes in `npseg.weights.numbers.WRITABLE`, by their names."""
    members: dict[str, bytes | memoryview] = {
        "data.pkl": _pickled(arrays),
        "byteorder": sys.byteorder.encode(),
        **{f"data/{key}": array.reshape(-1).view(np.uint8).data for key, array in enumerate(arrays.values())},
        "version": VERSION,
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(_aligned(f"{FOLDER}/{name}", file.tell()), content)


def _aligned(name: str, position: int) -> zipfile.ZipInfo:
    """A member whose header, with a field that means nothing, ends at a multiple of ALIGNMENT."""
    header = ZIP_HEADER + len(name) + FIELD_HEADER
    padding = -(position + header) % ALIGNMENT
    member = zipfile.ZipInfo(name)
    member.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return member


def _pickled(arrays: Mapping[str, Array]) -> bytes:
    """The program that makes the dictionary of tensors."""
    items = [_text(name) + _tensor(str(key), array) for key, (name, array) in enumerate(arrays.items())]
    return b"".join([pickle.PROTO, b"\x02", _EMPTY_ORDERED, pickle.MARK, *items, pickle.SETITEMS, pickle.STOP])


def _tensor(key: str, array: Array) -> bytes:
    """A call of `_rebuild_tensor_v2`: storage, offset, shape, strides, whether it learns, hooks."""
    kind = _global("torch", STORAGE_NAMES[array.dtype])
    identity = _tuple(_text("storage"), kind, _text(key), _text("cpu"), _integer(array.size))
    shape = _tuple(*map(_integer, array.shape))
    strides = _tuple(*(_integer(math.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)))
    arguments = _tuple(identity + pickle.BINPERSID, _integer(0), shape, strides, pickle.NEWFALSE, _EMPTY_ORDERED)
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def _text(text: str) -> bytes:
    content = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(content)) + content


def _integer(value: int) -> bytes:
    content = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(content)]) + content


def _tuple(*items: bytes) -> bytes:
    return b"".join([pickle.MARK, *items, pickle.TUPLE])


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


_EMPTY_ORDERED = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
