"""A working call of everything that says what networks cost, and of everything that shows how operations work."""

import inspect

import numpy as np
from working_networks import network
from working_operations import OPERATIONS, working_calls

from npseg import analysis, models, teaching

ONES = np.ones((1, 1, 2, 2))


def of_analysis():
    model = network()
    summary, cropping = (
        analysis.summary(model, (32, 32)),
        models.fcn(models.vgg((1,) * 5, (1,) * 5, 1), 2, 32, form="paper"),
    )
    return {
        "analysis.summary": (analysis.summary, {"model": model, "input_size": (32, 32), "convention": "npseg"}),
        "analysis.text": (analysis.text, {"summary": summary, "width": 80}),
        **{
            f"analysis.{name}": (getattr(analysis, name), {"summary": summary})
            for name in ("as_csv", "as_dict", "as_json", "markdown")
        },
        "analysis.explain_crops": (analysis.explain_crops, {
            "model": cropping, "input_size": (32, 32), "input_range": (30, 34)
        }),
        "analysis.least_padding": (analysis.least_padding, {"model": cropping, "input_range": (30, 34)}),
        "analysis.receptive_fields": (analysis.receptive_fields, {"model": model, "shapes": model.shapes((32, 32))}),
    }  # fmt: skip


def of_teaching():
    def traced(name):
        """Arrays are given by their places: several operations have an `x` that is not the first of them."""
        by_place = [
            parameter.name
            for parameter in inspect.signature(OPERATIONS[name]).parameters.values()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]

        def trace(**arguments):
            places = [arguments.pop(place) for place in by_place if place in arguments]
            return teaching.trace(name, *places, **arguments)

        return trace

    calls = {name: arguments for name, arguments in working_calls().items() if name in teaching.OPERATIONS}
    return {
        "teaching.trace": (lambda operation: teaching.trace(operation, ONES, 2), {"operation": "max_pool2d"}),
        **{f"teaching.trace, {name}": (traced(name), arguments) for name, arguments in calls.items()},
    }
