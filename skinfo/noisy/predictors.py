"""Lower end of I(Y;T): how well predictors that saw other rows tell the label from the noisy layer.

For any q(y|t) that never saw the rows it is tested on, H(Y) + E log q(Y|T) <= I(Y;T) (Barber and
Agakov, "The IM Algorithm", NIPS 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, solve_triangular
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfo._numba import in_order
from skinfo._rows import Rows
from skinfo.noisy.folds import N_FOLDS, assign_folds
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import Averages
from skinfo.noisy.sampling import MISSED, N_RANDOMISATIONS, Average, Draws
from skinfo.noisy.sums import DrawSums
from skinfo.quantities import Quantity

# A larger p value tells nothing from chance.
_SIGNIFICANT = 0.05
#: Fewer permutations cannot show that a gain is more than chance.
FEWEST_PERMUTATIONS = 19
#: Fewer inputs, or clusters, are not split.
FEWEST_INPUTS = 10
# Draws of each randomisation, more where there are more rows.
_FEWEST_DRAWS = 256
# Predictors other than the class mixture see so many principal directions of the rows.
_MOST_DIRECTIONS = 256
# Rows that the class mixture is made of, and numbers that it holds at a time.
_MOST_AROUND, _AT_A_TIME = 10_000, 2**22
# Noisy rows that a classifier is fitted to, at least.
_FEWEST_FITTED = 1000
# What has no noise, a pattern of zeros or signs, is given this variance in units of the noise's.
_STILL = 0.01
#: More classes, or fewer inputs of each, share one covariance.
MOST_SHAPES, FEWEST_OF_SHAPE = 30, 10
# Penalties of the logistic regressions: inverse prior variances of coefficients of standard scores.
_PENALTIES = (1.0, 100.0)
_ITERATIONS = 200


@dataclass(frozen=True)
class PredictedLabels:
    """What predictors gain over guessing, at draws of rows that they never saw."""

    gain: Average  # E log q(y|t) / p(y), at most I(Y;T)
    null: np.ndarray  # (n_permutations,): the same number with permuted labels
    missed: float  # what wrong predictions of which none was drawn may take from the gain

    @property
    def end(self) -> Average:
        """The gain with all that makes a lower end of I(Y;T) uncertain."""
        return self.gain.widened(self.missed)

    @property
    def lower(self) -> float:
        """Lower end of I(Y;T)."""
        return self.end.mean - self.end.margin(population=True)

    @property
    def p_value(self) -> float:
        """Probability of such a gain without information, (1 + #{null >= gain}) / (1 + n).

        Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010.
        """
        return float((1 + np.sum(self.null >= self.gain.mean)) / (1 + len(self.null)))

    @property
    def indistinguishable(self) -> bool:
        """Whether independent labels may give such a gain: by its error, or by permutations."""
        return self.lower <= 0 or (len(self.null) > 0 and self.p_value > _SIGNIFICANT)

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The gain beside that of permuted labels, if these were asked for."""
        if not len(self.null):
            return ()
        gain, margin = self.gain, self.gain.margin(population=True)
        return (
            Quantity(
                "label_gain", gain.mean, gain.integration, self.lower, gain.mean + margin,
                stderr_sampling=gain.inputs,
            ),
            Quantity(
                "label_null", float(self.null.mean()),
                float(self.null.std(ddof=1) / np.sqrt(len(self.null))),
                float(self.null.min()), float(self.null.max()),
            ),
            Quantity.of_unknown_error("label_p_value", self.p_value),
        )  # fmt: skip


def predict_labels(
    mixture: Mixture,
    sums: DrawSums,
    *,
    seed: int,
    predictor: Any = None,
    n_permutations: int = 0,
    n_jobs: int | None = None,
) -> PredictedLabels:
    """Predict the label at draws from the rows of other folds, and so with permuted labels.

    The posterior is a convex combination of those of several predictors, or of ``predictor``, and
    of the frequencies of the classes. The weights for one fold are found in the other folds, at
    rows that the predictors did not see (expectation-maximisation).

    ``sums`` are those of the first draws of the seed. Of fewer than ten independent inputs, or
    clusters, nothing is learned: all gains are 0.

    Examples
    --------
    >>> labels = np.arange(200) % 2
    >>> mixture = Mixture.of(Rows.make(10.0 * labels[:, None], labels=labels), 1.0)
    >>> sums = mixture.sums_at(mixture.draw_stream(0).take(64), population=True, n_jobs=None)
    >>> found = predict_labels(mixture, sums, seed=0, n_permutations=3)
    >>> round(found.lower, 2), found.p_value
    (0.61, 0.25)
    """
    rows, labels = mixture.rows, mixture.rows.required_labels()
    m = _enough_draws(rows, sums.own.shape[1])
    draws, sums = mixture.draw_stream(seed).take(m), sums.first(m)
    # The folds are drawn from the seed itself: permutations must not repeat them.
    rng = np.random.default_rng([seed, 1])
    every = np.stack([labels, *(permute_labels(rows, rng) for _ in range(n_permutations))])
    gains = np.zeros((len(every), draws.rows.size))
    if len(rows.independent_weights) >= FEWEST_INPUTS:
        layer = _Layer.of(mixture, draws, every, assign_folds(rows, seed), seed)
        gains = _gains(layer, predictor, N_FOLDS, n_jobs)
    averages = Averages(mixture, draws, sums, None)
    gain, *null = (averages.of(values.reshape(draws.rows.shape)) for values in gains)
    return PredictedLabels(gain, np.array([average.mean for average in null]), missed_by(rows))


def missed_by(rows: Rows) -> float:
    """What wrong predictions of which no row was drawn may cost, on average, with 95 %.

    Each costs at most the logarithm of the number of inputs and one, as class frequencies have
    their share of every posterior.
    """
    return MISSED / rows.n_effective * float(np.log1p(len(rows.independent_weights)))


def _enough_draws(rows: Rows, available: int) -> int:
    """Draws of each randomisation that test the predictors: all rows are drawn, if they suffice."""
    m = min(_FEWEST_DRAWS, available)
    while m < available and m * N_RANDOMISATIONS < len(rows.points):
        m *= 2
    return m


def permute_labels(rows: Rows, rng: np.random.Generator) -> np.ndarray:
    """Labels permuted among what was drawn independently, (n,).

    Among inputs; with clusters among these, if all rows of each have one label, and else among the
    inputs of each cluster.
    """
    labels = rows.required_labels()
    if rows.clusters is not None:
        first = np.unique(rows.clusters, return_index=True)[1]
        of_clusters = labels[first]
        if (of_clusters[rows.clusters] == labels).all():
            return np.asarray(rng.permutation(of_clusters)[rows.clusters])
    of_inputs = labels[rows.first_rows]
    within = np.zeros(len(of_inputs)) if rows.clusters is None else rows.clusters[rows.first_rows]
    turned = np.empty_like(of_inputs)
    # Both orders go through the clusters one by one, the second in any order within each.
    turned[np.argsort(within, kind="stable")] = of_inputs[
        np.lexsort((rng.random(len(within)), within))
    ]
    return np.asarray(turned[rows.inputs])


@dataclass(frozen=True)
class _Layer:
    """Rows and draws as predictors see them: in units of the noise, and zeros or signs beside."""

    rows: Rows
    labels: np.ndarray  # (1 + n_permutations, n)
    folds: np.ndarray  # (n,)
    centres: np.ndarray  # (n, D)
    deviations: np.ndarray  # (n, D) or (1, D): of the noise; 0 where there is none
    drawn: np.ndarray  # (m,): the row of each draw
    noisy: np.ndarray  # (m, D): the draws
    seed: int

    @classmethod
    def of(
        cls, mixture: Mixture, draws: Draws, labels: np.ndarray, folds: np.ndarray, seed: int
    ) -> _Layer:
        rows, space, components = mixture.rows, mixture.space, mixture.components
        centres = space.standardise(rows.points)
        relative = space.relative_deviations
        deviations = np.ones((1, centres.shape[1])) if relative is None else relative
        drawn = draws.rows.ravel()
        noise = space.noise_everywhere(draws.noise.reshape(len(drawn), -1), seed)
        if components.strata is not None and components.channel.patterns is not None:
            patterns = components.channel.patterns[components.strata]
            deviations = deviations * (patterns != 0)
            seen = patterns[:, np.ptp(patterns, axis=0) > 0].astype(np.float64)
            centres = np.hstack([centres, seen])
            deviations = np.hstack([deviations, np.zeros(seen.shape)])
            noise = np.hstack([noise, np.zeros((len(noise), seen.shape[1]))])
        of_draws = deviations if len(deviations) == 1 else deviations[drawn]
        noisy = centres[drawn] + noise * of_draws
        return cls(rows, labels, folds, centres, deviations, drawn, noisy, seed)

    @property
    def variances(self) -> np.ndarray:
        """Variances of the noise, (n, D) or (1, D), of what has none a small one."""
        return np.maximum(self.deviations**2, _STILL)

    def deviations_of(self, members: np.ndarray) -> np.ndarray:
        return self.deviations if len(self.deviations) == 1 else self.deviations[members]

    def variances_of(self, members: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Mean variance of the noise over some rows, (D,)."""
        variances = self.variances
        return np.asarray(variances[0] if len(variances) == 1 else weights @ variances[members])


def _gains(layer: _Layer, predictor: Any, n_folds: int, n_jobs: int | None) -> np.ndarray:
    """Log q(y|t) - log p(y) at each draw, (1 + n_permutations, m)."""
    n_labels = int(layer.labels.max()) + 1
    around = None if predictor is not None else _ClassMixture.of(layer, n_folds, n_jobs)

    def predict(members: np.ndarray, tested: np.ndarray, split: tuple[int, ...]) -> np.ndarray:
        return _own_posteriors(layer, predictor, around, members, tested, split, n_labels)

    return cross_fitted_gains(
        layer.rows, layer.labels, layer.folds, layer.drawn, predict, n_folds, n_jobs
    )


def cross_fitted_gains(
    rows: Rows, every: np.ndarray, folds: np.ndarray, drawn: np.ndarray,
    predict: Callable[[np.ndarray, np.ndarray, tuple[int, ...]], np.ndarray],
    n_folds: int, n_jobs: int | None,
) -> np.ndarray:  # fmt: skip
    """Log q(y|t) - log p(y) at each draw, (n_labellings, m), of predictors weighted unseen.

    ``every`` are labels, (n_labellings, n), ``drawn`` is the row of each draw.
    ``predict(members, tested, folds)`` fits predictors to rows and returns what each gives the own
    label of draws in the folds left out, (n_labellings, n_predictors, n_tested).
    """
    n_labels = int(every.max()) + 1
    fold = folds[drawn]
    left_out = [(k,) for k in range(n_folds)] + list(combinations(range(n_folds), 2))

    def predict_split(split: tuple[int, ...]) -> np.ndarray:
        tested = np.flatnonzero(np.isin(fold, split))
        return predict(np.flatnonzero(~np.isin(folds, split)), tested, split)

    found = dict(zip(left_out, in_order(predict_split, left_out, n_jobs), strict=True))
    gains = np.empty((len(every), len(drawn)))
    for k in range(n_folds):
        inner = []
        for j in range(n_folds):
            if j != k:
                split = (min(j, k), max(j, k))
                inner.append(found[split][:, :, fold[np.isin(fold, split)] == j])
        n_inputs = len(np.unique(rows.independent[folds != k]))
        for p, outer in enumerate(found[(k,)]):
            held_out = np.concatenate([posteriors[p] for posteriors in inner], axis=1)
            weights = _stack(held_out, n_inputs)
            gains[p, fold == k] = np.log(weights @ outer)
    for p, labels in enumerate(every):
        probabilities = np.bincount(labels, rows.weights, n_labels)
        gains[p] -= np.log(probabilities[labels[drawn]])
    return gains


def _stack(posteriors: np.ndarray, n_inputs: int) -> np.ndarray:
    """Weights of predictors, (n_predictors,), given what each gave the own label of each draw.

    The frequencies of the classes, the first, count as if they had been right of one input more,
    so that no draw costs more than the logarithm of the number of inputs.
    """
    weights = np.full(len(posteriors), 1 / len(posteriors))
    if not posteriors.shape[1]:
        return np.eye(len(posteriors))[0]
    first = np.eye(len(posteriors))[0]
    for _ in range(_ITERATIONS):
        share = posteriors * (weights[:, None] / (weights @ posteriors))
        weights = (share.mean(axis=1) * n_inputs + first) / (n_inputs + 1)
    return weights


def _own_posteriors(
    layer: _Layer, predictor: Any, around: _ClassMixture | None, members: np.ndarray,
    tested: np.ndarray, split: tuple[int, ...], n_labels: int,
) -> np.ndarray:  # fmt: skip
    """What predictors fitted to ``members`` give the own label of each draw tested.

    (1 + n_permutations, n_predictors, n_tested); class frequencies are the first.
    """
    weights = layer.rows.weights[members] / layer.rows.weights[members].sum()
    n_inputs = len(np.unique(layer.rows.independent[members]))
    # A noisy draw of each row, of several where they are few.
    n_fitted = max(len(members), _FEWEST_FITTED)
    rng = np.random.default_rng([layer.seed, *split])
    position = np.searchsorted(np.cumsum(weights), (np.arange(n_fitted) + 0.5) / n_fitted)
    fitted = members[np.minimum(position, len(members) - 1)]
    noise = rng.standard_normal((n_fitted, layer.centres.shape[1]))
    noisy = layer.centres[fitted] + noise * layer.deviations_of(fitted)
    test = layer.noisy[tested]
    if predictor is None:
        centres, variances = layer.centres[members], np.diag(layer.variances_of(members, weights))
        if centres.shape[1] > _MOST_DIRECTIONS:
            n_directions = min(_MOST_DIRECTIONS, len(members))
            pca = PCA(n_directions, svd_solver="randomized", random_state=layer.seed).fit(centres)
            axes = pca.components_.T
            centres, noisy, test = centres @ axes, noisy @ axes, test @ axes
            variances = axes.T @ variances @ axes
    classes = np.arange(n_labels) if layer.rows.classes is None else layer.rows.classes
    n_every = len(layer.rows.independent_weights)
    own_shapes = n_labels <= min(MOST_SHAPES, n_every / FEWEST_OF_SHAPE)
    if predictor is None:
        classifiers = [_logistic(n_inputs / (n_fitted * penalty)) for penalty in _PENALTIES]
    else:
        classifiers = [_seeded(predictor, layer.seed)]
    given = []
    for p, labels in enumerate(layer.labels):
        own = labels[layer.drawn[tested]]
        counts = np.bincount(labels[members], weights, n_labels) * n_inputs
        posteriors = [((counts + 0.5) / (n_inputs + 0.5 * n_labels))[own]]
        if np.count_nonzero(counts) > 1 and len(tested):
            if around is not None:
                posteriors.append(around.own_posteriors(p, tested, split))
                posteriors += gaussian_posteriors(
                    centres, variances, labels[members], weights, counts, test, own, own_shapes
                )
            names = classes[labels[fitted]]
            # A class that weighs next to nothing is not among the rows fitted.
            if len(np.unique(names)) > 1:
                posteriors += [_predicted(c, noisy, names, test, classes[own]) for c in classifiers]
        given.append(posteriors)
    # Where only one class was seen, or nothing is tested, its frequency is all that there is.
    n_predictors = 1 + len(classifiers) + (0 if around is None else 2 + own_shapes)
    return np.array([some + some[:1] * (n_predictors - len(some)) for some in given])


def _logistic(inverse_penalty: float) -> Any:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=inverse_penalty, tol=1e-3, max_iter=2000)
    )


def _seeded(predictor: Any, seed: int) -> Any:
    """A copy, whose random states are the seed where they were None."""
    copy = clone(predictor)
    states = {
        name: seed
        for name, value in copy.get_params().items()
        if value is None and name.split("__")[-1] == "random_state"
    }
    return copy.set_params(**states)


def _predicted(
    classifier: Any, fitted: np.ndarray, names: np.ndarray, test: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """Probability that a classifier gives each row's own class; 0 where it has not seen it."""
    probabilities = classifier.fit(fitted, names).predict_proba(test)
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise ValueError(
            f"predict_proba of {type(classifier).__name__} gave what are no probabilities: "
            "negative numbers, NaN or infinity."
        )
    column = np.searchsorted(classifier.classes_, own)
    column = np.minimum(column, len(classifier.classes_) - 1)
    seen = classifier.classes_[column] == own
    return np.where(seen, probabilities[np.arange(len(own)), column], 0.0)


def gaussian_posteriors(
    centres: np.ndarray, noise: np.ndarray, labels: np.ndarray, weights: np.ndarray,
    counts: np.ndarray, test: np.ndarray, own: np.ndarray, own_shapes: bool,
    powers: Sequence[float] = (1.0,),
) -> list[np.ndarray]:  # fmt: skip
    """Discriminants: Gaussians with the covariance that all classes share, and with their own.

    The covariance within classes is shrunk to a round one (Ledoit and Wolf), that of a class to
    the common one as if this were known from as many inputs as there are directions; the noise is
    added. A mean of n inputs is uncertain by 1/n of the covariance. Posteriors are raised to each
    of ``powers``: below 1 they are less sure.
    """
    d = centres.shape[1]
    seen = np.flatnonzero(counts)
    of_seen = np.searchsorted(seen, labels)
    mass = np.bincount(of_seen, weights)
    order = np.argsort(of_seen, kind="stable")
    starts = np.searchsorted(of_seen[order], np.arange(len(seen)))
    sums = np.add.reduceat(weights[order, None] * centres[order], starts)
    means = sums / mass[:, None]
    centred = centres - means[of_seen]
    common = (centred.T * weights) @ centred
    shrinkage = min(1.0, ledoit_wolf_shrinkage(centred) * len(centres) / counts.sum())
    common = (1 - shrinkage) * common + shrinkage * np.trace(common) / d * np.eye(d)
    inflation = 1 + 1 / counts[seen]
    root = np.asarray(cho_factor(common + noise, lower=True)[0])
    whitened = solve_triangular(root, test.T, lower=True).T
    white_means = solve_triangular(root, means.T, lower=True).T
    squares = (
        (whitened**2).sum(axis=1)[:, None] - 2 * whitened @ white_means.T
        + (white_means**2).sum(axis=1)
    )  # fmt: skip
    logs = np.log(mass) - 0.5 * (np.maximum(squares, 0) / inflation + d * np.log(inflation))
    found = [_own_share(power * logs, seen, own) for power in powers]
    if own_shapes:
        for k in range(len(seen)):
            inside = of_seen == k
            own_scatter = (centred[inside].T * (weights[inside] / mass[k])) @ centred[inside]
            n = counts[seen[k]]
            covariance = (n * own_scatter + d * common) / (n + d) + noise
            root = np.asarray(cho_factor(inflation[k] * covariance, lower=True)[0])
            off = solve_triangular(root, (test - means[k]).T, lower=True)
            log_root = np.log(np.diag(root)).sum()
            logs[:, k] = np.log(mass[k]) - 0.5 * (off**2).sum(axis=0) - log_root
        found += [_own_share(power * logs, seen, own) for power in powers]
    return found


def _own_share(logs: np.ndarray, seen: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Posterior of the own class; 0 where it was not seen."""
    column = np.minimum(np.searchsorted(seen, own), len(seen) - 1)
    of_own = logs[np.arange(len(own)), column]
    return np.where(seen[column] == own, np.exp(of_own - logsumexp(logs, axis=1)), 0.0)


@dataclass(frozen=True)
class _ClassMixture:
    """Noise around the rows of each fold, of all and of the class of each draw: logarithms."""

    total: np.ndarray  # (m, n_folds)
    own: np.ndarray  # (1 + n_permutations, m, n_folds)

    @classmethod
    def of(cls, layer: _Layer, n_folds: int, n_jobs: int | None) -> _ClassMixture:
        rows, labels, drawn = layer.rows, layer.labels, layer.drawn
        some = np.arange(len(rows.points))
        if len(some) > _MOST_AROUND:
            some = np.random.default_rng(layer.seed).choice(some, _MOST_AROUND, replace=False)
        order = some[np.argsort(layer.folds[some], kind="stable")]
        starts = np.searchsorted(layer.folds[order], np.arange(n_folds + 1))
        variances = layer.variances if len(layer.variances) == 1 else layer.variances[order]
        scaled = layer.centres[order] / variances
        constants = (
            np.log(rows.weights[order]) - 0.5 * np.log(variances).sum(axis=1)
            - 0.5 * (scaled * layer.centres[order]).sum(axis=1)
        )  # fmt: skip
        total = np.full((len(drawn), n_folds), -np.inf)
        own = np.full((len(labels), len(drawn), n_folds), -np.inf)
        step = max(1, _AT_A_TIME // len(order))

        def fill(start: int) -> None:
            part = slice(start, start + step)
            t = layer.noisy[part]
            logs = t @ scaled.T - 0.5 * t**2 @ (1 / variances).T + constants
            for fold, (first, last) in enumerate(pairwise(starts)):
                if first == last:
                    continue
                largest = logs[:, first:last].max(axis=1)
                density = np.exp(logs[:, first:last] - largest[:, None])
                total[part, fold] = np.log(density.sum(axis=1)) + largest
                for p, codes in enumerate(labels):
                    members = np.eye(int(codes.max()) + 1)[codes[order[first:last]]]
                    of_class = (density @ members)[np.arange(len(t)), codes[drawn[part]]]
                    with np.errstate(divide="ignore"):
                        own[p, part, fold] = np.log(of_class) + largest

        list(in_order(fill, range(0, len(drawn), step), n_jobs))
        return cls(total, own)

    def own_posteriors(self, p: int, tested: np.ndarray, split: tuple[int, ...]) -> np.ndarray:
        """Posterior of the own label of draws, given the rows of folds outside ``split``."""
        others = np.setdiff1d(np.arange(self.total.shape[1]), split)
        own = logsumexp(self.own[p][np.ix_(tested, others)], axis=1)
        return np.asarray(np.exp(own - logsumexp(self.total[np.ix_(tested, others)], axis=1)))
