"""The graph: order, branches, what the walk back computes and what it leaves out."""

import json
import weakref
from typing import Any

import numpy as np
import pytest

from npseg import ops
from npseg.models import fcn, vgg
from npseg.nn import (
    Add,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Graph,
    MaxPool2d,
    MaxUnpool2d,
    Node,
    ReLU,
    cross_entropy,
)
from npseg.nn.layers import Layer, Mode, Wanted


def branching(dtype: Any = np.float64, frozen: tuple[str, ...] = ()) -> Graph:
    """conv1 branches to conv2 and conv3, whose sum takes conv1 in a third time."""
    nodes = [
        Node("conv1", Conv2d(2, 3, 3, padding=1), ("image",)),
        Node("relu", ReLU(), ("conv1",)),
        Node("conv2", Conv2d(3, 3, 1), ("relu",)),
        Node("conv3", Conv2d(3, 3, (1, 3), padding=(0, 1)), ("relu",)),
        Node("add", Add(), ("conv2", "conv3")),
        Node("again", Add(), ("add", "relu")),
    ]
    return Graph(nodes, input_channels=2, dtype=dtype, frozen=frozen)


def loss_of(model: Graph, x: np.ndarray, cotangent: np.ndarray) -> float:
    return float((model(x) * cotangent).sum())


def test_gradients_are_the_derivative_where_a_map_branches() -> None:
    model, rng = branching(), np.random.default_rng(0)
    x = rng.standard_normal((2, 2, 4, 5))
    logits, saved = model.forward(x)
    cotangent = rng.standard_normal(logits.shape)
    gradients = model.backward(cotangent, saved)
    assert set(gradients) == set(model.parameters)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        losses = []
        for step in (1e-6, -1e-6):
            model.parameters[name] += step * direction
            losses.append(loss_of(model, x, cotangent))
            model.parameters[name] -= step * direction
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-5), name


def test_the_images_gradient_is_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    channels_of_calls = []
    original = ops.conv2d_grad_input

    def spy(grad: np.ndarray, weight: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        channels_of_calls.append(weight.shape[1])
        return original(grad, weight, *args, **kwargs)

    monkeypatch.setattr(ops, "conv2d_grad_input", spy)
    model = branching()
    logits, saved = model.forward(np.ones((1, 2, 3, 4)))
    model.backward(np.ones_like(logits), saved)
    assert channels_of_calls == [3, 3]  # of conv2 and conv3; conv1 would be the one with 2


def test_the_walk_stops_below_the_last_trainable_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = tuple(f"{name}.{key}" for name in ("conv1", "conv2") for key in ("weight", "bias"))
    model, reference = branching(frozen=frozen), branching()
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5))
    logits, saved = reference.forward(x)
    expected = reference.backward(np.cos(logits), saved)
    monkeypatch.setattr(ops, "conv2d_grad_input", None)  # would raise if called
    logits, saved = model.forward(x)
    gradients = model.backward(np.cos(logits), saved)
    assert set(gradients) == model.trainable == {"conv3.weight", "conv3.bias"}
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, expected[name])


def pooling_and_back(frozen: tuple[str, ...] = ()) -> Graph:
    """Two pools, undone in reverse; the second's result has the size of the first one's indices."""
    nodes = [
        Node("conv1", Conv2d(2, 3, 3, padding=1), ("image",)),
        Node("pool1", MaxPool2d(2), ("conv1",)),
        Node("conv2", Conv2d(3, 3, 3, padding=1), ("pool1",)),
        Node("pool2", MaxPool2d((2, 3)), ("conv2",)),
        Node("conv3", Conv2d(3, 3, 1), ("pool2",)),
        Node("unpool2", MaxUnpool2d((2, 3)), ("conv3", "pool2.indices", "pool1.indices")),
        Node("unpool1", MaxUnpool2d(2), ("unpool2", "pool1.indices", "image")),
        Node("score", Conv2d(3, 2, 3, padding=1), ("unpool1",)),
    ]
    return Graph(nodes, input_channels=2, dtype=np.float64, frozen=frozen)


def test_a_pools_indices_reach_the_unpooling_and_take_no_gradient() -> None:
    model, x = pooling_and_back(), np.random.default_rng(0).standard_normal((2, 2, 7, 9))
    p = {name: model.parameters[f"{name}.weight"] for name in ("conv1", "conv2", "conv3", "score")}
    one, indices1 = ops.max_pool2d(ops.conv2d(x, p["conv1"], padding=1), 2, ceil_mode=True)
    two, indices2 = ops.max_pool2d(ops.conv2d(one, p["conv2"], padding=1), (2, 3), ceil_mode=True)
    back = ops.max_unpool2d(ops.conv2d(two, p["conv3"]), indices2, (4, 5))
    expected = ops.conv2d(ops.max_unpool2d(back, indices1, (7, 9)), p["score"], padding=1)
    np.testing.assert_allclose(model(x), expected, rtol=1e-12, atol=1e-12)

    logits, saved = model.forward(x)
    cotangent = np.random.default_rng(1).standard_normal(logits.shape)
    gradients = model.backward(cotangent, saved)
    assert set(gradients) == set(model.parameters)
    for name, gradient in gradients.items():
        direction = np.random.default_rng(2).standard_normal(gradient.shape)
        losses = []
        for step in (1e-6, -1e-6):
            model.parameters[name] += step * direction
            losses.append(loss_of(model, x, cotangent))
            model.parameters[name] -= step * direction
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-5), name


def test_what_is_learned_below_indices_alone_gets_no_gradient() -> None:
    """The encoder is frozen but for what only the indices depend on: the positions carry nothing back."""
    nodes = [
        Node("conv1", Conv2d(2, 3, 1), ("image",)),
        Node("pool1", MaxPool2d(2), ("conv1",)),
        Node("other", Conv2d(2, 3, 2, stride=2), ("image",)),
        Node("unpool1", MaxUnpool2d(2), ("other", "pool1.indices", "image")),
    ]
    model = Graph(nodes, input_channels=2, dtype=np.float64)
    logits, saved = model.forward(np.random.default_rng(0).standard_normal((1, 2, 4, 6)))
    assert set(model.backward(logits, saved)) == {"other.weight", "other.bias"}


def test_indices_have_a_place_in_the_description_and_a_shape_where_they_are_taken() -> None:
    model = pooling_and_back()
    again = Graph.from_description(json.loads(json.dumps(model.describe())))
    assert again.nodes == model.nodes
    shapes = model.shapes((7, 9))
    assert shapes["pool1.indices"] == shapes["pool1"] == (3, 4, 5)
    assert shapes["unpool1"] == (3, 7, 9)
    rows, columns = model.coordinates()["unpool1"]
    assert (rows, columns) == model.coordinates()["conv1"]
    assert "pool1.indices" not in Graph(model.nodes[:2], input_channels=2).shapes((7, 9))
    with pytest.raises(ValueError, match=r"'unpool' needs \['conv1.indices'\]"):
        Graph([model.nodes[0], Node("unpool", MaxUnpool2d(2), ("conv1", "conv1.indices", "image"))])


def test_saved_serves_once() -> None:
    model = branching()
    logits, saved = model.forward(np.ones((1, 2, 3, 4)))
    model.backward(np.ones_like(logits), saved)
    with pytest.raises(ValueError, match="saved must come from a forward pass of its own"):
        model.backward(np.ones_like(logits), saved)


class Watched(Layer):
    """Keeps one array of its own, and reports how many of all kept arrays are still alive when it walks back."""

    alive: "list[weakref.ref[np.ndarray]]" = []  # noqa: RUF012 (shared by all instances on purpose)
    counts: "list[int]" = []  # noqa: RUF012

    def forward(self, inputs: Any, parameters: Any, mode: Mode) -> Any:
        kept = np.ones(3)
        self.alive.append(weakref.ref(kept))
        return inputs[0], kept

    def backward(self, grad: Any, saved: Any, parameters: Any, wanted: Wanted) -> Any:
        self.counts.append(sum(reference() is not None for reference in self.alive))
        return (grad,), {}


def test_saved_maps_are_freed_on_the_way_back() -> None:
    names = ["a", "b", "c"]
    nodes = [Node("conv", Conv2d(1, 1, 1), ("image",))]
    nodes += [Node(name, Watched(), (before,)) for name, before in zip(names, ["conv", *names[:-1]], strict=True)]
    model = Graph(nodes, input_channels=1)
    logits, saved = model.forward(np.ones((1, 1, 2, 2), np.float32))
    Watched.counts.clear()
    model.backward(logits, saved)
    assert Watched.counts == [3, 2, 1]


def test_inference_keeps_only_the_maps_still_needed() -> None:
    seen: list[weakref.ref[np.ndarray]] = []

    class Spy(Layer):
        def forward(self, inputs: Any, parameters: Any, mode: Mode) -> Any:
            self_alive = sum(reference() is not None for reference in seen)
            assert self_alive <= 1, "only this layer's own input may be alive"
            y = inputs[0] + 1
            seen.append(weakref.ref(y))
            return y, None

        def backward(self, grad: Any, saved: Any, parameters: Any, wanted: Wanted) -> Any:
            raise AssertionError("inference never walks back")

    names = ["a", "b", "c", "d"]
    nodes = [Node(n, Spy(), (before,)) for n, before in zip(names, ["image", *names[:-1]], strict=True)]
    y = Graph(nodes, input_channels=1)(np.zeros((1, 1, 2, 2), np.float32))
    assert y.max() == 4
    assert len(seen) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_gradient_is_wider_than_the_parameters(dtype: Any) -> None:
    nodes = [*vgg((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), 8, dtype=dtype).nodes]
    nodes.insert(1, Node("norm", BatchNorm2d(2), ("conv1_1",)))
    nodes[2] = Node("relu1_1", ReLU(), ("norm",))
    model = fcn(Graph(nodes, dtype=dtype), 3, 8)
    x = np.random.default_rng(0).standard_normal((2, 3, 33, 40)).astype(dtype)
    logits, saved = model.forward(x, training=True, rng=np.random.default_rng(1))
    loss, grad = cross_entropy(logits, np.ones((2, 33, 40), np.uint8))
    gradients = model.backward(grad, saved)
    arrays = [logits, loss, grad, *gradients.values(), *model.parameters.values(), *model.buffers.values()]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_description_survives_json() -> None:
    model = fcn(vgg((2, 3, 4, 5, 6), (1, 2, 1, 1, 1), 8, seed=5), 3, 16, form="paper")
    again = Graph.from_description(json.loads(json.dumps(model.describe())))
    assert again.nodes == model.nodes
    assert again.trainable == model.trainable
    assert again.describe() == model.describe()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], value)


@pytest.mark.parametrize("broken", [{}, {"nodes": [{"name": "a"}]}, {"nodes": [{"type": "Exec"}]}, {"nodes": 3}])
def test_a_broken_description_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="description must be one made by"):
        Graph.from_description(broken)


def test_an_unknown_option_of_a_layer_is_refused() -> None:
    description = branching().describe()
    description["nodes"][0]["options"]["colour"] = "red"
    with pytest.raises(ValueError, match="description must be"):
        Graph.from_description(description)


def test_parameters_do_not_depend_on_what_else_is_there() -> None:
    shallow, deep = vgg((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), 8), vgg((2, 3, 4, 5, 6), (2, 2, 3, 3, 3), 8)
    np.testing.assert_array_equal(shallow.parameters["conv1_1.weight"], deep.parameters["conv1_1.weight"])
    other = vgg((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), 8, seed=1)
    assert not np.array_equal(shallow.parameters["conv1_1.weight"], other.parameters["conv1_1.weight"])


def test_nothing_is_allocated_before_it_is_asked_for() -> None:
    model = fcn(vgg(), 21, 8, form="paper")
    assert sum(np.prod(spec.shape) for spec in model.parameter_specs.values()) == 134_489_759
    assert model.shapes((500, 500))["score"] == (21, 500, 500)
    assert "parameters" not in vars(model)


def test_mistakes_are_named() -> None:
    conv = Conv2d(3, 2, 1)
    with pytest.raises(ValueError, match="needs \\['b'\\]"):
        Graph([Node("a", conv, ("b",))])
    with pytest.raises(ValueError, match="names of their own, got 'a' twice"):
        Graph([Node("a", conv, ("image",)), Node("a", ReLU(), ("a",))])
    with pytest.raises(ValueError, match="frozen must name parameters"):
        Graph([Node("a", conv, ("image",))], frozen=["a.gamma"])
    with pytest.raises(ValueError, match="at least one layer"):
        Graph([])
    model = Graph([Node("a", conv, ("image",)), Node("drop", Dropout(0.5), ("a",))])
    with pytest.raises(ValueError, match="x must have 3 channels"):
        model(np.ones((1, 2, 3, 3), np.float32))
    with pytest.raises(TypeError, match="x must be float32"):
        model(np.ones((1, 3, 3, 3)))
    with pytest.raises(ValueError, match="rng must be given"):
        model.forward(np.ones((1, 3, 3, 3), np.float32), training=True)
    with pytest.raises(ValueError, match="name must be one of"):
        model.node("b")


def test_batch_norm_moves_its_buffers_only_while_training() -> None:
    model = Graph([Node("conv", Conv2d(3, 2, 1), ("image",)), Node("norm", BatchNorm2d(2), ("conv",))])
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    before = {name: value.copy() for name, value in model.buffers.items()}
    model(x)
    np.testing.assert_equal(model.buffers, before)
    model.forward(x, training=True)
    assert all(not np.array_equal(model.buffers[name], before[name]) for name in before)
