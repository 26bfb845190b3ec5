"""From Python to all cores: how a compiled function is run for each of many tasks.

Numba would compile, for every function, how its arguments are taken out of Python's objects, and how its tasks are
shared out; that takes as long as the function itself. Here both are written down once, as instructions, with a row of
words of 64 bits between them:

    launch   takes the arguments, whatever they are, apart into words, cuts the tasks into a share for each thread, lets
             other Python threads run, and hands the words to Numba's threads:  an array is its `numba_adapt_ndarray`, a
             number is one word
    share    is what a thread calls; each list of types has its own, a few instructions that make arguments of the words
             again:

        for turn in 0 ... shares - 1:
            other = (own + turn) % shares
            while (task = next[other]++) < end[other]:
                function(task, *arguments)

A thread begins with its own tasks, always the same ones, so that it finds in its cache what it wrote there before. Then
it takes over what the others have not begun: cores are seldom equally fast, since other programs use them too. Source:
Blumofe, Leiserson, "Scheduling multithreaded computations by work stealing" (1999).
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

_NOTHING, _INT, _WORD, _DOUBLE = ir.VoidType(), ir.IntType(32), ir.IntType(64), ir.DoubleType()
_BYTES, _WORDS = ir.IntType(8).as_pointer(), ir.IntType(64).as_pointer()

MOST_WORDS = 512
"""What all arguments together may take; a function has at most two dozen."""

FUNCTION, PROGRESS, SHARES, ARGUMENTS = range(4)
"""Where words begin: the function's address, that of the shares' progress, the number of shares, the arguments."""

NEXT, END, LINE = 0, 1, 8
"""A share's progress: the next task, the one behind the last, and how many words it has, which are a cache line."""

NUMBER, REAL = -1, -2
"""How a number is taken out of Python's object; an array's kind is its number of dimensions."""

_kept: list[Any] = []
"""Numba's libraries of what is compiled here: an address is good as long as its library is kept."""


def entry_of(function: int, arguments: tuple[Any, ...]) -> int:
    """What `launch` needs to know of a function (task, ...) whose other arguments are of these types of Numba's.

    Args:
        function: its address.
        arguments: their types.

    Returns:
        The address of a row of words: those of the function and its share, the number of arguments, their kinds.
    """
    kinds = [_kind(argument) for argument in arguments]
    assert ARGUMENTS + sum(map(_words, kinds)) <= MOST_WORDS
    entry = np.array([function, _share_of(arguments), len(kinds), *kinds])
    _kept.append(entry)
    return int(entry.ctypes.data)


@cache
def _share_of(arguments: tuple[Any, ...]) -> int:
    return int(_compiled("share", _SHARE, lambda builder, values: _write_share(builder, values, arguments)))


def _kind(argument: Any) -> int:
    if isinstance(argument, types.Array):
        return int(argument.ndim)
    return REAL if isinstance(argument, types.Float) else NUMBER


def _words(kind: int) -> int:
    """Owners (two), entries, bytes of an entry, address, shape and strides of an array; or a number."""
    return 5 + 2 * kind if kind >= 0 else 1


@global_compiler_lock  # type: ignore[misc, untyped-decorator, unused-ignore]
def _compiled(name: str, form: Any, write: Callable[[Any, Any], None]) -> int:
    """The address of a function that `write` writes, given a builder and the function's arguments."""
    library = cpu_target.target_context.codegen().create_library(name)
    name = f"npseg.{name}.{len(_kept)}"
    module = library.create_ir_module(name)
    function = ir.Function(module, form, name=name)
    write(ir.IRBuilder(function.append_basic_block("entry")), function.args)
    library.add_ir_module(module)
    _kept.append(library)
    return int(library.get_pointer_to_function(name))


_SHARE = ir.FunctionType(_NOTHING, [_BYTES.as_pointer(), _WORDS, _WORDS, _WORDS])
"""What Numba's threads call for some shares: where each operand of the first one begins, how many shares, the operands'
steps, and what all shares have in common. Our only operand is the share's number: an address that begins at 0."""


def _write_share(builder: Any, values: Any, arguments: Sequence[Any]) -> None:
    """Call the function at the address in the first word, with the arguments in the others, for task after task."""
    context = cpu_target.target_context
    starts, _, _, words = values
    address, progress, shares = (
        builder.load(builder.gep(words, [_WORD(place)])) for place in (FUNCTION, PROGRESS, SHARES)
    )
    place, made = ARGUMENTS, []
    for argument in arguments:
        made.append(_argument(context, builder, argument, builder.gep(words, [_WORD(place)])))
        place += _words(_kind(argument))
    kinds = types.int64, *arguments
    function = builder.inttoptr(address, context.call_conv.get_function_type(types.none, kinds).as_pointer())
    own, progress = builder.ptrtoint(builder.load(starts), _WORD), builder.inttoptr(progress, _WORDS)
    with cgutils.for_range(builder, shares, intp=_WORD) as turn:  # the thread's own share is the first
        other = builder.urem(builder.add(own, turn.index), shares)
        share = builder.gep(progress, [builder.mul(other, _WORD(LINE))])
        end = builder.load(builder.gep(share, [_WORD(END)]))
        take, run, done = (builder.append_basic_block(name) for name in ("take", "run", "done"))
        builder.branch(take)
        builder.position_at_end(take)
        task = builder.atomic_rmw("add", builder.gep(share, [_WORD(NEXT)]), _WORD(1), "monotonic")
        builder.cbranch(builder.icmp_signed("<", task, end), run, done)
        builder.position_at_end(run)
        context.call_conv.call_function(builder, function, types.none, kinds, [task, *made])
        builder.branch(take)
        builder.position_at_end(done)
    builder.ret_void()


def _argument(context: Any, builder: Any, argument: Any, words: Any) -> Any:
    """An array, which Numba holds as these words, or a number."""
    form = context.get_value_type(argument)
    if isinstance(argument, types.Array):
        return builder.load(builder.bitcast(words, form.as_pointer()))
    if isinstance(argument, types.Float):
        real = builder.load(builder.bitcast(words, _DOUBLE.as_pointer()))
        return builder.fptrunc(real, form) if form != _DOUBLE else real
    whole = builder.load(words)
    return builder.trunc(whole, form) if form.width < _WORD.width else whole


_LAUNCH = ir.FunctionType(_NOTHING, [_WORDS, _WORD, _BYTES])


def _write_launch(builder: Any, values: Any) -> None:
    """(entry, tasks, arguments), of which the last is a tuple of Python's.

    What cannot be taken apart leaves Python's error, and nothing is run.
    """
    entry, tasks, arguments = values
    address, share, count = (builder.load(builder.gep(entry, [_WORD(k)])) for k in range(3))

    def call(result: Any, name: str, *given: Any) -> Any:
        form = ir.FunctionType(result, [value.type for value in given])
        return builder.call(cgutils.get_or_insert_function(builder.module, form, name), given)

    words = cgutils.alloca_once(builder, _WORD, MOST_WORDS)
    place = cgutils.alloca_once_value(builder, builder.gep(words, [_WORD(ARGUMENTS)]))
    with cgutils.for_range(builder, count, intp=_WORD) as loop:
        given, to = call(_BYTES, "PyTuple_GetItem", arguments, loop.index), builder.load(place)
        kind = builder.load(builder.gep(entry, [builder.add(loop.index, _WORD(3))]))
        with builder.if_else(builder.icmp_signed(">=", kind, _WORD(0))) as (array, number):
            with array:
                call(_INT, "numba_adapt_ndarray", given, builder.bitcast(to, _BYTES))
                builder.store(_WORD(0), builder.gep(to, [_WORD(1)]))  # no owner: the caller keeps the array
                length = builder.add(builder.add(kind, kind), _WORD(5))
                builder.store(builder.gep(to, [length]), place)
            with number:
                with builder.if_else(builder.icmp_signed("==", kind, _WORD(NUMBER))) as (whole, real):
                    with whole:
                        builder.store(call(_WORD, "PyLong_AsLongLong", given), to)
                    with real:
                        value = call(_DOUBLE, "PyFloat_AsDouble", given)
                        builder.store(builder.bitcast(value, _WORD), to)
                builder.store(builder.gep(to, [_WORD(1)]), place)
    with builder.if_then(cgutils.is_null(builder, call(_BYTES, "PyErr_Occurred"))):
        threads = call(_WORD, "get_num_threads")
        shares = builder.select(builder.icmp_signed("<", tasks, threads), tasks, threads)
        progress = _cut(builder, tasks, shares)
        for at, value in ((FUNCTION, address), (PROGRESS, progress), (SHARES, shares)):
            builder.store(value, builder.gep(words, [_WORD(at)]))
        start = cgutils.alloca_once_value(builder, ir.Constant(_BYTES, None))
        size, step = (cgutils.alloca_once_value(builder, value) for value in (shares, _WORD(1)))
        pointers = [builder.bitcast(value, _BYTES) for value in (start, size, step, words)]
        pointers.insert(0, builder.inttoptr(share, _BYTES))
        state = call(_BYTES, "PyEval_SaveThread")
        call(_NOTHING, "numba_parallel_for", *pointers, _WORD(0), _WORD(1), threads)
        call(_NOTHING, "PyEval_RestoreThread", state)
    builder.ret_void()


def _cut(builder: Any, tasks: Any, shares: Any) -> Any:
    """The address of all shares' progress: of tasks 0 ... tasks - 1, each has as many as any other, but for one."""
    progress = builder.alloca(_WORD, size=builder.mul(shares, _WORD(LINE)))
    progress.align = 8 * LINE
    with cgutils.for_range(builder, shares, intp=_WORD) as loop:
        share = builder.gep(progress, [builder.mul(loop.index, _WORD(LINE))])
        for word, number in ((NEXT, loop.index), (END, builder.add(loop.index, _WORD(1)))):
            task = builder.sdiv(builder.mul(number, tasks), shares)
            builder.store(task, builder.gep(share, [_WORD(word)]))
    return builder.ptrtoint(progress, _WORD)


@cache
def launcher() -> Callable[[int, int, tuple[Any, ...]], None]:
    """A function (entry, tasks, arguments) that runs tasks 0 ... tasks - 1 on all cores, each with these arguments.

    Numba's threads have to be started before.
    """
    address = _compiled("launch", _LAUNCH, _write_launch)
    return ctypes.PYFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.py_object)(address)
