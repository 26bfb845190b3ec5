"""The microkernel's sibling for rows that lie along the depth: scalar products, a tile of them at a time.

Where the numbers that are multiplied with each other stand side by side in both operands, as a window's row of pixels
and a kernel's row do, a vector is a piece of such a row. Each product of the tile has a vector of sums in a register,
whose lanes are added up at the end:

    for k in 0 ... depth - 1:
        for n in 0 ... vectors - 1, for m in 0 ... ROWS - 1:                                        (unrolled)
            s[m, n] += a[offset[k] + m * a_pitch + lane] * b[k * lanes + n * b_pitch + lane]        (for all lanes)
    c[n, m] += sum of the lanes of s[m, n]
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.microkernel import ROWS, VECTORS, TileCode, pointers
from npseg.engines.numba.registers import sums_of_lanes

TOGETHER = 8
"""Vectors whose lanes are added up at the same time: the power of two that ROWS fits in."""


def _tile_of_dots(vectors: int) -> Callable[..., None]:
    """The microkernel for ROWS rows of A and so many of B."""

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def multiply_add(
        typing: Any,
        a: Any,
        a_start: Any,
        a_pitch: Any,
        offsets: Any,
        b: Any,
        b_start: Any,
        b_pitch: Any,
        depth: Any,
        c: Any,
        c_start: Any,
        c_pitch: Any,
        accumulate: Any,
    ) -> Any:
        """C (+)= the products of one tile; `depth` counts vectors."""
        number = types.intp
        signature = types.void(a, number, number, offsets, b, number, number, number, c, number, number, number)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_start, a_pitch, offsets, b, b_start, b_pitch, depth, c, c_start, c_pitch, accumulate = pointers(
                context, builder, signature, arguments
            )
            tile = _DotCode(builder, signature.args[0].dtype, vectors)
            lefts = tile.apart(builder.gep(a, [a_start]), a_pitch)
            rights = tile.apart(builder.gep(b, [b_start]), b_pitch)[:vectors]
            rows_of_sums = tile.apart(builder.gep(c, [c_start]), c_pitch)[:vectors]
            tile.write_dots(lefts, rights, offsets, rows_of_sums, depth, accumulate)
            return context.get_dummy_value()

        return signature, code

    return multiply_add  # type: ignore[no-any-return]


class _DotCode(TileCode):
    """Writes the instructions."""

    def write_dots(
        self, lefts: list[Any], rights: list[Any], offsets: Any, rows_of_sums: list[Any], depth: Any, accumulate: Any
    ) -> None:
        """The tile's loop, and what becomes of its sums."""
        builder = self.builder
        entry, loop, end = (builder.append_basic_block(name) for name in ("dots", "depth", "end"))
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        builder.branch(entry)
        builder.position_at_end(entry)
        builder.branch(loop)

        builder.position_at_end(loop)
        sums = {(m, n): builder.phi(self.vector) for m in range(ROWS) for n in self.columns}
        k = builder.phi(depth.type)
        for phi in sums.values():
            phi.add_incoming(zero, entry)
        k.add_incoming(depth.type(0), entry)
        along = builder.mul(k, k.type(self.lanes))
        factors = [self.load(builder.gep(right, [along])) for right in rights]
        offset = builder.load(builder.gep(offsets, [k]))
        totals = {}
        for m, left in enumerate(lefts):
            pixels = self.load(builder.gep(left, [offset]))
            for n in self.columns:
                totals[m, n] = builder.call(self.fused(), [pixels, factors[n], sums[m, n]])
                sums[m, n].add_incoming(totals[m, n], loop)
            self._keep_order()
        following = builder.add(k, k.type(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, end)

        builder.position_at_end(end)
        keeps = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        together = min(self.lanes, TOGETHER)
        for n, row in enumerate(rows_of_sums):
            for first in range(0, ROWS, together):
                rows = range(first, min(first + together, ROWS))
                vectors = [totals[m, n] if m in rows else zero for m in range(first, first + together)]
                self._add(row, rows, sums_of_lanes(builder, vectors), keeps)

    def _add(self, row: Any, columns: range, sums: Any, keeps: Any) -> None:
        """row[m] = lane m of the sums, for some columns, added to what is there if that is kept."""
        builder = self.builder
        for lane, m in enumerate(columns):
            pointer = builder.gep(row, [ir.IntType(64)(m)])
            before = builder.select(keeps, builder.load(pointer), ir.Constant(self.number, 0.0))
            builder.store(builder.fadd(before, builder.extract_element(sums, ir.IntType(32)(lane))), pointer)

    def _keep_order(self) -> None:
        """Nothing, as far as the processor knows; but no load is moved across it.

        The compiler would load all rows first, for which there are not registers enough.
        """
        self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)


dots_of_one, dots_of_two, dots_of_three = (_tile_of_dots(vectors) for vectors in (1, 2, 3))


@inner
def multiply_dots(
    a: Array,
    a_start: int,
    a_pitch: int,
    offsets: Array,
    b: Array,
    b_start: int,
    b_pitch: int,
    depth: int,
    c: Array,
    c_start: int,
    c_pitch: int,
    rows: int,
    accumulate: int,
) -> None:
    """ROWS rows of A times so many `rows` of B, tile by tile."""
    n = 0
    if VECTORS == 3:
        while rows - n > 2:
            b_at, c_at = b_start + n * b_pitch, c_start + n * c_pitch
            dots_of_three(a, a_start, a_pitch, offsets, b, b_at, b_pitch, depth, c, c_at, c_pitch, accumulate)
            n += 3
    while rows - n > 1:
        b_at, c_at = b_start + n * b_pitch, c_start + n * c_pitch
        dots_of_two(a, a_start, a_pitch, offsets, b, b_at, b_pitch, depth, c, c_at, c_pitch, accumulate)
        n += 2
    if rows - n > 0:
        b_at, c_at = b_start + n * b_pitch, c_start + n * c_pitch
        dots_of_one(a, a_start, a_pitch, offsets, b, b_at, b_pitch, depth, c, c_at, c_pitch, accumulate)
