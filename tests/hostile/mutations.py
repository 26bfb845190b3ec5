"""Files damaged at random, by accident or on purpose, and a guard that sees what reading one does."""

import io
import json
import sys
import zipfile
from contextlib import contextmanager

NUMBERS = [0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
"""Numbers at which readers of bytes go wrong."""

VALUES = [
    None,
    True,
    0,
    -1,
    1.5,
    10**6,
    10**30,
    -(10**30),
    float("nan"),
    float("inf"),
    "",
    "a",
    "../../etc/passwd",
    "\ud800",
    "nul\0",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    [1, 2, 3, 4, 5],
]
"""Values that a JSON file may have where something else is expected."""

LOUD = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
    "os.remove",
    "os.rename",
    "os.truncate",
    "os.mkdir",
    "os.chmod",
    "exec",
    "compile",
    "import",
)
"""What no reading of a file may do."""

_heard: list[str] | None = None


def _listen(event, arguments):
    if _heard is not None and (event in LOUD or (event == "open" and _writes(*arguments))):
        _heard.append(f"{event} {arguments}")


def _writes(path, mode, flags):
    return bool(flags & 3) if mode is None else any(letter in mode for letter in "wax+")


sys.addaudithook(_listen)  # for good, as all audit hooks


@contextmanager
def quiet():
    """Inside, nothing is run, written, removed or imported, as Python's own audit events tell."""
    global _heard
    _heard = []
    try:
        yield
        assert not _heard, f"reading did this: {_heard}"
    finally:
        _heard = None


def mutated(content, rng):
    """Bytes cut short, flipped, overwritten, left out, doubled, or with a number put among them."""
    content, kind = bytearray(content), rng.integers(7)
    at = int(rng.integers(len(content) + 1))
    length = int(rng.integers(1, 9))
    if kind == 0:
        return bytes(content[:at])
    if kind == 1:
        del content[at : at + length * int(rng.integers(1, 40))]
    elif kind == 2:
        content[at:at] = content[at : at + length * int(rng.integers(1, 40))]
    elif kind == 3:
        content[at : at + length] = rng.bytes(length)
    elif kind == 4:
        number, size = NUMBERS[rng.integers(len(NUMBERS))], int(rng.choice([1, 2, 4, 8]))
        content[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, ["little", "big"][rng.integers(2)])
    else:
        for _ in range(length):
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(content)


def members(content):
    """What a zip file holds, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(contents, compression=zipfile.ZIP_STORED):
    """A zip file of these members, whose checksums are right."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return made.getvalue()


def mutated_member(content, rng):
    """A zip file, one of whose members is damaged, with a checksum that says it is not."""
    contents = members(content)
    name = list(contents)[rng.integers(len(contents))]
    head = contents[name][:200]  # most that matters is here
    contents[name] = mutated(head, rng) + contents[name][200:]
    return zipped(contents, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED][rng.integers(2)])


def mutated_json(value, rng):
    """A JSON value, one place of which is another value, is missing, or is new."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    owner, key = places[rng.integers(len(places))]
    hostile = VALUES[rng.integers(len(VALUES))]
    kind = rng.integers(6)
    if kind == 0:
        del owner[key]
    elif kind == 1 and isinstance(owner, dict):
        owner[f"{key}x"] = owner.pop(key)
    elif kind == 2:
        owner[key] = [owner[key]] * int(rng.integers(1, 4))
    else:
        owner[key] = hostile
    return value


def _places(value):
    """(container, key) of everything inside a value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
