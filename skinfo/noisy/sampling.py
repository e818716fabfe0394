"""Draws of (row, noise): randomised quasi-Monte Carlo, and the averages taken over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc
from scipy.stats import t as student

from skinfo._rows import Rows

#: Independent scramblings; their spread gives the standard error.
N_RANDOMISATIONS = 16
#: What is met so many times on average is missed altogether with 5 %.
MISSED = 3.0
_QUANTILE = float(student.ppf(0.975, N_RANDOMISATIONS - 1))
# A mean that so many standard errors part from what it is known to be is no matter of chance.
_BEYOND_CHANCE = 4.0
# Draws per randomisation at the first level.
_FIRST_LEVEL = 256
_BITS = 30
# Points in more dimensions are not kept for the next mixture.
_MOST_DIMENSIONS_KEPT = 64


@dataclass(frozen=True)
class Draws:
    """Points to evaluate, each a row and a standard normal vector."""

    rows: np.ndarray  # (N_RANDOMISATIONS, m), int64: the row drawn, with its probability
    noise: np.ndarray  # (N_RANDOMISATIONS, m, d): the noise in units of sigma
    # (N_RANDOMISATIONS, m): weight of each draw: the density of standard normal noise over that it
    # was drawn from.
    weights: np.ndarray


class DrawStream:
    """Scrambled Sobol points in 1 + d dimensions, in as many portions as needed.

    The first dimension picks the row, through the cumulative weights along ``order``; the others
    give the noise by the normal quantile function. With ``spread`` > 1 half of the draws have their
    noise multiplied by it: a defensive mixture, which finds the rare large deficits of information
    near saturation that decide its value there. No draw then counts more than twice.
    """

    def __init__(
        self, weights: np.ndarray, order: np.ndarray, d: int, seed: int, spread: float = 1.0
    ) -> None:
        self._order = order
        self._spread = spread
        self._cumulative = np.cumsum(weights[order])
        self._dimensions = 1 + d + (spread > 1)
        self._seed = seed
        self._taken = 0

    def take(self, m: int) -> Draws:
        """Take the next m points of every randomisation; m is a power of two."""
        points = self._points(m)
        position = np.searchsorted(self._cumulative, points[..., 0] * self._cumulative[-1])
        rows = self._order[np.minimum(position, len(self._order) - 1)]
        if self._spread == 1:
            return Draws(rows, ndtri(points[..., 1:]), np.ones(rows.shape))
        noise = ndtri(points[..., 1:-1])
        noise[points[..., -1] < 0.5] *= self._spread
        return Draws(rows, noise, defensive_weights(noise, self._spread))

    def _points(self, m: int) -> np.ndarray:
        first, self._taken = self._taken, self._taken + m
        if self._taken <= 2 * _FIRST_LEVEL and self._dimensions <= _MOST_DIMENSIONS_KEPT:
            return _first_points(self._dimensions, self._seed)[:, first : self._taken]
        for engine in self._engines:
            if engine.num_generated < first:
                engine.fast_forward(first - engine.num_generated)
        return _points_of(self._engines, m)

    @cached_property
    def _engines(self) -> list[qmc.Sobol]:
        return _sobol_engines(self._dimensions, self._seed)


@lru_cache(maxsize=16)
def _first_points(dimensions: int, seed: int) -> np.ndarray:
    """The points of the first two levels; making them takes as long as summing at them."""
    return _points_of(_sobol_engines(dimensions, seed), 2 * _FIRST_LEVEL)


def _sobol_engines(dimensions: int, seed: int) -> list[qmc.Sobol]:
    seeds = np.random.SeedSequence(seed).spawn(N_RANDOMISATIONS)
    return [
        qmc.Sobol(dimensions, scramble=True, bits=_BITS, rng=np.random.default_rng(s))
        for s in seeds
    ]


def _points_of(engines: list[qmc.Sobol], m: int) -> np.ndarray:
    # Half a cell keeps the points inside (0, 1) and their law symmetric.
    return np.stack([engine.random(m) for engine in engines]) + 0.5 ** (_BITS + 1)


def independent_draws(weights: np.ndarray, d: int, m: int, seed: int) -> Draws:
    """Plain Monte Carlo: m draws that cost nothing to set up, as if of one randomisation."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(weights), size=(1, m), p=weights)
    return Draws(rows, rng.normal(size=(1, m, d)), np.ones((1, m)))


def defensive_weights(noise: np.ndarray, spread: float) -> np.ndarray:
    """Density of standard normal noise over that of its mixture with noise ``spread`` times wider.

    Examples
    --------
    >>> import numpy as np
    >>> defensive_weights(np.array([[0.0], [6.0]]), 2.0).round(4).tolist()
    [1.3333, 0.0]
    """
    d = noise.shape[-1]
    square = np.einsum("...i,...i->...", noise, noise)
    # A ratio that overflows is that of a draw whose weight is 0.
    exponent = np.minimum(0.5 * square * (1 - spread**-2) - d * np.log(spread), 700.0)
    return 2 / (1 + np.exp(exponent))


class StoppingRule:
    """Stop one level after the standard error first meets the tolerance.

    Stopping at the first success would choose levels whose error happens to look small.
    """

    def __init__(self, tol: float) -> None:
        self._tol = tol
        self._met_before = False
        self.met = False

    def is_done(self, stderr: float) -> bool:
        """Decide after a level, given its standard error."""
        self._met_before, self.met = self.met, stderr <= self._tol
        return self.met and self._met_before


def level_sizes(max_evaluations: int) -> Iterator[int]:
    """Draws per randomisation that each level adds: the total doubles while it may.

    Examples
    --------
    >>> list(level_sizes(2**14))
    [256, 256, 512]
    """
    m = min(_FIRST_LEVEL, 2 ** int(np.log2(max(1, max_evaluations // N_RANDOMISATIONS))))
    total = 0
    while (total + m) * N_RANDOMISATIONS <= max_evaluations:
        yield m
        total += m
        m = total


@dataclass(frozen=True)
class Average:
    """A mean with the three things that make it uncertain, each as a standard error."""

    mean: float
    integration: float = 0.0  # from the finite number of draws; the spread between randomisations
    replicas: float = 0.0  # from the finite number of replicas of each input
    inputs: float = 0.0  # from the finite number of inputs; it matters where they were sampled

    def margin(self, *, population: bool) -> float:
        """Half the width of the 95 % interval."""
        spread = np.hypot(self.integration, self.replicas)
        if population:
            spread = np.hypot(spread, self.inputs)
        return _QUANTILE * float(spread)

    def widened(self, by: float) -> Average:
        """Widen the 95 % interval of a population by what no spread of the inputs shows."""
        return replace(self, inputs=float(np.hypot(self.inputs, by / _QUANTILE)))

    def plus(self, other: Average) -> Average:
        """Add an independent average."""
        return Average(
            self.mean + other.mean,
            float(np.hypot(self.integration, other.integration)),
            float(np.hypot(self.replicas, other.replicas)),
            float(np.hypot(self.inputs, other.inputs)),
        )


def average_draws(
    values: np.ndarray,
    control: np.ndarray,
    draw_weights: np.ndarray,
    drawn: np.ndarray,
    rows: Rows,
) -> Average:
    """Average values over draws, -inf or inf where nothing determines one.

    Four arrays of shape (N_RANDOMISATIONS, m) hold a number per draw: its value, a control whose
    mean is exactly 0, its weight, the row it was drawn around.

    Replicas of an input are independent, and to first order a plug-in information is the mean over
    rows of the row's own contribution; so its variance over replicas is the variance within inputs
    times sum w^2. The draws' noise is part of what is measured here, which errs on the wide side.
    """
    flat, flat_weights = values.ravel(), draw_weights.ravel()
    if not np.isfinite(flat).all():
        return Average(float(np.inf if np.any(flat == np.inf) else -np.inf))
    mean, integration = integration_error(values, control, draw_weights)
    within, between = variance_components(flat, rows.inputs[drawn].ravel(), flat_weights)
    replicas = float(np.sqrt(within * np.sum(rows.weights**2))) if rows.has_replicas else 0.0
    variance = between * np.sum(rows.input_weights**2)
    if rows.clusters is not None:
        # Part of the variance between inputs is that between clusters, and they are fewer.
        _, of_clusters = variance_components(flat, rows.clusters[drawn].ravel(), flat_weights)
        variance = max(0.0, between - of_clusters) * np.sum(rows.input_weights**2)
        variance += of_clusters * np.sum(rows.independent_weights**2)
    return Average(mean, integration, replicas, float(np.sqrt(variance)))


def integration_error(
    values: np.ndarray, control: np.ndarray, draw_weights: np.ndarray
) -> tuple[float, float]:
    """Mean over all draws and its standard error, from the spread between randomisations.

    The part of the values that follows ``control``, whose mean is exactly 0, is taken out:
    where activations are nearly Gaussian, nine tenths of the error and more.

    Examples
    --------
    >>> import numpy as np
    >>> control = np.random.default_rng(0).normal(size=(16, 64))
    >>> mean, stderr = integration_error(3 + 2 * control, control, np.ones((16, 64)))
    >>> round(mean, 9), stderr < 1e-9
    (3.0, True)
    """
    means = randomisation_means(values, control, draw_weights)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(N_RANDOMISATIONS))


def class_means(
    values: np.ndarray,
    control: np.ndarray,
    draw_weights: np.ndarray,
    classes: np.ndarray,
    class_weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the values of each class and its standard error, as :func:`integration_error` does.

    The class of every draw, (N_RANDOMISATIONS, m), and the probability of each class; the means
    add up to that of all draws. A class of which none was drawn has NaN.
    """
    n = len(class_weights)
    cells = classes + n * np.arange(N_RANDOMISATIONS)[:, None]

    def by_class(numbers: np.ndarray) -> np.ndarray:
        flat = np.bincount(cells.ravel(), numbers.ravel(), n * N_RANDOMISATIONS)
        return flat.reshape(N_RANDOMISATIONS, n)

    total = draw_weights.sum()
    centred = control - np.sum(draw_weights * control) / total
    variance = np.sum(draw_weights * centred**2)
    of_values = by_class(draw_weights * values)
    along = by_class(draw_weights * centred * values).sum(axis=0)
    slope = along / variance if variance > 0 else np.zeros(n)
    of_control = np.sum(draw_weights * control, axis=1)
    means = (of_values - slope * of_control[:, None]) / draw_weights.sum(axis=1)[:, None]
    means = np.where(by_class(draw_weights).any(axis=0), means / class_weights, np.nan)
    return means.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(N_RANDOMISATIONS)


def missed(leverage: np.ndarray) -> bool:
    """Tell whether rows far out were missed: whether a mean of draws is far from its truth, 0.

    ``leverage``, (N_RANDOMISATIONS, m), depends on the row of each draw alone. What was never drawn
    shows in no spread, so it is no matter of chance if the mean is beyond that.
    """
    means = leverage.mean(axis=1)
    stderr = means.std(ddof=1) / np.sqrt(N_RANDOMISATIONS)
    return bool(abs(means.mean()) > _BEYOND_CHANCE * stderr + 1e-9)


def randomisation_means(
    values: np.ndarray, control: np.ndarray, draw_weights: np.ndarray
) -> np.ndarray:
    """Mean of each randomisation, of shape (N_RANDOMISATIONS,), less what follows the control."""
    total = draw_weights.sum()
    centred = control - np.sum(draw_weights * control) / total
    # Dividing by the sum of the weights makes what is constant exact.
    mean = np.sum(values * draw_weights) / total
    variance = np.sum(draw_weights * centred**2)
    slope = np.sum(draw_weights * centred * (values - mean)) / variance if variance > 0 else 0.0
    return np.sum((values - slope * control) * draw_weights, axis=1) / draw_weights.sum(axis=1)


def variance_components(
    values: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Split a variance into that within groups, numbered from 0, and that between group means.

    The one-way random-effects analysis of variance. Where few groups repeat, the variance between
    them is a small difference of large numbers: it is given with two standard errors of the one
    within, to the whole at most; where they hardly repeat, both are the whole.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.tile([0.0, 2.0, 10.0, 12.0], 10)
    >>> within, between = variance_components(values, np.tile([0, 0, 1, 1], 10))
    >>> round(within, 3), round(between, 3)
    (1.053, 49.947)
    """
    n = len(values)
    w = np.ones(n) if weights is None else weights * (n / weights.sum())
    counts = np.bincount(groups)
    n_groups = int(np.count_nonzero(counts))
    mean = float(np.sum(w * values) / n)
    whole = float(np.sum(w * (values - mean) ** 2) / max(n - 1, 1))
    if n_groups < 2:
        return whole, 0.0
    freedom = n - n_groups
    if freedom < 30:
        return whole, whole
    mass = np.bincount(groups, weights=w)
    means = np.bincount(groups, weights=w * values) / np.maximum(mass, 1e-300)
    within = float(np.sum(w * (values - means[groups]) ** 2) / freedom)
    between_square = float(np.sum(mass * (means - mean) ** 2) / (n_groups - 1))
    typical = (n - np.sum(mass**2) / n) / (n_groups - 1)
    between = max(0.0, float((between_square - within) / typical))
    return within, max(between, min(whole, between + 2 * within * np.sqrt(2 / freedom) / typical))
