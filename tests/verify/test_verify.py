"""The trust report: what it contains, what it refuses, what the command does with it."""

import inspect
import json

import numpy as np
import pytest

from npseg import cli, engines, ops
from npseg.flags.verifying import DEFAULT_CASES
from npseg.verify import cases, definitions, drawing, known_checks, known_operations, verify
from npseg.verify.calls import OPERATIONS
from npseg.verify.cases import draw_case, operations
from npseg.verify.checks import CHECKS, bit_equality
from npseg.verify.comparisons import Comparison, all_roundings, largest_difference, proves_nothing, roundings
from npseg.verify.report import Report, Tally
from npseg.verify.updating import OPTIMISERS, draw_course

QUICK = {"operations": ["crop2d", "max_pool2d"], "engines": ["im2col", "loops"], "cases": 3}
QUICK_WORDS = ["verify", "--operations", "crop2d", "max_pool2d", "--engines", "im2col", "loops", "--cases", "3"]
LIBRARY_FREE = [name for name in known_checks() if name != "reference"]


def without_references(**selection):
    """PyTorch alone takes seconds to import."""
    return verify(**{"checks": LIBRARY_FREE, **QUICK, **selection})


def test_every_operation_has_a_definition_and_cases():
    looked_at = {name.removesuffix("_backward") for name in OPERATIONS}
    assert set(operations()) == looked_at
    for name in operations():
        assert callable(getattr(definitions, name))
        assert draw_case(name, 0).operation == name


@pytest.mark.parametrize("operation", operations())
def test_cases_are_drawn_alike_for_a_seed_and_unlike_for_others(operation):
    one, same, other = (draw_case(operation, seed) for seed in (4, 4, 6))
    assert one.arguments.keys() == same.arguments.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, same.arrays[name])
    assert any(
        array.shape != other.arrays[name].shape or not np.array_equal(array, other.arrays[name])
        for name, array in one.arrays.items()
        if name in other.arrays
    )


def test_cases_are_uneven_and_of_both_dtypes():
    drawn = [draw_case("conv2d", seed) for seed in range(40)]
    assert {case.dtype for case in drawn} == {np.dtype(np.float32), np.dtype(np.float64)}
    assert all(case.arrays["x"].shape[2] != case.arrays["x"].shape[3] for case in drawn)
    assert any(case.arguments["groups"] > 1 for case in drawn)
    assert any(case.arguments["padding"] == "same" for case in drawn)
    for name in ("stride", "dilation"):
        assert sum(len(set(case.arguments[name])) > 1 for case in drawn) > 8
    assert sum(len(set(case.arrays["weight"].shape[2:])) > 1 for case in drawn) > 8
    uneven = [case.arguments["padding"] for case in drawn if np.ndim(case.arguments["padding"]) == 2]
    assert any(first != last for sides in uneven for first, last in sides)
    assert sum(case.large for case in drawn) == 10
    pools = [draw_case("max_pool2d", seed).arguments for seed in range(20)]
    assert {arguments["ceil_mode"] for arguments in pools} == {True, False}


def test_an_operation_without_a_drawer_is_tried_on_its_examples(monkeypatch):
    monkeypatch.delitem(drawing.DRAWERS, "relu")
    report = verify(operations=["relu"], engines=["im2col"], checks=["definition", "gradient"], cases=6)
    assert report.passed
    assert [row.cases for row in report.rows] == [5, 5]  # the large one is left to the other checks


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_updates_are_all_that_an_optimiser_may_meet(optimiser):
    courses = [draw_course(optimiser, seed) for seed in range(8)]
    assert {course.dtype for course in courses} == {np.dtype(np.float32), np.dtype(np.float64)}
    for course in courses:
        assert len(set(course.rates)) == len(course.gradients) >= 2
        assert all(name in course.parameters and scale != 1 for name, scale in course.scales.items())
        assert {name.endswith(".bias") for name in course.parameters.keys() & course.scales.keys()} == {True, False}
        assert {name.endswith(".bias") for name in course.parameters.keys() - course.scales.keys()} == {True, False}
        assert any(not array.flags.c_contiguous for array in course.parameters.values())
    assert len({frozenset(course.expected.diverged) for course in courses}) > 2


@pytest.mark.skipif("numba" not in engines(), reason="Numba is not installed")
def test_large_updates_are_several_tasks():
    from npseg.engines.numba.updates import TASK

    sizes = [max(array.size for array in draw_course("sgd", seed).parameters.values()) for seed in range(4)]
    assert [size > 2 * TASK for size in sizes] == [False, False, False, True]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_an_optimiser_is_looked_at_where_it_has_a_form_of_its_own(optimiser):
    report = verify(operations=[optimiser], cases=2)
    assert report.passed
    expected = [("im2col", "definition"), ("numba", "definition"), ("numba", "cross-engine")]
    assert [(row.engine, row.check) for row in report.rows] == [pair for pair in expected if pair[0] in engines()]


def test_nothing_is_drawn_that_proves_nothing():
    for seed in range(30):
        for operation in ("conv2d", "relu", "cross_entropy2d", "max_unpool2d"):
            case = draw_case(operation, seed)
            assert case.large or not proves_nothing(case.expected[0])


def test_the_report_says_what_was_done():
    report = without_references(seed=5)
    assert report.passed
    assert {(row.operation, row.engine) for row in report.rows} == {
        ("crop2d", "im2col"),
        ("max_pool2d", "im2col"),
        ("max_pool2d", "loops"),
    }
    assert {row.check for row in report.rows} == {
        "definition",
        "adjoint",
        "gradient",
        "matrix",
        "cross-engine",
        "bit-equality",
    }
    for row in report.rows:
        assert 1 <= row.cases <= 3
        assert 0 <= row.worst <= row.bound
        assert row.passed
        assert row.vacuous == 0
        assert row.repeat == (
            f"npseg verify --seed 5 --operations {row.operation} --engines {row.engine} --checks {row.check} --cases 3"
        )


def test_case_k_is_the_first_case_of_seed_plus_k():
    together = without_references(checks=["definition"], operations=["conv2d"], engines=["im2col"], seed=8, cases=3)
    singly = [
        without_references(checks=["definition"], operations=["conv2d"], engines=["im2col"], seed=8 + k, cases=1)
        for k in range(3)
    ]
    assert together.rows[0].worst == max(report.rows[0].worst for report in singly)


def test_json_has_this_form():
    report = json.loads(without_references().as_json())
    assert list(report) == ["seed", "cases", "checks", "passed"]
    assert (report["seed"], report["cases"], report["passed"]) == (0, 3, True)
    fields = ["operation", "engine", "check", "cases", "worst", "bound", "passed", "vacuous", "repeat"]
    assert all(list(check) == fields for check in report["checks"])
    assert all(check["vacuous"] is False and check["passed"] is True for check in report["checks"])


def test_what_proves_nothing_is_counted_and_shown():
    tally = Tally("relu", "im2col", "definition", 64.0)
    tally.add(0, roundings(np.zeros(5), np.zeros(5), np.ones(5), 1e-16))
    tally.add(1, roundings(np.arange(5.0), np.arange(5.0), np.ones(5), 1e-16))
    row = tally.row(0, 2)
    assert (row.cases, row.vacuous, row.passed) == (2, 1, True)
    report = Report(0, 2, [row])
    assert "0?" in report.text()
    assert json.loads(report.as_json())["checks"][0]["vacuous"] is True
    assert "of which 1 prove nothing" in report.verdict()


@pytest.mark.parametrize(
    ("expected", "nothing"),
    [
        (np.zeros((0, 3)), True),
        (np.zeros(7), True),
        (np.full(7, 2.5), True),
        (np.eye(20)[:, :15], True),
        (np.eye(5), False),
        (np.float64(1.5), False),
        (np.float64(0.0), True),
    ],
)
def test_comparisons_that_cannot_fail(expected, nothing):
    assert proves_nothing(expected) is nothing


def test_errors_are_counted_in_roundings():
    epsilon = np.finfo(np.float32).eps
    ours, expected = np.array([1 + 3 * epsilon, 1.0], np.float32), np.ones(2)
    assert roundings(ours, expected, np.asarray(1.0), epsilon).worst == pytest.approx(3)
    assert roundings(ours, expected, np.asarray(10.0), epsilon).worst == pytest.approx(0.3)


@pytest.mark.parametrize("ours", [np.full(3, np.nan), np.ones(4), np.ones(3, int)])
def test_what_cannot_be_compared_is_infinitely_wrong(ours):
    expected = np.arange(3.0)
    for found in (roundings(ours, expected, np.ones(3), 1e-16), largest_difference([ours], [expected])):
        assert found.worst == np.inf
        assert found.trouble
    assert all_roundings([], [expected], [expected], 1e-16).worst == np.inf


def test_the_worse_of_two_findings_counts():
    joined = Comparison(1.0, True).joined(Comparison(2.0, False, "words"))
    assert joined == Comparison(2.0, False, "words")
    assert joined.joined(None) == joined


def test_a_crash_is_a_failure(monkeypatch):
    def crash(*arguments, **keywords):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setitem(OPERATIONS, "crop2d", crash)
    report = without_references(operations=["crop2d"], engines=["im2col"])
    assert not report.passed
    assert {row.trouble for row in report.failures} == {"ZeroDivisionError: on purpose"}
    assert json.loads(report.as_json())["checks"][0]["worst"] is None
    assert "ZeroDivisionError: on purpose" in report.text()
    assert report.failures[0].repeat in report.markdown()


def test_whole_numbers_agree_bit_for_bit_or_not_at_all(monkeypatch):
    case = draw_case("nearest_unpool2d", 0, exact=True)
    assert bit_equality(case, "im2col").worst == 0
    monkeypatch.setitem(OPERATIONS, "nearest_unpool2d", lambda **given: ops.nearest_unpool2d(**given) * (1 + 2**-52))
    assert 0 < bit_equality(case, "im2col").worst < 1e-10


def test_every_check_looks_at_something_on_every_engine():
    for name, check in CHECKS.items():
        if name == "reference":
            continue
        for engine in engines():
            case = draw_case("conv2d", 0, exact=check.exact)
            found = check.find(case, engine)
            assert (found is None) is (name == "cross-engine" and engine == case.baseline)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"operations": ["conv3d"]}, "operations must be one of .*'conv2d'.*'training'.*, got 'conv3d'"),
        ({"engines": ["cuda"]}, "engines must be one of .*'loops'.*, got 'cuda'"),
        ({"checks": ["all"]}, "checks must be one of .*'checkpoint-resume'.*, got 'all'"),
        ({"cases": 0}, "cases must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"operations": ["crop2d"], "engines": ["loops"]}, "checks must leave something to do"),
    ],
)
def test_bad_arguments_are_refused_by_name(wrong, error):
    with pytest.raises(ValueError, match=error):
        without_references(**wrong)


def test_the_command_and_the_function_try_as_many_cases():
    assert inspect.signature(verify).parameters["cases"].default == DEFAULT_CASES


def test_names_are_known():
    assert set(known_operations()) == {*operations(), "sgd", "adam", "training"}
    assert known_checks()[-1] == "checkpoint-resume"
    assert set(operations()) >= cases.EXACT


@pytest.mark.parametrize("engine", ["im2col", "sparse"])
def test_a_resumed_run_is_the_run_that_never_stopped(engine):
    report = verify(operations=["training"], engines=[engine], cases=1)
    (row,) = report.rows
    assert (row.check, row.worst, row.bound, row.vacuous, row.passed) == ("checkpoint-resume", 0, 0, 0, True)


# The command


def test_the_command_prints_a_table_and_writes_markdown(capsys, tmp_path):
    words = [*QUICK_WORDS, "--checks", "definition", "matrix", "--markdown", str(tmp_path / "report.md")]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["operation", "engine", "definition", "matrix"]
    assert printed.splitlines()[-1].endswith(": all passed.")
    written = (tmp_path / "report.md").read_text()
    assert written.startswith("# npseg verify\n")
    assert "| max_pool2d | loops | 0 |" in written
    assert "- seed 0, 3 cases" in written


def test_the_command_prints_json_alone(capsys):
    assert cli.main([*QUICK_WORDS, "--checks", "definition", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


@pytest.mark.parametrize("words", [["--operations", "conv3d"], ["--engines", "cuda"], ["--checks", "luck"]])
def test_unknown_names_are_errors_of_use(words, capsys):
    assert cli.main(["verify", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith(f"npseg verify: {words[0][2:]} must be one of")


@pytest.mark.slow
def test_many_fresh_cases_pass():
    report = verify(seed=10_000, cases=40)
    assert [(row.repeat, row.worst, row.trouble) for row in report.failures] == []
    assert sum(row.vacuous for row in report.rows) == 0
