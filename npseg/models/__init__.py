"""Networks by function and by name: the classifiers of the field, and the segmentation networks built on them."""

from npseg.models.alexnet import alexnet, caffenet, caffenet_encoder, fcn_alexnet
from npseg.models.backbones import BACKBONES, encoder, fcn_on
from npseg.models.convolutionalise import convolutionalise
from npseg.models.deeplab import context_module, deeplab_largefov
from npseg.models.efficientnet import efficientnet_lite0
from npseg.models.fcn import fcn, initialise_from
from npseg.models.files import load, save
from npseg.models.googlenet import googlenet
from npseg.models.mobilenet import mobilenet_v1
from npseg.models.named import NAMES, named
from npseg.models.vgg import vgg, vgg_classifier

__all__ = [
    "BACKBONES",
    "NAMES",
    "alexnet",
    "caffenet",
    "caffenet_encoder",
    "context_module",
    "convolutionalise",
    "deeplab_largefov",
    "efficientnet_lite0",
    "encoder",
    "fcn",
    "fcn_alexnet",
    "fcn_on",
    "googlenet",
    "initialise_from",
    "load",
    "mobilenet_v1",
    "named",
    "save",
    "vgg",
    "vgg_classifier",
]
