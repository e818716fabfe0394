"""Weights: 0 removes a row, an integer repeats it, in every number that is fitted or scored."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    ReplicaWarning,
    SaturationWarning,
)

import reference

# Rows of weight 0 may lie outside the edges that the others gave.
pytestmark = pytest.mark.filterwarnings("ignore::skinfo.OutsideEdgesWarning")

NOISY = [
    NoisyMIEstimator(0.5, tol=0.005, random_state=0),
    NoisyMIEstimator(0.5, tol=0.005, population=True, units="bits", random_state=0),
]
BINNING = [
    BinningMIEstimator(bin_width=0.7),
    BinningMIEstimator(n_bins=5),
    BinningMIEstimator(n_bins=5, bin_range="neuron"),
    BinningMIEstimator(n_bins=5, strategy="quantile", units="bits"),
]
CLUSTERING = [ClusteringScore(), ClusteringScore(metric="cosine")]
#: Attributes that say how many draws were made, not what was measured.
COUNTS = {"n_evaluations_", "n_features_in_"}


@pytest.fixture
def X(rng):
    return rng.normal(size=(60, 3))


@pytest.fixture
def y():
    return np.arange(60) % 3


@pytest.fixture
def weight():
    return np.resize([1, 2, 0, 3, 1], 60)


def numbers(est, X, y):
    """Everything fitted and scored, by name, as arrays."""
    names = [name for name in vars(est) if name.endswith("_")]
    names += [name for name in vars(type(est)) if name.endswith("_") and not name.startswith("_")]
    found = {name: getattr(est, name) for name in names if name not in COUNTS}
    if "edges_" in found:
        found["edges_"] = np.concatenate(found["edges_"])
    found["quantities_"] = [(q.value, q.stderr, q.lower, q.upper) for q in est.quantities_]
    found["score"] = est.score(X, y)
    if isinstance(est, NoisyMIEstimator):
        found["score_samples"] = est.score_samples(X)
    return {name: np.ravel(value) for name, value in found.items() if value is not None}


def fitted(estimator, *data, **known):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReplicaWarning)
        return clone(estimator).fit(*data, **known)


def name_of(estimator):
    return str(estimator).replace("random_state=0", "")


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("estimator", NOISY + BINNING + CLUSTERING, ids=name_of)
def test_weight_zero_is_a_removed_row_in_every_number(estimator, grouped, X, weight):
    groups = np.arange(60) // 4 if grouped else None
    inputs = np.arange(60) if groups is None else groups
    y, weight = inputs % 3, weight[inputs]
    keep = weight > 0
    weighted = fitted(estimator, X, y, groups=groups, sample_weight=weight)
    removed = fitted(
        estimator, X[keep], y[keep], groups=None if groups is None else groups[keep],
        sample_weight=weight[keep],
    )  # fmt: skip
    found, expected = numbers(weighted, X, y), numbers(removed, X, y)
    assert found.keys() == expected.keys()
    assert len(found) >= 7
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("n_units", [1, 3])
@pytest.mark.parametrize("estimator", NOISY, ids=name_of)
def test_an_integer_weight_is_a_repeated_row(estimator, n_units, X, y, weight):
    """On a line to rounding, in space to the errors of both."""
    X = X[:, :n_units]
    weighted = fitted(estimator, X, y, sample_weight=weight)
    repeated = fitted(estimator, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    allowed = 1e-9 if n_units == 1 else 5 * np.hypot(weighted.stderr_, repeated.stderr_)
    names = ["mutual_info_", "plug_in_", "label_mutual_info_", "entropy_", "conditional_entropy_"]
    names += ["ceiling_"] if estimator.population or n_units == 3 else []
    # Of a population H(Y) is corrected by the number of inputs, and a weight is not more of them.
    names += [] if estimator.population else ["label_ceiling_"]
    for name in [*names, "rank_"]:
        expected = getattr(repeated, name)
        assert getattr(weighted, name) == pytest.approx(expected, abs=allowed), name
    assert weighted.score(X) == pytest.approx(repeated.score(X), abs=allowed)
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), rtol=1e-9)
    if not estimator.population:
        for name in ("bracket_", "label_bracket_", "entropy_bracket_"):
            expected = getattr(repeated, name)
            assert getattr(weighted, name) == pytest.approx(expected, abs=2 * allowed), name


@pytest.mark.parametrize("estimator", NOISY, ids=name_of)
def test_an_integer_weight_is_an_input_with_so_many_equal_replicas(estimator, X, y, weight):
    """Then the inputs stay what they are, and with them their entropy."""
    for n_units in (1, 3):
        S = X[:, :n_units]
        weighted = fitted(estimator, S, y, sample_weight=weight)
        repeated = fitted(
            estimator, np.repeat(S, weight, axis=0), np.repeat(y, weight),
            groups=np.repeat(np.arange(60), weight), sample_weight=np.repeat(weight, weight),
        )  # fmt: skip
        allowed = 1e-9 if n_units == 1 else 5 * np.hypot(weighted.stderr_, repeated.stderr_)
        for name in ("mutual_info_", "label_mutual_info_", "entropy_", "conditional_entropy_"):
            expected = getattr(repeated, name)
            assert getattr(weighted, name) == pytest.approx(expected, abs=allowed), name
        assert weighted.ceiling_ == pytest.approx(repeated.ceiling_)
        assert weighted.stderr_inputs_ == pytest.approx(repeated.stderr_inputs_, rel=0.2)


@pytest.mark.parametrize("estimator", BINNING, ids=name_of)
def test_an_integer_weight_is_a_repeated_row_in_every_bin(estimator, X, y, weight):
    weighted = fitted(estimator, X, y, sample_weight=weight)
    repeated = fitted(estimator, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    found, expected = numbers(weighted, X, y), numbers(repeated, X, y)
    # A repeated row is another input, and the ceiling is the entropy of the inputs.
    replicas = fitted(
        estimator, np.repeat(X, weight, axis=0), np.repeat(y, weight),
        groups=np.repeat(np.arange(60), weight), sample_weight=np.repeat(weight, weight),
    )  # fmt: skip
    # A row that is repeated as another input is not alone in its cell.
    expected["singleton_fraction_"] = found["singleton_fraction_"]
    for other in (expected, numbers(replicas, X, y)):
        for name in found.keys() - {"quantities_", "ceiling_", "notes_"}:
            np.testing.assert_allclose(found[name], other[name], atol=1e-12, err_msg=name)
    assert weighted.ceiling_ == pytest.approx(replicas.ceiling_)
    assert weighted.ceiling_ < repeated.ceiling_


@pytest.mark.parametrize("estimator", CLUSTERING, ids=name_of)
def test_an_integer_weight_is_an_input_repeated_in_every_pair(estimator, X, y, weight):
    """Copies of a row are replicas of its input: never paired with each other."""
    X[y == 1] += 1
    weighted = fitted(estimator, X, y, sample_weight=weight)
    repeated = fitted(
        estimator, np.repeat(X, weight, axis=0), np.repeat(y, weight),
        groups=np.repeat(np.arange(60), weight), sample_weight=np.repeat(weight, weight),
    )  # fmt: skip
    for name in ("auc_", "silhouette_", "nc1_"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name)), name
        assert getattr(weighted, name) != getattr(fitted(estimator, X, y), name)
    at = np.linspace(0.1, 1.9, 20)
    for name in ("within_histogram_", "between_histogram_"):
        found, expected = (
            np.interp(at, est.distance_edges_[1:], np.cumsum(getattr(est, name))) / total
            for est in (weighted, repeated)
            for total in [getattr(est, name).sum()]
        )
        # The cells differ, and with them where in its cell a distance lies.
        np.testing.assert_allclose(found, expected, atol=0.02, err_msg=name)


@pytest.mark.parametrize(("weight", "light"), [(1000, 1), (1.0, 1e-4)])
def test_the_error_allows_for_a_light_row_that_no_draw_met(weight, light, rng):
    """Its 1 / w made of it half of the covariance: the control missed it, and was off by .05."""
    cluster = rng.normal(size=(50, 2))
    X = np.concatenate([cluster, [[100.0, 50.0]], 100.0 * rng.normal(size=(1, 2)) - 500.0])
    weights = np.array([weight] * 50 + [light, light])
    p = light / weights.sum()
    truth = -2 * p * np.log(p) - (1 - 2 * p) * np.log1p(-2 * p)
    truth += (1 - 2 * p) * reference.plane_information(cluster, 1.0)
    for seed in range(4):
        est = NoisyMIEstimator(1.0, random_state=seed).fit(X, sample_weight=weights)
        assert abs(est.mutual_info_ - truth) < 4 * est.stderr_ < 0.04
        assert est.bracket_[0] <= truth <= est.bracket_[1]


def test_the_error_of_rows_that_all_lie_apart_is_that_of_their_weights(rng):
    """Nothing varies among the draws that never met the light one: the error was 0."""
    X, weights = 1000.0 * rng.normal(size=(40, 3)), np.array([1e4] * 39 + [1.0])
    p = weights / weights.sum()
    est = NoisyMIEstimator(1.0, random_state=0)
    with pytest.warns(SaturationWarning):
        est.fit(X, sample_weight=weights)
    assert 0 < abs(est.mutual_info_ + p @ np.log(p)) < 2 * est.stderr_ < 1e-4


def test_weights_alone_leave_the_error_as_small_as_it_is(rng):
    """Rows that overlap do not contribute their -log w; their miss doubled its error.

    The truth is that of half a million draws.
    """
    X, weights = rng.normal(size=(300, 2)), rng.random(300) + 0.1
    est = NoisyMIEstimator(0.3, random_state=0).fit(X, sample_weight=weights)
    finer = NoisyMIEstimator(0.3, tol=1e-4, random_state=1).fit(X, sample_weight=weights)
    assert abs(est.mutual_info_ - finer.mutual_info_) < 3 * est.stderr_ < 0.01


@pytest.mark.parametrize("far", [50.0, 140.0, 1e5])
def test_an_outlier_among_many_rows_leaves_the_information_of_the_others(far, rng):
    kinds = rng.normal(size=(40, 2))
    X = np.concatenate([np.repeat(kinds, 125, axis=0), [[far, far / 2]]])
    n = len(X)
    truth = np.log(n) / n - (1 - 1 / n) * np.log1p(-1 / n)
    truth += (1 - 1 / n) * reference.plane_information(kinds, 1.0)
    est = NoisyMIEstimator(1.0, random_state=0).fit(X)
    assert abs(est.mutual_info_ - truth) < 3 * est.stderr_ < 0.03
    assert est.score(X) == pytest.approx(truth, abs=0.02)
