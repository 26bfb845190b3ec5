"""Operations as matrices, drawn: im2col's columns, and the sparse matrix beside its transpose."""

import numpy as np
from matplotlib.axes import Axes

from npseg import checks, ops
from npseg.checks import Array
from npseg.matrices import SparseMatrix
from npseg.teaching.figures.grids import Color, Page, number_grid, wrapped
from npseg.teaching.figures.style import BLUE, FAINT, GREEN, ORANGE, Picture, darker, sequence, styled, tint
from npseg.teaching.traces import Trace

WRITTEN = 40
"""Rows and columns up to which a matrix is drawn with its numbers."""

LARGEST = 2000
MARGIN = 0.4
WHITE: Color = (1.0, 1.0, 1.0)


@styled
def im2col_columns(trace: Trace) -> Picture:
    """The columns of im2col, each in the colour of the window it is a copy of, and the product that they are for.

    Args:
        trace: of a convolution, gathered, of one image, in one group, with at most 20 windows.

    Raises:
        ValueError: it is another trace, or too large to be drawn.
    """
    columns = _columns(checks.instance(trace, "trace", Trace))
    kernels = trace.weight.reshape(len(trace.weight), -1)
    result = trace.result.reshape(len(kernels), -1)
    height, count = columns.shape
    if count > 20 or height > WRITTEN or len(kernels) > height:
        raise ValueError(f"at most 20 windows of {WRITTEN} taps can be drawn, got {count} of {height}")

    cell, colors = 0.42, sequence(count)
    map_height = 0.9 * cell * trace.source.shape[2] / trace.source.shape[3]
    lefts = np.cumsum([MARGIN, height * cell + 0.8, count * cell + 0.8]).tolist()
    top = 1.2 + map_height
    middle = top + (height - len(kernels)) * cell / 2
    width = lefts[2] + max(count * cell, 2.2) + MARGIN
    told = wrapped(
        "Each window is copied into a column, its own picture above it; the kernels times all columns, one matrix "
        "product, are the whole convolution.",
        width - 2 * MARGIN,
    )
    page = Page(Picture(figsize=(width, top + height * cell + 0.2 * len(told) + 0.7)))
    page.text(MARGIN, 0.18, f"{trace.operation} by im2col", fontsize=13, fontweight="bold")
    drawn = (
        ("kernels, one a row", kernels, [[tint(ORANGE)] * height] * len(kernels), ORANGE, middle, middle),
        ("im2col columns, one a window", columns, [colors] * height, BLUE, top, top - map_height - 0.1),
        ("output, one channel a row", result, [colors] * len(kernels), GREEN, middle, middle),
    )
    for left, (name, values, cells, hue, below, name_below) in zip(lefts, drawn, strict=True):
        page.text(left, name_below - 0.27, name, color=darker(hue), fontweight="bold")
        axes = page.axes(left, below, values.shape[1] * cell, values.shape[0] * cell)
        number_grid(axes, values, cells, cell=cell)
    for number, color in enumerate(colors):
        small = page.axes(lefts[1] + (number + 0.05) * cell, top - map_height - 0.06, 0.9 * cell, map_height)
        _window_map(small, trace, number, color)
    for sign, left in zip(("×", "="), lefts[1:], strict=True):
        page.text(left - 0.45, top + height * cell / 2 - 0.15, sign, fontsize=16, ha="center", color=FAINT)
    page.text(MARGIN, top + height * cell + 0.45, "\n".join(told), linespacing=1.25)
    return page.figure


def _columns(trace: Trace) -> Array:
    """The columns of the only image, (taps, windows)."""
    if trace.view != "gather" or trace.windowed != "target" or trace.fixed or len(trace.source) != 1:
        raise ValueError(f"trace must be of a gathered convolution of one image, got {trace.operation}")
    if trace.weight.shape[1] != trace.source.shape[1]:
        raise ValueError("trace must be of a convolution in one group, since each group has columns of its own")
    assert trace.window is not None
    rows, columns = trace.window.axes
    columns_of_images = ops.im2col(
        trace.source,
        trace.window.kernel_size,
        stride=(rows.stride, columns.stride),
        padding=((rows.before, rows.after), (columns.before, columns.after)),
        dilation=(rows.dilation, columns.dilation),
    )
    return np.asarray(columns_of_images[0])


def _window_map(axes: Axes, trace: Trace, number: int, color: Color) -> None:
    """The input in small, the window's pixels filled."""
    window = trace[number].window
    assert window is not None
    picture = np.full((*window.inside, 3), 0.93)
    for place in window.real:
        picture[place] = color
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.6")
    axes.spines[:].set_linewidth(0.5)


@styled
def matrix_and_transpose(matrix: Trace | SparseMatrix, *, name: str | None = None) -> Picture:
    """A linear operation's sparse matrix beside its transpose: the same entries, rows and columns exchanged.

    Each weight has a colour, so that one sees where the same weight stands again. Up to 40 rows and columns the
    numbers are written; above, only the pattern is drawn.

    Args:
        matrix: a trace, or a matrix of `npseg.matrices`, whose equal entries then have one colour.
        name: for the title; None is the trace's operation.

    Raises:
        ValueError: it has more than 2,000 rows or columns.
    """
    if not isinstance(matrix, Trace | SparseMatrix):
        raise TypeError(f"matrix must be a Trace or a SparseMatrix, got {checks.describe(matrix)}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be text, got {checks.describe(name)}")
    if isinstance(matrix, Trace):
        name = name or matrix.operation
        mine = matrix.table.target // (np.prod(matrix.target_shape) // matrix.target_shape[0]) == 0
        kinds = None if matrix.fixed else matrix.table.weight[mine]
        matrix = matrix.matrix()
    else:
        kinds = None
    if max(matrix.shape) > LARGEST:
        raise ValueError(f"matrix must have at most {LARGEST} rows and columns to be drawn, got shape {matrix.shape}")
    cell = _cell(matrix)
    rows, columns = matrix.shape
    width, height = max(columns * cell, 2.0), rows * cell
    turned_width, turned_height = max(rows * cell, 2.0), columns * cell
    page_width = width + turned_width + 4 * MARGIN
    page = Page(Picture(figsize=(page_width, max(height, turned_height) + 1.7)))
    title = f"{name or 'a linear operation'} as a sparse matrix, and its transpose"
    page.text(MARGIN, 0.18, title, fontsize=13, fontweight="bold")
    share = matrix.nnz / (rows * columns)
    caption = (
        f"A row of A for each output, a column for each input, a colour for each weight; {matrix.nnz} of "
        f"{rows * columns} places are filled ({share:.0%})."
    )
    page.text(MARGIN, 0.5, caption, color=FAINT)
    draw_matrix(page, matrix, 1.5 * MARGIN, 1.2, cell, f"A, {rows} × {columns}", kinds)
    transpose_kinds = None if kinds is None else kinds[np.argsort(matrix.indices, kind="stable")]
    right = 3 * MARGIN + width
    draw_matrix(page, matrix.T, right, 1.2, cell, f"A transposed, {columns} × {rows}", transpose_kinds)
    return page.figure


def _cell(matrix: SparseMatrix) -> float:
    """Inches of a cell, smaller for larger matrices."""
    longest = max(matrix.shape)
    return 0.36 if longest <= 16 else 0.27 if longest <= WRITTEN else 6.0 / longest


def draw_matrix(
    page: Page, matrix: SparseMatrix, left: float, top: float, cell: float, title: str, kinds: Array | None = None
) -> None:
    """A matrix with a title above it; entries of one kind (None: of one value) share a colour."""
    rows, columns = matrix.shape
    page.text(left, top - 0.27, title, fontweight="bold")
    axes = page.axes(left, top, columns * cell, rows * cell)
    distinct, kind = np.unique(matrix.data if kinds is None else kinds, return_inverse=True)
    palette = sequence(len(distinct)) if len(distinct) > 1 else [tint(BLUE, 0.6)]
    shades = np.full((rows, columns), -1)
    shades[matrix.rows, matrix.indices] = kind
    if max(rows, columns) <= WRITTEN:
        present = shades >= 0
        colors = [[palette[shade] if shade >= 0 else WHITE for shade in line] for line in shades]
        number_grid(axes, matrix.toarray(), colors, shown=present, cell=cell)
        return
    picture = np.ones((rows, columns, 3))
    picture[shades >= 0] = np.array(palette)[shades[shades >= 0]]
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.spines[:].set_color("0.8")
