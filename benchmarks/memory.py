"""The most memory that the paper's FCN-8s takes: `python -m benchmarks.memory`.

VGG16 FCN-8s as its authors released it (padding 100, 21 classes, float32), batch 1: forward, loss and backward at
224x224, and forward alone at the 500x500 of the paper's timings. Each measurement has a process of its own, so that
none inherits another's memory, and counts everything in it: Python, the libraries, the making of the weights. A whole
run rewrites `memory.md` in `benchmarks/results`. The bound is 6 GiB.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import npseg
from benchmarks import machine, report
from benchmarks.measuring import Worker
from npseg.analysis import summary
from npseg.geometry import Size
from npseg.models import fcn, vgg
from npseg.models.vgg import VGG16_WIDTHS
from npseg.nn import Graph, cross_entropy

GIB = 2**30
BOUND = 6 * GIB
CLASSES = 21


@dataclass(frozen=True)
class Work:
    """What is done once with one image."""

    size: Size
    backward: bool
    widths: tuple[int, ...] = VGG16_WIDTHS
    fc6: int = 4096

    def graph(self) -> Graph:
        """The paper's network; nothing is allocated."""
        return fcn(vgg(self.widths, fc6=self.fc6), CLASSES, 8, form="paper")

    def __str__(self) -> str:
        passes = "forward, loss and backward" if self.backward else "forward"
        return f"{passes}, {self.size[0]}x{self.size[1]}"


WORK = (Work((224, 224), backward=True), Work((500, 500), backward=False))
QUICK = tuple(Work((32, 40), work.backward, (2, 3, 4, 4, 4), 8) for work in WORK)


class Measured:
    """One engine in a process of its own."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def versions(self) -> dict[str, Any]:
        """What this is made of."""
        with npseg.use_engine(self._engine):
            return npseg.engine_info()

    def peak(self, work: Work) -> int:
        """Do the work; the most bytes that this process ever had."""
        rng, model = np.random.default_rng(0), work.graph()
        images = rng.standard_normal((1, 3, *work.size), dtype=np.float32)
        with npseg.use_engine(self._engine):
            if work.backward:
                labels = rng.integers(0, CLASSES, (1, *work.size))
                logits, saved = model.forward(images, training=True, rng=rng)
                _, grad = cross_entropy(logits, labels)
                model.backward(grad, saved)
            else:
                model(images)
        return machine.peak()


def measure(work: Work, engine: str, threads: int) -> tuple[int, dict[str, Any]]:
    """The peak in bytes, and what the process was made of."""
    with Worker("benchmarks.memory:Measured", engine, threads=threads) as worker:
        return worker.call("peak", work), worker.call("versions")


def main() -> None:
    options = _options()
    works = QUICK if options.quick else WORK
    runs = [(work, engine) for work in works for engine in options.engines]
    peaks: dict[tuple[Work, str], int] = {}
    versions: dict[str, Any] = {}
    with tqdm(runs, unit="process", disable=None) as progress:
        for work, engine in progress:
            progress.set_postfix_str(f"{work}, {engine}")
            peaks[work, engine], versions[engine] = measure(work, engine, options.threads)
    text = _report(works, options.engines, peaks, machine.description(versions, {}))
    print(text)
    folder = report.folder_of(options, whole=sys.argv[1:] == [])
    if folder:
        report.write_text(folder / "memory.md", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    engines, cores = report.default_engines(), machine.cores()
    parser.add_argument("--engines", nargs="+", choices=npseg.engines(), default=engines, help="which (default: both)")
    parser.add_argument("--threads", type=int, default=cores, help=f"of each process (default: {cores})")
    parser.add_argument("--quick", action="store_true", help="a tiny network: shows that all runs, measures nothing")
    parser.add_argument("--output", type=Path, help="folder for the file (default: a whole run rewrites the results)")
    return parser.parse_args()


def _report(works: Sequence[Work], engines: Sequence[str], peaks: dict[tuple[Work, str], int], described: str) -> str:
    rows = []
    for work in works:
        counted = summary(work.graph(), work.size)
        kept = counted.saved_bytes if work.backward else 0
        known = [f"{4 * counted.parameters / GIB:.2f}", f"{kept / GIB:.2f}"]
        rows += [[str(work), engine, *known, _bold_above_bound(peaks[work, engine])] for engine in engines]
    return "\n".join(
        [
            "# Memory of the paper's FCN-8s\n",
            f"`{report.command('benchmarks.memory')}`\n\n{described}\n",
            "VGG16, padding 100, 21 classes, float32, batch 1, no optimizer. GiB; *peak* is the most that the process "
            "ever had resident, with Python and all libraries (bold: above 6 GiB). *Weights* and *kept*, what the "
            "forward pass keeps for the backward pass, are `npseg summary`'s counts.\n",
            report.table(["", "engine", "weights", "kept", "peak"], rows),
        ]
    )


def _bold_above_bound(peak: int) -> str:
    return f"**{peak / GIB:.2f}**" if peak > BOUND else f"{peak / GIB:.2f}"


if __name__ == "__main__":
    main()
