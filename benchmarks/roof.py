"""What the machine can do at best, measured by the compiled engine: the two lines of the roofline figure."""

import time
from collections.abc import Callable

import numba
import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import on_all_cores
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES, VECTORS, multiply_rows

DEPTH, COLUMNS = 128, VECTORS * VECTOR_BYTES // 4
"""A product whose two factors fit the first cache, and one tile of registers its result."""

REPETITIONS = 20_000
NUMBERS = 2**25
"""Of each array of the triad: 128 MiB, more than any cache holds."""
PIECE = 2**16
"""Of these, what a thread takes at once."""


@on_all_cores()
def multiply_again_and_again(task: int, a: Array, b: Array, offsets: Array, c: Array, repetitions: int) -> None:
    """The same small product in every thread."""
    for _ in range(repetitions):
        multiply_rows(a, 0, b, 0, offsets, 0, len(offsets), c, task * ROWS * COLUMNS, COLUMNS, COLUMNS, 0)


@on_all_cores()
def triad(task: int, a: Array, b: Array, c: Array, factor: Array) -> None:
    """a[i] = b[i] + factor * c[i], a piece of it."""
    first = task * PIECE
    target, left, right = a[first : first + PIECE], b[first : first + PIECE], c[first : first + PIECE]
    for i in range(PIECE):
        target[i] = left[i] + factor[0] * right[i]


def peak_operations() -> float:
    """Floating-point operations a second, with all of Numba's threads."""
    threads = numba.get_num_threads()
    a, b = np.ones(DEPTH * ROWS, np.float32), np.ones(DEPTH * COLUMNS, np.float32)
    offsets = np.arange(DEPTH) * COLUMNS
    c = np.zeros(threads * ROWS * COLUMNS, np.float32)
    seconds = _least(lambda: multiply_again_and_again(threads, a, b, offsets, c, REPETITIONS))
    return float(2 * ROWS * COLUMNS * DEPTH * REPETITIONS * threads / seconds)


def peak_traffic() -> float:
    """Bytes a second that are read and written, with all of Numba's threads."""
    a, b, c = (np.ones(NUMBERS, np.float32) for _ in range(3))
    factor = np.full(1, 2, np.float32)
    return 3 * 4 * NUMBERS / _least(lambda: triad(NUMBERS // PIECE, a, b, c, factor))


def _least(run: Callable[[], object], times: int = 15) -> float:
    """The shortest of some times, after one that compiles and warms up."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)
