"""The flags of `npseg verify`; `npseg.cli.verifying` does what they say."""

from pathlib import Path

from npseg.flags.arguments import Commands, not_negative, positive

DEFAULT_CASES = 24


def add_commands(commands: Commands) -> None:
    """Add `npseg verify`."""
    parser = commands.add_parser(
        "verify",
        help="check every operation on every engine of this machine with fresh random cases",
        description="Hold every operation, on every engine, against its definition in plain loops, its adjoint, "
        "central differences, its matrix, the other engines (on whole numbers bit for bit), and SciPy, PyTorch and "
        "ONNX where they are installed; the optimisers against the rules they are named after; and a resumed training "
        "run against one that never stopped. Prints the worst error of each check beside its bound, and for each "
        "failure the command that repeats it; exits with 1 if there is one.",
    )
    parser.set_defaults(command="verify")
    parser.add_argument(
        "--seed", type=not_negative, default=0, metavar="N", help="another one, other cases (default: %(default)s)"
    )
    parser.add_argument(
        "--cases",
        type=positive,
        default=DEFAULT_CASES,
        metavar="N",
        help="of each operation; those of seed S are the first of the seeds S, S + 1, ... (default: %(default)s)",
    )
    for flag, what in (
        ("--operations", 'names of npseg.ops, "sgd", "adam" or "training"'),
        ("--engines", "names of engines"),
        ("--checks", "kinds of checks"),
    ):
        parser.add_argument(flag, nargs="+", metavar="NAME", help=f"{what}; an unknown one lists all (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the report as Markdown")
