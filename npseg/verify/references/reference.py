"""What a library says about a case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npseg.checks import Array


@dataclass(frozen=True)
class Reference:
    """One library's results.

    Attributes:
        name: the library and its version.
        outputs: what the operation should return, the first or the first few arrays.
        gradients: of the arrays it differentiates by, for `Case.cotangent`; empty where the library has none.
    """

    name: str
    outputs: Sequence[Array]
    gradients: Mapping[str, Array]
