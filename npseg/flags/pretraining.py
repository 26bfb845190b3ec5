"""The flags of `npseg pretrain` and their defaults; `npseg.cli.pretraining` does what they say."""

import argparse
from typing import Any

from npseg.flags.arguments import Commands, add_size, positive, words
from npseg.flags.training import COMMON_DEFAULTS, add_learning, add_run, add_vgg

COUNT = {"train": 5000, "val": 500}

DEFAULTS: dict[str, Any] = {"steps": 1500, "batch_size": 16, "image_size": (64, 64)}
"""What `npseg pretrain` does otherwise than `npseg train`."""


def add_commands(commands: Commands) -> None:
    """Add `npseg pretrain`."""
    _add_pretrain(
        commands.add_parser(
            "pretrain",
            help="train a classifier, which npseg train --init-from turns into an FCN",
            description="Train a VGG classifier on generated images of one object each, with one label for the whole "
            "image. The run's folder is as with npseg train. With npseg train --init-from RUN its fully connected "
            "layers become convolutions, and it learns to segment.",
        )
    )


def _add_pretrain(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg pretrain`; None stands for "not given"."""
    parser.set_defaults(command="pretrain")
    add_run(parser, str(DEFAULTS["steps"]))
    data = parser.add_argument_group("data")
    add_size(
        data,
        "--image-size",
        f"of the generated images, the only one that the classifier takes (default: {words(DEFAULTS['image_size'])})",
    )
    data.add_argument(
        "--batch-size", type=positive, metavar="N", help=f"images per step (default: {DEFAULTS['batch_size']})"
    )
    data.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help=f"mirror half of the training images (default: {'--flip' if COMMON_DEFAULTS['flip'] else '--no-flip'})",
    )
    add_vgg(parser.add_argument_group("network"))
    add_learning(parser)
