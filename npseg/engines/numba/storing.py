"""Where a direct convolution's sums go: to their pixels of y, with bias and ReLU."""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.lines import inside, store_line


@inner
def store_band(
    y: Array, sums: Array, shift: Any, channel: int, to: tuple[int, int], image: int, first: int, relu: bool, n: Any
) -> None:
    """One channel's results of one kind, row of positions by row of positions."""
    rows = min(n.band, n.grid_height - first)
    if n.pitch == n.out_width and n.grid_height == n.out_height and n.step_h == n.step_w == 1:  # all rows at once
        start = ((image * n.out_channels + channel) * n.out_height + first) * n.out_width
        store_line(y, start, sums, shift, 0, rows * n.pitch, 1, relu)
        return
    begin, end = inside(to[1], n.step_w, n.out_width, n.grid_width)
    for r in range(rows):
        row = (first + r) * n.step_h + to[0]
        if 0 <= row < n.out_height:
            start = ((image * n.out_channels + channel) * n.out_height + row) * n.out_width + to[1]
            if n.step_w == 1:
                store_line(y, start, sums[r * n.pitch :], shift, begin, end, 1, relu)
                continue
            for j in range(begin, end):  # a line of so few results is not worth a slice
                value = sums[np.uintp(r * n.pitch + j)] + shift
                y[np.uintp(start + j * n.step_w)] = sums.dtype.type(0) if relu and value <= 0 else value


@inner
def store_columns(
    y: Array, sums: Array, shift: Any, channel: int, to: tuple[int, int], first: int, columns: int, relu: bool, n: Any
) -> None:
    """The same for positions counted through all images."""
    plane = n.grid_height * n.grid_width
    position = first
    while position < first + columns:
        image, i, j = position // plane, position % plane // n.grid_width, position % n.grid_width
        length = min(n.grid_width - j, first + columns - position)
        row, column = i * n.step_h + to[0], j * n.step_w + to[1]
        if 0 <= row < n.out_height:
            begin, end = inside(column, n.step_w, n.out_width, length)
            start = ((image * n.out_channels + channel) * n.out_height + row) * n.out_width + column
            store_line(y, start, sums[position - first :], shift, begin, end, n.step_w, relu)
        position += length
