"""Every operation beside PyTorch's, pass by pass: `python -m benchmarks.ops` (needs PyTorch: `pip install '.[bench]'`).

Each pass is computed by PyTorch in float64 first; a contender that differs from that by more than its tolerance is
reported and not timed. Then npseg's engines and PyTorch take turns, each in a process of its own with the same number
of threads (see `benchmarks.measuring`). npseg works in memory that is used again, as its training does; PyTorch in both
memory layouts, and also into the arrays of the call before where its operators can. A whole run (no option that leaves
something out) rewrites `ops.md` and `roofline.png` in `benchmarks/results`.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks import cases, figures, report
from benchmarks.cases import AIMS, Case, Pass
from benchmarks.machine import Roof, description
from benchmarks.measuring import Timing, Worker, interleaved
from benchmarks.npseg_side import DIRECT, WINOGRAD, forms_of

TOLERANCES = {WINOGRAD: 1e-4}
"""The largest difference over the largest result that is right, by form; Winograd's F(4x4, 3x3) rounds more."""
TOLERANCE = 2e-5

PYTORCH = "pytorch"

Contender = tuple[str, str]
"""A worker's name and one of its forms."""


@dataclass(frozen=True)
class Line:
    """One pass of one operation: how long each contender took, and which ones were wrong by how much."""

    case: Case
    work: Pass
    times: Mapping[Contender, Timing]
    wrong: Mapping[Contender, float]

    def npseg(self, engine: str, form: str | None = None) -> Timing | None:
        """An engine's time in a form, or in the one that networks use; None if it was wrong."""
        return self.times.get((engine, form or forms_of(engine, self.case)[0]))

    def pytorch(self, layout: str = "") -> tuple[str, Timing] | None:
        """PyTorch's better form, in one layout or in all."""
        found = [
            (form, timing) for (side, form), timing in self.times.items() if side == PYTORCH and form.startswith(layout)
        ]
        return min(found, key=lambda pair: pair[1].median, default=None)

    def ratio(self, engine: str, form: str | None = None) -> float | None:
        """npseg's time over PyTorch's better one."""
        mine, theirs = self.npseg(engine, form), self.pytorch()
        return mine.median / theirs[1].median if mine and theirs else None


def main() -> None:
    options = _options()
    chosen = list(cases.chosen(cases.QUICK_CASES if options.quick else cases.CASES, options.operations))
    if not chosen:
        raise SystemExit(f"no operation matches {options.operations}")
    if options.list:
        print("\n".join(f"{case.group}: {case.name}" for case in chosen))
        return
    measured: dict[int, list[Line]] = {}
    roofs: dict[int, Roof] = {}
    versions: dict[str, Mapping[str, Any]] = {}
    for threads in options.threads:
        engines = options.engines if threads == max(options.threads) else options.engines[:1]
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(Worker("benchmarks.npseg_side:Npseg", name, threads=threads))
                for name in engines
            }
            workers[PYTORCH] = stack.enter_context(Worker("benchmarks.pytorch_side:PyTorch", threads, threads=threads))
            versions = {name: worker.call("versions") for name, worker in workers.items()} | versions
            if "numba" in workers:  # and all the others have started and are asleep
                roofs[threads] = Roof(*workers["numba"].call("roof"))
            measured[threads] = list(_measured(chosen, workers, options, threads))
    text = _report(measured, description(versions, roofs), roofs, options)
    print(text)
    _finish(text, measured, roofs, options)


def _options() -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3, seconds=0.03)
    parser.add_argument("operations", nargs="*", help="parts or shell patterns of names or groups (default: all)")
    parser.add_argument("--list", action="store_true", help="print the operations' groups and names, and stop")
    report.add_engines(parser)
    report.add_threads(parser)
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------------ measuring


def _measured(
    chosen: Sequence[Case], workers: Mapping[str, Worker], options: argparse.Namespace, threads: int
) -> Iterator[Line]:
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=cases.lines(chosen), desc=f"{threads} threads", unit="pass", disable=None) as progress,
    ):
        for case in chosen:
            forms = {name: worker.call("prepare", case) for name, worker in workers.items()}
            contenders = [(name, form) for name in workers for form in forms[name]]
            for work in case.passes:
                progress.set_postfix_str(f"{case.name}, {work.name}")
                yield _line(case, work, contenders, workers, options, Path(folder))
                progress.update()


def _line(
    case: Case,
    work: Pass,
    contenders: Sequence[Contender],
    workers: Mapping[str, Worker],
    options: argparse.Namespace,
    folder: Path,
) -> Line:
    """Check every contender, then time those that are right."""
    references = workers[PYTORCH].call("reference", work.name, folder)
    right, wrong = {}, {}
    for name, form in contenders:
        deviation = workers[name].call("deviation", form, work.name, references)
        if deviation is None:
            continue
        if deviation <= TOLERANCES.get(form, TOLERANCE):
            right[name, form] = partial(workers[name].call, "turn", form, work.name, options.seconds)
        else:
            wrong[name, form] = deviation
    for path in references:
        path.unlink()
    return Line(case, work, interleaved(right, options.rounds), wrong)


# ------------------------------------------------------------------------------------------------------------ reporting


def _report(
    measured: Mapping[int, Sequence[Line]], described: str, roofs: Mapping[int, Roof], options: argparse.Namespace
) -> str:
    """All of it as Markdown."""
    engine, *others = options.engines
    parts = [
        "# Operations beside PyTorch\n",
        f"`{report.command('benchmarks.ops')}`\n\n{described}\n",
        f"Milliseconds in float32, the median over {options.rounds} rounds of each round's median; contenders in turn, "
        "in processes of their own. *Ratio* is npseg's time over PyTorch's better one (below 1, npseg is ahead; bold, "
        "above its bound). npseg: engine "
        f"`{engine}` in reused memory, with Winograd F(4x4, 3x3) where `f4` stands; *off* is the same without it. "
        "PyTorch: `r` marks where writing into the arrays of the call before was faster. GFLOP/s count the direct "
        "algorithm's arithmetic, which Winograd does with less, and GB/s every array once, which a cache can serve "
        "faster than memory. Before it was timed, everything was compared with PyTorch in float64: the largest "
        f"difference is at most {TOLERANCE:g} of the largest result ({TOLERANCES[WINOGRAD]:g} for `f4`).\n",
    ]
    for threads, lines in measured.items():
        beside = others if threads == max(measured) else []
        parts.append(f"## {threads} thread{'s' if threads > 1 else ''}\n")
        parts.append(_summary(lines, engine))
        parts.append(_table(lines, engine, beside, roofs.get(threads)))
        if threads == max(measured) and threads in roofs:
            parts.append("![Roofline](roofline.png)\n")
    return "\n".join(parts)


def _summary(lines: Sequence[Line], engine: str) -> str:
    """Each group's ratios against what it must and what it should reach."""
    rows = []
    for group, (bound, aim) in AIMS.items():
        ratios = [line.ratio(engine) for line in lines if line.case.group == group]
        known = sorted(ratio for ratio in ratios if ratio is not None)
        if known:
            over = sum(ratio > bound for ratio in known)
            values = [known[0], median(known), known[-1]]
            rows.append([group, f"{bound:.2f}", f"{aim:.2f}", *map(report.ratio, values), f"{over} of {len(ratios)}"])
    headers = ["group", "bound", "aim", "least ratio", "median", "largest", "passes above the bound"]
    return report.table(headers, rows)


def _table(lines: Sequence[Line], engine: str, others: Sequence[str], roof: Roof | None) -> str:
    headers = [
        "operation",
        "pass",
        "npseg",
        *(f"`{name}`" for name in others),
        "PyTorch NCHW",
        "channels_last",
        "ratio",
        "off",
        "ratio off",
        "npseg's rate (share of the peak)",
        "10th percentiles: npseg, PyTorch",
    ]
    return report.table(headers, [_row(line, engine, others, roof) for line in lines])


def _row(line: Line, engine: str, others: Sequence[str], roof: Roof | None) -> list[str]:
    bound, _ = AIMS[line.case.group]
    mine, theirs = line.npseg(engine), line.pytorch()
    used = f" {WINOGRAD}" if (engine, WINOGRAD) in line.times else ""
    off = line.npseg(engine, DIRECT) if used else None
    ratios = [line.ratio(engine), line.ratio(engine, DIRECT) if off else None]
    return [
        line.case.name,
        line.work.name,
        _milliseconds(mine) + used if mine else _fault(line, engine),
        *(_milliseconds(line.npseg(name)) if line.npseg(name) else _fault(line, name) for name in others),
        *(_pytorch_cell(line, layout) for layout in ("NCHW", "channels_last")),
        report.ratio(ratios[0], bound) if ratios[0] is not None else "",
        _milliseconds(off),
        report.ratio(ratios[1]) if ratios[1] is not None else "",
        _rate(line.work, mine, roof) if mine and roof else "",
        f"{report.milliseconds(mine.tenth)}, {report.milliseconds(theirs[1].tenth)}" if mine and theirs else "",
    ]


def _milliseconds(timing: Timing | None) -> str:
    return report.milliseconds(timing.median) if timing else ""


def _pytorch_cell(line: Line, layout: str) -> str:
    better = line.pytorch(layout)
    if better is None:
        return _fault(line, PYTORCH)
    form, timing = better
    return report.milliseconds(timing.median) + (" r" if form.endswith("reused") else "")


def _fault(line: Line, side: str) -> str:
    """What stands in the place of a time that was not taken."""
    deviations = [value for (name, _), value in line.wrong.items() if name == side]
    return f"WRONG by {max(deviations):.1e}" if deviations else ""


def _rate(work: Pass, timing: Timing, roof: Roof) -> str:
    """Arithmetic a second where the processor is the limit, else traffic."""
    if work.operations / roof.operations >= work.traffic / roof.traffic:
        value, peak, unit = work.operations / timing.median, roof.operations, "GFLOP/s"
    else:
        value, peak, unit = work.traffic / timing.median, roof.traffic, "GB/s"
    return f"{value / 1e9:.3g} {unit} ({value / peak:.0%})"


def _finish(
    text: str, measured: Mapping[int, Sequence[Line]], roofs: Mapping[int, Roof], options: argparse.Namespace
) -> None:
    """Write the files, or end with an error where a result was wrong."""
    wrong = [
        f"{' '.join(contender)}, {line.case.name}, {line.work.name}: {deviation:.1e}"
        for lines in measured.values()
        for line in lines
        for contender, deviation in line.wrong.items()
    ]
    if wrong:
        raise SystemExit("wrong results, so they were not timed and nothing was written:\n" + "\n".join(wrong))
    whole = sys.argv[1:] == []
    folder = report.folder_of(options, whole)
    if folder is None:
        return
    report.write_text(folder / "ops.md", text)
    threads = max(measured)
    if threads in roofs:
        points = [point for line in measured[threads] for point in _points(line, options.engines[0])]
        figures.roofline(points, roofs[threads], threads, folder / "roofline.png")


def _points(line: Line, engine: str) -> Iterator[figures.Point]:
    """Where a line's better forms stand in the roofline figure; a pass without arithmetic has no place there."""
    theirs, mine = line.pytorch(), line.npseg(engine)
    if line.work.operations and mine and theirs:
        yield figures.Point("npseg", line.case.group, line.work.operations, line.work.traffic, mine.median)
        yield figures.Point("PyTorch", line.case.group, line.work.operations, line.work.traffic, theirs[1].median)


if __name__ == "__main__":
    main()
