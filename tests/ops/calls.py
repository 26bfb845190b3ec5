"""What the tests of all operations share: the examples by name, and numbers to try them on."""

import inspect
import zlib

import numpy as np

from npseg import ops
from npseg.verify.calls import (
    EXAMPLES,
    MODULES,
    OPERATIONS,
    arrays_in,
    backward,
    call,
    engines_of,
    forward,
    has_backward,
    output,
    takes_engine,
)

__all__ = [
    "BAD_EXAMPLES",
    "EXAMPLES",
    "OPERATIONS",
    "arrays_in",
    "backward",
    "call",
    "draw",
    "draw_integers",
    "engines_of",
    "forward",
    "generator",
    "has_backward",
    "named",
    "output",
    "takes_engine",
    "with_engines",
    "working_calls",
]

BAD_EXAMPLES = [example for module in MODULES for example in getattr(module, "BAD_EXAMPLES", [])]


def named(example):
    """A test's name for an example: the operation and what is special about the call."""
    arguments = ",".join(f"{name}={value}" for name, value in example.arguments.items() if np.ndim(value) < 3)
    shapes = ",".join("x".join(map(str, shape)) for shape in example.shapes.values())
    return f"{example.operation}[{shapes}]{arguments}".replace(" ", "")


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
