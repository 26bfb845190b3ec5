"""Damaged .onnx files: refused clearly, or read as what they have become. Nothing else may happen."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from npseg import models, use_engine, weights  # noqa: E402
from npseg.nn import (  # noqa: E402
    BatchNorm2d,
    Concat,
    Conv2d,
    EnlargeBilinear,
    Graph,
    LocalResponseNorm,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    Node,
    ReLU6,
    ResizeBilinear,
    Scale,
    SelectChannels,
    Softmax,
)

MUTATIONS = 1000
LARGEST_MAP = 10**6


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file with crops, constants and transposed convolutions, and one with most other layers."""
    folder = tmp_path_factory.mktemp("whole")
    weights.export_onnx(models.fcn(models.vgg((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), 3), 2, 8), folder / "fcn.onnx")
    nodes = [
        Node("conv", Conv2d(3, 2, 3, padding=1), ("image",)),
        Node("pool", MaxPool2d(2), ("conv",)),
        Node("unpool", MaxUnpool2d(2), ("pool", "pool.indices", "conv")),
        Node("large", EnlargeBilinear(2), ("unpool",)),
        Node("nearest", NearestUnpool2d((2, 3)), ("pool",)),
        Node("half", Scale(0.5), ("nearest",)),
        Node("norm", BatchNorm2d(2), ("half",)),
        Node("bounded", ReLU6(), ("norm",)),
        Node("resized", ResizeBilinear(), ("bounded", "large")),
        Node("all", Concat(), ("large", "resized")),
        Node("some", SelectChannels(1, 2), ("all",)),
        Node("spread", LocalResponseNorm(3), ("some",)),
        Node("probabilities", Softmax(), ("spread",)),
    ]
    weights.export_onnx(Graph(nodes), folder / "others.onnx")
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, bits flipped, bytes replaced, a part repeated, or a part left out."""
    kind = rng.integers(5)
    data = bytearray(content)
    place = int(rng.integers(len(data)))
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        for spot in rng.integers(len(data), size=rng.integers(1, 4)):
            data[spot] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        length = int(rng.integers(1, 9))
        data[place : place + length] = rng.integers(
            256, size=len(data[place : place + length]), dtype=np.uint8
        ).tobytes()
    else:
        part = data[place : place + int(rng.integers(1, 65))]
        data[place : place + (0 if kind == 3 else len(part))] = part if kind == 3 else b""
    return bytes(data)


NUMBERS = (0, -1, 1, 2, 3, 7, 255, 2**31, -(2**31), 2**40, 2**62, -(2**63))


def altered(content: bytes, rng: np.random.Generator) -> bytes:
    """A file that is whole, but says something else: a number, a name or an operator is another one."""
    proto = onnx.ModelProto.FromString(content)
    nodes = proto.graph.node
    node, other = (nodes[int(place)] for place in rng.integers(len(nodes), size=2))
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    kind = rng.integers(6)
    if kind == 0 and node.attribute:
        attribute = node.attribute[int(rng.integers(len(node.attribute)))]
        if attribute.ints:
            attribute.ints[int(rng.integers(len(attribute.ints)))] = number
        elif attribute.HasField("i"):
            attribute.i = number
        elif attribute.HasField("f"):
            attribute.f = float(rng.choice([number, np.nan, np.inf, 0.5]))
    elif kind == 1:
        tensor = proto.graph.initializer[int(rng.integers(len(proto.graph.initializer)))]
        if tensor.data_type == onnx.TensorProto.INT64:
            tensor.raw_data = np.full(len(tensor.raw_data) // 8, number).tobytes()
        else:
            tensor.dims.append(number)
    elif kind == 2:
        image = proto.graph.input[0].type.tensor_type
        image.shape.dim[int(rng.integers(4))].dim_value = number
        image.elem_type = int(rng.integers(1, 17)) if rng.random() < 0.2 else image.elem_type
    elif kind == 3:
        node.op_type = other.op_type
    elif kind == 4 and node.input and other.output:
        node.input[int(rng.integers(len(node.input)))] = other.output[0]
    else:
        proto.opset_import[0].version = number
    return proto.SerializeToString()


def test_mutations_are_refused_or_read(content, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "mutated.onnx"
    x = rng.standard_normal((1, 3, 19, 22)).astype(np.float32)
    refusals, misfits, read = [], [], 0
    for number in range(MUTATIONS):
        change = mutated if number % 2 else altered
        path.write_bytes(change(content[number // 2 % len(content)], rng))
        try:
            model = weights.load_onnx(path)
        except ValueError as error:
            refusals.append(str(error))
            continue
        read += 1
        try:
            run(model, x)
        except ValueError as error:
            misfits.append(str(error))
    assert len(refusals) > MUTATIONS / 4
    assert read > MUTATIONS / 50
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in refusals)
    assert all(" must " in message for message in misfits), "every error names an argument"


def run(model, x):
    """Compute what was read, unless its maps have become huge."""
    if model.input_channels == x.shape[1] and model.dtype == x.dtype:
        largest = max(np.prod(shape) for shape in model.shapes(x.shape[2:]).values())
        if largest < LARGEST_MAP:
            with use_engine("im2col"):
                model(x)


def test_every_truncation_is_refused(content, tmp_path):
    path = tmp_path / "short.onnx"
    for length in range(0, len(content[1]), 7):
        path.write_bytes(content[1][:length])
        with pytest.raises(ValueError, match=r"short\.onnx: "):
            weights.load_onnx(path)
