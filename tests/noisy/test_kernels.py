"""Every kernel against its slow oracle, on shapes small enough to run without compilation too."""

from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from compilation import COMPILED
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skinfo._rows import Rows
from skinfo.noisy import gaussians
from skinfo.noisy.bounds import pairwise_bounds
from skinfo.noisy.gaussians import InputPosterior
from skinfo.noisy.information import measure_mixture
from skinfo.noisy.kernels.blocks import Queries, sort_kd, sort_segments_kd
from skinfo.noisy.kernels.line import integrate_unequal
from skinfo.noisy.layout import BINARY, LOG2, lay_out, order_rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import contributions, line_cross_entropy, line_information
from skinfo.noisy.units import ScaledUnits

import reference

#: Around multiples of 64 and 256 blocks begin and end.
SIZES = [1, 2, 3, 5, 17, 63, 64, 65] + ([127, 128, 129, 255, 256, 257] if COMPILED else [])
DIMENSIONS = [1, 2, 3] + ([*range(4, 13), 130] if COMPILED else [])
SEEDS = st.integers(0, 10_000)

# --- the mixture ---------------------------------------------------------------------------------


def dyadic(values):
    """Values of 21 binary digits after the point: adding 1e6 to them and back is exact."""
    return np.round(values * 2**20) / 2**20


def make_groups(kind, n, rng):
    if kind == "none":
        return None
    if kind == "one":
        return np.zeros(n, dtype=int)
    if kind == "equal":
        return rng.permutation(np.arange(n) % max(1, n // 4))
    return rng.integers(0, max(1, n // 3), size=n)


def make_labels(kind, inputs, rng):
    if kind == "none":
        return None
    if kind == "one":
        return np.zeros(len(inputs), dtype=int)
    if kind == "distinct":
        return inputs
    return rng.integers(0, 3, size=len(inputs))[inputs]


def make_weights(kind, inputs, rng):
    if kind == "none":
        return None
    weights = rng.uniform(0.2, 3, size=len(inputs))
    if kind == "zeros":
        weights[: len(inputs) // 3] = 0
    return weights[inputs]


@st.composite
def mixture_cases(draw):
    """Rows at 0, the same rows moved by an offset, and sigma."""
    rng = np.random.default_rng(draw(SEEDS))
    n, d = draw(st.sampled_from(SIZES)), draw(st.sampled_from(DIMENSIONS))
    X = dyadic(rng.normal(size=(n, d)))
    if draw(st.booleans()):
        X[n // 2 :] = X[: n - n // 2]
    if draw(st.booleans()):
        X[:, 0] = 1.0
    groups = make_groups(draw(st.sampled_from(["none", "one", "equal", "unequal"])), n, rng)
    inputs = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    labels = make_labels(draw(st.sampled_from(["none", "one", "distinct", "few"])), inputs, rng)
    weights = make_weights(draw(st.sampled_from(["none", "unequal", "zeros"])), inputs, rng)
    assume(weights is None or weights.max() > 0)
    offset = draw(st.sampled_from([0.0, 1e6]))
    known = {"groups": groups, "labels": labels, "input_weights": weights}
    sigma = 10.0 ** draw(st.floats(-3, 3))
    return Rows.make(X, **known), Rows.make(X + offset, **known), offset, sigma


def draws_of(mixture, m=1, seed=3):
    """Draws, the row of each, and its noise as a vector of all coordinates."""
    draws = mixture.draw_stream(seed).take(m)
    basis = mixture.space.basis
    noise = draws.noise if basis is None else draws.noise @ basis.T
    return draws, draws.rows.ravel(), noise.reshape(draws.rows.size, -1)


@given(case=mixture_cases())
def test_disjoint_sums_of_any_rows_equal_the_oracle(case):
    rows, moved, _, sigma = case
    mixture = Mixture.of(moved, sigma)
    draws, drawn, noise = draws_of(mixture)
    sums = mixture.sums_at(draws, population=True, n_jobs=1)
    found = np.stack([sums.own, sums.group, sums.label, sums.other]).reshape(4, -1)
    for k in range(0, len(drawn), 4):
        known = (rows.weights, rows.inputs, rows.labels, drawn[k], noise[k], sigma)
        expected = reference.disjoint_sums(rows.points, *known)
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-9, atol=1e-9)
        if sums.half is not None:
            same = mixture.half_of_row == mixture.half_of_row[drawn[k]]
            keep = same | (rows.replicas[rows.inputs] == 1)
            counts = np.bincount(rows.inputs, weights=keep)[rows.inputs]
            weights = rows.weights * rows.replicas[rows.inputs] / np.maximum(counts, 1)
            expected = reference.disjoint_sums(rows.points, weights, *known[1:], keep=keep)
            half = sums.half.reshape(-1, 4)[k]
            np.testing.assert_allclose(half, expected, rtol=1e-9, atol=1e-9)


@given(case=mixture_cases())
def test_contributions_of_given_inputs_equal_the_oracle(case):
    rows, moved, _, sigma = case
    mixture = Mixture.of(moved, sigma)
    draws, drawn, noise = draws_of(mixture)
    sums = mixture.sums_at(draws, population=False, n_jobs=1)
    of_draws = contributions(sums.all_data, sums)
    for k in range(0, len(drawn), 4):
        expected = reference.contributions(
            rows.points, rows.weights, rows.inputs, rows.labels, drawn[k], noise[k], sigma
        )
        found = [
            of_draws.mutual_info.ravel()[k],
            # Without labels all rows are of one.
            of_draws.label_mutual_info.ravel()[k] if rows.labels is not None else 0.0,
            of_draws.entropy.ravel()[k],
            of_draws.conditional_entropy.ravel()[k],
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(case=mixture_cases(), reach=st.sampled_from([0.0, 1.0, 30.0]))
def test_log_density_anywhere_equals_the_oracle(case, reach):
    rows, moved, offset, sigma = case
    mixture = Mixture.of(moved, sigma)
    rng = np.random.default_rng(1)
    t = dyadic(rows.points[:9] + reach * rng.normal(size=rows.points[:9].shape))
    expected = reference.log_density(t, rows.points, rows.weights, sigma)
    # The mean of the rows, from which distances off their subspace count, is rounded.
    tolerance = {"rtol": 1e-6 if offset else 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(mixture.log_density(t + offset, 1), expected, **tolerance)
    queries = mixture.space.project(t + offset)
    off = 0.5 * mixture.space.squared_distances(t + offset)
    constant = 0.5 * t.shape[1] * np.log(2 * np.pi * sigma**2)
    references = np.arange(len(t), dtype=float)
    found = mixture.log_ratios(queries, references, 1) - references - off - constant
    np.testing.assert_allclose(found, expected, **tolerance)


@given(seed=SEEDS, n=st.sampled_from(SIZES), d=st.sampled_from(DIMENSIONS))
def test_single_precision_input_gives_what_its_values_give(seed, n, d):
    """Rows stay in single precision, whose rounding a sum shows in the fourth digit at most."""
    X = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    low, high = (Mixture.of(Rows.make(points), 0.5) for points in (X, X.astype(np.float64)))
    np.testing.assert_allclose(low.log_density(X), high.log_density(X), rtol=0, atol=2e-4)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("population", [False, True])
def test_one_row_or_rows_in_one_place_carry_nothing(population, labelled):
    for X in (np.array([[1.0, 2.0]]), np.full((130, 3), 0.1)):
        labels = np.zeros(len(X), dtype=int) if labelled else None
        found = measure_mixture(
            Mixture.of(Rows.make(X, labels=labels), 0.1), population=population, max_evaluations=256
        )
        assert found.mutual_info.value == found.plug_in.value == 0
        of_label = found.label_mutual_info.value
        assert of_label == 0 if labelled else np.isnan(of_label)
        entropy = X.shape[1] / 2 * np.log(2 * np.pi * np.e * 0.01)
        assert found.entropy.value == pytest.approx(entropy)
        assert found.conditional_entropy.value == pytest.approx(entropy)


# --- a deviation per row and unit ----------------------------------------------------------------


@st.composite
def diagonal_cases(draw):
    """Rows whose deviations span twelve powers of ten between rows and units, or few."""
    rng = np.random.default_rng(draw(SEEDS))
    n, d = draw(st.sampled_from(SIZES)), draw(st.sampled_from(DIMENSIONS))
    span = draw(st.sampled_from([0.0, 0.3, 6.0]))
    deviations = 10.0 ** rng.uniform(-span, span, size=(n, 1 if draw(st.booleans()) else d))
    deviations = deviations * 10.0 ** rng.uniform(-span, span, size=d)
    # As multiplicative noise has it, rows lie some of their own deviations from the origin.
    X = deviations * rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-1, 2, size=d)
    if draw(st.booleans()):
        X[n // 2 :] = X[: n - n // 2]
        deviations[n // 2 :] = deviations[: n - n // 2] * draw(st.sampled_from([1.0, 2.0]))
    if draw(st.booleans()):
        X[:, 0], deviations[:, 0] = 1.0, 0.1
    groups = make_groups(draw(st.sampled_from(["none", "one", "equal", "unequal"])), n, rng)
    inputs = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    labels = make_labels(draw(st.sampled_from(["none", "one", "distinct", "few"])), inputs, rng)
    weights = make_weights(draw(st.sampled_from(["none", "unequal"])), inputs, rng)
    return Rows.make(X, groups=groups, labels=labels, input_weights=weights), deviations


def sum_diagonal(rows, deviations, drawn, noise, dense, n_jobs=1, nested=False):
    """The four disjoint sums at draws: boxes first, or by products."""
    units, order = ScaledUnits.of(rows, deviations), order_rows(rows)
    layout = lay_out(rows, order, units, rows.points.dtype)
    position, along = np.argsort(order), noise[:, units.kept]
    points = units.project(rows.points[drawn]) + units.deviations[drawn] * along
    references = (along**2).sum(axis=1) * BINARY**2 + units.log_volumes[drawn] / LOG2
    of_input = [position[rows.inputs == rows.inputs[row]] for row in drawn]
    spans = np.array([[places.min(), places.max() + 1] for places in of_input])
    queries = Queries.at(points * BINARY, references, nested=nested)._replace(
        own=layout.slots_of(position[drawn]),
        group_slots=layout.spans_of(spans),
        label_blocks=layout.label_blocks[
            np.zeros(1, int) if rows.labels is None else rows.labels[drawn]
        ]
        + np.zeros((len(drawn), 1), dtype=np.int64),
    )
    with mock.patch("skinfo.noisy.layout._most_count", return_value=dense):
        sums = layout.sum_at(queries, n_jobs) * LOG2
    return np.column_stack([np.log(rows.weights[drawn]), sums])


@pytest.mark.parametrize("dense", [False, True])
@given(case=diagonal_cases(), nested=st.booleans())
def test_sums_of_diagonal_components_equal_the_oracle(dense, case, nested):
    rows, deviations = case
    n, d = rows.points.shape
    rng = np.random.default_rng(n)
    drawn, noise = rng.integers(0, n, size=6), rng.normal(size=(6, d))
    found = sum_diagonal(rows, deviations, drawn, noise, dense, nested=nested)
    known = rows.weights, rows.inputs, rows.labels
    for k, row in enumerate(drawn):
        expected = np.array(reference.disjoint_sums(rows.points, *known, row, noise[k], deviations))
        # Where sums are only used together, what is negligible beside the ones before is left out.
        sums = [np.logaddexp.accumulate(one) if nested else one for one in (found[k], expected)]
        np.testing.assert_allclose(*sums, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("far", [1e3, 1e5, 1e9])
def test_diagonal_components_far_apart_in_one_block_keep_their_digits(far):
    """Products around a common centre would be off by 1e-16 far^2, up to hundreds."""
    rng = np.random.default_rng(0)
    X, deviations = rng.normal(size=(200, 2)), 10.0 ** rng.uniform(-0.3, 0.3, size=(200, 2))
    X[::2] += far
    drawn, noise = np.arange(40), rng.normal(size=(40, 2))
    found = sum_diagonal(Rows.make(X), deviations, drawn, noise, dense=True)[:, 3]
    weights = np.full(200, 1 / 200)
    for row in drawn:
        terms = reference.log_terms(X, weights, row, noise[row], deviations)
        expected = np.logaddexp.reduce(np.delete(terms, row))
        # The draw itself is rounded.
        assert found[row] == pytest.approx(expected, rel=1e-9, abs=1e-10 + 1e-15 * far)


def test_later_rows_may_outdo_earlier_ones_by_thousands_of_bits():
    """A sum begins anew, twice and more, where 256 rows would add more than it can hold."""
    rng = np.random.default_rng(5)
    X = np.exp(rng.normal(size=(1500, 40)))
    drawn, noise = np.arange(3), rng.normal(size=(3, 40))
    weights = np.full(1500, 1 / 1500)
    found = sum_diagonal(Rows.make(X), 0.03 * X, drawn, noise, dense=True)[:, 3]
    for row in drawn:
        terms = np.delete(reference.log_terms(X, weights, row, noise[row], 0.03 * X), row)
        assert np.ptp([part.max() for part in np.array_split(terms, 5)]) > 1000 * LOG2
        assert found[row] == pytest.approx(np.logaddexp.reduce(terms), rel=1e-12)


@pytest.mark.skipif(not COMPILED, reason="threads need compiled kernels, and many draws")
def test_sums_of_diagonal_components_have_the_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    rows = Rows.make(rng.normal(size=(300, 3)), groups=np.arange(300) // 3)
    deviations = 10.0 ** rng.uniform(-0.3, 0.3, size=(300, 3))
    drawn, noise = rng.integers(0, 300, size=1100), rng.normal(size=(1100, 3))
    for dense in (False, True):
        one, three = (
            sum_diagonal(rows, deviations, drawn, noise, dense, n_jobs) for n_jobs in (1, 3)
        )
        np.testing.assert_array_equal(one, three)


# --- the line ------------------------------------------------------------------------------------


@st.composite
def line_laws(draw):
    rng = np.random.default_rng(draw(SEEDS))
    n = draw(st.integers(1, 40))
    points = 10.0 ** draw(st.floats(-3, 1)) * rng.normal(size=n)
    if draw(st.booleans()):
        points[n // 2 :] = points[: n - n // 2]
    weights = 10.0 ** (-draw(st.sampled_from([0, 1, 30])) * rng.uniform(size=n))
    return points, weights / weights.sum()


@given(law=line_laws(), shift=st.sampled_from([0.0, -20.0]))
def test_the_integral_over_a_line_equals_that_over_all_rows(law, shift):
    points, weights = law
    expected = reference.line_cross_entropy(points, weights, points, weights)
    found = line_cross_entropy(points + shift, weights, points + shift, weights)
    assert found == pytest.approx(expected, abs=1e-9)


@given(law=line_laws(), model=line_laws())
def test_the_integral_of_two_laws_equals_that_over_all_rows(law, model):
    expected = reference.line_cross_entropy(*law, *model)
    assert line_cross_entropy(*law, *model) == pytest.approx(expected, rel=3e-5, abs=1e-6)


@given(law=line_laws(), seed=SEEDS)
def test_segments_of_a_line_are_integrated_one_by_one(law, seed):
    points, weights = law
    parts = np.random.default_rng(seed).integers(0, 4, size=len(points))
    parts = np.unique(parts, return_inverse=True)[1]
    expected = 0.0
    for part in range(parts.max() + 1):
        own, mass = points[parts == part], weights[parts == part]
        share = mass.sum()
        expected += share * reference.line_cross_entropy(own, mass / share, own, mass / share)
    assert line_information(points, weights, parts) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("far", [1e8, 3e10])
def test_a_row_far_from_all_others_on_a_line_keeps_its_digits(far):
    """Squares of 1e20 differ by thousands where they should be equal."""
    model = np.array([0.0, 3.0, 3.0, 3 - 1e-12])
    found = line_cross_entropy(np.array([far]), np.ones(1), model, np.full(4, 0.25))
    assert found == pytest.approx((far - 3) ** 2 / 2, rel=1e-12)


def test_a_heavy_row_is_seen_past_a_light_one():
    """At the light row the heavy one, 10 sigma away, makes up all of the density."""
    points, weights = np.array([0.0, 10.0]), np.array([1.0, 1e-60])
    found = line_cross_entropy(points[1:], np.ones(1), points, weights)
    assert found == pytest.approx(10**2 / 2, rel=1e-12)


@st.composite
def unequal_laws(draw):
    """Centres, deviations and weights: narrow inside wide, far apart, light beside heavy."""
    rng = np.random.default_rng(draw(SEEDS))
    n = draw(st.integers(1, 4))
    points = 10.0 ** draw(st.sampled_from([-3, 0, 3, 5])) * rng.normal(size=n)
    if draw(st.booleans()):
        points[n // 2 :] = points[: n - n // 2]
    low, high = draw(st.sampled_from([(-6, 6), (-6, 0), (-1, 1), (-0.1, 0.1)]))
    weights = 10.0 ** (-draw(st.sampled_from([0, 1, 30])) * rng.uniform(size=n))
    return points, 10.0 ** rng.uniform(low, high, size=n), weights / weights.sum()


def relative_cross_entropy(law, model):
    """What the oracle says of E log phi / q, phi the noise of the row drawn."""
    noise = law[2] @ np.log(law[1]) + np.log(2 * np.pi * np.e) / 2
    return reference.normals_cross_entropy(law, model) - noise


@settings(max_examples=30 if COMPILED else 5)
@given(law=unequal_laws())
def test_the_integral_over_rows_of_unequal_deviations_is_that_of_adaptive_quadrature(law):
    points, deviations, weights = law
    one = np.zeros(len(points), dtype=int)
    found = line_information(points, weights, one, deviations)
    assert found == pytest.approx(relative_cross_entropy(law, law), abs=1e-10)


@settings(max_examples=20 if COMPILED else 5)
@given(law=unequal_laws(), model=unequal_laws())
def test_the_integral_of_two_laws_of_unequal_deviations_is_that_of_adaptive_quadrature(law, model):
    expected = relative_cross_entropy(law, model)
    found = line_cross_entropy(*law[::2], *model[::2], law[1], model[1])
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-10)
    itself = line_cross_entropy(*law[::2], *law[::2], law[1], law[1])
    assert itself == pytest.approx(relative_cross_entropy(law, law), abs=1e-10)


@given(law=line_laws(), seed=SEEDS, sigma=st.sampled_from([1e-3, 1.0, 1e4]))
def test_equal_deviations_are_a_unit_of_length(law, seed, sigma):
    points, weights = law
    parts = np.random.default_rng(seed).integers(0, 3, size=len(points))
    parts = np.unique(parts, return_inverse=True)[1]
    found = line_information(points * sigma, weights, parts, np.full(len(points), sigma))
    assert found == pytest.approx(line_information(points, weights, parts), abs=1e-10)


def test_an_integral_that_takes_too_long_is_left_to_others():
    points, deviations, weights = np.array([0.0, 1.0]), np.array([1e-3, 1.0]), np.full(2, 0.5)
    enough, left = integrate_unequal(points, deviations, weights, 2, 2000.0)
    assert 0 < left < 2000
    assert enough == pytest.approx(integrate_unequal(points, deviations, weights, 2)[0])
    assert np.isnan(integrate_unequal(points, deviations, weights, 2, 1000.0 - left / 2)[0])


# --- Gaussians -----------------------------------------------------------------------------------


@given(
    seed=SEEDS,
    n_inputs=st.sampled_from([2, 3, 63, 64, 65] + [129] * COMPILED),
    d=st.integers(1, 4),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
    spread=st.sampled_from([1.0, 20.0]),
    flat=st.booleans(),
    strength=st.sampled_from([1.0, 16.0, 1e9]),
)
def test_sums_of_gaussians_equal_the_oracle(seed, n_inputs, d, scale, spread, flat, strength):
    rng = np.random.default_rng(seed)
    inputs = np.concatenate([np.arange(n_inputs)] * 2 + [rng.integers(0, n_inputs, n_inputs)])
    means = scale * rng.normal(size=(n_inputs, d))
    widths = np.full(d, spread)
    widths[0] *= not flat
    X = means[inputs] + widths * rng.normal(size=(len(inputs), d))
    weights = rng.uniform(0.2, 3, size=n_inputs)[inputs]
    rows = Rows.make(X, groups=inputs, input_weights=weights)
    drawn = rng.integers(0, len(inputs), size=6)
    queries, own_inputs = X[drawn] + rng.normal(size=(6, d)), inputs[drawn]
    p = rows.input_weights
    with mock.patch.object(gaussians, "_STRENGTHS", (strength,)):
        own, others = InputPosterior.fit(rows, p).log_sums(queries, own_inputs, 1)
    fitted = reference.shrunk_gaussians(X, inputs, p, strength)
    constant = d / 2 * np.log(2 * np.pi)
    for k, x in enumerate(own_inputs):
        expected = reference.log_sum_of_gaussians(queries[k], p, *fitted, x) + constant
        assert others[k] == pytest.approx(expected, rel=1e-8, abs=1e-8)
        alone = ([p[x]], fitted[0][x : x + 1], fitted[1][x : x + 1])
        expected = reference.log_sum_of_gaussians(queries[k], *alone, None) + constant
        assert own[k] == pytest.approx(expected, rel=1e-7, abs=1e-7)


# --- pairs of rows -------------------------------------------------------------------------------


@given(
    seed=SEEDS,
    n=st.sampled_from([1, 2, 5, 65]),
    d=st.sampled_from([1, 2] + [40] * COMPILED),
    spread=st.sampled_from([0, 1, 6]),
    kinds=st.sampled_from([1, 3, 100]),
)
@settings(max_examples=25 if COMPILED else 5)
def test_pairwise_bounds_of_unequal_noise_equal_the_oracle(seed, n, d, spread, kinds):
    rng = np.random.default_rng(seed)
    deviations = 10 ** rng.uniform(-spread, spread, size=(n, d))
    X = deviations * rng.normal(size=(n, d)) * 10 ** rng.uniform(-1, 1)
    X[n // 2 :], deviations[n // 2 :] = X[: n - n // 2], deviations[: n - n // 2]
    strata = rng.integers(0, kinds, size=n)
    found = pairwise_bounds(X, deviations, strata=strata)
    expected = reference.pairwise_bounds(X, deviations, strata)
    np.testing.assert_allclose([q.value for q in found], expected, rtol=0, atol=1e-10)


# --- order, numbers, pairs -----------------------------------------------------------------------


@given(
    seed=SEEDS,
    n=st.integers(0, 150),
    d=st.integers(0, 4),
    leaf=st.sampled_from([1, 2, 5, 64]),
    levels=st.sampled_from([1, 3, 1000]),
)
def test_the_kd_order_is_a_permutation_whose_halves_are_separated(seed, n, d, leaf, levels):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, levels, size=(n, d)).astype(float)
    order = rng.permutation(n)
    sort_kd(points, leaf, 0, n, order)
    assert sorted(order) == list(range(n))
    assert reference.halves_are_separated(points[order], leaf)


@given(seed=SEEDS, n=st.integers(0, 100), cuts=st.lists(st.integers(0, 100), max_size=4))
def test_segments_are_ordered_one_by_one(seed, n, cuts):
    rng = np.random.default_rng(seed)
    points, order = rng.normal(size=(n, 2)), rng.permutation(n)
    starts = np.array([0, *sorted(min(cut, n) for cut in cuts), n])
    before = order.copy()
    sort_segments_kd(points, 4, starts, order)
    for first, last in pairwise(starts):
        assert sorted(order[first:last]) == sorted(before[first:last])
        assert reference.halves_are_separated(points[order[first:last]], 4)
