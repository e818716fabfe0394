"""What T says beyond the label, of each input and of each class, against quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from skinfo import NoisyMIEstimator

import reference

LINE = np.array([-2.0, -1.1, -0.4, 0.3, 1.0, 2.5])
LABELS = np.array([0, 0, 1, 0, 1, 1])
WEIGHTS = np.array([1.0, 2.0, 1.0, 3.0, 2.0, 1.0])
PLANE = np.array([[0.0, 0.0], [1.0, 0.2], [0.1, 1.1], [1.2, 1.0], [2.0, 0.4], [-1.0, 0.7]])


def fitted(X, y=None, *, groups=None, sample_weight=None, **options):
    settings = {"sigma": 0.5, "random_state": 0} | options
    est = NoisyMIEstimator(**settings)
    return est.fit(X, y, groups=groups, sample_weight=sample_weight)


def within(value, truth, stderr, most):
    """Whether values lie within five standard errors of the truth, and these below a limit."""
    assert np.all(np.asarray(stderr) < most)
    np.testing.assert_array_less(np.abs(value - truth), 5 * np.asarray(stderr) + 1e-9)
    return True


@pytest.fixture(scope="module")
def on_the_line():
    """An estimator of weighted rows on a line, and their facts by quadrature."""
    est = fitted(LINE[:, None], LABELS, sample_weight=WEIGHTS, posterior_draws=2**12)
    return est, reference.line_facts(LINE, WEIGHTS / WEIGHTS.sum(), LABELS, 0.5)


def test_pointwise_information_of_every_row(on_the_line):
    est, (pointwise, *_) = on_the_line
    assert within(est.pointwise_mutual_info_, pointwise, est.pointwise_stderr_, 2e-3)
    total = WEIGHTS @ est.pointwise_mutual_info_ / WEIGHTS.sum()
    assert total == pytest.approx(est.mutual_info_, abs=1e-3)
    assert est.pointwise_inputs_.tolist() == list(range(6))


def test_information_within_each_class_of_a_line(on_the_line):
    est, (_, conditional, *_) = on_the_line
    stderr = est.class_conditional_stderr_
    assert within(est.class_conditional_mutual_info_, conditional, stderr, 0.02)
    p = np.array([6, 4]) / 10
    assert est.conditional_mutual_info_ == pytest.approx(p @ conditional, abs=1e-9)
    assert est.conditional_mutual_info_ == pytest.approx(
        est.mutual_info_ - est.label_mutual_info_, abs=1e-12
    )


def test_confusion_and_bayes_error(on_the_line):
    est, (_, _, confusion, error) = on_the_line
    assert within(est.confusion_, confusion, est.confusion_stderr_, 1e-3)
    np.testing.assert_allclose(est.confusion_.sum(axis=1), 1, atol=1e-12)
    assert within(est.bayes_error_, error, est.bayes_error_stderr_, 1e-3)
    lower, upper = est.bayes_error_bracket_
    assert lower < error < upper < lower + 1e-2
    assert est.confusion_left_out_ is None


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_bayes_error_of_two_points_is_the_tail_of_a_gaussian(sigma):
    est = fitted([[-1.0], [1.0]], ["a", "b"], sigma=sigma, posterior_draws=2**12)
    assert within(est.bayes_error_, norm.sf(1 / sigma), est.bayes_error_stderr_, 1e-4)
    assert est.classes_.tolist() == ["a", "b"]


def test_information_beyond_the_label_in_the_plane():
    labels = np.array([0, 0, 1, 1, 2, 1])
    est = fitted(PLANE, labels, tol=1e-3)
    truth = reference.plane_conditional(PLANE, labels, 0.5)
    total = np.array([2, 3, 1]) / 6 @ truth
    lower, upper = est.conditional_bracket_
    assert within(est.conditional_mutual_info_, total, est.conditional_stderr_, 2e-3)
    assert lower <= total <= upper
    assert within(est.class_conditional_mutual_info_, truth, est.class_conditional_stderr_, 5e-3)
    assert est.conditional_ceiling_ == pytest.approx(np.log(6) - est.label_ceiling_)


@pytest.mark.parametrize("replicas", [1, 4])
def test_informations_add_up_to_rounding(rng, replicas):
    X, y = rng.normal(size=(30 * replicas, 3)), np.repeat(np.arange(30) % 3, replicas)
    groups = None if replicas == 1 else np.repeat(np.arange(30), replicas)
    est = fitted(X, y, groups=groups)
    parts = est.label_mutual_info_ + est.conditional_mutual_info_
    assert parts == pytest.approx(est.mutual_info_, abs=1e-12)
    shares = np.full(3, 1 / 3) @ est.class_conditional_mutual_info_
    assert shares == pytest.approx(est.conditional_mutual_info_, abs=1e-12)


def test_a_single_class_leaves_all_information_to_the_inputs(rng):
    X = rng.normal(size=(20, 2))
    est = fitted(X, np.zeros(20), posterior_draws=16, sigma=1.0)
    assert est.conditional_mutual_info_ == pytest.approx(est.mutual_info_, abs=1e-12)
    assert est.bayes_error_ == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(est.confusion_, [[1]])


def test_permuted_rows_permute_the_values(rng):
    X, y = rng.normal(size=(12, 2)), np.arange(12) % 3
    turn = rng.permutation(12)
    est, turned = (fitted(X[i], y[i], posterior_draws=2**10) for i in (np.arange(12), turn))
    error = np.hypot(est.pointwise_stderr_[turn], turned.pointwise_stderr_)
    assert within(est.pointwise_mutual_info_[turn], turned.pointwise_mutual_info_, error, 0.02)


def test_asking_for_every_input_changes_no_other_number(rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    plain, asked = fitted(X, y), fitted(X, y, posterior_draws=16)
    assert asked.quantities_[: len(plain.quantities_)] == plain.quantities_
    for name in ("pointwise_mutual_info_", "pointwise_inputs_", "confusion_", "bayes_error_"):
        assert getattr(plain, name) is None
        assert getattr(asked, name) is not None


def test_threads_and_units_change_nothing(rng):
    X, y = rng.normal(size=(50, 3)), np.arange(50) % 2
    one = fitted(X, y, posterior_draws=16, n_jobs=1)
    bits = fitted(X, y, posterior_draws=16, n_jobs=2, units="bits")
    np.testing.assert_allclose(bits.pointwise_mutual_info_ * np.log(2), one.pointwise_mutual_info_)
    np.testing.assert_array_equal(bits.confusion_, one.confusion_)
    assert bits.bayes_error_ == one.bayes_error_
    within_classes = bits.class_conditional_mutual_info_ * np.log(2)
    np.testing.assert_allclose(within_classes, one.class_conditional_mutual_info_, atol=0.02)


def test_groups_name_the_inputs_and_a_weight_of_zero_leaves_a_gap(rng):
    groups = np.repeat(["d", "a", "c", "b"], 5)
    weights = np.where(groups == "c", 0.0, 1.0)
    y = np.isin(groups, ["a", "b"])
    X = 1.5 * np.repeat(np.arange(4), 5)[:, None] + 0.1 * rng.normal(size=(20, 1))
    est = fitted(X, y, groups=groups, sample_weight=weights, posterior_draws=256)
    assert est.pointwise_inputs_.tolist() == ["a", "b", "c", "d"]
    assert np.flatnonzero(np.isnan(est.pointwise_mutual_info_)).tolist() == [2]
    stderr = np.sqrt(np.nansum(est.pointwise_stderr_**2)) / 3
    assert within(np.nanmean(est.pointwise_mutual_info_), est.mutual_info_, stderr, 0.02)
    assert est.classes_.tolist() == [False, True]


def test_replicas_left_out_bracket_the_bayes_error(rng):
    """Each input is N(x, 1) before the layer's own noise, so that the error is Q(1 / 1.118)."""
    x = np.repeat([-1.0, 1.0], 50)
    est = fitted(
        (x + rng.normal(size=100))[:, None], x > 0, groups=x, sigma=0.5, posterior_draws=2**10
    )
    truth = norm.sf(1 / np.hypot(1, 0.5))
    lower, upper = est.bayes_error_bracket_
    assert lower < est.bayes_error_ < upper
    assert lower < truth < upper
    assert est.confusion_left_out_[0, 0] < est.confusion_[0, 0]


def test_ends_hold_the_values_of_a_population(rng):
    """Inputs are N(y, 1) for y = -1, 1: I(X;T|Y) = log(1 + 1 / sigma^2) / 2, the error Q(1/1.118).

    In benchmarks/intervals.py, "two classes", both brackets hold the truth in 95 % or more.
    """
    misses = np.zeros(2)
    for _ in range(8):
        y = rng.choice([-1.0, 1.0], size=100)
        X = (y + rng.normal(size=100))[:, None]
        est = fitted(X, y, population=True, posterior_draws=16)
        brackets = (est.conditional_bracket_, est.bayes_error_bracket_)
        truths = (0.5 * np.log(5), norm.sf(1 / np.hypot(1, 0.5)))
        for k, (truth, (lower, upper)) in enumerate(zip(truths, brackets, strict=True)):
            misses[k] += not lower <= truth <= upper
            assert upper - lower < (0.8, 0.25)[k]
    assert misses.max() <= 2


def test_random_labels_are_not_told_apart(rng):
    """Of a population: the rows at hand show none of it, the bracket says so, and a note."""
    X, y = rng.normal(size=(60, 8)), rng.integers(2, size=60)
    est = fitted(X, y, sigma=0.4, population=True, posterior_draws=16)
    lower, upper = est.bayes_error_bracket_
    assert est.bayes_error_ < 0.05
    assert lower < 0.5 < upper + 0.1
    (quantity,) = (q for q in est.quantities_ if q.name == "bayes_error")
    assert quantity.notes == ("too few inputs",)
    assert np.trace(est.confusion_left_out_) < 1.4 < 1.9 < np.trace(est.confusion_)


def test_class_sums_are_those_of_all_rows(rng):
    """Against the oracle, with rows far apart, replicas, weights and classes of several sizes."""
    from skinfo._rows import Rows
    from skinfo.noisy.mixture import Mixture
    from skinfo.noisy.sampling import independent_draws

    points = np.concatenate([rng.normal(size=(70, 3)), 30 + rng.normal(size=(30, 3))])
    labels = np.repeat(rng.integers(4, size=50), 2)
    rows = Rows.make(
        points, groups=np.repeat(np.arange(50), 2), labels=labels,
        input_weights=np.repeat(rng.random(50), 2),
    )  # fmt: skip
    mixture = Mixture.of(rows, 0.7)
    draws = independent_draws(rows.weights, 3, 40, seed=1)
    found = mixture.class_sums(draws, np.full((1, 40), -np.inf), None)[0]
    for k, (row, noise) in enumerate(zip(draws.rows[0], draws.noise[0], strict=True)):
        terms = reference.log_terms(points, rows.weights, row, noise, 0.7)
        for c in range(4):
            truth = -np.inf if c == labels[row] else np.logaddexp.reduce(terms[labels == c])
            assert found[k, c] == pytest.approx(truth, abs=1e-9)


def test_rows_in_strata_are_told_apart_by_what_noise_cannot_change():
    """Exact zeros stay zeros; between 1 and 2, of deviations .3 and .6, classes overlap."""
    est = fitted(
        [[0.0], [0.0], [1.0], [2.0]], [0, 1, 0, 1], sigma=0.3, noise="multiplicative",
        posterior_draws=2**10,
    )  # fmt: skip

    def least(t):
        return min(norm.pdf(t, 1, 0.3), norm.pdf(t, 2, 0.6))

    overlap = quad(least, -3, 6, points=[0.4, 1.47], limit=200)[0]
    assert within(est.bayes_error_, 0.25 + overlap / 4, est.bayes_error_stderr_, 1e-3)
    stderr = est.pointwise_stderr_
    np.testing.assert_array_less(
        np.abs(est.pointwise_mutual_info_[:2] - np.log(2)), 5 * stderr[:2] + 1e-9
    )
    value = 0.8902710791  # log 2 + 0.3942477970 / 2
    error = np.sqrt(np.sum(stderr**2)) / 4
    assert within(est.pointwise_mutual_info_.mean(), value, error, 2e-3)
    assert est.conditional_mutual_info_ == pytest.approx(np.log(2), abs=1e-9)


def test_rows_of_a_cluster_do_not_tell_its_label():
    """Labels of 60 clusters at random: nothing is known of the next, and half of it is wrong."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 4)
    S, y = rng.normal(size=(60, 5))[clusters], rng.integers(2, size=60)[clusters]
    est = NoisyMIEstimator(0.3, population=True, posterior_draws=16, random_state=0)
    assert est.fit(S, y).bayes_error_bracket_[1] < 0.4
    assert est.fit(S, y, clusters=clusters).bayes_error_bracket_[1] > 0.5
