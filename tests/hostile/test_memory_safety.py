"""Nobody reads or writes outside of an array, whatever indices, gradients and saved things say."""

import inspect
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from npseg import engines, ops, use_engine
from npseg.engines import resolve
from npseg.nn import Conv2d, Graph, MaxPool2d, Node, ReLU

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from calls import OPERATIONS, arrays_in, call, engines_of, working_calls

OUTSIDE = [-1, -(2**63), 2**63 - 1, 2**40, 24]
X = np.arange(24.0).reshape(1, 1, 4, 6)


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("engine", engines())
def test_indices_that_changed_since_the_forward_pass_are_found(engine, outside):
    y, indices = ops.max_pool2d(X, 2, engine=engine)
    indices[0, 0, 1, 2] = outside
    for backward in (
        lambda: ops.max_pool2d_backward(y, indices, (4, 6), engine=engine),
        lambda: ops.max_unpool2d(y, indices, (4, 6), engine=engine),
        lambda: ops.max_unpool2d_backward(X, indices, engine=engine),
    ):
        with pytest.raises(ValueError, match=rf"indices must lie in 0 ... 23 .*{outside}"):
            backward()


@pytest.mark.parametrize("engine", engines())
def test_indices_that_a_network_saved_are_checked_as_well(engine):
    model = Graph([Node("conv", Conv2d(1, 1, 1), ("image",)), Node("pool", MaxPool2d(2), ("conv",))], input_channels=1)
    with use_engine(engine):
        y, saved = model.forward(np.float32(X))
        indices, _ = saved._by_step["pool"]
        indices[...] = 10**9
        with pytest.raises(ValueError, match="indices must lie in"):
            model.backward(y, saved)


@pytest.mark.skipif("numba" not in engines(), reason="Numba is not installed")
@pytest.mark.parametrize("size", [(4, 6), (8, 64)])
def test_compiled_kernels_pass_over_what_lies_outside(size):
    """Their callers have checked, but another thread may write to the indices afterwards."""
    kernels, (height, width) = resolve("numba"), size
    values = np.arange(1.0, 1 + height * width / 4).reshape(1, 1, height // 2, width // 2)
    _, indices = ops.max_pool2d(np.arange(1.0 * height * width).reshape(1, 1, *size), 2)
    for outside in (*OUTSIDE[:4], height * width):
        wrong = indices.copy()
        wrong[0, 0, 1, 1] = outside
        kept = np.where(wrong == outside, 0, values)
        np.testing.assert_array_equal(kernels.scatter(values, wrong, size), kernels.scatter(kept, indices, size))
        plane = kernels.scatter(values, indices, size)
        np.testing.assert_array_equal(kernels.gather(plane, wrong), kept)


@pytest.mark.parametrize("engine", engines()[1:])
def test_indices_may_change_while_they_are_used(engine):
    """The result is anybody's guess, or an error that names them; the process lives."""
    values, stop = np.ones((1, 4, 16, 32)), threading.Event()
    _, right = ops.max_pool2d(np.random.default_rng(0).random((1, 4, 32, 64)), 2)
    indices, labels = right.copy(), np.zeros((1, 32, 64), np.int64)

    def spoil():
        while not stop.is_set():
            indices[...] = 2**61
            labels[...] = 2**61
            indices[...] = right
            labels[...] = 0

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        with use_engine(engine):
            for _ in range(100):
                for attempt in (
                    lambda: ops.max_unpool2d(values, indices, (32, 64)),
                    lambda: ops.max_pool2d_backward(values, indices, (32, 64)),
                    lambda: ops.cross_entropy2d(np.ones((1, 3, 32, 64)), labels),
                ):
                    try:
                        attempt()
                    except (ValueError, IndexError) as error:
                        assert type(error) is IndexError or "indices" in str(error) or "labels" in str(error)  # noqa: PT017
    finally:
        stop.set()
        thread.join()


def network():
    layers = [Node("conv", Conv2d(3, 4, 3, padding=1), ("image",)), Node("relu", ReLU(), ("conv",))]
    return Graph(layers), np.ones((2, 3, 8, 9), np.float32)


@pytest.mark.parametrize("shape", [(3, 4, 8, 9), (2, 5, 8, 9), (2, 4, 80, 90), (1, 1, 1, 1), (2, 4, 72), (0, 4, 8, 9)])
@pytest.mark.parametrize("engine", engines())
def test_a_gradient_of_another_shape_than_the_logits_never_reaches_a_kernel(engine, shape):
    """A fused convolution and ReLU would have read one array by the other's shape."""
    model, x = network()
    with use_engine(engine):
        _, saved = model.forward(x)
        with pytest.raises(ValueError, match=r"grad must have shape \(2, 4, 8, 9\) \(the logits'\)"):
            model.backward(np.zeros(shape, np.float32), saved)
        gradients = model.backward(
            np.zeros((2, 4, 8, 9), np.float32), saved
        )  # a mistake does not use up what was saved
    assert gradients.keys() == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("inverse_std", np.ones(0)),
        ("inverse_std", np.ones(1)),
        ("inverse_std", np.ones(4, np.float32)),
        ("inverse_std", [1.0] * 4),
        ("mean", np.ones(3)),
        ("mean", None),
        ("training", 1),
    ],
)
@pytest.mark.parametrize("engine", ["im2col", engines()[-1]])
def test_what_batch_normalisation_saved_is_checked(engine, name, value):
    x, vector = np.arange(32.0).reshape(2, 4, 2, 2), np.ones(4)
    _, saved = ops.batch_norm2d(x, vector, vector, vector.copy(), vector.copy(), training=True)
    with use_engine(engine), pytest.raises((TypeError, ValueError), match="saved"):
        ops.batch_norm2d_backward(x, x, vector, saved._replace(**{name: value}))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_memory_mapped_files_are_read_and_left_alone(tmp_path, operation):
    """Mapped read-only: writing would end the process. Running statistics, which do change, are mapped for writing."""
    arguments = working_calls()[operation]
    for engine in engines_of(operation):
        mapped = dict(arguments)
        plain = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in arguments.items()}
        for name, value in arguments.items():
            if isinstance(value, np.ndarray):
                value.tofile(tmp_path / name)
                mode = "r+" if name.startswith("running") else "r"
                mapped[name] = np.memmap(tmp_path / name, value.dtype, mode, shape=value.shape)
        if "rng" in inspect.signature(OPERATIONS[operation]).parameters:
            mapped["rng"], plain["rng"] = np.random.default_rng(0), np.random.default_rng(0)
        ours, theirs = (arrays_in(call(operation, engine, **given)) for given in (mapped, plain))
        for a, b in zip(ours, theirs, strict=True):
            assert type(a) is np.ndarray or a.ndim == 0
            np.testing.assert_array_equal(a, b)
        for name, value in plain.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(mapped[name], value)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_images_of_one_pixel_and_batches_of_none(operation):
    """Whatever fits is computed, on all engines alike; the rest is refused by name."""
    arguments = working_calls()[operation]
    for change in (lambda a: a[:, :, :1, :1], lambda a: a[:0]):
        changed = {
            name: change(value).copy() if isinstance(value, np.ndarray) and value.ndim == 4 else value
            for name, value in arguments.items()
        }
        found = []
        for engine in engines_of(operation):
            fresh = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in changed.items()}
            if "rng" in fresh:
                fresh["rng"] = np.random.default_rng(0)
            try:
                found.append(arrays_in(call(operation, engine, **fresh)))
            except ValueError as error:
                assert any(name in str(error) for name in arguments), error  # noqa: PT017
                found.append(None)
        for other in found[1:]:
            assert (other is None) == (found[0] is None)
            for a, b in zip(other or (), found[0] or (), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("stride", [2**40, (1, 10**7), (10**7, 2), (12, 9), (11, 10)])
@pytest.mark.parametrize("engine", engines())
def test_a_stride_beyond_the_image_costs_no_memory(engine, stride, groups):
    """Of such a stride there is one output; the padded image is 11 x 9."""
    rng = np.random.default_rng(0)
    x, weight = rng.integers(-3, 4, (2, 3, 9, 7)) + 0.0, rng.integers(-3, 4, (6, 3 // groups, 3, 2)) + 0.0
    arguments = {"padding": 1, "groups": groups, "engine": engine}
    ops.conv2d(x, weight, stride=1, **arguments)  # compiles
    every = ops.conv2d(x, weight, stride=1, **arguments)
    tracemalloc.start()
    y = ops.conv2d(x, weight, stride=stride, **arguments)
    gradients = ops.conv2d_backward(y, x, weight, stride=stride, **arguments)
    assert tracemalloc.get_traced_memory()[1] < 5 * 10**7
    tracemalloc.stop()
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    np.testing.assert_array_equal(y, every[:, :, ::rows, ::columns])
    grad = np.zeros_like(every)
    grad[:, :, ::rows, ::columns] = y
    for ours, theirs in zip(gradients, ops.conv2d_backward(grad, x, weight, **arguments), strict=True):
        np.testing.assert_array_equal(ours, theirs)
