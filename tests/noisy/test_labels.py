"""Lower end of I(Y;T) of a population: labels predicted on rows that no predictor saw."""

import numpy as np
import pytest
from scipy.integrate import quad
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo._rows import Rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.predictors import PredictedLabels, permute_labels, predict_labels
from skinfo.noisy.sampling import Average

NO_INFORMATION = "indistinguishable from no information"


def predict(points, labels, sigma=1.0, seed=0, n_draws=256, n_permutations=0, **parts):
    mixture = Mixture.of(Rows.make(points, labels=labels, **parts), sigma)
    sums = mixture.sums_at(mixture.draw_stream(seed).take(n_draws), population=True, n_jobs=None)
    return predict_labels(mixture, sums, seed=seed, n_permutations=n_permutations)


def fit(points, labels, sigma=1.0, fitted_with=None, **options):
    estimator = NoisyMIEstimator(
        sigma, population=True, random_state=0, max_evaluations=2**12, tol=0.1, **options
    )
    return estimator.fit(points, labels, **(fitted_with or {}))


def information_of_two_normals(distance):
    """Of classes as likely, at +-distance, with deviation 1: on a line, by adaptive quadrature."""

    def integrand(t):
        density = np.exp(-0.5 * (t - distance) ** 2) / np.sqrt(2 * np.pi)
        return density * (np.log(2) - np.logaddexp(0.0, -2 * distance * t))

    return quad(integrand, -30, 30, points=[0, distance], epsabs=1e-10)[0]


def two_normals(distance, d, n, rng):
    """Noise of sigma .5 makes the deviation within a class 1."""
    y = rng.integers(0, 2, size=n)
    S = np.sqrt(0.75) * rng.normal(size=(n, d))
    S[:, 0] += distance * (2 * y - 1)
    return S, y


@pytest.mark.parametrize(
    ("distance", "d", "n", "share"), [(1, 20, 500, 0.7), (2, 20, 500, 0.85), (2, 50, 1000, 0.85)]
)
def test_two_normals_are_told_apart_nearly_as_far_as_they_can_be(distance, d, n, share, rng):
    truth = information_of_two_normals(distance)
    found = predict(*two_normals(distance, d, n, rng), sigma=0.5)
    assert share * truth < found.lower < truth
    assert not found.indistinguishable


def test_digits_are_told_apart():
    """With the noise around the other digits alone it was 1.32."""
    digits = load_digits()
    chosen = np.random.default_rng(0).permutation(len(digits.target))[:300]
    found = predict(digits.data[chosen] / 16, digits.target[chosen], sigma=0.2)
    assert 1.89 < found.lower < np.log(10)


@pytest.mark.parametrize("d", [20, 384])
def test_random_labels_say_nothing(d):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        found = predict(rng.normal(size=(100, d)), rng.integers(0, 3, size=100), seed=seed)
        assert found.lower <= 0
        assert found.indistinguishable


def test_the_p_value_of_random_labels_is_uniform():
    p = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, size=30)
        found = predict(rng.normal(size=(30, 2)), y, seed=seed, n_draws=16, n_permutations=3)
        p.append(found.p_value)
    assert set(p) <= {0.25, 0.5, 0.75, 1.0}
    # Of 12 uniform ones as few or as many with one chance in 500.
    assert 1 <= np.sum(np.array(p) <= 0.5) <= 11


def test_the_estimator_shows_null_and_p_value_in_its_units(rng):
    S, y = two_normals(2, 3, 100, rng)
    est = fit(S, y, 0.5, n_permutations=19, units="bits")
    assert est.label_p_value_ == 1 / 20
    assert est.label_null_mean_ < 0.05 < est.label_bracket_[0] < est.label_gain_
    by_name = {quantity.name: quantity for quantity in est.quantities_}
    assert by_name["label_gain"].lower == pytest.approx(est.label_bracket_[0])
    assert by_name["label_null"].unit == by_name["label_gain"].unit == "bits"
    assert NO_INFORMATION not in est.notes_
    shuffled = fit(S, rng.permutation(y), 0.5)
    assert NO_INFORMATION in shuffled.notes_
    assert shuffled.label_p_value_ is shuffled.label_null_mean_ is None


@pytest.mark.parametrize("case", ["two alone", "many classes", "words", "weights", "replicas"])
def test_odd_classes_have_a_finite_end_below_their_entropy(case, rng):
    y, given = np.arange(300) % 3, {}
    S = 5.0 * y[:, None] + rng.normal(size=(300, 2))
    if case == "two alone":
        y[:2] = [3, 4]
    elif case == "many classes":
        y = np.arange(300) % 100
        S = 5.0 * np.column_stack([y % 10, y // 10]) + 0.1 * rng.normal(size=(300, 2))
    elif case == "words":
        y = np.array(["a", "bb", "ccc"])[y]
    elif case == "weights":
        given["sample_weight"] = np.where(np.arange(300) < 150, 1.0, 1e-6)
    else:
        given["groups"] = np.arange(300) // 6 * 3 + y
    est = fit(S, y, fitted_with=given)
    assert 0.5 < est.label_bracket_[0] < est.label_ceiling_bracket_[1]


def test_zeros_that_dropout_leaves_are_seen():
    """The pattern of zeros gives the label away, and no two rows have the same."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    on = rng.random(size=(200, 30)) < np.where(y, 0.8, 0.2)[:, None]
    with pytest.warns(SaturationWarning):
        est = fit(on * np.exp(rng.normal(size=on.shape)), y, noise="multiplicative")
    assert 0.5 < est.label_bracket_[0] <= np.log(2)


def test_rows_drawn_together_are_kept_together(rng):
    """Labels are random; what is near was drawn together, and has one."""
    clusters = np.repeat(np.arange(40), 5)
    S = 5 * rng.normal(size=(40, 3))[clusters] + 0.1 * rng.normal(size=(200, 3))
    y = rng.integers(0, 2, size=40)[clusters]
    assert predict(S, y).lower > 0.3
    assert predict(S, y, clusters=clusters).lower <= 0


def test_labels_are_permuted_among_what_was_drawn_independently(rng):
    groups, clusters = np.repeat(np.arange(20), 2), np.repeat(np.arange(5), 8)
    labels = rng.integers(0, 4, size=20)[groups]
    of_inputs = permute_labels(Rows.make(np.zeros((40, 1)), groups=groups, labels=labels), rng)
    assert (of_inputs[::2] == of_inputs[1::2]).all()
    assert sorted(of_inputs) == sorted(labels)
    assert (of_inputs != labels).any()
    rows = Rows.make(np.zeros((40, 1)), groups=groups, labels=labels, clusters=clusters)
    within = permute_labels(rows, rng)
    for cluster in range(5):
        assert sorted(within[clusters == cluster]) == sorted(labels[clusters == cluster])
    whole = np.array([0, 1, 2, 3, 3])[clusters]
    turned = permute_labels(Rows.make(np.zeros((40, 1)), labels=whole, clusters=clusters), rng)
    assert sorted(turned[::8]) == [0, 1, 2, 3, 3]
    assert (turned.reshape(5, 8) == turned[::8, None]).all()


@pytest.mark.parametrize("words", [False, True])
def test_a_classifier_of_ones_own_takes_the_place_of_the_built_in(words, rng):
    S, y = two_normals(2, 3, 200, rng)
    y = np.array(["no", "yes"])[y] if words else y
    own = make_pipeline(StandardScaler(), LogisticRegression())
    lower, upper = fit(S, y, 0.5, label_predictor=own).label_bracket_
    assert 0.8 * information_of_two_normals(2) < lower < upper
    # One that is certain, and wrong half of the time, costs nothing: it is left out.
    certain = fit(S, y, 0.5, label_predictor=DummyClassifier(strategy="most_frequent"))
    assert certain.label_bracket_[0] == 0


@pytest.mark.parametrize(
    "options", [{"n_permutations": 19}, {"label_predictor": LogisticRegression()}]
)
def test_given_inputs_are_not_predicted(options):
    S, y = np.arange(8.0)[:, None], np.arange(8) % 2
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name} is for population=True"):
        NoisyMIEstimator(1.0, **options).fit(S, y)
    with pytest.raises(ValueError, match=rf"{name} is about labels; fit with y"):
        NoisyMIEstimator(1.0, population=True, **options).fit(S)


def test_permutations_too_few_to_show_anything_are_refused():
    S, y = np.arange(8.0)[:, None], np.arange(8) % 2
    with pytest.raises(ValueError, match=r"n_permutations=9 can show no p value of 0\.05"):
        NoisyMIEstimator(1.0, population=True, n_permutations=9).fit(S, y)


def test_a_gain_within_its_error_is_noted_whatever_the_permutations_say():
    gain = Average(0.01, inputs=0.02)
    assert PredictedLabels(gain, np.zeros(19), 0.0).indistinguishable
    assert not PredictedLabels(Average(0.01), np.zeros(19), 0.0).indistinguishable
    assert PredictedLabels(Average(0.01), np.zeros(19), 0.02).indistinguishable
    assert PredictedLabels(Average(0.01), np.ones(19), 0.0).indistinguishable


@pytest.mark.parametrize("y", [[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 2], [0] * 25 + [1], [0] * 6])
@pytest.mark.parametrize("clustered", [False, True])
def test_folds_that_lack_a_class_predict_by_frequency(y, clustered):
    S = np.random.default_rng(0).normal(size=(len(y), 2))
    clusters = np.minimum(np.arange(len(y)), len(y) - 2) if clustered else None
    est = NoisyMIEstimator(1.0, population=True, random_state=0).fit(S, y, clusters=clusters)
    lower, upper = est.label_bracket_
    assert 0 <= lower <= upper
