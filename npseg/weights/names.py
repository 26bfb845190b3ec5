"""Other libraries' names for the layers that npseg has.

npseg's own are Caffe's (`conv1_1` ... `fc7`) and those of the authors' FCNs (`score_fr`, `score_pool4`, `score_pool3`,
`upscore2`, `upscore_pool4`, `upscore8`, `upscore16`, `upscore`), which PyTorch's FCNs kept: such files need no map.
"""

from collections.abc import Callable, Mapping
from functools import partial

from npseg import checks
from npseg.models.efficientnet import BLOCKS
from npseg.models.vgg import VGG_DEPTHS

PARAMETERS = ("weight", "bias")
STATISTICS = ("running_mean", "running_var")


def torchvision_vgg(name: str) -> dict[str, str]:
    """torchvision's names of a VGG without batch normalisation to npseg's, those of `npseg.models.vgg_classifier`.

    torchvision numbers the layers of a `Sequential`: `features` counts convolutions, ReLUs and pools; in `classifier`
    0, 3 and 6 are the fully connected ones, between ReLU and dropout.

    Args:
        name: vgg11, vgg13, vgg16 or vgg19.

    Raises:
        TypeError, ValueError: another name.

    Source: `torchvision/models/vgg.py`.

    >>> names = torchvision_vgg("vgg16")
    >>> names["features.0.weight"], names["features.28.bias"], names["classifier.0.weight"]
    ('conv1_1.weight', 'conv5_3.bias', 'fc6.weight')
    """
    layers, position = {}, 0
    for stage, depth in enumerate(VGG_DEPTHS[checks.choice(name, "name", tuple(VGG_DEPTHS))], start=1):
        for number in range(1, depth + 1):
            layers[f"features.{position}"] = f"conv{stage}_{number}"
            position += 2
        position += 1
    layers |= {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
    return {f"{theirs}.{key}": f"{ours}.{key}" for theirs, ours in layers.items() for key in PARAMETERS}


def torchvision_alexnet() -> dict[str, str]:
    """torchvision's names of AlexNet to those of `npseg.models.alexnet`.

    Source: `torchvision/models/alexnet.py`.

    >>> torchvision_alexnet()["features.3.weight"], torchvision_alexnet()["classifier.6.bias"]
    ('conv2.weight', 'fc8.bias')
    """
    convolutions = {f"features.{position}": f"conv{n}" for n, position in enumerate((0, 3, 6, 8, 10), start=1)}
    layers = convolutions | {"classifier.1": "fc6", "classifier.4": "fc7", "classifier.6": "fc8"}
    return {f"{theirs}.{key}": f"{ours}.{key}" for theirs, ours in layers.items() for key in PARAMETERS}


def efficientnet_lite0() -> dict[str, str]:
    """The names of PyTorch's EfficientNets to those of `npseg.models.efficientnet_lite0`.

    They number the blocks from 0, and in each the batch norms: 0 after the expansion, 1 after the depthwise
    convolution, 2 after the projection. The first block expands nothing.

    Source: the package `efficientnet-lite-pytorch`, which follows `efficientnet-pytorch`.

    >>> names = efficientnet_lite0()
    >>> names["_blocks.4._bn1.running_mean"], names["_conv_head.weight"], names["_fc.bias"]
    ('block4_2/depthwise/bn.running_mean', 'head.weight', 'fc.bias')
    """
    convolutions = {("_conv_stem", "_bn0"): "stem", ("_conv_head", "_bn1"): "head"}
    for number, block in enumerate(BLOCKS):
        for place, part in enumerate(("expand", "depthwise", "project")):
            if (number, part) != (0, "expand"):
                convolutions[f"_blocks.{number}._{part}_conv", f"_blocks.{number}._bn{place}"] = f"{block}/{part}"
    names = {f"_fc.{key}": f"fc.{key}" for key in PARAMETERS}
    for (convolution, norm), ours in convolutions.items():
        names[f"{convolution}.weight"] = f"{ours}.weight"
        names |= {f"{norm}.{key}": f"{ours}/bn.{key}" for key in (*PARAMETERS, *STATISTICS)}
    return names


PUBLISHED: Mapping[str, Callable[[], dict[str, str]]] = {
    **{name: partial(torchvision_vgg, name) for name in VGG_DEPTHS},
    "alexnet": torchvision_alexnet,
    "efficientnet-lite0": efficientnet_lite0,
}
"""The names in the published files of the classifiers of `npseg.models.named`; the other classifiers have none here."""
