"""Scalar networks: I(X;T) rises while points spread and falls as they cluster."""

import numpy as np
import pytest

from skinfo import NoisyMIEstimator
from skinfo._rows import discrete_entropy

INPUTS = np.array([-3.0, -1.0, 1.0, 3.0])
TARGETS = np.array([-1.0, -1.0, -1.0, 1.0])
CLUSTERED = discrete_entropy(np.array([0.25, 0.75]))


def train_tanh(sigma, n_steps, kept):
    """The neuron's four values after the kept steps of noisy gradient descent."""
    rng = np.random.default_rng(0)
    weight = bias = 0.0
    values = {}
    for step in range(1, n_steps + 1):
        S = np.tanh(weight * INPUTS + bias)
        slope = (S + sigma * rng.standard_normal(4) - TARGETS) * (1 - S * S) / 2
        weight, bias = weight - 0.1 * slope @ INPUTS, bias - 0.1 * slope.sum()
        if step in kept:
            values[step] = np.tanh(weight * INPUTS + bias)
    return values


def information(S, sigma):
    return NoisyMIEstimator(sigma, random_state=0).fit(S[:, None]).mutual_info_


@pytest.mark.parametrize(
    ("sigma", "peak", "gap"), [(0.05, 1.38, 0.015), (0.1, 1.3, 0.004)], ids=str
)
@pytest.mark.filterwarnings("ignore::skinfo.SaturationWarning")
def test_a_tanh_neuron_rises_to_log_4_and_ends_at_the_entropy_of_one_point_against_three(
    sigma, peak, gap
):
    values = train_tanh(sigma, 30_000, kept=(1, 30_000))
    assert peak < information(values[1], sigma) <= np.log(4)
    S = values[30_000]
    above = information(S, sigma) - CLUSTERED
    assert 0 < above < gap
    # What is left is what a Gaussian channel carries of the spread within the class.
    assert above == pytest.approx(0.75 * S[:3].var() / (2 * sigma**2), rel=0.03)


class LeakyPair:
    """Two scalar leaky ReLU layers, each with noise, trained with their noise on."""

    sigma = 0.05
    inputs = np.arange(1.0, 9.0)
    targets = np.where(inputs <= 4, 0.0, 0.25)

    def __init__(self):
        self.weights = np.array([0.0, 4.5, -1.0, 0.0])
        self.rng = np.random.default_rng(0)

    @staticmethod
    def activation(v):
        return np.maximum(v, v / 10)

    def step(self, rate=0.01):
        w1, b1, w2, b2 = self.weights
        before1 = w1 * self.inputs + b1
        T1 = self.activation(before1) + self.sigma * self.rng.standard_normal(8)
        before2 = w2 * T1 + b2
        T2 = self.activation(before2) + self.sigma * self.rng.standard_normal(8)
        error2 = (T2 - self.targets) * np.where(before2 > 0, 1, 0.1) / 4
        error1 = error2 * w2 * np.where(before1 > 0, 1, 0.1)
        self.weights -= rate * np.array(
            [error1 @ self.inputs, error1.sum(), error2 @ T1, error2.sum()]
        )

    def first_layer(self):
        w1, b1, _, _ = self.weights
        return self.activation(w1 * self.inputs + b1)

    def second_layer(self, z):
        """Rows of every input before the last noise, the first noise being sigma z."""
        _, _, w2, b2 = self.weights
        return self.activation(w2 * (self.first_layer()[:, None] + self.sigma * z) + b2)

    def second_information(self, n_replicas=150):
        rows = self.second_layer(np.random.default_rng(1).standard_normal((8, n_replicas)))
        groups = np.repeat(np.arange(8), n_replicas)
        return NoisyMIEstimator(self.sigma, random_state=0).fit(rows.reshape(-1, 1), groups=groups)

    def summed_second_information(self):
        """I(X;T2) by sums over lattices of both noises."""
        z = np.linspace(-8, 8, 801)
        weight = np.exp(-z * z / 2)
        S = self.second_layer(z)
        t = np.arange(S.min() - 8 * self.sigma, S.max() + 8 * self.sigma, self.sigma / 10)
        noise = np.exp(-(((t - S[:, :, None]) / self.sigma) ** 2) / 2)
        p = np.einsum("z,xzt->xt", weight / weight.sum(), noise) + 1e-300
        return float((p * np.log(p / p.mean(axis=0))).mean(axis=0).sum() / 10 / np.sqrt(2 * np.pi))


@pytest.mark.filterwarnings("ignore::skinfo.SaturationWarning")
def test_leaky_relu_layers_compress_though_nothing_saturates():
    pair, first, second = LeakyPair(), [], []
    for step in range(1, 3001):
        pair.step()
        if step in (100, 200, 600, 3000):
            first.append(information(pair.first_layer(), pair.sigma))
        if step in (600, 3000):
            second.append(pair.second_information())
            assert second[-1].bracket_[0] < pair.summed_second_information()
            assert pair.summed_second_information() < second[-1].bracket_[1]
    assert np.log(8) - 0.01 < max(first) <= np.log(8)
    assert max(first) - first[-1] > 0.25
    # Beyond the brackets the second layer falls too, and it never has more than the first.
    assert second[0].bracket_[0] - second[1].bracket_[1] > 0.05
    assert second[0].bracket_[1] < first[-2]
    assert second[1].bracket_[1] < first[-1]
