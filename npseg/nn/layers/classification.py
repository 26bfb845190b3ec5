"""Layers that turn scores into probabilities, in networks that serve; `npseg.nn.cross_entropy` takes the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg import ops
from npseg.checks import Array
from npseg.nn.layers.layer import Gradients, Layer, Mode, Wanted


@dataclass(frozen=True)
class Softmax(Layer):
    """`npseg.ops.softmax`, over the channels unless told otherwise."""

    axis: int = 1

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the output."""
        y = ops.softmax(inputs[0], self.axis)
        return y, y

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """y * (grad - the sum along the axis of grad * y): the probabilities always sum to 1."""
        y = saved
        return (y * (grad - (grad * y).sum(axis=self.axis, keepdims=True)),), {}


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """`npseg.ops.log_softmax`, over the channels unless told otherwise."""

    axis: int = 1

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the output."""
        y = ops.log_softmax(inputs[0], self.axis)
        return y, y

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Grad - softmax * the sum along the axis of grad."""
        return (grad - np.exp(saved) * grad.sum(axis=self.axis, keepdims=True),), {}
