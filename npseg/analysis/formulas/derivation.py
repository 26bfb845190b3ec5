"""Formulas that print themselves: one expression gives the formula, the same with numbers in it, and its value.

A `Term` is written in Python as in a textbook, and remembers how it was written:

    >>> K, C, M = Term.of("K", 3), Term.of("C", 64), Term.of("M", 128)
    >>> term = K * K * C + C * M
    >>> term.formula, term.numbers, term.value
    ('K*K*C + C*M', '3*3*64 + 64*128', 8768)

So what is printed is what was computed. A `Derivation` collects such lines in the order in which one would write them
on a blackboard; each line's result is a term of its own, which later lines use by its name.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from npseg import checks

Value = int | Fraction

SUM, PRODUCT, ATOM = 0, 1, 2
"""How tightly a term's outermost operation binds."""


@dataclass(frozen=True)
class Term:
    """An exact number and how it came about.

    Attributes:
        formula: in symbols.
        numbers: the same with each symbol's number in its place.
        value: what it comes to.
        binding: SUM, PRODUCT or ATOM: what needs parentheses where.
    """

    formula: str
    numbers: str
    value: Value
    binding: int = ATOM

    @classmethod
    def of(cls, symbol: str, value: Value) -> Self:
        """A symbol that stands for a number."""
        return cls(symbol, f"{value:,}" if isinstance(value, int) else f"({value})", value)

    def __add__(self, other: "Term | int") -> "Term":
        other = _term(other)
        return self._joined(" + ", other, self.value + other.value, SUM)

    def __sub__(self, other: "Term | int") -> "Term":
        other = _term(other)
        return self._joined(" - ", other, self.value - other.value, SUM)

    def __mul__(self, other: "Term | int") -> "Term":
        other = _term(other)
        return self._joined("*", other, self.value * other.value, PRODUCT)

    def __truediv__(self, other: "Term | int") -> "Term":
        other = _term(other)
        return self._joined("/", other, _whole(Fraction(self.value) / other.value), PRODUCT)

    def __rsub__(self, other: int) -> "Term":
        return _term(other) - self

    def __rmul__(self, other: int) -> "Term":
        return _term(other) * self

    def __rtruediv__(self, other: int) -> "Term":
        return _term(other) / self

    def _joined(self, operator: str, other: "Term", value: Value, binding: int) -> "Term":
        # After "-" and "/" the other side must bind tighter: a - (b + c), a/(b*c).
        tighter = binding + (operator in (" - ", "/"))
        formula = self._within(self.formula, binding) + operator + other._within(other.formula, tighter)
        numbers = self._within(self.numbers, binding) + operator + other._within(other.numbers, tighter)
        return Term(formula, numbers, value, binding)

    def _within(self, text: str, binding: int) -> str:
        """In parentheses where the operation around binds tighter than this one."""
        return f"({text})" if self.binding < binding else text


def _term(value: Term | int) -> Term:
    return value if isinstance(value, Term) else Term.of(str(value), value)


def _whole(value: Fraction) -> Value:
    return int(value) if value.denominator == 1 else value


def written(value: Value) -> str:
    """A whole number with commas; a fraction as such, then to four digits.

    >>> written(115605504), written(Fraction(137, 1152))
    ('115,605,504', '137/1152 = 0.1189')
    """
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value.numerator}/{value.denominator} = {float(value):.4g}"


@dataclass(frozen=True)
class Line:
    """One line of a derivation: symbol = formula = numbers = value, then a remark.

    A line that is given has neither formula nor numbers; one that only remarks has no value either.
    """

    symbol: str = ""
    formula: str = ""
    numbers: str = ""
    value: Value | None = None
    remark: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; fractions become numbers with a point."""
        value = float(self.value) if isinstance(self.value, Fraction) else self.value
        return {
            "symbol": self.symbol,
            "formula": self.formula,
            "numbers": self.numbers,
            "value": value,
            "remark": self.remark,
        }


class Derivation:
    """Lines as they are written one below the other.

    >>> work = Derivation()
    >>> K, C = work.given("K", 3, "kernel size"), work.given("C", 64, "channels")
    >>> weights = work.derive("weights", K * K * C, "one kernel for each channel")
    >>> print(explained(work.lines))
    K       = 3  (kernel size)
    C       = 64  (channels)
    weights = K*K*C = 3*3*64 = 576
              one kernel for each channel
    """

    def __init__(self) -> None:
        self._lines: list[Line] = []

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is written so far."""
        return tuple(self._lines)

    def given(self, symbol: str, value: int, meaning: str) -> Term:
        """A number to start from."""
        self._lines.append(Line(symbol, value=value, remark=meaning))
        return Term.of(symbol, value)

    def derive(self, symbol: str, term: Term, remark: str = "") -> Term:
        """A number that follows from those above."""
        self._lines.append(Line(symbol, term.formula, term.numbers, term.value, remark))
        return Term.of(symbol, term.value)

    def remark(self, text: str) -> None:
        """A sentence."""
        self._lines.append(Line(remark=text))


def explained(lines: Sequence[Line], width: int = 100) -> str:
    """The lines as text, equality signs below each other; what is too long for one line goes on in the next."""
    if not isinstance(lines, Sequence) or not all(isinstance(line, Line) for line in lines):
        raise TypeError(f"lines must be a sequence of lines of a derivation, got {checks.describe(lines)}")
    checks.integer(width, "width", at_least=1)
    indent = max((len(line.symbol) for line in lines), default=0)
    return "\n".join(row for line in lines for row in _rows(line, indent, width))


def _rows(line: Line, indent: int, width: int) -> list[str]:
    """One line of a derivation, as lines of text."""
    if line.value is None:
        return ["", *textwrap.wrap(line.remark, width)]
    head, gap = line.symbol.ljust(indent), " " * indent
    value = written(line.value)
    if not line.formula:
        return [f"{head} = {value}  ({line.remark})"]
    steps = list(dict.fromkeys([line.formula, line.numbers, value]))
    whole = f"{head} = {' = '.join(steps)}"
    rows = [whole] if len(whole) <= width else [f"{head} = {steps[0]}", *(f"{gap} = {step}" for step in steps[1:])]
    return rows + textwrap.wrap(line.remark, width, initial_indent=f"{gap}   ", subsequent_indent=f"{gap}   ")
