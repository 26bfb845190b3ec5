"""Windows drawn by Hypothesis: unequal heights and widths everywhere, so that a swapped axis shows."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from npseg.verify.definitions import padding_sides

lengths = st.integers(1, 8)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
undilated = st.just((1, 1))
amounts = st.integers(0, 3)
sides = st.tuples(st.tuples(amounts, amounts), st.tuples(amounts, amounts))


@dataclass(frozen=True)
class Drawn:
    """What a convolution needs, and a seed for its numbers."""

    batch: int
    channels: int
    out_channels: int
    groups: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: object
    seed: int

    @property
    def arguments(self):
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def sides(self):
        return padding_sides(self.padding, self.size, self.kernel, self.stride, self.dilation)

    def whole_numbers(self, *shape):
        """Small whole numbers, whose sums and products every engine computes exactly."""
        return np.random.default_rng(self.seed + len(shape)).integers(-4, 5, shape).astype(np.float64)

    def numbers(self, *shape):
        return np.random.default_rng(self.seed + len(shape)).standard_normal(shape)


@st.composite
def convolutions(draw, groups=None):
    """Convolutions of which at least one output fits."""
    groups = draw(st.integers(1, 3)) if groups is None else groups
    drawn = Drawn(
        batch=draw(st.integers(1, 2)),
        channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        groups=groups,
        size=(draw(lengths), draw(lengths)),
        kernel=(draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        stride=draw(pairs),
        dilation=draw(pairs),
        padding=draw(st.one_of(amounts, st.tuples(amounts, amounts), sides, st.sampled_from(["same", "valid"]))),
        seed=draw(st.integers(0, 1000)),
    )
    assume(min(outputs(drawn)) >= 1)
    return drawn


def outputs(drawn):
    """(H_out, W_out) by the formula, in floor mode."""
    return tuple(
        math.floor((n + sum(side) - d * (k - 1) - 1) / s) + 1
        for n, side, k, s, d in zip(drawn.size, drawn.sides, drawn.kernel, drawn.stride, drawn.dilation, strict=True)
    )


@st.composite
def transposed_convolutions(draw):
    """(convolution, output_padding) whose transposed convolution leaves an output."""
    drawn = draw(convolutions())
    extra = (0, 0)
    if drawn.padding != "same":
        extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(drawn.stride, drawn.dilation, strict=True))
        enlarged = [
            (n - 1) * s + d * (k - 1) + 1 - sum(side) + p
            for n, s, d, k, side, p in zip(
                drawn.size, drawn.stride, drawn.dilation, drawn.kernel, drawn.sides, extra, strict=True
            )
        ]
        assume(min(enlarged) >= 1)
    return drawn, extra


@st.composite
def pools(draw, dilations=undilated):
    """(pool, ceil_mode) of which one output fits, with padding of at most half a kernel, as PyTorch wants it."""
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    drawn = Drawn(
        batch=draw(st.integers(1, 2)),
        channels=draw(st.integers(1, 3)),
        out_channels=1,
        groups=1,
        size=(draw(lengths), draw(lengths)),
        kernel=kernel,
        stride=draw(pairs),
        dilation=draw(dilations),
        padding=(draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))),
        seed=draw(st.integers(0, 1000)),
    )
    ceil_mode = draw(st.booleans())
    room = [
        n + sum(side) - d * (k - 1) - 1
        for n, side, d, k in zip(drawn.size, drawn.sides, drawn.dilation, drawn.kernel, strict=True)
    ]
    rounded = [-(-r // s) if ceil_mode else r // s for r, s in zip(room, drawn.stride, strict=True)]
    assume(min(rounded) >= 0)
    return drawn, ceil_mode
