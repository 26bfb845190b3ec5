"""PyTorch's files from strangers: nothing in them is run, nothing large is allocated, and the refusal says why."""

import builtins
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest
from pytorch_forms import FORMS, legacy_form, number, program, storage, tensor, text, zip_form

from npseg import weights
from npseg.weights.pytorch.files import LONGEST_PICKLE

NUMBERS = np.arange(6, dtype="<f4")
STORED = {"0": NUMBERS.tobytes()}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory):
    """What reading imports at its first time, such as an encoding of names, is there before `exec` is watched."""
    path = tmp_path_factory.mktemp("first") / "net.pth"
    for make in FORMS.values():
        path.write_bytes(make(program(a=tensor()), STORED))
        weights.read(path)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a file's content while whatever could run a command, or code of a pickle's choice, fails the test."""

    def run(*arguments, **keywords):
        raise AssertionError(f"a pickle ran something: {arguments}")

    def read(content):
        (tmp_path / "net.pth").write_bytes(content)
        with monkeypatch.context() as guarded:
            for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen"), (pickle, "loads")):
                guarded.setattr(module, name, run)
            for name in ("eval", "exec", "compile"):
                guarded.setattr(builtins, name, run)
            return weights.read(tmp_path / "net.pth")

    return read


def refused(read, content, *messages):
    """The error names the file and every message, and little memory was taken on the way to it."""
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"net\.pth: ") as caught:
        read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LONGEST_PICKLE + 2**22
    for message in messages:
        assert message in str(caught.value)


def test_the_harmless_one_is_read(read, form):
    np.testing.assert_array_equal(read(form(program(a=tensor()), STORED))["a"], NUMBERS.reshape(2, 3))


class Calls:
    """A pickle that calls a function as it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("module", "name", "argument"),
    [
        ("os", "popen", "echo"),
        ("builtins", "exec", "1"),
        ("builtins", "getattr", "x"),
        ("importlib", "import_module", "os"),
    ],
)
def test_what_pythons_pickle_would_call_is_refused(read, form, protocol, module, name, argument):
    function = getattr(__import__(module), name)
    refused(read, form(pickle.dumps({"a": Calls(function, argument)}, protocol), STORED))


@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "posix system",
        "nt system",
        "subprocess Popen",
        "builtins eval",
        "builtins exec",
        "__builtin__ eval",
        "builtins getattr",
        "builtins __import__",
        "importlib import_module",
        "functools partial",
        "copyreg _reconstructor",
        "collections namedtuple",
        "collections OrderedDict.__init__",
        "numpy.core.multiarray _reconstruct",
        "torch load",
        "torch.nn.modules.linear Linear",
        "torch.storage _load_from_bytes",
        "torch._utils _rebuild_tensor_v2.__globals__",
        "torch os.system",
        "npseg.weights.pytorch.pickles load",
        "__torch__ Network",
    ],
)
@pytest.mark.parametrize("how", ["GLOBAL", "STACK_GLOBAL"])
def test_every_other_name_is_refused_by_that_name(read, form, name, how):
    module, attribute = name.split()
    looked_up = (
        f"c{module}\n{attribute}\n".encode()
        if how == "GLOBAL"
        else text(module) + text(attribute) + pickle.STACK_GLOBAL
    )
    called = looked_up + text("echo ran") + pickle.TUPLE1 + pickle.REDUCE
    refused(read, form(program(a=called), STORED), f"{module}.{attribute}", "refused", "nothing was run")


@pytest.mark.parametrize(
    ("code", "rest"),
    [
        ("INST", b"(ios\nsystem\n"),
        ("OBJ", b"(ctorch\nFloatStorage\no"),
        ("NEWOBJ", b"ctorch\nFloatStorage\n)\x81"),
        ("NEWOBJ_EX", b"ctorch\nFloatStorage\n)}\x92"),
        ("EXT1", b"\x82\x01"),
        ("EXT4", b"\x84\x01\x00\x00\x00"),
        ("PERSID", b"P0\n"),
        ("STRING", b"S'a'\n"),
        ("INT", b"I1\n"),
        ("LONG4", b"\x8b\xff\xff\xff\x7f"),
        ("BINBYTES8", b"\x8e" + b"\xff" * 7 + b"\x7f"),
        ("BYTEARRAY8", b"\x96" + b"\xff" * 7 + b"\x7f"),
        ("BINUNICODE8", b"\x8d" + b"\xff" * 7 + b"\x7f"),
        ("NEXT_BUFFER", b"\x97"),
        ("DUP", b"2"),
        ("ADDITEMS", b"\x8f(\x90"),
    ],
)
def test_instructions_that_no_state_dictionary_needs_are_refused(read, form, code, rest):
    name = "EMPTY_SET" if code == "ADDITEMS" else code
    refused(read, form(program(a=rest), STORED), f"instruction {name},")


FUNCTION = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n"
KIND = b"ctorch\nFloatStorage\n"


@pytest.mark.parametrize(
    "entry",
    [
        FUNCTION + b"}b",  # BUILD sets attributes of what is below: of a function,
        FUNCTION + b"N}\x86b",  # with the second half of a state, which sets slots,
        ORDERED + b"}b",
        KIND + b"}b",
        storage() + b"}b",  # and of things made here.
        tensor() + b"}b",
        tensor() + text("x") + b"Ns",  # SETITEM into a tensor
        tensor() + b"Na",  # APPEND to a tensor
        KIND + b")R",  # calls of what is no function
        text("os.system") + b")R",
        b"})R",
        tensor() + b")R",
        FUNCTION + b"]R",  # arguments that are none
        FUNCTION + b")R",
        ORDERED + FUNCTION + b"\x85R",
        ORDERED + b"]K\x01a\x85R",
        b"ctorch._utils\n_rebuild_parameter\n" + KIND + b"\x85R",
        b"ctorch._utils\n_rebuild_tensor_v2\n" + tensor() + b"\x85R",
        text("0") + b"Q",  # persistent ids that name no storage
        ORDERED + b"Q",
        b"(" + text("module") + KIND + b"tQ",
        storage(kind=FUNCTION),
        storage(kind=text("FloatStorage")),
        storage(count=-1),
        storage(count=b"\x88"),
        storage(count=text("6")),
        storage(rest=text("view")),
        b"}K\x01\x85Ns",  # a tuple as a key
        b"}(K\x01u",  # a key without a value
        b"h\x07",  # nothing was remembered there
        b"0",
        b"t",
        b"R",
        b"\x93",
    ],
)
def test_tricks_with_what_is_known_are_refused(read, form, entry):
    refused(
        read, form(program(a=entry), STORED), "pickle" if entry != storage(rest=text("view")) else "part of another"
    )


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((10**12,), (1,), 0),
        ((10**12,), (0,), 0),  # without reaching further than the first number
        ((2**62, 2**62), (2**62, 1), 0),
        ((10**300,), (1,), 0),
        ((2, 3), (3, 1), 1),
        ((2, 3), (4, 1), 0),
        ((6,), (2,), 0),
        ((), (), 6),
        ((2, 3), (3, 1), -1),
        ((2, 3), (-3, 1), 3),
        ((-2, -3), (3, 1), 0),
        ((2, 3), (3,), 0),
        ((b"\x88",), (1,), 0),
        ((b"G" + struct.pack(">d", 2.0),), (1,), 0),
        ((1,) * 65, (1,) * 65, 0),
    ],
)
def test_a_window_outside_its_storage_is_refused(read, form, shape, strides, offset):
    refused(read, form(program(a=tensor(shape, strides, offset)), STORED))


@pytest.mark.parametrize("count", [5, 7, 2**40, 2**62, 2**63 - 1, 2**63, 10**300])
def test_a_storage_of_another_size_than_the_file_has_is_refused(read, form, count):
    entry = tensor((1,), (1,), stored=storage(count=count))
    refused(read, form(program(a=entry), STORED))


def test_a_legacy_file_that_only_claims_to_be_large_is_refused(read):
    content = legacy_form(program(a=tensor((1,), (1,), stored=storage(count=2**40))), STORED)
    claimed = content.replace(struct.pack("<q", 6) + STORED["0"], struct.pack("<q", 2**40) + STORED["0"])
    assert claimed != content
    refused(read, claimed, "cut short")


def test_a_zip_file_that_only_claims_to_be_large_is_refused(read):
    entry = tensor((1,), (1,), stored=storage(count=2**28))
    content = zip_form(program(a=entry), STORED)
    directory = content.rindex(b"PK\x01\x02")
    for position in (directory + 20, directory + 24):
        content = content[:position] + struct.pack("<I", 2**30) + content[position + 4 :]
    refused(read, content)


def test_a_zip_bomb_is_refused(read):
    entry = tensor((1,), (1,), stored=storage(count=2**22))
    bomb = zip_form(program(a=entry), {"0": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    refused(read, bomb, "compressed")


def test_storages_that_overlap_to_be_more_than_the_file_are_refused(read):
    """Storage 0 holds, as its numbers, the header and the numbers of storage 1: both are whole members."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("net/data/1", bytes(2000))
        nested = archive.infolist()[0]
    numbers = inner.getvalue()[: inner.getvalue().index(b"PK\x01\x02")]
    entries = {
        f"a{key}": tensor((1,), (1,), stored=storage(count=count, key=str(key)))
        for key, count in enumerate((len(numbers) // 4, 500))
    }
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("net/data.pkl", program(**entries))
        nested.header_offset = outer.tell() + 30 + len("net/data/0")
        archive.writestr("net/data/0", numbers)
        archive.filelist.append(nested)
    refused(read, outer.getvalue(), "its storages claim 4,040 bytes")


@pytest.mark.parametrize("ending", ["npz", "pth"])
def test_a_member_that_begins_outside_the_file_is_named(tmp_path, ending):
    """The directory says it lies 1,000 bytes further on, so the members are taken to lie 1,000 bytes further ahead."""
    path = tmp_path / f"net.{ending}"
    weights.write(path, {"a": np.zeros(3)})
    content = path.read_bytes()
    place = content.rindex(b"PK\x05\x06") + 16
    moved = struct.unpack_from("<I", content, place)[0] + 1000
    path.write_bytes(content[:place] + struct.pack("<I", moved) + content[place + 4 :])
    with pytest.raises(ValueError, match=rf"net\.{ending}: .*begins at byte -1,000"):
        weights.read(path)


def test_one_list_cannot_make_many_dictionaries(read, form):
    """A Python 2 ordered dictionary comes from a list of pairs; here a thousand come from one list."""
    pairs = b"](" + b"".join(text(f"name{index}") + b"N\x86" for index in range(2000)) + b"e" + b"q\x00"
    many = b"](" + ORDERED + pairs + b"\x85R" + (ORDERED + b"h\x00\x85R") * 1000 + b"e"
    refused(read, form(program(a=many), STORED), "names a list")


@pytest.mark.parametrize("length", [2**24, 2**32 - 1])
def test_text_that_only_claims_to_be_long_is_refused(read, form, length):
    refused(read, form(program(a=pickle.BINUNICODE + struct.pack("<I", length)), STORED))


def test_a_large_memory_place_costs_nothing(read, form):
    entry = tensor() + pickle.LONG_BINPUT + b"\xff" * 4
    assert list(read(form(program(a=entry), STORED))) == ["a"]


@pytest.mark.parametrize("nested", [b"]" * 200_000 + b"a" * 199_999, b")" + b"\x85" * 200_000])
def test_deep_nesting_is_refused_without_recursion(read, form, nested):
    (message,) = {"list": ["names a list"], "tuple": ["names a tuple"]}["list" if nested[:1] == b"]" else "tuple"]
    refused(read, form(program(a=nested), STORED), message)


def test_a_name_without_end_is_refused(read, form):
    refused(read, form(b"\x80\x02c" + b"a" * 100_000, STORED), "too long")


@pytest.mark.parametrize(
    ("value", "message"), [(3, "holds a int"), ([1], "holds a list"), ({"epoch": 3}, "'epoch' names a int")]
)
def test_other_things_than_state_dictionaries_are_named(read, form, value, message):
    refused(read, form(pickle.dumps(value, 2), {}), message)


@pytest.mark.parametrize("content", [b"", b"P", b"hello", b"\x80\x02K\x01.", b"\x80", b"PK\x03\x04", b"\x93NUMPY"])
def test_other_files_are_named(read, content):
    refused(read, content)


def test_other_zip_files_are_named(read):
    content = io.BytesIO()
    np.savez(content, a=np.zeros(3))
    refused(read, content.getvalue(), "0 members FOLDER/data.pkl")


def test_zip_files_that_lack_something_are_named(read):
    entry = program(a=tensor())
    refused(read, zip_form(entry, {}), "lacks the storage")
    refused(read, zip_form(entry, STORED, order=b"middle"), "byte order")
    content = io.BytesIO(zip_form(entry, STORED))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("other/data.pkl", entry)
    refused(read, content.getvalue(), "2 members")


def test_legacy_files_that_make_no_sense_are_named(read):
    entry = program(a=tensor())
    refused(read, legacy_form(entry, STORED, keys=["1"]), "storages are not the ones")
    refused(read, legacy_form(entry, STORED, keys=[[]]), "storages are not the ones")
    refused(read, legacy_form(entry, STORED, itemsize=2), "has 12 numbers")
    refused(read, legacy_form(entry, STORED).replace(b"\xe9\x03", b"\xea\x03", 1), "protocol is int 1002")
    refused(read, legacy_form(entry, STORED, little=None), "byte order")


def test_one_storage_described_in_two_ways_is_refused(read, form):
    entries = program(a=tensor(), b=tensor(stored=storage(kind=b"ctorch\nIntStorage\n")))
    refused(read, form(entries, STORED), "in two ways")


def test_truncated_at_any_byte(read, form):
    content = form(program(a=tensor()), STORED)
    for kept in range(len(content)):
        refused(read, content[:kept])


def test_any_byte_flipped_is_refused_or_changes_numbers_alone(read, form, tmp_path):
    """The zip form has checksums; the legacy form has none, so that flipped numbers and names pass there."""
    content = form(program(a=tensor()), STORED)
    refusals = 0
    for position in range(len(content)):
        for bits in (0x01, 0x55, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= bits
            try:
                arrays = read(bytes(damaged))
            except ValueError as error:
                assert str(tmp_path) in str(error)  # noqa: PT017 - most positions raise, not all
                refusals += 1
            else:
                assert sum(array.nbytes for array in arrays.values()) <= len(content)
                if form is zip_form:
                    np.testing.assert_array_equal(arrays["a"], NUMBERS.reshape(2, 3))
    assert refusals > len(content)


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_of_known_instructions_do_nothing_but_fail(read, form, seed):
    """Instructions, names and numbers in any order end in an error of ours, never in another one."""
    pieces = [KIND, FUNCTION, ORDERED, storage(), tensor(), text("a"), number(3), b"K\x01", b"N", b"\x88", b"\x89"]
    pieces += [bytes([code]) for code in b"()]}tuesab0RQ\x85\x86\x87\x94\x93"] + [b"h\x00", b"q\x00", b"j" + b"\0" * 4]
    rng = np.random.default_rng(seed)
    for _ in range(50):
        chosen = b"".join(pieces[index] for index in rng.integers(0, len(pieces), 30))
        try:
            arrays = read(form(b"\x80\x02" + chosen + b".", STORED))
        except ValueError:
            continue
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
