"""Arrays find their places by name, and what does not fit is listed, all of it at once."""

import numpy as np
import pytest

from npseg.nn import Conv2d, Graph, Linear, Node
from npseg.weights import load_into


def model():
    return Graph([Node("conv", Conv2d(3, 4, (2, 5)), ("image",)), Node("score", Conv2d(4, 2, 1), ("conv",))], seed=1)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(value.shape) for name, value in model().parameters.items()}


def test_everything_is_copied_and_takes_the_networks_dtype():
    network, given = model(), arrays()
    before = {name: value.copy() for name, value in given.items()}
    report = load_into(network, given)
    assert report.complete
    assert report.loaded == ("conv.weight", "conv.bias", "score.weight", "score.bias")
    for name, value in network.parameters.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, given[name].astype(np.float32))
        assert not np.shares_memory(value, given[name])
    np.testing.assert_equal(given, before)


def test_the_order_of_the_file_does_not_matter():
    network = model()
    load_into(network, dict(reversed(arrays().items())))
    np.testing.assert_array_equal(network.parameters["conv.bias"], arrays()["conv.bias"].astype(np.float32))


def test_names_are_translated():
    network, given = model(), arrays()
    theirs = {f"module.{name}": value for name, value in given.items()}
    assert load_into(network, theirs, {f"module.{name}": name for name in given}).complete
    np.testing.assert_array_equal(network.parameters["score.bias"], given["score.bias"].astype(np.float32))


def test_a_fully_connected_layers_weight_fits_a_convolution():
    network, given = model(), arrays()
    weight = given["conv.weight"]
    given["conv.weight"] = weight.reshape(4, 30)
    load_into(network, given)
    np.testing.assert_array_equal(network.parameters["conv.weight"], weight.astype(np.float32))


@pytest.mark.parametrize("shape", [(30, 4), (4, 31), (120,), (4, 3, 5, 2), (3, 4, 2, 5), (4, 30, 1, 1), (1, 4, 30)])
def test_no_other_shape_fits(shape):
    with pytest.raises(ValueError, match=r"1 misshaped: conv\.weight needs .*\(4, 3, 2, 5\), got .*"):
        load_into(model(), arrays() | {"conv.weight": np.zeros(shape)})


def test_a_convolutions_weight_does_not_fit_a_fully_connected_layer():
    dense = Graph([Node("fc", Linear(30, 4), ("image",))])
    with pytest.raises(ValueError, match=r"fc\.weight needs"):
        load_into(dense, {"fc.weight": np.zeros((4, 3, 2, 5)), "fc.bias": np.zeros(4)})


def misfitting():
    given = arrays()
    del given["conv.bias"]
    return given | {"score.weight": np.zeros((2, 5, 1, 1)), "score.bias": np.zeros(2, np.int64), "more": np.zeros(1)}


def test_everything_wrong_is_in_one_error_and_the_network_is_left_alone():
    network = model()
    before = {name: value.copy() for name, value in network.parameters.items()}
    with pytest.raises(ValueError, match="do not fit the network") as caught:
        load_into(network, misfitting())
    for part in (
        "1 missing: conv.bias",
        "1 unexpected: more",
        "2 misshaped: score.weight needs an array of float32 with shape (2, 4, 1, 1), got an array of float64 with "
        "shape (2, 5, 1, 1), score.bias needs an array of float32 with shape (2,), got an array of int64",
    ):
        assert part in str(caught.value)
    np.testing.assert_equal(network.parameters, before)


def test_without_strict_what_fits_is_loaded_and_the_rest_reported():
    network, given = model(), misfitting()
    before = {name: value.copy() for name, value in network.parameters.items()}
    report = load_into(network, given, strict=False)
    assert not report.complete
    assert (report.loaded, report.missing, report.unexpected) == (("conv.weight",), ("conv.bias",), ("more",))
    assert [line.split()[0] for line in report.misshaped] == ["score.weight", "score.bias"]
    np.testing.assert_array_equal(network.parameters["conv.weight"], given["conv.weight"].astype(np.float32))
    for name in ("conv.bias", "score.weight", "score.bias"):
        np.testing.assert_array_equal(network.parameters[name], before[name])


def test_unexpected_names_are_the_files():
    report = load_into(model(), {"theirs": np.zeros(1)}, {"theirs": "ours"}, strict=False)
    assert report.unexpected == ("theirs",)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"names must give each array a name of its own: a and b get conv\.bias"):
        load_into(model(), {"a": np.zeros(4), "b": np.zeros(4)}, {"a": "conv.bias", "b": "conv.bias"})
    with pytest.raises(TypeError, match="model must be a Graph"):
        load_into(3, {})
    with pytest.raises(TypeError, match="strict"):
        load_into(model(), {}, strict=1)
    with pytest.raises(TypeError, match=r"arrays\['a'\] must be a numpy\.ndarray"):
        load_into(model(), {"a": [1]})
