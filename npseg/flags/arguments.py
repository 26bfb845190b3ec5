"""What the flags of several commands share: the parser, kinds of values, the choice of an engine."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_subparsers` returns: each command adds its own parser to it."""

WINOGRAD = ("off", "f2", "f4")


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated flags and whose errors are one line."""

    def __init__(self, **keywords: Any) -> None:
        """As `argparse.ArgumentParser`."""
        super().__init__(**keywords, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with exit status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class TupleAction(argparse.Action):
    """Several numbers as a tuple."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the numbers."""
        setattr(namespace, self.dest, tuple(values))


class PaddingAction(argparse.Action):
    """One number, a height and a width, all four sides, or a word."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Keep the padding in the form that `npseg.ops` takes."""
        padding: Any = values[0] if values in (["same"], ["valid"]) else None
        if padding is None:
            try:
                numbers = tuple(not_negative(value) for value in values)
                padding = {1: numbers[:1], 2: numbers, 4: (numbers[:2], numbers[2:])}[len(numbers)]
            except (ValueError, KeyError, argparse.ArgumentTypeError):
                parser.error(
                    "argument --padding: needs one, two (height and width) or four (top bottom left right) numbers "
                    f'from 0, "same" or "valid", got {" ".join(values)}'
                )
            padding = padding[0] if len(padding) == 1 else padding
        setattr(namespace, self.dest, padding)


def positive(text: str) -> int:
    """An integer from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def not_negative(text: str) -> int:
    """An integer from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {value}")
    return value


def words(values: Sequence[int]) -> str:
    """Numbers as they are typed after a flag."""
    return " ".join(str(value) for value in values)


def add_size(parser: "argparse._ActionsContainer", flag: str, meaning: str) -> None:
    """Add a flag that takes a height and a width."""
    parser.add_argument(flag, type=positive, nargs=2, action=TupleAction, metavar=("HEIGHT", "WIDTH"), help=meaning)


def add_engine(parser: "argparse._ActionsContainer") -> None:
    """Add the flags that say who computes."""
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
