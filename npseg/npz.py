"""Reading .npz files without trusting them: a zip archive with one .npy file for each array.

NumPy's own reader makes room for as many numbers as a header claims, and gives the header to Python's parser. Here a
header must be one of plain numbers or text, and claim as many bytes as its member has, before anything is allocated.

Source: `numpy.lib.format`, which describes the .npy format.
"""

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from npseg.checks import Array
from npseg.files import check_members, read_into

MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
"""How many bytes tell the header's length, by the format's version."""
LONGEST_HEADER = 10_000

HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>|=]?[biufcSU][1-9][0-9]{0,8})',"
    r"\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(((?:[0-9]{1,19}L?,\s*)*(?:[0-9]{1,19}L?)?)\),?\s*\}\s*"
)
"""A dictionary of three entries. NumPy under Python 2 wrote lengths as 12L."""


def read(path: Path, only: str | None = None) -> dict[str, Array]:
    """The arrays of an .npz file by name: all, or the one of this name if it is there.

    Raises:
        OSError: no such file, or not readable.
        ValueError: not an .npz file, damaged, with anything else than plain arrays of numbers or text, or claiming to
            be far larger than it is; the message names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            if len(members) < len(archive.namelist()):
                raise ValueError("it has two arrays of one name")
            wanted = members if only is None else members.keys() & {only}
            return {name: _read_member(archive, members[name]) for name in wanted}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not an .npz file, or cut short or damaged: {error}") from error
    except (ValueError, TypeError, EOFError, RuntimeError, MemoryError, OverflowError, zlib.error) as error:
        raise ValueError(f"{path}: damaged: {error or type(error).__name__}") from error


def _read_member(archive: zipfile.ZipFile, name: str) -> Array:
    """One array; the zip archive compares its checksum as the last byte is read."""
    with archive.open(name) as member:
        dtype, shape, fortran, start = _read_header(member, name)  # type: ignore[arg-type]  # IO[bytes] is a BinaryIO
        needed, there = dtype.itemsize * math.prod(shape), archive.getinfo(name).file_size - start
        if needed != there:
            fault = "goes on after its array" if needed < there else "is cut short"
            raise ValueError(f"{name} {fault}: {shape} of {dtype} are {needed:,} bytes, it has {there:,}")
        array: Array = np.empty(shape[::-1] if fortran else shape, dtype)
        if not read_into(member, array) or member.read(1):  # type: ignore[arg-type]
            raise ValueError(f"{name} has another length than the archive says")
        return array.T if fortran else array


def _read_header(member: BinaryIO, name: str) -> tuple[np.dtype[np.generic], tuple[int, ...], bool, int]:
    """The array's dtype and shape, whether its first axis is the fastest, and where its numbers begin."""
    start = member.read(len(MAGIC) + 2)
    length_bytes = LENGTH_BYTES.get(start[len(MAGIC) :])
    if not start.startswith(MAGIC) or length_bytes is None:
        raise ValueError(f"{name} is no .npy file of a known version")
    length = int.from_bytes(member.read(length_bytes), "little")
    header = member.read(min(length, LONGEST_HEADER)).decode("latin-1")
    found = HEADER.fullmatch(header) if len(header) == length else None
    if found is None:
        raise ValueError(f"{name} does not hold a plain array of numbers or text: its header is {header[:80]!r}")
    descr, order, lengths = found.groups()
    shape = tuple(int(length) for length in re.findall("[0-9]+", lengths))
    return np.dtype(descr), shape, order == "True", len(start) + length_bytes + length
