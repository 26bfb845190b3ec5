"""What several processes gain and send: `python -m benchmarks.ranks` (needs MPI: `pip install '.[mpi]' mpich`).

Times the training step of the small FCN-8s of `benchmarks.models`, the same batch each time, with one rank on one core,
one rank on all cores, and a rank on each core; and the Allreduce of its gradients by itself. The arrangements take
turns. Then it works out, for FCN-8s with VGG16's widths, how communication grows against computation on many machines.
A whole run rewrites `ranks.md` in `benchmarks/results`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

import npseg
from benchmarks import machine, report
from benchmarks.networks import QUICK, RATE, SMALL, Network
from npseg import buffers
from npseg.analysis.summary import summary
from npseg.checks import Array
from npseg.models import named
from npseg.nn import cross_entropy
from npseg.training.optimisers import Adam
from npseg.training.ranks import Ranks, world

MANY = (16, 256, 4096)
BANDWIDTH, LATENCY, SPEED = 12.5e9, 5e-6, 1e12
"""What the arithmetic supposes: bytes a second and seconds a message of a network card, multiply-adds a second."""
TRAINING_PASSES = 3
"""Multiply-adds of a step over those of an inference: forward, and both gradients."""


def main() -> None:
    options = _options()
    if options.worker:
        _work(options)
        return
    cores = machine.cores()
    arrangements = dict.fromkeys([(1, 1), (1, cores), (cores, 1)])
    times: dict[tuple[int, int], list[dict[str, float]]] = {arrangement: [] for arrangement in arrangements}
    turns = [arrangement for _ in range(options.rounds) for arrangement in arrangements]
    for ranks, threads in tqdm(turns, unit="turn", disable=None):
        times[ranks, threads].append(_measure(ranks, threads, options))
    text = "\n".join([_measured(times, _network(options)), _arithmetic()])
    print(text)
    folder = report.folder_of(options, whole=sys.argv[1:] == [])
    if folder:
        report.write_text(folder / "ranks.md", text)


def _options() -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3, seconds=3.0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _network(options: argparse.Namespace) -> Network:
    return replace(QUICK, batch=2) if options.quick else SMALL


def _measure(ranks: int, threads: int, options: argparse.Namespace) -> dict[str, float]:
    """One turn: the processes are started, measure, and leave."""
    launcher = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if launcher is None:
        raise SystemExit("benchmarks.ranks: there is no mpirun here; pip install mpich, or the system's MPI")
    command = [launcher, "-n", str(ranks), sys.executable, "-m", "benchmarks.ranks", "--worker"]
    command += ["--seconds", str(options.seconds), *(["--quick"] if options.quick else [])]
    limits = {"NUMBA_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **limits})
    if done.returncode:
        raise SystemExit(done.stderr)
    times: dict[str, float] = json.loads(done.stdout)
    return times


def _work(options: argparse.Namespace) -> None:
    """One rank: its part of the batch, as `npseg.training.loop` computes it."""
    ranks, network = world(), _network(options)
    model, optimiser = network.graph(), Adam()
    images, labels = (array[ranks.part(network.batch)] for array in network.data())

    def gradients() -> dict[str, Array]:
        logits, saved = model.forward(images, training=True, rng=np.random.default_rng(0))
        _, grad_logits = cross_entropy(logits, labels)
        return model.backward(grad_logits, saved)

    def step() -> None:
        optimiser.update(model.parameters, ranks.summed(gradients()), RATE)

    with buffers.reused():
        own = gradients()
        times = {
            "step": _seconds(step, options.seconds, ranks),
            "allreduce": 0.0 if ranks.alone else _seconds(lambda: ranks.summed(own), options.seconds / 4, ranks),
        }
    if ranks.first:
        print(json.dumps(times))


def _seconds(run: Callable[[], object], seconds: float, ranks: Ranks) -> float:
    """The median time of a repetition; all ranks stop after the same one."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not ranks.any(time.perf_counter() > end):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def _measured(times: dict[tuple[int, int], list[dict[str, float]]], network: Network) -> str:
    """What was timed here, each arrangement beside the first."""
    first = _median(times, (1, 1), "step")
    rows = [
        (
            f"{ranks} of {threads} thread{'s' * (threads > 1)}",
            report.milliseconds(_median(times, (ranks, threads), "step")),
            f"{first / _median(times, (ranks, threads), 'step'):.2f}",
            "-" if ranks == 1 else report.milliseconds(_median(times, (ranks, threads), "allreduce")),
        )
        for ranks, threads in times
    ]
    size = sum(parameter.nbytes for parameter in network.graph().parameters.values())
    headers = ("ranks", "ms a step", "times as fast", "of which Allreduce alone, ms")
    return (
        f"# Several processes\n\n`{report.command('benchmarks.ranks')}` on {machine.processor()}, {machine.cores()} "
        f"cores, engine {npseg.get_engine()}.\n\nTraining step of {network.describe()} for all ranks together; "
        f"{size / 1e6:.1f} MB of gradients. Medians of the turns' medians.\n\n" + report.table(headers, rows)
    )


def _median(times: dict[tuple[int, int], list[dict[str, float]]], arrangement: tuple[int, int], what: str) -> float:
    return median(turn[what] for turn in times[arrangement])


def communication(ranks: int, size: float, bandwidth: float, latency: float) -> float:
    """Seconds of an Allreduce that goes around a ring: each rank sends the buffer twice, in pieces of 1/p.

    Source: Patarasu, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations" (2009).
    """
    return 2 * (ranks - 1) * (latency + size / ranks / bandwidth)


def _arithmetic() -> str:
    """FCN-8s with VGG16's widths on many machines, one image for each rank: what is computed, and what is sent."""
    model, image = named("fcn8s")
    counted = summary(model, image)
    size, computing = 4 * counted.trainable_parameters, TRAINING_PASSES * counted.macs / SPEED
    rows = []
    for ranks in MANY:
        sending = communication(ranks, size, BANDWIDTH, LATENCY)
        rows.append((f"{ranks:,}", f"{computing:.2f}", f"{sending:.3f}", f"{computing / (computing + sending):.0%}"))
    headers = ("ranks, an image each", "s computing", "s sending", "of the time computing")
    height, width = image
    return (
        f"## Many machines, by arithmetic\n\nFCN-8s with VGG16's widths has {counted.trainable_parameters:,} learned "
        f"parameters, {size / 1e6:.0f} MB of gradients whatever the batch, and takes {counted.macs / 1e9:.0f} thousand "
        f"million multiply-adds for an image of {height}x{width}, {TRAINING_PASSES} times as many in a training step. "
        f"Around a ring each rank sends its gradients twice. With {SPEED / 1e12:.0f}e12 multiply-adds and "
        f"{BANDWIDTH / 1e9:.1f}e9 bytes a second for each rank, and {1e6 * LATENCY:.0f} microseconds a message:\n\n"
        + report.table(headers, rows)
    )


if __name__ == "__main__":
    main()
