"""A step drawn in text: its arrays with the cells at work in brackets, and its line of the sparse matrix."""

import re
from collections.abc import Sequence

import numpy as np

from npseg.checks import Array
from npseg.teaching.panels import Panel, panels
from npseg.teaching.traces import AnyTrace, PixelTrace, Stages, Trace
from npseg.teaching.traces.step import number, step_number

PADDING, TO_COME = ".", ""
LARGEST_MATRIX = 40
"""Rows and columns of the largest matrix that is drawn whole; of a larger one, the step's line alone."""


def step_text(trace: AnyTrace, step: int, *, width: int = 80) -> str:
    """One step as text.

    Args:
        trace: from `npseg.teaching.trace`.
        step: its number, from 0.
        width: of the terminal, in characters: panels that fit stand side by side.

    >>> from npseg.teaching import trace
    >>> import numpy as np
    >>> print(step_text(trace("nearest_unpool2d", np.array([[[[3.0, 4.0]]]]), (1, 2)), 2))
    Step 2 of 0 ... 3, nearest_unpool2d
    <BLANKLINE>
    input       output
     3 [4]       3  3 [4]
    <BLANKLINE>
    sparse matrix, row 2 in brackets
     1  .
     1  .
     . [1]
     .  1
    <BLANKLINE>
    Output (0, 0, 0, 2) is a copy of input (0, 0, 0, 1): 4. It is row 2 of the sparse matrix.
    """
    step = step_number(step, len(trace))
    head = f"Step {step} of 0 ... {len(trace) - 1}, {trace[step].operation}"
    if isinstance(trace, PixelTrace):
        return f"{head}\n\n{trace[step]}"
    stage, own = trace.find(step) if isinstance(trace, Stages) else (trace, step)
    blocks = [[panel.title, *grid_lines(_texts(panel), panel.marks)] for panel in panels(stage, own)]
    return "\n\n".join([head, beside(blocks, width), *_matrix(stage, own, width), str(stage[own])])


def grid_lines(texts: Sequence[Sequence[str]], marks: Array) -> list[str]:
    """Aligned cells, those that are marked in brackets."""
    width = max((len(text) for row in texts for text in row), default=0)
    return [
        "".join(
            f"[{text:>{width}}]" if marked else f" {text:>{width}} " for text, marked in zip(row, line, strict=True)
        )
        for row, line in zip(texts, marks, strict=True)
    ]


def beside(blocks: Sequence[Sequence[str]], width: int) -> str:
    """Blocks of lines side by side as far as they fit, else below one another."""
    gap = 6
    rows: list[list[Sequence[str]]] = [[]]
    used = 0
    for block in blocks:
        wide = max(map(len, block))
        if rows[-1] and used + wide > width:
            rows.append([])
            used = 0
        rows[-1].append(block)
        used += wide + gap
    return "\n\n".join("\n".join(_joined(row, gap)) for row in rows)


def coloured(text: str) -> str:
    """The same for a terminal: what stands in brackets is highlighted."""
    return re.sub(r"\[[^\[\]\n]*\]", lambda cell: f"\x1b[7m{cell[0]}\x1b[0m", text)


def _joined(blocks: Sequence[Sequence[str]], gap: int) -> list[str]:
    widths = [max(map(len, block)) for block in blocks]
    height = max(map(len, blocks))
    filled = [[*block, *[""] * (height - len(block))] for block in blocks]
    lines = zip(*filled, strict=True)
    separator = " " * gap
    return [separator.join(f"{text:<{w}}" for text, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def _texts(panel: Panel) -> list[list[str]]:
    texts = np.where(panel.outside, PADDING, TO_COME).astype(object)
    texts[panel.shown] = [number(value) for value in panel.values[panel.shown]]
    return list(texts.tolist())


def _matrix(trace: Trace, number_of_step: int, width: int) -> list[str]:
    """The sparse matrix of the step's image with the step's line marked; nothing where there is no matrix."""
    step = trace[number_of_step]
    if step.row is None:
        return []
    matrix = trace.matrix(step.position[0])
    line = "row" if step.view == "gather" else "column"
    title = f"sparse matrix, {line} {step.row} in brackets"
    if max(matrix.shape) <= LARGEST_MATRIX:
        present = np.zeros(matrix.shape, bool)
        present[matrix.rows, matrix.indices] = True
        marks = np.zeros(matrix.shape, bool)
        marks[(step.row, slice(None)) if line == "row" else (slice(None), step.row)] = True
        texts = [
            [number(value) if there else PADDING for value, there in zip(values, theres, strict=True)]
            for values, theres in zip(matrix.toarray(), present, strict=True)
        ]
        lines = grid_lines(texts, marks & present)
        if len(lines[0]) <= width:
            return ["\n".join([title, *map(str.rstrip, lines)])]
    across = matrix if line == "row" else matrix.T
    own = slice(across.indptr[step.row], across.indptr[step.row + 1])
    entries = ", ".join(
        f"{number(value)} at {place}" for value, place in zip(across.data[own], across.indices[own], strict=True)
    )
    return [f"sparse matrix, {matrix.shape[0]} x {matrix.shape[1]}, {line} {step.row}: {entries or 'empty'}"]
