"""VGG: stacks of 3x3 convolutions between pools, as an FCN's encoder and as a classifier.

    stage s (s = 1 ... 5):  conv{s}_1, relu{s}_1, ..., conv{s}_{depth}, relu{s}_{depth}, pool{s}
    head:                   fc6, relu6, drop6, fc7, relu7, drop7

The names are Caffe's. Source: Simonyan, Zisserman, "Very deep convolutional networks" (2015).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.geometry import Size
from npseg.models.chains import NamedLayer, activation, chain, convolutional_head, dense_head
from npseg.nn import BatchNorm2d, Conv2d, Graph, MaxPool2d, Node

VGG16_WIDTHS = (64, 128, 256, 512, 512)
VGG16_DEPTHS = (2, 2, 3, 3, 3)
VGG_DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": VGG16_DEPTHS,
    "vgg19": (2, 2, 4, 4, 4),
}
"""The paper's configurations A, B, D and E, by the number of layers with weights; all have VGG16's widths."""


def vgg(
    widths: Sequence[int] = VGG16_WIDTHS,
    depths: Sequence[int] = VGG16_DEPTHS,
    fc6: int = 4096,
    *,
    dropout: float = 0.5,
    input_channels: int = 3,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """A fully convolutional VGG up to its last hidden layer, the start of an FCN.

    Args:
        widths: channels of each of the five stages.
        depths: convolutions of each stage.
        fc6: channels of fc6, a 7x7 convolution, and of fc7, a 1x1 convolution.
        dropout: probability after fc6 and fc7.
        input_channels: of the image.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from the image to "drop7", with "pool3" and "pool4" on the way; each pool gives ceil(size / 2).

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> vgg((2, 2, 2, 2, 4), (1, 1, 1, 1, 1), 8).shapes((65, 64))["drop7"]
    (8, 3, 2)
    """
    nodes = features(widths, depths, input_channels)
    channels, fc6 = widths[-1], checks.integer(fc6, "fc6", at_least=1)
    head = convolutional_head(channels, fc6, 7, dropout, padding="same")
    return Graph(chain(head, nodes), input_channels=input_channels, seed=seed, dtype=dtype)


def vgg_classifier(
    widths: Sequence[int],
    depths: Sequence[int],
    fc6: int,
    classes: int,
    input_size: Size,
    *,
    dropout: float = 0.5,
    input_channels: int = 3,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """A VGG that gives one score per class for a whole image, through fully connected layers.

    Args:
        widths, depths, fc6, dropout, input_channels, seed, dtype: as in `vgg`.
        classes: how many scores.
        input_size: (H, W), the only size that the fully connected layers fit.

    Returns:
        A graph from images (N, C, H, W) to "fc8", (N, classes).

    Raises:
        TypeError, ValueError: an argument is not of this form.

    `npseg.models.convolutionalise` turns it into an FCN's start.

    >>> vgg_classifier((2, 2, 2, 2, 4), (1, 1, 1, 1, 1), 8, 10, (64, 64))(np.zeros((1, 3, 64, 64), np.float32)).shape
    (1, 10)
    """
    nodes = features(widths, depths, input_channels)
    fc6, classes = checks.integer(fc6, "fc6", at_least=1), checks.integer(classes, "classes", at_least=1)
    size = checks.size(input_size, "input_size")
    checks.fits_memory((fc6, *size), 4, "input_size", "fc6's weight for each pixel")
    encoder = Graph(nodes, input_channels=input_channels)
    head = dense_head(encoder.shapes(size)["pool5"], fc6, classes, dropout)
    return Graph(chain(head, nodes), input_channels=input_channels, seed=seed, dtype=dtype)


def features(widths: Any, depths: Any, input_channels: int = 3, *, batch_norm: bool = False) -> list[Node]:
    """The five stages, from the image to pool5; each convolution with batch normalisation where it is asked for."""
    widths, depths = five(widths, "widths"), five(depths, "depths")
    layers: list[NamedLayer] = []
    channels = checks.integer(input_channels, "input_channels", at_least=1)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        layers += convolutions(stage, channels, width, depth, batch_norm=batch_norm)
        layers.append((f"pool{stage}", MaxPool2d(2)))
        channels = width
    return chain(layers)


def convolutions(
    stage: int, channels: int, width: int, depth: int, *, dilation: int = 1, batch_norm: bool = False
) -> list[NamedLayer]:
    """A stage's 3x3 convolutions, which keep their map's size."""
    layers: list[NamedLayer] = []
    for number in range(1, depth + 1):
        name = f"{stage}_{number}"
        convolution = Conv2d(channels, width, 3, padding=dilation, dilation=dilation, bias=not batch_norm)
        layers.append((f"conv{name}", convolution))
        if batch_norm:
            layers.append((f"conv{name}_bn", BatchNorm2d(width)))
        layers += activation(name)
        channels = width
    return layers


def five(values: Any, name: str) -> list[int]:
    """One number for each stage."""
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{name} must be a tuple or list of five integers, got {checks.describe(values)}")
    if len(values) != 5:
        raise ValueError(f"{name} must be five integers, one for each stage, got {len(values)}: {values}")
    return [checks.integer(value, f"{name}[{stage}]", at_least=1) for stage, value in enumerate(values)]
