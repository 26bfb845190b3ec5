"""Five ways to make a map larger, side by side, each with its matrix."""

import numpy as np

from npseg import checks, ops
from npseg.checks import Array
from npseg.teaching.figures.grids import Page, number_grid
from npseg.teaching.figures.matrices import draw_matrix
from npseg.teaching.figures.style import BLUE, FAINT, GREEN, Picture, darker, styled, tint
from npseg.teaching.traces import Trace
from npseg.teaching.traces.resizing import (
    bed_of_nails_unpool2d,
    max_unpool2d,
    nearest_unpool2d,
    resize_bilinear,
)
from npseg.teaching.traces.transposed import conv_transpose2d

BEFORE_POOLING = np.array([[1.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 0.0], [0.0, 3.0, 0.0, 0.0], [2.0, 1.0, 4.0, 1.0]])
"""A map whose maxima of 2x2 windows are 1, 2, 3, 4, each in another corner of its window."""

LEARNED = np.array([[1.0, 2.0, -1.0], [0.0, 3.0, 1.0], [2.0, -1.0, 1.0]])
"""A kernel as if it had been learned."""


LARGEST = 64
"""Pixels a side; a trace keeps every product."""


def upsamplings(pooled_from: Array = BEFORE_POOLING, kernel: Array = LEARNED) -> dict[str, Trace]:
    """The five traces that `five_upsamplings` draws, by name; the map is `pooled_from` after 2x2 max pooling.

    Args:
        pooled_from: (H, W), both even.
        kernel: (K_h, K_w), of the transposed convolution with stride 2.
    """
    image = checks.floats(pooled_from, "pooled_from", "(H, W)")[None, None]
    checks.floats(kernel, "kernel", "(K_h, K_w)")
    if max(image.shape) > LARGEST:
        raise ValueError(f"pooled_from must be at most {LARGEST} pixels a side, got {image.shape[2:]}")
    size = image.shape[2], image.shape[3]
    x, indices = ops.max_pool2d(image, 2)
    return {
        "nearest": nearest_unpool2d(x, 2),
        "bed of nails": bed_of_nails_unpool2d(x, 2),
        "max unpooling": max_unpool2d(x, indices, size, view="gather"),
        "bilinear": resize_bilinear(x, size),
        "transposed convolution": conv_transpose2d(x, kernel[None, None], stride=2, padding="same", view="gather"),
    }


@styled
def five_upsamplings(pooled_from: Array = BEFORE_POOLING, kernel: Array = LEARNED) -> Picture:
    """A small map made twice as large in five ways: the result above, the operation as a matrix below.

    Only the transposed convolution's numbers are learned; only max unpooling remembers where the maxima stood.

    Args:
        pooled_from: (H, W), both even, at most 8: the map is this after 2x2 max pooling.
        kernel: (K_h, K_w), of the transposed convolution with stride 2.
    """
    traces = upsamplings(pooled_from, kernel)
    source = next(iter(traces.values())).source[0, 0]
    height, width = next(iter(traces.values())).target_shape[2:]
    if max(height, width) > 8:
        raise ValueError(f"pooled_from must be at most 8 pixels a side to be drawn, got {height, width}")
    cell = 0.42
    column = max(width * cell, source.size * cell, 1.9) + 0.5
    left = 0.4 + source.shape[1] * cell + 0.9
    matrix_top = 1.2 + height * cell + 0.85
    page = Page(Picture(figsize=(left + 5 * column, matrix_top + height * width * cell + 0.45)))
    page.text(0.4, 0.18, "Five ways to make a map larger, and their matrices", fontsize=13, fontweight="bold")
    page.text(0.4, 0.93, "the map", fontweight="bold", color=darker(BLUE))
    map_axes = page.axes(0.4, 1.2, source.shape[1] * cell, source.shape[0] * cell)
    number_grid(map_axes, source, [[tint(BLUE)] * source.shape[1]] * source.shape[0], cell=cell)
    page.text(left - 0.45, 1.2 + source.shape[0] * cell / 2 - 0.15, "→", fontsize=16, ha="center", color=FAINT)
    for name, trace in traces.items():
        page.text(left, 0.93, name, fontweight="bold", color=darker(GREEN))
        result = trace.result[0, 0]
        colors = [[tint(GREEN) if value else (1.0, 1.0, 1.0) for value in line] for line in result]
        number_grid(page.axes(left, 1.2, width * cell, height * cell), result, colors, cell=cell)
        kinds = None if trace.fixed else trace.table.weight
        rows, columns = trace.matrix().shape
        draw_matrix(page, trace.matrix(), left, matrix_top, cell, f"matrix, {rows} × {columns}", kinds)
        left += column
    return page.figure
