import numpy as np
import pytest

from npseg.data import Sample
from npseg.training import evaluation
from npseg.training.baselines import BaselineMetrics
from npseg.training.metrics import ConfusionMatrix


class RedIsScore:
    """A "network" whose class is the red value of the pixel; it remembers the batches it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, x):
        self.seen.append(x.shape)
        return (x[:, :1] == np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)).astype(np.float32)


class Reds:
    """Images of several sizes whose red value is the class, the labels with one pixel wrong and one void each."""

    classes = ("sky", "road", "car")
    colors = np.zeros((3, 3), np.uint8)
    ignore_index = 255
    sizes = ((2, 3), (2, 3), (2, 3), (4, 5), (2, 3))

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 3, (*self.sizes[index], 3)).astype(np.uint8)
        labels = image[:, :, 0].copy()
        labels[0, 0] = (labels[0, 0] + 1) % 3
        labels[1, 1] = 255
        return Sample(image, labels, str(index))


def as_float(image):
    return image.astype(np.float32).transpose(2, 0, 1)


def test_each_image_is_segmented_at_its_own_size_in_batches_of_one_size():
    model = RedIsScore()
    counts = evaluation.confusion(model, Reds(), as_float, batch_size=2)
    assert model.seen == [(2, 3, 2, 3), (1, 3, 2, 3), (1, 3, 4, 5), (1, 3, 2, 3)]
    pixels = sum(height * width for height, width in Reds.sizes)
    assert counts.counts.sum() == pixels - len(Reds.sizes)  # one void pixel each
    assert np.trace(counts.counts) == pixels - 2 * len(Reds.sizes)  # and one wrong
    assert counts.classes == Reds.classes


def test_a_real_network_is_evaluated_in_inference_mode(tiny_model, scenes):
    model = tiny_model(dropout=0.9)
    first = evaluation.confusion(model, scenes[1], as_float)
    again = evaluation.confusion(model, scenes[1], as_float, batch_size=1)
    assert np.array_equal(first.counts, again.counts)
    assert first.counts.sum() == 3 * 17 * 18


def test_evaluation_has_the_keys_of_the_report():
    confusion = ConfusionMatrix(["sky", "road"])
    confusion.update(np.array([0, 1]), np.array([0, 0]))
    metrics = confusion.metrics()
    result = evaluation.beside_baselines(metrics, BaselineMetrics(metrics, None))
    assert list(result) == [
        "pixel_accuracy",
        "mean_accuracy",
        "mean_iu",
        "frequency_weighted_iu",
        "class_iu",
        "baselines",
    ]
    assert result["baselines"] == {"majority": metrics, "position": None}


def test_table_shows_what_is_undefined():
    empty = ConfusionMatrix(["sky", "a class of a long name, longer than any metric's"]).metrics()
    lines = evaluation.table(evaluation.beside_baselines(empty, BaselineMetrics(empty, None))).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[-3:] for line in lines[1:]] == [["-", "-", "-"]] * 6


@pytest.mark.parametrize("size", [(1, 1), (7, 33)])
def test_segment_gives_one_class_per_pixel(tiny_model, size):
    images = [np.zeros((*size, 3), np.uint8)] * 2
    labels = evaluation.segment(tiny_model(), images, as_float)
    assert labels.shape == (2, *size)
    assert labels.dtype == np.int64
