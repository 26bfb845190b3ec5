"""The networks of the field by name, each with its published sizes and the size of image it was made for."""

from collections.abc import Callable
from functools import partial
from typing import Any

from npseg import checks
from npseg.geometry import Size
from npseg.models.alexnet import alexnet, caffenet, caffenet_encoder
from npseg.models.context import context_module, dilation8
from npseg.models.deeplab import deeplab_largefov, deeplab_pyramid
from npseg.models.fcn import FORMS, fcn
from npseg.models.googlenet import googlenet
from npseg.models.mobilenet import mobilenet_v1
from npseg.models.segnet import deconvnet, segnet
from npseg.models.vgg import VGG16_WIDTHS, VGG_DEPTHS, vgg, vgg_classifier
from npseg.nn import Graph

HIDDEN = 4096
IMAGENET: Size = (224, 224)
IMAGENET_CLASSES = 1000
VOC_CLASSES = 21
CAMVID_CLASSES = 11

BACKBONES: dict[str, Callable[[], Graph]] = {
    **{name: partial(vgg, VGG16_WIDTHS, depths, HIDDEN) for name, depths in VGG_DEPTHS.items()},
    "caffenet": caffenet_encoder,
}
"""What FCNs can be built on."""

AT_ONCE = "fcn8s-atonce"
FCN_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8, AT_ONCE: 8}


def _vgg_classifier(name: str, classes: int) -> Graph:
    return vgg_classifier(VGG16_WIDTHS, VGG_DEPTHS[name], HIDDEN, classes, IMAGENET)


_OTHERS: dict[str, tuple[Callable[[int], Graph], int, Size]] = {
    **{name: (partial(_vgg_classifier, name), IMAGENET_CLASSES, IMAGENET) for name in VGG_DEPTHS},
    "alexnet": (alexnet, IMAGENET_CLASSES, IMAGENET),
    "caffenet": (caffenet, IMAGENET_CLASSES, (227, 227)),
    "googlenet": (googlenet, IMAGENET_CLASSES, IMAGENET),
    "mobilenet-v1": (mobilenet_v1, IMAGENET_CLASSES, IMAGENET),
    "deeplab-largefov": (deeplab_largefov, VOC_CLASSES, (321, 321)),
    "deeplab-pyramid": (deeplab_pyramid, VOC_CLASSES, (513, 513)),
    "segnet": (segnet, CAMVID_CLASSES, (360, 480)),
    "deconvnet": (partial(deconvnet, form="paper"), VOC_CLASSES, IMAGENET),
    "dilation8": (dilation8, VOC_CLASSES, (500, 500)),
    "context": (context_module, VOC_CLASSES, (64, 64)),
    "context-large": (partial(context_module, form="large"), VOC_CLASSES, (64, 64)),
}
"""How each is built from its number of classes, how many it was published with, and for which image."""

NAMES = (*_OTHERS, *FCN_STRIDES)
"""Every name."""


def named(
    name: str, *, backbone: str | None = None, classes: int | None = None, form: str | None = None
) -> tuple[Graph, Size]:
    """A network of the field. Its weights are not allocated before they are used.

    Args:
        name: one of `NAMES`.
        backbone: of an FCN: one of `BACKBONES`; None is "vgg16".
        classes: None is 1000 for a classifier, 11 for SegNet, 21 for the others.
        form: of an FCN, "same" or "paper"; None is "paper".

    Returns:
        The network, and the size of image that it was made for (H, W); FCNs take any, and have the 500 x 500 of the
        paper's timings.

    Raises:
        TypeError, ValueError: there is no such name, backbone or form, or the two last are given for another network
            than an FCN.

    >>> model, size = named("googlenet")
    >>> size, model.shapes(size)["loss3/classifier"]
    ((224, 224), (1000,))
    """
    name = checks.choice(name, "name", NAMES)
    if name in FCN_STRIDES:
        built_on = checks.choice("vgg16" if backbone is None else backbone, "backbone", tuple(BACKBONES))
        form = checks.choice("paper" if form is None else form, "form", FORMS)
        return _fcn(name, built_on, VOC_CLASSES if classes is None else classes, form), (500, 500)
    for argument, value in (("backbone", backbone), ("form", form)):
        if value is not None:
            raise ValueError(f"{argument} has a meaning for {tuple(FCN_STRIDES)} alone, got {value!r} for {name!r}")
    build, published, size = _OTHERS[name]
    return build(published if classes is None else classes), size


def _fcn(name: str, backbone: str, classes: int, form: str) -> Graph:
    """On CaffeNet, which loses pixels at the border, there is only the paper's form, whose upsampler has 63 taps."""
    stride = FCN_STRIDES[name]
    options: dict[str, Any] = {"at_once": name == AT_ONCE}
    if backbone == "caffenet":
        if form != "paper" or stride != 32:
            raise ValueError(f'backbone "caffenet" needs stride 32 and form "paper", got {stride} and {form!r}')
        options["last_kernel_size"] = 63
    return fcn(BACKBONES[backbone](), classes, stride, form=form, **options)
