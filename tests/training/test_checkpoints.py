import numpy as np
import pytest

from npseg.models import files
from npseg.training import checkpoints
from npseg.training.checkpoints import TrainingState
from npseg.training.task import Task


@pytest.fixture
def state(tiny_model, settings, scenes):
    """A run in the middle of its way."""
    chosen = settings(class_weights=(1.0, 2.0, 1.0, 0.5, 1.0, 1.0), scale=(0.5, 1.5), crop=(16, 17))
    model, optimiser = tiny_model(), chosen.make_optimiser()
    rng = np.random.default_rng(0)
    for _ in range(3):
        gradients = {
            name: rng.standard_normal(model.parameters[name].shape).astype(np.float32) for name in model.trainable
        }
        optimiser.update(model.parameters, gradients, 0.01)
    task = Task.of(*scenes)
    return TrainingState(
        model, optimiser, chosen, task, samples=7, step=3, best_step=2, best_mean_iu=0.1, config={"a": 1}
    )


def assert_same_arrays(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        assert np.array_equal(array, theirs[name])


def assert_same_task(ours, theirs):
    assert ours.describe() == theirs.describe()
    assert ours.classes == theirs.classes
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    assert np.array_equal(ours.normalise(image), theirs.normalise(image))
    assert ours.normalise(image).dtype == np.float32


def test_a_checkpoint_holds_everything(state, tmp_path):
    checkpoints.save(state, tmp_path / "checkpoint.npz")
    loaded = checkpoints.load(tmp_path / "checkpoint.npz")
    assert_same_arrays(loaded.model.parameters, state.model.parameters)
    assert_same_arrays(loaded.optimiser.state, state.optimiser.state)
    assert len(loaded.optimiser.state) == 1 + 2 * len(state.model.trainable)
    assert loaded.settings == state.settings
    assert_same_task(loaded.task, state.task)
    for name in ("samples", "step", "best_step", "best_mean_iu", "config"):
        assert getattr(loaded, name) == getattr(state, name)


def test_both_kinds_of_checkpoint_give_network_and_task(state, tmp_path):
    checkpoints.save(state, tmp_path / "checkpoint.npz")
    checkpoints.save_network(state, tmp_path / "best.npz")
    assert (tmp_path / "best.npz").stat().st_size < (tmp_path / "checkpoint.npz").stat().st_size
    for name in ("checkpoint.npz", "best.npz"):
        model, task = checkpoints.load_network(tmp_path / name)
        assert_same_arrays(model.parameters, state.model.parameters)
        assert_same_task(task, state.task)
        assert len(task.open("train")) == 7
        assert len(task.open("val")) == 3


def test_a_network_alone_cannot_be_resumed(state, tmp_path):
    checkpoints.save_network(state, tmp_path / "best.npz")
    with pytest.raises(ValueError, match=r"best\.npz: holds a network, but no training"):
        checkpoints.load(tmp_path / "best.npz")


def test_a_model_without_task_is_named(state, tmp_path):
    files.save(state.model, tmp_path / "net.npz")
    with pytest.raises(ValueError, match=r"net\.npz: does not tell what its network was trained for"):
        checkpoints.load_network(tmp_path / "net.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.pop("task"),
        lambda metadata: metadata.update(step=-1),
        lambda metadata: metadata["task"].update(colors=[[0, 0, 0]]),
        lambda metadata: metadata["task"].pop("normalise"),
        lambda metadata: metadata["training"].pop("settings"),
        lambda metadata: metadata["training"]["settings"].update(steps=0),
        lambda metadata: metadata["training"]["settings"].update(unknown=0),
        lambda metadata: metadata["training"].update(samples="seven"),
        lambda metadata: metadata.update(training=[]),
    ],
)
def test_damaged_metadata_is_named(state, tmp_path, change):
    path = tmp_path / "checkpoint.npz"
    checkpoints.save(state, path)
    model, extra, metadata = files.read(path)
    change(metadata)
    files.save(model, path, extra, metadata)
    with pytest.raises(ValueError, match=r"checkpoint\.npz: no training can be resumed from it"):
        checkpoints.load(path)


def test_moments_of_another_network_are_named(state, tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoints.save(state, path)
    model, extra, metadata = files.read(path)
    name = next(iter(sorted(model.trainable)))
    files.save(model, path, {**extra, f"optimiser/first_moment/{name}": np.zeros(1, np.float32)}, metadata)
    with pytest.raises(ValueError, match=r"checkpoint\.npz: .*does not fit the network"):
        checkpoints.load(path)


def test_locate_takes_files_as_they_are_and_the_best_of_a_run(tmp_path):
    assert checkpoints.locate(tmp_path / "any.npz") == tmp_path / "any.npz"
    with pytest.raises(FileNotFoundError, match="the folder of no run"):
        checkpoints.locate(tmp_path)
    (tmp_path / "checkpoint.npz").touch()
    with pytest.raises(FileNotFoundError, match=r"no validation has been made yet; name .*checkpoint\.npz"):
        checkpoints.locate(tmp_path)
    (tmp_path / "best.npz").touch()
    assert checkpoints.locate(tmp_path) == tmp_path / "best.npz"
