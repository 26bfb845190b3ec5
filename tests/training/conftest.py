import numpy as np
import pytest

from npseg.data import Sample, Shapes
from npseg.models import fcn, vgg
from npseg.training.settings import Settings

CLASSES = len(Shapes.classes)


class Pictures:
    """A data set of given samples."""

    classes = ("sky", "road", "car")
    colors = np.array([[0, 0, 255], [90, 90, 90], [255, 0, 0]], np.uint8)
    ignore_index = 255

    def __init__(self, *label_maps):
        self.reads = 0
        self.label_maps = [np.array(labels, np.uint8) for labels in label_maps]

    def __len__(self):
        return len(self.label_maps)

    def __getitem__(self, index):
        self.reads += 1
        labels = self.label_maps[index]
        image = np.random.default_rng(index).integers(0, 256, (*labels.shape, 3)).astype(np.uint8)
        return Sample(image, labels.copy(), f"picture {index}")

    def describe(self):
        return {"kind": "pictures"}


@pytest.fixture
def pictures():
    return Pictures


@pytest.fixture
def tiny_model():
    """Makes the smallest FCN-8s."""

    def make(classes=CLASSES, dropout=0.5):
        return fcn(vgg((2, 2, 3, 3, 2), (1, 1, 1, 1, 1), fc6=4, dropout=dropout), classes, 8)

    return make


@pytest.fixture
def settings():
    """Makes settings that change something at every step: flips, dropout, momentum, a falling rate."""

    def make(**changes):
        return Settings(**{"steps": 12, "batch_size": 3, "validate_every": 5, "checkpoint_every": 3, **changes})

    return make


@pytest.fixture
def scenes():
    """Training and validation scenes, few and small."""
    return Shapes(7, split="train", image_size=(17, 18)), Shapes(3, split="val", image_size=(17, 18))
