"""Memory is used again only when nobody can see it any more, and little more is kept than was in use at once."""

import contextvars
import gc
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npseg import buffers

SHAPE = (64, 1024)  # of float32: 256 KiB


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_serves_again_when_its_array_is_gone():
    with buffers.reused():
        array = buffers.empty(SHAPE, np.float32)
        first = address(array)
        assert address(buffers.empty(SHAPE, np.float32)) != first
        del array
        assert address(buffers.empty((1024, 64), np.int32)) == first


def test_a_view_keeps_its_memory():
    with buffers.reused():
        view = buffers.empty(SHAPE, np.float32)[3:5, ::2].T.view(np.int32)
        view[...] = 7
        gc.collect()
        others = [buffers.zeros(SHAPE, np.float32) for _ in range(3)]
        assert not any(np.shares_memory(view, other) for other in others)
        assert (view == 7).all()


def test_an_array_outlives_the_block():
    with buffers.reused():
        array = buffers.zeros(SHAPE, np.float64)
    with buffers.reused():
        buffers.empty(SHAPE, np.float64).fill(1)
    assert not array.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.bool_, np.int64])
def test_arrays_are_as_numpys(dtype):
    for shape in [(), (0, 5), (3, 4), (300, 1, 400), [500, 600]]:
        with buffers.reused():
            array, zeros = buffers.empty(shape, dtype), buffers.zeros(shape, dtype)
        like = buffers.empty_like(zeros)
        for made in (array, zeros, like):
            assert (made.shape, made.dtype) == (tuple(shape), dtype)
            assert made.flags.c_contiguous
            assert made.flags.writeable
            assert made.flags.aligned
        assert not zeros.any()
        if array.nbytes >= buffers.SMALL:
            assert address(array) % buffers.ALIGNMENT == 0


def test_nothing_is_kept_outside():
    tracemalloc.start()
    try:
        buffers.empty((1000, 1000), np.float64)
        assert tracemalloc.get_traced_memory()[0] < 1e6
    finally:
        tracemalloc.stop()


def test_blocks_within_blocks_share_memory():
    with buffers.reused():
        with buffers.reused():
            first = address(buffers.empty(SHAPE, np.float32))
        assert address(buffers.empty(SHAPE, np.float32)) == first


def test_a_new_thread_has_no_part_in_it():
    owners = []
    with buffers.reused():
        thread = threading.Thread(target=lambda: owners.append(buffers.empty(SHAPE, np.float32).flags.owndata))
        thread.start()
        thread.join()
        assert not buffers.empty(SHAPE, np.float32).flags.owndata
    assert owners == [True]


def test_threads_may_share_a_pool():
    """Each writes into its arrays and finds its own numbers there, whoever lets the arrays go."""
    wrong = []
    handed_over = [None] * 4

    def work(number):
        for turn in range(300):
            arrays = [buffers.empty((20_000 + 500 * (turn % 3),), np.int32) for _ in range(3)]
            for array in arrays:
                array.fill(number)
            handed_over[(number + 1) % 4] = arrays.pop()  # its memory goes back in another thread
            if any((array != number).any() for array in arrays):
                wrong.append(number)

    with buffers.reused():
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(work, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(300, 3000)), min_size=1, max_size=60))
def test_live_arrays_never_overlap_and_memory_stays_within_the_bound(requests):
    """Eight places, each in turn given a new array of so many KiB."""
    places, most_in_use = [None] * 8, 0
    tracemalloc.start()
    try:
        with buffers.reused():
            for number, (place, size) in enumerate(requests):
                places[place] = None
                places[place] = buffers.empty((size, 256), np.int32)
                places[place].fill(number)
                live = [array for array in places if array is not None]
                most_in_use = max(most_in_use, sum(array.nbytes for array in live))
                assert len({int(array[0, 0]) for array in live}) == len(live)
                assert all((array == array[0, 0]).all() for array in live)
                # Blocks are up to an eighth larger than their arrays.
                allowed = 9 / 8 * buffers.SURPLUS * most_in_use + 3e5
                assert tracemalloc.get_traced_memory()[0] <= allowed
                del live
    finally:
        tracemalloc.stop()


def fresh_blocks(monkeypatch, work, repetitions):
    """How many blocks each repetition has to ask the system for."""
    counts, original = [0], buffers.np.empty

    def counting(*args, **kwargs):
        counts[-1] += 1
        return original(*args, **kwargs)

    with buffers.reused(), monkeypatch.context() as patch:
        patch.setattr(buffers.np, "empty", counting)
        for _ in range(repetitions):
            work()
            counts.append(0)
    return counts[:-1]


def test_a_repeated_step_soon_allocates_nothing(monkeypatch):
    """Down and up again, with all maps kept on the way down, as training does."""

    def step():
        kept = [buffers.empty((1 << size,), np.uint8) for size in range(24, 17, -1)]
        grad = None
        while kept:
            grad = buffers.empty_like(kept.pop())
        del grad

    assert fresh_blocks(monkeypatch, step, 6)[3:] == [0, 0, 0]


def test_a_repeated_forward_pass_soon_allocates_nothing(monkeypatch):
    """Ever smaller maps, two alive at a time: the large blocks serve the small maps too."""

    def forward():
        x = None
        for size in range(24, 17, -1):
            x = (x, buffers.empty((1 << size,), np.uint8))[1]

    assert fresh_blocks(monkeypatch, forward, 5)[2:] == [0, 0, 0]
