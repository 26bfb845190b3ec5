"""A fault anywhere in what is computed must be found: each is planted in npseg itself, and `verify` has to see it."""

import functools
import math
import shlex

import pytest
from mutants import COMPILED, KERNELS, MUTANTS, has_its_place, planted

from npseg import cli, engines
from npseg.verify import verify


def named(mutant):
    return mutant.name


@functools.cache
def passes(*selection):
    """Whether npseg as it is passes."""
    operations, on, checks, cases = selection
    return verify(operations=[operations], engines=[on], checks=[checks], cases=cases).passed


def check(mutant):
    assert passes(mutant.operation, mutant.engine, mutant.check, mutant.cases)
    with planted(mutant):
        report = verify(**mutant.selection)
    assert not report.passed
    (row,) = report.failures
    assert row.worst > row.bound
    assert math.isfinite(row.worst) or row.trouble


def test_there_are_many():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.parametrize("mutant", [*MUTANTS, *COMPILED, *KERNELS], ids=named)
def test_the_code_that_a_fault_replaces_is_there(mutant):
    if mutant in (*COMPILED, *KERNELS) and "numba" not in engines():
        pytest.skip("Numba is not installed")
    assert has_its_place(mutant)


# PyTorch alone takes seconds to import.
@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.check != "reference"], ids=named)
def test_faults_are_found(mutant):
    check(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.check == "reference"], ids=named)
def test_faults_are_found_by_comparing_with_others(mutant):
    try:
        check(mutant)
    except ValueError as error:
        if "checks must leave something to do" not in str(error):
            raise
        pytest.skip("no library that computes this operation is installed")


@pytest.mark.slow
@pytest.mark.skipif("numba" not in engines(), reason="Numba is not installed")
@pytest.mark.parametrize("mutant", [*COMPILED, *KERNELS], ids=named)
def test_faults_of_the_compiled_engine_are_found(mutant):
    check(mutant)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.operation in ("conv2d", "avg_pool2d")], ids=named
)
def test_faults_are_found_among_all_checks(mutant):
    """Not only where one knows to look: all checks of the operation, on the NumPy engines, with the default cases."""
    with planted(mutant):
        report = verify(operations=[mutant.operation], engines=["loops", "im2col", "sparse"])
    assert not report.passed


def test_the_command_that_is_printed_repeats_the_failure(capsys):
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "missing += in the input gradient")
    with planted(mutant):
        report = verify(**mutant.selection, seed=40)
        (row,) = report.failures
        program, *words = shlex.split(row.repeat)
        assert program == "npseg"
        assert words[-2:] == ["--cases", "1"]
        assert cli.main(words) == 1
        printed = capsys.readouterr().out
        assert row.repeat in printed
        repeated = verify(**{**mutant.selection, "cases": 1}, seed=int(words[words.index("--seed") + 1]))
        assert repeated.failures[0].worst <= row.worst
    assert cli.main(words) == 0
