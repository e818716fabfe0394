"""Published bounds: of the information, by the distances of all pairs; of the estimator's risk.

The risk is how far h(S + sigma Z), estimated from n rows, can be from the truth.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.special import ndtri

from skinfo._numba import ONE_BLAS_THREAD, in_order, slices_of
from skinfo._rows import Rows
from skinfo.noisy.kernels.blocks import BLOCK
from skinfo.noisy.kernels.pairwise import sum_divergences
from skinfo.noisy.mixture import Mixture
from skinfo.quantities import Quantity

#: Up to so many rows all pairs are summed; beyond, a sample of rows against all.
MOST_ROWS = 10_000
# Fourth powers of lengths in this range, and of their inverses, are numbers.
_SHORTEST, _LONGEST = 1e-50, 1e50


@ONE_BLAS_THREAD
def pairwise_bounds(
    X: np.ndarray,
    sigma: float | np.ndarray,
    *,
    strata: np.ndarray | None = None,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> tuple[Quantity, Quantity]:
    r"""Bound the information of rows with Gaussian noise by their pairwise distances.

    .. math::

        I_{upper} = -\frac1n \sum_i \log \frac1n \sum_j e^{-D_{KL}(p_i \| p_j)}
                  = -\frac1n \sum_i \log \frac1n \sum_j e^{-|s_i - s_j|^2 / (2 \sigma^2)}

    where all rows have the same sigma. The lower bound has the Bhattacharyya distance, Chernoff's
    of 1/2, in the place of the Kullback-Leibler divergence, and so 8 sigma^2 in that of 2 sigma^2.
    These are the "KDE" estimates of Saxe et al. (2018).

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Activations before the noise, each row an input of its own.
    sigma : float, or ndarray of shape (d,) or (n, d)
        Standard deviation of the noise, of each unit or of each row and unit.
    strata : ndarray of shape (n,) or None
        Rows of different strata are never confused, as noise does not lead from one to another.
    random_state : int
        Seed of the sample, where there are more than 10,000 rows.
    n_jobs : int or None
        Threads.

    Returns
    -------
    lower, upper : Quantity
        The bounds of I(S;T), in nats; their standard error is that of the sample of rows, which is
        noted, and 0 where all were used.

    Raises
    ------
    ValueError
        For activations that are no table of finite numbers, a sigma that is not positive or of
        another shape, strata of another number, and, where all rows have the same noise, for
        activations that span more than 1e11 sigma.

    References
    ----------
    Kolchinsky and Tracey, "Estimating Mixture Entropy with Pairwise Distances", Entropy 2017,
    equations (10) and (13).

    Examples
    --------
    >>> import numpy as np
    >>> lower, upper = pairwise_bounds(np.array([[-1.0], [1.0]]), sigma=0.5)
    >>> round(lower.value, 4), round(upper.value, 4)
    (0.5662, 0.6928)

    Gaussian dropout, whose noise is in proportion to the activation:

    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> lower, upper = pairwise_bounds(X, 0.3 * X)
    >>> round(lower.value, 4), round(upper.value, 4)
    (0.3964, 0.8401)
    """
    points = _check_points(X)
    deviations = _check_sigma(sigma, points)
    n = len(points)
    chosen = np.arange(n)
    if n > MOST_ROWS:
        chosen = np.random.default_rng(random_state).choice(n, size=MOST_ROWS, replace=False)
    if deviations.ndim == 2 or strata is not None:
        values = _of_divergences(points, deviations, strata, chosen, n_jobs)
    elif deviations.ndim == 1:
        values = _of_distances(points / deviations, 1.0, chosen, n_jobs)
    else:
        values = _of_distances(points, float(deviations), chosen, n_jobs)
    lower, upper = values

    def average(name: str, values: np.ndarray) -> Quantity:
        mean = float(values.mean())
        if len(chosen) == n:
            return Quantity.exact(name, mean)
        stderr = float(values.std(ddof=1) / np.sqrt(len(values)) * np.sqrt(1 - len(values) / n))
        return Quantity.sampled(name, mean, stderr)

    return average("mutual_info_pairwise_lower", lower), average(
        "mutual_info_pairwise_upper", upper
    )


def _of_distances(
    points: np.ndarray, sigma: float, chosen: np.ndarray, n_jobs: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """What each chosen row adds to the lower and the upper bound, with the same noise in all."""
    rows = Rows.make(points)

    def values(width: float) -> np.ndarray:
        mixture = Mixture.of(rows, width, n_jobs=n_jobs)
        return -mixture.log_ratios(
            mixture.space.place(mixture.rows, chosen), np.zeros(len(chosen)), n_jobs
        )

    # The upper one first: it is this sigma that an error of the activations' span names.
    upper = values(sigma)
    return values(2 * sigma), upper


def _of_divergences(
    points: np.ndarray,
    deviations: np.ndarray,
    strata: np.ndarray | None,
    chosen: np.ndarray,
    n_jobs: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """What each chosen row adds to the lower and the upper bound, with noise of its own in each."""
    n, d = points.shape
    codes = np.zeros(n, dtype=np.int64)
    if strata is not None:
        if np.shape(strata) != (n,):
            raise ValueError(f"strata has shape {np.shape(strata)}; one per row is ({n},).")
        codes = np.unique(strata, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes))])
    spans = np.column_stack([starts[codes[chosen]], starts[codes[chosen] + 1]])

    def in_blocks(values: np.ndarray, padding: float) -> np.ndarray:
        blocks = np.full((-(-n // BLOCK) * BLOCK, d), padding)
        blocks[:n] = values[order]
        return np.ascontiguousarray(blocks.reshape(-1, BLOCK, d).swapaxes(1, 2))

    wide = in_blocks(np.broadcast_to(deviations, points.shape), 1.0)
    rows = in_blocks(points, 0.0), wide, 1 / wide, np.log(wide).sum(axis=1)
    sums = np.empty((len(chosen), 2))

    def work(part: slice) -> None:
        sum_divergences(*rows, place[chosen[part]], spans[part], sums[part])

    for _ in in_order(work, slices_of(len(chosen)), n_jobs):
        pass
    upper, lower = np.log(n) - np.log(sums).T
    return lower, upper


def _check_points(X: np.ndarray) -> np.ndarray:
    points = np.asarray(X, dtype=np.float64)
    if points.ndim != 2 or not points.size:
        raise ValueError(
            "X must hold one row per input and one column per unit, at least one of each; got "
            f"an array of shape {points.shape}."
        )
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"X holds {points[row, column]} in row {row}, column {column}.")
    return points


def _check_sigma(sigma: float | np.ndarray, points: np.ndarray) -> np.ndarray:
    deviations = np.asarray(sigma, dtype=np.float64)
    if deviations.shape not in ((), points.shape[1:], points.shape):
        raise ValueError(
            f"sigma must be one number, one per unit, {points.shape[1:]}, or one per row and unit, "
            f"{points.shape}; got shape {deviations.shape}."
        )
    bad = np.argwhere(~((deviations > 0) & np.isfinite(deviations)))
    if len(bad):
        where = tuple(bad[0].tolist())
        at = f" at {where}" if where else ""
        raise ValueError(
            f"sigma must be a positive standard deviation; got {float(deviations[where])}{at}."
        )
    return deviations


def bounded_risk(n: float, d: int, sigma: float) -> float:
    """Bound E|h(S + sigma Z) - its estimate from n rows|, S anywhere in [-1, 1]^d, in nats.

    Parameters
    ----------
    n : float
        Number of rows, at least 2.
    d : int
        Number of units.
    sigma : float
        Standard deviation of the noise.

    Returns
    -------
    float
        The bound; inf where it exceeds floating point.

    Raises
    ------
    ValueError
        If there are fewer than 2 rows, fewer than 1 unit, or sigma is not positive.

    References
    ----------
    Goldfeld, Greenewald, Weed, Polyanskiy, "Estimating Differential Entropy under Gaussian
    Convolutions", arXiv 1810.11589, equation (52); its Table I is a test here.

    Examples
    --------
    >>> round(bounded_risk(1e9, 3, 1.0), 5)
    0.00368
    """
    _check_numbers(n=n, d=d, sigma=sigma)
    n = float(n)
    s2 = sigma**2
    side = 2 + 2 * sigma * np.sqrt(2 * np.log(n))
    c = d / 2 * np.log(2 * np.pi * s2) + d / s2
    with np.errstate(over="ignore"):
        volume = (side**2 / (4 * np.pi * s2)) ** (d / 4)
    bias = (np.log(n) + d * np.log(side) - d / 2 * np.log(np.pi * s2)) * volume / (2 * np.sqrt(n))
    spread = c**2 + 2 * c * d * (1 + s2) / s2 + 8 * d * (d + 2 * s2**2 + d * s2**2) / s2**2
    return float(bias + spread * 2 / n)


def subgaussian_risk(n: float, d: int, sigma: float, K: float) -> float:
    """Bound the same risk for rows whose every coordinate has a psi_2 norm of at most K, in nats.

    Parameters
    ----------
    n, d, sigma : float, int, float
        As for :func:`bounded_risk`, with the same errors.
    K : float
        Largest psi_2 norm of a coordinate, in the units of the activations; positive.

    Returns
    -------
    float
        The bound; inf where it exceeds floating point.

    References
    ----------
    arXiv 1810.11589, equation (59).

    Examples
    --------
    >>> bool(subgaussian_risk(1e9, 3, 1.0, 1.0) > bounded_risk(1e9, 3, 1.0))
    True
    """
    _check_numbers(n=n, d=d, sigma=sigma, K=K)
    n = float(n)
    s2, wide = sigma**2, (K + sigma) ** 2
    c = d / 2 * np.log(2 * np.pi * s2)
    inside = wide * np.log(n) / ((np.e - 1) * np.pi * s2)
    with np.errstate(over="ignore"):
        volume = (2 * inside) ** (d / 4)
    bias = (0.5 * np.log(n) + d / 4 * np.log(8 * inside)) * volume / np.sqrt(n)
    spread = (c + 2 * d * K**2 / s2) * (c + (2 * s2 * d + 3 * d * K**2) / s2) + 8 * (
        16 * d**2 * K**4 + s2**2 * d * (2 + d)
    ) / s2**2
    return float(bias + spread * np.e * d / n)


def information_risk(n: float, d: int, sigma: float) -> float:
    """Bound the risk of the estimate of I(X;T) for activations in [-1, 1]^d, in nats.

    Twice :func:`bounded_risk` plus d log(1 + 1 / sigma^2) / (4 sqrt n).

    Parameters
    ----------
    n, d, sigma : float, int, float
        As for :func:`bounded_risk`, with the same errors.

    Returns
    -------
    float
        The bound; inf where it exceeds floating point.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, Theorem 2.

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

    Raises
    ------
    ValueError
        If there are fewer than 1 unit, sigma is not positive, the bias is negative, or eps lies
        outside (0, 1/2).

    References
    ----------
    arXiv 1810.11589, Theorem 4.

    Examples
    --------
    >>> f"{min_samples(10, 0.1):.3g}"
    '4.95e+04'
    """
    if not 0 <= bias < np.inf:
        raise ValueError(f"bias is a number of nats, at least 0; got {bias!r}.")
    k = constellation_size(d, sigma, eps)
    entropy = -eps * np.log(eps) - (1 - eps) * np.log1p(-eps)
    logarithm = d * (1 - eps) * np.log(float(max(k, 1))) - bias - entropy
    return float(np.exp(logarithm)) if logarithm < 700 else np.inf


def constellation_size(d: int, sigma: float, eps: float) -> int:
    """Points along an axis that noise of this size leaves apart: k of :func:`min_samples`.

    Examples
    --------
    >>> constellation_size(11, 0.1, 0.01), constellation_size(12, 0.1, 0.01)
    (3, 2)
    """
    _check_numbers(d=d, sigma=sigma)
    if not 0 < eps < 0.5:
        raise ValueError(f"eps lies between 0 and 1/2; got {eps!r}.")
    tail = -np.expm1(np.log1p(-eps) / d) / 2
    return int(1 / (sigma * -ndtri(tail)))


def _check_numbers(*, d: int, sigma: float, n: float = 2, K: float = 1.0) -> None:
    """Check the numbers that the theorems are about."""
    if not 2 <= n <= sys.float_info.max:
        raise ValueError(f"n is a number of rows, at least 2; got {n!r}.")
    if not (d >= 1 and d % 1 == 0):
        raise ValueError(f"d is a number of units, at least 1; got {d!r}.")
    for name, value in (("sigma", sigma), ("K", K)):
        if not _SHORTEST <= value <= _LONGEST:
            raise ValueError(
                f"{name} must be positive, from {_SHORTEST:g} to {_LONGEST:g}; got {value!r}."
            )
