"""PyTorch's files, against PyTorch itself."""

import numpy as np
import pytest
from pytorch_forms import legacy_form, program, storage, tensor, zip_form

from npseg import weights
from npseg.models import fcn, vgg


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def every_kind(torch):
    """A state dictionary with whatever one may hold."""
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (3, 5)), torch.nn.BatchNorm2d(4)).state_dict()
    for name in ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"):
        state[name] = torch.arange(-2, 4).to(getattr(torch, name))
    state["transposed"] = torch.arange(12.0).reshape(3, 4).T
    state["window"] = torch.arange(40.0).reshape(5, 8)[1:4, 2::3]
    state["tied"] = state["0.weight"]
    state["parameter"] = torch.nn.Parameter(torch.ones(2, 3))
    state["empty"] = torch.empty(0, 3)
    state["scalar"] = torch.tensor(2.5)
    return state


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_pytorch_wrote_is_read(torch, path, zipped, protocol):
    state = every_kind(torch)
    torch.save(state, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    arrays = weights.read(path)
    assert list(arrays) == list(state)
    for name, value in state.items():
        value = value.detach()
        expected = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        assert (arrays[name].dtype, arrays[name].shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(arrays[name], expected)
    assert np.shares_memory(arrays["tied"], arrays["0.weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_of_a_checkpoint_the_state_dictionary_is_read(torch, path, zipped):
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "optimizer": optimizer.state_dict(), "state_dict": layer.state_dict()}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    arrays = weights.read(path)
    assert list(arrays) == ["weight", "bias"]
    np.testing.assert_array_equal(arrays["weight"], layer.weight.detach().numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_is_refused_by_name(torch, path, zipped):
    torch.save(torch.nn.Linear(2, 3), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"net\.pth: its pickle wants torch\.nn\.modules\.linear\.Linear"):
        weights.read(path)


def test_a_repeated_tensor_is_refused(torch, path):
    torch.save({"a": torch.ones(1).expand(1000)}, path)
    with pytest.raises(ValueError, match="does not fit its storage of 1 numbers"):
        weights.read(path)


@pytest.mark.parametrize("mapped", [False, True])
def test_pytorch_reads_what_was_written(torch, path, mapped):
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((2, 3)).astype(name) for name in ("float16", "float32", "float64")}
    arrays |= {
        name: rng.integers(0, 100, (3, 1, 2)).astype(name) for name in ("int8", "int16", "int32", "int64", "uint8")
    }
    arrays |= {"bool": np.array([True, False]), "empty": np.empty((0, 4)), "scalar": np.array(3.0)}
    arrays |= {"transposed": arrays["float32"].T, "reversed": arrays["float64"][::-1, ::2], "äöü": np.ones(1)}
    weights.write(path, arrays)
    state = torch.load(path, weights_only=True, mmap=mapped)
    assert list(state) == list(arrays)
    for name, array in arrays.items():
        assert state[name].is_contiguous()
        assert state[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(state[name].numpy(), array)


def test_storages_start_where_they_can_be_mapped(path):
    arrays = {"a": np.full(3, 7, np.uint8), "b": np.full(5, 9, np.uint8)}
    weights.write(path, arrays)
    content = path.read_bytes()
    for array in arrays.values():
        assert content.index(array.tobytes()) % 64 == 0


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_big_endian_files_are_read(path, kind):
    numbers = np.arange(6, dtype=">f4").tobytes()
    make = {"zip": lambda *a: zip_form(*a, order=b"big"), "legacy": lambda *a: legacy_form(*a, little=False)}[kind]
    path.write_bytes(make(program(a=tensor()), {"0": numbers}))
    found = weights.read(path)["a"]
    assert found.dtype == np.float32
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, np.arange(6.0).reshape(2, 3))


def test_files_from_before_the_byte_order_was_written_are_little(path):
    path.write_bytes(zip_form(program(a=tensor()), {"0": np.arange(6, dtype="<f4").tobytes()}, order=None))
    np.testing.assert_array_equal(weights.read(path)["a"], np.arange(6.0).reshape(2, 3))


def test_old_forms_of_pickles_are_read(path):
    """Python 2's text, ordered dictionaries from pairs, tensors without gradients' arguments, storages of a GPU."""
    window = b"(" + storage(kind=b"ctorch.cuda\nFloatStorage\n", rest=b"N") + b"K\x00K\x02K\x03\x86K\x03K\x01\x86t"
    old = b"ctorch._utils\n_rebuild_tensor\n" + window + b"R"
    pairs = b"\x80\x02ccollections\nOrderedDict\n](]U\x01a" + old + b"\x86" + b"e\x85R}U\x09_metadata]sb."
    pairs = pairs.replace(b"](]U\x01a", b"](U\x01a")
    path.write_bytes(legacy_form(pairs, {"0": np.arange(6, dtype="<f4").tobytes()}))
    np.testing.assert_array_equal(weights.read(path)["a"], np.arange(6.0).reshape(2, 3))


def pytorch_fcn8s(torch, classes):
    """FCN-8s as PyTorch's users write it, with the field's names, on a VGG of one convolution a stage."""
    nn, widths = torch.nn, (3, 2, 3, 4, 5, 6)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            for stage in range(1, 6):
                setattr(self, f"conv{stage}_1", nn.Conv2d(widths[stage - 1], widths[stage], 3, padding=1))
            self.fc6, self.fc7 = nn.Conv2d(6, 7, 7, padding=3), nn.Conv2d(7, 7, 1)
            self.score_fr, self.score_pool4 = nn.Conv2d(7, classes, 1), nn.Conv2d(5, classes, 1)
            self.score_pool3 = nn.Conv2d(4, classes, 1)
            for name, factor in (("upscore2", 2), ("upscore_pool4", 2), ("upscore8", 8)):
                layer = nn.ConvTranspose2d(classes, classes, 2 * factor, factor, factor // 2, bias=False)
                setattr(self, name, layer)

        def forward(self, x):
            pools = []
            for stage in range(1, 6):
                x = torch.max_pool2d(torch.relu(getattr(self, f"conv{stage}_1")(x)), 2)
                pools.append(x)
            x = self.upscore2(self.score_fr(torch.relu(self.fc7(torch.relu(self.fc6(x))))))
            x = self.upscore_pool4(x + self.score_pool4(pools[3]))
            return self.upscore8(x + self.score_pool3(pools[2]))

    torch.manual_seed(3)
    return Network().double()


BOTH = ("weight", "bias")
CONVOLUTIONS = [f"conv{s}_{n}" for s, depth in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, depth + 1)]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    ("stride", "skips", "upsamplers"),
    [
        (32, [], ["upscore"]),
        (16, ["score_pool4"], ["upscore2", "upscore16"]),
        (8, ["score_pool4", "score_pool3"], ["upscore2", "upscore_pool4", "upscore8"]),
    ],
)
def test_the_names_are_those_that_fcns_have_everywhere(stride, skips, upsamplers, at_once):
    model = fcn(vgg(), 21, stride, form="paper", at_once=at_once and stride < 32)
    learned = [*CONVOLUTIONS, "fc6", "fc7", "score_fr", *skips]
    names = {f"{layer}.{key}" for layer in learned for key in BOTH} | {f"{name}.weight" for name in upsamplers}
    assert model.parameter_specs.keys() == names
    assert model.parameter_specs["fc6.weight"].shape == (4096, 512, 7, 7)


def test_pytorch_reads_safetensors_too(torch, tmp_path):
    library = pytest.importorskip("safetensors.torch")
    ours, theirs = fcn(vgg((2, 3, 4, 5, 6), (1,) * 5, 7, dtype=np.float64), 4, 8), pytorch_fcn8s(torch, 4)
    arrays = ours.parameters | {"fc6.weight": np.asfortranarray(ours.parameters["fc6.weight"])}
    weights.write(tmp_path / "net.safetensors", arrays)
    theirs.load_state_dict(library.load_file(tmp_path / "net.safetensors"))
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), ours.parameters[name])
    library.save_file(theirs.state_dict(), tmp_path / "back.safetensors")
    assert weights.load_into(ours, weights.read(tmp_path / "back.safetensors")).complete


@pytest.mark.parametrize("zipped", [True, False])
def test_an_fcn_from_pytorch_gives_the_same_scores_here_and_back_there(torch, path, zipped):
    theirs = pytorch_fcn8s(torch, 4)
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=zipped)
    ours = fcn(vgg((2, 3, 4, 5, 6), (1,) * 5, 7, dtype=np.float64), 4, 8)
    assert weights.load_into(ours, weights.read(path)).complete
    x = np.random.default_rng(0).standard_normal((2, 3, 64, 96))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=1e-9, atol=1e-12)

    for parameter in ours.parameters.values():
        parameter *= 1.5
    weights.write_model(path, ours)
    theirs.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=1e-9, atol=1e-12)
