"""What convolutions cost: full, depthwise and separable ones against channels and against kernel size."""

import os
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from npseg.analysis.formulas import Cost, conv2d, depthwise_conv2d, separable_conv2d
from npseg.geometry import Size
from npseg.teaching.figures.export import write_png
from npseg.teaching.figures.style import BLUE, ORANGE, RED, WIDTH, Picture, quiet

IMAGE: Size = (56, 56)
CHANNELS = (8, 16, 32, 64, 128, 256, 512)
KERNELS = (1, 3, 5, 7, 9, 11)
FEW, MANY = 3, 256
"""The kernel size while channels vary, and the channels while the kernel varies."""

KINDS: dict[str, tuple[Callable[[int, int], Cost], str, str]] = {
    "full": (lambda c, k: conv2d(c, c, k, IMAGE, padding="same", bias=False), BLUE, "o"),
    "separable": (lambda c, k: separable_conv2d(c, c, k, IMAGE, padding="same", bias=False), RED, "D"),
    "depthwise": (lambda c, k: depthwise_conv2d(c, k, IMAGE, padding="same", bias=False), ORANGE, "s"),
}
"""Name, cost from channels and kernel size, colour and marker."""


def costs(path: str | os.PathLike[str]) -> None:
    """Draw parameters and multiply-accumulates of the three kinds of convolution, as a PNG.

    Args:
        path: the PNG file; its folder must exist.

    Raises:
        OSError: the file cannot be written; an older one is untouched.
    """
    write_png(_costs_figure(), path)


def _costs_figure() -> Picture:
    """Two rows, parameters and MACs; two columns, channels and kernel size."""
    figure = Picture(figsize=(WIDTH, 7), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col")
    for row, (name, count) in zip(grid, (("parameters", "parameters"), ("multiply-accumulates", "macs")), strict=True):
        row[0].set_ylabel(name)
        _draw(row[0], CHANNELS, lambda channels, cost: cost(channels, FEW), count)
        _draw(row[1], KERNELS, lambda kernel, cost: cost(MANY, kernel), count)
    grid[0, 0].set_title(f"kernel size {FEW}")
    grid[0, 1].set_title(f"{MANY} channels")
    grid[1, 0].set_xlabel("channels, in and out")
    grid[1, 1].set_xlabel("kernel size")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(KINDS), frameon=False)
    figure.suptitle(f"Three kinds of convolution on a map of {IMAGE[0]} x {IMAGE[1]}, without bias")
    return figure


def _draw(
    axes: Axes, values: Sequence[int], cost_at: Callable[[int, Callable[[int, int], Cost]], Cost], count: str
) -> None:
    """One curve for each kind, both axes logarithmic: a power of the channels is a straight line."""
    for name, (cost, color, marker) in KINDS.items():
        counts = [getattr(cost_at(value, cost), count) for value in values]
        axes.loglog(values, counts, color=color, marker=marker, markersize=5, label=name)
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    quiet(axes)
