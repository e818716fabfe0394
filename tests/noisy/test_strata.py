"""Rows whose zeros, or signs, the noise leaves: sums, densities, entropies within strata."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from skinfo import NoisyMIEstimator
from skinfo._rows import Rows
from skinfo.noise import make_noise
from skinfo.noisy.mixture import Mixture

SIGMA = 0.4


class Layer(NamedTuple):
    S: np.ndarray
    groups: np.ndarray | None
    labels: np.ndarray
    weights: np.ndarray


def make_layer(n, d, *, signs, replicas=1, seed=0):
    """Rows of which about a third of all values are exactly zero; replicas differ in which."""
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, d)).round(1)
    S = np.where(np.abs(S) < 0.4, 0.0, S) if signs else np.maximum(S, 0.0)
    groups = np.repeat(np.arange(n // replicas), replicas) if replicas > 1 else None
    of_input = np.arange(n) // replicas
    return Layer(S, groups, of_input % 3, 1.0 + of_input % 2)


def log_densities(T, S, noise):
    """log p(t_i | s_j) by the channel's definition, (n_T, n_S): masses where a unit is zero."""
    t, s = T[:, None, :], S[None, :, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        if noise == "multiplicative":
            of_units = norm.logpdf(t, s, SIGMA * np.abs(s))
            matches = (t != 0) == (s != 0)
        else:
            of_units = norm.logpdf(np.log(np.abs(t)), np.log(np.abs(s)), SIGMA) - np.log(np.abs(t))
            matches = np.sign(t) == np.sign(s)
    of_units = np.where(matches, np.where((s == 0) & (t == 0), 0.0, of_units), -np.inf)
    return of_units.sum(axis=2)


def log_of(weights, log_terms):
    with np.errstate(divide="ignore"):
        return logsumexp(log_terms + np.log(weights), axis=1)


@pytest.mark.parametrize("noise", ["multiplicative", "lognormal"])
@pytest.mark.parametrize(
    ("n", "d", "replicas"), [(60, 4, 1), (60, 4, 3), (1200, 2, 1), (1200, 2, 4), (30, 40, 1)]
)
def test_sums_at_draws_are_those_over_the_rows_of_the_stratum(noise, n, d, replicas):
    """With strata of few rows and of more than blocks are made for, d = 2 and n = 1,200."""
    layer = make_layer(n, d, signs=noise == "lognormal", replicas=replicas)
    rows = Rows.make(layer.S, groups=layer.groups, labels=layer.labels, input_weights=layer.weights)
    model = make_noise(noise, SIGMA)
    mixture = Mixture.of(rows, model)
    draws = mixture.draw_stream(0).take(16)
    sums = mixture.sums_at(draws, population=False, n_jobs=None)
    drawn, z = draws.rows.ravel()[:64], draws.noise.reshape(draws.rows.size, -1)[:64]
    patterns = np.sign(layer.S) if noise == "lognormal" else layer.S != 0
    in_space = mixture.in_space
    widths = np.ones((n, 1)) if in_space.deviations is None else in_space.deviations
    t = mixture.points_at(drawn, z)[:, None, :]
    logs = -0.5 * (((t - in_space.points) / widths) ** 2).sum(axis=2) - np.log(widths).sum(axis=1)
    logs[(patterns[drawn][:, None] != patterns).any(axis=2)] = -np.inf
    own = logs[np.arange(64), drawn][:, None]
    same_input = rows.inputs[drawn][:, None] == rows.inputs
    same_label = layer.labels[drawn][:, None] == layer.labels
    for found, expected in (
        (sums.all_data.total, log_of(rows.weights, logs - own)),
        (sums.all_data.label, log_of(rows.weights * same_label, logs - own)),
        (sums.all_data.input, log_of(rows.weights * same_input, logs - own)),
    ):
        np.testing.assert_allclose(found.ravel()[:64], expected, atol=1e-9)


@pytest.mark.parametrize("noise", ["multiplicative", "lognormal"])
@pytest.mark.parametrize(("n", "d"), [(40, 3), (900, 2)])
def test_density_at_values_is_that_of_the_channel(noise, n, d):
    layer = make_layer(n, d, signs=noise == "lognormal")
    est = NoisyMIEstimator(SIGMA, noise=noise, tol=0.05, random_state=0).fit(layer.S)
    model = make_noise(noise, SIGMA)
    T = model.draw(layer.S[::7], np.random.default_rng(1).normal(size=layer.S[::7].shape))
    expected = log_of(np.full(n, 1 / n), log_densities(T, layer.S, noise))
    np.testing.assert_allclose(est.score_samples(T), expected, rtol=1e-9, atol=1e-9)


def test_a_pattern_that_no_row_has_has_no_density():
    est = NoisyMIEstimator(SIGMA, noise="multiplicative", random_state=0)
    est.fit([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    assert est.score_samples([[1.0, 1.0]])[0] == -np.inf
    assert est.score([[1.0, 1.0], [0.0, 1.0]]) == np.inf


@pytest.mark.parametrize("noise", ["multiplicative", "lognormal"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_information_is_that_of_plain_monte_carlo(noise, replicas):
    layer = make_layer(36, 3, signs=noise == "lognormal", replicas=replicas)
    model = make_noise(noise, SIGMA)
    est = NoisyMIEstimator(SIGMA, noise=noise, tol=2e-3, random_state=0).fit(
        layer.S, layer.labels, groups=layer.groups, sample_weight=layer.weights
    )
    rows = Rows.make(layer.S, groups=layer.groups, labels=layer.labels, input_weights=layer.weights)
    rng = np.random.default_rng(2)
    drawn = rng.choice(36, size=10_000, p=rows.weights)
    T = model.draw(layer.S[drawn], rng.normal(size=(len(drawn), 3)))
    logs = log_densities(T, layer.S, noise)
    total = log_of(rows.weights, logs)
    input_mass = rows.input_weights[rows.inputs[drawn]]
    label_mass = rows.label_weights[layer.labels[drawn]]
    of_input = log_of(rows.weights * (rows.inputs[drawn][:, None] == rows.inputs), logs)
    of_label = log_of(rows.weights * (layer.labels[drawn][:, None] == layer.labels), logs)
    measured = [(est.plug_in_, of_input - np.log(input_mass) - total)]
    if replicas == 1:
        # With replicas the bias of these is reduced.
        measured += [
            (est.label_mutual_info_, of_label - np.log(label_mass) - total),
            (est.entropy_, -total),
            (est.conditional_entropy_, np.log(input_mass) - of_input),
        ]
    for found, values in measured:
        stderr = np.hypot(values.std() / np.sqrt(len(values)), 2e-3)
        assert abs(found - values.mean()) < 4 * stderr


def test_population_of_zeros_and_a_gaussian_lies_in_its_bracket():
    """Units that are zero with 1/2, else N(1, 0.1): I(S;T) of each is log 2 + I(within) / 2."""
    d = 6
    rng = np.random.default_rng(0)
    truth = d * (np.log(2) + 0.5 * 0.5 * np.log(1 + (0.1 / SIGMA) ** 2))
    for _ in range(5):
        S = np.exp(0.1 * rng.normal(size=(300, d))) * rng.integers(0, 2, size=(300, d))
        est = NoisyMIEstimator(SIGMA, noise="lognormal", population=True, random_state=0).fit(S)
        assert est.bracket_[0] < truth < est.bracket_[1] < 2 * truth


def test_patterns_of_other_inputs_are_a_law():
    """The probabilities of what other inputs suggest add up to one over all patterns."""
    S = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 2.0]])
    lengths = []
    for last in ([0, 0], [0, 1], [1, 0], [1, 1]):
        rows = Rows.make(np.vstack([S, [last]]).astype(float))
        lengths.append(Mixture.of(rows, make_noise("multiplicative", 1.0)).components
                       .own_input_out_lengths()[-1])  # fmt: skip
    assert np.exp(-np.array(lengths)).sum() == pytest.approx(1)
