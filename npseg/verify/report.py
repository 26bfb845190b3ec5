"""What was found, as text, Markdown and JSON: one line for each operation and engine, one column for each check."""

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

import npseg
from npseg.verify.checks import CHECKS
from npseg.verify.comparisons import Comparison
from npseg.verify.references import judges
from npseg.verify.resuming import RESUME


@dataclass(frozen=True)
class Row:
    """One check of one operation on one engine, over its cases.

    Attributes:
        operation: its name in `npseg.ops`, "sgd", "adam" or "training".
        engine: who computed.
        check: what kind of check.
        cases: how many it had a meaning for.
        worst: the largest error, infinite where results could not be compared.
        bound: what is allowed.
        passed: whether every case stayed within it.
        vacuous: how many of the cases proved nothing.
        repeat: the command that does the same again; of a failure, its first failing case alone.
        trouble: what went wrong with the first failing case, in words.
    """

    operation: str
    engine: str
    check: str
    cases: int
    worst: float
    bound: float
    passed: bool
    vacuous: int
    repeat: str
    trouble: str = ""


@dataclass(frozen=True)
class Report:
    """All rows, and the seed and number of cases that they came from."""

    seed: int
    cases: int
    rows: Sequence[Row]

    @property
    def passed(self) -> bool:
        """Whether all did."""
        return all(row.passed for row in self.rows)

    @property
    def failures(self) -> list[Row]:
        """Those that did not."""
        return [row for row in self.rows if not row.passed]

    def as_json(self) -> str:
        """`{seed, cases, checks: [{operation, engine, check, cases, worst, bound, passed, vacuous, repeat}], passed}`.

        `worst` is null where results could not even be compared, `vacuous` true where some comparison proved nothing.
        """
        rows = [asdict(row) for row in self.rows]
        for row in rows:
            del row["trouble"]
            row["worst"] = row["worst"] if math.isfinite(row["worst"]) else None
            row["vacuous"] = row["vacuous"] > 0
        report = {"seed": self.seed, "cases": self.cases, "checks": rows, "passed": self.passed}
        return json.dumps(report, indent=2, allow_nan=False)

    def text(self) -> str:
        """A table for the terminal, then the failures with the commands that repeat them, then the verdict."""
        header, body = self._table()
        lines = [header, *body]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        table = [_aligned(line, widths) for line in lines]
        rule = "  ".join("-" * width for width in widths)
        parts = [table[0], rule, *table[1:-1], rule, table[-1], "", LEGEND, "", *self.surroundings(), ""]
        return "\n".join([*parts, *self._failures(), self.verdict()])

    def markdown(self) -> str:
        """The same as a document: what was used, the table, the failures, the verdict."""
        header, body = self._table()
        rows = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body)]
        used = [f"- seed {self.seed}, {self.cases} cases", *(f"- {name}" for name in self.surroundings())]
        failures = "\n".join(f"    {line}" for line in self._failures()).rstrip()
        parts = ["# npseg verify", self.verdict(), "\n".join(used), "\n".join(rows), LEGEND, failures]
        return "\n\n".join(part for part in parts if part) + "\n"

    def surroundings(self) -> list[str]:
        """What the numbers depend on: versions, processor, judges."""
        with npseg.use_engine(npseg.engines()[-1]):
            info = npseg.engine_info()
        numba = f", Numba {info['numba']} on {info['processor']}" if "numba" in info else ""
        python, compared = platform.python_version(), any(row.check == "reference" for row in self.rows)
        return [
            f"npseg {npseg.__version__}, Python {python}, NumPy {np.__version__}{numba}",
            f"engines: {', '.join(npseg.engines())}",
            f"references: {', '.join(judges()) if compared else 'none'}",
        ]

    def verdict(self) -> str:
        """One sentence."""
        operations, engines = len({row.operation for row in self.rows}), len({row.engine for row in self.rows})
        done = f"{len(self.rows)} checks of {operations} operations on {engines} engines"
        compared, vacuous = sum(row.cases for row in self.rows), sum(row.vacuous for row in self.rows)
        failed = len(self.failures)
        verdict = "all passed" if not failed else f"{failed} FAILED"
        nothing = f", of which {vacuous:,} prove nothing" if vacuous else ""
        return f"{done}, {compared:,} comparisons{nothing}: {verdict}."

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """The head, and a line for each operation and engine; the last line holds the bounds."""
        checks = [check for check in (*CHECKS, RESUME) if any(row.check == check for row in self.rows)]
        cells = {(row.operation, row.engine, row.check): row for row in self.rows}
        lines = [
            [operation, engine, *(_cell(cells.get((operation, engine, check))) for check in checks)]
            for operation, engine in dict.fromkeys((row.operation, row.engine) for row in self.rows)
        ]
        bounds = {row.check: f"{row.bound:.3g}" for row in self.rows}
        return ["operation", "engine", *checks], [*lines, ["bound", "", *(bounds[check] for check in checks)]]

    def _failures(self) -> list[str]:
        """Each with the command that repeats it."""
        lines = []
        for row in self.failures:
            error = row.trouble or f"error {row.worst:.3g}, bound {row.bound:.3g}"
            lines += [f"FAILED {row.operation} on {row.engine}, {row.check}: {error}", f"  {row.repeat}"]
        return [*lines, ""] if lines else []


LEGEND = """\
Worst errors: in roundings, the dtype's epsilon times the size of what was added up; of gradient, a part of that size;
of bit-equality and checkpoint-resume, the largest difference. "!" failed; "?" some comparisons proved nothing."""


def _aligned(words: Sequence[str], widths: Sequence[int]) -> str:
    """A line of the table: names to the left, numbers to the right."""
    sides = ["<", "<", *">" * (len(words) - 2)]
    return "  ".join(f"{word:{side}{width}}" for word, side, width in zip(words, sides, widths, strict=True)).rstrip()


def _cell(row: Row | None) -> str:
    """The worst error, marked where it is too large or means nothing."""
    if row is None:
        return ""
    worst = f"{row.worst:.2g}" if math.isfinite(row.worst) else "-"
    return worst + ("" if row.passed else "!") + ("?" if row.vacuous else "")


class Tally:
    """One row while its cases come in."""

    def __init__(self, operation: str, engine: str, check: str, bound: float) -> None:
        """See the class."""
        self.operation, self.engine, self.check, self.bound = operation, engine, check, bound
        self.cases = self.vacuous = 0
        self.worst = 0.0
        self.failed_at: int | None = None
        self.trouble = ""

    def add(self, seed: int, found: Comparison) -> None:
        """One case more."""
        self.cases += 1
        self.vacuous += found.vacuous
        self.worst = max(self.worst, found.worst)
        if not found.worst <= self.bound and self.failed_at is None:
            self.failed_at, self.trouble = seed, found.trouble

    def row(self, seed: int, cases: int) -> Row:
        """The row of a report with this seed and number of cases."""
        passed = self.failed_at is None
        again = (seed, cases) if self.failed_at is None else (self.failed_at, 1)
        repeat = (
            f"npseg verify --seed {again[0]} --operations {self.operation} --engines {self.engine} "
            f"--checks {self.check} --cases {again[1]}"
        )
        return Row(
            self.operation,
            self.engine,
            self.check,
            self.cases,
            self.worst,
            self.bound,
            passed,
            self.vacuous,
            repeat,
            self.trouble,
        )
