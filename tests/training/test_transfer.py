"""An FCN on a trained classifier has its numbers, and no others."""

import numpy as np
import pytest

from npseg import weights
from npseg.data import Normalise, Shapes, SingleShapes
from npseg.models import fcn, files, vgg, vgg_classifier
from npseg.nn import Conv2d, Flatten, Graph, Linear, Node
from npseg.training.run import Run
from npseg.training.settings import Settings
from npseg.training.transfer import fcn_on_classifier, holds_classifier

SIZE = (96, 64)
KERNEL = (3, 2)  # what five pools leave of it


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a classifier's run of two steps; its images are normalised in a way of their own."""
    folder = tmp_path_factory.mktemp("runs") / "classifier"
    model = vgg_classifier((2, 3, 4, 3, 5), (1, 1, 2, 1, 1), 6, len(SingleShapes.classes), SIZE)
    splits = (SingleShapes(6, split=split, image_size=SIZE) for split in ("train", "val"))
    settings = Settings(steps=2, batch_size=2, learning_rate=0.1)
    Run.start(folder, model, *splits, settings, normalise=Normalise(0.3, 0.2)).train()
    return folder


@pytest.fixture(scope="module")
def classifier(trained):
    return files.load(trained / "best.npz")


def test_every_layer_of_the_classifier_is_in_the_fcn(trained, classifier):
    model, normalise = fcn_on_classifier(trained, Shapes.classes, 8)
    assert normalise == Normalise(0.3, 0.2)
    taken = {name.replace("fc8", "score_fr"): value for name, value in classifier.parameters.items()}
    assert taken.keys() == {name for name in model.parameters if not name.startswith(("score_pool", "upscore"))}
    for name, value in taken.items():
        assert np.array_equal(model.parameters[name].ravel(), value.ravel()), name
    assert model.parameters["fc6.weight"].shape == (6, 5, *KERNEL)
    assert model.parameters["fc7.weight"].shape == (6, 6, 1, 1)
    assert not model.parameters["score_pool4.weight"].any()


def test_its_scores_are_the_classifiers(trained, classifier):
    model, _ = fcn_on_classifier(trained, Shapes.classes, 32)
    x = np.random.default_rng(1).standard_normal((2, 3, *SIZE), dtype=np.float32)
    scores = Graph(model.nodes[: [node.name for node in model.nodes].index("score_fr") + 1])
    for name, value in scores.parameters.items():
        value[...] = model.parameters[name]
    row, column = ((taps - 1) // 2 for taps in KERNEL)
    np.testing.assert_allclose(scores(x)[:, :, row, column], classifier(x), rtol=1e-4, atol=1e-6)


def test_scores_of_other_classes_start_at_zero(trained, classifier):
    for classes in (("sky", "road"), tuple(reversed(Shapes.classes))):  # other in number, other in meaning alone
        model, _ = fcn_on_classifier(trained, classes, 16)
        assert model.parameters["score_fr.weight"].shape[0] == len(classes)
        assert not model.parameters["score_fr.weight"].any()
        assert np.array_equal(model.parameters["fc7.weight"].ravel(), classifier.parameters["fc7.weight"].ravel())


def test_only_a_classifier_with_its_task_is_one_that_an_fcn_is_built_on(trained, classifier, tmp_path):
    assert holds_classifier(trained)
    assert holds_classifier(trained / "checkpoint.npz")
    metadata = files.read(trained / "best.npz")[2]
    files.save(classifier, tmp_path / "alone.npz")
    files.save(fcn(vgg((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), 4), 6), tmp_path / "fcn.npz", metadata=metadata)
    weights.write(tmp_path / "arrays.npz", classifier.parameters)
    weights.write(tmp_path / "arrays.pth", classifier.parameters)
    (tmp_path / "damaged.npz").write_bytes((trained / "best.npz").read_bytes()[:100])
    for path in tmp_path.iterdir():
        assert not holds_classifier(path), path.name
    with pytest.raises(FileNotFoundError):
        holds_classifier(tmp_path / "missing.npz")


def test_options_reach_the_fcn(trained):
    model, _ = fcn_on_classifier(trained / "checkpoint.npz", Shapes.classes, 32, train_upsampling="none")
    assert "upscore.weight" not in model.trainable


def save(path, model):
    """A file with a network and what it was trained for."""
    metadata = files.read(path.parent / "task.npz")[2]
    files.save(model, path, metadata=metadata)
    return path


def test_what_is_no_classifier_is_refused(trained, tmp_path, classifier):
    files.save(classifier, tmp_path / "task.npz", metadata=files.read(trained / "best.npz")[2])
    segmenting = fcn(vgg((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), 4), 6)
    with pytest.raises(ValueError, match="classifier must flatten"):
        fcn_on_classifier(save(tmp_path / "fcn.npz", segmenting), Shapes.classes)
    shallow = Graph(
        [
            Node("conv1", Conv2d(3, 2, 3), ("image",)),
            Node("flatten", Flatten((2, 6, 6)), ("conv1",)),
            Node("fc6", Linear(72, 4), ("flatten",)),
            Node("fc8", Linear(4, 6), ("fc6",)),
        ]
    )
    with pytest.raises(ValueError, match="pool4"):
        fcn_on_classifier(save(tmp_path / "shallow.npz", shallow), Shapes.classes)
    files.save(classifier, tmp_path / "alone.npz")
    with pytest.raises(ValueError, match=r"alone\.npz: does not tell"):
        fcn_on_classifier(tmp_path / "alone.npz", Shapes.classes)
    with pytest.raises(FileNotFoundError):
        fcn_on_classifier(tmp_path / "missing.npz", Shapes.classes)
