"""Which rows share a cell: hashed in one pass over the activations, then compared in full.

No table of cell numbers is made: a row is cut into cells, hashed and forgotten. Rows of one hash
are cut again and compared; should two differ, all are hashed anew with other multipliers.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import Protocol

import numpy as np

from skinfo.binned.kernels import link_hashes


class Cutting(Protocol):
    """A way to cut rows into cells."""

    def hash_rows(
        self, points: np.ndarray, rows: np.ndarray, multipliers: np.ndarray, out: np.ndarray
    ) -> None:
        """Fill ``out`` with a hash of the cell of each of the rows."""

    def differ(self, points: np.ndarray, rows: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row's cell is not that of the row it stands beside."""


def first_rows(points: np.ndarray, cells: Cutting, rows: np.ndarray | None = None) -> np.ndarray:
    """Find for every row the first one that falls into the same cell.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Activations.
    cells : Cutting
        How rows are cut into cells.
    rows : ndarray of shape (m,), int64, optional
        Rows to look at, in increasing order; all by default.

    Returns
    -------
    ndarray of shape (m,), int64
        Numbers of rows of ``points``.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.binned.cells import WidthCells
    >>> first_rows(np.array([[0.1, 3.0], [0.9, 3.5], [1.0, 3.0]]), WidthCells(1.0)).tolist()
    [0, 0, 2]
    """
    points = np.ascontiguousarray(points)
    rows = np.arange(len(points)) if rows is None else rows
    hashes = np.empty(len(rows), dtype=np.int64)
    for attempt in count():
        # Hashes wrap around, which numpy mentions where the kernel is not compiled.
        with np.errstate(over="ignore"):
            cells.hash_rows(points, rows, odd_multipliers(points.shape[1], attempt), hashes)
        first = rows[_link(hashes)]
        if not cells.differ(points, rows, first):
            break
    return first


@lru_cache(maxsize=64)
def odd_multipliers(d: int, attempt: int) -> np.ndarray:
    """Draw the multipliers of a hash, others at each attempt."""
    return np.random.default_rng([d, attempt]).integers(-(2**62), 2**62, size=d) | 1


def _link(hashes: np.ndarray) -> np.ndarray:
    """The first place that holds the same hash, for every hash."""
    table = np.full(1 << int(2 * len(hashes) - 1).bit_length(), -1, dtype=np.int64)
    first = np.empty(len(hashes), dtype=np.int64)
    link_hashes(hashes, table, first)
    return first
