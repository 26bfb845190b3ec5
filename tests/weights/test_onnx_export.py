"""Exported files: valid, and the same logits in ONNX Runtime."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx_runs import NETWORKS, assert_same_logits, image, narrowed, run, shaken  # noqa: E402

from npseg import cli, models, use_engine, weights  # noqa: E402
from npseg.models.fcn import FORMS, STRIDES  # noqa: E402
from npseg.nn import (  # noqa: E402
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
    Graph,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    Node,
    ReLU,
    ReLU6,
    ResizeBilinear,
    Scale,
    SelectChannels,
    Softmax,
)
from npseg.nn.layers import LAYERS  # noqa: E402
from npseg.weights.onnx_files.layer_converters import CONVERTERS  # noqa: E402


@pytest.fixture(autouse=True)
def _engine():
    """Nothing to compile."""
    with use_engine("im2col"):
        yield


def test_every_layer_can_be_exported():
    assert set(CONVERTERS) == set(LAYERS.values())


SINGLE = [
    Conv2d(3, 4, (3, 2), stride=(2, 1), padding=((1, 0), (2, 3)), dilation=(1, 2)),
    Conv2d(3, 6, (2, 3), groups=3, bias=False),
    Conv2d(3, 2, (4, 3), padding="same", dilation=(2, 1)),
    Conv2d(3, 2, (4, 3), stride=(2, 3), padding="same"),
    ConvTranspose2d(3, 6, (3, 4), stride=(2, 3), padding=((1, 0), (0, 2)), output_padding=(1, 2), groups=3, bias=True),
    ConvTranspose2d(3, 3, (4, 3), stride=(2, 5), padding="same"),
    ConvTranspose2d(3, 2, 3, padding=1, dilation=(2, 1)),
    BatchNorm2d(3, eps=1e-3),
    LocalResponseNorm(3, alpha=0.7, beta=0.6, k=1.3),
    ReLU(),
    ReLU6(),
    Scale(-0.3),
    MaxPool2d((2, 3), stride=1, padding=1, dilation=(3, 2)),
    EnlargeBilinear((3, 2)),
    NearestUnpool2d((2, 3)),
    SelectChannels(1, 2),
    Softmax(),
    Softmax(axis=3),
    LogSoftmax(),
    MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
    MaxPool2d(2, stride=3, padding=1),
    MaxPool2d((2, 3), stride=2, padding="same"),
    AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
    AvgPool2d(3, 2, ((1, 0), (0, 1)), ceil_mode=False, count_include_pad=False),
    AvgPool2d((3, 2), 2, "same"),
    GlobalAvgPool2d(),
    Dropout(0.3),
]


@pytest.mark.parametrize("layer", SINGLE, ids=lambda layer: type(layer).__name__)
def test_one_layer(layer, tmp_path):
    model = shaken(Graph([Node("only", layer, ("image",))]))
    assert_same_logits(model, tmp_path / "only.onnx", [(7, 10), (9, 5), (6, 6)])


def test_maps_that_join(tmp_path):
    model = Graph(
        [
            Node("small", MaxPool2d(2), ("image",)),
            Node("cut", Crop((1, 2)), ("image", "small")),
            Node("same", Crop(), ("small", "cut")),
            Node("sum", Add(), ("cut", "same")),
            Node("large", ResizeBilinear(), ("sum", "image")),
            Node("stacked", Concat(), ("large", "image")),
            Node("aligned", ResizeBilinear(align_corners=True), ("stacked", "sum")),
            Node("less", ResizeBilinear(), ("image", "small")),
            Node("all", Concat(), ("aligned", "less")),
        ]
    )
    assert_same_logits(model, tmp_path / "joined.onnx", [(7, 10), (9, 5)])


def test_pools_and_back(tmp_path):
    """Pools that round up and are undone, one of them inside the other."""
    model = Graph(
        [
            Node("pool1", MaxPool2d(2), ("image",)),
            Node("pool2", MaxPool2d((2, 3)), ("pool1",)),
            Node("unpool2", MaxUnpool2d((2, 3)), ("pool2", "pool2.indices", "pool1.indices")),
            Node("unpool1", MaxUnpool2d(2), ("unpool2", "pool1.indices", "image")),
        ]
    )
    assert_same_logits(model, tmp_path / "unpooled.onnx", [(7, 10), (9, 5), (8, 12)])


def test_columns(tmp_path):
    layer = Col2Im((5, 6), (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)))
    model = Graph([Node("columns", layer, ("image",))], input_channels=12)
    assert_same_logits(model, tmp_path / "columns.onnx", [(12, 1)], input_size=(12, 1))


@pytest.mark.parametrize("layer", [Conv2d(3, 2, 3), MaxUnpool2d(2), ReLU6(), EnlargeBilinear(2)], ids=str)
def test_double_precision(layer, tmp_path):
    """Valid too, and of double precision; ONNX Runtime has no convolutions of it, ONNX's own evaluator has."""
    nodes = [Node("pool", MaxPool2d(2), ("image",))]
    inputs = ("pool", "pool.indices", "image") if isinstance(layer, MaxUnpool2d) else ("image",)
    model = shaken(Graph([*nodes, Node("last", layer, inputs)], dtype=np.float64))
    weights.export_onnx(model, tmp_path / "double.onnx")
    onnx.checker.check_model(tmp_path / "double.onnx", full_check=True)
    x = image(model, (7, 10))
    (found,) = ReferenceEvaluator(str(tmp_path / "double.onnx")).run(None, {"image": x})
    np.testing.assert_allclose(found, model(x), rtol=1e-10, atol=1e-10)
    assert found.dtype == np.float64


@given(data=st.data())
@settings(max_examples=40)
def test_drawn_pools(data, tmp_path_factory):
    """ONNX Runtime drops the same last windows as npseg."""
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    sides = tuple((data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel)
    strides = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    options = {"stride": strides, "padding": sides, "ceil_mode": data.draw(st.booleans())}
    layer = data.draw(
        st.sampled_from(
            [MaxPool2d(kernel, **options)] + [AvgPool2d(kernel, **options, count_include_pad=c) for c in (True, False)]
        )
    )
    path = tmp_path_factory.mktemp("drawn") / "pool.onnx"
    assert_same_logits(
        Graph([Node("pool", layer, ("image",))]), path, [data.draw(st.tuples(st.integers(4, 9), st.integers(4, 9)))]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks(name, tmp_path):
    model, sizes, arguments = NETWORKS[name]
    assert_same_logits(shaken(model), tmp_path / "network.onnx", sizes, **arguments)


def takes(model, size):
    """Whether images of this size leave every kernel room."""
    try:
        model.shapes(size)
    except ValueError:
        return False
    return True


def sizes_for(model, size):
    """The one size of image that a network with fully connected layers takes; else two that leave every kernel room.

    One where positions are unpooled: the more windows, the likelier are two values that are equal but for rounding,
    of which npseg and ONNX Runtime may then choose different ones.
    """
    if any(isinstance(node.layer, Flatten) and node.layer.shape[1:] != (1, 1) for node in model.nodes):
        return [size]
    count = 1 if any(isinstance(node.layer, MaxUnpool2d) for node in model.nodes) else 2
    return [size for size in ((61, 90), (130, 97), (231, 250)) if takes(model, size)][:count]


def assert_it_serves(model, size, path):
    sizes = sizes_for(model, size)
    assert_same_logits(shaken(model), path, sizes, **({"input_size": size} if sizes == [size] else {}))


@pytest.mark.parametrize("name", models.NAMES)
def test_networks_of_the_field_narrow(name, tmp_path):
    model, size = models.named(name)
    assert_it_serves(narrowed(model, size), size, tmp_path / "network.onnx")


FCNS = [
    (stride, backbone, form)
    for stride in STRIDES
    for backbone in models.BACKBONES
    for form in FORMS
    if form == "same" or models.BACKBONES[backbone].has_paper_form
]


@pytest.mark.parametrize(("stride", "backbone", "form"), FCNS)
def test_fcns_of_the_field_narrow(stride, backbone, form, tmp_path):
    model = narrowed(models.fcn_on(backbone, 21, stride, form=form), (500, 500))
    assert_same_logits(shaken(model), tmp_path / "network.onnx", [(45, 70), (64, 33)])


@pytest.mark.slow
@pytest.mark.parametrize("name", models.NAMES)
def test_networks_of_the_field(name, tmp_path):
    assert_it_serves(*models.named(name), tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["same", "paper"])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_fcns_of_the_field(name, form, tmp_path):
    model, _ = models.named(name, backbone="vgg11", form=form)
    assert_same_logits(shaken(model), tmp_path / "network.onnx", [(45, 70)])


def test_a_trained_network_serves_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.training, "_draw_figures", lambda run: None)  # which takes longest
    small = ["--widths", "2", "3", "4", "5", "6", "--fc6", "7", "--image-size", "32", "32"]
    assert (
        cli.main(["train", "--steps", "2", "--batch-size", "2", "--output", "run", "--engine", "im2col", *small]) == 0
    )
    capsys.readouterr()
    assert cli.main(["export", "run", "net.onnx"]) == 0
    model = models.load("run/best.npz")
    count = sum(value.size for value in model.parameters.values())
    assert capsys.readouterr().out == f"net.onnx: {count:,} parameters, for images of any size\n"
    x = image(model, (37, 50))
    np.testing.assert_allclose(run(tmp_path / "net.onnx", x), model(x), rtol=1e-4, atol=1e-6)

    metadata = {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}
    assert json.loads(metadata["classes"])[0] == "background"
    assert len(json.loads(metadata["mean"])) == len(json.loads(metadata["std"])) == 3
    assert "divided by 255" in metadata["preparation"]


def test_a_network_without_a_task_has_no_metadata(tmp_path):
    models.save(Graph([Node("relu", ReLU(), ("image",))]), tmp_path / "net.npz")
    assert cli.main(["export", str(tmp_path / "net.npz"), str(tmp_path / "net.onnx"), "--input-size", "4", "5"]) == 0
    proto = onnx.load(tmp_path / "net.onnx")
    assert not proto.metadata_props
    assert [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["N", 3, 4, 5]


def test_sizes_are_named_where_they_depend_on_the_image(tmp_path):
    weights.export_onnx(NETWORKS["fcn8s-same"][0], tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    described = [
        [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (graph.input[0], graph.output[0])
    ]
    assert described == [["N", 3, "H", "W"], ["N", 5, "H", "W"]]


def test_constants_have_the_parameters_names(tmp_path):
    model = NETWORKS["fcn8s-same"][0]
    weights.export_onnx(model, tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(stored[name], value)
    assert "Dropout" not in {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LocalResponseNorm(4), "'odd'.*LocalResponseNorm.*size must be odd"),
        (Conv2d(3, 2, 3, stride=2, padding="same", dilation=2), "'odd'.*Conv2d.*padding must be given in numbers"),
        (Flatten((3, 4, 5)), "input_size must be given: 'odd'"),
    ],
)
def test_what_cannot_be_exported_is_named(layer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        weights.export_onnx(Graph([Node("odd", layer, ("image",))]), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_layer_is_named(tmp_path):
    class Strange(ReLU):
        pass

    with pytest.raises(ValueError, match="layer 'odd': ONNX files cannot hold a Strange"):
        weights.export_onnx(Graph([Node("odd", Strange(), ("image",))]), tmp_path / "net.onnx")


def test_an_older_file_survives_a_failure(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="size must be odd"):
        weights.export_onnx(Graph([Node("odd", LocalResponseNorm(4), ("image",))]), path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["net.npz", "net.bin"], 2, "must end in .onnx"),
        (["none.npz", "net.onnx"], 1, "No such file"),
        (["net.npz", "net.onnx"], 1, "input_size must be given"),
        (["net.npz", "net.onnx", "--input-size", "5", "5"], 0, ""),
        (["net.npz", "missing/net.onnx", "--input-size", "5", "5"], 1, "missing"),
    ],
)
def test_the_command_says_mistakes_in_one_line(arguments, status, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    layers = [Node("flat", Flatten((3, 5, 5)), ("image",)), Node("fc", Linear(75, 2), ("flat",))]
    models.save(Graph(layers), "net.npz")
    assert cli.main(["export", *arguments]) == status
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == (status != 0)


def test_a_missing_library_is_one_line(tmp_path, monkeypatch, capsys):
    models.save(Graph([Node("relu", ReLU(), ("image",))]), tmp_path / "net.npz")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", str(tmp_path / "net.npz"), str(tmp_path / "net.onnx")]) == 1
    assert "pip install 'npseg[onnx]'" in capsys.readouterr().err
