"""How kernels are compiled: when they are first called, once for each processor, to run on all cores.

    on_all_cores   a function of a task's number, run for every task, on all cores; called from Python
    inner          a function that these call

Arithmetic runs in the order written (`contract` alone is allowed: a * b + c in one rounding), so NaN and infinity are
kept, and every loop over threads writes to places of its own, so results do not depend on how many there are.
`reorder=True` lets a kernel's sums be vectorised, which changes their order, but not from run to run.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, event
from numba.extending import intrinsic

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.kernel_cache import KernelCache
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

    The function is compiled by itself, and a small loop hands its address to Numba's threads. Numba's own parallel
    loops compile what is in them three times over.
    """

    def __init__(self, function: Callable[..., None], *, reorder: bool) -> None:
        self.compiled = _jit(function, reorder=reorder)
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._addresses: dict[tuple[Any, ...], tuple[int, bool]] = {}

    def __call__(self, tasks: int, *arguments: Any) -> None:
        """Run tasks 0 ... tasks - 1, each with these arguments: arrays, whole numbers and truth values."""
        kinds = tuple([_kind(argument) for argument in arguments])
        known = self._addresses.get(kinds)
        if known is None:
            known = self._addresses[kinds] = self._address(arguments), threads_may_meet()
        address, may_meet = known
        if may_meet:
            _on_all_cores(address, tasks, *arguments)
            return
        with _one_at_a_time:
            _on_all_cores(address, tasks, *arguments)

    def _address(self, arguments: tuple[Any, ...]) -> int:
        """Where the function for arguments of these types is."""
        numba.get_num_threads()  # starts the threads, whose numbers the function may ask for
        signature = (types.int64, *(numba.typeof(argument) for argument in arguments))
        self.compiled.compile(signature)
        compiled = self.compiled.overloads[signature]
        return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def on_all_cores(*, reorder: bool = False) -> Callable[[Callable[..., None]], Task]:
    """Compile a function (task, ...), when it is first called as (tasks, ...), to run for task = 0 ... tasks - 1.

    Args:
        reorder: let sums be vectorised.
    """
    return lambda function: Task(function, reorder=reorder)


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
    """Compile a function that kernels call."""
    return numba.njit(**_options(), pipeline_class=PartCompiler)(function)  # type: ignore[no-any-return]


def _options(*, reorder: bool = False, called_from_python: bool = False) -> dict[str, Any]:
    fastmath = {"contract", "reassoc", "nsz"} if reorder else {"contract"}
    wrappers = {"no_cpython_wrapper": not called_from_python, "no_cfunc_wrapper": True}
    return {"nogil": True, "error_model": "numpy", "fastmath": fastmath, **wrappers}


def _jit(function: Callable[..., Any], **options: bool) -> Any:
    compiled = numba.njit(**_options(**options))(function)
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


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array without its owner: the caller keeps it alive, and counting who uses a slice of it would cost time."""
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    for owner in ("meminfo", "parent"):
        setattr(array, owner, getattr(array, owner).type(None))
    return array._getvalue()


_BYTES, _WORD, _NOTHING = ir.IntType(8).as_pointer(), ir.IntType(64), ir.VoidType()
_SHARE = ir.FunctionType(_NOTHING, [_BYTES.as_pointer(), _WORD.as_pointer(), _WORD.as_pointer(), _BYTES])
"""What Numba's threads call with a share of the work: where each operand of the share begins, its size, the operands'
steps, and what all shares have in common. Our only operand is the task's number: an address that begins at 0."""


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def _share_out(typing: Any, address: Any, tasks: Any, arguments: Any) -> Any:
    """Call the compiled function at an address, on all cores, with task = 0 ... tasks - 1 and the arguments."""
    kinds = types.int64, *arguments.types

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        borrowed = [
            _borrowed(context, builder, kind, builder.extract_value(values[2], place))
            for place, kind in enumerate(arguments.types)
        ]
        common = cgutils.pack_struct(builder, [values[0], *borrowed])
        share = _share(context, builder, common.type, kinds)
        start = cgutils.alloca_once_value(builder, ir.Constant(_BYTES, None))
        size, step = (cgutils.alloca_once_value(builder, value) for value in (values[1], _WORD(1)))
        common = cgutils.alloca_once_value(builder, common)
        pointers = [builder.bitcast(value, _BYTES) for value in (share, start, size, step, common)]
        module = builder.module
        threads = cgutils.get_or_insert_function(module, ir.FunctionType(_WORD, []), "get_num_threads")
        run = ir.FunctionType(_NOTHING, [_BYTES] * 5 + [_WORD] * 3)
        run = cgutils.get_or_insert_function(module, run, "numba_parallel_for")
        builder.call(run, [*pointers, _WORD(0), _WORD(1), builder.call(threads, [])])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, arguments), code


def _share(context: Any, builder: Any, common_type: Any, kinds: tuple[Any, ...]) -> Any:
    """The function that runs a share of the tasks."""
    share = ir.Function(builder.module, _SHARE, name=f"{builder.function.name}.share")
    share.linkage = "internal"
    inside = ir.IRBuilder(share.append_basic_block("entry"))
    starts, sizes, _, common = share.args
    address, *arguments = cgutils.unpack_tuple(inside, inside.load(inside.bitcast(common, common_type.as_pointer())))
    function = inside.inttoptr(address, context.call_conv.get_function_type(types.none, kinds).as_pointer())
    first = inside.ptrtoint(inside.load(starts), _WORD)
    with cgutils.for_range(inside, inside.load(sizes), intp=_WORD) as loop:
        task = inside.add(first, loop.index)
        context.call_conv.call_function(inside, function, types.none, kinds, [task, *arguments])
    inside.ret_void()
    return share


def _every_task(address: int, tasks: int, *arguments: Any) -> None:
    _share_out(address, tasks, arguments)


_on_all_cores = _jit(_every_task, called_from_python=True)


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
