"""How contenders are timed beside each other, so that neither the machine's moods nor the other's threads decide.

Each contender lives in a worker, a process of its own that is started once and kept: two pools of threads in one
process disturb each other. In each round every worker is asked in turn and takes a few repetitions, after a nap in
which the threads of the one before fall asleep and after one repetition that is not counted. The result is the median
over the rounds of each round's median, and beside it the 10th percentile of all repetitions.
"""

import importlib
import multiprocessing
import os
import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from npseg import buffers

NAP = 0.02
"""Seconds between two turns. Threads that wait for work spin for some milliseconds before they sleep."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Key = TypeVar("Key")


class WorkerError(RuntimeError):
    """What went wrong in a worker, with the traceback from there."""


class Worker:
    """An object in a process of its own; `call` runs one of its methods there and waits for the answer.

    Args:
        place: the object's class, as "module:name".
        arguments: what it is made from.
        threads: how many threads the process may use.
    """

    def __init__(self, place: str, *arguments: Any, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._place, (self._pipe, far_end) = place, context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, place, arguments), daemon=True)
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
            self._process.start()
        far_end.close()
        self._ready = False

    def call(self, method: str, *arguments: Any) -> Any:
        """What the object's method returns.

        Raises:
            WorkerError: it raised an error, or the process died.
        """
        if not self._ready:
            self._answer()
            self._ready = True
        self._pipe.send((method, arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer, error = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise WorkerError(f"{self._place} died with exit code {self._process.exitcode}") from None
        if error is not None:
            raise WorkerError(f"{self._place} failed:\n{error}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that processes started inside the block inherit."""
    former = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def _serve(pipe: Connection, place: str, arguments: Sequence[Any]) -> None:
    """What runs in a worker's process: make the object, then answer calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command, which closes the pipe
    module, _, name = place.partition(":")
    served, error = _attempt(lambda: getattr(importlib.import_module(module), name)(*arguments))
    pipe.send((None, error))
    with buffers.reused():  # npseg's memory lasts from turn to turn, as in training from step to step
        while error is None:
            try:
                method, arguments = pipe.recv()
            except EOFError:
                return
            pipe.send(_attempt(lambda: getattr(served, method)(*arguments)))  # noqa: B023 (called at once)


def _attempt(action: Callable[[], Any]) -> tuple[Any, str | None]:
    """The result and no error, or no result and the error's traceback."""
    try:
        return action(), None
    except Exception:
        return None, traceback.format_exc()


# --------------------------------------------------------------------------------------------------------------- time


@dataclass(frozen=True)
class Timing:
    """Seconds of every repetition, round by round."""

    rounds: Sequence[Sequence[float]]

    @property
    def median(self) -> float:
        """The median over the rounds of each round's median."""
        return statistics.median(statistics.median(repetitions) for repetitions in self.rounds)

    @property
    def tenth(self) -> float:
        """The 10th percentile of all repetitions."""
        return float(np.percentile(np.concatenate([np.asarray(repetitions) for repetitions in self.rounds]), 10))


def repeat(run: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each repetition, after one that is not counted, until together they have taken so long."""
    run()
    taken: list[float] = []
    begin = time.perf_counter()
    while not taken or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def interleaved(contenders: Mapping[Key, Callable[[], list[float]]], rounds: int) -> dict[Key, Timing]:
    """Time all contenders in turn, round by round; each round begins with another one.

    Args:
        contenders: by name, what takes one turn and returns the seconds of its repetitions.
        rounds: how many turns each one gets.
    """
    times: dict[Key, list[list[float]]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds if names else 0):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(NAP)
            times[name].append(contenders[name]())
    return {name: Timing(taken) for name, taken in times.items()}


# -------------------------------------------------------------------------------------------------------------- checks


def deviation(results: Sequence[Any], references: Sequence[Any]) -> float:
    """How far results are from their references: the largest difference over the reference's largest magnitude.

    Infinite where a shape or an integer differs, or a result is not finite.
    """
    if len(results) != len(references):
        return float("inf")
    return max(_deviation(np.asarray(a), np.asarray(b)) for a, b in zip(results, references, strict=True))


@np.errstate(all="ignore")
def _deviation(result: Any, reference: Any) -> float:
    if result.shape != reference.shape:
        return float("inf")
    if reference.dtype.kind in "iu":
        return 0.0 if np.array_equal(result, reference) else float("inf")
    largest = np.abs(reference).max(initial=0.0)
    difference = np.abs(result - reference).max(initial=0.0)
    if not np.isfinite(difference):
        return float("inf")
    return float(difference / largest) if largest else float(difference)
