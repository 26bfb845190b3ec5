"""Networks by function and by name: the classifiers of the field, and the segmentation networks built on them."""

from npseg.models.alexnet import alexnet, caffenet, caffenet_encoder, fcn_alexnet
from npseg.models.context import context_module, dilation8
from npseg.models.convolutionalise import convolutionalise
from npseg.models.deeplab import deeplab_largefov, deeplab_pyramid
from npseg.models.fcn import fcn, initialise_from
from npseg.models.files import load, save
from npseg.models.googlenet import googlenet
from npseg.models.mobilenet import mobilenet_v1
from npseg.models.named import NAMES, named
from npseg.models.segnet import deconvnet, segnet
from npseg.models.systems import SYSTEMS, Proportions, system
from npseg.models.vgg import vgg, vgg_classifier

__all__ = [
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
    "fcn",
    "fcn_alexnet",
    "googlenet",
    "initialise_from",
    "load",
    "mobilenet_v1",
    "named",
    "save",
    "segnet",
    "system",
    "vgg",
    "vgg_classifier",
]
