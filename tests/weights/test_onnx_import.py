"""Files read as networks: the round trip, the forms in which other programs write, and what is refused."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx_runs import NETWORKS, image, shaken  # noqa: E402

from npseg import models, use_engine, weights  # noqa: E402
from npseg.nn import (  # noqa: E402
    Add,
    BatchNorm2d,
    Conv2d,
    Crop,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxUnpool2d,
    ReLU,
    ReLU6,
    Scale,
)

RNG = np.random.default_rng(0)
ANY = ["N", 3, "H", "W"]


@pytest.fixture(autouse=True)
def _engine():
    """Nothing to compile."""
    with use_engine("im2col"):
        yield


@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_exported_comes_back(name, tmp_path):
    model, sizes, arguments = NETWORKS[name]
    shaken(model)
    weights.export_onnx(model, tmp_path / "net.onnx", **arguments)
    again = weights.load_onnx(tmp_path / "net.onnx")
    assert list(again.parameters) == list(model.parameters)
    assert list(again.buffers) == list(model.buffers)
    for name, value in (model.parameters | model.buffers).items():
        np.testing.assert_array_equal((again.parameters | again.buffers)[name], value, strict=True)
    kept = [node for node in model.nodes if not isinstance(node.layer, Dropout)]
    assert [(node.name, type(node.layer)) for node in again.nodes] == [(n.name, type(n.layer)) for n in kept]
    for old, new in zip(kept, again.nodes, strict=True):
        if isinstance(old.layer, BatchNorm2d | LocalResponseNorm | Scale):
            assert new.layer == old.layer
    for size in sizes:
        x = image(model, size)
        np.testing.assert_array_equal(again(x), model(x))


def test_what_came_back_can_be_trained_and_saved(tmp_path):
    model = NETWORKS["fcn8s-same"][0]
    weights.export_onnx(model, tmp_path / "net.onnx")
    again = weights.load_onnx(tmp_path / "net.onnx")
    logits, saved = again.forward(image(model, (45, 70)))
    assert set(again.backward(np.ones_like(logits), saved)) == set(again.parameters)
    models.save(again, tmp_path / "net.npz")
    assert models.load(tmp_path / "net.npz").describe() == again.describe()


# ------------------------------------------------------------------------------------- files of other programs


def constant(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(dtype), name)


def floats(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype), name)


def integers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def written(path, nodes, constants=(), *, shape=ANY, outputs=("y",), opset=18, element=TensorProto.FLOAT):
    """A file of these nodes, from "x" to the outputs."""
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info(name, element, ()) for name in outputs],
        list(constants),
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


node = helper.make_node


def assert_read(path, *shapes):
    """The network gives what ONNX's own evaluator gives; the network."""
    model = weights.load_onnx(path)
    for shape in shapes:
        x = np.random.default_rng(1).standard_normal(shape).astype(model.dtype)
        (expected,) = ReferenceEvaluator(str(path)).run(None, {"x": x})
        found = model(x.reshape(*x.shape, *(1,) * (4 - x.ndim)))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    return model


def test_asymmetric_padding_and_groups(tmp_path):
    options = {"pads": [1, 0, 2, 3], "strides": [2, 1], "dilations": [1, 2], "group": 3}
    path = written(
        tmp_path / "a.onnx",
        [node("Conv", ["x", "w", "b"], ["y"], **options)],
        [constant("w", 6, 1, 3, 2), constant("b", 6)],
    )
    layer = assert_read(path, (2, 3, 7, 10), (1, 3, 8, 5)).nodes[0].layer
    assert layer == Conv2d(3, 6, (3, 2), (2, 1), ((1, 2), (0, 3)), (1, 2), 3)


@pytest.mark.parametrize("word", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_in_words(word, stride, tmp_path):
    shape = [1, 3, 8, 7]
    conv = node("Conv", ["x", "w"], ["y"], auto_pad=word, strides=[stride, stride])
    path = written(tmp_path / "a.onnx", [conv], [constant("w", 4, 3, 4, 2)], shape=shape)
    padding = assert_read(path, shape).nodes[0].layer.padding
    if word == "SAME_LOWER":
        assert padding == {1: ((2, 1), (1, 0)), 2: ((1, 1), (1, 0))}[stride]


def test_same_lower_at_a_stride_needs_a_size(tmp_path):
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    assert_read(written(tmp_path / "a.onnx", [pool]), (1, 3, 5, 6))
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER")
    with pytest.raises(ValueError, match="SAME_LOWER at a stride above 1 depends on the image's size"):
        weights.load_onnx(written(tmp_path / "b.onnx", [pool]))


@pytest.mark.parametrize(
    "options",
    [
        {"output_shape": [12, 13], "auto_pad": "SAME_LOWER"},
        {"output_shape": [9, 8], "auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
    ],
)
def test_results_of_transposed_convolutions_by_size(options, tmp_path):
    shape = [1, 3, 4, 5]
    upscore = node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 3], **options)
    assert_read(written(tmp_path / "a.onnx", [upscore], [constant("w", 3, 2, 4, 2)], shape=shape), shape)


def test_a_pool_that_averages_without_its_padding(tmp_path):
    for counted in (0, 1):
        pool = node(
            "AveragePool",
            ["x"],
            ["y"],
            kernel_shape=[3, 2],
            strides=[2, 2],
            pads=[1, 0, 1, 1],
            count_include_pad=counted,
        )
        assert_read(written(tmp_path / "a.onnx", [pool]), (1, 3, 8, 7))


@pytest.mark.parametrize(
    ("opset", "nodes", "constants"),
    [
        (6, [node("Clip", ["x"], ["y"], min=0.0, max=6.0)], []),
        (12, [node("Clip", ["x", "low", "high"], ["y"])], [("low", 0), ("high", 6)]),
        (9, [node("Dropout", ["x"], ["y"], ratio=0.3)], []),
        (13, [node("Dropout", ["x", "ratio"], ["y"])], [("ratio", 0.3)]),
        (9, [node("Slice", ["x"], ["y"], starts=[1], ends=[3], axes=[1])], []),
        (11, [node("Softmax", ["x"], ["y"], axis=3)], []),
        (13, [node("Softmax", ["x"], ["y"])], []),
        (9, [node("Upsample", ["x", "scales"], ["y"], mode="nearest")], [("scales", [1, 1, 3, 2])]),
        (13, [node("Resize", ["x", "", "scales"], ["y"], mode="linear")], [("scales", [1, 1, 3, 2])]),
        (11, [node("Resize", ["x", "x0", "scales"], ["y"], mode="nearest")], [("scales", [1, 1, 3, 2]), ("x0", [])]),
        (13, [node("Mul", ["half", "x"], ["y"])], [("half", [[0.5]])]),
        (7, [node("Sum", ["x", "x", "x"], ["y"])], []),
        (13, [node("ReduceMean", ["x"], ["y"], axes=[-1, -2], keepdims=0)], []),
        (13, [node("ReduceMean", ["x"], ["y"], axes=[2, 3])], []),
    ],
)
def test_versions_of_operators(opset, nodes, constants, tmp_path):
    arrays = [floats(name, value) for name, value in constants]
    assert_read(written(tmp_path / "a.onnx", nodes, arrays, opset=opset), (2, 3, 5, 4))


def test_the_first_resize(tmp_path):
    """Version 10, in which pixel i came from floor(i / scale), and which ONNX's evaluator no longer knows."""
    resize = node("Resize", ["x", "scales"], ["y"], mode="nearest")
    path = written(tmp_path / "a.onnx", [resize], [floats("scales", [1, 1, 3, 2])], opset=10)
    x = RNG.standard_normal((2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(weights.load_onnx(path)(x), x.repeat(3, axis=2).repeat(2, axis=3))


def test_a_crop_written_out_as_pytorch_does(tmp_path):
    """Sizes one by one: Shape, Gather, Add, Unsqueeze, Concat, and a Slice up to them."""
    nodes = [
        node("MaxPool", ["x"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["small"], ["shape"]),
        node("Gather", ["shape", "two"], ["rows"]),
        node("Gather", ["shape", "three"], ["columns"]),
        node("Add", ["rows", "one"], ["bottom"]),
        node("Unsqueeze", ["bottom", "first"], ["bottoms"]),
        node("Unsqueeze", ["columns", "first"], ["rights"]),
        node("Concat", ["bottoms", "rights"], ["end"], axis=0),
        node("Cast", ["end"], ["ends"], to=TensorProto.INT64),
        node("Slice", ["x", "start", "ends", "axes"], ["cut"]),
        node("Add", ["cut", "small"], ["y"], name="sum"),
    ]
    scalars = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in (("one", 1), ("two", 2), ("three", 3))
    ]
    lists = [integers("first", 0), integers("start", 1, 0), integers("axes", 2, 3)]
    model = assert_read(written(tmp_path / "a.onnx", nodes, scalars + lists), (2, 3, 7, 10), (1, 3, 4, 4))
    assert [type(node.layer) for node in model.nodes[1:]] == [Crop, Add]
    assert model.nodes[1].layer.offset == (1, 0)


@pytest.mark.parametrize("shape", [[0, -1], [-1, 60], [2, 60], [0, 60]])
def test_flattening_by_reshape(shape, tmp_path):
    nodes = [
        node("Constant", [], ["shape"], value=integers("", *shape)),
        node("Reshape", ["x", "shape"], ["vector"]),
        node("MatMul", ["vector", "w"], ["product"], name="fc"),
        node("Add", ["product", "b"], ["y"]),
    ]
    path = written(tmp_path / "a.onnx", nodes, [constant("w", 60, 4), constant("b", 4)], shape=[2, 3, 4, 5])
    model = assert_read(path, (2, 3, 4, 5))
    assert [n.layer for n in model.nodes] == [Flatten((3, 4, 5)), Linear(60, 4)]
    assert model.parameters["fc.weight"].shape == (4, 60)


def test_a_bias_added_later_is_the_convolutions(tmp_path):
    nodes = [node("Conv", ["x", "w"], ["a"], name="conv"), node("Add", ["b", "a"], ["y"])]
    model = assert_read(
        written(tmp_path / "a.onnx", nodes, [constant("w", 4, 3, 1, 1), constant("b", 4, 1, 1)]), (2, 3, 5, 4)
    )
    assert [n.layer for n in model.nodes] == [Conv2d(3, 4, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))]


@pytest.mark.parametrize("other", [node("Relu", ["a"], ["r"]), node("Relu", ["alias"], ["r"])])
def test_a_bias_is_not_given_to_a_map_that_others_read(other, tmp_path):
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Identity", ["a"], ["alias"]),
        node("Add", ["a", "b"], ["sum"]),
        other,
        node("Add", ["sum", "r"], ["y"]),
    ]
    path = written(tmp_path / "a.onnx", nodes, [constant("w", 4, 3, 1, 1), constant("b", 4, 1, 1)])
    assert [type(n.layer) for n in assert_read(path, (2, 3, 5, 4)).nodes] == [Conv2d, BatchNorm2d, ReLU, Add]


def test_factors_and_terms_for_each_channel(tmp_path):
    """A normalisation taken apart, as other programs write it, its constants as lists that get more axes."""
    nodes = [
        node("Unsqueeze", ["a", "axes"], ["factors"]),
        node("Mul", ["x", "factors"], ["product"]),
        node("Unsqueeze", ["b", "axes"], ["terms"]),
        node("Add", ["product", "terms"], ["sum"]),
        node("Add", ["one", "sum"], ["y"]),
    ]
    constants = [constant("a", 3), constant("b", 3), integers("axes", 1, 2), floats("one", 1.0)]
    assert_read(written(tmp_path / "a.onnx", nodes, constants), (2, 3, 5, 4))


def test_resizing_to_another_maps_size(tmp_path):
    rule = {"coordinate_transformation_mode": "pytorch_half_pixel"}
    nodes = [
        node("MaxPool", ["x"], ["small"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "two", "four"], ["size"]),
        node("Shape", ["small"], ["own"]),
        node("Slice", ["own", "zero", "two"], ["kept"]),
        node("Concat", ["kept", "size"], ["sizes"], axis=0),
        node("Resize", ["small", "", "", "sizes"], ["y"], mode="linear", **rule),
    ]
    path = written(tmp_path / "a.onnx", nodes, [integers("zero", 0), integers("two", 2), integers("four", 4)])
    assert_read(path, (2, 3, 7, 10), (1, 3, 6, 4))


@pytest.mark.parametrize("given", [True, False])
def test_max_unpooling(given, tmp_path):
    """The pool's indices count from the start of the whole tensor there, here from the start of each plane."""
    nodes = [
        node("MaxPool", ["x"], ["small", "indices"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["x"], ["shape"]),
        node("MaxUnpool", ["small", "indices", *["shape"] * given], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    model = assert_read(written(tmp_path / "a.onnx", nodes), (2, 3, 8, 6))
    assert model.nodes[1].layer == MaxUnpool2d((2, 2), (2, 2), ((0, 0), (0, 0)), False)
    assert model.nodes[1].inputs[1] == f"{model.nodes[0].name}.indices"


def test_one_of_several_results(tmp_path):
    nodes = [node("Relu", ["x"], ["a"]), node("Clip", ["a", "low", "high"], ["b"])]
    bounds = [floats(name, value) for name, value in (("low", 0), ("high", 6))]
    path = written(tmp_path / "a.onnx", nodes, bounds, outputs=("a", "b"))
    assert [type(node.layer) for node in weights.load_onnx(path, "a").nodes] == [ReLU]
    assert [type(node.layer) for node in weights.load_onnx(path, "b").nodes] == [ReLU, ReLU6]
    with pytest.raises(ValueError, match=r"output must name one of its 2 results \['a', 'b'\], got NoneType None"):
        weights.load_onnx(path)


def test_nodes_of_one_name_get_names_of_their_own(tmp_path):
    nodes = [node("Relu", ["x"], ["a"], name="image"), node("Relu", ["a"], ["y"], name="image")]
    assert [node.name for node in weights.load_onnx(written(tmp_path / "a.onnx", nodes)).nodes] == [
        "image_2",
        "image_3",
    ]


def test_vectors_and_lines(tmp_path):
    relu = [node("Relu", ["x"], ["y"])]
    vectors = weights.load_onnx(written(tmp_path / "a.onnx", relu, shape=["N", 3]))
    assert vectors(np.ones((2, 3, 1, 1), np.float32)).shape == (2, 3)
    lines = weights.load_onnx(written(tmp_path / "b.onnx", relu, shape=["N", 3, "L"]))
    assert lines(np.ones((2, 3, 5, 1), np.float32)).shape == (2, 3, 5, 1)


def test_double_precision_stays(tmp_path):
    conv = [node("Conv", ["x", "w"], ["y"])]
    path = written(tmp_path / "a.onnx", conv, [constant("w", 4, 3, 2, 3, dtype=np.float64)], element=TensorProto.DOUBLE)
    assert assert_read(path, (1, 3, 5, 6)).dtype == np.float64


# -------------------------------------------------------------------------------------------------- what is refused

WEIGHT = constant("w", 4, 3, 3, 3)

SCALES = floats("s", [1, 1, 2, 2])

REFUSED = {
    "1-D": ("Conv", ["x", "w"], {}, {"constants": [constant("w", 4, 3, 3)], "shape": ["N", 3, "L"]}, "got a 1-D map"),
    "3-D": ("Relu", ["x"], {}, {"shape": ["N", 3, "D", "H", "W"]}, "got a 3-D map"),
    "integers": ("Relu", ["x"], {}, {"element": TensorProto.INT32}, "not with int32"),
    "half precision": ("Relu", ["x"], {}, {"element": TensorProto.FLOAT16}, "not with float16"),
    "dilated average": (
        "AveragePool",
        ["x"],
        {"kernel_shape": [2, 2], "dilations": [2, 2]},
        {"opset": 19},
        "dilated average pooling",
    ),
    "antialias": ("Resize", ["x", "", "s"], {"mode": "linear", "antialias": 1}, {"constants": [SCALES]}, "antialias"),
    "cubic": ("Resize", ["x", "", "s"], {"mode": "cubic"}, {"constants": [SCALES]}, "cubic interpolation"),
    "batch norm in training mode": (
        "BatchNormalization",
        ["x", *["v"] * 4],
        {"training_mode": 1},
        {"constants": [constant("v", 3)]},
        "batch normalisation in training mode",
    ),
    "unknown operator": ("Sigmoid", ["x"], {}, {}, r"node 'y' \(Sigmoid\): npseg has no such operation"),
    "classes": ("ArgMax", ["x"], {"axis": 1}, {}, "npseg.ops.segmentation_map"),
    "other channels": (
        "Conv",
        ["x", "w"],
        {},
        {"constants": [WEIGHT], "shape": ["N", 4, "H", "W"]},
        "for 3 channels, its map has 4",
    ),
    "unknown channels": ("Relu", ["x"], {}, {"shape": ["N", "C", "H", "W"]}, "a known number of channels"),
    "weights that are computed": ("Conv", ["x", "x"], {}, {}, "weight must be constant"),
    "other constants": ("Add", ["x", "w"], {}, {"constants": [WEIGHT]}, "one number for each channel"),
    "other factors": ("Mul", ["x", "w"], {}, {"constants": [constant("w", 3, 1)]}, "one number for each channel"),
    "old versions": ("Relu", ["x"], {}, {"opset": 5}, "operators of version 5 are not read"),
    "even spans": ("LRN", ["x"], {"size": 4}, {}, "size must be odd"),
    "no network": ("Identity", ["x"], {}, {}, "there is no network"),
    "another dtype": (
        "Conv",
        ["x", "w"],
        {},
        {"constants": [constant("w", 4, 3, 3, 3, dtype=np.float64)]},
        "weight is float64",
    ),
    "a flattened map of any size": ("Flatten", ["x"], {}, {}, "size depends on the image"),
    "a crop to numbers": (
        "Slice",
        ["x", "a", "b", "c"],
        {},
        {"constants": [integers("a", 0, 0), integers("b", 4, 4), integers("c", 2, 3)]},
        "not by given numbers",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_npseg_has_not_is_refused_by_name(what, tmp_path):
    operator, inputs, attributes, options, message = REFUSED[what]
    path = written(tmp_path / "a.onnx", [node(operator, inputs, ["y"], **attributes)], **options)
    with pytest.raises(ValueError, match=message) as caught:
        weights.load_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_an_attribute_that_no_one_asked_for_is_refused(tmp_path, monkeypatch):
    """What an operator's reader does not know of may change the result."""
    from npseg.weights.onnx_files.operators import OPERATORS

    monkeypatch.setitem(OPERATORS, "Softmax", OPERATORS["Relu"])
    path = written(tmp_path / "a.onnx", [node("Softmax", ["x"], ["y"], axis=2)])
    with pytest.raises(ValueError, match="its attribute axis is not understood"):
        weights.load_onnx(path)


def test_several_inputs_are_refused(tmp_path):
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ANY) for name in "ab"]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ANY)
    proto = helper.make_model(
        helper.make_graph([node("Add", ["a", "b"], ["y"])], "two", inputs, [result]), ir_version=8
    )
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"a network has one input, this one has 2: \['a', 'b'\]"):
        weights.load_onnx(tmp_path / "a.onnx")


def test_parts_in_other_files_are_refused_unread(tmp_path):
    """A path in a file leads anywhere."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4 * 3 * 9 * 4))
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3, 3, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret")
    for path in (
        written(tmp_path / "a.onnx", [node("Conv", ["x", "w"], ["y"])], [tensor]),
        written(tmp_path / "b.onnx", [node("Constant", [], ["w"], value=tensor), node("Conv", ["x", "w"], ["y"])]),
    ):
        with pytest.raises(ValueError, match="constant str 'w' lies in another file"):
            weights.load_onnx(path)


@pytest.mark.parametrize("part", ["functions", "training_info", "sparse"])
def test_what_is_not_one_plain_graph_is_refused(part, tmp_path):
    path = written(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])])
    proto = onnx.load(path)
    if part == "functions":
        proto.functions.add(name="own")
    elif part == "training_info":
        proto.training_info.add()
    else:
        proto.graph.sparse_initializer.add(values=constant("w", 1), indices=integers("i", 0), dims=[3])
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"functions of its own|a training of its own|sparse constants"):
        weights.load_onnx(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08", bytes(100)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.onnx: "):
        weights.load_onnx(tmp_path / "a.onnx")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        weights.load_onnx(tmp_path / "none.onnx")
