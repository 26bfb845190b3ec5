"""Rows of Winograd's tiles for the weight gradient, whose products sum over the tiles: channels lie side by side.

A vector holds the channels of a pixel, and those of the pixels of other tiles. For that a line is turned, and its
pixels are dealt out by m as they are put down, so that all transforms run along a whole row of tiles:

    pixel m t + p of line u goes to    lines[u, p, t, channel]
    pixel w of tile t                  down[v, w % m, t + w // m, channel]        in what the columns gave
"""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.microkernel import ROWS
from npseg.engines.numba.turning import turn, turn_line
from npseg.engines.numba.winograd_matrices import GRADS, PIXELS, PIXELS_ACROSS


def dealt(pixels: int, m: int, slots: int) -> Array:
    """Where the pixels of a line are put: pixel j is number j // m of part j % m, and a part has so many slots."""
    j = np.arange(pixels)
    return j % m * slots + j // m


def _rows_of_tiles(m: int) -> tuple[Any, Any]:
    """What kernels call to transform the rows of one m.

    (pixels, to, source, places, row, c, lines, n)            pixels[e, to + t * pitch + k] = (B^T d B)[e]
                                                              of channel c + k and tile t of this row
    (grads, to, source, places, row, block, lines, n)         grads[e, to + t * ROWS + k] = (G g G^T)[e]
                                                              of channel block * ROWS + k and tile t of this row
    """
    pixels_down, pixels_across, transform = PIXELS[m], PIXELS_ACROSS[m], GRADS[m]
    size = m + 2

    @inner
    def pixels_of_row(
        pixels: Array, to: int, source: Array, places: Array, row: int, c: int, lines: Array, n: Any
    ) -> None:
        """Some channels side by side."""
        entry, wide, tiles, everything = pixels.shape[1], n.wide, n.tile_columns, pixels.reshape(-1)
        part, together = (tiles + 1) * wide, tiles if n.pitch == wide else 1
        line = m * part
        channels = min(wide, n.channels - c)  # what lies beyond, up to whole vectors, is not used
        image, i = row // n.tile_rows, row % n.tile_rows * m - n.top
        for u in range(size):
            target, width = lines[u * line : (u + 1) * line], n.width if 0 <= i + u < n.height else 0
            start = ((image * n.channels + c) * n.height + i + u) * n.width
            turn_line(target, places, wide, source, start, n.height * n.width, channels, n.left, width)
        pixels_down(lines, 0, line, lines, size * line, line, line)
        for v in range(size):
            for tile in range(0, tiles, together):
                at, place = (size + v) * line + tile * wide, v * size * entry + to + tile * n.pitch
                pixels_across(lines, at, part, wide, everything, place, entry, together * wide)

    @inner
    def grads_of_row(
        grads: Array, to: int, source: Array, places: Array, row: int, block: int, lines: Array, n: Any
    ) -> None:
        """One block of channels; those that it has too many are zeros, as what lies beyond the gradient."""
        entry, part, everything = grads.shape[1], n.tile_columns * ROWS, grads.reshape(-1)
        line = m * part
        channels = min(ROWS, n.out_channels - block * ROWS)
        image, i = row // n.tile_rows, row % n.tile_rows * m
        lines[: m * line] = 0
        for u in range(min(m, n.out_height - i)):
            start = ((image * n.out_channels + block * ROWS) * n.out_height + i + u) * n.out_width
            turn(lines, u * line, places, 0, source, start, n.out_height * n.out_width, channels, n.out_width)
        transform(lines, 0, line, lines, m * line, line, line)
        for v in range(size):
            transform(lines, (m + v) * line, part, everything, v * size * entry + to, entry, part)

    return pixels_of_row, grads_of_row


pixels_of_row_of_two, grads_of_row_of_two = _rows_of_tiles(2)
pixels_of_row_of_four, grads_of_row_of_four = _rows_of_tiles(4)
