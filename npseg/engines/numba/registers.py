"""Vectors of a whole register, some of whose lanes may be left out: what the depthwise convolution is written in.

    a = load_some(x, start, some)           a[lane] = x[start + lane] where the lane's bit is set in `some`, else 0
    s = multiply_add(everywhere(w), a, s)   s[lane] += w * a[lane]
    store_some(y, start, some, s)           y[start + lane] = s[lane] where the lane's bit is set

A lane that is left out is neither read nor written, so a line may end anywhere.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from npseg.engines.numba.microkernel import VECTOR_BYTES


class Vector(types.Type):  # type: ignore[misc]  # Numba has no types
    """As many numbers as a vector register holds; Numba's own code knows only single ones."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)  # type: ignore[misc, untyped-decorator, unused-ignore]
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """To LLVM, a vector is a value like any other."""

    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, vector_of(vector.dtype))


def vector_of(dtype: Any) -> Any:
    """The LLVM type of a whole register of float32 or float64."""
    number = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(number, 8 * VECTOR_BYTES // dtype.bitwidth)


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def everywhere(typing: Any, value: Any) -> Any:
    """A vector with the same number in every lane."""
    return Vector(value)(value), lambda context, builder, signature, arguments: _spread(
        builder, arguments[0], vector_of(value)
    )


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def load_some(typing: Any, array: Any, start: Any, some: Any) -> Any:
    """array[start + lane] in the lanes whose bit is set in `some`, which alone are read, and zero in the others."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(builder, *_place(context, builder, signature, arguments), arguments[2])

    return Vector(array.dtype)(array, types.intp, types.intp), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def load_spaced(typing: Any, array: Any, start: Any, spacing: Any, some: Any, more: Any) -> Any:
    """As `load_some`, array[start + spacing * lane], with as many vectors loaded as the tuple `spacing` is long.

    Of two vectors every second number is kept; the bits in `more` are those of the second.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, form = _place(context, builder, signature, arguments)
        pixels = _load(builder, pointer, form, arguments[3])
        if spacing.count == 1:
            return pixels
        following = _load(builder, builder.gep(pointer, [arguments[1].type(1)]), form, arguments[4])
        return chosen(builder, pixels, following, [2 * lane for lane in range(form.count)])

    return Vector(array.dtype)(array, types.intp, spacing, types.intp, types.intp), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def store_some(typing: Any, array: Any, start: Any, some: Any, values: Any) -> Any:
    """array[start + lane] = values[lane] for the lanes whose bit is set in `some`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, form = _place(context, builder, signature, arguments)
        store_masked(builder, arguments[3], pointer, _flags(builder, arguments[2], form.count))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, values), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, in one rounding where the processor can."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        form = arguments[0].type
        return builder.call(_intrinsic(builder, "fmuladd", form, "", form, [form] * 3), arguments)

    return a(a, a, a), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def positive(typing: Any, values: Any) -> Any:
    """max(values, 0), where NaN stays NaN."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = _zeros(arguments[0].type)
        return builder.select(builder.fcmp_ordered("<=", arguments[0], zeros), zeros, arguments[0])

    return values(values), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def interleaved(typing: Any, even: Any, odd: Any) -> Any:
    """Two vectors' numbers in turn: a pair of vectors that follow each other."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = arguments[0].type.count
        order = [lane // 2 + lane % 2 * count for lane in range(2 * count)]
        halves = [chosen(builder, arguments[0], arguments[1], half) for half in (order[:count], order[count:])]
        return context.make_tuple(builder, signature.return_type, halves)

    return types.UniTuple(even, 2)(even, even), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def total(typing: Any, values: Any) -> Any:
    """The sum of all lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(sums_of_lanes(builder, arguments), ir.IntType(32)(0))

    return values.dtype(values), code


def sums_of_lanes(builder: Any, vectors: Sequence[Any]) -> Any:
    """A vector of the sums of each vector's lanes; of a power of two of vectors, no more than they have lanes.

    Two vectors become one, in which each has the sums of its lower and its upper half; so do their parts, once all
    vectors are in one.
    """
    lanes = width = vectors[0].type.count
    vectors = list(vectors)
    while width > 1:
        starts = range(0, lanes, width)
        halves = [[start + k + half for start in starts for k in range(width // 2)] for half in (0, width // 2)]
        if len(vectors) > 1:
            pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
            halves = [half + [lanes + lane for lane in half] for half in halves]
        else:
            pairs, lanes = [(vectors[0], vectors[0])], lanes // 2
        vectors = [builder.fadd(*(chosen(builder, *pair, half) for half in halves)) for pair in pairs]
        width //= 2
    return vectors[0]


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any]:
    """The address of array[start] as that of a vector, and the vector's type."""
    array, form = signature.args[0], vector_of(signature.args[0].dtype)
    data = context.make_array(array)(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), form.as_pointer()), form


def _load(builder: Any, pointer: Any, form: Any, bits: Any) -> Any:
    return load_masked(builder, pointer, form, _flags(builder, bits, form.count))


def load_masked(builder: Any, pointer: Any, form: Any, lanes: Any) -> Any:
    """The lanes that are flagged, which alone are read, and zero in the others."""
    pointer, alignment = builder.bitcast(pointer, form.as_pointer()), _alignment(form)
    kinds = [pointer.type, alignment.type, lanes.type, form]
    function = _intrinsic(builder, "masked.load", form, ".p0", form, kinds)
    return builder.call(function, [pointer, alignment, lanes, _zeros(form)])


def store_masked(builder: Any, values: Any, pointer: Any, lanes: Any) -> None:
    """Write the lanes that are flagged."""
    pointer, alignment = builder.bitcast(pointer, values.type.as_pointer()), _alignment(values.type)
    kinds = [values.type, pointer.type, alignment.type, lanes.type]
    function = _intrinsic(builder, "masked.store", values.type, ".p0", ir.VoidType(), kinds)
    builder.call(function, [values, pointer, alignment, lanes])


def _alignment(form: Any) -> Any:
    """Bytes of a number: a vector may begin anywhere."""
    return ir.IntType(32)(4 if isinstance(form.element, ir.FloatType) else 8)


def _flags(builder: Any, bits: Any, count: int) -> Any:
    """The lowest bits of a number, each in a lane."""
    return builder.bitcast(builder.trunc(bits, ir.IntType(count)), ir.VectorType(ir.IntType(1), count))


def _spread(builder: Any, value: Any, form: Any) -> Any:
    first = builder.insert_element(ir.Constant(form, ir.Undefined), value, ir.IntType(32)(0))
    return chosen(builder, first, first, [0] * form.count)


def chosen(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    """A vector of some lanes of a, which count from 0, and of b, which count on from there."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def _zeros(form: Any) -> Any:
    return ir.Constant(form, [0.0] * form.count)


def _intrinsic(builder: Any, name: str, form: Any, suffix: str, result: Any, kinds: list[Any]) -> Any:
    """One of LLVM's own functions, which has a form for each type of vector."""
    bits = 32 if isinstance(form.element, ir.FloatType) else 64
    function = ir.FunctionType(result, kinds)
    return cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{form.count}f{bits}{suffix}")
