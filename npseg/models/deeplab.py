"""DeepLab: dilated ("atrous") convolutions on VGG16, and a bilinear enlargement of their scores.

    LargeFOV   at stride 8; fc6 is one 3x3 convolution of dilation 12
    pyramid    at stride 16; several dilations side by side, and a decoder that takes in the map of stride 4

Both keep a finer map than the classifier's: where a pool no longer subsamples, what follows is dilated, so that its
windows span as much of the image as before. Sources: Chen, Papandreou, Kokkinos, Murphy, Yuille, "Semantic image
segmentation with deep convolutional nets and fully connected CRFs" (2015), section 3, and their released
`DeepLab-LargeFOV`; Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-decoder with atrous separable convolution for
semantic image segmentation" (2018), section 3 (DeepLab v3+, there on Xception).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, activation, chain, convolutional_head
from npseg.models.vgg import VGG16_DEPTHS, VGG16_WIDTHS, convolutions, features, five
from npseg.nn import (
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Crop,
    Dropout,
    EnlargeBilinear,
    GlobalAvgPool2d,
    Graph,
    MaxPool2d,
    Node,
    ReLU,
    ResizeBilinear,
)
from npseg.nn.steps import IMAGE


def deeplab_largefov(
    classes: int = 21,
    widths: Sequence[int] = VGG16_WIDTHS,
    depths: Sequence[int] = VGG16_DEPTHS,
    fc6: int = 1024,
    *,
    rate: int = 12,
    dropout: float = 0.5,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """DeepLab-LargeFOV: VGG16 at stride 8, fc6 a 3x3 convolution of dilation 12 with 1024 channels.

    pool4 and pool5 keep their map's size, so stage 5 is dilated by 2. The scores are enlarged bilinearly, without
    weights; the paper's random field that sharpens them is no part of the network.

    Args:
        classes: channels of the result.
        widths: channels of each of the five stages.
        depths: convolutions of each stage.
        fc6: channels of fc6 and fc7.
        rate: dilation of fc6; 12 suits maps of 41 pixels, smaller maps a smaller one.
        dropout: probability after fc6 and fc7.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from images (N, 3, H, W) to "score", (N, classes, H, W). Sizes 8 n + 1, as the paper's 321, are sampled
        exactly at every 8th pixel.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> deeplab_largefov().shapes((321, 321))["fc8"]
    (21, 41, 41)
    """
    classes, fc6 = checks.integer(classes, "classes", at_least=1), checks.integer(fc6, "fc6", at_least=1)
    rate = checks.integer(rate, "rate", at_least=1)
    widths, depths = five(widths, "widths"), five(depths, "depths")
    layers: list[NamedLayer] = []
    channels = 3
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        layers += convolutions(stage, channels, width, depth, dilation=2 if stage == 5 else 1)
        layers.append((f"pool{stage}", MaxPool2d(3, 2 if stage < 4 else 1, padding=1)))
        channels = width
    layers.append(("pool5a", AvgPool2d(3, 1, padding=1)))
    layers += convolutional_head(channels, fc6, 3, dropout, padding=rate, dilation=rate)
    layers.append(("fc8", Conv2d(fc6, classes, 1)))
    nodes = chain(layers)
    nodes.append(Node("score", ResizeBilinear(align_corners=True), ("fc8", IMAGE)))
    return Graph(nodes, seed=seed, dtype=dtype)


def deeplab_pyramid(
    classes: int = 21,
    widths: Sequence[int] = VGG16_WIDTHS,
    depths: Sequence[int] = VGG16_DEPTHS,
    channels: int = 256,
    *,
    rates: Sequence[int] = (6, 12, 18),
    low_level: int = 48,
    dropout: float = 0.1,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """The atrous spatial pyramid of DeepLab v3+ and its decoder, on VGG16's stages with batch normalisation.

    The pyramid looks at the map of stride 16 through a 1x1 convolution, through 3x3 convolutions of growing dilation,
    and at the image as a whole. All 3x3 convolutions of pyramid and decoder are depthwise separable.

    Args:
        classes, widths, depths, seed, dtype: as in `deeplab_largefov`.
        channels: of each branch of the pyramid, and of the decoder.
        rates: the dilations; 6, 12 and 18 suit maps of 33 pixels, smaller maps smaller ones.
        low_level: channels that pool2's map is reduced to for the decoder.
        dropout: probability after the pyramid.

    Returns:
        A graph from images (N, 3, H, W) to "score", (N, classes, H, W), for any H and W.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> deeplab_pyramid().shapes((513, 513))["concat_projection"]
    (256, 33, 33)
    """
    classes, channels = checks.integer(classes, "classes", at_least=1), checks.integer(channels, "channels", at_least=1)
    low_level = checks.integer(low_level, "low_level", at_least=1)
    dropout = checks.number(dropout, "dropout", at_least=0.0, below=1.0)
    if not isinstance(rates, (tuple, list)):
        raise TypeError(f"rates must be a tuple or list of integers, got {checks.describe(rates)}")
    rates = [checks.integer(rate, f"rates[{place}]", at_least=1) for place, rate in enumerate(rates)]
    nodes = features(widths, depths, batch_norm=True)[:-1]  # pool5 would make the map coarser than stride 16
    encoded, width = nodes[-1].name, widths[-1]

    branches = [_branch(nodes, encoded, _normalised("aspp0", Conv2d(width, channels, 1, bias=False)))]
    branches += [
        _branch(nodes, encoded, _separable(f"aspp{place}", width, channels, rate))
        for place, rate in enumerate(rates, start=1)
    ]
    # Without batch normalisation: one image's mean would be its own, and nothing would remain of it.
    pooled = [("image_mean", GlobalAvgPool2d()), ("image_pooling", Conv2d(width, channels, 1))]
    whole = _branch(nodes, encoded, [*pooled, *activation("_image_pooling")])
    nodes.append(Node("image_level", ResizeBilinear(), (whole, encoded)))
    nodes.append(Node("aspp", Concat(), (*branches, "image_level")))
    projection = _normalised("concat_projection", Conv2d((len(branches) + 1) * channels, channels, 1, bias=False))
    nodes = chain([*projection, ("drop_aspp", Dropout(dropout)), ("up_aspp", EnlargeBilinear(4))], nodes)

    finer = _branch(nodes, "pool2", _normalised("feature_projection", Conv2d(widths[1], low_level, 1, bias=False)))
    nodes.append(Node("up_aspp_c", Crop(), ("up_aspp", finer)))
    nodes.append(Node("decoder", Concat(), ("up_aspp_c", finer)))
    decoder = _separable("decoder_conv0", channels + low_level, channels)
    decoder += _separable("decoder_conv1", channels, channels)
    nodes = chain([*decoder, ("logits", Conv2d(channels, classes, 1)), ("up_logits", EnlargeBilinear(4))], nodes)
    nodes.append(Node("score", Crop(), ("up_logits", IMAGE)))
    return Graph(nodes, seed=seed, dtype=dtype)


def _branch(nodes: list[Node], source: str, layers: Sequence[NamedLayer]) -> str:
    """Append layers that begin at a map further back; the name of the map they lead to."""
    (first, layer), *others = layers
    nodes[:] = chain(others, [*nodes, Node(first, layer, (source,))])
    return nodes[-1].name


def _normalised(name: str, layer: Conv2d) -> list[NamedLayer]:
    """A convolution, its batch normalisation and its ReLU."""
    return [(name, layer), (f"{name}_bn", BatchNorm2d(layer.out_channels)), (f"relu_{name}", ReLU())]


def _separable(name: str, channels: int, width: int, dilation: int = 1) -> list[NamedLayer]:
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution of all."""
    depthwise = Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)
    pointwise = Conv2d(channels, width, 1, bias=False)
    return _normalised(f"{name}_depthwise", depthwise) + _normalised(f"{name}_pointwise", pointwise)
