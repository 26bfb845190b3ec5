"""The flags of `npseg convert` and `npseg export`; `npseg.cli.weights` does what they say."""

import argparse
from pathlib import Path
from typing import Any

from npseg.flags.arguments import add_size

CONVERTED = ("torchvision-vgg11", "torchvision-vgg13", "torchvision-vgg16", "torchvision-vgg19")
"""What `npseg convert` knows."""


def add_commands(commands: Any) -> None:
    """`convert` and `export`."""
    _add_convert(
        commands.add_parser(
            "convert",
            help="make an FCN's initial weights of a classifier's file",
            description="Read a trained classifier, turn its fully connected layers into convolutions, give its layers "
            "npseg's names, and write the weights for npseg train --init-from. Formats go by the files' endings: .npz, "
            ".safetensors, .pth and .pt. PyTorch is not needed, and nothing that a file contains is run.",
        )
    )
    _add_export(
        commands.add_parser(
            "export",
            help="write a network as an .onnx file",
            description="Write a trained network as an .onnx file, which ONNX Runtime and many others serve: images of "
            "any size and number go in, logits come out. Classes and the preparation of images are kept in the file's "
            "metadata. Needs the library onnx (pip install 'npseg[onnx]').",
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


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="export")
    parser.add_argument(
        "network", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder (its best.npz is taken) or an .npz file"
    )
    parser.add_argument("target", type=Path, metavar="OUT.onnx", help="where to write")
    add_size(
        parser,
        "--input-size",
        "of the only images to be taken: for classifiers whose fully connected layers fit no others "
        "(default: any size)",
    )
