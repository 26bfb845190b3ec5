"""Rows of Winograd's tiles: from an image's pixels to the entries that are multiplied, and from products to outputs.

A vector holds the same entry of neighbouring tiles, so narrow images would leave vectors half empty. Several rows of
tiles are therefore laid end to end. Tile t of a row sees the pixels m t ... m t + m + 1 of m + 2 lines, the last two of
each being the next tile's first ones. So everything is dealt out by m, down and across, and read with a jump:

    pixel (m r + u, m t + p) of a channel goes to     parts[u, p, slot],  slot = r (tiles + 1) + t
    line v of row r, pixel p of its tiles             parts[v % m, p, slot + (v // m) (tiles + 1)]
    pixel w of a tile, in what the columns gave       down[v, w % m, slot + w // m]

The slot after a row's last tile, and the row after the last one, hold what is only seen by the one before.
"""

from typing import Any, NamedTuple

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.filling import clear
from npseg.engines.numba.lines import copy_line, inside, store_line
from npseg.engines.numba.microkernel import VECTOR_BYTES, rounded_to_lanes
from npseg.engines.numba.winograd_matrices import BACK, DEAL, JOIN, JOIN_LARGEST, PIXELS_ACROSS, PIXELS_DOWN

IN_VECTOR = VECTOR_BYTES // 4
"""Numbers that the microkernel multiplies at once."""

SLOTS = 128
"""How long the lines should be at most: what a thread works in lies in its nearest cache."""


class Together(NamedTuple):
    """How many rows of tiles are transformed together."""

    rows: int
    wide: int
    """Slots of a part, in whole vectors."""
    numbers: int
    """Numbers that a thread needs to work in."""


def together(m: int, tiles: int) -> Together:
    """For rows of so many tiles of m x m outputs."""
    rows = max(SLOTS // (tiles + 1) - 1, 1)
    wide = rounded_to_lanes((rows + 1) * (tiles + 1), 4)
    return Together(rows, wide, (2 * m + 4) * m * wide)


@inner
def clear_entries(entries: Array, start: int, columns: int, count: int) -> None:
    """Zeros in every entry, after so many columns: up to the end of a vector, and further for whole vectors."""
    first = start + columns
    for e in range(len(entries)):
        clear(entries[e], first, -columns % IN_VECTOR + count)


@inner
def _place_of_row(row: int, n: Any) -> tuple[int, int, int]:
    """The image, and the first output's row and column, of a row of tiles; each grid of a dilation has its own rows."""
    grid, tile = row // n.tile_rows, row % n.tile_rows
    image, phase = grid // (n.dilation_h * n.dilation_w), grid % (n.dilation_h * n.dilation_w)
    return image, tile * n.m * n.dilation_h + phase // n.dilation_w, phase % n.dilation_w


def _rows_of_tiles(m: int) -> tuple[Any, Any]:
    """What kernels call to transform the rows of one m.

    (pixels, at, source, c, first, rows, lines, n)          pixels[e, at + r * tiles + t] = (B^T d B)[e] of channel c
    (y, products, at, bias, relu, o, first, rows, lines, n)  y = A^T products[:, at + r * tiles + t] A + bias[o]
    """
    deal, pixels_down, pixels_across, back = DEAL[m], PIXELS_DOWN[m], PIXELS_ACROSS[m], BACK[m]
    join, join_largest = JOIN[m], JOIN_LARGEST[m]
    size = m + 2

    @inner
    def pixels_of_rows(
        pixels: Array, at: int, source: Array, c: int, first: int, rows: int, lines: Array, n: Any
    ) -> None:
        """Some rows, as many at a time as are wanted and belong to one grid."""
        row = 0
        while row < rows:
            count = min(n.rows_together, rows - row, n.tile_rows - (first + row) % n.tile_rows)
            _pixels_together(pixels, at + row * n.tile_columns, source, c, first + row, count, lines, n)
            row += count

    @inner
    def _pixels_together(
        pixels: Array, at: int, source: Array, c: int, first: int, rows: int, lines: Array, n: Any
    ) -> None:
        """Rows of one grid: dealt out, transformed down for all of them at once, then across for each."""
        tiles, wide, entry = n.tile_columns, n.wide, pixels.shape[1]
        slots = tiles + 1
        parts, down = m * wide, (m + 1) * m * wide
        image, i, j = _place_of_row(first, n)
        length = tiles * m + 2
        begin, end = inside(j - n.left, n.dilation_w, n.width, length)
        for u in range(m):
            for r in range(rows + 1 if u < 2 else rows):
                line, seen = lines[r * slots * m : r * slots * m + length], i - n.top + (r * m + u) * n.dilation_h
                exists = 0 <= seen < n.height
                start = ((image * n.channels + c) * n.height + seen) * n.width + j - n.left
                copy_line(line, source, start, n.dilation_w, begin if exists else length, end if exists else length)
            deal(lines, 0, lines, parts + u * m * wide, wide, (rows + 1) * slots)
        for p in range(m):
            here = parts + p * wide
            pixels_down(lines, here, m * wide, slots, lines, down + p * wide, m * wide, rows * slots)
        everything = pixels.reshape(-1)
        for v in range(size):
            for r in range(rows):
                here, to = down + v * m * wide + r * slots, v * size * entry + at + r * tiles
                pixels_across(lines, here, wide, 1, everything, to, entry, tiles)

    @inner
    def outputs_of_rows(
        y: Array, products: Array, at: int, bias: Array, relu: bool, o: int, first: int, rows: int, lines: Array, n: Any
    ) -> None:
        """Some rows, as many at a time as are wanted: on this side they have no gaps between them."""
        for row in range(0, rows, n.rows_together):
            count = min(n.rows_together, rows - row)
            _outputs_together(y, products, at + row * n.tile_columns, bias, relu, o, first + row, count, lines, n)

    @inner
    def _outputs_together(
        y: Array, products: Array, at: int, bias: Array, relu: bool, o: int, first: int, rows: int, lines: Array, n: Any
    ) -> None:
        """So many rows: back for all of them at once, and stored line by line, or the largest of two by two."""
        wide, entry, everything = n.wide, products.shape[1], products.reshape(-1)
        tiles, pool = n.tile_columns, n.pool
        parts, line = m * size * wide, m * (size + 2) * wide
        for v in range(size):
            back(everything, v * entry + at, size * entry, lines, v * wide, size * wide, rows * tiles)
        for u in range(m):
            here = parts + u % pool * m * wide
            back(lines, u * size * wide, wide, lines, here, wide, rows * tiles)
            if pool == 1:
                join(lines, here, wide, lines, line, rows * tiles)
            elif u % 2 == 1:
                join_largest(lines, parts, wide, m * wide, lines, line, rows * tiles)
            else:
                continue
            for r in range(rows):
                image, i, j = _place_of_row(first + r, n)
                i += u * n.dilation_h
                length = min(-(-(n.out_width - j) // n.dilation_w), tiles * m) // pool
                if i < n.out_height:
                    start = ((image * n.out_channels + o) * (n.out_height // pool) + i // pool) * (n.out_width // pool)
                    sums = lines[line + r * tiles * m // pool :]
                    store_line(y, start + j, sums, bias[o], 0, length, n.dilation_w, relu)

    return pixels_of_rows, outputs_of_rows


pixel_rows_of_two, output_rows_of_two = _rows_of_tiles(2)
pixel_rows_of_four, output_rows_of_four = _rows_of_tiles(4)
