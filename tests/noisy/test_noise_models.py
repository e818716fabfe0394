"""Whole estimates with every model of the noise, against quadrature and closed forms."""

from functools import cache, partial
from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import lognorm, norm

from skinfo import NoisyMIEstimator

import reference

#: Noise, its parameter, equally likely rows of one unit, and I(X;T) in nats to ten digits.
VALUES = [
    ("multiplicative", 0.1, (1, 2, 3), 1.0569770123),
    ("multiplicative", 0.3, (1, 2, 3), 0.5415799937),
    ("multiplicative", 0.5, (1, 2, 3), 0.3161640996),
    ("multiplicative", 0.3, (-2, -1, 1, 2), 1.0860202469),
    ("multiplicative", 1.0, (-2, -1, 1, 2), 0.4528073649),
    ("multiplicative", 0.25, (0.5, 1, 2, 4, 8), 1.2522312846),
    ("multiplicative", 0.3, (1, 2), 0.3942477970),
    ("multiplicative", 0.3, (0, 0, 1, 2), 0.8902710791),
    ("multiplicative", 0.7, (0, 3), np.log(2)),
    ("multiplicative", 0.5, (-3, 3), 0.632720193737),
    ("multiplicative", 0.5, (2, 2, 2), 0.0),
    ("affine", (0.2, 0.3), (0, 1, 2), 0.7981178210),
    ("affine", (0.2, 0.3), (2, 2), 0.0),
    ("per row", (1, 2), (0, 0), 0.0927333817),
    ("per row", (1, 10), (0, 0), 0.4333107188),
    ("per row", (1, 0.5), (-1, 1), 0.4743074112),
    ("lognormal", 0.5, (np.exp(-1), 1, np.e), 0.6191444851),
    ("lognormal", 0.5, (-1, 1, np.e), 0.8610680485),
    ("lognormal", 0.5, (-2, -2), 0.0),
    ("additive", 0.5, (-1, 1), 0.632720193737),
]
line_truth = cache(reference.line_truth)
on_every_value = pytest.mark.parametrize(("noise", "sigma", "rows", "information"), VALUES)


@on_every_value
def test_the_oracle_gives_every_digit(noise, sigma, rows, information):
    found = line_truth(noise, sigma, rows)[0]
    assert found == pytest.approx(information, abs=5.1e-11)


def estimate(noise, sigma, X, y=None, *, fit=(), **options):
    """An estimate of rows of units; for "per row" sigma is the scale of each."""
    X = np.asarray(X, dtype=float)
    X = X[:, None] if X.ndim == 1 else X
    options = {"random_state": 0, **options}
    if noise == "per row":
        scale = np.asarray(sigma, dtype=float).reshape(X.shape)
        return NoisyMIEstimator(**options).fit(X, y, scale=scale, **dict(fit))
    return NoisyMIEstimator(sigma, noise=noise, **options).fit(X, y, **dict(fit))


@on_every_value
@pytest.mark.filterwarnings("ignore::skinfo.errors.SaturationWarning")
def test_rows_of_one_unit_have_every_digit(noise, sigma, rows, information):
    est = estimate(noise, sigma, rows)
    _, _, entropy, conditional = line_truth(noise, sigma, rows)
    assert est.mutual_info_ == pytest.approx(information, abs=1e-9)
    assert est.stderr_ == 0
    assert est.bracket_ == pytest.approx((information, information), abs=1e-9)
    assert est.entropy_ == pytest.approx(entropy, abs=1e-9)
    assert est.conditional_entropy_ == pytest.approx(conditional, abs=1e-9)
    assert information <= est.ceiling_ + 1e-9


@pytest.mark.parametrize(
    ("noise", "sigma", "rows", "others"),
    [
        ("affine", (0.2, 0.3), (0, 1, 2), (0.5, 4, -3)),
        ("multiplicative", 0.3, (1, 2, 3), (1.5, 3, 3)),
        ("lognormal", 0.5, (1, 2, 4), (1, 16)),
    ],
)
def test_score_of_rows_of_one_unit_has_every_digit(noise, sigma, rows, others):
    est = estimate(noise, sigma, rows)
    laws = []
    for s in (others, rows):
        centres, deviations, _, _ = reference.line_channel(noise, sigma, s)
        laws.append((centres, deviations, np.full(len(s), 1 / len(s))))
    entropy = np.log(laws[0][1] * np.sqrt(2 * np.pi * np.e)).mean()
    expected = reference.normals_cross_entropy(*laws) - entropy
    assert est.score(np.reshape(others, (-1, 1))) == pytest.approx(expected, abs=1e-9)
    assert est.score(np.reshape(rows, (-1, 1))) == pytest.approx(est.mutual_info_, abs=1e-9)


#: A parameter of each model, for rows that are zero, negative and repeated.
MODELS = [
    ("additive", 0.5),
    ("multiplicative", 0.4),
    ("affine", (0.2, 0.3)),
    ("lognormal", 0.6),
    ("per row", (0.3, 0.1, 2.0, 0.5, 0.3, 1.0, 0.7, 0.2)),
]
ROWS = (0.0, 1.0, -2.0, 1.5, 0.0, 3.0, -1.0, 1.0)
on_every_model = pytest.mark.parametrize(("noise", "sigma"), MODELS)


@on_every_model
def test_weights_and_labels_of_one_unit_have_every_digit(noise, sigma):
    weights, labels = np.arange(1.0, 9), np.arange(8) % 3
    est = estimate(noise, sigma, ROWS, labels, fit={"sample_weight": weights})
    truth = reference.line_truth(noise, sigma, ROWS, weights, labels=labels)
    found = (est.mutual_info_, est.label_mutual_info_, est.entropy_, est.conditional_entropy_)
    assert found == pytest.approx(truth, abs=1e-9)


@on_every_model
def test_replicas_of_one_unit_have_every_digit(noise, sigma):
    inputs = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    est = estimate(noise, sigma, ROWS, inputs % 2, fit={"groups": inputs})
    truth = reference.line_truth(noise, sigma, ROWS, inputs=inputs)[0]
    assert est.plug_in_ == pytest.approx(truth, abs=1e-9)
    twice = estimate(
        noise, np.repeat(sigma, 2) if noise == "per row" else sigma, np.repeat(ROWS, 2),
        fit={"groups": np.repeat(np.arange(8), 2)},
    )  # fmt: skip
    expected = line_truth(noise, sigma, ROWS)[0]
    assert twice.plug_in_ == pytest.approx(expected, abs=1e-9)
    assert twice.mutual_info_ == pytest.approx(expected, abs=4 * twice.stderr_ + 1e-9)


def product_rows(factors):
    """All combinations of the rows of several units."""
    return np.array(list(product(*factors)), dtype=float)


@pytest.mark.parametrize(
    ("noise", "sigma", "factors"),
    [
        ("multiplicative", 0.3, [(0, 0, 1, 2), (1, 2, 3)]),
        ("multiplicative", (0.3, 0.5, 1.0), [(1, 2, 3), (0, 2), (-2, -1, 1, 2)]),
        ("affine", ((0.2, 0.5), 0.3), [(0, 1, 2), (0, 0.5)]),
        ("lognormal", (0.5, 0.8, 0.4), [(1, 2), (-1, 0, 1, np.e), (0, 3)]),
        ("per row", ((1, 10), (0.5, 0.1), (1, 0.5)), [(0, 0), (0, 0.3), (-1, 1)]),
    ],
)
def test_independent_units_add_up(noise, sigma, factors):
    per_unit = [sigma] * len(factors)
    if noise == "affine":
        per_unit = list(zip(*(np.broadcast_to(s, len(factors)) for s in sigma), strict=True))
    elif isinstance(sigma, tuple):
        per_unit = list(sigma)
    pairs = zip(per_unit, factors, strict=True)
    truths = np.array([line_truth(noise, *pair) for pair in pairs])
    information, _, entropy, conditional = truths.sum(axis=0)
    scale = product_rows(sigma) if noise == "per row" else sigma
    X = product_rows(factors)
    # The label is where the first unit stands.
    labels = np.repeat(np.arange(len(factors[0])), len(X) // len(factors[0]))
    est = estimate(noise, scale, X, labels, tol=1e-4)
    assert est.stderr_ <= 1e-4
    error = 4 * est.stderr_
    assert est.label_mutual_info_ == pytest.approx(truths[0, 0], abs=4 * est.label_stderr_ + 1e-9)
    assert est.conditional_mutual_info_ == pytest.approx(information - truths[0, 0], abs=4e-4)
    assert est.mutual_info_ == pytest.approx(information, abs=error)
    assert est.entropy_ == pytest.approx(entropy, abs=error)
    assert est.conditional_entropy_ == pytest.approx(conditional, abs=1e-9)
    assert information <= est.ceiling_ + 1e-9
    extra = {"scale": scale} if noise == "per row" else {}
    score = est.set_params(tol=1e-3).score(X, **extra)
    assert score == pytest.approx(information, abs=4e-3)


def test_signs_of_any_size_under_dropout_are_binary_channels():
    X = product_rows([(-1, 1)] * 2) * [1e-8, 1e4]
    est = estimate("multiplicative", 0.5, X, tol=1e-4)
    assert est.mutual_info_ == pytest.approx(2 * 0.632720193737, abs=4 * est.stderr_)


# --- what changes nothing ------------------------------------------------------------------------


def hidden_layer(n=200, d=3, seed=0):
    """Rows of a ReLU, some units exactly zero, and labels."""
    rng = np.random.default_rng(seed)
    X = np.maximum(rng.normal(size=(n, d)) + 0.5, 0)
    return X, (X[:, 0] > X[:, 1]).astype(int)


def assert_same_information(one, other):
    for name in ("mutual_info_", "label_mutual_info_"):
        values = [getattr(est, name) for est in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=4 * np.hypot(one.stderr_, other.stderr_))


@pytest.mark.parametrize("noise", ["multiplicative", "lognormal"])
def test_the_unit_of_length_of_each_unit_is_free(noise):
    X, y = hidden_layer()
    scaled = X * [1e-30, 1.0, 1e25]
    assert_same_information(estimate(noise, 0.4, X, y), estimate(noise, 0.4, scaled, y))


@on_every_model
def test_order_of_rows_and_units_changes_nothing(noise, sigma):
    X, y = hidden_layer()
    rng = np.random.default_rng(1)
    rows, units = rng.permutation(len(X)), rng.permutation(X.shape[1])
    before, after = sigma, sigma
    if noise == "per row":
        before = np.exp(rng.normal(size=X.shape) - 1)
        after = before[rows][:, units]
    elif noise == "multiplicative":
        before = np.array([0.2, 0.4, 0.8])
        after = before[units]
    one, other = estimate(noise, before, X, y), estimate(noise, after, X[rows][:, units], y[rows])
    assert_same_information(one, other)


def test_one_sigma_per_unit_is_a_unit_of_length():
    X, y = hidden_layer()
    sigma = np.array([0.25, 0.5, 2.0])
    one, other = estimate("additive", sigma, X, y), estimate("additive", 1.0, X / sigma, y)
    assert one.mutual_info_ == other.mutual_info_
    assert one.bracket_ == other.bracket_
    assert one.entropy_ == pytest.approx(other.entropy_ + np.log(sigma).sum(), abs=1e-12)


def test_the_same_scale_in_every_row_is_additive_noise():
    X, y = hidden_layer()
    one = estimate("per row", np.full(X.shape, 0.5), X, y)
    assert_same_information(one, estimate("additive", 0.5, X, y))


def test_correlated_noise_is_white_in_other_coordinates():
    """Rows along a direction: of T only the component that the noise leaves clearest counts."""
    covariance = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
    direction, sizes = np.array([1.0, -1.0, 0.5]), np.array([-2.0, 0.0, 0.5, 3.0])
    white = np.linalg.solve(np.linalg.cholesky(covariance), np.outer(direction, sizes)).T
    sigma = 1 / np.sqrt(direction @ np.linalg.solve(covariance, direction))
    expected = reference.line_truth("additive", sigma, sizes)[0]
    assert estimate("additive", 1.0, white).mutual_info_ == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("noise", "sigma"), MODELS[:4])
def test_a_unit_that_says_nothing_costs_and_gains_nothing(noise, sigma):
    X = np.zeros((8, 3))
    X[:, 1] = ROWS
    X[:, 2] = 7.0
    est = estimate(noise, sigma, X)
    truth = line_truth(noise, sigma, ROWS)[0]
    assert est.mutual_info_ == pytest.approx(truth, abs=1e-9)
    assert est.rank_ == 1


@pytest.mark.parametrize("labels", [None, np.arange(9)])
@on_every_model
def test_one_point_repeated_carries_nothing(noise, sigma, labels):
    X = np.tile([0.0, -3.0, 0.1], (9, 1))
    scale = np.tile([1e-3, 1.0, 30.0], (9, 1)) if noise == "per row" else sigma
    est = estimate(noise, scale, X, labels)
    assert est.mutual_info_ == est.plug_in_ == 0
    assert est.label_mutual_info_ == (None if labels is None else 0)
    assert est.entropy_ == est.conditional_entropy_


@on_every_model
def test_single_precision_and_threads(noise, sigma):
    X, y = hidden_layer(n=700)
    X = X.astype(np.float32)
    if noise == "per row":
        sigma = np.exp(np.random.default_rng(1).normal(size=X.shape) - 1)
    options = {"random_state": 0, "max_evaluations": 2**13}
    known = {"scale": sigma} if noise == "per row" else {}
    make = NoisyMIEstimator if noise == "per row" else partial(NoisyMIEstimator, sigma, noise=noise)
    single, threads = (make(n_jobs=k, **options).fit(X, y, **known) for k in (1, 3))
    assert single.quantities_ == threads.quantities_
    assert single.score(X, **known) == threads.score(X, **known)
    double = make(**options).fit(X.astype(float), y, **known)
    assert double.mutual_info_ == pytest.approx(single.mutual_info_, abs=5e-4)
    assert double.label_mutual_info_ == pytest.approx(single.label_mutual_info_, abs=5e-4)


@on_every_model
def test_pairwise_bounds_of_every_model_hold_the_information(noise, sigma):
    lower, upper = estimate(noise, sigma, ROWS, pairwise_bounds=True).pairwise_bounds_
    assert lower <= line_truth(noise, sigma, ROWS)[0] <= upper


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("d", [1, 2])
def test_a_population_of_lognormal_activations(d, seed):
    """ln S is normal of deviation 1: d Gaussian channels."""
    S = np.exp(np.random.default_rng(seed).normal(size=(400, d)) + 3)
    est = estimate("lognormal", 0.5, S, population=True)
    lower, upper = est.bracket_
    assert lower <= d * 0.8047189562 <= upper
    assert upper - lower < 0.5 * d


@pytest.mark.parametrize("seed", range(3))
def test_a_population_whose_zeros_and_signs_stay(seed):
    """What noise leaves is part of I(X;T), and of the end above it."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, size=400)
    S = np.exp(rng.normal(size=(400, 1)))
    signed = estimate("lognormal", 0.5, np.where(y[:, None], S, -S), y, population=True)
    assert signed.bracket_[0] <= np.log(2) + 0.8047189562 <= signed.bracket_[1]
    assert signed.label_bracket_[0] <= np.log(2) <= signed.label_bracket_[1]
    silenced = estimate("lognormal", 0.5, np.where(y[:, None], S, 0), population=True)
    assert silenced.bracket_[0] <= np.log(2) + 0.8047189562 / 2 <= silenced.bracket_[1]


# --- densities -----------------------------------------------------------------------------------


def log_mean(logs):
    return logsumexp(logs, axis=1) - np.log(logs.shape[1])


def test_score_samples_is_the_log_density_of_every_model():
    rng = np.random.default_rng(2)
    X, t = rng.exponential(size=(30, 2)) + 0.1, rng.exponential(size=(9, 2))
    V = np.exp(rng.normal(size=X.shape))
    found = {
        noise: estimate(noise, sigma, X).score_samples(t)
        for noise, sigma in [
            ("additive", [0.5, 0.2]), ("multiplicative", 0.4), ("affine", (0.2, 0.3)),
            ("lognormal", 0.6), ("per row", V),
        ]
    }  # fmt: skip
    deviations = {
        "additive": np.broadcast_to([0.5, 0.2], X.shape),
        "multiplicative": 0.4 * X,
        "affine": np.hypot(0.2, 0.3 * X),
        "per row": V,
    }
    for noise, wide in deviations.items():
        expected = log_mean(norm.logpdf(t[:, None], X, wide).sum(axis=2))
        np.testing.assert_allclose(found[noise], expected, rtol=1e-9, atol=1e-9)
    expected = log_mean(lognorm.logpdf(t[:, None], 0.6, scale=X).sum(axis=2))
    np.testing.assert_allclose(found["lognormal"], expected, rtol=1e-9, atol=1e-9)


def test_a_density_where_a_unit_is_exactly_zero_is_a_mass_there():
    X = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 2.0], [2.0, 0.0]])
    est = estimate("multiplicative", 0.3, X)
    t = np.array([[0.0, 1.2], [0.9, 2.2], [1.5, 0.0], [0.0, 0.0]])
    expected = [
        log_mean(norm.logpdf(1.2, [[1, 2]], [[0.3, 0.6]])) + np.log(0.5),
        norm.logpdf(0.9, 1, 0.3) + norm.logpdf(2.2, 2, 0.6) - np.log(4),
        norm.logpdf(1.5, 2, 0.6) - np.log(4),
        -np.inf,
    ]
    np.testing.assert_allclose(est.score_samples(t), np.hstack(expected), rtol=1e-9)
    # Zeros that no fitted row has are told apart for certain.
    assert est.score(np.zeros((1, 2))) == np.inf


# --- bad input -----------------------------------------------------------------------------------

LAYER = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 0.0]])


@pytest.mark.parametrize(
    ("noise", "sigma", "says"),
    [
        ("additive", [1.0, 2.0], r"of shape \(3,\); got shape \(2,\)"),
        ("multiplicative", [0.1] * 4, r"of shape \(3,\); got shape \(4,\)"),
        ("multiplicative", [[0.1]], "one standard deviation or one per unit"),
        ("affine", (0.1, [0.1, 0.2]), r"b must be .* of shape \(3,\); got shape \(2,\)"),
        ("affine", 0.1, r'noise="affine" takes sigma=\(a, b\)'),
        ("affine", (0.1, 0.2, 0.3), r'noise="affine" takes sigma=\(a, b\)'),
        ("multiplicative", -0.1, "sigma must be a positive standard deviation; got -0.1"),
        ("lognormal", 0.0, "tells near from far"),
        ("multiplicative", [0.1, 0.0, 0.1], "unit 1 has 0.*tells near from far"),
        ("affine", (0.1, [0.1, 0.2, np.nan]), "b must be .* unit 2 has nan"),
        ("binary", 0.1, "noise is one of 'additive'"),
        ("multiplicative", None, "sigma=None"),
    ],
)
def test_a_wrong_sigma_is_named(noise, sigma, says):
    with pytest.raises(ValueError, match=says):
        NoisyMIEstimator(sigma, noise=noise).fit(LAYER)


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (np.ones((2, 2)), r"\(2, 2\).*\(2, 3\)|\(2, 3\).*\(2, 2\)"),
        (np.ones(3), r"\(3,\)"),
        ([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]], "positive .* row 1, unit 1 has -1"),
        ([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]], "row 0, unit 1 has 0.*tells near from far"),
        ([[1.0, 1.0, np.nan], [1.0, 1.0, 1.0]], "row 0, (unit|column) 2|contains NaN"),
        ([[1.0, 1.0, 1e-200], [1.0, 1.0, 1.0]], "row 0, unit 2 .*1e-200"),
    ],
)
def test_a_wrong_scale_is_named(scale, says):
    with pytest.raises(ValueError, match=says):
        NoisyMIEstimator().fit(LAYER, scale=scale)


def test_a_scale_is_given_to_fit_and_score_or_to_neither():
    est = NoisyMIEstimator().fit(LAYER, scale=np.ones(LAYER.shape))
    with pytest.raises(ValueError, match="give score that of its rows"):
        est.score(LAYER)
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        est.score(LAYER, scale=np.ones((2, 1)))
    with pytest.raises(ValueError, match="fit was given none"):
        NoisyMIEstimator(1.0).fit(LAYER).score(LAYER, scale=np.ones(LAYER.shape))
    with pytest.raises(ValueError, match='scale is .*noise="lognormal"'):
        NoisyMIEstimator(noise="lognormal").fit(LAYER, scale=np.ones(LAYER.shape))


@pytest.mark.parametrize("value", [1e-170, 1e170])
def test_rows_whose_variances_leave_floating_point_are_named(value):
    with pytest.raises(ValueError, match="row 1, unit 2"):
        NoisyMIEstimator(0.5, noise="multiplicative").fit([[1.0, 2.0, 3.0], [1.0, 2.0, value]])
