"""The two figures of a comparison: what each network reached and cost, and what each saw in the same images."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from npseg.analysis.comparison import Compared
from npseg.data.dataset import VOID_COLOR
from npseg.data.pictures import paint
from npseg.teaching.figures.export import write_png
from npseg.teaching.figures.legend import draw_legend, legend_entries, legend_height
from npseg.teaching.figures.style import BLUE, GREEN, INK, ORANGE, RED, WIDTH, Picture, quiet, styled

PANELS = (
    ("mean IU", "mean_iu", 1.0, RED),
    ("parameters, millions", "parameters", 1e-6, BLUE),
    ("MACs, millions", "macs", 1e-6, GREEN),
    ("ms per training step", "seconds_per_step", 1e3, ORANGE),
)
"""Title, attribute of a line, factor to the title's unit, colour."""


def compared(lines: Sequence[Compared], path: str | os.PathLike[str]) -> None:
    """Draw what networks reached and cost, a bar each in four panels, as a PNG.

    Args:
        lines: of a comparison; what is None has no bar.
        path: the PNG file; its folder must exist.

    Raises:
        ValueError: there is no line.
        OSError: the file cannot be written; an older one is untouched.
    """
    if not lines:
        raise ValueError("lines must hold at least one network, got none")
    write_png(_compared_figure(lines), path)


def seen(
    images: Sequence[NDArray[Any]],
    maps: Mapping[str, Sequence[NDArray[Any]]],
    classes: Sequence[str],
    colors: NDArray[Any],
    path: str | os.PathLike[str],
) -> None:
    """Draw images, and below them label maps of the same images by name, such as the truth and predictions, as a PNG.

    Args:
        images: uint8 (H, W, 3).
        maps: for each row its name and one label map (H, W) for each image.
        classes: the names of the C classes, by id.
        colors: uint8 (C, 3), their colours.
        path: the PNG file; its folder must exist.

    Raises:
        ValueError: there is no image, a row has another number of maps, or names and colours differ in number.
        OSError: the file cannot be written; an older one is untouched.
    """
    if not images:
        raise ValueError("images must hold at least one image, got none")
    for name, row in maps.items():
        if len(row) != len(images):
            raise ValueError(f"maps must be one for each of {len(images)} images, got {len(row)} of {name!r}")
    write_png(_seen_figure(images, maps, classes, colors), path)


@styled
def _compared_figure(lines: Sequence[Compared]) -> Picture:
    """The panels side by side, the networks from top to bottom."""
    figure = Picture(figsize=(WIDTH * 1.2, 0.4 * len(lines) + 1.1), layout="constrained")
    grid = figure.subplots(1, len(PANELS), sharey=True, squeeze=False)[0]
    names = [line.name for line in lines]
    for axes, (title, attribute, factor, color) in zip(grid, PANELS, strict=True):
        values = [getattr(line, attribute) for line in lines]
        numbers = [0.0 if value is None else factor * value for value in values]
        bars = axes.barh(names, numbers, color=color, height=0.7)
        is_share = attribute == "mean_iu"
        labels = [
            "-" if value is None else _short(number, is_share) for value, number in zip(values, numbers, strict=True)
        ]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
        axes.set(title=title, xlim=(0, 1.25 * max(*numbers, 1e-9)))
        if is_share:
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        quiet(axes)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", labelsize=10, labelcolor=INK, length=0)
    grid[0].invert_yaxis()
    return figure


def _short(number: float, is_share: bool) -> str:
    """At a bar's end: a share in per cent, another number with three digits or more."""
    if is_share:
        return f"{number:.1%}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


@styled
def _seen_figure(
    images: Sequence[NDArray[Any]],
    maps: Mapping[str, Sequence[NDArray[Any]]],
    classes: Sequence[str],
    colors: NDArray[Any],
) -> Picture:
    """A row of images, a row for each name, and the legend below."""
    entries = legend_entries(classes, colors, (labels for row in maps.values() for labels in row))
    rows = {
        "image": images,
        **{name: [paint(labels, colors, VOID_COLOR) for labels in row] for name, row in maps.items()},
    }
    side = (WIDTH - 1.5) / len(images)
    figure = Picture(figsize=(WIDTH, side * len(rows) + legend_height(entries, WIDTH)), layout="constrained")
    grid = figure.subplots(len(rows), len(images), squeeze=False)
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    draw_legend(figure, entries, WIDTH)
    return figure
