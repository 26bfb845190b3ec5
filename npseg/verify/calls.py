"""Calling any operation by its name, and its backward pass after it: arguments are found by their names."""

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np

from npseg import engines, ops, use_engine
from npseg.checks import Array
from npseg.ops.examples import Example

MODULES = [importlib.import_module(f"npseg.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]
EXAMPLES: list[Example] = [example for module in MODULES for example in getattr(module, "EXAMPLES", [])]
OPERATIONS: dict[str, Callable[..., Any]] = {
    name: getattr(ops, name) for name in ops.__all__ if inspect.isfunction(getattr(ops, name))
}


class Call(Protocol):
    """What is called: an operation, and its arguments but for the float arrays."""

    @property
    def operation(self) -> str:
        """Its name in `npseg.ops`."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """All but the float arrays that results are differentiated by."""


def takes_engine(operation: str) -> bool:
    """Whether the operation has an argument `engine`."""
    return "engine" in inspect.signature(OPERATIONS[operation]).parameters


def engines_of(operation: str) -> tuple[str, ...]:
    """The engines to try."""
    return engines() if takes_engine(operation) else engines_of_numpy_code()


def engines_of_numpy_code() -> tuple[str, ...]:
    """The same of what takes no engine: it is written in NumPy, but the current engine may have its own form of it."""
    return ("im2col", *(name for name in engines() if name == "numba"))


def call(operation: str, engine: str | None = None, **arguments: Any) -> Any:
    """The operation by name, on an engine, which is also the current one meanwhile; None leaves the current one."""
    if takes_engine(operation):
        arguments["engine"] = engine
    with nullcontext() if engine is None else use_engine(engine):
        return OPERATIONS[operation](**arguments)


def forward(example: Call, arrays: Mapping[str, Array], engine: str | None = None) -> Any:
    """The operation's result, whatever it is; what a call changes, statistics or a generator, is a copy."""
    return call(example.operation, engine, **arrays, **copy.deepcopy(dict(example.arguments)))


def output(result: Any) -> Any:
    """The array that an operation computes: the first of what it returns."""
    return result[0] if isinstance(result, tuple) else result


def has_backward(operation: str) -> bool:
    """Whether the operation has a backward pass by its own name."""
    return f"{operation}_backward" in OPERATIONS


def backward(
    example: Call, arrays: Mapping[str, Array], result: Any, grad: Array, engine: str | None = None
) -> dict[str, Array]:
    """The gradients for the arrays, in their order, from the operation's backward pass."""
    y, saved = output(result), result[1] if isinstance(result, tuple) else None
    known = {
        "grad": grad,
        "y": y,
        "indices": saved,
        "mask": saved,
        "saved": saved,
        "input_size": arrays["x"].shape[2:] if "x" in arrays else None,
        **example.arguments,
        **arrays,
    }
    backward_name = f"{example.operation}_backward"
    parameters = inspect.signature(OPERATIONS[backward_name]).parameters
    gradients = call(backward_name, engine, **{name: known[name] for name in parameters if name in known})
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return dict(zip(arrays, gradients, strict=False))


def arrays_in(value: Any) -> list[Array]:
    """All arrays within a result."""
    if isinstance(value, (np.ndarray, np.floating)):
        return [np.asarray(value)]
    return [array for item in value for array in arrays_in(item)] if isinstance(value, tuple) else []
