"""`npseg summary` and `npseg formula`: what networks and operations cost."""

import argparse
import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npseg.cli.shared import UsageError, flag_of

if TYPE_CHECKING:
    from npseg.nn.graph import Graph

FORMULA_FLAGS = {
    **dict.fromkeys(("in_channels", "in_features", "channels"), "--in"),
    **dict.fromkeys(("out_channels", "out_features"), "--out"),
    "kernel_size": "--kernel",
}
"""Flags of `npseg formula` that are named otherwise than the arguments they stand for."""


def summary(options: argparse.Namespace) -> int:
    """Print what a network consists of, or why it crops where it does."""
    from npseg import analysis

    if options.input_range and not options.explain:
        raise UsageError("--input-range has a meaning with --explain crops alone")
    if options.explain and (options.json or options.csv or options.markdown):
        raise UsageError("--explain is text, it cannot come with --json, --csv or --markdown")
    model, size = _declared_network(options)
    if options.explain:
        print(
            analysis.explain_crops(model, size, **({"input_range": options.input_range} if options.input_range else {}))
        )
        return 0
    counted = analysis.summary(model, size, convention=options.convention)
    if options.csv:
        print(analysis.as_csv(counted), end="")
    else:
        write = analysis.as_json if options.json else analysis.markdown if options.markdown else analysis.text
        print(write(counted))
    return 0


def _declared_network(options: argparse.Namespace) -> tuple["Graph", tuple[int, int]]:
    """The network that a name, a run or a file stands for, and the size of image to count it at."""
    from npseg.models import NAMES, load, named

    if options.network not in NAMES and Path(options.network).exists():
        from npseg.training import checkpoints

        for name in ("backbone", "classes", "form"):
            if getattr(options, name) is not None:
                raise UsageError(f"{flag_of(name)} has no meaning for a network that was trained already")
        if options.input_size is None:
            raise UsageError("--input-size must be given for a network from a file")
        return load(checkpoints.locate(Path(options.network))), options.input_size
    try:
        model, size = named(options.network, backbone=options.backbone, classes=options.classes, form=options.form)
    except ValueError as error:
        raise UsageError(error) from error
    return model, options.input_size or size


def formula(options: argparse.Namespace) -> int:
    """Print what an operation costs, or draw what operations cost and see."""
    if options.figures is not None:
        return _draw_costs(options)
    from npseg.analysis import formulas

    if options.operation is None:
        raise UsageError(f"needs an operation, one of {', '.join(formulas.OPERATIONS)}, or --figures")
    operation = formulas.named(options.operation)
    cost = operation(**_formula_arguments(options, operation))
    print(json.dumps(cost.as_dict(), indent=2) if options.json else cost.explain())
    return 0


def _formula_arguments(options: argparse.Namespace, operation: Callable[..., Any]) -> dict[str, Any]:
    """The flags by the names that the formula has for them; those it does not take, or misses, are refused."""
    takes = {
        FORMULA_FLAGS.get(name, flag_of(name)): argument for name, argument in signature(operation).parameters.items()
    }
    given = {flag_of(name): value for name, value in vars(options).items() if value is not None}
    given = {flag: value for flag, value in given.items() if flag not in ("--operation", "--json", "--figures")}
    for flag in given:
        if flag not in takes:
            raise UsageError(f"{options.operation} takes no {flag}; it takes {', '.join(takes)}")
    for flag, argument in takes.items():
        if argument.default is argument.empty and flag not in given:
            raise UsageError(f"{options.operation} needs {flag}")
    return {takes[flag].name: value for flag, value in given.items()}


def _draw_costs(options: argparse.Namespace) -> int:
    """The three figures, in a folder that is made where it is missing."""
    if options.json or any(
        value is not None for name, value in vars(options).items() if name not in ("figures", "json")
    ):
        raise UsageError("--figures draws the same whatever else is asked for, it takes no operation and no other flag")
    from npseg.teaching.figures import costs, effective

    folder = options.figures
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("costs.png", costs.costs),
        ("fields.png", effective.parameters_against_field),
        ("effective_fields.png", effective.effective_fields),
    ):
        draw(folder / name)
        print(folder / name)
    return 0
