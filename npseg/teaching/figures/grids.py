"""Grids of numbers, placed by inches, so that a cell has one size wherever it is drawn."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from npseg.checks import Array
from npseg.teaching.figures.style import FAINT, PADDING, ROLES, Picture, bare, darker, ink_on, tint
from npseg.teaching.panels import Panel
from npseg.teaching.traces.step import number

LETTER = 0.085
"""Inches of a letter, on the average and a little more, at 10 points."""

LINE = 0.19
"""Inches from one line of text to the next."""

TICKS = 0.22
"""Inches that the numbers of rows and columns need."""

PLAIN_EDGE = "0.75"

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Page:
    """A figure measured in inches from its top left corner."""

    figure: Picture

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at this place."""
        page_width, page_height = self.figure.get_size_inches()
        place = left / page_width, 1 - (top + height) / page_height, width / page_width, height / page_height
        return self.figure.add_axes(place)

    def text(self, left: float, top: float, text: str, **keywords: object) -> None:
        """Text whose upper edge is at this place."""
        page_width, page_height = self.figure.get_size_inches()
        self.figure.text(left / page_width, 1 - top / page_height, text, va="top", **keywords)  # type: ignore[arg-type]


def number_grid(
    axes: Axes,
    values: Array,
    colors: Sequence[Sequence[Color]],
    *,
    shown: Array | None = None,
    edges: Sequence[Sequence[str]] | None = None,
    first: tuple[int, int] = (0, 0),
    cell: float = 0.5,
) -> None:
    """Draw cells of so many inches with their numbers; the rows and columns are counted from `first`."""
    rows, columns = values.shape
    shown = np.ones(values.shape, bool) if shown is None else shown
    texts = [
        [number(value, 3) if there else "" for value, there in zip(*line, strict=True)]
        for line in zip(values, shown, strict=True)
    ]
    longest = max((len(text) for row in texts for text in row), default=1)
    size = min(0.36 * 72 * cell, 72 * cell * 0.86 / (0.62 * max(longest, 1)))
    for i in range(rows):
        for j in range(columns):
            edge = PLAIN_EDGE if edges is None else edges[i][j]
            above = 1 if edge == PLAIN_EDGE else 2
            axes.add_patch(
                Rectangle(
                    (j, i), 1, 1, facecolor=colors[i][j], edgecolor=edge, linewidth=0.8, zorder=above, clip_on=False
                )
            )
            if texts[i][j]:
                ink = ink_on(colors[i][j])
                axes.text(j + 0.5, i + 0.53, texts[i][j], ha="center", va="center", fontsize=size, color=ink, zorder=3)
    axes.set(xlim=(-0.03, columns + 0.03), ylim=(rows + 0.03, -0.03), aspect="equal")
    _name_lines(axes, rows, columns, first, cell)
    bare(axes)


def _name_lines(axes: Axes, rows: int, columns: int, first: tuple[int, int], cell: float) -> None:
    """The numbers of rows and columns, every so many where they would touch."""
    every = 1 if cell > 0.25 else 4
    for count, start, set_ticks in ((columns, first[1], axes.set_xticks), (rows, first[0], axes.set_yticks)):
        places = np.arange(0, count, every)
        set_ticks(places + 0.5, [str(start + place) for place in places])
    axes.tick_params(pad=1)


def panel_grid(axes: Axes, panel: Panel, cell: float) -> None:
    """Draw a panel: cells at work are filled with their role's colour, a winner with more of it, padding is grey."""
    hue = ROLES[panel.role]
    colors = np.ones((*panel.values.shape, 3))
    colors[panel.outside] = float(PADDING)
    colors[panel.marks] = tint(hue)
    colors[panel.winner] = tint(hue, 0.85)
    cells = [[(r, g, b) for r, g, b in row] for row in colors.tolist()]
    edges = np.where(panel.marks, hue, PLAIN_EDGE).tolist()
    number_grid(axes, panel.values, cells, shown=panel.shown, edges=edges, first=panel.first, cell=cell)


def panel_size(panel: Panel, cell: float) -> tuple[float, float]:
    """(width, height) in inches of a panel with its title and the numbers of its lines."""
    rows, columns = panel.values.shape
    width = max(columns * cell + TICKS, 1.25)
    return width, LINE * len(_title(panel, width)) + 0.08 + rows * cell + TICKS


def draw_panel(page: Page, panel: Panel, left: float, top: float, cell: float) -> None:
    """A panel with its upper left corner at this place."""
    rows, columns = panel.values.shape
    width, _ = panel_size(panel, cell)
    title = _title(panel, width)
    page.text(left + TICKS, top, "\n".join(title), color=darker(ROLES[panel.role]), fontweight="bold", linespacing=1.15)
    axes = page.axes(left + TICKS, top + LINE * len(title) + 0.08, columns * cell, rows * cell)
    panel_grid(axes, panel, cell)


def _title(panel: Panel, width: float) -> list[str]:
    return textwrap.wrap(panel.title, max(int(width / LETTER), 11))


def stacks(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The planes of one role below one another, the roles side by side."""
    roles = list(dict.fromkeys(panel.role for panel in panels))
    return [[panel for panel in panels if panel.role == role] for role in roles]


GAP = 0.45


def panels_size(panels: Sequence[Panel], cell: float) -> tuple[float, float]:
    """(width, height) in inches of all panels of a step."""
    sizes = [[panel_size(panel, cell) for panel in stack] for stack in stacks(panels)]
    width = sum(max(w for w, _ in stack) for stack in sizes) + GAP * (len(sizes) - 1)
    return width, max(_stack_height(stack, cell) for stack in stacks(panels))


def _stack_height(stack: Sequence[Panel], cell: float) -> float:
    return sum(panel_size(panel, cell)[1] for panel in stack) + 0.1 * (len(stack) - 1)


def draw_panels(
    page: Page, panels: Sequence[Panel], left: float, top: float, cell: float, signs: Sequence[str]
) -> None:
    """All panels of a step, `signs` between the roles."""
    _, height = panels_size(panels, cell)
    for place, stack in enumerate(stacks(panels)):
        below = top + (height - _stack_height(stack, cell)) / 2
        for panel in stack:
            draw_panel(page, panel, left, below, cell)
            below += panel_size(panel, cell)[1] + 0.1
        left += max(panel_size(panel, cell)[0] for panel in stack) + GAP
        if place < len(signs):
            middle = top + height / 2 - 0.1
            page.text(left - GAP / 2 + TICKS / 4, middle, signs[place], fontsize=16, ha="center", color=FAINT)


def wrapped(text: str, width: float) -> list[str]:
    """Lines that fit so many inches at 10 points."""
    return textwrap.wrap(text, max(int(width / LETTER), 20))
