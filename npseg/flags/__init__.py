"""The flags of `npseg`, one file for each family of commands; `npseg.cli` does what they say.

Nothing here imports another part of npseg, so that `--help` is quick.
"""

import argparse

from npseg.flags import comparing, counting, inference, pretraining, teaching, training, verifying, weights
from npseg.flags.arguments import Parser


def make_parser() -> argparse.ArgumentParser:
    """All flags of all commands."""
    parser = Parser(prog="npseg", description="Semantic segmentation from scratch in NumPy.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for family in (training, pretraining, comparing, inference, weights, counting, teaching, verifying):
        family.add_commands(commands)
    return parser
