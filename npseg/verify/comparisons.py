"""How far two results are apart, and whether comparing them proved anything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg.checks import Array

LEAST_NONZERO = 0.1
"""Where fewer of the entries than this are other than 0, a result of zeros would hardly be noticed."""


@dataclass(frozen=True)
class Comparison:
    """What a check found in one case.

    Attributes:
        worst: the largest error, in the check's own unit; infinite where the two cannot be compared.
        vacuous: the comparison proves nothing: what was expected is empty, mostly zeros, or one number throughout.
        trouble: what went wrong, if it is no number.
    """

    worst: float
    vacuous: bool = False
    trouble: str = ""

    def joined(self, other: "Comparison | None") -> "Comparison":
        """Both in one: the worse error; vacuous only where both are."""
        if other is None:
            return self
        return Comparison(max(self.worst, other.worst), self.vacuous and other.vacuous, self.trouble or other.trouble)


def roundings(ours: Array, expected: Array, magnitude: Array, epsilon: float) -> Comparison:
    """The largest difference, counted in roundings: epsilon times the size of what the numbers are made of.

    Args:
        ours: the result in question.
        expected: what it should be, of whatever float dtype.
        magnitude: the sizes, of the same shape or one for all.
        epsilon: of the dtype in question.
    """
    trouble = _incomparable(ours, expected)
    if trouble:
        return Comparison(math.inf, trouble=trouble)
    difference = np.abs(ours.astype(np.float64) - expected)
    unit = epsilon * np.maximum(np.abs(magnitude), np.abs(expected)) + np.finfo(np.float64).tiny
    worst = float((difference / unit).max(initial=0.0))
    if math.isnan(worst):
        return Comparison(math.inf, trouble="not a number")
    return Comparison(worst, proves_nothing(expected))


def all_roundings(
    ours: Sequence[Array], expected: Sequence[Array], magnitudes: Sequence[Array], epsilon: float
) -> Comparison:
    """The worst of several arrays; what proves nothing is judged by the first, the others may be what they are."""
    if len(ours) != len(expected):
        return Comparison(math.inf, trouble=f"{len(ours)} results instead of {len(expected)}")
    found = [roundings(*three, epsilon) for three in zip(ours, expected, magnitudes, strict=True)]
    worst = max(found, key=lambda comparison: comparison.worst)
    return Comparison(worst.worst, found[0].vacuous, worst.trouble)


def largest_difference(ours: Sequence[Array], expected: Sequence[Array]) -> Comparison:
    """The largest difference of several arrays, for comparisons bit for bit."""
    for one, other in zip(ours, expected, strict=True):
        trouble = _incomparable(one, other)
        if trouble:
            return Comparison(math.inf, trouble=trouble)
    worst = max(float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) for a, b in zip(ours, expected, strict=True))
    if math.isnan(worst):
        return Comparison(math.inf, trouble="not a number")
    return Comparison(worst, proves_nothing(expected[0]))


def relative(difference: float, scale: float) -> float:
    """A difference as a part of the sizes that led to it; infinite where it is no number."""
    if difference == 0:
        return 0.0
    return difference / scale if scale and not math.isnan(difference / scale) else math.inf


def proves_nothing(expected: Any) -> bool:
    """Whether a comparison with this cannot fail as it should: empty, mostly zeros, or all one number."""
    values = np.ravel(expected)
    if not values.size or np.count_nonzero(values) < LEAST_NONZERO * values.size:
        return True
    return values.size > 1 and bool((values == values[0]).all())


def _incomparable(ours: Any, expected: Array) -> str:
    """Why two results cannot be subtracted, or are of the wrong kind."""
    if ours.shape != expected.shape:
        return f"shape {ours.shape} instead of {expected.shape}"
    if (ours.dtype.kind == "f") != (expected.dtype.kind == "f"):
        return f"{ours.dtype} instead of {expected.dtype}"
    return ""
