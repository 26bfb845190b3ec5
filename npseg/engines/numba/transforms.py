"""Small constant matrices applied to long vectors, and lines dealt out by m: Winograd's building blocks.

    linear(matrix):   y_u[j] = sum over v of matrix[u, v] * x_v[j]          for all j, `lanes` at a time
    deal(m):          y_p[t] = x[m * t + p]
    join(m):          y[m * t + p] = x_p[t]
    join_largest(m):  the same, of the largest of two by two

Written as LLVM instructions, as the microkernel is, and for the same reason: with so many arrays at once, a compiler
cannot prove that none overlaps another, and falls back to one number at a time. `deal` and `join`, and `linear` if it
is `padded`, read and write whole vectors, beyond the end if need be. Otherwise what is left at the end is done in
halves, quarters and so on of a vector, and nothing beyond is touched.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npseg.checks import Array
from npseg.engines.numba.microkernel import VECTOR_BYTES


def linear(matrix: Array, *, padded: bool = False) -> Callable[..., None]:
    """A function (x, x_start, x_step, y, y_start, y_step, length) that applies a constant matrix.

    Vector x_v starts at x_start + v * x_step, and y_u at y_start + u * y_step. With `padded`, the length counts as
    rounded up to whole vectors.
    """
    number, columns = types.intp, np.shape(matrix)[1]

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def apply(typing: Any, x: Any, x_start: Any, x_step: Any, y: Any, y_start: Any, y_step: Any, length: Any) -> Any:
        """See `linear`."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, first, step, _, to, to_step, count = arguments
            inputs = _starts(builder, first, step, columns)
            _write_linear(
                _Vectors(context, builder, signature, arguments, (0, 3)), matrix, inputs, to, to_step, count, padded
            )
            return context.get_dummy_value()

        return types.void(x, number, number, y, number, number, number), code

    return apply  # type: ignore[no-any-return, unused-ignore]


def linear_of_dealt(matrix: Array, m: int, *, padded: bool = False) -> Callable[..., None]:
    """The same for vectors that were dealt out: a function (x, x_start, x_step, x_jump, y, y_start, y_step, length).

    Vector x_v starts at x_start + (v % m) * x_step + v // m * x_jump: after `deal(m)` and with a jump of 1, these are
    the neighbouring entries of a line.
    """
    number, columns = types.intp, np.shape(matrix)[1]

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def apply(
        typing: Any, x: Any, x_start: Any, x_step: Any, x_jump: Any, y: Any, y_start: Any, y_step: Any, length: Any
    ) -> Any:
        """See `linear_of_dealt`."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, first, step, jump, _, to, to_step, count = arguments
            rounds = _starts(builder, first, jump, -(-columns // m))
            inputs = [start for round in rounds for start in _starts(builder, round, step, m)][:columns]
            _write_linear(
                _Vectors(context, builder, signature, arguments, (0, 4)), matrix, inputs, to, to_step, count, padded
            )
            return context.get_dummy_value()

        return types.void(x, number, number, number, y, number, number, number), code

    return apply  # type: ignore[no-any-return, unused-ignore]


def _starts(builder: Any, first: Any, step: Any, count: int) -> list[Any]:
    """first, first + step, first + 2 step, ..."""
    return [builder.add(first, builder.mul(step, step.type(k))) for k in range(count)]


def _write_linear(
    vectors: "_Vectors", matrix: Array, inputs: list[Any], to: Any, to_step: Any, length: Any, padded: bool
) -> None:
    """The loop of a constant matrix along vectors of the first array that start at `inputs`."""
    rows = [[float(value) for value in row] for row in np.asarray(matrix, np.float32)]
    outputs = _starts(vectors.builder, to, to_step, len(rows))
    add = vectors.builder.add

    def body(place: Any, width: int) -> None:
        values = [vectors.load(0, add(start, place), width) for start in inputs]
        for row, start in zip(rows, outputs, strict=True):
            vectors.store(1, add(start, place), vectors.combination(row, values, width))

    vectors.for_each(length, body, padded=padded)


def deal(m: int) -> Callable[..., None]:
    """A function (x, x_start, y, y_start, y_step, length): y[y_start + p * y_step + t] = x[x_start + m * t + p]."""

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def apply(typing: Any, x: Any, x_start: Any, y: Any, y_start: Any, y_step: Any, length: Any) -> Any:
        """See `deal`."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = _Vectors(context, builder, signature, arguments, (0, 2))
            _, first, _, to, to_step, count = arguments

            def body(place: Any, width: int) -> None:
                start = builder.add(first, builder.mul(place, place.type(m)))
                whole = vectors.load(0, start, width * m)
                for p in range(m):
                    part = vectors.shuffled(whole, whole, [m * t + p for t in range(width)])
                    vectors.store(1, builder.add(builder.add(to, builder.mul(to_step, to_step.type(p))), place), part)

            vectors.for_each(count, body, padded=True)
            return context.get_dummy_value()

        return types.void(x, types.intp, y, types.intp, types.intp, types.intp), code

    return apply  # type: ignore[no-any-return, unused-ignore]


def join(m: int) -> Callable[..., None]:
    """A function (x, x_start, x_step, y, y_start, length): y[y_start + m * t + p] = x[x_start + p * x_step + t]."""

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def apply(typing: Any, x: Any, x_start: Any, x_step: Any, y: Any, y_start: Any, length: Any) -> Any:
        """See `join`."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = _Vectors(context, builder, signature, arguments, (0, 3))
            _, first, step, _, to, count = arguments

            def body(place: Any, width: int) -> None:
                parts = [
                    vectors.load(0, builder.add(builder.add(first, builder.mul(step, step.type(p))), place), width)
                    for p in range(m)
                ]
                vectors.store(1, builder.add(to, builder.mul(place, place.type(m))), vectors.joined(parts))

            vectors.for_each(count, body, padded=True)
            return context.get_dummy_value()

        return types.void(x, types.intp, types.intp, y, types.intp, types.intp), code

    return apply  # type: ignore[no-any-return, unused-ignore]


def join_largest(m: int) -> Callable[..., None]:
    """A function (x, x_start, x_step, x_below, y, y_start, length) for the largest of 2 x 2 numbers, NaN above all.

    y[y_start + m // 2 * t + q] = the largest of x_p[t] and, `x_below` further on, of x'_p[t], for p = 2 q, 2 q + 1,
    where x_p starts at x_start + p * x_step.
    """

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def apply(typing: Any, x: Any, x_start: Any, x_step: Any, x_below: Any, y: Any, y_start: Any, length: Any) -> Any:
        """See `join_largest`."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = _Vectors(context, builder, signature, arguments, (0, 4))
            _, first, step, below, _, to, count = arguments
            rows = [_starts(builder, start, step, m) for start in (first, builder.add(first, below))]

            def body(place: Any, width: int) -> None:
                upper, lower = (
                    [vectors.load(0, builder.add(start, place), width) for start in starts] for starts in rows
                )
                tall = [vectors.larger(*pair) for pair in zip(upper, lower, strict=True)]
                parts = [vectors.larger(*pair) for pair in zip(tall[::2], tall[1::2], strict=True)]
                vectors.store(1, builder.add(to, builder.mul(place, place.type(m // 2))), vectors.joined(parts))

            vectors.for_each(count, body, padded=True)
            return context.get_dummy_value()

        number = types.intp
        return types.void(x, number, number, number, y, number, number), code

    return apply  # type: ignore[no-any-return, unused-ignore]


class _Vectors:
    """Writes instructions on vectors of float32 in arrays that are arguments."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, arrays: tuple[int, ...]) -> None:
        self.builder = builder
        self.data = [
            context.make_array(signature.args[place])(context, builder, arguments[place]).data for place in arrays
        ]

    def for_each(self, length: Any, body: Callable[[Any, int], None], *, padded: bool) -> None:
        """Run `body(place, width)` along the length, in whole vectors, then in ever smaller parts of one."""
        builder, width = self.builder, VECTOR_BYTES // 4
        place = cgutils.alloca_once_value(builder, length.type(0))
        if padded:
            length = builder.add(length, length.type(width - 1))
        while width:
            check, loop, done = (builder.append_basic_block(name) for name in ("check", "vector", "rest"))
            builder.branch(check)
            builder.position_at_end(check)
            end = builder.add(builder.load(place), length.type(width))
            builder.cbranch(builder.icmp_signed("<=", end, length), loop, done)
            builder.position_at_end(loop)
            body(builder.load(place), width)
            builder.store(end, place)
            builder.branch(check)
            builder.position_at_end(done)
            width = 0 if padded else width // 2

    def load(self, array: int, place: Any, width: int) -> Any:
        """`width` numbers."""
        value = self.builder.load(self._pointer(array, place, width))
        value.align = 4
        return value

    def store(self, array: int, place: Any, value: Any) -> None:
        """A vector's numbers."""
        self.builder.store(value, self._pointer(array, place, value.type.count)).align = 4

    def combination(self, factors: list[float], values: list[Any], width: int) -> Any:
        """The sum of factors times vectors, without multiplying by 0 or 1."""
        builder, vector = self.builder, ir.VectorType(ir.FloatType(), width)
        name = f"llvm.fmuladd.v{width}f32"
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        total = None
        for factor, value in sorted(zip(factors, values, strict=True), key=lambda pair: abs(pair[0]) != 1):
            if factor == 0:
                continue
            constant = ir.Constant(vector, [factor] * width)
            if total is None:
                total = value if factor == 1 else builder.fmul(value, constant)
            elif factor == 1:
                total = builder.fadd(total, value)
            elif factor == -1:
                total = builder.fsub(total, value)
            else:
                total = builder.call(fused, [value, constant, total])
        return total

    def larger(self, first: Any, second: Any) -> Any:
        """The larger ones; of NaN and another number, NaN."""
        builder = self.builder
        wins = builder.fcmp_unordered(">", second, first)  # or one of both is NaN
        wins = builder.and_(wins, builder.fcmp_ordered("==", first, first))
        return builder.select(wins, second, first)

    def joined(self, parts: list[Any]) -> Any:
        """parts[0][0], parts[1][0], ..., parts[0][1], parts[1][1], ...: of a power of two of vectors."""
        while len(parts) > 1:  # p and p + len / 2 side by side, until all are
            half = len(parts) // 2
            parts = [self.interleaved(parts[p], parts[p + half]) for p in range(half)]
        return parts[0]

    def interleaved(self, first: Any, second: Any) -> Any:
        """first[0], second[0], first[1], second[1], ..."""
        width = first.type.count
        return self.shuffled(first, second, [t // 2 + (width if t % 2 else 0) for t in range(2 * width)])

    def shuffled(self, first: Any, second: Any, places: list[int]) -> Any:
        """The numbers at these places of two vectors laid end to end."""
        index = ir.VectorType(ir.IntType(32), len(places))
        return self.builder.shuffle_vector(first, second, ir.Constant(index, places))

    def _pointer(self, array: int, place: Any, width: int) -> Any:
        vector = ir.VectorType(ir.FloatType(), width)
        return self.builder.bitcast(self.builder.gep(self.data[array], [place]), vector.as_pointer())
