"""Networks that unpool: each max pool of the encoder is undone by putting values back where it found its maxima.

    SegNet      VGG16's convolutions, then the same in reverse; the encoder hands on nothing but its indices
    DeconvNet   VGG16 with fc6 and fc7 as its narrow middle, then transposed convolutions in reverse

The sharp edges that pooling loses come back with the indices, without a map of the encoder being kept. Every
convolution is followed by batch normalisation, so it has no bias of its own. The layers' names are those of the
authors' Caffe networks. Sources: Badrinarayanan, Kendall, Cipolla, "SegNet: a deep convolutional encoder-decoder
architecture for image segmentation" (2017), section 3; Noh, Hong, Han, "Learning deconvolution network for semantic
segmentation" (2015), section 3 and table 2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, chain
from npseg.models.fcn import FORMS
from npseg.models.vgg import VGG16_DEPTHS, VGG16_WIDTHS, features
from npseg.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Graph, Layer, MaxUnpool2d, Node, ReLU
from npseg.nn.steps import IMAGE

STAGES = (5, 4, 3, 2, 1)
"""In the decoder's order."""


def segnet(
    classes: int = 11,
    widths: Sequence[int] = VGG16_WIDTHS,
    depths: Sequence[int] = VGG16_DEPTHS,
    *,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """SegNet: an encoder of convolutions and max pools, and its mirror image.

    Args:
        classes: channels of the result.
        widths: channels of each of the encoder's five stages.
        depths: convolutions of each stage, in the encoder and in the decoder.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from images (N, 3, H, W) to "conv1_1_D", (N, classes, H, W), for any H and W.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> segnet().shapes((45, 70))["upsample3"]
    (256, 12, 18)
    """
    classes = checks.integer(classes, "classes", at_least=1)
    nodes = features(widths, depths, batch_norm=True)
    for stage in STAGES:
        nodes.append(_unpooling(f"upsample{stage}", stage, nodes[-1].name))
        layers: list[NamedLayer] = []
        for number in range(depths[stage - 1], 0, -1):
            name = f"conv{stage}_{number}_D"
            if (stage, number) == (1, 1):
                layers.append((name, Conv2d(widths[0], classes, 3, padding=1)))
            else:
                width = _width(widths, stage, is_last=number == 1)
                layers += _normalised(
                    (name, f"{name}_bn", f"relu{stage}_{number}_D"),
                    Conv2d(widths[stage - 1], width, 3, padding=1, bias=False),
                    width,
                )
        nodes = chain(layers, nodes)
    return Graph(nodes, seed=seed, dtype=dtype)


def deconvnet(
    classes: int = 21,
    widths: Sequence[int] = VGG16_WIDTHS,
    depths: Sequence[int] = VGG16_DEPTHS,
    fc6: int = 4096,
    *,
    form: str = "same",
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """DeconvNet: VGG16 down to fc7, then transposed convolutions and unpooling back to the image.

    Args:
        classes, widths, depths, seed, dtype: as in `segnet`.
        fc6: channels of fc6 and fc7.
        form: "same" pads fc6 and its transposed convolution, for images of any size; "paper" does not, so that the
            middle of an image of 224 x 224 is one pixel, and images need at least 193 rows and columns.

    Returns:
        A graph from images (N, 3, H, W) to "seg-score", (N, classes, H, W). While it trains, batch normalisation
        needs more than one pixel in the middle, or a batch of more than one image.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> model = deconvnet(form="paper")
    >>> [model.shapes((224, 224))[name] for name in ("fc7", "fc6-deconv", "unpool1")]
    [(4096, 1, 1), (512, 7, 7), (64, 224, 224)]
    """
    classes, fc6 = checks.integer(classes, "classes", at_least=1), checks.integer(fc6, "fc6", at_least=1)
    padding = 3 if checks.choice(form, "form", FORMS) == "same" else 0
    nodes = features(widths, depths, batch_norm=True)
    middle = widths[-1]
    layers = _normalised(("fc6", "bnfc6", "relu6"), Conv2d(middle, fc6, 7, padding=padding, bias=False), fc6)
    layers += _normalised(("fc7", "bnfc7", "relu7"), Conv2d(fc6, fc6, 1, bias=False), fc6)
    layers += _normalised(
        ("fc6-deconv", "fc6-deconv-bn", "fc6-deconv-relu"), _transposed(fc6, middle, 7, padding), middle
    )
    nodes = chain(layers, nodes)
    for stage in STAGES:
        nodes.append(_unpooling(f"unpool{stage}", stage, nodes[-1].name))
        layers = []
        for number in range(1, depths[stage - 1] + 1):
            name = f"{stage}_{number}"
            width = _width(widths, stage, is_last=number == depths[stage - 1])
            layers += _normalised(
                (f"deconv{name}", f"debn{name}", f"derelu{name}"), _transposed(widths[stage - 1], width, 3, 1), width
            )
        nodes = chain(layers, nodes)
    nodes = chain([("seg-score", Conv2d(widths[0], classes, 1))], nodes)
    return Graph(nodes, seed=seed, dtype=dtype)


def _unpooling(name: str, stage: int, source: str) -> Node:
    """The pool of a stage undone: to the image's size, or to that of the pool before, whose indices are kept anyway."""
    reference = IMAGE if stage == 1 else f"pool{stage - 1}.indices"
    return Node(name, MaxUnpool2d(2), (source, f"pool{stage}.indices", reference))


def _width(widths: Sequence[int], stage: int, *, is_last: bool) -> int:
    """Channels after a layer of the decoder: the last of a stage leaves as many as the next stage has."""
    return widths[max(stage - 2, 0)] if is_last else widths[stage - 1]


def _normalised(names: tuple[str, str, str], layer: Layer, width: int) -> list[NamedLayer]:
    """A convolution, its batch normalisation and its ReLU."""
    return list(zip(names, (layer, BatchNorm2d(width), ReLU()), strict=True))


def _transposed(channels: int, width: int, kernel_size: int, padding: int) -> ConvTranspose2d:
    """At stride 1, with weights to be learned: no interpolation."""
    return ConvTranspose2d(channels, width, kernel_size, padding=padding, initialiser="he_normal")
