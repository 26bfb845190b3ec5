"""The command line: `npseg train | evaluate | predict | convert | summary | formula | explain | explore`.

Parsing, calling, printing. What takes time to import is imported by the command that needs it, so `--help` is quick.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npseg.flags import (
    COMMON_DEFAULTS,
    DATA_DEFAULTS,
    NETWORK_DEFAULTS,
    OPTIMIZER_DEFAULTS,
    SCHEDULE_DEFAULTS,
    SHAPES,
    SHAPES_COUNT,
    make_parser,
)

if TYPE_CHECKING:
    from npseg.data import Dataset
    from npseg.nn.graph import Graph
    from npseg.training.run import Run

FORMULA_FLAGS = {
    **dict.fromkeys(("in_channels", "in_features", "channels"), "--in"),
    **dict.fromkeys(("out_channels", "out_features"), "--out"),
    "kernel_size": "--kernel",
}
"""Flags of `npseg formula` that are named otherwise than the arguments they stand for."""

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


class UsageError(ValueError):
    """The command was asked for something that makes no sense."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the words after `npseg`; None takes those of this process.

    Returns:
        The exit status: 0, 1 after an error, 2 after a usage error, 130 after Ctrl-C.

    Raises:
        SystemExit: the words cannot be parsed (status 2), or ask for help (status 0).
    """
    options = make_parser().parse_args(arguments)
    command = COMMANDS[vars(options).pop("command")]
    try:
        status: int = command(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail(command, "interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has left, as `head` does; a flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        return _fail(command, error, 2)
    except MemoryError as error:
        return _fail(command, f"out of memory: {error}", 1)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        return _fail(command, error, 1)


def _fail(command: Any, message: object, status: int) -> int:
    """One line on standard error."""
    if isinstance(message, OSError) and message.strerror:
        message = f"{message.filename}: {message.strerror}" if message.filename else message.strerror
    print(f"npseg {command.__name__}: {' '.join(str(message).split())}", file=sys.stderr)
    return status


# The commands


def train(options: argparse.Namespace) -> int:
    """Start a run or resume one; at the end draw its figures and print its best metrics."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    run = _resume(given) if "resume" in given else _start(given)
    state, settings = run.state, run.state.settings
    print(
        f"{sum(array.size for array in state.model.parameters.values()):,} parameters, {state.samples:,} images of "
        f"{len(state.task.classes)} classes, {settings.steps - state.step:,} steps to go"
    )
    with _engine(settings.engine, settings.winograd):
        print(f"Engine: {_engine_summary()}")
    print(f"Run folder: {run.folder}", flush=True)
    if not _train_with_progress_bar(run):
        print(f"Stopped and saved after step {state.step}. Go on with: npseg train --resume {run.folder}")
        return INTERRUPTED
    _draw_figures(run)
    _print_best(run)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print a network's metrics on a split, beside the baselines'."""
    from npseg.training import baselines, checkpoints, evaluation
    from npseg.training.samples import cached

    path = checkpoints.locate(options.network)
    model, task = checkpoints.load_network(path)

    def open_split(split: str) -> "Dataset":
        dataset = task.open(split) if options.data is None else _open_split(options.data, split)
        if len(dataset.classes) != len(task.classes):
            raise ValueError(f"{options.data}: has {len(dataset.classes)} classes, the network {len(task.classes)}")
        if tuple(dataset.classes) != task.classes:
            raise ValueError(f"{options.data}: has the classes {dataset.classes}, the network {task.classes}")
        return cached(dataset)

    dataset, training = open_split(options.split), open_split("train")
    with _engine(options.engine, options.winograd):
        counts = evaluation.confusion(model, dataset, task.normalise, batch_size=options.batch_size)
    result = evaluation.beside_baselines(counts.metrics(), baselines.evaluate(baselines.learn(training), dataset))
    if options.json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        print(f"{path} on {len(dataset)} images of {options.split}, in per cent:")
        print(evaluation.table(result))
    return 0


def predict(options: argparse.Namespace) -> int:
    """Write the label map and the overlay of each image."""
    from npseg.data import pictures
    from npseg.training import checkpoints
    from npseg.training.evaluation import segment

    targets = _prediction_paths(options.images, options.output)
    model, task = checkpoints.load_network(checkpoints.locate(options.network))
    options.output.mkdir(parents=True, exist_ok=True)
    with _engine(options.engine, options.winograd):
        for image_path, (label_path, overlay_path) in targets.items():
            image = pictures.read_image(image_path)
            labels = segment(model, [image], task.normalise)[0]
            pictures.write_label_map(label_path, labels, task.colors)
            pictures.write_image(overlay_path, pictures.overlay(image, labels, task.colors))
            print(f"{label_path} {overlay_path}")
    return 0


def convert(options: argparse.Namespace) -> int:
    """Turn a classifier's file into an FCN's initial weights."""
    from npseg import weights

    if options.source.resolve() == options.target.resolve():
        raise UsageError(f"{options.target} is the file to convert and would be overwritten; name another")
    try:
        network = weights.convert(options.source, options.target, options.kind)
    except ImportError as error:  # of the library that one of the formats needs
        raise RuntimeError(error) from error
    arrays = network.parameters
    count, fc6 = sum(array.size for array in arrays.values()), arrays["fc6.weight"].shape
    print(f"{options.target}: {count:,} parameters in {len(arrays)} arrays, fc6 {' x '.join(map(str, fc6))}")
    return 0


def summary(options: argparse.Namespace) -> int:
    """Print what a network consists of, or why it crops where it does."""
    from npseg import analysis

    if options.input_range and not options.explain:
        raise UsageError("--input-range has a meaning with --explain crops alone")
    if options.explain and (options.json or options.csv or options.markdown):
        raise UsageError("--explain is text, it cannot come with --json, --csv or --markdown")
    model, size = _declared_network(options)
    if options.explain:
        print(
            analysis.explain_crops(model, size, **({"input_range": options.input_range} if options.input_range else {}))
        )
        return 0
    counted = analysis.summary(model, size, convention=options.convention)
    if options.csv:
        print(analysis.as_csv(counted), end="")
    else:
        write = analysis.as_json if options.json else analysis.markdown if options.markdown else analysis.text
        print(write(counted))
    return 0


def formula(options: argparse.Namespace) -> int:
    """Print what an operation costs, or draw what operations cost and see."""
    if options.figures is not None:
        return _draw_costs(options)
    from npseg.analysis import formulas

    if options.operation is None:
        raise UsageError(f"needs an operation, one of {', '.join(formulas.OPERATIONS)}, or --figures")
    operation = formulas.named(options.operation)
    cost = operation(**_formula_arguments(options, operation))
    print(json.dumps(cost.as_dict(), indent=2) if options.json else cost.explain())
    return 0


def _draw_costs(options: argparse.Namespace) -> int:
    """The three figures, in a folder that is made where it is missing."""
    if options.json or any(
        value is not None for name, value in vars(options).items() if name not in ("figures", "json")
    ):
        raise UsageError("--figures draws the same whatever else is asked for, it takes no operation and no other flag")
    from npseg.teaching.figures import costs, effective

    folder = options.figures
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("costs.png", costs.costs),
        ("fields.png", effective.parameters_against_field),
        ("effective_fields.png", effective.effective_fields),
    ):
        draw(folder / name)
        print(folder / name)
    return 0


def _formula_arguments(options: argparse.Namespace, operation: Callable[..., Any]) -> dict[str, Any]:
    """The flags by the names that the formula has for them; those it does not take, or misses, are refused."""
    takes = {
        FORMULA_FLAGS.get(name, _flag(name)): argument for name, argument in signature(operation).parameters.items()
    }
    given = {_flag(name): value for name, value in vars(options).items() if value is not None}
    given = {flag: value for flag, value in given.items() if flag not in ("--operation", "--json", "--figures")}
    for flag in given:
        if flag not in takes:
            raise UsageError(f"{options.operation} takes no {flag}; it takes {', '.join(takes)}")
    for flag, argument in takes.items():
        if argument.default is argument.empty and flag not in given:
            raise UsageError(f"{options.operation} needs {flag}")
    return {takes[flag].name: value for flag, value in given.items()}


# What `summary` counts


def _declared_network(options: argparse.Namespace) -> tuple["Graph", tuple[int, int]]:
    """The network that a name, a run or a file stands for, and the size of image to count it at."""
    from npseg.models import NAMES, load, named

    if options.network not in NAMES and Path(options.network).exists():
        from npseg.training import checkpoints

        for name in ("backbone", "classes", "form"):
            if getattr(options, name) is not None:
                raise UsageError(f"{_flag(name)} has no meaning for a network that was trained already")
        if options.input_size is None:
            raise UsageError("--input-size must be given for a network from a file")
        return load(checkpoints.locate(Path(options.network))), options.input_size
    try:
        model, size = named(options.network, backbone=options.backbone, classes=options.classes, form=options.form)
    except ValueError as error:
        raise UsageError(error) from error
    return model, options.input_size or size


def explain(options: argparse.Namespace) -> int:
    """Draw a step of an operation in the terminal, or its steps as a picture."""
    from npseg.teaching import demonstration, text

    given = {name: value for name, value in vars(options).items() if value is not None}
    picture, shown, every = given.pop("figure", None), given.pop("step", None), given.pop("all")
    try:
        trace = demonstration.demonstrate(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(error) from error
    if shown is not None and shown >= len(trace):
        raise UsageError(f"--step must lie in 0 ... {len(trace) - 1}, got {shown}")
    if picture is not None:
        from npseg.teaching.figures import export

        export.write(trace, picture, step=shown)
        print(f"Figure: {picture}")
        return 0
    for step in range(len(trace)) if every else [shown or 0]:
        drawn = text.step_text(trace, step, width=shutil.get_terminal_size((100, 24)).columns)
        print(text.coloured(drawn) if sys.stdout.isatty() else drawn, end="\n\n" if every else "\n")
    return 0


def explore(options: argparse.Namespace) -> int:
    """Write the explorer and open it; where there is no browser, say where it is all the same."""
    from npseg.teaching import explorer

    explorer.write(options.output)
    print(f"Explorer: {options.output}", flush=True)
    if not options.no_open and not explorer.show(options.output):
        print("No browser was found here: open the file in one.")
    return 0


# What `train` is made of


def _start(given: Mapping[str, Any]) -> "Run":
    """A new run, from the flags that were given and the defaults of the others."""
    from npseg.training.run import Run
    from npseg.training.samples import cached, median_frequency_weights
    from npseg.training.settings import Settings

    chosen = _with_defaults(given)
    folder = chosen.get("output") or _fresh_folder(chosen["data"], chosen["stride"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--output {folder} is in use: name another folder, or go on with it by --resume {folder}")
    training, validation = (_open_split(chosen["data"], split, chosen.get("image_size")) for split in SHAPES_COUNT)
    training = cached(training)
    if chosen.get("class_weights") == "median":
        chosen["class_weights"] = tuple(median_frequency_weights(training))
    settings = Settings(**{name: value for name, value in chosen.items() if name in Settings.__dataclass_fields__})
    network = {name: chosen[name] for name in NETWORK_DEFAULTS} | {"init_from": chosen.get("init_from")}
    model = _build_network(len(training.classes), network, settings.seed)
    return Run.start(folder, model, training, validation, settings, {"network": network})


def _resume(given: Mapping[str, Any]) -> "Run":
    """An old run. It goes on as it began, so hardly any flag may come with it."""
    from npseg.training.run import Run

    folder = given["resume"]
    if given.get("output", folder).resolve() != folder.resolve():
        raise UsageError("--resume goes on in the run's own folder, --output cannot name another")
    changes = {name: given[name] for name in ("steps", "checkpoint_every", "engine", "winograd") if name in given}
    for name in given.keys() - changes.keys() - {"resume", "output"}:
        raise UsageError(f"--resume goes on as the run began, {_flag(name)} cannot be given with it")
    return Run.resume(folder, **changes)


def _with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """All flags of a new run; some defaults depend on the data, the optimizer and the schedule."""
    chosen: dict[str, Any] = {**COMMON_DEFAULTS, **NETWORK_DEFAULTS, **given}
    kind = SHAPES if chosen["data"] == SHAPES else "a folder"
    for flag, choice, defaults in (
        ("--data", kind, DATA_DEFAULTS),
        ("--optimizer", chosen["optimizer"], OPTIMIZER_DEFAULTS),
        ("--schedule", chosen["schedule"], SCHEDULE_DEFAULTS),
    ):
        for name in {name for table in defaults.values() for name in table} - defaults[choice].keys():
            if name in given:
                raise UsageError(f"{_flag(name)} has no meaning with {flag} {choice}")
        chosen = defaults[choice] | chosen
    return {"validate_every": max(1, chosen["steps"] // 10)} | chosen


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _open_split(data: str, split: str, image_size: tuple[int, int] | None = None) -> "Dataset":
    """A split of the data that `--data` names."""
    from npseg import checks
    from npseg.data import ImageFolder, Shapes

    if data == SHAPES:
        checks.choice(split, "split", tuple(SHAPES_COUNT))
        size = image_size or DATA_DEFAULTS[SHAPES]["image_size"]
        return Shapes(SHAPES_COUNT[split], split=split, image_size=size)
    return ImageFolder(data, split)


def _build_network(classes: int, network: Mapping[str, Any], seed: int) -> "Graph":
    """The FCN that the flags describe."""
    from npseg.models import fcn, initialise_from, load, vgg
    from npseg.training import checkpoints

    model = fcn(
        vgg(network["widths"], network["depths"], network["fc6"], dropout=network["dropout"], seed=seed),
        classes,
        network["stride"],
        form=network["form"],
        train_upsampling=network["train_upsampling"],
    )
    if network["init_from"] is not None:
        initialise_from(model, load(checkpoints.locate(Path(network["init_from"]))))
    return model


def _fresh_folder(data: str, stride: int) -> Path:
    """A name under runs/ that nothing has yet."""
    name = f"{Path(data).resolve().name}-fcn{stride}s-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = Path("runs", name), 1
    while folder.exists():
        number += 1
        folder = Path("runs", f"{name}-{number}")
    return folder


def _train_with_progress_bar(run: "Run") -> bool:
    """Train, showing loss, learning rate and time left; whether the last step was reached."""
    from tqdm import tqdm

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
                bar.write(f"step {record['step']:5}: {_summary(record['val'])}", file=sys.stderr)

        return run.train(observe)


def _summary(evaluation: Mapping[str, Any]) -> str:
    """The two metrics one watches, beside the baselines'."""
    baselines = [metrics for metrics in evaluation["baselines"].values() if metrics is not None]
    parts = []
    for name, key in (("mean IU", "mean_iu"), ("pixel accuracy", "pixel_accuracy")):
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
    with _engine(run.state.settings.engine, run.state.settings.winograd):
        predictions = [segment(model, [sample.image], task.normalise)[0] for sample in shown]
    samples = [(image, labels, prediction) for (image, labels, _), prediction in zip(shown, predictions, strict=True)]
    run_figures.curves(run.records(), run.folder / "curves.png")
    run_figures.predictions(samples, task.classes, task.colors, run.folder / "predictions.png")


def _print_best(run: "Run") -> None:
    """The metrics of the best validation, from the log."""
    from npseg.training import evaluation

    for record in run.records():
        if record["step"] == run.state.best_step and "val" in record:
            print(f"Best network, of step {record['step']}, on the validation images, in per cent:")
            print(evaluation.table(record["val"]))
    print(f"Figures: {run.folder / 'curves.png'} {run.folder / 'predictions.png'}")


# Helpers


def _prediction_paths(images: Sequence[Path], folder: Path) -> dict[Path, tuple[Path, Path]]:
    """Where the label map and the overlay of each image go; no two files may end up in one place."""
    targets: dict[Path, tuple[Path, Path]] = {}
    stems: dict[str, Path] = {}
    for image in images:
        if image.stem in stems:
            raise UsageError(f"{stems[image.stem]} and {image} would both be written to {image.stem}_label.png")
        stems[image.stem] = image
        targets[image] = (folder / f"{image.stem}_label.png", folder / f"{image.stem}_overlay.png")
    inputs = {image.resolve() for image in images}
    for path in (path for pair in targets.values() for path in pair):
        if path.resolve() in inputs:
            raise UsageError(f"{path} is one of the images and would be overwritten; name another --output")
    return targets


def _engine(name: str | None, winograd: str | None) -> AbstractContextManager[Any]:
    """The engine that the flags ask for; what they leave open stays as it is."""
    from npseg import use_engine
    from npseg.engines import choose

    chosen = choose(name, **({} if winograd is None else {"winograd": winograd}))
    return use_engine(chosen.name, **chosen.options)


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


COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "convert": convert,
    "summary": summary,
    "formula": formula,
    "explain": explain,
    "explore": explore,
}
