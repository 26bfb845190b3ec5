"""A few maps side by side, under their names."""

import textwrap
from collections.abc import Mapping

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.teaching.figures.grids import LETTER, LINE, Color, Page, number_grid
from npseg.teaching.figures.style import BLUE, ORANGE, Picture, bare, styled, tint

WRITTEN = 16
"""Rows and columns up to which a map is drawn with its numbers."""

CELL, PICTURE = 0.42, 2.6
"""Inches of a cell with a number, and of a picture's width."""

MARGIN, GAP, TICKS = 0.3, 0.45, 0.3


@styled
def side_by_side(maps: Mapping[str, Array], *, title: str = "", columns: int | None = None) -> Picture:
    """Maps under their names: small ones with their numbers, larger ones as pictures.

    Numbers above 0 are blue and those below 0 orange, the stronger the larger; pictures are grey, the lightest largest.
    All maps share one scale, so that they can be compared.

    Args:
        maps: by name, in the order to be drawn: numbers (H, W), or a picture's colours (H, W, 3), uint8.
        title: above all.
        columns: how many stand side by side; None is all.

    Raises:
        ValueError: there is no map, or one has another shape.
    """
    if not checks.mapping(maps, "maps", "maps"):
        raise ValueError("maps must hold at least one, got none")
    if not isinstance(title, str):
        raise TypeError(f"title must be text, got {checks.describe(title)}")
    columns = None if columns is None else checks.integer(columns, "columns", at_least=1)
    for name, values in maps.items():
        if checks.array(values, f"maps[{name!r}]").dtype.kind not in "fiub":
            raise TypeError(f"maps[{name!r}] must hold numbers, got {checks.describe(values)}")
        if values.ndim not in (2, 3) or values.shape[2:] not in ((), (3,)) or not values.size:
            raise ValueError(f"{name} must be a map (H, W) or a picture (H, W, 3), got shape {values.shape}")
    names, columns = list(maps), columns or len(maps)
    lines = [names[start : start + columns] for start in range(0, len(names), columns)]
    titles = {name: textwrap.wrap(name, int(_width(maps[name]) / LETTER)) for name in names}
    above = [LINE * max(len(titles[name]) for name in line) + 0.12 for line in lines]
    heights = [max(_size(maps[name])[1] for name in line) + TICKS + 0.1 for line in lines]
    width = max(sum(_width(maps[name]) + GAP for name in line) for line in lines) - GAP + 2 * MARGIN
    top = 0.65 if title else 0.15
    page = Page(Picture(figsize=(max(width, LETTER * 1.35 * len(title)), top + sum(above) + sum(heights))))
    page.text(MARGIN, 0.15, title, fontsize=13, fontweight="bold")
    low, high = _range(maps)
    for line, name_height, height in zip(lines, above, heights, strict=True):
        left = MARGIN
        for name in line:
            page.text(left, top, "\n".join(titles[name]), fontweight="bold", linespacing=1.15)
            _draw(page, maps[name], left, top + name_height, low, high)
            left += _width(maps[name]) + GAP
        top += name_height + height
    return page.figure


def _is_written(values: Array) -> bool:
    return values.ndim == 2 and max(values.shape) <= WRITTEN


def _size(values: Array) -> tuple[float, float]:
    """(width, height) in inches."""
    rows, columns = values.shape[:2]
    return (columns * CELL, rows * CELL) if _is_written(values) else (PICTURE, PICTURE * rows / columns)


def _width(values: Array) -> float:
    """Inches of the map, or more where its name needs them."""
    return max(_size(values)[0], 1.4)


def _range(maps: Mapping[str, Array]) -> tuple[float, float]:
    """The smallest and the largest number of all maps."""
    numbers = [values for values in maps.values() if values.ndim == 2]
    return (
        float(min((values.min() for values in numbers), default=0)),
        float(max((values.max() for values in numbers), default=1)),
    )


def _draw(page: Page, values: Array, left: float, top: float, low: float, high: float) -> None:
    axes = page.axes(left, top, *_size(values))
    if _is_written(values):
        number_grid(axes, values, _colors(values, max(abs(low), abs(high))), cell=CELL)
        return
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    bare(axes)


def _colors(values: Array, largest: float) -> list[list[Color]]:
    """Each number's colour: white is 0."""
    strength = 0.75 * np.abs(values) / (largest or 1.0)
    return [
        [tint(BLUE if value >= 0 else ORANGE, share) for value, share in zip(*line, strict=True)]
        for line in zip(values.tolist(), strength.tolist(), strict=True)
    ]
