"""Layers: an operation together with the shapes of its parameters.

A layer is a frozen description and keeps nothing. Its parameters are passed in, and what its backward pass needs is
passed out, so

    y, saved = layer.forward(inputs, parameters, mode)
    grad_inputs, grad_parameters = layer.backward(grad, saved, parameters, wanted)

are pure functions (but for batch normalisation's running statistics), and one description can be read by many: the
graph runs it, and shapes, coordinates and files are derived from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Axis, Coordinates, Padding, Size, parse_padding
from npseg.nn.initialisation import INITIALISERS

Shape = tuple[int, ...]
C = TypeVar("C", bound=Coordinates)
Randomness = np.random.Generator | Sequence[np.random.Generator]


@dataclass(frozen=True)
class Mode:
    """How a forward pass runs: training or not, and where its random draws come from.

    `rng` is one generator for the whole batch, or one for each image, which makes an image's draws independent of the
    batch it is in.
    """

    training: bool = False
    rng: Randomness | None = None


@dataclass(frozen=True)
class Wanted:
    """Which gradients the walk back still needs from a layer."""

    inputs: bool = True
    parameters: bool = True


@dataclass(frozen=True)
class ParameterSpec:
    """One array of a layer: its shape, and the name of its initialiser in `npseg.nn.initialisation`."""

    shape: Shape
    initialiser: str

    def __post_init__(self) -> None:
        """Refuse what could not be made, before anybody makes it."""
        checks.choice(self.initialiser, "initialiser", tuple(INITIALISERS))
        for length in self.shape:
            checks.integer(length, "each length of a parameter's shape", at_least=1)


Gradients = tuple[tuple[Array | None, ...], dict[str, Array]]


@dataclass(frozen=True)
class Layer(ABC):
    """What every layer can do; the defaults are those of a layer without parameters that leaves shapes alone."""

    by_products: ClassVar[tuple[str, ...]] = ()
    """What `forward` saves and other layers may take as a map too, `<layer>.<attribute of saved>`: of the output's
    shape, and without a gradient."""

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The learned arrays by name."""
        return {}

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The arrays that a training pass updates without a gradient."""
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H, W) of the output from those of the inputs; the batch is left out."""
        return inputs[0]

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis] | None:
        """The window's rows and columns, for layers that have one.

        "same" padding, ceil mode and windows as large as the map depend on the inputs' shapes. Where these are left
        out, "same" means that of stride 1, and a window without a size of its own is None.
        """
        return None

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """Coordinates of the first input's rows and columns, carried through this layer; `inputs` as in `axes`."""
        axes = self.axes(*inputs)
        return (rows, columns) if axes is None else (rows.through(axes[0]), columns.through(axes[1]))

    @abstractmethod
    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The output, and what `backward` needs."""

    @abstractmethod
    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The gradients of the inputs (None where not wanted or always zero) and of the parameters."""


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of what may be one number for both."""
    return (value, value) if isinstance(value, int) else value


def size_of(shape: Shape) -> Size:
    """(H, W) of (C, H, W)."""
    return shape[1], shape[2]


def check_weight(in_channels: Any, out_channels: Any, kernel_size: Any, groups: Any) -> None:
    """What a convolution's weight is made of; the operation checks how its windows lie."""
    checks.pair(kernel_size, "kernel_size", at_least=1)
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
        checks.integer(value, name, at_least=1)
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"groups must divide in_channels {in_channels} and out_channels {out_channels}, got {groups}")


def weight_and_bias(shape: Shape, initialiser: str, bias: int | None) -> dict[str, ParameterSpec]:
    """The specs of a weight, and of a bias of that many numbers where there is one."""
    specs = {"weight": ParameterSpec(shape, initialiser)}
    if bias is not None:
        specs["bias"] = ParameterSpec((bias,), "zeros")
    return specs


def axes_of_any_size(kernel_size: Any, stride: Any, padding: Padding, dilation: Any) -> tuple[Axis, Axis]:
    """A window's rows and columns where the input's size is not known; "same" is that of stride 1."""
    kernels, strides, dilations = pair(kernel_size), pair(stride), pair(dilation)
    sides = parse_padding(padding)
    if isinstance(sides, str):
        extents = [dilations[a] * (kernels[a] - 1) for a in (0, 1)]
        sides = (extents[0] // 2, extents[0] - extents[0] // 2), (extents[1] // 2, extents[1] - extents[1] // 2)
    rows, columns = (Axis(kernels[a], strides[a], *sides[a], dilations[a]) for a in (0, 1))
    return rows, columns
