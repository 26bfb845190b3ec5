"""ONNX's own tests of its operators: each is run and right, or refused with a reason; the report says the same."""

import re
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from benchmarks import onnx_report  # noqa: E402
from benchmarks.onnx_cases import OPERATORS, ZOO, is_ours, node_tests, stored_tests, tried, zoo_file, zoo_result  # noqa: E402
from benchmarks.report import RESULTS  # noqa: E402
from npseg import use_engine  # noqa: E402
from npseg.weights import load_onnx  # noqa: E402
from npseg.weights.onnx_files import operators  # noqa: E402

REPORT = RESULTS / "onnx.md"
README = Path(__file__).parents[2] / "README.md"

ONLY_PARTS_OF_NETWORKS = {"Cast", "Constant", "ConstantOfShape", "Gather", "ReduceProd", "ScatterElements", "Shape"}
ONLY_PARTS_OF_NETWORKS |= {"Squeeze", "Unsqueeze"}
"""Operators that are read where they compute sizes, or with others are one operation: alone they are refused."""


@pytest.fixture(autouse=True)
def _engine():
    """Nothing to compile."""
    with use_engine("im2col"):
        yield


@pytest.fixture(scope="module")
def ours():
    with use_engine("im2col"):
        return [tried(case) for case in node_tests() if is_ours(case)]


def test_the_report_is_about_every_operator_that_is_read():
    outside = {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}
    assert set(OPERATORS) - outside == set(operators.OPERATORS) - ONLY_PARTS_OF_NETWORKS
    assert outside <= set(operators.NO_PART_OF_NETWORKS)


def test_each_is_run_or_refused(ours):
    assert {result.operator for result in ours} == set(OPERATORS)
    assert sum(result.refused is None for result in ours) >= 100
    for result in ours:
        assert result.refused is None or len(result.refused) > 5


def test_the_report_says_so(ours):
    text = REPORT.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__}\n" not in text:
        pytest.skip("the report is of another version of ONNX's tests")
    assert f"**{onnx_report.counts(ours)}**" in text
    run = sum(result.refused is None for result in ours)
    said = f"Of ONNX's own {len(ours)} tests of operators whose mathematics npseg has, {run} are run and give the "
    said += f"expected numbers, and {len(ours) - run} are refused"
    assert said in " ".join(README.read_text(encoding="utf-8").split())
    rows = re.findall(r"^\| (\w+) \| \w+ \| (run|refused)[,:] ", text, re.MULTILINE)
    assert rows[: len(ours)] == [
        (result.name.removeprefix("test_"), "run" if result.refused is None else "refused") for result in ours
    ]


def test_layers_that_pytorch_wrote():
    results = {case.name: tried(case) for case in stored_tests("pytorch-converted")}
    layers = ("Conv2d", "ConvTranspose2d", "AvgPool2d", "MaxPool2d", "BatchNorm2d", "Linear")
    starts = tuple(f"test_{layer}" for layer in layers)
    refused = [name for name, result in results.items() if result.refused and name.startswith(starts)]
    assert refused == ["test_Linear_no_bias"]  # its weight is transposed in the file
    assert sum(result.refused is None for result in results.values()) >= 28


def assert_zoo_network(name):
    image, expected = zoo_result(name)
    np.testing.assert_allclose(load_onnx(zoo_file(name))(image), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["densenet121", "squeezenet"])
def test_published_networks(name):
    assert_zoo_network(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bvlc_alexnet", "inception_v1", "inception_v2", "resnet50", "vgg19", "zfnet512"])
def test_more_published_networks(name):
    assert_zoo_network(name)


def test_a_published_network_that_shuffles_channels_is_refused():
    with pytest.raises(ValueError, match=r"light_shufflenet.onnx: .*\(Reshape\).* not to 5 axes"):
        load_onnx(zoo_file("shufflenet"))


def test_the_report_names_the_published_networks():
    text = REPORT.read_text(encoding="utf-8")
    assert all(f"light_{name}" in text for name in ZOO)


@pytest.mark.slow
def test_all_other_operators_are_refused():
    others = [tried(case) for case in node_tests() if not is_ours(case)]
    assert all(result.refused for result in others)
    assert len(others) > 1000
