"""The legend of a label map: a colour patch and a name for each class."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from npseg.checks import Array
from npseg.data.dataset import IGNORE_INDEX, VOID_COLOR

Entry = tuple[str, NDArray[np.uint8]]
"""The name of a class and its colour."""


def legend_entries(
    classes: Sequence[str],
    colors: NDArray[np.uint8],
    maps: Iterable[Array],
    void_name: str = "void",
    void_color: tuple[int, int, int] = VOID_COLOR,
) -> list[Entry]:
    """The classes, and the void where one of the label maps has any.

    Raises:
        ValueError: names and colours differ in number.
    """
    if len(classes) != len(colors):
        raise ValueError(f"classes and colors must be equally many, got {len(classes)} and {len(colors)}")
    entries = list(zip(classes, colors, strict=True))
    if any((labels == IGNORE_INDEX).any() for labels in maps):
        entries.append((void_name, np.array(void_color, np.uint8)))
    return entries


def legend_columns(entries: Sequence[Entry], width: float) -> int:
    """How many entries fit side by side: a letter is about 0.08 inches wide, a colour patch and its gaps 0.6."""
    entry_width = 0.08 * max(len(name) for name, _ in entries) + 0.6
    return max(min(int(width / entry_width), len(entries)), 1)


def legend_height(entries: Sequence[Entry], width: float) -> float:
    """Inches that the legend needs at the bottom of a figure of this width."""
    return 0.25 * math.ceil(len(entries) / legend_columns(entries, width)) + 0.3


def draw_legend(figure: Figure, entries: Sequence[Entry], width: float) -> None:
    """Colour patches and names at the bottom of a figure of this width.

    The names are set afterwards and literally: matplotlib would skip "_background_" and read "$" as mathematics.
    """
    patches = [Patch(facecolor=tuple(color / 255), edgecolor="0.5", label="name") for _, color in entries]
    columns = legend_columns(entries, width)
    legend = figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False)
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
