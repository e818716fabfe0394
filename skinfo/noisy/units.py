"""The units in which rows or their noise differ, where the noise of each row is its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skinfo._rows import Rows
from skinfo.noisy.layout import RESOLVED, parts

# Deviations lie within this factor of their unit's scale, so that no square overflows.
_WIDEST = 1e50


@dataclass(frozen=True)
class ScaledUnits:
    """Units and their scale: t = s + v z, with z standard normal and v one per row and unit.

    Where all rows have the same centre and the same deviation in a unit, it is left out.
    """

    # (d,): in each unit the centre of the narrowest row. Whatever the origin, the largest distance
    # from it, each in units of its row's deviation, is at least half of what it is from there.
    origin: np.ndarray
    kept: np.ndarray  # (rank,): the units that are not left out
    scale: np.ndarray  # (rank,): root of the mean variance of the noise of each of them
    dimension: int  # d
    # (d - rank,): the deviation that all rows share in each unit that is left out.
    common: np.ndarray
    deviations: np.ndarray  # (n, rank): v in units of the scale
    log_volumes: np.ndarray  # (n,): sum over units of log v, v in units of the scale
    mean_log_volume: float  # their weighted mean
    mean: np.ndarray  # (rank,): mean of the rows, as ``project`` gives them
    # (rank, rank): along its columns T has variance one, and no two of them are correlated.
    whitening: np.ndarray
    log_determinant: float  # of the covariance of T, in units of the scale

    @classmethod
    def of(cls, rows: Rows, deviations: np.ndarray) -> ScaledUnits:
        """Find the units that differ, and the covariance of T.

        ``deviations``, (n, d), are positive. It is a ValueError if a row lies more than 1e11 of its
        own deviations from the narrowest one, so that rounding hides its noise, or if a deviation
        is 1e50 times smaller or larger than its unit's mean.
        """
        points, weights = rows.points, rows.weights
        n, d = points.shape
        narrowest = deviations.argmin(axis=0)
        origin = points[narrowest, np.arange(d)].astype(np.float64)
        largest = deviations.max(axis=0)
        differs, mean_square = deviations.min(axis=0) < largest, np.zeros(d)
        for part in parts(n, d):
            with np.errstate(over="ignore"):
                _check_resolved(points[part] - origin, deviations[part], narrowest, part.start)
            differs |= (points[part] != origin).any(axis=0)
            mean_square += weights[part] @ (deviations[part] / largest) ** 2
        kept, scale = np.flatnonzero(differs), largest * np.sqrt(mean_square)
        _check_widths(deviations, scale)
        relative = deviations[:, kept] / scale[kept]
        log_volumes = np.log(relative).sum(axis=1)
        projected = (points[:, kept] - origin[kept]) / scale[kept]
        mean = weights @ projected
        whitening, log_determinant = _whiten(projected - mean, weights)
        return cls(
            origin=origin,
            kept=kept,
            scale=scale[kept],
            dimension=d,
            common=largest[~differs],
            deviations=relative,
            log_volumes=log_volumes,
            mean_log_volume=float(weights @ log_volumes),
            mean=mean,
            whitening=whitening,
            log_determinant=log_determinant,
        )

    @property
    def rank(self) -> int:
        """Number of units kept."""
        return len(self.kept)

    @cached_property
    def left_out(self) -> np.ndarray:
        """The units that are left out."""
        return np.setdiff1d(np.arange(self.dimension), self.kept)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Coordinates in the units kept, in units of their scale."""
        return (points[:, self.kept] - self.origin[self.kept]) / self.scale

    def place(self, rows: Rows, members: np.ndarray | slice) -> np.ndarray:
        """Coordinates of some of the rows."""
        return self.project(rows.points[members])

    def standardise(self, points: np.ndarray) -> np.ndarray:
        """All units in units of the noise, from the origin, (n, d)."""
        standardised: np.ndarray = (points - self.origin) / self._scale_everywhere
        return standardised

    @cached_property
    def _scale_everywhere(self) -> np.ndarray:
        scale = np.empty(self.dimension)
        scale[self.kept], scale[self.left_out] = self.scale, self.common
        return scale

    @property
    def relative_deviations(self) -> np.ndarray:
        """Deviations of the noise of each row in units of the units' scales, (n, d)."""
        relative = np.ones((len(self.deviations), self.dimension))
        relative[:, self.kept] = self.deviations
        return relative

    def noise_everywhere(self, noise: np.ndarray, seed: int) -> np.ndarray:
        """Standard normal noise in all units, (m, d), that is ``noise`` in those kept."""
        everywhere = np.random.default_rng(seed).standard_normal((len(noise), self.dimension))
        everywhere[:, self.kept] = noise
        return everywhere

    @cached_property
    def precision(self) -> np.ndarray:
        """Inverse covariance C^-1 of T in units of the scale, (rank, rank)."""
        return self.whitening @ self.whitening.T

    def standardised_squares(self, points: np.ndarray) -> np.ndarray:
        """Compute (t - m)' C^-1 (t - m), m the mean of T, t as ``project`` gives it."""
        along = (points - self.mean) @ self.whitening
        return np.einsum("ni,ni->n", along, along)

    def squared_distances(self, points: np.ndarray) -> np.ndarray:
        """Squared distance from the rows in the units left out, in units of their deviations."""
        off = (points[:, self.left_out] - self.origin[self.left_out]) / self.common
        return np.einsum("ni,ni->n", off, off)

    @property
    def noise_entropy(self) -> float:
        """Mean over the rows of the noise's entropy in all d dimensions."""
        logs = self.mean_log_volume + np.log(self.scale).sum() + np.log(self.common).sum()
        return float(logs) + 0.5 * self.dimension * float(np.log(2 * np.pi * np.e))

    @property
    def gaussian_information(self) -> float:
        """1/2 log det Cov(T) - E sum log v: no law of this covariance and noise carries more."""
        return 0.5 * self.log_determinant - self.mean_log_volume


def _check_resolved(
    centred: np.ndarray, deviations: np.ndarray, narrowest: np.ndarray, first: int
) -> None:
    with np.errstate(over="ignore"):
        ratios = np.abs(centred) / deviations
    row, unit = np.unravel_index(np.argmax(ratios), ratios.shape)
    if not ratios[row, unit] < RESOLVED:
        raise ValueError(
            f"In unit {unit} row {first + row} lies {ratios[row, unit]:.1e} standard deviations of "
            f"its noise ({deviations[row, unit]:g}) from row {narrowest[unit]}: beyond "
            f"{RESOLVED:.0e} double precision loses the noise in rounding. Check the units of its "
            "standard deviations."
        )


def _check_widths(deviations: np.ndarray, scale: np.ndarray) -> None:
    for extreme in (deviations.argmin(axis=0), deviations.argmax(axis=0)):
        with np.errstate(over="ignore"):
            ratios = deviations[extreme, np.arange(len(scale))] / scale
        beyond = np.flatnonzero((ratios < 1 / _WIDEST) | ~(ratios < _WIDEST))
        if len(beyond):
            unit = beyond[0]
            raise ValueError(
                f"In unit {unit} the noise of row {extreme[unit]} has standard deviation "
                f"{deviations[extreme[unit], unit]:g}, {ratios[unit]:.1e} of the unit's root mean "
                f"square ({scale[unit]:g}); beyond a factor of {_WIDEST:.0e} its square leaves "
                "double precision."
            )


def _whiten(centred: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Directions that whiten T, and log det Cov(T), where the mean variance of the noise is 1.

    Principal directions of the correlations; the variance along each is measured there. Where
    rounding turns them, the log-determinant comes out larger (Hadamard), never smaller.
    """
    n, rank = centred.shape
    deviations = np.sqrt(1 + weights @ centred**2)
    correlations = np.diag(deviations**-2)
    for part in parts(n, rank):
        scaled = centred[part] / deviations * np.sqrt(weights[part])[:, None]
        correlations += scaled.T @ scaled
    directions = np.linalg.eigh(correlations)[1]
    variances = deviations**-2 @ directions**2
    for part in parts(n, rank):
        variances += weights[part] @ (centred[part] / deviations @ directions) ** 2
    whitening = directions / np.sqrt(variances) / deviations[:, None]
    return whitening, float(np.log(variances).sum() + 2 * np.log(deviations).sum())
