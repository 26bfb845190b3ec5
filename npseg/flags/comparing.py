"""The flags of `npseg compare`; `npseg.cli.comparing` does what they say."""

import argparse
from pathlib import Path
from typing import Any

from npseg.flags.arguments import Commands, add_engine, not_negative, positive

SYSTEMS = (
    "fcn32s",
    "fcn16s",
    "fcn8s",
    "segnet",
    "deconvnet",
    "deeplab-largefov",
    "deeplab-pyramid",
    "dilation8",
)
"""What can be compared: the names of `npseg.models.SYSTEMS`."""

DEFAULTS: dict[str, Any] = {"systems": SYSTEMS, "steps": 1000, "batch_size": 8, "learning_rate": 1e-3, "seed": 0}


def add_commands(commands: Commands) -> None:
    """Add `npseg compare`."""
    _add_compare(
        commands.add_parser(
            "compare",
            help="train several segmentation systems at an equal budget",
            description="Train small forms of FCN, SegNet, DeconvNet, DeepLab and a dilated network with a context "
            "module on the generated shapes, with the same number of steps and the same batches, one after the other. "
            "The output folder gets comparison.md, .csv and .json (mean IU, parameters, multiply-accumulates, time per "
            "step), comparison.png, predictions.png, and the run of each system. Ctrl-C saves and leaves.",
        )
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    """The flags. None stands for "not given", so that `--resume` can tell which flags came with it."""
    parser.set_defaults(command="compare")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="(default: a fresh one under runs/)")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with the comparison in this folder: what is finished stays, what is not goes on from where it was "
        "saved; no other flag may come with it",
    )
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, metavar="NAME", help=f"which (default: {' '.join(SYSTEMS)})"
    )
    parser.add_argument(
        "--steps", type=positive, metavar="N", help=f"updates of each system (default: {DEFAULTS['steps']})"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help=f"images per step (default: {DEFAULTS['batch_size']})"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help=f"of Adam at the start, falling polynomially (default: {DEFAULTS['learning_rate']})",
    )
    parser.add_argument(
        "--seed",
        type=not_negative,
        metavar="N",
        help=f"of initial weights, order, augmentation and dropout (default: {DEFAULTS['seed']})",
    )
    add_engine(parser)
