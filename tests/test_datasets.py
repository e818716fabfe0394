from itertools import permutations

import numpy as np
import pytest

from skinfo.datasets import make_constellation, make_spiral, make_szt
from skinfo.datasets.formulas import _ANTIPODES, _NEIGHBOURS


def test_szt_rows_are_the_bits_of_their_number():
    X, _ = make_szt()
    assert X.shape == (4096, 12)
    np.testing.assert_array_equal(X @ 2.0 ** np.arange(11, -1, -1), np.arange(4096))


def test_szt_counts_of_ones_by_number_of_bits():
    X, y = make_szt()
    n_on = X.sum(axis=1).astype(int)
    ones = np.bincount(n_on, weights=y, minlength=13).astype(int)
    assert y.sum() == 2118
    assert ones[:5].sum() == 0
    assert ones[5:8].tolist() == [60, 532, 732]
    np.testing.assert_array_equal(ones[8:], np.bincount(n_on)[8:])


def test_szt_label_entropy():
    p = make_szt()[1].mean()
    assert -(p * np.log(p) + (1 - p) * np.log(1 - p)) == pytest.approx(0.692563, abs=1e-6)


def icosahedron_symmetries():
    """Every relabelling of the vertices that keeps neighbours neighbours."""
    adjacent = np.zeros((12, 12), dtype=bool)
    for vertex, neighbours in enumerate(_NEIGHBOURS):
        adjacent[vertex, list(neighbours)] = True
    symmetries = []

    def extend(image):
        vertex = len(image)
        if vertex == 12:
            symmetries.append(image)
            return
        for candidate in set(range(12)) - set(image):
            if all(adjacent[vertex, k] == adjacent[candidate, image[k]] for k in range(vertex)):
                extend([*image, candidate])

    extend([])
    return symmetries


def test_szt_geometry_is_an_icosahedron():
    for vertex, neighbours in enumerate(_NEIGHBOURS):
        assert len(set(neighbours)) == 5
        assert all(vertex in _NEIGHBOURS[other] for other in neighbours)
    assert sorted(v for pair in _ANTIPODES for v in pair) == list(range(12))
    for a, b in _ANTIPODES:
        assert not set(_NEIGHBOURS[a]) & set(_NEIGHBOURS[b])


def test_szt_labels_are_invariant_under_the_120_symmetries():
    X, y = make_szt()
    symmetries = icosahedron_symmetries()
    assert len(symmetries) == 120
    powers = 2 ** np.arange(11, -1, -1)
    for image in symmetries:
        rows = (X[:, image] @ powers).astype(int)
        np.testing.assert_array_equal(y[rows], y)


def test_spiral_is_balanced_seeded_and_inside_the_disc():
    X, y = make_spiral(300, noise=0.0, random_state=3)
    assert np.bincount(y).tolist() == [100, 100, 100]
    assert np.all(np.hypot(*X.T) <= 1)
    np.testing.assert_array_equal(X, make_spiral(300, noise=0.0, random_state=3)[0])
    assert not np.array_equal(X, make_spiral(300, noise=0.0, random_state=4)[0])


@pytest.mark.parametrize("options", [{"n_samples": 2}, {"n_classes": 0}, {"noise": -1.0}])
def test_spiral_refuses_what_makes_no_spiral(options):
    with pytest.raises(ValueError, match="make_spiral needs|standard deviation"):
        make_spiral(**options)


@pytest.mark.parametrize(
    ("kind", "n_points", "dimension"),
    [("pam", 2, 1), ("pam", 8, 1), ("psk", 8, 2), ("qam", 4, 2), ("qam", 16, 2)],
)
def test_constellations_have_unit_power_zero_mean_distinct_points(kind, n_points, dimension):
    X, y = make_constellation(kind, n_points)
    assert X.shape == (n_points, dimension)
    assert np.mean(np.sum(X**2, axis=1)) == pytest.approx(1)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-15)
    assert len(np.unique(X.round(12), axis=0)) == n_points
    np.testing.assert_array_equal(y, np.arange(n_points))


def test_psk_is_closed_under_its_rotation():
    X, _ = make_constellation("psk", 8)
    np.testing.assert_allclose(np.hypot(*X.T), 1)
    turn = np.exp(2j * np.pi / 8) * (X[:, 0] + 1j * X[:, 1])
    np.testing.assert_allclose(
        np.column_stack([turn.real, turn.imag]), np.roll(X, -1, axis=0), atol=1e-12
    )


def test_qam_is_closed_under_swapping_its_axes():
    points = {tuple(p) for p in make_constellation("qam", 16)[0].round(12)}
    assert all(
        tuple(p[list(axes)]) in points
        for p in map(np.array, points)
        for axes in permutations(range(2))
    )


@pytest.mark.parametrize(("kind", "n_points"), [("qam", 8), ("ask", 4), ("pam", 1)])
def test_constellation_refuses_impossible_requests(kind, n_points):
    with pytest.raises(ValueError, match="perfect square|'pam'|at least 2"):
        make_constellation(kind, n_points)
