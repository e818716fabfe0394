"""ClusteringScore: attributes, scores, label sets, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from skinfo import ClusteringScore
from skinfo.view import DistanceHistogramDisplay


def test_measures_are_those_asked_for(rng):
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 3
    names = {q.name for q in ClusteringScore(measures="all").fit(X, y).quantities_}
    assert {"silhouette", "nc1", "nc2_equinorm", "davies_bouldin", "intrinsic_dimension"} <= names
    assert "binned_entropy" not in names
    names = {q.name for q in ClusteringScore(measures=(), criterion="nc1").fit(X, y).quantities_}
    assert "nc1" in names
    assert "silhouette" not in names
    with pytest.raises(ValueError, match="'shape'; known are"):
        ClusteringScore(measures=["shape"]).fit(X, y)


def test_nothing_of_an_earlier_fit_is_left():
    X, y = np.random.RandomState(0).randn(40, 3), np.arange(40) % 2
    est = ClusteringScore(measures=("silhouette", "intrinsic_dimension")).fit(X, y)
    again = est.set_params(measures=()).fit(X, y)
    fresh = ClusteringScore(measures=()).fit(X, y)
    assert set(vars(again)) == set(vars(fresh))


def test_notes_are_those_of_the_numbers():
    X = np.random.RandomState(0).randn(2100, 2)
    est = ClusteringScore(measures=("silhouette",)).fit(X, np.arange(2100) % 2)
    assert est.notes_ == ("sampled",)


@pytest.mark.parametrize("criterion", ["auc", "silhouette", "nc1", "binned_entropy"])
def test_larger_scores_mean_more_clustered(rng, criterion):
    y = np.arange(90) % 3
    centres, noise = 3 * np.eye(4)[y], rng.normal(size=(90, 4))
    est = ClusteringScore(criterion=criterion, bin_width=1.5).fit(noise + centres, y)
    scores = [est.score(spread * noise + centres, y) for spread in (2, 1, 0.5)]
    assert (np.diff(scores) > 0).all()


def test_score_on_the_training_rows_is_the_attribute(rng):
    X, y = rng.normal(size=(50, 3)), np.arange(50) % 2
    for criterion, sign in (("auc", 1), ("silhouette", 1), ("nc1", -1)):
        est = ClusteringScore(criterion=criterion).fit(X, y)
        assert est.score(X, y) == pytest.approx(sign * getattr(est, f"{criterion}_"))


def test_score_beyond_the_fitted_distances(rng):
    X, y = rng.normal(size=(30, 2)), np.arange(30) % 2
    est = ClusteringScore().fit(X, y)
    assert est.score(100 * X, y) == pytest.approx(est.auc_)


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


def test_a_class_whose_weight_is_lost_has_no_name():
    X, y = [[0.0], [1.0], [3.0], [4.0], [9.0], [9.5]], ["a", "a", "b", "b", "c", "c"]
    weights = [1e-301, 1e-301, 1.0, 1.0, 1.0, 1.0]
    est = ClusteringScore(measures=()).fit(X, y, sample_weight=weights)
    assert est.classes_.tolist() == ["b", "c"]
    assert est.class_distances_.shape == (2, 2)


# --- several label sets ------------------------------------------------------------------------


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_label_sets_in_one_pass_equal_separate_fits(rng, crossed, metric):
    X = rng.normal(size=(240, 4))
    fine = rng.integers(0, 6, size=240)
    coarse = rng.integers(0, 3, size=240) if crossed else fine // 2
    weights = rng.integers(0, 3, size=240)
    sets = {"coarse": coarse, "fine": np.array(list("abcdef"))[fine]}
    together = ClusteringScore(measures="all", metric=metric).fit(X, sets, sample_weight=weights)
    for name, y in sets.items():
        alone = ClusteringScore(measures="all", metric=metric).fit(X, y, sample_weight=weights)
        assert together.auc_[name] == pytest.approx(alone.auc_, abs=1e-12)
        assert together.within_mean_[name] == pytest.approx(alone.within_mean_)
        assert together.nc1_[name] == pytest.approx(alone.nc1_)
        assert together.silhouette_[name] == pytest.approx(alone.silhouette_)
        np.testing.assert_allclose(together.class_distances_[name], alone.class_distances_)
        np.testing.assert_array_equal(together.classes_[name], alone.classes_)
        assert together.within_histogram_[name].sum() == pytest.approx(
            alone.within_histogram_.sum()
        )
        assert together.intrinsic_dimension_ == alone.intrinsic_dimension_
    assert {"auc [coarse]", "auc [fine]", "intrinsic_dimension"} <= {
        q.name for q in together.quantities_
    }


def test_columns_and_frames_are_label_sets_too(rng):
    X, y = rng.normal(size=(60, 2)), np.column_stack([np.arange(60) % 2, np.arange(60) % 3])
    by_dict = ClusteringScore(measures=()).fit(X, {"a": y[:, 0], "b": y[:, 1]})
    assert ClusteringScore(measures=()).fit(X, y).auc_ == dict(enumerate(by_dict.auc_.values()))
    frame = pd.DataFrame(y, columns=["a", "b"])
    assert ClusteringScore(measures=()).fit(X, frame).auc_ == by_dict.auc_


def test_labels_that_differ_in_blanks_are_two_classes(rng):
    y = np.array(["a", "a ", "b"] * 6)
    for labels in (y, y.astype(object), y.astype("S"), pd.Series(y, dtype="string")):
        est = ClusteringScore(measures=()).fit(rng.normal(size=(18, 2)), labels)
        assert [str(c) for c in est.classes_] == ["a", "a ", "b"]


def test_label_sets_that_cannot_be_measured_are_refused(rng):
    X, y = rng.normal(size=(20, 2)), np.arange(20) % 2
    with pytest.raises(ValueError, match="different lengths"):
        ClusteringScore().fit(X, {"a": y, "b": y[:10]})
    with pytest.raises(ValueError, match="no label set"):
        ClusteringScore().fit(X, {})
    for other in ("1 ", "1"):
        with pytest.raises(ValueError, match="alike but for blanks or type"):
            ClusteringScore().fit(X, {1: y, other: y})
    for hot in (np.eye(2)[y], np.eye(2, dtype=bool)[y], np.eye(3, dtype=int)[y]):
        with pytest.raises(ValueError, match="one-hot.*argmax"):
            ClusteringScore().fit(X, hot)
    with pytest.raises(ValueError, match="At most 8"):
        ClusteringScore().fit(X, np.tile(y[:, None], 9))
    with pytest.raises(ValueError, match="one class"):
        ClusteringScore().fit(X, {"a": y, "b": np.zeros(20)})
    with pytest.raises(ValueError, match="2 label sets"):
        ClusteringScore().fit(X, y).score(X, np.column_stack([y, y]))


def test_histograms_of_one_of_several_label_sets_are_drawn(rng):
    X, y = rng.normal(size=(30, 2)), np.arange(30) % 4
    est = ClusteringScore().fit(X, {"fine": y, "coarse": y % 2})
    display = DistanceHistogramDisplay.from_estimator(est, label_set="coarse")
    assert display.within.sum() == pytest.approx(est.within_histogram_["coarse"].sum())
    with pytest.raises(ValueError, match="label_set is one of 'fine', 'coarse'"):
        DistanceHistogramDisplay.from_estimator(est)


def test_the_error_over_inputs_is_over_clusters_where_they_were_drawn_together():
    """Against the spread over samples: tokens of a sequence share what it is about."""
    aucs, of_clusters, of_rows = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sequences = np.repeat(np.arange(30), rng.integers(1, 9, 30))
        topics = sequences % 2
        X = rng.standard_normal((30, 2))[sequences] + 0.8 * topics[:, None]
        X += 0.5 * rng.standard_normal(X.shape)
        for clusters, errors in ((sequences, of_clusters), (None, of_rows)):
            score = ClusteringScore(measures=()).fit(X, topics, clusters=clusters)
            auc = next(q for q in score.quantities_ if q.name == "auc")
            errors.append(auc.stderr_other_inputs)
        aucs.append(auc.value)
    spread = np.std(aucs, ddof=1)
    # Of 60 samples the spread itself is known to 9 %.
    assert 0.75 < np.sqrt(np.mean(np.square(of_clusters))) / spread < 1.3
    assert np.sqrt(np.mean(np.square(of_rows))) / spread < 0.7
    own = ClusteringScore(measures=()).fit(X, topics, clusters=np.arange(len(X)))
    assert own.quantities_ == score.quantities_
    one = ClusteringScore(measures=()).fit(X, topics, clusters=np.zeros(len(X)))
    assert np.isnan(one.quantities_[0].stderr_other_inputs)
    assert one.auc_ == score.auc_


def test_a_sample_of_the_inputs_has_the_error_of_sampling_them():
    """Two Gaussians on a line: the AUC of all 1,200 rows lies in the bracket of 200 of them."""
    y = np.arange(1200) % 2
    X = np.random.default_rng(0).normal(size=(1200, 1)) + 1.5 * y[:, None]
    whole = ClusteringScore(measures=("silhouette",)).fit(X, y)
    held = []
    for seed in range(8):
        few = ClusteringScore(measures=("silhouette",), max_inputs=200, random_state=seed).fit(X, y)
        quantities = {quantity.name: quantity for quantity in few.quantities_}
        auc, mean = quantities["auc"], quantities["within_mean"]
        held.append(auc.lower <= whole.auc_ <= auc.upper)
        assert 0.005 < auc.stderr < 0.1
        assert np.isnan([mean.stderr, mean.lower, mean.upper]).all()
        assert auc.notes == mean.notes == ("sampled",)
        assert quantities["silhouette"].value == whole.silhouette_
    assert sum(held) >= 6


def test_without_labels_only_what_needs_none_is_measured():
    X = np.random.default_rng(0).uniform(size=(500, 2)) @ np.ones((2, 4))
    est = ClusteringScore(measures=("intrinsic_dimension",)).fit(X)
    assert [quantity.name for quantity in est.quantities_] == ["intrinsic_dimension"]
    assert est.intrinsic_dimension_ == pytest.approx(1.0, abs=0.2)
    with pytest.raises(ValueError, match="requires y"):
        ClusteringScore().fit(X)


@pytest.mark.parametrize("y", [np.arange(200) // 2, np.arange(200) < 2])
def test_a_sample_without_pairs_is_not_said_to_be_all_inputs(y):
    S = np.random.default_rng(0).normal(size=(200, 2))
    with pytest.raises(ValueError, match="sample of max_inputs=10 holds no two inputs of one"):
        ClusteringScore(max_inputs=10, random_state=0).fit(S, y)
