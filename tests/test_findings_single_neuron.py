"""Scalar networks: I(X;T) rises while points spread and falls as they cluster."""

import numpy as np
import pytest

from skinfo import NoisyMIEstimator
from skinfo.measures.rows import discrete_entropy

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
