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

_, PROCESSOR, _features = cpu_target.target_context.codegen().magic_tuple()
FEATURES = frozenset(_features.split(","))
"""What Numba compiles for: this processor, unless the environment (NUMBA_CPU_NAME, ...) asks for less."""


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
        number = types.intp
        signature = types.void(a, number, b, number, offsets, number, number, c, number, number, number)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_start, b, b_start, offsets, first, depth, c, c_start, c_pitch, accumulate = pointers(
                context, builder, signature, arguments
            )
            tile = TileCode(builder, signature.args[0].dtype, vectors)
            a, b, offsets = builder.gep(a, [a_start]), builder.gep(b, [b_start]), builder.gep(offsets, [first])
            tile.write(
                lambda k: tile.apart(builder.gep(a, [builder.mul(k, k.type(ROWS))]), k.type(1)),
                lambda k: builder.gep(b, [builder.load(builder.gep(offsets, [k]))]),
                tile.apart(builder.gep(c, [c_start]), c_pitch),
                depth,
                accumulate,
            )
            return context.get_dummy_value()

        return signature, code

    return multiply_add  # type: ignore[no-any-return]


def pointers(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """An intrinsic's arguments, with an array's data in the place of the array."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def keep_rolled(builder: Any, branch: Any) -> None:
    """Keep the loop that ends with this branch as it is written: its registers are all taken.

    For some processors the compiler would do two steps in one, load what both need first, and put half of the sums on
    the stack: three times as slow.
    """
    module = builder.module
    wish = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = module.add_metadata([wish])
    loop.operands = loop, wish  # LLVM knows what is said of a loop by its first entry, which is itself
    branch.set_metadata("llvm.loop", loop)


class TileCode:
    """Writes the microkernel's instructions."""

    def __init__(self, builder: Any, dtype: Any, vectors: int) -> None:
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.columns = range(vectors)
        self.number = ir.FloatType() if self.itemsize == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.number, self.lanes)

    def apart(self, start: Any, pitch: Any) -> list[Any]:
        """Where ROWS rows begin that are a pitch apart."""
        builder = self.builder
        return [builder.gep(start, [builder.mul(pitch, pitch.type(m))]) for m in range(ROWS)]

    def write(
        self,
        left: Callable[[Any], list[Any]],
        right: Callable[[Any], Any],
        sums_of_rows: list[Any],
        depth: Any,
        accumulate: Any,
    ) -> None:
        """The tile's loop: `left` and `right` say where step k finds A's numbers and B's row."""
        builder = self.builder
        places = {
            (m, j): builder.gep(row, [depth.type(j * self.lanes)])
            for m, row in enumerate(sums_of_rows)
            for j in self.columns
        }

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
        row = right(k)
        factors = [self.load(builder.gep(row, [k.type(j * self.lanes)])) for j in self.columns]
        totals = {}
        for m, pointer in enumerate(left(k)):
            scalar = self._everywhere(builder.load(pointer))
            for j in self.columns:
                totals[m, j] = builder.call(self.fused(), [scalar, factors[j], sums[m, j]])
                sums[m, j].add_incoming(totals[m, j], loop)
        following = builder.add(k, k.type(1))
        k.add_incoming(following, loop)
        keep_rolled(builder, builder.cbranch(builder.icmp_signed("<", following, depth), loop, end))

        # What is in C is added last, not first: a long sum is the more exact for being made of short ones.
        builder.position_at_end(end)
        builder.cbranch(builder.icmp_signed("!=", accumulate, accumulate.type(0)), add, store)
        builder.position_at_end(add)
        for place, pointer in places.items():
            self._store(builder.fadd(totals[place], self.load(pointer)), pointer)
        done = builder.append_basic_block("done")
        builder.branch(done)
        builder.position_at_end(store)
        for place, pointer in places.items():
            self._store(totals[place], pointer)
        builder.branch(done)
        builder.position_at_end(done)

    def load(self, pointer: Any) -> Any:
        """A vector, which may begin anywhere."""
        value = self.builder.load(self._as_vector(pointer))
        value.align = self.itemsize
        return value

    def _store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self._as_vector(pointer)).align = self.itemsize

    def _as_vector(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def _everywhere(self, scalar: Any) -> Any:
        """A vector that holds one number in every lane."""
        undefined, index = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(undefined, scalar, index(0))
        lanes = ir.Constant(ir.VectorType(index, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def fused(self) -> Any:
        """a * b + c, in one rounding where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.itemsize}"
        form = ir.FunctionType(self.vector, [self.vector] * 3)
        return cgutils.get_or_insert_function(self.builder.module, form, name)


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
