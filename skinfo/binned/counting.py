"""Which rows share a cell: hashed in one pass over the activations, then compared in full.

No table of cell numbers is made: a row is cut into cells, hashed and forgotten. Rows of one hash
are cut again and compared; should two differ, all are hashed anew with other multipliers.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count

import numpy as np

from skinfo.binned.cells import Cells
from skinfo.binned.kernels import link_hashes


def first_rows(points: np.ndarray, cells: Cells) -> np.ndarray:
    """Find for every row the first one that falls into the same cell.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Activations.
    cells : Cells
        How rows are cut into cells.

    Returns
    -------
    ndarray of shape (n,), int64
        Numbers of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.binned.cells import WidthCells
    >>> first_rows(np.array([[0.1, 3.0], [0.9, 3.5], [1.0, 3.0]]), WidthCells(1.0)).tolist()
    [0, 0, 2]
    """
    points = np.ascontiguousarray(points)
    n, d = points.shape
    hashes = np.empty(n, dtype=np.int64)
    first = np.empty(n, dtype=np.int64)
    n_slots = 1 << int(2 * n - 1).bit_length()
    for attempt in count():
        # Hashes wrap around, which numpy mentions where the kernel is not compiled.
        with np.errstate(over="ignore"):
            cells.hash_rows(points, odd_multipliers(d, attempt), hashes)
        link_hashes(hashes, np.full(n_slots, -1, dtype=np.int64), first)
        if not cells.differ(points, first):
            break
    return first


@lru_cache(maxsize=64)
def odd_multipliers(d: int, attempt: int) -> np.ndarray:
    """Draw the multipliers of a hash, others at each attempt."""
    return np.random.default_rng([d, attempt]).integers(-(2**62), 2**62, size=d) | 1
