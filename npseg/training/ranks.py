"""Several processes that train one network together, a part of each batch for every one of them.

Each process (MPI calls its number the rank) holds the whole network and computes the gradient of its part of the batch:

    loss = sum over all labelled pixels of the batch / their number
    gradient of the loss = sum over the ranks of (the gradient of their own pixels / the number of *all* pixels)

So the ranks need two things of each other: how many pixels count in all, before they walk back, and the sum of their
gradients after it. The gradients travel in one flat buffer by one Allreduce, which leaves the same sum, to the last
bit, with every rank; all make the same update, and the networks stay equal without ever being sent.

Random draws are keyed by a sample's place in the whole batch (`npseg.training.batches`), so p ranks see what one would.
A process of its own is a rank among one: nothing is sent then, and nothing is divided.

Source: Goyal and others, "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (2017), section 3, which warns of
dividing by the part's size instead of the whole batch's.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from npseg import checks
from npseg.checks import Array

Result = TypeVar("Result")

LAUNCHED_BY_MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")
"""What `mpirun` and `srun` tell the processes that they start: Open MPI, MPICH and its kin, PMIx."""

SECONDS_TO_BE_HEARD = 0.5
"""From a rank's last words to the end of all: a launcher that hears of the end too soon does not pass on the words."""


class Ranks:
    """The processes that train together, seen by one of them.

    Args:
        communicator: of `mpi4py`, such as `MPI.COMM_WORLD`; None is a process of its own.
    """

    def __init__(self, communicator: Any = None) -> None:
        """See the class."""
        self._communicator = communicator
        self.rank: int = 0 if communicator is None else communicator.Get_rank()
        self.size: int = 1 if communicator is None else communicator.Get_size()

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes and speaks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is nobody else."""
        return self.size == 1

    def part(self, number: int) -> range:
        """This rank's share of so many things in a row; the shares differ by one thing at most.

        >>> list(Ranks().part(3))
        [0, 1, 2]
        """
        return range(number * self.rank // self.size, number * (self.rank + 1) // self.size)

    def total(self, array: Any) -> Array:
        """The sum over all ranks of an array of their own, float64 or int64."""
        own: Array = np.array(array)
        self._add_up(own)
        return own

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        return bool(self.total(int(flag)) > 0)

    def summed(self, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """The sum over all ranks of each gradient: one flat buffer, one Allreduce.

        Args:
            gradients: arrays of one dtype, of the same names and shapes in the same order on every rank.

        Returns:
            The sums; with several ranks they are views of the buffer.
        """
        if self.alone or not gradients:
            return dict(gradients)
        flat = np.concatenate([gradient.ravel() for gradient in gradients.values()])
        self._add_up(flat)
        ends = np.cumsum([gradient.size for gradient in gradients.values()])
        pieces = np.split(flat, ends[:-1])
        return {
            name: piece.reshape(gradient.shape)
            for (name, gradient), piece in zip(gradients.items(), pieces, strict=True)
        }

    def _add_up(self, array: Array) -> None:
        """Replace an array by its sum over the ranks."""
        if not self.alone:
            from mpi4py import MPI

            self._communicator.Allreduce(MPI.IN_PLACE, array)

    def average(self, buffers: Mapping[str, Array]) -> None:
        """Replace running statistics, in place, by their mean over the ranks."""
        for name, mean in self.summed(buffers).items():
            if not self.alone:
                buffers[name][...] = mean / self.size

    def by_first(self, function: Callable[[], Result]) -> Result:
        """What rank 0 gets by calling the function, on every rank; an error there is raised on all of them."""
        if self.alone:
            return function()
        result: Any = None
        failure: Exception | None = None
        if self.first:
            try:
                result = function()
            except Exception as error:
                failure = error
        result, failure = self._communicator.bcast((result, failure))
        if failure is not None:
            raise failure
        value: Result = result
        return value

    def abort(self, status: int) -> None:
        """End the processes of all ranks, this one too; a process of its own goes on."""
        if not self.alone:
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(SECONDS_TO_BE_HEARD)
            self._communicator.Abort(status)


@cache
def world() -> Ranks:
    """The ranks that `mpirun` started, their processors' cores divided among them; or this process by itself.

    An error that nobody catches ends all ranks from here on: the others would wait for this one for ever.

    Raises:
        ValueError: `mpirun` started this process, but mpi4py or threadpoolctl is not installed.
    """
    if not any(name in os.environ for name in LAUNCHED_BY_MPI):
        return Ranks()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, but it finds no MPI library
        raise ValueError(f"several processes were started by MPI, for which mpi4py is needed: {error}") from error
    ranks = Ranks(MPI.COMM_WORLD)
    if not ranks.alone:
        _limit_threads(_own_cores(MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)))
        sys.excepthook = _ending_all(ranks)
    return ranks


def _own_cores(neighbours: Any) -> int:
    """How many cores this rank has for itself if the ranks of one machine share fairly, at least 1.

    Where the launcher has bound each rank to its own cores, these are all it may use, and they are not divided again.
    """
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    everybody: list[set[int]] = neighbours.allgather(mine)
    return max(1, int(sum(1 / sum(core in cores for cores in everybody) for core in mine) + 1e-9))


def _limit_threads(threads: int) -> None:
    """Let NumPy's products and Numba's loops use so many threads, where the user has not said otherwise."""
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))  # read when the engine is first used
    if not {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys():
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")


def _ending_all(ranks: Ranks) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """What to do with an error that nobody caught."""

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        print(f"rank {ranks.rank}:", file=sys.stderr)
        traceback.print_exception(kind, error, trace)
        ranks.abort(1)

    return end


def check_batch(batch_size: int, ranks: Ranks) -> None:
    """Refuse a batch of which some rank would get nothing.

    Raises:
        ValueError: there are more ranks than samples in a batch.
    """
    checks.integer(batch_size, "batch_size", at_least=1)
    if batch_size < ranks.size:
        raise ValueError(f"batch_size must be at least the number of ranks, {ranks.size}, got {batch_size}")
