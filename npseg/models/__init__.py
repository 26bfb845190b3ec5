"""Networks by function and by name: the classifiers of the field, and the segmentation networks built on them."""

from npseg.models.alexnet import alexnet, caffenet, caffenet_encoder, fcn_alexnet
from npseg.models.backbones import BACKBONES, encoder, fcn_on
from npseg.models.context import context_module, dilation8
from npseg.models.convolutionalise import convolutionalise, is_classifier
from npseg.models.deeplab import deeplab_largefov, deeplab_pyramid
from npseg.models.efficientnet import efficientnet_lite0
from npseg.models.fcn import fcn, initialise_from
from npseg.models.files import load, save
from npseg.models.googlenet import fcn_googlenet, googlenet, googlenet_encoder
from npseg.models.mobilenet import mobilenet_v1
from npseg.models.named import NAMES, named
from npseg.models.segnet import deconvnet, segnet
from npseg.models.systems import SYSTEMS, Proportions, system
from npseg.models.vgg import vgg, vgg_classifier

__all__ = [
    "BACKBONES",
    "NAMES",
    "SYSTEMS",
    "Proportions",
    "alexnet",
    "caffenet",
    "caffenet_encoder",
    "context_module",
    "convolutionalise",
    "deconvnet",
    "deeplab_largefov",
    "deeplab_pyramid",
    "dilation8",
    "efficientnet_lite0",
    "encoder",
    "fcn",
    "fcn_alexnet",
    "fcn_googlenet",
    "fcn_on",
    "googlenet",
    "googlenet_encoder",
    "initialise_from",
    "is_classifier",
    "load",
    "mobilenet_v1",
    "named",
    "save",
    "segnet",
    "system",
    "vgg",
    "vgg_classifier",
]
