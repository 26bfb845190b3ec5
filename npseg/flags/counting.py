"""The flags of `npseg summary` and `npseg formula`; `npseg.cli.counting` does what they say."""

import argparse
from pathlib import Path
from typing import Any

from npseg.flags.arguments import Commands, PaddingAction, TupleAction, add_size, not_negative, positive, words
from npseg.flags.training import BACKBONES

CONVENTIONS = ("npseg", "exact", "fvcore", "torchinfo", "ptflops", "thop", "torch")


def add_commands(commands: Commands) -> None:
    """Add `npseg summary` and `npseg formula`."""
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


def _add_summary(parser: argparse.ArgumentParser) -> None:
    """The flags of `npseg summary`."""
    parser.set_defaults(command="summary")
    parser.add_argument(
        "network",
        metavar="NAME_OR_RUN",
        help="vgg16, alexnet, googlenet, fcn8s, ... (an unknown name lists all), a run's folder or an .npz file",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help=f"what an FCN is built on: {', '.join(BACKBONES)} (default: vgg16)",
    )
    add_size(parser, "--input-size", "of the image (default: the one that the named network was made for)")
    parser.add_argument(
        "--classes", type=positive, metavar="N", help="how many (default: 1000 of a classifier, 21 of the others)"
    )
    parser.add_argument(
        "--form",
        choices=("same", "paper"),
        help="of an FCN, as in npseg train (default: paper where the backbone has it)",
    )
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
        type=positive,
        nargs=2,
        action=TupleAction,
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
    parser.add_argument("--in", type=positive, metavar="C", help="input channels (of linear: features)")
    parser.add_argument("--out", type=positive, metavar="M", help="output channels (of linear: features)")
    for flag, meaning in (
        ("--kernel", "its size: one number, or height and width, as with the next four"),
        ("--stride", "(default: 1; of a pool: the kernel size)"),
        ("--dilation", "(default: 1)"),
        ("--output-padding", "rows and columns added at the end of a transposed convolution's output (default: 0)"),
        ("--scale", "of an upsampling: output size over input size"),
    ):
        parser.add_argument(flag, type=not_negative, nargs="+", action=_OneOrTwo, metavar="N", help=meaning)
    parser.add_argument(
        "--padding",
        nargs="+",
        action=PaddingAction,
        metavar="P",
        help='one number, height and width, top bottom left right, "valid" or "same" (default: 0)',
    )
    parser.add_argument("--groups", type=positive, metavar="G", help="(default: 1)")
    parser.add_argument("--multiplier", type=positive, metavar="M", help="depthwise filters per channel (default: 1)")
    add_size(parser, "--input-size", "(default: 224 224)")
    add_size(parser, "--output-size", "of max-unpool and bilinear, in place of --scale")
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


class _OneOrTwo(argparse.Action):
    """One number, or a height and a width."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the number or the pair."""
        if len(values) > 2:
            parser.error(f"argument {option_string}: needs one number or height and width, got {words(values)}")
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))
