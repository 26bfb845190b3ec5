"""Arguments checked once, at the public door.

Every check takes the argument's name, so that the error can say what was wrong, what it got and what it needs.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

Kind = TypeVar("Kind")

BYTES_LIMIT = 64 * 2**30
"""The largest result or temporary that an operation will allocate."""

FLOAT_NAMES = (
    *("float32", "float64", "single", "double", "float", "f", "d"),
    *(f"{order}f{size}" for order in ("", "<", ">", "=") for size in (4, 8)),
)
"""What the two dtypes may be called."""

LARGEST_INTEGER = 2**63 - 1
"""The largest size or index: what an int64 can hold."""


def integer(value: Any, name: str, *, at_least: int | None = None) -> int:
    """A Python or NumPy integer; bool and float are refused, since both are usually mistakes.

    What has a least is a size or a number of things, and must then fit in 64 bits, as indices do.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {describe(value)}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")
    if at_least is not None and value > LARGEST_INTEGER:
        raise ValueError(f"{name} must be at most {LARGEST_INTEGER}, got {value}")
    return int(value)


def is_pair(value: Any) -> bool:
    """Whether `value` is a tuple or list of two."""
    return isinstance(value, (tuple, list)) and len(value) == 2


def pair(value: Any, name: str, *, at_least: int) -> tuple[int, int]:
    """An integer for both axes, or a tuple or list of two: (height, width)."""
    if isinstance(value, (tuple, list)):
        return size(value, name, at_least=at_least)
    both = integer(value, name, at_least=at_least)
    return both, both


def size(value: Any, name: str, *, at_least: int = 1) -> tuple[int, int]:
    """A tuple or list of two integers: (height, width)."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be a tuple or list of two integers (height, width), got {describe(value)}")
    if len(value) != 2:
        raise ValueError(f"{name} must be two integers (height, width), got {len(value)}: {value}")
    height, width = (integer(item, f"{name}[{axis}]", at_least=at_least) for axis, item in enumerate(value))
    return height, width


def number(value: Any, name: str, *, at_least: float | None = None, below: float | None = None) -> float:
    """A finite real number as a Python float, so that it never widens a float32 result."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    try:
        checked = float(value)
    except OverflowError:
        checked = math.inf
    if not math.isfinite(checked):
        raise ValueError(f"{name} must be finite, got {describe(value)}")
    if at_least is not None and checked < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")
    if below is not None and checked >= below:
        raise ValueError(f"{name} must be below {below}, got {value}")
    return checked


def flag(value: Any, name: str) -> bool:
    """True or False, not a number that might mean something else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {tuple(choices)}, got {describe(value)}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {tuple(choices)}, got {value!r}")
    return value


def path(value: Any, name: str) -> Path:
    """Where a file or folder is, as text or as a path."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name} must be the path of a file or folder, got {describe(value)}")
    if "\0" in os.fspath(value):
        raise ValueError(f"{name} must be a path without zero bytes, got {describe(value)}")
    return Path(value)


def instance(value: Any, name: str, kind: type[Kind]) -> Kind:
    """An object of one of npseg's own classes."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, got {describe(value)}")
    return value


def generator(value: Any, name: str) -> np.random.Generator:
    """Where draws come from."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"{name} must be a numpy.random.Generator, got {describe(value)}")
    return value


def mapping(value: Any, name: str, of: str) -> Mapping[Any, Any]:
    """What is found by name, `of` says what: arrays, say."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping from names to {of}, got {describe(value)}")
    return value


def array(value: Any, name: str) -> Array:
    """A `numpy.ndarray` in native byte order. A mask would be lost without a word, so masked arrays are refused."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {describe(value)}")
    if value.dtype.isnative:
        return np.asarray(value)
    fits_memory(value.shape, value.itemsize, name, "its copy in native byte order")
    return np.asarray(value, dtype=value.dtype.newbyteorder("="))


def floats(value: Any, name: str, axes: str) -> Array:
    """A float32 or float64 array with the named axes, such as "(N, C, H, W)".

    Only the batch axis N may be empty.
    """
    checked = array(value, name)
    if checked.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, got {checked.dtype}")
    check_axes(checked, name, axes)
    return checked


def check_axes(value: Array, name: str, axes: str) -> None:
    """The number of dimensions that `axes` names, none but N empty."""
    names = _axis_names(axes)
    if value.ndim != len(names):
        raise ValueError(f"{name} must have {len(names)} dimensions {axes}, got {value.ndim}: shape {value.shape}")
    if not value.size:
        for axis, length in zip(names, value.shape, strict=True):
            if axis != "N" and length < 1:
                raise ValueError(f"{name} must have at least 1 entry along {axis} of {axes}, got shape {value.shape}")


@cache
def _axis_names(axes: str) -> list[str]:
    return axes.strip("()").replace(" ", "").rstrip(",").split(",")


def indices(value: Any, name: str, axes: str) -> Array:
    """An int64 array with the named axes."""
    checked = array(value, name)
    if checked.dtype != np.int64:
        raise TypeError(f"{name} must be int64, got {checked.dtype}")
    check_axes(checked, name, axes)
    return checked


def float_dtype(value: Any, name: str) -> np.dtype[Any]:
    """float32 or float64, however it is spelled."""
    if isinstance(value, (str, bytes)) and value not in FLOAT_NAMES:  # some letters NumPy knows only with a warning
        raise TypeError(f"{name} must be float32 or float64, got {describe(value)}")
    try:
        dtype: np.dtype[Any] = np.dtype(value).newbyteorder("=")
    except TypeError as error:
        raise TypeError(f"{name} must be float32 or float64, got {describe(value)}") from error
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, got {dtype}")
    return dtype


def same_dtype(**arrays: Array | None) -> None:
    """All float arrays of one call share one dtype: mixing would silently cost memory or precision."""
    if len({value.dtype for value in arrays.values() if value is not None}) > 1:
        dtypes = {name: value.dtype for name, value in arrays.items() if value is not None}
        found = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"all float arrays of one call must share one dtype, got {found}")


def shape(value: Array, name: str, expected: tuple[int, ...], reason: str | Callable[[], str] = "") -> None:
    """Exactly this shape; `reason` may show where it comes from, formula and numbers, and may first be written then."""
    if value.shape != expected:
        reason = reason if isinstance(reason, str) else reason()
        raise ValueError(f"{name} must have shape {expected}{reason and f' ({reason})'}, got {value.shape}")


def fits_memory(
    dimensions: Sequence[int], itemsize: int, name: str | Callable[[], str], what: str = "the result"
) -> None:
    """Refuse what would take more than BYTES_LIMIT, before it is allocated, naming the argument that asks for it.

    Which one that is may first be found out then.
    An empty batch counts as one image: what is computed along the other axes is no smaller for it.
    """
    dimensions = tuple(map(int, dimensions))
    needed = itemsize * (math.prod(dimensions) or math.prod([max(length, 1) for length in dimensions]))
    if needed > BYTES_LIMIT:
        name = name if isinstance(name, str) else name()
        raise ValueError(
            f"{name} asks for too much memory: {what} {dimensions} would take {needed:,} bytes, "
            f"the limit is {BYTES_LIMIT:,} (64 GiB)"
        )


def describe(value: Any) -> str:
    """What was given, short enough for one line of an error."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
