"""What there is to see at one step: the planes of numbers involved, and which cells are at work.

The terminal and the figures draw the same panels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from npseg.checks import Array
from npseg.teaching.traces.linear import Trace
from npseg.teaching.traces.pooling import MaximumStep
from npseg.teaching.traces.step import Index, Step

Cell = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Panel:
    """One plane of numbers.

    Attributes:
        role: "source", "weight" or "target".
        title: what it is called, and which plane it is, if there are several.
        values: (rows, columns), 0 on padding.
        first: the (row, column) that values[0, 0] has in its array: below 0 where padding is shown.
        marks: (rows, columns) bool, the cells at work.
        winner: (rows, columns) bool, of them the one that max pooling chose.
        shown: (rows, columns) bool, the cells that hold a number: no padding, and no output that is still to come.
        outside: (rows, columns) bool, the cells on padding.
    """

    role: str
    title: str
    values: Array
    first: Cell
    marks: Array
    winner: Array
    shown: Array
    outside: Array


def panels(trace: Trace, number: int) -> list[Panel]:
    """The planes of source, weight and target that take part in a step, the target as the step leaves it.

    Args:
        trace: of a linear operation.
        number: of the step, from 0.
    """
    step = trace[number]
    gathers = step.view == "gather"
    window = [(h, w) for h in step.window.rows for w in step.window.columns] if step.window is not None else []
    result = trace.after(step.number + 1)
    reached = np.ones(result.shape, bool)
    if gathers:
        reached.ravel()[step.number + 1 :] = False

    sources = list(_looked_at(step)) if gathers else [step.position]
    targets = [step.position] if gathers else [product.output for product in step.products]
    weights = [product.weight for product in step.products if product.weight is not None]
    won = step.products[0].input if isinstance(step, MaximumStep) else None
    names = trace.roles
    drawn = _planes("source", names.source, trace, trace.source, sources, window if gathers else [], won=won)
    if not trace.fixed:
        drawn += _planes("weight", names.weight, trace, trace.weight, weights)
    return drawn + _planes("target", names.target, trace, result, targets, [] if gathers else window, reached)


def _looked_at(step: Step) -> Iterable[Index]:
    """The positions of the source that a gathering step looks at."""
    return step.candidates if isinstance(step, MaximumStep) else (product.input for product in step.products)


def _planes(
    role: str,
    name: str,
    trace: Trace,
    array: Array,
    marked: Sequence[Index],
    window: Sequence[Cell] = (),
    shown: Array | None = None,
    won: Index | None = None,
) -> list[Panel]:
    """A panel for each plane with a marked cell; the first plane where there is none."""
    (top, bottom), (left, right) = _margins(role, trace, array)
    drawn = []
    for plane in sorted({index[:2] for index in marked}) or [(0, 0)]:
        cells = {index[2:] for index in marked if index[:2] == plane} | set(window)
        padded = np.pad(array[plane], ((top, bottom), (left, right)))
        visible = np.ones(array.shape[2:], bool) if shown is None else shown[plane]
        marks, winner = np.zeros((2, *padded.shape), bool)
        for row, column in cells:
            marks[row + top, column + left] = True
        if won is not None:
            winner[won[2] + top, won[3] + left] = True
        title = name if array.shape[:2] == (1, 1) else f"{name} [{plane[0]}, {plane[1]}]"
        visible = np.pad(visible, ((top, bottom), (left, right)))
        outside = ~np.pad(np.ones(array.shape[2:], bool), ((top, bottom), (left, right)))
        drawn.append(Panel(role, title, padded, (-top, -left), marks, winner, visible, outside))
    return drawn


def _margins(role: str, trace: Trace, array: Array) -> tuple[Cell, Cell]:
    """How far windows reach beyond the plane, ((top, bottom), (left, right)): the padding to draw."""
    if trace.window is None or trace.windowed is None or role == "weight" or role == trace.windowed:
        return (0, 0), (0, 0)
    top_bottom, left_right = (
        _margin([axis.position(i, k) for i in (0, outputs - 1) for k in (0, axis.kernel_size - 1)], length)
        for axis, outputs, length in zip(trace.window.axes, trace.windowed_size, array.shape[2:], strict=True)
    )
    return top_bottom, left_right


def _margin(reached: Sequence[int], length: int) -> Cell:
    return max(0, -min(reached)), max(0, max(reached) - length + 1)
