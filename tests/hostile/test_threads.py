"""Eight threads at once, on different engines: every bit as it is in one."""

import copy
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from npseg import data, engines, models, use_engine, weights
from npseg.models import fcn, vgg
from npseg.nn.loss import cross_entropy

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from calls import EXAMPLES, arrays_in, call, draw, engines_of, working_calls

THREADS = 8


@pytest.fixture(autouse=True)
def hurried():
    """Threads take turns far more often than usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(work):
    """Call work(number) in eight threads, all starting together; the first error of any is raised."""
    barrier, errors = threading.Barrier(THREADS), []

    def run(number):
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def assert_same_bits(ours, theirs, what):
    ours, theirs = (arrays_in(found) or [np.asarray(found)] for found in (ours, theirs))
    assert len(ours) == len(theirs), what
    for a, b in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes(), what


def all_calls():
    """(operation, engine, arguments): every operation on every engine, and every example on the one that keeps most."""
    for operation, arguments in working_calls().items():
        for engine in engines_of(operation):
            yield operation, engine, arguments
    for example in EXAMPLES:
        yield example.operation, engines()[-1], {**draw(example, np.float32), **example.arguments}


def test_every_operation_in_eight_threads_on_different_engines():
    """Each thread walks all calls, each from another one on, and each call on another engine than its neighbours'."""
    cases = [
        (operation, engine, arguments, call(operation, engine, **copy.deepcopy(arguments)))
        for operation, engine, arguments in all_calls()
    ]

    def work(number):
        start = number * len(cases) // THREADS
        for operation, engine, arguments, expected in cases[start:] + cases[:start]:
            # Arguments of its own: running statistics are changed, and a generator draws.
            found = call(operation, engine, **copy.deepcopy(arguments))
            assert_same_bits(found, expected, f"{operation} on {engine}")

    in_threads(work)


def test_arrays_may_be_shared_between_threads():
    """Nobody writes to an argument on the way, not even to put it back."""
    cases = [
        (operation, arguments, call(operation, "im2col", **copy.deepcopy(arguments)))
        for operation, arguments in working_calls().items()
        if "running_mean" not in arguments and "rng" not in arguments
    ]

    def work(number):
        for operation, arguments, expected in cases:
            assert_same_bits(call(operation, "im2col", **arguments), expected, operation)

    in_threads(work)


def test_one_network_in_eight_threads():
    """Its parameters are asked for by all at once, forward and backward run in all at once."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((2, 3, 17, 20)).astype(np.float32), rng.integers(0, 3, (2, 17, 20))

    def network():
        return fcn(vgg((2, 3, 2, 3, 2), (1,) * 5, fc6=4, dropout=0.5), 3, 8)

    def step(model, engine):
        with use_engine(engine):
            logits, saved = model.forward(x, training=True, rng=[np.random.default_rng(n) for n in range(2)])
            loss, grad = cross_entropy(logits, labels)
            return (logits, np.asarray(loss), *model.backward(grad, saved).values())

    chosen = [name for name in engines() if name != "loops"]
    expected = {engine: step(network(), engine) for engine in chosen}
    shared, parameters = network(), [None] * THREADS

    def work(number):
        parameters[number] = shared.parameters
        for turn in range(4):
            engine = chosen[(number + turn) % len(chosen)]
            assert_same_bits(step(shared, engine), expected[engine], engine)

    in_threads(work)
    assert all(found is parameters[0] for found in parameters)


def test_files_are_written_and_read_in_eight_threads(tmp_path):
    """Nobody's permission bits are touched; each reader finds a whole file, while others replace it."""
    model = fcn(vgg((1,) * 5, (1,) * 5, fc6=1), 2, 32)
    image = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
    mask = os.umask(0o027)
    try:
        models.save(model, tmp_path / "net.npz")
        data.write_image(tmp_path / "a.png", image)

        def work(number):
            for _ in range(5):
                models.save(model, tmp_path / "net.npz")
                assert_same_bits(tuple(models.load(tmp_path / "net.npz").parameters.values()), tuple(expected), "net")
                weights.write(tmp_path / f"{number}.pth", {"a": np.array([number])})
                assert weights.read(tmp_path / f"{number}.pth")["a"] == number
                data.write_image(tmp_path / "a.png", image)
                assert np.array_equal(data.read_image(tmp_path / "a.png"), image)

        expected = model.parameters.values()
        in_threads(work)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["net.npz", "a.png", *(f"{number}.pth" for number in range(THREADS))]
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
