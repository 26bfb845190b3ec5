"""After a few steps a training step finds all its memory in place."""

import tracemalloc

import numpy as np
import pytest

from npseg import buffers, engines, use_engine
from npseg.models import fcn, vgg
from npseg.nn import cross_entropy
from npseg.training.optimisers import SGD, Adam


def largest_growth(step, warm_up=4, repetitions=3):
    """By how many bytes the memory in use grows, at most, while one of the later steps runs."""
    for number in range(warm_up):
        step(number)
    growths = []
    tracemalloc.start()
    try:
        for number in range(repetitions):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step(number)
            growths.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return max(growths)


@pytest.mark.skipif("numba" not in engines(), reason="Numba is not installed")
@pytest.mark.parametrize("make", [SGD, Adam])
def test_a_training_step_soon_allocates_almost_nothing(make):
    model = fcn(vgg((16, 16, 16, 16, 16), (2, 2, 3, 3, 3), fc6=32), 5, 8)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 128, 160), np.float32)
    labels = rng.integers(0, 5, (2, 128, 160))
    optimiser = make()

    def step(number):
        logits, saved = model.forward(images, training=True, rng=np.random.default_rng(number))
        _, grad = cross_entropy(logits, labels)
        optimiser.update(model.parameters, model.backward(grad, saved), 1e-3)

    with use_engine("numba"):
        plain = largest_growth(step, warm_up=1, repetitions=1)
        with buffers.reused():
            reused = largest_growth(step)
    assert plain > 15e6
    assert reused < 0.05 * plain
