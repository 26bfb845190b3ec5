"""Operators that bring maps together, cut them, enlarge them, or put values back where a pool found them."""

from collections.abc import Callable, Sequence
from math import ceil, floor

from npseg.nn import (
    Concat,
    Crop,
    EnlargeBilinear,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    ResizeBilinear,
    SelectChannels,
)
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import (
    Flat,
    Length,
    Lengths,
    Map,
    PoolIndices,
    Scattered,
    Zeros,
    lengths_of,
    whole_numbers,
)


def concat(node: OperatorNode) -> None:
    """Concat: of maps along the channels, or of sizes."""
    values = node.all_values()
    lists = [lengths_of(value) for value in values]
    axis = node.attribute("axis", 1)
    if all(lengths is not None for lengths in lists):
        node.result(tuple(length for lengths in lists if lengths is not None for length in lengths))
        return
    maps = [node.map(place) for place in range(len(values))]
    if len({value.axes for value in maps}) > 1 or axis % maps[0].axes != 1:
        raise RefusedError(f"npseg stacks maps along the channels, axis 1, not axis {axis}")
    node.result(node.layer(Concat(), *maps) if len(maps) > 1 else maps[0])


def split(node: OperatorNode) -> None:
    """Split along the channels."""
    x = node.map()
    axis, parts = node.attribute("axis", 0), node.numbers("split", 1)
    channels, outputs = node.network.channels_of(x), len(node.proto.output)
    count = node.attribute("num_outputs", outputs)
    if axis % x.axes != 1:
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
    spans = {axis % x.axes: (start, end) for axis, start, end in zip(axes, starts, ends, strict=True)}
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
    reference = _reference((bottom, right), plus=(top, left))
    if reference is None:
        raise RefusedError("npseg crops to the size of another map, not by given numbers")
    return node.layer(Crop((top, left) if top != left else top), x, reference)


def _reference(lengths: Sequence[int | Length], plus: tuple[int, int] = (0, 0)) -> Map | None:
    """The map whose rows and columns these two lengths are, plus two numbers; None if they are not a map's."""
    rows, columns = lengths
    if isinstance(rows, Length) and isinstance(columns, Length):
        of_one_map = rows.of == columns.of and (rows.axis, columns.axis) == (2, 3)
        if of_one_map and (rows.plus, columns.plus) == plus:
            return rows.of
    return None


# ------------------------------------------------------------------------------------------------------- enlarging


def upsample(node: OperatorNode) -> None:
    """Upsample, which Resize has replaced: pixel i comes from i / scale."""
    x = node.map(axes=(4,))
    scales = node.attribute("scales", None) or _floats(node, 1)
    _enlarge(node, x, node.attribute("mode", "nearest"), scales, "asymmetric", "floor")


def resize(node: OperatorNode) -> None:
    """Resize by whole factors, or to another map's size."""
    x = node.map(axes=(4,))
    mode, rounding = node.attribute("mode", "nearest"), node.attribute("nearest_mode", "round_prefer_floor")
    if node.opset < 11:
        _enlarge(node, x, mode, _floats(node, 1), "asymmetric", "floor")
        return
    coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
    if node.attribute("antialias", 0):
        raise RefusedError("antialias")
    if mode == "cubic":
        raise RefusedError("cubic interpolation")
    for unread in ("cubic_coeff_a", "exclude_outside", "extrapolation_value"):
        node.attribute(unread, 0)
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise RefusedError("sizes that keep the aspect ratio")
    axes = [axis % 4 for axis in node.attribute("axes", [0, 1, 2, 3])]
    if node.has(2) and len(_floats(node, 2)):
        scales = [1.0] * 4
        for axis, scale in zip(axes, _floats(node, 2), strict=True):
            scales[axis] = scale
        _enlarge(node, x, mode, scales, coordinates, rounding)
    else:
        _resize_to(node, x, mode, axes, coordinates, rounding)


def _floats(node: OperatorNode, place: int) -> list[float]:
    return [float(scale) for scale in node.array(place, "scales").ravel()]


def _resize_to(node: OperatorNode, x: Map, mode: str, axes: list[int], coordinates: str, rounding: str) -> None:
    """To sizes: another map's, or numbers that are whole multiples of the map's own."""
    sizes = lengths_of(node.value(3)) if node.has(3) else None
    if sizes is None or len(sizes) != len(axes):
        raise RefusedError("sizes must be constant or another map's")
    by_axis = dict(zip(axes, sizes, strict=True))
    reference = _reference((by_axis.get(2, 0), by_axis.get(3, 0)))
    shape, known = node.network.known_shape(x), whole_numbers(sizes)
    if reference is not None and mode == "linear" and coordinates in ALIGNMENTS:
        node.result(node.layer(ResizeBilinear(ALIGNMENTS[coordinates]), x, reference))
    elif shape is not None and known is not None:
        known_by_axis = dict(zip(axes, known, strict=True))
        scales = [1.0, 1.0, *(known_by_axis.get(axis, shape[axis - 1]) / shape[axis - 1] for axis in (2, 3))]
        _enlarge(node, x, mode, scales, coordinates, rounding)
    else:
        raise RefusedError(f"npseg resizes bilinearly to another map's size, not in mode {mode}, {coordinates}")


ALIGNMENTS = {"half_pixel": False, "pytorch_half_pixel": False, "align_corners": True}
"""How npseg calls the rules by which pixels of the result find theirs.

The second is the first but for results of one pixel, which npseg takes from the middle, as PyTorch itself does.
"""


def _enlarge(node: OperatorNode, x: Map, mode: str, scales: list[float], coordinates: str, rounding: str) -> None:
    """By whole factors."""
    if len(scales) != 4 or scales[0] != 1 or scales[1] != 1:
        raise RefusedError(f"npseg resizes rows and columns alone, got scales {scales}")
    if any(scale != int(scale) or scale < 1 for scale in scales[2:]):
        raise RefusedError(f"npseg enlarges by whole factors, got {scales[2]:g} and {scales[3]:g}")
    rows, columns = (int(scale) for scale in scales[2:])
    if mode == "nearest" and _fills_cells(coordinates, rounding, (rows, columns)):
        node.result(node.layer(NearestUnpool2d((rows, columns)), x))
    elif mode == "linear" and coordinates in HALF_PIXEL:
        node.result(node.layer(EnlargeBilinear((rows, columns)), x))
    else:
        raise RefusedError(f"npseg's enlargement is not that of mode {mode}, {coordinates}, {rounding}")


HALF_PIXEL = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
"""Rules that agree for whole factors: pixel i of the result lies at (i + 1/2) / scale - 1/2."""

ROUNDINGS: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda place: ceil(place - 0.5),
    "round_prefer_ceil": lambda place: floor(place + 0.5),
    "floor": floor,
    "ceil": ceil,
}


def _fills_cells(coordinates: str, rounding: str, scales: tuple[int, int]) -> bool:
    """Whether pixel i of the result comes from pixel i // scale; tried where it can go wrong, within the cells."""
    if rounding not in ROUNDINGS or coordinates not in (*HALF_PIXEL, "asymmetric"):
        return False
    for scale in scales:
        for i in range(2 * scale):
            place = i / scale if coordinates == "asymmetric" else (i + 0.5) / scale - 0.5
            if max(ROUNDINGS[rounding](place), 0) != i // scale:
                return False
    return True


# --------------------------------------------------------------------------------------------------- max unpooling


def max_unpool(node: OperatorNode) -> None:
    """MaxUnpool with the indices of a pool of the same network, on a map of that pool's input's size.

    Those indices count from the start of the whole tensor, npseg's from the start of their plane; on maps of one size
    the two name the same pixels. Without an output shape the result is as large as the smallest map that gives this
    one; images of a size that leaves the pool more than that have no sensible result in ONNX.
    """
    x, indices = node.map(axes=(4,)), node.value(1)
    if not isinstance(indices, PoolIndices):
        raise RefusedError("max unpooling needs the indices of a pool of the same network")
    kernel, stride = node.attribute("kernel_shape", [0, 0]), node.attribute("strides", [1, 1])
    pads = node.attribute("pads", [0, 0, 0, 0])
    if node.has(2):
        lengths = lengths_of(node.value(2))
        if lengths is None:
            raise RefusedError("output_shape must be a list of sizes")
        node.result(unpooled(node, Scattered(x, indices, lengths), lengths))
        return
    (source,) = node.network.sources[indices.pool]
    shapes = node.network.shapes[0]
    smallest = tuple((shapes[x.name][1 + a] - 1) * stride[a] + kernel[a] - pads[a] - pads[2 + a] for a in (0, 1))
    if smallest != shapes[source][1:]:
        raise RefusedError("max unpooling to another size than that of the map that was pooled")
    node.result(_unpooled(node, x, indices, Map(source, 4)))


def scatter_elements(node: OperatorNode) -> None:
    """ScatterElements, where it is a part of max unpooling: values put to a pool's indices among zeros."""
    zeros, indices, values = (node.value(place) for place in range(3))
    node.attribute("axis", 0)  # of one
    if (
        not isinstance(zeros, Zeros)
        or not (isinstance(indices, Flat) and isinstance(indices.of, PoolIndices))
        or not (isinstance(values, Flat) and isinstance(values.of, Map))
    ):
        raise RefusedError("npseg puts values back where a pool found its maxima, and nowhere else")
    node.result(Scattered(values.of, indices.of, zeros.shape))


def unpooled(node: OperatorNode, scattered: Scattered, lengths: Lengths) -> Map:
    """The scattered values as a map of these sizes, which must be those of the map that was pooled."""
    x, indices = scattered.values, scattered.indices
    (source,) = node.network.sources[indices.pool]
    shape = node.network.known_shape(Map(source, 4))
    reference = _reference(lengths[2:]) if len(lengths) == 4 else None
    if lengths == scattered.shape and reference is not None and node.network.same_size(reference, Map(source, 4)):
        return _unpooled(node, x, indices, reference)
    if lengths == scattered.shape and shape is not None and lengths[1:] == shape:
        return _unpooled(node, x, indices, Map(source, 4))
    raise RefusedError("max unpooling to another size than that of the map that was pooled")


def _unpooled(node: OperatorNode, x: Map, indices: PoolIndices, reference: Map) -> Map:
    pool = node.network.layer_of(Map(indices.pool, 4))
    assert isinstance(pool, MaxPool2d)
    layer = MaxUnpool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
    return node.layer(layer, x, indices, reference)
