"""Damaged files of every kind, hundreds (slow: a thousand) of each: read, or refused by a ValueError that says why."""

import io
import json
import struct
import sys
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from mutations import members, mutated, mutated_json, mutated_member, quiet, zipped
from PIL import Image

from npseg import data, models, weights
from npseg.data import ImageFolder, Shapes
from npseg.data.pictures import PictureError
from npseg.models import fcn, vgg
from npseg.training import checkpoints, log
from npseg.training.checkpoints import TrainingState
from npseg.training.settings import Settings
from npseg.training.task import Task

sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))
from pytorch_forms import legacy_form, program, tensor

MUTATIONS = [pytest.param(200, id="some"), pytest.param(1000, id="many", marks=pytest.mark.slow)]
ARRAYS = {
    "conv.weight": np.arange(12, dtype=np.float32).reshape(3, 2, 2, 1),
    "conv.bias": np.zeros(3, np.float64),
    "count": np.array(7),
}


def generator(*key):
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def checkpoint(path):
    """A run in the middle of its way, of a network as small as an FCN can be."""
    settings = Settings(steps=9, class_weights=(1.0,) * 6, scale=(0.5, 1.5), crop=(16, 17), engine="im2col")
    model, optimiser = fcn(vgg((1,) * 5, (1,) * 5, fc6=1), 6, 32), settings.make_optimiser()
    gradients = {name: np.ones_like(array) for name, array in model.parameters.items() if name in model.trainable}
    optimiser.update(model.parameters, gradients, 0.01)
    splits = (Shapes(2, split=split, image_size=(16, 16)) for split in ("train", "val"))
    state = TrainingState(model, optimiser, settings, Task.of(*splits), 2, 1, 1, 0.5, {"network": {"stride": 32}})
    checkpoints.save(state, path)


def image_folder(root):
    """Two images with their label maps."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 9]], np.uint8)
    for stem in ("a", "b"):
        data.write_image(root / "images" / f"{stem}.png", rng.integers(0, 256, (6, 5, 3)).astype(np.uint8))
        data.write_label_map(root / "labels" / f"{stem}.png", rng.integers(0, 3, (6, 5)), colors)
    (root / "classes.csv").write_text("id,name,r,g,b\n0,sky,0,0,255\n1,road,9,9,9\n2,car,255,0,0\n255,void,1,1,1\n")
    (root / "train.txt").write_text("a\nb\n")


def records(path):
    with log.Log(path) as opened:
        for step in range(1, 4):
            opened.append({"step": step, "loss": 0.5, "learning_rate": 1e-3, "val": {"mean_iu": None}})


WRITERS = {
    "checkpoint.npz": checkpoint,
    "model.npz": lambda path: models.save(fcn(vgg((1,) * 5, (1,) * 5, fc6=1), 2, 32), path, {"word": np.array("ä")}),
    "arrays.npz": lambda path: weights.write(path, ARRAYS),
    "arrays.safetensors": lambda path: weights.write(path, ARRAYS),
    "arrays.pth": lambda path: weights.write(path, ARRAYS),
    "legacy.pth": lambda path: path.write_bytes(legacy_form(program(a=tensor(), b=tensor()), {"0": bytes(24)})),
    "image.png": lambda path: data.write_image(path, np.arange(90, dtype=np.uint8).reshape(6, 5, 3)),
    "log.jsonl": records,
}
READERS = {
    "checkpoint.npz": checkpoints.load,
    "model.npz": models.load,
    "arrays.npz": weights.read,
    "arrays.safetensors": weights.read,
    "arrays.pth": weights.read,
    "legacy.pth": weights.read,
    "image.png": data.read_image,
    "log.jsonl": log.read,
}


def read_or_refused(read, path, content):
    """Whether hostile content is read; otherwise it must be refused as it should."""
    path.write_bytes(content)
    with quiet():
        try:
            read(path)
        except (ValueError, OSError) as error:
            assert type(error) in (ValueError, PictureError), f"{type(error).__name__}: {error}"  # noqa: PT017
            found, reason = str(error).split(path.name, 1)
            assert found == f"{path.parent}/"
            assert len(reason) > 5, f"no reason: {error}"  # noqa: PT017
            return False
    return True


def assert_each(read, path, contents):
    """Some are refused; whatever happens, the file and its folder stay as they are."""
    refused = 0
    for content in contents:
        before = sorted(item.name for item in path.parent.iterdir())
        refused += not read_or_refused(read, path, content)
        assert path.read_bytes() == content
        assert sorted(item.name for item in path.parent.iterdir()) == before
    return refused


@pytest.fixture
def hostile(tmp_path):
    """Writes a file of a kind and returns its reader, its path and its bytes."""

    def prepare(name):
        if name == "arrays.safetensors":
            pytest.importorskip("safetensors")
        path = tmp_path / name
        WRITERS[name](path)
        READERS[name](path)  # imports what it needs
        Image.init()  # imports all that Pillow may need
        return READERS[name], path, path.read_bytes()

    return prepare


@pytest.mark.parametrize("number", MUTATIONS)
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_may_be_wrong(hostile, name, number):
    read, path, content = hostile(name)
    rng = generator(name, number)
    refused = assert_each(read, path, (mutated(content, rng) for _ in range(number)))
    assert refused > number / 10


@pytest.mark.parametrize("number", MUTATIONS)
@pytest.mark.parametrize("name", ["checkpoint.npz", "model.npz", "arrays.npz", "arrays.pth"])
def test_members_of_zip_files_may_be_wrong_behind_right_checksums(hostile, name, number):
    read, path, content = hostile(name)
    rng = generator(name, "members", number)
    refused = assert_each(read, path, (mutated_member(content, rng) for _ in range(number)))
    assert refused > number / 10


def with_header(content, header):
    """The same model file with another description."""
    stored = io.BytesIO()
    np.save(stored, np.array(json.dumps(header)))
    return zipped({**members(content), "header.npy": stored.getvalue()})


@pytest.mark.parametrize("number", MUTATIONS)
@pytest.mark.parametrize("name", ["checkpoint.npz", "model.npz"])
def test_descriptions_and_settings_may_say_anything(hostile, name, number):
    read, path, content = hostile(name)
    with np.load(path) as archive:
        header = json.loads(str(archive["header"]))
    rng = generator(name, "json", number)
    contents = (with_header(content, mutated_json(header, rng)) for _ in range(number))
    assert assert_each(read, path, contents) > number / 2


@pytest.fixture
def folder(tmp_path):
    """A small data set of one's own, and the stray file beside it that nobody may read."""
    root = tmp_path / "pictures"
    image_folder(root)
    list(ImageFolder(root))
    Image.init()
    return root


@pytest.mark.parametrize("number", MUTATIONS)
@pytest.mark.parametrize("name", ["classes.csv", "train.txt", "images/a.png", "labels/a.png"])
def test_any_file_of_a_data_set_may_be_wrong(folder, name, number):
    """A list of stems may also name what is not there, which is a FileNotFoundError that names both."""
    path, rng = folder / name, generator(name, number)
    content, refused = path.read_bytes(), 0
    for _ in range(number):
        path.write_bytes(mutated(content, rng))
        with quiet():
            try:
                list(ImageFolder(folder))
            except (ValueError, OSError) as error:
                kinds = (ValueError, PictureError, FileNotFoundError)
                assert type(error) in kinds, f"{type(error).__name__}: {error}"  # noqa: PT017
                assert str(path.parent) in str(error)  # noqa: PT017
                refused += 1
    assert refused > number / 4


# ------------------------------------------------------------------------------------------- files made to do harm


def npy(descr="'<f4'", order="False", shape="(3,)", numbers=b"\0" * 12, version=b"\1\0"):
    """A .npy file with any header."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + len(header).to_bytes(2 if version == b"\1\0" else 4, "little") + header + numbers


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(shape="(1000000000000,)"), r"is cut short: \(1000000000000,\) of float32 are 4,000,000,000,000 bytes"),
        (npy(shape="(3000000000, 3000000000, 9)"), "is cut short"),
        (npy(shape="(2,)"), "goes on after its array"),
        (npy(descr="'|O'"), "does not hold a plain array"),
        (npy(descr="[('a', '<f4')]"), "does not hold a plain array"),
        (npy(descr="'<U0'", shape="(9999999999,)", numbers=b""), "does not hold a plain array"),
        (npy(descr="'<f3'"), "damaged"),
        (npy(shape="(" + "(" * 5000), "does not hold a plain array"),
        (npy(shape="__import__('os').abort()"), "does not hold a plain array"),
        (npy(shape="(-3,)"), "does not hold a plain array"),
        (npy(shape="(" + "1, " * 70 + ")", numbers=b"\0" * 4), "damaged"),
        (npy(version=b"\7\0"), "no .npy file of a known version"),
        (b"", "no .npy file"),
        (npy()[:9], "does not hold a plain array"),
    ],
)
def test_arrays_that_claim_what_they_are_not_are_refused(tmp_path, content, message):
    path = tmp_path / "a.npz"
    path.write_bytes(zipped({"a.npy": content}))
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        weights.read(path)


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3).T, np.array(5, ">i2"), np.zeros((0, 3)), np.array("äß")]
)
def test_plain_arrays_of_all_kinds_are_read(tmp_path, array):
    np.savez_compressed(tmp_path / "a.npz", a=array, b=np.array(True))
    read = weights.read(tmp_path / "a.npz")
    assert read["a"].dtype == array.dtype
    assert read["a"].shape == array.shape
    assert np.array_equal(read["a"], array)
    assert read["b"]


def test_numpys_newer_and_older_headers_are_read(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(zipped({"a.npy": npy(version=b"\3\0"), "b": npy(shape="(3L,)")}))
    assert {name: array.shape for name, array in weights.read(path).items()} == {"a": (3,), "b": (3,)}


def test_a_decompression_bomb_is_refused_before_it_unpacks(tmp_path):
    """300 MB of zeros, in 300 kB."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(npy(shape="(75000000,)", numbers=b""))
        for _ in range(300):
            member.write(bytes(10**6))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb\.npz: .*may unpack to [\d,]+, this one claims 300,000,0"):
        weights.read(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


@pytest.mark.parametrize("names", [["a.npy", "a.npy"], ["a", "a.npy"]])
def test_two_arrays_of_one_name_are_refused(tmp_path, names):
    path = tmp_path / "a.npz"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's own
        for name in names:
            archive.writestr(name, npy())
    with pytest.raises(ValueError, match=r"a\.npz: .*(is there twice|two arrays of one name)"):
        weights.read(path)


def test_unusual_compression_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(zipped({"a.npy": npy()}, zipfile.ZIP_LZMA))
    with pytest.raises(ValueError, match=r"a\.npz: .*compressed in an unusual way"):
        weights.read(path)


def png(width, height, rows=b""):
    """A grey PNG that says it has this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000, 2**31 - 1])
@pytest.mark.parametrize("read", [data.read_image, lambda path: data.read_label_map(path, 3)])
def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path, read, side):
    """The first would only be warned of by Pillow."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side))
    tracemalloc.start()
    with pytest.raises(PictureError, match=r"bomb\.png: .*(exceeds limit|bomb)"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_pictures_are_never_handed_to_other_programs(tmp_path):
    """Pillow gives PostScript to Ghostscript, whatever the file is called."""
    path = tmp_path / "photo.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    Image.init()
    with quiet(), pytest.raises(PictureError, match=r"photo\.png: needs to be a whole picture"):
        data.read_image(path)


def deep(levels):
    return "[" * levels + "]" * levels


def header_of(text):
    """A model file whose header is this text."""
    stored = io.BytesIO()
    np.save(stored, np.array(text))
    return zipped({"header.npy": stored.getvalue()})


def conv(**options):
    """The description of a network of one layer."""
    node = {"name": "conv", "type": "Conv2d", "inputs": ["image"]}
    node["options"] = {"in_channels": 3, "out_channels": 2, "kernel_size": 3} | options
    graph = {"input_channels": 3, "frozen": [], "seed": 0, "dtype": "float32", "nodes": [node]}
    return json.dumps({"format": "npseg model", "version": 1, "graph": graph, "metadata": {}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (deep(100_000), "no readable header"),
        ('{"format": "npseg model", "version": 1, "graph": ' + deep(100_000) + "}", "no readable header"),
        ("9" * 5000, "no readable header"),
        (conv(in_channels=10**6, out_channels=10**6), r"lacks the array parameters/conv\.bias"),
        (conv(groups=0), "no network can be built from its description: groups must be at least 1"),
        (conv(groups=2), "groups must divide in_channels 3"),
        (conv(kernel_size=-3), "at least 1, got -3"),
        (conv(kernel_size=10**30), "must be at most"),
        (conv(initialiser="os.system"), "initialiser must be one of"),
        (conv(in_channels="3"), "in_channels must be an integer"),
        (conv(out_channels=True), "out_channels must be an integer"),
        (conv().replace('"float32"', '"object"'), "dtype must be float32 or float64"),
        (conv().replace('"Conv2d"', '"Graph"'), "no network can be built"),
        (conv().replace('"Conv2d"', "[]"), "no network can be built"),
        (conv().replace('["image"]', '"image"'), "no network can be built"),
        (conv().replace('["image"]', "[]"), "no network can be built"),
    ],
)
def test_descriptions_that_ask_for_too_much_or_nonsense_are_refused(tmp_path, text, message):
    path = tmp_path / "net.npz"
    path.write_bytes(header_of(text))
    with quiet(), pytest.raises(ValueError, match=rf"net\.npz: .*{message}"):
        models.load(path)


def test_deeply_nested_lines_of_a_log_are_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    for line in (deep(100_000), '{"step": 1, "loss": NaN}', '{"step": 1, "loss": Infinity}'):
        path.write_text(f"{line}\n")
        with pytest.raises(ValueError, match=r"log\.jsonl: line 1 is no record of a step"):
            log.read(path)
