"""Every network against its definition in PyTorch: logits and all gradients. Skipped where PyTorch is missing.

The networks are built as they are and then narrowed, every layer to a quarter of its channels, so that this takes
seconds; the definitions take the widths that the parameters have. They are computed in float64, npseg's side in both
precisions.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from npseg import get_engine, models, use_engine
from npseg.models.vgg import VGG16_DEPTHS, VGG_DEPTHS
from npseg.nn import Graph, Node, cross_entropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import pytorch_definitions as definitions  # noqa: E402 (it imports PyTorch)

from benchmarks import pytorch_fcn  # noqa: E402

PRECISIONS = pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-9), (np.float32, 1e-4)])
CHANNELS = ("in_channels", "out_channels", "in_features", "out_features", "channels", "groups", "shape")
Definition = Callable[..., Any]


def narrowed(model: Graph, divisor: int, dtype: Any) -> Graph:
    """The same network with so many times fewer channels; the image's and the classes' stay, being no multiples."""

    def fewer(value: Any) -> Any:
        if isinstance(value, tuple):
            return fewer(value[0]), *value[1:]
        return value // divisor if value % divisor == 0 else value

    nodes = []
    for node in model.nodes:
        sizes = {name: fewer(getattr(node.layer, name)) for name in CHANNELS if hasattr(node.layer, name)}
        nodes.append(Node(node.name, replace(node.layer, **sizes), node.inputs))
    return Graph(nodes, input_channels=model.input_channels, dtype=dtype)


def compare(model: Graph, definition: Definition, size: tuple[int, int], bound: float, **options: bool) -> None:
    """Logits, and every parameter's gradient for a random cotangent, relative to the largest value of each array."""
    rng = np.random.default_rng(0)
    for value in (model.parameters | model.buffers).values():
        value += (0.05 * rng.standard_normal(value.shape)).astype(model.dtype)
    x = rng.standard_normal((2, model.input_channels, *size)).astype(model.dtype)
    parameters, buffers = in_float64(model.parameters, learn=True), in_float64(model.buffers)

    with exactly():
        logits, saved = model.forward(x, **options)
        cotangent = rng.standard_normal(logits.shape).astype(model.dtype)
        gradients = model.backward(cotangent, saved)
    expected = definition(parameters | buffers, torch.from_numpy(x).double(), **options)
    expected.backward(torch.from_numpy(cotangent).double())

    assert_close(logits, expected, bound, "logits")
    assert gradients.keys() == parameters.keys()
    for name, gradient in gradients.items():
        assert_close(gradient, parameters[name].grad, bound, name)
    for name, value in model.buffers.items():
        assert_close(value, buffers[name], bound, name)


def in_float64(arrays: Mapping[str, np.ndarray], *, learn: bool = False) -> dict[str, Any]:
    return {name: torch.tensor(value, dtype=torch.float64, requires_grad=learn) for name, value in arrays.items()}


def exactly() -> Any:
    """The default engine without Winograd's algorithm, which trades exactness for speed."""
    return use_engine("numba", winograd="off") if get_engine() == "numba" else use_engine(get_engine())


def assert_close(ours: np.ndarray, theirs: Any, bound: float, name: str) -> None:
    expected = theirs.detach().numpy()
    assert ours.shape == expected.shape, name
    assert expected.any(), name
    assert np.abs(ours - expected).max() <= bound * np.abs(expected).max(), name


# ------------------------------------------------------------------------------------------------------ FCN on VGG


def small_fcn(dtype: Any, stride: int, form: str, *, at_once: bool = False) -> tuple[Graph, Definition]:
    depths = (1, 2, 1, 1, 2)
    backbone = models.vgg((4, 5, 6, 7, 8), depths, 9, dtype=dtype)
    model = models.fcn(backbone, 4, stride, form=form, train_upsampling="all", at_once=at_once)
    return model, partial(pytorch_fcn.logits, depths=depths, stride=stride, form=form, at_once=at_once)


@PRECISIONS
@pytest.mark.parametrize("form", ["same", "paper"])
@pytest.mark.parametrize(
    ("stride", "at_once"),
    [(32, False), (16, False), (8, False), (16, True), (8, True)],
    ids=["32s", "16s", "8s", "16s-atonce", "8s-atonce"],
)
def test_fcn(stride: int, at_once: bool, form: str, dtype: Any, bound: float) -> None:
    compare(*small_fcn(dtype, stride, form, at_once=at_once), (37, 51), bound)


@PRECISIONS
@pytest.mark.parametrize("form", ["same", "paper"])
def test_fcn_through_the_loss(form: str, dtype: Any, bound: float) -> None:
    model, definition = small_fcn(dtype, 8, form)
    rng = np.random.default_rng(1)
    for value in model.parameters.values():
        value += (0.05 * rng.standard_normal(value.shape)).astype(dtype)
    x, labels = rng.standard_normal((2, 3, 37, 50)).astype(dtype), rng.integers(0, 4, (2, 37, 50))
    labels[:, 5:9, 3:20] = 255
    with exactly():
        logits, saved = model.forward(x)
        loss, grad = cross_entropy(logits, labels)
        gradients = model.backward(grad, saved)

    parameters = in_float64(model.parameters, learn=True)
    expected = torch.nn.functional.cross_entropy(
        definition(parameters, torch.from_numpy(x).double()), torch.from_numpy(labels), ignore_index=255
    )
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=bound)
    for name, gradient in gradients.items():
        assert_close(gradient, parameters[name].grad, bound, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "size", "bound"), [(np.float64, (33, 47), 1e-9), (np.float32, (5, 3), 1e-4)], ids=["float64", "float32"]
)
def test_the_papers_fcn8s_at_its_true_widths(dtype: Any, size: tuple[int, int], bound: float) -> None:
    """In float32 with a small image in its wide border.

    Among the ten million values that a larger image makes, some are so near 0, or so nearly equal in a pool, that
    rounding decides where a gradient goes. That moves gradients by a thousandth, in PyTorch's float32 as well.
    """
    model = models.fcn(models.vgg(dtype=dtype), 21, 8, form="paper", train_upsampling="all")
    compare(model, partial(pytorch_fcn.logits, depths=VGG16_DEPTHS, stride=8, form="paper"), size, bound)


# ---------------------------------------------------------------------------------------------------- the others

NARROWED: dict[str, tuple[Callable[[], Graph], Definition, tuple[int, int]]] = {
    "alexnet": (partial(models.alexnet, 5), definitions.alexnet, (225, 223)),
    "caffenet": (partial(models.caffenet, 5), definitions.caffenet, (227, 229)),
    "fcn-alexnet": (partial(models.fcn_alexnet, 5), definitions.fcn_alexnet, (45, 71)),
    "googlenet": (partial(models.googlenet, 5), definitions.googlenet, (97, 75)),
    "mobilenet-v1": (partial(models.mobilenet_v1, 5), definitions.mobilenet_v1, (97, 75)),
    "deeplab-largefov": (partial(models.deeplab_largefov, 5), definitions.deeplab_largefov, (41, 55)),
    "context": (partial(models.context_module, 5), definitions.context_module, (21, 34)),
}
"""How each is built, its definition, and the size of image it is compared on."""


@PRECISIONS
@pytest.mark.parametrize("name", NARROWED)
def test_a_network_of_the_field(name: str, dtype: Any, bound: float) -> None:
    build, definition, size = NARROWED[name]
    compare(narrowed(build(), 4, dtype), definition, size, bound)


def test_mobilenet_while_it_trains() -> None:
    """Through the batch's statistics, and the running ones with it; 27 of them in a row magnify float32's rounding."""
    model = narrowed(models.mobilenet_v1(5), 4, np.float64)
    compare(model, definitions.mobilenet_v1, (129, 161), 1e-9, training=True)


@PRECISIONS
@pytest.mark.parametrize("name", VGG_DEPTHS)
def test_vgg_as_a_classifier(name: str, dtype: Any, bound: float) -> None:
    depths = VGG_DEPTHS[name]
    model = models.vgg_classifier((3, 4, 5, 6, 7), depths, 9, 5, (61, 75), dtype=dtype)
    compare(model, partial(definitions.vgg, depths=depths), (61, 75), bound)
