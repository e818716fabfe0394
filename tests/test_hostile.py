"""Hostile but valid input: numbers that are numbers, in order, or an error that says why."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    OutsideEdgesWarning,
    ReplicaWarning,
    SaturationWarning,
    SlicedMIEstimator,
)

#: A word of each error that says why something cannot be computed.
REASONS = ("Scale them first", "Check", "bin_width=", "two classes", "every class", "underflow")
WEIGHTS = [[1, 2, 0], [1, 1e-30, 0], [1e308, 1e308, 1], [5e-324, 1e-322, 5e-324], [1, 5e-324, 1]]


def make_points(kind, n, d, rng):
    if kind == "constant":
        return np.full((n, d), 0.1)
    if kind == "levels":
        return rng.integers(0, 3, size=(n, d)).astype(float)
    if kind == "heavy":
        return rng.choice([-1, 1], size=(n, d)) * 10.0 ** rng.uniform(-20, 20, size=(n, d))
    X = rng.normal(size=(n, d))
    if kind == "duplicates":
        return X[rng.integers(0, max(1, n // 2), size=n)]
    return X * 10.0 ** rng.uniform(-12, 12, size=d) if kind == "uneven units" else X


@st.composite
def hostile_data(draw):
    """Finite activations with labels, groups and weights that validation accepts."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, d = draw(st.sampled_from([2, 3, 5, 8, 20, 65])), draw(st.sampled_from([1, 2, 3, 40]))
    kind = draw(
        st.sampled_from(["normal", "constant", "levels", "heavy", "duplicates", "uneven units"])
    )
    scale = draw(st.sampled_from([1.0, 1.0, 5e-324, 1e-200, 1e-30, 1e30, 1e200, 1e300]))
    offset = draw(st.sampled_from([0.0, 0.0, 1e6, 1e15, -1e300]))
    with np.errstate(over="ignore"):
        X = np.nan_to_num(make_points(kind, n, d, rng) * scale + offset)
    X[: draw(st.sampled_from([0, 0, 1])), :] = 0
    X[:, : draw(st.sampled_from([0, 0, 1]))] = 0
    if draw(st.sampled_from([False, False, True])):
        X = np.clip(X, -3e38, 3e38).astype(np.float32)
    groups = None
    if draw(st.booleans()):
        n_groups = draw(st.sampled_from([n // 2, n // 2, n // 4 + 1, 1]))
        groups = rng.integers(0, n_groups, size=n)
        assume(np.bincount(groups).max() > 1)
    inputs = np.arange(n) if groups is None else groups
    weights = draw(st.sampled_from([None, *WEIGHTS]))
    if weights is not None:
        weights = rng.choice(weights, size=n).astype(float)[inputs]
        assume(weights.max() > 0)
    labels = draw(st.sampled_from(["few", "few", "few", "one", "distinct"]))
    y = {"few": inputs % 2, "one": inputs * 0, "distinct": inputs}[labels]
    return X, y, groups, weights


MAY_LACK_A_CLASS = (
    "class_distances_", "class_conditional_mutual_info_", "class_conditional_stderr_",
)  # fmt: skip


OF_UNKNOWN_ERROR = ("known", "label_known", "inputs_needed", "label_p_value")


def all_floats(est):
    """Every fitted number by name."""
    values = {name: value for name, value in vars(est).items() if name.endswith("_")}
    # Those of a width are its multiples, and may be ten million.
    if isinstance(est, BinningMIEstimator) and est.bin_width is None:
        values["edges_"] = np.concatenate(est.edges_)
    for name, value in values.items():
        # A class of one input has no distance within; one too light to be drawn has no value.
        array = np.asarray([] if value is None or name in MAY_LACK_A_CLASS else value)
        if array.dtype.kind == "f":
            yield name, array
    for q in est.quantities_:
        known = () if q.name in OF_UNKNOWN_ERROR else (q.stderr, q.lower, q.upper)
        yield q.name, np.array([q.value, *known])


def check_numbers(est, data):
    X, y, groups, weights = data
    est.fit(X, y, groups=groups, sample_weight=weights)
    assert [name for name, values in all_floats(est) if np.isnan(values).any()] == []
    for q in est.quantities_:
        if q.name not in ("plug_in", *OF_UNKNOWN_ERROR):
            assert q.lower <= q.value <= q.upper, q
        if q.name not in OF_UNKNOWN_ERROR:
            assert q.stderr >= 0
    for other in (X, X[::-1] / 2):
        assert not np.isnan(est.score(other, y))
        if isinstance(est, NoisyMIEstimator):
            assert not np.isnan(est.score_samples(other)).any()


def survives(est, data):
    """Every number is one, or there is an error that says why; nothing is warned of by numpy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        warnings.simplefilter("ignore", ReplicaWarning)
        warnings.simplefilter("ignore", OutsideEdgesWarning)
        try:
            check_numbers(est, data)
        except ValueError as error:
            why = str(error)
        else:
            return
    assert any(reason in why for reason in REASONS), why


@given(
    data=hostile_data(),
    sigma=st.sampled_from([1e-3, 0.1, 1.0, 1e3, 1e-140, 1e-20, 1e140]),
    relative=st.booleans(),
    population=st.booleans(),
    max_evaluations=st.sampled_from([16, 256, 8192]),
)
def test_noisy_information_is_a_number_or_an_error(
    data, sigma, relative, population, max_evaluations
):
    largest = float(np.abs(data[0]).max())
    if relative and 1e-140 < sigma * largest < 1e140:
        sigma *= largest
    est = NoisyMIEstimator(
        sigma, population=population, max_evaluations=max_evaluations, random_state=0,
        pairwise_bounds=data[2] is None and data[3] is None,
    )  # fmt: skip
    survives(est, data)


@given(
    data=hostile_data(),
    sigma=st.sampled_from([1e-3, 1.0, 1e3, 1e-140, 1e140]),
    relative=st.booleans(),
    population=st.booleans(),
    n_directions=st.sampled_from([1, 1, 1, 2]),
)
def test_sliced_information_is_a_number_or_an_error(
    data, sigma, relative, population, n_directions
):
    largest = float(np.abs(data[0]).max())
    if relative and 1e-140 < sigma * largest < 1e140:
        sigma *= largest
    est = SlicedMIEstimator(
        sigma, population=population, n_directions=min(n_directions, data[0].shape[1]),
        max_slices=16, random_state=0,
    )  # fmt: skip
    survives(est, data)


@given(
    data=hostile_data(),
    options=st.sampled_from(
        [
            {"bin_width": 1e-300}, {"bin_width": 1e-3}, {"bin_width": 1.0}, {"bin_width": 1e300},
            {"n_bins": 1}, {"n_bins": 30}, {"bin_range": "neuron"}, {"bin_range": (-1, 1)},
            {"strategy": "quantile", "n_bins": 4}, {"bin_edges": [-1, 0, 1]},
        ]
    ),
)  # fmt: skip
def test_binned_entropy_is_a_number_or_an_error(data, options):
    survives(BinningMIEstimator(**options), data)


@given(
    data=hostile_data(),
    metric=st.sampled_from(["euclidean", "cosine"]),
    criterion=st.sampled_from(["auc", "silhouette", "nc1"]),
)
def test_clustering_is_a_number_or_an_error(data, metric, criterion):
    survives(ClusteringScore(metric=metric, criterion=criterion), data)


# --- what was wrong once -------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("far", [1e15, 1e300])
def test_score_of_rows_lost_in_rounding_is_an_error(far, d, rng):
    """On a line the lattice would have gone on for ever."""
    est = NoisyMIEstimator(0.5, random_state=0).fit(rng.normal(size=(20, d)))
    with pytest.raises(ValueError, match="Row 1 lies .* sigma .* noise. Check its units"):
        est.score(np.array([[0.0] * d, [far] * d]))


def test_density_beyond_all_squares_is_an_error(rng):
    est = NoisyMIEstimator(0.5, random_state=0).fit(rng.normal(size=(20, 2)))
    assert est.score_samples([[1e100, 0.0]])[0] == pytest.approx(-2e200)
    with pytest.raises(ValueError, match="overflows"):
        est.score_samples([[1e200, 0.0]])


@pytest.mark.parametrize("known", ["groups", "sample_weight"])
def test_sampled_inputs_that_lie_far_apart_have_a_bracket(known, rng):
    """The covariance without one input is a difference, and was singular."""
    X = rng.normal(size=(40, 3)) * [1e10, 1, 1] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    values = {"groups": np.arange(40) // 2, "sample_weight": 1.0 + np.arange(40) % 3}[known]
    est = NoisyMIEstimator(1.0, population=True, random_state=0)
    with pytest.warns(SaturationWarning):
        est.fit(X, **{known: values})
    assert est.bracket_[0] <= est.mutual_info_ <= est.bracket_[1]


def test_an_input_that_weighs_all_leaves_no_others_to_fit(rng):
    weight = np.array([1.0] + [1e-250] * 9)
    est = NoisyMIEstimator(0.5, population=True, random_state=0)
    est.fit(rng.normal(size=(10, 2)), sample_weight=weight)
    assert est.bracket_[0] <= est.mutual_info_ <= est.bracket_[1]


def test_weights_that_underflow_beside_the_largest_are_zero():
    X = [[0.0], [1.0], [5.0]]
    est = NoisyMIEstimator(0.5, random_state=0).fit(X, sample_weight=[1, 1, 5e-324])
    assert est.quantities_ == NoisyMIEstimator(0.5, random_state=0).fit(X[:2]).quantities_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_beyond_the_cells_of_a_width_are_an_error(dtype):
    est = BinningMIEstimator(bin_width=1e-3).fit(np.array([[0.0], [1.0]], dtype))
    for far in (1e30, 3e38):
        with pytest.raises(ValueError, match="more than 2\\^53 cells"):
            est.score(np.array([[0.0], [far]], dtype))
        with pytest.raises(ValueError, match="more than 2\\^53 cells"):
            BinningMIEstimator(bin_width=1e-3).fit(np.array([[0.0], [far]], dtype))


@pytest.mark.parametrize("bin_range", ["layer", "neuron", (-1.7e308, 1.7e308)])
def test_a_range_that_overflows_is_an_error(bin_range):
    with pytest.raises(ValueError, match="overflows"):
        BinningMIEstimator(bin_range=bin_range).fit([[-1.7e308], [1.7e308]])


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e299])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_clustering_does_not_depend_on_the_scale(metric, scale, rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    X[y == 1] += 1
    X[:2] = 0
    plain, scaled = (ClusteringScore(metric=metric).fit(points, y) for points in (X, X * scale))
    for name in ("auc_", "silhouette_", "nc1_"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name)), name
    unit = scale if metric == "euclidean" else 1.0
    assert scaled.within_mean_ == pytest.approx(plain.within_mean_ * unit)
    np.testing.assert_allclose(scaled.class_distances_, plain.class_distances_ * unit, rtol=1e-9)
    for criterion in ("auc", "silhouette", "nc1"):
        est = ClusteringScore(metric=metric, criterion=criterion).fit(X, y)
        assert est.score(X * scale, y) == pytest.approx(est.score(X, y))


@pytest.mark.parametrize("offset", [1e6, 1e9 + 0.1])
def test_clustering_does_not_depend_on_an_offset(offset, rng):
    """The rounding of a mean looked like a direction in which classes differ."""
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    plain, moved = (ClusteringScore().fit(points, y) for points in (X, X + offset))
    for name in ("auc_", "silhouette_", "nc1_"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-5), name


def test_rows_in_one_place_have_not_collapsed_onto_their_means():
    for value in (0.1, 1e6 + 0.1):
        est = ClusteringScore().fit(np.full((10, 2), value), np.arange(10) % 2)
        assert (est.auc_, est.silhouette_, est.nc1_) == (0.5, 0.0, np.inf)


def test_light_rows_still_have_their_place_in_the_auc():
    X, y = [[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1]
    est = ClusteringScore().fit(X, y, sample_weight=[1, 1e-200, 1e-200, 1e-290])
    assert est.auc_ == 1.0
    with pytest.raises(ValueError, match="underflow"):
        ClusteringScore().fit(X, [0, 1, 1, 1], sample_weight=[1, 1e-200, 1e-200, 1e-200])


@pytest.mark.parametrize("criterion", ["auc", "silhouette", "nc1"])
def test_every_criterion_needs_two_classes_and_a_pair(criterion, rng):
    X = rng.normal(size=(10, 2))
    est = ClusteringScore(criterion=criterion).fit(X, np.arange(10) % 2)
    with pytest.raises(ValueError, match="one class"):
        est.score(X, np.zeros(10))
    with pytest.raises(ValueError, match="every class in y has one"):
        est.score(X, np.arange(10))


# --- one door for all estimators -----------------------------------------------------------------


def every_estimator():
    return NoisyMIEstimator(0.5), BinningMIEstimator(), ClusteringScore(), SlicedMIEstimator(0.5)


def fit_all(X, y, **options):
    """What each estimator measures first."""
    estimators = (
        NoisyMIEstimator(0.5, tol=0.1, random_state=0), BinningMIEstimator(bin_width=0.5),
        ClusteringScore(), SlicedMIEstimator(0.5, tol=0.1, random_state=0),
    )  # fmt: skip
    return [estimator.fit(X, y, **options).quantities_[0].value for estimator in estimators]


@pytest.fixture
def labelled(rng):
    return rng.normal(size=(24, 2)).round(2), np.arange(24) % 2


@pytest.mark.filterwarnings("ignore::skinfo.SaturationWarning")
def test_masks_are_refused_wherever_they_are(labelled):
    X, y = labelled
    mask = np.arange(24) == 3
    plain = {"X": X, "y": y, "groups": np.arange(24) % 12, "sample_weight": np.ones(24)}
    for name, values in plain.items():
        hidden = np.ma.array(
            values, mask=np.broadcast_to(mask.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
        )
        for estimator in every_estimator():
            with pytest.raises(ValueError, match=f"{name} holds masked values; fill them or drop"):
                estimator.fit(**plain | {name: hidden})
    with pytest.raises(ValueError, match="X holds masked values"):
        fit_all([np.ma.masked_equal(row, row[0]) for row in X], y)
    assert fit_all(np.ma.array(X), y) == fit_all(X, y)


@pytest.mark.filterwarnings("ignore::skinfo.SaturationWarning")
def test_tensors_words_and_frames_are_taken_as_their_numbers(labelled):
    X, y = labelled
    words = np.array(["no", "yes"])[y]
    expected = fit_all(X, y)
    for values in (words, words.astype("S"), list(words.astype("S")), y[:, None].astype(str)[:, 0]):
        assert fit_all(X, values) == expected
    frame = pd.DataFrame(X, columns=["a", "b"]).astype("Float64")
    assert fit_all(frame, pd.Series(y).astype("Float64")) == expected
    torch = pytest.importorskip("torch")
    assert fit_all(torch.tensor(X, requires_grad=True), torch.tensor(y)) == expected
    coarse = X.astype(np.float32).round()
    assert fit_all(torch.tensor(coarse).bfloat16(), y) == fit_all(coarse, y)


@pytest.mark.parametrize("far", [2**53 + 2, -(2**53) - 2, 2**63 - 1])
def test_whole_numbers_that_double_precision_merges_are_refused(far, labelled):
    X = np.full((24, 2), 0) + np.array([far - 1, far])
    for values in (X, pd.DataFrame(X)):
        for estimator in every_estimator():
            with pytest.raises(ValueError, match="whole numbers beyond 2\\^53"):
                estimator.fit(values, labelled[1])
