"""The benchmarks run from end to end, at tiny sizes, and refuse to time what is wrong. Skipped without PyTorch."""

import contextvars
import itertools
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from npseg.engines import im2col
from npseg.matrices import conv2d_matrix, conv_transpose2d_matrix

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from benchmarks import cases, figures, measuring, models, ranks, scaling  # noqa: E402 (they are useless without PyTorch)
from benchmarks import ops as operations  # noqa: E402

QUICK = ["--quick", "--rounds", "1", "--seconds", "0"]
NUMPY_ON_ONE_THREAD = ["--engines", "im2col", "--threads", "1"]


class SameProcess:
    """A stand-in for a worker: its object lives here, so that it starts at once and sees what a test changes."""

    def __init__(self, place: str, *arguments: Any, threads: int) -> None:
        module, _, name = place.partition(":")
        self._served = getattr(import_module(module), name)(*arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._served, method)(*arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def same_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    for command in (operations, models):
        monkeypatch.setattr(command, "Worker", SameProcess)
    yield
    torch.set_num_threads(threads)


def run(command: Any, *arguments: str) -> None:
    """A command, in a context of its own: what it sets ends with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [command.__name__, *arguments])
        contextvars.copy_context().run(command.main)


# ------------------------------------------------------------------------------------------------------------- commands


def test_every_operation(same_process: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(operations, *QUICK, *NUMPY_ON_ONE_THREAD, "--output", str(tmp_path))
    written = (tmp_path / "ops.md").read_text()
    assert written in capsys.readouterr().out
    for case in cases.QUICK_CASES:
        assert written.count(f"| {case.name} |") == len(case.passes)
    assert {case.kind for case in cases.QUICK_CASES} == {case.kind for case in cases.CASES}
    assert {case.group for case in cases.QUICK_CASES} == set(cases.AIMS)


def test_networks(same_process: None, tmp_path: Path) -> None:
    run(models, *QUICK, *NUMPY_ON_ONE_THREAD, "--output", str(tmp_path))
    written = (tmp_path / "models.md").read_text()
    assert written.count("| npseg im2col |") == written.count("| PyTorch channels_last |") == 3


def test_workers_of_their_own_measure_an_operation(capsys: pytest.CaptureFixture[str]) -> None:
    run(operations, "1x1", *QUICK, *NUMPY_ON_ONE_THREAD)
    assert capsys.readouterr().out.count("| 1x1, 8 -> 8 at 6x6, batch 1 |") == 3


@pytest.mark.slow
def test_cost_against_size(tmp_path: Path) -> None:
    run(scaling, *QUICK, "--engine", "im2col", "--threads", "1", "--output", str(tmp_path))
    assert "exponent" in (tmp_path / "scaling.md").read_text()
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", [operations, models])
def test_wrong_results_are_refused(
    command: Any, same_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = im2col.conv

    def wrong(*arguments: Any, **options: Any) -> Any:
        y = right(*arguments, **options)
        y[..., -1, -1] += 0.1 * np.abs(y).max()
        return y

    monkeypatch.setattr(im2col, "conv", wrong)
    with pytest.raises(SystemExit, match=r"wrong results.*\n.*im2col"):
        run(command, *QUICK, *NUMPY_ON_ONE_THREAD, "--output", str(tmp_path))
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------ measuring


def test_worker() -> None:
    with measuring.Worker("importlib:import_module", "os", threads=1) as worker:
        assert worker.call("getenv", "OMP_NUM_THREADS") == "1"
        with pytest.raises(measuring.WorkerError, match="no_such_function"):
            worker.call("no_such_function")
        with pytest.raises(measuring.WorkerError, match="exit code 3"):
            worker.call("_exit", 3)


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    order: list[str] = []

    def turn(name: str, seconds: float) -> list[float]:
        order.append(name)
        return [seconds, seconds + len(order)]

    timings = measuring.interleaved({"a": lambda: turn("a", 1.0), "b": lambda: turn("b", 2.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert len(naps) == 6
    assert min(naps) >= 0.02
    assert timings["a"].median == np.median([1.5, 3.0, 3.5])
    assert timings["a"].tenth == np.percentile([1, 2, 1, 5, 1, 6], 10)


def test_repetitions_leave_out_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(seconds))
    calls: list[int] = []
    assert measuring.repeat(lambda: calls.append(1), 5) == [1, 1]
    assert len(calls) == 3
    assert measuring.repeat(lambda: None, 0) == [1]


def test_deviation() -> None:
    reference = np.array([1.0, -4.0])
    assert measuring.deviation([np.array([1.0, -3.0])], [reference]) == 0.25
    assert measuring.deviation([reference, np.array([2])], [reference, np.array([2])]) == 0
    wrong = [([np.array([1.0, np.nan])], [reference]), ([np.array([1.0])], [reference]), ([], [reference])]
    wrong.append(([np.array([2])], [np.array([3])]))
    for results, references in wrong:
        assert measuring.deviation(results, references) == np.inf


def test_fitted_exponent() -> None:
    sizes = [1.0, 3.0, 7.0]
    assert figures.fitted_exponent(sizes, [5 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_communication_around_a_ring() -> None:
    """Two ranks exchange halves twice; many send the whole twice, and wait for each other more often."""
    assert ranks.communication(2, size=100.0, bandwidth=10.0, latency=1.0) == 2 * (1 + 5)
    assert ranks.communication(1001, size=100.0, bandwidth=10.0, latency=0.5) == pytest.approx(1000 + 20, rel=1e-3)


# ---------------------------------------------------------------------------------------------------------------- cases


def test_operations_are_the_matrix_entries() -> None:
    """A multiplication and an addition for each entry of the operation's matrix."""
    strided = cases.convolution("", 3, 7, out=2, batch=2, stride=2)
    weight = strided.arrays()["weight"]
    assert strided.passes[0].operations == 2 * 2 * conv2d_matrix(weight, (7, 7), stride=2, padding=1).nnz
    enlarging = cases.transposed(3, 4, 2)
    weight = enlarging.arrays()["weight"]
    assert enlarging.passes[0].operations == 2 * conv_transpose2d_matrix(weight, (4, 4), stride=2, padding=1).nnz


def test_cases_have_names_of_their_own_and_the_same_arrays_everywhere() -> None:
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)
    for case in cases.QUICK_CASES:
        for one, other in zip(case.arrays().values(), case.arrays().values(), strict=True):
            np.testing.assert_array_equal(one, other)
