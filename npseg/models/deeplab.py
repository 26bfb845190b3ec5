"""Dilated networks: DeepLab-LargeFOV on VGG16, and the context module of Yu and Koltun.

Both keep a fine map instead of upsampling a coarse one: where a pool no longer subsamples, what follows is dilated, so
that its windows span as much of the image as before.

Sources: Chen, Papandreou, Kokkinos, Murphy, Yuille, "Semantic image segmentation with deep convolutional nets and fully
connected CRFs" (2015), section 3 and their released `DeepLab-LargeFOV`; Yu, Koltun, "Multi-scale context aggregation by
dilated convolutions" (2016), section 3 and table 1.
"""

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, activation, chain, convolutional_head
from npseg.models.vgg import VGG16_DEPTHS, VGG16_WIDTHS
from npseg.nn import AvgPool2d, Conv2d, Graph, MaxPool2d, Node, ReLU, ResizeBilinear
from npseg.nn.graph import IMAGE

CONTEXT_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
CONTEXT_NAMES = ("ct_conv1_1", "ct_conv1_2", "ct_conv2_1", "ct_conv3_1", "ct_conv4_1", "ct_conv5_1", "ct_fc1")


def deeplab_largefov(classes: int = 21, *, dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """DeepLab-LargeFOV: VGG16 at stride 8, fc6 a 3x3 convolution of dilation 12 with 1024 channels.

    pool4 and pool5 keep their map's size, so stage 5 is dilated by 2. The scores are enlarged bilinearly, without
    weights; the paper's random field that sharpens them is no part of the network.

    Args:
        classes: channels of the result.
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
    classes = checks.integer(classes, "classes", at_least=1)
    layers: list[NamedLayer] = []
    channels = 3
    for stage, (width, depth) in enumerate(zip(VGG16_WIDTHS, VGG16_DEPTHS, strict=True), start=1):
        dilation = 2 if stage == 5 else 1
        for number in range(1, depth + 1):
            convolution = Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
            layers += [(f"conv{stage}_{number}", convolution), *activation(f"{stage}_{number}")]
            channels = width
        layers.append((f"pool{stage}", MaxPool2d(3, 2 if stage < 4 else 1, padding=1)))
    layers.append(("pool5a", AvgPool2d(3, 1, padding=1)))
    layers += convolutional_head(channels, 1024, 3, dropout, padding=12, dilation=12)
    layers.append(("fc8", Conv2d(1024, classes, 1)))
    nodes = chain(layers)
    nodes.append(Node("score", ResizeBilinear(align_corners=True), ("fc8", IMAGE)))
    return Graph(nodes, seed=seed, dtype=dtype)


def context_module(classes: int = 21, *, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """The basic context module: seven 3x3 convolutions whose dilation doubles, then a 1x1 one; sizes stay as they are.

    Its receptive field grows exponentially with depth while its parameters grow linearly. It takes the score maps of
    another network, so that its "image" has as many channels as there are classes.

    Args:
        classes: channels of every map.
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
    layers: list[NamedLayer] = []
    for name, dilation in zip(CONTEXT_NAMES, CONTEXT_DILATIONS, strict=True):
        layers.append((name, Conv2d(classes, classes, 3, padding=dilation, dilation=dilation)))
        layers.append((name.replace("ct_", "ct_relu_"), ReLU()))
    layers.append(("ct_final", Conv2d(classes, classes, 1)))
    return Graph(chain(layers), input_channels=classes, seed=seed, dtype=dtype)
