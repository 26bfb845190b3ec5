"""Steps drawn: one of them large, or all of them on a sheet."""

import math

import numpy as np

from npseg import checks
from npseg.teaching.figures.grids import LINE, Page, draw_panels, panels_size, wrapped
from npseg.teaching.figures.style import BLUE, FAINT, GREEN, Picture, bare, styled
from npseg.teaching.panels import Panel, panels
from npseg.teaching.traces import AnyTrace, PixelStep, PixelTrace, Stages, Trace
from npseg.teaching.traces.step import number as written
from npseg.teaching.traces.step import step_number

MARGIN = 0.3
CELL, SMALL_CELL = 0.5, 0.3
LARGEST_SHEET = 64
LARGEST_SIDE = 40


@styled
def step(trace: AnyTrace, number: int = 0) -> Picture:
    """One step: the arrays with the cells at work, and the sentence that tells it.

    Args:
        trace: from `npseg.teaching.trace`.
        number: of the step, from 0. All steps of a short trace are drawn in one size, for animations.

    Returns:
        A figure of its own, as from all functions here: it is not shown; `export.write_png` writes it.

    Raises:
        ValueError: a plane is too large to be drawn cell by cell.
        IndexError: there is no such step.
    """
    number = step_number(number, len(checked(trace)))
    title = f"{trace[number].operation}, step {number} of 0 ... {len(trace) - 1}"
    if isinstance(trace, PixelTrace):
        return _pixel(trace[number], title)
    alike = range(len(trace)) if len(trace) <= LARGEST_SHEET else [number]
    sizes = [panels_size(_panels(trace, other), CELL) for other in alike]
    page_width = max(max(width for width, _ in sizes) + 2 * MARGIN, 7.0)
    height = max(height for _, height in sizes)
    lines = [wrapped(str(trace[other]), page_width - 2 * MARGIN) for other in alike]
    page = Page(Picture(figsize=(page_width, height + LINE * max(map(len, lines)) + 1.15)))
    page.text(MARGIN, 0.18, title, fontsize=13, fontweight="bold")
    shown = _panels(trace, number)
    width, _ = panels_size(shown, CELL)
    draw_panels(page, shown, (page_width - width) / 2 - 0.1, 0.65, CELL, _signs(trace, number))
    told = wrapped(str(trace[number]), page_width - 2 * MARGIN)
    page.text(MARGIN, height + 0.85, "\n".join(told), linespacing=1.25)
    return page.figure


@styled
def contact_sheet(trace: AnyTrace) -> Picture:
    """All steps on one sheet, each with its input and the output so far; kernels, which stay the same, are left out.

    Args:
        trace: from `npseg.teaching.trace`.

    Raises:
        ValueError: the trace has more than 64 steps, or a plane is too large to be drawn cell by cell.
    """
    if len(checked(trace)) > LARGEST_SHEET:
        raise ValueError(f"a contact sheet holds at most {LARGEST_SHEET} steps, got {len(trace)}: choose one by --step")
    if isinstance(trace, PixelTrace):
        return _pixels(trace)
    tiles = [[panel for panel in _panels(trace, n) if panel.role != "weight"] for n in range(len(trace))]
    sizes = [panels_size(tile, SMALL_CELL) for tile in tiles]
    width = max(w for w, _ in sizes) + 0.45
    heights = [h + 0.6 for _, h in sizes]
    columns = _columns(len(tiles), width, max(heights))
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    row_heights = [max(heights[number] for number in row) for row in rows]
    page = Page(Picture(figsize=(max(columns * width + 2 * MARGIN, 5.0), sum(row_heights) + 0.8)))
    page.text(MARGIN, 0.18, f"{trace[0].operation}, all {len(trace)} steps", fontsize=13, fontweight="bold")
    top = 0.65
    for row, height in zip(rows, row_heights, strict=True):
        for column, number in enumerate(row):
            left = MARGIN + column * width
            page.text(left + 0.22, top, f"step {number}", color=FAINT)
            draw_panels(page, tiles[number], left, top + 0.25, SMALL_CELL, ("→",))
        top += height
    return page.figure


def checked(trace: AnyTrace) -> AnyTrace:
    """Refuse what is no trace."""
    if not isinstance(trace, Trace | Stages | PixelTrace):
        raise TypeError(f"trace must be made by npseg.teaching.trace, got {checks.describe(trace)}")
    return trace


def _panels(trace: Trace | Stages, number: int) -> list[Panel]:
    stage, own = trace.find(number) if isinstance(trace, Stages) else (trace, number)
    for array in (stage.source, np.empty(stage.target_shape)):
        if max(array.shape[2:]) > LARGEST_SIDE:
            raise ValueError(f"planes up to {LARGEST_SIDE} pixels a side can be drawn, got {array.shape[2:]}")
    return panels(stage, own)


def _signs(trace: Trace | Stages, number: int) -> tuple[str, ...]:
    """What stands between the arrays of a step."""
    stage, _ = trace.find(number) if isinstance(trace, Stages) else (trace, number)
    if stage.fixed:
        return ("→",)
    return ("*", "=") if stage.view == "gather" else ("×", "+=")


def _columns(tiles: int, width: float, height: float) -> int:
    """So many tiles side by side that the sheet is about as wide as it is high, a little more."""
    return max(1, min(tiles, round(math.sqrt(1.4 * tiles * height / width))))


def _pixel(pixel: PixelStep, title: str) -> Picture:
    """The classes of one pixel as bars: probabilities, and gradient."""
    figure = Picture(figsize=(8.0, 4.6))
    page = Page(figure)
    page.text(MARGIN, 0.18, title, fontsize=13, fontweight="bold")
    classes = range(len(pixel.logits))
    drawn = (
        ("probabilities after softmax", pixel.probabilities, BLUE, 0.75),
        ("gradient of the logits", pixel.gradient, GREEN, 4.45),
    )
    for name, values, color, left in drawn:
        axes = page.axes(left, 1.0, 3.2, 2.1)
        bars = axes.bar(classes, values, color=color, width=0.6)
        axes.bar_label(bars, [written(value, 3) for value in values], padding=2, fontsize=9)
        axes.set(title=name, xlabel="class", xticks=classes)
        axes.set_xticklabels([f"{c}\n(true)" if c == pixel.label else f"{c}" for c in classes])
        axes.margins(y=0.2)
        axes.axhline(0, color=FAINT, linewidth=0.8)
        bare(axes)
    page.text(MARGIN, 3.85, "\n".join(wrapped(str(pixel), 7.4)), linespacing=1.25)
    return figure


def _pixels(trace: PixelTrace) -> Picture:
    """Every pixel's probabilities as bars, the true class dark."""
    columns = _columns(len(trace), 2.0, 1.9)
    rows = math.ceil(len(trace) / columns)
    figure = Picture(figsize=(max(columns * 2.0, 7.4), rows * 1.9 + 0.6), layout="constrained")
    figure.suptitle(f"{trace[0].operation}: each pixel's probabilities, the true class dark", fontweight="bold")
    figure.supxlabel("class", fontsize=10)
    figure.supylabel("probability", fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(trace) :]:
        axes.set_axis_off()
    for axes, pixel in zip(grid.flat, trace, strict=False):
        colors = [BLUE if c == pixel.label else "0.8" for c in range(len(pixel.logits))]
        axes.bar(range(len(pixel.logits)), pixel.probabilities, color=colors)
        axes.set_title(f"step {pixel.number}, pixel {pixel.position[1:]}\n{pixel.formula}", fontsize=8)
        axes.set(xticks=range(len(pixel.logits)), ylim=(0, 1.05))
        bare(axes)
    return figure
