"""Products entry by entry: what is left of Winograd's convolution between its transforms.

    c[e] (+)= a[e] b[e]        for each of the (m + 2)^2 entries e of a tile

They are as many independent matrix products, cut into parts that the threads share.
"""

from npseg.checks import Array
from npseg.engines.numba.compiling import inner, on_all_cores
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES, multiply_rows
from npseg.geometry import ceil_divide

DEPTH = 256
"""Channels (or tiles) that are multiplied at a time."""

BLOCKS_OF_TASK, COLUMNS_OF_TASK = 8, 6 * VECTOR_BYTES
"""The part of a product that a thread takes at once; columns in whole tiles of the microkernel."""


def uneven(length: int) -> int:
    """A length that keeps the entries, which are written together, out of one another's places in the cache."""
    return length + (16 if length % 1024 == 0 else 0) + 16


def multiply_entries(
    a: Array, b: Array, c: Array, offsets: Array, blocks: int, pitch: int, columns: int, accumulate: int
) -> None:
    """c[e] (+)= a[e] b[e] for each entry e: a packed in blocks of ROWS, the rows of b at the offsets, c's at pitch."""
    tasks = len(a) * ceil_divide(blocks, BLOCKS_OF_TASK) * ceil_divide(columns, COLUMNS_OF_TASK)
    _multiply_entries(tasks, a, b, c, offsets, blocks, pitch, columns, accumulate)


@on_all_cores()
def _multiply_entries(
    task: int, a: Array, b: Array, c: Array, offsets: Array, blocks: int, pitch: int, columns: int, accumulate: int
) -> None:
    """One entry, some blocks of rows, some columns."""
    groups, strips = -(-blocks // BLOCKS_OF_TASK), -(-columns // COLUMNS_OF_TASK)
    strip, group, entry = task % strips, task // strips % groups, task // strips // groups
    first, column = group * BLOCKS_OF_TASK, strip * COLUMNS_OF_TASK
    count, wide = min(BLOCKS_OF_TASK, blocks - first), min(COLUMNS_OF_TASK, columns - column)
    multiply_entry(a[entry], b[entry], column, c[entry], offsets, first, count, pitch, wide, accumulate, first)


@inner
def multiply_entry(
    a: Array,
    b: Array,
    column: int,
    c: Array,
    offsets: Array,
    first: int,
    blocks: int,
    pitch: int,
    columns: int,
    accumulate: int,
    to: int,
) -> None:
    """Some blocks of a's rows times some columns of b, to c's block `to` and on."""
    depth = len(offsets)
    for k in range(0, depth, DEPTH):
        for block in range(blocks):
            multiply_rows(
                a,
                ((first + block) * depth + k) * ROWS,
                b,
                column,
                offsets,
                k,
                min(DEPTH, depth - k),
                c,
                (to + block) * ROWS * pitch + column,
                pitch,
                columns,
                accumulate + k,
            )
