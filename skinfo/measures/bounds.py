"""Bounds that need no draws: pairwise bounds of the information, theorems on the risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from skinfo.measures.mixture import Mixture
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows

#: Up to so many rows all pairs are summed; beyond, a sample of rows against all.
MOST_ROWS = 10_000


@dataclass(frozen=True)
class PairwiseBounds:
    """Bounds of I(S; S + sigma Z), in nats.

    Attributes
    ----------
    lower, upper : Quantity
        The bounds; their standard error is that of the sample of rows, 0 where all were used.
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
    rows = Rows.make(np.asarray(X, dtype=np.float64))
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
        return Quantity(name, mean, stderr, mean - 1.96 * stderr, mean + 1.96 * stderr)

    return PairwiseBounds(
        lower=bound("mutual_info_pairwise_lower", 2 * sigma),
        upper=bound("mutual_info_pairwise_upper", sigma),
    )


def bounded_risk(n: float, d: int, sigma: float) -> float:
    """Bound E|h(S + sigma Z) - its estimate from n rows|, S anywhere in [-1, 1]^d, in nats.

    Parameters
    ----------
    n : float
        Number of rows.
    d : int
        Number of units.
    sigma : float
        Standard deviation of the noise.

    References
    ----------
    Goldfeld, Greenewald, Weed, Polyanskiy, "Estimating Differential Entropy under Gaussian
    Convolutions", arXiv 1810.11589, equation (52); its Table I is a test here.

    Examples
    --------
    >>> round(bounded_risk(1e9, 3, 1.0), 5)
    0.00368
    """
    s2 = sigma**2
    side = 2 + 2 * sigma * np.sqrt(2 * np.log(n))
    c = d / 2 * np.log(2 * np.pi * s2) + d / s2
    bias = (
        (np.log(n) + d * np.log(side) - d / 2 * np.log(np.pi * s2))
        * side ** (d / 2)
        / (2 * (4 * np.pi * s2) ** (d / 4) * np.sqrt(n))
    )
    spread = c**2 + 2 * c * d * (1 + s2) / s2 + 8 * d * (d + 2 * s2**2 + d * s2**2) / s2**2
    return float(bias + spread * 2 / n)


def subgaussian_risk(n: float, d: int, sigma: float, K: float) -> float:
    """Bound the same risk for rows whose every coordinate has a psi_2 norm of at most K, in nats.

    References
    ----------
    arXiv 1810.11589, equation (59).

    Examples
    --------
    >>> bool(subgaussian_risk(1e9, 3, 1.0, 1.0) > bounded_risk(1e9, 3, 1.0))
    True
    """
    s2, wide = sigma**2, (K + sigma) ** 2
    c = d / 2 * np.log(2 * np.pi * s2)
    inside = wide * np.log(n) / ((np.e - 1) * np.pi * s2)
    bias = (0.5 * np.log(n) + d / 4 * np.log(8 * inside)) * (2 * inside) ** (d / 4) / np.sqrt(n)
    spread = (c + 2 * d * K**2 / s2) * (c + (2 * s2 * d + 3 * d * K**2) / s2) + 8 * (
        16 * d**2 * K**4 + s2**2 * d * (2 + d)
    ) / s2**2
    return float(bias + spread * np.e * d / n)


def information_risk(n: float, d: int, sigma: float) -> float:
    """Bound the risk of the estimate of I(X;T) for activations in [-1, 1]^d, in nats.

    Twice :func:`bounded_risk` plus d log(1 + 1 / sigma^2) / (4 sqrt n): Goldfeld et al., ICML 2019,
    Theorem 2.

    Examples
    --------
    >>> bool(information_risk(1e9, 3, 1.0) > 2 * bounded_risk(1e9, 3, 1.0))
    True
    """
    return 2 * bounded_risk(n, d, sigma) + d * np.log1p(1 / sigma**2) / (4 * np.sqrt(n))


def min_samples(d: int, sigma: float, *, bias: float = 0.01, eps: float = 0.01) -> float:
    """Number of rows below which the plug-in of h(S + sigma Z) is biased by more than ``bias``.

    On some law in [-1, 1]^d, since n rows are told apart by log n nats at most. It grows
    exponentially with d, as the number that *any* estimator needs does (Theorem 1):

        n > k^(d (1 - eps)) exp(-(bias + H_b(eps)))
        k = floor(1 / (sigma Q^-1((1 - (1 - eps)^(1/d)) / 2)))

    Parameters
    ----------
    d : int
        Number of units.
    sigma : float
        Standard deviation of the noise.
    bias : float
        Bias aimed at, in nats.
    eps : float
        Parameter of the theorem, in (0, 1/2).

    Returns
    -------
    float
        The number; inf where it exceeds floating point.

    References
    ----------
    arXiv 1810.11589, Theorem 4.

    Examples
    --------
    >>> f"{min_samples(10, 0.1):.3g}"
    '4.95e+04'
    """
    if not 0 < eps < 0.5:
        raise ValueError(f"eps lies between 0 and 1/2; got {eps}.")
    k = constellation_size(d, sigma, eps)
    entropy = -eps * np.log(eps) - (1 - eps) * np.log1p(-eps)
    logarithm = d * (1 - eps) * np.log(max(k, 1)) - bias - entropy
    return float(np.exp(logarithm)) if logarithm < 700 else np.inf


def constellation_size(d: int, sigma: float, eps: float) -> int:
    """Points along an axis that noise of this size leaves apart: k of :func:`min_samples`.

    Examples
    --------
    >>> constellation_size(11, 0.1, 0.01), constellation_size(12, 0.1, 0.01)
    (3, 2)
    """
    tail = -np.expm1(np.log1p(-eps) / d) / 2
    return int(1 / (sigma * -ndtri(tail)))
