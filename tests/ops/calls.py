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


def working_calls():
    """One working call of every operation: (name, arguments)."""
    calls = {}
    for example in EXAMPLES:
        if example.operation in calls or 0 in next(iter(example.shapes.values())):
            continue
        arrays = draw(example)
        calls[example.operation] = {**arrays, **example.arguments}
        backward = OPERATIONS.get(f"{example.operation}_backward")
        if backward:
            result = forward(example, arrays)
            y, saved = output(result), result[1] if isinstance(result, tuple) else None
            size = arrays["x"].shape[2:]
            known = {**calls[example.operation], "grad": y, "y": y, "indices": saved, "input_size": size}
            parameters = inspect.signature(backward).parameters
            calls[f"{example.operation}_backward"] = {name: known[name] for name in parameters if name in known}
    rng = np.random.default_rng(0)
    image, labels, vector = rng.standard_normal((2, 4, 6, 5)), rng.integers(0, 4, (2, 6, 5)), rng.random(4)
    pooled, indices = ops.max_pool2d(image, 2)
    statistics = {"running_mean": vector.copy(), "running_var": vector.copy()}
    normalised, saved = ops.batch_norm2d(image, vector, vector, **statistics, training=True)
    dropped, mask = ops.dropout(image, 0.5, np.random.default_rng(0))
    return calls | {
        "batch_norm2d": {"x": image, "gamma": vector, "beta": vector, **statistics, "training": True},
        "batch_norm2d_backward": {"grad": normalised, "x": image, "gamma": vector, "saved": saved},
        "cross_entropy2d": {"logits": image, "labels": labels, "class_weight": vector},
        "cross_entropy2d_backward": {"logits": image, "labels": labels, "class_weight": vector},
        "dropout": {"x": image, "p": 0.5, "rng": np.random.default_rng(0)},
        "dropout_backward": {"grad": dropped, "mask": mask},
        "max_unpool2d": {"x": pooled, "indices": indices, "output_size": (6, 5)},
        "max_unpool2d_backward": {"grad": image, "indices": indices},
    }
