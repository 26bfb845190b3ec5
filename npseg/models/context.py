"""The context module of Yu and Koltun, and the dilated network it was made for.

Convolutions whose dilation doubles from layer to layer see an area that grows exponentially with depth, while the
parameters grow linearly, and no pixel is lost. Source: Yu, Koltun, "Multi-scale context aggregation by dilated
convolutions" (2016), sections 3 and 4, table 1, and their released `dilation8`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, chain, convolutional_head
from npseg.models.vgg import VGG16_DEPTHS, VGG16_WIDTHS, convolutions, five
from npseg.nn import Conv2d, Crop, EnlargeBilinear, Graph, MaxPool2d, Node, ReLU
from npseg.nn.steps import IMAGE

CONTEXT_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
CONTEXT_NAMES = ("ct_conv1_1", "ct_conv1_2", "ct_conv2_1", "ct_conv3_1", "ct_conv4_1", "ct_conv5_1", "ct_fc1")
CONTEXT_WIDTHS = {"basic": (1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32)}
"""Channels of each layer, in multiples of the classes."""


def context_module(classes: int = 21, *, form: str = "basic", seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """The context module: seven 3x3 convolutions whose dilation doubles, then a 1x1 one; sizes stay as they are.

    It takes the score maps of another network, so that its "image" has as many channels as there are classes. Its
    weights begin as identities (`npseg.nn.initialisation.identity`), so that it first hands on what it is given, as far
    as that is not below 0; random ones would have to be learned against the network in front.

    Args:
        classes: channels of input and output.
        form: "basic", in which every map has that many, or "large", in which the maps between have up to 32 times more.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from maps (N, classes, H, W) to "ct_final", of the same shape.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> context_module().shapes((64, 65))["ct_final"]
    (21, 64, 65)
    """
    classes = checks.integer(classes, "classes", at_least=1)
    return Graph(chain(_context(classes, form)), input_channels=classes, seed=seed, dtype=dtype)


def dilation8(
    classes: int = 21,
    widths: Sequence[int] = VGG16_WIDTHS,
    depths: Sequence[int] = VGG16_DEPTHS,
    fc6: int = 4096,
    *,
    rate: int = 4,
    form: str = "basic",
    dropout: float = 0.5,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """VGG16 without its last two pools and dilated instead, its scores through a context module: "dilation 8".

    Without pool4, stage 5 is dilated by 2; without pool5, fc6 by 4.

    Args:
        classes, seed, dtype: as in `context_module`.
        widths: channels of each of the five stages.
        depths: convolutions of each stage.
        fc6: channels of fc6 and fc7.
        rate: dilation of fc6; 4 spans what the classifier's fc6 does, small maps need less.
        form: of the context module.
        dropout: probability after fc6 and fc7.

    Returns:
        A graph from images (N, 3, H, W) to "score", (N, classes, H, W), for any H and W.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> dilation8().shapes((500, 375))["ct_final"]
    (21, 63, 47)
    """
    classes, fc6 = checks.integer(classes, "classes", at_least=1), checks.integer(fc6, "fc6", at_least=1)
    rate = checks.integer(rate, "rate", at_least=1)
    widths, depths = five(widths, "widths"), five(depths, "depths")
    layers: list[NamedLayer] = []
    channels = 3
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        layers += convolutions(stage, channels, width, depth, dilation=2 if stage == 5 else 1)
        if stage < 4:
            layers.append((f"pool{stage}", MaxPool2d(2)))
        channels = width
    layers += convolutional_head(channels, fc6, 7, dropout, padding=3 * rate, dilation=rate)
    layers.append(("fc-final", Conv2d(fc6, classes, 1)))
    layers += [*_context(classes, form), ("upsample", EnlargeBilinear(8))]
    nodes = chain(layers)
    nodes.append(Node("score", Crop(), ("upsample", IMAGE)))
    return Graph(nodes, seed=seed, dtype=dtype)


def _context(classes: int, form: str) -> list[NamedLayer]:
    """The module's layers."""
    widths = CONTEXT_WIDTHS[checks.choice(form, "form", tuple(CONTEXT_WIDTHS))]
    layers: list[NamedLayer] = []
    channels = classes
    for name, dilation, multiple in zip(CONTEXT_NAMES, CONTEXT_DILATIONS, widths, strict=True):
        width = multiple * classes
        convolution = Conv2d(channels, width, 3, padding=dilation, dilation=dilation, initialiser="identity")
        layers += [(name, convolution), (name.replace("ct_", "ct_relu_"), ReLU())]
        channels = width
    return [*layers, ("ct_final", Conv2d(channels, classes, 1, initialiser="identity"))]
