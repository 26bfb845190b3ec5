"""A training run and the folder in which it lives.

    config.json       data, network and settings
    log.jsonl         one object per step: step, loss, learning_rate; after a validation also val
    checkpoint.npz    the newest state: everything needed to go on
    best.npz          the network of the best validation

A run may be killed at any moment. Each file but the log is replaced as a whole; the log is cut back to the checkpoint's
step when the run is resumed. The steps made once more come out bit for bit as before: every random draw is keyed by its
step, so nothing that the checkpoint lacks is remembered.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from npseg import buffers, checks, use_engine
from npseg.data import (
    Compose,
    Dataset,
    ImageAlone,
    Normalise,
    RandomCrop,
    RandomHorizontalFlip,
    RandomScale,
    Transform,
    labels_whole_images,
)
from npseg.engines import choose
from npseg.files import write_whole
from npseg.nn.graph import Graph
from npseg.training import baselines, checkpoints, log
from npseg.training.baselines import BaselineMetrics
from npseg.training.batches import Batches
from npseg.training.checkpoints import BEST, CHECKPOINT, TrainingState
from npseg.training.divergence import DivergedError
from npseg.training.evaluation import Evaluation, beside_baselines, confusion
from npseg.training.interruption import Interruption
from npseg.training.loop import Record, check_usable, rate_scales, training_step
from npseg.training.ranks import Ranks, check_batch
from npseg.training.samples import cached, each
from npseg.training.settings import Settings
from npseg.training.task import Task

CONFIG, LOG = "config.json", "log.jsonl"


class Run:
    """One training run: begun by `start` or taken up again by `resume`, then driven by `train`.

    Args:
        folder: where its files are.
        state: the network, its optimiser and how far they have come.
        training: the split to learn from.
        validation: the split that decides which network was the best.
        ranks: the processes that train together; None is this one by itself. Rank 0 alone writes.
    """

    def __init__(
        self, folder: Path, state: TrainingState, training: Dataset, validation: Dataset, ranks: Ranks | None = None
    ) -> None:
        """See the class."""
        self.folder = folder
        self.state = state
        self.training = cached(training)
        self.validation = cached(validation)
        self.ranks = ranks or Ranks()
        check_batch(state.settings.batch_size, self.ranks)
        self._engine = choose(state.settings.engine, **state.settings.engine_options)
        self._batches = Batches(
            self.training,
            _augmentation(state.settings, labels_whole_images(self.training)),
            state.task.normalise,
            batch_size=state.settings.batch_size,
            seed=state.settings.seed,
            part=self.ranks.part(state.settings.batch_size),
        )
        self._baselines: BaselineMetrics | None = None
        self._saved_step = state.step

    @classmethod
    def start(
        cls,
        folder: Path,
        model: Graph,
        training: Dataset,
        validation: Dataset,
        settings: Settings,
        config: Mapping[str, Any] | None = None,
        normalise: Normalise | None = None,
        ranks: Ranks | None = None,
    ) -> "Run":
        """Begin a run: make its folder, write its config and the checkpoint of step 0.

        Args:
            folder: must be missing or empty.
            model: the network; it is trained in place.
            training: the split to learn from.
            validation: the split that decides which network was the best.
            settings: how to train.
            config: what else `config.json` shall say, such as how the network was built.
            normalise: what the network's initial weights expect of images, as in `Task.of`; it stays with the network.
            ranks: the processes that train together; each of them starts the same run.

        Raises:
            ValueError: there are files in the folder, the number of class weights is not that of the classes, a
                backbone shall have a rate of its own where there is none, a picture cannot be used, or there are more
                ranks than samples in a batch.
        """
        folder = checks.path(folder, "folder")
        for name, value, kind in (("model", model, Graph), ("settings", settings, Settings)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {checks.describe(value)}")
        weights, classes = settings.class_weights, training.classes
        if weights is not None and len(weights) != len(classes):
            raise ValueError(f"class_weights must be one number per class, {len(classes)}, got {len(weights)}")
        rate_scales(model, settings)  # which may refuse the network
        training, validation = cached(training), cached(validation)
        for split in (training, validation):
            for _ in each(split):
                pass  # a broken picture shall show now, not in the middle of the training
        state = TrainingState(
            model=model,
            settings=settings.settled(),
            optimiser=settings.make_optimiser(),
            task=Task.of(training, validation, normalise),
            samples=len(training),
            config=dict(config or {}),
        )
        run = cls(folder, state, training, validation, ranks)
        run.ranks.by_first(run._write_beginning)
        return run

    @classmethod
    def resume(cls, folder: Path, ranks: Ranks | None = None, **changes: Any) -> "Run":
        """Take up a run where its newest checkpoint stands.

        Args:
            folder: the run's.
            ranks: the processes that train together from here on; they may be more or fewer than before.
            **changes: settings that shall be others from now on, such as `steps`.

        Raises:
            OSError: no such run, or its data is gone.
            ValueError: a file of the run is damaged, its data has changed, it has already come further than `steps`,
                or its engine is not on this machine.
        """
        folder = checks.path(folder, "folder")
        if unknown := sorted(changes.keys() - {field.name for field in fields(Settings)}):
            raise TypeError(f"changes must be settings, got {unknown}")
        if not (folder / CHECKPOINT).exists():
            raise FileNotFoundError(f"{folder}: no run to resume, there is no {CHECKPOINT}")
        state = checkpoints.load(folder / CHECKPOINT)
        state.settings = _changed(folder, state.settings, changes)
        if state.settings.steps < state.step:
            raise ValueError(f"{folder}: has made {state.step} steps already, more than {state.settings.steps}")
        training, validation = state.task.open("train"), state.task.open("val")
        if (len(training), tuple(training.classes)) != (state.samples, state.task.classes):
            raise ValueError(
                f"{folder}: its training data has changed since: {state.samples} images of {len(state.task.classes)} "
                f"classes then, {len(training)} of {len(training.classes)} now"
            )
        run = cls(folder, state, training, validation, ranks)
        run.ranks.by_first(run._tidy_up)
        return run

    def train(self, observe: Callable[[Record], object] = lambda record: None) -> bool:
        """Train until the last step, or until Ctrl-C.

        Args:
            observe: called with the record of each step.

        Returns:
            Whether the last step is done. After Ctrl-C, the step under way is finished and saved first.

        Raises:
            DivergedError: the loss or the parameters are not finite; the newest checkpoint is from before. The message
                names step, layer, a likely cause, and how to go on.
            KeyboardInterrupt: a second Ctrl-C; the newest checkpoint stays.
        """
        state, settings = self.state, self.state.settings
        with (
            use_engine(self._engine.name, **self._engine.options),
            buffers.reused(),
            Interruption("Finishing this step, then saving. Ctrl-C again leaves at once.") as interruption,
            self._log() as records,
        ):
            stopping = False
            while state.step < settings.steps and not stopping:
                with self._telling_how_to_go_on():
                    record = training_step(state, self._batches, self.ranks)
                if self._due(settings.validate_every):
                    record["val"] = self._validate()
                if records is not None:
                    records.append(record)
                observe(record)
                stopping = self.ranks.any(interruption.requested)
                if records is not None and ("val" in record or self._due(settings.checkpoint_every) or stopping):
                    records.sync()
                    with self._telling_how_to_go_on():
                        check_usable(state, self._batches)
                    self._save_checkpoint()
                    self._save_best()
        return state.step == settings.steps

    @contextmanager
    def _telling_how_to_go_on(self) -> Iterator[None]:
        """If the training diverges, the error names the newest checkpoint."""
        try:
            yield
        except DivergedError as error:
            raise DivergedError(
                f"{error}. {self.folder / CHECKPOINT} is good, of step {self._saved_step}: go on from there "
                f"with --resume {self.folder} and a smaller --learning-rate"
            ) from error

    def records(self) -> list[Record]:
        """The log: the record of each step so far."""
        return log.read(self.folder / LOG)

    def _due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, happens now."""
        return self.state.step % every == 0 or self.state.step == self.state.settings.steps

    def _validate(self) -> Evaluation:
        """Evaluate the network on the validation split, and remember it if it is the best so far."""
        state = self.state
        if self._baselines is None:
            self._baselines = baselines.evaluate(baselines.learn(self.training), self.validation)
        seen = confusion(
            state.model,
            self.validation,
            state.task.normalise,
            batch_size=state.settings.batch_size,
            indices=self.ranks.part(len(self.validation)),
        )
        seen.counts = self.ranks.total(seen.counts)
        metrics = seen.metrics()
        mean_iu = metrics["mean_iu"] or 0.0
        if state.best_mean_iu is None or mean_iu > state.best_mean_iu:
            state.best_step, state.best_mean_iu = state.step, mean_iu
        return beside_baselines(metrics, self._baselines)

    def _log(self) -> AbstractContextManager[log.Log | None]:
        """The log that this rank keeps, if it keeps one."""
        return log.Log(self.folder / LOG) if self.ranks.first else nullcontext()

    def _write_beginning(self) -> None:
        """What the folder holds before the first step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()):
            raise ValueError(f"{self.folder}: a new run needs an empty folder")
        self._write_config()
        self._save_checkpoint()

    def _tidy_up(self) -> None:
        """Bring the folder back to where its checkpoint stands."""
        _remove_unfinished_files(self.folder)
        log.cut_back(self.folder / LOG, self.state.step)
        self._write_config()
        self._save_best()

    def _write_config(self) -> None:
        config = {
            **self.state.config,
            "data": self.state.task.describe()["data"],
            "training": self.state.settings.describe(),
        }
        text = json.dumps(config, indent=2, allow_nan=False) + "\n"
        write_whole(self.folder / CONFIG, lambda file: file.write(text.encode()))

    def _save_checkpoint(self) -> None:
        checkpoints.save(self.state, self.folder / CHECKPOINT)
        self._saved_step = self.state.step

    def _save_best(self) -> None:
        """Keep the network if its validation was the best.

        The checkpoint that knows of this validation is written before, and `resume` comes here again: a process killed
        between the two leaves no best network behind that its checkpoint has not heard of.
        """
        if self.state.best_step == self.state.step:
            checkpoints.save_network(self.state, self.folder / BEST)


def _changed(folder: Path, settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with which a run goes on; another engine starts with its own options."""
    if changes.get("engine", settings.engine) != settings.engine:
        changes = {"winograd": None, **changes}
    settings = replace(settings, **changes)
    try:
        return settings.settled()
    except ValueError as error:
        if {"engine", "winograd"} & changes.keys():
            raise
        raise ValueError(f"{folder}: cannot go on with its engine, name another (--engine): {error}") from error


def _augmentation(settings: Settings, of_whole_images: bool) -> Transform:
    """Scale, crop and flip, as far as the settings ask for them, labels with the pixels unless they are the image's."""
    transforms: list[Transform] = []
    if settings.scale is not None:
        transforms.append(RandomScale(*settings.scale))
    if settings.crop is not None:
        transforms.append(RandomCrop(settings.crop))
    if settings.flip:
        transforms.append(RandomHorizontalFlip())
    return ImageAlone(Compose(transforms)) if of_whole_images else Compose(transforms)


def _remove_unfinished_files(folder: Path) -> None:
    """What `write_whole` was writing when the run was killed."""
    for name in (CONFIG, LOG, CHECKPOINT, BEST):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()
