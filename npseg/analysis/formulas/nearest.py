"""Arguments that do not fit together, and the nearest ones that do: found by trying, with the formula itself.

One argument at a time moves away from what was given, downwards and upwards, until the formula accepts it. The two
axes of an image do not influence each other, so each is searched by itself: a square problem whose rows and columns
are both like the axis in question.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

NEAR = 64
"""How far an argument is moved one by one."""
FARTHEST = 4096
"""How far it is enlarged before it is given up."""

COUNTS = ("in_channels", "out_channels", "groups")
"""Arguments that are one number."""
PAIRS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "input_size", "output_size")
"""Arguments that have a height and a width."""


def offering_what_works(formula: Callable[P, R]) -> Callable[P, R]:
    """A formula whose `ValueError` ends with the nearest values that work, for each argument that alone can help."""
    signature = inspect.signature(formula)

    @functools.wraps(formula)
    def offering(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return formula(*args, **kwargs)
        except ValueError as error:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            offers = nearest(formula, bound.arguments)
            if not offers:
                raise
            listed = "; ".join(f"{name} {' or '.join(written(value) for value in offers[name])}" for name in offers)
            raise ValueError(f"{error}. Nearest values that work, one change at a time: {listed}") from None

    return offering


def nearest(formula: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, list[Any]]:
    """For each argument that alone can help, the nearest smaller and the nearest larger value that works.

    Args:
        formula: raises ValueError where its arguments do not fit together.
        arguments: all of them, by name.

    >>> def window(kernel_size, input_size, padding):
    ...     if kernel_size > input_size[0] + 2 * padding:
    ...         raise ValueError
    >>> nearest(window, {"kernel_size": 7, "input_size": (4, 4), "padding": 1})
    {'kernel_size': [6], 'input_size': [(5, 5)], 'padding': [2]}
    """
    offers: dict[str, list[Any]] = {}
    if any(isinstance(arguments.get(name), (tuple, list)) and len(arguments[name]) != 2 for name in PAIRS):
        return offers  # what has no two axes is not nearly right
    for name in arguments:
        find = _other_count if name in COUNTS else _other_pair if name in PAIRS else None
        if find is not None:
            found = [find(formula, arguments, name, step) for step in (-1, 1)]
            offers[name] = [value for value in found if value is not None]
    return {name: values for name, values in offers.items() if values}


def written(value: Any) -> str:
    """As one types it after a flag: 3, or 3 5."""
    return " ".join(written(item) for item in value) if isinstance(value, tuple) else str(value)


def _works(formula: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    try:
        formula(**arguments)
    except (TypeError, ValueError):
        return False
    return True


def _other_count(formula: Callable[..., Any], arguments: Mapping[str, Any], name: str, step: int) -> Any:
    """The nearest number in the direction of `step` with which the formula works."""
    return _moved(formula, arguments, name, step) if isinstance(arguments[name], int) else None


def _other_pair(formula: Callable[..., Any], arguments: Mapping[str, Any], name: str, step: int) -> Any:
    """The nearest pair in the direction of `step`; an axis that works as it is stays."""
    given = 0 if arguments[name] == "valid" else arguments[name]
    if not isinstance(given, (int, tuple, list)):
        return None  # "same", or a stride left to the kernel size
    found = []
    for axis in (0, 1):
        alike = {key: _both(value, axis) if key in PAIRS else value for key, value in arguments.items()}
        alike[name] = _both(given, axis)
        found.append(_along(given, axis) if _works(formula, alike) else _along(_moved(formula, alike, name, step), 0))
    if None in found:
        return None
    pair = tuple(found) if name.endswith("_size") and name != "kernel_size" else _shortest(tuple(found))
    return pair if _works(formula, {**arguments, name: pair}) else None


def _moved(formula: Callable[..., Any], arguments: Mapping[str, Any], name: str, step: int) -> Any:
    """The first value of this argument that works on the way from the one given; None where none does.

    Near by, every value is tried, for divisibility comes and goes. Beyond, steps double until one works, and the place
    where it began to work is found by halving: sizes that fit once go on fitting.
    """

    def value(distance: int) -> Any:
        return _shifted(arguments[name], step * distance)

    def works(distance: int) -> bool:
        return _works(formula, {**arguments, name: value(distance)})

    for distance in range(1, NEAR + 1):
        if works(distance):
            return value(distance)
    farthest = FARTHEST if step > 0 else _smallest(arguments[name]) - 1
    failing = working = NEAR
    while not works(working):
        if working >= farthest:
            return None
        failing, working = working, min(2 * working, farthest)
    while working - failing > 1:
        middle = (failing + working) // 2
        failing, working = (failing, middle) if works(middle) else (middle, working)
    return value(working)


def _smallest(value: Any) -> int:
    """The smallest number in it."""
    return min(_smallest(item) for item in value) if isinstance(value, (tuple, list)) else value


def _shifted(value: Any, distance: int) -> Any:
    """Every number in it moved alike."""
    return tuple(_shifted(item, distance) for item in value) if isinstance(value, (tuple, list)) else value + distance


def _along(value: Any, axis: int) -> Any:
    """What an argument says of one axis: a number, or padding's (before, after)."""
    return value[axis] if isinstance(value, (tuple, list)) else value


def _both(value: Any, axis: int) -> Any:
    """The argument with both axes like this one."""
    return (value[axis], value[axis]) if isinstance(value, (tuple, list)) else value


def _shortest(value: Any) -> Any:
    """One number where all are equal, a pair where the sides of each axis are."""
    if not isinstance(value, tuple):
        return value
    value = tuple(_shortest(item) for item in value)
    return value[0] if value[0] == value[1] and isinstance(value[0], int) else value
