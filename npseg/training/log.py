"""The run's log: one JSON object per line and step, whole lines even when the process is killed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from npseg.files import naming, write_whole


class Log:
    """Appends records to a file of JSON lines.

    Args:
        path: the file; it is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        self._path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by __exit__

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and hand it to the system, so that killing this process loses nothing.

        Raises:
            OSError: the disk is full, or another fault of the system; the log may end in half a line.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with naming(self._path):
            while line:
                line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Force all records to the disk, so that a checkpoint never outlives the log that leads to it."""
        with naming(self._path):
            os.fsync(self._file.fileno())

    def __enter__(self) -> "Log":
        """The log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All records of a log; none where there is no file.

    A last line that was cut off by a crash is left out.

    Raises:
        ValueError: another line is no record; the message names file and line.
    """
    if not path.exists():
        return []
    *lines, _cut_off = path.read_bytes().split(b"\n")
    return [_record(path, number, line) for number, line in enumerate(lines, start=1)]


def cut_back(path: Path, step: int) -> None:
    """Remove the records after `step`: the steps that a run resumed from there makes once more."""
    kept = [record for record in read(path) if record["step"] <= step]
    text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in kept)
    write_whole(path, lambda file: file.write(text.encode()))


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode(), parse_constant=_no_number)
        if isinstance(record["step"], int):
            return dict(record)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    raise ValueError(f"{path}: line {number} is no record of a step")


def _no_number(name: str) -> None:
    """NaN and infinity, which Python's reader takes and no log of ours has."""
    raise ValueError(f"{name} is no number that JSON knows")
