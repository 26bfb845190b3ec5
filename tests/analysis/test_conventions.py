"""Every convention: what the tools printed for single layers and whole networks, and the exact count by its definition.

The figures of the tools were measured with fvcore 0.1.5.post20221221, torchinfo 1.8.0, ptflops 0.7.5, thop
0.1.1.post2209072238 and torch 2.13.0, on modules in evaluation mode; none of them is needed here.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npseg.analysis import CONVENTIONS, summary
from npseg.matrices import conv2d_matrix, conv_transpose2d_matrix
from npseg.models import deeplab_largefov, fcn, named, vgg
from npseg.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    EnlargeBilinear,
    Flatten,
    GlobalAvgPool2d,
    Graph,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    MaxUnpool2d,
    Node,
    ReLU,
    ReLU6,
    ResizeBilinear,
)
from npseg.nn.layers import Shape

TOOLS = ("fvcore", "torchinfo", "ptflops", "thop", "torch")

PRINTED: list[tuple[Layer, list[Shape], tuple[int, int, int, int, int]]] = [
    (
        Conv2d(64, 64, 3, padding=1),
        [(64, 56, 56)],
        (115_605_504, 115_806_208, 115_806_208, 115_605_504, 231_211_008),
    ),
    (
        Conv2d(64, 64, 3, padding=1, bias=False),
        [(64, 56, 56)],
        (115_605_504, 115_605_504, 115_605_504, 115_605_504, 231_211_008),
    ),
    (Conv2d(32, 32, 3, padding=1, groups=32), [(32, 14, 14)], (56_448, 62_720, 62_720, 56_448, 112_896)),
    (Conv2d(4, 8, 3, groups=4), [(4, 9, 12)], (5_040, 5_600, 5_600, 5_040, 10_080)),
    (Conv2d(8, 6, (3, 5), groups=2), [(8, 9, 11)], (17_640, 17_934, 17_934, 17_640, 35_280)),
    (Conv2d(8, 6, 3, padding=2, dilation=2), [(8, 9, 11)], (42_768, 43_362, 43_362, 42_768, 85_536)),
    (Conv2d(4, 8, (3, 2), (2, 3), (2, 1), (2, 1), groups=2), [(4, 9, 12)], (2_400, 2_600, 2_600, 2_400, 4_800)),
    (
        ConvTranspose2d(21, 21, 64, 32, padding=16),
        [(21, 7, 7)],
        (88_510_464, 90_634_715_136, 88_510_464, 90_634_715_136, 177_020_928),
    ),
    (
        ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2, bias=True),
        [(4, 5, 7)],
        (3_780, 15_960, 4_620, 15_120, 7_560),
    ),
    (
        ConvTranspose2d(4, 6, (3, 2), (2, 3), padding=(1, 0), output_padding=(1, 2), dilation=2, bias=True),
        [(4, 5, 7)],
        (5_040, 41_400, 6_696, 39_744, 10_080),
    ),
    (ConvTranspose2d(6, 9, 3, 2, groups=3), [(6, 4, 5)], (3_240, 16_038, 3_240, 16_038, 6_480)),
    (Linear(100, 10), [(100,)], (1_000, 1_010, 1_010, 1_000, 2_000)),
    (Linear(100, 10, bias=False), [(100,)], (1_000, 1_000, 1_000, 1_000, 2_000)),
    (BatchNorm2d(8), [(8, 9, 11)], (1_584, 16, 1_584, 3_168, 0)),
    (ReLU(), [(8, 9, 11)], (0, 0, 1_584, 0, 0)),
    (ReLU6(), [(8, 9, 11)], (0, 0, 792, 0, 0)),
    (MaxPool2d(2, ceil_mode=False), [(8, 9, 11)], (0, 0, 1_584, 0, 0)),
    (MaxUnpool2d(2), [(8, 4, 5), (8, 4, 5), (8, 9, 11)], (0, 0, 0, 0, 0)),
    (AvgPool2d(3, 2, ceil_mode=False), [(8, 9, 11)], (0, 0, 1_584, 160, 0)),
    (AvgPool2d((3, 2), 2, 1), [(4, 9, 12)], (0, 0, 864, 140, 0)),
    (GlobalAvgPool2d(), [(8, 9, 11)], (792, 0, 1_584, 800, 0)),
    (ResizeBilinear(), [(8, 9, 11), (3, 18, 22)], (12_672, 0, 6_336, 34_848, 0)),
    (EnlargeBilinear(2), [(8, 9, 11)], (12_672, 0, 6_336, 34_848, 0)),
    (ResizeBilinear(align_corners=True), [(4, 5, 7), (3, 11, 9)], (1_584, 0, 792, 4_356, 0)),
    (LocalResponseNorm(5), [(8, 9, 11)], (0, 0, 3_564, 0, 0)),
    (LocalResponseNorm(4), [(12, 5, 7)], (0, 0, 1_785, 0, 0)),
    (Dropout(), [(8, 9, 11)], (0, 0, 0, 0, 0)),
    (Flatten((8, 9, 11)), [(8, 9, 11)], (0, 0, 0, 0, 0)),
]
"""A layer, the shapes of its inputs, and what each of `TOOLS` printed for it."""


@pytest.mark.parametrize(("layer", "inputs", "printed"), PRINTED)
def test_what_the_tools_print_for_a_layer(
    layer: Layer, inputs: list[Shape], printed: tuple[int, int, int, int, int]
) -> None:
    output = layer.output_shape(*inputs)
    assert tuple(CONVENTIONS[tool].count(layer, inputs, output) for tool in TOOLS) == printed


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("vgg16", (15_470_264_320, 15_483_821_032, 15_523_175_400, 15_470_264_320, 30_940_528_640)),
        ("mobilenet-v1", (578_875_904, 568_763_240, 589_012_456, 588_962_304, 1_137_480_704)),
        ("caffenet", (724_406_816, 725_066_088, 727_879_792, 724_406_816, 1_448_813_632)),
        ("alexnet", (714_188_480, 714_682_664, 716_422_696, 714_188_480, 1_428_376_960)),
        ("googlenet", (1_582_722_048, 1_585_899_032, 1_601_439_480, 1_582_723_072, 3_165_343_744)),
        ("context", (115_605_504, 116_293_632, 117_497_856, 115_605_504, 231_211_008)),
    ],
)
def test_what_the_tools_print_for_a_network(name: str, printed: tuple[int, int, int, int, int]) -> None:
    model, size = named(name)
    assert tuple(summary(model, size, convention=tool).macs for tool in TOOLS) == printed


@pytest.mark.parametrize(
    ("model", "size", "printed"),
    [
        (
            fcn(vgg((8, 8, 8, 8, 8), fc6=16), 5, 8, form="paper"),
            (64, 48),
            (80_642_744, 197_289_369, 86_280_041, 195_864_344, 161_285_488),
        ),
        (
            deeplab_largefov(),
            (65, 65),
            (2_350_372_116, 2_351_475_173, 2_355_781_519, 2_351_034_663, 4_700_034_432),
        ),
    ],
    ids=["fcn8s", "deeplab-largefov"],
)
def test_what_the_tools_print_for_a_segmentation_network(
    model: Graph, size: tuple[int, int], printed: tuple[int, int, int, int, int]
) -> None:
    assert tuple(summary(model, size, convention=tool).macs for tool in TOOLS) == printed


def alone(layer: Layer, channels: int) -> Graph:
    return Graph([Node("layer", layer, ("image",))], input_channels=channels)


def test_the_example_of_the_transposed_convolution() -> None:
    upsampler = alone(ConvTranspose2d(21, 21, 64, 32, padding=16), 21)
    counts = {name: summary(upsampler, (7, 7), convention=name) for name in CONVENTIONS}
    assert counts["npseg"].layers[0].output_shape == (21, 224, 224)
    assert counts["npseg"].macs == 88_510_464
    assert counts["exact"].macs == 76_317_696
    assert counts["thop"].macs == counts["torchinfo"].macs == 1024 * 88_510_464
    for name in ("thop", "torchinfo"):
        (note,) = counts[name].notes
        assert "90,634,715,136" in note
        assert "88,510,464" in note
        assert f"{name} is wrong" in note
    assert counts["fvcore"].notes == counts["torch"].notes == counts["npseg"].notes == ()


def test_only_layers_that_are_there_are_complained_of() -> None:
    convolution = alone(Conv2d(3, 4, 3), 3)
    assert all(summary(convolution, (8, 9), convention=name).notes == () for name in CONVENTIONS)


def test_dilation_changes_no_count() -> None:
    plain, dilated = Conv2d(4, 6, 3, padding=1), Conv2d(4, 6, 3, padding=5, dilation=5)
    for name in set(CONVENTIONS) - {"exact"}:
        assert (
            summary(alone(plain, 4), (20, 21), convention=name).macs
            == summary(alone(dilated, 4), (20, 21), convention=name).macs
        )


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@given(
    kernel=pairs(1, 4),
    stride=pairs(1, 3),
    dilation=pairs(1, 2),
    padding=st.tuples(pairs(0, 4), pairs(0, 4)) | st.just("same"),
    size=pairs(7, 12),
    groups=st.integers(1, 2),
)
def test_exact_is_the_number_of_non_zeros(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]] | str,
    size: tuple[int, int],
    groups: int,
) -> None:
    layer = Conv2d(2 * groups, 3 * groups, kernel, stride, padding, dilation, groups)
    weight = np.ones(layer.parameter_specs()["weight"].shape)
    matrix = conv2d_matrix(weight, size, stride=stride, padding=padding, dilation=dilation, groups=groups)
    counted = summary(alone(layer, 2 * groups), size, convention="exact").macs
    assert counted == matrix.nnz
    nominal = summary(alone(layer, 2 * groups), size).macs
    assert nominal == math.prod(weight.shape) * math.prod(layer.output_shape((2 * groups, *size))[1:])
    assert counted <= nominal
    if padding == ((0, 0), (0, 0)):
        assert counted == nominal


@given(
    kernel=pairs(2, 5),
    stride=pairs(1, 3),
    dilation=pairs(1, 2),
    padding=pairs(0, 1),
    extra=pairs(0, 2),
    size=pairs(2, 5),
    groups=st.integers(1, 2),
)
def test_exact_of_a_transposed_convolution_is_the_number_of_non_zeros(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    extra: tuple[int, int],
    size: tuple[int, int],
    groups: int,
) -> None:
    rows, columns = (min(e, max(s, d) - 1) for e, s, d in zip(extra, stride, dilation, strict=True))
    layer = ConvTranspose2d(2 * groups, 3 * groups, kernel, stride, padding, (rows, columns), dilation, groups)
    weight = np.ones(layer.parameter_specs()["weight"].shape)
    matrix = conv_transpose2d_matrix(
        weight,
        size,
        stride=stride,
        padding=padding,
        output_padding=(rows, columns),
        dilation=dilation,
        groups=groups,
    )
    counted = summary(alone(layer, 2 * groups), size, convention="exact").macs
    assert counted == matrix.nnz
    nominal = math.prod(weight.shape) * math.prod(size)
    assert summary(alone(layer, 2 * groups), size).macs == nominal
    assert counted <= nominal
    if padding == (0, 0):
        assert counted == nominal


def test_an_unknown_convention_is_named() -> None:
    with pytest.raises(ValueError, match=r"convention must be one of \('npseg', 'exact', .*got 'flops'"):
        summary(alone(ReLU(), 3), (4, 5), convention="flops")
