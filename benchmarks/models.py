"""A training step of FCN-8s beside PyTorch's: `python -m benchmarks.models` (needs PyTorch: `pip install '.[bench]'`).

Checks first that both compute the same loss. Then each round starts one process for each contender, in turn,
so that their threads never meet and the machine's moods hit both; a process takes some steps (forward, loss, backward,
Adam) and reports the median. Printed is the median over the rounds, and the ratio.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from npseg.models import fcn, vgg
from npseg.nn import Graph, cross_entropy
from npseg.training.optimisers import Adam

WIDTHS, DEPTHS, FC6, CLASSES, RATE = (16, 32, 64, 128, 128), (2, 2, 3, 3, 3), 256, 11, 1e-3
CONTENDERS = ("npseg", "pytorch", "pytorch channels_last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="processes of each contender (default: 5)")
    parser.add_argument("--steps", type=int, default=12, help="steps timed in a process, after 3 others (default: 12)")
    parser.add_argument("--size", type=int, default=128, help="height and width of the images (default: 128)")
    parser.add_argument("--batch", type=int, default=4, help="images of a step (default: 4)")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(median_step(options)))
        return
    check_loss(options)
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name in CONTENDERS:
            command = [sys.executable, "-m", "benchmarks.models", *sys.argv[1:], "--worker", name]
            times[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    report(times, options)


def network() -> Graph:
    return fcn(vgg(WIDTHS, DEPTHS, FC6), CLASSES, 8)


def batch(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    size = options.batch, options.size, options.size
    return rng.standard_normal((size[0], 3, *size[1:]), dtype=np.float32), rng.integers(0, CLASSES, size)


def check_loss(options: argparse.Namespace) -> None:
    """Both must compute the same before either is timed."""
    import torch

    from benchmarks import pytorch_fcn

    model, (x, labels) = network(), batch(options)
    rng = np.random.default_rng(1)
    for value in model.parameters.values():
        value += rng.standard_normal(value.shape, dtype=np.float32) * np.float32(0.02)
    mine, _ = cross_entropy(model(x), labels)
    parameters = {name: torch.from_numpy(value) for name, value in model.parameters.items()}
    scores = pytorch_fcn.logits(parameters, torch.from_numpy(x), DEPTHS, 8)
    theirs = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels)).item()
    if abs(mine - theirs) > 1e-4 * abs(theirs):
        raise SystemExit(f"the losses differ, so timing them is pointless: npseg {mine}, PyTorch {theirs}")


def median_step(options: argparse.Namespace) -> float:
    """Seconds of one training step."""
    step = npseg_step(options) if options.worker == "npseg" else pytorch_step(options)
    seconds = []
    for _ in range(3 + options.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


def npseg_step(options: argparse.Namespace) -> Callable[[], None]:
    model, optimiser, (x, labels), rng = network(), Adam(), batch(options), np.random.default_rng(0)

    def step() -> None:
        logits, saved = model.forward(x, training=True, rng=rng)
        _, grad = cross_entropy(logits, labels)
        optimiser.update(model.parameters, model.backward(grad, saved), RATE)

    return step


def pytorch_step(options: argparse.Namespace) -> Callable[[], None]:
    import torch

    from benchmarks import pytorch_fcn

    torch.set_num_threads(os.cpu_count() or 1)
    layout = torch.channels_last if "channels_last" in options.worker else torch.contiguous_format
    images, labels = (torch.from_numpy(array) for array in batch(options))
    images = images.contiguous(memory_format=layout)
    parameters = {
        name: torch.from_numpy(value).contiguous(memory_format=layout if value.ndim == 4 else torch.contiguous_format)
        for name, value in network().parameters.items()
    }
    for tensor in parameters.values():
        tensor.requires_grad_()
    optimiser = torch.optim.Adam(parameters.values(), RATE)

    def step() -> None:
        optimiser.zero_grad()
        logits = pytorch_fcn.logits(parameters, images, DEPTHS, 8, dropout=0.5)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()

    return step


def report(times: dict[str, list[float]], options: argparse.Namespace) -> None:
    import torch

    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    peer = min(medians["pytorch"], medians["pytorch channels_last"])
    print(
        f"FCN-8s, widths {'/'.join(map(str, WIDTHS))}, {options.size}x{options.size}, batch {options.batch}, float32; "
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"PyTorch {torch.__version__}; median of {options.rounds} processes\n"
    )
    print("| training step | milliseconds | fastest, slowest process | ratio to PyTorch's better form |")
    print("|---|---|---|---|")
    for name, seconds in times.items():
        spread = f"{1000 * min(seconds):.0f}, {1000 * max(seconds):.0f}"
        print(f"| {name} | {1000 * medians[name]:.0f} | {spread} | {medians[name] / peer:.2f} |")


if __name__ == "__main__":
    main()
