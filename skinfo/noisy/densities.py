"""Densities of T that can be fitted to some rows and tested on others.

Lengths are in units of the noise, so that T = S + Z with Z standard normal. A density is an object
with two methods: ``fit(points)`` takes rows S, (n, d), and gives itself, ``log_density(t)`` takes
values of T, (m, d), and gives natural logarithms, (m,). Every one here is a mixture of Gaussians,
or a product of such, fitted to S, to which the noise is added exactly: its covariance is that of
the fit plus the identity. ``suits(n, d)`` says whether so many rows of so many units are worth it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.linalg import solve_triangular
from scipy.stats import gamma
from sklearn.covariance import ledoit_wolf
from sklearn.mixture import GaussianMixture

from skinfo._rows import Rows
from skinfo.noisy.mixture import Mixture

_LOG_2_PI = float(np.log(2 * np.pi))
# So many rows are enough, and quick enough.
_MOST_CENTRES = 4000
# Gaussians of a line that stand for all rows on it.
_CHUNKS = 128
# A covariance is regular with this share of its trace added.
_ROUNDING = 1e-12
# Values of T at a time.
_PART = 4096


class Density(Protocol):
    """What a candidate of a stack can do."""

    def fit(self, points: np.ndarray) -> Density:
        """Learn from rows S in units of the noise, (n, d)."""

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T at values (m, d), natural, (m,)."""


class _Limited:
    """Worth fitting up to ``most_units``, and to so many rows at least."""

    most_units, fewest_rows, rows_per_unit = 512, 10, 0

    def suits(self, n: int, d: int) -> bool:
        """Whether so many rows of so many units are worth it."""
        return d <= self.most_units and n >= max(self.fewest_rows, self.rows_per_unit * d)


def log_gaussians(t: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Logarithm of each of k Gaussians, (m, k); ``covariances`` are (k, d, d) or, diagonal, (k, d).

    Examples
    --------
    >>> log_gaussians(np.zeros((1, 2)), np.zeros((1, 2)), np.eye(2)[None]).round(4).tolist()
    [[-1.8379]]
    """
    logs = np.empty((len(t), len(means)))
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        if covariance.ndim == 1:
            deviations = np.sqrt(covariance)
            along = (t - mean) / deviations
        else:
            root = np.linalg.cholesky(covariance)
            deviations = np.diagonal(root)
            along = solve_triangular(root, (t - mean).T, lower=True, check_finite=False).T
        square = np.einsum("ni,ni->n", along, along)
        logs[:, k] = -0.5 * (square + t.shape[1] * _LOG_2_PI) - np.log(deviations).sum()
    return logs


def log_sum(logs: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of exponentials along the last axis, at the speed of its exponentials.

    Examples
    --------
    >>> log_sum(np.log([[1.0, 2.0, 3.0]])).round(4).tolist(), log_sum(np.array([-np.inf, -np.inf]))
    ([1.7918], np.float64(-inf))
    """
    largest = np.maximum(logs.max(axis=-1), -1e300)
    with np.errstate(divide="ignore"):
        total: np.ndarray = largest + np.log(np.exp(logs - largest[..., None]).sum(axis=-1))
    return total


def _widened(covariances: np.ndarray, variance: float = 1.0) -> np.ndarray:
    """Covariances, (..., d, d), with a variance added, which rounding of large ones swallows."""
    largest = np.trace(covariances, axis1=-2, axis2=-1)[..., None, None]
    widened: np.ndarray = covariances + (variance + _ROUNDING * largest) * np.eye(
        covariances.shape[-1]
    )
    return widened


def _some(points: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly through them: they come in no order of their own."""
    return points[:: -(-len(points) // most)]


class Gaussian(_Limited):
    """One Gaussian of the rows' covariance (Ledoit and Wolf), ``stretch`` times as large."""

    def __init__(self, stretch: float = 1.0) -> None:
        self.stretch, self.reaches_far = stretch, stretch >= 16

    def fit(self, points: np.ndarray) -> Gaussian:
        """Find mean and covariance."""
        self._mean = points.mean(axis=0)
        covariance = ledoit_wolf(points - self._mean, assume_centered=True)[0]
        self._covariance = _widened(self.stretch * covariance)
        return self

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T, (m,)."""
        return log_gaussians(t, self._mean[None], self._covariance[None])[:, 0]


class StudentT(_Limited):
    """Multivariate t: Gaussians of one shape and of many sizes, its scale found by EM.

    The law of the sizes, an inverse gamma, is cut into ``_SIZES`` equally likely ones.
    """

    rows_per_unit = 4
    _SIZES, _STEPS, _LEAST_VARIANCE = 12, 30, 1e-3

    def __init__(self, freedom: float = 3.0) -> None:
        self.freedom, self.reaches_far = freedom, freedom <= 2

    def fit(self, points: np.ndarray) -> StudentT:
        """Find mean and scale."""
        points = _some(points, _MOST_CENTRES)
        n, d = points.shape
        self._mean, scale = np.median(points, axis=0), np.cov(points.T).reshape(d, d)
        for _ in range(self._STEPS):
            root = np.linalg.cholesky(_widened(scale, self._LEAST_VARIANCE))
            along = solve_triangular(root, (points - self._mean).T, lower=True).T
            square = np.einsum("ni,ni->n", along, along)
            weights = (self.freedom + d) / (self.freedom + square)
            self._mean = weights @ points / weights.sum()
            centred = points - self._mean
            scale = (centred * weights[:, None]).T @ centred / n
        middles = (np.arange(self._SIZES) + 0.5) / self._SIZES
        sizes = self.freedom / 2 / gamma.ppf(middles, self.freedom / 2)
        self._covariances = _widened(sizes[:, None, None] * scale)
        return self

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T, (m,)."""
        means = np.broadcast_to(self._mean, (self._SIZES, len(self._mean)))
        return log_sum(log_gaussians(t, means, self._covariances)) - np.log(self._SIZES)


class Gaussians(_Limited):
    """A mixture of ``count`` Gaussians, of full or of diagonal covariances, by EM."""

    most_units = 256
    # In units of the noise: variance that keeps a Gaussian of few rows regular.
    _LEAST_VARIANCE = 0.01

    def __init__(self, count: int, covariances: str = "full") -> None:
        self.count, self.covariances = count, covariances
        self.fewest_rows = 20 * count
        self.rows_per_unit = 2 * count if covariances == "full" else 0

    def fit(self, points: np.ndarray) -> Gaussians:
        """Run EM on the rows."""
        points = _some(points, _MOST_CENTRES)
        mixture = GaussianMixture(
            self.count, covariance_type=self.covariances,
            reg_covar=max(self._LEAST_VARIANCE, _ROUNDING * points.var(axis=0).sum()),
            tol=0.01, max_iter=200, init_params="k-means++", random_state=0,
        ).fit(points)  # fmt: skip
        found = mixture.covariances_
        self._covariances = _widened(found) if self.covariances == "full" else found + 1
        self._means = mixture.means_
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(mixture.weights_)
        return self

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T, (m,)."""
        return log_sum(log_gaussians(t, self._means, self._covariances) + self._log_weights)


class Kernels(_Limited):
    """The same Gaussian around every row, round or shaped as all rows, ``width`` times as wide.

    1 is Silverman's rule.
    """

    def __init__(self, width: float, *, shaped: bool) -> None:
        self.width, self.shaped = width, shaped
        self.most_units, self.rows_per_unit = 2**31, 4

    def fit(self, points: np.ndarray) -> Kernels:
        """Find the shape of the kernels."""
        points = _some(points, _MOST_CENTRES)
        n, d = points.shape
        self._mean = points.mean(axis=0)
        covariance = np.atleast_2d(np.cov(points.T))
        if not self.shaped:
            # Round: of the variance at which T's neighbours lie, in a direction.
            covariance = np.eye(d) * _neighbour_variance(points)
            bandwidth = self.width
        else:
            bandwidth = self.width * (4 / ((d + 2) * n)) ** (1 / (d + 4))
        variances, axes = np.linalg.eigh(covariance)
        deviations = np.sqrt(bandwidth**2 * np.maximum(variances, 0.0) + 1)
        self._map = axes / deviations
        self._log_volume = float(np.log(deviations).sum())
        rows = Rows.make((points - self._mean) @ self._map)
        self._kernels = Mixture.of(rows, 1.0)
        return self

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T, (m,)."""
        logs = self._kernels.log_density((t - self._mean) @ self._map, n_jobs=1)
        return logs - self._log_volume


def _neighbour_variance(points: np.ndarray) -> float:
    """Mean square distance of some rows to their nearest other row, per unit."""
    some = _some(points, 500)
    squares = np.einsum("ni,ni->n", some, some)
    distances = squares[:, None] + squares - 2 * some @ some.T
    np.fill_diagonal(distances, np.inf)
    return float(np.median(np.maximum(distances.min(axis=1), 0.0)) / points.shape[1])


class Product(_Limited):
    """Independent units, or principal directions, each a mixture of Gaussians on a line.

    The rows, sorted along it, are cut into chunks of equally many; each has a Gaussian of its mean
    and its variance, ``width`` times Silverman's bandwidth wider.
    """

    def __init__(self, width: float = 1.0, *, principal: bool) -> None:
        self.width, self.principal = width, principal
        self.rows_per_unit = 4 if principal else 0

    def fit(self, points: np.ndarray) -> Product:
        """Cut the rows of every unit, or direction, into chunks."""
        self._mean = points.mean(axis=0)
        self._axes = np.linalg.eigh(np.atleast_2d(np.cov(points.T)))[1] if self.principal else None
        along = np.sort(self._along(points), axis=0)
        n_chunks = min(_CHUNKS, len(along))
        starts = np.arange(n_chunks) * len(along) // n_chunks
        sizes = np.diff([*starts, len(along)])[:, None]
        self._log_shares = np.log(sizes[:, 0] / len(along))
        self._centres = np.add.reduceat(along, starts) / sizes
        off = along - np.repeat(self._centres, sizes[:, 0], axis=0)
        variances = np.add.reduceat(off**2, starts) / sizes
        quartiles = np.subtract(*np.percentile(along, [75, 25], axis=0)) / 1.34
        spread = np.minimum(along.std(axis=0), quartiles)
        bandwidth = self.width * spread * (4 / (3 * len(along))) ** 0.2
        self._deviations = np.sqrt(variances + bandwidth**2 + 1)
        return self

    def _along(self, values: np.ndarray) -> np.ndarray:
        centred = values - self._mean
        return centred if self._axes is None else centred @ self._axes

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T, (m,)."""
        logs = np.zeros(len(t))
        along = self._along(t)
        shares = self._log_shares[:, None] - np.log(self._deviations) - 0.5 * _LOG_2_PI
        for first in range(0, len(t), _PART):
            part = slice(first, first + _PART)
            for unit in range(t.shape[1]):
                z = (along[part, unit, None] - self._centres[:, unit]) / self._deviations[:, unit]
                logs[part] += log_sum(shares[:, unit] - 0.5 * z**2)
        return logs


#: What a stack is made of, beside the noise around every other row.
DENSITIES: tuple[Density, ...] = (
    *(Gaussian(stretch) for stretch in (1.0, 4.0, 16.0)),
    *(StudentT(freedom) for freedom in (2.0, 5.0)),
    *(Gaussians(count) for count in (2, 4, 8, 16)),
    Gaussians(32, "diag"),
    *(Kernels(width, shaped=True) for width in (0.5, 1.0)),
    *(Kernels(width, shaped=False) for width in (0.5, 1.0, 2.0)),
    *(Product(width, principal=p) for width in (0.0, 1.0) for p in (False, True)),
)
