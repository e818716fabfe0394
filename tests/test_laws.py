from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from skinfo.datasets.laws import GaussianChain, corners, line_entropy, noise_entropy, uniform_cube


@pytest.mark.parametrize(
    ("sigma", "information"),
    [(0.3, 0.691906123814), (0.5, 0.632720193737), (1, 0.336830820347), (2, 0.111421482185)],
)
def test_signs_carry_the_information_of_binary_phase_shift_keying(sigma, information):
    assert corners(1).mutual_info(sigma) == pytest.approx(information, abs=1e-11)
    assert corners(7).mutual_info(sigma) == pytest.approx(7 * information, abs=1e-10)


@pytest.mark.parametrize(
    ("size", "entropy"),
    [(0.5, 1.5303600154), (1, 1.7557693536), (2, 2.0516587269), (3, 2.1082364662)],
)
def test_two_gaussians_have_the_published_entropy_however_split(size, entropy):
    for spread in (0, 0.6, 0.8):
        sigma = np.sqrt(1 - spread**2)
        law = corners(1, size=size, spread=spread)
        assert law.entropy(sigma) == pytest.approx(entropy, abs=1e-9)


@pytest.mark.parametrize(
    ("sigma", "entropy"),
    [(0.05, 0.7383070448), (0.1, 0.7834669091), (0.5, 1.1444854933), (1, 1.5626496594)],
)
def test_uniform_entropy(sigma, entropy):
    assert uniform_cube(1).entropy(sigma) == pytest.approx(entropy, abs=1e-10)
    assert uniform_cube(3).entropy(sigma) == pytest.approx(3 * entropy, abs=1e-9)


def test_wide_noise_leaves_the_entropy_of_a_gaussian():
    """The variances add: 1/3 + sigma^2."""
    sigma = 200.0
    total = noise_entropy(np.sqrt(sigma**2 + 1 / 3))
    assert uniform_cube(1).entropy(sigma) == pytest.approx(total, abs=1e-8)


def test_draws_follow_the_law():
    S = corners(2, size=3, spread=0.5).draw(40_000, random_state=0)
    assert S.shape == (40_000, 2)
    np.testing.assert_allclose(np.abs(S).mean(axis=0), 3, atol=0.01)
    np.testing.assert_allclose(S.var(axis=0), 9.25, atol=0.05)
    np.testing.assert_allclose(np.corrcoef(S.T)[0, 1], 0, atol=0.02)
    U = uniform_cube(2).draw(40_000, random_state=0)
    assert np.all(np.abs(U) <= 1)
    np.testing.assert_allclose(U.var(axis=0), 1 / 3, atol=0.01)


@pytest.mark.parametrize("law", [corners(3, spread=0.1), uniform_cube(3)])
def test_draws_repeat_with_the_seed(law):
    np.testing.assert_array_equal(law.draw(5, 1), law.draw(5, 1))
    assert not np.array_equal(law.draw(5, 1), law.draw(5, 2))


def test_entropy_is_the_mean_surprise_of_draws():
    """By Monte Carlo, with the density written out."""
    law, sigma, rng = corners(1, size=1.5, spread=0.3), 0.7, np.random.RandomState(0)
    t = law.draw(200_000, rng)[:, 0] + sigma * rng.standard_normal(200_000)
    width = np.hypot(0.3, sigma)
    density = (norm.pdf(t, -1.5, width) + norm.pdf(t, 1.5, width)) / 2
    assert law.entropy(sigma) == pytest.approx(-np.log(density).mean(), abs=0.006)


def test_weights_of_a_mixture_on_a_line_count():
    one = line_entropy(np.array([0.0, 50.0]), np.array([0.25, 0.75]), 1.0)
    mixing = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert one == pytest.approx(noise_entropy(1.0) + mixing, abs=1e-10)


def chain_of(*sizes, sigma=0.4):
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(a, b)) for a, b in pairwise(sizes)]
    return GaussianChain(weights, sigma)


def test_moments_of_a_chain_are_those_of_its_draws():
    chain = chain_of(2, 3, 2)
    S = chain.draw(200, n_replicas=400, random_state=0)[1]
    T = S + chain.sigma * np.random.default_rng(2).normal(size=S.shape)
    within = (T - T.mean(axis=1, keepdims=True)).reshape(-1, 2)
    conditional = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * within.T @ within / (200 * 399))[1]
    assert chain.conditional_entropy()[1] == pytest.approx(conditional, abs=0.02)
    first = chain.draw(200_000, random_state=0)[0][:, :2]
    covariance = np.cov(first.T) + chain.sigma**2 * np.eye(2)
    two_units = GaussianChain([chain.weights[0][:, :2]], chain.sigma)
    total = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    assert two_units.entropy()[0] == pytest.approx(total, abs=0.01)


def test_a_chain_obeys_data_processing():
    information = chain_of(4, 6, 3, 3, 2).mutual_info()
    assert information == sorted(information, reverse=True)
    assert information[-1] > 0


def test_first_layer_of_a_chain_has_no_replicas():
    shapes = [S.shape for S in chain_of(2, 3, 4).draw(6, n_replicas=5, random_state=0)]
    assert shapes == [(6, 3), (6, 5, 4)]
