"""Layers that make a map larger without weights or indices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npseg import checks, ops
from npseg.checks import Array
from npseg.nn.layers.layer import C, Gradients, Layer, Mode, Shape, Wanted, pair, size_of


@dataclass(frozen=True)
class NearestUnpool2d(Layer):
    """`npseg.ops.nearest_unpool2d`: each value fills its whole cell."""

    scale: int | tuple[int, int]

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H * scale_h, W * scale_w)."""
        (height, width), (scale_h, scale_w) = size_of(inputs[0]), checks.pair(self.scale, "scale", at_least=1)
        return inputs[0][0], height * scale_h, width * scale_w

    def carry(self, rows: C, columns: C, *inputs: Shape) -> tuple[C, C]:
        """By the scale: a cell's middle lies where its value lay."""
        scale_h, scale_w = pair(self.scale)
        return (
            rows.resized(1, scale_h, align_corners=False),
            columns.resized(1, scale_w, align_corners=False),
        )

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back."""
        return ops.nearest_unpool2d(inputs[0], self.scale), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """The sum over each cell."""
        return (ops.nearest_unpool2d_backward(grad, self.scale),), {}
