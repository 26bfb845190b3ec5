"""Vectors: LANES numbers side by side, which one instruction loads, compares, adds or stores.

A compiler turns simple loops into such instructions by itself, but gives up, or picks slow ones, where the loop steps
through memory by two, keeps several results at once, or is short. The kernels of pooling and resizing are all of these,
so they say what they mean:

    even, odd = load_pairs(row, start)                 even[l] = row[start + 2 l],  odd[l] = row[start + 2 l + 1]
    wins = exceeds(odd, even)                          one truth value for each lane
    store(y, at, select(wins, odd, even))              y[at + l] = odd[l] if wins[l] else even[l]

The arrays are one-dimensional and contiguous. A line of n numbers is done in vectors that start at 0, LANES, 2 LANES,
..., and the last at n - LANES: it overlaps the one before, which only does the same once more. The number of lanes is
the same on every processor; where registers are shorter, one vector is several of them.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from npseg.checks import Array
from npseg.engines.numba.compiling import inner

LANES = 16


class Vector(types.Type):  # type: ignore[misc]  # Numba has no types
    """Numba's name for LANES numbers, or truth values, of one kind."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        super().__init__(name=f"Vector({kind})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """How a vector is held: as LLVM's own."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(manager.lookup(vector.kind).get_value_type(), LANES))


# ------------------------------------------------------------------------------------------------------------- memory


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def load(typing: Any, array: Any, start: Any) -> Any:
    """array[start + l] in lane l."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _loaded(context, builder, signature, arguments, 0)

    return Vector(array.dtype)(array, types.intp), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def load_pairs(typing: Any, array: Any, start: Any) -> Any:
    """Two vectors, array[start + 2 l] and array[start + 2 l + 1]."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        halves = [_loaded(context, builder, signature, arguments, place) for place in (0, LANES)]
        split = [builder.shuffle_vector(*halves, _lanes(range(parity, 2 * LANES, 2))) for parity in (0, 1)]
        return context.make_tuple(builder, signature.return_type, split)

    return types.UniTuple(Vector(array.dtype), 2)(array, types.intp), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def load_every(typing: Any, array: Any, start: Any, step: Any) -> Any:
    """array[start + l step] in lane l, number by number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, start, step = arguments
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        vector = ir.Constant(ir.VectorType(data.type.pointee, LANES), ir.Undefined)
        for lane in range(LANES):
            place = builder.add(start, builder.mul(step, step.type(lane)))
            vector = builder.insert_element(vector, builder.load(builder.gep(data, [place])), ir.IntType(32)(lane))
        return vector

    return Vector(array.dtype)(array, types.intp, types.intp), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def store(typing: Any, array: Any, start: Any, vector: Any) -> Any:
    """array[start + l] = lane l."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _stored(context, builder, signature, arguments, 0, arguments[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@inner
def store_some(array: Array, start: int, vector: Any, count: int) -> None:
    """array[start + l] = lane l, for the first lanes alone."""
    for lane in range(count):
        array[start + lane] = _number_in(vector, lane)


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def _number_in(typing: Any, vector: Any, lane: Any) -> Any:
    """The number in one lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(*arguments)

    return vector.kind(vector, types.intp), code


@inner
def copy(source: Array, begin: int, target: Array, start: int, count: int) -> None:
    """target[start : start + count] = source[begin : begin + count]."""
    if count < LANES:
        for k in range(count):
            target[start + k] = source[begin + k]
    for block in range(0, count if count >= LANES else 0, LANES):
        k = min(block, count - LANES)
        store(target, start + k, load(source, begin + k))


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def store_pairs(typing: Any, array: Any, start: Any, even: Any, odd: Any) -> Any:
    """array[start + 2 l] = lane l of `even`, array[start + 2 l + 1] = lane l of `odd`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for place in (0, LANES):
            lanes = [lane for pair in range(place // 2, (place + LANES) // 2) for lane in (pair, LANES + pair)]
            half = builder.shuffle_vector(arguments[2], arguments[3], _lanes(lanes))
            _stored(context, builder, signature, arguments, place, half)
        return context.get_dummy_value()

    return types.void(array, types.intp, even, odd), code


def _loaded(context: Any, builder: Any, signature: Any, arguments: Any, place: int) -> Any:
    vector = builder.load(_pointer(context, builder, signature, arguments, place))
    vector.align = signature.args[0].dtype.bitwidth // 8
    return vector


def _stored(context: Any, builder: Any, signature: Any, arguments: Any, place: int, vector: Any) -> None:
    instruction = builder.store(vector, _pointer(context, builder, signature, arguments, place))
    instruction.align = signature.args[0].dtype.bitwidth // 8


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, place: int) -> Any:
    """Where the vector that begins at array[start + place] is kept."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    start = builder.add(arguments[1], arguments[1].type(place))
    return builder.bitcast(builder.gep(data, [start]), ir.VectorType(data.type.pointee, LANES).as_pointer())


def _lanes(numbers: Any) -> ir.Constant:
    """Which lanes a shuffle takes; those of the second vector count on from the first's."""
    numbers = list(numbers)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


# --------------------------------------------------------------------------------------------------------- arithmetic


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def spread(typing: Any, number: Any) -> Any:
    """The same number in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return Vector(number)(number), code


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, _lanes([0] * LANES))


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def positions(typing: Any, start: Any, step: Any, offsets: Any) -> Any:
    """start + l step + offsets[l] as int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, step, offsets = arguments
        steps = builder.mul(_spread(builder, step), ir.VectorType(step.type, LANES)(list(range(LANES))))
        return builder.add(builder.add(_spread(builder, start), steps), _widened(builder, offsets, steps.type))

    return Vector(types.int64)(types.int64, types.int64, offsets), code


def _widened(builder: Any, vector: Any, to: Any) -> Any:
    return vector if vector.type == to else builder.sext(vector, to)


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def distances(typing: Any, start: Any, step: Any, positions: Any) -> Any:
    """positions[l] - (start + l step): what `positions` added."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, step, positions = arguments
        steps = builder.mul(_spread(builder, step), ir.VectorType(step.type, LANES)(list(range(LANES))))
        return builder.sub(builder.sub(positions, _spread(builder, start)), steps)

    return Vector(types.int64)(types.int64, types.int64, positions), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def plus(typing: Any, a: Any, b: Any) -> Any:
    """a + b, of integers."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.add(*arguments)

    return a(a, b), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def added(typing: Any, a: Any, b: Any) -> Any:
    """a + b, of floats."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return a(a, b), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, in one rounding where the processor can."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = arguments[0].type
        name = f"llvm.fmuladd.v{LANES}f{signature.args[0].kind.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(function, arguments)

    return a(a, b, c), code


# -------------------------------------------------------------------------------------------------------- comparisons


def _comparison(compare: Callable[..., Any], meaning: str) -> Any:
    def comparison(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return compare(builder, *arguments)

        return Vector(types.boolean)(a, b), code

    comparison.__doc__ = meaning
    return intrinsic(comparison)


exceeds = _comparison(
    lambda builder, a, b: builder.fcmp_unordered(">", a, b), "Whether a float a is larger than b, or one of them NaN."
)
numbers = _comparison(lambda builder, a, b: builder.fcmp_ordered("ord", a, b), "Whether neither a nor b is NaN.")
differ = _comparison(lambda builder, a, b: builder.fcmp_unordered("!=", a, b), "Whether two floats differ.")
equal = _comparison(lambda builder, a, b: builder.icmp_signed("==", a, b), "Whether two integers are equal.")
below = _comparison(
    lambda builder, a, b: builder.icmp_unsigned("<", a, b),
    "Whether an integer a lies in 0 ... b - 1: without its sign, a negative one is larger than any b.",
)
both = _comparison(lambda builder, a, b: builder.and_(a, b), "Whether a and b hold.")
either = _comparison(lambda builder, a, b: builder.or_(a, b), "Whether a or b holds.")


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def select(typing: Any, choice: Any, a: Any, b: Any) -> Any:
    """a where the choice holds, else b."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(choice, a, b), code


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def everywhere(typing: Any, truth: Any) -> Any:
    """Whether it holds in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], ir.IntType(LANES))
        return builder.icmp_unsigned("==", bits, bits.type(2**LANES - 1))

    return types.boolean(truth), code
