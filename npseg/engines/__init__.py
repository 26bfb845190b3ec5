"""How operations are computed. One file is one engine; each has the same kernels, and all agree.

| kernel | what it computes |
|---|---|
| `conv(x, weight, window, groups)` | the convolution |
| `conv_grad_input(grad, weight, size, window, groups)` | its adjoint in x: also the transposed convolution |
| `conv_grad_weight(x, grad, window, groups)` | its adjoint in the weight |
| `max_pool(x, window)` | the maximum of each window, and its flat position |
| `scatter(values, indices, size)` | values added at their positions in an empty plane |
| `gather(x, indices)` | the values at these positions |
| `resize(x, rows, columns)` | `rows @ plane @ columns.T` for every plane, both matrices sparse |

Kernels trust their arguments: `npseg.ops` has checked them. What an operation keeps for its backward pass does not
depend on the engine, so forward and backward may run on different ones.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from npseg import checks
from npseg.checks import Array
from npseg.engines import im2col, loops, sparse
from npseg.engines.im2col import get_column_limit, set_column_limit
from npseg.geometry import Size, Window
from npseg.matrices import SparseMatrix

__all__ = [
    "Engine",
    "engines",
    "get_column_limit",
    "get_engine",
    "resolve",
    "set_column_limit",
    "set_engine",
    "use_engine",
]


class Engine(Protocol):
    """What a module must define to be an engine."""

    OPTIONS: Mapping[str, tuple[Any, ...]]
    """The engine's own options, each with the values it takes."""

    def conv(self, x: Array, weight: Array, window: Window, groups: int) -> Array: ...  # noqa: D102

    def conv_grad_input(self, grad: Array, weight: Array, size: Size, window: Window, groups: int) -> Array: ...  # noqa: D102

    def conv_grad_weight(self, x: Array, grad: Array, window: Window, groups: int) -> Array: ...  # noqa: D102

    def max_pool(self, x: Array, window: Window) -> tuple[Array, Array]: ...  # noqa: D102

    def scatter(self, values: Array, indices: Array, size: Size) -> Array: ...  # noqa: D102

    def gather(self, x: Array, indices: Array) -> Array: ...  # noqa: D102

    def resize(self, x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array: ...  # noqa: D102


_ENGINES: dict[str, Engine] = {
    "loops": cast(Engine, loops),
    "im2col": cast(Engine, im2col),
    "sparse": cast(Engine, sparse),
}


@dataclass(frozen=True)
class _Choice:
    """The engine in use and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


_DEFAULT = _Choice("im2col")
_current: ContextVar[_Choice] = ContextVar("engine", default=_DEFAULT)


def engines() -> tuple[str, ...]:
    """The names of the engines on this machine.

    >>> engines()
    ('loops', 'im2col', 'sparse')
    """
    return tuple(_ENGINES)


def get_engine() -> str:
    """The name of this context's engine."""
    return _current.get().name


def set_engine(name: str, **options: Any) -> None:
    """Use another engine from here on, in this thread or task.

    Args:
        name: one of `engines()`.
        options: the engine's own.

    Raises:
        ValueError: no such engine or option.
        TypeError: the name is not a string.
    """
    _current.set(_chosen(name, options))


@contextmanager
def use_engine(name: str, **options: Any) -> Iterator[None]:
    """Use another engine inside a `with` block; the former one is back after it, even after an exception.

    >>> with use_engine("sparse"):
    ...     get_engine()
    'sparse'
    """
    token = _current.set(_chosen(name, options))
    try:
        yield
    finally:
        _current.reset(token)


def resolve(name: str | None) -> Engine:
    """The engine of this name, or the current one for None."""
    return _ENGINES[_current.get().name if name is None else checks.choice(name, "engine", engines())]


def _chosen(name: str, options: Mapping[str, Any]) -> _Choice:
    accepted = _ENGINES[checks.choice(name, "engine name", engines())].OPTIONS
    for option, value in options.items():
        if option not in accepted:
            raise ValueError(f"engine {name!r} has no option {option!r}; its options are {tuple(accepted)}")
        if value not in accepted[option]:
            raise ValueError(f"{option} must be one of {accepted[option]}, got {value!r}")
    return _Choice(name, dict(options))
