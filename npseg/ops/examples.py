"""Inputs to try an operation on; every file of operations lists its own.

The tests walk operation x example x engine, so an operation is tested by having examples, and an engine by existing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Example:
    """A call that works: the shapes of its float arrays, whose values the tests draw, and its other arguments."""

    operation: str
    shapes: Mapping[str, tuple[int, ...]]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BadExample:
    """A call that must be refused, and the argument that the error must name."""

    operation: str
    shapes: Mapping[str, tuple[int, ...]]
    arguments: Mapping[str, Any]
    blames: str
    error: type[Exception] = ValueError
