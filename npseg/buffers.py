"""Memory used again: arrays whose pages are already there.

A fresh large array costs a page fault for every few kilobytes when it is first written, often more than the arithmetic
that fills it. Inside `with reused():` the memory of arrays that nobody refers to any more serves the next ones of about
the same size, so that a training loop, which asks for the same sizes at every step, soon allocates almost nothing.

    block   memory, lent to one array at a time and otherwise kept by the pool
    loan    what lies under an array and all its views; when the last of them is gone, the block goes back

Python itself says when that is, by ending the loan, so no array has to be handed back. What is held, lent or not, is
bounded by twice what was once in use at the same time.
"""

import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npseg.checks import Array

SMALL = 1 << 16
"""Bytes below which the system's own allocator is as good."""

ALIGNMENT = 64
"""Bytes of a cache line: a vector that starts on one never lies on two."""

WORKSPACE = 1 << 23
"""Bytes of the smallest block for what is needed for a moment."""

SURPLUS = 2.0
"""What a pool may hold, as a multiple of the most that was in use at once: blocks of one size do not serve another."""


class _Block:
    """Memory of a size, from its first aligned address on."""

    __slots__ = ("_memory", "address", "size")

    def __init__(self, size: int) -> None:
        self._memory, self.size = np.empty(size + ALIGNMENT, np.uint8), size
        address = self._memory.ctypes.data
        self.address = address + -address % ALIGNMENT


Returned = deque[tuple[_Block, int]]
"""Blocks whose loans have ended, and how many of their bytes were asked for."""


class _Loan:
    """A block as the foundation of an array, which keeps it alive as long as the array or a view of it lives."""

    __slots__ = ("__array_interface__", "_block", "_returned", "_size")

    def __init__(
        self, block: _Block, size: int, returned: Returned, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._block, self._size, self._returned = block, size, returned
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.address, False),
        }

    def __del__(self) -> None:
        self._returned.append((self._block, self._size))


class _Pool:
    """The blocks that are not lent, by size; sizes are in bytes.

    Several threads may share a pool, and a loan may end in any of them at any time, even inside the lock. Therefore a
    loan's end does no more than append to a queue, which cannot be interrupted; the next loan finds the block there.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[_Block]] = {}
        self._returned: Returned = deque()
        self._lock = threading.RLock()
        self._held = 0
        self._in_use = self._most_in_use = 0

    def lend(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of this shape, on a block that is large enough."""
        size = _rounded(math.prod(shape) * dtype.itemsize)
        with self._lock:
            while self._returned:
                block, length = self._returned.popleft()
                self._in_use -= length
                self._free[block.size].append(block)
            self._most_in_use = max(self._most_in_use, self._in_use + size)
            block = self._block(size)
            self._in_use += size
        return np.asarray(_Loan(block, size, self._returned, shape, dtype))

    def _block(self, size: int) -> _Block:
        """One of this size if there is one, or if one more may be held; else a larger one, if that wastes little."""
        blocks = self._free[size] = self._free.pop(size, [])  # last, so that the sizes long unused stand in front
        if blocks:
            return blocks.pop()
        bound = SURPLUS * self._most_in_use
        if self._held + size > bound:
            lent = self._held - sum(length * len(blocks) for length, blocks in self._free.items())
            wasted, may_be_wasted = lent - self._in_use, bound - self._most_in_use
            larger = [length for length, blocks in self._free.items() if blocks and length > size]
            larger = [length for length in larger if wasted + length - size <= may_be_wasted]
            if larger:
                return self._free[min(larger)].pop()
            self._let_go(bound - size)
        self._held += size
        return _Block(size)

    def _let_go(self, bound: float) -> None:
        """Give free blocks back to the system, until no more than so many bytes are held."""
        for length, blocks in self._free.items():
            while blocks and self._held > bound:
                blocks.pop()
                self._held -= length


def _rounded(bytes: int) -> int:
    """Sizes grow in steps of an eighth, so that nearly equal arrays share blocks."""
    step = 1 << max(bytes.bit_length() - 4, 0)
    return -(-bytes // step) * step


_pool: ContextVar[_Pool | None] = ContextVar("pool", default=None)


@contextmanager
def reused() -> Iterator[None]:
    """Let `empty` and `zeros` use memory again, in this thread or task, until the block ends.

    Arrays made inside stay good after it. A block within a block shares its memory.

    >>> with reused():
    ...     address = empty((100, 1000), np.float32).ctypes.data
    ...     empty((100, 1000), np.float32).ctypes.data == address
    True
    """
    token = _pool.set(_pool.get() or _Pool())
    try:
        yield
    finally:
        _pool.reset(token)


def empty(shape: Sequence[int], dtype: DTypeLike) -> Array:
    """An array of undefined content, as `numpy.empty`; inside `reused`, perhaps on memory that served before."""
    dtype = np.dtype(dtype)
    pool = _pool.get()
    if pool is None or math.prod(shape) * dtype.itemsize < SMALL:
        return np.empty(shape, dtype)
    return pool.lend(tuple(shape), dtype)


def empty_like(array: Array) -> Array:
    """As `empty`, of another array's shape and dtype."""
    return empty(array.shape, array.dtype)


def zeros(shape: Sequence[int], dtype: DTypeLike) -> Array:
    """As `empty`, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def workspace(dtype: DTypeLike, *shapes: Sequence[int]) -> list[Array]:
    """Several arrays of undefined content that are needed for a moment, together, side by side on one block.

    Inside `reused` the block has one of few sizes, so that calls that ask for different shapes, one after the other,
    get the same memory, which the processor still has in its cache.
    """
    dtype = np.dtype(dtype)
    *starts, total = _side_by_side(dtype.itemsize, shapes)
    if _pool.get() is not None:
        total = max(WORKSPACE, 1 << (total - 1).bit_length())
    block = empty((total,), np.uint8)
    return [np.ndarray(shape, dtype, block, start) for shape, start in zip(shapes, starts, strict=True)]


@lru_cache(maxsize=512)
def _side_by_side(itemsize: int, shapes: tuple[Sequence[int], ...]) -> tuple[int, ...]:
    """Where each of several arrays begins, on a cache line, and where the last one ends: bytes."""
    sizes = (math.prod(shape) * itemsize for shape in shapes)
    return 0, *accumulate(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)
