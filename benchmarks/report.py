"""What the benchmarks' commands share: their options, Markdown, and files written whole."""

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import npseg
from benchmarks import machine
from npseg.files import write_whole

RESULTS = Path(__file__).parent / "results"


def parser(description: str | None, *, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """The options that all commands have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--rounds", type=int, default=rounds, help=f"turns of each contender (default: {rounds})")
    result.add_argument("--seconds", type=float, default=seconds, help=f"of each turn (default: {seconds})")
    result.add_argument("--quick", action="store_true", help="tiny sizes: shows that all runs, measures nothing")
    result.add_argument("--output", type=Path, help="folder for the files (default: a whole run rewrites the results)")
    return result


def default_engines() -> list[str]:
    """The compiled engine where it is installed, and the one that needs nothing."""
    return [name for name in ("numba", "im2col") if name in npseg.engines()]


def add_engines(options: argparse.ArgumentParser) -> None:
    """The option --engines."""
    default = default_engines()
    options.add_argument(
        "--engines",
        nargs="+",
        choices=npseg.engines(),
        default=default,
        help=f"the first is compared with PyTorch, others run beside it on all cores (default: {' '.join(default)})",
    )


def add_threads(options: argparse.ArgumentParser) -> None:
    """The option --threads."""
    default = sorted({machine.cores(), 1}, reverse=True)
    options.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=default,
        help=f"numbers of threads, of both libraries (default: {' '.join(map(str, default))})",
    )


def folder_of(options: argparse.Namespace, whole: bool) -> Path | None:
    """Where the files go: to the folder asked for, else to the results, but only those of a whole run."""
    return options.output or (RESULTS if whole else None)


def command(module: str) -> str:
    """The command that is running."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(text.encode()))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def milliseconds(seconds: float) -> str:
    """A time with three digits, as far as it has them."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float, bound: float | None = None) -> str:
    """A ratio, bold where it exceeds its bound."""
    return f"**{value:.2f}**" if bound is not None and value > bound else f"{value:.2f}"
