"""FCN's crops: the published offsets, that no other aligns, and which padding suffices."""

from fractions import Fraction

import numpy as np
import pytest

from npseg.analysis import explain_crops, least_padding
from npseg.models import caffenet_encoder, fcn, named, vgg
from npseg.nn import Conv2d, Crop, Graph, Node, ReLU


@pytest.mark.parametrize(
    ("name", "backbone", "offsets"),
    [
        ("fcn32s", "vgg16", {"score": 19}),
        ("fcn16s", "vgg16", {"score_pool4c": 5, "score": 27}),
        ("fcn8s", "vgg16", {"score_pool4c": 5, "score_pool3c": 9, "score": 31}),
        ("fcn32s", "caffenet", {"score": 18}),
    ],
)
def test_the_text_derives_the_published_offsets(name: str, backbone: str, offsets: dict[str, int]) -> None:
    model, size = named(name, backbone=backbone)
    assert {node.name: node.layer.offset for node in model.nodes if isinstance(node.layer, Crop)} == offsets
    explained = explain_crops(model, size)
    for layer, offset in offsets.items():
        paragraph = explained[explained.index(f"  {layer}: cut ") :].split("\n\n")[0]
        assert f" = {offset} pixels." in paragraph
        assert f"only {offset} aligns them" in paragraph
    assert max(len(line) for line in explained.splitlines()) <= 120


def test_each_line_follows_from_the_one_before() -> None:
    model, size = named("fcn32s")
    lines = explain_crops(model, size).splitlines()
    steps = {line.split()[0]: line.split("p ", 1)[1].split(None, 1)[1] for line in lines if ", s " in line}
    assert steps["conv1_1"] == "b = 0 + 1 (1 - 100) = -99, a = 1 * 1 = 1"
    assert steps["pool5"] == "b = -91.5 + 16 (0.5 - 0) = -83.5, a = 16 * 2 = 32"
    assert steps["fc6"] == "b = -83.5 + 32 (3 - 0) = 12.5, a = 32 * 1 = 32"
    assert steps["upscore"] == "a = 32 / 32 = 1, b = 12.5 - 1 (31.5 - 0) = -19"


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_only_the_derived_offset_aligns(stride: int) -> None:
    model = fcn(vgg(), 21, stride, form="paper")
    for node in model.nodes:
        if isinstance(node.layer, Crop):
            offset = node.layer.offset
            assert isinstance(offset, int)
            for other in range(offset + 12):
                nodes = [Node(n.name, Crop(other), n.inputs) if n.name == node.name else n for n in model.nodes]
                maps = Graph(nodes).coordinates()
                rows, _ = maps[node.name]
                reference, _ = maps[node.inputs[1]]
                apart = rows.offset - reference.offset
                assert apart == (other - offset) * rows.scale
                assert (apart == 0) == (other == offset)


def padded(padding: int, stride: int = 32) -> Graph:
    """A small paper's FCN whose first convolution has this padding, and no crop of its own to the image."""
    backbone = vgg((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), 1)
    model = fcn(backbone, 1, stride, form="paper")
    nodes = [
        Node(node.name, Conv2d(3, 1, 3, padding=padding), node.inputs) if node.name == "conv1_1" else node
        for node in model.nodes[:-1]
    ]
    return Graph(nodes)


@pytest.mark.parametrize(("stride", "constant"), [(32, 81), (16, 73), (8, 69)])
def test_the_aligned_offset_is_the_padding_less_a_constant(stride: int, constant: int) -> None:
    for padding in (70, 81, 100, 117):
        rows, _ = padded(padding, stride).coordinates()["upscore" if stride == 32 else f"upscore{stride}"]
        assert rows.offset == Fraction(-(padding - constant))


@pytest.mark.parametrize(("stride", "input_range"), [(32, (192, 226)), (32, (1, 20)), (16, (30, 64)), (8, (200, 234))])
def test_the_least_padding_is_the_first_that_a_running_network_takes(stride: int, input_range: tuple[int, int]) -> None:
    """Each size is cut by hand from the network's own map, where the coordinates say."""
    least = least_padding(fcn(vgg((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), 1), 1, stride, form="paper"), input_range)

    def works(padding: int, size: int) -> bool:
        model = padded(padding, stride)
        rows, _ = model.coordinates()[model.nodes[-1].name]
        offset = -rows.offset
        try:
            scores = model(np.zeros((1, 3, size, size), np.float32)) if offset >= 0 else None
        except ValueError:
            return False
        return scores is not None and offset + size <= scores.shape[2]

    sizes = range(input_range[0], input_range[1] + 1)
    assert all(works(least, size) for size in sizes)
    assert not all(works(least - 1, size) for size in sizes)


def test_published_paddings() -> None:
    model, _ = named("fcn32s")
    assert least_padding(model, (192, 500)) == 81
    assert least_padding(model, (1, 500)) == 97
    explained = explain_crops(model, (500, 500), input_range=(192, 500))
    assert "offset = padding - 81, for any image" in explained
    assert "images of 192 ... 500 pixels is 81." in explained


def test_every_larger_padding_suffices_too() -> None:
    model, _ = named("fcn8s")
    least = least_padding(model, (1, 60))
    backbone = vgg((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), 1)
    nodes = fcn(backbone, 1, 8, form="paper").nodes
    for padding in range(least, least + 40):
        aligned = [
            Node(n.name, Conv2d(3, 1, 3, padding=padding), n.inputs)
            if n.name == "conv1_1"
            else Node(n.name, Crop(padding - 69), n.inputs)
            if n.name == "score"
            else n
            for n in nodes
        ]
        for size in range(1, 61):
            assert Graph(aligned).shapes((size, size))["score"] == (1, size, size)


def test_the_form_that_keeps_sizes_is_aligned_without_cutting() -> None:
    model, size = named("fcn8s", form="same")
    assert explain_crops(model, size).count(" = 0 pixels.") == 3


def test_height_and_width_are_told_apart_where_they_differ() -> None:
    nodes = [
        Node("conv1", Conv2d(3, 1, (3, 1), padding=((4, 1), (2, 1))), ("image",)),
        Node("cut", Crop((3, 2)), ("conv1", "image")),
    ]
    explained = explain_crops(Graph(nodes), (20, 21))
    assert "Along the height:" in explained
    assert "Along the width:" in explained
    assert "(0 - (-3)) / 1 = 3 pixels." in explained
    assert "(0 - (-2)) / 1 = 2 pixels." in explained
    assert "The padding of conv1 is ((4, 1), (2, 1)), not one number." in explained


def test_mistakes_are_named() -> None:
    model, size = named("fcn32s")
    with pytest.raises(ValueError, match="model must crop a map"):
        explain_crops(caffenet_encoder(), size)
    with pytest.raises(ValueError, match="input_range must run from the smallest"):
        explain_crops(model, size, input_range=(9, 3))
    with pytest.raises(TypeError, match="model must be a Graph"):
        explain_crops("fcn32s", size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="model must have a convolution"):
        least_padding(Graph([Node("relu", ReLU(), ("image",))]))
