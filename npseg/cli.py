"""The command line: `npseg train | evaluate | predict`.

Parsing, calling, printing. What takes time to import is imported by the command that needs it, so `--help` is quick.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from npseg.data import Dataset
    from npseg.nn.graph import Graph
    from npseg.training.run import Run

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""

SHAPES = "shapes"
SHAPES_COUNT = {"train": 2000, "val": 200}

NETWORK_DEFAULTS: dict[str, Any] = {
    "stride": 8,
    "widths": (16, 32, 64, 128, 128),
    "depths": (2, 2, 3, 3, 3),
    "fc6": 256,
    "dropout": 0.5,
    "form": "same",
    "train_upsampling": None,
}
DATA_DEFAULTS: dict[str, dict[str, Any]] = {
    SHAPES: {"steps": 2500, "batch_size": 8, "image_size": (64, 64)},
    "a folder": {"steps": 1400, "batch_size": 4},
}
OPTIMIZER_DEFAULTS: dict[str, dict[str, Any]] = {
    "adam": {"learning_rate": 1e-3, "weight_decay": 0.0},
    "sgd": {"learning_rate": 1e-2, "weight_decay": 5e-4, "momentum": 0.9},
}
SCHEDULE_DEFAULTS: dict[str, dict[str, Any]] = {
    "polynomial": {"power": 0.9},
    "step": {"decay_every": 1000, "decay_factor": 0.1},
    "constant": {},
}
COMMON_DEFAULTS: dict[str, Any] = {
    "data": SHAPES,
    "optimizer": "adam",
    "schedule": "polynomial",
    "loss": "mean",
    "seed": 0,
    "flip": True,
    "checkpoint_every": 100,
}
"""What `npseg train` does where it is not told otherwise."""


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
    command = vars(options).pop("command")
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


# The three commands


def train(options: argparse.Namespace) -> int:
    """Start a run or resume one; at the end draw its figures and print its best metrics."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    run = _resume(given) if "resume" in given else _start(given)
    state, settings = run.state, run.state.settings
    print(
        f"{sum(array.size for array in state.model.parameters.values()):,} parameters, {state.samples:,} images of "
        f"{len(state.task.classes)} classes, {settings.steps - state.step:,} steps to go, engine {settings.engine}"
    )
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
    with _engine(options.engine):
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
    with _engine(options.engine):
        for image_path, (label_path, overlay_path) in targets.items():
            image = pictures.read_image(image_path)
            labels = segment(model, [image], task.normalise)[0]
            pictures.write_label_map(label_path, labels, task.colors)
            pictures.write_image(overlay_path, pictures.overlay(image, labels, task.colors))
            print(f"{label_path} {overlay_path}")
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
    changes = {name: given[name] for name in ("steps", "checkpoint_every", "engine") if name in given}
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

    with tqdm(total=run.state.settings.steps, initial=run.state.step, unit="step", dynamic_ncols=True) as bar:

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
    with _engine(run.state.settings.engine):
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


def _engine(name: str | None) -> AbstractContextManager[Any]:
    """The engine of a flag, or the current one."""
    from npseg import use_engine

    return nullcontext() if name is None else use_engine(name)


# The flags


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated flags and whose errors are one line."""

    def __init__(self, **keywords: Any) -> None:
        """As `argparse.ArgumentParser`."""
        super().__init__(**keywords, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with exit status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """All flags of all commands."""
    parser = Parser(prog="npseg", description="Semantic segmentation from scratch in NumPy.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(
        commands.add_parser(
            "train",
            help="train a fully convolutional network",
            description="Train an FCN on generated shapes, or on a folder of images and label maps. Everything of a "
            "run lies in one folder: config.json, log.jsonl (one object per step), checkpoint.npz (newest), best.npz "
            "(best validation mean IU), curves.png, predictions.png. Ctrl-C saves and leaves.",
        )
    )
    _add_evaluate(
        commands.add_parser(
            "evaluate",
            help="measure a network on a split",
            description="Print pixel accuracy, mean accuracy, mean IU, frequency weighted IU and the IU of each class, "
            "beside two baselines that need no network: the most frequent class, and the most frequent class of each "
            "pixel position, both learned from the training split.",
        )
    )
    _add_predict(
        commands.add_parser(
            "predict",
            help="segment images",
            description="Write STEM_label.png (a palette PNG whose bytes are class ids) and STEM_overlay.png for each "
            "image, of any size.",
        )
    )
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg train`. None stands for "not given", so that `--resume` can tell; see `_with_defaults`."""
    parser.set_defaults(command=train)
    shapes, folder = DATA_DEFAULTS[SHAPES], DATA_DEFAULTS["a folder"]

    run = parser.add_argument_group("the run")
    run.add_argument("--output", type=Path, metavar="RUN", help="its folder (default: a fresh one under runs/)")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with this run, bit for bit as if it had never stopped; of the other flags only --steps, "
        "--checkpoint-every and --engine may be given",
    )
    run.add_argument(
        "--steps",
        type=_positive,
        metavar="N",
        help=f"updates in all (default: {shapes['steps']} on shapes, {folder['steps']} on a folder)",
    )
    run.add_argument(
        "--validate-every", type=_positive, metavar="N", help="steps between validations (default: steps / 10)"
    )
    run.add_argument(
        "--checkpoint-every",
        type=_positive,
        metavar="N",
        help="steps between checkpoints; each validation writes one as well "
        f"(default: {COMMON_DEFAULTS['checkpoint_every']})",
    )
    run.add_argument(
        "--seed",
        type=_not_negative,
        metavar="N",
        help=f"of initial weights, order, augmentation and dropout (default: {COMMON_DEFAULTS['seed']})",
    )
    _add_engine(run)

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="FOLDER",
        help=f'folder with images/, labels/, classes.csv, train.txt and val.txt, or "{SHAPES}", which are generated '
        f"(default: {SHAPES})",
    )
    data.add_argument(
        "--image-size",
        type=_positive,
        nargs=2,
        action=_Tuple,
        metavar=("HEIGHT", "WIDTH"),
        help=f"of the generated shapes (default: {_words(shapes['image_size'])})",
    )
    data.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help=f"images per step (default: {shapes['batch_size']} on shapes, {folder['batch_size']} on a folder)",
    )
    data.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror half of the training images (default: --flip)"
    )
    data.add_argument(
        "--scale",
        type=float,
        nargs=2,
        action=_Tuple,
        metavar=("LOW", "HIGH"),
        help="resize each training image by a random factor between these (default: leave its size)",
    )
    data.add_argument(
        "--crop",
        type=_positive,
        nargs=2,
        action=_Tuple,
        metavar=("HEIGHT", "WIDTH"),
        help="train on random windows of this size (default: on whole images)",
    )

    network = parser.add_argument_group("network")
    network.add_argument(
        "--stride",
        type=int,
        choices=(32, 16, 8),
        help=f"FCN-32s, FCN-16s or FCN-8s: the smaller, the finer (default: {NETWORK_DEFAULTS['stride']})",
    )
    network.add_argument(
        "--widths",
        type=_positive,
        nargs=5,
        action=_Tuple,
        metavar="N",
        help=f"channels of the five stages (default: {_words(NETWORK_DEFAULTS['widths'])}; VGG16: 64 128 256 512 512)",
    )
    network.add_argument(
        "--depths",
        type=_positive,
        nargs=5,
        action=_Tuple,
        metavar="N",
        help=f"convolutions of the five stages (default: {_words(NETWORK_DEFAULTS['depths'])}, as VGG16)",
    )
    network.add_argument(
        "--fc6",
        type=_positive,
        metavar="N",
        help=f"channels of fc6 and fc7 (default: {NETWORK_DEFAULTS['fc6']}; VGG16: 4096)",
    )
    network.add_argument(
        "--dropout",
        type=float,
        metavar="P",
        help=f"share of fc6 and fc7 that each training step silences (default: {NETWORK_DEFAULTS['dropout']})",
    )
    network.add_argument(
        "--form",
        choices=("same", "paper"),
        help='"same" pads each layer by its own, "paper" pads the image by 100 and crops '
        f"(default: {NETWORK_DEFAULTS['form']})",
    )
    network.add_argument(
        "--train-upsampling",
        choices=("all", "intermediate", "none"),
        help='which transposed convolutions learn; the others stay bilinear (default: "all" with --form same, "none" '
        "with --form paper)",
    )
    network.add_argument(
        "--init-from",
        type=str,
        metavar="RUN_OR_CHECKPOINT",
        help="start from the parameters of this network where names and shapes agree, as FCN-16s from FCN-32s "
        "(default: random)",
    )

    learning = parser.add_argument_group("learning")
    adam, sgd = OPTIMIZER_DEFAULTS["adam"], OPTIMIZER_DEFAULTS["sgd"]
    learning.add_argument(
        "--optimizer", choices=tuple(OPTIMIZER_DEFAULTS), help=f"(default: {COMMON_DEFAULTS['optimizer']})"
    )
    learning.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help=f"at the start; sgd doubles it for biases (default: {adam['learning_rate']} with adam, "
        f"{sgd['learning_rate']} with sgd)",
    )
    learning.add_argument("--momentum", type=float, metavar="M", help=f"of sgd (default: {sgd['momentum']})")
    learning.add_argument(
        "--weight-decay",
        type=float,
        metavar="DECAY",
        help=f"pull of the weights towards zero, biases excepted (default: {adam['weight_decay']} with adam, "
        f"{sgd['weight_decay']} with sgd)",
    )
    learning.add_argument(
        "--schedule",
        choices=tuple(SCHEDULE_DEFAULTS),
        help=f"how the learning rate falls (default: {COMMON_DEFAULTS['schedule']})",
    )
    learning.add_argument(
        "--power",
        type=float,
        metavar="P",
        help="of the polynomial schedule, rate * (1 - step / steps)^P "
        f"(default: {SCHEDULE_DEFAULTS['polynomial']['power']})",
    )
    learning.add_argument(
        "--decay-every",
        type=_positive,
        metavar="N",
        help=f"steps between falls of the step schedule (default: {SCHEDULE_DEFAULTS['step']['decay_every']})",
    )
    learning.add_argument(
        "--decay-factor",
        type=float,
        metavar="FACTOR",
        help=f"of each fall of the step schedule (default: {SCHEDULE_DEFAULTS['step']['decay_factor']})",
    )
    learning.add_argument(
        "--loss",
        choices=("mean", "sum"),
        help="cross-entropy as mean or sum over a batch's labelled pixels; the FCN paper's is the sum, with rates such "
        f"as 1e-10 (default: {COMMON_DEFAULTS['loss']})",
    )
    learning.add_argument(
        "--class-weights",
        nargs="+",
        action=_ClassWeights,
        metavar="WEIGHT",
        help='one number per class, or the word "median" for median-frequency balancing (default: all equal)',
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg evaluate`."""
    parser.set_defaults(command=evaluate)
    _add_network(parser)
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help=f'images and label maps, or "{SHAPES}" (default: the data it was trained on)',
    )
    parser.add_argument("--split", default="val", help="which split of the data (default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=_positive, default=4, metavar="N", help="images at once (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, fractions instead of per cent")
    _add_engine(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg predict`."""
    parser.set_defaults(command=predict)
    _add_network(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files that Pillow can read")
    parser.add_argument(
        "--output", type=Path, default=Path("."), metavar="FOLDER", help="where to write (default: the current folder)"
    )
    _add_engine(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder (its best.npz is taken) or an .npz file"
    )


def _add_engine(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="who computes: loops, im2col, sparse, numba (default: numba where it is installed, else im2col)",
    )


class _Tuple(argparse.Action):
    """Several numbers as a tuple."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the numbers."""
        setattr(namespace, self.dest, tuple(values))


class _ClassWeights(argparse.Action):
    """One number per class, or a single word that stands for them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the word or the numbers."""
        try:
            weights = "median" if values == ["median"] else tuple(float(value) for value in values)
        except ValueError:
            parser.error(f'argument --class-weights: needs numbers or the one word "median", got {" ".join(values)}')
        setattr(namespace, self.dest, weights)


def _positive(text: str) -> int:
    """An integer from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _not_negative(text: str) -> int:
    """An integer from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {value}")
    return value


def _words(values: Sequence[int]) -> str:
    """Numbers as they are typed after a flag."""
    return " ".join(str(value) for value in values)
