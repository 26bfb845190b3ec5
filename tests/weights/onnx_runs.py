"""What a file computes in ONNX Runtime, and what the checker says of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npseg import models
from npseg.checks import Array
from npseg.geometry import Size, ceil_divide
from npseg.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Flatten, Graph, Layer, Linear, Node
from npseg.nn.layers import Shape
from npseg.nn.steps import IMAGE
from npseg.weights import export_onnx

TOLERANCE = 1e-4


def run(path: Path, x: Array) -> Array:
    """The output for a batch of images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what it cannot do, it says by raising
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"image": x})
    return y


def assert_same_logits(model: Graph, path: Path, sizes: list[tuple[int, int]], **arguments) -> None:
    """Export, check, and compare on images of these sizes, in batches of one and of two."""
    import onnx

    export_onnx(model, path, **arguments)
    onnx.checker.check_model(path, full_check=True)
    for number, size in enumerate(sizes):
        x = image(model, size, batch=1 + number % 2)
        expected, found = model(x), run(path, x)
        assert found.shape == expected.shape
        scale = max(np.abs(expected).max(), 1e-30)
        assert np.abs(found / scale - expected / scale).max() < TOLERANCE, size
        assert scale > 1e-6, "nothing was compared"


def image(model: Graph, size: tuple[int, int], batch: int = 1) -> Array:
    rng = np.random.default_rng(size)
    return rng.standard_normal((batch, model.input_channels, *size)).astype(model.dtype)


LARGE = 10**6
"""Arrays of more numbers are left as they were initialised, which takes seconds already."""


def shaken(model: Graph) -> Graph:
    """The same network, every small parameter and running statistic moved: zeros would hide mistakes."""
    rng = np.random.default_rng(0)
    for name, value in (model.parameters | model.buffers).items():
        if value.size < LARGE:
            spread = 0.3 * value.std() + (0.02 if value.ndim > 1 else 0.1)
            shift = rng.standard_normal(value.shape) * spread
            value += np.abs(shift) if name.endswith("running_var") else shift
    return model


NARROWER = 8


def narrowed(model: Graph, size: Size) -> Graph:
    """The same network, for images of this size, with an eighth of the channels: all else that a file says is kept."""
    shapes: dict[str, Shape] = {IMAGE: (model.input_channels, *size)}
    nodes = []
    for node in model.nodes:
        layer = _narrowed(node.layer, shapes[node.inputs[0]])
        nodes.append(Node(node.name, layer, node.inputs))
        shapes[node.name] = layer.output_shape(*(shapes[name.removesuffix(".indices")] for name in node.inputs))
    return Graph(nodes, input_channels=model.input_channels)


def _narrowed(layer: Layer, shape: Shape) -> Layer:
    """The layer for a map of this shape; a group of one channel stays one, another number of groups is kept."""
    channels = shape[0]
    match layer:
        case Conv2d() | ConvTranspose2d():
            groups = channels if layer.groups == layer.in_channels else layer.groups
            each = 1 if groups == channels else ceil_divide(layer.out_channels, NARROWER * groups)
            return replace(layer, in_channels=channels, out_channels=groups * each, groups=groups)
        case Linear():
            return replace(layer, in_features=channels, out_features=ceil_divide(layer.out_features, NARROWER))
        case BatchNorm2d():
            return replace(layer, channels=channels)
        case Flatten():
            return Flatten((channels, *layer.shape[1:]))
    return layer


def small_networks() -> Iterator[tuple[str, Graph, list[tuple[int, int]], dict[str, Any]]]:
    """Every kind of network of the library, narrow: its name, sizes of images, and how it is exported."""
    five, once, thrice = (2, 3, 4, 5, 6), (1, 1, 1, 1, 1), (1, 1, 2, 2, 2)
    backbone = models.vgg(five, thrice, 7)
    for stride in (32, 16, 8):
        for form in ("same", "paper"):
            yield f"fcn{stride}s-{form}", models.fcn(backbone, 5, stride, form=form), [(45, 70), (64, 33)], {}
    yield "fcn8s-at-once", models.fcn(backbone, 5, 8, form="paper", at_once=True), [(45, 70)], {}
    classifier = models.vgg_classifier(five, once, 7, 8, (64, 96))
    yield "classifier", classifier, [(64, 96)], {"input_size": (64, 96)}
    yield "convolutionalised", models.convolutionalise(classifier), [(75, 110), (64, 96)], {}
    yield "context", models.context_module(4), [(21, 30)], {}
    yield "dilation8", models.dilation8(5, five, once, 7), [(45, 70)], {}
    yield "deeplab-largefov", models.deeplab_largefov(5, five, once, 7), [(45, 70), (33, 57)], {}
    yield "deeplab-pyramid", models.deeplab_pyramid(5, five, once, 8, low_level=4), [(45, 70)], {}
    yield "segnet", models.segnet(5, five, thrice), [(45, 70), (64, 33)], {}
    yield "deconvnet", models.deconvnet(5, five, once, 7), [(45, 70)], {}
    yield "deconvnet-paper", models.deconvnet(5, five, once, 7, form="paper"), [(231, 250)], {}
    yield "mobilenet-v1", models.mobilenet_v1(), [(75, 50)], {}
    yield "googlenet", models.googlenet(), [(75, 94)], {}
    yield "efficientnet-lite0", models.efficientnet_lite0(), [(75, 94)], {}


NETWORKS = {name: rest for name, *rest in small_networks()}
