"""The run's log: one JSON object per line and step, whole lines even when the process is killed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from npseg.files import write_whole


class Log:
    """Appends records to a file of JSON lines.

    Args:
        path: the file; it is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and hand it to the system, so that killing this process loses nothing."""
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Force all records to the disk, so that a checkpoint never outlives the log that leads to it."""
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
        record = json.loads(line)
        if isinstance(record["step"], int):
            return dict(record)
    except (ValueError, TypeError, LookupError):
        pass
    raise ValueError(f"{path}: line {number} is no record of a step")
