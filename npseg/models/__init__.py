"""Networks by function and by name: the classifiers of the field, and the segmentation networks built on them."""

from npseg.models.alexnet import alexnet, caffenet, caffenet_encoder, fcn_alexnet
from npseg.models.convolutionalise import convolutionalise, is_classifier
from npseg.models.deeplab import context_module, deeplab_largefov
from npseg.models.fcn import fcn, initialise_from
from npseg.models.files import load, save
from npseg.models.googlenet import googlenet
from npseg.models.mobilenet import mobilenet_v1
from npseg.models.named import NAMES, named
from npseg.models.vgg import vgg, vgg_classifier

__all__ = [
    "NAMES",
    "alexnet",
    "caffenet",
    "caffenet_encoder",
    "context_module",
    "convolutionalise",
    "deeplab_largefov",
    "fcn",
    "fcn_alexnet",
    "googlenet",
    "initialise_from",
    "is_classifier",
    "load",
    "mobilenet_v1",
    "named",
    "save",
    "vgg",
    "vgg_classifier",
]
