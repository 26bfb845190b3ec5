"""Operators with a window: convolutions and pools."""

from typing import Any

from npseg.checks import Array
from npseg.geometry import Sides
from npseg.nn import AvgPool2d, Col2Im, Conv2d, ConvTranspose2d, GlobalAvgPool2d, MaxPool2d
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Map, PoolIndices

Pair = tuple[int, int]


def conv(node: OperatorNode) -> None:
    """Conv, a cross-correlation in both."""
    x, weight, arrays = _convolved(node)
    kernel, stride, dilation = _kernel(node, weight.shape[2:]), pair_of(node, "strides"), pair_of(node, "dilations")
    groups = node.attribute("group", 1)
    layer = Conv2d(
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        kernel_size=kernel,
        stride=stride,
        padding=_padding(node, x, kernel, stride, dilation),
        dilation=dilation,
        groups=groups,
        bias="bias" in arrays,
    )
    _check_channels(node, x, layer.in_channels)
    if groups < 1 or layer.out_channels % groups:
        raise RefusedError(f"group must divide the {layer.out_channels} channels, got {groups}")
    node.result(node.layer(layer, x, arrays=arrays))


def conv_transpose(node: OperatorNode) -> None:
    """ConvTranspose; whatever says how large its result is becomes padding and output padding."""
    x, weight, arrays = _convolved(node)
    kernel, stride, dilation = _kernel(node, weight.shape[2:]), pair_of(node, "strides"), pair_of(node, "dilations")
    groups = node.attribute("group", 1)
    extra = pair_of(node, "output_padding", 0)
    word, wanted = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape", None)
    sides = explicit_padding(node)
    if wanted is not None or word.startswith("SAME"):
        surplus = _surplus(node, x, wanted, kernel, stride, dilation, extra)
        sides = _shared(max(surplus[0], 0), word), _shared(max(surplus[1], 0), word)
        extra = extra[0] + max(-surplus[0], 0), extra[1] + max(-surplus[1], 0)
    elif word not in ("NOTSET", "VALID"):
        raise RefusedError(f"auto_pad {word} is not known")
    if groups < 1 or weight.shape[0] % groups:
        raise RefusedError(f"group must divide the {weight.shape[0]} channels, got {groups}")
    layer = ConvTranspose2d(
        in_channels=weight.shape[0],
        out_channels=weight.shape[1] * groups,
        kernel_size=kernel,
        stride=stride,
        padding=sides,
        output_padding=extra,
        dilation=dilation,
        groups=groups,
        bias="bias" in arrays,
    )
    _check_channels(node, x, layer.in_channels)
    node.result(node.layer(layer, x, arrays=arrays))


def _surplus(
    node: OperatorNode,
    x: Map,
    wanted: list[int] | None,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
    extra: Pair,
) -> Pair:
    """How many rows and columns the stamps make too many: to be cut off, or, below 0, to be appended."""
    size = node.network.known_shape(x)
    if wanted is not None and len(wanted) != 2:
        raise RefusedError(f"output_shape must be two numbers for 2-D maps, got {wanted}")
    if wanted is not None and size is None:
        raise RefusedError("output_shape is known only for images of one size, which the file does not fix")
    surplus = []
    for a in (0, 1):
        extent = dilation[a] * (kernel[a] - 1) + 1
        if wanted is None:
            surplus.append(extent + extra[a] - stride[a])  # the result is to be stride times as large
        else:
            assert size is not None
            surplus.append((size[1 + a] - 1) * stride[a] + extent + extra[a] - wanted[a])
    return surplus[0], surplus[1]


def max_pool(node: OperatorNode) -> None:
    """MaxPool; its second result, the winners' places, is for a MaxUnpool of the same network."""
    x = node.map(axes=(4,))
    options = _pool(node, x)
    node.attribute("storage_order", 0)  # of the winners' places, which are not read but by a MaxUnpool
    pooled = node.layer(MaxPool2d(**options), x)
    node.result(pooled)
    if node.is_used(1):
        node.result(PoolIndices(pooled.name), 1)


def average_pool(node: OperatorNode) -> None:
    """AveragePool."""
    x = node.map(axes=(4,))
    if node.attribute("dilations", [1, 1]) != [1, 1]:
        raise RefusedError("dilated average pooling")
    options = _pool(node, x)
    node.result(node.layer(AvgPool2d(**options, count_include_pad=bool(node.attribute("count_include_pad", 0))), x))


def global_average_pool(node: OperatorNode) -> None:
    """GlobalAveragePool."""
    node.result(node.layer(GlobalAvgPool2d(), node.map(axes=(4,))))


def col2im(node: OperatorNode) -> None:
    """Col2Im."""
    x = node.map(axes=(3,))
    size, kernel = node.numbers("image_shape", 1), node.numbers("block_shape", 2)
    if size is None or kernel is None or len(size) != 2 or len(kernel) != 2:
        raise RefusedError(f"image_shape and block_shape must be two numbers for 2-D maps, got {size} and {kernel}")
    rows, area = node.network.channels_of(x), kernel[0] * kernel[1]
    if area < 1 or rows % area:
        raise RefusedError(f"{rows} rows of columns are no whole number of {kernel[0]} x {kernel[1]} blocks")
    stride, dilation = pair_of(node, "strides"), pair_of(node, "dilations")
    layer = Col2Im((size[0], size[1]), (kernel[0], kernel[1]), stride, explicit_padding(node), dilation)
    node.result(node.layer(layer, x, axes=4))


# ------------------------------------------------------------------------------------------------ where windows lie


def _convolved(node: OperatorNode) -> tuple[Map, Array, dict[str, Array]]:
    """A convolution's map, its weight, and the arrays of its layer."""
    x, weight = node.map(axes=(4,)), node.array(1, "weight")
    if weight.ndim != 4:
        raise RefusedError(f"weight must have 4 axes, got shape {weight.shape}")
    arrays = {"weight": weight}
    if node.has(2):
        arrays["bias"] = node.array(2, "bias")
    return x, weight, arrays


def _check_channels(node: OperatorNode, x: Map, needed: int) -> None:
    if node.network.channels_of(x) != needed:
        raise RefusedError(f"its weight is for {needed} channels, its map has {node.network.channels_of(x)}")


def _kernel(node: OperatorNode, size: tuple[int, ...]) -> Pair:
    """The weight's size, which kernel_shape may repeat."""
    kernel = node.attribute("kernel_shape", list(size))
    if kernel != list(size):
        raise RefusedError(f"kernel_shape must be the weight's size {list(size)}, got {kernel}")
    return kernel[0], kernel[1]


def pair_of(node: OperatorNode, name: str, default: int = 1) -> Pair:
    """An attribute with a number for rows and one for columns."""
    values = node.attribute(name, [default, default])
    if len(values) != 2:
        raise RefusedError(f"{name} must be two numbers for 2-D maps, got {values}")
    return values[0], values[1]


def _pool(node: OperatorNode, x: Map) -> dict[str, Any]:
    """A pool's options; without strides ONNX's windows move by one pixel."""
    kernel, stride, dilation = pair_of(node, "kernel_shape"), pair_of(node, "strides"), pair_of(node, "dilations")
    options = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": _padding(node, x, kernel, stride, dilation),
        "ceil_mode": bool(node.attribute("ceil_mode", 0)),
    }
    return options if dilation == (1, 1) else options | {"dilation": dilation}


def _padding(node: OperatorNode, x: Map, kernel: Pair, stride: Pair, dilation: Pair) -> Sides | str:
    """Padding in numbers, or "same", which is ONNX's SAME_UPPER."""
    word, sides = node.attribute("auto_pad", "NOTSET"), explicit_padding(node)
    if word == "SAME_UPPER":
        return "same"
    if word == "SAME_LOWER":
        return _same_lower(node.network.known_shape(x), kernel, stride, dilation)
    if word not in ("NOTSET", "VALID"):
        raise RefusedError(f"auto_pad {word} is not known")
    return sides if word == "NOTSET" else ((0, 0), (0, 0))


def explicit_padding(node: OperatorNode) -> Sides:
    """pads, which ONNX lists as top, left, bottom, right."""
    pads = node.attribute("pads", [0, 0, 0, 0])
    if len(pads) != 4 or min(pads) < 0:
        raise RefusedError(f"pads must be four numbers of at least 0 for 2-D maps, got {pads}")
    top, left, bottom, right = pads
    return (top, bottom), (left, right)


def _same_lower(shape: tuple[int, ...] | None, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """SAME_UPPER with the odd pixel at the start, in numbers, which at strides above 1 depend on the map's size."""
    if shape is None and stride != (1, 1):
        raise RefusedError("SAME_LOWER at a stride above 1 depends on the image's size, which the file does not fix")
    window = Conv2d(1, 1, kernel, stride, "same", dilation).axes(*([shape] if shape else []))
    rows, columns = window
    return (rows.after, rows.before), (columns.after, columns.before)


def _shared(surplus: int, word: str) -> Pair:
    """A transposed convolution's surplus as padding: the odd pixel after with SAME_UPPER, otherwise before."""
    small, large = surplus // 2, surplus - surplus // 2
    return (small, large) if word == "SAME_UPPER" else (large, small)
