"""The microkernel for matrices that are not packed.

Packing A so that a tile's numbers lie side by side pays where they are used many times. Two forms take them from where
they lie. `multiply_in_place` finds step k of A and B by tables, the rows of A a pitch apart; `multiply_picked` picks
the rows of A and C, by tables, from among those of larger matrices:

    c[m, j] += a[place[k] + m * pitch] * b[offset[k] + j]            c[to[m] + j] += a[from[m] + k] * b[k, j]
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES, VECTORS, TileCode, pointers

PICKED_VECTORS = 2
"""How wide the tiles of `multiply_picked` are."""


def _tile_in_place(vectors: int) -> Callable[..., None]:
    """The microkernel for an A whose entry of row m and step k is at a_start + places[k] + m * a_pitch."""

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def multiply_add(
        typing: Any,
        a: Any,
        a_start: Any,
        a_pitch: Any,
        places: Any,
        b: Any,
        b_start: Any,
        offsets: Any,
        first: Any,
        depth: Any,
        c: Any,
        c_start: Any,
        c_pitch: Any,
        accumulate: Any,
    ) -> Any:
        """C (+)= A B for one tile; `first` counts in both tables."""
        number = types.intp
        of_a, of_b = (a, number, number, places), (b, number, offsets, number, number)
        signature = types.void(*of_a, *of_b, c, number, number, number)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_start, a_pitch, places, b, b_start, offsets, first, depth, c, c_start, c_pitch, accumulate = pointers(
                context, builder, signature, arguments
            )
            tile = TileCode(builder, signature.args[0].dtype, vectors)
            a, b = builder.gep(a, [a_start]), builder.gep(b, [b_start])
            places, offsets = builder.gep(places, [first]), builder.gep(offsets, [first])
            tile.write(
                lambda k: tile.apart(builder.gep(a, [builder.load(builder.gep(places, [k]))]), a_pitch),
                lambda k: builder.gep(b, [builder.load(builder.gep(offsets, [k]))]),
                tile.apart(builder.gep(c, [c_start]), c_pitch),
                depth,
                accumulate,
            )
            return context.get_dummy_value()

        return signature, code

    return multiply_add  # type: ignore[no-any-return]


one_in_place, two_in_place, three_in_place = (_tile_in_place(vectors) for vectors in (1, 2, 3))


@inner
def multiply_in_place(
    a: Array,
    a_start: int,
    a_pitch: int,
    places: Array,
    b: Array,
    b_start: int,
    offsets: Array,
    first: int,
    depth: int,
    c: Array,
    c_start: int,
    c_pitch: int,
    columns: int,
    accumulate: int,
) -> None:
    """As `multiply_rows`, for an A that is not packed: `first` counts in both tables."""
    lanes = VECTOR_BYTES // c.itemsize
    of_a, of_b = (a, a_start, a_pitch, places), (offsets, first, depth, c)
    j = 0
    if VECTORS == 3:
        while columns - j > 2 * lanes:
            three_in_place(*of_a, b, b_start + j, *of_b, c_start + j, c_pitch, accumulate)
            j += 3 * lanes
    while columns - j > lanes:
        two_in_place(*of_a, b, b_start + j, *of_b, c_start + j, c_pitch, accumulate)
        j += 2 * lanes
    if columns - j > 0:
        one_in_place(*of_a, b, b_start + j, *of_b, c_start + j, c_pitch, accumulate)


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def multiply_picked(
    typing: Any,
    a: Any,
    rows_of_a: Any,
    b: Any,
    b_start: Any,
    depth: Any,
    c: Any,
    rows_of_c: Any,
    first: Any,
    a_start: Any,
) -> Any:
    """C += A B for one tile of PICKED_VECTORS, the rows of A and C picked by tables, of which `first` is the first.

    Row m of A begins at a_start + rows_of_a[first + m], and that of C at rows_of_c[first + m]; B has no gaps.
    """
    number = types.intp
    signature = types.void(a, rows_of_a, b, number, number, c, rows_of_c, number, number)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, rows_of_a, b, b_start, depth, c, rows_of_c, first, a_start = pointers(context, builder, signature, arguments)
        tile = TileCode(builder, signature.args[0].dtype, PICKED_VECTORS)
        a, b = builder.gep(a, [a_start]), builder.gep(b, [b_start])
        left, sums = (
            [
                builder.gep(matrix, [builder.load(builder.gep(rows, [builder.add(first, first.type(m))]))])
                for m in range(ROWS)
            ]
            for matrix, rows in ((a, rows_of_a), (c, rows_of_c))
        )
        tile.write(
            lambda k: [builder.gep(row, [k]) for row in left],
            lambda k: builder.gep(b, [builder.mul(k, k.type(PICKED_VECTORS * tile.lanes))]),
            sums,
            depth,
            depth.type(1),
        )
        return context.get_dummy_value()

    return signature, code
