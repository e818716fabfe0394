"""Of a sampled population: labels, rare classes and modes, values that are ends, steps before."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo._rows import Rows
from skinfo.noisy.information import measure_mixture
from skinfo.noisy.mixture import Mixture


def measure(points, labels=None, *, sigma=1.0, seed=0, **options):
    rows = Rows.make(points, labels=labels)
    return measure_mixture(Mixture.of(rows, sigma), population=True, seed=seed, **options)


def label_entropy(p):
    return -float(p @ np.log(p))


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(10, 30), (20, 200), (26, 1000), (50, 100)])
def test_far_classes_hold_the_entropy_of_the_population(k, n):
    """The plug-in's own H(Y) is low by (K - 1) / 2n, and classes may not have been drawn."""
    inside, above = 0, 0
    for seed in range(3):
        y = np.random.default_rng(seed).integers(0, k, size=n)
        found = measure(40.0 * y[:, None], y, seed=seed, max_evaluations=2**12)
        limit, classes = found.label_ceilings
        label = found.label_mutual_info
        inside += label.lower <= np.log(k) <= label.upper + 1e-12
        above += limit.lower <= np.log(k) <= limit.upper + 1e-12
        assert label.lower <= label.value <= label.upper <= limit.upper
        assert limit.lower <= limit.value <= limit.upper
        assert classes.value == pytest.approx(np.log(len(np.unique(y))))
    assert inside == 3
    assert above == 3


def test_classes_of_a_long_tail_hold_their_entropy():
    p = 0.8 ** np.arange(40)
    p /= p.sum()
    inside = 0
    for seed in range(4):
        y = np.random.default_rng(seed).choice(40, size=300, p=p)
        label = measure(40.0 * y[:, None], y, seed=seed, max_evaluations=2**12).label_mutual_info
        inside += label.lower <= label_entropy(p) <= label.upper
    assert inside == 4


def test_weights_tell_as_much_as_so_many_equal_inputs():
    y = np.arange(200) % 4
    weights = np.where(np.arange(200) < 100, 1.0, 1e-12)
    half = measure(40.0 * y[:100, None], y[:100]).label_ceilings[0]
    rows = Rows.make(40.0 * y[:, None], labels=y, input_weights=weights)
    found = measure_mixture(Mixture.of(rows, 1.0), population=True).label_ceilings[0]
    assert found.lower == pytest.approx(half.lower, rel=1e-6)
    assert found.upper == pytest.approx(np.log(4))


def two_far_classes(n, rng):
    y = np.arange(n) % 2
    return np.column_stack([10.0 * y, np.zeros(n)]) + 0.5 * rng.normal(size=(n, 2)), y


@pytest.mark.parametrize(("n", "lower"), [(300, 0.59), (3000, 0.679)])
@pytest.mark.parametrize("alone", ["its class", "its place", "far away", "both"])
def test_one_row_that_no_other_sees_costs_one_row(n, lower, alone, rng):
    """Wrong labels that no row shows may cost 3 log(n + 1) / n, .057 and .008, of log 2 = .693."""
    S, y = two_far_classes(n, rng)
    if alone in ("its class", "both"):
        y[0] = 2
    if alone != "its class":
        S[0] = {"its place": [100, 100], "far away": [1e8, 1e8], "both": [100, 100]}[alone]
    found = measure(S, y, max_evaluations=2**13).label_mutual_info
    assert lower < found.lower <= np.log(2)


def test_a_wide_layer_whose_classes_are_apart_has_a_lower_end():
    """The label of the row nearest to the noisy one is right for 94 %: Fano then promises 1.9."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 10, size=300)
    centres = np.maximum(rng.normal(size=(10, 300)), 0)
    S = np.maximum(0.8 * centres[y] + 1.2 * rng.normal(size=(300, 300)), 0)
    sigma = 0.1 * np.sqrt(np.mean(S**2))
    T = S + sigma * rng.normal(size=S.shape)
    square = np.sum(S**2, axis=1) - 2 * T @ S.T
    np.fill_diagonal(square, np.inf)
    error = np.mean(y[square.argmin(axis=1)] != y)
    probe = label_entropy(np.bincount(y) / 300) - (  # Fano
        error * np.log(9) + label_entropy(np.array([error, 1 - error]))
    )
    assert 0 < error < 0.1
    found = measure(S, y, sigma=sigma, max_evaluations=2**11).label_mutual_info
    assert found.lower > 0.85 * probe
    assert found.upper <= np.log(10) + 1e-9


@pytest.mark.parametrize("d", [20, 100])
def test_random_labels_are_noted_as_an_end_and_real_ones_are_not(d, rng):
    S, y = rng.normal(size=(200, d)), rng.integers(0, 4, size=200)
    random = measure(S, y, sigma=0.1, max_evaluations=2**12)
    assert random.label_mutual_info.value > 1.3
    assert random.label_mutual_info.lower == 0
    assert "too few inputs" in random.label_mutual_info.notes
    assert "too few inputs" in random.mutual_info.notes
    S, y = two_far_classes(400, rng)
    real = measure(S, y)
    for quantity in (real.label_mutual_info, real.mutual_info, real.entropy):
        assert "too few inputs" not in quantity.notes


def test_the_estimator_shows_the_entropy_of_labels_beside_log_k():
    y = np.repeat([0, 1], [90, 10])
    est = NoisyMIEstimator(1.0, population=True, units="bits", random_state=0)
    est.fit(40.0 * y[:, None], y)
    sample = label_entropy(np.array([0.9, 0.1])) / np.log(2)
    assert est.label_ceiling_ == pytest.approx(sample + 1 / 200 / np.log(2))
    lower, upper = est.label_ceiling_bracket_
    assert lower < sample < est.label_ceiling_ < upper < est.label_log_classes_ == 1
    given = NoisyMIEstimator(1.0, random_state=0).fit(40.0 * y[:, None], y)
    assert given.label_ceiling_bracket_ == (given.label_ceiling_, given.label_ceiling_)
    assert given.label_log_classes_ is None


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 1.0, 2.0, 3.0])
def test_a_mode_that_no_row_was_drawn_from_is_allowed_for(share):
    """300 rows at one point; of the population share / 300 are at another."""
    mass = share / 300
    truth = label_entropy(np.array([mass, 1 - mass]))
    inside = 0
    for seed in range(6):
        at = np.random.default_rng(seed).uniform(size=300) < mass
        found = measure(40.0 * at[:, None], seed=seed, max_evaluations=2**12)
        inside += found.mutual_info.lower <= truth <= found.mutual_info.upper
    assert inside == 6


def test_the_error_over_many_inputs_is_not_taken_for_too_small():
    """Most of 10,000 uniform rows are drawn once: then noise within a row hides what lies between.

    By quadrature E log 1 / g(s + sigma Z) varies by .23701 from row to row.
    """
    S = np.random.default_rng(0).uniform(-1, 1, size=(10_000, 1))
    error = measure(S, sigma=0.5, max_evaluations=2**14).stderr_inputs
    assert 0.23701 / 100 < error < 2 * 0.23701 / 100


# --- steps before --------------------------------------------------------------------------------


def flow_of(*steps, labels=None, **options):
    rng = np.random.default_rng(0)
    S, y = rng.normal(size=(300, 100)), rng.integers(0, 2, size=300)
    fitted = LinearDiscriminantAnalysis().fit(rng.normal(size=(300, 100)), y)
    made = [FrozenEstimator(fitted) if step == "frozen" else step for step in steps]
    run = open_run({(1, "h"): S}, labels=y)
    estimator = NoisyMIEstimator(0.1, random_state=0, max_evaluations=2**12, tol=0.1, **options)
    return information_flow(make_pipeline(*made, estimator), run)


def test_a_step_that_needs_labels_is_refused_before_a_population():
    with pytest.raises(ValueError, match=r"LinearDiscriminantAnalysis is fitted .*FrozenEstimator"):
        flow_of(LinearDiscriminantAnalysis(), population=True)
    given = flow_of(LinearDiscriminantAnalysis()).set_index("quantity")
    assert given.loc["label_mutual_info", "lower"] > 0.1


@pytest.mark.parametrize("nested", ["pipeline", "columns"])
def test_a_step_inside_another_meets_no_labels_before_a_population(nested):
    lda = LinearDiscriminantAnalysis()
    step = make_pipeline(lda) if nested == "pipeline" else ColumnTransformer([("a", lda, [0, 1])])
    with pytest.warns(UserWarning, match=r"(?s)missing .* 'y' .*fitted without labels"):
        assert flow_of(step, population=True)["notes"].tolist() == ["not measured"]


class LooksAtLabels(LinearDiscriminantAnalysis):
    """Uses labels where it gets them, and says so nowhere."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def fit(self, X, y=None):
        return super().fit(X, np.arange(len(X)) % 2 if y is None else y)

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)


@pytest.mark.parametrize("step", [LooksAtLabels(), "frozen"])
def test_labels_of_other_rows_or_none_leave_no_information_about_random_ones(step):
    found = flow_of(step, population=True).set_index("quantity")
    assert found.loc["label_mutual_info", "lower"] < 0.02
