"""Checkpoints: everything a run needs to go on, in one file.

Random draws are keyed by seed and step (`npseg.randomness`) and schedules are functions of the step, so the state of
the generators, the position in the data and the point of the schedule are all one number: the step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npseg.checks import integer
from npseg.models import files
from npseg.nn.graph import Graph
from npseg.training.optimisers import Optimiser, restore
from npseg.training.settings import Settings
from npseg.training.task import Task

CHECKPOINT, BEST = "checkpoint.npz", "best.npz"
"""The files of a run's newest state and of its best network."""


@dataclass
class TrainingState:
    """A run between two steps.

    Attributes:
        model: the network, its parameters and running statistics.
        optimiser: with its moments.
        settings: how the run trains.
        task: what it trains for.
        samples: the number of training samples, on which their order depends.
        step: updates made so far.
        best_step: the step whose validation was the best so far, None before the first.
        best_mean_iu: the mean IU found then, 0 where nothing defined one; None before the first validation.
        config: what the run's owner wants to remember of how it began, as JSON can hold it.
    """

    model: Graph
    optimiser: Optimiser
    settings: Settings
    task: Task
    samples: int
    step: int = 0
    best_step: int | None = None
    best_mean_iu: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


def save(state: TrainingState, path: Path) -> None:
    """Write everything, whole or not at all."""
    extra = {f"optimiser/{name}": array for name, array in state.optimiser.state.items()}
    progress = {
        "settings": state.settings.describe(),
        "samples": state.samples,
        "best_step": state.best_step,
        "best_mean_iu": state.best_mean_iu,
        "config": dict(state.config),
    }
    files.save(state.model, path, extra, {**_about_network(state), "training": progress})


def save_network(state: TrainingState, path: Path) -> None:
    """Write what is needed to use the network, but not to train it on."""
    files.save(state.model, path, metadata=_about_network(state))


def load(path: Path) -> TrainingState:
    """Read what `save` wrote.

    Raises:
        OSError: no such file, or not readable.
        ValueError: anything wrong inside; the message names the file.
    """
    model, extra, metadata = files.read(path)
    if "training" not in metadata:
        raise ValueError(f"{path}: holds a network, but no training to resume")
    try:
        progress = metadata["training"]
        settings = Settings.from_description(progress["settings"])
        optimiser = settings.make_optimiser()
        moments = {name.removeprefix("optimiser/"): np.array(array) for name, array in extra.items()}
        restore(optimiser, moments, model.parameters)
        return TrainingState(
            model=model,
            optimiser=optimiser,
            settings=settings,
            task=Task.from_description(metadata["task"]),
            samples=integer(progress["samples"], "samples", at_least=1),
            step=integer(metadata["step"], "step", at_least=0),
            best_step=progress["best_step"],
            best_mean_iu=progress["best_mean_iu"],
            config=progress["config"],
        )
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: no training can be resumed from it: {error}") from error


def locate(path: Path) -> Path:
    """The file that holds a network: `path` itself, or the best network of the run whose folder it is.

    Raises:
        FileNotFoundError: there is none; the message says where one may be.
    """
    if not path.is_dir():
        return path
    if (path / BEST).exists():
        return path / BEST
    if (path / CHECKPOINT).exists():
        raise FileNotFoundError(f"{path}: has no {BEST}, no validation has been made yet; name {path / CHECKPOINT}")
    raise FileNotFoundError(f"{path}: the folder of no run, it has no {BEST}")


def load_network(path: Path) -> tuple[Graph, Task]:
    """Read the network and its task from a checkpoint of either kind; errors as in `load`."""
    model, _, metadata = files.read(path)
    return model, _task(path, metadata)


def load_any_network(path: Path) -> tuple[Graph, Task | None]:
    """Read a network, and its task where the file tells one; errors as in `load`."""
    model, _, metadata = files.read(path)
    return model, _task(path, metadata) if "task" in metadata else None


def _task(path: Path, metadata: Mapping[str, Any]) -> Task:
    try:
        return Task.from_description(metadata["task"])
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: does not tell what its network was trained for: {error}") from error


def _about_network(state: TrainingState) -> dict[str, Any]:
    return {"task": state.task.describe(), "step": state.step}
