"""npseg held against itself and against others, with fresh random cases: `npseg verify`.

    definitions   every operation a second time, in plain loops
    draw          random choices
    drawing       random shapes and arguments of every operation, made of them
    cases         a call with fresh numbers, and what should come out
    joined        the forms in which networks run some operations
    checks        definition, adjoint, gradient, matrix, cross-engine, bit-equality, reference
    updating      optimisers, against the rules they are named after
    resuming      a training run that is stopped and taken up again
    references    SciPy, PyTorch, ONNX
    report        table, Markdown, JSON

Case k of seed s is the case 0 of seed s + k, so a failing case is repeated alone by its own seed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from npseg import checks as arguments
from npseg import engines as all_engines
from npseg.verify.calls import engines_of, engines_of_numpy_code
from npseg.verify.cases import EXACT, draw_case
from npseg.verify.cases import operations as with_cases
from npseg.verify.checks import CHECKS, ROUNDINGS
from npseg.verify.comparisons import Comparison
from npseg.verify.report import Report, Row, Tally
from npseg.verify.resuming import RESUME, TRAINING, checkpoint_resume, training_case
from npseg.verify.updating import OPTIMISERS, UPDATE_CHECKS, draw_course

__all__ = ["Report", "Row", "known_checks", "known_operations", "verify"]

RUNS_EVERY = 8
"""Training runs take long: one for so many cases."""

TOO_SLOW = ("loops", "sparse")
"""The engines that large cases are spared."""

Unit = tuple[str, int]
"""An operation and the seed of one of its cases."""

Trial = tuple[str, str, float, Callable[[], Comparison | None]]
"""An engine, the kind of check, the error that it allows, and what finds the error."""


def known_operations() -> list[str]:
    """All names that `verify` takes for `operations`."""
    return [*with_cases(), *OPTIMISERS, TRAINING]


def known_checks() -> list[str]:
    """All names that `verify` takes for `checks`."""
    return [*CHECKS, RESUME]


def verify(
    *,
    seed: int = 0,
    cases: int = 24,
    operations: Sequence[str] | None = None,
    engines: Sequence[str] | None = None,
    checks: Sequence[str] | None = None,
    track: Callable[[Sequence[Unit]], Iterable[Unit]] = iter,
) -> Report:
    """Check operations on engines with random cases.

    Args:
        seed: of the first case; the others count up from it.
        cases: of each operation. Of four one is large, half are float32; a training run is made for every eighth.
        operations: names from `known_operations()`; None is all.
        engines: names from `npseg.engines()`; None is all.
        checks: names from `known_checks()`; None is all.
        track: is given the list of (operation, seed) to be worked through and gives it back one by one, as a progress
            bar does.

    Returns:
        What was found.

    Raises:
        TypeError, ValueError: an argument is not of this form, or nothing is left to check.
    """
    seed, cases = arguments.integer(seed, "seed", at_least=0), arguments.integer(cases, "cases", at_least=1)
    chosen = _chosen(operations, "operations", known_operations())
    on, kinds = _chosen(engines, "engines", all_engines()), _chosen(checks, "checks", known_checks())
    units = [(name, seed + k) for name in chosen for k in range(cases if name != TRAINING else -(-cases // RUNS_EVERY))]
    tallies: dict[tuple[str, str, str], Tally] = {}
    for name, number in track(units):
        for engine, check, bound, found in _findings(name, number, on, kinds):
            key = name, engine, check
            tallies.setdefault(key, Tally(*key, bound)).add(number, found)
    if not tallies:
        raise ValueError(
            f"checks must leave something to do, got operations {chosen}, engines {on} and checks {kinds}: none of "
            f"these checks has a meaning for these operations on these engines"
        )
    order = {key: place for place, key in enumerate((o, e, c) for o in chosen for e in on for c in kinds)}
    return Report(seed, cases, [tallies[key].row(seed, cases) for key in sorted(tallies, key=order.__getitem__)])


def _chosen(given: Sequence[str] | None, name: str, known: Sequence[str]) -> list[str]:
    """The names given, each once, in the order in which they are known."""
    if given is None:
        return list(known)
    for value in given:
        arguments.choice(value, name, tuple(known))
    return [value for value in known if value in given]


def _findings(
    operation: str, seed: int, engines: Sequence[str], kinds: Sequence[str]
) -> Iterator[tuple[str, str, float, Comparison]]:
    """(engine, check, bound, what it found) of one case on every engine."""
    for engine, kind, bound, find in _trials(operation, seed, engines, kinds):
        if (found := _guarded(find)) is not None:
            yield engine, kind, bound, found


def _trials(operation: str, seed: int, engines: Sequence[str], kinds: Sequence[str]) -> Iterator[Trial]:
    """All checks of one case on every engine."""
    if operation == TRAINING:
        return _trials_of_training(seed, engines, kinds)
    if operation in OPTIMISERS:
        return _trials_of_optimiser(operation, seed, engines, kinds)
    return _trials_of_operation(operation, seed, engines, kinds)


def _trials_of_training(seed: int, engines: Sequence[str], kinds: Sequence[str]) -> Iterator[Trial]:
    for engine in engines if RESUME in kinds else ():
        yield engine, RESUME, 0.0, partial(checkpoint_resume, training_case(seed), engine)


def _trials_of_optimiser(name: str, seed: int, engines: Sequence[str], kinds: Sequence[str]) -> Iterator[Trial]:
    course = draw_course(name, seed)
    for engine in engines:
        for kind in kinds if engine in engines_of_numpy_code() else ():
            if kind in UPDATE_CHECKS:
                yield engine, kind, ROUNDINGS, partial(UPDATE_CHECKS[kind], course, engine)


def _trials_of_operation(operation: str, seed: int, engines: Sequence[str], kinds: Sequence[str]) -> Iterator[Trial]:
    for exact in (False, True):
        wanted = {kind: CHECKS[kind] for kind in kinds if kind in CHECKS and CHECKS[kind].exact is exact}
        if not wanted or (exact and operation not in EXACT):
            continue
        case = draw_case(operation, seed, exact=exact)
        for engine in engines:
            if engine not in engines_of(operation) or (case.large and engine in TOO_SLOW):
                continue
            for kind, check in wanted.items():
                yield engine, kind, check.bound, partial(check.find, case, engine)


def _guarded(find: Callable[[], Comparison | None]) -> Comparison | None:
    """What a check finds; a call that ends in an error is a failure like another, with the error's words."""
    try:
        return find()
    except Exception as error:
        return Comparison(math.inf, trouble=f"{type(error).__name__}: {' '.join(str(error).split())}")
