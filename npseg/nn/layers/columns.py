"""The layer that adds columns back into an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npseg import checks, ops
from npseg.checks import Array
from npseg.geometry import Padding
from npseg.nn.layers.layer import Gradients, Layer, Mode, Shape, Wanted


@dataclass(frozen=True)
class Col2Im(Layer):
    """`npseg.ops.col2im`: columns, given as maps (N, C * K_h * K_w, H_out * W_out, 1), as images of this size."""

    size: tuple[int, int]
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Padding = 0
    dilation: int | tuple[int, int] = 1

    def output_shape(self, *inputs: Shape) -> Shape:
        """(C, H, W)."""
        kernel_h, kernel_w = checks.pair(self.kernel_size, "kernel_size", at_least=1)
        return inputs[0][0] // (kernel_h * kernel_w), *checks.size(self.size, "size")

    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array], mode: Mode) -> tuple[Array, Any]:
        """Nothing is needed for the way back."""
        (x,) = inputs
        return ops.col2im(x[..., 0], self.size, self.kernel_size, **self._window()), None

    def backward(self, grad: Array, saved: Any, parameters: Mapping[str, Array], wanted: Wanted) -> Gradients:
        """Each column gets the gradients of its window."""
        return (ops.im2col(grad, self.kernel_size, **self._window())[..., None],), {}

    def _window(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
