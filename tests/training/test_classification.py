"""Classifiers are trained as segmentation networks are: an image counts as one pixel."""

import numpy as np
import pytest

from npseg.data import ImageAlone, RandomHorizontalFlip, Sample, SingleShapes
from npseg.models import files, vgg_classifier
from npseg.nn import cross_entropy
from npseg.training import baselines, evaluation
from npseg.training.batches import Batches
from npseg.training.run import Run
from npseg.training.settings import Settings

SIZE = (32, 32)
CLASSES = len(SingleShapes.classes)


def classifier(widths=(8, 16, 16, 16, 16), fc6=16):
    return vgg_classifier(widths, (1, 1, 1, 1, 1), fc6, CLASSES, SIZE, dropout=0.1)


def images():
    return SingleShapes(400, image_size=SIZE), SingleShapes(100, split="val", image_size=SIZE)


def test_scores_without_pixels_have_the_loss_of_maps_of_one_pixel():
    rng = np.random.default_rng(0)
    logits, labels, weight = rng.standard_normal((5, 3)), np.array([0, 2, 255, 1, 1]), np.array([1.0, 2.0, 0.5])
    for reduction in ("mean", "sum"):
        loss, gradient = cross_entropy(logits, labels, class_weight=weight, reduction=reduction)
        of_maps, gradient_of_maps = cross_entropy(
            logits.reshape(5, 3, 1, 1), labels.reshape(5, 1, 1), class_weight=weight, reduction=reduction
        )
        assert loss == of_maps
        assert np.array_equal(gradient, gradient_of_maps.reshape(5, 3))


def test_the_loss_of_scores_names_what_does_not_fit():
    with pytest.raises(ValueError, match="labels"):
        cross_entropy(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match="logits"):
        cross_entropy(np.zeros((2, 3)), np.zeros((2, 1, 1), int))


def test_a_label_of_the_whole_image_does_not_move_with_its_pixels():
    flip = ImageAlone(RandomHorizontalFlip(1.0))
    image, label, _ = SingleShapes(1)[0]
    flipped, same = flip(image, label, np.random.default_rng(0))
    assert np.array_equal(flipped, image[:, ::-1])
    assert same is label


def test_a_batch_has_one_label_for_each_image():
    training, _ = images()
    batches = Batches(training, ImageAlone(RandomHorizontalFlip()), as_float, batch_size=5, seed=0)
    pictures, labels = batches.batch(3)
    assert pictures.shape == (5, 3, *SIZE)
    assert labels.tolist() == [int(training[index].labels) for index in batches.indices(3)]


def test_images_of_different_sizes_are_refused():
    class Mixed:
        classes, ignore_index = ("a", "b"), 255

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Sample(np.zeros((4 + index, 5, 3), np.uint8), np.array(index, np.uint8), f"image {index}")

    batches = Batches(Mixed(), ImageAlone(RandomHorizontalFlip()), as_float, batch_size=2, seed=0)
    with pytest.raises(ValueError, match=r"one size, got image . with .x5 and image . with .x5"):
        batches.batch(0)


def test_the_most_frequent_class_is_the_only_baseline():
    training, validation = images()
    learned = baselines.learn(training)
    counts = np.bincount([int(sample.labels) for sample in training])
    assert learned.majority == counts.argmax()
    assert learned.position is None
    metrics = baselines.evaluate(learned, validation)
    share = np.mean([int(sample.labels) == learned.majority for sample in validation])
    assert metrics.majority["pixel_accuracy"] == pytest.approx(share)
    assert metrics.position is None


def test_each_image_counts_once_and_at_its_highest_score():
    _, validation = images()
    model = classifier()
    counts = evaluation.confusion(model, validation, as_float, batch_size=7)
    answers = [int(model(as_float(sample.image)[None]).argmax()) for sample in validation]
    expected = np.zeros((CLASSES, CLASSES), int)
    np.add.at(expected, ([int(sample.labels) for sample in validation], answers), 1)
    assert np.array_equal(counts.counts, expected)


def as_float(image):
    return image.astype(np.float32).transpose(2, 0, 1) / 255


class Tints:
    """Images of noise in which one colour is a little stronger: which one is their class."""

    classes = ("red", "green", "blue")
    colors = 255 * np.eye(3, dtype=np.uint8)
    ignore_index = 255

    def __len__(self):
        return 60

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 200, (*SIZE, 3)).astype(np.uint8)
        image[:, :, index % 3] += 50
        return Sample(image, np.array(index % 3, np.uint8), str(index))

    def describe(self):
        return {"kind": "tints"}


def test_a_classifier_learns(tmp_path):
    model = vgg_classifier((8, 16, 16, 16, 16), (1, 1, 1, 1, 1), 32, 3, SIZE, dropout=0.0)
    settings = Settings(steps=60, batch_size=8, learning_rate=1e-2, validate_every=60)
    run = Run.start(tmp_path / "run", model, Tints(), Tints(), settings)
    assert run.train()
    last = run.records()[-1]["val"]
    assert last["pixel_accuracy"] > 0.9
    assert last["baselines"]["majority"]["pixel_accuracy"] == pytest.approx(1 / 3)
    assert last["baselines"]["position"] is None


def test_it_resumes_bit_for_bit(tmp_path):
    settings = {"batch_size": 3, "schedule": "constant", "validate_every": 4, "checkpoint_every": 2}
    for name, steps in (("whole", 7), ("parts", 4)):
        run = Run.start(tmp_path / name, classifier((2, 2, 2, 2, 2), 4), *images(), Settings(steps=steps, **settings))
        assert run.train()
    resumed = Run.resume(tmp_path / "parts", steps=7)
    assert resumed.train()
    assert (tmp_path / "parts" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    (ours, moments, _), (theirs, their_moments, _) = (
        files.read(tmp_path / name / "checkpoint.npz") for name in ("parts", "whole")
    )
    assert all(np.array_equal(value, theirs.parameters[name]) for name, value in ours.parameters.items())
    assert all(np.array_equal(value, their_moments[name]) for name, value in moments.items())
