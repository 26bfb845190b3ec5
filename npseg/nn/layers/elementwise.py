"""Layers that treat each value by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg import buffers, checks, ops
from npseg.checks import Array
from npseg.nn.layers.layer import Gradients, Layer, Mode, Wanted


@dataclass(frozen=True)
class ReLU(Layer):
    """`npseg.ops.relu`."""

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the output, which the next layer keeps anyway."""
        y = ops.relu(inputs[0])
        return y, y

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The gradient passes where the output is positive."""
        return (ops.relu_backward(grad, saved),), {}


@dataclass(frozen=True)
class Scale(Layer):
    """Every value times a constant that does not learn."""

    factor: float

    def __post_init__(self) -> None:
        """Check the argument."""
        checks.number(self.factor, "factor")

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back."""
        (x,) = inputs
        return np.multiply(x, self.factor, out=buffers.empty_like(x)), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The same factor."""
        return (np.multiply(grad, self.factor, out=buffers.empty_like(grad)),), {}


@dataclass(frozen=True)
class ReLU6(Layer):
    """`npseg.ops.relu6`."""

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the output, which the next layer keeps anyway."""
        y = ops.relu6(inputs[0])
        return y, y

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The gradient passes where the output lies between the bounds."""
        return (ops.relu6_backward(grad, saved),), {}


@dataclass(frozen=True)
class Dropout(Layer):
    """`npseg.ops.dropout` while training; otherwise the input as it is."""

    p: float = 0.5

    def __post_init__(self) -> None:
        """Check the argument."""
        checks.number(self.p, "p", at_least=0.0, below=1.0)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the mask; None where nothing was switched off.

        Raises:
            ValueError: training without a generator, or with another number of generators than images.
        """
        (x,) = inputs
        if not mode.training or self.p == 0:
            return x, None
        if mode.rng is None:
            raise ValueError("rng must be given to train a network with dropout, got None")
        if isinstance(mode.rng, np.random.Generator):
            return ops.dropout(x, self.p, mode.rng)
        if not isinstance(mode.rng, Sequence) or not all(isinstance(rng, np.random.Generator) for rng in mode.rng):
            raise TypeError(f"rng must be one numpy.random.Generator or several, got {checks.describe(mode.rng)}")
        if len(mode.rng) != len(x):
            raise ValueError(f"rng must be one generator, or one for each of {len(x)} images, got {len(mode.rng)}")
        y, mask = buffers.empty_like(x), buffers.empty_like(x)
        for n, rng in enumerate(mode.rng):
            y[n], mask[n] = ops.dropout(x[n], self.p, rng)
        return y, mask

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Through the same mask."""
        return (grad if saved is None else ops.dropout_backward(grad, saved),), {}
