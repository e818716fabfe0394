"""What pictures and the page of a report share, and needs no library that draws."""

from __future__ import annotations

import numpy as np

__all__ = ["BLUE", "PAIR_KINDS", "RED", "is_log"]

#: Apart in grey, too.
BLUE, RED = "#1f6f8b", "#e07a5f"
#: Pairs of rows: their name in Snapshots, what they are called, their colour.
PAIR_KINDS = (("within", "within classes", BLUE), ("between", "between classes", RED))


def is_log(epochs: np.ndarray) -> bool:
    """Whether epochs are drawn in the logarithm: they are above 0 and reach far.

    Examples
    --------
    >>> is_log(np.array([1, 30])), is_log(np.array([1, 20])), is_log(np.array([0, 100]))
    (True, False, False)
    """
    return bool(len(epochs) and epochs.min() > 0 and epochs.max() > 20 * epochs.min())
