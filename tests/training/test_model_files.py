import json
import zipfile

import numpy as np
import pytest

from npseg.models import files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.npz"


@pytest.fixture
def saved(tiny_model, path):
    """A model in a file, no two of its values alike."""
    model = tiny_model()
    rng = np.random.default_rng(0)
    for array in [*model.parameters.values(), *model.buffers.values()]:
        array[...] = rng.standard_normal(array.shape)
    files.save(model, path, {"moment/a": np.arange(6).reshape(2, 3), "word": np.array("ä")}, {"classes": ["a", "ß"]})
    return model


def rewrite(path, change):
    """Change the arrays of a file."""
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)


def change_header(**changes):
    def change(arrays):
        arrays["header"] = np.array(json.dumps(json.loads(str(arrays["header"])) | changes))

    return change


def test_a_model_comes_back_as_it_was(saved, path):
    model, extra, metadata = files.read(path)
    assert model.describe() == saved.describe()
    for ours, theirs in ((model.parameters, saved.parameters), (model.buffers, saved.buffers)):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype
            assert np.array_equal(array, theirs[name])
    assert model.trainable == saved.trainable
    assert sorted(extra) == ["moment/a", "word"]
    assert np.array_equal(extra["moment/a"], [[0, 1, 2], [3, 4, 5]])
    assert str(extra["word"]) == "ä"
    assert metadata == {"classes": ["a", "ß"]}
    x = np.random.default_rng(1).standard_normal((2, 3, 19, 21)).astype(np.float32)
    assert np.array_equal(files.load(path)(x), saved(x))


def test_extra_and_metadata_may_be_left_out(tiny_model, path):
    files.save(tiny_model(), path)
    _, extra, metadata = files.read(path)
    assert (extra, metadata) == ({}, {})


def test_an_older_file_is_replaced_only_by_a_whole_one(saved, path, tiny_model):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        files.save(tiny_model(), path, metadata={"mean_iu": float("nan")})
    with pytest.raises(TypeError, match="extra"):
        files.save(tiny_model(), path, {"pickle": np.array([{}], object)})
    with pytest.raises(TypeError, match="extra"):
        files.save(tiny_model(), path, {"list": [1, 2]})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_or_folder_is_an_os_error(tmp_path, tiny_model):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        files.read(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError):
        files.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.save(tiny_model(), tmp_path / "none" / "net.npz")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1])
def test_a_truncated_file_is_named(saved, path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"net\.npz: "):
        files.read(path)


def test_a_file_with_any_byte_flipped_is_read_alike_or_named(saved, path):
    """Flipped bytes are found by the checksums; a few, such as time stamps, mean nothing."""
    content = path.read_bytes()
    expected = {name: array.copy() for name, array in saved.parameters.items()}
    refused = 0
    positions = np.random.default_rng(0).choice(len(content), 150, replace=False)
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            model = files.load(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - most positions raise, not all
            refused += 1
        else:
            assert all(np.array_equal(model.parameters[name], array) for name, array in expected.items())
    assert refused > 75


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01.", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}"])
def test_another_kind_of_file_is_named(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.npz: not an \.npz file"):
        files.read(path)


def test_another_npz_is_named(path):
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match=r"net\.npz: not an npseg model file"):
        files.read(path)


def test_pickles_are_not_opened(saved, path):
    class Explosive:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["extra/bomb"] = np.array([Explosive()], object)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"net\.npz: damaged: .*does not hold a plain array"):
        files.read(path)


def first(arrays, group="parameters/"):
    return next(name for name in sorted(arrays) if name.startswith(group))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("header"), "not an npseg model file"),
        (lambda arrays: arrays.update(header=np.array("{")), "not an npseg model file"),
        (lambda arrays: arrays.update(header=np.zeros(3)), "not an npseg model file"),
        (lambda arrays: arrays.update(header=np.array("[]")), "not an npseg model file"),
        (change_header(format="something else"), "its format is 'something else'"),
        (change_header(version=99), "format version 99 is unknown"),
        (change_header(graph=None), "lacks the graph"),
        (change_header(metadata=[]), "lacks the graph or the metadata"),
        (change_header(graph={}), "no network can be built"),
        (lambda arrays: arrays.pop(first(arrays)), "lacks the array parameters/"),
        (lambda arrays: arrays.update({"parameters/more": np.zeros(3)}), "has the array parameters/more"),
        (lambda arrays: arrays.update({first(arrays): np.zeros((1, 2), np.float32)}), r"with shape .*got float32"),
        (
            lambda arrays: arrays.update({first(arrays): arrays[first(arrays)].astype(float)}),
            "must be float32.*float64",
        ),
        (lambda arrays: arrays.update({"buffers/more": np.zeros(3)}), "has the array buffers/more"),
    ],
)
def test_a_file_that_does_not_fit_is_named(saved, path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=rf"net\.npz: .*{message}|net\.npz: {message}"):
        files.read(path)


def test_an_array_with_something_behind_it_is_named(saved, path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content + b"more" * name.startswith("extra/moment"))
    with pytest.raises(ValueError, match=r"net\.npz: damaged: extra/moment/a\.npy goes on after its array"):
        files.read(path)
