"""A run that goes on where it was, or starts: `python resumed_run.py FOLDER STEPS`, once it gets a line of input.

For test_random_kills.py, which lets the imports be done before the process is told to begin.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from killed_run import SETTINGS, start

from npseg.training.run import Run


def settings(steps):
    """Small steps, many of them, and something to be written after each third."""
    return replace(SETTINGS, steps=steps, validate_every=20, batch_size=1, engine="im2col")


def take_up(folder, steps):
    """The run in this folder. What was killed before its first checkpoint is begun anew."""
    if (folder / "checkpoint.npz").exists():
        return Run.resume(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return start(folder, settings(steps))


if __name__ == "__main__":
    sys.stdin.readline()
    take_up(Path(sys.argv[1]), int(sys.argv[2])).train()
