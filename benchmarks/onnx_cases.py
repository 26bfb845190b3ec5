"""ONNX's public tests of its operators, each given to npseg as a file: run, or refused with a reason.

A test names a node, inputs and outputs. npseg reads networks, which take one image and keep their weights, so a test
becomes a network first:

    weights and other arguments     constants of the file
    two or more maps (Add, Concat)  stacked along the channels into one image, which a Split takes apart again
    a pool's indices (MaxUnpool)    the MaxPool that finds them comes before
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from npseg.checks import Array
from npseg.nn import MaxPool2d
from npseg.nn.layers import Mode
from npseg.weights import load_onnx

OPERATORS = (
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Col2Im",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "LRN",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "MaxUnpool",
    "Mul",
    "NegativeLogLikelihoodLoss",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Resize",
    "Slice",
    "Softmax",
    "SoftmaxCrossEntropyLoss",
    "Split",
    "Sum",
    "Upsample",
)
"""Those whose mathematics npseg has."""

JOINING = ("Add", "Concat", "Mul", "Sum")
"""Those that take several maps."""


@dataclass(frozen=True)
class Result:
    """What came of a test.

    Attributes:
        name: the test's.
        operator: the one that it is about, or several.
        refused: why; None where it was run.
        error: where it was run, the largest difference from the expected numbers.
    """

    name: str
    operator: str
    refused: str | None
    error: float = 0.0


DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


@cache
def node_tests() -> tuple[Any, ...]:
    """All tests of operators, made by the library itself."""
    from onnx.backend.test.case.node import collect_testcases

    with np.errstate(all="ignore"):
        return tuple(collect_testcases(None))


@dataclass(frozen=True)
class StoredTest:
    """A test that the library brings as files, in the form of those that it makes."""

    name: str
    model: Any
    data_sets: list[tuple[list[Array], list[Array]]]
    rtol: float = 1e-3
    atol: float = 1e-7


def stored_tests(kind: str) -> list[StoredTest]:
    """The tests in one of the library's folders: "pytorch-converted", "pytorch-operator" or "simple"."""
    return [_stored(path) for path in sorted((DATA / kind).iterdir())]


ZOO = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
"""Published classifiers that the library brings with weights of simple numbers, each with its result for one image."""


def zoo_file(name: str) -> Path:
    """One of them."""
    return DATA / "light" / f"light_{name}.onnx"


def zoo_result(name: str) -> tuple[Array, Array]:
    """The image that the library's tests give them, and what comes out."""
    image = np.arange(3 * 224 * 224).reshape(1, 3, 224, 224) / (3 * 224 * 224)
    return image.astype(np.float32), _tensor(DATA / "light" / f"light_{name}_output_0.pb")


def _stored(path: Path) -> StoredTest:
    model = onnx.load(path / "model.onnx")
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    data = path / "test_data_set_0"
    given = [_tensor(data / f"input_{number}.pb") for number in range(len(inputs))]
    return StoredTest(
        path.name, model, [(given, [_tensor(data / f"output_{n}.pb") for n in range(len(model.graph.output))])]
    )


def _tensor(path: Path) -> Array:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def operator_of(case: Any) -> str:
    """The operators of a test's graph."""
    return ", ".join(sorted({node.op_type for node in case.model.graph.node}))


def is_ours(case: Any) -> bool:
    """Whether a test is of one operator that npseg has the mathematics of."""
    return len(case.model.graph.node) == 1 and operator_of(case) in OPERATORS


def tried(case: Any) -> Result:
    """One test, run or refused.

    Raises:
        AssertionError: it was run, and the numbers are wrong.
    """
    operator = operator_of(case)
    ((inputs, expected),) = case.data_sets
    model, image = as_network(case.model, [_array(value) for value in inputs], operator)
    with TemporaryDirectory() as folder:
        path = Path(folder, "case.onnx")
        path.write_bytes(model.SerializeToString())
        try:
            outputs = list(outputs_of(path, model, image))
        except ValueError as error:
            return Result(case.name, operator, reason(str(error), path))
    worst = 0.0
    for found, wanted in zip(outputs, expected, strict=True):
        as_map = wanted if wanted.ndim in (2, 4) else wanted[..., None]
        np.testing.assert_allclose(found, as_map, rtol=case.rtol, atol=case.atol, err_msg=case.name)
        assert found.dtype == wanted.dtype, case.name
        worst = max(worst, float(np.abs(found - as_map).max()))
    return Result(case.name, operator, None, worst)


def _array(value: Any) -> Array:
    """What a test gives; lists of arrays and what is missing are no network's input, and refused by its type."""
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else np.zeros(1, np.int64)


def outputs_of(path: Path, model: Any, image: Array) -> Iterator[Array]:
    """The outputs of a file, one after another."""
    x = image.reshape(*image.shape, *(1,) * (4 - image.ndim))
    for value in model.graph.output:
        makers = [node for node in model.graph.node if value.name in node.output[1:] and node.op_type == "MaxPool"]
        if makers:
            yield pool_indices(path, makers[0], x)
        else:
            yield load_onnx(path, value.name)(x)


def pool_indices(path: Path, maker: Any, x: Array) -> Array:
    """The winners' places of a file's one pool as ONNX counts them: from the start of the whole tensor."""
    pool = load_onnx(path, maker.output[0]).nodes[-1].layer
    assert isinstance(pool, MaxPool2d)
    _, winners = pool.forward([x], {}, Mode())
    by_column = any(attribute.name == "storage_order" and attribute.i for attribute in maker.attribute)
    return whole_tensor(winners.indices, x.shape, by_column=by_column)


def whole_tensor(indices: Array, shape: tuple[int, ...], *, by_column: bool = False) -> Array:
    """npseg's places, h * W + w in their plane, as ONNX's in the tensor: + (n * C + c) * H * W.

    Args:
        indices: (N, C, H_out, W_out) int64.
        shape: (N, C, H, W) of the map that was pooled.
        by_column: count each plane column by column, w * H + h.
    """
    batch, channels, height, width = shape
    if by_column:
        indices = indices % width * height + indices // width
    planes = np.arange(batch * channels).reshape(batch, channels, 1, 1)
    return planes * (height * width) + indices


def reason(message: str, path: Path) -> str:
    """Why a file was refused, without its path."""
    return message.removeprefix(f"{path}: ")


# ---------------------------------------------------------------------------------------- from a test to a network


def as_network(model: Any, inputs: list[Array], operator: str) -> tuple[Any, Array]:
    """The test as a file with one image and constants, and the image."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    constants = {tensor.name for tensor in changed.graph.initializer}
    names = [value.name for value in changed.graph.input if value.name not in constants]
    if operator == "MaxUnpool":
        return _after_its_pool(changed, names, inputs)
    if operator in JOINING and len(inputs) > 1 and _stackable(inputs):
        return _split(changed, names, inputs)
    _fix(changed.graph, dict(zip(names[1:], inputs[1:], strict=True)))
    return changed, inputs[0] if inputs else np.zeros((1, 1))


def _fix(graph: Any, constants: dict[str, Array]) -> None:
    """Make inputs constants, which may stay in the list of inputs."""
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())


def _set(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _stackable(inputs: list[Array]) -> bool:
    """Whether the maps differ in their channels at most."""
    return inputs[0].ndim in (2, 3, 4) and len({(*x.shape[:1], *x.shape[2:]) for x in inputs}) == 1


def _split(model: Any, names: list[str], inputs: list[Array]) -> tuple[Any, Array]:
    image = np.concatenate(inputs, axis=1)
    graph = model.graph
    element = helper.np_dtype_to_tensor_dtype(image.dtype)
    channels = numpy_helper.from_array(np.array([x.shape[1] for x in inputs], np.int64), "stacked_channels")
    node = helper.make_node("Split", ["stacked", "stacked_channels"], names, name="take_apart", axis=1)
    graph.initializer.append(channels)
    _set(graph.node, [node, *graph.node])
    _set(graph.input, [helper.make_tensor_value_info("stacked", element, image.shape)])
    return model, image


def _after_its_pool(model: Any, names: list[str], inputs: list[Array]) -> tuple[Any, Array]:
    """An image whose maxima are the test's values, where its indices say; all other pixels are smaller."""
    values, indices = inputs[:2]
    graph = model.graph
    (node,) = graph.node
    window = {a.name: list(a.ints) for a in node.attribute}
    stride = window.get("strides", [1, 1])
    size = [(n - 1) * s + k for n, s, k in zip(values.shape[2:], stride, window["kernel_shape"], strict=True)]
    image = np.full((*values.shape[:2], *size), values.min() - 1, values.dtype)
    image.ravel()[indices.ravel()] = values.ravel()
    element = helper.np_dtype_to_tensor_dtype(image.dtype)
    pool = helper.make_node("MaxPool", ["image"], names[:2], name="pool", **window)
    _fix(graph, dict(zip(names[2:], inputs[2:], strict=True)))
    _set(graph.node, [pool, node])
    _set(graph.input, [helper.make_tensor_value_info("image", element, image.shape)])
    return model, image
