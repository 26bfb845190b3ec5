"""The microkernel: a tile of products held in registers, on which every convolution here stands.

A processor's vector registers hold `lanes` numbers each, and it can multiply and add two vectors in every cycle, far
faster than it can read memory. So a tile of C = A B is kept in registers while k runs, and each number that is read is
used many times:

    for k in 0 ... depth - 1:
        for m in 0 ... ROWS - 1:                         (unrolled)
            for j in 0 ... vectors * lanes - 1:          (unrolled, `lanes` at a time)
                c[m, j] += a[k, m] * b[offset[k] + j]

A is packed so that the ROWS numbers of one k lie side by side. The rows of B may lie anywhere: `offset` says where each
begins. With offsets that step through a matrix this is a matrix product; with the offsets of a window's taps in an
image it is a convolution, of any kernel size and dilation, with nothing copied.

It is written as LLVM instructions, because no compiler finds this register tile by itself. Source: Goto, van de Geijn,
"Anatomy of high-performance matrix multiplication" (2008).
"""

import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from npseg.checks import Array
from npseg.engines.numba.compiling import inner

FEATURES = frozenset(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
"""What Numba compiles for: the processor's features, unless the environment (NUMBA_CPU_NAME, ...) asks for less."""


def _vector_bytes() -> int:
    if "+avx512f" in FEATURES:
        return 64
    if "+avx2" in FEATURES or "+avx" in FEATURES:
        return 32
    return 16


VECTOR_BYTES = _vector_bytes()
"""Bytes of a vector register."""

_MANY_REGISTERS = VECTOR_BYTES == 64 or platform.machine().lower() in ("aarch64", "arm64")

ROWS, VECTORS = (8, 3) if _MANY_REGISTERS else (6, 2)
"""The largest tile that fits beside its operands: 24 of 32 vector registers, or 12 of 16."""


def _tile(vectors: int) -> Callable[..., None]:
    """The microkernel for tiles ROWS high and `vectors` vectors wide."""

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def multiply_add(
        typing: Any,
        a: Any,
        a_start: Any,
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
        """C (+)= A B for one tile; starts and pitch count array entries, `accumulate` keeps what is in C."""
        if not (a.dtype == b.dtype == c.dtype and isinstance(a.dtype, types.Float)):
            return None
        signature = types.void(
            a, types.intp, b, types.intp, offsets, types.intp, types.intp, c, types.intp, types.intp, types.intp
        )
        return signature, _TileCode(a.dtype.bitwidth // 8, vectors)

    return multiply_add  # type: ignore[no-any-return]


class _TileCode:
    """Writes the microkernel's instructions."""

    def __init__(self, itemsize: int, vectors: int) -> None:
        self.itemsize = itemsize
        self.lanes = VECTOR_BYTES // itemsize
        self.columns = range(vectors)
        self.number = ir.FloatType() if itemsize == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.number, self.lanes)

    def __call__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        """The code generator that Numba calls."""
        data = {
            place: context.make_array(signature.args[place])(context, builder, arguments[place]).data
            for place in (0, 2, 4, 7)
        }
        a, b = (builder.gep(data[place], [arguments[place + 1]]) for place in (0, 2))
        offsets, depth = builder.gep(data[4], [arguments[5]]), arguments[6]
        c, pitch, accumulate = builder.gep(data[7], [arguments[8]]), arguments[9], arguments[10]
        places = self._places(builder, c, pitch)

        entry, loop, end = (builder.append_basic_block(name) for name in ("tile", "depth", "end"))
        add, store = (builder.append_basic_block(name) for name in ("add", "store"))
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        builder.branch(entry)
        builder.position_at_end(entry)
        builder.branch(loop)

        builder.position_at_end(loop)
        sums = {place: builder.phi(self.vector) for place in places}
        k = builder.phi(depth.type)
        for phi in sums.values():
            phi.add_incoming(zero, entry)
        k.add_incoming(depth.type(0), entry)
        row = builder.gep(b, [builder.load(builder.gep(offsets, [k]))])
        factors = [self._load(builder, builder.gep(row, [k.type(j * self.lanes)])) for j in self.columns]
        left = builder.gep(a, [builder.mul(k, k.type(ROWS))])
        totals = {}
        for m in range(ROWS):
            scalar = self._everywhere(builder, builder.load(builder.gep(left, [k.type(m)])))
            for j in self.columns:
                totals[m, j] = builder.call(self._fused(builder), [scalar, factors[j], sums[m, j]])
                sums[m, j].add_incoming(totals[m, j], loop)
        following = builder.add(k, k.type(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, end)

        # What is in C is added last, not first: a long sum is the more exact for being made of short ones.
        builder.position_at_end(end)
        builder.cbranch(builder.icmp_signed("!=", accumulate, accumulate.type(0)), add, store)
        builder.position_at_end(add)
        for place, pointer in places.items():
            self._store(builder, builder.fadd(totals[place], self._load(builder, pointer)), pointer)
        done = builder.append_basic_block("done")
        builder.branch(done)
        builder.position_at_end(store)
        for place, pointer in places.items():
            self._store(builder, totals[place], pointer)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    def _places(self, builder: Any, c: Any, pitch: Any) -> dict[tuple[int, int], Any]:
        """Where in C each vector of the tile is kept."""
        return {
            (m, j): builder.gep(c, [builder.add(builder.mul(pitch, pitch.type(m)), pitch.type(j * self.lanes))])
            for m in range(ROWS)
            for j in self.columns
        }

    def _load(self, builder: Any, pointer: Any) -> Any:
        value = builder.load(self._as_vector(builder, pointer))
        value.align = self.itemsize
        return value

    def _store(self, builder: Any, value: Any, pointer: Any) -> None:
        builder.store(value, self._as_vector(builder, pointer)).align = self.itemsize

    def _as_vector(self, builder: Any, pointer: Any) -> Any:
        return builder.bitcast(pointer, self.vector.as_pointer())

    def _everywhere(self, builder: Any, scalar: Any) -> Any:
        """A vector that holds one number in every lane."""
        undefined, index = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = builder.insert_element(undefined, scalar, index(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(index, self.lanes), [0] * self.lanes))

    def _fused(self, builder: Any) -> Any:
        """a * b + c, in one rounding where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.itemsize}"
        return cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name)


tile_of_one, tile_of_two, tile_of_three = (_tile(vectors) for vectors in (1, 2, 3))


@inner
def multiply_rows(
    a: Array,
    a_start: int,
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
    """ROWS rows of C (+)= A B, tile by tile: what is read and written is `columns` rounded up to whole vectors."""
    lanes = VECTOR_BYTES // c.itemsize
    j = 0
    if VECTORS == 3:
        while columns - j > 2 * lanes:
            tile_of_three(a, a_start, b, b_start + j, offsets, first, depth, c, c_start + j, c_pitch, accumulate)
            j += 3 * lanes
    while columns - j > lanes:
        tile_of_two(a, a_start, b, b_start + j, offsets, first, depth, c, c_start + j, c_pitch, accumulate)
        j += 2 * lanes
    if columns - j > 0:
        tile_of_one(a, a_start, b, b_start + j, offsets, first, depth, c, c_start + j, c_pitch, accumulate)


def rounded_to_lanes(columns: int, itemsize: int) -> int:
    """Columns in whole vectors."""
    lanes = VECTOR_BYTES // itemsize
    return -(-columns // lanes) * lanes
