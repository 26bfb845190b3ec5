"""Random calls of every operation: shapes and arguments, as unlike one another as they may be.

Height and width differ, so do most kernels', strides' and paddings' two numbers, and dilation, groups and ceil mode
come together: where everything is square and even, a swapped axis or a lost pixel does not show. An operation without a
drawer of its own is tried on its `EXAMPLES`, with fresh numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npseg.verify.calls import EXAMPLES
from npseg.verify.definitions import padding_sides
from npseg.verify.draw import Draw, Drawn, Shapes


def draw_call(operation: str, draw: Draw) -> Drawn:
    """Shapes and arguments of a call that works."""
    if operation in DRAWERS:
        return DRAWERS[operation](draw)
    example = draw.pick([e for e in EXAMPLES if e.operation == operation and 0 not in _lengths(e.shapes)])
    return dict(example.shapes), dict(example.arguments)


UNUSUAL = 0.2
"""How often a case is of the kind for which the compiled engine has a way of its own."""


def _lengths(shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    return [length for shape in shapes.values() for length in shape]


def _batch(draw: Draw) -> int:
    return draw.integer(1, 2)


def _image(draw: Draw) -> tuple[int, ...]:
    return _batch(draw), draw.integer(5, 20) if draw.large else draw.integer(1, 3), *draw.size()


# ------------------------------------------------------------------------------------------------------ convolutions


def _extent(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def _window(draw: Draw, size: tuple[int, int]) -> tuple[tuple[int, int], dict[str, Any], tuple[int, int]]:
    """A kernel size, stride, padding and dilation of which at least one output fits, and the output's size."""
    while True:
        kernel = draw.pick(((3, 3), (3, 3), (1, 1), (2, 3), (5, 4))) if draw.large else draw.pair(1, 4)
        stride = draw.pick(((1, 1), (1, 1), (2, 2), (2, 1))) if draw.large else draw.pair(1, 3)
        dilation = draw.pair(1, 3, equal=0.5)
        extent = _extent(kernel, dilation)
        padding = draw.padding((min(3, extent[0] // 2), min(3, extent[1] // 2)))
        sides = padding_sides(padding, size, kernel, stride, dilation)
        height, width = (
            (n + sum(side) - e) // s + 1 for n, side, e, s in zip(size, sides, extent, stride, strict=True)
        )
        if min(height, width) >= 1:
            return kernel, {"stride": stride, "padding": padding, "dilation": dilation}, (height, width)


def _channels(draw: Draw) -> tuple[int, int, int]:
    """Groups, channels in and channels out."""
    groups = draw.pick((1, 1, 2)) if draw.large else draw.pick((1, 1, 2, 3))
    most = 24 // groups if draw.large else 3
    return groups, groups * draw.integer(1, most), groups * draw.integer(1, most)


def _with_bias(draw: Draw, shapes: Shapes, channels: int) -> Shapes:
    return {**shapes, "bias": (channels,)} if draw.chance(0.6) else shapes


def _upsampler(draw: Draw) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], dict[str, Any]]:
    """The small map's size, the large one's, the kernel and the rest of what FCNs enlarge with."""
    height, width = draw.pair(2, 4, equal=0)
    window = {"stride": (8, 8), "padding": 4, "dilation": (1, 1)}
    return (height, width), (8 * height, 8 * width), (16, 16), window


def _conv2d(draw: Draw) -> Drawn:
    groups, channels, out_channels = _channels(draw)
    size = draw.size()
    kernel, arguments, _ = _window(draw, size)
    if draw.chance(UNUSUAL):
        _, size, kernel, arguments = _upsampler(draw)
    shapes: Shapes = {"x": (_batch(draw), channels, *size), "weight": (out_channels, channels // groups, *kernel)}
    return _with_bias(draw, shapes, out_channels), {**arguments, "groups": groups}


def _conv2d_grad_input(draw: Draw) -> Drawn:
    groups, channels, out_channels = _channels(draw)
    size = draw.size()
    kernel, arguments, output = _window(draw, size)
    if draw.chance(UNUSUAL):
        output, size, kernel, arguments = _upsampler(draw)
    shapes: Shapes = {
        "grad": (_batch(draw), out_channels, *output),
        "weight": (out_channels, channels // groups, *kernel),
    }
    return shapes, {"input_size": size, **arguments, "groups": groups}


def _conv2d_grad_weight(draw: Draw) -> Drawn:
    groups, channels, out_channels = _channels(draw)
    size, batch = draw.size(), _batch(draw)
    kernel, arguments, output = _window(draw, size)
    shapes: Shapes = {"grad": (batch, out_channels, *output), "x": (batch, channels, *size)}
    return shapes, {"kernel_size": kernel, **arguments, "groups": groups}


def _depthwise_conv2d(draw: Draw) -> Drawn:
    x = _image(draw)
    kernel, arguments, _ = _window(draw, (x[2], x[3]))
    channels = x[1] * draw.integer(1, 3)
    return _with_bias(draw, {"x": x, "weight": (channels, 1, *kernel)}, channels), arguments


def _separable_conv2d(draw: Draw) -> Drawn:
    x = _image(draw)
    kernel, arguments, _ = _window(draw, (x[2], x[3]))
    channels, out_channels = x[1] * draw.integer(1, 2), draw.integer(1, 4)
    shapes = {"x": x, "depthwise_weight": (channels, 1, *kernel), "pointwise_weight": (out_channels, channels, 1, 1)}
    return _with_bias(draw, shapes, out_channels), arguments


def _conv_transpose2d(draw: Draw) -> Drawn:
    groups, channels, out_channels = _channels(draw)
    while True:
        size = draw.size(2, 5)
        kernel, stride, dilation = draw.pair(1, 4), draw.pair(1, 3), draw.pair(1, 2, equal=0.6)
        extent = _extent(kernel, dilation)
        padding = draw.padding((extent[0] // 2, extent[1] // 2))
        extra = (0, 0)
        if padding != "same":
            extra = (
                draw.integer(0, max(stride[0], dilation[0]) - 1),
                draw.integer(0, max(stride[1], dilation[1]) - 1),
            )
        sides = ((0, 0), (0, 0)) if padding == "same" else padding_sides(padding, None, None, None, None)
        outputs = [
            (n - 1) * s + e - sum(side) + p for n, s, e, side, p in zip(size, stride, extent, sides, extra, strict=True)
        ]
        if min(outputs) >= 1:
            break
    arguments = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
    if draw.chance(UNUSUAL):
        size, _, kernel, arguments = _upsampler(draw)
        arguments["output_padding"] = (0, 0)
    shapes: Shapes = {"x": (_batch(draw), channels, *size), "weight": (channels, out_channels // groups, *kernel)}
    return _with_bias(draw, shapes, out_channels), {**arguments, "groups": groups}


def _im2col(draw: Draw) -> Drawn:
    x = _image(draw)
    kernel, arguments, _ = _window(draw, (x[2], x[3]))
    return {"x": x}, {"kernel_size": kernel, **arguments}


def _col2im(draw: Draw) -> Drawn:
    batch, channels, *size = _image(draw)
    kernel, arguments, output = _window(draw, (size[0], size[1]))
    columns = batch, channels * math.prod(kernel), math.prod(output)
    return {"columns": columns}, {"input_size": tuple(size), "kernel_size": kernel, **arguments}


def _deconvolve2d(draw: Draw) -> Drawn:
    while True:
        size, kernel = draw.pair(2, 5, equal=0), draw.pair(1, 3)
        stride, dilation = draw.pair(1, 2), draw.pair(1, 2)
        extent = _extent(kernel, dilation)
        padding = draw.padding((extent[0] // 2, extent[1] // 2))
        sides = ((0, 0), (0, 0)) if padding == "same" else padding_sides(padding, None, None, None, None)
        pixels = [(n - 1) * s + e - sum(side) for n, s, e, side in zip(size, stride, extent, sides, strict=True)]
        if min(pixels) >= 1:
            break
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    if draw.chance(0.5):
        arguments["regularization"] = draw.pick((0.1, 1.0))
    return {"y": size, "kernel": kernel}, arguments


# ------------------------------------------------------------------------------------------- pooling and unpooling


def _usual_pool(draw: Draw) -> Drawn | None:
    """Now and then the pool of most networks, for which the compiled engine has a way of its own."""
    if not draw.chance(UNUSUAL):
        return None
    return {"x": _wide_image(draw)}, {"kernel_size": 2, "ceil_mode": draw.chance(0.3)}


def _wide_image(draw: Draw) -> tuple[int, ...]:
    """One whose rows, halved too, are longer than a vector."""
    return *_image(draw)[:3], draw.integer(33, 42)


def _pool(draw: Draw, kernel: tuple[int, int]) -> dict[str, Any]:
    """What max and average pooling share; padding of at most half a kernel leaves each window a real pixel."""
    arguments: dict[str, Any] = {"kernel_size": kernel, "padding": draw.padding((kernel[0] // 2, kernel[1] // 2))}
    if draw.chance(0.75):
        arguments["stride"] = draw.pair(1, 3)
    return arguments


def _fits(size: Sequence[int], extent: Sequence[int]) -> bool:
    return all(n >= e for n, e in zip(size, extent, strict=True))


def _max_pool2d(draw: Draw) -> Drawn:
    if usual := _usual_pool(draw):
        return usual
    while True:
        x, kernel, dilation = _image(draw), draw.pair(1, 4), draw.pair(1, 2, equal=0.7)
        if _fits(x[2:], _extent(kernel, dilation)):
            return {"x": x}, {**_pool(draw, kernel), "dilation": dilation, "ceil_mode": draw.chance(0.5)}


def _avg_pool2d(draw: Draw) -> Drawn:
    if draw.exact:  # counts that are powers of two: nothing is rounded
        x, kernel = _image(draw), (draw.pick((1, 2)), draw.pick((1, 2)))
        return {"x": x}, _pool(draw, kernel)
    if usual := _usual_pool(draw):
        return usual
    while True:
        x, kernel = _image(draw), draw.pair(1, 4)
        if _fits(x[2:], kernel):
            modes = {"ceil_mode": draw.chance(0.5), "count_include_pad": draw.chance(0.5)}
            return {"x": x}, {**_pool(draw, kernel), **modes}


def _global_avg_pool2d(draw: Draw) -> Drawn:
    if draw.exact:
        return {"x": (_batch(draw), draw.integer(1, 3), draw.pick((2, 4)), draw.pick((1, 8)))}, {}
    return {"x": _image(draw)}, {}


def _max_unpool2d(draw: Draw) -> Drawn:
    """Places without repetition, as pooling without overlap finds them, but anywhere."""
    batch, channels, *size = _image(draw)
    output = size[0] + draw.integer(0, size[0]), size[1] + draw.integer(1, size[1])
    places = [draw.rng.permutation(math.prod(output))[: math.prod(size)] for _ in range(batch * channels)]
    indices = np.array(places, np.int64).reshape(batch, channels, *size)
    return {"x": (batch, channels, *size)}, {"indices": indices, "output_size": output}


def _enlarged(draw: Draw) -> Drawn:
    if draw.chance(UNUSUAL):
        return {"x": _wide_image(draw)}, {"scale": 2}
    return {"x": _image(draw)}, {"scale": draw.pair(1, 3, equal=0.1)}


def _resize_bilinear(draw: Draw) -> Drawn:
    x = _image(draw)
    if draw.exact:  # positions in quarters of a pixel
        return {"x": x}, {"output_size": (x[2] * draw.pick((1, 2)), x[3] * draw.pick((2, 4)))}
    if draw.large:
        return {"x": x}, {"output_size": draw.pair(10, 50, equal=0), "align_corners": draw.chance(0.5)}
    return {"x": x}, {"output_size": draw.pair(1, 12, equal=0), "align_corners": draw.chance(0.5)}


def _crop2d(draw: Draw) -> Drawn:
    x = _image(draw)
    size = draw.integer(1, x[2]), draw.integer(1, x[3])
    return {"x": x}, {"size": size, "offset": (draw.integer(0, x[2] - size[0]), draw.integer(0, x[3] - size[1]))}


# ------------------------------------------------------------------------- elementwise, normalisation, classification


def _of_any_shape(draw: Draw) -> Drawn:
    if draw.large:
        return {"x": _image(draw)}, {}
    return {"x": tuple(draw.integer(2, 5) for _ in range(draw.integer(1, 4)))}, {}


def _dropout(draw: Draw) -> Drawn:
    seed, p = draw.integer(0, 2**31), draw.pick((0.5, 0.75)) if draw.exact else draw.rng.random() * 0.8
    return {"x": _image(draw)}, {"p": p, "rng": np.random.default_rng(seed)}


def _linear(draw: Draw) -> Drawn:
    batch, features, outputs = draw.integer(2, 4), draw.integer(1, 7), draw.integer(1, 5)
    return _with_bias(draw, {"x": (batch, features), "weight": (outputs, features)}, outputs), {}


def _batch_norm2d(draw: Draw) -> Drawn:
    x = _batch(draw), draw.integer(1, 4), *draw.size()
    arguments = {
        "running_mean": draw.rng.standard_normal(x[1]).astype(draw.dtype),
        "running_var": draw.rng.uniform(0.5, 2, x[1]).astype(draw.dtype),
        "training": draw.chance(0.6),
        "momentum": float(draw.rng.uniform(0.1, 0.9)),
        "eps": draw.pick((2.0**-17, 2.0**-10, 0.125)),
    }
    return {"x": x, "gamma": (x[1],), "beta": (x[1],)}, arguments


def _local_response_norm(draw: Draw) -> Drawn:
    x = _batch(draw), draw.integer(2, 6), *draw.size()
    return {"x": x}, {"size": draw.integer(1, 5), **{key: float(draw.rng.uniform(0.5, 1.5)) for key in _LRN}}


_LRN = ("alpha", "beta", "k")


def _scores(draw: Draw) -> tuple[int, ...]:
    batch, _, *size = _image(draw)
    return batch, draw.integer(2, 6), *size


def _softmax(draw: Draw) -> Drawn:
    return {"x": _scores(draw)}, {"axis": draw.pick((1, 1, -1))}


def _segmentation_map(draw: Draw) -> Drawn:
    return {"logits": _scores(draw)}, {}


def _cross_entropy2d(draw: Draw) -> Drawn:
    batch, classes, *size = _scores(draw)
    ignore_index = draw.pick((255, 255, 0))
    labels = draw.rng.integers(0, classes, (batch, *size))
    labels[draw.rng.random(labels.shape) < 0.25] = ignore_index
    arguments = {
        "labels": labels.astype(draw.pick((np.uint8, np.int32, np.int64))),
        "ignore_index": ignore_index,
        "class_weight": draw.rng.uniform(0, 2, classes).astype(draw.dtype) if draw.chance(0.5) else None,
        "reduction": draw.pick(("mean", "mean", "sum", "none")),
    }
    return {"logits": (batch, classes, *size)}, arguments


DRAWERS: dict[str, Callable[[Draw], Drawn]] = {
    "avg_pool2d": _avg_pool2d,
    "batch_norm2d": _batch_norm2d,
    "bed_of_nails_unpool2d": _enlarged,
    "col2im": _col2im,
    "conv2d": _conv2d,
    "conv2d_grad_input": _conv2d_grad_input,
    "conv2d_grad_weight": _conv2d_grad_weight,
    "conv_transpose2d": _conv_transpose2d,
    "crop2d": _crop2d,
    "cross_entropy2d": _cross_entropy2d,
    "deconvolve2d": _deconvolve2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "dropout": _dropout,
    "global_avg_pool2d": _global_avg_pool2d,
    "im2col": _im2col,
    "linear": _linear,
    "local_response_norm": _local_response_norm,
    "log_softmax": _softmax,
    "max_pool2d": _max_pool2d,
    "max_unpool2d": _max_unpool2d,
    "nearest_unpool2d": _enlarged,
    "relu": _of_any_shape,
    "relu6": _of_any_shape,
    "resize_bilinear": _resize_bilinear,
    "segmentation_map": _segmentation_map,
    "separable_conv2d": _separable_conv2d,
    "softmax": _softmax,
}
