"""One step of an operation: the multiplications behind one output, or behind one input that is sent out."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from npseg import checks

Index: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Roles:
    """What the three arrays of a linear operation are called: target = sum of source * weight."""

    source: str = "input"
    weight: str = "kernel"
    target: str = "output"


FORWARD = Roles()
GRADIENTS = Roles("gradient of the output", "kernel", "gradient of the input")


@dataclass(frozen=True)
class Product:
    """One multiplication, and where it goes.

    Attributes:
        input: index of the first factor, and `input_value`, what stands there.
        weight: index of the second factor, None where the coefficient is fixed, as in a mean; and `weight_value`.
        output: index of the sum that the product is added to.
        product: input_value * weight_value.
    """

    input: Index
    input_value: float
    weight: Index | None
    weight_value: float
    output: Index
    product: float

    def __str__(self) -> str:
        return f"{number(self.input_value)}*{operand(self.weight_value)}"


@dataclass(frozen=True)
class WindowPlace:
    """Where a window lies: the rows and the columns under its taps, those on padding included."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    inside: tuple[int, int]

    @property
    def real(self) -> tuple[tuple[int, int], ...]:
        """The (row, column) of each tap that is on a pixel and not on padding."""
        height, width = self.inside
        return tuple((h, w) for h in self.rows if 0 <= h < height for w in self.columns if 0 <= w < width)

    def __str__(self) -> str:
        """The size, the distance of the taps if it is not 1, and the top left corner."""
        text = f"{len(self.rows)}x{len(self.columns)} window"
        gaps = tuple(line[1] - line[0] if len(line) > 1 else 1 for line in (self.rows, self.columns))
        if gaps != (1, 1):
            text += f" with dilation {gaps[0]}" if gaps[0] == gaps[1] else f" with dilation {gaps}"
        return text


@dataclass(frozen=True)
class Step:
    """One row of the table of taps: everything that makes one output (or, scattering, that one input gives away).

    Attributes:
        operation: its name in `npseg.ops`.
        number: which step of its trace it is, from 0 (where there are several stages, of its stage).
        roles: what the arrays are called.
        view: "gather" (one output collects its products) or "scatter" (one input sends products to many outputs).
        position: the index of that output, or of that input.
        products: the multiplications, padding left out.
        sums: the running sum after each product; scattering, what its output has become.
        value: gathering, the last sum with the bias; scattering, the value that is sent.
        bias: what is added after the last product, None where there is none.
        window: the place of the window, where there is one: on the input if gathering, else on the output.
        column: the im2col column that the window is copied to (or, scattering, from), None without a window.
        row: gathering, the row of the operation's sparse matrix; scattering, its column, so its transpose's row; None
            where `npseg.matrices` has no matrix.
        columns_row: of a weight's gradient, the row of the im2col columns that it sums over.
    """

    operation: str
    number: int
    roles: Roles
    view: str
    position: Index
    products: tuple[Product, ...]
    sums: tuple[float, ...]
    value: float
    bias: float | None = None
    window: WindowPlace | None = None
    column: int | None = None
    row: int | None = None
    columns_row: int | None = None

    def __str__(self) -> str:
        """The step as sentences."""
        told = self.gathered() if self.view == "gather" else self.scattered()
        return " ".join(sentence for sentence in (told, self.placed()) if sentence)

    @property
    def formula(self) -> str:
        """The sum with its numbers: "1*2 + 3*(-1) = -1"."""
        text = " + ".join(map(str, self.products)) or "0"
        if self.bias is not None:
            text += f" + bias {operand(self.bias)}"
        return f"{text} = {number(self.value)}"

    def gathered(self) -> str:
        """How the output comes about."""
        name = f"{capital(self.roles.target)} {self.position}"
        if self.window is not None:
            return f"{name} looks through the {self.window} {self.corner()}: {self.formula}{self.missed()}."
        if not self.products:
            return f"Nothing of the {self.roles.source} reaches {self.roles.target} {self.position}: it stays 0."
        if len(self.products) == 1 and self.bias is None and self.products[0].weight_value == 1:
            return f"{name} is a copy of {self.roles.source} {self.products[0].input}: {number(self.value)}."
        return f"{name} collects {plural(len(self.products), 'product')}: {self.formula}."

    def scattered(self) -> str:
        """Where the input's value goes."""
        name = f"{capital(self.roles.source)} {self.position} = {number(self.value)}"
        if not self.products:
            return f"{name} is sent nowhere."
        sent = "; ".join(
            f"+= {product} at {product.output}, now {number(total)}"
            for product, total in zip(self.products, self.sums, strict=True)
        )
        through = f" through the {self.window} {self.corner()}" if self.window is not None else ""
        met = any(total != product.product for product, total in zip(self.products, self.sums, strict=True))
        overlap = " Where something stands already, += adds to it." if met else ""
        return f"{name} is sent to the {self.roles.target}{through}: {sent}{self.missed()}.{overlap}"

    def corner(self) -> str:
        """Where the window begins."""
        assert self.window is not None
        side = self.roles.source if self.view == "gather" else self.roles.target
        row, column = self.window.rows[0], self.window.columns[0]
        outside = "" if (row, column) in self.window.real else " (outside)"
        return f"whose top left is at row {row}, column {column} of the {side}{outside}"

    def missed(self) -> str:
        """How many taps see no pixel."""
        if self.window is None:
            return ""
        taps = len(self.window.rows) * len(self.window.columns)
        outside = taps - len(self.window.real)
        what = "padding" if self.view == "gather" else "what is cropped"
        return f" ({outside} of {taps} taps on {what})" if outside else ""

    def placed(self) -> str:
        """Where the step stands among the columns of im2col and in the sparse matrix."""
        if self.columns_row is not None:
            return (
                f"It is row {self.position[0]} of the {self.roles.weight}, as a matrix, times row {self.columns_row} "
                f"of the im2col matrix of the {self.roles.source}."
            )
        places = []
        if self.column is not None:
            places.append(f"column {self.column} of the im2col matrix")
        if self.row is not None and self.view == "gather":
            places.append(f"row {self.row} of the sparse matrix")
        elif self.row is not None:
            places.append(f"column {self.row} of the sparse matrix (row {self.row} of its transpose)")
        return f"It is {' and '.join(places)}." if places else ""


def position_of(flat: int, shape: Index) -> Index:
    """A flat position as an index of plain integers."""
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def step_number(index: int, steps: int) -> int:
    """The number of a step, counted from the end if negative, as in any sequence."""
    number = index + steps if checks.integer(index, "step") < 0 else index
    if not 0 <= number < steps:
        raise IndexError(f"step must lie in 0 ... {steps - 1}, got {index}")
    return number


def number(value: float, digits: int = 4) -> str:
    """A number without needless digits."""
    text = f"{value:.{digits}g}"
    return "0" if text == "-0" else text


def operand(value: float) -> str:
    """A number that may follow a sign."""
    text = number(value)
    return f"({text})" if text.startswith("-") else text


def plural(count: int, noun: str) -> str:
    """A counted noun: "1 tap", "2 taps"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def capital(text: str) -> str:
    """The same with a large first letter."""
    return text[:1].upper() + text[1:]
