"""Silhouette, neural collapse, indices, dimension and binned entropy."""

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score
from threadpoolctl import threadpool_limits

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


@pytest.mark.parametrize("far", [3.0, 1e4, 1e9])
def test_the_silhouette_of_near_classes_beside_a_far_one_keeps_its_digits(rng, far):
    """Products alone leave the near ones no digit; three tiles, the same bits for any threads."""
    y = np.repeat([0, 1, 2], 100)
    X = rng.normal(size=(300, 6)) + np.array([0.0, 1.0, far])[y, None]
    one, two = (ClusteringScore(measures=("silhouette",), n_jobs=n).fit(X, y) for n in (1, 2))
    expected = reference.silhouette(X, y, np.ones(300))
    assert one.silhouette_ == pytest.approx(expected, rel=1e-13)
    assert two.silhouette_ == one.silhouette_


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


def by_papyan(X, y):
    """NC1 and the spread of lengths of NC2 as printed: rows in means, classes in Sigma_B alike."""
    k, centre = len(np.unique(y)), X.mean(axis=0)
    means = np.array([X[y == c].mean(axis=0) for c in range(k)])
    within = (X - means[y]).T @ (X - means[y]) / len(X)
    between = (means - centre).T @ (means - centre) / k
    lengths = np.linalg.norm(means - centre, axis=1)
    return np.trace(within @ np.linalg.pinv(between)) / k, lengths.std() / lengths.mean()


@pytest.mark.parametrize("sizes", [(20, 20, 20), (60, 9, 3), (5, 2, 40)])
def test_neural_collapse_of_unequal_classes_is_papyans(rng, sizes):
    y = rng.permutation(np.repeat([0, 1, 2], sizes))
    X = rng.normal(size=(len(y), 5)) + 2 * np.eye(5)[y]
    est = ClusteringScore(measures=("nc1", "nc2")).fit(X, y)
    assert (est.nc1_, est.nc2_equinorm_) == pytest.approx(by_papyan(X, y))


@pytest.mark.parametrize("gap", [1e-3, 1e-7, 1e-11])
@pytest.mark.parametrize("offset", [0.0, 4096.0])
def test_ratios_of_classes_whose_means_almost_coincide(rng, gap, offset):
    """Mirrored classes have the same means but for the gap, whatever the order of their rows."""
    Z = np.round(rng.normal(size=(30, 4)) * 2**20) / 2**20 + offset
    gap = 2.0 ** np.round(np.log2(gap))
    X, y = np.vstack([Z, Z[rng.permutation(30)] + [gap, 0, 0, 0]]), np.repeat([0, 1], 30)
    est = ClusteringScore(measures="all").fit(X, y)
    apart, spread = (X[30:] - offset).mean(axis=0) - (Z - offset).mean(axis=0), Z - Z.mean(axis=0)
    assert apart[0] == pytest.approx(gap, rel=1e-3)
    width = np.linalg.norm(spread, axis=1).mean()
    assert est.davies_bouldin_ == pytest.approx(2 * width / gap, rel=1e-4)
    assert est.nc1_ == pytest.approx((spread[:, 0] ** 2).mean() / (gap / 2) ** 2 / 2, rel=1e-4)
    scatter = (spread**2).sum() * 2
    assert est.calinski_harabasz_ == pytest.approx(60 * (gap / 2) ** 2 / (scatter / 58), rel=1e-4)


def test_a_near_pair_of_means_keeps_its_digits_beside_a_far_class(rng):
    Z = rng.normal(size=(20, 3)) * 1e-6
    X = np.vstack([Z, Z[::-1] + np.array([1e-9, 0, 0]), Z + 1e6])
    index = ClusteringScore(measures="all").fit(X, np.repeat([0, 1, 2], 20)).davies_bouldin_
    width = np.linalg.norm(Z - Z.mean(axis=0), axis=1).mean()
    assert index == pytest.approx((2 * width / 1e-9) * 2 / 3, rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6 + 0.1])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_what_is_divided_by_zero_is_never_a_guard(rng, metric, offset):
    """scikit-learn's indices are 0 and 1 there, which reads as perfect clusters."""
    y = np.arange(60) % 3

    def ratios(X, y):
        est = ClusteringScore(measures="all", metric=metric).fit(X, y)
        noted = {q.name for q in est.quantities_ if "zero by zero" in q.notes}
        return est.davies_bouldin_, est.calinski_harabasz_, est.nc1_, noted

    *values, noted = ratios(np.full((60, 4), offset), y)
    np.testing.assert_array_equal(values, [np.nan, np.nan, np.inf])
    assert {"davies_bouldin", "calinski_harabasz", "nc1", "nc2_equinorm"} <= noted
    # The same cloud three times, in another order each time.
    Z = rng.normal(size=(20, 4)) + 1 + offset
    X = np.vstack([Z, Z[::-1], Z[rng.permutation(20)]])
    far, ratio, nc1, noted = ratios(X, np.repeat([0, 1, 2], 20))
    assert (far, ratio) == (np.inf, 0.0)
    assert nc1 == np.inf or metric == "cosine"
    # Classes that are one point each.
    corners = np.repeat(np.eye(3, 4), 20, axis=0) + offset
    close, ratio, nc1, noted = ratios(corners, np.repeat([0, 1, 2], 20))
    assert (close, ratio, nc1, noted) == (0.0, np.inf, 0.0, set())
    # A fourth one, at the place of the third: no ratio of these two.
    close, ratio, _, noted = ratios(corners, np.repeat([0, 1, 2, 3], [20, 20, 10, 10]))
    assert (ratio, noted) == (np.inf, {"davies_bouldin"})
    assert np.isnan(close)


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
    alike = (1 / np.bincount(y))[y]
    est = ClusteringScore(measures=("nc2",))
    est.fit((np.eye(5) @ rotation)[y] + 7, y, sample_weight=alike)
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


def dimension_by_differences(points):
    squares = np.sort(((points[:, None] - points) ** 2).sum(axis=2), axis=1)
    logs, n = np.sort(np.log(squares[:, 2] / squares[:, 1])) / 2, len(points)
    kept = int(np.ceil(0.9 * n))
    return (kept - 1) / (logs[:kept].sum() + (n - kept) * logs[kept - 1])


@pytest.mark.parametrize("units", [3, 16, 40])
@pytest.mark.parametrize("offset", [0.0, 64.0])
def test_the_dimension_of_what_has_collapsed_is_that_of_differences(rng, units, offset):
    """From 16 units on neighbours were sought by products, which leave no digit of 1e-8."""
    disc, y = rng.normal(size=(200, 2)) @ rng.normal(size=(2, units)), np.arange(200) % 3
    for width in (1e-4, 1e-7, 1e-8, 1e-10):
        X = np.eye(3, units)[y] + width * disc + offset
        found = measure_dimension(Rows.make(X), "euclidean").value
        assert found == pytest.approx(dimension_by_differences(X), rel=1e-9)
        assert width < 1e-8 * offset or found == pytest.approx(2, rel=0.25)
    twins = np.vstack([disc, disc + 1e-9 * rng.normal(size=disc.shape)]) + offset
    found = measure_dimension(Rows.make(np.vstack([twins, twins])), "euclidean").value
    assert found == pytest.approx(dimension_by_differences(twins), rel=1e-9)
    X = np.eye(3, units, dtype=np.float32)[y] + np.float32(1e-4) * disc.astype(np.float32)
    found = measure_dimension(Rows.make(X), "euclidean").value
    assert found == pytest.approx(dimension_by_differences(X.astype(np.float64)), rel=1e-9)


def test_the_error_of_the_dimension_is_its_spread_and_there_is_no_bracket():
    """Neighbours share their distances: as of independent ratios the error was a fifth too small.

    Of 1,000 points and 150 seeds the root mean square of the deviations was 0.91 to 1.05 errors in
    1, 2, 3, 5 and 10 dimensions.
    """
    found = []
    for seed in range(60):
        angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, size=(250, 2))
        points = np.column_stack([np.cos(angles), np.sin(angles)])
        found.append(measure_dimension(Rows.make(points), "euclidean"))
    values, errors = np.array([(q.value, q.stderr) for q in found]).T
    # Of 60 normal numbers the standard deviation is within a quarter of theirs 99 times of 100.
    assert 0.75 < values.std(ddof=1) / np.sqrt(np.mean(errors**2)) < 1.25
    assert np.isnan([found[0].lower, found[0].upper]).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_same_bits_for_any_number_of_threads_of_linear_algebra(rng, metric):
    X, y = rng.normal(size=(700, 120)).astype(np.float32), np.arange(700) % 7
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            found.append(ClusteringScore(measures="all", metric=metric).fit(X, y).quantities_)
    assert found[0] == found[1] == found[2]


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
