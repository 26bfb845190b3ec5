"""PyTorch's two forms around any pickle and any storages, without PyTorch."""

import io
import pickle
import struct
import zipfile

from npseg.weights.pytorch.files import MAGIC_NUMBER, PROTOCOL


def zip_form(program, storages, *, order=b"little", compression=zipfile.ZIP_STORED):
    """storages: bytes by key."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("net/data.pkl", program)
        if order is not None:
            archive.writestr("net/byteorder", order)
        for key, numbers in storages.items():
            archive.writestr(f"net/data/{key}", numbers)
    return content.getvalue()


def legacy_form(program, storages, *, itemsize=4, little=True, keys=None):
    """storages: bytes by key, each of numbers of this size."""
    writer = {"protocol_version": PROTOCOL, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(part, 2) for part in (MAGIC_NUMBER, PROTOCOL, writer)]
    parts += [program, pickle.dumps(sorted(storages) if keys is None else keys, 2)]
    for key in sorted(storages):
        parts += [struct.pack("<q" if little else ">q", len(storages[key]) // itemsize), storages[key]]
    return b"".join(parts)


FORMS = {"zip": zip_form, "legacy": legacy_form}
EMPTY_ORDERED = b"ccollections\nOrderedDict\n)R"


def number(value):
    return pickle.LONG1 + bytes([len(pickle.encode_long(value))]) + pickle.encode_long(value)


def text(value):
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def sequence(*items):
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def storage(count=6, key="0", kind=b"ctorch\nFloatStorage\n", rest=b""):
    count = count if isinstance(count, bytes) else number(count)
    return sequence(text("storage"), kind, text(key), text("cpu"), count, rest) + pickle.BINPERSID


def tensor(shape=(2, 3), strides=(3, 1), offset=0, stored=None):
    """The call that makes a tensor of a storage of six numbers; the sizes are integers or pieces of a program."""
    parts = [[part if isinstance(part, bytes) else number(part) for part in parts] for parts in (shape, strides)]
    shape, strides = (sequence(*part) for part in parts)
    start = offset if isinstance(offset, bytes) else number(offset)
    arguments = sequence(stored or storage(), start, shape, strides, pickle.NEWFALSE, EMPTY_ORDERED)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + pickle.REDUCE


def program(**entries):
    """A state dictionary, each entry a piece of a program."""
    items = b"".join(text(name) + entry for name, entry in entries.items())
    return b"\x80\x02" + EMPTY_ORDERED + pickle.MARK + items + pickle.SETITEMS + pickle.STOP
