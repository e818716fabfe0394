"""Does LabelMIEstimator's bracket hold I(Y;T) of the population? Laws of known information.

Truths are means over draws of the exact log p(t|y) / p(t), with a standard error of 0.002 at most,
at the sigma of each fit. Every data set is drawn anew; its lower end is to be at most the truth in
93 % of the sets or more, and its upper end at least H(Y). Where labels mean nothing, at most 5 %
of p values may be 0.05.

    python benchmarks/label_ends.py
    python benchmarks/label_ends.py --quick
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from common import over_seeds, print_header, print_row, share
from scipy.special import log_ndtr, logsumexp
from scipy.stats import gamma

from skinfo import LabelMIEstimator

SIGMA = 0.5
N_DRAWS = 60_000
# What rms sigmas of data sets are multiples of, about sigma of the law.
_MULTIPLES = np.array([0.7, 0.85, 1.0, 1.2, 2.0])

Rows = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # S, y, clusters


@dataclass(frozen=True)
class Law:
    """Rows of each class, and the logarithm of the density of T given each class."""

    name: str
    d: int
    p: tuple[float, ...]
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]  # y -> S
    log_densities: Callable[[np.ndarray, float], np.ndarray]  # T, sigma -> (n, k), up to a term
    flipped: float = 0.0  # share of labels that are drawn anew, from the other classes
    cluster: int = 1  # rows that share an effect and a label
    effect: float = 0.0
    labels: str = "of clusters"

    @property
    def label_entropy(self) -> float:
        """H(Y)."""
        return entropy(self.p)

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """A data set of n rows, in clusters of ``cluster``."""
        clusters = np.arange(n) // self.cluster
        y = rng.choice(len(self.p), size=n // self.cluster, p=self.p)[clusters]
        S = self.draw(y, rng) + self.effect * rng.normal(size=(n // self.cluster, self.d))[clusters]
        y = np.where(rng.random(n) < self.flipped, (y + 1) % len(self.p), y)
        if self.labels == "random":
            y = rng.choice(len(self.p), size=n // self.cluster, p=self.p)[clusters]
        elif self.labels == "random, per row":
            y = rng.choice(len(self.p), size=n, p=self.p)
        return S, y, None if self.cluster == 1 else clusters

    def information(self, sigma: float) -> float:
        """I(Y;T), from draws."""
        if self.labels != "of clusters":
            return 0.0
        rng = np.random.default_rng(0)
        found = []
        for _ in range(N_DRAWS // 1000):
            y = rng.choice(len(self.p), size=1000, p=self.p)
            S = self.draw(y, rng) + self.effect * rng.normal(size=(1000, self.d))
            logs = self.log_densities(S + sigma * rng.normal(size=S.shape), sigma) + np.log(self.p)
            posterior = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
            if self.flipped:
                turned = np.roll(posterior, 1, axis=1)
                posterior = (1 - self.flipped) * posterior + self.flipped * turned
            # H(Y|T) by the posterior itself: less spread than by the label that was drawn.
            found.append(-np.sum(posterior * np.log(np.maximum(posterior, 1e-300)), axis=1).mean())
        return self.label_entropy - float(np.mean(found))


def entropy(p: tuple[float, ...]) -> float:
    return float(-np.sum(np.array(p) * np.log(p)))


def centres_of(d: int, k: int, apart: float) -> np.ndarray:
    """Random points, ``apart`` from their middle on average: of two, half their distance."""
    centres = np.random.default_rng(7).normal(size=(k, d))
    centres -= centres.mean(axis=0)
    return apart * centres / np.sqrt(np.mean(np.sum(centres**2, axis=1)))


def squares(T: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances to the centres, (n, k)."""
    return np.sum(T**2, axis=1)[:, None] - 2 * T @ centres.T + np.sum(centres**2, axis=1)


def gaussians(d: int, p: tuple[float, ...], apart: float, name: str, **more) -> Law:
    """A normal law of variance 1 around each centre; rows of a cluster share an effect."""
    centres, effect = centres_of(d, len(p), apart), more.get("effect", 0.0)

    def log_densities(T: np.ndarray, sigma: float) -> np.ndarray:
        return -squares(T, centres) / (2 * (1 + effect**2 + sigma**2))

    return Law(
        name, d, p, lambda y, rng: centres[y] + rng.normal(size=(len(y), d)), log_densities, **more
    )


def spreads(d: int, wide: float) -> Law:
    """Two classes of one mean, of deviations 1 and ``wide``."""
    deviations = np.array([1.0, wide])

    def log_densities(T: np.ndarray, sigma: float) -> np.ndarray:
        variances = deviations**2 + sigma**2
        return -np.sum(T**2, axis=1)[:, None] / (2 * variances) - d / 2 * np.log(variances)

    def draw(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return deviations[y][:, None] * rng.normal(size=(len(y), d))

    return Law("one mean, two spreads", d, (0.5, 0.5), draw, log_densities)


def student(d: int, apart: float) -> Law:
    """Rows of Student's law of 3 degrees around two centres, a normal law of random variance."""
    centres = centres_of(d, 2, apart)
    precisions = gamma.ppf((np.arange(400) + 0.5) / 400, 1.5, scale=2 / 3)

    def log_densities(T: np.ndarray, sigma: float) -> np.ndarray:
        variances = 1 / precisions + sigma**2
        exponents = -squares(T, centres)[..., None] / (2 * variances)
        return logsumexp(exponents - d / 2 * np.log(variances), axis=2)

    def draw(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        scales = np.sqrt(3 / rng.chisquare(3, size=(len(y), 1)))
        return centres[y] + scales * rng.normal(size=(len(y), d))

    return Law("Student, 3 degrees", d, (0.5, 0.5), draw, log_densities)


def rectified(d: int, apart: float) -> Law:
    """Normal units around two centres, those below 0 set to 0."""
    centres = centres_of(d, 2, apart)

    def log_densities(T: np.ndarray, sigma: float) -> np.ndarray:
        logs = []
        for m in centres:
            silent = log_ndtr(-m) - T**2 / (2 * sigma**2) - np.log(sigma)
            variance = 1 + sigma**2
            mean, deviation = (m * sigma**2 + T) / variance, sigma / np.sqrt(variance)
            active = log_ndtr(mean / deviation) - (T - m) ** 2 / (2 * variance)
            logs.append(np.logaddexp(silent, active - np.log(variance) / 2).sum(axis=1))
        return np.stack(logs, axis=1)

    def draw(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.maximum(centres[y] + rng.normal(size=(len(y), d)), 0.0)

    return Law("ReLU, exact zeros", d, (0.5, 0.5), draw, log_densities)


TWO, UNEQUAL, TEN = (0.5, 0.5), (0.9, 0.1), tuple(np.arange(1, 11) / 55)


def laws() -> list[tuple[Law, int, str, int | None]]:
    """Law, rows, unit of sigma and most inputs of each line of the table of ends."""
    tokens = {"cluster": 10, "effect": 1.0}
    far = [
        (gaussians(3, TWO, 20.0, f"far apart, {c:g} in n flipped", flipped=c / n), n)
        for n in (100, 400)
        for c in (1, 2.5)
    ]
    return [
        (gaussians(3, TWO, 20.0, "2 far apart"), 100, "activations", None),
        (gaussians(50, UNEQUAL, 20.0, "2 far apart, 9:1"), 100, "activations", None),
        *((law, n, "activations", None) for law, n in far),
        (gaussians(3, TWO, 3.0, "2 nearly apart"), 100, "activations", None),
        (gaussians(3, TWO, 1.0, "2 overlapping"), 100, "activations", None),
        (gaussians(3, TWO, 1.0, "2 overlapping"), 2000, "rms", 100),
        (gaussians(3, UNEQUAL, 1.0, "2 overlapping, 9:1"), 400, "rms", None),
        (gaussians(50, UNEQUAL, 2.5, "2 apart, 9:1"), 100, "rms", None),
        (gaussians(300, TWO, 3.0, "2 apart"), 100, "activations", None),
        (gaussians(3, TEN, 3.0, "10 overlapping"), 400, "activations", None),
        (spreads(3, 2.0), 100, "activations", None),
        (student(3, 1.5), 100, "rms", None),
        (rectified(3, 1.5), 100, "activations", None),
        (rectified(50, 3.0), 400, "rms", None),
        (gaussians(3, TWO, 1.5, "tokens, 10 a sequence", **tokens), 100, "rms", None),
        (gaussians(3, TWO, 1.5, "tokens, 10 a sequence", **tokens), 400, "activations", None),
        (gaussians(3, TWO, 1.0, "2 overlapping"), 2000, "activations", None),
        (student(3, 1.5), 2000, "activations", None),
        (gaussians(300, UNEQUAL, 2.5, "2 apart, 9:1"), 400, "rms", None),
        (gaussians(50, TEN, 4.0, "10 apart"), 400, "rms", None),
    ]


def meaningless() -> list[tuple[Law, int]]:
    """Laws without information about the label."""
    tokens = {"cluster": 10, "effect": 1.0}
    return [
        (gaussians(3, TWO, 0.0, "random labels", labels="random"), 100),
        (gaussians(50, UNEQUAL, 0.0, "random labels, 9:1", labels="random"), 100),
        (gaussians(300, TWO, 3.0, "random labels of two far classes", labels="random"), 100),
        (gaussians(20, TWO, 0.0, "a label a sequence", labels="random", **tokens), 200),
        (gaussians(20, TWO, 0.0, "a label a token", labels="random, per row", **tokens), 200),
    ]


@cache
def truths_near(law_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Sigmas about that of a law, and I(Y;T) at each."""
    law, _, unit, _ = laws()[law_index]
    sigma = SIGMA
    multiples = np.ones(1)
    if unit == "rms":
        S, _, _ = law.sample(100_000, np.random.default_rng(1))
        sigma, multiples = SIGMA * np.sqrt(S.var(axis=0).mean()), _MULTIPLES
    sigmas = sigma * multiples
    return sigmas, np.array([law.information(s) for s in sigmas])


def ends(law: Law, n: int, unit: str, most: int | None, seed: int) -> tuple[float, ...]:
    """Sigma, both ends and the value of a data set of its own."""
    warnings.simplefilter("ignore")
    S, y, clusters = law.sample(n, np.random.default_rng([seed, n]))
    est = LabelMIEstimator(
        SIGMA, sigma_unit=unit, max_inputs=most, n_permutations=0, random_state=seed
    ).fit(S, y, clusters=clusters)
    return est.sigma_, *est.bracket_, est.label_mutual_info_


def p_value(law: Law, n: int, seed: int) -> float:
    warnings.simplefilter("ignore")
    S, y, clusters = law.sample(n, np.random.default_rng([seed, n]))
    p = LabelMIEstimator(SIGMA, random_state=seed).fit(S, y, clusters=clusters).p_value_
    assert p is not None
    return p


def judge_ends(index: int, n_seeds: int, n_jobs: int) -> None:
    """A row of the table of ends."""
    law, n, unit, most = laws()[index]
    sigmas, truths = truths_near(index)
    found = np.array(over_seeds(ends, n_seeds, n_jobs, law, n, unit, most)).T
    sigma, lower, upper, value = found
    truth = np.interp(sigma, sigmas, truths)
    both = (lower <= truth) & (upper >= law.label_entropy)
    print_row(
        law.name, law.d, n if most is None else f"{most} of {n}", unit,
        f"{truths[len(truths) // 2]:.3f}",
        f"{law.label_entropy:.3f}", share(lower <= truth), share(upper >= law.label_entropy),
        share(both), f"{np.mean(truth - lower):.3f}", f"{np.mean(truth - value):.3f}",
        "met" if both.mean() >= 0.93 else "MISSED",
    )  # fmt: skip


def judge_p_values(law: Law, n: int, n_seeds: int, n_jobs: int) -> None:
    """A row of the table of p values."""
    p = np.array(over_seeds(p_value, n_seeds, n_jobs, law, n))
    small = p <= 0.05 + 1e-9
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_seeds)
    print_row(
        law.name, law.d, n, share(small), share(p <= 0.25 + 1e-9), f"{np.median(p):.2f}",
        "met" if small.mean() <= allowed else "MISSED",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="data sets of each law")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="laws whose name holds this")
    parser.add_argument("--quick", action="store_true", help="10 data sets")
    args = parser.parse_args()
    n_seeds = 10 if args.quick else args.seeds
    print(f"Ends, {n_seeds} data sets; information in nats, shares in per cent\n")
    print_header(
        "law", "d", "n", "sigma_unit", "true I", "H(Y)", "lower end ≤ I", "upper end ≥ H(Y)",
        "both", "mean I - lower end", "mean I - value", "verdict",
    )  # fmt: skip
    for index, (law, *_) in enumerate(laws()):
        if args.only in law.name:
            judge_ends(index, n_seeds, args.jobs)
    print("\nNo information, 19 permutations; 0.05 is the least p value\n")
    print_header("law", "d", "n", "p ≤ 0.05", "p ≤ 0.25", "median p", "verdict")
    for law, n in meaningless():
        if args.only in law.name:
            judge_p_values(law, n, n_seeds, args.jobs)


if __name__ == "__main__":
    main()
