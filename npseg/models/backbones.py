"""The classifiers that FCNs can be built on: each with the maps for its skips and the pixels it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from npseg import checks
from npseg.geometry import Size
from npseg.models.alexnet import alexnet, caffenet
from npseg.models.convolutionalise import convolutional_nodes
from npseg.models.efficientnet import efficientnet_lite0
from npseg.models.fcn import FORMS, SKIPS, fcn
from npseg.models.googlenet import SKIPS as GOOGLENET_SKIPS
from npseg.models.googlenet import googlenet
from npseg.models.mobilenet import mobilenet_v1
from npseg.models.vgg import VGG16_WIDTHS, VGG_DEPTHS, vgg_classifier
from npseg.nn import BatchNorm2d, Graph

HIDDEN = 4096
IMAGENET: Size = (224, 224)
IMAGENET_CLASSES = 1000

RGB: TypeAlias = tuple[float, float, float]
IMAGENET_PIXELS: tuple[RGB, RGB] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE_PIXELS: tuple[RGB, RGB] = ((127 / 255,) * 3, (128 / 255,) * 3)


@dataclass(frozen=True)
class Backbone:
    """A classifier of the field and what an FCN on it needs to know.

    Attributes:
        classifier: builds it from a number of classes and a `seed`.
        size: of the images that it was made for.
        skips: its maps of stride 16 and 8.
        has_paper_form: whether its maps stay large enough to be cropped; pools that round down lose too many pixels.
        pixels: mean and deviation, on the scale 0 ... 1, by which its published weights expect images to be normalised;
            None where there are no such weights in RGB.
    """

    classifier: Callable[..., Graph]
    size: Size = IMAGENET
    skips: tuple[str, str] = SKIPS
    has_paper_form: bool = True
    pixels: tuple[RGB, RGB] | None = None


def _vgg(name: str) -> Backbone:
    def classifier(classes: int, *, seed: int = 0) -> Graph:
        return vgg_classifier(VGG16_WIDTHS, VGG_DEPTHS[name], HIDDEN, classes, IMAGENET, seed=seed)

    return Backbone(classifier, pixels=IMAGENET_PIXELS)


ALEXNETS_SKIPS = "pool2", "pool1"

BACKBONES: dict[str, Backbone] = {
    **{name: _vgg(name) for name in VGG_DEPTHS},
    "alexnet": Backbone(alexnet, skips=ALEXNETS_SKIPS, has_paper_form=False, pixels=IMAGENET_PIXELS),
    "caffenet": Backbone(caffenet, size=(227, 227), skips=ALEXNETS_SKIPS),
    "googlenet": Backbone(googlenet, skips=GOOGLENET_SKIPS),
    "mobilenet-v1": Backbone(mobilenet_v1, skips=("relu5_5/sep", "relu4_1/sep")),
    "efficientnet-lite0": Backbone(efficientnet_lite0, skips=("block6_3/add", "block4_2/add"), pixels=LITE_PIXELS),
}
"""Every one by name."""


def encoder(name: str, *, seed: int = 0, fixed_statistics: bool = False) -> Graph:
    """A classifier of the field without its scores, fully convolutional: the start of an FCN.

    Args:
        name: one of `BACKBONES`.
        seed: of the initial weights, which are not made before they are used.
        fixed_statistics: whether batch normalisation keeps to its running statistics while training too.

    Returns:
        A graph from images to the last map of stride 32, or, where the classifier has hidden layers, to the last of
        these as a convolution.

    Raises:
        TypeError, ValueError: there is no such name.

    >>> encoder("mobilenet-v1").nodes[-1].name, encoder("vgg16").nodes[-1].name
    ('relu6/sep', 'drop7')
    """
    backbone = BACKBONES[checks.choice(name, "backbone", tuple(BACKBONES))]
    nodes, _ = convolutional_nodes(backbone.classifier(IMAGENET_CLASSES, seed=seed))
    if checks.flag(fixed_statistics, "fixed_statistics"):
        nodes = [
            replace(node, layer=replace(node.layer, fixed=True)) if isinstance(node.layer, BatchNorm2d) else node
            for node in nodes
        ]
    return Graph(nodes[:-1], seed=seed)


def fcn_on(
    name: str,
    classes: int,
    stride: int = 8,
    *,
    form: str = "same",
    train_upsampling: str | None = None,
    at_once: bool = False,
    seed: int = 0,
    fixed_statistics: bool = False,
) -> Graph:
    """An FCN on a classifier of the field, at its own maps of stride 16 and 8.

    Args:
        name, seed, fixed_statistics: as in `encoder`.
        classes, stride, form, train_upsampling, at_once: as in `npseg.models.fcn`.

    Returns:
        A graph from images (N, 3, H, W) to logits (N, classes, H, W).

    Raises:
        TypeError, ValueError: an argument is not of this form, or the maps do not align in the paper's form.

    >>> model = fcn_on("efficientnet-lite0", 11)
    >>> model.shapes((120, 160))["head/relu"], model.shapes((120, 160))["score_block4_2"]
    ((1280, 4, 5), (11, 15, 20))
    """
    start = encoder(name, seed=seed, fixed_statistics=fixed_statistics)
    if checks.choice(form, "form", FORMS) == "paper" and not BACKBONES[name].has_paper_form:
        raise ValueError(f'form must be "same" for the backbone {name!r}, whose pools round down, got {form!r}')
    return fcn(
        start,
        classes,
        stride,
        form=form,
        skips=BACKBONES[name].skips,
        train_upsampling=train_upsampling,
        at_once=at_once,
    )
