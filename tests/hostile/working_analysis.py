"""A working call of everything that says what networks cost, and of everything that shows how operations work."""

import inspect
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from working_networks import network
from working_operations import OPERATIONS, working_calls

from npseg import analysis, models, nn, teaching
from npseg.analysis import formulas, measured
from npseg.teaching import figures
from npseg.teaching.demonstration import demonstrate

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


def of_formulas():
    convolution, window = {"in_channels": 4, "out_channels": 6, "kernel_size": 3}, {"channels": 2, "kernel_size": 2}
    enlarged, sizes = {"channels": 2, "scale": 2}, {"input_size": (32, 30)}
    calls = {
        "conv2d": {**convolution, **sizes},
        "conv_transpose2d": {**convolution, **sizes},
        "separable_conv2d": {**convolution, **sizes},
        "depthwise_conv2d": {"in_channels": 4, "kernel_size": 3, **sizes},
        "linear": {"in_features": 3, "out_features": 2},
        "batch_norm2d": {"channels": 2, **sizes},
        "avg_pool2d": {**window, **sizes},
        "max_pool2d": {**window, **sizes},
        "global_avg_pool2d": {"channels": 2, **sizes},
        "nearest_unpool2d": {**enlarged, **sizes},
        "bed_of_nails_unpool2d": {**enlarged, **sizes},
        "max_unpool2d": {**enlarged, **sizes},
        "resize_bilinear": {**enlarged, **sizes},
        "explained": {"lines": formulas.linear(2, 3).lines},
    }
    return {
        **{f"analysis.formulas.{name}": (getattr(formulas, name), arguments) for name, arguments in calls.items()},
        "analysis.formulas.named": (lambda operation: formulas.named(operation), {"operation": "conv2d"}),
    }


def of_measured():
    layer, model = nn.Conv2d(2, 3, 3), network()
    calls = {
        "nonzeros": {"layer": layer, "input_shape": (2, 5, 6)},
        "multiplications": {"layer": layer, "input_shape": (2, 5, 6)},
        "run_counted": {"layer": layer, "x": np.ones((1, 2, 5, 6))},
        "receptive_field": {"model": model, "input_size": (32, 32)},
        "effective_receptive_field": {"model": model, "input_size": (32, 32), "samples": 1},
        "effective_size": {"field": np.ones((3, 4))},
    }
    return {f"analysis.measured.{name}": (getattr(measured, name), arguments) for name, arguments in calls.items()}


def of_figures():
    folder, trace = Path(tempfile.mkdtemp()), teaching.trace("conv2d", ONES, ONES)
    picture = figures.step(trace)
    image, colors = np.zeros((4, 5, 3), np.uint8), np.zeros((2, 3), np.uint8)
    calls = {
        "checkerboard": {"pairs": ((2, 2),), "size": 2},
        "contact_sheet": {"trace": trace},
        "dilation_gridding": {"stacks": ((1, 2),)},
        "fcn_predictions": {
            "image": image, "networks": {"a": lambda image: image[..., 0]}, "classes": ("a", "b"), "colors": colors
        },
        "five_upsamplings": {},
        "upsamplings": {},
        "im2col_columns": {"trace": trace},
        "matrix_and_transpose": {"matrix": trace},
        "overlaps": {"kernel_size": 3, "stride": 2, "size": 4},
        "receptive_field_growth": {"layers": ((3, 1, 1),)},
        "side_by_side": {"maps": {"a": np.ones((2, 3))}},
    }  # fmt: skip
    return {
        **{f"teaching.figures.{name}": (getattr(figures, name), arguments) for name, arguments in calls.items()},
        "teaching.figures.step": (lambda trace, step: figures.step(trace, step), {"trace": trace, "step": 0}),
        "teaching.figures.write": (partial(figures.write, path=folder / "a.png"), {"trace": trace}),
        "teaching.figures.write_gif": (partial(figures.write_gif, path=folder / "a.gif"), {"trace": trace}),
        "teaching.figures.write_png": (partial(figures.write_png, path=folder / "b.png"), {"figure": picture}),
    }


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
        "teaching.demonstrate": (partial(demonstrate, "conv2d"), {"backward": False, "seed": 0}),
        "teaching.demonstrate, the operation": (lambda operation: demonstrate(operation), {"operation": "conv2d"}),
        "teaching.trace": (lambda operation: teaching.trace(operation, ONES, 2), {"operation": "max_pool2d"}),
        **{f"teaching.trace, {name}": (traced(name), arguments) for name, arguments in calls.items()},
    }
