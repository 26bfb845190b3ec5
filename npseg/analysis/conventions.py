"""What counts as a multiply-accumulate: npseg's own rule, the exact number, and what five popular tools print.

A rule takes a layer, the shapes of its inputs and of its output (without the batch), and gives its count; layers that a
convention has no rule for count 0. The tools' rules were read off what they print for single layers and whole networks
in evaluation mode, mistakes included, with fvcore 0.1.5.post20221221, torchinfo 1.8.0, ptflops 0.7.5 (its default
backend), thop 0.1.1.post2209072238 and torch 2.13.0; `tests/analysis/test_conventions.py` holds the figures.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from npseg import checks
from npseg.geometry import Axis
from npseg.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    EnlargeBilinear,
    GlobalAvgPool2d,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    ReLU6,
    ResizeBilinear,
)
from npseg.nn.layers import Shape, size_of

Rule = Callable[[Layer, Sequence[Shape], Shape], int]
DEFAULT = "npseg"


@dataclass(frozen=True)
class Convention:
    """A way of counting.

    Attributes:
        name: what it is asked for by.
        counts: in one line, what it counts.
        rules: by the layer's type.
        mistakes: by the layer's type, what is wrong with the count of it, and why.
    """

    name: str
    counts: str
    rules: Mapping[type[Layer], Rule]
    mistakes: Mapping[type[Layer], str] = field(default_factory=dict)

    def count(self, layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
        """The count of one layer for one image."""
        rule = self.rules.get(type(layer))
        return 0 if rule is None else rule(layer, inputs, output)


def convention_of(name: str) -> Convention:
    """The convention of this name.

    Raises:
        TypeError, ValueError: there is none.
    """
    return CONVENTIONS[checks.choice(name, "convention", tuple(CONVENTIONS))]


# ---------------------------------------------------------------------------------------- the layers that multiply


def weights_at_outputs(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """Each weight once at every output position: H_out * W_out of them, or one for a vector."""
    return _weights(layer) * math.prod(output[1:])


def weights_at_inputs(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """Each weight once at every input position, where a transposed convolution puts its stamp."""
    return _weights(layer) * math.prod(inputs[0][1:])


def real_convolution_taps(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """The multiplications by real pixels: those by padding zeros are left out."""
    axes = layer.axes(*inputs)
    assert axes is not None
    return _weights_of_a_tap(layer, axes) * _real_taps(axes, size_of(inputs[0]), size_of(output))


def real_transposed_taps(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """The multiplications whose product is kept: those that fall into the cropped border are left out."""
    axes = layer.axes(*inputs)
    assert axes is not None
    return _weights_of_a_tap(layer, axes) * _real_taps(axes, size_of(output), size_of(inputs[0]))


def _weights(layer: Layer) -> int:
    return math.prod(layer.parameter_specs()["weight"].shape)


def _weights_of_a_tap(layer: Layer, axes: tuple[Axis, Axis]) -> int:
    """C_out * C_in / groups."""
    return _weights(layer) // (axes[0].kernel_size * axes[1].kernel_size)


def _real_taps(axes: tuple[Axis, Axis], size: tuple[int, int], outputs: tuple[int, int]) -> int:
    """Over all windows, the taps inside an image of this size: rows times columns, since a window is their product."""
    return math.prod(axis.real_taps(length, number) for axis, length, number in zip(axes, size, outputs, strict=True))


# ------------------------------------------------------------------------------------------- how the tools combine


def _with_bias(rule: Rule) -> Rule:
    """One more for each output where the layer has a bias."""

    def rule_with_bias(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
        bias = math.prod(output) if "bias" in layer.parameter_specs() else 0
        return rule(layer, inputs, output) + bias

    return rule_with_bias


def _each_input(factor: int) -> Rule:
    """So many for each value of the (first) input."""
    return lambda layer, inputs, output: factor * math.prod(inputs[0])


def _each_output(factor: int) -> Rule:
    """So many for each value of the output."""
    return lambda layer, inputs, output: factor * math.prod(output)


def _doubled(rules: Mapping[type[Layer], Rule]) -> dict[type[Layer], Rule]:
    """A multiplication and an addition counted as two."""

    def twice(rule: Rule) -> Rule:
        return lambda layer, inputs, output: 2 * rule(layer, inputs, output)

    return {layer: twice(rule) for layer, rule in rules.items()}


def _parameters(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """The number of parameters, whatever the map's size."""
    return sum(math.prod(spec.shape) for spec in layer.parameter_specs().values())


def _sum_and_division(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """A global mean as H * W additions and one division for each channel."""
    return math.prod(inputs[0]) + math.prod(output)


def _response_norm(layer: Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """PyTorch's steps: an average pool over the channels with their padding, and three elementwise operations."""
    assert isinstance(layer, LocalResponseNorm)
    channels, *size = inputs[0]
    return (channels + layer.size - 1) * math.prod(size) + 3 * math.prod(inputs[0])


NOMINAL: dict[type[Layer], Rule] = {
    Conv2d: weights_at_outputs,
    ConvTranspose2d: weights_at_inputs,
    Linear: weights_at_outputs,
}

BILINEAR: tuple[type[Layer], ...] = (ResizeBilinear, EnlargeBilinear)
"""Both are one function to the tools."""

_AT_OUTPUTS = (
    "is wrong: it counts a transposed convolution's weights at every output position. Each input pixel is multiplied "
    "by each weight once, so the positions that count are the input's, fewer by the stride's height times width."
)
_TWICE = "is wrong: it counts this layer twice, once as a module and once as the function that the module calls."

CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(
            "npseg",
            "multiply-accumulates of convolutions (weights x output positions), transposed convolutions (weights x "
            "input positions) and linear layers; multiplications by padding included, biases and all else left out",
            NOMINAL,
        ),
        Convention(
            "exact",
            "as npseg, without multiplications by padding zeros or into a cropped border: the non-zeros of the "
            "operation's sparse matrix",
            {Conv2d: real_convolution_taps, ConvTranspose2d: real_transposed_taps, Linear: weights_at_outputs},
        ),
        Convention(
            "fvcore",
            "as npseg, and 2 for each value of a batch norm, 1 for each input of a global average pool, 4 for each "
            "output of a bilinear resize",
            NOMINAL
            | {
                BatchNorm2d: _each_input(2),
                GlobalAvgPool2d: _each_input(1),
                **dict.fromkeys(BILINEAR, _each_output(4)),
            },
        ),
        Convention(
            "torchinfo",
            "weights and biases x output positions, for transposed convolutions too; a batch norm's parameters once",
            {
                Conv2d: _with_bias(weights_at_outputs),
                ConvTranspose2d: _with_bias(weights_at_outputs),
                Linear: _with_bias(weights_at_outputs),
                BatchNorm2d: _parameters,
            },
            {
                ConvTranspose2d: _AT_OUTPUTS,
                BatchNorm2d: "is wrong: it counts a batch norm's parameters once instead of at every position.",
            },
        ),
        Convention(
            "ptflops",
            "as npseg with biases, and 2 for each value of a batch norm, 2 for each value of a ReLU (1 of a ReLU6), 2 "
            "for each input of a pool, 2 for each output of a bilinear resize, and the steps of a local response norm",
            {layer: _with_bias(rule) for layer, rule in NOMINAL.items()}
            | {
                BatchNorm2d: _each_input(2),
                ReLU: _each_input(2),
                ReLU6: _each_input(1),
                MaxPool2d: _each_input(2),
                AvgPool2d: _each_input(2),
                GlobalAvgPool2d: _each_input(2),
                **dict.fromkeys(BILINEAR, _each_output(2)),
                LocalResponseNorm: _response_norm,
            },
            dict.fromkeys((ReLU, MaxPool2d, AvgPool2d, GlobalAvgPool2d, *BILINEAR), _TWICE),
        ),
        Convention(
            "thop",
            "weights x output positions, for transposed convolutions too, without biases; 4 for each value of a batch "
            "norm, 1 for each output of an average pool, H x W + 1 for each output of a global one, 11 for each output "
            "of a bilinear resize",
            {
                Conv2d: weights_at_outputs,
                ConvTranspose2d: weights_at_outputs,
                Linear: weights_at_outputs,
                BatchNorm2d: _each_input(4),
                AvgPool2d: _each_output(1),
                GlobalAvgPool2d: _sum_and_division,
                **dict.fromkeys(BILINEAR, _each_output(11)),
            },
            {ConvTranspose2d: _AT_OUTPUTS},
        ),
        Convention(
            "torch",
            "FLOPs of torch.utils.flop_counter.FlopCounterMode: 2 x npseg's multiply-accumulates",
            _doubled(NOMINAL),
        ),
    )
}
"""Every convention by name."""
