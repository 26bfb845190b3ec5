"""What the tests of all operations share: the examples by name, and numbers to try them on."""

import zlib

import numpy as np

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
