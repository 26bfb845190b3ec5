"""Optimisers: how a gradient changes the parameters.

Both work in place, so whoever holds a parameter sees it move, and keep what they remember in `state`, a dict of named
arrays: a checkpoint stores these arrays and a resumed run puts them back.
"""

import math
from collections.abc import Callable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Protocol

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import own_form

EVEN: Mapping[str, float] = MappingProxyType({})
"""All parameters at one rate."""

PIECE = 1 << 16
"""Numbers of an array that are updated at once in NumPy."""


class Optimiser(Protocol):
    """What the training loop needs of an optimiser."""

    state: dict[str, Array]
    """Everything remembered from earlier updates; an array named `moment/parameter` has that parameter's shape."""

    def update(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        rate: float,
        scales: Mapping[str, float] = EVEN,
    ) -> list[str]:
        """Move each parameter that has a gradient, in place, by one step at this learning rate times its scale.

        Returns the names of those that are no longer finite.
        """


class SGD:
    """Stochastic gradient descent with momentum and weight decay, as Caffe does it and as FCN was trained.

        velocity  <- momentum * velocity - rate * (gradient + weight_decay * parameter)
        parameter <- parameter + velocity

    Biases learn at twice the rate and do not decay (`lr_mult: 2`, `decay_mult: 0` in FCN's published networks).
    The rate stands inside the velocity: after a drop of the rate, momentum still carries the larger steps made before.

    Args:
        momentum: the part of the former step that is kept, 0 <= momentum < 1.
        weight_decay: the pull of the weights towards zero, at least 0.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Source: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation" (2015), section 4.3.

    >>> parameters = {"fc.weight": np.ones(2, np.float32), "fc.bias": np.ones(2, np.float32)}
    >>> gradients = {name: np.ones(2, np.float32) for name in parameters}
    >>> SGD(momentum=0.9, weight_decay=1.0).update(parameters, gradients, 0.125)
    []
    >>> parameters
    {'fc.weight': array([0.75, 0.75], dtype=float32), 'fc.bias': array([0.75, 0.75], dtype=float32)}
    """

    def __init__(self, momentum: float = 0.9, weight_decay: float = 5e-4) -> None:
        """See the class."""
        self.momentum = checks.number(momentum, "momentum", at_least=0.0, below=1.0)
        self.weight_decay = checks.number(weight_decay, "weight_decay", at_least=0.0)
        self.state: dict[str, Array] = {}

    @np.errstate(over="ignore", invalid="ignore")
    def update(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        rate: float,
        scales: Mapping[str, float] = EVEN,
    ) -> list[str]:
        """Move each parameter that has a gradient, in place.

        Args:
            parameters: arrays by name; a name that ends in `.bias` is a bias.
            gradients: the loss's gradient by parameter name, of the parameter's shape and dtype.
            rate: the learning rate of this step.
            scales: by name, the factors of those parameters' rates; the others have 1.

        Returns:
            The names of the parameters that the step made infinite or NaN.

        Raises:
            ValueError, TypeError: a gradient without a parameter, or of another shape or dtype.
        """
        rate = checks.number(rate, "rate", at_least=0.0)
        own = own_form("sgd_update")
        diverged = []
        for name, gradient in gradients.items():
            gradient = checks.array(gradient, f"the gradient of {name}")
            parameter = _parameter_of(parameters, name, gradient)
            velocity = _moment(self.state, "velocity", name, parameter)
            bias = _is_bias(name)
            own_rate = rate * scales.get(name, 1.0)
            numbers = {
                "rate": 2 * own_rate if bias else own_rate,
                "momentum": self.momentum,
                "decay": 0.0 if bias else self.weight_decay,
            }
            if not (own or _sgd_update)(parameter, gradient, velocity, **numbers):
                diverged.append(name)
        return diverged


def _in_pieces(update: Callable[..., bool]) -> Callable[..., bool]:
    """Let an update of arrays of one shape go piece by piece, so that what it reads again is still in the cache."""

    @wraps(update)
    def whole(*arrays: Array, **numbers: float) -> bool:
        lines = [np.atleast_1d(array) for array in arrays]
        rows = max(1, PIECE * len(lines[0]) // max(1, lines[0].size))
        pieces = (slice(first, first + rows) for first in range(0, len(lines[0]), rows))
        finite = [update(*(line[piece] for line in lines), **numbers) for piece in pieces]
        return all(finite)

    return whole


@_in_pieces
def _sgd_update(
    parameter: Array, gradient: Array, velocity: Array, *, rate: float, momentum: float, decay: float
) -> bool:
    """One parameter's step; whether it is still finite."""
    velocity *= momentum
    velocity -= rate * (gradient + decay * parameter if decay else gradient)
    parameter += velocity
    return bool(np.isfinite(parameter).all())


class Adam:
    """Adam: each parameter's step is scaled by the gradient's running mean and root mean square.

        first     <- beta1 * first  + (1 - beta1) * gradient
        second    <- beta2 * second + (1 - beta2) * gradient^2
        parameter <- parameter - rate * (first / (1 - beta1^t)) / (sqrt(second / (1 - beta2^t)) + epsilon)

    The divisions by `1 - beta^t` (t counts the updates) correct that both means start at zero. Weight decay is the
    decoupled one (AdamW): `parameter <- parameter - rate * weight_decay * parameter`, not for biases.

    Args:
        beta1: memory of the mean, 0 <= beta1 < 1.
        beta2: memory of the mean square, 0 <= beta2 < 1.
        epsilon: keeps the division finite, above 0.
        weight_decay: the pull of the weights towards zero, at least 0.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1; the decay: Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization" (2019).

    >>> parameters = {"fc.weight": np.zeros(2, np.float32)}
    >>> Adam().update(parameters, {"fc.weight": np.array([3.0, -0.01], np.float32)}, 0.5)
    []
    >>> parameters["fc.weight"].round(3)  # the first step has the rate's size, whatever the gradient's
    array([-0.5,  0.5], dtype=float32)
    """

    def __init__(
        self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        """See the class."""
        self.beta1 = checks.number(beta1, "beta1", at_least=0.0, below=1.0)
        self.beta2 = checks.number(beta2, "beta2", at_least=0.0, below=1.0)
        self.epsilon = checks.number(epsilon, "epsilon", at_least=0.0)
        if self.epsilon == 0:
            raise ValueError("epsilon must be above 0, got 0.0")
        self.weight_decay = checks.number(weight_decay, "weight_decay", at_least=0.0)
        self.state: dict[str, Array] = {"updates": np.zeros((), np.int64)}

    @np.errstate(over="ignore", invalid="ignore")
    def update(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        rate: float,
        scales: Mapping[str, float] = EVEN,
    ) -> list[str]:
        """Move each parameter that has a gradient, in place; arguments, result and errors as in `SGD.update`."""
        rate = checks.number(rate, "rate", at_least=0.0)
        self.state["updates"] += 1
        updates = int(self.state["updates"])
        root = math.sqrt(1 - self.beta2**updates)  # both corrections, drawn out of the arrays
        numbers = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon * root}
        own = own_form("adam_update")
        diverged = []
        for name, gradient in gradients.items():
            gradient = checks.array(gradient, f"the gradient of {name}")
            parameter = _parameter_of(parameters, name, gradient)
            first = _moment(self.state, "first_moment", name, parameter)
            second = _moment(self.state, "second_moment", name, parameter)
            own_rate = rate * scales.get(name, 1.0)
            step_size = own_rate * root / (1 - self.beta1**updates)
            decay = 0.0 if _is_bias(name) else own_rate * self.weight_decay
            if not (own or _adam_update)(
                parameter, gradient, first, second, **numbers, step_size=step_size, decay=decay
            ):
                diverged.append(name)
        return diverged


@_in_pieces
def _adam_update(
    parameter: Array,
    gradient: Array,
    first: Array,
    second: Array,
    *,
    beta1: float,
    beta2: float,
    step_size: float,
    epsilon: float,
    decay: float,
) -> bool:
    """One parameter's step; whether it is still finite."""
    first *= beta1
    first += (1 - beta1) * gradient
    second *= beta2
    second += (1 - beta2) * gradient * gradient
    if decay:
        parameter -= decay * parameter
    parameter -= step_size * first / (np.sqrt(second) + epsilon)
    return bool(np.isfinite(parameter).all())


def restore(optimiser: Optimiser, state: Mapping[str, Array], parameters: Mapping[str, Array]) -> None:
    """Give a new optimiser the memory of an old one.

    Args:
        optimiser: a fresh optimiser of the same kind.
        state: the old one's `state`.
        parameters: the parameters both work on.

    Raises:
        ValueError: an array that does not fit these parameters.
    """
    for name, array in state.items():
        _, of_a_parameter, parameter = name.partition("/")
        expected = parameters.get(parameter) if of_a_parameter else optimiser.state.get(name)
        if expected is None or array.shape != expected.shape or array.dtype != expected.dtype:
            raise ValueError(f"the optimiser's {name} ({checks.describe(array)}) does not fit the network")
    optimiser.state.update({name: np.array(array) for name, array in state.items()})


def _is_bias(name: str) -> bool:
    return name.endswith(".bias")


def _parameter_of(parameters: Mapping[str, Array], name: str, gradient: Array) -> Array:
    """The parameter that a gradient is for. A float64 gradient would make float32 training slower without a word."""
    if name not in parameters:
        raise ValueError(f"gradients has {name}, which is no parameter")
    checks.shape(gradient, f"the gradient of {name}", parameters[name].shape)
    checks.same_dtype(parameter=parameters[name], gradient=gradient)
    return parameters[name]


def _moment(state: dict[str, Array], moment: str, name: str, parameter: Array) -> Array:
    """The running array of one parameter, zero before its first update."""
    key = f"{moment}/{name}"
    if key not in state:
        state[key] = np.zeros_like(parameter)
    checks.shape(state[key], f"the optimiser's {key}", parameter.shape, "the parameter's")
    checks.same_dtype(parameter=parameter, moment=state[key])
    return state[key]
