"""How each layer is said in ONNX: one function per layer, and the table that finds it.

A new layer needs its function and its line in `CONVERTERS`; a test walks all layers and fails where one has none.
The operators are described at https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable
from typing import Any

from npseg.geometry import Axis, Padding, convolution_window, parse_padding, transposed_window
from npseg.nn import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Col2Im,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    EnlargeBilinear,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    ReLU,
    ReLU6,
    ResizeBilinear,
    Scale,
    SelectChannels,
    Softmax,
)
from npseg.nn.layers.layer import axes_of_any_size, pair
from npseg.weights.onnx_files.writing import Place

ROWS_AND_COLUMNS = (2, 3)
"""The axes of a map (N, C, H, W) that have a size."""


def conv2d(layer: Conv2d, place: Place) -> str:
    """Conv: a cross-correlation there too."""
    window = _window(layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return place.node("Conv", _weight_and_bias(place), group=layer.groups, **window)


def conv_transpose2d(layer: ConvTranspose2d, place: Place) -> str:
    """ConvTranspose; "same" does not depend on the map's size here, and padding below 0 is output padding."""
    padding, output_padding = layer.padding, pair(layer.output_padding)
    if padding == "same":
        rows, columns = transposed_window(
            layer.kernel_size, (1, 1), stride=layer.stride, padding="same", dilation=layer.dilation
        ).axes
        padding = (rows.before, max(rows.after, 0)), (columns.before, max(columns.after, 0))
        output_padding = max(-rows.after, 0), max(-columns.after, 0)
    window = _window(layer.kernel_size, layer.stride, padding, layer.dilation)
    return place.node(
        "ConvTranspose", _weight_and_bias(place), output_padding=output_padding, group=layer.groups, **window
    )


def linear(layer: Linear, place: Place) -> str:
    """Gemm, the general matrix product: x times the weight's transpose."""
    return place.node("Gemm", _weight_and_bias(place), transB=1)


def batch_norm2d(layer: BatchNorm2d, place: Place) -> str:
    """BatchNormalization by the running statistics."""
    arrays = (place.parameters[name] for name in ("weight", "bias", "running_mean", "running_var"))
    inputs = (*place.inputs, *arrays)
    return place.node("BatchNormalization", inputs, epsilon=layer.eps, momentum=1 - layer.momentum)


def local_response_norm(layer: LocalResponseNorm, place: Place) -> str:
    """LRN, for spans with a middle: of an even one, ONNX puts the odd channel after, npseg before the middle."""
    if layer.size % 2 == 0:
        raise ValueError(f"size must be odd for ONNX, whose even spans lie otherwise, got {layer.size}")
    return place.node("LRN", place.inputs, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)


def relu(layer: ReLU, place: Place) -> str:
    """Relu."""
    return place.node("Relu", place.inputs)


def relu6(layer: ReLU6, place: Place) -> str:
    """Clip to 0 ... 6."""
    return place.node("Clip", [*place.inputs, place.number("low", 0), place.number("high", 6)])


def scale(layer: Scale, place: Place) -> str:
    """Mul by the factor."""
    return place.node("Mul", [*place.inputs, place.number("factor", layer.factor)])


def max_pool2d(layer: MaxPool2d, place: Place) -> str:
    """MaxPool; both drop a last window that would start beyond the image and its first padding."""
    return place.node("MaxPool", place.inputs, *place.by_products.values(), **_pool(layer))


def max_unpool2d(layer: MaxUnpool2d, place: Place) -> str:
    """Values put to their indices in a list of zeros as long as the whole tensor, as ONNX counts a pool's indices.

    ONNX's own MaxUnpool cannot undo a pool that rounds up: it takes no result smaller than full windows make. Where two
    values of a window are equal but for rounding, a runtime may choose the other one, which lies elsewhere.
    """
    x, indices, reference = place.inputs
    batch_and_channels = place.helper("channels", "Shape", [x], end=2)
    size = place.helper("size", "Shape", [reference], start=2, end=4)
    sizes = place.helper("sizes", "Concat", [batch_and_channels, size], axis=0)
    count = place.helper("count", "ReduceProd", [sizes])
    zeros = place.helper("zeros", "ConstantOfShape", [count], value=place.zero())
    flat = place.integers("flat", [-1])
    positions = place.helper("positions", "Reshape", [indices, flat])
    values = place.helper("values", "Reshape", [x, flat])
    put = place.helper("put", "ScatterElements", [zeros, positions, values])
    return place.node("Reshape", [put, sizes])


def avg_pool2d(layer: AvgPool2d, place: Place) -> str:
    """AveragePool."""
    return place.node("AveragePool", place.inputs, count_include_pad=int(layer.count_include_pad), **_pool(layer))


def global_avg_pool2d(layer: GlobalAvgPool2d, place: Place) -> str:
    """GlobalAveragePool."""
    return place.node("GlobalAveragePool", place.inputs)


def dropout(layer: Dropout, place: Place) -> str:
    """Nothing: outside training it passes its input on."""
    return place.inputs[0]


def flatten(layer: Flatten, place: Place) -> str:
    """Flatten, in the order (C, H, W) as well."""
    return place.node("Flatten", place.inputs, axis=1)


def crop(layer: Crop, place: Place) -> str:
    """Slice from the offset to the offset + the reference's size, which is found when the network runs."""
    x, reference = place.inputs
    offset = pair(layer.offset)
    start = place.integers("start", offset)
    end = place.helper("size", "Shape", [reference], start=2, end=4)
    if any(offset):
        end = place.helper("end", "Add", [end, start])
    return place.node("Slice", [x, start, end, place.integers("axes", ROWS_AND_COLUMNS)])


def add(layer: Add, place: Place) -> str:
    """Add."""
    return place.node("Add", place.inputs)


def concat(layer: Concat, place: Place) -> str:
    """Concat along the channels."""
    return place.node("Concat", place.inputs, axis=1)


def enlarge_bilinear(layer: EnlargeBilinear, place: Place) -> str:
    """Resize by the scale."""
    return _enlarged(layer.scale, place, mode="linear", coordinate_transformation_mode="half_pixel")


def nearest_unpool2d(layer: NearestUnpool2d, place: Place) -> str:
    """Resize by the scale: pixel i comes from floor(i / scale)."""
    return _enlarged(
        layer.scale, place, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )


def select_channels(layer: SelectChannels, place: Place) -> str:
    """Slice along the channels."""
    first, end = place.integers("first", [layer.first]), place.integers("end", [layer.first + layer.channels])
    return place.node("Slice", [*place.inputs, first, end, place.integers("axes", [1])])


def col2im(layer: Col2Im, place: Place) -> str:
    """Col2Im, whose columns have three axes."""
    columns = place.helper("columns", "Squeeze", [*place.inputs, place.integers("last", [3])])
    kernel, size = place.integers("kernel", pair(layer.kernel_size)), place.integers("size", layer.size)
    window = convolution_window(
        layer.kernel_size, layer.size, stride=layer.stride, padding=layer.padding, dilation=layer.dilation
    )
    return place.node(
        "Col2Im",
        [columns, size, kernel],
        strides=pair(layer.stride),
        dilations=pair(layer.dilation),
        pads=_pads(window.axes),
    )


def softmax(layer: Softmax, place: Place) -> str:
    """Softmax."""
    return place.node("Softmax", place.inputs, axis=layer.axis)


def log_softmax(layer: LogSoftmax, place: Place) -> str:
    """LogSoftmax."""
    return place.node("LogSoftmax", place.inputs, axis=layer.axis)


def resize_bilinear(layer: ResizeBilinear, place: Place) -> str:
    """Resize to the reference's size, which is found when the network runs."""
    x, reference = place.inputs
    batch_and_channels = place.helper("channels", "Shape", [x], end=2)
    size = place.helper("size", "Shape", [reference], start=2, end=4)
    sizes = place.helper("sizes", "Concat", [batch_and_channels, size], axis=0)
    coordinates = "align_corners" if layer.align_corners else "half_pixel"
    return place.node("Resize", [x, "", "", sizes], mode="linear", coordinate_transformation_mode=coordinates)


Converter = Callable[[Any, Place], str]

CONVERTERS: dict[type[Layer], Converter] = {
    Conv2d: conv2d,
    ConvTranspose2d: conv_transpose2d,
    Linear: linear,
    BatchNorm2d: batch_norm2d,
    LocalResponseNorm: local_response_norm,
    ReLU: relu,
    ReLU6: relu6,
    Scale: scale,
    MaxPool2d: max_pool2d,
    MaxUnpool2d: max_unpool2d,
    AvgPool2d: avg_pool2d,
    GlobalAvgPool2d: global_avg_pool2d,
    Dropout: dropout,
    Flatten: flatten,
    Crop: crop,
    Add: add,
    Concat: concat,
    ResizeBilinear: resize_bilinear,
    EnlargeBilinear: enlarge_bilinear,
    NearestUnpool2d: nearest_unpool2d,
    SelectChannels: select_channels,
    Col2Im: col2im,
    Softmax: softmax,
    LogSoftmax: log_softmax,
}
"""From a layer to the function that writes its nodes and returns the name of the map they make."""


def _weight_and_bias(place: Place) -> list[str]:
    """The layer's inputs, its weight and, where it has one, its bias."""
    return [*place.inputs, *(place.parameters[name] for name in ("weight", "bias") if name in place.parameters)]


def _enlarged(scale: int | tuple[int, int], place: Place, **rule: str) -> str:
    """Resize by whole factors."""
    return place.node("Resize", [*place.inputs, "", place.scales([1, 1, *pair(scale)])], **rule)


def _pool(layer: MaxPool2d | AvgPool2d) -> dict[str, Any]:
    """A pool's window; "same" leaves nothing for ceil mode to round."""
    stride = layer.kernel_size if layer.stride is None else layer.stride
    ceil_mode = layer.ceil_mode and layer.padding != "same"
    dilation = layer.dilation if isinstance(layer, MaxPool2d) else 1
    return {"ceil_mode": int(ceil_mode), **_window(layer.kernel_size, stride, layer.padding, dilation)}


def _window(
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: Padding,
    dilation: int | tuple[int, int] = 1,
) -> dict[str, Any]:
    """The attributes that say where a window looks.

    "same" depends on the map's size where the stride is above 1: ONNX calls it SAME_UPPER, the odd pixel at the end.
    """
    attributes: dict[str, Any] = {"kernel_shape": pair(kernel_size), "strides": pair(stride)}
    if pair(dilation) != (1, 1):
        attributes["dilations"] = pair(dilation)
    if parse_padding(padding) == "same" and pair(stride) != (1, 1):
        if pair(dilation) != (1, 1):
            raise ValueError(
                f'padding must be given in numbers for ONNX where stride and dilation exceed 1, got "same" with '
                f"stride {stride} and dilation {dilation}"
            )
        return attributes | {"auto_pad": "SAME_UPPER"}
    return attributes | {"pads": _pads(axes_of_any_size(kernel_size, stride, padding, dilation))}


def _pads(axes: tuple[Axis, Axis]) -> tuple[int, int, int, int]:
    """The padding as ONNX lists it: top, left, bottom, right."""
    rows, columns = axes
    return rows.before, columns.before, rows.after, columns.after
