"""Files of arrays come back as they were, whatever the format and the arrays' memory layout."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from npseg import models, weights
from npseg.nn import BatchNorm2d, Conv2d, Graph, Node
from npseg.weights.numbers import WRITABLE

ENDINGS = [
    ".npz",
    ".pth",
    ".pt",
    pytest.param(
        ".safetensors", marks=pytest.mark.skipif("not __import__('importlib.util').util.find_spec('safetensors')")
    ),
]


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


@st.composite
def laid_out(draw):
    """An array of any dtype and any memory layout: transposed, reversed, with gaps, empty, without axes."""
    dtype = draw(st.sampled_from(WRITABLE))
    array = draw(arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    layout = draw(st.sampled_from(["plain", "transposed", "reversed", "gaps"]))
    if layout == "transposed":
        return array.T
    if layout == "reversed" and array.ndim:
        return np.flip(array)
    if layout == "gaps" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array


@pytest.mark.parametrize("ending", ENDINGS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(arrays=st.dictionaries(st.text("ab./ä", min_size=1, max_size=6) | st.just("file"), laid_out(), max_size=4))
def test_what_was_written_is_read(ending, tmp_path, arrays):
    weights.write(tmp_path / f"net{ending}", arrays)
    assert_same(weights.read(tmp_path / f"net{ending}"), arrays)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_read_can_be_changed(ending, tmp_path):
    path = tmp_path / f"net{ending}"
    weights.write(path, {"a": np.zeros(3)})
    weights.read(path)["a"][...] = 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_byte_order_is_made_native(ending, tmp_path):
    path = tmp_path / f"net{ending}"
    numbers = np.arange(3.0)
    weights.write(path, {"a": numbers.astype(">f8")})
    assert_same(weights.read(path), {"a": numbers})


def batch_normalised():
    nodes = [Node("conv1", Conv2d(3, 4, 3), ("image",)), Node("bn1", BatchNorm2d(4), ("conv1",))]
    return Graph(nodes, seed=1)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_network_comes_back_with_its_running_statistics(ending, tmp_path):
    model, path = batch_normalised(), tmp_path / f"net{ending}"
    model.buffers["bn1.running_mean"][...] = [1, 2, 3, 4]
    weights.write_model(path, model)
    arrays = weights.read(path)
    assert_same(arrays, model.parameters | model.buffers)
    other = batch_normalised()
    assert weights.load_into(other, arrays).complete
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(other(x), model(x))


def test_as_npz_a_network_is_npsegs_own(tmp_path):
    weights.write_model(tmp_path / "net.npz", batch_normalised())
    assert models.load(tmp_path / "net.npz").describe() == batch_normalised().describe()


def test_an_npz_of_others_is_read_as_it_is(tmp_path):
    arrays = {"header": np.arange(3), "parameters/a": np.ones(2)}
    np.savez(tmp_path / "net.npz", **arrays)
    assert_same(weights.read(tmp_path / "net.npz"), arrays)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_older_file_stays_where_writing_fails(ending, tmp_path):
    path = tmp_path / f"net{ending}"
    weights.write(path, {"a": np.zeros(3)})
    before = path.read_bytes()
    for wrong in ({"a": np.array([{}], object)}, {"a": [1, 2]}, {3: np.zeros(2)}, {"a": np.zeros(2, complex)}, 3):
        with pytest.raises(TypeError, match="arrays"):
            weights.write(path, wrong)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_files_and_folders_are_os_errors(ending, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"none{ending}"):
        weights.read(tmp_path / f"none{ending}")
    with pytest.raises(FileNotFoundError):
        weights.write(tmp_path / "none" / f"net{ending}", {})


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_file_cut_short_is_named(ending, kept, tmp_path):
    path = tmp_path / f"net{ending}"
    weights.write(path, {"a": np.arange(30.0)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"net\{ending}: ") as caught:
        weights.read(path)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize("name", ["net", "net.bin", "net.pkl", "net.npz.gz"])
def test_other_endings_are_refused(name, tmp_path):
    for use in (weights.read, lambda path: weights.write(path, {})):
        with pytest.raises(ValueError, match=r"must end in \.npz, \.safetensors, \.pth, \.pt, got"):
            use(tmp_path / name)


def test_endings_may_be_capitals(tmp_path):
    weights.write(tmp_path / "NET.PTH", {"a": np.ones(2)})
    assert_same(weights.read(tmp_path / "NET.PTH"), {"a": np.ones(2)})


def test_without_its_library_safetensors_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "net.safetensors").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install 'npseg\[weights\]'"):
        weights.read(tmp_path / "net.safetensors")
    with pytest.raises(ImportError, match=r"pip install 'npseg\[weights\]'"):
        weights.write(tmp_path / "other.safetensors", {})
    assert not (tmp_path / "other.safetensors").exists()


def test_what_safetensors_changes_is_not_written(tmp_path, monkeypatch):
    library = pytest.importorskip("safetensors.numpy")
    save = library.save
    monkeypatch.setattr(library, "save", lambda arrays: save({name: -array for name, array in arrays.items()}))
    with pytest.raises(RuntimeError, match="safetensors changed 'a'"):
        weights.write(tmp_path / "net.safetensors", {"a": np.ones(3)})
    monkeypatch.setattr(library, "save", lambda arrays: save({}))
    with pytest.raises(RuntimeError, match="lost or added"):
        weights.write(tmp_path / "net.safetensors", {"a": np.ones(3)})
    assert not any(tmp_path.iterdir())


def test_bfloat16_in_safetensors_is_widened_and_unknown_dtypes_are_named(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "net.safetensors"

    def write(kind, numbers):
        header = f'{{"a":{{"dtype":"{kind}","shape":[{numbers.size}],"data_offsets":[0,{numbers.nbytes}]}}}}'.encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + numbers.tobytes())

    write("BF16", np.array([0x3FC0, 0xC000], "<u2"))
    assert_same(weights.read(path), {"a": np.array([1.5, -2], np.float32)})
    write("U64", np.zeros(2, "<u8"))
    with pytest.raises(ValueError, match=r"net\.safetensors: 'a' is U64"):
        weights.read(path)
