"""Clustering against hand-worked values and the two-loop oracle."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from skinfo import ClusteringScore
from skinfo.measures import distances as distances_module
from skinfo.measures.distances import measure_distances
from skinfo.measures.ranking import auc_of_histograms
from skinfo.measures.rows import Rows


def test_hand_worked_four_points():
    est = ClusteringScore().fit([[0.0], [1.0], [3.0], [7.0]], [0, 0, 1, 1])
    # Within: 1 and 4. Between: 3, 7, 2, 6. Of eight pairs two are in the wrong order.
    assert est.auc_ == pytest.approx(6 / 8)
    assert est.within_histogram_.sum() == 2
    assert est.between_histogram_.sum() == 4
    # Means 0.5 and 5, within variance (0.25 + 4) / 2, between variance 2.25^2.
    assert est.nc1_ == pytest.approx(2.125 / 2.25**2 / 2)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(3, 20).map(lambda half: 2 * half),
    d=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    metric=st.sampled_from(["euclidean", "cosine"]),
    grouped=st.booleans(),
)
def test_distances_equal_the_oracle(n, d, seed, metric, grouped):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    groups = np.arange(n) // 2 if grouped else np.arange(n)
    y = groups % 2
    est = ClusteringScore(metric=metric).fit(X, y, groups=groups if grouped else None)
    within, between = reference.pair_distances(X, y, groups, metric)
    assert est.within_histogram_.sum() == pytest.approx(len(within))
    assert est.between_histogram_.sum() == pytest.approx(len(between))
    if d > 1 or metric == "euclidean":
        assert est.auc_ == pytest.approx(reference.auc(within, between), abs=1e-9)
    assert est.within_mean_ == pytest.approx(within.mean(), abs=1e-12)
    assert est.between_mean_ == pytest.approx(between.mean(), abs=1e-12)
    if d > 1 or metric == "euclidean":
        for counts, found in ((est.within_histogram_, within), (est.between_histogram_, between)):
            assert_same_cells(counts, found, est.distance_edges_)


def assert_same_cells(counts, distances, edges):
    """Cumulative counts agree at every edge, but for what rounding moves over one."""
    below = np.concatenate([[0], np.cumsum(counts)])
    ordered = np.sort(distances)
    low = np.searchsorted(ordered, edges * (1 - 2e-7) - 1e-12)
    high = np.searchsorted(ordered, edges * (1 + 2e-7) + 1e-12, side="right")
    assert (low - 1e-9 <= below).all()
    assert (below <= high + 1e-9).all()


def test_counts_sum_to_all_pairs(rng):
    est = ClusteringScore().fit(rng.normal(size=(101, 3)), np.arange(101) % 4)
    assert est.within_histogram_.sum() + est.between_histogram_.sum() == 101 * 100 / 2


def test_replicas_of_one_input_are_never_paired(rng):
    groups = np.repeat(np.arange(10), 4)
    X = np.repeat(rng.normal(size=(10, 2)), 4, axis=0)
    est = ClusteringScore().fit(X, groups % 2, groups=groups)
    assert est.within_histogram_.sum() == pytest.approx(20 * 16)
    assert est.within_histogram_[0] == 0


def test_binned_auc_holds_the_exact_one(rng, monkeypatch):
    X, y = rng.normal(size=(300, 2)), np.arange(300) % 2
    X[y == 1] += 0.8
    rows = Rows.make(X, labels=y)
    exact = measure_distances(rows, "euclidean").auc
    monkeypatch.setattr(distances_module, "MOST_RANKED_PAIRS", 0)
    binned = measure_distances(rows, "euclidean").auc
    assert binned.lower <= exact.value <= binned.upper
    assert binned.upper - binned.lower < 2e-3
    assert binned.value == pytest.approx(exact.value, abs=1e-3)


def test_auc_of_identical_rows_is_a_half():
    est = ClusteringScore().fit(np.ones((10, 2)), np.arange(10) % 2)
    assert est.auc_ == pytest.approx(0.5)
    assert est.nc1_ == np.inf


def test_auc_of_histograms_says_what_the_cells_hide():
    auc, tied = auc_of_histograms(np.array([2.0, 0, 2]), np.array([0.0, 2, 2]))
    assert auc == pytest.approx((2 * 2 + 2 * 2 + 2 * 2 / 2) / 16)
    assert tied == pytest.approx(2 / 16)


def test_clusters_score_higher_by_every_criterion(rng):
    y = np.arange(90) % 3
    loose = rng.normal(size=(90, 4))
    tight = 0.1 * loose + 3 * np.eye(4)[y]
    for criterion in ("auc", "silhouette", "nc1"):
        est = ClusteringScore(criterion=criterion).fit(loose, y)
        assert est.score(tight, y) > est.score(loose, y)


def test_score_on_the_training_rows_is_the_attribute(rng):
    X, y = rng.normal(size=(50, 3)), np.arange(50) % 2
    for criterion, sign in (("auc", 1), ("silhouette", 1), ("nc1", -1)):
        est = ClusteringScore(criterion=criterion).fit(X, y)
        assert est.score(X, y) == pytest.approx(sign * getattr(est, f"{criterion}_"))


def test_one_row_far_away_hardly_moves_the_auc(rng):
    X, y = rng.normal(size=(1500, 2)), np.arange(1500) % 2
    X[y == 1] += 3
    clean = ClusteringScore().fit(X, y)
    X[0] = 1e5
    est = ClusteringScore().fit(X, y)
    quantity = est.quantities_[0]
    assert est.auc_ == pytest.approx(clean.auc_, abs=5e-3)
    assert quantity.upper - quantity.lower < 0.01
    assert clean.score(100 * X, y) == pytest.approx(est.auc_, abs=5e-3)


def test_equal_distances_tie_whatever_their_rounding(rng):
    X, y = rng.integers(0, 3, size=(60, 4)).astype(float), np.arange(60) % 2
    within, between = reference.pair_distances(X, y, np.arange(60), "euclidean")
    assert ClusteringScore().fit(X, y).auc_ == pytest.approx(reference.auc(within, between))


def test_score_beyond_the_fitted_distances(rng):
    X, y = rng.normal(size=(30, 2)), np.arange(30) % 2
    est = ClusteringScore().fit(X, y)
    assert est.score(100 * X, y) == pytest.approx(est.auc_)


def test_silhouette_is_scikit_learns(rng):
    X, y = rng.normal(size=(80, 3)), np.arange(80) % 3
    for metric in ("euclidean", "cosine"):
        est = ClusteringScore(metric=metric).fit(X, y)
        assert est.silhouette_ == pytest.approx(silhouette_score(X, y, metric=metric))


def test_a_sampled_silhouette_says_so(rng):
    X, y = rng.normal(size=(3000, 2)), np.arange(3000) % 3
    X[y == 1] += 2
    quantity = {q.name: q for q in ClusteringScore().fit(X, y).quantities_}["silhouette"]
    assert quantity.stderr > 0
    assert quantity.lower <= silhouette_score(X, y) <= quantity.upper


def test_nc1_by_the_textbook(rng):
    X, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    means = np.array([X[y == k].mean(axis=0) for k in range(3)])
    within = sum((X[y == k] - means[k]).T @ (X[y == k] - means[k]) for k in range(3)) / 60
    deviations = means - means.mean(axis=0)
    between = deviations.T @ deviations / 3
    expected = np.trace(within @ np.linalg.pinv(between)) / 3
    assert ClusteringScore().fit(X, y).nc1_ == pytest.approx(expected)


def test_a_large_offset_is_harmless(rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    moved = ClusteringScore().fit(X + 1e6, y)
    assert moved.auc_ == pytest.approx(ClusteringScore().fit(X, y).auc_, abs=1e-6)


def test_a_dead_row_has_a_cosine_distance_of_one():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    est = ClusteringScore(metric="cosine").fit(X, [0, 0, 1, 1])
    within, between = est.within_histogram_, est.between_histogram_
    middle = (est.distance_edges_[:-1] + est.distance_edges_[1:]) / 2
    assert within @ middle == pytest.approx(1 + 1, abs=2e-3)
    assert between @ middle == pytest.approx(1 + 1 + 1 + 0, abs=2e-3)
    assert est.within_mean_ == pytest.approx(1)
    assert est.between_mean_ == pytest.approx(3 / 4)


def test_weights_multiply_over_a_pair():
    X, y = [[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1]
    est = ClusteringScore().fit(X, y, sample_weight=[1, 3, 2, 2])
    # Relative weights average 1: products 3 / 4 and 4 / 4 within classes.
    assert est.within_histogram_.sum() == pytest.approx((3 + 4) / 4)


def test_labels_are_needed(rng):
    X = rng.normal(size=(10, 2))
    with pytest.raises(ValueError, match="requires y"):
        ClusteringScore().fit(X)
    with pytest.raises(ValueError, match="one class"):
        ClusteringScore().fit(X, np.zeros(10))
    with pytest.raises(ValueError, match="every class in y has one"):
        ClusteringScore().fit(X, np.arange(10))
    with pytest.raises(ValueError, match="requires y"):
        ClusteringScore().fit(X, np.arange(10) % 2).score(X, None)
