"""How a graph runs: a convolution and its ReLU in one step, inside the context of a running network."""

from typing import Any

import numpy as np
import pytest

from npseg import engines, ops, use_engine
from npseg.engines import choice
from npseg.models import fcn, vgg
from npseg.nn import Add, BatchNorm2d, Conv2d, Dropout, Graph, MaxPool2d, MaxUnpool2d, Node, ReLU
from npseg.nn.layers import Layer, Mode, Wanted


class Nothing(Layer):
    """Passes everything on; between a convolution and its ReLU it keeps the two apart."""

    def forward(self, inputs: Any, parameters: Any, mode: Mode) -> Any:
        return inputs[0], None

    def backward(self, grad: Any, saved: Any, parameters: Any, wanted: Wanted) -> Any:
        return (grad,), {}


def chain(
    between: type[Layer] | None, bias: bool = True, dtype: Any = np.float64, frozen: tuple[str, ...] = ()
) -> Graph:
    nodes, before = [], "image"
    channels = 2
    for name, out_channels, kernel_size in (("conv1", 4, 3), ("conv2", 3, (1, 3)), ("conv3", 5, 2)):
        nodes.append(Node(name, Conv2d(channels, out_channels, kernel_size, padding=1, bias=bias), (before,)))
        if between is not None:
            nodes.append(Node(f"between {name}", between(), (name,)))
        nodes.append(Node(f"relu {name}", ReLU(), (nodes[-1].name,)))
        before, channels = nodes[-1].name, out_channels
    nodes.append(Node("score", Conv2d(channels, 2, 1), (before,)))
    return Graph(nodes, input_channels=2, dtype=dtype, frozen=frozen)


def steps(model: Graph) -> list[str]:
    return [type(step.layer).__name__ for step in model._steps]


def steps_alone(model: Graph) -> list[str]:
    """Of a pass that keeps nothing."""
    return [type(step.layer).__name__ for step in model._steps_alone]


def test_what_runs_in_one_step() -> None:
    assert steps(chain(None)) == 3 * ["Conv2dReLU"] + ["Conv2d"]
    assert steps(chain(Nothing)) == 3 * ["Conv2d", "Nothing", "ReLU"] + ["Conv2d"]
    names = steps(fcn(vgg((2, 3, 4, 5, 6), (2, 2, 3, 3, 3), 8), 3, 8))
    assert names.count("Conv2dReLU") == 15
    assert "ReLU" not in names


def test_what_does_not() -> None:
    conv, image = Conv2d(3, 3, 1), ("image",)
    two_readers = [Node("conv", conv, image), Node("relu", ReLU(), ("conv",)), Node("add", Add(), ("conv", "relu"))]
    assert steps(Graph(two_readers)) == ["Conv2d", "ReLU", "Add"]
    two_relus = [Node("conv", conv, image), Node("a", ReLU(), ("conv",)), Node("b", ReLU(), ("conv",))]
    assert steps(Graph([*two_relus, Node("add", Add(), ("a", "b"))])) == ["Conv2d", "ReLU", "ReLU", "Add"]
    normalised = [Node("conv", conv, image), Node("norm", BatchNorm2d(3), ("conv",)), Node("relu", ReLU(), ("norm",))]
    assert steps(Graph(normalised)) == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert steps(Graph([Node("relu", ReLU(), image), Node("conv", conv, ("relu",))])) == ["ReLU", "Conv2d"]


def pooled(pool: MaxPool2d, *more: Node, dtype: Any = np.float64) -> Graph:
    nodes = [Node("conv", Conv2d(3, 8, 3, padding=1), ("image",)), Node("relu", ReLU(), ("conv",))]
    return Graph([*nodes, Node("pool", pool, ("relu",)), *more], dtype=dtype)


def test_a_pool_joins_where_nothing_is_kept() -> None:
    assert steps(pooled(MaxPool2d(2))) == ["Conv2dReLU", "MaxPool2d"]
    for pool in (MaxPool2d(2), MaxPool2d((2, 2), (2, 2)), MaxPool2d(2, 2, ceil_mode=False)):
        assert steps_alone(pooled(pool)) == ["Conv2dReLUMaxPool2d"]
    for pool in (MaxPool2d(3, 2), MaxPool2d(2, 1), MaxPool2d(2, padding=1), MaxPool2d(2, dilation=2)):
        assert steps_alone(pooled(pool)) == ["Conv2dReLU", "MaxPool2d"]
    assert steps_alone(fcn(vgg((2, 3, 4, 5, 6), (2, 2, 3, 3, 3), 8), 3, 8)).count("Conv2dReLUMaxPool2d") == 5


def test_a_pool_whose_input_or_places_another_reads_stays_apart() -> None:
    also = Node("also", Conv2d(8, 8, 2, 2), ("relu",))
    assert "MaxPool2d" in steps_alone(pooled(MaxPool2d(2), also, Node("add", Add(), ("pool", "also"))))
    unpool = Node("unpool", MaxUnpool2d(2), ("pool", "pool.indices", "image"))
    assert steps_alone(pooled(MaxPool2d(2), unpool)) == ["Conv2dReLU", "MaxPool2d", "MaxUnpool2d"]


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("size", [(8, 6), (7, 6), (8, 5)])
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_the_same_numbers_with_the_pool_as_without(engine: str, size: tuple[int, int], ceil_mode: bool) -> None:
    for dtype in (np.float32, np.float64):
        last = Node("score", Conv2d(8, 2, 1), ("pool",))
        model = pooled(MaxPool2d(2, ceil_mode=ceil_mode), last, dtype=dtype)
        x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(dtype)
        with use_engine(engine):
            np.testing.assert_array_equal(model(x), model.forward(x)[0])


def test_who_watches_sees_every_map() -> None:
    seen: list[str] = []
    pooled(MaxPool2d(2)).forward(np.ones((1, 3, 4, 4)), watch=lambda name, map: seen.append(name))
    assert seen == ["conv", "pool"]


def test_a_step_with_a_pool_has_no_way_back() -> None:
    (step,) = pooled(MaxPool2d(2))._steps_alone
    with pytest.raises(RuntimeError, match="for outputs alone"):
        step.layer.backward(np.ones((1, 8, 2, 2)), None, {}, Wanted(True, True))


def test_a_relu_may_come_much_later() -> None:
    conv = Conv2d(3, 3, 1)
    nodes = [Node("a", conv, ("image",)), Node("b", conv, ("image",)), Node("relu a", ReLU(), ("a",))]
    model = Graph([*nodes, Node("relu b", ReLU(), ("b",)), Node("add", Add(), ("relu a", "relu b"))], dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    logits, saved = model.forward(x)
    a, b = (
        ops.relu(ops.conv2d(x, model.parameters[f"{name}.weight"], model.parameters[f"{name}.bias"])) for name in "ab"
    )
    np.testing.assert_allclose(logits, a + b, rtol=1e-12)
    gradients = model.backward(np.ones_like(logits), saved)
    np.testing.assert_allclose(gradients["a.bias"], (a > 0).sum(axis=(0, 2, 3)))


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_numbers_as_one_by_one(engine: str, bias: bool) -> None:
    rng = np.random.default_rng(0)
    x, whole, apart = rng.standard_normal((2, 2, 4, 5)), chain(None, bias), chain(Nothing, bias)
    x[1, 0, 2, 2] = np.nan
    with use_engine(engine):
        logits, saved = whole.forward(x)
        expected, saved_apart = apart.forward(x)
        np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(whole(x), logits)
        cotangent = rng.standard_normal(logits.shape)
        cotangent.flags.writeable = False
        gradients, expected_gradients = whole.backward(cotangent, saved), apart.backward(cotangent, saved_apart)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected_gradients[name], rtol=1e-10, atol=1e-10)


def test_what_is_frozen_gets_no_gradient() -> None:
    for frozen in (("conv1.weight",), ("conv2.bias",), ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")):
        model, reference = chain(None, frozen=frozen), chain(Nothing)
        x = np.random.default_rng(0).standard_normal((1, 2, 4, 5))
        (logits, saved), (_, reference_saved) = model.forward(x), reference.forward(x)
        gradients = model.backward(logits, saved)
        expected = reference.backward(logits, reference_saved)
        assert gradients.keys() == expected.keys() - set(frozen)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-12)


def test_the_images_gradient_is_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = []
    original = ops.conv2d_grad_input

    def spy(grad: np.ndarray, weight: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        channels.append(weight.shape[1])
        return original(grad, weight, *args, **kwargs)

    monkeypatch.setattr(ops, "conv2d_grad_input", spy)
    model = chain(None)
    logits, saved = model.forward(np.ones((1, 2, 4, 5)))
    model.backward(logits, saved)
    assert channels == [5, 3, 4]  # of the last three convolutions; the first would be the one with 2


def test_fusion_is_how_a_graph_runs_and_not_what_it_is() -> None:
    model = chain(None)
    description, shapes, coordinates = model.describe(), model.shapes((9, 8)), model.coordinates()
    model(np.ones((1, 2, 9, 8)))
    assert [node["type"] for node in model.describe()["nodes"]] == 3 * ["Conv2d", "ReLU"] + ["Conv2d"]
    assert (model.describe(), model.shapes((9, 8)), model.coordinates()) == (description, shapes, coordinates)
    assert Graph.from_description(description).nodes == model.nodes
    assert list(model.parameters) == [
        f"{name}.{key}" for name in ("conv1", "conv2", "conv3", "score") for key in ("weight", "bias")
    ]


def test_engines_know_that_a_network_is_running() -> None:
    seen = []

    class Looks(Nothing):
        def forward(self, inputs: Any, parameters: Any, mode: Mode) -> Any:
            seen.append(choice.networks.get())
            return super().forward(inputs, parameters, mode)

        def backward(self, grad: Any, saved: Any, parameters: Any, wanted: Wanted) -> Any:
            seen.append(choice.networks.get())
            return super().backward(grad, saved, parameters, wanted)

    model = Graph([Node("conv", Conv2d(1, 1, 1), ("image",)), Node("look", Looks(), ("conv",))], input_channels=1)
    x = np.ones((1, 1, 2, 2), np.float32)
    model(x)
    logits, saved = model.forward(x)
    model.backward(logits, saved)
    assert seen == [True, True, True]
    failing = Graph([Node("drop", Dropout(0.5), ("image",))], input_channels=1)
    with pytest.raises(ValueError, match="rng must be given"):
        failing.forward(x, training=True)
    assert not choice.networks.get()
