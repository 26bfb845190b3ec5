"""`npseg train`: start a run or resume one, watch it, draw its figures; `npseg pretrain` shares all but the start."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npseg.cli import networks
from npseg.cli.shared import INTERRUPTED, UsageError, engine, flag_of, open_data, output_folder
from npseg.flags.training import (
    ARCHITECTURE_DEFAULTS,
    COMMON_DEFAULTS,
    DATA_DEFAULTS,
    NETWORK_DEFAULTS,
    OPTIMIZER_DEFAULTS,
    SCHEDULE_DEFAULTS,
    SHAPES,
    SHAPES_COUNT,
)

if TYPE_CHECKING:
    from npseg.training.ranks import Ranks
    from npseg.training.run import Run


def train(options: argparse.Namespace) -> int:
    """Start a run or resume one; at the end draw its figures and print its best metrics."""
    from npseg.training.ranks import world

    given = {name: value for name, value in vars(options).items() if value is not None}
    ranks = world()
    return follow(resume(given, ranks) if "resume" in given else _start(given, ranks), "train")


def follow(run: "Run", command: str) -> int:
    """Train a run as far as it shall go, draw its figures and print its best metrics; the command is who resumes it."""
    ranks = run.ranks
    if not ranks.first:  # rank 0 speaks for all
        return 0 if run.train() else INTERRUPTED
    state, settings = run.state, run.state.settings
    print(
        f"{sum(array.size for array in state.model.parameters.values()):,} parameters, {state.samples:,} images of "
        f"{len(state.task.classes)} classes, {settings.steps - state.step:,} steps to go"
    )
    with engine(settings.engine, settings.winograd):
        print(f"Engine: {_engine_summary()}" + ("" if ranks.alone else f"; {ranks.size} ranks"))
    print(f"Run folder: {run.folder}", flush=True)
    if not _train_with_progress_bar(run):
        print(f"Stopped and saved after step {state.step}. Go on with: npseg {command} --resume {run.folder}")
        return INTERRUPTED
    _draw_figures(run)
    _print_best(run)
    return 0


def _start(given: Mapping[str, Any], ranks: "Ranks") -> "Run":
    """A new run, from the flags that were given and the defaults of the others."""
    from npseg.training.run import Run
    from npseg.training.samples import cached, median_frequency_weights
    from npseg.training.settings import Settings

    chosen = with_defaults(given)
    network = networks.describe(chosen, given)
    folder = ranks.by_first(lambda: output_folder(chosen, _name(chosen)))
    training, validation = (open_data(chosen["data"], split, chosen.get("image_size")) for split in SHAPES_COUNT)
    training = cached(training)
    if chosen.get("class_weights") == "median":
        chosen["class_weights"] = tuple(median_frequency_weights(training))
    settings = Settings(**{name: value for name, value in chosen.items() if name in Settings.__dataclass_fields__})
    model, normalise = networks.build(training.classes, network, settings.seed)
    return Run.start(folder, model, training, validation, settings, {"network": network}, normalise, ranks)


def resume(given: Mapping[str, Any], ranks: "Ranks") -> "Run":
    """An old run. It goes on as it began, so hardly any flag may come with it."""
    from npseg.training.run import Run

    folder = given["resume"]
    if given.get("output", folder).resolve() != folder.resolve():
        raise UsageError("--resume goes on in the run's own folder, --output cannot name another")
    changeable = ("steps", "checkpoint_every", "learning_rate", "engine", "winograd")
    changes = {name: given[name] for name in changeable if name in given}
    for name in given.keys() - changes.keys() - {"resume", "output"}:
        raise UsageError(f"--resume goes on as the run began, {flag_of(name)} cannot be given with it")
    return Run.resume(folder, ranks, **changes)


def with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """All flags of a new run; some defaults depend on the data, the optimizer and the schedule."""
    chosen: dict[str, Any] = {**COMMON_DEFAULTS, **NETWORK_DEFAULTS, **given}
    kind = SHAPES if chosen["data"] == SHAPES else "a folder"
    for flag, choice, defaults in (
        ("--data", kind, DATA_DEFAULTS),
        ("--architecture", chosen["architecture"], ARCHITECTURE_DEFAULTS),
        ("--optimizer", chosen["optimizer"], OPTIMIZER_DEFAULTS),
        ("--schedule", chosen["schedule"], SCHEDULE_DEFAULTS),
    ):
        for name in {name for table in defaults.values() for name in table} - defaults[choice].keys():
            if name in given:
                raise UsageError(f"{flag_of(name)} has no meaning with {flag} {choice}")
        chosen = defaults[choice] | chosen
    return {"validate_every": max(1, chosen["steps"] // 10)} | chosen


def _name(chosen: Mapping[str, Any]) -> str:
    """What a run is called: after its data and its network."""
    network = chosen["architecture"]
    if network == "fcn":
        network = f"fcn{chosen['stride']}s" + ("-atonce" if chosen["at_once"] else "")
    return f"{Path(chosen['data']).resolve().name}-{network}"


def _train_with_progress_bar(run: "Run") -> bool:
    """Train, showing loss, learning rate and time left; whether the last step was reached."""
    from tqdm import tqdm

    unit = _unit(run)
    seconds = 0.1 if sys.stderr.isatty() else 10.0  # a log file keeps every update
    with tqdm(
        total=run.state.settings.steps,
        initial=run.state.step,
        unit="step",
        dynamic_ncols=True,
        mininterval=seconds,
        delay=1e-9,  # not before the first step is done, which may have to say that it compiles
    ) as bar:

        def observe(record: Mapping[str, Any]) -> None:
            bar.set_postfix(loss=f"{record['loss']:.4g}", rate=f"{record['learning_rate']:.2e}", refresh=False)
            bar.update()
            if "val" in record:
                bar.write(f"step {record['step']:5}: {_summary(record['val'], unit)}", file=sys.stderr)

        return run.train(observe)


def _unit(run: "Run") -> str:
    """What a run's metrics count: pixels, or with a classifier images."""
    from npseg.data import labels_whole_images

    return "image" if labels_whole_images(run.validation) else "pixel"


def _summary(evaluation: Mapping[str, Any], unit: str) -> str:
    """The two metrics one watches, beside the baselines'."""
    baselines = [metrics for metrics in evaluation["baselines"].values() if metrics is not None]
    parts = []
    for name, key in (("mean IU", "mean_iu"), (f"{unit} accuracy", "pixel_accuracy")):
        own, *others = ("-" if metrics[key] is None else f"{metrics[key]:.1%}" for metrics in (evaluation, *baselines))
        parts.append(f"{name} {own} (baselines {', '.join(others)})")
    return ", ".join(parts)


def _draw_figures(run: "Run") -> None:
    """The run's curves, and validation images beside their labels and what the best network makes of them."""
    from npseg.teaching import run_figures
    from npseg.training import checkpoints
    from npseg.training.evaluation import segment
    from npseg.training.samples import each

    model, task = checkpoints.load_network(checkpoints.locate(run.folder))
    number = len(run.validation)
    shown = [run.validation[index * number // 6] for index in range(6)] if number > 6 else list(each(run.validation))
    with engine(run.state.settings.engine, run.state.settings.winograd):
        predictions = [segment(model, [sample.image], task.normalise)[0] for sample in shown]
    samples = [(image, labels, prediction) for (image, labels, _), prediction in zip(shown, predictions, strict=True)]
    run_figures.curves(run.records(), run.folder / "curves.png")
    if _unit(run) == "image":
        run_figures.answers(samples, task.classes, run.folder / "predictions.png")
    else:
        run_figures.predictions(samples, task.classes, task.colors, run.folder / "predictions.png")


def _print_best(run: "Run") -> None:
    """The metrics of the best validation, from the log."""
    from npseg.training import evaluation

    for record in run.records():
        if record["step"] == run.state.best_step and "val" in record:
            print(f"Best network, of step {record['step']}, on the validation images, in per cent:")
            print(evaluation.table(record["val"], _unit(run)))
    print(f"Figures: {run.folder / 'curves.png'} {run.folder / 'predictions.png'}")


def _engine_summary() -> str:
    """The current engine in one line."""
    from npseg import engine_info

    info = engine_info()
    if info["engine"] == "numba":
        return (
            f"numba {info['numba']}, {info['processor']} with vectors of {info['vector_bits']} bits, threads "
            f"{info['threads']} ({info['threading_layer']}), winograd {info['winograd_in_networks']}"
        )
    return f"{info['engine']}, NumPy {info['numpy']}" + (f" with {info['blas']}" if "blas" in info else "")
