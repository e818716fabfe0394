"""Draws of (row, noise): randomised quasi-Monte Carlo, and the averages taken over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc
from scipy.stats import t as student

#: Independent scramblings; their spread gives the standard error.
N_RANDOMISATIONS = 16
_BITS = 30


@dataclass(frozen=True)
class Draws:
    """Points to evaluate: a row and a standard normal vector each.

    Attributes
    ----------
    rows : ndarray of shape (N_RANDOMISATIONS, m), int64
        The row drawn, with its probability.
    noise : ndarray of shape (N_RANDOMISATIONS, m, d)
        The noise in units of sigma.
    """

    rows: np.ndarray
    noise: np.ndarray


class DrawStream:
    """Scrambled Sobol points in 1 + d dimensions, in as many portions as are asked for.

    The first dimension picks the row, through the cumulative weights along ``order``; the others
    give the noise by the normal quantile function.
    """

    def __init__(self, weights: np.ndarray, order: np.ndarray, d: int, seed: int) -> None:
        self._order = order
        self._cumulative = np.cumsum(weights[order])
        seeds = np.random.SeedSequence(seed).spawn(N_RANDOMISATIONS)
        self._engines = [
            qmc.Sobol(1 + d, scramble=True, bits=_BITS, rng=np.random.default_rng(s)) for s in seeds
        ]

    def take(self, m: int) -> Draws:
        """Take the next m points of every randomisation; m is a power of two."""
        # Half a cell keeps the points inside (0, 1) and their law symmetric.
        points = np.stack([engine.random(m) for engine in self._engines]) + 0.5 ** (_BITS + 1)
        position = np.searchsorted(self._cumulative, points[..., 0] * self._cumulative[-1])
        rows = self._order[np.minimum(position, len(self._order) - 1)]
        return Draws(rows, ndtri(points[..., 1:]))


@dataclass(frozen=True)
class Average:
    """A mean with the three things that make it uncertain, each as a standard error.

    Attributes
    ----------
    mean : float
        The average.
    integration : float
        From the finite number of draws; the spread between randomisations.
    replicas : float
        From the finite number of replicas of each input.
    inputs : float
        From the finite number of inputs; it matters where they were sampled.
    """

    mean: float
    integration: float = 0.0
    replicas: float = 0.0
    inputs: float = 0.0

    def margin(self, *, sampled: bool) -> float:
        """Half the width of the 95 % interval."""
        spread = np.hypot(self.integration, self.replicas)
        if sampled:
            spread = np.hypot(spread, self.inputs)
        return float(student.ppf(0.975, N_RANDOMISATIONS - 1) * spread)

    def plus(self, other: Average) -> Average:
        """Add an independent average."""
        return Average(
            self.mean + other.mean,
            float(np.hypot(self.integration, other.integration)),
            float(np.hypot(self.replicas, other.replicas)),
            float(np.hypot(self.inputs, other.inputs)),
        )


def average_draws(
    values: np.ndarray, inputs: np.ndarray, row_weights: np.ndarray, input_weights: np.ndarray
) -> Average:
    """Average values over draws.

    Parameters
    ----------
    values : ndarray of shape (N_RANDOMISATIONS, m)
        One value a draw; -inf or inf where it cannot be known.
    inputs : ndarray of shape (N_RANDOMISATIONS, m), int64
        The input of each draw's row.
    row_weights, input_weights : ndarray
        Probabilities of all rows and of all inputs.

    Notes
    -----
    Replicas of an input are independent, and to first order a plug-in information is the mean over
    rows of the row's own contribution; so its variance over replicas is the variance within inputs
    times sum w^2. The draws' noise is part of what is measured here, which errs on the wide side.
    """
    flat = values.ravel()
    if not np.isfinite(flat).all():
        return Average(float(np.inf if np.any(flat == np.inf) else -np.inf))
    means = values.mean(axis=1)
    integration = means.std(ddof=1) / np.sqrt(N_RANDOMISATIONS)
    within, between = variance_components(flat, inputs.ravel())
    has_replicas = len(row_weights) > len(input_weights)
    return Average(
        float(means.mean()),
        float(integration),
        float(np.sqrt(within * np.sum(row_weights**2))) if has_replicas else 0.0,
        float(np.sqrt(between * np.sum(input_weights**2))),
    )


def variance_components(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Split a variance into that within groups, numbered from 0, and that between group means.

    The one-way random-effects analysis of variance. Where groups hardly repeat, nothing tells the
    two apart and both are given the whole variance.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.tile([0.0, 2.0, 10.0, 12.0], 10)
    >>> within, between = variance_components(values, np.tile([0, 0, 1, 1], 10))
    >>> round(within, 3), round(between, 3)
    (1.053, 49.947)
    """
    counts = np.bincount(groups)
    n, n_groups = len(values), int(np.count_nonzero(counts))
    whole = float(values.var(ddof=1))
    if n_groups < 2:
        return whole, 0.0
    freedom = n - n_groups
    if freedom < 30:
        return whole, whole
    means = np.bincount(groups, weights=values) / np.maximum(counts, 1)
    within = float(np.sum((values - means[groups]) ** 2) / freedom)
    between_square = float(np.sum(counts * (means - values.mean()) ** 2) / (n_groups - 1))
    typical = (n - np.sum(counts**2) / n) / (n_groups - 1)
    return within, max(0.0, float((between_square - within) / typical))
