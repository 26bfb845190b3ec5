"""AlexNet: as torchvision has it, and as Caffe has it (CaffeNet), with FCN's start and FCN-AlexNet built on the latter.

    torchvision   conv1 ... conv5 without groups or normalisation, narrower, padded, for images of 224
    CaffeNet      conv2, conv4 and conv5 in two groups, local response normalisation after the first two pools, for 227

Sources: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks" (2012), whose
normalisation comes before the pools; Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
(2014), which torchvision follows; Caffe's `bvlc_reference_caffenet`; FCN's `voc-fcn-alexnet`.
"""

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, activation, chain, convolutional_head, dense_head
from npseg.models.fcn import fcn
from npseg.nn import Conv2d, Dropout, Flatten, Graph, Linear, LocalResponseNorm, MaxPool2d

HIDDEN = 4096


def alexnet(classes: int = 1000, *, dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """torchvision's AlexNet, for images of 224 x 224.

    torchvision's adaptive average pool before the fully connected layers does nothing at this size and is left out.

    Args:
        classes: how many scores.
        dropout: probability before fc6 and fc7.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from images (N, 3, 224, 224) to "fc8", (N, classes).

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> alexnet().shapes((224, 224))["pool5"]
    (256, 6, 6)
    """
    classes = checks.integer(classes, "classes", at_least=1)
    p = checks.number(dropout, "dropout", at_least=0.0, below=1.0)
    layers: list[NamedLayer] = [
        ("conv1", Conv2d(3, 64, 11, stride=4, padding=2)),
        *activation("1"),
        ("pool1", MaxPool2d(3, 2, ceil_mode=False)),
        ("conv2", Conv2d(64, 192, 5, padding=2)),
        *activation("2"),
        ("pool2", MaxPool2d(3, 2, ceil_mode=False)),
        ("conv3", Conv2d(192, 384, 3, padding=1)),
        *activation("3"),
        ("conv4", Conv2d(384, 256, 3, padding=1)),
        *activation("4"),
        ("conv5", Conv2d(256, 256, 3, padding=1)),
        *activation("5"),
        ("pool5", MaxPool2d(3, 2, ceil_mode=False)),
        ("flatten", Flatten((256, 6, 6))),
        ("drop5", Dropout(p)),
        ("fc6", Linear(256 * 6 * 6, HIDDEN)),
        *activation("6", dropout),
        ("fc7", Linear(HIDDEN, HIDDEN)),
        *activation("7"),
        ("fc8", Linear(HIDDEN, classes)),
    ]
    return Graph(chain(layers), seed=seed, dtype=dtype)


def caffenet(classes: int = 1000, *, dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """Caffe's AlexNet, for images of 227 x 227; arguments and errors as in `alexnet`.

    Returns:
        A graph from images (N, 3, 227, 227) to "fc8", (N, classes).

    >>> caffenet().shapes((227, 227))["pool5"]
    (256, 6, 6)
    """
    classes = checks.integer(classes, "classes", at_least=1)
    return Graph(chain(_features() + dense_head((256, 6, 6), HIDDEN, classes, dropout)), seed=seed, dtype=dtype)


def caffenet_encoder(*, dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """A fully convolutional CaffeNet up to its last hidden layer, "drop7": fc6 is a 6x6 convolution, fc7 a 1x1.

    Arguments and errors as in `alexnet`.

    >>> caffenet_encoder().shapes((227, 259))["drop7"]
    (4096, 1, 2)
    """
    return Graph(chain(_features() + convolutional_head(256, HIDDEN, 6, dropout)), seed=seed, dtype=dtype)


def fcn_alexnet(classes: int = 21, *, dropout: float = 0.5, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """FCN-AlexNet, the paper's 32-pixel network on CaffeNet; its upsampler has 63 taps, its crop is 18.

    Arguments and errors as in `alexnet`.

    >>> fcn_alexnet().node("score").layer
    Crop(offset=18)
    """
    encoder = caffenet_encoder(dropout=dropout, seed=seed, dtype=dtype)
    return fcn(encoder, classes, 32, form="paper", last_kernel_size=63)


def _features() -> list[NamedLayer]:
    """From the image to pool5."""
    return [
        ("conv1", Conv2d(3, 96, 11, stride=4)),
        *activation("1"),
        ("pool1", MaxPool2d(3, 2)),
        ("norm1", LocalResponseNorm()),
        ("conv2", Conv2d(96, 256, 5, padding=2, groups=2)),
        *activation("2"),
        ("pool2", MaxPool2d(3, 2)),
        ("norm2", LocalResponseNorm()),
        ("conv3", Conv2d(256, 384, 3, padding=1)),
        *activation("3"),
        ("conv4", Conv2d(384, 384, 3, padding=1, groups=2)),
        *activation("4"),
        ("conv5", Conv2d(384, 256, 3, padding=1, groups=2)),
        *activation("5"),
        ("pool5", MaxPool2d(3, 2)),
    ]
