"""What the estimator comparison and the spiral example say, from small runs with fixed seeds."""

import warnings

import numpy as np
import pytest
from example_files import load_example

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo.datasets import make_spiral
from skinfo.datasets.laws import GaussianChain, corners, noise_entropy, uniform_cube
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp

SIGMA = 0.1


@pytest.fixture(scope="module")
def entropies():
    """The examples' own entropies from samples."""
    module = load_example("sample_entropies")
    return module.knn_entropy, module.kde_entropy


def information(S, sigma, tol=0.01):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        return NoisyMIEstimator(sigma, tol=tol, random_state=0).fit(S).mutual_info_


def error_of(entropy, S, law, sigma, seed):
    T = S + sigma * np.random.default_rng(seed).normal(size=S.shape)
    return entropy(T) - law.entropy(sigma)


def test_entropies_from_samples_are_right_where_they_should_be(entropies):
    """A wide normal law in two dimensions: the baselines are no straw men."""
    T = np.random.default_rng(0).normal(size=(4000, 2))
    for entropy in entropies:
        assert entropy(T) == pytest.approx(2 * noise_entropy(1.0), abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_sample_propagation_beats_neighbours_and_kernels_on_the_cube(entropies, seed):
    law = corners(10, spread=0.02)
    S = law.draw(1000, random_state=seed)
    own = abs(information(S, SIGMA) - law.mutual_info(SIGMA))
    assert own < 1
    for entropy in entropies:
        # Measured 14 and 12 nats, for 0.74.
        assert abs(error_of(entropy, S, law, SIGMA, seed)) > 8 * own


def test_error_falls_at_least_like_the_root_of_n():
    law = corners(10, spread=0.02)
    few, many = (
        np.mean([abs(information(law.draw(n, k), SIGMA) - law.mutual_info(SIGMA)) for k in (0, 1)])
        for n in (500, 8000)
    )
    assert many < few / np.sqrt(16)


def test_in_one_dimension_all_find_the_entropy(entropies):
    law = uniform_cube(1)
    S = law.draw(3000, random_state=0)
    assert information(S, SIGMA) == pytest.approx(law.mutual_info(SIGMA), abs=0.02)
    for entropy in entropies:
        assert abs(error_of(entropy, S, law, SIGMA, 0)) < 0.08


def test_bracket_of_a_deep_linear_network_holds_its_information():
    rng = np.random.default_rng(7)
    weights = [rng.normal(size=s) / np.sqrt(s[0]) for s in ((4, 4), (4, 3), (3, 2))]
    chain = GaussianChain(weights, sigma=0.2)
    layers = chain.draw(200, n_replicas=20, random_state=0)
    for S, truth in zip(layers[1:], chain.mutual_info()[1:], strict=True):
        est = NoisyMIEstimator(0.2, population=True, random_state=0)
        est.fit(np.concatenate(S), groups=np.repeat(np.arange(200), 20))
        assert est.bracket_[0] <= truth <= est.bracket_[1]
        assert est.bracket_[1] - est.bracket_[0] < 0.4 * truth + 0.2


def test_spread_of_the_entropy_of_a_spiral_layer(entropies):
    sigmas = dict.fromkeys(("layer1", "layer2", "layer3"), 0.2)
    X, y = make_spiral(1000, noise=0.06, random_state=0)
    model = make_mlp((2, 8, 9, 10, 3), random_state=0)
    trainer = Trainer(model, X, y, sigma=sigmas, learning_rate=0.02, batch_size=64, random_state=0)
    trainer.train_until(50)
    assert trainer.evaluate(X, y)[1] > 0.97

    n, n_seeds = 300, 24
    points, _ = make_spiral(n * n_seeds, noise=0.06, random_state=2)
    points = np.random.default_rng(0).permutation(points)
    with Recorder(model, ["layer3"], sigma=sigmas, n_replicas=1).record(points) as arrays:
        S = arrays["layer3"].reshape(n_seeds, n, 10).astype(float)
    T = S + 0.2 * np.random.default_rng(1).normal(size=S.shape)
    own = np.std([information(rows, 0.2) for rows in S])
    neighbours = np.std([entropies[0](rows) for rows in T])
    # About half.
    assert own < 0.8 * neighbours
