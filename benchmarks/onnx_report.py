"""Which of ONNX's public tests npseg runs, and why it refuses the others: `benchmarks/results/onnx.md`.

    python -m benchmarks.onnx_report

A test that is run must give the expected numbers, within its own tolerance; otherwise the command fails.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from tqdm import tqdm

from benchmarks.onnx_cases import ZOO, Result, is_ours, node_tests, reason, stored_tests, tried, zoo_file, zoo_result
from benchmarks.report import RESULTS, command, table, write_text
from npseg.weights import load_onnx

STORED = ("pytorch-converted", "pytorch-operator")
"""The stored tests that are of whole layers."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS / "onnx.md", help="file to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    cases = node_tests()
    results = [tried(case) for case in tqdm(cases, unit="test", dynamic_ncols=True)]
    ours = [result for case, result in zip(cases, results, strict=True) if is_ours(case)]
    others = [result for case, result in zip(cases, results, strict=True) if not is_ours(case)]
    converted = [tried(case) for kind in STORED for case in stored_tests(kind)]
    zoo = [published(name) for name in tqdm(ZOO, unit="network", dynamic_ncols=True)]
    write_text(options.output, text(ours, others, converted, zoo))
    for what, found in (("own", ours), ("others", others), ("from PyTorch", converted), ("published networks", zoo)):
        print(f"{what}: {counts(found)}")
    print(options.output)


def published(name: str) -> Result:
    """A published network, run or refused.

    Raises:
        AssertionError: it was run, and the numbers are wrong.
    """
    path = zoo_file(name)
    image, expected = zoo_result(name)
    try:
        found = load_onnx(path)(image)
    except ValueError as error:
        return Result(path.stem, "", reason(str(error), path))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7, err_msg=name)
    return Result(path.stem, "", None, float(np.abs(found - expected).max()))


def text(ours: Sequence[Result], others: Sequence[Result], converted: Sequence[Result], zoo: Sequence[Result]) -> str:
    """The report."""
    return f"""# ONNX's own tests

`{command("benchmarks.onnx_report")}`, onnx {onnx.__version__}

Each public test of an operator (`onnx.backend.test.case.node`) is given to `npseg.weights.load_onnx` as a file; weights
and other arguments become constants, several maps are stacked into one image that a Split takes apart, and in front of
a MaxUnpool comes the MaxPool that finds its indices. What is read is run and must give the expected numbers within the
test's tolerance; what is not read is refused, and the message is the reason that stands here.

- operators whose mathematics npseg has: **{counts(ours)}**
- all other operators: {counts(others)}
- layers converted from PyTorch, stored with the library: {counts(converted)}
- published networks, stored with the library without their weights: {counts(zoo)}

## By operator

{table(("operator", "run", "refused"), by_operator(ours))}
## Test by test

{table(("test", "operator", "result"), map(row, ours))}
## Layers converted from PyTorch

{table(("test", "operators", "result"), map(row, converted))}
## Published networks

Their weights are simple numbers, mostly all alike, so that most results are the same for every class: that they are
read says more than that the numbers are right.

{table(("network", "", "result"), map(row, zoo))}
## Other operators

Tests of several operators at once are of operators that are written out in simpler ones.

{table(("operators", "run", "refused"), by_operator(others))}"""


def counts(results: Iterable[Result]) -> str:
    """How many were run and how many refused."""
    refused = [result.refused is not None for result in results]
    return f"{refused.count(False):,} run, {refused.count(True):,} refused"


def by_operator(results: Iterable[Result]) -> list[tuple[str, str, str]]:
    """For each operator, how many were run and how many refused."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        groups[result.operator].append(result.refused is None)
    return [(name, str(sum(run)), str(len(run) - sum(run))) for name, run in sorted(groups.items())]


def row(result: Result) -> tuple[str, str, str]:
    """A line of the table."""
    said = f"run, off by at most {result.error:.1e}" if result.refused is None else f"refused: {result.refused}"
    return result.name.removeprefix("test_"), result.operator, said.replace("|", "\\|")


if __name__ == "__main__":
    main()
