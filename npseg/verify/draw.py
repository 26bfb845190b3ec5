"""The random choices that calls are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Shapes = dict[str, tuple[int, ...]]
Drawn = tuple[Shapes, dict[str, Any]]
"""The shapes of the float arrays, and the other arguments."""

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """A source of random choices, and what is asked of a case.

    Attributes:
        rng: where they come from.
        dtype: of the float arrays.
        large: enough work for the compiled engine's blocks, tiles and threads, too much for loops.
        exact: whole numbers in, so that every intermediate result is exact.
    """

    rng: np.random.Generator
    dtype: np.dtype[Any]
    large: bool = False
    exact: bool = False

    def integer(self, low: int, high: int) -> int:
        """Between the two, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def chance(self, probability: float) -> bool:
        """True so often."""
        return bool(self.rng.random() < probability)

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.integer(0, len(choices) - 1)]

    def pair(self, low: int, high: int, equal: float = 0.3) -> tuple[int, int]:
        """A height and a width, equal only so often."""
        first = self.integer(low, high)
        if self.chance(equal):
            return first, first
        return first, self.pick([n for n in range(low, high + 1) if n != first])

    def size(self, low: int = 3, high: int = 8) -> tuple[int, int]:
        """The size of an image, never square."""
        return self.pair(12, 28, equal=0) if self.large else self.pair(low, high, equal=0)

    def padding(self, most: tuple[int, int]) -> Any:
        """Padding in one of its five forms, of at most so much on each side."""
        form = self.pick(("int", "pair", "sides", "sides", "same", "same", "valid"))
        if form == "int":
            return self.integer(0, min(most))
        if form == "pair":
            return tuple(self.integer(0, amount) for amount in most)
        if form == "sides":
            return tuple((self.integer(0, amount), self.integer(0, amount)) for amount in most)
        return form
