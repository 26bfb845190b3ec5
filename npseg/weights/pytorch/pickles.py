"""A machine for the pickles that hold PyTorch's state dictionaries, which can do nothing else.

A pickle is a program for a stack machine: instructions push numbers and text, gather them into tuples and
dictionaries, look up Python objects by name (GLOBAL) and call them (REDUCE). The last two make Python's own `pickle`
unsafe: the name may be `os.system`. This machine imports nothing. A name that it was not given is refused; what it was
given are stand-ins of npseg's own; BUILD, which sets any object's attributes, is taken as a note on a dictionary and
dropped.

Source: Python's `pickletools`, which describes every instruction; `torch/_weights_only_unpickler.py` has the same idea.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

LONGEST_NAME = 256
INSTRUCTIONS = {operation.code: operation.name for operation in pickletools.opcodes}


@dataclass(frozen=True)
class Function:
    """What a pickle may call: `apply` gets the arguments as they were found, in one tuple, and must check them."""

    apply: Callable[[tuple[Any, ...]], Any]


def load(
    stream: BinaryIO, known: Mapping[str, Any], persistent: Callable[[Any], Any] | None = None, *, limit: int
) -> Any:
    """Run one pickle.

    Args:
        stream: at the pickle's first byte; afterwards behind its last.
        known: what GLOBAL may name, "module name" to stand-in; a `Function` may be called.
        persistent: makes something of a persistent id, PyTorch's way to name a storage; None refuses them.
        limit: how many bytes the pickle may be long.

    Returns:
        Numbers, text, tuples, lists, plain dictionaries, stand-ins, and what functions and `persistent` returned.

    Raises:
        ValueError: an unknown name or instruction, or a program that is cut short or makes no sense.
    """
    return _Machine(stream, known, persistent, limit).run()


class _Mark:
    """What MARK pushes: the lower end of the items that the next tuple, list or dictionary takes."""


class _Machine:
    """The stack, the memory of what was made before, and the bytes to come."""

    def __init__(
        self, stream: BinaryIO, known: Mapping[str, Any], persistent: Callable[[Any], Any] | None, limit: int
    ) -> None:
        self.stream, self.known, self.persistent, self.left = stream, known, persistent, limit
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def run(self) -> Any:
        """Instruction by instruction, until STOP."""
        while (code := self.take(1)) != pickle.STOP:
            if code in PUSHES:
                self.stack.append(PUSHES[code](self))
            elif code in ACTIONS:
                ACTIONS[code](self)
            else:
                name = INSTRUCTIONS.get(code.decode("latin-1"), repr(code))
                raise ValueError(f"its pickle has the instruction {name}, which no state dictionary needs")
        return self.pop()

    # ------------------------------------------------------------------------------------------ bytes to come

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self.left -= count
        if self.left < 0:
            raise ValueError("its pickle is longer than a state dictionary's can be")
        content = self.stream.read(count)
        if len(content) != count:
            raise ValueError("its pickle is cut short")
        return content

    def number(self, code: str) -> Any:
        """The next number, as `struct` names its form."""
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self, length_code: str) -> str:
        """A length and as many bytes of UTF-8."""
        return _decoded(self.take(self.number(length_code)))

    def line(self) -> str:
        """Text up to the end of the line."""
        content = self.stream.readline(min(LONGEST_NAME, self.left))
        self.left -= len(content)
        if not content.endswith(b"\n"):
            raise ValueError("its pickle is cut short, or has a name that is too long")
        return _decoded(content[:-1])

    # ------------------------------------------------------------------------------------------ the stack

    def pop(self) -> Any:
        """The top of the stack."""
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise ValueError("its pickle is damaged: an instruction finds nothing to work on")
        return self.stack.pop()

    def pop_tuple(self, count: int) -> tuple[Any, ...]:
        """The topmost items, the top last."""
        return tuple([self.pop() for _ in range(count)][::-1])

    def pop_to_mark(self) -> tuple[Any, ...]:
        """All items above the mark, and the mark."""
        items = []
        while self.stack and not isinstance(self.stack[-1], _Mark):
            items.append(self.stack.pop())
        if not self.stack:
            raise ValueError("its pickle is damaged: it lacks a mark")
        self.stack.pop()
        return tuple(items[::-1])

    def top(self, kind: type) -> Any:
        """The top, left where it is, which must be a list or a dictionary made here."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"its pickle is damaged, or wants to change something else than a {kind.__name__}")
        return self.stack[-1]

    # ------------------------------------------------------------------------------------------ what instructions do

    def find(self, module: Any, name: Any) -> Any:
        """What a name stands for, if it is one of the few."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("its pickle is damaged: a name is no text")
        if f"{module} {name}" not in self.known:
            raise ValueError(
                f"its pickle wants {module[:LONGEST_NAME]}.{name[:LONGEST_NAME]}, which no state dictionary of tensors "
                "needs; it was refused and nothing was run"
            )
        return self.known[f"{module} {name}"]

    def call(self) -> Any:
        """A function of the few, on a tuple of arguments."""
        function, arguments = self.pop_tuple(2)
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise ValueError(f"its pickle wants to call a {type(function).__name__}, which was refused")
        return function.apply(arguments)

    def resolve(self) -> Any:
        """What a persistent id stands for."""
        identity = self.pop()
        if self.persistent is None:
            raise ValueError("its pickle is damaged: it has a persistent id where none can be")
        return self.persistent(identity)

    def remember(self, place: int) -> None:
        """Keep the top for later."""
        if not self.stack:
            raise ValueError("its pickle is damaged: there is nothing to remember")
        self.memory[place] = self.stack[-1]

    def recall(self, place: int) -> Any:
        """What was kept."""
        if place not in self.memory:
            raise ValueError("its pickle is damaged: it recalls what it never remembered")
        return self.memory[place]

    def append(self, items: tuple[Any, ...]) -> None:
        """Put items at the end of the list below them."""
        self.top(list).extend(items)

    def set_items(self, items: tuple[Any, ...]) -> None:
        """Put keys and values, in turn, into the dictionary below them."""
        if len(items) % 2:
            raise ValueError("its pickle is damaged: a key has no value")
        self.top(dict).update(dictionary(zip(items[::2], items[1::2], strict=True)))

    def build(self) -> None:
        """Drop the notes on a dictionary (PyTorch's `_metadata`); nothing else can be changed this way."""
        self.pop()
        self.top(dict)


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError("its pickle is damaged: it has text that is not UTF-8") from error


def dictionary(pairs: Iterable[Sequence[Any]]) -> dict[Any, Any]:
    """Keys and values; only text and integers are keys, since hashing a tuple may go arbitrarily deep."""
    made = {}
    for key, value in pairs:
        if not isinstance(key, (str, int)):
            raise ValueError(f"its pickle has a {type(key).__name__} as a key, where text is needed")
        made[key] = value
    return made


PUSHES: dict[bytes, Callable[[_Machine], Any]] = {
    pickle.NONE: lambda machine: None,
    pickle.NEWTRUE: lambda machine: True,
    pickle.NEWFALSE: lambda machine: False,
    pickle.BININT: lambda machine: machine.number("i"),
    pickle.BININT1: lambda machine: machine.number("B"),
    pickle.BININT2: lambda machine: machine.number("H"),
    pickle.LONG1: lambda machine: int.from_bytes(machine.take(machine.number("B")), "little", signed=True),
    pickle.BINFLOAT: lambda machine: struct.unpack(">d", machine.take(8))[0],
    pickle.SHORT_BINSTRING: lambda machine: machine.text("B"),
    pickle.BINSTRING: lambda machine: machine.text("I"),
    pickle.SHORT_BINUNICODE: lambda machine: machine.text("B"),
    pickle.BINUNICODE: lambda machine: machine.text("I"),
    pickle.EMPTY_TUPLE: lambda machine: (),
    pickle.EMPTY_LIST: lambda machine: [],
    pickle.EMPTY_DICT: lambda machine: {},
    pickle.MARK: lambda machine: _Mark(),
    pickle.TUPLE: lambda machine: machine.pop_to_mark(),
    pickle.TUPLE1: lambda machine: machine.pop_tuple(1),
    pickle.TUPLE2: lambda machine: machine.pop_tuple(2),
    pickle.TUPLE3: lambda machine: machine.pop_tuple(3),
    pickle.BINGET: lambda machine: machine.recall(machine.number("B")),
    pickle.LONG_BINGET: lambda machine: machine.recall(machine.number("I")),
    pickle.GLOBAL: lambda machine: machine.find(machine.line(), machine.line()),
    pickle.STACK_GLOBAL: lambda machine: machine.find(*machine.pop_tuple(2)),
    pickle.REDUCE: lambda machine: machine.call(),
    pickle.BINPERSID: lambda machine: machine.resolve(),
}
"""Instructions that push one thing, some after having taken others."""

ACTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    pickle.PROTO: lambda machine: machine.take(1),
    pickle.FRAME: lambda machine: machine.take(8),
    pickle.BINPUT: lambda machine: machine.remember(machine.number("B")),
    pickle.LONG_BINPUT: lambda machine: machine.remember(machine.number("I")),
    pickle.MEMOIZE: lambda machine: machine.remember(len(machine.memory)),
    pickle.APPEND: lambda machine: machine.append(machine.pop_tuple(1)),
    pickle.APPENDS: lambda machine: machine.append(machine.pop_to_mark()),
    pickle.SETITEM: lambda machine: machine.set_items(machine.pop_tuple(2)),
    pickle.SETITEMS: lambda machine: machine.set_items(machine.pop_to_mark()),
    pickle.BUILD: lambda machine: machine.build(),
}
"""Instructions that change what is there already, or nothing."""
