"""How kernels are compiled: when they are first called, once for each processor, to run on all cores.

    on_all_cores   a function of a task's number, run for every task, on all cores; called from Python
    inner          a function that these call

Arithmetic runs in the order written (`contract` alone is allowed: a * b + c in one rounding), so NaN and infinity are
kept, and every loop over threads writes to places of its own, so results do not depend on how many there are.
`reorder=True` lets a kernel's sums be vectorised, which changes their order, but not from run to run.
"""

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import event
from numba.extending import intrinsic

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.kernel_cache import KernelCache
from npseg.engines.numba.launching import entry_of, launcher
from npseg.engines.numba.parts import PartCompiler

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_one_at_a_time = threading.RLock()


def _kind(argument: Any) -> Any:
    """What decides for which types a function is compiled; found out faster than Numba's own type."""
    if not isinstance(argument, np.ndarray):
        return type(argument)
    return (argument.dtype, argument.ndim) if argument.flags.carray else numba.typeof(argument)


class Task:
    """A compiled function of a task's number, run for each of many tasks on all cores.

    The function is compiled by itself, and Numba's threads are given its address (see `launching`). Numba's own
    parallel loops compile what is in them three times over.
    """

    def __init__(self, function: Callable[..., None], *, reorder: bool, allocates: bool) -> None:
        self.compiled = _kept(_jit(function, reorder=reorder, _nrt=allocates), function)
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._entries: dict[tuple[Any, ...], tuple[int, bool]] = {}

    def __call__(self, tasks: int, *arguments: Any) -> None:
        """Run tasks 0 ... tasks - 1, each with these arguments: arrays, whole numbers and truth values."""
        kinds = tuple([_kind(argument) for argument in arguments])
        known = self._entries.get(kinds)
        if known is None:
            with _one_at_a_time:
                known = self._entries[kinds] = self._entry(arguments), threads_may_meet()
        entry, may_meet = known
        if may_meet:
            launcher()(entry, tasks, arguments)
            return
        with _one_at_a_time:
            launcher()(entry, tasks, arguments)

    def _entry(self, arguments: tuple[Any, ...]) -> int:
        """The function for arguments of these types."""
        numba.get_num_threads()  # starts the threads, whose numbers the function may ask for
        kinds = tuple([numba.typeof(argument) for argument in arguments])
        signature = (types.int64, *kinds)
        with _garbage_left():
            self.compiled.compile(signature)
        compiled = self.compiled.overloads[signature]
        return entry_of(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name), kinds)


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Collect none for a while: a compiler makes many objects that live, which would take a twentieth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def on_all_cores(*, reorder: bool = False, allocates: bool = False) -> Callable[[Callable[..., None]], Task]:
    """Compile a function (task, ...), when it is first called as (tasks, ...), to run for task = 0 ... tasks - 1.

    Args:
        reorder: let sums be vectorised.
        allocates: it makes arrays of its own. Else nobody counts who refers to an array while it runs, which would take
            several calls for every function that it calls: its caller keeps all of them.
    """
    return lambda function: Task(function, reorder=reorder, allocates=allocates)


def numbers_of(form: type[Any]) -> Callable[[Array], Any]:
    """A function for kernels that gives the entries of an int64 array the names of a NamedTuple's fields."""
    count = len(form._fields)

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def named(typing: Any, array: Any) -> Any:
        """See `numbers_of`."""
        result = types.NamedUniTuple(types.int64, count, form)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            values = [builder.load(builder.gep(data, [ir.Constant(ir.IntType(64), k)])) for k in range(count)]
            return context.make_tuple(builder, result, values)

        return result(array), code

    return named  # type: ignore[no-any-return, unused-ignore]


def inner(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function that kernels call; it makes no arrays of its own.

    Numba would compile it once more for each constant that it is called with: 0 is a type of its own there.
    """
    compiled = _jit(function, _nrt=False, pipeline_class=PartCompiler)
    template_of = compiled.get_call_template
    compiled.get_call_template = lambda given, named: template_of(tuple(map(types.unliteral, given)), named)
    return compiled  # type: ignore[no-any-return]


def _jit(function: Callable[..., Any], *, reorder: bool = False, **options: Any) -> Any:
    fastmath = {"contract", "reassoc", "nsz"} if reorder else {"contract"}
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(nogil=True, error_model="numpy", fastmath=fastmath, **wrappers, **options)(function)


def _kept(compiled: Any, function: Callable[..., Any]) -> Any:
    """The function, kept between processes where there is a folder for it."""
    cache = _cache_of(function)
    if cache is not None:
        compiled._cache = cache
    return compiled


def _cache_of(function: Callable[..., Any]) -> KernelCache | None:
    """Where a function is kept; None where no folder can be written, so that every process compiles for itself."""
    try:
        return KernelCache(function)
    except RuntimeError:
        return None


def cache_folder() -> str | None:
    """The folder where compiled kernels are kept, if there is one."""
    cache = _cache_of(cache_folder)
    return None if cache is None else str(cache.cache_path)


def threads_may_meet() -> bool:
    """Whether Numba's threading layer serves several Python threads at once; not before it has been started."""
    try:
        return bool(numba.threading_layer() != "workqueue")
    except ValueError:
        return False


def plain(array: Array) -> Array:
    """The array as kernels know arrays, contiguous, aligned and writeable: each is compiled for one form only."""
    return array if array.flags.carray else np.require(array, requirements=("C", "A", "W"))


def empty_like(array: Array) -> Array:
    """An array of the same shape and dtype, of undefined content."""
    return buffers.empty(array.shape, array.dtype)


class _Notice(event.Listener):  # type: ignore[misc]  # Numba has no types
    """Says once, on standard error, that the first use takes a while."""

    said = False

    def on_start(self, event: Any) -> None:
        """A function is about to be compiled: ours, or anybody's."""
        function = getattr((event.data or {}).get("dispatcher"), "py_func", None)
        if not self.said and getattr(function, "__module__", "").startswith("npseg."):
            self.said = True
            how_often = "once, then it is kept" if cache_folder() else "every time: set NUMBA_CACHE_DIR to keep it"
            print(f"npseg: compiling for this processor ({how_often}) ...", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


event.register("numba:compile", _Notice())
