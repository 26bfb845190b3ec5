"""The networks of the field by name, each with its published sizes and the size of image it was made for."""

from collections.abc import Callable
from functools import partial

from npseg import checks
from npseg.geometry import Size
from npseg.models.backbones import BACKBONES, IMAGENET, IMAGENET_CLASSES, fcn_on
from npseg.models.context import context_module, dilation8
from npseg.models.deeplab import deeplab_largefov, deeplab_pyramid
from npseg.models.fcn import FORMS
from npseg.models.segnet import deconvnet, segnet
from npseg.nn import Graph

VOC_CLASSES = 21
CAMVID_CLASSES = 11

AT_ONCE = "fcn8s-atonce"
FCN_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8, AT_ONCE: 8}

_OTHERS: dict[str, tuple[Callable[..., Graph], int, Size]] = {
    **{name: (backbone.classifier, IMAGENET_CLASSES, backbone.size) for name, backbone in BACKBONES.items()},
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
        backbone: of an FCN: one of `npseg.models.BACKBONES`; None is "vgg16".
        classes: None is 1000 for a classifier, 11 for SegNet, 21 for the others.
        form: of an FCN, "same" or "paper"; None is "paper" where the backbone has that form.

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
        usual = "paper" if BACKBONES[built_on].has_paper_form else "same"
        form = checks.choice(usual if form is None else form, "form", FORMS)
        classes = VOC_CLASSES if classes is None else classes
        return fcn_on(built_on, classes, FCN_STRIDES[name], form=form, at_once=name == AT_ONCE), (500, 500)
    for argument, value in (("backbone", backbone), ("form", form)):
        if value is not None:
            raise ValueError(f"{argument} has a meaning for {tuple(FCN_STRIDES)} alone, got {value!r} for {name!r}")
    build, published, size = _OTHERS[name]
    return build(published if classes is None else classes), size
