"""Sliced information: closed forms, quadrature over directions, the estimator's own numbers."""

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm
from sklearn.base import clone

from skinfo import (
    NoisyMIEstimator,
    SlicedMIEstimator,
    information_flow,
    open_run,
    sliced_information,
)
from skinfo._rows import Rows
from skinfo.noise import AdditiveNoise
from skinfo.noisy.sampling import Average
from skinfo.sliced.directions import draw_directions, mean_log_form, slices_per_block
from skinfo.sliced.slices import Layer, sampled_ceiling

import reference

SQUARE = np.array(list(product([-1.0, 1.0], repeat=2)))


def sliced(S, y=None, sigma=1.0, *, groups=None, **options):
    return SlicedMIEstimator(sigma, **{"random_state": 0} | options).fit(S, y, groups=groups)


def bounds(estimator, name):
    (found,) = (q for q in estimator.quantities_ if q.name == name)
    return found.lower, found.upper


def bpsk(sigma):
    """I(S; S + sigma Z) of two equally likely points -1 and 1."""

    def deficit(z):
        return norm.pdf(z) * np.logaddexp(0, -2 * (1 + sigma * z) / sigma**2)

    return np.log(2) - quad(deficit, -12, 12, epsabs=1e-10, limit=200)[0]


def over_angles(f):
    """Mean of a function of the angle in one quadrant of the plane, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    return float(sum(w / 2 * f(np.pi / 4 * (1 + x)) for x, w in zip(nodes, weights, strict=True)))


def on_line(points):
    """I(S; S + Z) of equally likely points, by the oracle's own grid."""
    w = np.full(len(points), 1 / len(points))
    return reference.line_cross_entropy(points, w, points, w)


# --- closed forms --------------------------------------------------------------------------------


def test_one_unit_is_the_layer_itself(rng):
    S, y = rng.normal(size=(40, 1)), np.arange(40) % 2
    est, whole = sliced(S, y, 0.4), NoisyMIEstimator(0.4, random_state=0).fit(S, y)
    assert est.sliced_mutual_info_ == whole.plug_in_
    assert est.sliced_label_mutual_info_ == whole.label_mutual_info_
    assert (est.stderr_, len(est.slices_)) == (0, 1)
    assert bounds(est, "best_slice_mutual_info")[0] == pytest.approx(whole.plug_in_)
    assert est.score(S) == pytest.approx(est.sliced_mutual_info_, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_slices_of_a_square_are_quadrature_over_the_angle(sigma):
    def informations(angle):
        line = SQUARE @ [np.cos(angle), np.sin(angle)] / sigma
        within = 0.5 * (on_line(line[:2]) + on_line(line[2:]))
        return np.array([on_line(line), on_line(line) - within])

    truth = [over_angles(lambda a, i=i: informations(a)[i]) for i in (0, 1)]
    est = sliced(SQUARE, SQUARE[:, 0], sigma, tol=0.004)
    for value, bracket, stderr, true in (
        (est.sliced_mutual_info_, est.bracket_, est.stderr_, truth[0]),
        (est.sliced_label_mutual_info_, est.label_bracket_, est.label_stderr_, truth[1]),
    ):
        assert abs(value - true) < 4 * stderr
        assert stderr < 0.004
        assert bracket[1] - bracket[0] < 5 * stderr
    angle = np.arctan2(*np.abs(est.slices_[5, ::-1, 0]))
    assert est.slice_mutual_info_[5] == pytest.approx(informations(angle)[0], abs=1e-8)


def test_an_isotropic_gaussian_has_one_value_in_all_directions(rng):
    """No variance over slices: what is left is the sample's, which the bracket allows for."""
    S = rng.normal(size=(1500, 6))
    est = sliced(S, sigma=0.5, population=True)
    truth = 0.5 * np.log1p(1 / 0.25)
    assert est.bracket_[0] < truth < est.bracket_[1]
    assert est.bracket_[1] - est.bracket_[0] < 0.1
    assert est.stderr_ < 1e-3
    white = np.linalg.qr(S - S.mean(axis=0))[0] * np.sqrt(len(S))
    assert sliced(white, sigma=0.5).ceiling_ == pytest.approx(truth, abs=1e-12)


def test_the_ceiling_of_a_plane_has_a_closed_form():
    """E log(a cos^2 + b sin^2) = 2 log((sqrt a + sqrt b) / 2)."""

    def form(a, b):
        return 2 * np.log((np.sqrt(a) + np.sqrt(b)) / 2)

    S, v = SQUARE * [3.0, 0.2], np.array([0.5, 2.0])
    one = sliced(S, sigma=0.5)
    assert one.ceiling_ == pytest.approx(0.5 * form(1 + 9 / 0.25, 1 + 0.04 / 0.25), abs=1e-12)
    two = sliced(S, sigma=v)
    truth = 0.5 * (form(9 + v[0] ** 2, 0.04 + v[1] ** 2) - form(*v**2))
    assert two.ceiling_ == pytest.approx(truth, abs=1e-12)
    # Three directions, by quadrature over the sphere's longitude and latitude.
    a = np.array([9.0, 4.0, 1.0])

    def latitude(u):
        ring = (1 - u**2) * a[:2]
        return form(ring[0] + a[2] * u**2, ring[1] + a[2] * u**2)

    truth = quad(latitude, 0, 1, epsabs=1e-12)[0]
    assert mean_log_form(a, np.ones(3)) == pytest.approx(truth, abs=1e-10)
    # The norm of ten normal numbers, of which all but one do not count: psi(1/2) - psi(5).
    thin = mean_log_form(np.array([1e12] + [1e-12] * 9), np.full(10, 1.0))
    assert thin == pytest.approx(np.log(1e12) + digamma(0.5) - digamma(5), abs=1e-6)


def test_units_with_noise_of_their_own_are_units_divided_by_it(rng):
    S, v = rng.normal(size=(50, 3)), np.array([0.5, 1.0, 4.0])
    est = sliced(S, sigma=v, tol=0.05)
    for value, theta in zip(est.slice_mutual_info_[:4], est.slices_[:4, :, 0], strict=True):
        line = S @ theta / np.sqrt(theta**2 @ v**2)
        assert value == pytest.approx(on_line(line), abs=1e-8)
    theta = est.best_slice_[:, 0]
    line = S @ theta / np.sqrt(theta**2 @ v**2)
    assert est.best_slice_mutual_info_ == pytest.approx(on_line(line), abs=1e-8)
    scores = [sliced(S, sigma=v, tol=0.05).score(S), est.sliced_mutual_info_]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


def test_slices_of_several_directions(rng):
    S = rng.normal(size=(40, 3))
    est = sliced(S, n_directions=2, tol=0.05, max_slices=16)
    truth = reference.plane_information(S @ est.slices_[0], 1.0)
    assert est.slice_mutual_info_[0] == pytest.approx(truth, abs=0.4)
    assert abs(est.sliced_mutual_info_ - np.mean(
        [reference.plane_information(S @ frame, 1.0) for frame in est.slices_]
    )) < 0.05  # fmt: skip
    whole = sliced(S, n_directions=3, tol=0.01)
    direct = NoisyMIEstimator(1.0, random_state=0).fit(S)
    assert abs(whole.sliced_mutual_info_ - direct.mutual_info_) < 0.1
    assert est.sliced_mutual_info_ < whole.sliced_mutual_info_


# --- replicas and populations --------------------------------------------------------------------


def test_replicas_are_bracketed_from_both_sides(rng):
    """Two inputs at -m and m in the plane, with noise before the layer and after it."""
    before, sigma, r = 0.8, 0.6, 300
    m = np.array([1.0, 0.5])
    inputs = np.repeat([0, 1], r)
    S = np.where(inputs[:, None] == 0, -m, m) + before * rng.normal(size=(2 * r, 2))
    noise = np.hypot(before, sigma)
    truth = 0.5 * sum(
        over_angles(lambda a, s=s: bpsk(noise / abs(m @ [np.cos(a), s * np.sin(a)])))
        for s in (1, -1)
    )
    est = sliced(S, inputs, sigma, groups=inputs)
    assert est.bracket_[0] < truth < est.bracket_[1]
    assert est.label_bracket_[0] < truth < est.label_bracket_[1]
    assert est.bracket_[1] - est.bracket_[0] < 0.2
    best = bpsk(noise / np.linalg.norm(m))
    assert 0.1 < bounds(est, "best_slice_mutual_info")[0] < best


def test_replicas_of_a_sample_are_tested_on_the_others(rng):
    """All inputs are alike: what few replicas seem to know is their own noise."""
    inputs = np.repeat(np.arange(60), 3)
    S = rng.normal(size=(180, 2))
    est = sliced(S, sigma=0.3, groups=inputs, population=True)
    assert est.bracket_[0] == 0
    assert est.sliced_mutual_info_ > 0.1


def test_three_replicas_certify_no_best_slice(rng):
    S, inputs = rng.normal(size=(30, 2)), np.repeat(np.arange(10), 3)
    est = sliced(S, groups=inputs)
    assert bounds(est, "best_slice_mutual_info")[0] == 0
    assert "too few replicas of slices" in est.notes_
    assert est.bracket_[0] <= est.sliced_mutual_info_ < sliced(S).sliced_mutual_info_


@pytest.mark.parametrize(("n", "width"), [(30, 0.7), (150, 0.35)])
def test_small_samples_hold_the_slices_of_their_population(n, width):
    truth, held = 0.5 * np.log(5), 0
    for seed in range(10):
        S = np.random.default_rng(seed).normal(size=(n, 3))
        est = sliced(S, sigma=0.5, population=True, random_state=seed, max_slices=64, tol=0.05)
        lower, upper = est.bracket_
        held += lower <= truth <= upper
        assert upper - lower < width
    assert held >= 9


def test_the_ceiling_of_a_sample_has_the_error_of_its_covariance():
    """All slices of an isotropic Gaussian know as much as their ceiling."""
    truth, held = 0.5 * np.log(5), 0
    for seed in range(100):
        rows = Rows.make(np.random.default_rng(seed).normal(size=(100, 3)))
        layer = Layer.of(rows, AdditiveNoise(0.5))
        slices = list(layer.weights_of(draw_directions(3, 1, seed, range(4)).reshape(-1, 3, 1)))
        ceiling = Average(layer.mean_ceiling).plus(sampled_ceiling(layer.rows, slices))
        held += abs(ceiling.mean - truth) <= ceiling.margin(population=True)
    assert 90 <= held < 100


def test_too_few_inputs_leave_the_upper_end_of_slices_open(rng):
    S, y = rng.normal(size=(24, 3)), np.arange(24) % 2
    est = sliced(S, y, sigma=0.5, population=True)
    assert est.bracket_[1] == np.inf
    assert est.label_bracket_[1] >= np.log(2)
    assert "too few inputs" in est.notes_


def test_half_of_a_sample_that_lacks_a_class_says_nothing_of_it():
    """Two rows of 60 are of a class 8 sigma away; the half that is tested may hold none of them."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [58, 2])
    S = 8.0 * y[:, None] + rng.normal(size=(60, 2))
    for seed in range(5):
        est = sliced(S, y, 1.0, population=True, random_state=seed, max_slices=64, tol=0.1)
        best = next(q for q in est.quantities_ if q.name == "best_slice_label_mutual_info")
        ceiling = next(q for q in est.quantities_ if q.name == "label_ceiling")
        assert best.upper > 0.1
        assert best.upper <= max(best.value, ceiling.upper)


def test_labels_of_a_population_keep_what_other_rows_confirm(rng):
    """Two normals apart along one of eight directions, whose cosine has a beta law."""
    d, n = 8, 1000
    y = np.arange(n) % 2
    S = rng.normal(size=(n, d))
    S[:, 0] += 2 * (2 * y - 1)
    noise = np.hypot(1.0, 0.5)

    def term(c):
        return (1 - c**2) ** ((d - 3) / 2) * (bpsk(noise / (2 * c)) if c > 0.005 else 0.0)

    nodes, weights = np.polynomial.legendre.leggauss(24)
    at = (1 + nodes) / 2
    norm_of = weights @ (1 - at**2) ** ((d - 3) / 2)
    truth = sum(w * term(c) for c, w in zip(at, weights, strict=True)) / norm_of
    est = sliced(S, y, 0.5, population=True, tol=0.005)
    assert est.label_bracket_[0] < truth < est.label_bracket_[1]
    assert est.label_bracket_[0] > 0.4 * truth
    low = bounds(est, "best_slice_label_mutual_info")[0]
    assert 0.75 * bpsk(noise / 2) < low < bpsk(noise / 2)


def test_random_labels_have_no_best_slice(rng):
    found = 0
    for seed in range(2):
        S = np.random.default_rng(seed).normal(size=(100, 20))
        est = sliced(S, np.arange(100) % 2, population=True, random_state=seed, max_slices=64)
        assert est.label_bracket_[0] == 0
        found += bounds(est, "best_slice_label_mutual_info")[0] > 0
    assert found == 0


# --- the best slice ------------------------------------------------------------------------------


def test_the_best_slice_is_found_and_bounds_the_layer():
    cube = (
        np.array(list(product([-1.0, 1.0], repeat=3)))
        @ np.linalg.qr(np.ones((3, 3)) + np.eye(3))[0]
    )
    y = np.arange(8) // 4
    est = sliced(cube, y, 0.5)
    whole = NoisyMIEstimator(0.5, random_state=0).fit(cube, y)
    assert est.best_slice_label_mutual_info_ == pytest.approx(bpsk(0.5), abs=1e-6)
    assert est.sliced_mutual_info_ < est.best_slice_mutual_info_ < whole.mutual_info_
    direct = NoisyMIEstimator(0.5, random_state=0).fit(cube @ est.best_slice_, y)
    assert direct.plug_in_ == pytest.approx(est.best_slice_mutual_info_, abs=1e-9)


# --- slices --------------------------------------------------------------------------------------


def test_slices_are_orthonormal_uniform_and_paired(rng):
    slices = draw_directions(5, 2, 3, range(400))
    flat = slices.reshape(-1, 5, 2)
    np.testing.assert_allclose(flat.transpose(0, 2, 1) @ flat, [np.eye(2)] * len(flat), atol=1e-12)
    across = slices[:, 0].transpose(0, 2, 1) @ slices[:, 1]
    np.testing.assert_allclose(across, 0, atol=1e-12)
    # Uniform directions have E theta theta' = I / d and E theta_1^4 = 3 / d (d + 2).
    first = flat[:, :, 0]
    np.testing.assert_allclose(first.T @ first / len(first), np.eye(5) / 5, atol=0.01)
    assert np.mean(first[:, 0] ** 4) == pytest.approx(3 / 35, abs=0.006)
    assert np.array_equal(slices[:, :2], draw_directions(5, 2, 3, range(1)))
    assert [slices_per_block(d, k) for d, k in ((7, 1), (16, 5), (100, 1), (100, 9))] == [
        7, 3, 4, 1,
    ]  # fmt: skip
    one, other = (sliced(rng.normal(size=(20, 3)), sigma=s, tol=0.1) for s in (0.5, 0.6))
    n = min(len(one.slices_), len(other.slices_))
    assert n >= 48
    early, late = (sliced(scale * SQUARE, sigma=0.5, tol=0.01) for scale in (1.0, 1.02))
    difference = late.slice_mutual_info_ - early.slice_mutual_info_
    assert difference.std() < 0.1 * early.slice_mutual_info_.std()
    q = [found.quantities_[0].randomisations for found in (early, late)]
    assert len(q[0]) == 16
    assert np.corrcoef(q)[0, 1] > 0.95


def test_numbers_do_not_depend_on_threads_and_units(rng):
    S, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    one = sliced(S, y, tol=0.02)
    assert sliced(S, y, tol=0.02, n_jobs=2).quantities_ == one.quantities_
    bits = sliced(S, y, tol=0.02 / np.log(2), units="bits")
    assert bits.sliced_mutual_info_ * np.log(2) == pytest.approx(one.sliced_mutual_info_)
    weighted = SlicedMIEstimator(random_state=0, tol=0.05).fit(S, y, sample_weight=[1, 0] * 15)
    halved = sliced(S[::2], y[::2], 0.1, tol=0.05)
    assert weighted.quantities_ == halved.quantities_


def test_notes_say_where_slices_tell_little(rng):
    S = rng.normal(size=(60, 100)) / 10
    est = sliced(S, sigma=1.0, tol=0.01, max_slices=128)
    assert est.notes_ == ("slices too faint",)
    assert est.ceiling_ < 0.02
    assert sliced(SQUARE, sigma=1e-4, tol=0.1).notes_[-1] == "saturated"
    assert "tolerance not met" in sliced(SQUARE, sigma=0.3, tol=1e-6, max_slices=64).notes_


def test_far_rows_and_rows_in_one_place():
    with pytest.raises(ValueError, match="Check the units of sigma"):
        sliced([[0.0, 0.0], [1e15, 0.0]], sigma=1.0)
    est = sliced(np.full((4, 3), 0.1))
    assert (est.sliced_mutual_info_, est.ceiling_, est.best_slice_mutual_info_) == (0, 0, 0)
    fitted = sliced(SQUARE)
    with pytest.raises(ValueError, match="Row 1 lies 1.0e\\+15 sigma .* Check its units"):
        fitted.score([[0.0, 0.0], [1e15, 0.0]])


# --- in a run, and bad input ---------------------------------------------------------------------


def test_a_flow_measures_slices_with_each_layers_noise(rng):
    layers = {(e, name): rng.normal(size=(20, 3, 2)) * e for e in (1, 2) for name in ("a", "b")}
    run = open_run(layers, labels=np.arange(20) % 2, sigma={"a": 0.5, "b": 1.0}, axes="nrc")
    template = SlicedMIEstimator(None, tol=0.1, random_state=0)
    table = information_flow(template, run, progress=False)
    replicas = run.load(2, "b").replicas()
    fitted = clone(template).set_params(sigma=1.0).fit(replicas.X, replicas.y,
                                                       groups=replicas.groups)  # fmt: skip
    rows = table[table["epoch"].eq(2) & table["layer"].eq("b")]
    assert rows["value"].tolist() == [q.value for q in fitted.quantities_]
    dropout = open_run({(1, "a"): np.eye(4)}, sigma=0.5, noise="multiplicative")
    with pytest.warns(UserWarning, match="slices are Gaussian channels for additive noise alone"):
        refused = information_flow(template, dropout, progress=False)
    assert refused["notes"].tolist() == ["not measured"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sigma": -1.0}, "positive standard deviation"),
        ({"sigma": None}, "only information_flow knows"),
        ({"sigma": [0.1, 0.2, 0.3]}, "one per unit"),
        ({"noise": "multiplicative"}, 'additive noise alone, and noise="multiplicative"'),
        ({"n_directions": 3}, "n_directions=3 of a layer of 2 units"),
        ({"tol": 0}, "The 'tol' parameter of SlicedMIEstimator"),
    ],
)
def test_what_cannot_be_sliced_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        SlicedMIEstimator(**options).fit(SQUARE)
    with pytest.raises(ValueError, match="one standard deviation for all rows"):
        SlicedMIEstimator().fit(SQUARE, scale=np.ones((4, 2)))


def test_the_function_is_the_estimator_in_a_table():
    table = sliced_information(SQUARE, [0, 0, 1, 1], sigma=0.5, tol=0.05, random_state=0)
    est = sliced(SQUARE, [0, 0, 1, 1], 0.5, tol=0.05)
    assert table["value"].tolist() == [q.value for q in est.quantities_]
    assert table["quantity"].tolist() == [q.name for q in est.quantities_]
    with pytest.raises(TypeError, match="slices"):
        sliced_information(SQUARE, sigma=0.5, slices=3)


def test_the_own_sigma_of_a_layer_is_in_the_unit_of_its_activations(rng):
    """Times the deviation of the rows, 10 here, it would be the noise of another network."""
    run = open_run({(0, "a"): 10 * rng.normal(size=(50, 2))}, sigma=0.3)
    estimator = SlicedMIEstimator(None, sigma_unit="rms")
    with pytest.raises(ValueError, match="sigma=None is the sigma that a run was recorded with"):
        information_flow(estimator, run, progress=False)
