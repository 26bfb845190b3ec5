"""What Python passes to a kernel arrives there, and what cannot is refused."""

import numpy as np
import pytest

import npseg

if "numba" not in npseg.engines():
    pytest.skip("Numba is not installed", allow_module_level=True)

import numba

from npseg.engines.numba.compiling import on_all_cores


@on_all_cores()
def write(task, results, whole, real, single, truth, pixels):
    line = results[task]
    line[0], line[1], line[2], line[3] = whole, real, single, truth
    for k in range(pixels.shape[1]):
        line[4 + k] = pixels[task, k]


@pytest.mark.parametrize(("whole", "truth"), [(2**40 + 1, True), (-(2**63), False)])
@pytest.mark.parametrize("form", [np.array, np.asfortranarray, lambda pixels: np.array(pixels)[:, ::-1]])
def test_arguments_of_every_kind_arrive(whole, truth, form):
    pixels, results = form(np.arange(15, dtype=np.float32).reshape(5, 3)), np.zeros((5, 7))
    write(5, results, whole, 0.1, np.float32(0.1), truth, pixels)
    for line, seen in zip(results, pixels, strict=True):
        np.testing.assert_array_equal(line, [float(whole), 0.1, np.float32(0.1), truth, *seen])


def test_a_number_that_no_word_holds_is_refused_and_nothing_runs():
    pixels, results = np.ones((5, 3), np.float32), np.zeros((5, 7))
    write(5, results, 1, 0.1, np.float32(0.1), True, pixels)
    results[:] = 0
    with pytest.raises(OverflowError):
        write(5, results, 2**63, 0.1, np.float32(0.1), True, pixels)
    assert not results.any()


def test_nothing_is_done_for_no_tasks():
    results = np.zeros((5, 7))
    write(0, results, 1, 0.1, np.float32(0.1), True, np.ones((5, 3), np.float32))
    assert not results.any()


PATIENCE = 10**9


@on_all_cores()
def wait_for_the_others(task, done, tries):
    others = len(done) - 1
    while task == 0 and others and tries[0] < PATIENCE:
        tries[0] += 1
        others = 0
        for k in range(1, len(done)):
            others += 1 - done[k]
    done[task] += 1


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="there is one thread")
def test_a_thread_takes_over_what_another_has_not_begun():
    """Task 0 ends when all others have: also those that would be its own thread's."""
    done, tries = np.zeros(100, np.int64), np.zeros(1, np.int64)
    wait_for_the_others(len(done), done, tries)
    assert tries[0] < PATIENCE
    assert (done == 1).all()


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 1000])
def test_every_task_is_run_once(tasks):
    done = np.zeros(tasks, np.int64)
    wait_for_the_others(tasks, done, np.full(1, PATIENCE))
    assert (done == 1).all()
