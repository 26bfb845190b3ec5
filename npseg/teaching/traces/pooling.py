"""Pooling: a window's largest pixel, which selects, and its mean, which weighs all alike."""

from dataclasses import dataclass

import numpy as np

from npseg import ops
from npseg.checks import Array
from npseg.geometry import Padding, Pair, Size, pooling_window
from npseg.matrices import max_pool2d_matrix
from npseg.matrices.pooling import averaging_axes
from npseg.matrices.sparse_matrix import SparseMatrix, each_channel
from npseg.ops.arguments import size_of
from npseg.teaching.traces.linear import Trace, from_matrix
from npseg.teaching.traces.step import GRADIENTS, Index, Step, number


@dataclass(frozen=True)
class MaximumStep(Step):
    """A window of max pooling; the winner is its only product, with weight 1.

    Attributes:
        candidates: the indices of all pixels in the window, and `candidate_values`, what stands there.
        winner: the flat position h * W + w of the largest, which max pooling returns beside its value.
    """

    candidates: tuple[Index, ...] = ()
    candidate_values: tuple[float, ...] = ()
    winner: int = 0

    @property
    def formula(self) -> str:
        """The choice with its numbers."""
        return f"max({', '.join(map(number, self.candidate_values))}) = {number(self.value)}"

    def gathered(self) -> str:
        """Which pixel wins."""
        told = super().gathered().removesuffix(".")
        tied = self.candidate_values.count(self.value) - 1
        first = f", the first of {tied + 1} equal pixels" if tied > 0 else ""
        return f"{told}. The winner is {self.roles.source} {self.products[0].input}, index {self.winner}{first}."


@dataclass(frozen=True, eq=False)
class MaximumTrace(Trace):
    """Max pooling: linear once the winners are known, and so traced by the matrix that selects them."""

    def _step(self, number: int) -> Step:
        step = super()._step(number)
        if self.view != "gather":
            return step
        assert step.window is not None
        n, c = step.position[:2]
        candidates = tuple((n, c, h, w) for h, w in step.window.real)
        row, column = step.products[0].input[2:]
        return MaximumStep(
            **vars(step),
            candidates=candidates,
            candidate_values=tuple(float(self.source[index]) for index in candidates),
            winner=row * self.source.shape[3] + column,
        )


def max_pool2d(
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    view: str = "gather",
) -> Trace:
    """A step for each window: its pixels, and which of them wins."""
    y, indices = ops.max_pool2d(x, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    _, window = pooling_window(
        kernel_size, size_of(x), stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    selection = selection_of_batch(indices, size_of(x), x)
    trace = from_matrix("max_pool2d", x, selection, y.shape, view=view, window=window, windowed="target")
    return MaximumTrace(**vars(trace))


def max_pool2d_backward(grad: Array, indices: Array, input_size: Size, *, view: str = "scatter") -> Trace:
    """A step for each window's gradient, which is sent to the pixel that won; equal winners add up."""
    grad_x = ops.max_pool2d_backward(grad, indices, input_size)
    selection = selection_of_batch(indices, input_size, grad)
    return from_matrix("max_pool2d_backward", grad, selection.T, grad_x.shape, view=view, roles=GRADIENTS)


def selection_of_batch(indices: Array, size: Size, like: Array) -> SparseMatrix:
    """The matrix that selects these positions of all planes, as if the batch were one image of many channels."""
    return max_pool2d_matrix(indices.reshape(-1, *indices.shape[2:]), size, dtype=like.dtype)


def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    view: str = "gather",
) -> Trace:
    """A step for each window, whose pixels all have weight 1 / count."""
    y = ops.avg_pool2d(
        x, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
    )
    asked, window = pooling_window(kernel_size, size_of(x), stride=stride, padding=padding, ceil_mode=ceil_mode)
    axes = averaging_axes(asked, window, size_of(x), count_include_pad, x.dtype)
    matrix = each_channel(planes(x), *axes, "x")
    return from_matrix("avg_pool2d", x, matrix, y.shape, view=view, window=window, windowed="target")


def avg_pool2d_backward(
    grad: Array,
    input_size: Size,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    view: str = "scatter",
) -> Trace:
    """A step for each window's gradient, of which every pixel of the window gets the same share."""
    grad_x = ops.avg_pool2d_backward(
        grad,
        input_size,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    size = size_of(grad_x)
    asked, window = pooling_window(kernel_size, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    axes = averaging_axes(asked, window, size, count_include_pad, grad.dtype)
    matrix = each_channel(planes(grad), *axes, "grad").T
    return from_matrix(
        "avg_pool2d_backward",
        grad,
        matrix,
        grad_x.shape,
        view=view,
        roles=GRADIENTS,
        window=window,
        windowed="source",
    )


def planes(x: Array) -> int:
    """A batch is traced as one image of so many channels, since every plane is treated alike."""
    return int(np.prod(x.shape[:2]))
