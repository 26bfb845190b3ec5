"""Files written whole or not at all, and zip files checked before they are read."""

import os
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from npseg.checks import Array

SMALL = 64 * 2**20
"""Bytes that any zip file may unpack to."""

LARGEST_EXPANSION = 100
"""Bytes for each of its own that a larger one may unpack to. Trained weights hardly shrink when they are compressed."""


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place in one step.

    Whoever reads `path` sees the old file or the new one, never a part, even if the process is killed or the disk
    fills up: the content is synced before the rename, the folder's entry after it.

    Args:
        path: where the file shall be; its folder must exist.
        write: called with the open binary file.

    Raises:
        OSError: the folder is missing, full or not writable; an older file at `path` is untouched.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    with naming(path):
        file = open(temporary, "xb")  # noqa: SIM115 - before `try`: what could not be made must not be removed
        try:
            with file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system say which file they are about: of a full disk, it tells only that it is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = os.fspath(path), None
        raise


def read_into(stream: BinaryIO, array: Array) -> bool:
    """Fill a contiguous array with the stream's next bytes; whether there were enough of them."""
    waiting = array.reshape(-1).view("u1").data
    while waiting:
        count = stream.readinto(waiting)  # type: ignore[attr-defined]  # every binary stream has it
        if not count:
            return False
        waiting = waiting[count:]
    return True


def check_members(archive: zipfile.ZipFile) -> None:
    """Refuse an open zip file that would fill the memory, or that `zipfile` would follow to where nothing is.

    Every member must begin inside the file and be stored or deflated, no two have one name, and all together not unpack
    to more than LARGEST_EXPANSION times the file's size, unless that is SMALL.

    Raises:
        zipfile.BadZipFile: one of these does not hold.
    """
    assert archive.fp is not None
    size = archive.fp.seek(0, os.SEEK_END)
    names = set()
    for member in archive.infolist():
        if not 0 <= member.header_offset < size:
            raise zipfile.BadZipFile(f"{member.filename!r} begins at byte {member.header_offset:,} of {size:,}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{member.filename!r} is compressed in an unusual way ({member.compress_type})")
        if member.filename in names:
            raise zipfile.BadZipFile(f"{member.filename!r} is there twice")
        names.add(member.filename)
    unpacked, limit = sum(member.file_size for member in archive.infolist()), max(SMALL, LARGEST_EXPANSION * size)
    if unpacked > limit:
        raise zipfile.BadZipFile(f"a file of {size:,} bytes may unpack to {limit:,}, this one claims {unpacked:,}")


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can open a folder at all (Windows can not)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
