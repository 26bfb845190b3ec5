"""Layers drawn by Hypothesis, with the windows that the operations' tests draw, and their formulas."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))

from hypothesis import strategies as st
from windows import convolutions, transposed_convolutions

from npseg.analysis import formulas
from npseg.nn import Conv2d, ConvTranspose2d, Graph, Linear, Node


def one_layer(layer, shape):
    """The network of this layer alone."""
    return Graph([Node("layer", layer, ("image",))], input_channels=shape[0])


@st.composite
def convolution_layers(draw):
    """(layer, input shape, formula): any groups, "same" among the paddings."""
    drawn, bias = draw(convolutions()), draw(st.booleans())
    layer = Conv2d(drawn.channels, drawn.out_channels, drawn.kernel, **drawn.arguments, bias=bias)
    cost = formulas.conv2d(
        drawn.channels, drawn.out_channels, drawn.kernel, drawn.size, **drawn.arguments, bias=bias, dtype="float32"
    )
    return layer, (drawn.channels, *drawn.size), cost


@st.composite
def transposed_layers(draw):
    """(layer, input shape, formula), output padding included."""
    (drawn, extra), bias = draw(transposed_convolutions()), draw(st.booleans())
    sizes = {**drawn.arguments, "output_padding": extra, "bias": bias}
    layer = ConvTranspose2d(drawn.channels, drawn.out_channels, drawn.kernel, **sizes)
    cost = formulas.conv_transpose2d(drawn.channels, drawn.out_channels, drawn.kernel, drawn.size, **sizes)
    return layer, (drawn.channels, *drawn.size), cost


@st.composite
def linear_layers(draw):
    """(layer, input shape, formula)."""
    sizes, bias = (draw(st.integers(1, 9)), draw(st.integers(1, 9))), draw(st.booleans())
    return Linear(*sizes, bias=bias), sizes[:1], formulas.linear(*sizes, bias=bias)


def multiplying_layers():
    """Any layer that multiplies by weights."""
    return st.one_of(convolution_layers(), transposed_layers(), linear_layers())
