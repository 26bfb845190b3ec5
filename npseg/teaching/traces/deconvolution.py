"""Deconvolution as the linear system that it solves: one equation for each convolved pixel."""

from dataclasses import dataclass

from npseg import ops
from npseg.checks import Array
from npseg.geometry import Padding, Pair, transposed_window
from npseg.teaching.traces.convolution import forward
from npseg.teaching.traces.linear import Trace
from npseg.teaching.traces.step import Roles, Step, number


@dataclass(frozen=True)
class EquationStep(Step):
    """One equation of A x = y, filled in with the solution.

    Attributes:
        wanted: y at this position; `value` is what the solution's convolution gives there.
    """

    wanted: float = 0.0

    def gathered(self) -> str:
        """The equation, and how well it holds."""
        assert self.window is not None
        return (
            f"Equation {self.number}: seen through the {self.window} {self.corner()}, it must give "
            f"y {self.position[2:]} = {number(self.wanted)}. The solution gives {self.formula}, "
            f"off by {number(self.value - self.wanted)}."
        )


@dataclass(frozen=True, eq=False)
class Equations(Trace):
    """The solution, convolved again: the left side of each equation beside the right side, `wanted`."""

    wanted: Array | None = None

    def _step(self, number: int) -> Step:
        step = super()._step(number)
        assert self.wanted is not None
        return EquationStep(**vars(step), wanted=float(self.wanted.ravel()[number]))


def deconvolve2d(
    y: Array,
    kernel: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    regularization: float = 0.0,
) -> Equations:
    """A step for each equation. `source` is the solution x that `npseg.ops.deconvolve2d` finds, (1, 1, H, W)."""
    x = ops.deconvolve2d(y, kernel, stride=stride, padding=padding, dilation=dilation, regularization=regularization)
    window = transposed_window(
        kernel.shape, (y.shape[0], y.shape[1]), stride=stride, padding=padding, dilation=dilation
    )
    trace = forward("deconvolve2d", x[None, None], kernel[None, None], None, window, 1, "gather")
    return Equations(**vars(trace.named(Roles("unknown image", "kernel", "y"))), wanted=y)
