"""The flags of `npseg explain` and `npseg explore`; `npseg.cli.teaching` does what they say."""

import argparse
from pathlib import Path
from typing import Any

from npseg.flags.arguments import Commands, PaddingAction, not_negative, positive

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


def add_commands(commands: Commands) -> None:
    """Add `npseg explain` and `npseg explore`."""
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


def _add_explain(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg explain`. None stands for the operation's own default."""
    parser.set_defaults(command="explain")
    parser.add_argument("operation", choices=EXPLAINED, metavar="OPERATION", help=f"one of {', '.join(EXPLAINED)}")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--step", type=not_negative, metavar="N", help="which step, from 0 (default: the first)")
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
            type=positive if least else not_negative,
            nargs="+",
            action=_Pair,
            metavar="N",
            help=f"{words}: one number for both axes, or height and width",
        )
    sizes.add_argument(
        "--padding", nargs="+", action=PaddingAction, metavar="N", help="one number, height and width, valid, or same"
    )
    for flag, words in (
        ("--groups", "of the channels"),
        ("--channels", "of the input"),
        ("--out-channels", "of the output"),
    ):
        sizes.add_argument(flag, type=positive, metavar="N", help=words)
    sizes.add_argument("--seed", type=not_negative, default=0, metavar="N", help="of the numbers (default: 0)")
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


class _Pair(argparse.Action):
    """One number for both axes, or two, as (height, width)."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the pair."""
        if len(values) > 2:
            parser.error(f"argument {option_string}: needs one or two numbers, got {len(values)}")
        setattr(namespace, self.dest, (values[0], values[-1]))
