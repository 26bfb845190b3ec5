"""Several networks trained one after the other at an equal budget, in a folder that can be taken up again.

    plan.json            the plan: which systems, and what they have in common
    SYSTEM/              the run of each (`npseg.training.run`)
    SYSTEM/seconds.txt   how long each of its steps took, one line a step

A run goes on from its newest checkpoint, so that an interrupted comparison loses a few steps of one system.
"""

import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from npseg import checks
from npseg.data import Dataset
from npseg.files import write_whole
from npseg.models import SYSTEMS, Proportions, system
from npseg.nn.graph import Graph
from npseg.training import checkpoints, log
from npseg.training.checkpoints import CHECKPOINT
from npseg.training.evaluation import Evaluation
from npseg.training.loop import Record
from npseg.training.run import LOG, Run
from npseg.training.settings import Settings
from npseg.training.task import Task

PLAN, SECONDS = "plan.json", "seconds.txt"


@dataclass(frozen=True)
class Plan:
    """What is compared, and the budget that all have alike.

    Attributes:
        systems: names of `npseg.models.SYSTEMS`.
        settings: how each is trained.

    Raises:
        ValueError: no system, an unknown one, or one named twice.
    """

    systems: tuple[str, ...]
    settings: Settings

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        for name in self.systems:
            checks.choice(name, "systems", tuple(SYSTEMS))
        if not self.systems or len(set(self.systems)) < len(self.systems):
            raise ValueError(f"systems must be at least one name, each once, got {self.systems}")

    def describe(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        return {"systems": list(self.systems), "settings": self.settings.describe()}

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """The plan in a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no plan; the message names the file.
        """
        try:
            described = json.loads(path.read_text())
            return cls(tuple(described["systems"]), Settings.from_description(described["settings"]))
        except (ValueError, TypeError, LookupError) as error:
            raise ValueError(f"{path}: not the plan of a comparison: {error}") from error


@dataclass(frozen=True)
class Outcome:
    """What a system's training came to.

    Attributes:
        evaluation: the validation after the last step.
        seconds_per_step: the median over all its steps; None where none was timed.
        model: the network.
        task: what it was trained for.
    """

    evaluation: Evaluation
    seconds_per_step: float | None
    model: Graph
    task: Task


class Comparison:
    """A comparison and its folder: begun by `start` or taken up again by `resume`, then `train` for each system.

    Args:
        folder: where everything is.
        plan: what is compared.
        training, validation: the data that new runs start with.
    """

    def __init__(self, folder: Path, plan: Plan, training: Dataset, validation: Dataset) -> None:
        """See the class."""
        self.folder, self.plan = folder, plan
        self._training, self._validation = training, validation

    @classmethod
    def start(cls, folder: Path, plan: Plan, training: Dataset, validation: Dataset) -> "Comparison":
        """Begin: make the folder and write the plan.

        Raises:
            ValueError: there are files in the folder.
        """
        folder = checks.path(folder, "folder")
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{folder}: a new comparison needs an empty folder")
        text = json.dumps(plan.describe(), indent=2, allow_nan=False) + "\n"
        write_whole(folder / PLAN, lambda file: file.write(text.encode()))
        return cls(folder, plan, training, validation)

    @classmethod
    def resume(cls, folder: Path, training: Dataset, validation: Dataset) -> "Comparison":
        """Take up a comparison by the plan in its folder; errors as in `Plan.read`."""
        folder = checks.path(folder, "folder")
        return cls(folder, Plan.read(folder / PLAN), training, validation)

    def train(self, name: str, observe: Callable[[Record], object] = lambda record: None) -> bool:
        """Train a system to its last step, from where it stands; nothing is left to do where it is there already.

        Args:
            name: of the system.
            observe: called with the record of each step.

        Returns:
            Whether the last step is done; False after Ctrl-C. Errors as in `Run.train`.
        """
        run = self._run(name)
        with open(run.folder / SECONDS, "a", buffering=1, encoding="utf-8") as seconds:
            before: float | None = None  # the first step may have to compile

            def timed(record: Record) -> None:
                nonlocal before
                now = time.perf_counter()
                if before is not None and "val" not in record:
                    seconds.write(f"{now - before:.6f}\n")
                observe(record)
                before = time.perf_counter()

            return run.train(timed)

    def step(self, name: str) -> int:
        """How many steps of a system are done and saved."""
        path = self.folder / name / CHECKPOINT
        return checkpoints.load(path).step if path.exists() else 0

    def outcome(self, name: str) -> Outcome:
        """What a system that has been trained to its last step came to.

        Raises:
            OSError, ValueError: its run is not complete, or damaged.
        """
        folder = self.folder / name
        model, task = checkpoints.load_network(checkpoints.locate(folder))
        lines = (folder / SECONDS).read_text().split()
        median = statistics.median(map(float, lines)) if lines else None
        validations = [record["val"] for record in log.read(folder / LOG) if "val" in record]
        if not validations:
            raise ValueError(f"{folder}: its log has no validation, the run is not complete")
        evaluation = validations[-1]
        return Outcome(evaluation, median, model, task)

    def _run(self, name: str) -> Run:
        """The system's run, resumed or new."""
        folder = self.folder / name
        if (folder / CHECKPOINT).exists():
            return Run.resume(folder)
        if folder.exists():
            shutil.rmtree(folder)  # what a start leaves behind that was killed before its first checkpoint
        model = system(name, len(self._training.classes), Proportions(), seed=self.plan.settings.seed)
        config: Mapping[str, Any] = {"network": {"system": name, **asdict(Proportions())}}
        return Run.start(folder, model, self._training, self._validation, self.plan.settings, config)
