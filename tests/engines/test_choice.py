"""Which engine is in use: by name, by context, by default."""

import asyncio
import inspect
import os
import sys
import threading

import numpy as np
import pytest
from processes import run

import npseg
from npseg import ops
from npseg.engines import Engine, choice, choose, resolve

NUMPY_ENGINES = ("loops", "im2col", "sparse")


@pytest.fixture(autouse=True)
def default_engine():
    """Every test starts and leaves with the default."""
    with npseg.use_engine(default()):
        yield


def default():
    return "numba" if "numba" in npseg.engines() else "im2col"


needs_numba = pytest.mark.skipif("numba" not in npseg.engines(), reason="Numba is not installed")


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


@needs_numba
def test_winograd_is_off_alone_and_f4_in_networks_unless_it_is_set():
    def in_force():
        alone = choice.option("numba", "winograd", "off", "f4")
        token = choice.networks.set(True)
        try:
            return alone, choice.option("numba", "winograd", "off", "f4")
        finally:
            choice.networks.reset(token)

    assert in_force() == ("off", "f4")
    for value in ("off", "f2", "f4"):
        with npseg.use_engine("numba", winograd=value):
            assert in_force() == (value, value)
            with npseg.use_engine("numba"):
                assert in_force() == ("off", "f4")
            with npseg.use_engine("sparse"):
                assert in_force() == ("off", "f4")
            info = npseg.engine_info()
            assert (info["winograd"], info["winograd_in_networks"]) == (value, value)
    npseg.set_engine("numba", winograd="f2")
    assert in_force() == ("f2", "f2")
    for wrong in ("f8", "F2", None, True, 2):
        with pytest.raises((TypeError, ValueError), match=r"winograd must be one of \('off', 'f2', 'f4'\)"):
            npseg.set_engine("numba", winograd=wrong)
    assert in_force() == ("f2", "f2")


def test_the_current_engine_keeps_its_options_when_another_is_set(monkeypatch):
    monkeypatch.setattr(resolve("sparse"), "OPTIONS", {"order": ("rows", "columns"), "blocks": ("few", "many")})
    npseg.set_engine("sparse", order="columns")
    assert choose(None).options == {"order": "columns"}
    assert choose(None, blocks="few").options == {"order": "columns", "blocks": "few"}
    assert choose("sparse", blocks="few").options == {"blocks": "few"}


@pytest.mark.parametrize("name", npseg.engines())
def test_engine_info_tells_what_is_in_use(name):
    with npseg.use_engine(name):
        info = npseg.engine_info()
    assert (info["engine"], info["numpy"]) == (name, np.__version__)
    if name == "im2col":
        assert info["blas"]
        assert info["column_limit"] == npseg.get_column_limit()
    if name == "numba":
        rows, columns = info["tile"]
        assert info["vector_bits"] in (128, 256, 512)
        assert columns % (info["vector_bits"] // 32) == 0
        assert rows >= 4
        assert info["threads"] >= 1
        assert info["threading_layer"] in ("tbb", "omp", "workqueue")
        assert info["cache_folder"] is None or os.path.isdir(info["cache_folder"])


def test_without_numba_the_default_is_im2col():
    process = run("""
        import sys
        sys.modules["numba"] = None  # as if it were not installed
        import numpy, npseg, npseg.ops
        from npseg.engines import resolve
        assert npseg.engines() == ("loops", "im2col", "sparse")
        assert npseg.get_engine() == "im2col"
        npseg.ops.conv2d(numpy.ones((1, 1, 3, 3)), numpy.ones((1, 1, 2, 2)))
        for ask in (npseg.set_engine, lambda name: npseg.use_engine(name).__enter__(), resolve):
            try:
                ask("numba")
            except ValueError as error:
                assert "got 'numba': Numba is not installed (pip install numba)" in str(error), error
            else:
                raise AssertionError
    """)
    assert process.stderr == ""


def test_a_numba_that_cannot_be_imported_warns_once_and_tells_why(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.9 or less')")
    process = run(
        """
        import numpy, npseg, npseg.ops
        assert npseg.engines() == ("loops", "im2col", "sparse")
        assert npseg.get_engine() == "im2col"
        x, weight = numpy.ones((1, 1, 3, 3)), numpy.ones((1, 1, 2, 2))
        npseg.ops.conv2d(x, weight)
        try:
            npseg.ops.conv2d(x, weight, engine="numba")
        except ValueError as error:
            assert "Numba is installed, but cannot be used: ImportError: Numba needs NumPy 1.9" in str(error), error
        else:
            raise AssertionError
    """,
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
    )
    assert process.stderr.count("RuntimeWarning") == 1
    assert "'numba' cannot be used: ImportError: Numba needs NumPy 1.9 or less" in process.stderr


def test_import_loads_neither_numba_nor_anything_slow():
    run("""
        import sys, npseg, npseg.ops, npseg.models, npseg.training
        assert not {"numba", "llvmlite", "npseg.engines.numba"} & sys.modules.keys()
    """)


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
