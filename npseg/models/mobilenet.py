"""MobileNet v1: every convolution but the first taken apart into a depthwise and a pointwise one.

    block:   depthwise 3x3 (groups = channels), batch norm, ReLU, then pointwise 1x1, batch norm, ReLU

The names are those of its Caffe version. Source: Howard et al., "MobileNets: efficient convolutional neural networks
for mobile vision applications" (2017), table 1.
"""

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, chain
from npseg.nn import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Graph, Linear, ReLU

FIRST_WIDTH = 32
BLOCKS = {
    "2_1": (64, 1),
    "2_2": (128, 2),
    "3_1": (128, 1),
    "3_2": (256, 2),
    "4_1": (256, 1),
    "4_2": (512, 2),
    "5_1": (512, 1),
    "5_2": (512, 1),
    "5_3": (512, 1),
    "5_4": (512, 1),
    "5_5": (512, 1),
    "5_6": (1024, 2),
    "6": (1024, 1),
}
"""Output channels and stride of each block."""


def mobilenet_v1(classes: int = 1000, *, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """MobileNet v1 of full width, for images of 224 x 224; its last average takes whatever size the map has.

    Args:
        classes: how many scores.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from images (N, 3, H, W) to "fc7", (N, classes).

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> mobilenet_v1().shapes((224, 224))["pool6"]
    (1024, 1, 1)
    """
    classes = checks.integer(classes, "classes", at_least=1)
    layers = _convolution("1", "", Conv2d(3, FIRST_WIDTH, 3, stride=2, padding=1, bias=False))
    channels = FIRST_WIDTH
    for name, (width, stride) in BLOCKS.items():
        depthwise = Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
        layers += _convolution(name, "/dw", depthwise)
        layers += _convolution(name, "/sep", Conv2d(channels, width, 1, bias=False))
        channels = width
    layers += [
        ("pool6", GlobalAvgPool2d()),
        ("flatten", Flatten((channels, 1, 1))),
        ("fc7", Linear(channels, classes)),
    ]
    return Graph(chain(layers), seed=seed, dtype=dtype)


def _convolution(name: str, part: str, layer: Conv2d) -> list[NamedLayer]:
    """A convolution, its batch norm and its ReLU."""
    norm = BatchNorm2d(layer.out_channels)
    return [(f"conv{name}{part}", layer), (f"conv{name}{part}/bn", norm), (f"relu{name}{part}", ReLU())]
