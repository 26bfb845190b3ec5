"""A training run that kills itself, for test_run.py: `python killed_run.py FOLDER [MOMENT CALL]`.

At the CALL-th call of the function that MOMENT names, the process gets a SIGKILL: no handler runs, nothing is flushed.
"""

import os
import signal
import sys
from pathlib import Path

from npseg import files
from npseg.data import Shapes
from npseg.models import fcn, vgg
from npseg.training import checkpoints, log, run
from npseg.training.optimisers import Adam
from npseg.training.settings import Settings

SETTINGS = Settings(
    steps=11,
    batch_size=3,
    seed=4,
    learning_rate=0.01,
    validate_every=5,
    checkpoint_every=3,
    scale=(0.8, 1.25),
    crop=(16, 16),
)


def start(folder, settings=SETTINGS):
    """The run, the same whoever starts it."""
    model = fcn(vgg((2, 2, 3, 3, 2), (1, 1, 1, 1, 1), fc6=4, seed=4), len(Shapes.classes), 8)
    training, validation = (
        Shapes(count, split=split, image_size=(20, 19)) for split, count in (("train", 7), ("val", 3))
    )
    return run.Run.start(folder, model, training, validation, settings)


def die(*arguments, **keywords):
    """What no process survives."""
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_line(records, record):
    """A record of which only the beginning reaches the file."""
    os.write(records._file.fileno(), f'{{"step": {record["step"]}, "lo'.encode())
    die()


MOMENTS = {
    "writing a file": (files.os, "fsync", die),
    "replacing a file": (files.os, "replace", die),
    "saving a checkpoint": (checkpoints, "save", die),
    "saving the best network": (checkpoints, "save_network", die),
    "updating": (Adam, "update", die),
    "validating": (run, "confusion", die),
    "logging": (log.Log, "append", die),
    "logging half a line": (log.Log, "append", half_a_line),
}


def replace_at_call(owner, name, call, replacement):
    """Let the first calls through and replace the one with this number."""
    original, calls = getattr(owner, name), 0

    def counting(*arguments, **keywords):
        nonlocal calls
        calls += 1
        return (replacement if calls == call else original)(*arguments, **keywords)

    setattr(owner, name, counting)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        owner, name, replacement = MOMENTS[sys.argv[2]]
        replace_at_call(owner, name, int(sys.argv[3]), replacement)
    start(Path(sys.argv[1])).train()
