"""EfficientNet-Lite0: blocks that widen, look around channel by channel, and narrow again.

    block (MBConv):  1x1 to 6 times the channels, batch norm, ReLU6        (left out in stage 2)
                     depthwise 3x3 or 5x5, batch norm, ReLU6
                     1x1 to the block's own channels, batch norm            (no ReLU: what is narrow is kept whole)
                     plus the block's input, where both are of one shape    ("inverted": thin ends, a wide middle)

The Lite networks leave out EfficientNet's squeeze-and-excitation and have ReLU6 for its swish, so that they run in
whole numbers on small devices. Strides pad as TensorFlow's "same" does. Names are by the paper's stages, stage 1 being
"stem" and stage 9 "head".

Sources: Tan, Le, "EfficientNet: rethinking model scaling for convolutional neural networks" (2019), table 1; its
authors' `efficientnet/lite`; Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018).
"""

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.models.chains import NamedLayer, chain
from npseg.nn import Add, BatchNorm2d, Conv2d, Dropout, Flatten, GlobalAvgPool2d, Graph, Linear, Node, ReLU6

STEM_WIDTH, HEAD_WIDTH = 32, 1280
STAGES = {
    2: (1, 16, 3, 1, 1),
    3: (2, 24, 3, 2, 6),
    4: (2, 40, 5, 2, 6),
    5: (3, 80, 3, 2, 6),
    6: (3, 112, 5, 1, 6),
    7: (4, 192, 5, 2, 6),
    8: (1, 320, 3, 1, 6),
}
"""Of each stage: blocks, output channels, kernel size, stride of the first block, how many times a block widens."""

BLOCKS = tuple(f"block{stage}_{number}" for stage, (blocks, *_) in STAGES.items() for number in range(1, blocks + 1))
"""The names of all blocks, in their order."""


def efficientnet_lite0(
    classes: int = 1000, *, dropout: float = 0.2, seed: int = 0, dtype: DTypeLike = np.float32
) -> Graph:
    """EfficientNet-Lite0, for images of 224 x 224; its last average takes whatever size the map has.

    Args:
        classes: how many scores.
        dropout: probability before the classifier.
        seed: of the initial weights.
        dtype: of the parameters.

    Returns:
        A graph from images (N, 3, H, W) to "fc", (N, classes).

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> shapes = efficientnet_lite0().shapes((224, 224))
    >>> shapes["block4_2/add"], shapes["block6_3/add"], shapes["head/relu"]
    ((40, 28, 28), (112, 14, 14), (1280, 7, 7))
    """
    classes = checks.integer(classes, "classes", at_least=1)
    p = checks.number(dropout, "dropout", at_least=0.0, below=1.0)
    nodes = chain(_normalised("stem", Conv2d(3, STEM_WIDTH, 3, stride=2, padding="same", bias=False)))
    channels = STEM_WIDTH
    for stage, (blocks, width, kernel_size, stride, expansion) in STAGES.items():
        for number in range(1, blocks + 1):
            strides = stride if number == 1 else 1
            nodes = _block(nodes, f"block{stage}_{number}", channels, width, kernel_size, strides, expansion)
            channels = width
    layers = [
        *_normalised("head", Conv2d(channels, HEAD_WIDTH, 1, bias=False)),
        ("pool", GlobalAvgPool2d()),
        ("flatten", Flatten((HEAD_WIDTH, 1, 1))),
        ("drop", Dropout(p)),
        ("fc", Linear(HEAD_WIDTH, classes)),
    ]
    return Graph(chain(layers, nodes), seed=seed, dtype=dtype)


def _block(
    nodes: list[Node], name: str, channels: int, width: int, kernel_size: int, stride: int, expansion: int
) -> list[Node]:
    """The nodes so far and one block more."""
    source, wide = nodes[-1].name, expansion * channels
    depthwise = Conv2d(wide, wide, kernel_size, stride=stride, padding="same", groups=wide, bias=False)
    layers = [] if expansion == 1 else _normalised(f"{name}/expand", Conv2d(channels, wide, 1, bias=False))
    layers += _normalised(f"{name}/depthwise", depthwise)
    layers += _normalised(f"{name}/project", Conv2d(wide, width, 1, bias=False))[:-1]
    nodes = chain(layers, nodes)
    if stride == 1 and channels == width:
        nodes.append(Node(f"{name}/add", Add(), (nodes[-1].name, source)))
    return nodes


def _normalised(name: str, layer: Conv2d) -> list[NamedLayer]:
    """A convolution, its batch norm and its ReLU6."""
    norm = BatchNorm2d(layer.out_channels, momentum=0.01, eps=1e-3)
    return [(name, layer), (f"{name}/bn", norm), (f"{name}/relu", ReLU6())]
