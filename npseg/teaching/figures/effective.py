"""What networks see: parameters against receptive field, and the effective receptive field in the theoretical one."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from npseg.analysis import receptive_fields, summary
from npseg.analysis.measured import effective_receptive_field, effective_size, receptive_field
from npseg.geometry import Size
from npseg.nn import Conv2d, Graph, MaxPool2d, Node, ReLU
from npseg.nn.layers import Layer
from npseg.teaching.figures.export import write_png
from npseg.teaching.figures.style import BLUE, ORANGE, RED, WIDTH, Picture, quiet

CHANNELS = 64
IMAGE: Size = (64, 64)
DOUBLINGS = range(1, 7)
"""Receptive fields of 2^(n + 1) - 1 pixels are drawn: 3, 7, ..., 127."""

WATCHED_CHANNELS = 8


def _layers(*dilations: int) -> list[Layer]:
    """A 3x3 convolution and a ReLU for each dilation."""
    convolutions = (Conv2d(WATCHED_CHANNELS, WATCHED_CHANNELS, 3, padding="same", dilation=d) for d in dilations)
    return [layer for convolution in convolutions for layer in (convolution, ReLU())]


WATCHED: dict[str, list[Layer]] = {
    "16 convolutions\n": _layers(*[1] * 16),
    "5 convolutions,\ndilated 1, 2, 4, 8, 1": _layers(1, 2, 4, 8, 1),
    "7 convolutions\nand 2 max pools": [
        *_layers(1, 1),
        MaxPool2d(2),
        *_layers(1, 1),
        MaxPool2d(2),
        *_layers(1, 1, 1)[:-1],
    ],
}
"""Networks of 3x3 convolutions that reach about the same field in three ways."""


def parameters_against_field(path: str | os.PathLike[str]) -> None:
    """Draw how many parameters a receptive field takes with one large kernel, many small ones, dilated ones, as a PNG.

    Args:
        path: the PNG file; its folder must exist.

    Raises:
        OSError: the file cannot be written; an older one is untouched.
    """
    write_png(_parameters_figure(), path)


def effective_fields(path: str | os.PathLike[str], *, samples: int = 40) -> None:
    """Draw how much each pixel influences one output of three networks, as a PNG.

    Args:
        path: the PNG file; its folder must exist.
        samples: the random networks that are averaged for each picture.

    Raises:
        OSError: the file cannot be written; an older one is untouched.

    Source: Luo, Li, Urtasun, Zemel (2016), figures 1 and 2.
    """
    write_png(_effective_figure(samples), path)


def _parameters_figure() -> Picture:
    figure = Picture(figsize=(WIDTH, 5), layout="constrained")
    axes = figure.subplots()
    for name, networks, color, marker in (
        ("one dense K x K convolution", _dense(), BLUE, "o"),
        ("stacked 3 x 3 convolutions", _stacked(), ORANGE, "s"),
        ("stacked 3 x 3, dilations 1, 2, 4, ...", _dilated(), RED, "D"),
    ):
        points = [_field_and_parameters(network) for network in networks]
        axes.loglog(*zip(*points, strict=True), color=color, marker=marker, markersize=5, label=name)
    fields = [field for field, _ in points]
    axes.set_xticks(fields, [str(field) for field in fields])
    axes.minorticks_off()
    axes.set(
        title=f"What a receptive field costs, {CHANNELS} channels",
        xlabel="receptive field in pixels, each way",
        ylabel="parameters",
    )
    axes.legend(frameon=False)
    quiet(axes)
    return figure


def _dense() -> list[Graph]:
    """One convolution each, as large as the field."""
    return [_chain([_convolution(2 ** (n + 1) - 1)]) for n in DOUBLINGS]


def _stacked() -> list[Graph]:
    """Each layer adds two pixels, so 2^n - 1 layers are needed."""
    return [_chain([_convolution(3)] * (2**n - 1)) for n in DOUBLINGS]


def _dilated() -> list[Graph]:
    """Each layer doubles what is seen, so n layers are enough."""
    return [_chain([_convolution(3, 2**layer) for layer in range(n)]) for n in DOUBLINGS]


def _convolution(kernel_size: int, dilation: int = 1) -> Conv2d:
    return Conv2d(CHANNELS, CHANNELS, kernel_size, padding="same", dilation=dilation)


def _chain(layers: Sequence[Layer], channels: int = CHANNELS) -> Graph:
    """Layers one after another."""
    names = ["image", *(f"layer{i}" for i in range(len(layers)))]
    nodes = [Node(name, layer, (before,)) for before, name, layer in zip(names, names[1:], layers, strict=False)]
    return Graph(nodes, input_channels=channels)


def _field_and_parameters(network: Graph) -> tuple[int, int]:
    """The receptive field of the last layer, and all parameters."""
    fields = receptive_fields(network, network.shapes(IMAGE))
    return fields[network.nodes[-1].name][0].size, summary(network, IMAGE).parameters


def _effective_figure(samples: int) -> Picture:
    figure = Picture(figsize=(WIDTH, 4), layout="constrained")
    panels = figure.subplots(1, len(WATCHED))
    for axes, (name, layers) in zip(panels, WATCHED.items(), strict=True):
        picture = _draw_field(axes, name, _chain(layers, WATCHED_CHANNELS), samples)
    figure.colorbar(picture, ax=panels, shrink=0.75, label="influence, largest = 1")
    figure.suptitle("Effective receptive field of one output, all kernels 3 x 3; the frame is the theoretical field")
    return figure


def _draw_field(axes: Axes, name: str, network: Graph, samples: int) -> AxesImage:
    """The influence of each pixel, its square root as brightness so that the faint is seen, and the frame."""
    field = effective_receptive_field(network, IMAGE, samples=samples)
    rows, columns = (np.flatnonzero(receptive_field(network, IMAGE).any(axis=axis)) for axis in (1, 0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    side = round(effective_size(field))
    picture = axes.imshow(field, norm=PowerNorm(0.5, 0, 1), cmap="cividis", interpolation="nearest")
    axes.add_patch(Rectangle((columns[0] - 0.5, rows[0] - 0.5), width, height, fill=False, color="white"))
    axes.set(title=name, xticks=[], yticks=[])
    axes.set_xlabel(f"theoretical {height} x {width}\neffective {side} x {side}")
    return picture
