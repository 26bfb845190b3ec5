"""The FCN builder: the published counts and crops, any image size, and what each finer net starts from."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from npseg import ops, use_engine
from npseg.models import fcn, initialise_from, load, save, vgg
from npseg.nn import Conv2d, Crop, Graph, Node

WIDTHS, DEPTHS = (4, 5, 6, 7, 8), (1, 1, 2, 1, 1)


def small(stride: int = 8, classes: int = 4, *, form: str = "same", seed: int = 0, **options: object) -> Graph:
    return fcn(vgg(WIDTHS, DEPTHS, 9, seed=seed), classes, stride, form=form, **options)  # type: ignore[arg-type]


def randomise(model: Graph, seed: int = 0) -> Graph:
    """Give every parameter a part of its own, zeros too, so that nothing cancels by accident."""
    rng = np.random.default_rng(seed)
    for value in model.parameters.values():
        value += rng.standard_normal(value.shape).astype(value.dtype) * 0.05
    return model


def count(model: Graph, *, trainable: bool = False) -> int:
    names = model.trainable if trainable else model.parameter_specs
    return sum(int(np.prod(model.parameter_specs[name].shape)) for name in names)


@pytest.mark.parametrize(
    ("stride", "learned", "upsamplers"),
    [(32, 134_346_581, 1_806_336), (16, 134_357_354, 458_640), (8, 134_362_751, 127_008)],
)
def test_published_parameter_counts(stride: int, learned: int, upsamplers: int) -> None:
    paper = fcn(vgg(), 21, stride, form="paper")
    assert count(paper, trainable=True) == learned
    assert count(paper) == learned + upsamplers
    assert count(fcn(vgg(), 21, stride)) == learned + upsamplers


def test_the_small_network_has_as_many_parameters_as_promised() -> None:
    model = fcn(vgg((16, 32, 64, 128, 128), fc6=256), 11, 8)
    assert count(model) == count(model, trainable=True) == 2_632_273


@pytest.mark.parametrize(
    ("stride", "crops"),
    [
        (32, {"score": 19}),
        (16, {"score_pool4c": 5, "score": 27}),
        (8, {"score_pool4c": 5, "score_pool3c": 9, "score": 31}),
    ],
)
def test_crops_of_the_paper_follow_from_the_coordinates(stride: int, crops: dict[str, int]) -> None:
    model = fcn(vgg(), 21, stride, form="paper")
    assert {n.name: n.layer.offset for n in model.nodes if isinstance(n.layer, Crop)} == crops
    rows, columns = model.coordinates()["score"]
    assert (rows.scale, rows.offset, columns) == (1, 0, rows)


def test_the_small_forms_maps_are_aligned_too() -> None:
    maps = fcn(vgg(), 21, 8).coordinates()
    for upscored, scored in (("upscore2", "score_pool4"), ("upscore_pool4", "score_pool3"), ("upscore8", "image")):
        assert maps[upscored] == maps[scored]
    assert maps["pool5"][0].scale == 32
    assert maps["pool5"][0].offset == Fraction(31, 2)


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(1, 1), (7, 31), (33, 65), (64, 48), (2, 100)])
def test_any_size_comes_back_as_it_went_in(stride: int, size: tuple[int, int]) -> None:
    model = randomise(small(stride))
    x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    assert model(x).shape == (2, 4, *size) == (2, *model.shapes(size)["score"])


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(1, 1), (40, 33), (75, 64)])
def test_any_size_comes_back_in_the_papers_form(stride: int, size: tuple[int, int]) -> None:
    model = small(stride, form="paper")
    assert model(np.zeros((1, 3, *size), np.float32)).shape == (1, 4, *size)


def test_which_upsamplers_learn() -> None:
    upsamplers = {"upscore2.weight", "upscore_pool4.weight", "upscore8.weight"}
    for form, choice, frozen in [
        ("same", None, set()),
        ("paper", None, upsamplers),
        ("same", "none", upsamplers),
        ("paper", "all", set()),
        ("same", "intermediate", {"upscore8.weight"}),
    ]:
        assert small(form=form, train_upsampling=choice).frozen == frozen


def test_frozen_upsamplers_get_no_gradient_and_change_no_other() -> None:
    free, frozen = randomise(small()), randomise(small(train_upsampling="none"))
    x = np.random.default_rng(0).standard_normal((1, 3, 40, 33)).astype(np.float32)
    gradients = []
    for model in (free, frozen):
        logits, saved = model.forward(x)
        gradients.append(model.backward(np.cos(logits), saved))
    assert set(gradients[1]) == frozen.trainable
    for name, gradient in gradients[1].items():
        np.testing.assert_array_equal(gradient, gradients[0][name])


def test_scores_start_at_zero_and_upsamplers_bilinear() -> None:
    model = small()
    assert not model(np.random.default_rng(0).standard_normal((1, 3, 40, 33)).astype(np.float32)).any()
    for name in ("score_fr", "score_pool4", "score_pool3"):
        assert not model.parameters[f"{name}.weight"].any()


def intermediate(model: Graph, x: np.ndarray, name: str) -> np.ndarray:
    """The map of this name."""
    position = [node.name for node in model.nodes].index(name)
    part = Graph(model.nodes[: position + 1], input_channels=model.input_channels, dtype=model.dtype)
    initialise_from(part, model)
    return part(x)


@pytest.mark.parametrize(("coarse", "fine"), [(32, 16), (16, 8)])
def test_a_finer_net_starts_as_the_coarser_ones_scores_through_its_own_upsamplers(coarse: int, fine: int) -> None:
    coarser = randomise(small(coarse, seed=1))
    finer = small(fine, seed=2)
    copied = initialise_from(finer, coarser)
    assert {"conv1_1.weight", "fc6.bias", "score_fr.weight"} <= set(copied)
    x = np.random.default_rng(0).standard_normal((2, 3, 70, 45)).astype(np.float32)

    shapes, skip = finer.shapes((70, 45)), {16: "pool4", 8: "pool3"}[fine]
    enlarger = {16: "upscore2", 8: "upscore_pool4"}[fine]
    scores = intermediate(coarser, x, "score_fr" if coarse == 32 else "fuse_pool4")
    twice = ops.conv_transpose2d(scores, finer.parameters[f"{enlarger}.weight"], stride=2, padding=1)
    twice = ops.crop2d(twice, shapes[f"score_{skip}"][1:], 0)
    last = finer.parameters[f"upscore{fine}.weight"]
    expected = ops.crop2d(ops.conv_transpose2d(twice, last, stride=fine, padding=fine // 2), (70, 45), 0)
    np.testing.assert_array_equal(finer(x), expected)


def test_bilinear_twice_is_not_bilinear_at_once() -> None:
    coarser, finer = randomise(small(32, seed=1)), small(16, seed=2)
    coarser.parameters["upscore.weight"][...] = small(32).parameters["upscore.weight"]  # as it began
    initialise_from(finer, coarser)
    x = np.random.default_rng(0).standard_normal((1, 3, 160, 160)).astype(np.float32)
    a, b = coarser(x), finer(x)
    difference = np.abs(a - b).max() / np.abs(a).max()
    assert 0.001 < difference < 0.5


def test_skips_carry_the_finer_maps() -> None:
    """A change inside one cell of stride 8 that pool5 cannot see must reach the output through score_pool3 alone."""
    model = randomise(small(8))
    for name in ("score_fr", "score_pool4"):
        model.parameters[f"{name}.weight"][...] = 0
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    moved = x.copy()
    moved[0, :, 17, 21] += 1
    changed = np.abs(model(moved) - model(x)).max(axis=(0, 1)) > 0
    assert changed[17, 21]
    assert not changed[40:].any()


def test_mistakes_are_named() -> None:
    backbone = vgg(WIDTHS, DEPTHS, 9)
    with pytest.raises(ValueError, match="stride must be one of"):
        fcn(backbone, 4, 4)
    with pytest.raises(TypeError, match="stride must be an integer"):
        fcn(backbone, 4, 8.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="classes must be at least 1"):
        fcn(backbone, 0)
    with pytest.raises(ValueError, match="form must be one of"):
        fcn(backbone, 4, form="full")
    with pytest.raises(ValueError, match="train_upsampling must be one of"):
        fcn(backbone, 4, train_upsampling="last")
    with pytest.raises(TypeError, match="backbone must be a Graph"):
        fcn("vgg16", 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backbone must have a map 'pool4'"):
        fcn(Graph(backbone.nodes[:2]), 4, 16)
    with pytest.raises(ValueError, match="widths must be five integers"):
        vgg((1, 2, 3))
    with pytest.raises(TypeError, match=r"depths\[1\] must be an integer"):
        vgg(WIDTHS, (1, 2.0, 1, 1, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other must share parameters"):
        initialise_from(small(), Graph([Node("alone", Conv2d(3, 2, 1), ("image",))]))


def test_saved_and_loaded_networks_are_the_same(tmp_path: Path) -> None:
    model = randomise(small(16, form="paper", at_once=True))
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    x = np.random.default_rng(0).standard_normal((1, 3, 20, 30)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    assert again.trainable == model.trainable


def test_engines_agree_on_the_whole_network() -> None:
    model = randomise(fcn(vgg((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), 3), 2, 8))
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 9)).astype(np.float32)
    results = {}
    for engine in ("loops", "im2col", "sparse"):
        with use_engine(engine):
            logits, saved = model.forward(x)
            results[engine] = [logits, *model.backward(np.ones_like(logits), saved).values()]
    for (_, a), (_, b) in itertools.pairwise(results.items()):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_allclose(left, right, rtol=2e-4, atol=2e-5)
