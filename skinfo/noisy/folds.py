"""Folds of a sample: what is fitted to the others is tested on one."""

from __future__ import annotations

import numpy as np

from skinfo._rows import Rows

#: Folds of cross-fitting.
N_FOLDS = 5


def assign_folds(rows: Rows, seed: int, n_folds: int = N_FOLDS) -> np.ndarray:
    """Give every row a fold, 0 … n_folds - 1, (n,); what was drawn together stays together.

    Folds hold equally many clusters or inputs, to one, chosen at random.

    Examples
    --------
    >>> rows = Rows.make(np.zeros((6, 1)), groups=np.array([0, 0, 1, 1, 2, 2]))
    >>> fold = assign_folds(rows, seed=0, n_folds=3)
    >>> fold[::2].tolist() == fold[1::2].tolist(), sorted(fold[::2].tolist())
    (True, [0, 1, 2])
    """
    n = len(rows.independent_weights)
    fold = np.random.default_rng(seed).permutation(np.arange(n) % n_folds)
    return np.asarray(fold[rows.independent], dtype=np.int64)
