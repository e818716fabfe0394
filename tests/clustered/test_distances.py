"""Distances within and between classes, against hand-worked values and the two-loop oracle."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skinfo import ClusteringScore, compare_flows, information_flow, open_run
from skinfo._rows import Rows
from skinfo.clustered import distances as distances_module
from skinfo.clustered.distances import binned_auc, measure_distances
from skinfo.comparison import SCOPES

import reference
from .quantities import by_name


def test_hand_worked_four_points():
    est = ClusteringScore().fit([[0.0], [1.0], [3.0], [7.0]], [0, 0, 1, 1])
    # Within: 1 and 4. Between: 3, 7, 2, 6. Of eight pairs two are in the wrong order.
    assert est.auc_ == pytest.approx(6 / 8)
    assert est.within_histogram_.sum() == 2
    assert est.between_histogram_.sum() == 4
    # Means 0.5 and 5, within variance (0.25 + 4) / 2, between variance 2.25^2.
    assert est.nc1_ == pytest.approx(2.125 / 2.25**2 / 2)


THREE = [[0.0, 0.0], [3.0, 4.0], [0.0, 12.0]]


def test_hand_worked_three_points():
    """Distances 5 (within), 12 and sqrt(9 + 64) (between)."""
    est = ClusteringScore(measures=()).fit(THREE, ["a", "a", "b"])
    assert est.within_mean_ == pytest.approx(5)
    assert est.between_mean_ == pytest.approx((12 + np.sqrt(73)) / 2)
    assert est.auc_ == 1
    expected = [[5, est.between_mean_], [est.between_mean_, np.nan]]
    np.testing.assert_allclose(est.class_distances_, expected)
    assert est.classes_.tolist() == ["a", "b"]
    for counts, distances in (
        (est.within_histogram_, [5]),
        (est.between_histogram_, [73**0.5, 12]),
    ):
        cells = np.searchsorted(est.distance_edges_, distances, side="right") - 1
        np.testing.assert_array_equal(np.flatnonzero(counts), np.sort(cells))
    assert not hasattr(est, "nc1_")


def test_hand_worked_cosine():
    """Angles of 90 degrees within, 45 and 135 between."""
    X = [[2.0, 0.0], [0.0, 3.0], [-1.0, 1.0]]
    est = ClusteringScore(metric="cosine", measures=()).fit(X, [0, 0, 1])
    assert est.within_mean_ == pytest.approx(1)
    assert est.between_mean_ == pytest.approx(1)
    np.testing.assert_allclose(est.class_distances_, [[1, 1], [1, np.nan]], atol=1e-12)
    assert est.auc_ == pytest.approx(0.5)


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
    (within, between), _ = reference.within_and_between(
        reference.all_pairs(X, y, groups, metric=metric)
    )
    assert est.within_histogram_.sum() == pytest.approx(len(within))
    assert est.between_histogram_.sum() == pytest.approx(len(between))
    if d > 1 or metric == "euclidean":
        assert est.auc_ == pytest.approx(reference.auc(within, between), abs=1e-9)
    assert est.within_mean_ == pytest.approx(within.mean(), abs=1e-12)
    assert est.between_mean_ == pytest.approx(between.mean(), abs=1e-12)
    if d > 1 or metric == "euclidean":
        assert_same_cells(est.within_histogram_, within, est.distance_edges_)
        assert_same_cells(est.between_histogram_, between, est.distance_edges_)


def assert_same_cells(counts, distances, edges):
    """Cumulative counts agree at every edge, but for what rounding moves over one."""
    below = np.concatenate([[0], np.cumsum(counts)])
    ordered = np.sort(distances)
    low = np.searchsorted(ordered, edges * (1 - 2e-7) - 1e-12)
    high = np.searchsorted(ordered, edges * (1 + 2e-7) + 1e-12, side="right")
    assert (low - 1e-9 <= below).all()
    assert (below <= high + 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(6, 40),
    d=st.integers(1, 4),
    k=st.integers(2, 5),
    seed=st.integers(0, 10_000),
    grouped=st.booleans(),
    weighted=st.booleans(),
    kind=st.sampled_from(["normal", "lattice", "far", "scales"]),
)
def test_all_numbers_of_pairs_equal_the_oracle(n, d, k, seed, grouped, weighted, kind):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if kind == "lattice":
        X = np.round(X) * 0.1
    elif kind == "far":
        X = X * 1e-3 + 1e3
    elif kind == "scales":
        X = X * 10.0 ** rng.integers(-3, 3, size=(n, 1))
    groups = np.arange(n) // 2 if grouped else np.arange(n)
    y = groups % k
    assume(np.bincount(y[np.unique(groups, return_index=True)[1]]).max() > 1)
    assume(len(np.unique(y)) > 1)
    mass = rng.integers(1, 4, size=n)[groups] if weighted else None
    est = ClusteringScore(measures=()).fit(
        X, y, groups=groups if grouped else None, sample_weight=mass
    )
    # Weights are 1 on average over the rows; replicas of an input share its mass.
    share = (1 if mass is None else mass) / np.bincount(groups)[groups]
    pairs = reference.all_pairs(X, y, groups, share / share.mean())
    distances, masses = reference.within_and_between(pairs)
    assert est.auc_ == pytest.approx(reference.auc(*distances, *masses, rounding=1e-10), abs=1e-9)
    for name, part, weights in zip(("within", "between"), distances, masses, strict=True):
        assert getattr(est, f"{name}_histogram_").sum() == pytest.approx(weights.sum())
        mean = np.average(part, weights=weights)
        assert getattr(est, f"{name}_mean_") == pytest.approx(mean, rel=1e-9)
    np.testing.assert_allclose(
        est.class_distances_, reference.class_distances(pairs, len(np.unique(y))), rtol=1e-9
    )


def test_counts_sum_to_all_pairs(rng):
    est = ClusteringScore().fit(rng.normal(size=(101, 3)), np.arange(101) % 4)
    assert est.within_histogram_.sum() + est.between_histogram_.sum() == 101 * 100 / 2


def test_replicas_of_one_input_are_never_paired(rng):
    groups = np.repeat(np.arange(10), 4)
    X = np.repeat(rng.normal(size=(10, 2)), 4, axis=0)
    est = ClusteringScore().fit(X, groups % 2, groups=groups)
    assert est.within_histogram_.sum() == pytest.approx(20 * 16)
    assert est.within_histogram_[0] == 0


def test_weights_multiply_over_a_pair():
    X, y = [[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1]
    est = ClusteringScore().fit(X, y, sample_weight=[1, 3, 2, 2])
    # Relative weights average 1: products 3 / 4 and 4 / 4 within classes.
    assert est.within_histogram_.sum() == pytest.approx((3 + 4) / 4)


def test_a_dead_row_has_a_cosine_distance_of_one():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    est = ClusteringScore(metric="cosine").fit(X, [0, 0, 1, 1])
    within, between = est.within_histogram_, est.between_histogram_
    middle = (est.distance_edges_[:-1] + est.distance_edges_[1:]) / 2
    assert within @ middle == pytest.approx(1 + 1, abs=2e-3)
    assert between @ middle == pytest.approx(1 + 1 + 1 + 0, abs=2e-3)
    assert est.within_mean_ == pytest.approx(1)
    assert est.between_mean_ == pytest.approx(3 / 4)


def test_rows_of_one_direction_are_at_cosine_distance_zero():
    """Unit rows that differ by rounding alone were ranked apart, with certainty."""
    X = np.concatenate([np.tile([0.1, 0.3, 0.7], (5, 1)), np.tile([0.3, 0.9, 2.1], (5, 1))])
    est = ClusteringScore(metric="cosine").fit(X, np.arange(10) // 5)
    assert est.auc_ == 0.5
    assert est.silhouette_ == 0.0


def test_near_rows_far_from_the_centre_keep_their_digits():
    """Pairs 1e-7 apart, a thousand from the other class: products alone would leave no digit."""
    X = np.array([[0.0], [1e-7], [1000.0], [1000.0 + 2e-7]])
    est = ClusteringScore(measures=()).fit(X, [0, 0, 1, 1])
    exact = X[3, 0] - X[2, 0]
    assert est.class_distances_[0, 0] == pytest.approx(1e-7, rel=1e-5)
    assert est.class_distances_[1, 1] == pytest.approx(exact, rel=1e-5)


def test_a_large_offset_is_harmless(rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    moved = ClusteringScore().fit(X + 1e6, y)
    assert moved.auc_ == pytest.approx(ClusteringScore().fit(X, y).auc_, abs=1e-6)


def test_quantiles_lie_in_their_brackets(rng):
    X, y = rng.normal(size=(400, 3)), np.arange(400) % 3
    est = ClusteringScore(measures=()).fit(X, y)
    within, between = reference.within_and_between(reference.all_pairs(X, y, np.arange(400)))[0]
    quantities = by_name(est)
    for name, distances in (("within", within), ("between", between)):
        for level, value in zip((5, 25, 50, 75, 95), getattr(est, f"{name}_quantiles_"),
                                strict=True):  # fmt: skip
            quantity = quantities[f"{name}_q{level:02d}"]
            assert quantity.value == value
            exact = np.quantile(distances, level / 100, method="inverted_cdf")
            assert quantity.lower * (1 - 1e-7) <= exact <= quantity.upper * (1 + 1e-7)
            assert quantity.upper - quantity.lower < 0.02


@pytest.mark.parametrize("factor", [1e-30, 0.37, 1024.0, 1e30])
def test_auc_knows_no_scale(rng, factor):
    X, y = rng.normal(size=(200, 3)), np.arange(200) % 3
    est, scaled = (ClusteringScore(measures=()).fit(f * X, y) for f in (1, factor))
    assert scaled.auc_ == pytest.approx(est.auc_, abs=1e-9)
    assert scaled.within_mean_ == pytest.approx(factor * est.within_mean_)
    np.testing.assert_allclose(scaled.class_distances_, factor * est.class_distances_)


def test_order_of_rows_and_of_units_means_nothing(rng):
    X, y = rng.normal(size=(300, 5)), np.arange(300) % 3
    est = ClusteringScore(measures=("nc1", "nc2")).fit(X, y)
    rows, units = rng.permutation(300), rng.permutation(5)
    other = ClusteringScore(measures=("nc1", "nc2")).fit(X[rows][:, units], y[rows])
    assert other.auc_ == pytest.approx(est.auc_, abs=1e-12)
    np.testing.assert_allclose(other.class_distances_, est.class_distances_)
    for name in ("nc1_", "nc2_equinorm_", "nc2_equiangularity_", "within_mean_"):
        assert getattr(other, name) == pytest.approx(getattr(est, name))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_bits_for_any_number_of_threads(rng, weighted):
    X, y = rng.normal(size=(1500, 7)), np.arange(1500) % 3
    mass = rng.uniform(0.5, 2, size=1500) if weighted else None
    several = {"a": y, "b": np.arange(1500) % 5}
    one, four = (
        ClusteringScore(n_jobs=n_jobs, measures=()).fit(X, several, sample_weight=mass)
        for n_jobs in (1, 4)
    )
    assert one.quantities_ == four.quantities_
    for name in several:
        np.testing.assert_array_equal(one.within_histogram_[name], four.within_histogram_[name])
        np.testing.assert_array_equal(one.class_distances_[name], four.class_distances_[name])


# --- AUC ---------------------------------------------------------------------------------------


def test_auc_of_identical_rows_is_a_half():
    est = ClusteringScore().fit(np.ones((10, 2)), np.arange(10) % 2)
    assert est.auc_ == pytest.approx(0.5)
    assert est.nc1_ == np.inf


def test_auc_of_histograms_says_what_the_cells_hide():
    auc = binned_auc(np.array([2.0, 0, 2]), np.array([0.0, 2, 2]))
    assert auc.value == pytest.approx((2 * 2 + 2 * 2 + 2 * 2 / 2) / 16)
    assert [auc.lower, auc.upper] == pytest.approx([auc.value - 2 / 16, auc.value + 2 / 16])


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
    within, between = reference.within_and_between(reference.all_pairs(X, y, np.arange(60)))[0]
    assert ClusteringScore().fit(X, y).auc_ == pytest.approx(reference.auc(within, between))


def heavy(rng, n):
    """Rows on scales from 1e-4 to 1e4, far from the origin."""
    return 100 + rng.normal(size=(n, 4)) * 10.0 ** rng.uniform(-4, 4, size=(n, 1))


CLOUDS = {
    "normal": lambda rng, n: rng.normal(size=(n, 3)),
    "high dimension": lambda rng, n: rng.normal(size=(n, 400)),
    "heavy": heavy,
    "one far away": lambda rng, n: np.vstack([np.full((1, 3), 1e6), rng.normal(size=(n - 1, 3))]),
    "float32": lambda rng, n: rng.normal(size=(n, 20)).astype(np.float32),
    "two scales": lambda rng, n: rng.normal(size=(n, 2)) * 1e-3 + rng.integers(0, 2, (n, 1)),
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_certain_error_is_small_and_holds_the_exact_auc(rng, monkeypatch, cloud):
    X, y = CLOUDS[cloud](rng, 1200), np.arange(1200) % 4
    rows = Rows.make(X, labels=y)
    exact = measure_distances(rows, "euclidean").auc
    assert exact.lower == exact.value
    monkeypatch.setattr(distances_module, "MOST_RANKED_PAIRS", 0)
    binned = measure_distances(rows, "euclidean").auc
    assert binned.lower - 1e-9 <= exact.value <= binned.upper + 1e-9
    assert (binned.upper - binned.lower) / 2 < 1e-3


def auc_by_differences(X, y):
    left, right = np.triu_indices(len(X), 1)
    distances = np.sqrt(((X[left] - X[right]) ** 2).sum(axis=1))
    same = y[left] == y[right]
    within, between = np.sort(distances[same]), distances[~same]
    twice = sum(np.searchsorted(within, between, side).sum() for side in ("left", "right"))
    return twice / 2 / len(within) / len(between)


@pytest.mark.parametrize("far", [1e6, 1e9, 1e10, 1e11])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_auc_of_clusters_far_apart_is_that_of_differences(rng, far, dtype):
    """Between the clusters all distances are alike but for their last digits."""
    y = rng.integers(0, 3, size=150)
    X = (rng.normal(size=(150, 5)) + far * rng.choice([-1.0, 1.0], (150, 1))).astype(dtype)
    # From 1e11 on the rows' own rounding makes distances tie.
    exact = pytest.approx(auc_by_differences(X.astype(np.float64), y), abs=3e-7 + 1e-17 * far)
    assert ClusteringScore(measures=()).fit(X, y).auc_ == exact
    assert ClusteringScore(measures=()).fit(X, {"a": y, "b": y % 2}).auc_["a"] == exact
    weights = np.where(np.arange(150) < 149, 1.0, 1 + 1e-9)
    assert ClusteringScore(measures=()).fit(X, y, sample_weight=weights).auc_ == exact


@pytest.mark.parametrize("scale", [1e-7, 1e-9])
def test_the_auc_of_near_rows_beside_far_ones_is_that_of_differences(rng, scale):
    """Random labels in clusters that are points to a mean over all of them."""
    y = rng.integers(0, 2, size=120)
    X = np.eye(3, 8)[rng.integers(0, 3, size=120)] + scale * rng.normal(size=(120, 8))
    for moved in (X, X + 4.0, np.column_stack([X, np.full(120, 1e250)])):
        est = ClusteringScore(measures="all").fit(moved, y)
        assert est.auc_ == pytest.approx(auc_by_differences(moved, y), abs=3e-7)
        assert np.isfinite([est.silhouette_, est.intrinsic_dimension_, est.nc1_]).all()


def test_far_rows_of_a_lattice_tie(rng):
    X, y = rng.integers(0, 4, size=(80, 3)), rng.integers(0, 2, size=80)
    exact = auc_by_differences(X, y)
    for step, offset in ((0.1, 0.0), (0.1, 100.0), (0.1, 1e6), (1e-7, 0.0), (0.07, -3.3)):
        est = ClusteringScore(measures=()).fit(X * step + offset, y)
        assert est.auc_ == pytest.approx(exact, abs=1e-12)


# --- other inputs ------------------------------------------------------------------------------


@pytest.mark.parametrize(("apart", "n", "max_pairs"), [(0, 60, None), (1, 60, None), (1, 90, 900)])
def test_the_error_over_inputs_is_the_spread_of_samples(apart, n, max_pairs):
    """Of 200 samples of 200 inputs at least 93 % of the intervals held the mean; of 40, 86 %."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 3, size=n)
        X = rng.normal(size=(n, 4)) + apart * np.eye(4)[y]
        est = ClusteringScore(measures=(), max_pairs=max_pairs, random_state=seed).fit(X, y)
        found.append(by_name(est)["auc"])
    values = np.array([q.value for q in found])
    errors = [np.hypot(q.stderr, q.stderr_other_inputs) for q in found]
    assert 0.75 < values.std(ddof=1) / np.sqrt(np.mean(np.square(errors))) < 1.25
    assert (max_pairs is None) == (found[0].stderr == 0)


def test_the_error_over_inputs_knows_replicas_and_weights(rng):
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 3
    X[y == 1] += 1

    def error(X, y, **more):
        return by_name(ClusteringScore(measures=()).fit(X, y, **more))["auc"].stderr_other_inputs

    alone = error(X, y)
    assert error(X, y, sample_weight=np.full(60, 7.0)) == pytest.approx(alone)
    # Four rows of one input are no four inputs, which would halve the error.
    rows = np.repeat(np.arange(60), 4)
    assert alone <= error(X[rows], y[rows], groups=rows) < 1.2 * alone
    assert error(X[rows], y[rows]) == pytest.approx(alone / 2, rel=0.1)
    # One pair within a class, of hardly any weight.
    light = np.where(np.arange(30) == 1, 1e-13, 1.0)
    assert error(X[:30], np.maximum(np.arange(30), 1), sample_weight=light) < 0.5
    # An AUC of 1 is not known to be 1 of all inputs.
    assert error(X + 99 * y[:, None], y) == pytest.approx(8**0.5 / 60)


def test_two_samples_of_inputs_are_not_said_to_differ_in_truth():
    """AUCs near .523 of 500 inputs each: those of these inputs differ, those of the law do not.

    Of 200 such pairs of one law 5.5 % were said to differ.
    """

    def measured(seed, apart):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 4, size=500)
        run = open_run({(1, "h"): rng.normal(size=(500, 4)) + apart * np.eye(4)[y]}, labels=y)
        return information_flow(ClusteringScore(measures=()), run, progress=False)

    def about(one, other):
        rows = compare_flows({"a": one, "b": other}).set_index("quantity")
        return rows.loc["auc", ["change", "about"]].tolist()

    alone, like_these = list(SCOPES)[1:3]
    first = measured(0, 0.5)
    said = [about(first, measured(seed, 0.5)) for seed in range(1, 9)]
    assert said.count(["beyond brackets", alone]) >= 7
    assert about(first, measured(1, 1.0)) == ["beyond brackets", like_these]


# --- samples of pairs --------------------------------------------------------------------------


def fit_pairs(X, y, weights, **parameters):
    return ClusteringScore(measures=(), **parameters).fit(X, y, sample_weight=weights)


def test_the_standard_error_of_sampled_pairs_is_honest(rng):
    X, y = rng.normal(size=(300, 3)), rng.integers(0, 4, size=300)
    X += 0.5 * y[:, None]
    weights = rng.uniform(0.2, 2, size=300)
    exact = by_name(fit_pairs(X, y, weights))
    for name in ("auc", "within_mean", "between_mean"):
        errors = []
        for seed in range(60):
            est = fit_pairs(X, y, weights, max_pairs=2000, random_state=seed)
            quantity = by_name(est)[name]
            assert "sampled" in quantity.notes
            errors.append((quantity.value - exact[name].value) / quantity.stderr)
        # The mean square of 60 standard normals lies in (0.6, 1.55) but for one time in 500.
        assert 0.6 < np.mean(np.square(errors)) < 1.55
        assert abs(np.mean(errors)) < 0.45


def test_sampled_pairs_are_as_many_as_asked_and_never_replicas(rng):
    groups = np.repeat(np.arange(30), 4)
    X = np.repeat(rng.normal(size=(30, 2)), 4, axis=0)
    est = ClusteringScore(max_pairs=1000, measures=()).fit(X, groups % 3, groups=groups)
    assert est.within_histogram_.sum() == est.between_histogram_.sum() == 500
    assert est.within_histogram_[0] == 0
    exact = ClusteringScore(measures=()).fit(X, groups % 3, groups=groups)
    np.testing.assert_allclose(est.class_distances_, exact.class_distances_, rtol=0.3)
    again = ClusteringScore(max_pairs=1000, measures=()).fit(X, groups % 3, groups=groups)
    assert again.quantities_ == est.quantities_


def test_enough_pairs_are_no_sample(rng):
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    all_pairs = ClusteringScore(measures=()).fit(X, y)
    assert (
        ClusteringScore(max_pairs=780, measures=()).fit(X, y).quantities_ == all_pairs.quantities_
    )
    sample = ClusteringScore(max_pairs=779, measures=()).fit(X, y)
    assert all(q.stderr > 0 for q in sample.quantities_[:3])


def test_few_pairs_prove_nothing():
    """All sampled pairs are ordered, 1 in 250 of all is not: the interval must hold the truth."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=400), 100 + rng.normal(size=400)])[:, None]
    y = np.repeat([0, 1], 400)
    y[0] = 1
    truth = ClusteringScore(measures=()).fit(X, y).auc_
    assert 0.99 < truth < 1
    for seed in range(20):
        est = ClusteringScore(measures=(), max_pairs=100, random_state=seed).fit(X, y)
        auc = by_name(est)["auc"]
        assert auc.lower < truth < auc.upper
    with pytest.raises(ValueError, match="max_pairs"):
        ClusteringScore(max_pairs=99).fit(X, y)
