"""A case: one call of an operation with fresh random numbers, and what its definition says should come out."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.randomness import generator
from npseg.verify import definitions
from npseg.verify.calls import OPERATIONS, arrays_in, call, has_backward, takes_engine
from npseg.verify.comparisons import proves_nothing
from npseg.verify.draw import Draw
from npseg.verify.drawing import DRAWERS, draw_call

EXACT = frozenset(
    {"avg_pool2d", "bed_of_nails_unpool2d", "col2im", "conv2d", "conv2d_grad_input", "conv2d_grad_weight"}
    | {"conv_transpose2d", "crop2d", "depthwise_conv2d", "dropout", "global_avg_pool2d", "im2col", "linear"}
    | {"max_pool2d", "max_unpool2d", "nearest_unpool2d", "relu", "relu6", "resize_bilinear", "segmentation_map"}
    | {"separable_conv2d"}
)
"""What whole numbers go through without rounding, where means and interpolations divide by powers of two."""

SELECTING = frozenset({"max_pool2d", "relu", "relu6", "segmentation_map"})
"""What picks some of the numbers as they are."""

LINEAR = EXACT - SELECTING
"""What is linear in each of its arrays: with all numbers positive it shows how large the summands were."""

LARGE_EVERY = 4
"""One case of so many is large; its engines are compared with one another, for loops would take too long."""

LARGEST_CONDITION = 100.0
"""A deconvolution that amplifies errors more than this says little about the code."""


@dataclass(frozen=True, eq=False)
class Case:
    """One call: an operation of `npseg.ops`, its float arrays, and its other arguments.

    Attributes:
        operation: its name.
        arrays: what results are differentiated by.
        arguments: the others; a call changes only copies of them.
        seed: which case it is.
        large: too large for loops.
    """

    operation: str
    arrays: Mapping[str, Array]
    arguments: Mapping[str, Any]
    seed: int
    large: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all float arrays."""
        return next(iter(self.arrays.values())).dtype

    def random(self, like: Any, purpose: str) -> Array:
        """Normally distributed numbers of an array's shape, in the case's dtype, always the same for one purpose."""
        rng = generator(self.seed, f"verify {self.operation} {purpose}")
        return np.asarray(rng.standard_normal(np.shape(like)), self.dtype)

    def cotangent(self, y: Any) -> Array:
        """A random gradient that comes back to a result."""
        return self.random(y, "cotangent")

    def with_arrays(self, arrays: Mapping[str, Array]) -> "Case":
        """The same call of other numbers."""
        return replace(self, arrays=arrays)

    def in_float64(self) -> "Case":
        """The same numbers in float64."""
        return replace(
            self,
            arrays={name: array.astype(np.float64) for name, array in self.arrays.items()},
            arguments={name: _widened(value) for name, value in self.arguments.items()},
        )

    def absolute(self) -> "Case":
        """The same call of the numbers' absolute values."""
        return self.with_arrays({name: np.abs(array) for name, array in self.arrays.items()})

    def results(self, engine: str) -> list[Array]:
        """All that the operation computes, the statistics that it moves included."""
        arguments = copy.deepcopy(dict(self.arguments))
        result = call(self.operation, engine, **self.arrays, **arguments)
        return arrays_in(result) + _moved(arguments)

    def by_definition(self) -> list[Array]:
        """The same by the operation's definition in `npseg.verify.definitions`."""
        given = self if self.operation == "dropout" else self.in_float64()  # whose draws depend on the dtype
        arguments = copy.deepcopy(dict(given.arguments))
        result = getattr(definitions, self.operation)(**given.arrays, **arguments)
        return arrays_in(result) + _moved(arguments)

    @cached_property
    def expected(self) -> list[Array]:
        """What the definition says."""
        return self.by_definition()

    @cached_property
    def magnitudes(self) -> list[Array]:
        """How large the numbers are that each expected one is made of: rounding errors are in proportion to them."""
        if self.operation in LINEAR:
            return self.absolute().by_definition()
        return self.overall(self.expected)

    def overall(self, expected: Sequence[Array]) -> list[Array]:
        """One size for each array as a whole: the largest number in it or in what it was made of."""
        inputs = max(float(np.abs(array).max()) for array in self.arrays.values())
        largest = [max(inputs, float(np.abs(array).max(initial=0))) for array in expected]
        return [np.asarray(self.condition**2 * size) for size in largest]

    @cached_property
    def condition(self) -> float:
        """By how much a deconvolution's equations amplify errors; 1 for all other operations."""
        if self.operation != "deconvolve2d":
            return 1.0
        arguments = dict(self.in_float64().arguments)
        regularization = arguments.pop("regularization", 0.0)
        kernel = self.arrays["kernel"].astype(np.float64)
        matrix, _ = definitions.deconvolution_matrix(self.arrays["y"].shape, kernel, **arguments)
        if regularization:
            matrix = np.concatenate([matrix, math.sqrt(regularization) * np.eye(matrix.shape[1])])
        return float(np.linalg.cond(matrix))

    @property
    def baseline(self) -> str:
        """The engine that the others are compared with: the loops, where they can be waited for."""
        return "loops" if takes_engine(self.operation) and not self.large else "im2col"


def draw_case(operation: str, seed: int, *, exact: bool = False) -> Case:
    """The case of this number: of even ones the dtype is float64, of odd ones float32; every fourth is large.

    Args:
        operation: a name of `npseg.ops`.
        seed: the number of the case.
        exact: whether its numbers shall be small and whole.
    """
    rng = generator(seed, f"verify {operation} {'exact' if exact else 'case'}")
    dtype, large = dtype_of(seed), is_large(seed) and _may_be_large(operation)
    while True:
        shapes, arguments = draw_call(operation, Draw(rng, dtype, large, exact))
        arrays = {name: _numbers(rng, operation, shape, exact).astype(dtype) for name, shape in shapes.items()}
        case = Case(operation, arrays, arguments, seed, large)
        if large or (case.condition < LARGEST_CONDITION and not proves_nothing(case.expected[0])):
            return case


def dtype_of(seed: int) -> np.dtype[Any]:
    """Of the case of this number."""
    return np.dtype(np.float32 if seed % 2 else np.float64)


def is_large(seed: int) -> bool:
    """Whether the case of this number is, where its operation has large ones."""
    return seed % LARGE_EVERY == LARGE_EVERY - 1


def operations() -> list[str]:
    """The names of all operations that have cases; a backward pass is looked at with its forward one."""
    return [name for name in sorted(OPERATIONS) if not (name.endswith("_backward") and has_backward(name[:-9]))]


def _may_be_large(operation: str) -> bool:
    return operation in EXACT


def _numbers(rng: np.random.Generator, operation: str, shape: tuple[int, ...], exact: bool) -> Array:
    if exact:
        return rng.integers(-4, 4, shape, endpoint=True)
    if operation in DRAWERS and operation not in SELECTING:
        return rng.standard_normal(shape)
    # All different and none near a whole number, so that a small step crosses no kink; of both signs and beyond 6.
    size = math.prod(shape)
    return np.asarray(16 * (rng.permutation(size).reshape(shape) + rng.uniform(0.26, 0.36)) / size - 8)


def _widened(value: Any) -> Any:
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float64) if is_float else value


def _moved(arguments: Mapping[str, Any]) -> list[Array]:
    return [arguments[name] for name in ("running_mean", "running_var") if name in arguments]
