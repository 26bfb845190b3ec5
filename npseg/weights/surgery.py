"""Net surgery: a classifier's file becomes initial weights for an FCN.

The fully connected layers become convolutions (`npseg.models.convolutionalise`), so `classifier.0` (4096, 25088) is fc6
(4096, 512, 7, 7), and the layers get the names that `npseg.models.fcn` knows. Source: Long, Shelhamer, Darrell (2015),
section 4.1; "net surgery" in Caffe's examples.
"""

import math
import os
from collections.abc import Mapping

from npseg import checks
from npseg.checks import Array
from npseg.models import convolutionalise, vgg_classifier
from npseg.models.backbones import HIDDEN, IMAGENET_CLASSES
from npseg.models.vgg import VGG16_WIDTHS, VGG_DEPTHS
from npseg.nn import Graph
from npseg.weights.files import read, write_model
from npseg.weights.matching import load_into
from npseg.weights.names import torchvision_vgg

TORCHVISION = "torchvision-"
SOURCES = tuple(f"{TORCHVISION}{name}" for name in VGG_DEPTHS)
"""What `convert` knows."""


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], kind: str) -> Graph:
    """Read a classifier, convolutionalise it, and write what an FCN starts from.

    Args:
        source: the classifier's file, in any format of `npseg.weights.read`.
        target: where the weights shall be, in any format; as .npz an npseg model, for `npseg train --init-from`.
        kind: one of `SOURCES`, whose names the source has.

    Returns:
        The network that was written, from images to "score_fr".

    Raises:
        OSError, ImportError: as in `read` and `write`.
        ValueError: the source is not such a classifier; everything missing, unexpected or misshaped is listed.
    """
    kind = checks.choice(kind, "kind", SOURCES)
    source, target = checks.path(source, "source"), checks.path(target, "target")
    arrays = read(source)
    try:
        network = convolutionalise(classifier_from(arrays, kind))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    write_model(target, network)
    return network


def classifier_from(arrays: Mapping[str, Array], kind: str) -> Graph:
    """The classifier with these weights. Its widths, classes and image size are the ones that the arrays have.

    Args:
        arrays: by the names of `kind`.
        kind: one of `SOURCES`.

    Raises:
        ValueError: the arrays are not such a classifier's; everything missing, unexpected or misshaped is listed.
    """
    checks.mapping(arrays, "arrays", "arrays")
    name = checks.choice(kind, "kind", SOURCES).removeprefix(TORCHVISION)
    if normalised := sorted(key for key in arrays if key.endswith("running_mean")):
        raise ValueError(
            f"the arrays must be of {name} without batch normalisation, got {name}_bn or the like: "
            f"they have {normalised[0]}"
        )
    names = torchvision_vgg(name)
    depths = VGG_DEPTHS[name]
    ours = {names.get(key, key): array for key, array in arrays.items()}
    widths = [_length(ours, f"conv{s}_{depths[s - 1]}.weight", 0, VGG16_WIDTHS[s - 1]) for s in range(1, 6)]
    hidden = _length(ours, "fc6.weight", 0, HIDDEN)
    classes = _length(ours, "fc8.weight", 0, IMAGENET_CLASSES)
    side = math.isqrt(_length(ours, "fc6.weight", 1, 49 * widths[-1]) // widths[-1])
    channels = _length(ours, "conv1_1.weight", 1, 3)
    size = 32 * max(side, 1)
    model = vgg_classifier(widths, depths, hidden, classes, (size, size), input_channels=channels)
    load_into(model, arrays, names)
    return model


def _length(arrays: Mapping[str, Array], name: str, axis: int, published: int) -> int:
    """An array's length along an axis; the published one where there is no such array, which `load_into` will list."""
    array = arrays.get(name)
    return published if array is None or array.ndim <= axis or not array.shape[axis] else array.shape[axis]
