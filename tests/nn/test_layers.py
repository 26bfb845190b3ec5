"""Every layer against the definition of its derivative, and its promised shapes against what comes out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from npseg.nn import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Col2Im,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    EnlargeBilinear,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    ReLU,
    ReLU6,
    ResizeBilinear,
    Scale,
    SelectChannels,
    Softmax,
)
from npseg.nn.initialisation import INITIALISERS
from npseg.nn.layers import LAYERS, Mode, Wanted

INDICES = np.array([[[[6, 1, 3], [10, 12, 14]], [[0, 7, 9], [11, 17, 4]]]])
"""Positions on a plane of 4 x 5, of two channels; not in a pool's order, and none twice."""

Input = tuple[int, ...] | np.ndarray
"""The shape of a map of numbers to be made up, or a map of indices as it is."""

CASES: list[tuple[Layer, list[Input]]] = [
    (Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((1, 0), (2, 1)), dilation=(1, 2), groups=2), [(2, 4, 6, 7)]),
    (Conv2d(2, 3, 2, padding="same", bias=False), [(1, 2, 4, 5)]),
    (ConvTranspose2d(3, 3, (4, 3), stride=(2, 1), padding=1, initialiser="he_normal"), [(2, 3, 3, 4)]),
    (ConvTranspose2d(2, 4, 4, stride=2, groups=2, output_padding=1, bias=True), [(1, 2, 2, 3)]),
    (Linear(5, 3), [(4, 5)]),
    (Linear(5, 3, bias=False), [(4, 5)]),
    (BatchNorm2d(3), [(2, 3, 4, 5)]),
    (BatchNorm2d(3, fixed=True), [(2, 3, 4, 5)]),
    (ReLU(), [(2, 3, 4, 5)]),
    (Scale(-0.3), [(2, 3, 4, 5)]),
    (ReLU6(), [(2, 3, 4, 5)]),
    (MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)), [(2, 2, 6, 5)]),
    (MaxPool2d(2), [(1, 2, 5, 1)]),
    (MaxPool2d((2, 3), 1, padding=1, dilation=(3, 2)), [(1, 2, 6, 7)]),
    (MaxUnpool2d(2), [(1, 2, 2, 3), INDICES, (1, 7, 4, 5)]),
    (AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0)), [(2, 2, 6, 5)]),
    (AvgPool2d(3, 2, ((1, 0), (0, 1)), ceil_mode=False, count_include_pad=False), [(1, 2, 6, 7)]),
    (GlobalAvgPool2d(), [(2, 3, 4, 5)]),
    (LocalResponseNorm(3, alpha=0.7, beta=0.6, k=1.3), [(2, 5, 3, 4)]),
    (Dropout(0.4), [(2, 3, 4, 5)]),
    (Flatten((2, 3, 4)), [(2, 2, 3, 4)]),
    (Crop((1, 2)), [(2, 2, 5, 6), (2, 1, 3, 4)]),
    (Crop(0), [(2, 2, 3, 4), (2, 1, 3, 4)]),
    (Add(), [(2, 3, 4, 5), (2, 3, 4, 5)]),
    (Concat(), [(2, 3, 4, 5), (2, 1, 4, 5), (2, 2, 4, 5)]),
    (ResizeBilinear(), [(2, 3, 4, 5), (2, 1, 7, 6)]),
    (NearestUnpool2d((3, 2)), [(2, 3, 4, 5)]),
    (SelectChannels(1, 2), [(2, 4, 3, 5)]),
    (SelectChannels(0, 2), [(3, 3)]),
    (Col2Im((5, 6), (3, 2), stride=(2, 1), padding=((1, 0), (0, 1))), [(2, 12, 12, 1)]),
    (Softmax(), [(2, 3, 4, 5)]),
    (Softmax(axis=3), [(2, 3, 4, 5)]),
    (LogSoftmax(), [(2, 3, 4, 5)]),
    (ResizeBilinear(align_corners=True), [(1, 2, 3, 4), (1, 1, 5, 9)]),
    (EnlargeBilinear((3, 2)), [(2, 3, 4, 5)]),
    (EnlargeBilinear(4), [(1, 2, 1, 3)]),
]
NAMES = [f"{type(layer).__name__}-{number}" for number, (layer, _) in enumerate(CASES)]


def parameters_of(layer: Layer, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    specs = layer.parameter_specs() | layer.buffer_specs()
    parameters = {
        name: INITIALISERS[spec.initialiser](rng, spec.shape, np.dtype(dtype)) for name, spec in specs.items()
    }
    return {name: value + rng.uniform(0.0, 0.5, value.shape).astype(dtype) for name, value in parameters.items()}


def inputs_of(shapes: list[Input], dtype: Any = np.float64) -> list[np.ndarray]:
    """All values distinct and away from 0, so that no small step crosses a kink."""
    rng = np.random.default_rng(2)
    return [
        shape
        if isinstance(shape, np.ndarray)
        else (rng.permutation(np.prod(shape)) - np.prod(shape) / 2 + 0.3).reshape(shape).astype(dtype) / 7
        for shape in shapes
    ]


def run(layer: Layer, inputs: list[np.ndarray], parameters: Mapping[str, np.ndarray], *, training: bool) -> Any:
    fresh = {name: value.copy() for name, value in parameters.items()}  # batch normalisation moves its statistics
    return layer.forward(inputs, fresh, Mode(training, np.random.default_rng(3)))


def test_every_layer_has_a_case() -> None:
    assert {type(layer) for layer, _ in CASES} == set(LAYERS.values())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("layer", "shapes"), CASES, ids=NAMES)
def test_backward_is_the_derivative(layer: Layer, shapes: list[Input], training: bool) -> None:
    inputs, parameters = inputs_of(shapes), parameters_of(layer)
    y, saved = run(layer, inputs, parameters, training=training)
    rng = np.random.default_rng(4)
    cotangent = rng.standard_normal(y.shape)
    grad_inputs, grad_parameters = layer.backward(cotangent, saved, parameters, Wanted())
    assert set(grad_parameters) == set(layer.parameter_specs())

    step = 1e-6
    directions = [rng.standard_normal(x.shape) * (x.dtype != np.int64) for x in inputs]
    moved = {name: rng.standard_normal(parameters[name].shape) for name in layer.parameter_specs()}

    def loss_at(t: float) -> float:
        there = parameters | {name: parameters[name] + t * direction for name, direction in moved.items()}
        shifted = [(x + t * direction).astype(x.dtype) for x, direction in zip(inputs, directions, strict=True)]
        return float((run(layer, shifted, there, training=training)[0] * cotangent).sum())

    measured = (loss_at(step) - loss_at(-step)) / (2 * step)
    claimed = sum(
        float((grad * direction).sum())
        for grad, direction in zip(grad_inputs, directions, strict=True)
        if grad is not None
    )
    claimed += sum(float((grad_parameters[name] * direction).sum()) for name, direction in moved.items())
    assert measured == pytest.approx(claimed, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("layer", "shapes"), CASES, ids=NAMES)
def test_promised_shape_is_the_shape(layer: Layer, shapes: list[Input]) -> None:
    inputs = inputs_of(shapes)
    y, _ = run(layer, inputs, parameters_of(layer), training=False)
    assert layer.output_shape(*(x.shape[1:] for x in inputs)) == y.shape[1:]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("layer", "shapes"), CASES, ids=NAMES)
def test_dtype_is_kept(layer: Layer, shapes: list[Input], dtype: Any) -> None:
    parameters = parameters_of(layer, dtype)
    y, saved = run(layer, inputs_of(shapes, dtype), parameters, training=True)
    grad_inputs, grad_parameters = layer.backward(np.ones_like(y), saved, parameters, Wanted())
    found = [y, *grad_inputs, *grad_parameters.values()]
    assert {array.dtype for array in found if array is not None} == {np.dtype(dtype)}


@pytest.mark.parametrize(("layer", "shapes"), CASES, ids=NAMES)
def test_unwanted_gradients_change_nothing_about_the_wanted_ones(layer: Layer, shapes: list[Input]) -> None:
    inputs, parameters = inputs_of(shapes), parameters_of(layer)
    y, saved = run(layer, inputs, parameters, training=True)
    grad = np.random.default_rng(5).standard_normal(y.shape)
    both_inputs, both_parameters = layer.backward(grad, saved, parameters, Wanted())
    only_inputs, no_parameters = layer.backward(grad, saved, parameters, Wanted(parameters=False))
    _, only_parameters = layer.backward(grad, saved, parameters, Wanted(inputs=False))
    assert no_parameters == {}
    for a, b in zip(both_inputs, only_inputs, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, value in both_parameters.items():
        np.testing.assert_array_equal(value, only_parameters[name])


def test_dropout_of_an_image_does_not_depend_on_its_batch() -> None:
    x = np.ones((3, 2, 4, 5), np.float32)
    generators = [np.random.default_rng(seed) for seed in (7, 8, 9)]
    together, _ = Dropout(0.5).forward([x], {}, Mode(True, generators))
    alone, _ = Dropout(0.5).forward([x[1:2]], {}, Mode(True, [np.random.default_rng(8)]))
    np.testing.assert_array_equal(together[1:2], alone)
    assert 0 < np.count_nonzero(together) < together.size


def test_dropout_needs_its_generators() -> None:
    x = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="rng must be given"):
        Dropout(0.5).forward([x], {}, Mode(training=True))
    with pytest.raises(ValueError, match="one for each of 3 images, got 1"):
        Dropout(0.5).forward([x], {}, Mode(True, [np.random.default_rng(0)]))


def test_flatten_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"must give a map of shape \(2, 3, 4\)"):
        Flatten((2, 3, 4)).forward([np.ones((1, 2, 4, 4), np.float32)], {}, Mode())


def test_unpooling_needs_the_indices_of_its_own_values() -> None:
    with pytest.raises(ValueError, match=r"their pool's indices, \(2, 3, 4\), got \(2, 3, 5\)"):
        MaxUnpool2d(2).output_shape((2, 3, 5), (2, 3, 4), (2, 6, 8))


@pytest.mark.parametrize("other", [(1, 3, 4), (2, 1, 4), (2, 3, 1), (2, 3, 5)])
def test_only_maps_of_one_shape_are_added(other: tuple[int, int, int]) -> None:
    """Nothing is repeated to fit, in either order."""
    for shapes in ([(2, 3, 4), other], [other, (2, 3, 4)]):
        with pytest.raises(ValueError, match="inputs must be maps of one shape to be added, got shapes"):
            Add().output_shape(*shapes)
        with pytest.raises(ValueError, match="inputs must be maps of one shape to be added, got shapes"):
            Add().forward([np.ones((1, *shape)) for shape in shapes], {}, Mode())
    with pytest.raises(ValueError, match=r"inputs must be maps of one shape to be added, got shapes \[\(2, "):
        Add().forward([np.ones((2, 2, 3, 4)), np.ones((1, 2, 3, 4))], {}, Mode())


def test_only_maps_of_one_size_are_stacked() -> None:
    with pytest.raises(ValueError, match="maps of one size"):
        Concat().output_shape((2, 3, 4), (2, 4, 4))
    with pytest.raises(ValueError, match="maps of one size"):
        Concat().forward([np.ones((1, 2, 3, 4)), np.ones((1, 2, 4, 4))], {}, Mode())
