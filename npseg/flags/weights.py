"""The flags of `npseg convert`."""

import argparse
from pathlib import Path
from typing import Any

CONVERTED = ("torchvision-vgg11", "torchvision-vgg13", "torchvision-vgg16", "torchvision-vgg19")
"""What `npseg convert` knows."""


def add_commands(commands: Any) -> None:
    """`convert`."""
    _add_convert(
        commands.add_parser(
            "convert",
            help="make an FCN's initial weights of a classifier's file",
            description="Read a trained classifier, turn its fully connected layers into convolutions, give its layers "
            "npseg's names, and write the weights for npseg train --init-from. Formats go by the files' endings: .npz, "
            ".safetensors, .pth and .pt. PyTorch is not needed, and nothing that a file contains is run.",
        )
    )


def _add_convert(parser: argparse.ArgumentParser) -> None:
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
