"""The directions in which rows of activations vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skinfo._rows import Rows

# Directions whose variance, in units of sigma^2, is below this are dropped.
_FLAT = 1e-12
# A variance is known from the covariance where it exceeds so small a share of the largest.
_KNOWN = 1e-8
#: Beyond so many sigma from the mean a coordinate's rounding is no longer small against the noise.
RESOLVED = 1e11
# Numbers that are turned to double precision at a time: a megabyte, which a core keeps at hand.
_AT_A_TIME = 2**17


@dataclass(frozen=True)
class Subspace:
    """The directions in which the rows vary, in units of sigma.

    Attributes
    ----------
    origin : ndarray of shape (d,)
        The mean of the rows.
    basis : ndarray of shape (d, rank) or None
        Orthonormal directions; None where all coordinates are kept.
    sigma : float
        Standard deviation of the noise.
    dimension : int
        d.
    variances : ndarray of shape (rank,)
        Variances along principal directions in units of sigma^2.
    precision : ndarray of shape (rank, rank)
        Inverse covariance of T in the subspace, in units of sigma.
    radius : float
        Distance from the mean to the farthest row in units of sigma.
    """

    origin: np.ndarray
    basis: np.ndarray | None
    sigma: float
    dimension: int
    variances: np.ndarray
    precision: np.ndarray
    radius: float

    @classmethod
    def of(cls, rows: Rows, sigma: float) -> Subspace:
        """Find the directions of a variance that the noise does not drown utterly."""
        n, d = rows.points.shape
        origin = np.zeros(d)
        for part in _parts(n, d):
            origin += rows.weights[part] @ rows.points[part].astype(np.float64, copy=False)
        second_moment, radius = np.zeros((d, d)), 0.0
        for part in _parts(n, d):
            with np.errstate(over="ignore"):
                scaled = (rows.points[part] - origin) / sigma
                square = float(np.einsum("ni,ni->n", scaled, scaled).max())
            if not square < RESOLVED**2:
                raise ValueError(
                    f"The activations span more than {RESOLVED:.0e} sigma ({sigma:g}): in double "
                    "precision the noise is lost in their rounding. Check the units of sigma."
                )
            radius = max(radius, float(np.sqrt(square)))
            if n >= d:
                scaled *= np.sqrt(rows.weights[part])[:, None]
                second_moment += scaled.T @ scaled
        if n >= d:
            variances, directions = np.linalg.eigh(second_moment)
            if variances[0] > max(_FLAT, _KNOWN * variances[-1]):
                precision = (directions / (1 + variances)) @ directions.T
                return cls(origin, None, float(sigma), d, variances, precision, radius)
        else:
            weighted = (rows.points - origin) * (np.sqrt(rows.weights)[:, None] / sigma)
            directions = np.linalg.svd(weighted, full_matrices=False)[2].T
        # The variance along a direction, measured there: rounding in the covariance may exceed it.
        variances = np.zeros(directions.shape[1])
        for part in _parts(n, d):
            along = (rows.points[part] - origin) / sigma @ directions
            variances += rows.weights[part] @ along**2
        kept = variances > _FLAT
        whole = n >= d and bool(kept.all())
        variances = variances[kept]
        if whole:
            precision = (directions / (1 + variances)) @ directions.T
            return cls(origin, None, float(sigma), d, variances, precision, radius)
        precision = np.diag(1 / (1 + variances))
        return cls(origin, directions[:, kept], float(sigma), d, variances, precision, radius)

    @property
    def rank(self) -> int:
        """Number of directions kept."""
        return self.dimension if self.basis is None else self.basis.shape[1]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Coordinates in the subspace, in units of sigma."""
        scaled = (points - self.origin) / self.sigma
        return scaled if self.basis is None else scaled @ self.basis

    def squared_distances(self, points: np.ndarray) -> np.ndarray:
        """Squared distance from the subspace, in units of sigma^2."""
        if self.basis is None:
            return np.zeros(len(points))
        scaled = (points - self.origin) / self.sigma
        off = scaled - (scaled @ self.basis) @ self.basis.T
        return np.einsum("ni,ni->n", off, off)

    @property
    def noise_entropy(self) -> float:
        """Entropy of the noise in all d dimensions, (d / 2) log(2 pi e sigma^2)."""
        return 0.5 * self.dimension * float(np.log(2 * np.pi * np.e * self.sigma**2))

    @property
    def gaussian_information(self) -> float:
        """1/2 log det(I + Cov(S) / sigma^2): no law of this covariance carries more."""
        return 0.5 * float(np.log1p(self.variances).sum())


def _parts(n: int, d: int) -> Iterator[slice]:
    """Slices of n rows that hold few numbers each."""
    step = max(1, _AT_A_TIME // d)
    for start in range(0, n, step):
        yield slice(start, start + step)
