"""The brackets hold the truth: chains of noisy linear layers, where everything is known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from skinfo._rows import Rows
from skinfo.noisy.gaussians import (
    InputGaussians,
    _ReplicaFolds,
    own_input_out_entropies,
    own_row_out_entropies,
    posterior_log_sums,
    shrunk_entropies,
)
from skinfo.noisy.information import _within, measure_mixture
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import contributions
from skinfo.noisy.sampling import Average, average_draws, variance_components

import reference

SIGMA = 0.5
SIZES = (4, 4, 3, 2)


def linear_chain(seed=7):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(a, b)) / np.sqrt(a) for a, b in pairwise(SIZES)]


def run_chain(weights, X, n_replicas, rng):
    """S_3 of every input, (n_inputs, n_replicas, 2): noise enters after the first two layers."""
    T = np.repeat(X[:, None], n_replicas, axis=1)
    for W in weights[:-1]:
        S = T @ W
        T = S + SIGMA * rng.normal(size=S.shape)
    return T @ weights[-1]


def noise_covariance(weights):
    """Covariance of T_3 given X."""
    covariance = np.zeros((SIZES[0], SIZES[0]))
    for W in weights:
        covariance = W.T @ covariance @ W + SIGMA**2 * np.eye(W.shape[1])
    return covariance


def end_to_end(weights):
    return weights[0] @ weights[1] @ weights[2]


def true_information(weights, X, tol):
    """I(X;T_3) of given inputs: with the noise whitened T_3 is a mixture of unit Gaussians."""
    noise = np.linalg.cholesky(noise_covariance(weights))
    whitened = X @ end_to_end(weights) @ np.linalg.inv(noise).T
    return measure_mixture(Mixture.of(Rows.make(whitened), 1.0), tol=tol, seed=1).mutual_info.value


def rows_of(S):
    n_inputs, n_replicas, d = S.shape
    return Rows.make(S.reshape(-1, d), groups=np.repeat(np.arange(n_inputs), n_replicas))


def test_sampled_inputs_of_a_noisy_linear_chain():
    weights = linear_chain()
    noise, M = noise_covariance(weights), end_to_end(weights)
    truth = 0.5 * (np.linalg.slogdet(M.T @ M + noise)[1] - np.linalg.slogdet(noise)[1])
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * (M.T @ M + noise))[1]
    conditional = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * noise)[1]
    inside, widths, entropies, conditionals = [], [], [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        S = run_chain(weights, rng.normal(size=(200, 4)), 40, rng)
        found = measure_mixture(Mixture.of(rows_of(S), SIGMA), population=True, seed=seed, n_jobs=2)
        information = found.mutual_info
        inside.append(information.lower <= truth <= information.upper)
        widths.append(information.upper - information.lower)
        entropies.append(found.entropy.lower <= entropy <= found.entropy.upper)
        between = found.conditional_entropy
        conditionals.append(between.lower <= conditional <= between.upper)
    assert sum(inside) == 3
    assert np.mean(widths) < 0.5
    assert sum(entropies) == 3
    assert sum(conditionals) == 3


def test_given_inputs_of_a_noisy_linear_chain():
    weights = linear_chain()
    X = np.random.default_rng(5).normal(size=(64, 4))
    truth = true_information(weights, X, 2e-4)
    inside, widths, points, plug_ins = [], [], [], []
    for seed in range(20):
        S = run_chain(weights, X, 50, np.random.default_rng(seed))
        found = measure_mixture(Mixture.of(rows_of(S), SIGMA), seed=seed)
        inside.append(found.mutual_info.lower <= truth <= found.mutual_info.upper)
        widths.append(found.mutual_info.upper - found.mutual_info.lower)
        points.append(found.mutual_info.value)
        plug_ins.append(found.plug_in.value)
    assert sum(inside) >= 19
    assert np.mean(widths) < 0.1
    # The plug-in is biased upwards, the extrapolated value hardly.
    assert np.mean(plug_ins) - truth > 0.004
    assert abs(np.mean(points) - truth) < 0.5 * (np.mean(plug_ins) - truth)


@pytest.mark.parametrize("n_replicas", [2, 3, 8])
def test_few_replicas_widen_the_bracket_around_the_truth(n_replicas):
    weights = linear_chain()
    X = np.random.default_rng(5).normal(size=(200, 4))
    truth = true_information(weights, X, 5e-4)
    inside = 0
    for seed in range(10):
        S = run_chain(weights, X, n_replicas, np.random.default_rng(seed))
        found = measure_mixture(Mixture.of(rows_of(S), SIGMA), seed=seed).mutual_info
        inside += found.lower <= truth <= found.upper
    assert inside >= 9


@pytest.mark.parametrize(
    "share",
    [lambda x: np.where(x % 2, 0.3, 0.9), lambda x: np.where(x % 5, 0.2, 1.0)],
    ids=["scattered", "few of most and many of some"],
)
def test_unequal_replicas_hold_the_truth(share):
    weights = linear_chain()
    X = np.random.default_rng(5).normal(size=(100, 4))
    truth = true_information(weights, X, 5e-4)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(100), 60)
        S = run_chain(weights, X, 60, rng).reshape(-1, 2)
        keep = rng.uniform(size=len(groups)) < share(groups)
        found = measure_mixture(
            Mixture.of(Rows.make(S[keep], groups=groups[keep]), SIGMA), seed=seed
        )
        assert found.mutual_info.lower <= truth <= found.mutual_info.upper


CENTRES = np.random.default_rng(1).normal(size=(24, 2))


@pytest.fixture(scope="module")
def truth_in_the_plane():
    return reference.plane_information(CENTRES, 0.5)


def measure_in_the_plane(counts, seed):
    """24 inputs in the plane, so many replicas of each; the noise before and at the layer is .5."""
    groups = np.repeat(np.arange(24), counts)
    S = CENTRES[groups] + 0.4 * np.random.default_rng(seed).normal(size=(len(groups), 2))
    return measure_mixture(Mixture.of(Rows.make(S, groups=groups), 0.3), seed=seed)


def test_an_input_with_one_row_among_replicas_costs_the_lower_end_its_own_share(truth_in_the_plane):
    """An end that had nothing left of one of 24 inputs was 0."""
    for seed in range(5):
        found = measure_in_the_plane(np.where(np.arange(24) == 7, 1, 30), seed)
        information = found.mutual_info
        assert 0.6 * truth_in_the_plane < information.lower < truth_in_the_plane < information.upper
        assert information.notes == ("single rows",)
        assert found.conditional_entropy.upper == np.inf


@pytest.mark.parametrize(("least", "most"), [(10, 11), (3, 4), (2, 20)])
def test_unequal_replicas_lose_the_bias_that_equal_ones_lose(least, most, truth_in_the_plane):
    """At least half of the plug-in's; with fewer than 8 rows of an input none of it was taken."""
    values, plug_ins = [], []
    for seed in range(8):
        counts = np.where(np.random.default_rng(seed).random(24) < 0.5, least, most)
        found = measure_in_the_plane(counts, seed)
        values.append(found.mutual_info.value - truth_in_the_plane)
        plug_ins.append(found.plug_in.value - truth_in_the_plane)
    assert -0.03 < np.mean(values) < 0.55 * np.mean(plug_ins)


@pytest.mark.parametrize(("least", "most", "share"), [(3, 3, 0.6), (5, 5, 0.7), (2, 9, 0.65)])
def test_few_replicas_leave_most_of_the_lower_end(least, most, share, truth_in_the_plane):
    """Gaussians of the rows of each input alone left it .30, .46 and .08 of the truth."""
    counts = np.where(np.arange(24) % 2, least, most)
    lowers = [measure_in_the_plane(counts, seed).mutual_info.lower for seed in range(4)]
    assert share * truth_in_the_plane < np.mean(lowers)
    assert max(lowers) < truth_in_the_plane


def test_a_class_of_one_row_leaves_the_lower_end_of_the_others():
    """Three far classes of 4 inputs, and one more of a single row: H(Y) less what it may add."""
    rng = np.random.default_rng(0)
    inputs = np.append(np.repeat(np.arange(12), 10), 12)
    labels = inputs // 4
    S = 20.0 * np.eye(4)[labels] + rng.normal(size=(121, 4))
    found = measure_mixture(Mixture.of(Rows.make(S, groups=inputs, labels=labels), 1.0))
    p = np.array([4, 4, 4]) / 13
    assert found.label_mutual_info.upper == pytest.approx(-p @ np.log(p) + np.log(13) / 13)
    expected = -p @ np.log(p) + 12 / 13 * np.log(12 / 13)
    assert found.label_mutual_info.lower == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("population", [False, True])
def test_one_row_far_from_its_replicas_costs_one_row(population, rng):
    """40 inputs far apart in 4 classes carry log 40 and log 4, or are told apart by as much."""
    X = 100.0 * rng.normal(size=(40, 6)) + 1e4 * np.eye(6)[np.arange(40) % 4]
    S = (X[:, None] + rng.normal(size=(40, 5, 6))).reshape(-1, 6)
    S[0] += 1e4 * np.eye(6)[5]
    rows = Rows.make(S, groups=np.repeat(np.arange(40), 5), labels=np.repeat(np.arange(40) % 4, 5))
    found = measure_mixture(Mixture.of(rows, 1.0), population=population, max_evaluations=2**12)
    assert np.log(40) - 0.2 < found.mutual_info.lower <= np.log(40)
    # Of a population, wrong labels that none of 40 inputs shows may cost 3 log(41) / 40.
    cost = np.hypot(0.2, 3 * np.log(41) / 40) if population else 0.2
    assert np.log(4) - cost < found.label_mutual_info.lower <= np.log(4)


def test_random_labels_reach_down_to_zero(rng):
    """500 rows in 20 dimensions: the plug-in I(Y;T) is all of H(Y), and all of it overfitting."""
    S, y = rng.normal(size=(500, 20)), rng.integers(0, 2, size=500)
    found = measure_mixture(Mixture.of(Rows.make(S, labels=y), 0.3), population=True)
    assert found.label_mutual_info.value > 0.65
    assert found.label_mutual_info.lower < 0.01
    given = measure_mixture(Mixture.of(Rows.make(S, labels=y), 0.3))
    assert given.label_mutual_info.lower > 0.65


@pytest.mark.parametrize(("share", "n"), [(0.5, 100), (0.15, 100)])
def test_sampled_labels_of_far_classes_hold_the_entropy_of_the_population(share, n):
    """Each sample's own H(Y) differs from that of the population: the bracket allows for it."""
    truth = -share * np.log(share) - (1 - share) * np.log(1 - share)
    inside = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = rng.uniform(size=n) < share
        S = np.column_stack([20.0 * y, np.zeros(n)]) + rng.normal(size=(n, 2))
        found = measure_mixture(Mixture.of(Rows.make(S, labels=y), 1.0), population=True, seed=seed)
        inside += found.label_mutual_info.lower <= truth <= found.label_mutual_info.upper
        entropy, classes = found.label_ceilings
        assert entropy.lower <= found.label_mutual_info.upper <= entropy.upper <= np.log(2) + 1e-12
        assert classes.value == pytest.approx(np.log(2))
    assert inside == 6


@pytest.mark.parametrize("n_replicas", [3, 5, 8])
def test_the_extrapolated_value_is_nearer_for_odd_and_even_replicas(n_replicas):
    weights = linear_chain()
    X = np.random.default_rng(5).normal(size=(200, 4))
    truth = true_information(weights, X, 5e-4)
    points, plug_ins = [], []
    for seed in range(10):
        S = run_chain(weights, X, n_replicas, np.random.default_rng(seed))
        found = measure_mixture(Mixture.of(rows_of(S), SIGMA), seed=seed)
        points.append(found.mutual_info.value)
        plug_ins.append(found.plug_in.value)
    assert abs(np.mean(points) - truth) < 0.6 * (np.mean(plug_ins) - truth)


def test_replicas_far_apart_in_sigma_are_measured(rng):
    S = rng.normal(size=(40, 2)) * 1e7
    found = measure_mixture(Mixture.of(Rows.make(S, groups=np.arange(40) // 2), 0.1)).mutual_info
    assert 0 <= found.lower <= found.value <= found.upper <= np.log(20) + 1e-9


def test_crossed_weights_keep_every_bracket_in_order(rng):
    weights = np.array([1.0] + [1e-17] * 19)
    rows = Rows.make(rng.normal(size=(20, 2)), input_weights=weights)
    found = measure_mixture(Mixture.of(rows, 0.5), population=True)
    for quantity in (found.mutual_info, found.entropy, found.conditional_entropy):
        assert quantity.lower <= quantity.value <= quantity.upper


@pytest.mark.parametrize("ceiling", [0.9, 0.99, 0.9985, 1.0])
def test_an_estimate_above_its_ceiling_by_more_than_its_error_says_so(ceiling):
    estimate = Average(1.0, integration=0.001)
    quantity = _within("mutual_info", estimate, (0.99, 1.01), 0.0, ceiling, ())
    assert quantity.value == ceiling
    assert quantity.notes == (("above ceiling",) if ceiling < 0.995 else ())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [4, 30, 500])
def test_rows_that_all_lie_apart_stand_at_their_ceilings_and_not_above(n, dtype, rng):
    """Classes of unequal size: what the draws say of H(Y) has an error, and sums are rounded."""
    for seed in range(6):
        y = np.where(np.arange(n) == 0, 1, rng.integers(0, 3, n))
        entropy = reference.discrete_entropy(y[:, None])
        mixture = Mixture.of(Rows.make(100 * rng.normal(size=(n, 6)).astype(dtype), labels=y), 0.5)
        found = measure_mixture(mixture, max_evaluations=2**12, seed=seed)
        assert found.label_mutual_info.value == pytest.approx(entropy, abs=0.01)
        assert not any("above ceiling" in quantity.notes for quantity in found.quantities)


def test_real_labels_keep_their_lower_end(rng):
    y = rng.integers(0, 2, size=500)
    S = np.column_stack([4.0 * y + rng.normal(size=500), rng.normal(size=500)])
    found = measure_mixture(
        Mixture.of(Rows.make(S, labels=y), 1.0), population=True
    ).label_mutual_info
    assert 0.3 < found.lower <= found.value <= found.upper


def test_sampled_gaussian_without_groups_holds_the_capacity():
    truth = 0.5 * 3 * np.log(1 + 1 / 0.8**2)
    inside = []
    for seed in range(3):
        S = np.random.default_rng(seed).normal(size=(300, 3))
        found = measure_mixture(Mixture.of(Rows.make(S), 0.8), population=True, seed=seed)
        inside.append(found.mutual_info.lower <= truth <= found.mutual_info.upper)
        assert found.ceiling == np.inf
    assert sum(inside) == 3


def test_without_groups_the_bracket_is_the_value_and_its_error(rng):
    found = measure_mixture(Mixture.of(Rows.make(rng.normal(size=(200, 3))), 0.7))
    q = found.mutual_info
    assert q.value - q.lower == pytest.approx(q.upper - q.value)
    assert q.value - q.lower == pytest.approx(2.1314 * q.stderr, rel=1e-3)
    assert q.value == found.plug_in.value


def test_every_draw_obeys_the_ceiling(rng):
    rows = Rows.make(rng.normal(size=(90, 3)), groups=np.arange(90) // 3)
    mixture = Mixture.of(rows, 0.2)
    draws = mixture.draw_stream(0).take(64)
    sums = mixture.sums_at(draws, population=False, n_jobs=1)
    highest = contributions(sums.all_data, sums).mutual_info.max()
    assert highest <= np.log(30) + 1e-12


@pytest.mark.parametrize("strength", [0.0, 2.0, 1e9])
def test_own_row_out_gaussians_equal_the_oracle(strength, rng):
    X = rng.normal(size=(40, 3)) * [1, 0.1, 3]
    inputs = np.repeat(np.arange(8), [2, 3, 4, 5, 5, 6, 7, 8])
    sigma = 0.4
    rows = Rows.make(X / sigma, groups=inputs)
    constant = 1.5 * np.log(2 * np.pi * np.e * sigma**2)
    found = own_row_out_entropies(InputGaussians.fit(rows), rows, strength) + constant
    for i in range(40):
        mean, covariance = reference.gaussian_without_row(X, inputs, i, sigma, strength)
        expected = reference.cross_entropy(X[i], mean, covariance, sigma)
        assert found[i] == pytest.approx(expected, rel=1e-7)


def test_how_far_a_covariance_is_shrunk_follows_the_other_inputs(rng):
    """Inputs alike leave nothing of their own; those each wide another way keep it."""
    for widths, strength in ((1.0, 1e9), (rng.choice([0.2, 5.0], size=(40, 1, 2)), 1.0)):
        X = widths * rng.normal(size=(40, 200, 2))
        rows = rows_of(X)
        gaussians = InputGaussians.fit(rows)
        expected = own_row_out_entropies(gaussians, rows, strength)
        assert np.array_equal(shrunk_entropies(gaussians, rows), expected)


@pytest.mark.parametrize("grouped", [True, False])
def test_own_input_out_gaussians_equal_the_oracle(grouped, rng):
    X = rng.normal(size=(30, 3)) + 4
    inputs = np.arange(30) // 5 if grouped else np.arange(30)
    sigma = 0.4
    rows = Rows.make(X / sigma, groups=inputs if grouped else None)
    constant = 1.5 * np.log(2 * np.pi * np.e * sigma**2)
    found = own_input_out_entropies(rows) + constant
    for i in range(0, 30, 4):
        others = X[inputs != inputs[i]]
        # One row per input: unbiased, with the error of the mean; replicas: the moments themselves.
        covariance = np.cov(others.T, bias=grouped) * (1 if grouped else 1 + 1 / 29)
        covariance += sigma**2 * np.eye(3)
        expected = reference.cross_entropy(X[i], others.mean(axis=0), covariance, sigma)
        assert found[i] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("counts", [np.full(60, 4), np.arange(60) % 11 + 2, np.full(60, 25)])
def test_posteriors_never_saw_the_replicas_that_they_are_tested_on(counts, rng):
    """However far the rows of a fold are moved, it is the same posterior that they meet."""
    inputs = np.repeat(np.arange(60), counts)
    rows = Rows.make(rng.normal(size=(len(inputs), 3)), groups=inputs)
    drawn = rng.integers(0, len(inputs), size=400)
    noise = rng.normal(size=(400, 3))
    folds = _ReplicaFolds.of(rows)
    at, _ = folds.assign(drawn)
    before = np.array(posterior_log_sums(rows, drawn, noise, 1))
    moved = rows.points.copy()
    out = np.setdiff1d(np.arange(len(inputs)), folds.kept(1))
    assert np.isin(drawn[at == 1], out).all()
    assert np.array_equal(np.unique(inputs[out]), np.arange(60))
    moved[np.setdiff1d(out, drawn)] += 100.0
    after = np.array(posterior_log_sums(replace(rows, points=moved), drawn, noise, 1))
    assert np.array_equal(before[:, at == 1], after[:, at == 1])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("counts", [[4, 4, 4], [2, 3, 7], [2, 13, 25], [10, 11, 12]])
def test_every_fold_sees_every_input_equally_often(counts):
    """Weights of draws make up for unequal numbers: else the fold told of the input."""
    inputs = np.repeat(np.arange(3), counts)
    rows = Rows.make(np.arange(float(len(inputs)))[:, None], groups=inputs)
    folds = _ReplicaFolds.of(rows)
    drawn = np.repeat(np.arange(len(inputs)), 4000)
    at, weights = folds.assign(drawn)
    shares = rows.weights[drawn] / 4000 * weights
    cells = np.bincount(at * 3 + inputs[drawn], shares).reshape(-1, 3)
    assert len(cells) == min(10, max(counts))
    assert cells == pytest.approx(np.full(cells.shape, 1 / 3 / len(cells)), rel=0.1)


def test_variance_components_find_both(rng):
    groups = np.repeat(np.arange(400), 20)
    values = 2.0 * rng.normal(size=400)[groups] + 0.5 * rng.normal(size=8000)
    within, between = variance_components(values, groups)
    assert within == pytest.approx(0.25, rel=0.1)
    assert between == pytest.approx(4.0, rel=0.25)


def test_average_of_what_cannot_be_known_is_infinite():
    values = np.zeros((16, 4))
    values[3, 1] = -np.inf
    average = average_draws(
        values,
        np.zeros((16, 4)),
        np.ones((16, 4)),
        np.zeros((16, 4), dtype=int),
        Rows.make(np.zeros((1, 1))),
    )
    assert average == Average(-np.inf)


def test_stderr_inputs_is_that_of_another_set_of_inputs():
    """Informations of fresh inputs spread as stderr_inputs says."""
    values, errors = [], []
    for seed in range(40):
        S = np.random.default_rng(seed).exponential(size=(150, 2))
        found = measure_mixture(Mixture.of(Rows.make(S), 0.3), tol=0.02, seed=seed)
        values.append(found.mutual_info.value)
        errors.append(found.stderr_inputs)
    # The mixture itself changes with its inputs, so the order of magnitude is what can be asked.
    assert 0.5 < np.std(values) / np.mean(errors) < 2
