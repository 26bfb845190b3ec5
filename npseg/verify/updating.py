"""An optimiser's steps against its formulas, number by number.

No number of a parameter influences another one, so of long arrays only some are followed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npseg import use_engine
from npseg.checks import Array
from npseg.randomness import generator
from npseg.training.optimisers import SGD, Adam, Optimiser
from npseg.verify.comparisons import Comparison, all_roundings, roundings

OPTIMISERS = ("sgd", "adam")
"""The names under which optimisers appear among the operations."""

WITH_OWN_FORMS = ("im2col", "numba")
"""All engines share the form in NumPy but the compiled one."""

STEPS = 4

FOLLOWED = 40
"""How many numbers of each array are updated by the definition, too."""

LENGTHS = {"long.weight": (5, 4000), "short.weight": (3, 7), "short.bias": (9,), "apart.weight": (6, 4)}
"""The parameters: one that is cut into several tasks, and one whose numbers do not lie side by side."""

LOST = "lost.weight"
"""A parameter that the last gradient makes infinite."""


@dataclass(frozen=True)
class Updates:
    """Some steps of one optimiser.

    Attributes:
        optimiser: "sgd" or "adam".
        options: its arguments.
        parameters: before the first step, in the dtype of the case.
        gradients: of each step, by name.
        rates: of each step.
        scales: of the rates, by name.
    """

    optimiser: str
    options: Mapping[str, float]
    parameters: Mapping[str, Array]
    gradients: Sequence[Mapping[str, Array]]
    rates: list[float]
    scales: Mapping[str, float]


class Outcome(NamedTuple):
    """Parameters and memory by name, and what was said to be no longer finite after each step."""

    arrays: Mapping[str, Array]
    lost: list[list[str]]


def definition(updates: Updates, engine: str) -> Comparison:
    """An engine's steps against the formulas."""
    found = performed(updates, engine)
    expected: list[list[str]] = [[]] * (STEPS - 1) + [[LOST]]
    if found.lost != expected:
        return Comparison(math.inf, trouble=f"no longer finite {found.lost} instead of {expected}")
    ours, theirs, sizes = [], [], []
    for name in LENGTHS:
        places = _followed(updates.parameters[name].size)
        followed = [_by_definition(updates, name, place) for place in places]
        for key in followed[0]:
            ours.append(found.arrays[key].ravel()[places])
            theirs.append(np.array([numbers[key].value for numbers in followed]))
            sizes.append(np.array([numbers[key].size for numbers in followed]))
    return all_roundings(ours, theirs, sizes, float(np.finfo(ours[0].dtype).eps))


def cross_engine(updates: Updates, engine: str) -> Comparison | None:
    """An engine's steps against those in NumPy, all numbers; a rounding is one of the array's largest number."""
    if engine == "im2col":
        return None
    ours, theirs = performed(updates, engine), performed(updates, "im2col")
    found = None
    for key, expected in theirs.arrays.items():
        if not key.endswith(LOST):
            size = np.asarray(np.abs(expected).max())
            found = roundings(ours.arrays[key], expected, size, float(np.finfo(expected.dtype).eps)).joined(found)
    if ours.lost != theirs.lost:
        return Comparison(math.inf, trouble=f"no longer finite {ours.lost} instead of {theirs.lost}")
    return found


CHECKS: Mapping[str, Callable[[Updates, str], Comparison | None]] = {
    "definition": definition,
    "cross-engine": cross_engine,
}


def draw_updates(optimiser: str, seed: int) -> Updates:
    """The case of this number: every second one in float32."""
    rng = generator(seed, f"verify {optimiser}")
    dtype = (np.float64, np.float32)[seed % 2]

    def draw(shape: tuple[int, ...]) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    shapes = {**LENGTHS, LOST: (3,)}
    gradients = [{name: draw(shape) for name, shape in shapes.items()} for _ in range(STEPS)]
    gradients[-1][LOST][1] = np.inf
    decay = float(rng.uniform(0.01, 0.1))
    options = {"momentum": float(rng.uniform(0.5, 0.95)), "weight_decay": decay}
    if optimiser == "adam":
        options = {
            "beta1": float(rng.uniform(0.5, 0.95)),
            "beta2": float(rng.uniform(0.9, 0.999)),
            "epsilon": float(rng.uniform(1e-8, 1e-2)),
            "weight_decay": decay,
        }
    return Updates(
        optimiser,
        options,
        {name: draw(shape) for name, shape in shapes.items()},
        gradients,
        [float(rate) for rate in rng.uniform(0.01, 0.2, STEPS)],
        {"short.weight": 0.25, "short.bias": 3.0},
    )


def performed(updates: Updates, engine: str) -> Outcome:
    """All steps on an engine."""
    parameters = {name: array.copy() for name, array in updates.parameters.items()}
    parameters["apart.weight"] = _apart(parameters["apart.weight"])
    optimiser: Optimiser = (SGD if updates.optimiser == "sgd" else Adam)(**updates.options)
    with use_engine(engine):
        lost = [
            optimiser.update(parameters, {**gradients, "apart.weight": _apart(gradients["apart.weight"])}, rate, scales)
            for gradients, rate, scales in zip(updates.gradients, updates.rates, [updates.scales] * STEPS, strict=True)
        ]
    memory = {key: array for key, array in optimiser.state.items() if array.ndim}
    return Outcome({**parameters, **memory}, lost)


def _apart(array: Array) -> Array:
    """The same numbers with others between them."""
    wide = np.zeros((len(array), 2 * array.shape[1]), array.dtype)
    wide[:, ::2] = array
    return wide[:, ::2]


def _followed(length: int) -> Array:
    """Places from the first to the last."""
    return np.unique(np.linspace(0, length - 1, FOLLOWED).astype(np.int64))


# --------------------------------------------------------------------------------------------------------- definitions


class Number(NamedTuple):
    """A number, and the size of what it was added up from."""

    value: float
    size: float

    def times(self, factor: float) -> "Number":
        """The product with a factor."""
        return Number(self.value * factor, self.size * abs(factor))

    def plus(self, other: "Number") -> "Number":
        """The sum."""
        return Number(self.value + other.value, self.size + other.size)


def _given(value: float) -> Number:
    return Number(float(value), abs(float(value)))


def _by_definition(updates: Updates, name: str, place: int) -> dict[str, Number]:
    """What becomes of one number of a parameter and of what the optimiser remembers of it."""
    parameter = _given(updates.parameters[name].ravel()[place])
    gradients = [_given(step[name].ravel()[place]) for step in updates.gradients]
    scale, is_bias = updates.scales.get(name, 1.0), name.endswith(".bias")
    follow = _sgd if updates.optimiser == "sgd" else _adam
    rates = [rate * scale for rate in updates.rates]
    numbers = follow(parameter, gradients, rates, is_bias, **updates.options)
    return {(f"{key}/{name}" if key else name): number for key, number in numbers.items()}


def _sgd(
    parameter: Number, gradients: list[Number], rates: list[float], is_bias: bool, momentum: float, weight_decay: float
) -> dict[str, Number]:
    """Caffe's form: the rate is inside the velocity, and biases learn twice as fast and do not decay."""
    velocity = _given(0.0)
    for gradient, rate in zip(gradients, rates, strict=True):
        pull = gradient if is_bias else gradient.plus(parameter.times(weight_decay))
        velocity = velocity.times(momentum).plus(pull.times(-2 * rate if is_bias else -rate))
        parameter = parameter.plus(velocity)
    return {"": parameter, "velocity": velocity}


def _adam(
    parameter: Number,
    gradients: list[Number],
    rates: list[float],
    is_bias: bool,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> dict[str, Number]:
    """Kingma and Ba's algorithm 1, with Loshchilov and Hutter's decay of the parameter as it was before the step."""
    first = second = _given(0.0)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        first = first.times(beta1).plus(gradient.times(1 - beta1))
        second = second.times(beta2).plus(gradient.times(gradient.value).times(1 - beta2))
        mean, square = first.times(1 / (1 - beta1**t)), second.value / (1 - beta2**t)
        step = mean.times(-rate / (math.sqrt(square) + epsilon))
        decayed = parameter if is_bias else parameter.plus(parameter.times(-rate * weight_decay))
        parameter = decayed.plus(step)
    return {"": parameter, "first_moment": first, "second_moment": second}
