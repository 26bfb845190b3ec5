"""The compiled engine compiles once, says so, keeps what it compiled where it can, and serves several threads."""

import shutil
import sys
from pathlib import Path

import pytest
from processes import run

import npseg

if "numba" not in npseg.engines():
    pytest.skip("Numba is not installed", allow_module_level=True)

RELU = """
    import numpy as np
    from npseg import ops, use_engine
    x = np.linspace(-1, 1, 240, dtype=np.float32)
    with use_engine("numba"):
        y = ops.relu(x)
    assert y.dtype == x.dtype and np.array_equal(y, np.maximum(x, 0))
"""
STEP = """
    import numpy as np
    from npseg import models, nn, use_engine
    from npseg.training.optimisers import Adam
    model = models.fcn(models.vgg((16, 32, 32, 32, 32), (2, 1, 1, 1, 1), fc6=32), 3, 8)
    with use_engine("numba"):
        logits, saved = model.forward(np.ones((2, 3, 64, 64), np.float32))
        _, grad = nn.cross_entropy(logits, np.zeros((2, 64, 64), int))
        Adam().update(model.parameters, model.backward(grad, saved), 0.1)
"""
NOTICE = "npseg: compiling for this processor (once, then it is kept) ...\n"
EVERY_TIME = "npseg: compiling for this processor (every time: set NUMBA_CACHE_DIR to keep it) ...\n"
NOWHERE = "/dev/null/nowhere"  # no folder, and none can be made


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache that has been filled once."""
    folder = tmp_path_factory.mktemp("cache")
    assert run(RELU, NUMBA_CACHE_DIR=str(folder)).stderr == NOTICE
    return folder


def test_a_warm_cache_compiles_nothing_and_says_nothing(cache):
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb[ci]")}
    assert run(RELU, NUMBA_CACHE_DIR=str(cache)).stderr == ""
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb[ci]")} == before


def test_every_kernel_of_a_training_step_is_kept(tmp_path):
    for notice in (NOTICE, ""):
        assert run(STEP, NUMBA_CACHE_DIR=str(tmp_path)).stderr == notice


def test_it_says_nothing_about_other_peoples_functions(cache):
    others = "import numba, npseg; numba.njit(lambda a: a + 1)(1)\n"
    assert run(RELU.replace("import numpy", others + "    import numpy"), NUMBA_CACHE_DIR=str(cache)).stderr == ""


def test_importing_and_asking_compile_nothing(tmp_path):
    code = "import npseg; npseg.engines(); npseg.engine_info(); npseg.set_engine('numba', winograd='f2')"
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""
    assert not list(tmp_path.rglob("*.nb[ci]"))


@pytest.mark.parametrize("damage", [b"", b"\x80\x04 nothing that can be read", None])
def test_a_damaged_cache_is_made_anew(cache, tmp_path, damage):
    copy = tmp_path / "cache"
    shutil.copytree(cache, copy)
    for path in copy.rglob("*.nbc" if damage is None else "*.nb[ci]"):
        path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert run(RELU, NUMBA_CACHE_DIR=str(copy)).stderr == NOTICE
    assert run(RELU, NUMBA_CACHE_DIR=str(copy)).stderr == ""


@pytest.fixture
def package(tmp_path):
    """A copy of npseg that may be changed, and the environment to use it."""
    shutil.copytree(
        Path(npseg.__file__).parent, tmp_path / "source" / "npseg", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "source" / "npseg" / "engines" / "numba", {"PYTHONPATH": str(tmp_path / "source")}


def test_a_change_in_any_file_of_the_engine_compiles_anew(package, tmp_path):
    folder, environment = package
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    assert run(RELU, **environment).stderr == NOTICE
    assert run(RELU, **environment).stderr == ""
    with (folder / "microkernel.py").open("a") as file:
        file.write("# a change\n")
    assert run(RELU, **environment).stderr == NOTICE
    assert run(RELU, **environment).stderr == ""


def test_what_a_process_with_older_sources_writes_late_is_not_used(package, tmp_path):
    """It may overwrite what the index, which is newer, names."""
    folder, environment = package
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    run(RELU, **environment)
    old = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*.nbc")}
    with (folder / "microkernel.py").open("a") as file:
        file.write("# a change\n")
    run(RELU, **environment)
    assert old.keys() == set((tmp_path / "cache").rglob("*.nbc"))
    for path, content in old.items():
        path.write_bytes(content)
    assert run(RELU, **environment).stderr == NOTICE
    assert run(RELU, **environment).stderr == ""


def test_a_read_only_package_keeps_its_kernels_in_the_users_cache(package, tmp_path):
    folder, environment = package
    (folder / "__pycache__").write_text("a file where the folder would be: nothing can be written there")
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": None}
    assert run(RELU, **environment).stderr == NOTICE
    assert run(RELU, **environment).stderr == ""
    if sys.platform.startswith("linux"):
        assert list((tmp_path / "home").rglob("*.nbc"))


def test_where_nothing_can_be_written_every_process_compiles(package):
    folder, environment = package
    (folder / "__pycache__").write_text("")
    environment |= {"XDG_CACHE_HOME": NOWHERE, "HOME": NOWHERE, "NUMBA_CACHE_DIR": NOWHERE}
    for _ in range(2):
        assert run(RELU, **environment).stderr == EVERY_TIME
    info = run("import npseg; print(npseg.engine_info()['cache_folder'])", **environment)
    assert info.stdout == "None\n"


def test_a_cache_that_cannot_be_written_any_more_is_done_without(package, tmp_path):
    """The folder is there when the kernels are declared, and gone when they are to be kept."""
    _, environment = package
    gone = "import npseg, os, shutil; npseg.engines(); shutil.rmtree(os.environ['NUMBA_CACHE_DIR'])\n"
    gone += "    open(os.environ['NUMBA_CACHE_DIR'], 'w').close()\n"
    (tmp_path / "cache").mkdir()
    code = RELU.replace("import numpy", gone + "    import numpy")
    assert run(code, **environment, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stderr == NOTICE


FORMS = """
    import sys
    import numpy as np
    from npseg import ops
    from npseg.engines.numba.winograd import Winograd
    from npseg.engines.numba.winograd_weights import WinogradWeights
    from npseg.geometry import convolution_window
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, dtype=np.float32) for shape in ((1, 8, 24, 24), (8, 8, 3, 3)))
    expected = ops.conv2d(x, weight, padding=1, engine="im2col")
    expected_grad = ops.conv2d_grad_weight(x, x, (3, 3), padding=1, engine="im2col")
    for m in map(int, sys.argv[1:]):
        y, grad_weight, window = np.empty_like(x), np.empty_like(weight), convolution_window(3, (24, 24), padding=1)
        Winograd(x.shape, x.shape, window, m).run(x, weight, y)
        WinogradWeights(x.shape, x.shape, window, m).run(x, x, grad_weight)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4 * expected.max())
        np.testing.assert_allclose(grad_weight, expected_grad, rtol=0, atol=1e-4 * expected_grad.max())
"""


def test_kernels_of_several_processes_are_not_taken_for_one_another(tmp_path):
    """Two that are made of the same text, each compiled in a process of its own, in a third one."""
    for forms in (["2"], ["4"]):
        assert run(FORMS, *forms, NUMBA_CACHE_DIR=str(tmp_path)).stderr == NOTICE
    for forms in (["2", "4"], ["4", "2"]):
        assert run(FORMS, *forms, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


def test_processes_that_compile_for_different_types_at_once_do_not_mix_them_up(tmp_path):
    """Two that read the same index each write one without the other's entry; the last stays. As if it were so:"""
    code = RELU.replace("np.float32", "np.dtype(sys.argv[1])").replace("import numpy", "import sys, numpy")
    run(code, "float32", NUMBA_CACHE_DIR=str(tmp_path))
    indices = {path: path.read_bytes() for path in tmp_path.rglob("*.nbi")}
    for path in indices:
        path.unlink()
    run(code, "float64", NUMBA_CACHE_DIR=str(tmp_path))
    for path, content in indices.items():
        path.write_bytes(content)
    assert run(code, "float32", NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


AT_ONCE = """
    import sys, threading
    import numba, numpy as np
    from npseg import ops, use_engine

    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (4, 8, 20, 24)).astype(np.float32)
    weight = rng.integers(-4, 5, (8, 8, 3, 3)).astype(np.float32)

    def calls(engine):
        with use_engine(engine):
            y = ops.conv2d(x, weight, padding=1)
            pooled, indices = ops.max_pool2d(y, 2)
            unpooled = ops.max_pool2d_backward(pooled, indices, (20, 24))
            return y, pooled, unpooled, *ops.conv2d_backward(y, x, weight, padding=1)

    expected, wrong, barrier = calls("im2col"), [], threading.Barrier(3)

    def work():
        barrier.wait()
        for _ in range(40):
            if not all(map(np.array_equal, calls("numba"), expected)):
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    print(numba.threading_layer())
"""


def layers():
    """The threading layers that this machine has."""
    import importlib

    found = ["workqueue"]
    for name, module in (("omp", "omppool"), ("tbb", "tbbpool")):
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
            found.append(name)
        except ImportError:
            pass
    return found


@pytest.mark.parametrize("layer", layers())
def test_threads_may_call_at_once_under_every_threading_layer(layer, tmp_path):
    """Compiling included: the first use is by all threads at once; then what is kept is loaded by all at once."""
    for _ in range(2):
        process = run(AT_ONCE, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2", NUMBA_CACHE_DIR=str(tmp_path))
        assert process.stdout == f"{layer}\n"
