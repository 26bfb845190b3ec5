"""Four ways to count, one number: formula, graph, sparse matrix, multiplications performed. And fields by gradient."""

import numpy as np
import pytest
from drawn_layers import multiplying_layers, one_layer
from hypothesis import given, settings
from hypothesis import strategies as st

from npseg.analysis import measured, receptive_fields, summary
from npseg.engines import loops
from npseg.geometry import Window
from npseg.models import fcn, vgg
from npseg.nn import AvgPool2d, Conv2d, ConvTranspose2d, Dropout, Flatten, Graph, Linear, MaxPool2d, Node, ReLU


def chain(*layers, channels=1):
    """Layers one after another, named by their place."""
    nodes = [Node(f"{i}", layer, (f"{i - 1}" if i else "image",)) for i, layer in enumerate(layers)]
    return Graph(nodes, input_channels=channels)


# ------------------------------------------------------------------------------------------------- multiplications


@settings(max_examples=60)
@given(multiplying_layers())
def test_four_ways_to_count_agree(drawn):
    layer, shape, cost = drawn
    counted = measured.multiplications(layer, shape)
    assert counted == measured.nonzeros(layer, shape) == cost.exact_macs
    if not isinstance(layer, Linear):
        assert counted == summary(one_layer(layer, shape), shape[1:], convention="exact").macs
    assert counted <= cost.macs


@settings(max_examples=60)
@given(
    st.integers(1, 2),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_without_padding_the_nominal_count_is_exact(groups, kernel, stride, dilation, more):
    sizes = {"stride": stride, "dilation": dilation, "groups": groups}
    size = tuple(d * (k - 1) + 1 + n for d, k, n in zip(dilation, kernel, more, strict=True))
    for layer in (Conv2d(2 * groups, groups, kernel, **sizes), ConvTranspose2d(2 * groups, groups, kernel, **sizes)):
        shape = 2 * groups, *size
        nominal = summary(one_layer(layer, shape), size).macs
        assert nominal == measured.multiplications(layer, shape) == measured.nonzeros(layer, shape)


def test_counting_changes_no_result():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 3, 2))
    layer = Conv2d(4, 6, (3, 2), (1, 2), ((1, 0), (0, 2)), groups=2)
    window = Window(*layer.axes((4, 5, 6)))
    y, count = measured.run_counted(layer, x, weight)
    np.testing.assert_array_equal(y, loops.conv(x, weight, window, 2))
    assert count == 2 * measured.multiplications(layer, (4, 5, 6))

    layer, weight = ConvTranspose2d(4, 6, (3, 2), 2, 1, 1, groups=2), rng.standard_normal((4, 3, 3, 2))
    window = Window(*layer.axes((4, 5, 6)))
    y, count = measured.run_counted(layer, x, weight)
    np.testing.assert_array_equal(y, loops.conv_grad_input(x, weight, (10, 11), window, 2))
    assert count == 2 * measured.multiplications(layer, (4, 5, 6))


def test_only_layers_that_multiply_are_counted():
    for count in (measured.nonzeros, measured.multiplications):
        with pytest.raises(TypeError, match="layer must be a Conv2d"):
            count(MaxPool2d(2), (1, 4, 4))


# ------------------------------------------------------------------------------------------------ receptive fields

small = st.tuples(st.integers(1, 3), st.integers(1, 3))
steps = st.tuples(st.integers(1, 2), st.integers(1, 2))
layers = st.one_of(
    st.builds(lambda k, s, p, d: Conv2d(1, 1, k, s, p, d), small, steps, small, steps),
    st.builds(lambda k, s: MaxPool2d(k, s), small, steps),
    st.builds(lambda k, s: AvgPool2d(k, s), small, steps),
    st.builds(lambda k, s: ConvTranspose2d(1, 1, k, s), small, steps),
    st.just(ReLU()),
)


@settings(max_examples=60)
@given(st.lists(layers, min_size=1, max_size=4), st.integers(0, 10**6))
def test_the_gradient_reaches_what_the_affine_map_says(drawn, seed):
    model, size = chain(*drawn), (23, 29)
    shapes = model.shapes(size)
    name = model.nodes[-1].name
    position = tuple(int(i) for i in np.random.default_rng(seed).integers(0, shapes[name][1:]))
    field = measured.receptive_field(model, size, position=position)
    fields = receptive_fields(model, shapes)[name]
    expected = [along.union.at(i) for along, i in zip(fields, position, strict=True)]
    if None in expected:
        assert not field.any()
        return
    rows, columns = ((first, last + 1) for first, last in expected)
    outside = field.copy()
    outside[max(rows[0], 0) : max(rows[1], 0), max(columns[0], 0) : max(columns[1], 0)] = False
    assert not outside.any()
    if 0 <= rows[0] < rows[1] <= size[0] and 0 <= columns[0] < columns[1] <= size[1]:
        reached = [np.flatnonzero(field.any(axis=axis)) for axis in (1, 0)]
        assert [(lines[0], lines[-1] + 1) for lines in reached] == [rows, columns]


@pytest.mark.parametrize(("layer", "pixels"), [("pool3", 44), ("pool4", 100), ("pool5", 212), ("fc6", 404)])
def test_the_published_fields_of_vgg_are_measured(layer, pixels):
    model = vgg((1, 1, 1, 1, 1), fc6=1, dropout=0.5)
    size = (2 * pixels, pixels + 100)
    field = measured.receptive_field(model, size, layer=layer)
    assert (field.any(axis=1).sum(), field.any(axis=0).sum()) == (pixels, pixels)


def test_a_dilated_field_has_gaps():
    field = measured.receptive_field(chain(Conv2d(1, 1, (3, 2), dilation=(2, 3))), (7, 9), position=(1, 2))
    assert set(zip(*(indices.tolist() for indices in np.nonzero(field)), strict=True)) == {
        (row, column) for row in (1, 3, 5) for column in (2, 5)
    }


def test_branches_and_crops_are_followed():
    model = fcn(vgg((2, 2, 2, 2, 2), fc6=2), 3, 8, form="paper")
    size = (70, 90)
    field = measured.receptive_field(model, size, position=(40, 50))
    assert field.all()
    early = measured.receptive_field(model, size, layer="pool2")
    assert 0 < early.sum() <= 16 * 16


def test_the_effective_field_lies_in_the_field_and_is_smaller():
    model, size = chain(*[Conv2d(2, 2, 3, padding=1), ReLU()] * 6, channels=2), (21, 25)
    field = measured.effective_receptive_field(model, size, samples=12)
    theoretical = measured.receptive_field(model, size)
    assert field.shape == size
    assert field.max() == 1
    assert not field[~theoretical].any()
    assert theoretical.sum() == 13 * 13
    assert 1 < measured.effective_size(field) < 13
    np.testing.assert_array_equal(field, measured.effective_receptive_field(model, size, samples=12))
    assert not np.array_equal(field, measured.effective_receptive_field(model, size, samples=12, seed=1))
    assert "parameters" not in vars(model)


def test_the_effective_field_of_one_convolution_is_its_weights():
    model, size = chain(Conv2d(1, 1, (3, 2))), (5, 6)
    field = measured.effective_receptive_field(model, size, position=(1, 2), samples=1, seed=7)
    (weight,) = (
        array
        for name, array in Graph(model.nodes, input_channels=1, seed=7, dtype=np.float64).parameters.items()
        if name == "0.weight"
    )
    expected = np.zeros(size)
    expected[1:4, 2:4] = np.abs(weight[0, 0])
    np.testing.assert_allclose(field, expected / expected.max(), rtol=1e-12)


def test_scores_that_start_at_zero_are_drawn():
    model = fcn(vgg((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), fc6=2), 3, 16)
    assert measured.effective_receptive_field(model, (64, 64), samples=2).any()


def test_a_dropout_is_left_out():
    plain, dropping = (chain(*layers) for layers in ([Conv2d(1, 1, 3)], [Conv2d(1, 1, 3), Dropout(0.5)]))
    for measure in (measured.receptive_field, measured.effective_receptive_field):
        np.testing.assert_array_equal(measure(plain, (7, 8)), measure(dropping, (7, 8)))


@pytest.mark.parametrize("measure", [measured.receptive_field, measured.effective_receptive_field])
def test_bad_arguments_are_refused(measure):
    model = chain(Conv2d(1, 1, 3), Flatten((1, 5, 6)), Linear(30, 2))
    with pytest.raises(ValueError, match=r"layer must give a map \(C, H, W\), got '2' of shape \(2,\)"):
        measure(model, (7, 8))
    with pytest.raises(ValueError, match="position must lie on the map of 5 x 6"):
        measure(model, (7, 8), layer="0", position=(4, 6))
    with pytest.raises(ValueError, match="layer must be one of"):
        measure(model, (7, 8), layer="conv")
    with pytest.raises(TypeError, match="model must be a Graph"):
        measure(None, (7, 8))
    with pytest.raises(TypeError, match="input_size"):
        measure(model, 7)
    with pytest.raises(ValueError, match="got a gradient of zero"):
        measured.effective_receptive_field(chain(ConvTranspose2d(1, 1, 1, 2)), (4, 4), position=(1, 1))
