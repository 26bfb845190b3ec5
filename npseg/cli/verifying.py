"""`npseg verify`: the trust report."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from npseg.cli.shared import UsageError


def verify(options: argparse.Namespace) -> int:
    """Check, with a progress bar, and print what was found; 1 where something failed."""
    from npseg import verify as verification
    from npseg.files import write_whole

    choices = {name: getattr(options, name) for name in ("operations", "engines", "checks")}
    try:
        report = verification.verify(seed=options.seed, cases=options.cases, **choices, track=_with_progress_bar)
    except ValueError as error:
        raise UsageError(error) from error
    if options.markdown is not None:
        text = report.markdown()
        write_whole(options.markdown, lambda file: file.write(text.encode()))
    print(report.as_json() if options.json else report.text())
    return 0 if report.passed else 1


def _with_progress_bar(units: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The cases one by one, and on standard error how many are left."""
    from tqdm import tqdm

    seconds = 0.1 if sys.stderr.isatty() else 10.0  # a log file keeps every update
    with tqdm(units, unit="case", dynamic_ncols=True, leave=False, mininterval=seconds) as bar:
        for operation, number in bar:
            bar.set_postfix_str(operation, refresh=False)
            yield operation, number
