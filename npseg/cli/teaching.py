"""`npseg explain` and `npseg explore`: operations step by step."""

import argparse
import shutil
import sys

from npseg.cli.shared import UsageError


def explain(options: argparse.Namespace) -> int:
    """Draw a step of an operation in the terminal, or its steps as a picture."""
    from npseg.teaching import demonstration, text

    given = {name: value for name, value in vars(options).items() if value is not None}
    picture, shown, every = given.pop("figure", None), given.pop("step", None), given.pop("all")
    try:
        trace = demonstration.demonstrate(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(error) from error
    if shown is not None and shown >= len(trace):
        raise UsageError(f"--step must lie in 0 ... {len(trace) - 1}, got {shown}")
    if picture is not None:
        from npseg.teaching.figures import export

        export.write(trace, picture, step=shown)
        print(f"Figure: {picture}")
        return 0
    for step in range(len(trace)) if every else [shown or 0]:
        drawn = text.step_text(trace, step, width=shutil.get_terminal_size((100, 24)).columns)
        print(text.coloured(drawn) if sys.stdout.isatty() else drawn, end="\n\n" if every else "\n")
    return 0


def explore(options: argparse.Namespace) -> int:
    """Write the explorer and open it; where there is no browser, say where it is all the same."""
    from npseg.teaching import explorer

    explorer.write(options.output)
    print(f"Explorer: {options.output}", flush=True)
    if not options.no_open and not explorer.show(options.output):
        print("No browser was found here: open the file in one.")
    return 0
