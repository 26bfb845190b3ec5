"""The benchmarks' figures, drawn on figure objects of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.machine import Roof
from npseg.files import write_whole

COLOURS = ("#0072B2", "#56B4E9", "#CC79A7", "#D55E00", "#000000", "#E69F00", "#009E73", "#8C6D31", "#999999")
"""Okabe and Ito's, which colour-blind readers can tell apart, and a brown and a grey."""


LINE_COLOURS, MARKERS = ("#0072B2", "#D55E00", "#009E73"), "osD"
"""Of the contenders in the figure of costs."""


class Point(NamedTuple):
    """One pass as one library computed it."""

    library: str
    group: str
    operations: int
    traffic: int
    seconds: float

    @property
    def intensity(self) -> float:
        """Operations for each byte of traffic."""
        return self.operations / self.traffic

    @property
    def rate(self) -> float:
        """GFLOP/s."""
        return self.operations / self.seconds / 1e9


def roofline(points: Sequence[Point], roof: Roof, threads: int, path: Path) -> None:
    """Achieved arithmetic against arithmetic for each byte, under what the machine allows."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.add_subplot()
    groups = list(dict.fromkeys(point.group for point in points))
    colours = dict(zip(groups, COLOURS, strict=False))
    for mine, theirs in zip(points[::2], points[1::2], strict=True):
        axes.plot([mine.intensity] * 2, [mine.rate, theirs.rate], color=colours[mine.group], linewidth=0.7, alpha=0.5)
    for point in points:
        face = colours[point.group] if point.library == "npseg" else "white"
        marker = "o" if point.library == "npseg" else "s"
        axes.plot(point.intensity, point.rate, marker, color=colours[point.group], markerfacecolor=face, markersize=6)
    _draw_roof(axes, roof, [point.intensity for point in points])
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations of the direct algorithm for each byte read or written once",
        ylabel="GFLOP/s",
        title=f"{threads} thread{'s' if threads > 1 else ''}, float32: npseg (filled circles), PyTorch's better form "
        "(hollow squares)\nabove the roof: Winograd needs fewer operations than the direct algorithm, or caches serve",
    )
    axes.legend(handles=_roofline_handles(colours, roof), loc="lower right", fontsize=8.5)
    axes.grid(which="major", linewidth=0.4, alpha=0.5)
    _save(figure, path)


def _roofline_handles(colours: Mapping[str, str], roof: Roof) -> list[Line2D]:
    limits = f"peak {roof.operations / 1e9:.0f} GFLOP/s, memory {roof.traffic / 1e9:.0f} GB/s"
    groups = [Line2D([], [], marker="o", linestyle="", color=colour, label=group) for group, colour in colours.items()]
    return [*groups, Line2D([], [], color="black", label=limits)]


def _draw_roof(axes: Axes, roof: Roof, intensities: Sequence[float]) -> None:
    ridge = roof.operations / roof.traffic
    bounds = [min([*intensities, ridge]) / 1.5, ridge, max([*intensities, ridge]) * 1.5]
    axes.plot(bounds, [min(roof.operations, roof.traffic * x) / 1e9 for x in bounds], color="black", linewidth=1.5)


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The b of cost = a * size^b that fits best where both axes are logarithmic."""
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)


Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""For each contender its sizes and costs."""


def scaling(panels: Sequence[Sequence[tuple[str, str, Curves]]], title: str, path: Path) -> None:
    """Costs against sizes on logarithmic axes, with the fitted power laws.

    Args:
        panels: rows of panels: the size's name, the cost's name, the curves.
        title: of the whole figure.
        path: the PNG file.
    """
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    figure.suptitle(title)
    grid: Any = figure.subplots(len(panels), len(panels[0]), squeeze=False)
    for row, described in zip(grid, panels, strict=True):
        for axes, (size, cost, curves) in zip(row, described, strict=True):
            _draw_curves(axes, curves)
            axes.set(xlabel=size, ylabel=cost)
    names = panels[0][0][2]
    figure.legend(
        [_line_of(number) for number in range(len(names))], names, loc="outside lower center", ncols=len(names)
    )
    _save(figure, path)


def _draw_curves(axes: Axes, curves: Curves) -> None:
    """Points, and the fitted power laws, whose exponents the legend tells."""
    for number, (sizes, costs) in enumerate(curves.values()):
        exponent = fitted_exponent(sizes, costs)
        factor = np.exp(np.mean(np.log(costs)) - exponent * np.mean(np.log(sizes)))
        axes.loglog(sizes, costs, MARKERS[number], color=LINE_COLOURS[number])
        axes.loglog(sizes, factor * np.asarray(sizes) ** exponent, color=LINE_COLOURS[number], linewidth=1)
    exponents = [f"exponent {fitted_exponent(sizes, costs):.2f}" for sizes, costs in curves.values()]
    axes.legend([_line_of(number) for number in range(len(curves))], exponents, loc="upper left", fontsize=8.5)
    ticks = sorted({float(size) for sizes, _ in curves.values() for size in sizes})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.12)
    axes.grid(linewidth=0.4, alpha=0.5)


def _line_of(number: int) -> Line2D:
    """How a contender is drawn."""
    return Line2D([], [], marker=MARKERS[number], color=LINE_COLOURS[number], linewidth=1)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=140))


def learning_curves(logs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Training loss and validated mean IU against the step: a colour for each start, a line style for each seed.

    Args:
        logs: the records of each run, by names such as "pretrained, seed 0".
        path: the PNG file.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    loss, mean_iu = figure.subplots(1, 2)
    starts, seeds = (list(dict.fromkeys(name.split(", ")[part] for name in logs)) for part in (0, 1))
    for name, records in logs.items():
        start, seed = name.split(", ")
        colour, marker = LINE_COLOURS[starts.index(start)], MARKERS[starts.index(start)]
        style = {"color": colour, "linestyle": ("-", "--", ":")[seeds.index(seed) % 3]}
        losses = np.array([record["loss"] for record in records])
        window = min(20, len(losses))
        loss.plot(np.arange(window, len(losses) + 1), np.convolve(losses, np.ones(window) / window, "valid"), **style)
        validated = [record for record in records if "val" in record]
        found = [100 * record["val"]["mean_iu"] for record in validated]
        mean_iu.plot([record["step"] for record in validated], found, marker=marker, markersize=4, label=name, **style)
    habit = validated[-1]["val"]["baselines"]["position"]
    if habit is not None:
        label = "most frequent class of each position"
        mean_iu.axhline(100 * habit["mean_iu"], color="0.5", linewidth=1, linestyle="-.", label=label)
    loss.set(title=f"Training loss, mean of {window} steps", xlabel="step", xlim=(0, None), ylim=(0, None))
    mean_iu.set(title="Mean IU on the validation images, in per cent", xlabel="step", xlim=(0, None), ylim=(0, None))
    mean_iu.legend(frameon=False, fontsize=8)
    for axes in (loss, mean_iu):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
