"""Formulas: what they print is what they compute, and it is what the graph counts and the operations give."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from drawn_layers import multiplying_layers, one_layer
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from windows import convolutions, pools

from npseg import ops
from npseg.analysis import formulas, summary
from npseg.matrices import resize_bilinear_matrix
from npseg.nn import Conv2d, Graph, Linear, Node

EVERY = {
    "conv2d": formulas.conv2d(
        6, 4, (3, 5), (20, 31), stride=(2, 1), padding=((1, 0), (2, 1)), dilation=(1, 2), groups=2
    ),
    "depthwise": formulas.depthwise_conv2d(6, (3, 2), (20, 31), multiplier=2, padding=1, bias=False),
    "separable": formulas.separable_conv2d(6, 4, 3, (20, 31), multiplier=2, padding="same", stride=2),
    "transposed": formulas.conv_transpose2d(6, 4, (4, 5), (7, 9), stride=(2, 3), padding=1, output_padding=1, groups=2),
    "linear": formulas.linear(25_088, 4_096),
    "max-pool": formulas.max_pool2d(6, (3, 2), (20, 31), stride=2, ceil_mode=True),
    "dropping": formulas.max_pool2d(6, 2, (4, 4), stride=3, padding=1, ceil_mode=True),
    "avg-pool": formulas.avg_pool2d(6, 2, (20, 31)),
    "global-avg-pool": formulas.global_avg_pool2d(6, (20, 31)),
    "max-unpool": formulas.max_unpool2d(6, None, (20, 31), output_size=(41, 62)),
    "nearest": formulas.nearest_unpool2d(6, (2, 3), (20, 31)),
    "bed-of-nails": formulas.bed_of_nails_unpool2d(6, 3, (20, 31)),
    "bilinear": formulas.resize_bilinear(6, 2, (20, 31)),
    "batch-norm": formulas.batch_norm2d(6, (20, 31)),
}


def evaluated(text, symbols=None):
    """A formula or its numbers, computed by Python itself."""
    symbols = {"floor": math.floor, "ceil": math.ceil, **(symbols or {})}
    return eval(text.replace(",", ""), symbols)


# ----------------------------------------------------------------------------------------------------- derivations


@pytest.mark.parametrize("name", EVERY)
def test_every_line_says_what_it_computes(name):
    symbols = {}
    for line in EVERY[name].lines:
        if line.formula:
            dropped = "one less" in line.remark
            assert evaluated(line.numbers) == pytest.approx(float(line.value) + dropped, rel=1e-12)
            if "input" not in line.formula:
                assert evaluated(line.formula, symbols) == pytest.approx(float(line.value), rel=1e-12)
        for symbol in line.symbol.split(", ") if line.value is not None else ():
            assert symbol not in symbols
            symbols[symbol] = float(line.value) if isinstance(line.value, Fraction) else line.value
    cost = EVERY[name]
    assert (symbols["parameters"], symbols["MACs"]) == (cost.parameters, cost.macs)
    assert (symbols["FLOPs"], symbols["bytes"]) == (cost.flops, cost.activation_bytes)
    assert symbols.get("exact MACs", cost.macs) == cost.exact_macs


@pytest.mark.parametrize("name", EVERY)
def test_every_derivation_fits_its_width(name):
    for width in (80, 100):
        text = EVERY[name].explain(width)
        broken = [line for line in text.splitlines() if len(line) > width]
        assert all(line.split(" = ")[-1] in text for line in broken)
        assert all("floor" in line or "ceil" in line or "stride" in line or "(" in line for line in broken)


def test_the_textbook_is_quoted():
    def formula(cost, symbol):
        return next(line.formula for line in cost.lines if line.symbol == symbol)

    full, depthwise = (
        formulas.conv2d(64, 128, 3, bias=False),
        formulas.depthwise_conv2d(64, 3, bias=False),
    )
    separable = formulas.separable_conv2d(64, 128, 3, bias=False)
    assert formula(full, "parameters") == "K*K*C*M"
    assert formula(full, "MACs") == "K*K*C*M*H_out*W_out"
    assert formula(depthwise, "parameters") == "K*K*C"
    assert formula(separable, "parameters") == "K*K*C + C*M"
    assert formula(separable, "MACs") == "(K*K*C + C*M)*H_out*W_out"
    assert formula(separable, "separable/full") == "1/M + 1/(K*K)"
    assert formula(formulas.conv_transpose2d(64, 128, 3, bias=False), "MACs") == "K*K*C*M*H*W"
    assert formula(formulas.conv2d(64, 128, 3, groups=4), "parameters") == "K*K*C*M/G + M"


@given(
    st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 9),
)
def test_a_term_writes_the_parentheses_it_needs(steps, first):
    term = formulas.Term.of("a", first)
    symbols = {"a": Fraction(first)}
    for index, (operator, value, turned) in enumerate(steps):
        symbols[f"b{index}"] = Fraction(value)
        sides = term, formulas.Term.of(f"b{index}", value)
        left, right = sides[::-1] if turned and term.value else sides
        term = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[operator](right)
    assert evaluated(term.formula, symbols) == term.value


def test_json_holds_the_derivation():
    plain = formulas.separable_conv2d(64, 128, 3, (56, 40), padding="same").as_dict()
    assert plain["output_size"] == [56, 40]
    assert plain["derivation"][-1] == {
        "symbol": "separable/full",
        "formula": "1/M + 1/(K*K)",
        "numbers": "1/128 + 1/(3*3)",
        "value": 137 / 1152,
        "remark": "weights and MACs, to those of a convolution whose filters see all C channels",
    }


# ----------------------------------------------------------------------------------------- formula, graph, operation


@settings(max_examples=150)
@given(multiplying_layers())
def test_a_layer_of_weights_costs_what_the_graph_counts(drawn):
    layer, shape, cost = drawn
    size = (shape[1], shape[2]) if len(shape) == 3 else (1, 1)
    if isinstance(layer, Linear):
        layer = Conv2d(layer.in_features, layer.out_features, 1, bias=layer.bias)
    model = one_layer(layer, shape)
    counted = summary(model, size)
    assert (cost.parameters, cost.macs) == (counted.parameters, counted.macs)
    assert cost.exact_macs == summary(model, size, convention="exact").macs
    assert cost.activation_bytes == counted.activation_bytes
    assert (cost.output_channels, *cost.output_size) == counted.layers[0].output_shape
    outputs = math.prod(counted.layers[0].output_shape) if layer.bias else 0
    assert cost.flops == summary(model, size, convention="torch").macs + outputs


@settings(max_examples=80)
@given(convolutions(groups=1), st.integers(1, 3), st.booleans())
def test_a_separable_convolution_costs_what_its_two_layers_do(drawn, multiplier, bias):
    sizes = {"stride": drawn.stride, "padding": drawn.padding, "dilation": drawn.dilation}
    filters = drawn.channels * multiplier
    depthwise = Conv2d(drawn.channels, filters, drawn.kernel, **sizes, groups=drawn.channels, bias=False)
    pointwise = Conv2d(filters, drawn.out_channels, 1, bias=bias)
    model = Graph(
        [Node("depthwise", depthwise, ("image",)), Node("pointwise", pointwise, ("depthwise",))],
        input_channels=drawn.channels,
    )
    counted, exact = summary(model, drawn.size), summary(model, drawn.size, convention="exact")
    alone = formulas.depthwise_conv2d(
        drawn.channels, drawn.kernel, drawn.size, **sizes, multiplier=multiplier, bias=False
    )
    both = formulas.separable_conv2d(
        drawn.channels, drawn.out_channels, drawn.kernel, drawn.size, **sizes, multiplier=multiplier, bias=bias
    )
    assert (alone.parameters, alone.macs, alone.exact_macs, alone.output_channels) == (
        counted.layer("depthwise").parameters,
        counted.layer("depthwise").macs,
        exact.layer("depthwise").macs,
        filters,
    )
    assert (both.parameters, both.macs, both.exact_macs) == (counted.parameters, counted.macs, exact.macs)
    assert both.activation_bytes == counted.activation_bytes
    full = formulas.conv2d(drawn.channels, drawn.out_channels, drawn.kernel, drawn.size, **sizes, bias=False)
    ratio = next(line.value for line in both.lines if line.symbol == "separable/full")
    assert ratio == Fraction(both.macs, full.macs)


@settings(max_examples=100)
@given(pools(dilations=st.tuples(st.integers(1, 2), st.integers(1, 2))))
def test_a_pool_gives_what_it_says(drawn_and_mode):
    drawn, ceil_mode = drawn_and_mode
    x = np.zeros((1, drawn.channels, *drawn.size), np.float32)
    sizes = {"stride": drawn.stride, "padding": drawn.padding, "ceil_mode": ceil_mode}
    pooled = [(ops.avg_pool2d, formulas.avg_pool2d, sizes, math.prod(drawn.kernel))]
    pooled.append(
        (ops.max_pool2d, formulas.max_pool2d, sizes | {"dilation": drawn.dilation}, math.prod(drawn.kernel) - 1)
    )
    for operation, formula, arguments, each in pooled:
        try:
            y = operation(x, drawn.kernel, **arguments)
        except ValueError:
            with pytest.raises(ValueError, match="must"):
                formula(drawn.channels, drawn.kernel, drawn.size, **arguments)
            continue
        y = y[0] if isinstance(y, tuple) else y
        cost = formula(drawn.channels, drawn.kernel, drawn.size, **arguments)
        assert (cost.output_channels, *cost.output_size) == y.shape[1:]
        assert (cost.activation_bytes, cost.flops) == (y.nbytes, each * y.size)
        assert cost.parameters == cost.macs == cost.exact_macs == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 2, (3, 2)])
def test_an_upsampling_gives_what_it_says(scale, dtype):
    x, name = np.zeros((1, 3, 4, 5), dtype), np.dtype(dtype).name
    nearest = ops.nearest_unpool2d(x, scale)
    size = nearest.shape[2:]
    indices = np.broadcast_to(np.arange(20).reshape(4, 5), x.shape).copy()
    for y, cost in (
        (nearest, formulas.nearest_unpool2d(3, scale, (4, 5), dtype=name)),
        (ops.bed_of_nails_unpool2d(x, scale), formulas.bed_of_nails_unpool2d(3, scale, (4, 5), dtype=name)),
        (ops.max_unpool2d(x, indices, size), formulas.max_unpool2d(3, scale, (4, 5), dtype=name)),
        (ops.max_unpool2d(x, indices, size), formulas.max_unpool2d(3, None, (4, 5), output_size=size, dtype=name)),
        (ops.resize_bilinear(x, size), formulas.resize_bilinear(3, scale, (4, 5), dtype=name)),
    ):
        assert (cost.output_channels, *cost.output_size) == y.shape[1:]
        assert cost.activation_bytes == y.nbytes
        assert cost.parameters == cost.macs == 0
    assert cost.flops == 7 * y.size
    assert resize_bilinear_matrix(3, (4, 5), size).nnz <= 4 * y.size


def test_batch_normalisation_is_two_operations_a_value():
    cost = formulas.batch_norm2d(6, (20, 31))
    assert (cost.parameters, cost.macs, cost.flops, cost.output_size) == (12, 0, 2 * 6 * 20 * 31, (20, 31))


def test_dilation_changes_no_count():
    plain, dilated = (formulas.conv2d(4, 6, (3, 5), (40, 50), padding="same", dilation=d) for d in (1, (4, 2)))
    assert (plain.parameters, plain.macs, plain.flops) == (dilated.parameters, dilated.macs, dilated.flops)
    ratio = next(line for line in dilated.lines if line.symbol == "dilated/dense")
    assert ratio.value == Fraction(3 * 5, 9 * 9)


def test_the_stride_of_a_transposed_convolution_changes_no_count():
    costs = [formulas.conv_transpose2d(4, 6, 4, (7, 9), stride=stride) for stride in (1, 2, (5, 3))]
    assert len({cost.macs for cost in costs}) == 1
    assert len({cost.output_size for cost in costs}) == 3


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("formula", "arguments", "numbers", "offers"),
    [
        (
            formulas.conv2d,
            {"in_channels": 3, "out_channels": 4, "kernel_size": 300},
            "floor((224 + 0 + 0 - (1 * (300 - 1) + 1)) / 1) + 1 = -75",
            {"kernel_size": ["224"], "input_size": ["300 300"], "padding": ["38"]},
        ),
        (
            formulas.conv2d,
            {"in_channels": 3, "out_channels": 4, "kernel_size": (5, 3), "input_size": (4, 9), "padding": "valid"},
            "floor((4 + 0 + 0 - (1 * (5 - 1) + 1)) / 1) + 1 = 0",
            {"kernel_size": ["4 3"], "input_size": ["5 9"], "padding": ["1 0"]},
        ),
        (
            formulas.conv2d,
            {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "input_size": (5, 6), "dilation": (3, 2)},
            "floor((5 + 0 + 0 - (3 * (3 - 1) + 1)) / 1) + 1 = -1",
            {"kernel_size": ["2 3"], "input_size": ["7 6"], "padding": ["1 0"], "dilation": ["2"]},
        ),
        (
            formulas.conv2d,
            {"in_channels": 6, "out_channels": 12, "kernel_size": 1, "groups": 4},
            "in_channels / groups = 6 / 4",
            {"in_channels": ["4", "8"], "groups": ["3", "6"]},
        ),
        (
            formulas.conv_transpose2d,
            {"in_channels": 6, "out_channels": 12, "kernel_size": 1, "stride": (2, 3), "output_padding": 2},
            "max(2, 1) along the height, got 2",
            {"stride": ["3"], "output_padding": ["1 2"], "dilation": ["3 1"]},
        ),
        (
            formulas.conv_transpose2d,
            {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "input_size": (2, 5), "padding": ((2, 1), (0, 1))},
            "(2 - 1) * 1 + 1 * (2 - 1) + 1 - 2 - 1 = 0",
            {
                "kernel_size": ["3 2"],
                "padding": ["1 0 0 1"],
                "input_size": ["3 5"],
                "stride": ["2 1"],
                "dilation": ["2 1"],
            },
        ),
        (
            formulas.max_pool2d,
            {"channels": 1, "kernel_size": 2, "input_size": (4, 5), "padding": (3, 0)},
            "window 0 covers -3 ... -2",
            {"padding": ["1 0"], "kernel_size": ["4 2"]},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_does_not_fit_is_refused_with_what_does(formula, arguments, numbers, offers):
    with pytest.raises(ValueError, match="Nearest values that work, one change at a time: ") as error:
        formula(**arguments)
    assert numbers in str(error.value)
    listed = dict(offer.split(" ", 1) for offer in str(error.value).split("time: ")[1].split("; "))
    assert {name: listed[name].split(" or ") for name in offers} == offers


@settings(max_examples=30)
@given(
    st.sampled_from([formulas.conv2d, formulas.conv_transpose2d]),
    st.fixed_dictionaries(
        {
            "in_channels": st.integers(1, 6),
            "out_channels": st.integers(1, 6),
            "kernel_size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
            "input_size": st.tuples(st.integers(1, 6), st.integers(1, 6)),
            "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
            "padding": st.tuples(st.integers(0, 5), st.integers(0, 5)),
            "groups": st.integers(1, 3),
        }
    ),
)
def test_every_offer_works(formula, arguments):
    try:
        formula(**arguments)
        reject()
    except ValueError as error:
        _, _, listed = str(error).partition("time: ")
    offers = re.findall(r"(\w+) ([\d or]+)", listed)
    # Channels and window may both be wrong, which no single change can mend; the window alone can always be mended.
    assert offers or any(arguments[name] % arguments["groups"] for name in ("in_channels", "out_channels"))
    for name, values in offers:
        for value in values.split(" or "):
            numbers = tuple(int(number) for number in value.split())
            formula(**arguments | {name: numbers[0] if len(numbers) == 1 else numbers})


@pytest.mark.parametrize(
    ("kernel", "offers"),
    [
        (1000, "kernel_size 224; input_size 1000 1000; padding 388"),
        ((100_000, 3), "kernel_size 224 3"),
        ((1000, 4000), "kernel_size 224; input_size 1000 4000; padding 388 1888"),
    ],
)
def test_offers_are_found_far_away(kernel, offers):
    with pytest.raises(ValueError, match="kernel_size must fit") as error:
        formulas.conv2d(3, 4, kernel)
    assert str(error.value).endswith(f"one change at a time: {offers}")


def test_what_no_single_change_can_mend_is_refused_all_the_same():
    with pytest.raises(ValueError, match="groups must divide in_channels") as error:
        formulas.conv2d(5, 7, 300, (224, 224), groups=2, padding=50)
    assert "Nearest" in str(error.value)
    with pytest.raises(ValueError, match="kernel_size must fit") as error:
        formulas.conv2d(5, 7, 300, (22, 22), groups=2)
    assert "Nearest" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"in_channels": 0}, "in_channels"),
        ({"out_channels": 2.0}, "out_channels"),
        ({"kernel_size": True}, "kernel_size"),
        ({"input_size": 5}, "input_size"),
        ({"stride": 0}, "stride"),
        ({"padding": "some"}, "padding"),
        ({"dtype": "int64"}, "dtype"),
        ({"bias": 1}, "bias"),
    ],
)
def test_arguments_of_another_form_are_refused(arguments, named):
    for formula in (formulas.conv2d, formulas.separable_conv2d, formulas.conv_transpose2d):
        with pytest.raises((TypeError, ValueError), match=named):
            formula(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3} | arguments)


@pytest.mark.parametrize("given_sizes", [{}, {"scale": 2, "output_size": (4, 4)}])
def test_an_upsampling_needs_one_size(given_sizes):
    for formula in (formulas.max_unpool2d, formulas.resize_bilinear):
        with pytest.raises(ValueError, match="scale or output_size"):
            formula(3, input_size=(2, 2), **given_sizes)


def test_operations_are_found_by_every_name():
    for formula in formulas.OPERATIONS.values():
        assert formulas.named(formula.__name__) is formula
    assert formulas.named("max_pool") is formulas.max_pool2d
    with pytest.raises(ValueError, match="bilinear"):
        formulas.named("convolution")
