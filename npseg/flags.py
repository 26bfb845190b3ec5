"""The flags of `npseg` and their defaults; `npseg.cli` does what they say."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

WINOGRAD = ("off", "f2", "f4")
CONVENTIONS = ("npseg", "exact", "fvcore", "torchinfo", "ptflops", "thop", "torch")
SHAPES = "shapes"
SHAPES_COUNT = {"train": 5000, "val": 200}

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

CONVERTED = ("torchvision-vgg11", "torchvision-vgg13", "torchvision-vgg16", "torchvision-vgg19")
"""What `npseg convert` knows."""

EXPLAINED = (
    "conv2d",
    "depthwise_conv2d",
    "separable_conv2d",
    "conv_transpose2d",
    "max_pool2d",
    "avg_pool2d",
    "max_unpool2d",
    "nearest_unpool2d",
    "bed_of_nails_unpool2d",
    "resize_bilinear",
    "deconvolve2d",
    "cross_entropy2d",
)
"""The operations that `npseg explain` knows."""


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
    _add_convert(
        commands.add_parser(
            "convert",
            help="make an FCN's initial weights of a classifier's file",
            description="Read a trained classifier, turn its fully connected layers into convolutions, give its layers "
            "npseg's names, and write the weights for npseg train --init-from. Formats go by the files' endings: .npz, "
            ".safetensors, .pth and .pt. PyTorch is not needed, and nothing that a file contains is run.",
        )
    )
    _add_summary(
        commands.add_parser(
            "summary",
            help="count a network, layer by layer",
            description="Print each layer's output shape, window, parameters, multiply-accumulates, memory, receptive "
            "field, effective stride and offset, and the totals, from the network's declaration: nothing is computed "
            "and no weight is allocated.",
        )
    )
    _add_formula(
        commands.add_parser(
            "formula",
            help="what one operation costs, derived step by step",
            description="Print an operation's parameters, multiply-accumulates, FLOPs, output size and memory, each "
            "as formula, with numbers, and as value. Operations: conv2d, dilated, depthwise, separable, transposed, "
            "linear, max-pool, avg-pool, global-avg-pool, max-unpool, nearest, bed-of-nails, bilinear, batch-norm, or "
            "a name of npseg.ops such as conv_transpose2d. Where sizes do not fit, the nearest that do are named.",
        )
    )
    _add_explain(
        commands.add_parser(
            "explain",
            help="show an operation step by step",
            description="Draw a step of an operation in the terminal, on small whole numbers: its window, its line of "
            "the sparse matrix, and the sum. With --figure, as a picture.",
        )
    )
    _add_explore(
        commands.add_parser(
            "explore",
            help="try the operations out in a browser",
            description="Write one HTML file in which convolutions, pools, unpoolings and interpolation can be tried "
            "out step by step, forward and backward, and open it. It needs no network.",
        )
    )
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg train`. None stands for "not given", so that `--resume` can tell; see `npseg.cli`."""
    parser.set_defaults(command="train")
    shapes, folder = DATA_DEFAULTS[SHAPES], DATA_DEFAULTS["a folder"]

    run = parser.add_argument_group("the run")
    run.add_argument("--output", type=Path, metavar="RUN", help="its folder (default: a fresh one under runs/)")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with this run, bit for bit as if it had never stopped; of the other flags only --steps, "
        "--checkpoint-every, --engine and --winograd may be given",
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
    parser.set_defaults(command="evaluate")
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
    parser.set_defaults(command="predict")
    _add_network(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files that Pillow can read")
    parser.add_argument(
        "--output", type=Path, default=Path("."), metavar="FOLDER", help="where to write (default: the current folder)"
    )
    _add_engine(parser)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg convert`."""
    parser.set_defaults(command="convert")
    parser.add_argument("source", type=Path, metavar="IN", help="the classifier's file")
    parser.add_argument("target", type=Path, metavar="OUT", help="where to write; .npz for npseg train --init-from")
    parser.add_argument(
        "--from",
        dest="kind",
        choices=CONVERTED,
        required=True,
        help="whose names and layers IN has",
    )


def _add_summary(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg summary`."""
    parser.set_defaults(command="summary")
    parser.add_argument(
        "network",
        metavar="NAME_OR_RUN",
        help="vgg16, alexnet, googlenet, fcn8s, ... (an unknown name lists all), a run's folder or an .npz file",
    )
    parser.add_argument(
        "--backbone", metavar="NAME", help="what an FCN is built on: vgg11 ... vgg19 or caffenet (default: vgg16)"
    )
    parser.add_argument(
        "--input-size",
        type=_positive,
        nargs=2,
        action=_Tuple,
        metavar=("HEIGHT", "WIDTH"),
        help="of the image (default: the one that the named network was made for)",
    )
    parser.add_argument(
        "--classes", type=_positive, metavar="N", help="how many (default: 1000 of a classifier, 21 of the others)"
    )
    parser.add_argument("--form", choices=("same", "paper"), help="of an FCN, as in npseg train (default: paper)")
    parser.add_argument(
        "--convention",
        choices=CONVENTIONS,
        default=CONVENTIONS[0],
        help="what counts as a multiply-accumulate: npseg's own rule, exact (without multiplications by padding), or "
        "what a tool prints, its mistakes included (default: %(default)s)",
    )
    parser.add_argument(
        "--explain",
        choices=("crops",),
        help="instead of the table, show step by step why an FCN crops where it does, and which padding suffices",
    )
    parser.add_argument(
        "--input-range",
        type=_positive,
        nargs=2,
        action=_Tuple,
        metavar=("SMALLEST", "LARGEST"),
        help="heights and widths for which --explain crops finds the least padding (default: 1 500)",
    )
    written = parser.add_mutually_exclusive_group()
    written.add_argument("--json", action="store_true", help="print one JSON object")
    written.add_argument("--csv", action="store_true", help="print one line of values for each layer")
    written.add_argument("--markdown", action="store_true", help="print a Markdown table")


def _add_formula(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg formula`. None stands for "not given": what an operation does not take is refused."""
    parser.set_defaults(command="formula")
    parser.add_argument("operation", nargs="?", metavar="OPERATION", help="which one; see above")
    parser.add_argument("--in", type=_positive, metavar="C", help="input channels (of linear: features)")
    parser.add_argument("--out", type=_positive, metavar="M", help="output channels (of linear: features)")
    for flag, meaning in (
        ("--kernel", "its size: one number, or height and width, as with the next four"),
        ("--stride", "(default: 1; of a pool: the kernel size)"),
        ("--dilation", "(default: 1)"),
        ("--output-padding", "rows and columns added at the end of a transposed convolution's output (default: 0)"),
        ("--scale", "of an upsampling: output size over input size"),
    ):
        parser.add_argument(flag, type=_not_negative, nargs="+", action=_OneOrTwo, metavar="N", help=meaning)
    parser.add_argument(
        "--padding",
        nargs="+",
        action=_Padding,
        metavar="P",
        help='one number, height and width, top bottom left right, "valid" or "same" (default: 0)',
    )
    parser.add_argument("--groups", type=_positive, metavar="G", help="(default: 1)")
    parser.add_argument("--multiplier", type=_positive, metavar="M", help="depthwise filters per channel (default: 1)")
    parser.add_argument(
        "--input-size",
        type=_positive,
        nargs=2,
        action=_Tuple,
        metavar=("HEIGHT", "WIDTH"),
        help="(default: 224 224)",
    )
    parser.add_argument(
        "--output-size",
        type=_positive,
        nargs=2,
        action=_Tuple,
        metavar=("HEIGHT", "WIDTH"),
        help="of max-unpool and bilinear, in place of --scale",
    )
    parser.add_argument("--bias", action=argparse.BooleanOptionalAction, help="(default: --bias)")
    parser.add_argument("--ceil-mode", action="store_true", default=None, help="round a pool's output size up")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of the maps (default: float32)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FOLDER",
        help="instead of a derivation, draw costs.png (full, depthwise and separable convolutions against channels and "
        "kernel size), fields.png (parameters against receptive field, dense, stacked and dilated) and "
        "effective_fields.png (what one output really sees); takes no other flag",
    )


def _add_explain(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg explain`. None stands for the operation's own default."""
    parser.set_defaults(command="explain")
    parser.add_argument("operation", choices=EXPLAINED, metavar="OPERATION", help=f"one of {', '.join(EXPLAINED)}")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--step", type=_not_negative, metavar="N", help="which step, from 0 (default: the first)")
    steps.add_argument("--all", action="store_true", help="every step")
    parser.add_argument("--backward", action="store_true", help="the backward pass")
    parser.add_argument(
        "--view",
        choices=("gather", "scatter", "zero_stuffed"),
        help="a step for each output, for each input, or (conv_transpose2d) as a convolution of the zero-stuffed input",
    )
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE",
        help="write a picture instead: a PNG of the step, or of all where none is named, or a GIF that plays them",
    )

    sizes = parser.add_argument_group("sizes and numbers")
    for flag, words, least in (
        ("--input-size", "of the input", 1),
        ("--output-size", "of resize_bilinear's output", 1),
        ("--kernel", "kernel size", 1),
        ("--stride", "pixels from one window to the next", 1),
        ("--dilation", "pixels from one tap to the next", 1),
        ("--output-padding", "of conv_transpose2d", 0),
        ("--scale", "of an unpooling", 1),
    ):
        sizes.add_argument(
            flag,
            dest="kernel_size" if flag == "--kernel" else flag[2:].replace("-", "_"),
            type=_positive if least else _not_negative,
            nargs="+",
            action=_Pair,
            metavar="N",
            help=f"{words}: one number for both axes, or height and width",
        )
    sizes.add_argument(
        "--padding", nargs="+", action=_Padding, metavar="N", help="one number, height and width, valid, or same"
    )
    for flag, words in (
        ("--groups", "of the channels"),
        ("--channels", "of the input"),
        ("--out-channels", "of the output"),
    ):
        sizes.add_argument(flag, type=_positive, metavar="N", help=words)
    sizes.add_argument("--seed", type=_not_negative, default=0, metavar="N", help="of the numbers (default: 0)")
    sizes.add_argument("--regularization", type=float, metavar="R", help="of deconvolve2d")
    sizes.add_argument("--ceil-mode", action="store_true", default=None, help="of the pools")
    sizes.add_argument("--align-corners", action="store_true", default=None, help="of resize_bilinear")


def _add_explore(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg explore`."""
    parser.set_defaults(command="explore")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("explorer.html"),
        metavar="FILE",
        help="where to write (default: %(default)s)",
    )
    parser.add_argument("--no-open", action="store_true", help="write the file and leave the browser alone")


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder (its best.npz is taken) or an .npz file"
    )


def _add_engine(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="who computes: loops, im2col, sparse, or numba where Numba is installed (default: numba, else im2col)",
    )
    parser.add_argument(
        "--winograd",
        choices=WINOGRAD,
        help="how far the numba engine may go with Winograd's convolutions, which multiply less but round more: not at "
        "all, or in tiles of 2x2 or 4x4 (default: f4)",
    )


class _Tuple(argparse.Action):
    """Several numbers as a tuple."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the numbers."""
        setattr(namespace, self.dest, tuple(values))


class _Pair(argparse.Action):
    """One number for both axes, or two, as (height, width)."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the pair."""
        if len(values) > 2:
            parser.error(f"argument {option_string}: needs one or two numbers, got {len(values)}")
        setattr(namespace, self.dest, (values[0], values[-1]))


class _OneOrTwo(argparse.Action):
    """One number, or a height and a width."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the number or the pair."""
        if len(values) > 2:
            parser.error(f"argument {option_string}: needs one number or height and width, got {_words(values)}")
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


class _Padding(argparse.Action):
    """One number, a height and a width, all four sides, or a word."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the padding in the form that `npseg.ops` takes."""
        padding: Any = values[0] if values in (["same"], ["valid"]) else None
        if padding is None:
            try:
                numbers = tuple(_not_negative(value) for value in values)
                padding = {1: numbers[:1], 2: numbers, 4: (numbers[:2], numbers[2:])}[len(numbers)]
            except (ValueError, KeyError, argparse.ArgumentTypeError):
                parser.error(
                    "argument --padding: needs one, two (height and width) or four (top bottom left right) numbers "
                    f'from 0, "same" or "valid", got {" ".join(values)}'
                )
            padding = padding[0] if len(padding) == 1 else padding
        setattr(namespace, self.dest, padding)


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
