r"""A lower end of information, above log n, from pairs of a noisy row with other rows.

With q any density, phi(t|s) that of T given its row s, and T' drawn around another row,

.. math:: I(S;T) \geq E \log F(S,T) - \log E F(S,T'), \qquad
   F(s,t) = \frac{\phi(t|s)}{\eta \phi(t|s) + (1 - \eta) q(t)} \leq 1 / \eta

(Donsker and Varadhan; the pairs are those of a U-statistic). What no pair of the rows at hand shows
may still be there: rows that repeat in the population, with probability kappa = sum p_a^2, and
hardly in the sample. That of n independent rows no two are the same has at most the probability
(1 + x) e^{-x} with x = (n - 1) sqrt(kappa): the counts of the atoms are negatively associated, atom
a is seen at most once with at most that probability of x_a = (n - 1) p_a, and log((1 + x) e^{-x})
is a convex function of x^2 that is 0 at 0, so that the sum over atoms is at most its value at
kappa. The largest kappa to which this leaves 2.5 % is added to E F, times E F(S,T). It keeps the
end below 2 log n, which no end that holds for every law exceeds by more than a few nats (McAllester
and Stratos, "Formal Limitations on the Measurement of Mutual Information", AISTATS 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

# One-sided probability of what no pair shows.
_UNSEEN = 0.025
# Pairs at a time.
_PART = 2**21
_LOG_2_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Sample:
    """Rows in units of the noise, in all units of the layer."""

    points: np.ndarray  # (n, d)
    deviations: np.ndarray | None  # (n, d), or None where all are 1
    weights: np.ndarray  # (n,): probabilities, up to a factor
    independent: np.ndarray  # (n,): what was drawn with each row, alone

    def take(self, members: np.ndarray) -> Sample:
        """Some of the rows."""
        deviations = None if self.deviations is None else self.deviations[members]
        return Sample(
            self.points[members], deviations, self.weights[members], self.independent[members]
        )

    def noisy(self, noise: np.ndarray) -> np.ndarray:
        """Values of T at a standard normal vector for each row."""
        return self.points + (noise if self.deviations is None else noise * self.deviations)

    def log_noise(self, noise: np.ndarray) -> np.ndarray:
        """Logarithm of the density of T given its row, at a standard normal vector for each."""
        square = np.einsum("ni,ni->n", noise, noise)
        logs: np.ndarray = -0.5 * (square + noise.shape[1] * _LOG_2_PI)
        return logs if self.deviations is None else logs - np.log(self.deviations).sum(axis=1)

    @property
    def n_effective(self) -> float:
        """Number of equally likely independent parts that tell as much."""
        mass = np.bincount(self.independent, weights=self.weights)
        return float(mass.sum() ** 2 / np.sum(mass**2))


def unseen_repetition(sizes: Sequence[float]) -> float:
    """Largest kappa that shows no pair in samples of these sizes, with a probability of 2.5 %.

    Examples
    --------
    >>> round(1e6 * unseen_repetition([1001]), 2)
    31.04
    """

    def excess(root: float) -> float:
        x = root * (np.asarray(sizes) - 1)
        return float(np.sum(np.log1p(x) - x) - np.log(_UNSEEN))

    if max(sizes) <= 1:
        return 1.0
    highest = 10 / (max(sizes) - 1)
    return min(1.0, brentq(excess, 0.0, highest) ** 2)


def log_critic(log_ratio: np.ndarray, eta: float) -> np.ndarray:
    """Logarithm of F, given that of phi(t|s) / q(t)."""
    return -np.logaddexp(np.log(eta), np.log1p(-eta) - log_ratio)


def mean_over_pairs(
    sample: Sample, t: np.ndarray, drawn: np.ndarray, log_density: np.ndarray, eta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of F over the rows not drawn with a draw's own, (m,), and over such draws, (n,).

    ``t``, (m, d), are drawn around the rows ``drawn``, and ``log_density`` is log q there.
    """
    n, m = len(sample.points), len(t)
    inverse = None
    if sample.deviations is None:
        along, squares = sample.points.T, np.einsum("ni,ni->n", sample.points, sample.points)
    else:
        inverse = sample.deviations**-2
        along, squares = (sample.points * inverse).T, np.sum(sample.points**2 * inverse, axis=1)
        squares += 2 * np.log(sample.deviations).sum(axis=1)
    squares += t.shape[1] * _LOG_2_PI
    of_draws, of_rows, counts = np.empty(m), np.zeros(n), np.zeros(n)
    for part in np.array_split(np.arange(m), 1 + m * n // _PART):
        values = t[part]
        own = np.einsum("ni,ni->n", values, values)[:, None] if inverse is None else (
            values**2 @ inverse.T
        )  # fmt: skip
        log_ratio = values @ along - 0.5 * (own + squares) - log_density[part, None]
        # Beyond any double F is 0 all the same.
        critic = 1 / (eta + (1 - eta) * np.exp(np.minimum(-log_ratio, 700.0)))
        others = sample.independent[drawn[part], None] != sample.independent
        critic *= others
        of_draws[part] = critic @ sample.weights / np.maximum(others @ sample.weights, 1e-300)
        of_rows += critic.sum(axis=0)
        counts += others.sum(axis=0)
    return of_draws, of_rows / np.maximum(counts, 1)


def of_each_draw(
    log_own: np.ndarray, of_draws: np.ndarray, of_rows: np.ndarray
) -> np.ndarray | None:
    """Numbers of mean E log F - log E F', each what its draw and its row move it, to first order.

    Of every draw log F at its own row, and the means of F over pairs with it and with its row. None
    where no pair shows anything.
    """
    of_others = float(of_draws.mean())
    if of_others <= 0:
        return None
    moved: np.ndarray = log_own - (of_draws + of_rows) / of_others + 2 - np.log(of_others)
    return moved
