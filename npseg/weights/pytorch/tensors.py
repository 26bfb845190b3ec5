"""Tensors as PyTorch's pickles describe them: a window (offset, shape, strides) into a storage, a run of numbers.

The pickle only names storages; their numbers lie elsewhere in the file. So every size is known, and checked against the
file's, before the first number is read. Source: `torch/_utils.py` (`_rebuild_tensor_v2`) and `torch/serialization.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.files import read_into
from npseg.weights.numbers import widened
from npseg.weights.pytorch.pickles import Function, dictionary

ByteOrder = Literal["<", ">"]
MOST_DIMENSIONS = 64
"""NumPy's limit."""

STORAGES: dict[str, np.dtype[Any]] = {
    "HalfStorage": np.dtype(np.float16),
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "CharStorage": np.dtype(np.int8),
    "ShortStorage": np.dtype(np.int16),
    "IntStorage": np.dtype(np.int32),
    "LongStorage": np.dtype(np.int64),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
BFLOAT16 = "BFloat16Storage"


@dataclass(frozen=True)
class StorageType:
    """The kind of numbers in a storage."""

    name: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """As they lie in the file; bfloat16 as its 16 bits."""
        bits: np.dtype[Any] = np.dtype(np.uint16)
        return STORAGES.get(self.name, bits)


@dataclass(frozen=True)
class Storage:
    """A run of `count` numbers under a key."""

    kind: StorageType
    key: str
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.count * self.kind.dtype.itemsize

    def read(self, stream: BinaryIO, byte_order: ByteOrder) -> Array:
        """The numbers from the stream, which must have been found to hold as many bytes."""
        numbers = np.empty(self.count, self.kind.dtype.newbyteorder(byte_order))
        if not read_into(stream, numbers):
            raise ValueError(f"storage {self.key!r} is cut short")
        numbers = np.asarray(numbers, self.kind.dtype)
        return widened(numbers) if self.kind.name == BFLOAT16 else numbers


@dataclass(frozen=True)
class Tensor:
    """A window into a storage; strides in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, numbers: Array) -> Array:
        """The tensor as a view of its storage's numbers; an array of its own where it has none."""
        if 0 in self.shape:
            return np.empty(self.shape, numbers.dtype)
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.ndarray(self.shape, numbers.dtype, numbers.data, self.offset * numbers.itemsize, strides)


class Storages(dict[str, Storage]):
    """Every storage that a pickle names, by its key."""

    def named(self, identity: Any) -> Storage:
        """What a persistent id names: ("storage", type, key, device, count), to which the legacy form adds None."""
        match identity:
            case ("storage", StorageType() as kind, str(key), str(), count, *rest) if _are_sizes([count]):
                if rest not in ([], [None]):
                    raise ValueError(f"storage {checks.describe(key)} is a part of another, which is not supported")
                storage = self.setdefault(key, Storage(kind, key, count))
                if storage == Storage(kind, key, count):
                    return storage
                raise ValueError(f"storage {checks.describe(key)} is described in two ways")
        raise ValueError("its pickle is damaged: it names a storage in an unknown way")


def _rebuild_tensor(arguments: tuple[Any, ...]) -> Tensor:
    """(storage, offset, shape, strides, and what gradients need, which is left aside)."""
    match arguments:
        case (Storage() as storage, offset, tuple(shape), tuple(strides), *_):
            if len(shape) == len(strides) <= MOST_DIMENSIONS and _are_sizes([offset, *shape, *strides]):
                _check_inside(storage, offset, shape, strides)
                return Tensor(storage, offset, shape, strides)
    raise ValueError("its pickle is damaged: it describes a tensor in an unknown way")


def _are_sizes(values: list[Any]) -> bool:
    return all(type(value) is int and 0 <= value <= checks.LARGEST_INTEGER for value in values)


def _check_inside(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """The window's last number must lie in the storage, and no more numbers than there are may come from it."""
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if 0 not in shape and (last >= storage.count or math.prod(shape) > storage.count):
        raise ValueError(
            f"a tensor with shape {shape}, strides {strides} and offset {offset} does not fit its storage of "
            f"{storage.count} numbers"
        )


def _rebuild_parameter(arguments: tuple[Any, ...]) -> Tensor:
    """(tensor, whether it learns, hooks): the tensor is all that counts."""
    match arguments:
        case (Tensor() as tensor, *_):
            return tensor
    raise ValueError("its pickle is damaged: it describes a parameter in an unknown way")


def _ordered_dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Empty, to be filled; or, as Python 2 wrote it, from a list of pairs.

    The list is emptied, so that a short program cannot make many large dictionaries of one list.
    """
    match arguments:
        case ():
            return {}
        case (list() as pairs,) if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            made = dictionary(pairs)
            pairs.clear()
            return made
    raise ValueError("its pickle is damaged: it makes an ordered dictionary in an unknown way")


KNOWN: dict[str, Any] = {
    "collections OrderedDict": Function(_ordered_dictionary),
    "torch._utils _rebuild_tensor": Function(_rebuild_tensor),
    "torch._utils _rebuild_tensor_v2": Function(_rebuild_tensor),
    "torch._utils _rebuild_parameter": Function(_rebuild_parameter),
    **{f"{module} {name}": StorageType(name) for module in ("torch", "torch.cuda") for name in (*STORAGES, BFLOAT16)},
}
"""All that a state dictionary may name."""


def state_dictionary(value: Any) -> dict[str, Tensor]:
    """The tensors by name, from a state dictionary or from a checkpoint that has one as "state_dict".

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, dict) and isinstance(value.get("state_dict"), dict):
        value = value["state_dict"]
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not a state dictionary")
    for name, item in value.items():
        if not isinstance(name, str) or not isinstance(item, Tensor):
            raise ValueError(f"it holds no state dictionary: {checks.describe(name)} names a {type(item).__name__}")
    return value


def views(tensors: Mapping[str, Tensor], numbers: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors as arrays, from their storages' numbers by key."""
    return {name: tensor.view(numbers[tensor.storage.key]) for name, tensor in tensors.items()}


def keys_of(tensors: Mapping[str, Tensor]) -> set[str]:
    """The keys of the storages that the tensors lie in: an optimizer's, in a checkpoint, are not among them."""
    return {tensor.storage.key for tensor in tensors.values()}
