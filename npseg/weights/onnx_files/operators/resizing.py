"""Operators that enlarge maps, or resize them to the size of others."""

from collections.abc import Callable
from math import ceil, floor

from npseg.nn import EnlargeBilinear, NearestUnpool2d, ResizeBilinear
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Map, lengths_of, reference_of, whole_numbers


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
    axes = [node.axis(axis, x) for axis in node.attribute("axes", [0, 1, 2, 3])]
    given = _floats(node, 2) if node.has(2) else []
    if given and len(given) != len(axes):
        raise RefusedError(f"scales must be {len(axes)} numbers, one for each axis, got {given}")
    if given:
        by_axis = dict(zip(axes, given, strict=True))
        _enlarge(node, x, mode, [by_axis.get(axis, 1.0) for axis in range(4)], coordinates, rounding)
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
    if not node.keeps_batch_and_channels(x, by_axis.get(0), by_axis.get(1)):
        raise RefusedError("npseg resizes rows and columns alone")
    reference = reference_of((by_axis.get(2, 0), by_axis.get(3, 0)))
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
    if any(scale not in range(1, LARGEST_FACTOR + 1) for scale in scales[2:]):
        raise RefusedError(f"npseg enlarges by whole factors, got {scales[2]:g} and {scales[3]:g}")
    rows, columns = (int(scale) for scale in scales[2:])
    if mode == "nearest" and _fills_cells(coordinates, rounding, (rows, columns)):
        node.result(node.layer(NearestUnpool2d((rows, columns)), x))
    elif mode == "linear" and coordinates in HALF_PIXEL:
        node.result(node.layer(EnlargeBilinear((rows, columns)), x))
    else:
        raise RefusedError(f"npseg's enlargement is not that of mode {mode}, {coordinates}, {rounding}")


LARGEST_FACTOR = 4096

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
