"""Silhouette, neural collapse, indices, dimension and binned entropy."""

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from skinfo import ClusteringScore
from skinfo._rows import Rows
from skinfo.clustered import indices
from skinfo.clustered.indices import measure_dimension, measure_silhouette

import reference
from .quantities import by_name


def test_silhouette_is_scikit_learns(rng):
    X, y = rng.normal(size=(80, 3)), np.arange(80) % 3
    for metric in ("euclidean", "cosine"):
        est = ClusteringScore(metric=metric).fit(X, y)
        assert est.silhouette_ == pytest.approx(silhouette_score(X, y, metric=metric))


def test_a_sampled_silhouette_says_so(rng):
    X, y = rng.normal(size=(3000, 2)), np.arange(3000) % 3
    X[y == 1] += 2
    quantity = by_name(ClusteringScore().fit(X, y))["silhouette"]
    assert quantity.stderr > 0
    assert quantity.lower <= silhouette_score(X, y) <= quantity.upper


def test_the_sampled_silhouette_keeps_small_classes(rng):
    """Seen once each, 199 well-separated pairs counted as having no other row."""
    y = np.concatenate([np.zeros(6000, int), np.repeat(np.arange(1, 200), 2)])
    angle = 2 * np.pi * y / 200
    X = 100 * np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(len(y), 2))
    est = ClusteringScore(measures=("silhouette",)).fit(X, y)
    quantity = by_name(est)["silhouette"]
    assert "sampled" in quantity.notes
    assert quantity.value == pytest.approx(silhouette_score(X, y), abs=2e-3)


def test_the_error_of_a_sampled_silhouette_is_that_of_its_distances_too(monkeypatch):
    """Far rows and few of them: the mean distances differ from sample to sample."""
    misses = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=1500)
        X = 3 * rng.normal(size=(1500, 2)) * rng.gamma(1, size=(1500, 1)) + 1.5 * y[:, None]
        rows = Rows.make(X, labels=y)
        monkeypatch.setattr(indices, "MOST_SILHOUETTE_ROWS", 400)
        quantity = measure_silhouette(rows, "euclidean")
        misses.append((quantity.value - silhouette_score(X, y)) / quantity.stderr)
    assert 0.6 < np.sqrt(np.mean(np.square(misses))) < 1.3


def test_nc1_by_the_textbook(rng):
    X, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    means = np.array([X[y == k].mean(axis=0) for k in range(3)])
    within = sum((X[y == k] - means[k]).T @ (X[y == k] - means[k]) for k in range(3)) / 60
    deviations = means - means.mean(axis=0)
    between = deviations.T @ deviations / 3
    expected = np.trace(within @ np.linalg.pinv(between)) / 3
    assert ClusteringScore().fit(X, y).nc1_ == pytest.approx(expected)


def test_nc2_by_hand():
    """Means 2, 0, -1 less their mean 1/3 have lengths 5/3, 1/3, 4/3 and cosines -1, -1, 1."""
    X = [[1.0], [3.0], [-1.0], [1.0], [-1.0], [-1.0]]
    est = ClusteringScore(measures=("nc2",)).fit(X, [0, 0, 1, 1, 2, 2])
    lengths = np.array([5, 1, 4]) / 3
    assert est.nc2_equinorm_ == pytest.approx(lengths.std() / lengths.mean())
    assert est.nc2_equiangularity_ == pytest.approx(np.std([-1, -1, 1]))
    assert est.nc2_maximal_angle_ == pytest.approx((0.5 + 0.5 + 1.5) / 3)


def test_nc2_falls_to_zero_on_a_simplex_in_any_position(rng):
    y = np.repeat(np.arange(5), [3, 9, 4, 7, 6])
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    est = ClusteringScore(measures=("nc2",)).fit((np.eye(5) @ rotation)[y] + 7, y)
    for name in ("equinorm", "equiangularity", "maximal_angle"):
        assert getattr(est, f"nc2_{name}_") == pytest.approx(0, abs=1e-12)


def test_indices_are_scikit_learns(rng):
    X, y = rng.normal(size=(80, 3)), np.arange(80) % 3
    est = ClusteringScore(measures=("calinski_harabasz", "davies_bouldin")).fit(X, y)
    assert est.calinski_harabasz_ == pytest.approx(calinski_harabasz_score(X, y))
    assert est.davies_bouldin_ == pytest.approx(davies_bouldin_score(X, y))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_intrinsic_dimension_of_a_torus(rng, d):
    """A flat torus has no border, where the estimate would be lower."""
    angles = rng.uniform(0, 2 * np.pi, size=(4000, d))
    X = np.column_stack([np.cos(angles), np.sin(angles)])
    y = np.arange(4000) % 2
    est = ClusteringScore(measures=("intrinsic_dimension",)).fit(X, y)
    quantity = by_name(est)["intrinsic_dimension"]
    assert quantity.value == pytest.approx(d, rel=0.08)
    assert 0 < quantity.stderr < 0.05 * d


def test_intrinsic_dimension_counts_points_that_coincide_once(rng):
    X, y = rng.uniform(size=(500, 2)), np.arange(500) % 2
    est = ClusteringScore(measures=("intrinsic_dimension",)).fit(X, y)
    twice = ClusteringScore(measures=("intrinsic_dimension",)).fit(np.r_[X, X], np.r_[y, y])
    assert twice.intrinsic_dimension_ == pytest.approx(est.intrinsic_dimension_)


def test_intrinsic_dimension_by_hand_is_the_censored_likelihood():
    """Nine tenths of five ratios are all five, so that none is censored."""
    points = np.array([0.0, 1, 3, 7, 15])[:, None]
    apart = np.abs(points - points.T)
    ratios = np.sort([np.sort(row)[2] / np.sort(row)[1] for row in apart])
    expected = (5 - 1) / np.log(ratios).sum()
    assert measure_dimension(Rows.make(points), "euclidean").value == pytest.approx(expected)
    assert np.isnan(measure_dimension(Rows.make(points[:4]), "euclidean").value)
    lattice = np.array([[0.0, 0], [1, 0], [0.5, 3**0.5 / 2], [10, 0], [11, 0], [10.5, 3**0.5 / 2]])
    assert measure_dimension(Rows.make(lattice), "euclidean").value > 1e6


def test_a_sampled_dimension_says_so(rng, monkeypatch):
    monkeypatch.setattr(indices, "MOST_DIMENSION_INPUTS", 1000)
    quantity = measure_dimension(Rows.make(rng.uniform(size=(3000, 2))), "euclidean")
    assert quantity.notes == ("sampled",)
    assert quantity.value == pytest.approx(2, rel=0.15)


def test_the_dimension_does_not_depend_on_an_offset(rng):
    Z, y = rng.uniform(size=(600, 20)), np.arange(600) % 3
    plain, moved = (
        ClusteringScore(measures=("intrinsic_dimension",)).fit(X, y) for X in (Z, Z + 1e8)
    )
    assert moved.intrinsic_dimension_ == pytest.approx(plain.intrinsic_dimension_, rel=0.02)


def test_binned_entropy_is_a_share_of_log_n():
    X = np.array([[0.1], [0.2], [0.3], [1.7]])
    est = ClusteringScore(criterion="binned_entropy", bin_width=1.0).fit(X, [0, 0, 1, 1])
    entropy = reference.discrete_entropy([[0], [0], [0], [1]])
    assert est.binned_entropy_ == pytest.approx(entropy)
    assert est.binned_entropy_share_ == pytest.approx(entropy / np.log(4))
    assert est.score(X, [0, 0, 1, 1]) == pytest.approx(-entropy / np.log(4))
    with pytest.raises(ValueError, match="needs bin_width"):
        ClusteringScore(criterion="binned_entropy").fit(X, [0, 0, 1, 1])


def test_the_share_of_binned_entropy_counts_inputs_and_needs_two():
    X, groups = np.arange(16.0)[:, None], np.arange(16) // 4
    est = ClusteringScore(measures=("binned_entropy",), bin_width=0.1)
    est.fit(X, groups % 2, groups=groups)
    assert est.binned_entropy_share_ == pytest.approx(1.0)
    scored = ClusteringScore(criterion="binned_entropy", bin_width=0.1).fit(X, groups % 2)
    with pytest.raises(ValueError, match="two inputs"):
        scored.score([[1.0]], [0])
