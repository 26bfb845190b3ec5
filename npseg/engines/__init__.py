"""How operations are computed. One file is one engine; each has the same kernels, and all agree.

| kernel | what it computes |
|---|---|
| `conv(x, weight, window, groups, bias, relu)` | the convolution; then bias and ReLU, if any |
| `conv_grad_input(grad, weight, size, window, groups)` | its adjoint in x: also the transposed convolution |
| `conv_grad_weight(x, grad, window, groups)` | its adjoint in the weight |
| `max_pool(x, window)` | the maximum of each window, and its flat position |
| `scatter(values, indices, size)` | values added at their positions in an empty plane |
| `gather(x, indices)` | the values at these positions |
| `resize(x, rows, columns)` | `rows @ plane @ columns.T` for every plane, both matrices sparse |

Kernels trust their arguments: `npseg.ops` has checked them. What an operation keeps for its backward pass does not
depend on the engine, so forward and backward may run on different ones.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, cast

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import choice, im2col, loops, sparse
from npseg.engines.choice import Choice
from npseg.engines.columns import get_column_limit, set_column_limit
from npseg.geometry import Size, Window
from npseg.matrices import SparseMatrix

__all__ = [
    "Engine",
    "choose",
    "engine_info",
    "engines",
    "get_column_limit",
    "get_engine",
    "own_form",
    "resolve",
    "running_network",
    "set_column_limit",
    "set_engine",
    "use_engine",
]


class Engine(Protocol):
    """What a module must define to be an engine."""

    OPTIONS: Mapping[str, tuple[str, ...]]
    """The engine's own options, each with the words it takes."""

    def conv(  # noqa: D102
        self, x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None, relu: bool = False
    ) -> Array: ...

    def conv_grad_input(self, grad: Array, weight: Array, size: Size, window: Window, groups: int) -> Array: ...  # noqa: D102

    def conv_grad_weight(self, x: Array, grad: Array, window: Window, groups: int) -> Array: ...  # noqa: D102

    def max_pool(self, x: Array, window: Window) -> tuple[Array, Array]: ...  # noqa: D102

    def scatter(self, values: Array, indices: Array, size: Size) -> Array: ...  # noqa: D102

    def gather(self, x: Array, indices: Array) -> Array: ...  # noqa: D102

    def resize(self, x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array: ...  # noqa: D102


_NUMPY_ENGINES: dict[str, Engine] = {
    "loops": cast(Engine, loops),
    "im2col": cast(Engine, im2col),
    "sparse": cast(Engine, sparse),
}

_unusable: dict[str, str] = {}
"""Why engines that npseg has are not in `engines()`."""


@cache
def _compiled() -> Engine | None:
    """The engine compiled by Numba, loaded when it is first asked for; None where Numba is missing or unusable."""
    try:
        return cast(Engine, importlib.import_module("npseg.engines.numba"))
    except Exception as error:  # Numba refuses other versions of NumPy and LLVM, each in its own way
        if importlib.util.find_spec("numba") is None:
            _unusable["numba"] = "Numba is not installed (pip install numba)"
        else:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            _unusable["numba"] = f"Numba is installed, but cannot be used: {reason}"
            warnings.warn(f"the engine 'numba' cannot be used: {reason}", RuntimeWarning, stacklevel=2)
        return None


def engines() -> tuple[str, ...]:
    """The names of the engines on this machine; "numba" is there where Numba is installed.

    >>> engines()[:3]
    ('loops', 'im2col', 'sparse')
    """
    return (*_NUMPY_ENGINES, "numba") if _compiled() else tuple(_NUMPY_ENGINES)


def get_engine() -> str:
    """The name of this context's engine."""
    return _current().name


def set_engine(name: str, **options: Any) -> None:
    """Use another engine from here on, in this thread or task.

    Args:
        name: one of `engines()`.
        options: the engine's own; see `choose`.

    Raises:
        ValueError: no such engine or option.
        TypeError: the name or an option is not a string.
    """
    choice.current.set(_chosen(name, options))


@contextmanager
def use_engine(name: str, **options: Any) -> Iterator[None]:
    """Use another engine inside a `with` block; the former one is back after it, even after an exception.

    >>> with use_engine("sparse"):
    ...     get_engine()
    'sparse'
    """
    token = choice.current.set(_chosen(name, options))
    try:
        yield
    finally:
        choice.current.reset(token)


def choose(name: str | None, **options: Any) -> Choice:
    """An engine and its options, checked, for use later.

    Only "numba" has an option: `winograd`, one of "off", "f2" and "f4", says which form of Winograd's algorithm its
    3x3 convolutions of float32 may use, from none to the fastest; what is not given is "off" for single operations and
    "f4" in networks.

    Args:
        name: one of `engines()`; None is the current one, whose options stay where they are not given.
        options: the engine's own.

    Raises:
        ValueError: no such engine or option.
        TypeError: the name or an option is not a string.
    """
    if name is not None:
        return _chosen(name, options)
    current = _current()
    return _chosen(current.name, {**current.options, **options})


@contextmanager
def running_network() -> Iterator[None]:
    """Tell the engine, inside a `with` block, that a network is running: it may then compute less exactly, but faster.

    What it does is its own choice; options that were set for it hold all the same.
    """
    token = choice.networks.set(True)
    try:
        yield
    finally:
        choice.networks.reset(token)


def resolve(name: str | None) -> Engine:
    """The engine of this name, or the current one for None."""
    name = _current().name if name is None else _known(name, "engine")
    return _NUMPY_ENGINES.get(name) or cast(Engine, _compiled())


def own_form(operation: str) -> Callable[..., Any] | None:
    """The current engine's own form of an operation that `npseg.ops` writes in NumPy; None where it has none.

    Such a form computes the same in one pass over memory.
    """
    return getattr(resolve(None), operation, None)


def engine_info() -> dict[str, Any]:
    """What the current engine is made of on this machine, and what it has chosen.

    Returns:
        `engine`, its name, and the version of `numpy`; then with "numba" the versions of `numba` and `llvmlite`, the
        `processor` that it compiles for, `vector_bits` of that processor's registers, the `tile` of products that it
        holds in them (rows and float32 columns), the number of `threads` and Numba's `threading_layer`, the
        `cache_folder` of compiled kernels (None where none can be written), `winograd` of single operations and
        `winograd_in_networks`; with "im2col" the `blas` that multiplies its matrices and the `column_limit` in bytes.

    >>> with use_engine("loops"):
    ...     sorted(engine_info())
    ['engine', 'numpy']
    """
    name = get_engine()
    general = {"engine": name, "numpy": np.__version__}
    if name == "numba":
        return {**general, **importlib.import_module("npseg.engines.numba.information").describe()}
    if name == "im2col":
        return general | {"blas": _blas(), "column_limit": get_column_limit()}
    return general


def _blas() -> str:
    """The library that multiplies NumPy's matrices."""
    configuration = cast(dict[str, Any], np.show_config(mode="dicts"))
    blas = configuration.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _current() -> Choice:
    """The context's choice, or the default: "numba" where it can be used, else "im2col"."""
    return choice.current.get() or Choice("numba" if _compiled() else "im2col")


def _chosen(name: str, options: Mapping[str, Any]) -> Choice:
    accepted = resolve(_known(name, "engine name")).OPTIONS
    for option, value in options.items():
        if option not in accepted:
            has = f"its options are {tuple(accepted)}" if accepted else "it has none"
            raise ValueError(f"engine {name!r} has no option {option!r}; {has}")
        checks.choice(value, option, accepted[option])
    return Choice(name, dict(options))


def _known(name: Any, argument: str) -> str:
    """The name of an engine of this machine; the error says why one that npseg has is not there."""
    known = engines()
    if isinstance(name, str) and name in _unusable:
        raise ValueError(f"{argument} must be one of {known}, got {name!r}: {_unusable[name]}")
    return checks.choice(name, argument, known)
