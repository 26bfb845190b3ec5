"""The compiled engine on lesser processors, on fewer threads, and beside memory that may not be touched."""

import platform
import sys
from pathlib import Path

import pytest
from processes import finish, run

import npseg

if "numba" not in npseg.engines():
    pytest.skip("Numba is not installed", allow_module_level=True)

SCRIPT = Path(__file__).with_name("every_example.py")
BASELINE = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2",
}

ZEN = {
    "NUMBA_CPU_NAME": "znver4",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
}


def digest(*arguments, **environment):
    """What all results come to, once they have been found right."""
    return finish(SCRIPT, *arguments, **environment).stdout.split()[-1]


@pytest.fixture(scope="module")
def of_two_threads():
    return digest(NUMBA_NUM_THREADS="2")


@pytest.mark.parametrize(("threads", "of"), [(1, 1), (1, 2), (3, 3)])
def test_results_do_not_depend_on_the_number_of_threads(of_two_threads, threads, of):
    assert digest("--threads", threads, NUMBA_NUM_THREADS=str(of)) == of_two_threads


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="guards memory as Linux does")
@pytest.mark.parametrize("side", ["start", "end"])
def test_nothing_outside_of_an_array_is_touched(of_two_threads, side):
    """And what is not written is not read: the results are those without guard, bit for bit."""
    assert digest("--guard", side, NUMBA_NUM_THREADS="2") == of_two_threads


def vector_bits(environment):
    return int(run("import npseg; print(npseg.engine_info()['vector_bits'])", **environment).stdout)


def test_it_runs_where_only_the_baseline_is():
    assert vector_bits(BASELINE) == 128
    digest("--dtype", "float32", **BASELINE)


@pytest.mark.slow
def test_double_precision_runs_where_only_the_baseline_is():
    digest("--dtype", "float64", **BASELINE)


@pytest.mark.slow
def test_what_is_kept_computes_the_same_bits_as_what_was_just_compiled(of_two_threads, tmp_path):
    """A run that is resumed finds its kernels in the cache."""
    environment = {"NUMBA_NUM_THREADS": "2", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert digest(**environment) == digest(**environment) == of_two_threads


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="a processor of another family")
def test_it_runs_with_vectors_of_256_bits():
    if npseg.engine_info()["vector_bits"] < 256:
        pytest.skip("this processor has no vectors of 256 bits")
    assert vector_bits(HASWELL) == 256
    digest(**HASWELL)


COMPILED = """
    import inspect, numba
    from npseg.engines.numba import microkernel, unpacked

    numbers, table = numba.types.float32[::1], numba.types.intp[::1]
    kinds = {"a": numbers, "b": numbers, "c": numbers, "places": table, "offsets": table}
    for tiles in (microkernel.multiply_rows, unpacked.multiply_in_place):
        signature = tuple(kinds.get(name, numba.types.intp) for name in inspect.signature(tiles.py_func).parameters)
        compiled = numba.njit(tiles.py_func)
        compiled.compile(signature)
        print(compiled.inspect_asm(signature))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="a processor of another family")
def test_a_tile_stays_in_its_registers():
    """Compiled, but not run, for a processor where the compiler would do two steps in one and have too few of them."""
    vectors = [line for line in run(COMPILED, **ZEN).stdout.splitlines() if "%zmm" in line]
    assert any("vfmadd" in line for line in vectors)
    assert not [line for line in vectors if "(%rsp" in line]  # the stack
