"""Files written whole or not at all, and zip files checked before they are read."""

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def check_members(archive: zipfile.ZipFile) -> None:
    """Every member of an open zip file must begin inside it; `zipfile` itself would seek to wherever its list says.

    Raises:
        zipfile.BadZipFile: one does not.
    """
    assert archive.fp is not None
    size = archive.fp.seek(0, os.SEEK_END)
    for member in archive.infolist():
        if not 0 <= member.header_offset < size:
            raise zipfile.BadZipFile(f"{member.filename!r} begins at byte {member.header_offset:,} of {size:,}")


def _umask() -> int:
    """The permission bits that new files of this process do not get (mkstemp's are stricter than a user expects)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
