"""What both libraries' workers have in common: they check a pass against the reference, and time it."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.cases import Case

LAYOUTS = "NCHW", "channels_last"
"""PyTorch's memory layouts: its usual one, and the one in which a pixel's channels lie side by side."""

Run = Callable[[], Any]
Passes = Mapping[str, Run]
"""For each pass of a case, what computes it."""


class Side(ABC):
    """One library, in its worker: a case is prepared, then each of its passes is checked and timed in some forms."""

    @abstractmethod
    def prepare(self, case: Case) -> Sequence[str]:
        """Make the case's arrays, and say in which forms this side can compute it."""

    @abstractmethod
    def run_of(self, form: str, pass_name: str) -> Run | None:
        """What computes a pass in this form; None where this form does not have it."""

    @contextmanager
    def using(self, form: str) -> Iterator[None]:
        """The settings of a form."""
        yield

    def deviation(self, form: str, pass_name: str, references: Sequence[Path]) -> float | None:
        """How far the pass is from the reference's arrays, as `measuring.deviation`; None if this form lacks it."""
        run = self.run_of(form, pass_name)
        if run is None:
            return None
        with self.using(form):
            return measuring.deviation(arrays_of(run()), [np.load(path, mmap_mode="r") for path in references])

    def turn(self, form: str, pass_name: str, seconds: float) -> list[float]:
        """Seconds of each repetition of a pass."""
        run = self.run_of(form, pass_name)
        assert run is not None
        with self.using(form):
            return measuring.repeat(run, seconds)


def arrays_of(result: Any) -> list[Any]:
    """A result's arrays."""
    return [np.asarray(part) for part in (result if isinstance(result, (tuple, list)) else (result,))]


def save_all(arrays: Sequence[Any], folder: Path) -> list[Path]:
    """Write arrays, float64 rounded to float32, into files of their own."""
    paths = []
    for array in arrays:
        with tempfile.NamedTemporaryFile(suffix=".npy", dir=folder, delete=False) as file:
            np.save(file, array.astype(np.float32) if array.dtype == np.float64 else array)
        paths.append(Path(file.name))
    return paths
