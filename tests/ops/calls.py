"""Calling any operation from its example, and its backward pass after it: arguments are found by their names."""

import importlib
import inspect
import pkgutil
import zlib
from contextlib import nullcontext

import numpy as np

from npseg import engines, ops, use_engine

MODULES = [importlib.import_module(f"npseg.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]
EXAMPLES = [example for module in MODULES for example in getattr(module, "EXAMPLES", [])]
BAD_EXAMPLES = [example for module in MODULES for example in getattr(module, "BAD_EXAMPLES", [])]
OPERATIONS = {name: getattr(ops, name) for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}


def named(example):
    """A test's name for an example: the operation and what is special about the call."""
    arguments = ",".join(f"{name}={value}" for name, value in example.arguments.items() if np.ndim(value) < 3)
    shapes = ",".join("x".join(map(str, shape)) for shape in example.shapes.values())
    return f"{example.operation}[{shapes}]{arguments}".replace(" ", "")


def takes_engine(operation):
    return "engine" in inspect.signature(OPERATIONS[operation]).parameters


def engines_of(operation):
    """The engines to try. What takes none is written in NumPy, but the current engine may have its own form of it."""
    return engines() if takes_engine(operation) else ("im2col", *(name for name in engines() if name == "numba"))


def with_engines(examples):
    """(example, engine) for every engine that may make a difference to the example's operation."""
    return [(example, engine) for example in examples for engine in engines_of(example.operation)]


def generator(*key):
    """The same draws for the same key in every run."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def draw(example, dtype=np.float64):
    """The example's float arrays, normally distributed."""
    rng = generator(example.operation, example.shapes)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in example.shapes.items()}


def draw_integers(example, dtype=np.float64, largest=4):
    """The example's float arrays, small whole numbers: sums and products of them are exact."""
    rng = generator(example.operation, example.shapes, "integers")
    return {
        name: rng.integers(-largest, largest, shape, endpoint=True).astype(dtype)
        for name, shape in example.shapes.items()
    }


def call(operation, engine=None, **arguments):
    """The operation by name, on an engine; None is the current one."""
    if takes_engine(operation):
        return OPERATIONS[operation](**arguments, engine=engine)
    with nullcontext() if engine is None else use_engine(engine):
        return OPERATIONS[operation](**arguments)


def forward(example, arrays, engine=None):
    """The operation's result, whatever it is."""
    return call(example.operation, engine, **arrays, **example.arguments)


def output(result):
    """The array that an operation computes: the first of what it returns."""
    return result[0] if isinstance(result, tuple) else result


def has_backward(operation):
    return f"{operation}_backward" in OPERATIONS


def backward(example, arrays, result, grad, engine=None):
    """The gradients for the arrays, in their order, from the operation's backward pass."""
    y, saved = output(result), result[1] if isinstance(result, tuple) else None
    known = {
        **example.arguments,
        **arrays,
        "grad": grad,
        "y": y,
        "indices": saved,
        "mask": saved,
        "saved": saved,
        "input_size": arrays["x"].shape[2:],
    }
    backward_name = f"{example.operation}_backward"
    parameters = inspect.signature(OPERATIONS[backward_name]).parameters
    gradients = call(backward_name, engine, **{name: known[name] for name in parameters if name in known})
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return dict(zip(arrays, gradients, strict=False))


def arrays_in(value):
    """All arrays within a result."""
    if isinstance(value, np.ndarray):
        return [value]
    return [array for item in value for array in arrays_in(item)] if isinstance(value, tuple) else []
