"""What the descriptions of networks share: layers one after another, and the classifiers' hidden layers."""

from collections.abc import Sequence

from npseg import checks
from npseg.geometry import Padding
from npseg.nn import Conv2d, Dropout, Flatten, Layer, Linear, Node, ReLU
from npseg.nn.layers import Shape
from npseg.nn.steps import IMAGE

NamedLayer = tuple[str, Layer]


def chain(layers: Sequence[NamedLayer], after: Sequence[Node] = ()) -> list[Node]:
    """Nodes followed by layers, each taking the map before it.

    >>> [node.inputs for node in chain([("conv1", Conv2d(3, 8, 3)), ("relu1", ReLU())])]
    [('image',), ('conv1',)]
    """
    nodes = list(after)
    for name, layer in layers:
        nodes.append(Node(name, layer, (nodes[-1].name if nodes else IMAGE,)))
    return nodes


def activation(suffix: str, dropout: float | None = None) -> list[NamedLayer]:
    """A ReLU, and dropout where it is asked for."""
    layers: list[NamedLayer] = [(f"relu{suffix}", ReLU())]
    if dropout is not None:
        layers.append((f"drop{suffix}", Dropout(checks.number(dropout, "dropout", at_least=0.0, below=1.0))))
    return layers


def dense_head(shape: Shape, hidden: int, classes: int, dropout: float) -> list[NamedLayer]:
    """A classifier's fully connected layers fc6, fc7 and fc8 on a map (C, H, W) of one fixed size."""
    channels, height, width = shape
    return [
        ("flatten", Flatten((channels, height, width))),
        ("fc6", Linear(channels * height * width, hidden)),
        *activation("6", dropout),
        ("fc7", Linear(hidden, hidden)),
        *activation("7", dropout),
        ("fc8", Linear(hidden, classes)),
    ]


def convolutional_head(
    channels: int, hidden: int, kernel_size: int, dropout: float, *, padding: Padding = 0, dilation: int = 1
) -> list[NamedLayer]:
    """The same hidden layers as convolutions, fc6 with this kernel, fc7 1x1."""
    return [
        ("fc6", Conv2d(channels, hidden, kernel_size, padding=padding, dilation=dilation)),
        *activation("6", dropout),
        ("fc7", Conv2d(hidden, hidden, 1)),
        *activation("7", dropout),
    ]
