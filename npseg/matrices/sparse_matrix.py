"""The matrix itself: compressed sparse rows, and two ways to build a large one from small ones.

Three arrays: row r owns `data[indptr[r]:indptr[r + 1]]`, which stand in the columns `indices[indptr[r]:indptr[r + 1]]`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from npseg import checks
from npseg.checks import Array


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A matrix of compressed sparse rows; the columns of a row are sorted and none stands twice.

    Args:
        data: (nnz,) the entries, row by row; a stored entry may be zero.
        indices: (nnz,) int64, the column of each entry.
        indptr: (rows + 1,) int64, where each row starts in `data`.
        shape: (rows, columns).

    >>> matrix = SparseMatrix(np.array([2.0, 3.0]), np.array([0, 2]), np.array([0, 1, 2]), (2, 3))
    >>> matrix.toarray()
    array([[2., 0., 0.],
           [0., 0., 3.]])
    >>> matrix @ np.array([1.0, 10.0, 100.0])
    array([  2., 300.])
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple) or len(self.shape) != 2:
            raise TypeError(f"shape must be a tuple (rows, columns), got {checks.describe(self.shape)}")
        rows, columns = (checks.integer(length, "shape", at_least=0) for length in self.shape)
        if checks.array(self.data, "data").dtype.kind not in "biuf":
            raise TypeError(f"data must be numbers, got {checks.describe(self.data)}")
        checks.indices(self.indices, "indices", "(N,)")
        checks.indices(self.indptr, "indptr", "(rows,)")
        checks.shape(self.data, "data", self.indices.shape, "one entry for each of indices")
        checks.shape(self.indptr, "indptr", (rows + 1,), "rows + 1")
        if self.indptr[0] != 0 or self.indptr[-1] != self.nnz or np.any(self.indptr[1:] < self.indptr[:-1]):
            raise ValueError(f"indptr must rise from 0 to the {self.nnz} entries, got {self.indptr}")
        if self.nnz and (self.indices.min() < 0 or self.indices.max() >= columns):
            raise ValueError(
                f"indices must lie in 0 ... {columns - 1}, got {self.indices.min()} ... {self.indices.max()}"
            )

    @classmethod
    def from_taps(cls, rows: Array, columns: Array, data: Array, shape: tuple[int, int]) -> Self:
        """A matrix from its entries, which come sorted by row, then column."""
        lengths = np.bincount(rows, minlength=shape[0])
        return cls(data, columns, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), shape)

    @property
    def nnz(self) -> int:
        """The stored entries: the multiplications of one product with a vector."""
        return len(self.data)

    @property
    def row_lengths(self) -> Array:
        """(rows,) the number of entries in each row."""
        return np.diff(self.indptr)

    @property
    def rows(self) -> Array:
        """(nnz,) the row of each entry."""
        return np.repeat(np.arange(self.shape[0]), self.row_lengths)

    @cached_property
    def T(self) -> "SparseMatrix":  # noqa: N802 (NumPy's name)
        """The transpose: the same entries, sorted by column instead of row."""
        checks.fits_memory((self.shape[1] + 1,), 8, "matrix", "the transpose's indptr")
        order = np.argsort(self.indices, kind="stable")
        return SparseMatrix.from_taps(
            self.indices[order], self.rows[order], self.data[order], (self.shape[1], self.shape[0])
        )

    @np.errstate(all="ignore")
    def __matmul__(self, x: Array) -> Array:
        """The product with a vector (columns,) or with several side by side (columns, k)."""
        x = checks.array(x, "x")
        if x.ndim not in (1, 2) or x.shape[0] != self.shape[1]:
            raise ValueError(f"x must have shape ({self.shape[1]},) or ({self.shape[1]}, k), got {x.shape}")
        checks.same_dtype(matrix=self.data, x=x)
        vectors = x[:, None] if x.ndim == 1 else x
        checks.fits_memory((self.nnz, vectors.shape[1]), x.itemsize, "x", "the products")
        result = np.zeros((self.shape[0], vectors.shape[1]), x.dtype)
        filled = self.row_lengths > 0
        if filled.any():
            products = self.data[:, None] * vectors[self.indices]
            result[filled] = np.add.reduceat(products, self.indptr[:-1][filled], axis=0)
        return result.reshape(self.shape[0], *x.shape[1:])

    def toarray(self) -> Array:
        """The dense matrix, zeros written out.

        Raises:
            ValueError: it would take more than 64 GiB.
        """
        checks.fits_memory(self.shape, self.data.itemsize, "matrix", "the dense matrix")
        dense = np.zeros(self.shape, self.data.dtype)
        dense[self.rows, self.indices] = self.data
        return dense

    def to_scipy(self) -> Any:
        """The same matrix as a `scipy.sparse.csr_array`.

        Raises:
            ImportError: SciPy is not installed.
        """
        try:
            from scipy.sparse import csr_array  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError("to_scipy needs SciPy, which is not installed: pip install scipy") from error
        return csr_array((self.data, self.indices, self.indptr), shape=self.shape)


def identity(size: int, dtype: DTypeLike) -> SparseMatrix:
    """Ones on the diagonal."""
    positions = np.arange(size, dtype=np.int64)
    return SparseMatrix.from_taps(positions, positions, np.ones(size, dtype), (size, size))


def kronecker(a: SparseMatrix, b: SparseMatrix, name: str) -> SparseMatrix:
    """The Kronecker product: entry (i, j) of `a` times the whole of `b`.

    With `a` acting on rows and `b` on columns it acts on the flattened image, which makes any separable operation, such
    as bilinear interpolation, one matrix. `name` is the argument to blame where the result would not fit.
    """
    checks.fits_memory((a.shape[0], b.shape[0]), 8, name, "the sparse matrix's rows")
    checks.fits_memory((a.nnz, b.nnz), 4 * 8, name, "the sparse matrix's entries")
    entries = np.outer(a.row_lengths, b.row_lengths).ravel()
    rows = np.repeat(np.arange(len(entries)), entries)
    within_row = np.arange(len(rows)) - np.repeat(np.cumsum(entries) - entries, entries)
    row_a, row_b = np.divmod(rows, b.shape[0])
    entry_a, entry_b = np.divmod(within_row, b.row_lengths[row_b])
    entry_a += a.indptr[row_a]
    entry_b += b.indptr[row_b]
    columns = a.indices[entry_a] * b.shape[1] + b.indices[entry_b]
    shape = a.shape[0] * b.shape[0], a.shape[1] * b.shape[1]
    return SparseMatrix.from_taps(rows, columns, a.data[entry_a] * b.data[entry_b], shape)


def each_channel(channels: Any, rows: SparseMatrix, columns: SparseMatrix, name: str) -> SparseMatrix:
    """A separable operation on every channel by itself: a block diagonal of one plane's matrix.

    `name` is the argument to blame where not even the plane's matrix would fit in memory.
    """
    channels = checks.integer(channels, "channels", at_least=1)
    plane = kronecker(rows, columns, name)
    checks.fits_memory((channels, plane.nnz), 4 * 8, "channels", "the sparse matrix's entries")
    return kronecker(identity(channels, rows.data.dtype), plane, "channels")
