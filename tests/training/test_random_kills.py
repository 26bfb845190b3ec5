"""A run killed again and again, at moments that nobody chose, ends as if nothing had happened."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from resumed_run import settings, take_up
from same_run import assert_same_run

SCRIPT = Path(__file__).with_name("resumed_run.py")
PATIENCE = 100
"""Seconds after which a process that makes no step counts as hanging."""


def process(folder, steps):
    """A process that has begun to import what it needs, and waits."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", SCRIPT, folder, str(steps)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def kill_at_random(running, folder, rng):
    """Let a run begin and kill it: early, while it is being taken up, or after some steps, at any point of the next."""
    log = folder / "log.jsonl"
    before, begun = size_of(log), time.monotonic()
    running.stdin.write(b"go\n")
    running.stdin.flush()
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 0.3))
    else:
        more = rng.randrange(600)  # bytes: up to half a dozen records
        while size_of(log) <= before + more and running.poll() is None and time.monotonic() < begun + PATIENCE:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
    running.kill()
    _, errors = running.communicate()
    assert errors == b""
    return running.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("kills", "steps"), [(4, 60), pytest.param(50, 500, marks=pytest.mark.slow)])
def test_random_kills_change_nothing(tmp_path, kills, steps):
    rng, folder = random.Random(kills), tmp_path / "run"
    waiting, killed = process(folder, steps), 0
    try:
        for _ in range(kills):
            running, waiting = waiting, process(folder, steps)
            killed += kill_at_random(running, folder, rng)
    finally:
        waiting.kill()
        waiting.communicate()
    assert killed == kills, "the run must be longer than what is left of it after this many kills"
    assert take_up(folder, steps).train()
    undisturbed = tmp_path / "undisturbed"
    assert take_up(undisturbed, steps).train()
    assert settings(steps).steps == len((folder / "log.jsonl").read_bytes().splitlines())
    assert_same_run(folder, undisturbed)
