"""Densities, their cross-fitted stacks, and ends of a population from them."""

from typing import ClassVar

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone

from skinfo import NoisyMIEstimator
from skinfo._rows import Rows
from skinfo.noisy.densities import DENSITIES, Gaussian, Kernels, Product, log_gaussians
from skinfo.noisy.folds import assign_folds
from skinfo.noisy.pairs import Sample, log_critic, mean_over_pairs, unseen_repetition
from skinfo.noisy.stacks import fit_stacks

LINE = np.random.default_rng(1).standard_t(3, size=(200, 1)) * 3


def named(density):
    settings = (str(v) for k, v in vars(density).items() if not k.startswith("_"))
    return type(density).__name__ + "-".join(settings)


@pytest.mark.parametrize("density", DENSITIES, ids=named)
def test_densities_on_a_line_integrate_to_one(density):
    fitted = density.fit(LINE)

    def value(t):
        return float(np.exp(fitted.log_density(np.array([[t]]))[0]))

    near = quad(value, -40, 40, points=[-5, 0, 5], limit=400, epsabs=1e-5)[0]
    tails = quad(value, 40, np.inf, limit=200)[0] + quad(value, -np.inf, -40, limit=200)[0]
    assert near + tails == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("density", DENSITIES, ids=named)
def test_densities_in_the_plane_integrate_to_one(density):
    """By drawing from a Gaussian that is wider, 1 / N per cent."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(300, 2)) @ np.array([[3.0, 1.0], [0.0, 0.5]])
    fitted = density.fit(rows)
    wide = multivariate_normal(np.zeros(2), 150 * np.eye(2))
    t = wide.rvs(60_000, random_state=rng)
    ratios = np.exp(fitted.log_density(t) - wide.logpdf(t))
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / np.sqrt(len(t)) + 0.005


def test_gaussians_are_those_of_scipy():
    rng = np.random.default_rng(0)
    t, means = rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    expected = [
        multivariate_normal(m, c).logpdf(t) for m, c in zip(means, covariances, strict=True)
    ]
    np.testing.assert_allclose(log_gaussians(t, means, covariances), np.transpose(expected))
    diagonal = log_gaussians(t, means, np.ones((2, 3)))
    np.testing.assert_allclose(diagonal[:, 0], norm.logpdf(t - means[0]).sum(axis=1))


def test_noise_is_added_exactly():
    """The kernels of nothing but the noise are the noise around every row."""
    rows = np.random.default_rng(3).normal(size=(50, 2))
    t = np.array([[0.3, -0.2]])
    expected = logsumexp(norm.logpdf(t - rows).sum(axis=1)) - np.log(50)
    assert Kernels(1e-9, shaped=True).fit(rows).log_density(t)[0] == pytest.approx(expected)
    same = np.zeros((100, 3))
    for density in (Gaussian(), Product(principal=False)):
        logs = density.fit(same).log_density(np.ones((1, 3)))
        assert logs[0] == pytest.approx(3 * norm.logpdf(1))


@pytest.mark.parametrize("sizes", [[101], [41] * 5])
def test_hardly_any_law_of_unseen_repetition_shows_no_pair(sizes):
    """The bound is reached by one atom, and by no others."""
    kappa = unseen_repetition(sizes)
    laws = [
        np.array([np.sqrt(kappa)]),
        np.full(7, np.sqrt(kappa / 7)),
        np.full(40, np.sqrt(kappa / 40)),
    ]
    rng, shares = np.random.default_rng(0), []
    for atoms in laws:
        counts = [rng.multinomial(n, [*atoms, 1 - atoms.sum()], size=40_000) for n in sizes]
        none = np.all([(c[:, :-1] <= 1).all(axis=1) for c in counts], axis=0)
        shares.append(none.mean())
    assert 0.018 < shares[0] < 0.025 + 3 * np.sqrt(0.025 / 40_000)
    assert max(shares[1:]) < shares[0]


@pytest.mark.parametrize("scaled", [False, True])
def test_pairs_are_those_of_a_double_loop(scaled):
    rng = np.random.default_rng(4)
    n, d, eta = 12, 2, 0.01
    deviations = rng.uniform(0.5, 2, size=(n, d)) if scaled else None
    weights, clusters = rng.uniform(1, 2, size=n), np.arange(n) // 2
    sample = Sample(rng.normal(size=(n, d)), deviations, weights, clusters)
    drawn = rng.integers(0, n, size=30)
    t, log_density = rng.normal(size=(30, d)), rng.normal(size=30)
    of_draws, of_rows = mean_over_pairs(sample, t, drawn, log_density, eta)
    widths = np.ones((n, d)) if deviations is None else deviations
    every = np.full((30, n), np.nan)
    for i in range(30):
        for j in range(n):
            if clusters[drawn[i]] != clusters[j]:
                phi = norm.logpdf(t[i], sample.points[j], widths[j]).sum()
                every[i, j] = np.exp(phi) / (eta * np.exp(phi) + (1 - eta) * np.exp(log_density[i]))
                assert np.log(every[i, j]) == pytest.approx(log_critic(phi - log_density[i], eta))
    allowed = ~np.isnan(every)
    np.testing.assert_allclose(
        of_draws, np.nansum(every * weights, axis=1) / (allowed * weights).sum(axis=1)
    )
    np.testing.assert_allclose(of_rows, np.nanmean(every, axis=0))


class Spy:
    """A density that keeps what it was fitted to."""

    fits: ClassVar[list] = []

    def fit(self, points):
        Spy.fits.append(points)
        return self

    def log_density(self, t):
        return multivariate_normal(np.zeros(t.shape[1]), 2 * np.eye(t.shape[1])).logpdf(t)


def test_no_stack_sees_the_fold_that_it_is_tested_on():
    Spy.fits.clear()
    rows = np.random.default_rng(5).normal(size=(60, 2))
    clusters = np.arange(60) // 2
    folds = assign_folds(Rows.make(rows, clusters=clusters), seed=0)
    assert (folds[::2] == folds[1::2]).all()
    sample = Sample(rows, None, np.full(60, 1 / 60), clusters)
    stacks = fit_stacks(sample, folds, [Spy()], unseen=0.01, seed=0, n_jobs=1)
    assert len(stacks) == 5
    for fold in range(5):
        inner, whole = (points[:, 0] for points in Spy.fits[2 * fold : 2 * fold + 2])
        assert not np.isin(whole, rows[folds == fold, 0]).any()
        assert set(inner) < set(whole) == set(rows[folds != fold, 0])


def corners(rng, n, d):
    return rng.integers(0, 2, size=(n, d)) * 2.0 - 1


def normal(rng, n, d):
    return rng.normal(size=(n, d))


@pytest.mark.parametrize(
    ("law", "d", "n", "sigma", "truth", "width"),
    [
        (normal, 8, 300, 0.3, 4 * np.log(1 + 1 / 0.09), 5.0),
        (normal, 1, 300, 0.5, 0.5 * np.log(5), 0.4),
        (corners, 12, 400, 0.3, 12 * 0.691906123814, 2.5),
    ],
)
def test_ends_hold_the_truth_and_are_narrow(law, d, n, sigma, truth, width):
    """Of the normal law that of an ideal channel; of the corners that of 12 binary channels."""
    for seed in range(3):
        S = law(np.random.default_rng(seed), n, d)
        est = NoisyMIEstimator(sigma, population=True, random_state=seed).fit(S)
        lower, upper = est.bracket_
        assert lower <= truth <= upper < lower + width
        # h(T) is I(X;T) and the entropy of the noise.
        noise = d * np.log(sigma * np.sqrt(2 * np.pi * np.e))
        np.testing.assert_allclose(est.entropy_bracket_, (lower + noise, upper + noise), atol=0.05)
        assert est.known_ == pytest.approx(lower / upper)
    if d > 1:
        assert lower > np.log(n)


def test_no_pair_is_of_a_row_that_the_density_has_seen(monkeypatch):
    """3,000 equally likely points: the lower end counts how often rows coincide."""
    centres = np.random.default_rng(13).normal(size=(3000, 10))
    S = centres[np.random.default_rng(1).integers(0, 3000, size=1000)]
    monkeypatch.setattr("skinfo.noisy.information.DENSITIES", (Gaussian(),))
    estimator = NoisyMIEstimator(0.1, population=True, random_state=1)
    lower = estimator.fit(S).bracket_[0]
    assert np.log(1000) < lower < np.log(3000)


def test_rows_of_a_cluster_are_not_taken_for_independent():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(80), 5)
    S = rng.normal(size=(80, 5))[clusters] + 0.05 * rng.normal(size=(400, 5))
    truth = 2.5 * np.log(1 + 1.0025 / 0.09)
    est = NoisyMIEstimator(0.3, population=True, random_state=0)
    alone, together = clone(est).fit(S), clone(est).fit(S, clusters=clusters)
    assert alone.bracket_[1] < truth - 1
    assert together.bracket_[0] < truth < together.bracket_[1]
    by_itself = clone(est).fit(S, clusters=np.arange(400))
    np.testing.assert_allclose(by_itself.bracket_, alone.bracket_, atol=1e-6)


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (np.zeros(30), "all rows are of one cluster"),
        (np.arange(29), r"clusters must hold one value per row, shape \(30,\); got \(29,\)"),
        (np.r_[np.nan, np.arange(29)], "first stands in row 0"),
    ],
)
def test_clusters_that_say_nothing_are_refused(clusters, message):
    with pytest.raises(ValueError, match=message):
        NoisyMIEstimator(0.3, population=True).fit(np.zeros((30, 2)), clusters=clusters)


def test_given_inputs_have_no_clusters():
    with pytest.raises(ValueError, match="clusters is for population=True"):
        NoisyMIEstimator(0.3).fit(np.zeros((30, 2)), clusters=np.arange(30) // 2)


def test_clusters_within_which_an_input_lies_whole():
    S, groups = np.zeros((30, 2)), np.arange(30) // 2
    with pytest.raises(ValueError, match="clusters differs within a group: row 1"):
        NoisyMIEstimator(0.3, population=True).fit(S, groups=groups, clusters=np.arange(30))


class Short:
    def fit(self, _):
        return self

    def log_density(self, _):
        return np.zeros(3)


class Lost(Short):
    def log_density(self, t):
        return np.full(len(t), np.nan)


class Better(Short):
    """The very law."""

    def log_density(self, t):
        return norm.logpdf(t, scale=np.sqrt(2)).sum(axis=1)


@pytest.mark.parametrize(("density", "message"), [(Short(), "of Short"), (Lost(), "NaN")])
def test_densities_of_others_are_checked(density, message):
    S = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ValueError, match=message):
        NoisyMIEstimator(1.0, population=True, densities=[density]).fit(S)


def test_densities_of_others_make_the_upper_end_lower():
    S = np.random.default_rng(0).normal(size=(60, 8))
    est = NoisyMIEstimator(1.0, population=True, random_state=0)
    own = clone(est).set_params(densities=[Better()]).fit(S)
    assert own.bracket_[1] < est.fit(S).bracket_[1]


def test_few_clusters_leave_the_upper_end_open():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(10), 20)
    S = rng.normal(size=(10, 10))[clusters] + 0.02 * rng.normal(size=(200, 10))
    est = NoisyMIEstimator(0.1, population=True, random_state=0).fit(S, clusters=clusters)
    assert est.bracket_[0] < 23.08 < est.bracket_[1] == np.inf


def test_classes_are_counted_by_clusters():
    """Each class is seen in one cluster: none was drawn five times."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 5)
    y = rng.integers(60, size=60)[clusters]
    est = NoisyMIEstimator(0.1, population=True, random_state=0).fit(
        y[:, None] * 1.0, y, clusters=clusters
    )
    assert est.label_bracket_[1] > np.log(60)
    assert est.label_ceiling_bracket_[1] > np.log(60)


def test_the_noise_of_a_sample_of_encoders_is_sampled_too():
    """h(T|X) is the mean of an entropy that each input has its own of."""
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scale = np.exp(0.5 * rng.normal(size=(100, 2)))
        S = rng.normal(size=(100, 2))
        est = NoisyMIEstimator(population=True, random_state=0, max_evaluations=2**12)
        lower, upper = est.fit(S, scale=scale).conditional_entropy_bracket_
        held += lower < np.log(2 * np.pi * np.e) < upper
    assert held >= 17


def test_heavy_tails_cost_their_logarithm():
    S = np.random.default_rng(0).standard_cauchy(size=(300, 4))
    est = NoisyMIEstimator(0.3, population=True, random_state=0).fit(S)
    assert est.bracket_[1] < 20


@pytest.mark.parametrize("far", [1e8, 1e10])
def test_rows_far_away_are_no_error(far):
    S = np.random.default_rng(0).normal(size=(200, 4))
    S[:3] *= far
    lower, upper = NoisyMIEstimator(1.0, population=True, random_state=0).fit(S).bracket_
    assert 0 < lower < upper


def test_a_large_cluster_leaves_few_rows_for_densities():
    S = np.random.default_rng(0).normal(size=(700, 2))
    clusters = np.r_[np.zeros(660), np.arange(1, 41)]
    est = NoisyMIEstimator(0.5, population=True, random_state=0)
    assert est.fit(S, clusters=clusters).bracket_[1] > 1.6


def test_densities_are_objects_that_fit():
    with pytest.raises(ValueError, match="fit and log_density; got 3"):
        NoisyMIEstimator(0.5, population=True, densities=[3]).fit(np.zeros((40, 2)))
