"""Receptive fields: the published ones, their definition by sets of pixels, and what a real network reacts to."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npseg.analysis import receptive_fields, summary
from npseg.analysis.receptive_fields import Footprint, ReceptiveField
from npseg.geometry import AffineMap, Axis
from npseg.models import fcn, named, vgg
from npseg.nn import Add, Concat, Conv2d, ConvTranspose2d, Graph, Node

# ------------------------------------------------------------------------------------------------------- published


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vgg16", {"pool1": 6, "pool2": 16, "pool3": 44, "pool4": 100, "pool5": 212, "fc6": 404, "fc8": 404}),
        ("googlenet", {"inception_5b/output": 715, "pool5/7x7_s1": 907}),
        ("caffenet", {"pool1": 19, "pool2": 67, "pool5": 195, "fc6": 355}),
        ("alexnet", {"pool5": 195}),
        ("mobilenet-v1", {"conv6/sep": 315}),
        (
            "context",
            {
                "ct_conv1_1": 3,
                "ct_conv1_2": 5,
                "ct_conv2_1": 9,
                "ct_conv3_1": 17,
                "ct_conv4_1": 33,
                "ct_conv5_1": 65,
                "ct_fc1": 67,
                "ct_final": 67,
            },
        ),
    ],
)
def test_published(name: str, fields: dict[str, int]) -> None:
    model, size = named(name)
    counted = summary(model, size)
    assert {layer: counted.layer(layer).receptive_field for layer in fields} == {n: (r, r) for n, r in fields.items()}


def test_fcn_alexnet_sees_355() -> None:
    model, size = named("fcn32s", backbone="caffenet")
    counted = summary(model, size)
    assert counted.layer("score_fr").receptive_field == (355, 355)
    assert counted.layer("score").receptive_field_range == ((355, 387), (355, 387))  # one score, or two 32 apart


def test_an_inception_module_sees_from_its_1x1_to_its_5x5() -> None:
    model, size = named("googlenet")
    assert summary(model, size).layer("inception_3a/output").receptive_field_range[0] == (27, 59)


# --------------------------------------------------------------------------------------------------- by definition

Move = tuple[str, Axis | int]


def inputs_of(move: Move, output: int) -> list[int]:
    """The inputs that one output reads, by the definition of each layer, on an unbounded line."""
    kind, what = move
    if kind == "crop":
        assert isinstance(what, int)
        return [output + what]
    assert isinstance(what, Axis)
    taps = range(what.kernel_size)
    if kind == "window":
        return [output * what.stride - what.before + tap * what.dilation for tap in taps]
    return [
        j for j in range(-60, 120) if output in [j * what.stride - what.before + tap * what.dilation for tap in taps]
    ]


def pixels_of(moves: list[Move], output: int) -> set[int]:
    """The image's pixels that one output of the last layer depends on."""
    seen = {output}
    for move in reversed(moves):
        seen = {i for o in seen for i in inputs_of(move, o)}
    return seen


axes = st.builds(Axis, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.just(0), st.integers(1, 2))
moves_drawn = st.lists(
    st.tuples(st.sampled_from(["window", "stamp"]), axes) | st.tuples(st.just("crop"), st.integers(0, 3)), max_size=4
)


@given(moves=moves_drawn)
def test_a_footprint_is_the_hull_of_the_pixels_read(moves: list[Move]) -> None:
    footprint, place = Footprint(), AffineMap()
    for kind, what in moves:
        if kind == "crop":
            assert isinstance(what, int)
            footprint, place = footprint.cropped(what), place.cropped(what)
        else:
            assert isinstance(what, Axis)
            method = "through" if kind == "window" else "back_through"
            footprint, place = getattr(footprint, method)(what), getattr(place, method)(what)
    assert Fraction(footprint.advance, len(footprint.intervals)) == place.scale
    for output in range(-2, 7):
        pixels = pixels_of(moves, output)
        assert footprint.at(output) == ((min(pixels), max(pixels)) if pixels else None)


@given(size=st.integers(2, 9), outputs=st.integers(1, 9), aligned=st.booleans())
def test_interpolation_reads_its_neighbours(size: int, outputs: int, aligned: bool) -> None:
    resized = Footprint().resized(size, outputs, align_corners=aligned)
    place = AffineMap().resized(size, outputs, align_corners=aligned)
    for output in range(-3, 12):
        x = place.scale * output + place.offset
        left = x.numerator // x.denominator
        assert resized.at(output) == (left, left if x.denominator == 1 else left + 1)


def test_a_footprint_has_its_shortest_period() -> None:
    twice = Footprint().back_through(Axis(4, 2, 1)).through(Axis(2, 2))
    assert len(twice.intervals) == 1
    assert twice.advance == 1


def branches(first: int, second: int, join: type[Add] | type[Concat] = Add) -> Graph:
    """Two convolutions of one image, joined; the second looks `second` pixels further back than ahead."""
    nodes = [
        Node("a", Conv2d(1, 1, first, padding=first // 2), ("image",)),
        Node("b", Conv2d(1, 1, second, padding=((second - 1, 0), (0, second - 1))), ("image",)),
        Node("join", join(), ("a", "b")),
    ]
    return Graph(nodes, input_channels=1)


@pytest.mark.parametrize("join", [Add, Concat])
def test_the_union_of_branches_that_are_not_centred_is_larger_than_either(join: type[Add] | type[Concat]) -> None:
    rows, columns = receptive_fields(branches(5, 7, join), branches(5, 7, join).shapes((20, 21)))["join"]
    assert rows.range == columns.range == (5, 7)
    assert rows.union.intervals == ((-6, 2),)
    assert columns.union.intervals == ((-2, 6),)
    assert rows.size == columns.size == 9


def test_maps_of_different_strides_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="same effective stride"):
        ReceptiveField().joined(ReceptiveField().through(Axis(2, 2)))


# --------------------------------------------------------------------------------------------- what a network does


def reacting(model: Graph) -> Graph:
    """All weights positive, so that a large enough pixel wins every maximum and passes every ReLU."""
    rng = np.random.default_rng(0)
    for name, value in model.parameters.items():
        value[...] = rng.uniform(0.5, 1.0, value.shape) if name.endswith("weight") else 0
    return model


@pytest.mark.parametrize(("form", "stride"), [("paper", 8), ("same", 16)])
def test_the_outputs_that_react_to_a_pixel_are_those_that_see_it(form: str, stride: int) -> None:
    backbone = vgg((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), 1, dropout=0.0)
    model = reacting(fcn(backbone, 1, stride, form=form))
    width = 420
    x = np.ones((1, 3, 2, width), np.float32)
    field = receptive_fields(model, model.shapes((2, width)))["score"][1]
    assert 200 < field.size < width
    base = model(x)[0, 0, 0]
    for column in (150, 151, 213):
        moved = x.copy()
        moved[..., column] = 1e4
        reacts = np.flatnonzero(np.abs(model(moved)[0, 0, 0] - base) > 1e-4 * np.abs(base))
        sees = [i for i in range(width) if (seen := field.union.at(i)) and seen[0] <= column <= seen[1]]
        assert list(reacts) == sees


def test_a_layer_reports_its_own_gaps() -> None:
    """A transposed convolution whose stride outgrows its kernel leaves pixels that see nothing."""
    model = Graph([Node("up", ConvTranspose2d(1, 1, 2, 3), ("image",))], input_channels=1)
    assert summary(model, (4, 5)).layers[0].receptive_field_range == ((0, 1), (0, 1))
