"""Turning a matrix: rows become columns, tile by tile in registers.

Copying number by number would read or write one number of each cache line. Instead a tile of `lanes` rows is loaded, a
row in each register, and its registers' numbers are put in turn, pair by pair:

    for log2(lanes) times:
        rows[2 r], rows[2 r + 1] = the halves of  a[0], b[0], a[1], b[1], ...   where a, b = rows[r], rows[r + lanes/2]

after which register c holds what was column c. Each step moves a row's number by one binary digit into the lane's.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.microkernel import VECTOR_BYTES, pointers
from npseg.engines.numba.registers import chosen, load_masked, store_masked, vector_of


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def _turn_tile(
    typing: Any,
    target: Any,
    target_start: Any,
    places: Any,
    first: Any,
    source: Any,
    source_start: Any,
    source_pitch: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """As `turn`, for a tile of at most as many rows and columns as a register has lanes."""
    number = types.intp
    signature = types.void(target, number, places, number, source, number, number, number, number)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, target_start, places, first, source, source_start, pitch, rows, columns = pointers(
            context, builder, signature, arguments
        )
        form = vector_of(signature.args[0].dtype)
        lanes = range(form.count)
        width, height = (_lowest(builder, count, form.count) for count in (columns, rows))
        none = ir.Constant(width.type, None)
        tile = []
        for r in lanes:
            start = builder.add(source_start, builder.mul(pitch, pitch.type(r)))
            mask = builder.select(builder.icmp_signed("<", rows.type(r), rows), width, none)
            tile.append(load_masked(builder, builder.gep(source, [start]), form, mask))
        half = form.count // 2
        low, high = ([lane // 2 + lane % 2 * form.count + start for lane in lanes] for start in (0, half))
        for _ in range(half.bit_length()):
            tile = [chosen(builder, tile[r], tile[r + half], order) for r in range(half) for order in (low, high)]
        for c in lanes:
            wanted = builder.icmp_signed("<", columns.type(c), columns)
            entry = builder.select(wanted, builder.add(first, first.type(c)), first)
            start = builder.add(target_start, builder.load(builder.gep(places, [entry])))
            mask = builder.select(wanted, height, none)
            store_masked(builder, tile[c], builder.gep(target, [start]), mask)
        return context.get_dummy_value()

    return signature, code


def _lowest(builder: Any, count: Any, lanes: int) -> Any:
    """The flags of the first `count` lanes."""
    spread = ir.Constant(ir.VectorType(count.type, lanes), list(range(lanes)))
    first = builder.insert_element(ir.Constant(spread.type, ir.Undefined), count, ir.IntType(32)(0))
    everywhere = chosen(builder, first, first, [0] * lanes)
    return builder.icmp_signed("<", spread, everywhere)


@inner
def turn(
    target: Array,
    target_start: int,
    places: Array,
    first: int,
    source: Array,
    source_start: int,
    source_pitch: int,
    rows: int,
    columns: int,
) -> None:
    """target[target_start + places[first + c] + r] = source[source_start + r * source_pitch + c] for all r and c."""
    lanes = VECTOR_BYTES // source.itemsize
    for r in range(0, rows, lanes):
        height, line = min(lanes, rows - r), source_start + r * source_pitch
        for c in range(0, columns, lanes):
            width = min(lanes, columns - c)
            _turn_tile(target, target_start + r, places, first + c, source, line + c, source_pitch, height, width)


@inner
def turn_line(
    target: Array,
    places: Array,
    pitch: int,
    source: Array,
    start: int,
    plane: int,
    channels: int,
    left: int,
    width: int,
) -> None:
    """target[places[j] + c] = source[start + c * plane + j - left], zeros where a line of `width` has no such pixel.

    Args:
        target: where each pixel's channels are put side by side.
        places: of the pixels in the target.
        pitch: numbers that a pixel takes there.
        source: the planes of all channels.
        start: of the line in its first plane.
        plane: numbers of a plane.
        channels: to turn; what there is room for besides is left as it is, but at the padding.
        left: padding.
        width: of the line; 0 if there is none.
    """
    begin = min(max(0, left), len(places))
    end = min(max(begin, width + left), len(places))
    for j in range(begin):
        target[places[j] : places[j] + pitch] = 0
    turn(target, 0, places, begin, source, start + begin - left, plane, channels, end - begin)
    for j in range(end, len(places)):
        target[places[j] : places[j] + pitch] = 0
