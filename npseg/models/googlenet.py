"""GoogLeNet: inception modules, in which four branches look at different widths and their channels are stacked.

    1x1                     |
    1x1 reduce -> 3x3       |  -> output
    1x1 reduce -> 5x5       |
    3x3 max pool -> 1x1     |

The paper's form with 5x5 convolutions, without the auxiliary classifiers that only train it; the names are Caffe's.
Source: Szegedy et al., "Going deeper with convolutions" (2015), table 1; Caffe's `bvlc_googlenet`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.fcn import fcn
from npseg.nn import (
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Graph,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Node,
    ReLU,
)
from npseg.nn.steps import IMAGE

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each module: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""


def googlenet(classes: int = 1000, *, dropout: float = 0.4, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """GoogLeNet, for images of 224 x 224; its last average takes whatever size the map has.

    Args:
        classes: how many scores.
        dropout: probability before the classifier.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from images (N, 3, H, W) to "loss3/classifier", (N, classes).

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> googlenet().shapes((224, 224))["inception_5b/output"]
    (1024, 7, 7)
    """
    classes = checks.integer(classes, "classes", at_least=1)
    p = checks.number(dropout, "dropout", at_least=0.0, below=1.0)
    builder, x, channels = _features()
    x = builder.add("pool5/7x7_s1", GlobalAvgPool2d(), x)
    x = builder.add("flatten", Flatten((channels, 1, 1)), x)
    x = builder.add("pool5/drop_7x7_s1", Dropout(p), x)
    builder.add("loss3/classifier", Linear(channels, classes), x)
    return Graph(builder.nodes, seed=seed, dtype=dtype)


def googlenet_encoder(*, seed: int = 0, dtype: DTypeLike = np.float32) -> Graph:
    """GoogLeNet without its classifier, the start of an FCN: its last average would take the place away.

    Arguments and errors as in `googlenet`.

    >>> googlenet_encoder().shapes((224, 288))["inception_5b/output"]
    (1024, 7, 9)
    """
    return Graph(_features()[0].nodes, seed=seed, dtype=dtype)


SKIPS = ("pool3/3x3_s2", "pool2/3x3_s2")
"""GoogLeNet's maps of stride 16 and 8 where it pools to them, as FCN takes VGG's pool4 and pool3."""


def fcn_googlenet(
    classes: int = 21, stride: int = 32, *, form: str = "paper", seed: int = 0, dtype: DTypeLike = np.float32
) -> Graph:
    """FCN-GoogLeNet, which Long, Shelhamer and Darrell measured (their table 1) and never released.

    Its windows have odd sizes, so that its upsamplers have odd numbers of taps too, 63, 31, 15 and 3: with even ones no
    crop would align the maps.

    Args:
        classes, seed, dtype: as in `googlenet`.
        stride, form: as in `npseg.models.fcn`.

    Returns:
        A graph from images (N, 3, H, W) to "score", (N, classes, H, W), for any H and W.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> fcn_googlenet().node("score").layer
    Crop(offset=98)
    """
    return fcn(googlenet_encoder(seed=seed, dtype=dtype), classes, stride, form=form, skips=SKIPS)


def _features() -> tuple["_Builder", str, int]:
    """From the image to the last inception module: its name, and its channels."""
    builder = _Builder()
    x = builder.convolution(IMAGE, "conv1", "7x7_s2", Conv2d(3, 64, 7, stride=2, padding=3))
    x = builder.add("pool1/3x3_s2", MaxPool2d(3, 2), x)
    x = builder.add("pool1/norm1", LocalResponseNorm(), x)
    x = builder.convolution(x, "conv2", "3x3_reduce", Conv2d(64, 64, 1))
    x = builder.convolution(x, "conv2", "3x3", Conv2d(64, 192, 3, padding=1))
    x = builder.add("conv2/norm2", LocalResponseNorm(), x)
    x = builder.add("pool2/3x3_s2", MaxPool2d(3, 2), x)
    channels = 192
    for name, widths in INCEPTIONS.items():
        if name in ("4a", "5a"):
            x = builder.add(f"pool{int(name[0]) - 1}/3x3_s2", MaxPool2d(3, 2), x)
        x = builder.inception(x, channels, f"inception_{name}", widths)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
    return builder, x, channels


@dataclass
class _Builder:
    """Appends nodes; each method returns the name of the map it makes."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, name: str, layer: Layer, *inputs: str) -> str:
        self.nodes.append(Node(name, layer, inputs))
        return name

    def convolution(self, source: str, module: str, name: str, layer: Conv2d) -> str:
        """A convolution and its ReLU."""
        return self.add(f"{module}/relu_{name}", ReLU(), self.add(f"{module}/{name}", layer, source))

    def inception(self, source: str, channels: int, module: str, widths: tuple[int, int, int, int, int, int]) -> str:
        """The four branches and where they meet."""
        one, three_reduce, three, five_reduce, five, projection = widths
        first = self.convolution(source, module, "1x1", Conv2d(channels, one, 1))
        second = self.convolution(source, module, "3x3_reduce", Conv2d(channels, three_reduce, 1))
        second = self.convolution(second, module, "3x3", Conv2d(three_reduce, three, 3, padding=1))
        third = self.convolution(source, module, "5x5_reduce", Conv2d(channels, five_reduce, 1))
        third = self.convolution(third, module, "5x5", Conv2d(five_reduce, five, 5, padding=2))
        fourth = self.add(f"{module}/pool", MaxPool2d(3, 1, padding=1), source)
        fourth = self.convolution(fourth, module, "pool_proj", Conv2d(channels, projection, 1))
        return self.add(f"{module}/output", Concat(), first, second, third, fourth)
