"""The fully connected layer, and the flattening before it: where a classifier loses its positions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npseg import checks, ops
from npseg.checks import Array
from npseg.geometry import Axis
from npseg.nn.layers.layer import Gradients, Layer, Mode, ParameterSpec, Shape, Wanted, weight_and_bias


@dataclass(frozen=True)
class Linear(Layer):
    """`npseg.ops.linear` with its weight and bias."""

    in_features: int
    out_features: int
    bias: bool = True
    initialiser: str = "he_normal"

    def __post_init__(self) -> None:
        """Check what the parameters' shapes follow from."""
        checks.integer(self.in_features, "in_features", at_least=1)
        checks.integer(self.out_features, "out_features", at_least=1)
        checks.flag(self.bias, "bias")

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (C_out, C_in) and the bias (C_out,)."""
        shape = self.out_features, self.in_features
        return weight_and_bias(shape, self.initialiser, self.out_features if self.bias else None)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C_out,)."""
        return (self.out_features,)

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The product; the backward pass needs its input."""
        (x,) = inputs
        return ops.linear(x, parameters["weight"], parameters.get("bias")), x

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """All three at once: they are cheap."""
        grad_x, grad_weight, grad_bias = ops.linear_backward(grad, saved, parameters["weight"])
        grads = {"weight": grad_weight, "bias": grad_bias} if self.bias else {"weight": grad_weight}
        return (grad_x if wanted.inputs else None,), grads if wanted.parameters else {}


@dataclass(frozen=True)
class Flatten(Layer):
    """A map of one fixed size as a vector, in the order (C, H, W): where a classifier loses its positions."""

    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Check the argument."""
        if not isinstance(self.shape, tuple) or len(self.shape) != 3:
            raise TypeError(f"shape must be a tuple (C, H, W), got {checks.describe(self.shape)}")
        for length in self.shape:
            checks.integer(length, "shape", at_least=1)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C * H * W,)."""
        return (math.prod(self.shape),)

    def axes(self, *inputs: Shape) -> tuple[Axis, Axis]:
        """A window as large as the map."""
        return Axis(self.shape[1]), Axis(self.shape[2])

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back.

        Raises:
            ValueError: the map has another size; a fully connected layer fits only one.
        """
        (x,) = inputs
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"x must give a map of shape {self.shape}, the only one that the fully connected layer fits, "
                f"got {x.shape[1:]}"
            )
        return x.reshape(len(x), math.prod(self.shape)), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The same numbers in the map's shape."""
        return (grad.reshape(len(grad), *self.shape),), {}
