"""The optimisers, held against the rules that they are named after, number by number in float64.

An optimiser does to each number of a parameter what it does to all others: a rule tells one number's way through all
updates. What an engine has of its own (`npseg.engines.own_form`) is looked at as networks use it, from `update`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from npseg import use_engine
from npseg.checks import Array
from npseg.randomness import generator
from npseg.training.optimisers import SGD, Adam, Optimiser
from npseg.verify.cases import dtype_of, is_large
from npseg.verify.comparisons import Comparison, all_roundings
from npseg.verify.draw import Draw

OVERFLOW = 0.5
"""How often a parameter's last gradient has a number that is none."""


def sgd(
    parameter: float, gradients: Sequence[float], rates: Sequence[float], *, momentum: float, weight_decay: float
) -> tuple[float, float]:
    """A number and its velocity after gradient descent with momentum, whose rate stands inside the velocity.

    Source: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation" (2015), section 4.3,
    in the form of Caffe's solver.

    >>> sgd(1.0, [1.0, 0.0], [0.25, 0.0], momentum=0.5, weight_decay=0.0)  # momentum carries the larger rate on
    (0.625, -0.125)
    """
    velocity = 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity - rate * (gradient + weight_decay * parameter)
        parameter = parameter + velocity
    return parameter, velocity


def adam(
    parameter: float,
    gradients: Sequence[float],
    rates: Sequence[float],
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple[float, float, float]:
    """A number and its two moments after Adam, whose decay is decoupled: of the old number, past the moments.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1; the decay: Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.

    >>> adam(1.0, [2.0], [0.5], beta1=0.5, beta2=0.75, epsilon=1.0, weight_decay=0.25)  # 1 - 0.5 * (2 / (2 + 1) + 0.25)
    (0.5416666666666667, 1.0, 1.0)
    """
    first = second = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        unbiased_first, unbiased_second = first / (1 - beta1**t), second / (1 - beta2**t)
        step = unbiased_first / (math.sqrt(unbiased_second) + epsilon)
        parameter = parameter - rate * (step + weight_decay * parameter)
    return parameter, first, second


@dataclass(frozen=True)
class Rule:
    """What an optimiser shall do.

    Attributes:
        optimiser: the class in question.
        number: the way of one number.
        moments: the names, in the optimiser's `state`, of what the way ends with beside the number.
        bias_rate: how much faster biases learn.
    """

    optimiser: Callable[..., Optimiser]
    number: Callable[..., tuple[float, ...]]
    moments: Sequence[str]
    bias_rate: float


OPTIMISERS = {
    "sgd": Rule(SGD, sgd, ("velocity",), bias_rate=2.0),
    "adam": Rule(Adam, adam, ("first_moment", "second_moment"), bias_rate=1.0),
}
"""By the names under which they appear among the operations."""


class Outcome(NamedTuple):
    """The parameters and `moment/parameter` after the last update, and the parameters named as no longer finite."""

    arrays: Mapping[str, Array]
    diverged: set[str]


@dataclass(frozen=True, eq=False)
class Course:
    """Some updates of a network's parameters.

    Attributes:
        name: the optimiser's.
        settings: its arguments.
        parameters: what they start from, by name.
        gradients: of each update, by the parameters' names.
        rates: of each update.
        scales: the factors of some parameters' rates.
    """

    name: str
    settings: Mapping[str, float]
    parameters: Mapping[str, Array]
    gradients: Sequence[Mapping[str, Array]]
    rates: Sequence[float]
    scales: Mapping[str, float]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all arrays."""
        return next(iter(self.parameters.values())).dtype

    def outcome(self, engine: str) -> Outcome:
        """By the optimiser."""
        optimiser = OPTIMISERS[self.name].optimiser(**self.settings)
        parameters = {name: array.copy(order="K") for name, array in self.parameters.items()}
        diverged: set[str] = set()
        with use_engine(engine):
            for gradients, rate in zip(self.gradients, self.rates, strict=True):
                diverged.update(optimiser.update(parameters, gradients, rate, self.scales))
        return Outcome({**parameters, **optimiser.state}, diverged)

    @cached_property
    def expected(self) -> Outcome:
        """By the rule: biases do not decay; a parameter has diverged that does not end finite."""
        rule, arrays = OPTIMISERS[self.name], dict[str, Array]()
        for name, parameter in self.parameters.items():
            rates, settings = [self.scales.get(name, 1.0) * rate for rate in self.rates], self.settings
            if name.endswith(".bias"):
                rates, settings = [rule.bias_rate * rate for rate in rates], {**settings, "weight_decay": 0.0}
            given = [parameter, *(gradients[name] for gradients in self.gradients)]
            numbers = zip(*(array.ravel().tolist() for array in given), strict=True)
            ends = np.array([rule.number(start, gradients, rates, **settings) for start, *gradients in numbers])
            for key, values in zip((name, *(f"{moment}/{name}" for moment in rule.moments)), ends.T, strict=True):
                arrays[key] = values.reshape(parameter.shape)
        return Outcome(arrays, {name for name in self.parameters if not np.isfinite(arrays[name]).all()})


def definition(course: Course, engine: str) -> Comparison:
    """The parameters, what the optimiser remembers, and the names that it returns, against the rule in float64."""
    return _compared(course, course.outcome(engine), course.expected)


def cross_engine(course: Course, engine: str) -> Comparison | None:
    """The same against what is written in NumPy."""
    if engine == "im2col":
        return None
    return _compared(course, course.outcome(engine), course.outcome("im2col"))


UPDATE_CHECKS: Mapping[str, Callable[[Course, str], Comparison | None]] = {
    "definition": definition,
    "cross-engine": cross_engine,
}


def _compared(course: Course, ours: Outcome, theirs: Outcome) -> Comparison:
    """In roundings of the largest number that should come out; what is infinite or NaN must be so in both."""
    if ours.diverged != theirs.diverged:
        said, true = (", ".join(sorted(names)) or "none" for names in (ours.diverged, theirs.diverged))
        return Comparison(math.inf, trouble=f"named as no longer finite: {said} instead of {true}")
    finite = {name: np.isfinite(array) for name, array in theirs.arrays.items()}
    wrong = [name for name in finite if not np.array_equal(np.isfinite(ours.arrays[name]), finite[name])]
    if wrong:
        return Comparison(math.inf, trouble=f"{wrong[0]} is finite at other places")
    results, expected = (
        [np.where(finite[name], outcome.arrays[name], 0) for name in finite] for outcome in (ours, theirs)
    )
    size = np.asarray(max(float(np.abs(array).max()) for array in expected))
    return all_roundings(results, expected, [size] * len(results), float(np.finfo(course.dtype).eps))


def draw_course(name: str, seed: int) -> Course:
    """The course of this number: its dtype, and whether it is large, are those of all cases of the number.

    The matrix does not lie row by row in memory; a large filter is several tasks for the compiled engine's threads.
    """
    draw = Draw(generator(seed, f"verify {name} case"), dtype_of(seed), is_large(seed))
    channels = draw.integer(120, 150) if draw.large else draw.integer(2, 5)
    shapes = {
        "conv.weight": (channels, 32, 3, 3),
        "conv.bias": (channels,),
        "fc.weight": (draw.integer(2, 6), channels),
        "fc.bias": (draw.integer(2, 6),),
    }
    parameters, *gradients = (_numbers(draw, shapes) for _ in range(1 + draw.integer(2, 4)))
    parameters["fc.weight"] = np.asfortranarray(parameters["fc.weight"])
    for gradient in gradients[-1].values():
        if draw.chance(OVERFLOW):
            gradient.flat[draw.integer(0, gradient.size - 1)] = draw.pick((math.inf, -math.inf, math.nan))
    rates = [draw.rng.uniform(0.01, 0.2) for _ in gradients]
    scales = {f"fc.{kind}": draw.rng.uniform(2, 10) for kind in ("weight", "bias")}
    return Course(name, _settings(name, draw.rng), parameters, gradients, rates, scales)


def _numbers(draw: Draw, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    return {name: draw.rng.standard_normal(shape).astype(draw.dtype) for name, shape in shapes.items()}


def _settings(name: str, rng: np.random.Generator) -> dict[str, Any]:
    decay = {"weight_decay": rng.uniform(0.01, 0.1)}
    if name == "sgd":
        return {**decay, "momentum": rng.uniform(0.5, 0.95)}
    return {**decay, "beta1": rng.uniform(0.5, 0.95), "beta2": rng.uniform(0.8, 0.999), "epsilon": rng.uniform(0, 0.1)}
