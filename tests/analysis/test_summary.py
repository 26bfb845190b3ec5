"""The summary of a network: its figures against the network itself, and how they are written down."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from npseg.analysis import as_csv, as_dict, as_json, markdown, summary, text
from npseg.models import fcn, named, vgg
from npseg.nn import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    EnlargeBilinear,
    Flatten,
    GlobalAvgPool2d,
    Graph,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    MaxUnpool2d,
    Node,
    ReLU,
    ResizeBilinear,
    Scale,
)

KEYS = [
    "name",
    "type",
    "inputs",
    "output_shape",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "parameters",
    "macs",
    "activation_bytes",
    "receptive_field",
    "effective_stride",
    "offset",
]


def every_layer(dtype: Any = np.float32) -> Graph:
    """One of each kind, on images of three channels."""
    nodes = [
        Node("conv1", Conv2d(3, 4, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2)), ("image",)),
        Node("bn1", BatchNorm2d(4), ("conv1",)),
        Node("relu1", ReLU(), ("bn1",)),
        Node("pool1", MaxPool2d((3, 2), 2), ("relu1",)),
        Node("norm1", LocalResponseNorm(3), ("pool1",)),
        Node("conv2", Conv2d(4, 6, 3, padding="same", groups=2, bias=False), ("norm1",)),
        Node("relu2", ReLU(), ("conv2",)),
        Node("pool2", MaxPool2d(2), ("relu2",)),
        Node("unpool2", MaxUnpool2d(2), ("pool2", "pool2.indices", "relu2")),
        Node("average", AvgPool2d(3, 1, 1), ("unpool2",)),
        Node("both", Concat(), ("average", "relu2")),
        Node("up", ConvTranspose2d(12, 4, 4, 2, 1, 1, bias=True), ("both",)),
        Node("cut", Crop((0, 1)), ("up", "relu1")),
        Node("sum", Add(), ("cut", "relu1")),
        Node("drop1", Dropout(0.3), ("sum",)),
        Node("scaled", Scale(0.01), ("drop1",)),
        Node("resized", ResizeBilinear(), ("scaled", "pool1")),
        Node("drop2", Dropout(0.0), ("resized",)),
        Node("large", EnlargeBilinear(2), ("drop2",)),
        Node("conv3", Conv2d(4, 5, 1), ("large",)),
        Node("mean", GlobalAvgPool2d(), ("conv3",)),
        Node("flatten", Flatten((5, 1, 1)), ("mean",)),
        Node("fc", Linear(5, 7), ("flatten",)),
    ]
    return Graph(nodes, frozen=["up.weight"], dtype=dtype)


# ------------------------------------------------------------------------------------------ figures and the network


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_and_shapes_are_the_networks_own(dtype: Any) -> None:
    model = every_layer(dtype)
    counted = summary(model, (14, 9))
    assert "parameters" not in vars(model)  # nothing was allocated
    assert counted.parameters == sum(array.size for array in model.parameters.values())
    assert counted.trainable_parameters == counted.parameters - model.parameters["up.weight"].size
    for layer in counted.layers:
        own = [array.size for name, array in model.parameters.items() if name.rsplit(".", 1)[0] == layer.name]
        assert layer.parameters == sum(own)
        assert layer.activation_bytes == math.prod(layer.output_shape) * np.dtype(dtype).itemsize
    x = np.random.default_rng(0).standard_normal((2, 3, 14, 9)).astype(dtype)
    assert model(x).shape == (2, *counted.layers[-1].output_shape)


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="offset must leave the crop inside the map"):
        summary(Graph([Node("cut", Crop((0, 1)), ("image", "image"))]), (4, 5))
    with pytest.raises(ValueError, match="kernel_size must fit"):
        summary(named("alexnet")[0], (20, 224))
    with pytest.raises(TypeError, match="model must be a Graph, got str 'vgg16'"):
        summary("vgg16", (224, 224))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="input_size must be a tuple"):
        summary(every_layer(), 224)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name must be one of"):
        summary(every_layer(), (14, 9)).layer("conv9")


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from arrays_in(item)
    elif hasattr(value, "__dict__"):
        yield from arrays_in(list(vars(value).values()))
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))


def memory_of(array: np.ndarray) -> np.ndarray:
    """The array whose memory this one looks at."""
    return memory_of(array.base) if isinstance(array.base, np.ndarray) else array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["every layer", "fcn"])
def test_what_is_kept_for_the_backward_pass_is_what_a_training_pass_keeps(name: str, dtype: Any) -> None:
    backbone = vgg((2, 3, 2, 3, 2), (1, 2, 1, 1, 1), 5, dtype=dtype)
    model, size = (every_layer(dtype), (14, 9)) if name == "every layer" else (fcn(backbone, 4, 8), (40, 33))
    x = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(dtype)
    _, saved = model.forward(x, training=True, rng=np.random.default_rng(1))
    kept = {id(memory_of(array)): memory_of(array).nbytes for array in arrays_in(saved)}
    assert summary(model, size).saved_bytes == sum(kept.values())


def test_places_are_those_of_the_graph() -> None:
    model = every_layer()
    coordinates = model.coordinates((14, 9))
    for layer in summary(model, (14, 9)).layers:
        rows, columns = coordinates[layer.name]
        assert layer.effective_stride == (rows.scale, columns.scale)
        assert layer.offset == (rows.offset, columns.offset)
    conv1 = summary(model, (14, 9)).layer("conv1")
    assert (conv1.kernel_size, conv1.stride, conv1.dilation, conv1.groups) == ((3, 2), (2, 1), (1, 2), 1)
    assert conv1.padding == ((1, 0), (2, 1))
    assert conv1.offset == (0, -1)  # the middle of taps -1, 0, 1, and of taps -2, 0
    assert summary(model, (14, 9)).layer("conv2").padding == ((1, 1), (1, 1))
    assert summary(model, (14, 9)).layer("resized").effective_stride == (Fraction(2 * 7, 3), Fraction(10, 5))


# ------------------------------------------------------------------------------------------------------ in writing


def test_json_has_the_promised_keys_and_the_figures() -> None:
    counted = summary(every_layer(), (14, 9))
    written = json.loads(as_json(counted))
    assert written == as_dict(counted)
    assert set(written) == {"input_size", "convention", "parameters", "trainable_parameters", "macs", "layers"}
    assert written["input_size"] == [14, 9]
    assert written["convention"] == "npseg"
    assert (written["parameters"], written["macs"]) == (counted.parameters, counted.macs)
    assert [list(layer) for layer in written["layers"]] == [KEYS] * len(counted.layers)
    by_name = {layer["name"]: layer for layer in written["layers"]}
    assert by_name["conv1"]["padding"] == [[1, 0], [2, 1]]
    assert by_name["relu1"]["kernel_size"] is None
    assert by_name["cut"]["inputs"] == ["up", "relu1"]
    assert by_name["fc"]["output_shape"] == [7]
    assert by_name["pool1"]["offset"] == [2, 0.0 - 0.5]


def test_csv_has_one_line_for_each_layer() -> None:
    counted = summary(every_layer(), (14, 9))
    rows = list(csv.DictReader(io.StringIO(as_csv(counted))))
    assert list(rows[0]) == KEYS
    assert [row["name"] for row in rows] == [layer.name for layer in counted.layers]
    assert sum(int(row["macs"]) for row in rows) == counted.macs
    assert json.loads(rows[0]["output_shape"]) == [4, 7, 10]
    assert rows[2]["kernel_size"] == ""


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("name", ["fcn8s", "googlenet", "mobilenet-v1"])
def test_the_table_fits_the_terminal(name: str, width: int) -> None:
    model, size = named(name)
    counted = summary(model, size, convention="ptflops")
    lines = text(counted, width).splitlines()
    assert max(len(line) for line in lines) <= width
    for layer in counted.layers:
        assert any(line.startswith(f"{layer.name} ") and f"{layer.parameters:,}" in line for line in lines)
    assert any(line.startswith("total ") and f"{counted.macs:,}" in line for line in lines)


def test_a_wide_table_says_all_and_a_narrow_one_less() -> None:
    counted = summary(every_layer(), (14, 9))
    wide, narrow = text(counted, 200), text(counted, 70)
    header = ["layer", "type", "output", "window", "parameters", "MACs", "memory", "kept", "field", "step", "offset"]
    assert wide.splitlines()[0].split() == header
    assert narrow.splitlines()[0].split() == [title for title in header if title in narrow.splitlines()[0].split()]
    assert {"layer", "output", "parameters", "MACs"} <= set(narrow.splitlines()[0].split()) < set(header)
    assert re.search(r"^conv1 +Conv2d +4x7x10 +3x2 s2x1 p\(1,0\)x\(2,1\) d1x2 ", wide, re.MULTILINE)
    assert re.search(r"^conv2 +Conv2d +6x3x5 +3x3 p1 g2 ", wide, re.MULTILINE)


def test_flops_are_called_flops() -> None:
    model, size = named("context")
    assert f"FLOPs {2 * summary(model, size).macs:,}" in text(summary(model, size, convention="torch"), 100)


def test_markdown_is_a_table_with_every_layer() -> None:
    counted = summary(named("context")[0], (64, 65), convention="ptflops")
    lines = markdown(counted).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(counted.layers) + 1
    assert len({line.count("|") for line in table}) == 1
    assert f"**{counted.macs:,}**" in table[-1]
    assert any(line.startswith("- ReLU: ptflops counts") for line in lines)
