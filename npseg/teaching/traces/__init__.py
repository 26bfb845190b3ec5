"""Operations taken apart into steps; `trace` opens one by its name."""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from npseg import checks
from npseg.teaching.traces.convolution import (
    conv2d,
    conv2d_backward,
    conv2d_grad_input,
    conv2d_grad_weight,
    depthwise_conv2d,
    depthwise_conv2d_backward,
    separable_conv2d,
    separable_conv2d_backward,
)
from npseg.teaching.traces.deconvolution import deconvolve2d
from npseg.teaching.traces.linear import Stages, Trace
from npseg.teaching.traces.loss import PixelStep, PixelTrace, cross_entropy2d, cross_entropy2d_backward
from npseg.teaching.traces.pooling import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from npseg.teaching.traces.resizing import (
    bed_of_nails_unpool2d,
    bed_of_nails_unpool2d_backward,
    max_unpool2d,
    max_unpool2d_backward,
    nearest_unpool2d,
    nearest_unpool2d_backward,
    resize_bilinear,
    resize_bilinear_backward,
)
from npseg.teaching.traces.step import Product, Step
from npseg.teaching.traces.transposed import conv_transpose2d, conv_transpose2d_backward

__all__ = ["OPERATIONS", "AnyTrace", "PixelStep", "PixelTrace", "Product", "Stages", "Step", "Trace", "trace"]

AnyTrace: TypeAlias = Trace | Stages | PixelTrace

OPERATIONS: dict[str, Callable[..., AnyTrace]] = {
    function.__name__: function
    for function in (
        conv2d,
        conv2d_grad_input,
        conv2d_grad_weight,
        conv2d_backward,
        depthwise_conv2d,
        depthwise_conv2d_backward,
        separable_conv2d,
        separable_conv2d_backward,
        conv_transpose2d,
        conv_transpose2d_backward,
        max_pool2d,
        max_pool2d_backward,
        avg_pool2d,
        avg_pool2d_backward,
        max_unpool2d,
        max_unpool2d_backward,
        nearest_unpool2d,
        nearest_unpool2d_backward,
        bed_of_nails_unpool2d,
        bed_of_nails_unpool2d_backward,
        resize_bilinear,
        resize_bilinear_backward,
        deconvolve2d,
        cross_entropy2d,
        cross_entropy2d_backward,
    )
}
"""Every operation that can be traced, under its name in `npseg.ops`."""


def trace(operation: str, x: Any, *arrays: Any, **arguments: Any) -> AnyTrace:
    """An operation as a sequence of steps, each the multiplications behind one output.

    Args:
        operation: its name in `npseg.ops`, one of `OPERATIONS`.
        x, arrays, arguments: as given to the operation itself, without `engine`. Linear operations also take `view`:
            "gather" (a step for each output, what it collects), "scatter" (a step for each input, where it goes), and
            `conv_transpose2d` "zero_stuffed" as well (a plain convolution of the zero-stuffed input). Forward passes
            gather and input gradients scatter, unless told otherwise; transposed convolution and max unpooling scatter.

    Returns:
        A sequence of `Step`s: a `Trace`, whose `result` is what the operation returns; `Stages`, several traces one
        after the other, for separable convolutions and for backward passes with several gradients (the bias' is left
        out: it is a plain sum); for the cross-entropy a `PixelTrace` of `PixelStep`s.

    Raises:
        TypeError, ValueError: there is no such operation, it refuses its arguments, or the batch is empty.

    >>> import numpy as np
    >>> for step in trace("conv2d", np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[10.0, 1.0]]]])):
    ...     print(step.position, step.formula, step.column, step.row)
    (0, 0, 0, 0) 1*10 + 2*1 = 12 0 0
    (0, 0, 0, 1) 2*10 + 3*1 = 23 1 1
    """
    checks.choice(operation, "operation", tuple(OPERATIONS))
    name = next(iter(inspect.signature(OPERATIONS[operation]).parameters))
    if not checks.array(x, name).size:
        raise ValueError(f"{name} must hold at least one image for {operation} to have steps, got shape {x.shape}")
    checks.fits_memory(x.shape, x.itemsize, name, "its copy")
    return OPERATIONS[operation](x, *arrays, **arguments)
