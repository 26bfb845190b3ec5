"""What the machine can do at best, measured by the compiled engine: the two lines of the roofline figure."""

import time
from collections.abc import Callable

import numba
import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import kernel
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES, VECTORS, multiply_rows

DEPTH, COLUMNS = 128, VECTORS * VECTOR_BYTES // 4
"""A product whose two factors fit the first cache, and one tile of registers its result."""

REPETITIONS = 20_000
NUMBERS = 2**25
"""Of each array of the triad: 128 MiB, more than any cache holds."""


@kernel()
def multiply_again_and_again(a: Array, b: Array, offsets: Array, c: Array, repetitions: int) -> None:
    """The same small product in every thread."""
    for thread in numba.prange(c.size // (ROWS * COLUMNS)):
        for _ in range(repetitions):
            multiply_rows(a, 0, b, 0, offsets, 0, len(offsets), c, thread * ROWS * COLUMNS, COLUMNS, COLUMNS, 0)


@kernel()
def triad(a: Array, b: Array, c: Array, factor: float) -> None:
    """a[i] = b[i] + factor * c[i]."""
    factor = a.dtype.type(factor)
    for i in numba.prange(a.size):
        a[i] = b[i] + factor * c[i]


def peak_operations() -> float:
    """Floating-point operations a second, with all of Numba's threads."""
    threads = numba.get_num_threads()
    a, b = np.ones(DEPTH * ROWS, np.float32), np.ones(DEPTH * COLUMNS, np.float32)
    offsets = np.arange(DEPTH) * COLUMNS
    c = np.zeros(threads * ROWS * COLUMNS, np.float32)
    seconds = _least(lambda: multiply_again_and_again(a, b, offsets, c, REPETITIONS))
    return float(2 * ROWS * COLUMNS * DEPTH * REPETITIONS * threads / seconds)


def peak_traffic() -> float:
    """Bytes a second that are read and written, with all of Numba's threads."""
    a, b, c = (np.ones(NUMBERS, np.float32) for _ in range(3))
    return 3 * 4 * NUMBERS / _least(lambda: triad(a, b, c, 2.0))


def _least(run: Callable[[], object], times: int = 15) -> float:
    """The shortest of some times, after one that compiles and warms up."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)
