"""The probability that a between-class distance exceeds a within-class one, by three ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skinfo.clustered.kernels import count_wins
from skinfo.quantities import Quantity

# Distances that are equal may differ in their rounding: 34 of 52 bits decide.
_IGNORED_BITS = 18


def auc_of_histograms(within: np.ndarray, between: np.ndarray) -> tuple[float, float]:
    """Compute the probability that a between-class distance exceeds a within-class one.

    Returns
    -------
    auc : float
        Pairs in one cell count half.
    tied : float
        Half the mass of such pairs: the most that the cells can hide.

    Examples
    --------
    >>> import numpy as np
    >>> auc_of_histograms(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    (0.75, 0.25)
    """
    if not (within.sum() > 0 and between.sum() > 0):
        raise ValueError(
            "No pair within a class, or none between classes, has a weight that is a number above "
            "0: the products of the weights of two rows underflow."
        )
    within, between = within / within.sum(), between / between.sum()
    below = np.cumsum(within) - within
    tied = float(np.sum(between * within)) / 2
    return float(np.sum(between * below)) + tied, tied


def binned_auc(within: np.ndarray, between: np.ndarray) -> Quantity:
    """The AUC with all that the cells can hide as its bracket."""
    auc, tied = auc_of_histograms(within, between)
    return Quantity("auc", auc, 0.0, auc - tied, auc + tied, "")


def rank_keys(squares: np.ndarray) -> np.ndarray:
    """Integers that order squared distances; equal where these differ by rounding alone.

    Examples
    --------
    >>> import numpy as np
    >>> keys = rank_keys(np.array([0.3, 0.1 + 0.2, 0.31]))
    >>> bool(keys[0] == keys[1]), bool(keys[1] < keys[2])
    (True, True)
    """
    bits = np.ascontiguousarray(squares).view(np.int64)
    return (bits + (1 << (_IGNORED_BITS - 1))) >> _IGNORED_BITS


def ranked_auc(
    within: Sequence[np.ndarray], between: Sequence[np.ndarray], masses: tuple[float, float]
) -> Quantity:
    """The exact AUC of all pairs, ties counting half.

    Parameters
    ----------
    within, between : sequences of ndarray
        Sorted keys of the distances, in parts.
    masses : tuple of float
        How many there are in all.
    """
    wins = sum(int(count_wins(low, high)) for low in within for high in between)
    return Quantity.exact("auc", wins / 2 / masses[0] / masses[1], "")


def weighted_auc(
    within: tuple[np.ndarray, np.ndarray], between: tuple[np.ndarray, np.ndarray]
) -> Quantity:
    """The exact AUC of pairs that weigh differently: (keys, weights) of each kind."""
    keys = np.concatenate([within[0], between[0]])
    _, level = np.unique(keys, return_inverse=True)
    n, n_levels = len(within[0]), int(level.max()) + 1
    low = np.bincount(level[:n], weights=within[1], minlength=n_levels)
    high = np.bincount(level[n:], weights=between[1], minlength=n_levels)
    return Quantity.exact("auc", auc_of_histograms(low, high)[0], "")


def sampled_auc(within: np.ndarray, between: np.ndarray) -> Quantity:
    """The AUC of two independent samples of pairs, with the standard error that leaves.

    DeLong, DeLong and Clarke-Pearson, Biometrics 1988: the variances of the share of the other
    sample that each distance beats, over the sizes of the samples. Two more shares, 0 and 1, enter
    each variance (Agresti and Coull, 1998): a sample in which no pair overlaps proves nothing.
    """
    low, high = np.sort(within), np.sort(between)
    beaten = _shares_below(low, high)
    beats = 1 - _shares_below(high, low)
    variances = [np.append(shares, [0.0, 1.0]).var(ddof=1) for shares in (beaten, beats)]
    stderr = float(np.sqrt(variances[0] / len(high) + variances[1] / len(low)))
    return Quantity.sampled("auc", float(beaten.mean()), stderr, "")


def _shares_below(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of a sorted sample below each value, equal ones counting half."""
    left = np.searchsorted(sample, values, "left")
    return (left + np.searchsorted(sample, values, "right")) / (2 * len(sample))
