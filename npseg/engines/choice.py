"""Which engine is in use: a choice that belongs to the context, so that threads and tasks do not disturb each other."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Choice:
    """An engine and the options that were given for it."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


current: ContextVar[Choice | None] = ContextVar("engine", default=None)
"""None is the default: "numba" where it can be used, else "im2col"."""

networks: ContextVar[bool] = ContextVar("networks", default=False)
"""Whether a network is running, whose convolutions may be computed less exactly than a single operation."""


def option(engine: str, name: str, alone: Any, in_networks: Any) -> Any:
    """An option of an engine as the context has set it, or its default: one for plain calls, one inside a network."""
    chosen = current.get()
    if chosen is not None and chosen.name == engine and name in chosen.options:
        return chosen.options[name]
    return in_networks if networks.get() else alone
