"""A training run that was stopped and taken up again is the run that never stopped, to the last bit."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.data import Shapes
from npseg.models import files
from npseg.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Crop, Dropout, Graph, MaxPool2d, ReLU
from npseg.nn.steps import IMAGE, Node
from npseg.randomness import generator
from npseg.training.checkpoints import CHECKPOINT
from npseg.training.run import LOG, Run
from npseg.training.settings import Settings
from npseg.verify.cases import Case
from npseg.verify.comparisons import Comparison, largest_difference

RESUME = "checkpoint-resume"
"""The name of the check."""

TRAINING = "training"
"""The name under which training appears among the operations."""

STEPS, STOPPED_AFTER = 5, 2

IMAGE_SIZE = 16, 18


def checkpoint_resume(case: Case, engine: str) -> Comparison:
    """Train without a stop; stop after two steps, resume, and train on; compare every array and every loss.

    The network has all that a checkpoint could forget: weights, running statistics, dropout, an optimiser with a
    memory, flips of the images. Also, the weights that the file gives back are those that the run ended with.
    """
    with tempfile.TemporaryDirectory(prefix="npseg-verify-") as folder:
        whole = _start(Path(folder, "whole"), case.seed, engine, STEPS)
        _train(whole)
        _train(_start(Path(folder, "stopped"), case.seed, engine, STOPPED_AFTER))
        resumed = Run.resume(Path(folder, "stopped"), steps=STEPS)
        _train(resumed)
        expected, found = _state(whole.folder), _state(resumed.folder)
        if expected.keys() != found.keys():
            missing = sorted(expected.keys() ^ found.keys())
            return Comparison(float("inf"), trouble=f"{missing[0]} is in one run's files alone")
        resumption = _compared(found, expected)
        loaded = files.load(whole.folder / CHECKPOINT)
        kept = {**whole.state.model.parameters, **whole.state.model.buffers}
        return resumption.joined(_compared({**loaded.parameters, **loaded.buffers}, kept))


def training_case(seed: int) -> Case:
    """The case of this number: nothing is drawn for it but what a run draws for itself."""
    return Case(TRAINING, {}, {}, seed)


def _start(folder: Path, seed: int, engine: str, steps: int) -> Run:
    rng = generator(seed, "verify training")
    settings = Settings(
        steps=steps,
        batch_size=2,
        seed=seed,
        optimizer=("adam", "sgd")[rng.integers(2)],
        learning_rate=0.01,
        weight_decay=0.01,
        schedule="step",
        decay_every=3,
        validate_every=STOPPED_AFTER,
        checkpoint_every=1,
        engine=engine,
    )
    training, validation = (Shapes(n, split=split, image_size=IMAGE_SIZE) for n, split in ((3, "train"), (2, "val")))
    return Run.start(folder, _network(seed), training, validation, settings)


def _train(run: Run) -> None:
    """To the last step. A run takes Ctrl-C for its own; here it is meant for all that follows too."""
    if not run.train():
        raise KeyboardInterrupt


def _network(seed: int) -> Graph:
    """Small enough for loops."""
    nodes = [
        Node("conv1", Conv2d(3, 4, 3, stride=2, padding=1), (IMAGE,)),
        Node("norm1", BatchNorm2d(4), ("conv1",)),
        Node("relu1", ReLU(), ("norm1",)),
        Node("pool1", MaxPool2d(2, ceil_mode=True), ("relu1",)),
        Node("drop1", Dropout(0.3), ("pool1",)),
        Node("conv2", Conv2d(4, len(Shapes.classes), 3, padding=1), ("drop1",)),
        Node("upscore", ConvTranspose2d(len(Shapes.classes), len(Shapes.classes), 4, stride=4), ("conv2",)),
        Node("score", Crop(0), ("upscore", IMAGE)),
    ]
    return Graph(nodes, seed=seed)


def _state(folder: Path) -> dict[str, Array]:
    """All arrays of the last checkpoint, and what the log says of each step."""
    model, extra, _ = files.read(folder / CHECKPOINT)
    records: list[Mapping[str, Any]] = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    logged = {name: np.array([record[name] for record in records]) for name in ("step", "loss", "learning_rate")}
    validated = np.array([record["val"]["pixel_accuracy"] for record in records if "val" in record])
    return {**model.parameters, **model.buffers, **extra, **logged, "validations": validated}


def _compared(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> Comparison:
    """The largest difference; what proves nothing is judged by all numbers together."""
    found = largest_difference([*ours.values()], [*theirs.values()])
    together = np.concatenate([np.ravel(array) for array in theirs.values()])
    wrong = [name for name in theirs if not np.array_equal(ours[name], theirs[name])]
    return Comparison(found.worst, not np.any(together), found.trouble or (f"{wrong[0]} differs" if wrong else ""))
