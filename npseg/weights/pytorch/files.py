"""Reading a state dictionary in either of the two forms that PyTorch has written.

    zip form (since 1.6)  NAME/data.pkl       the pickle
                          NAME/data/KEY       each storage's numbers, uncompressed
                          NAME/byteorder      "little" or "big"; missing in older files, which are little
    legacy form           five pickles: a magic number, the protocol, the writer's byte order and sizes, the state
                          dictionary, the storages' keys; then for each key a count (int64) and the numbers

The zip form carries checksums, so damage is found; the legacy form has none for its numbers. Source:
`torch/serialization.py` (`_save`, `_legacy_save`) and `caffe2/serialize/inline_container.h`.
"""

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from npseg.checks import Array, describe
from npseg.files import check_members
from npseg.weights.pytorch import pickles
from npseg.weights.pytorch.tensors import (
    KNOWN,
    ByteOrder,
    Storage,
    Storages,
    keys_of,
    state_dictionary,
    views,
)

ZIP_START = b"PK\x03\x04"
PICKLE = "data.pkl"
LONGEST_PICKLE = 16 * 2**20
"""In bytes: room for tens of thousands of tensors."""

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read(path: Path) -> dict[str, Array]:
    """The arrays of a state dictionary; tensors that share a storage share memory.

    Raises:
        OSError: no such file, or not readable.
        ValueError: not a state dictionary in one of the two forms, damaged, or wanting anything to be run.
    """
    with path.open("rb") as file:
        start = file.read(len(ZIP_START))
        file.seek(0)
        return _read_zip(file) if start == ZIP_START else _read_legacy(file)


# The zip form


def _read_zip(file: BinaryIO) -> dict[str, Array]:
    size = _size(file)
    try:
        with zipfile.ZipFile(file) as archive:
            check_members(archive)
            folder = _folder(archive)
            program = io.BytesIO(_small(archive, f"{folder}{PICKLE}", LONGEST_PICKLE))
            storages = Storages()
            tensors = state_dictionary(pickles.load(program, KNOWN, storages.named, limit=LONGEST_PICKLE))
            needed = [storages[key] for key in keys_of(tensors)]
            _check_storages(archive, folder, needed, size)
            order = _byte_order(archive, folder)
            return views(tensors, {storage.key: _numbers(archive, folder, storage, order) for storage in needed})
    except (zipfile.BadZipFile, struct.error, EOFError, RuntimeError, OverflowError) as error:
        raise ValueError(f"a damaged zip file: {error or type(error).__name__}") from error


def _folder(archive: zipfile.ZipFile) -> str:
    """The folder of the one data.pkl, with its slash."""
    found = [name for name in archive.namelist() if name.split("/")[1:] == [PICKLE]]
    if len(found) != 1:
        raise ValueError(f"no PyTorch file: a zip file with {len(found)} members FOLDER/{PICKLE}, one is needed")
    return found[0].removesuffix(PICKLE)


def _small(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member's content."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > limit:
        raise ValueError(f"{describe(name)} is compressed or has {member.file_size:,} bytes, more than {limit:,}")
    return archive.read(member)


def _byte_order(archive: zipfile.ZipFile, folder: str) -> ByteOrder:
    name = f"{folder}byteorder"
    written = _small(archive, name, 16) if name in archive.namelist() else b"little"
    if written not in (b"little", b"big"):
        raise ValueError(f"its byte order is {written!r}, neither little nor big")
    return "<" if written == b"little" else ">"


def _check_storages(archive: zipfile.ZipFile, folder: str, storages: list[Storage], size: int) -> None:
    """Each storage's member has as many bytes as its count says, and the file has room for all together."""
    for storage in storages:
        name = f"{folder}data/{storage.key}"
        if name not in archive.NameToInfo:
            raise ValueError(f"it lacks the storage {describe(storage.key)}")
        member = archive.NameToInfo[name]
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != storage.nbytes:
            raise ValueError(
                f"storage {describe(storage.key)} must have {storage.nbytes:,} bytes, uncompressed, "
                f"got {member.file_size:,} with compression {member.compress_type}"
            )
    if (needed := sum(storage.nbytes for storage in storages)) > size:
        raise ValueError(f"its storages claim {needed:,} bytes, the file has {size:,}")


def _numbers(archive: zipfile.ZipFile, folder: str, storage: Storage, order: ByteOrder) -> Array:
    """A storage's numbers; the archive compares its checksum as the end is reached."""
    with archive.open(f"{folder}data/{storage.key}") as member:
        numbers = storage.read(member, order)  # type: ignore[arg-type]  # the stubs' IO[bytes] is a BinaryIO
        member.read(1)
        return numbers


# The legacy form


def _read_legacy(file: BinaryIO) -> dict[str, Array]:
    _read_header(file)
    order = _read_writer(file)
    storages = Storages()
    tensors = state_dictionary(pickles.load(file, KNOWN, storages.named, limit=LONGEST_PICKLE))
    keys = pickles.load(file, {}, limit=LONGEST_PICKLE)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError("its storages are not the ones that its tensors need")
    start, size = file.tell(), _size(file)
    file.seek(start)
    needed = sum(8 + storage.nbytes for storage in storages.values())
    if size - start < needed:
        raise ValueError(f"it is cut short: its storages need {needed:,} bytes, {size - start:,} are left")
    needed_keys = keys_of(tensors)
    return views(tensors, {key: _legacy_numbers(file, storages[key], order, key in needed_keys) for key in keys})


def _read_header(file: BinaryIO) -> None:
    """The magic number and the protocol."""
    try:
        magic = pickles.load(file, {}, limit=64)
    except ValueError as error:
        raise ValueError(f"no PyTorch file: {error}") from error
    if magic != MAGIC_NUMBER:
        raise ValueError("no PyTorch file: neither a zip file nor the legacy form's magic number")
    protocol = pickles.load(file, {}, limit=64)
    if protocol != PROTOCOL:
        raise ValueError(f"its protocol is {describe(protocol)}, only {PROTOCOL} is known")


def _read_writer(file: BinaryIO) -> ByteOrder:
    """The byte order of the machine that wrote it."""
    writer = pickles.load(file, {}, limit=4096)
    little = writer.get("little_endian") if isinstance(writer, dict) else None
    if not isinstance(little, bool):
        raise ValueError("it does not say its byte order")
    return "<" if little else ">"


def _legacy_numbers(file: BinaryIO, storage: Storage, order: ByteOrder, needed: bool) -> Array:
    """A count and the numbers, or no numbers where none are needed."""
    (count,) = struct.unpack(f"{order}q", file.read(8))
    if count != storage.count:
        raise ValueError(f"storage {describe(storage.key)} has {count:,} numbers, its tensors need {storage.count:,}")
    if not needed:
        file.seek(storage.nbytes, os.SEEK_CUR)
        return np.empty(0, storage.kind.dtype)
    return storage.read(file, order)


def _size(file: BinaryIO) -> int:
    """The file's size; it stands at its end afterwards."""
    return file.seek(0, os.SEEK_END)
