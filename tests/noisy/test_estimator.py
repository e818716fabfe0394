"""NoisyMIEstimator: what users see, and what they are told when they hand in something wrong."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator, SaturationWarning

ESTIMATORS = [
    NoisyMIEstimator(0.5, random_state=0),
    BinningMIEstimator(n_bins=3),
    ClusteringScore(),
]


@pytest.fixture
def X(rng):
    return rng.normal(size=(60, 3))


@pytest.fixture
def y():
    return np.arange(60) % 3


def fitted(X, y=None, **options):
    settings = {"sigma": 0.5, "random_state": 0} | options
    return NoisyMIEstimator(**settings).fit(X, y)


def test_attributes_are_views_of_the_quantities(X, y):
    est = fitted(X, y)
    by_name = {q.name: q for q in est.quantities_}
    assert set(by_name) == {
        "mutual_info", "plug_in", "label_mutual_info", "entropy", "conditional_entropy",
        "ceiling", "label_ceiling", "conditional_mutual_info", "conditional_ceiling",
    }  # fmt: skip
    assert est.mutual_info_ == by_name["mutual_info"].value
    assert est.stderr_ == by_name["mutual_info"].stderr > 0
    assert est.bracket_ == (by_name["mutual_info"].lower, by_name["mutual_info"].upper)
    assert est.label_bracket_[0] <= est.label_mutual_info_ <= est.label_bracket_[1]
    assert est.ceiling_ <= np.log(60)
    assert est.label_ceiling_ == pytest.approx(np.log(3))
    assert est.entropy_ - est.conditional_entropy_ == pytest.approx(est.mutual_info_, abs=1e-9)
    assert est.conditional_entropy_ == pytest.approx(1.5 * np.log(2 * np.pi * np.e * 0.25))
    assert est.converged_
    assert est.rank_ == 3
    assert est.n_evaluations_ % 16 == 0
    assert est.notes_ == ()


def test_without_labels_what_needs_them_is_none(X):
    est = fitted(X)
    for name in ("label_mutual_info_", "label_stderr_", "label_bracket_", "label_ceiling_"):
        assert getattr(est, name) is None
    for name in ("mutual_info_", "stderr_", "bracket_", "ceiling_"):
        assert getattr(est, f"conditional_{name}") is None


def test_bits_are_nats_over_log_2(X, y):
    nats, bits = fitted(X, y), fitted(X, y, units="bits", tol=0.01 / np.log(2))
    factor = np.log(2)
    assert bits.mutual_info_ * factor == pytest.approx(nats.mutual_info_)
    assert bits.stderr_ * factor == pytest.approx(nats.stderr_)
    assert bits.bracket_[1] * factor == pytest.approx(nats.bracket_[1])
    assert bits.entropy_ * factor == pytest.approx(nats.entropy_)
    assert bits.label_ceiling_ * factor == pytest.approx(nats.label_ceiling_)
    assert bits.stderr_inputs_ * factor == pytest.approx(nats.stderr_inputs_)
    assert bits.score(X) * factor == pytest.approx(nats.score(X))
    assert {q.unit for q in bits.quantities_} == {"bits"}
    np.testing.assert_array_equal(bits.score_samples(X), nats.score_samples(X))


def test_score_on_the_training_rows_is_the_information(X):
    est = fitted(X)
    assert est.score(X) == pytest.approx(est.mutual_info_, abs=1e-9)
    line = fitted(X[:, :1])
    assert line.score(X[:, :1]) == pytest.approx(line.mutual_info_, abs=1e-9)


def test_score_on_fresh_rows_is_larger(X, rng):
    est = fitted(X, sigma=0.3)
    assert est.score(rng.normal(size=(200, 3))) > est.mutual_info_ + 0.1


def test_score_of_rows_off_the_fitted_subspace(rng):
    """Each unit of distance d from the subspace costs d^2 / (2 sigma^2)."""
    line = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 4))
    est = fitted(line)
    normal = np.linalg.svd(line - line.mean(axis=0))[2][-1]
    expected = est.score(line) + 0.7**2 / (2 * 0.5**2)
    assert est.score(line + 0.7 * normal) == pytest.approx(expected, rel=1e-9)


def test_score_changes_no_state(X):
    est = fitted(X, random_state=np.random.RandomState(3))
    before = {k: v for k, v in vars(est).items() if k.endswith("_")}
    assert est.score(X[:20]) == est.score(X[:20])
    assert {k: v for k, v in vars(est).items() if k.endswith("_")} == before


def test_score_samples_integrates_to_one():
    est = fitted(np.array([[-1.0], [0.3], [2.0]]))
    grid = np.linspace(-8, 9, 3401)[:, None]
    assert np.exp(est.score_samples(grid)).sum() * 0.005 == pytest.approx(1, abs=1e-9)


def test_float32_agrees_with_float64(rng):
    S = np.tanh(rng.normal(size=(300, 5))).astype(np.float32)
    low, high = fitted(S, sigma=0.3), fitted(S.astype(np.float64), sigma=0.3)
    assert low.mutual_info_ == pytest.approx(high.mutual_info_, abs=1e-6)


def test_a_large_offset_is_harmless(X):
    assert fitted(X + 1e6).mutual_info_ == pytest.approx(fitted(X).mutual_info_, abs=1e-6)


@pytest.mark.parametrize("power", [-1000, -540, 515, 1000])
def test_one_factor_for_activations_and_sigma_changes_no_information(power, X, y):
    """The square of sigma is no number there: an OverflowError, or an entropy of -inf."""
    X = X.astype(np.float32).astype(float)
    plain, scaled = fitted(X, y), fitted(np.ldexp(X, power), y, sigma=np.ldexp(0.5, power))
    assert scaled.mutual_info_ == plain.mutual_info_
    shift = X.shape[1] * power * np.log(2)
    assert scaled.entropy_ - shift == pytest.approx(plain.entropy_, rel=1e-9)
    density = scaled.score_samples(np.ldexp(X[:3], power)) + shift
    np.testing.assert_allclose(density, plain.score_samples(X[:3]), rtol=1e-9)


def test_saturation_is_said_aloud(X):
    with pytest.warns(SaturationWarning, match="within 1 %"):
        est = NoisyMIEstimator(1e-3, random_state=0).fit(X)
    assert est.notes_ == ("saturated",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(X, sigma=0.5)


def test_permuting_rows_and_units_changes_nothing_beyond_the_error(X, y, rng):
    order = rng.permutation(60)
    est, other = fitted(X, y), fitted(X[order][:, ::-1], y[order])
    assert other.mutual_info_ == pytest.approx(est.mutual_info_, abs=6 * est.stderr_)


def test_pandas_strings_and_pipelines(X, y):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    names = np.array(["cat", "dog", "owl"])[y]
    est = NoisyMIEstimator(0.5, random_state=0).fit(frame, names)
    assert list(est.feature_names_in_) == ["a", "b", "c"]
    assert est.label_mutual_info_ == pytest.approx(fitted(X, y).label_mutual_info_, rel=1e-12)
    pipeline = make_pipeline(PCA(2), NoisyMIEstimator(0.5, random_state=0)).fit(X, y)
    assert pipeline[-1].rank_ == 2
    assert pipeline.score(X) == pytest.approx(pipeline[-1].mutual_info_, abs=0.02)


def test_groups_may_be_any_names_in_any_order(rng):
    S = rng.normal(size=(60, 2))
    groups = np.repeat(np.arange(12), 5)
    order = rng.permutation(60)
    plain = NoisyMIEstimator(0.5, random_state=0).fit(S, groups=groups)
    names = np.array([f"input {11 - g:02d}" for g in groups])
    shuffled = NoisyMIEstimator(0.5, random_state=0).fit(S[order], groups=names[order])
    assert shuffled.plug_in_ == pytest.approx(plain.plug_in_, abs=6 * plain.stderr_ + 1e-9)


def test_refitting_and_cloning_give_the_same(X, y):
    est = fitted(X, y)
    assert clone(est).fit(X, y).quantities_ == est.quantities_
    assert est.fit(X, y).quantities_ == clone(est).fit(X, y).quantities_


@pytest.mark.parametrize("sigma", [0, -1, 0.0, np.nan, np.inf])
def test_sigma_must_be_positive_and_the_message_says_why(sigma, X):
    with pytest.raises(ValueError, match="positive standard deviation") as caught:
        NoisyMIEstimator(sigma).fit(X)
    for word in ("BinningMIEstimator", "ClusteringScore", "deterministic"):
        assert word in str(caught.value)


def test_sigma_none_belongs_to_runs(X):
    with pytest.raises(ValueError, match="information_flow"):
        NoisyMIEstimator(None).fit(X)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
class TestBadInput:
    @pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
    def test_not_finite_names_row_and_column(self, estimator, value, word, X, y):
        X[17, 2] = value
        with pytest.raises(ValueError, match=f"(?s){word}.*row 17, column 2"):
            clone(estimator).fit(X, y)
        X[17, 2] = 0
        est = clone(estimator).fit(X, y)
        X[5, 1] = value
        with pytest.raises(ValueError, match=f"(?s){word}.*row 5, column 1"):
            est.score(X, y)

    def test_no_rows(self, estimator, y):
        with pytest.raises(ValueError, match="0 sample"):
            clone(estimator).fit(np.empty((0, 3)), y[:0])

    def test_one_row(self, estimator, X, y):
        with pytest.raises(ValueError, match="1 sample"):
            clone(estimator).fit(X[:1], y[:1])

    def test_labels_of_another_length(self, estimator, X, y):
        with pytest.raises(ValueError, match="59 labels for 60 rows"):
            clone(estimator).fit(X, y[:-1])

    def test_groups_of_another_length(self, estimator, X, y):
        with pytest.raises(
            ValueError, match=r"groups must hold one value per row, shape \(\d+,\); got"
        ):
            clone(estimator).fit(X, y, groups=np.repeat(np.arange(10), 5))

    def test_groups_without_replicas(self, estimator, X, y):
        with pytest.raises(ValueError, match="no group has two rows"):
            clone(estimator).fit(X, y, groups=np.arange(60))

    def test_two_labels_in_one_group(self, estimator, X, y):
        with pytest.raises(ValueError, match="y differs within a group: row 1"):
            clone(estimator).fit(X, y, groups=np.repeat(np.arange(20), 3))

    def test_two_weights_in_one_group(self, estimator, X):
        groups = np.repeat(np.arange(20), 3)
        with pytest.raises(ValueError, match="sample_weight differs within a group"):
            clone(estimator).fit(X, groups % 2, groups=groups, sample_weight=np.arange(60.0))

    def test_labels_of_words_and_numbers(self, estimator, X):
        mixed = np.resize(np.array(["a", 1], dtype=object), len(X))
        with pytest.raises(ValueError, match="y must be a list of numbers or of words; got object"):
            clone(estimator).fit(X, mixed)

    def test_continuous_labels(self, estimator, X, rng):
        with pytest.raises(ValueError, match="continuous"):
            clone(estimator).fit(X, rng.normal(size=60))

    def test_not_numbers(self, estimator, y):
        with pytest.raises(ValueError, match="could not convert string to float"):
            clone(estimator).fit([["a", "b"]] * 60, y)

    def test_wrong_dimension_in_score(self, estimator, X, y):
        est = clone(estimator).fit(X, y)
        with pytest.raises(ValueError, match="2 features"):
            est.score(X[:, :2], y)

    def test_three_dimensional_arrays(self, estimator, X, y):
        with pytest.raises(ValueError, match="dim 3"):
            clone(estimator).fit(X[:, None], y)

    def test_negative_and_all_zero_weights(self, estimator, X, y):
        with pytest.raises(ValueError, match="[Nn]egative"):
            clone(estimator).fit(X, y, sample_weight=np.linspace(-1, 1, 60))
        with pytest.raises(ValueError, match="non-zero"):
            clone(estimator).fit(X, y, sample_weight=np.zeros(60))


@pytest.mark.parametrize(
    "options",
    [{"tol": 0}, {"population": "both"}, {"max_evaluations": 3}, {"units": "hartley"}],
    ids=lambda o: next(iter(o)),
)
def test_bad_parameters_are_named(options, X):
    with pytest.raises(ValueError, match=f"The '{next(iter(options))}' parameter"):
        NoisyMIEstimator(0.5, **options).fit(X)


def test_cube_by_the_public_door():
    X = np.array(list(product([-1.0, 1.0], repeat=3)))
    est = NoisyMIEstimator(0.5, random_state=0, units="bits").fit(X, X[:, 0])
    assert est.mutual_info_ == pytest.approx(3 * 0.632720193737 / np.log(2), abs=0.01)


def test_noise_lost_in_rounding_is_an_error(X):
    with pytest.raises(ValueError, match="Check the units of sigma"):
        NoisyMIEstimator(0.1).fit(X * 1e13)


def test_pairwise_bounds_hold_the_information(X):
    est = fitted(X, pairwise_bounds=True, units="bits")
    lower, upper = est.pairwise_bounds_
    assert lower <= est.mutual_info_ <= upper
    assert {q.name for q in est.quantities_} >= {
        "mutual_info_pairwise_lower", "mutual_info_pairwise_upper",
    }  # fmt: skip
    assert est.set_params(pairwise_bounds=False).fit(X).pairwise_bounds_ is None


def test_pairwise_bounds_of_replicas_are_refused_before_anything_is_measured(X, monkeypatch):
    monkeypatch.setattr("skinfo.noisy.estimator.measure_mixture", None)
    with pytest.raises(ValueError, match="pairwise_bounds=True"):
        NoisyMIEstimator(0.5, pairwise_bounds=True).fit(X, groups=np.arange(60) // 2)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_huge_weights_count_as_their_ratios(estimator, X, y):
    huge = clone(estimator).fit(X, y, sample_weight=np.full(60, 1e308))
    plain = clone(estimator).fit(X, y)
    assert [q.value for q in huge.quantities_] == pytest.approx(
        [q.value for q in plain.quantities_]
    )


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("name", ["y", "groups"])
def test_missing_labels_and_groups_are_named(name, missing, X):
    values = np.repeat(np.arange(30), 2).astype(object)
    values[7] = missing
    with pytest.raises(ValueError, match=f"Input {name} contains .*row 7"):
        NoisyMIEstimator(0.5).fit(X, **{name: values})
