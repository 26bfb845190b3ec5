"""Which samples a training step sees, and how they become arrays.

Nothing here remembers anything: the batch of a step is a function of (seed, step). An epoch's order is a permutation
keyed by (seed, epoch), a sample's augmentation by (seed, step, its place in the batch), its dropout likewise. So a
resumed run sees what the uninterrupted one would have seen, whoever computes which part of a batch.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from npseg.checks import Array
from npseg.data import Dataset, Transform
from npseg.randomness import generator


class Batches:
    """The batches of a training run, by step.

    Args:
        dataset: the training split.
        transform: the augmentation, `(image, labels, rng) -> (image, labels)`.
        normalise: uint8 image (H, W, 3) -> float32 (3, H, W).
        batch_size: samples per step.
        seed: another seed gives another order and other augmentation.
        part: the places of a batch that are computed here, where several processes share it; None is all of them.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Transform,
        normalise: Callable[[NDArray[np.uint8]], Array],
        *,
        batch_size: int,
        seed: int,
        part: range | None = None,
    ) -> None:
        """See the class."""
        self.dataset = dataset
        self.transform = transform
        self.normalise = normalise
        self.batch_size = batch_size
        self.seed = seed
        self.part = range(batch_size) if part is None else part

    def indices(self, step: int) -> list[int]:
        """The samples of one step, the parts of all processes together.

        The epochs' permutations stand one after the other in an endless row; each step takes the next `batch_size` of
        it, so each sample comes once per epoch even where the batch size does not divide the number of samples.
        """
        number = len(self.dataset)
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = {place // number for place in places}
        order = {epoch: generator(self.seed, "order", epoch).permutation(number) for epoch in epochs}
        return [int(order[place // number][place % number]) for place in places]

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Images (N, 3, H, W) float32 and labels (N, H, W), or (N,), of one step; `step` updates were made before it.

        N is the length of the part.

        Raises:
            ValueError: images that differ in size after the augmentation; the message names two of them.
        """
        images, labels, names = [], [], []
        indices = self.indices(step)
        for place in self.part:
            sample = self.dataset[indices[place]]
            changed, its_labels = self.transform(
                sample.image, sample.labels, generator(self.seed, "augment", step, place)
            )
            images.append(self.normalise(changed))
            labels.append(its_labels)
            names.append(sample.name)
        for name, image in zip(names, images, strict=True):
            if image.shape != images[0].shape:
                raise ValueError(
                    f"images of one batch must have one size, got {names[0]} with {_size(images[0])} and {name} with "
                    f"{_size(image)} (height x width): cut them to one (--crop HEIGHT WIDTH) or train on one image "
                    f"per step (--batch-size 1)"
                )
        return np.stack(images), np.stack(labels)

    def dropout(self, step: int) -> list[np.random.Generator]:
        """One generator per sample of the part, for the network's dropout."""
        return [generator(self.seed, "dropout", step, place) for place in self.part]


def _size(image: Array) -> str:
    _, height, width = image.shape
    return f"{height}x{width}"
