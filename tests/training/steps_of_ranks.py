"""What test_ranks.py has several processes do: `mpirun -n P python steps_of_ranks.py WHAT FOLDER`."""

import sys
from pathlib import Path

import numpy as np

from npseg.data import Shapes
from npseg.models import fcn, vgg
from npseg.nn import BatchNorm2d, Graph, Node
from npseg.training.loop import training_step
from npseg.training.ranks import world
from npseg.training.run import Run
from npseg.training.settings import Settings

SETTINGS = Settings(
    steps=7, batch_size=6, seed=4, learning_rate=0.01, validate_every=4, checkpoint_every=3, engine="im2col"
)
CLASS_WEIGHTS = (1.0, 2.0, 0.5, 3.0, 1.5, 0.25)


class InFloat64:
    """Batches for a network of float64, with void in some places, so that ranks count differently many pixels."""

    def __init__(self, batches):
        self.batches, self.dropout = batches, batches.dropout

    def batch(self, step):
        images, labels = self.batches.batch(step)
        places = np.array(self.batches.part)[:, None, None]
        rows = np.arange(labels.shape[1])[:, None]
        return images.astype(np.float64), np.where(rows < 3 * places, 255, labels)


def network(dtype=np.float32, normalised=False):
    plain = fcn(vgg((2, 2, 3, 3, 2), (1, 1, 1, 1, 1), fc6=4, seed=4), len(Shapes.classes), 8)
    nodes = list(plain.nodes)
    if normalised:
        nodes[1:1] = [Node("norm1", BatchNorm2d(2), ("conv1_1",))]
        nodes[2] = Node(nodes[2].name, nodes[2].layer, ("norm1",))
    return Graph(nodes, input_channels=3, dtype=dtype, seed=4)


def start(folder, model, **changes):
    scenes = (Shapes(count, split=split, image_size=(20, 19)) for split, count in (("train", 9), ("val", 5)))
    settings = Settings(**{**SETTINGS.describe(), **changes})
    return Run.start(folder, model, *scenes, settings, ranks=world())


def step_in_float64(folder):
    """Two steps; every rank leaves its parameters and the losses."""
    for loss in ("mean", "sum"):
        run = start(folder / loss, network(np.float64), loss=loss, class_weights=CLASS_WEIGHTS, learning_rate=1e-3)
        for parameter in run.state.model.parameters.values():  # score layers start at zero: nothing would flow back
            parameter += np.random.default_rng(1).normal(0, 0.1, parameter.shape)
        batches = InFloat64(run._batches)
        losses = [training_step(run.state, batches, run.ranks)["loss"] for _ in range(2)]
        np.savez(folder / f"{loss}-{world().rank}.npz", losses=losses, **run.state.model.parameters)


def train(folder):
    """A whole run."""
    start(folder / "run", network()).train()


def resume(folder):
    """The run that others began."""
    Run.resume(folder / "run", world(), steps=9).train()


def train_with_batch_norm(folder):
    """A run whose statistics are the ranks' own."""
    run = start(folder / "run", network(normalised=True))
    run.train()
    np.savez(folder / f"statistics-{world().rank}.npz", **run.state.model.buffers)


def fail_on_the_last_rank(folder):
    """One rank breaks where the others wait for it."""
    run = start(folder / "run", network())

    def observe(record):
        if record["step"] == 2 and world().rank == world().size - 1:
            raise LookupError("the last rank cannot go on")

    run.train(observe)


if __name__ == "__main__":
    {
        function.__name__: function
        for function in (step_in_float64, train, resume, train_with_batch_norm, fail_on_the_last_rank)
    }[sys.argv[1]](Path(sys.argv[2]))
