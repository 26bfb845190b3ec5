"""The flags of `npseg evaluate` and `npseg predict`; `npseg.cli.inference` does what they say."""

import argparse
from pathlib import Path

from npseg.flags.arguments import Commands, add_engine, positive
from npseg.flags.training import SHAPES


def add_commands(commands: Commands) -> None:
    """Add `npseg evaluate` and `npseg predict`."""
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
        "--batch-size", type=positive, default=4, metavar="N", help="images at once (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, fractions instead of per cent")
    add_engine(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg predict`."""
    parser.set_defaults(command="predict")
    _add_network(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files that Pillow can read")
    parser.add_argument(
        "--output", type=Path, default=Path("."), metavar="FOLDER", help="where to write (default: the current folder)"
    )
    add_engine(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder (its best.npz is taken) or an .npz file"
    )
