"""Operators that bring maps together, take them apart, or cut them."""

from math import ceil

from npseg.nn import Concat, Crop, SelectChannels
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Length, Lengths, Map, lengths_of, reference_of


def concat(node: OperatorNode) -> None:
    """Concat: of maps along the channels, or of sizes."""
    values = node.all_values()
    lists = [lengths_of(value) for value in values]
    axis = node.attribute("axis", 1)
    if all(lengths is not None for lengths in lists):
        node.result(tuple(length for lengths in lists if lengths is not None for length in lengths))
        return
    maps = [node.map(place) for place in range(len(values))]
    if len({value.axes for value in maps}) > 1 or node.axis(axis, maps[0]) != 1:
        raise RefusedError(f"npseg stacks maps along the channels, axis 1, not axis {axis}")
    node.result(node.layer(Concat(), *maps) if len(maps) > 1 else maps[0])


def split(node: OperatorNode) -> None:
    """Split along the channels."""
    x = node.map()
    axis, parts = node.attribute("axis", 0), node.numbers("split", 1)
    channels, outputs = node.network.channels_of(x), len(node.proto.output)
    count = node.attribute("num_outputs", outputs)
    if node.axis(axis, x) != 1:
        raise RefusedError(f"npseg splits maps along the channels, axis 1, not axis {axis}")
    if parts is None:
        part = ceil(channels / count)
        parts = [min(part, channels - place * part) for place in range(count)]
    if len(parts) != outputs or sum(parts) != channels or min(parts) < 1:
        raise RefusedError(f"split must be {outputs} numbers that add up to {channels} channels, got {parts}")
    for place, part in enumerate(parts):
        layer = SelectChannels(sum(parts[:place]), part)
        node.result(node.layer(layer, x, suffix=f"_{place}" if place else ""), place)


def slice_(node: OperatorNode) -> None:
    """Slice: of sizes, of channels, or of rows and columns to the size of another map."""
    value = node.value(0)
    starts, steps = node.numbers("starts", 1), node.numbers("steps", 4)
    ends: Lengths | None = lengths_of(node.value(2)) if node.has(2) else tuple(node.attribute("ends", []))
    axes = node.numbers("axes", 3)
    if starts is None or ends is None or len(starts) != len(ends):
        raise RefusedError("starts and ends must be as many, and known")
    axes = list(range(len(starts))) if axes is None else axes
    if len(axes) != len(starts) or any(step != 1 for step in steps or []):
        raise RefusedError("axes must be as many as starts, and steps 1")
    lengths = lengths_of(value)
    if lengths is not None:
        node.result(_slice_of_lengths(lengths, starts, ends))
        return
    x = node.map()
    spans = {node.axis(axis, x): (start, end) for axis, start, end in zip(axes, starts, ends, strict=True)}
    if set(spans) == {1}:
        node.result(_channels(node, x, *spans[1]))
    elif set(spans) == {2, 3} and x.axes == 4:
        node.result(_crop(node, x, spans))
    else:
        raise RefusedError(f"npseg cuts along the channels, or along rows and columns together, not along axes {axes}")


def _slice_of_lengths(lengths: Lengths, starts: list[int], ends: Lengths) -> Lengths:
    (start,), (end,) = starts, ends
    if isinstance(end, Length):
        raise RefusedError("a list of sizes is cut where its end is not known")
    return lengths[start:end]


def _channels(node: OperatorNode, x: Map, start: int, end: int | Length) -> Map:
    if isinstance(end, Length):
        raise RefusedError("channels are cut where their number is not known")
    first, last, _ = slice(start, end).indices(node.network.channels_of(x))
    if last <= first:
        raise RefusedError("an empty result")
    return node.layer(SelectChannels(first, last - first), x)


def _crop(node: OperatorNode, x: Map, spans: dict[int, tuple[int, int | Length]]) -> Map:
    """From an offset to the offset + another map's size."""
    (top, bottom), (left, right) = spans[2], spans[3]
    if top < 0 or left < 0:
        raise RefusedError("a crop must start at a number of pixels from the top left")
    reference = reference_of((bottom, right), plus=(top, left))
    if reference is None:
        raise RefusedError("npseg crops to the size of another map, not by given numbers")
    return node.layer(Crop((top, left) if top != left else top), x, reference)
