"""Bounds of the information that need no draws: by the distances of all pairs of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo._rows import Rows
from skinfo.noisy.mixture import Mixture
from skinfo.quantities import Quantity

__all__ = ["PairwiseBounds", "pairwise_bounds"]

#: Up to so many rows all pairs are summed; beyond, a sample of rows against all.
MOST_ROWS = 10_000


@dataclass(frozen=True)
class PairwiseBounds:
    """Bounds of I(S; S + sigma Z), in nats.

    Attributes
    ----------
    lower, upper : Quantity
        The bounds; their standard error is that of the sample of rows, which is noted, and 0 where
        all were used.
    """

    lower: Quantity
    upper: Quantity


def pairwise_bounds(
    X: np.ndarray, sigma: float, *, seed: int = 0, n_jobs: int | None = None
) -> PairwiseBounds:
    r"""Bound the information of rows with Gaussian noise by their pairwise distances.

    .. math::

        I_{upper} = -\frac1n \sum_i \log \frac1n \sum_j e^{-|s_i - s_j|^2 / (2 \sigma^2)}

    and the lower bound has 8 sigma^2 in the place of 2 sigma^2. These are the "KDE" estimates of
    Saxe et al. (2018).

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Activations before the noise, each row an input of its own.
    sigma : float
        Standard deviation of the noise.
    seed : int
        Seed of the sample, where there are more than 10,000 rows.
    n_jobs : int or None
        Threads.

    Returns
    -------
    PairwiseBounds
        The bounds.

    Raises
    ------
    ValueError
        For activations that are no table of finite numbers, a sigma that is not positive, and
        activations that span more than 1e11 sigma.

    References
    ----------
    Kolchinsky and Tracey, "Estimating Mixture Entropy with Pairwise Distances", Entropy 2017,
    equations (10) and (13).

    Examples
    --------
    >>> import numpy as np
    >>> bounds = pairwise_bounds(np.array([[-1.0], [1.0]]), sigma=0.5)
    >>> round(bounds.lower.value, 4), round(bounds.upper.value, 4)
    (0.5662, 0.6928)
    """
    rows = Rows.make(_check(X, sigma))
    n = len(rows.points)
    chosen = np.arange(n)
    if n > MOST_ROWS:
        chosen = np.random.default_rng(seed).choice(n, size=MOST_ROWS, replace=False)

    def bound(name: str, width: float) -> Quantity:
        mixture = Mixture.of(rows, width)
        values = -mixture.log_ratios(
            mixture.subspace.project(mixture.rows.points[chosen]), np.zeros(len(chosen)), n_jobs
        )
        mean = float(values.mean())
        if len(chosen) == n:
            return Quantity.exact(name, mean)
        stderr = float(values.std(ddof=1) / np.sqrt(len(values)) * np.sqrt(1 - len(values) / n))
        return Quantity.sampled(name, mean, stderr)

    # The upper one first: it is this sigma that an error of the activations' span names.
    upper = bound("mutual_info_pairwise_upper", sigma)
    return PairwiseBounds(bound("mutual_info_pairwise_lower", 2 * sigma), upper)


def _check(X: np.ndarray, sigma: float) -> np.ndarray:
    """Check what users hand in."""
    if not (sigma > 0 and np.isfinite(sigma)):
        raise ValueError(f"sigma must be a positive standard deviation; got {sigma!r}.")
    points = np.asarray(X, dtype=np.float64)
    if points.ndim != 2 or not points.size:
        raise ValueError(
            "X must hold one row an input and one column a unit, at least one of each; got an "
            f"array of shape {points.shape}."
        )
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"X holds {points[row, column]} in row {row}, column {column}.")
    return points
