"""Counts and receptive fields that are measured: something runs, and what it does is observed.

The formulas (`npseg.analysis.formulas`) and the count over a declared graph (`npseg.analysis.summary`) say what should
happen. Here three witnesses that know neither say what does:

    nonzeros                the entries of the operation's sparse matrix
    multiplications         numbers that count how often they are multiplied, given to the loops engine
    receptive_field         the gradient of one output: which pixels of the image it reaches
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import loops
from npseg.geometry import Size, Window
from npseg.matrices import conv2d_matrix, conv_transpose2d_matrix
from npseg.nn import AvgPool2d, Conv2d, ConvTranspose2d, Graph, Layer, Linear, MaxPool2d, MaxUnpool2d, Node
from npseg.nn.initialisation import he_normal
from npseg.nn.layers import Gradients, Mode, ParameterSpec, Shape, Wanted, size_of
from npseg.nn.steps import IMAGE
from npseg.randomness import generator

MOST_SAMPLES = 100_000
"""More would take days, and show nothing new."""

OBJECT_BYTES = 64
"""Of a Python object that holds a number."""

Multiplying = Conv2d | ConvTranspose2d | Linear
"""The layers whose multiplications are counted."""


# ------------------------------------------------------------------------------------------------- multiplications


def nonzeros(layer: Multiplying, input_shape: Shape) -> int:
    """The entries of the layer's sparse matrix: one for each multiplication by a real pixel.

    Args:
        layer: a convolution, a transposed one, or a linear layer.
        input_shape: (C, H, W), or (C,) of a linear layer.

    >>> nonzeros(Conv2d(1, 1, 3), (1, 4, 4)), nonzeros(Conv2d(1, 1, 3, padding=1), (1, 4, 4))
    (36, 100)
    """
    layer, input_shape = _as_convolution(layer, input_shape)
    matrix = conv2d_matrix if isinstance(layer, Conv2d) else conv_transpose2d_matrix
    weight = np.ones(layer.parameter_specs()["weight"].shape)
    return matrix(weight, size_of(input_shape), **layer.arguments()).nnz


def multiplications(layer: Multiplying, input_shape: Shape) -> int:
    """How many multiplications the loops engine performs for one image, counted by the numbers that it multiplies.

    Args:
        layer, input_shape: as in `nonzeros`.

    >>> multiplications(Conv2d(1, 1, 3), (1, 4, 4)), multiplications(Conv2d(1, 1, 3, padding=1), (1, 4, 4))
    (36, 100)
    """
    _, shape = _as_convolution(layer, input_shape)
    checks.fits_memory(shape, np.dtype(np.float64).itemsize, "input_shape", "an image")
    return run_counted(layer, np.ones((1, *input_shape)))[1]


def run_counted(layer: Multiplying, x: Array, weight: Array | None = None) -> tuple[Array, int]:
    """Run the loops engine, as it is, on numbers that count how often they are multiplied.

    Args:
        layer: as in `nonzeros`; its bias is left out.
        x: (N, C, H, W) or (N, C), float64.
        weight: of the layer's shape; None is all ones.

    Returns:
        What the engine makes of it, (N, C_out, H_out, W_out), bit for bit as for plain numbers; and the number of
        multiplications.
    """
    if checks.array(x, "x").dtype.kind != "f":
        raise TypeError(f"x must hold floats, got {checks.describe(x)}")
    if not x.size:
        raise ValueError(f"x must hold at least one number, got {checks.describe(x)}")
    checks.fits_memory(x.shape, OBJECT_BYTES, "x", "its numbers, which count,")
    if isinstance(layer, Multiplying):
        checks.check_axes(x, "x", "(N, C)" if isinstance(layer, Linear) else "(N, C, H, W)")
    convolution, input_shape = _as_convolution(layer, x.shape[1:])
    shape = layer.parameter_specs()["weight"].shape
    weight = np.ones(shape) if weight is None else checks.array(weight, "weight")
    checks.shape(weight, "weight", shape)
    weight = weight.reshape(convolution.parameter_specs()["weight"].shape)
    tally = _Tally()
    numbers = [_CountingNumber(value, tally) for value in x.flat]  # NumPy multiplies objects by their own __mul__
    counting = np.array(numbers, dtype=object).reshape(len(x), *input_shape)
    window = Window(*convolution.axes(input_shape))
    if isinstance(convolution, Conv2d):
        y = loops.conv(counting, weight, window, convolution.groups)
    else:
        size = size_of(convolution.output_shape(input_shape))
        y = loops.conv_grad_input(counting, weight, size, window, convolution.groups)
    return y.astype(np.float64), tally.multiplications


class _Tally:
    """Where multiplications are written down."""

    multiplications = 0


class _CountingNumber(float):
    """A number that writes down each multiplication it takes part in; the product is a plain number."""

    tally: _Tally

    def __new__(cls, value: float, tally: _Tally) -> Self:
        number = super().__new__(cls, value)
        number.tally = tally
        return number

    def __mul__(self, other: float) -> float:
        self.tally.multiplications += 1
        return float(self) * other


def _as_convolution(layer: Multiplying, input_shape: Shape) -> tuple[Conv2d | ConvTranspose2d, Shape]:
    """A linear layer is a 1x1 convolution of a map of one pixel."""
    if not isinstance(layer, Multiplying):
        raise TypeError(f"layer must be a Conv2d, ConvTranspose2d or Linear, got {checks.describe(layer)}")
    if not isinstance(input_shape, tuple) or len(input_shape) != (1 if isinstance(layer, Linear) else 3):
        raise TypeError(f"input_shape must be (C, H, W), or (C,) of a linear layer, got {checks.describe(input_shape)}")
    for length in input_shape:
        checks.integer(length, "input_shape", at_least=1)
    channels = layer.in_features if isinstance(layer, Linear) else layer.in_channels
    if input_shape[0] != channels:
        raise ValueError(f"input_shape must begin with the layer's {channels} channels, got {input_shape}")
    if isinstance(layer, Linear):
        return Conv2d(layer.in_features, layer.out_features, 1), (*input_shape, 1, 1)
    return layer, input_shape


# ------------------------------------------------------------------------------------------------ receptive fields


@dataclass(frozen=True)
class _Pixels(Layer):
    """The image plus a parameter of its shape, all zeros: the parameter's gradient is the image's.

    A graph never computes the image's gradient, because no training needs it; it computes every parameter's.
    """

    shape: Shape

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The parameter, (C, H, W)."""
        return {"shift": ParameterSpec(self.shape, "zeros")}

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The image, shifted by nothing."""
        return inputs[0] + parameters["shift"], None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The sum over the batch."""
        return (None,), {"shift": grad.sum(axis=0)}


@dataclass(frozen=True)
class _Spread(Layer):
    """The adjoint of an average pool: each value is shared among its window's pixels, on a map of the second's size."""

    pool: AvgPool2d

    def output_shape(self, *inputs: Shape) -> Shape:
        """The values' channels at the second map's size."""
        return inputs[0][0], *size_of(inputs[1])

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The pool, backward."""
        x, reference = inputs
        (y,), _ = self.pool.backward(x, (reference.shape[2], reference.shape[3]), {}, Wanted())
        assert y is not None
        return y, None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The pool, forward."""
        return (self.pool.forward([grad], {}, Mode())[0], None), {}


def receptive_field(model: Graph, input_size: Size, *, layer: str | None = None, position: Size | None = None) -> Array:
    """Which pixels of the image can influence one output: those that its gradient reaches.

    All weights are positive, and so is the image, so that no two paths cancel and no ReLU is dead; max pools are read
    as average pools, because the gradient of a maximum reaches only the pixel that won this time, and max unpooling as
    an average pool's adjoint.

    Args:
        model: any network; its own weights are not touched.
        input_size: (H, W) of the image.
        layer: whose map; None is the last one's.
        position: (i, j) on that map; None is its middle.

    Returns:
        (H, W) of bool.

    Raises:
        TypeError, ValueError: there is no such layer or position, or its output is not a map.

    >>> from npseg.models import vgg
    >>> field = receptive_field(vgg((2, 2, 2, 2, 2), fc6=2), (64, 64), layer="pool3")
    >>> np.flatnonzero(field.any(axis=1))[[0, -1]]
    array([14, 57])
    """
    watched = _watched(model, input_size, layer, averaging=True)
    for name, array in watched.parameters.items():
        if array.ndim > 1 and name != _SHIFT:
            array[...] = 1 / np.prod(array.shape[1:])
    image = np.ones((1, model.input_channels, *input_size))
    gradient = _gradient(watched, image, _place(watched, input_size, position))
    return np.asarray((gradient != 0).any(axis=0))


def effective_receptive_field(
    model: Graph,
    input_size: Size,
    *,
    layer: str | None = None,
    position: Size | None = None,
    samples: int = 20,
    seed: int = 0,
) -> Array:
    """How much each pixel of the image influences one output: the gradient's magnitude over random networks.

    Args:
        model: any network; its own weights are not touched. Each sample draws new ones as the layers say; weights that
            would start at zero, as FCN's scores do, are drawn from He's normal distribution instead.
        input_size: (H, W) of the image.
        layer, position: as in `receptive_field`.
        samples: how many random networks, each with a random image of normal noise.
        seed: of all draws.

    Returns:
        (H, W) float64, the mean over samples and channels, scaled so that the largest is 1.

    Raises:
        TypeError, ValueError: as `receptive_field`; no gradient arrived.

    Source: Luo, Li, Urtasun, Zemel, "Understanding the effective receptive field in deep convolutional neural networks"
    (2016), section 3.1.
    """
    samples, seed = checks.integer(samples, "samples", at_least=1), checks.integer(seed, "seed", at_least=0)
    if samples > MOST_SAMPLES:
        raise ValueError(f"samples must be at most {MOST_SAMPLES:,}, got {samples}")
    total = np.zeros(_image_shape(model, input_size)[1:])
    for sample in range(samples):
        watched = _watched(model, input_size, layer, seed=seed + sample)
        rng = generator(seed, "effective receptive field", sample)
        for name, spec in watched.parameter_specs.items():
            if spec.initialiser == "zeros" and len(spec.shape) > 1 and name != _SHIFT:
                watched.parameters[name][...] = he_normal(rng, spec.shape, watched.dtype)
        image = rng.standard_normal((1, model.input_channels, *input_size))
        total += np.abs(_gradient(watched, image, _place(watched, input_size, position))).mean(axis=0)
    if not total.any():
        raise ValueError("position must be an output that depends on the image in some sample, got a gradient of zero")
    return np.asarray(total / total.max())


EFFECTIVE_SHARE = 1 - 0.9545
"""Luo et al. count a pixel whose influence is at least this share of the largest: two standard deviations."""


def effective_size(field: Array) -> float:
    """One side of a square with as many pixels as have an influence worth counting (Luo et al., section 3.2).

    Args:
        field: (H, W), from `effective_receptive_field`.

    >>> effective_size(np.array([[0.01, 0.5, 0.02], [0.6, 1.0, 0.4]]))
    2.0
    """
    field = checks.floats(field, "field", "(H, W)")
    if not field.size:
        raise ValueError(f"field must hold at least one pixel, got {checks.describe(field)}")
    return float(np.sqrt(np.count_nonzero(field > EFFECTIVE_SHARE * field.max())))


_PIXELS = f"{IMAGE} as a parameter"
_SHIFT = f"{_PIXELS}.shift"


def _image_shape(model: Graph, input_size: Size) -> Shape:
    """(C, H, W) of an image, which must fit memory."""
    checks.instance(model, "model", Graph)
    shape = model.input_channels, *checks.size(input_size, "input_size")
    checks.fits_memory(shape, np.dtype(np.float64).itemsize, "input_size", "an image")
    return shape


def _watched(model: Graph, input_size: Size, layer: str | None, *, averaging: bool = False, seed: int = 0) -> Graph:
    """The network up to a layer, in float64, with the image as its only trainable parameter."""
    shape = _image_shape(model, input_size)
    nodes = list(model.nodes)
    last = nodes[-1].name if layer is None else checks.choice(layer, "layer", [node.name for node in nodes])
    nodes = nodes[: [node.name for node in nodes].index(last) + 1]
    first = Node(_PIXELS, _Pixels(shape), (IMAGE,))
    others = [
        replace(node, inputs=tuple(_PIXELS if name == IMAGE else name for name in node.inputs))
        for node in (map(_averaging, nodes) if averaging else nodes)
    ]
    frozen = [f"{node.name}.{key}" for node in nodes for key in node.layer.parameter_specs()]
    return Graph([first, *others], input_channels=model.input_channels, frozen=frozen, seed=seed, dtype=np.float64)


def _averaging(node: Node) -> Node:
    """A max pool as the average pool with the same windows, and max unpooling as that one's adjoint."""
    layer = node.layer
    if not isinstance(layer, MaxPool2d | MaxUnpool2d):
        return node
    pool = AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
    if isinstance(layer, MaxPool2d):
        if layer.dilation not in (1, (1, 1)):
            raise ValueError(
                f"model must have no dilated max pool, which no average pool stands for, got {node.name!r}"
            )
        return replace(node, layer=pool)
    values, _, reference = node.inputs
    # What stands in for the pool makes no indices; another pool's, taken for their size, are as large as its map.
    return replace(node, layer=_Spread(pool), inputs=(values, reference.removesuffix(".indices")))


def _place(model: Graph, input_size: Size, position: Size | None) -> Size:
    """The checked position on the output's map."""
    shape = model.shapes(input_size)[model.nodes[-1].name]
    if len(shape) != 3:
        raise ValueError(f"layer must give a map (C, H, W), got {model.nodes[-1].name!r} of shape {shape}")
    if position is None:
        return shape[1] // 2, shape[2] // 2
    row, column = checks.size(position, "position", at_least=0)
    if row >= shape[1] or column >= shape[2]:
        raise ValueError(f"position must lie on the map of {shape[1]} x {shape[2]}, got {position}")
    return row, column


def _gradient(model: Graph, image: Array, place: Size) -> Array:
    """The gradient, (C, H, W), of the sum over the output's channels at one place, with respect to the image."""
    y, saved = model.forward(image)
    grad = np.zeros_like(y)
    grad[0, :, place[0], place[1]] = 1
    return model.backward(grad, saved)[_SHIFT]
