"""`npseg compare`: several systems at an equal budget, in a table and two pictures."""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from npseg.cli.shared import INTERRUPTED, UsageError, flag_of, open_data, output_folder
from npseg.flags.comparing import DEFAULTS
from npseg.flags.training import SHAPES

if TYPE_CHECKING:
    from npseg.analysis.comparison import Compared
    from npseg.data import Dataset
    from npseg.training.comparison import Comparison, Outcome

SHOWN = 8
"""Validation images in the picture of predictions."""


def compare(options: argparse.Namespace) -> int:
    """Train what is not trained yet, then write and print what came of it."""
    from npseg.training.samples import cached

    given = {name: value for name, value in vars(options).items() if value is not None}
    training, validation = (cached(open_data(SHAPES, split)) for split in ("train", "val"))
    comparison = (_resume if "resume" in given else _start)(given, training, validation)
    print(f"Folder: {comparison.folder}", flush=True)
    if not _train_all(comparison):
        print(f"Stopped and saved. Go on with: npseg compare --resume {comparison.folder}")
        return INTERRUPTED
    outcomes = {name: comparison.outcome(name) for name in comparison.plan.systems}
    lines = _lines(outcomes, validation)
    print(_written(comparison.folder, lines))
    _draw(comparison, outcomes, lines, validation)
    return 0


def _start(given: Mapping[str, Any], training: "Dataset", validation: "Dataset") -> "Comparison":
    """A new comparison, from the flags that were given and the defaults of the others."""
    from npseg.training.comparison import Comparison, Plan
    from npseg.training.settings import Settings

    chosen = {**DEFAULTS, **given}
    folder = output_folder(chosen, "comparison")
    values = {name: chosen[name] for name in chosen if name in Settings.__dataclass_fields__}
    try:
        plan = Plan(tuple(chosen["systems"]), Settings(**values, validate_every=chosen["steps"]).settled())
    except ValueError as error:
        raise UsageError(error) from error
    return Comparison.start(folder, plan, training, validation)


def _resume(given: Mapping[str, Any], training: "Dataset", validation: "Dataset") -> "Comparison":
    """An old one. It goes on as it began."""
    from npseg.training.comparison import Comparison

    for name in given.keys() - {"resume"}:
        raise UsageError(f"--resume goes on as the comparison began, {flag_of(name)} cannot be given with it")
    return Comparison.resume(given["resume"], training, validation)


def _train_all(comparison: "Comparison") -> bool:
    """Train the systems one after the other, with one bar for all; whether the last one reached its last step."""
    from tqdm import tqdm

    systems, steps = comparison.plan.systems, comparison.plan.settings.steps
    with tqdm(
        total=len(systems) * steps,
        initial=sum(map(comparison.step, systems)),
        unit="step",
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,  # a log file keeps every update
    ) as bar:

        def observe(record: Mapping[str, Any]) -> None:
            bar.set_postfix(loss=f"{record['loss']:.4g}", refresh=False)
            bar.update()

        for name in systems:
            bar.set_description(name)
            if not comparison.train(name, observe):
                return False
            metrics = comparison.outcome(name).evaluation
            reached = "-" if metrics["mean_iu"] is None else f"{metrics['mean_iu']:.1%}"
            bar.write(f"{name}: mean IU {reached}", file=sys.stderr)
    return True


def _lines(outcomes: Mapping[str, "Outcome"], validation: "Dataset") -> list["Compared"]:
    """What each system reached, and what it costs at the size of the images."""
    from npseg.analysis.comparison import compared

    size = validation[0].labels.shape
    return [
        compared(
            name,
            outcome.model,
            (size[0], size[1]),
            mean_iu=outcome.evaluation["mean_iu"],
            pixel_accuracy=outcome.evaluation["pixel_accuracy"],
            seconds_per_step=outcome.seconds_per_step,
        )
        for name, outcome in outcomes.items()
    ]


def _written(folder: Path, lines: list["Compared"]) -> str:
    """The table for the terminal, once the folder has it in three forms."""
    from npseg.analysis.comparison import as_csv, as_json, as_markdown, as_text
    from npseg.files import write_whole

    for ending, write in (("md", as_markdown), ("csv", as_csv), ("json", as_json)):
        content = (write(lines).rstrip("\n") + "\n").encode()
        write_whole(folder / f"comparison.{ending}", partial(_put, content))
    return as_text(lines)


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _draw(
    comparison: "Comparison", outcomes: Mapping[str, "Outcome"], lines: list["Compared"], validation: "Dataset"
) -> None:
    """The bars, and what each network makes of the same validation images."""
    from npseg.cli.shared import engine
    from npseg.teaching import comparison_figures
    from npseg.training.evaluation import segment

    number = min(SHOWN, len(validation))
    samples = [validation[index * len(validation) // number] for index in range(number)]
    maps = {"truth": [sample.labels for sample in samples]}
    settings = comparison.plan.settings
    with engine(settings.engine, settings.winograd):
        for name, outcome in outcomes.items():
            images = [sample.image for sample in samples]
            maps[name] = list(segment(outcome.model, images, outcome.task.normalise))
    folder = comparison.folder
    comparison_figures.compared(lines, folder / "comparison.png")
    comparison_figures.seen(
        [sample.image for sample in samples], maps, validation.classes, validation.colors, folder / "predictions.png"
    )
    print(f"Figures: {folder / 'comparison.png'} {folder / 'predictions.png'}")
