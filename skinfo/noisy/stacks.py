"""Convex combinations of densities, fitted to some folds of the inputs and tested on another.

-E log q(T) is at least h(T) for every density q that never saw the row that T was drawn around, so
that the better q may be chosen freely, by what is not tested: its weights are found on an inner
split of the rows that it is fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from skinfo._numba import in_order
from skinfo._rows import Rows
from skinfo.noisy.densities import Density, log_sum
from skinfo.noisy.folds import N_FOLDS
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.pairs import Sample, log_critic, mean_over_pairs, of_each_draw

# Share of the rows that the weights are found on, at most so many, with so many draws of the noise.
_INNER_SHARE, _MOST_INNER, _INNER_DRAWS = 0.2, 2000, 4
# Densities of less weight are left out, but for those that a row far from all may need.
_LEAST_WEIGHT = 2e-3
_STEPS = 300


@dataclass(frozen=True)
class Stack:
    """One q: densities and their weights."""

    densities: Sequence[Density]
    around_rows: Mixture | None  # the noise around every row, whose weight comes last
    log_weights: np.ndarray
    # Whether on the inner split the lower end by pairs was above the plug-in.
    pairs_are_better: bool

    @classmethod
    def fit(cls, sample: Sample, candidates: Sequence[Density], unseen: float, seed: int) -> Stack:
        """Find the weights on an inner split; fit what has weight to all rows.

        ``unseen`` is what no pair of the rows that q is tested on may show.
        """
        rng = np.random.default_rng(seed)
        inner, rest = _split(sample, rng)
        suiting = [c for c in candidates if _suits(c, rest.points.shape)]
        fitted = [deepcopy(density).fit(rest.points) for density in suiting]
        drawn = np.tile(np.arange(len(inner.points)), _INNER_DRAWS)
        noise = rng.standard_normal((len(drawn), sample.points.shape[1]))
        t, log_noise = inner.take(drawn).noisy(noise), inner.take(drawn).log_noise(noise)
        logs = _logs(fitted, noise_around(rest), t)
        weights = _fit_weights(logs, inner.n_effective)
        far = [getattr(density, "reaches_far", False) for density in suiting]
        kept = (weights >= _LEAST_WEIGHT) | [*far, False]
        densities = [deepcopy(suiting[k]).fit(sample.points) for k in np.flatnonzero(kept[:-1])]
        around_rows = noise_around(sample) if kept[-1] else None
        log_weights = np.log(weights[kept] / weights[kept].sum())
        log_density = log_sum(logs + np.log(weights))
        critic = log_critic(log_noise - log_density, unseen)
        of_draws, of_rows = mean_over_pairs(inner, t, drawn, log_density, unseen)
        shown = of_each_draw(critic, of_draws, of_rows[drawn])
        # With less than two rows there is nothing to compare.
        n = max(2.0, sample.n_effective)
        by_pairs = -np.log(unseen * np.exp(critic).mean()) + _safely(critic, n)
        if shown is not None:
            by_pairs = -np.logaddexp(-by_pairs, -_safely(shown, n))
        plug_in = -np.logaddexp(-np.log(n), np.log1p(-1 / n) + logs[:, -1] - log_noise)
        better = bool(by_pairs > _safely(plug_in, n))
        return cls(densities, around_rows, log_weights, better)

    def log_density(self, t: np.ndarray) -> np.ndarray:
        """Logarithm of q at values of T, (m,)."""
        return log_sum(_logs(self.densities, self.around_rows, t) + self.log_weights)


def _logs(densities: Sequence[Density], around_rows: Mixture | None, t: np.ndarray) -> np.ndarray:
    """Logarithm of each density at values of T, (m, n_densities)."""
    logs = [_checked_logs(density, t) for density in densities]
    if around_rows is not None:
        logs.append(around_rows.log_density(t, n_jobs=1))
    return np.column_stack(logs)


def _safely(values: np.ndarray, n: float) -> float:
    """A mean less two of the standard errors that n rows will give it."""
    return float(values.mean() - 2 * values.std() / np.sqrt(n))


def _suits(density: Density, shape: tuple[int, ...]) -> bool:
    suits = getattr(density, "suits", None)
    return suits is None or bool(suits(*shape))


def _checked_logs(density: Density, t: np.ndarray) -> np.ndarray:
    logs = np.asarray(density.log_density(t), dtype=np.float64)
    name = type(density).__name__
    if logs.shape != (len(t),):
        raise ValueError(
            f"log_density of {name} must give one logarithm per row, shape ({len(t)},); got "
            f"{logs.shape}."
        )
    if np.isnan(logs).any() or (logs == np.inf).any():
        raise ValueError(
            f"log_density of {name} gave NaN or infinity at row {np.argmin(logs < np.inf)} of "
            f"{len(t)}; -inf, for no density, is allowed."
        )
    return logs


def noise_around(sample: Sample) -> Mixture:
    """The noise around every row."""
    return Mixture.of(
        Rows.make(sample.points, input_weights=sample.weights, deviations=sample.deviations), 1.0
    )


def _split(sample: Sample, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Rows for the weights, and the rest; what was drawn together stays together."""
    names, codes = np.unique(sample.independent, return_inverse=True)
    n = len(names)
    n_inner = max(1, min(int(_INNER_SHARE * n), int(_MOST_INNER * n / len(codes))))
    inside = (rng.permutation(n) < n_inner)[codes]
    return sample.take(np.flatnonzero(inside)), sample.take(np.flatnonzero(~inside))


def _fit_weights(logs: np.ndarray, n_independent: float) -> np.ndarray:
    """Weights by EM, each density with a share of one row beforehand, so that none is nothing."""
    n_densities = logs.shape[1]
    ratios = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights = np.full(n_densities, 1 / n_densities)
    for _ in range(_STEPS):
        both = ratios * weights
        shares = (both / both.sum(axis=1, keepdims=True)).mean(axis=0)
        weights = (shares * n_independent + 1 / n_densities) / (n_independent + 1)
    return weights


def fit_stacks(
    sample: Sample,
    folds: np.ndarray,
    candidates: Sequence[Density],
    *,
    unseen: float,
    seed: int,
    n_jobs: int | None,
) -> list[Stack]:
    """One q per fold, fitted to the rows of all others."""

    def fit(fold: int) -> Stack:
        others = sample.take(np.flatnonzero(folds != fold))
        return Stack.fit(others, candidates, unseen, seed + fold)

    return list(in_order(fit, range(N_FOLDS), n_jobs))
