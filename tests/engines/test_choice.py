"""Which engine is in use: by name, by context, by default."""

import asyncio
import inspect
import threading

import numpy as np
import pytest

import npseg
from npseg import ops
from npseg.engines import Engine, resolve

NUMPY_ENGINES = ("loops", "im2col", "sparse")


@pytest.fixture(autouse=True)
def default_engine():
    """Every test starts and leaves with the default."""
    with npseg.use_engine(default()):
        yield


def default():
    return "numba" if "numba" in npseg.engines() else "im2col"


def test_engines_are_a_tuple_of_names():
    assert isinstance(npseg.engines(), tuple)
    assert set(NUMPY_ENGINES) <= set(npseg.engines()) <= {*NUMPY_ENGINES, "numba"}


def test_set_engine_changes_the_default_of_every_call(monkeypatch):
    used = []
    for name in NUMPY_ENGINES:
        module = resolve(name)

        def spy(*arguments, name=name, kernel=module.conv):
            used.append(name)
            return kernel(*arguments)

        monkeypatch.setattr(module, "conv", spy)
    x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    for name in NUMPY_ENGINES:
        npseg.set_engine(name)
        assert npseg.get_engine() == name
        ops.conv2d(x, weight)
    ops.conv2d(x, weight, engine="loops")
    ops.separable_conv2d(x, weight, np.ones((1, 1, 1, 1)), engine="sparse")
    assert used == [*NUMPY_ENGINES, "loops", "sparse", "sparse"]


def test_use_engine_restores_the_former_one():
    npseg.set_engine("loops")
    with npseg.use_engine("sparse"):
        assert npseg.get_engine() == "sparse"
        with npseg.use_engine("im2col"):
            assert npseg.get_engine() == "im2col"
        assert npseg.get_engine() == "sparse"
        npseg.set_engine("im2col")
    assert npseg.get_engine() == "loops"


def test_use_engine_restores_even_after_an_exception():
    npseg.set_engine("sparse")
    with pytest.raises(ZeroDivisionError), npseg.use_engine("loops"):
        raise ZeroDivisionError
    assert npseg.get_engine() == "sparse"


@pytest.mark.parametrize("choose", [npseg.set_engine, lambda *a, **o: npseg.use_engine(*a, **o).__enter__()])
def test_unknown_engines_and_options_are_refused_and_change_nothing(choose):
    npseg.set_engine("sparse")
    with pytest.raises(ValueError, match="engine") as caught:
        choose("cuda")
    assert all(name in str(caught.value) for name in npseg.engines())
    for wrong in (None, 1, b"loops"):
        with pytest.raises(TypeError, match="engine"):
            choose(wrong)
    for name in NUMPY_ENGINES:
        with pytest.raises(ValueError, match="winograd"):
            choose(name, winograd=True)
    assert npseg.get_engine() == "sparse"


def test_options_take_their_own_values(monkeypatch):
    """No engine in NumPy has options; here one gets some."""
    monkeypatch.setattr(resolve("sparse"), "OPTIONS", {"order": ("rows", "columns")})
    for order in ("rows", "columns"):
        npseg.set_engine("sparse", order=order)
        assert npseg.get_engine() == "sparse"
    with pytest.raises(ValueError, match=r"order must be one of \('rows', 'columns'\), got 'diagonals'"):
        npseg.set_engine("sparse", order="diagonals")
    with pytest.raises(ValueError, match="no option 'winograd'"):
        npseg.set_engine("sparse", winograd=True)


def test_a_new_thread_starts_with_the_default():
    npseg.set_engine("loops")
    seen = []

    def work():
        seen.append(npseg.get_engine())
        npseg.set_engine("sparse")
        seen.append(npseg.get_engine())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [default(), "sparse"]
    assert npseg.get_engine() == "loops"


def test_threads_do_not_disturb_one_another():
    barrier, wrong = threading.Barrier(2, timeout=10), []

    def work(name):
        with npseg.use_engine(name):
            for _ in range(20):
                barrier.wait()
                if npseg.get_engine() != name:
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("loops", "sparse")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_tasks_do_not_disturb_one_another():
    async def work(name):
        npseg.set_engine(name)
        await asyncio.sleep(0)
        return npseg.get_engine()

    async def both():
        return await asyncio.gather(work("loops"), work("sparse"))

    assert asyncio.run(both()) == ["loops", "sparse"]


KERNELS = ("conv", "conv_grad_input", "conv_grad_weight", "max_pool", "scatter", "gather", "resize")


@pytest.mark.parametrize("name", npseg.engines())
def test_every_engine_has_every_kernel(name):
    engine = resolve(name)
    assert isinstance(engine.OPTIONS, dict)
    for kernel in KERNELS:
        expected = [p for p in inspect.signature(getattr(Engine, kernel)).parameters if p != "self"]
        assert list(inspect.signature(getattr(engine, kernel)).parameters) == expected
