"""Whole networks beside PyTorch: `python -m benchmarks.models` (needs PyTorch: `pip install '.[bench]'`).

A training step (forward, loss, backward, Adam) and an inference of two FCN-8s: a small one and one with VGG16's widths.
Logits, loss and all gradients are computed by PyTorch in float64 first; a contender that differs from them by more than
its tolerance is reported and not timed. Then npseg's engines and PyTorch take turns, each in a process of its own with
the same number of threads (see `benchmarks.measuring`). A whole run (no option that leaves something out) rewrites
`models.md` in `benchmarks/results`.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import report
from benchmarks.machine import description
from benchmarks.measuring import Timing, Worker, interleaved
from benchmarks.networks import GRADIENTS, INFERENCE, NETWORKS, OUTPUTS, QUICK, TRAINING, WORK, Network
from benchmarks.npseg_side import DIRECT, WINOGRAD
from benchmarks.sides import LAYOUTS

TOLERANCES = {WINOGRAD: {OUTPUTS: 1e-4, GRADIENTS: 2e-2}}
TOLERANCE = {OUTPUTS: 1e-5, GRADIENTS: 2e-2}
"""The largest difference over the largest entry that is right in any array. In gradients it is not only rounding: where
two pixels of a pool are nearly equal, rounding decides which one of them a gradient goes to."""

BOUNDS = {
    ("small", TRAINING): (0.85, 0.6),
    ("vgg16", TRAINING): (0.8, 0.55),
    ("small", INFERENCE): (0.8, 0.5),
    ("vgg16", INFERENCE): (0.8, 0.5),
}
"""The ratio npseg / PyTorch that must not be exceeded, and the one that is aimed at."""
MEMORY_BOUNDS = 1.0, 0.7


@dataclass(frozen=True)
class Contender:
    """A library in one form: an engine with or without Winograd, or PyTorch in one memory layout."""

    side: str
    form: str

    @property
    def is_pytorch(self) -> bool:
        return self.side in LAYOUTS

    def __str__(self) -> str:
        if self.is_pytorch:
            return f"PyTorch {self.side}"
        return f"npseg {self.side}" + (f", winograd {self.form}" if self.side == "numba" else "")


@dataclass(frozen=True)
class Measurement:
    """One network with one number of threads."""

    network: Network
    threads: int
    times: Mapping[tuple[Contender, str], Timing]
    """For each contender and kind of work."""
    memory: Mapping[Contender, tuple[int, int]]
    """For the first form of each side, bytes at the peak of a training step: of the process, and without libraries."""
    wrong: Mapping[Contender, Mapping[str, float]]
    """How far those that were not measured are from what is right."""


def contenders_of(engines: Sequence[str]) -> list[Contender]:
    """The engines, the compiled one in both forms, and PyTorch in both layouts."""
    forms = {name: (WINOGRAD, DIRECT) if name == "numba" else (DIRECT,) for name in engines}
    npseg = [Contender(name, form) for name in engines for form in forms[name]]
    return npseg + [Contender(layout, "") for layout in LAYOUTS]


@contextmanager
def workers_of(network: Network, contenders: Sequence[Contender], threads: int) -> Iterator[dict[str, Worker]]:
    """A process for each side, all started at once."""
    with ExitStack() as stack:
        workers = {}
        for contender in contenders:
            if contender.side in workers:
                continue
            place, *arguments = (
                ("benchmarks.networks:PyTorchNetwork", network, contender.side, threads)
                if contender.is_pytorch
                else ("benchmarks.networks:NpsegNetwork", network, contender.side)
            )
            workers[contender.side] = stack.enter_context(Worker(str(place), *arguments, threads=threads))
        yield workers


def measure(
    network: Network,
    contenders: Sequence[Contender],
    workers: Mapping[str, Worker],
    threads: int,
    work: Sequence[str],
    rounds: int,
    seconds: float,
) -> Measurement:
    """Check every contender, then measure its memory and its time."""
    wrong = {name: sizes for name, sizes in deviations(contenders, workers).items() if not _is_right(name, sizes)}
    right = [contender for contender in contenders if contender not in wrong]
    memory: dict[Contender, tuple[int, int]] = {}
    for contender in right:
        if contender.side not in (measured.side for measured in memory):  # a second form inherits the first's memory
            memory[contender] = workers[contender.side].call("memory", contender.form)
    times: dict[tuple[Contender, str], Timing] = {}
    for kind in work:
        turns = {
            contender: partial(workers[contender.side].call, "turn", contender.form, kind, seconds)
            for contender in right
        }
        times |= {(contender, kind): timing for contender, timing in interleaved(turns, rounds).items()}
    return Measurement(network, threads, times, memory, wrong)


def deviations(contenders: Sequence[Contender], workers: Mapping[str, Worker]) -> dict[Contender, dict[str, float]]:
    """How far each contender is from PyTorch in float64."""
    with tempfile.TemporaryDirectory() as folder:
        references = workers[LAYOUTS[0]].call("reference", Path(folder))
        return {
            contender: workers[contender.side].call("deviations", contender.form, references)
            for contender in contenders
        }


def _is_right(contender: Contender, sizes: Mapping[str, float]) -> bool:
    tolerance = TOLERANCES.get(contender.form, TOLERANCE)
    return all(size <= tolerance[what] for what, size in sizes.items())


def refuse_wrong(measurements: Sequence[Measurement]) -> None:
    """End with an error where a result was wrong."""
    wrong = [
        f"{measurement.network.name}, {measurement.threads} threads, {contender}: {what} by {size:.1e}"
        for measurement in measurements
        for contender, sizes in measurement.wrong.items()
        for what, size in sizes.items()
    ]
    if wrong:
        raise SystemExit("wrong results, so they were not timed and nothing was written:\n" + "\n".join(wrong))


def main() -> None:
    options = _options()
    networks = [QUICK] if options.quick else [NETWORKS[name] for name in options.networks]
    measurements: list[Measurement] = []
    versions: dict[str, Any] = {}
    runs = [(network, threads) for threads in options.threads for network in networks]
    with tqdm(runs, unit="network", disable=None) as progress:
        for network, threads in progress:
            progress.set_postfix_str(f"{network.name}, {threads} threads")
            engines = options.engines if threads == max(options.threads) else options.engines[:1]
            contenders = contenders_of(engines)
            with workers_of(network, contenders, threads) as workers:
                versions |= {name: workers[name].call("versions") for name in workers if name not in versions}
                seconds = options.seconds
                measurements.append(measure(network, contenders, workers, threads, WORK, options.rounds, seconds))
    refuse_wrong(measurements)
    text = _report(measurements, description(versions, {}), options)
    print(text)
    folder = report.folder_of(options, whole=sys.argv[1:] == [])
    if folder:
        report.write_text(folder / "models.md", text)


def _options() -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3, seconds=0.4)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="which (default: both)")
    report.add_engines(parser)
    report.add_threads(parser)
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------------ reporting


def _report(measurements: Sequence[Measurement], described: str, options: argparse.Namespace) -> str:
    parts = [
        "# Networks beside PyTorch\n",
        f"`{report.command('benchmarks.models')}`\n\n{described}\n",
        f"Milliseconds in float32, the median over {options.rounds} rounds of each round's median, and the 10th "
        "percentile; contenders in turn, in processes of their own. A training step is forward, loss, backward and "
        "Adam (PyTorch's is its fused one); inference is PyTorch's in `torch.inference_mode()`. *Ratio* is to "
        "PyTorch's better form (below 1, npseg is ahead; bold, above its bound). Memory is the process's peak in a "
        "training step, and this without what its libraries take; the ratio is of whole processes. Before it was "
        "timed, everything was compared with PyTorch in float64: logits and loss differ by at most "
        f"{TOLERANCE[OUTPUTS]:g} of their largest entry, every gradient by {TOLERANCE[GRADIENTS]:g} (with Winograd "
        f"{TOLERANCES[WINOGRAD][OUTPUTS]:g} and {TOLERANCES[WINOGRAD][GRADIENTS]:g}); gradients by more than rounding, "
        "because it decides which one of two nearly equal pixels of a pool gets one.\n",
    ]
    for measurement in measurements:
        threads = f"{measurement.threads} thread{'s' if measurement.threads > 1 else ''}"
        parts.append(f"## {measurement.network.describe()}; {threads}\n")
        parts += [_times(measurement, work) for work in WORK]
        parts.append(_memory(measurement))
    return "\n".join(parts)


def better_pytorch(measurement: Measurement, work: str) -> Timing:
    """The time of PyTorch's better form."""
    return min(
        (timing for (contender, kind), timing in measurement.times.items() if contender.is_pytorch and kind == work),
        key=lambda timing: timing.median,
    )


def _times(measurement: Measurement, work: str) -> str:
    peer = better_pytorch(measurement, work).median
    bounds = BOUNDS.get((measurement.network.name, work))
    rows = []
    for (contender, kind), timing in measurement.times.items():
        if kind == work:
            bound = bounds[0] if bounds and contender.side == "numba" and contender.form == WINOGRAD else None
            milliseconds = report.milliseconds(timing.median), report.milliseconds(timing.tenth)
            rows.append([str(contender), *milliseconds, report.ratio(timing.median / peer, bound)])
    return report.table([f"{work}{_wanted(bounds)}", "median", "10th percentile", "ratio"], rows)


def _memory(measurement: Measurement) -> str:
    peer = min(total for contender, (total, _) in measurement.memory.items() if contender.is_pytorch)
    rows = []
    for contender, (total, own) in measurement.memory.items():
        bound = MEMORY_BOUNDS[0] if contender.side == "numba" and contender.form == WINOGRAD else None
        rows.append([str(contender), f"{total / 2**20:.0f}", f"{own / 2**20:.0f}", report.ratio(total / peer, bound)])
    headers = [
        f"memory of the training step, MiB{_wanted(MEMORY_BOUNDS)}",
        "process",
        "without libraries",
        "ratio of processes",
    ]
    return report.table(headers, rows)


def _wanted(bounds: tuple[float, float] | None) -> str:
    return f" (bound {bounds[0]:.2f}, aim {bounds[1]:.2f})" if bounds else ""


if __name__ == "__main__":
    main()
