"""What several commands share: errors of use, the output folder, the choice of an engine, the data of `--data`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npseg.flags.training import DATA_DEFAULTS, SHAPES, SHAPES_COUNT

if TYPE_CHECKING:
    from npseg.data import Dataset

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


class UsageError(ValueError):
    """The command was asked for something that makes no sense."""


def flag_of(name: str) -> str:
    """The flag whose value argparse keeps under this name."""
    return "--" + name.replace("_", "-")


def output_folder(given: Mapping[str, Any], name: str) -> Path:
    """Where something new goes: the folder that `--output` names, which must be empty, or a fresh one by this name."""
    folder: Path = given.get("output") or _fresh_folder(f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--output {folder} is in use: name another folder, or go on with it by --resume {folder}")
    return folder


def _fresh_folder(name: str) -> Path:
    """A folder under runs/ by this name, or this name with a number, that does not exist yet."""
    folder, number = Path("runs", name), 1
    while folder.exists():
        number += 1
        folder = Path("runs", f"{name}-{number}")
    return folder


def engine(name: str | None, winograd: str | None) -> AbstractContextManager[Any]:
    """The engine that the flags ask for; what they leave open stays as it is."""
    from npseg import use_engine
    from npseg.engines import choose

    chosen = choose(name, **({} if winograd is None else {"winograd": winograd}))
    return use_engine(chosen.name, **chosen.options)


def open_data(data: str, split: str, image_size: tuple[int, int] | None = None) -> "Dataset":
    """A split of the data that `--data` names."""
    from npseg import checks
    from npseg.data import ImageFolder, Shapes

    if data == SHAPES:
        checks.choice(split, "split", tuple(SHAPES_COUNT))
        size = image_size or DATA_DEFAULTS[SHAPES]["image_size"]
        return Shapes(SHAPES_COUNT[split], split=split, image_size=size)
    return ImageFolder(data, split)
