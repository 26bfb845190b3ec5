"""Networks by name: VGG backbones and classifiers, and the FCNs built on them."""

from npseg.models.convolutionalise import convolutionalise
from npseg.models.fcn import fcn, initialise_from
from npseg.models.files import load, save
from npseg.models.vgg import vgg, vgg_classifier

__all__ = ["convolutionalise", "fcn", "initialise_from", "load", "save", "vgg", "vgg_classifier"]
