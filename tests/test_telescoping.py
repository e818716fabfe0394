"""Few replicas of all inputs and many of some, against the same with many of all."""

import numpy as np
import pytest

from skinfo import NoisyMIEstimator
from skinfo._rows import Rows
from skinfo.noisy.information import measure_mixture
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.telescoping import two_numbers_of_replicas

FEW, MANY, N_INPUTS = 16, 200, 300
INNER, SIGMA = 0.5, 0.4


def chain(seed):
    """One number an input, noise before and after: T = x + INNER W + SIGMA Z."""
    rng = np.random.default_rng(seed)
    x = np.random.default_rng(99).normal(size=(N_INPUTS, 1, 2))
    S = (x + INNER * rng.normal(size=(N_INPUTS, MANY, 2))).reshape(-1, 2)
    rows = Rows.make(S, groups=np.repeat(np.arange(N_INPUTS), MANY))
    rich = np.zeros(N_INPUTS, dtype=bool)
    rich[rng.choice(N_INPUTS, 60, replace=False)] = True
    few_of_all = rows.where(rows.replica_numbers < FEW)
    return few_of_all, rows.where((rows.replica_numbers < FEW) | rich[rows.inputs])


@pytest.fixture(scope="module")
def truth():
    x = np.random.default_rng(99).normal(size=(N_INPUTS, 2))
    noise = np.hypot(INNER, SIGMA)
    return measure_mixture(Mixture.of(Rows.make(x), float(noise)), tol=1e-3).mutual_info.value


def test_the_bracket_is_tighter_and_holds_the_truth(truth):
    inside, widths, few_widths, errors, few_errors = 0, [], [], [], []
    for seed in range(20):
        few, both = chain(seed)
        base = measure_mixture(Mixture.of(few, SIGMA), seed=seed).mutual_info
        found = measure_mixture(Mixture.of(both, SIGMA), seed=seed)
        information = found.mutual_info
        assert "telescoped" in information.notes
        assert information.lower <= information.value <= information.upper
        assert found.stderr_inputs > 0
        inside += information.lower <= truth <= information.upper
        widths.append(information.upper - information.lower)
        few_widths.append(base.upper - base.lower)
        errors.append(information.value - truth)
        few_errors.append(base.value - truth)
    assert inside >= 19
    assert np.mean(widths) < 0.6 * np.mean(few_widths)
    assert abs(np.mean(errors)) < 0.02
    assert abs(np.mean(errors)) < abs(np.mean(few_errors)) + 0.005


def test_conditional_entropy_is_corrected_too(truth):
    exact = np.log(2 * np.pi * np.e * (INNER**2 + SIGMA**2))
    for seed in range(5):
        found = measure_mixture(Mixture.of(chain(seed)[1], SIGMA), seed=seed).conditional_entropy
        assert found.lower <= exact <= found.upper
        assert found.value == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ([4] * 30 + [40] * 20, (4, 40)),
        ([4] * 30 + [40] * 15, None),  # too few to stand for all
        ([4] * 30 + [40] * 31, None),  # too many to be cut to few
        ([4] * 30 + [7] * 20, None),  # hardly more
        ([1] * 30 + [40] * 20, None),  # one row shows nothing to correct
        ([4] * 30 + [40] * 20 + [41], None),  # no design
        ([4] * 30, None),
    ],
)
def test_only_a_design_of_two_numbers_is_telescoped(replicas, expected):
    groups = np.repeat(np.arange(len(replicas)), replicas)
    rows = Rows.make(np.zeros((len(groups), 1)), groups=groups)
    assert two_numbers_of_replicas(rows) == expected


def test_the_estimator_notes_it_and_forgets_the_order_of_the_rows():
    _, both = chain(3)
    shuffled = np.random.default_rng(0).permutation(len(both.points))
    fits = [
        NoisyMIEstimator(sigma=SIGMA, random_state=0).fit(
            both.points[part], groups=both.inputs[part]
        )
        for part in (np.arange(len(shuffled)), shuffled)
    ]
    assert all("telescoped" in est.notes_ for est in fits)
    # Which replicas count as the few differs, within the bracket.
    width = fits[0].bracket_[1] - fits[0].bracket_[0]
    assert abs(fits[0].mutual_info_ - fits[1].mutual_info_) < width


def test_labels_and_weights_survive():
    _, both = chain(1)
    y = both.inputs % 2
    weights = 1.0 + both.inputs % 3
    est = NoisyMIEstimator(sigma=SIGMA, random_state=0).fit(
        both.points, y, groups=both.inputs, sample_weight=weights
    )
    assert 0 <= est.label_bracket_[0] <= est.label_bracket_[1] <= np.log(2) + 1e-6
    p = (1.0 + np.arange(N_INPUTS) % 3) / np.sum(1.0 + np.arange(N_INPUTS) % 3)
    assert est.ceiling_ <= -np.sum(p * np.log(p)) + 1e-9
    assert np.isfinite(est.bracket_).all()


@pytest.mark.parametrize(
    ("few", "n_rich", "spacing"), [(4, 20, 12.0), (10, 40, 12.0), (4, 20, 6.0)]
)
def test_the_bias_of_separable_inputs_cancels(few, n_rich, spacing):
    """A lattice of inputs: h(T) of few replicas is as biased as h(T|X), and must not stay so."""
    rng = np.random.default_rng(0)
    lattice = np.array([divmod(i, 20) for i in range(400)], dtype=float) * spacing
    truth = measure_mixture(
        Mixture.of(Rows.make(lattice), float(np.sqrt(5))), tol=1e-3
    ).mutual_info.value
    replicas = np.full(400, few)
    replicas[rng.permutation(400)[:n_rich]] = 100
    inputs = np.repeat(np.arange(400), replicas)
    S = lattice[inputs] + 2.0 * rng.normal(size=(len(inputs), 2))
    found = measure_mixture(Mixture.of(Rows.make(S, groups=inputs), 1.0))
    assert "telescoped" in found.mutual_info.notes
    assert found.mutual_info.lower <= truth <= found.mutual_info.upper
    assert abs(found.mutual_info.value - truth) < 0.2
    assert found.plug_in.value > truth
