"""FCN's crops explained: where every map lies on the image, and the one offset at which two maps meet.

Pixel i of a map lies at x = a i + b on the image. The source is Long, Shelhamer, Darrell (2015) and the coordinate maps
of their released code; `npseg.geometry.AffineMap` does the arithmetic that is written out here.
"""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from npseg import checks
from npseg.geometry import AXIS_NAMES, AffineMap, Axis, Size
from npseg.nn import Conv2d, ConvTranspose2d, Crop, Graph, Node
from npseg.nn.layers import Shape

INPUT_RANGE = (1, 500)
LARGEST_PADDING, LARGEST_SIZE = 1000, 100_000

RULES = """\
Pixel i of a map lies at x = a i + b on the image, in pixels of the image.
  convolution, pool:        b := b + a (d (k - 1) / 2 - p), then a := a s
  transposed convolution:   a := a / s, then b := b - a (d (k - 1) / 2 - p)
  crop by c pixels:         b := b + a c
k kernel size, s stride, p padding at the start, d dilation. Layers that change neither a nor b are left out."""


def explain_crops(model: Graph, input_size: Size, *, input_range: tuple[int, int] = INPUT_RANGE) -> str:
    """Why a network crops where it does: step by step, with its own numbers.

    Args:
        model: a network with `Crop` layers, such as an FCN.
        input_size: (H, W) of an image, for the sizes of the maps.
        input_range: the smallest and largest height (or width) for which a padding of the first convolution must
            suffice.

    Returns:
        Lines of text: the coordinates of every map down to each crop, the offset that follows, what another would do,
        and which padding of the first convolution suffices.

    Raises:
        TypeError, ValueError: an argument is not of this form, or the network crops nowhere.

    >>> from npseg.models import fcn_alexnet
    >>> print(explain_crops(fcn_alexnet(), (500, 500)).splitlines()[-6])
      (0 - (-18)) / 1 = 18 pixels.
    """
    checks.instance(model, "model", Graph)
    if not any(isinstance(node.layer, Crop) for node in model.nodes):
        raise ValueError(f"model must crop a map, got layers {sorted({type(n.layer).__name__ for n in model.nodes})}")
    input_size, input_range = checks.size(input_size, "input_size"), _range(input_range)

    shapes, coordinates = model.shapes(input_size), model.coordinates(input_size)
    alike = all(rows == columns for rows, columns in coordinates.values())
    lines = [RULES]
    for axis in (0,) if alike else (0, 1):
        lines += ["", f"Along the {AXIS_NAMES[axis]}{' (along the width it is the same)' if alike else ''}:"]
        lines += _steps(model, shapes, {name: maps[axis] for name, maps in coordinates.items()}, axis)
    return "\n".join([*lines, "", *_padding(model, input_range)])


# --------------------------------------------------------------------------------------------------- step by step


def _steps(model: Graph, shapes: dict[str, Shape], maps: dict[str, AffineMap], axis: int) -> list[str]:
    """One line for each layer that moves the pixels, and a paragraph for each crop."""
    names = [node.name for node in model.nodes]
    width = max(len(name) for name in names)
    lines = [f"  {'image'.ljust(width)}  a = 1, b = 0"]
    for node in model.nodes:
        before, after = maps[node.inputs[0]], maps[node.name]
        if isinstance(node.layer, Crop):
            lines += ["", *_crop(node, shapes, maps, axis), ""]
        elif before != after:
            axes = node.layer.axes(*(shapes[name] for name in node.inputs))
            assert axes is not None
            move = _move(before, axes[axis], transposed=isinstance(node.layer, ConvTranspose2d))
            lines.append(f"  {node.name.ljust(width)}  {_window(axes[axis]):18}  {move}")
    return lines[:-1] if lines[-1] == "" else lines


def _window(axis: Axis) -> str:
    parts = [f"k {axis.kernel_size}", f"s {axis.stride}", f"p {axis.before}"]
    return ", ".join(parts + [f"d {axis.dilation}"] * (axis.dilation > 1))


def _move(before: AffineMap, axis: Axis, *, transposed: bool) -> str:
    """The rule with its numbers."""
    middle = f"{_number(Fraction(axis.extent - 1, 2))} - {axis.before}"
    a, b = _number(before.scale), _number(before.offset)
    if transposed:
        after = before.back_through(axis)
        scale = _number(after.scale)
        return f"a = {a} / {axis.stride} = {scale}, b = {b} - {scale} ({middle}) = {_number(after.offset)}"
    after = before.through(axis)
    return f"b = {b} + {a} ({middle}) = {_number(after.offset)}, a = {a} * {axis.stride} = {_number(after.scale)}"


def _crop(node: Node, shapes: dict[str, Shape], maps: dict[str, AffineMap], axis: int) -> list[str]:
    """Why this offset and no other."""
    assert isinstance(node.layer, Crop)
    source, reference = node.inputs
    offset = checks.pair(node.layer.offset, "offset", at_least=0)[axis]
    a, here, there = maps[source].scale, maps[source].offset, maps[reference].offset
    whole, kept = shapes[source][1 + axis], shapes[reference][1 + axis]
    lines = [
        f"  {node.name}: cut {source} ({whole} pixels) to {reference} ({kept} pixels); a = {_number(a)} for both.",
        f"  Pixel 0 of {source} lies at {_number(here)}, pixel 0 of {reference} at {_number(there)}: cut off",
        f"  ({_number(there)} - {_bracketed(here)}) / {_number(a)} = {_number((there - here) / a)} pixels.",
    ]
    if whole > kept:
        lines.append(
            f"  Offsets 0 ... {whole - kept} fit, but c puts the maps {_number(a)} (c - {offset}) pixels of the image "
            f"apart: only {offset} aligns them."
        )
    return lines


# ---------------------------------------------------------------------------------------- which padding suffices


def least_padding(model: Graph, input_range: tuple[int, int] = INPUT_RANGE) -> int:
    """The least padding of the first convolution with which every map is large enough for its aligned crop.

    Args:
        model: a network with `Crop` layers.
        input_range: the smallest and largest height (or width) that must work.

    Returns:
        The padding, on all sides, along height and width alike.

    Raises:
        TypeError, ValueError: an argument is not of this form; no padding up to 1000 suffices.
    """
    checks.instance(model, "model", Graph)
    input_range = _range(input_range)
    for padding in range(LARGEST_PADDING + 1):
        if _suffices(model, padding, range(input_range[0], input_range[1] + 1)):
            return padding
    name, _ = _first_convolution(model)
    raise ValueError(f"model must fit images of {input_range} with a padding of {name} up to {LARGEST_PADDING}")


def _range(input_range: tuple[int, int]) -> tuple[int, int]:
    """From the smallest size to the largest."""
    smallest, largest = checks.size(input_range, "input_range")
    if smallest > largest:
        raise ValueError(f"input_range must run from the smallest size to the largest, got {input_range}")
    if largest > LARGEST_SIZE:
        raise ValueError(f"input_range must end at {LARGEST_SIZE} or before: each size is tried, got {input_range}")
    return smallest, largest


def _padding(model: Graph, input_range: tuple[int, int]) -> list[str]:
    """How the first convolution's padding moves each crop, and which is enough."""
    name, convolution = _first_convolution(model)
    declared = convolution.padding
    if not isinstance(declared, int):
        return [f"The padding of {name} is {declared}, not one number."]
    lines = [f"What the padding of {name}, {declared}, has to do with it:"]
    more = _repadded(model, declared + 1)
    for node in model.nodes:
        if isinstance(node.layer, Crop):
            offset, moved = node.layer.offset, more.node(node.name).layer
            assert isinstance(moved, Crop)
            if moved.offset == offset:
                lines.append(f"  {node.name}: nothing, both maps move alike; {offset} for any padding and any image.")
            elif isinstance(offset, int):
                lines.append(
                    f"  {node.name}: offset = padding - {declared - offset}, for any image; with less padding the "
                    "image's first pixels have no score."
                )
    least = least_padding(model, input_range)
    lines.append(
        f"  The least padding that suffices for images of {input_range[0]} ... {input_range[1]} pixels is {least}."
    )
    return lines


def _first_convolution(model: Graph) -> tuple[str, Conv2d]:
    for node in model.nodes:
        if isinstance(node.layer, Conv2d):
            return node.name, node.layer
    raise ValueError("model must have a convolution, whose padding can be changed")


def _suffices(model: Graph, padding: int, sizes: Iterable[int]) -> bool:
    """Whether every aligned crop lies inside its map, for all these sizes."""
    try:
        repadded = _repadded(model, padding)
        for size in sizes:
            repadded.shapes((size, size))
    except ValueError:  # no whole offset aligns, a crop reaches outside, or a window fits nowhere
        return False
    return True


def _repadded(model: Graph, padding: int) -> Graph:
    """The same network with another padding of its first convolution, and the crops that align then."""
    first, convolution = _first_convolution(model)
    nodes: list[Node] = []
    for node in model.nodes:
        layer = node.layer
        if node.name == first:
            layer = replace(convolution, padding=padding)
        elif isinstance(layer, Crop):
            maps = Graph(nodes, input_channels=model.input_channels).coordinates()
            source, reference = (maps[name] for name in node.inputs)
            rows, columns = (a.crop_to(b) for a, b in zip(source, reference, strict=True))
            layer = Crop(rows if rows == columns else (rows, columns))
        nodes.append(replace(node, layer=layer))
    return Graph(nodes, input_channels=model.input_channels)


def _number(value: Fraction) -> str:
    return f"{float(value):g}"


def _bracketed(value: Fraction) -> str:
    return f"({_number(value)})" if value < 0 else _number(value)
