"""From activations and their noise to Gaussians of diagonal covariance, and to strata.

Noise that leaves zeros or signs as they are sorts the rows into strata: two rows that differ in
what it leaves are told apart for certain, and within a stratum the noise is Gaussian in coordinates
that the model names. A unit that is zero throughout a stratum has no noise there. It is given the
same centre and the same deviation in all rows of the stratum, so that it tells none from another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skinfo._rows import Rows, discrete_entropy
from skinfo.noise import AdditiveNoise, Noise

_NARROWEST = 1e-150
_LOG_2_PI = float(np.log(2 * np.pi))
_UNIT_ENTROPY = 0.5 * (_LOG_2_PI + 1)


class Placed(NamedTuple):
    """Values of a layer as a mixture sees them."""

    points: np.ndarray  # (n, d): in the coordinates of the channel
    strata: np.ndarray | None  # (n,): -1 for a pattern that no fitted row has
    deviations: np.ndarray | None  # (n, d), or None where all rows share the channel's sigma
    # (n,): logarithm of the volume of the values that a volume of coordinates stands for.
    log_volumes: np.ndarray | float


@dataclass(frozen=True)
class Channel:
    """What the noise does to a layer, learned from its rows."""

    noise: Noise | None  # None where every row brings its own deviations
    sigma: float | None  # standard deviation that all rows share in these coordinates
    unit: np.ndarray | float  # what the coordinates are divided by, (d,) or 1
    # (d,): where a unit without noise is put, and the deviation that it is given there.
    still_points: np.ndarray
    still_deviations: np.ndarray
    patterns: np.ndarray | None  # (n_strata, d), sorted: what the noise leaves; None: one stratum

    def place(self, values: np.ndarray, scale: np.ndarray | None = None) -> Placed:
        """Put values of the layer into its coordinates; ``scale`` if the rows had theirs."""
        if self.noise is None:
            return Placed(values, None, scale, 0.0)
        points, pattern, log_slopes, described = _described(self.noise, values)
        deviations = described if self.sigma is None else None
        if pattern is not None:
            still = pattern == 0
            points = np.where(still, self.still_points, points)
            if deviations is not None:
                deviations = np.where(still, self.still_deviations, deviations)
        volumes = 0.0 if log_slopes is None else log_slopes
        if np.ndim(self.unit):
            points = points / self.unit
            volumes = volumes + float(np.log(self.unit).sum())
        if pattern is not None:
            # A unit without noise has a mass where it is, and no density.
            volumes = volumes - still @ (np.log(self.still_deviations) + 0.5 * _LOG_2_PI)
        strata = None if pattern is None else self._strata_of(pattern)
        return Placed(points, strata, deviations, volumes)

    def _strata_of(self, pattern: np.ndarray) -> np.ndarray:
        return np.array([self._stratum_of.get(row.tobytes(), -1) for row in pattern])

    @cached_property
    def _stratum_of(self) -> dict[bytes, int]:
        patterns = () if self.patterns is None else self.patterns
        return {row.tobytes(): code for code, row in enumerate(patterns)}


@dataclass(frozen=True)
class Components:
    """The rows of a layer as Gaussians of diagonal covariance."""

    rows: Rows  # in the coordinates of the channel, with the deviations that they do not share
    channel: Channel
    strata: np.ndarray | None  # (n,): stratum of each row, None where there is one
    noise_entropy: float  # h(T|S): the mean over rows, of the units that have noise
    noise_entropy_error: float = 0.0  # its standard error, where the rows are a sample

    @classmethod
    def of(cls, rows: Rows, noise: Noise) -> Components:
        """Describe checked rows with their noise; deviations that they bring take its place."""
        d = rows.points.shape[1]
        if rows.deviations is not None:
            return cls._given(rows, rows.deviations)
        noise.check_units(d)
        if type(noise) is AdditiveNoise and not noise.sigmas[0].ndim:
            sigma = float(noise.sigmas[0])
            channel = Channel(noise, sigma, 1.0, np.zeros(d), np.ones(d), None)
            return cls(rows, channel, None, d * (float(np.log(sigma)) + _UNIT_ENTROPY))
        points, pattern, log_slopes, deviations = _described(noise, rows.points)
        active = np.ones(points.shape, dtype=bool) if pattern is None else pattern != 0
        _check_squares(np.broadcast_to(deviations, points.shape), active)
        still_deviations = deviations
        if deviations.ndim == 2:
            still_deviations = _mean_of_active(rows.weights, deviations, active, 1.0)
        logs = np.where(active, np.log(np.where(active, deviations, 1.0)) + _UNIT_ENTROPY, 0.0)
        own = logs.sum(axis=1) + (0.0 if log_slopes is None else log_slopes)
        channel = Channel(
            noise,
            sigma=None if deviations.ndim == 2 else 1.0,
            unit=1.0 if deviations.ndim == 2 else deviations,
            still_points=_mean_of_active(rows.weights, points, active, 0.0),
            still_deviations=still_deviations,
            patterns=None if pattern is None else _different(pattern),
        )
        placed = channel.place(rows.points)
        return cls(
            replace(rows, points=placed.points, deviations=placed.deviations),
            channel,
            None if channel.patterns is None or len(channel.patterns) == 1 else placed.strata,
            float(rows.weights @ own),
            rows.error_of_mean(own),
        )

    @classmethod
    def _given(cls, rows: Rows, deviations: np.ndarray) -> Components:
        d = rows.points.shape[1]
        _check_squares(deviations, np.ones(rows.points.shape, dtype=bool))
        own = np.log(deviations).sum(axis=1)
        entropy = float(rows.weights @ own) + d * _UNIT_ENTROPY
        channel = Channel(None, None, 1.0, np.zeros(d), np.ones(d), None)
        return cls(rows, channel, None, entropy, rows.error_of_mean(own))

    def cells(self, parts: np.ndarray) -> np.ndarray:
        """Part, input or label, and stratum of each row as one number; the parts in one stratum."""
        if self.strata is None:
            return parts
        both = parts * (int(self.strata.max()) + 1) + self.strata
        return np.unique(both, return_inverse=True)[1]

    def pattern_information(self, parts: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Information of the stratum on the part, input or label, of a row, in nats.

        ``weights`` are those of the rows unless others are given.
        """
        if self.strata is None:
            return 0.0
        weights = self.rows.weights if weights is None else weights
        whole = discrete_entropy(np.bincount(self.strata, weights=weights))
        return whole - self.pattern_entropy_within(parts, weights)

    def pattern_entropy_within(self, parts: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Entropy of the stratum given which part a row belongs to, in nats."""
        if self.strata is None:
            return 0.0
        weights = self.rows.weights if weights is None else weights
        both = discrete_entropy(np.bincount(self.cells(parts), weights=weights))
        return both - discrete_entropy(np.bincount(parts, weights=weights))

    def own_input_out_lengths(self) -> np.ndarray:
        """Minus the logarithm of the pattern's probability as the other inputs suggest it, (n,).

        Half of it goes to the strata that they are in, half to units that are independent of each
        other, each value with half an input more than was seen (Krichevsky and Trofimov).
        """
        strata, patterns, rows = self.strata, self.channel.patterns, self.rows
        if strata is None or patterns is None:
            return np.zeros(len(rows.points))
        rest = 1 - rows.input_weights[rows.inputs]

        def others(holds: np.ndarray) -> np.ndarray:
            """Mass of other inputs of what holds in some rows, at these rows."""
            weighted = rows.weights * holds
            of_input = np.bincount(rows.inputs, weights=weighted)
            return weighted.sum() - of_input[rows.inputs]

        n, cells = len(rows.input_weights), self.cells(rows.inputs)
        of_cell = np.bincount(cells, weights=rows.weights)[cells]
        same = np.bincount(strata, weights=rows.weights)[strata] - of_cell
        values = np.unique(patterns)
        logs = np.zeros(len(strata))
        for unit in patterns.T:
            of_rows = unit[strata]
            for value in values:
                holds = of_rows == value
                share = (others(holds) + 0.5 / n) / (rest + 0.5 * len(values) / n)
                logs += np.where(holds, np.log(np.where(holds, share, 1.0)), 0.0)
        with np.errstate(divide="ignore"):
            log_seen = np.log(np.maximum(same, 0.0) / np.maximum(rest, 1e-300))
        lengths: np.ndarray = np.log(2) - np.logaddexp(log_seen, logs)
        return lengths

    def most_information(self) -> float:
        """What I(X;T) cannot exceed, in nats: what the strata tell, and Gaussians within them.

        Within a stratum I(X;T) <= (log det Cov(T) - E sum log v) / 2, and <= H(X).
        """
        strata, patterns = self.strata, self.channel.patterns
        if strata is None or patterns is None:
            return np.inf
        total = self.pattern_information(self.rows.inputs)
        order = np.argsort(strata, kind="stable")
        starts = np.cumsum(np.bincount(strata))[:-1]
        for members, pattern in zip(np.split(order, starts), patterns, strict=True):
            of_inputs = np.bincount(self.rows.inputs[members], self.rows.weights[members])
            share = float(of_inputs.sum())
            of_noise = self._gaussian_within(members, pattern != 0)
            total += share * min(discrete_entropy(of_inputs / share), of_noise)
        return total

    def _gaussian_within(self, members: np.ndarray, active: np.ndarray) -> float:
        """Half of log det Cov(T) - E sum log v of some rows, over their units that have noise."""
        if len(members) < 2:
            return 0.0
        weights = self.rows.weights[members] / self.rows.weights[members].sum()
        points = self.rows.points[np.ix_(members, active)]
        mean_variance, mean_log = np.ones(points.shape[1]), 0.0
        if self.rows.deviations is not None:
            deviations = self.rows.deviations[np.ix_(members, active)]
            mean_variance = weights @ deviations**2
            mean_log = float(weights @ np.log(deviations).sum(axis=1))
        centred = (points - weights @ points) / np.sqrt(mean_variance)
        centred *= np.sqrt(weights)[:, None]
        # Singular values keep what is small beside the largest; rounding would swallow it in a
        # determinant.
        log_determinant = np.log1p(np.linalg.svd(centred, compute_uv=False) ** 2).sum()
        return float(0.5 * (log_determinant + np.log(mean_variance).sum()) - mean_log)


def _described(
    noise: Noise, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray]:
    """Coordinates and deviations of values, in double precision unless the noise is additive."""
    if not isinstance(noise, AdditiveNoise):
        values = values.astype(np.float64, copy=False)
    deviations = np.asarray(noise.deviations(values), dtype=np.float64)
    if deviations.ndim == 0:
        deviations = np.full(values.shape[1], float(deviations))
    if deviations.shape not in (values.shape[1:], values.shape):
        raise ValueError(
            f'deviations of noise "{noise.name}" must have shape {values.shape[1:]} or '
            f"{values.shape}; got {deviations.shape}."
        )
    return *noise.coordinates(values), deviations


def _different(pattern: np.ndarray) -> np.ndarray:
    """The different rows of a pattern, sorted."""
    if (pattern == pattern[0]).all():
        return pattern[:1]
    return np.unique(pattern, axis=0)


def _mean_of_active(
    weights: np.ndarray, values: np.ndarray, active: np.ndarray, otherwise: float
) -> np.ndarray:
    """Mean of each unit over the rows in which it has noise; ``otherwise`` where it has none."""
    mass = weights @ active
    totals = weights @ np.where(active, values, 0.0)
    return np.where(mass > 0, totals / np.where(mass > 0, mass, 1.0), otherwise)


def _check_squares(deviations: np.ndarray, active: np.ndarray) -> None:
    """Check that the squares of all deviations, and their inverses, are numbers."""
    bad = np.argwhere(active & ~((deviations > _NARROWEST) & (deviations < 1 / _NARROWEST)))
    if len(bad):
        row, unit = bad[0].tolist()
        raise ValueError(
            f"The noise of row {row}, unit {unit} has a standard deviation of "
            f"{deviations[row, unit]:g}, whose square leaves double precision. Check its units"
            + ("; what is zero must be exactly zero." if deviations[row, unit] < 1 else ".")
        )
