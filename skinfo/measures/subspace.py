"""The directions in which rows of activations vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo.measures.rows import Rows

# Directions whose variance, in units of sigma^2, is below this are dropped.
_FLAT = 1e-12
# Beyond so many sigma from the mean a coordinate's rounding is no longer small against the noise.
_RESOLVED = 1e11


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
    """

    origin: np.ndarray
    basis: np.ndarray | None
    sigma: float
    dimension: int

    @classmethod
    def of(cls, rows: Rows, sigma: float) -> Subspace:
        """Find the directions of a variance that the noise does not drown utterly."""
        d = rows.points.shape[1]
        origin = rows.weights @ rows.points.astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            scaled = (rows.points - origin) / sigma
        if not np.abs(scaled).max() < _RESOLVED:
            raise ValueError(
                f"The activations span more than {_RESOLVED:.0e} sigma ({sigma:g}): in double "
                "precision the noise is lost in their rounding. Check the units of sigma."
            )
        weighted = scaled * np.sqrt(rows.weights)[:, None]
        if len(scaled) >= d:
            _, directions = np.linalg.eigh(weighted.T @ weighted)
        else:
            directions = np.linalg.svd(weighted, full_matrices=False)[2].T
        # The variance along a direction, measured there: rounding in the covariance may exceed it.
        variances = np.sum((weighted @ directions) ** 2, axis=0)
        kept = variances > _FLAT
        whole = len(scaled) >= d and bool(kept.all())
        return cls(origin, None if whole else directions[:, kept], float(sigma), d)

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
