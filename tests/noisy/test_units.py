"""Rows with a standard deviation per row and unit: scale, ceiling, units left out, limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinfo._rows import Rows
from skinfo.noisy.units import ScaledUnits

import reference

SEEDS = st.integers(0, 10_000)


def hostile_rows(seed, n, d, span):
    """Rows whose deviations span ``span`` powers of ten each way, between units and rows."""
    rng = np.random.default_rng(seed)
    deviations = 10.0 ** rng.uniform(-span, span, size=(n, d))
    # As multiplicative noise has it: a row lies some of its own deviations from the origin.
    points = deviations * rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-1, 2, size=d)
    return Rows.make(points, input_weights=rng.uniform(0.2, 3, size=n)), deviations


@given(seed=SEEDS, n=st.integers(1, 6), d=st.integers(1, 4), span=st.sampled_from([0.3, 6.0]))
def test_the_covariance_of_t_is_that_of_rational_numbers(seed, n, d, span):
    rows, deviations = hostile_rows(seed, n, d, span)
    units = ScaledUnits.of(rows, deviations)
    logs = rows.weights @ np.log(deviations).sum(axis=1)
    entropy = d / 2 * np.log(2 * np.pi * np.e) + logs
    assert units.noise_entropy == pytest.approx(entropy, rel=1e-12, abs=1e-12)
    if n == 1:
        assert units.rank == units.gaussian_information == 0
        return
    mean, inverse, log_determinant = reference.inverse_covariance(
        rows.points, deviations, rows.weights
    )
    expected = 0.5 * log_determinant - logs
    assert units.gaussian_information == pytest.approx(expected, rel=1e-9, abs=1e-9)
    centred = rows.points.astype(object) - mean
    squares = (centred @ inverse * centred).sum(axis=1).astype(float)
    diagonal = np.diag(inverse).astype(float) * units.scale**2
    found = units.standardised_squares(units.project(rows.points))
    np.testing.assert_allclose(found, squares, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.diag(units.precision), diagonal, rtol=1e-6)
    # The mean of t' C^-1 t is the rank, whatever rounding did to C.
    of_noise = rows.weights @ units.deviations**2 @ np.diag(units.precision)
    assert rows.weights @ found + of_noise == pytest.approx(d, rel=1e-10)


def test_two_gaussians_about_one_centre():
    units = ScaledUnits.of(Rows.make(np.full((2, 1), 3.0)), np.array([[1.0], [2.0]]))
    assert units.rank == 1
    assert units.scale == pytest.approx(np.sqrt(2.5))
    assert units.gaussian_information == pytest.approx(0.5 * np.log(2.5) - 0.25 * np.log(4))
    entropy = 0.5 * np.log(2 * np.pi * np.e) + 0.5 * np.log(2)
    assert units.noise_entropy == pytest.approx(entropy)


def test_a_unit_in_which_nothing_differs_is_left_out():
    rows, deviations = hostile_rows(1, 5, 3, 1.0)
    dead = Rows.make(np.insert(rows.points, 1, 1 / 3, axis=1), input_weights=rows.weights)
    units = ScaledUnits.of(dead, np.insert(deviations, 1, 0.1, axis=1))
    alive = ScaledUnits.of(rows, deviations)
    assert units.kept.tolist() == [0, 2, 3]
    assert units.dimension == 4
    for name in ("deviations", "log_volumes", "precision", "scale", "mean"):
        np.testing.assert_array_equal(getattr(units, name), getattr(alive, name))
    assert units.gaussian_information == alive.gaussian_information
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.01)
    assert units.noise_entropy == pytest.approx(alive.noise_entropy + entropy)
    moved = dead.points + np.array([7.0, 0.3, -2.0, 5.0])
    np.testing.assert_allclose(units.squared_distances(moved), 9.0)
    np.testing.assert_allclose(units.squared_distances(dead.points), 0.0)


def test_units_of_another_length_change_nothing():
    rows, deviations = hostile_rows(2, 6, 3, 1.0)
    lengths = np.array([2.0**-40, 1.0, 2.0**20])
    longer = Rows.make(rows.points * lengths, input_weights=rows.weights)
    found, expected = ScaledUnits.of(longer, deviations * lengths), ScaledUnits.of(rows, deviations)
    for name in ("deviations", "log_volumes", "precision", "mean"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.project(longer.points), expected.project(rows.points))


def test_the_origin_is_where_the_noise_is_narrowest():
    """At the mean, 1e5, the digits of the smallest row's noise, 1e-7, would be lost."""
    points = 10.0 ** np.arange(-6, 7)[:, None]
    units = ScaledUnits.of(Rows.make(points), 0.1 * points)
    assert units.origin == 1e-6
    ratios = units.project(points) / units.deviations
    assert np.abs(ratios).max() < 10.01


@pytest.mark.parametrize(
    ("points", "deviations", "message"),
    [
        ([[0, 0], [0, 2e5]], [[1, 1e-7], [1, 1e-6]], "unit 1 row 1 lies 2.0e\\+11 .*1e-06.* row 0"),
        ([[0, 0], [0, 2e5]], [[1, 1e-6], [1, 1e-6]], "unit 1 row 1 lies 2.0e\\+11 .*1e-06.* row 0"),
        ([[0, 1e308], [0, -1e308]], [[1, 1], [1, 1]], "unit 1 row 1 lies inf"),
        ([[0, 0], [0, 0]], [[1, 1], [1, 1e-60]], "unit 1 the noise of row 1 has .* 1e-60, 1.4e-60"),
        ([[0, 0], [0, 0]], [[1, 1e300], [1, 1e-300]], "unit 1 the noise of row 1 has .* 1e-300"),
    ],
)
def test_what_double_precision_cannot_hold_is_an_error(points, deviations, message):
    rows = Rows.make(np.array(points, dtype=float))
    with pytest.raises(ValueError, match=message):
        ScaledUnits.of(rows, np.array(deviations, dtype=float))
