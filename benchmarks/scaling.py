"""What a training step costs against size: `python -m benchmarks.scaling` (needs PyTorch: `pip install '.[bench]'`).

The small FCN-8s of `benchmarks.models` with ever larger images, batches or widths: seconds and memory of a training
step, for npseg's first engine and PyTorch in both memory layouts, checked, in turn, and in processes of their own that
are new for every size, so that no size inherits another's memory. The exponent b of cost = a * size^b is fitted on
logarithmic axes. A whole run rewrites `scaling.md` and `scaling.png` in `benchmarks/results`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tqdm import tqdm

from benchmarks import figures, machine, report
from benchmarks.models import Contender, Measurement, contenders_of, measure, refuse_wrong, workers_of
from benchmarks.networks import QUICK, SMALL, TRAINING, Network
from benchmarks.npseg_side import DIRECT
from benchmarks.sides import LAYOUTS


@dataclass(frozen=True)
class Axis:
    """One way to make the network's work larger."""

    name: str
    networks: Sequence[Network]
    size_of: Callable[[Network], float]


def axes(quick: bool) -> list[Axis]:
    """Image size, batch and width, each around the same network."""
    base, sides, batches, factors = (
        (QUICK, (32, 48), (1, 2), (1.0, 2.0))
        if quick
        else (SMALL, (64, 96, 128, 192, 256), (1, 2, 4, 8, 16), (0.5, 1.0, 2.0, 4.0))
    )
    return [
        Axis("pixels of an image", [replace(base, size=side) for side in sides], lambda n: n.size**2),
        Axis("images of a batch", [replace(base, batch=batch) for batch in batches], lambda n: n.batch),
        Axis("channels of the first stage", [_widened(base, factor) for factor in factors], lambda n: n.widths[0]),
    ]


def _widened(network: Network, factor: float) -> Network:
    return replace(
        network, widths=tuple(int(width * factor) for width in network.widths), fc6=int(network.fc6 * factor)
    )


def main() -> None:
    options = _options()
    chosen = axes(options.quick)
    contenders = [each for each in contenders_of([options.engine]) if each.is_pytorch or each.form != options.leave_out]
    networks = list(dict.fromkeys(network for axis in chosen for network in axis.networks))
    measured: dict[Network, Measurement] = {}
    with tqdm(networks, unit="size", disable=None) as progress:
        for network in progress:
            progress.set_postfix_str(f"{network.size}x{network.size}, batch {network.batch}, width {network.widths[0]}")
            with workers_of(network, contenders, options.threads) as workers:
                versions = {name: workers[name].call("versions") for name in (options.engine, LAYOUTS[0])}
                measured[network] = measure(
                    network, contenders, workers, options.threads, [TRAINING], options.rounds, options.seconds
                )
    refuse_wrong(list(measured.values()))
    text = _report(chosen, contenders, measured, machine.description(versions, {}), options)
    print(text)
    folder = report.folder_of(options, whole=sys.argv[1:] == [])
    if folder:
        report.write_text(folder / "scaling.md", text)
        title = f"Training step of FCN-8s, {options.threads} threads: cost against size"
        panels = [[_panel(axis, cost, contenders, measured) for axis in chosen] for cost in COSTS]
        figures.scaling(panels, title, folder / "scaling.png")


def _options() -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3, seconds=0.25)
    engines, cores = report.default_engines(), machine.cores()
    parser.add_argument("--engine", default=engines[0], help=f"npseg's (default: {engines[0]})")
    parser.add_argument("--threads", type=int, default=cores, help=f"of both libraries (default: {cores})")
    options = parser.parse_args()
    options.leave_out = DIRECT if options.engine == "numba" else None
    return options


COSTS: Mapping[str, Callable[[Measurement, Contender], float]] = {
    "milliseconds": lambda measurement, contender: 1000 * measurement.times[contender, TRAINING].median,
    "MiB, without libraries": lambda measurement, contender: measurement.memory[contender][1] / 2**20,
}


def _panel(
    axis: Axis, cost: str, contenders: Sequence[Contender], measured: Mapping[Network, Measurement]
) -> tuple[str, str, figures.Curves]:
    sizes = [axis.size_of(network) for network in axis.networks]
    curves = {
        str(contender): (sizes, [COSTS[cost](measured[network], contender) for network in axis.networks])
        for contender in contenders
    }
    return axis.name, cost, curves


def _report(
    chosen: Sequence[Axis],
    contenders: Sequence[Contender],
    measured: Mapping[Network, Measurement],
    described: str,
    options: argparse.Namespace,
) -> str:
    parts = [
        "# Cost of a training step against size\n",
        f"`{report.command('benchmarks.scaling')}`\n\n{described}\n- threads: {options.threads}\n",
        f"{(QUICK if options.quick else SMALL).describe()}, but for the size that a table varies. Milliseconds are the "
        f"median over {options.rounds} rounds of each round's median; memory is the process's peak in a training step "
        "without what its libraries take. The exponent is that of the best fitting power of the size; fixed costs make "
        "it smaller.\n",
        "![Cost against size](scaling.png)\n",
    ]
    for axis in chosen:
        for cost in COSTS:
            name, _, curves = _panel(axis, cost, contenders, measured)
            sizes = next(iter(curves.values()))[0]
            rows = [
                [contender, *(f"{value:.3g}" for value in values), f"{figures.fitted_exponent(sizes, values):.2f}"]
                for contender, (_, values) in curves.items()
            ]
            parts.append(report.table([f"{cost}, by {name}", *(f"{size:g}" for size in sizes), "exponent"], rows))
    return "\n".join(parts)


if __name__ == "__main__":
    main()
