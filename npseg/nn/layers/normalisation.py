"""Layers that normalise: by the batch, or by the channels around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npseg import checks, ops
from npseg.checks import Array
from npseg.nn.layers.layer import Gradients, Layer, Mode, ParameterSpec, Wanted


@dataclass(frozen=True)
class BatchNorm2d(Layer):
    """`npseg.ops.batch_norm2d`: weight and bias are its gamma and beta, the running statistics its buffers.

    `fixed` keeps to the running statistics while training too: a network that begins with statistics of a million
    images loses by those of a batch of four.
    """

    channels: int
    momentum: float = 0.1
    eps: float = 1e-5
    fixed: bool = False

    def __post_init__(self) -> None:
        """Check what the parameters' shapes follow from, and what no operation checks."""
        checks.integer(self.channels, "channels", at_least=1)
        checks.flag(self.fixed, "fixed")

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight (gamma) and the bias (beta), (C,) each."""
        return {
            "weight": ParameterSpec((self.channels,), "ones"),
            "bias": ParameterSpec((self.channels,), "zeros"),
        }

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The running mean and variance, (C,) each."""
        return {
            "running_mean": ParameterSpec((self.channels,), "zeros"),
            "running_var": ParameterSpec((self.channels,), "ones"),
        }

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Normalise by the batch while training, by the running statistics otherwise, or where these are fixed."""
        (x,) = inputs
        names = "weight", "bias", "running_mean", "running_var"
        y, saved = ops.batch_norm2d(
            x,
            *(parameters[name] for name in names),
            training=mode.training and not self.fixed,
            momentum=self.momentum,
            eps=self.eps,
        )
        return y, (x, saved)

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """In the mode of the forward pass."""
        x, statistics = saved
        grad_x, grad_gamma, grad_beta = ops.batch_norm2d_backward(grad, x, parameters["weight"], statistics)
        return (grad_x,), {"weight": grad_gamma, "bias": grad_beta} if wanted.parameters else {}


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """`npseg.ops.local_response_norm`, with AlexNet's constants as Caffe has them."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """The backward pass needs the input."""
        (x,) = inputs
        return ops.local_response_norm(x, self.size, alpha=self.alpha, beta=self.beta, k=self.k), x

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each value also lowers its neighbours in the channels."""
        x = saved
        return (ops.local_response_norm_backward(grad, x, self.size, alpha=self.alpha, beta=self.beta, k=self.k),), {}
