"""The one idea behind all linear operations: a table of taps, read row by row.

Each tap is one multiplication, target += source * weight, and names the three by their flat positions. Gathered by
target, the table tells how each output comes about; scattered by source, where each input goes; and written out with
targets as rows and sources as columns it is the sparse matrix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self, overload

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Size, Window
from npseg.matrices import SparseMatrix
from npseg.teaching.traces.step import FORWARD, Index, Product, Roles, Step, WindowPlace, position_of, step_number

VIEWS = ("gather", "scatter")


@dataclass(frozen=True)
class TapTable:
    """Every multiplication, as flat positions of its target, source and weight: three equally long int64 arrays."""

    target: Array
    source: Array
    weight: Array

    def sorted(self) -> "TapTable":
        """By target; taps of one target keep their order."""
        order = np.argsort(self.target, kind="stable")
        return TapTable(self.target[order], self.source[order], self.weight[order])

    def of_batch(self, images: int, *, target: int = 0, source: int = 0, weight: int = 0) -> "TapTable":
        """The table of several images, from one image's; each array so much longer per image, 0 if all share it."""
        image = np.arange(images)[:, None]
        return TapTable(
            (self.target + image * target).ravel(),
            (self.source + image * source).ravel(),
            (self.weight + image * weight).ravel(),
        )


@dataclass(frozen=True, eq=False)
class Trace(Sequence[Step]):
    """A linear operation as a sequence of steps.

    Args:
        operation: its name in `npseg.ops`.
        source: the array that the operation is linear in.
        weight: the other factors: a kernel, a gradient, or the fixed coefficients of a matrix.
        target_shape: of the result.
        table: all taps, sorted by target.
        view: "gather" has a step for each target, "scatter" one for each source.
        roles: what the arrays are called.
        fixed: whether the weights are coefficients that cannot be learned, and so have no index.
        bias: one number a target channel.
        window: of the operation, if it has one.
        windowed: "target" or "source": whose positions the windows belong to, one window each.
        has_matrix: whether `npseg.matrices` has this map.
    """

    operation: str
    source: Array
    weight: Array
    target_shape: Index
    table: TapTable
    view: str = "gather"
    roles: Roles = FORWARD
    fixed: bool = False
    bias: Array | None = None
    window: Window | None = None
    windowed: str | None = None
    has_matrix: bool = True

    def __post_init__(self) -> None:
        checks.choice(self.view, "view", VIEWS)

    def __len__(self) -> int:
        return int(np.prod(self.key_shape))

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        if isinstance(index, slice):
            return [self._step(number) for number in range(*index.indices(len(self)))]
        return self._step(step_number(index, len(self)))

    def __iter__(self) -> Iterator[Step]:
        return (self._step(number) for number in range(len(self)))

    @property
    def key_shape(self) -> Index:
        """The shape of the array that has a step for each of its positions."""
        return self.target_shape if self.view == "gather" else self.source.shape

    @property
    def windowed_size(self) -> Size:
        """(height, width) of the array whose positions have a window each."""
        shape = self.target_shape if self.windowed == "target" else self.source.shape
        return shape[-2], shape[-1]

    @cached_property
    @np.errstate(all="ignore")
    def products(self) -> Array:
        """The product of each tap."""
        return np.asarray(self.source.ravel()[self.table.source] * self.weight.ravel()[self.table.weight])

    @cached_property
    @np.errstate(all="ignore")
    def sums(self) -> Array:
        """The running sum of its target after each tap."""
        sums = np.empty_like(self.products)
        ends = np.cumsum(np.bincount(self.table.target, minlength=int(np.prod(self.target_shape))))
        for start, stop in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):
            np.add.accumulate(self.products[start:stop], out=sums[start:stop])
        return sums

    @cached_property
    def result(self) -> Array:
        """What the operation returns, from the steps."""
        return self.after(len(self))

    @np.errstate(all="ignore")
    def after(self, steps: int) -> Array:
        """The target when so many steps are done: what no step has reached is 0. The bias comes with gathering's step,
        and with scattering's last."""
        done = self._key < steps
        result = np.zeros(int(np.prod(self.target_shape)), self.source.dtype)
        result[self.table.target[done]] = self.sums[done]  # the last of each target stays
        shaped = result.reshape(self.target_shape)
        if self.bias is not None:
            biased = shaped + self.bias[:, None, None]
            if self.view == "gather":
                shaped.reshape(-1)[:steps] = biased.reshape(-1)[:steps]
            elif steps >= len(self):
                shaped = biased
        return shaped

    def matrix(self, image: int = 0) -> SparseMatrix:
        """The map of one image as a sparse matrix: the same table, targets as rows and sources as columns."""
        images = self.target_shape[0]
        rows, columns = int(np.prod(self.target_shape)) // images, self.source.size // images
        mine = self.table.target // rows == image
        return SparseMatrix.from_taps(
            self.table.target[mine] - image * rows,
            self.table.source[mine] - image * columns,
            self.weight.ravel()[self.table.weight[mine]],
            (rows, columns),
        )

    def named(self, roles: Roles) -> Self:
        """The same trace, its arrays called otherwise."""
        return replace(self, roles=roles)

    @cached_property
    def _key(self) -> Array:
        """The step of each tap."""
        return self.table.target if self.view == "gather" else self.table.source

    @cached_property
    def _by_step(self) -> tuple[Array, Array]:
        """The taps in the order of the steps, and where each step's begin."""
        lengths = np.bincount(self._key, minlength=len(self))
        return np.argsort(self._key, kind="stable"), np.concatenate([[0], np.cumsum(lengths)])

    @np.errstate(all="ignore")
    def _step(self, number: int) -> Step:
        order, starts = self._by_step
        taps = order[starts[number] : starts[number + 1]]
        position = position_of(number, self.key_shape)
        sums = tuple(self.sums[taps].tolist())
        bias = None
        if self.view == "scatter":
            value = float(self.source[position])
        else:
            total = self.sums[taps[-1]] if len(taps) else self.source.dtype.type(0)
            if self.bias is not None:
                bias = float(self.bias[position[1]])
                total = total + self.bias[position[1]]
            value = float(total)
        plane = number % int(np.prod(self.key_shape[-2:]))
        windowed = self.windowed == ("target" if self.view == "gather" else "source")
        return Step(
            operation=self.operation,
            number=number,
            roles=self.roles,
            view=self.view,
            position=position,
            products=tuple(self._product(tap) for tap in taps),
            sums=sums,
            value=value,
            bias=bias,
            window=self._place(position) if windowed else None,
            column=plane if windowed else None,
            row=number % int(np.prod(self.key_shape[1:])) if self.has_matrix else None,
        )

    def _product(self, tap: int) -> Product:
        table = self.table
        return Product(
            input=position_of(table.source[tap], self.source.shape),
            input_value=float(self.source.ravel()[table.source[tap]]),
            weight=None if self.fixed else position_of(table.weight[tap], self.weight.shape),
            weight_value=float(self.weight.ravel()[table.weight[tap]]),
            output=position_of(table.target[tap], self.target_shape),
            product=float(self.products[tap]),
        )

    def _place(self, position: Index) -> WindowPlace:
        """Where the window of this position lies on the other side."""
        assert self.window is not None
        other = self.source.shape if self.view == "gather" else self.target_shape
        rows, columns = (
            tuple(axis.position(place, k) for k in range(axis.kernel_size))
            for axis, place in zip(self.window.axes, position[-2:], strict=True)
        )
        return WindowPlace(rows, columns, (other[-2], other[-1]))


class Stages(Sequence[Step]):
    """Several traces one after the other, such as the two convolutions of a separable one."""

    def __init__(self, *stages: Trace) -> None:
        self.stages = stages

    def __len__(self) -> int:
        return sum(map(len, self.stages))

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        stage, number = self.find(index)
        return stage[number]

    def find(self, index: int) -> tuple[Trace, int]:
        """The stage that a step belongs to, and its number there."""
        number = step_number(index, len(self))
        for stage in self.stages:
            if number < len(stage):
                break
            number -= len(stage)
        return stage, number


def from_matrix(
    operation: str,
    source: Array,
    matrix: SparseMatrix,
    target_shape: Index,
    *,
    view: str,
    roles: Roles = FORWARD,
    window: Window | None = None,
    windowed: str | None = None,
) -> Trace:
    """The trace of a map whose coefficients are fixed, from its matrix over all planes of the batch."""
    entries = np.arange(matrix.nnz)
    return Trace(
        operation,
        source,
        matrix.data,
        target_shape,
        TapTable(matrix.rows, matrix.indices, entries),
        view=view,
        roles=roles,
        fixed=True,
        window=window,
        windowed=windowed,
    )
