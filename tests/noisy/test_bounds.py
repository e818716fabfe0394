"""Bounds against the published table, closed forms and the estimates they bound."""

import numpy as np
import pytest

from skinfo._rows import Rows
from skinfo.noisy import bounds
from skinfo.noisy.bounds import (
    bounded_risk,
    constellation_size,
    information_risk,
    min_samples,
    pairwise_bounds,
    subgaussian_risk,
)
from skinfo.noisy.information import measure_mixture
from skinfo.noisy.mixture import Mixture

import reference

TABLE_I = {
    1: 7.41e-4, 2: 0.00166, 3: 0.00369, 5: 0.0179, 7: 0.0856, 9: 0.402, 10: 0.869, 11: 1.87,
    12: 4.02,
}  # fmt: skip


@pytest.mark.parametrize(("d", "published"), TABLE_I.items())
def test_published_table_of_risks(d, published):
    assert bounded_risk(1e9, d, 1.0) == pytest.approx(published, rel=0.01)


def test_risks_fall_with_rows_and_grow_with_dimension():
    n = 10.0 ** np.arange(3, 12)
    for risk in (bounded_risk, information_risk, lambda *a: subgaussian_risk(*a, K=1.0)):
        assert np.all(np.diff([risk(m, 4, 0.5) for m in n]) < 0)
        assert np.all(np.diff([risk(1e6, d, 0.5) for d in range(1, 12)]) > 0)


def test_estimates_obey_the_bound_on_the_risk():
    """h of Unif[-1, 1] plus noise, from 500 rows: the mean error is far below the bound."""
    truth = 1.5626496594
    errors = []
    for seed in range(20):
        S = np.random.default_rng(seed).uniform(-1, 1, size=(500, 1))
        errors.append(abs(measure_mixture(Mixture.of(Rows.make(S), 1.0)).entropy.value - truth))
    assert np.mean(errors) < bounded_risk(500, 1, 1.0)


def test_constellations_that_noise_leaves_apart():
    assert [constellation_size(d, 0.1, 0.01) for d in (1, 11, 12, 10_000)] == [3, 3, 2, 2]


def test_necessary_samples_grow_exponentially():
    few, many = min_samples(5, 0.1), min_samples(10, 0.1)
    assert many / few == pytest.approx(3 ** (5 * 0.99), rel=1e-9)
    assert min_samples(10_000, 0.1) == np.inf
    with pytest.raises(ValueError, match="eps"):
        min_samples(3, 0.1, eps=0.7)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_pairwise_bounds_by_their_formula(sigma, rng):
    X = rng.normal(size=(80, 3))
    square = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    lower, upper = pairwise_bounds(X, sigma)
    for quantity, width in ((upper, 2 * sigma**2), (lower, 8 * sigma**2)):
        expected = -np.log(np.exp(-square / width).mean(axis=1)).mean()
        assert quantity.value == pytest.approx(expected, rel=1e-10)
        assert quantity.stderr == 0
    information = measure_mixture(Mixture.of(Rows.make(X), sigma)).mutual_info
    assert lower.value <= information.value <= upper.value


def test_rows_beyond_a_block_have_their_own_strata(rng):
    """64 rows are a block, 512 a slice of a thread."""
    n = 150
    X, strata = rng.normal(size=(n, 2)), rng.integers(0, 3, size=n)
    deviations = np.exp(rng.normal(size=(n, 2)))
    found = [q.value for q in pairwise_bounds(X, deviations, strata=strata)]
    expected = reference.pairwise_bounds(X, deviations, strata)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    more = np.tile(X, (8, 1)), np.tile(deviations, (8, 1))
    one, four = (pairwise_bounds(*more, strata=np.tile(strata, 8), n_jobs=k) for k in (1, 4))
    assert one == four
    np.testing.assert_allclose([q.value for q in one], expected, rtol=0, atol=1e-10)


def test_noise_of_each_unit_alone_is_a_unit_of_length(rng):
    X, sigma = rng.normal(size=(70, 3)), np.array([1e-3, 1.0, 1e3])
    expected = pairwise_bounds(X, 1.0)
    for wide in (sigma, np.tile(sigma, (70, 1))):
        for q, e in zip(pairwise_bounds(X * sigma, wide), expected, strict=True):
            assert q.value == pytest.approx(e.value, abs=1e-10)
    apart = [q.value for q in pairwise_bounds(X, 1.0, strata=np.arange(70))]
    assert apart == pytest.approx([np.log(70)] * 2)


def test_a_sample_of_rows_says_its_error(rng, monkeypatch):
    X = rng.normal(size=(2000, 2))
    _, exact = pairwise_bounds(X, 0.5)
    monkeypatch.setattr(bounds, "MOST_ROWS", 300)
    sampled = [pairwise_bounds(X, 0.5, random_state=s)[1] for s in range(30)]
    assert sum(q.lower <= exact.value <= q.upper for q in sampled) >= 25
    of_rows = pairwise_bounds(X, np.full(X.shape, 0.5), random_state=0)[1]
    assert of_rows.value == pytest.approx(sampled[0].value, abs=1e-10)
    assert (of_rows.stderr, of_rows.notes) == (pytest.approx(sampled[0].stderr), ("sampled",))
    assert sampled[0].stderr > 0
    assert sampled[0].notes == ("sampled",)
    assert exact.notes == ()


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((0, 3, 1.0), "n is a number of rows"),
        ((np.nan, 3, 1.0), "n is a number of rows"),
        ((1e9, 0, 1.0), "d is a number of units"),
        ((1e9, 2.5, 1.0), "d is a number of units"),
        ((1e9, 3, -1.0), "sigma must be positive"),
        ((1e9, 3, np.nan), "sigma must be positive"),
        ((1e9, 3, np.inf), "sigma must be positive"),
    ],
)
def test_theorems_name_the_number_that_is_none(numbers, says):
    for risk in (bounded_risk, information_risk, lambda *a: subgaussian_risk(*a, K=1.0)):
        with pytest.raises(ValueError, match=says):
            risk(*numbers)
    if numbers[0] == 1e9:
        for theorem in (min_samples, lambda d, sigma: constellation_size(d, sigma, 0.01)):
            with pytest.raises(ValueError, match=says):
                theorem(*numbers[1:])


def test_theorems_name_their_own_numbers():
    with pytest.raises(ValueError, match="K must be positive"):
        subgaussian_risk(1e9, 3, 1.0, K=-1.0)
    with pytest.raises(ValueError, match="sigma must be positive.*got 0.0"):
        min_samples(3, 0.0)
    with pytest.raises(ValueError, match="bias is a number of nats"):
        min_samples(3, 1.0, bias=-1.0)
    with pytest.raises(ValueError, match="eps"):
        constellation_size(3, 1.0, 0.7)


def test_theorems_take_whatever_they_do_not_refuse():
    """Whole numbers that no machine word holds, and the smallest sigma."""
    assert bounded_risk(10**20, 3, 1.0) == bounded_risk(1e20, 3, 1.0)
    assert subgaussian_risk(10**20, 3, 1.0, 1.0) == subgaussian_risk(1e20, 3, 1.0, 1.0)
    assert min_samples(3, 1e-49) > 1e140


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
def test_risks_in_many_dimensions_are_infinite(sigma):
    assert bounded_risk(1e9, 10_000, sigma) == np.inf
    assert subgaussian_risk(1e9, 10_000, sigma, K=1.0) == np.inf
    assert information_risk(1e9, 10_000, sigma) == np.inf


@pytest.mark.parametrize(
    ("X", "sigma", "says"),
    [
        ([[0.0], [1.0]], -1.0, "sigma must be a positive standard deviation; got -1.0"),
        ([[0.0], [1.0]], np.nan, "sigma must be a positive standard deviation; got nan"),
        ([[0.0], [np.nan]], 1.0, "X holds nan in row 1, column 0"),
        ([0.0, 1.0], 1.0, r"array of shape \(2,\)"),
        (np.empty((0, 2)), 1.0, r"array of shape \(0, 2\)"),
        ([[0.0], [1e15]], 1.0, r"1e\+11 sigma \(1\)"),
        ([[0.0], [1.0]], [1.0, 2.0], r"per unit, \(1,\), or one .*, \(2, 1\); got shape \(2,\)"),
        ([[0.0], [1.0]], [[1.0], [0.0]], r"positive standard deviation; got 0.0 at \(1, 0\)"),
    ],
)
def test_pairwise_bounds_name_what_is_wrong(X, sigma, says):
    with pytest.raises(ValueError, match=says):
        pairwise_bounds(X, sigma)


def test_strata_of_another_number_than_rows_are_refused():
    with pytest.raises(ValueError, match=r"strata has shape \(3,\); one per row is \(2,\)"):
        pairwise_bounds([[0.0], [1.0]], 1.0, strata=np.zeros(3))
