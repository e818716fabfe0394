"""The sums of the mixture against the oracle, and the information against closed forms."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from skinfo._rows import Rows
from skinfo.datasets import make_constellation
from skinfo.noisy import layout
from skinfo.noisy import mixture as mixture_module
from skinfo.noisy.information import cross_information, measure_mixture
from skinfo.noisy.layout import RowSpan, Subspace
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import contributions
from skinfo.noisy.sampling import integration_error

import reference

I_BPSK = {0.3: 0.691906123814, 0.5: 0.632720193737, 1.0: 0.336830820347, 2.0: 0.111421482185}


def draws_in_original_space(mixture, draws):
    """The noise of each draw as a vector of all coordinates."""
    basis = mixture.space.basis
    noise = draws.noise if basis is None else draws.noise @ basis.T
    return draws.rows.ravel(), noise.reshape(draws.rows.size, -1)


def compare_with_oracle(rows, sigma, population=False, m=4, tolerance=1e-10):
    mixture = Mixture.of(rows, sigma)
    draws = mixture.draw_stream(3).take(m)
    sums = mixture.sums_at(draws, population=population, n_jobs=1)
    found = contributions(sums.all_data, sums)
    drawn, noise = draws_in_original_space(mixture, draws)
    for k in range(0, len(drawn), 5):
        parts = reference.disjoint_sums(
            rows.points, rows.weights, rows.inputs, rows.labels, drawn[k], noise[k], sigma
        )
        expected = reference.contributions(
            rows.points, rows.weights, rows.inputs, rows.labels, drawn[k], noise[k], sigma
        )
        names = ("mutual_info", "label_mutual_info", "entropy", "conditional_entropy")
        for name, value in zip(names, expected, strict=True):
            if name == "label_mutual_info" and rows.labels is None:
                continue
            np.testing.assert_allclose(
                getattr(found, name).ravel()[k], value, rtol=tolerance, atol=tolerance, err_msg=name
            )
        if population:
            computed = [
                getattr(sums, name).ravel()[k] for name in ("own", "group", "label", "other")
            ]
            np.testing.assert_allclose(computed, parts, rtol=1e-9, atol=1e-9)
    return mixture, draws, sums


@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(("n", "d", "sigma"), [(300, 3, 0.1), (300, 3, 2.0), (130, 10, 0.7)])
def test_four_sums_equal_the_oracle(population, grouped, labelled, n, d, sigma, rng):
    groups = rng.permutation(np.arange(n) // 5) if grouped else None
    labels = None
    if labelled:
        labels = rng.integers(0, 3, size=n) if groups is None else rng.integers(0, 3, n)[groups]
    rows = Rows.make(rng.normal(size=(n, d)), groups=groups, labels=labels)
    compare_with_oracle(rows, sigma, population)


@pytest.mark.parametrize("d", [128, 784])
@pytest.mark.parametrize("saturated", [True, False])
def test_high_dimension_equals_the_oracle(d, saturated, rng):
    X = rng.uniform(-1, 1, size=(200, d))
    sigma = 0.05 if saturated else 0.26 * np.sqrt(d)
    rows = Rows.make(X, labels=rng.integers(0, 2, 200))
    compare_with_oracle(rows, sigma)
    found = measure_mixture(Mixture.of(rows, sigma), seed=0, max_evaluations=2**13)
    share = found.plug_in.value / np.log(200)
    assert share > 0.999 if saturated else 0.4 < share < 0.6


def test_far_own_row_out_sums_keep_their_digits(rng):
    """exp(-350) and less relative to the own row's term: nothing may round to zero."""
    n = 64
    X = np.concatenate([rng.normal(size=(n // 2, 4)), 60 + rng.normal(size=(n // 2, 4))])
    rows = Rows.make(X, labels=np.arange(n) % 2)
    _, _, sums = compare_with_oracle(rows, 0.02, population=True)
    assert sums.other.max() > -np.inf
    assert sums.other.min() < -350


def test_own_row_out_groups_keep_their_digits(rng):
    X = rng.normal(size=(60, 3))
    rows = Rows.make(X, groups=np.arange(60) // 3)
    mixture, draws, sums = compare_with_oracle(rows, 0.01)
    drawn, noise = draws_in_original_space(mixture, draws)
    without = sums.without_own_row
    for k in range(0, len(drawn), 7):
        terms = reference.log_terms(X, rows.weights, drawn[k], noise[k], 0.01)
        mask = rows.inputs == rows.inputs[drawn[k]]
        mask[drawn[k]] = False
        expected = logsumexp(terms[mask]) + np.log(3 / 2)
        assert without.input.ravel()[k] == pytest.approx(expected, rel=1e-10)
        expected = np.logaddexp(expected, logsumexp(terms[rows.inputs != rows.inputs[drawn[k]]]))
        assert without.total.ravel()[k] == pytest.approx(expected, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 150),
    d=st.integers(1, 6),
    log_sigma=st.floats(-3, 3),
    seed=st.integers(0, 1000),
    duplicate=st.booleans(),
    constant=st.booleans(),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_any_shape_equals_the_oracle(n, d, log_sigma, seed, duplicate, constant, offset):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if duplicate:
        X[n // 2 :] = X[: n - n // 2]
    if constant:
        X[:, 0] = 1.0
    sigma = 10.0**log_sigma
    groups = rng.integers(0, max(1, n // 3), size=n)
    labels = rng.integers(0, 2, size=n)[groups]
    rows = Rows.make(X + offset, groups=groups, labels=labels, input_weights=1.0 + groups % 3)
    # An offset of 1e6 costs the digits that float64 cannot hold: 1e-10 / sigma.
    scale = 1e-9 + (1e-9 / sigma + 1e-10 / sigma**2 if offset else 0)
    compare_with_oracle(rows, sigma, m=1, tolerance=min(scale, 1e-2))


@pytest.mark.parametrize("d", [1, 2, 5, 10])
@pytest.mark.parametrize("sigma", I_BPSK)
def test_cubes_have_d_times_the_information_of_bpsk(d, sigma):
    X = np.array(list(product([-1.0, 1.0], repeat=d)))
    found = measure_mixture(Mixture.of(Rows.make(X, labels=X[:, 0] > 0), sigma), tol=0.005, seed=1)
    truth = d * I_BPSK[sigma]
    information = found.mutual_info
    assert found.converged
    allowed = max(4 * information.stderr, 1e-9)
    assert abs(information.value - truth) <= allowed
    assert found.label_mutual_info.value == pytest.approx(I_BPSK[sigma], abs=0.004)
    entropy = truth + d / 2 * np.log(2 * np.pi * np.e * sigma**2)
    assert abs(found.entropy.value - entropy) <= allowed


def two_cubes(d, far):
    """The corners of two cubes of side 2 whose centres lie ``far`` from 0 in every coordinate."""
    cube = np.array(list(product([-1.0, 1.0], repeat=d)))
    return np.concatenate([cube - far, cube + far]), np.repeat([0, 1], len(cube))


@pytest.mark.parametrize(
    ("log2_far", "dtype"),
    [(8, "f8"), (22, "f4"), (25, "f8"), (29, "f8"), (33, "f8")],
)
@pytest.mark.parametrize("d", [2, 5])
def test_far_clusters_have_the_same_information_however_far(log2_far, d, dtype):
    """The control t' C^-1 t cancelled from 1e7 sigma on, and was wrong by up to a nat."""
    X, cluster = two_cubes(d, 2.0**log2_far)
    weight = np.where(cluster == 0, 3.0, 1.0)
    mixture = Mixture.of(Rows.make(X.astype(dtype), labels=cluster, input_weights=weight), 1.0)
    found = measure_mixture(mixture, tol=0.005, seed=1)
    entropy = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    information = found.mutual_info
    assert abs(information.value - entropy - d * I_BPSK[1.0]) < 4 * information.stderr < 0.04
    label = found.label_mutual_info
    assert abs(label.value - entropy) < 4 * label.stderr + 1e-9 < 0.04
    population = measure_mixture(mixture, tol=0.005, seed=1, population=True)
    assert population.mutual_info.lower < entropy + d * I_BPSK[1.0] < population.mutual_info.upper
    score = cross_information(
        mixture, mixture.components.channel.place(X), tol=0.005, max_evaluations=2**20, seed=1,
        n_jobs=1,
    )  # fmt: skip
    assert score == pytest.approx(-0.5 * np.log(0.25 * 0.75) + d * I_BPSK[1.0], abs=0.02)


@pytest.mark.parametrize(
    ("sigma", "w", "b", "truth"),
    [
        (0.05, 0.5, 0, 1.38628033),
        (0.05, 1, -2, 1.02258669),
        (0.05, 2, -4, 0.60311033),
        (0.05, 5, -10, 0.56233542),
        (0.1, 0.5, 0, 1.35003995),
        (0.1, 1, -2, 0.84503722),
        (0.1, 2, -4, 0.57296218),
        (0.01, 1, -2, 1.05403138),
        (0.01, 2, -4, 0.97410860),
    ],
)
def test_one_tanh_neuron(sigma, w, b, truth):
    S = np.tanh(w * np.array([-3.0, -1.0, 1.0, 3.0]) + b)[:, None]
    found = measure_mixture(Mixture.of(Rows.make(S), sigma))
    assert found.mutual_info.value == pytest.approx(truth, abs=1e-8)
    assert found.mutual_info.stderr == 0
    assert found.rank == 1


@pytest.mark.parametrize(
    ("a", "entropy"),
    [(0.5, 1.5303600154), (1, 1.7557693536), (2, 2.0516587269), (3, 2.1082364662)],
)
def test_entropy_of_two_gaussians(a, entropy):
    found = measure_mixture(Mixture.of(Rows.make(np.array([[-a], [a]])), 1.0))
    assert found.entropy.value == pytest.approx(entropy, abs=1e-9)


@pytest.mark.parametrize(
    ("sigma", "entropy"), [(0.1, 0.7834669091), (0.5, 1.1444854933), (1.0, 1.5626496594)]
)
def test_entropy_of_a_smoothed_uniform_law(sigma, entropy):
    """A fine lattice on [-1, 1] has the entropy of the uniform law, up to its step."""
    S = (np.arange(4000) + 0.5)[:, None] / 2000 - 1
    found = measure_mixture(Mixture.of(Rows.make(S), sigma))
    assert found.entropy.value == pytest.approx(entropy, abs=1e-6)


def test_a_line_in_space_is_integrated_as_a_line(rng):
    line = rng.normal(size=(40, 1))
    direction = np.array([[0.6, 0.0, 0.8]])
    expected = measure_mixture(Mixture.of(Rows.make(line), 0.3))
    found = measure_mixture(Mixture.of(Rows.make(line @ direction + 5), 0.3))
    assert found.rank == 1
    assert found.mutual_info.value == pytest.approx(expected.mutual_info.value, abs=1e-10)
    extra = 2 * 0.5 * np.log(2 * np.pi * np.e * 0.3**2)
    assert found.entropy.value == pytest.approx(expected.entropy.value + extra, abs=1e-10)


def test_dropping_flat_directions_changes_nothing(rng):
    X = rng.normal(size=(100, 3))
    wide = np.hstack([X, X @ rng.normal(size=(3, 4)), np.ones((100, 2))])
    mixture = Mixture.of(Rows.make(wide), 0.7)
    assert mixture.space.rank == 3
    points = wide + 0.7 * rng.normal(size=wide.shape)
    square = ((points[:, None] - wide[None]) ** 2).sum(axis=2) / (2 * 0.7**2)
    expected = logsumexp(-square, axis=1) - np.log(100) - 9 / 2 * np.log(2 * np.pi * 0.7**2)
    np.testing.assert_allclose(mixture.log_density(points), expected, rtol=1e-10)


def test_identical_rows_carry_nothing():
    found = measure_mixture(Mixture.of(Rows.make(np.ones((50, 4)), labels=np.arange(50) % 2), 0.1))
    assert found.mutual_info.value == 0
    assert found.label_mutual_info.value == 0
    assert found.rank == 0
    assert found.entropy.value == pytest.approx(2 * np.log(2 * np.pi * np.e * 0.01))


def test_one_row_carries_nothing():
    found = measure_mixture(Mixture.of(Rows.make(np.array([[1.0, 2.0]])), 0.1))
    assert found.mutual_info.value == 0
    assert found.ceiling == 0


@pytest.mark.parametrize("d", [1, 3, 20])
def test_far_rows_reach_exactly_the_ceiling(d, rng):
    X = 1e3 * rng.normal(size=(64, d))
    found = measure_mixture(Mixture.of(Rows.make(X, labels=np.arange(64) % 4), 0.01))
    assert found.mutual_info.value == pytest.approx(np.log(64), abs=1e-12)
    assert found.ceiling == pytest.approx(np.log(64), abs=1e-12)
    assert found.label_mutual_info.value == pytest.approx(np.log(4), abs=2e-4)
    assert "saturated" in found.mutual_info.notes


@pytest.mark.parametrize("population", [False, True])
def test_same_bits_for_any_number_of_threads(population, rng):
    rows = Rows.make(
        rng.normal(size=(400, 4)), groups=np.arange(400) // 8, labels=np.arange(400) // 200
    )
    found = [
        measure_mixture(Mixture.of(rows, 0.3), population=population, seed=5, n_jobs=n_jobs)
        for n_jobs in (1, 2, 4)
    ]
    for other in found[1:]:
        for quantity, first in zip(other.quantities, found[0].quantities, strict=True):
            np.testing.assert_equal(quantity.cells(), first.cells())
        for values, first in zip(other.class_conditional, found[0].class_conditional, strict=True):
            np.testing.assert_array_equal(values, first)


def test_seed_decides_the_draws(rng):
    rows = Rows.make(rng.normal(size=(100, 2)))
    values = [measure_mixture(Mixture.of(rows, 0.5), seed=s).mutual_info.value for s in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_standard_error_is_honest(rng):
    """Over seeds the estimates spread as their standard errors say."""
    rows = Rows.make(rng.normal(size=(60, 3)))
    truth = measure_mixture(Mixture.of(rows, 0.6), tol=3e-4, seed=99).mutual_info.value
    found = [
        measure_mixture(Mixture.of(rows, 0.6), tol=0.02, seed=s).mutual_info for s in range(60)
    ]
    inside = np.mean([q.lower <= truth <= q.upper for q in found])
    spread = np.std([q.value for q in found])
    typical = np.sqrt(np.mean([q.stderr**2 for q in found]))
    assert inside >= 0.85
    assert 0.6 < spread / typical < 1.5


@pytest.mark.parametrize("sigma", [0.08, 0.1, 0.12, 0.15])
def test_near_saturation_the_interval_still_holds_the_value(sigma):
    """Rare large deficits decide the value; without wider draws coverage is 10 to 70 % here."""
    X, _ = make_constellation("psk", 8)
    rows = Rows.make(X)
    truth = reference.plane_information(X, sigma)
    found = [measure_mixture(Mixture.of(rows, sigma), seed=s).mutual_info for s in range(50)]
    assert sum(q.lower <= truth <= q.upper for q in found) >= 42
    assert max(abs(q.value - truth) for q in found) < 0.01


def test_error_obeys_the_poincare_bound(rng):
    """The mean squared error is below d / M for any centres and any sigma; here well below."""
    X = rng.normal(size=(50, 5))
    for sigma in (0.2, 1.0, 3.0):
        found = measure_mixture(Mixture.of(Rows.make(X), sigma), tol=10.0)
        assert found.mutual_info.stderr**2 < 5 / found.n_evaluations


def test_more_evaluations_than_allowed_are_never_made(rng):
    rows = Rows.make(rng.normal(size=(100, 6)))
    for limit in (16, 100, 4096, 10_000):
        found = measure_mixture(Mixture.of(rows, 1.0), tol=1e-9, max_evaluations=limit)
        assert found.n_evaluations <= limit
        assert not found.converged
        assert "tolerance not met" in found.mutual_info.notes


@pytest.mark.parametrize("population", [False, True])
def test_weights_count_as_repeated_rows(population, rng):
    X = rng.normal(size=(30, 2))
    y = np.arange(30) % 3
    weight = rng.integers(0, 4, size=30)
    weighted = measure_mixture(
        Mixture.of(Rows.make(X, labels=y, input_weights=weight), 0.5), tol=0.002, seed=1
    )
    # A repeated row is the same input, so it is repeated as a group of identical replicas.
    kept = np.flatnonzero(weight)
    by_hand = Rows(
        X[kept],
        weight[kept] / weight.sum(),
        np.arange(len(kept)),
        np.unique(y[kept], return_inverse=True)[1],
    )
    expected = measure_mixture(Mixture.of(by_hand, 0.5), tol=0.002, seed=1)
    assert weighted.mutual_info.value == pytest.approx(expected.mutual_info.value, abs=1e-12)
    repeated = Rows.make(np.repeat(X, weight, axis=0), labels=np.repeat(y, weight))
    other = measure_mixture(Mixture.of(repeated, 0.5), tol=0.002, seed=1)
    assert weighted.mutual_info.value == pytest.approx(other.mutual_info.value, abs=0.01)
    assert weighted.label_mutual_info.value == pytest.approx(
        other.label_mutual_info.value, abs=0.01
    )
    assert weighted.entropy.value == pytest.approx(other.entropy.value, abs=0.01)


def test_the_control_has_mean_zero_and_takes_out_most_of_a_gaussian_error(rng):
    """Where T is nearly Gaussian nine tenths of the error go."""
    S = rng.normal(size=(600, 12)) * np.linspace(0.3, 3, 12)
    rows = Rows.make(S, groups=np.arange(600) // 3, input_weights=1.0 + np.arange(600) // 3 % 4)
    mixture = Mixture.of(rows, 1.0)
    draws = mixture.draw_stream(3).take(512)
    sums = mixture.sums_at(draws, population=False, n_jobs=1)
    error = sums.control.mean(axis=1).std(ddof=1) / 4
    assert abs(sums.control.mean()) < 4 * error

    mixture = Mixture.of(Rows.make(S[:, :8]), 3.0)
    draws = mixture.draw_stream(0).take(256)
    sums = mixture.sums_at(draws, population=False, n_jobs=1)
    values = contributions(sums.all_data, sums).mutual_info
    plain = integration_error(values, np.zeros_like(values), draws.weights)
    controlled = integration_error(values, sums.control, draws.weights)
    assert controlled[1] < 0.2 * plain[1]
    assert abs(controlled[0] - plain[0]) < 4 * plain[1]


@pytest.fixture
def few_are_many(monkeypatch):
    """Small layers take the path of large ones."""
    monkeypatch.setattr(layout, "_MANY", 64)
    monkeypatch.setattr(layout, "_PRINCIPAL", 16)


def wide_rows(rng, rank=None, dtype=np.float64):
    """More units than rows; two of the rows are one, if the rank is given."""
    n, d = 90, 120
    X = np.maximum(rng.normal(size=(n, 20)) @ rng.normal(size=(20, d)) + 1, 0)
    if rank is not None:
        X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + 1
        X[-1] = X[0]
    weights = rng.choice([1.0, 3.0], size=n)
    return Rows.make(X.astype(dtype), labels=np.arange(n) % 3, input_weights=weights)


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize(
    ("dtype", "rank", "sigma"),
    [(np.float64, None, 2.0), (np.float64, 7, 2.0), (np.float32, None, 1.0), (float, None, 1e-4)],
)
def test_sums_of_more_units_than_rows_equal_the_oracle(rng, dtype, rank, sigma):
    """Placed by their products, unless these would round them: the last ones lie too far."""
    rows = wide_rows(rng, rank, dtype)
    tolerance = 1e-4 if dtype is np.float32 else 1e-8
    mixture, _, _ = compare_with_oracle(rows, sigma, tolerance=tolerance)
    space = mixture.space
    assert isinstance(space.span, RowSpan) == (sigma > 1e-4)
    assert space.rank == (rank or len(rows.points) - 1)
    centred = (rows.points - rows.weights @ rows.points.astype(np.float64)) / sigma
    products = np.sqrt(np.outer(rows.weights, rows.weights)) * (centred @ centred.T)
    variances = np.linalg.eigvalsh(products)
    expected = np.log1p(np.maximum(variances, 0)).sum() / 2
    assert space.gaussian_information == pytest.approx(expected, rel=1e-9)
    # The control has mean zero, whatever of the covariance is known.
    leverages = mixture.leverages(np.arange(len(rows.points)))
    assert rows.weights @ leverages == pytest.approx(0, abs=1e-9 * np.abs(leverages).max())


@pytest.mark.usefixtures("few_are_many")
def test_new_points_are_placed_as_the_rows_of_a_wide_layer_are(rng):
    rows = wide_rows(rng)
    one, four = (Subspace.of(rows, 2.0, n_jobs) for n_jobs in (1, 4))
    np.testing.assert_array_equal(one.place(rows, slice(None)), four.place(rows, slice(None)))
    basis, placed = one.basis, one.place(rows, slice(None))
    np.testing.assert_allclose(basis.T @ basis, np.eye(one.rank), atol=1e-12)
    np.testing.assert_allclose(one.project(rows.points), placed, atol=1e-9 * one.radius)
    off = rng.normal(size=120)
    off -= basis @ (basis.T @ off)
    distances = one.squared_distances(rows.points[:5] + 2.0 * off)
    np.testing.assert_allclose(distances, off @ off, rtol=1e-9)


def test_draws_that_are_taken_in_portions_are_the_same(rng, monkeypatch):
    rows = Rows.make(rng.normal(size=(40, 3)), labels=np.arange(40) % 3)
    whole = measure_mixture(Mixture.of(rows, 0.5)).quantities
    monkeypatch.setattr(mixture_module, "_MOST_DRAWN", 2**12)
    split = measure_mixture(Mixture.of(rows, 0.5))
    assert Mixture.of(rows, 0.5).portions_of(256) == [64] * 4
    for before, after in zip(whole, split.quantities, strict=True):
        found = [after.value, after.lower, after.upper, after.stderr]
        expected = [before.value, before.lower, before.upper, before.stderr]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
