"""Binning against hand-worked values and the dict-counting oracle."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from skinfo import BinningMIEstimator, ReplicaWarning
from skinfo.measures.binning import number_cells


def test_hand_worked_four_points():
    est = BinningMIEstimator(bin_width=1.0).fit(
        [[0.1, 0.2], [0.9, 0.9], [1.0, 0.0], [-0.1, 0.5]], [0, 0, 1, 1]
    )
    assert est.n_occupied_ == 3
    assert est.entropy_ == pytest.approx(1.5 * np.log(2))
    assert est.mutual_info_ == est.entropy_
    assert est.label_mutual_info_ == pytest.approx(np.log(2))
    assert est.ceiling_ == pytest.approx(np.log(4))
    np.testing.assert_allclose(est.edges_[0], [-1, 0, 1, 2])
    np.testing.assert_allclose(est.edges_[1], [0, 1])


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 80),
    d=st.integers(1, 5),
    width=st.floats(0.01, 5),
    seed=st.integers(0, 10_000),
)
def test_width_equals_floor_counted_in_a_dict(n, d, width, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, d)), rng.integers(0, 2, size=n)
    est = BinningMIEstimator(bin_width=width).fit(X, y)
    cells = np.floor(X / width)
    assert est.entropy_ == pytest.approx(reference.discrete_entropy(cells), abs=1e-12)
    joint = reference.discrete_entropy(np.column_stack([cells, y]))
    expected = est.entropy_ + reference.discrete_entropy(y[:, None]) - joint
    assert est.label_mutual_info_ == pytest.approx(expected, abs=1e-12)
    assert est.n_occupied_ == len(np.unique(cells, axis=0))


def test_thirty_bins_on_minus_one_to_one():
    """The convention of Shwartz-Ziv & Tishby: equal bins, the last one closed."""
    rng = np.random.default_rng(1)
    X = np.tanh(rng.normal(size=(500, 3)))
    X[0] = 1.0
    est = BinningMIEstimator(n_bins=30, bin_range=(-1, 1)).fit(X)
    cells = np.minimum(np.digitize(X, np.linspace(-1, 1, 31)), 30)
    assert est.entropy_ == pytest.approx(reference.discrete_entropy(cells), abs=1e-12)


def test_the_maximum_is_counted():
    est = BinningMIEstimator(n_bins=2).fit([[0.0], [1.0], [2.0]])
    assert est.n_occupied_ == 2
    assert est.entropy_ == pytest.approx(reference.discrete_entropy([[0], [1], [1]]))


def test_ranges_of_layer_and_neuron():
    X = np.array([[0.0, 0.0], [1.0, 10.0], [0.4, 4.0], [0.6, 6.0]])
    layer = BinningMIEstimator(n_bins=2).fit(X)
    neuron = BinningMIEstimator(n_bins=2, bin_range="neuron").fit(X)
    np.testing.assert_allclose(layer.edges_[0], [0, 5, 10])
    np.testing.assert_allclose(neuron.edges_[0], [0, 0.5, 1])
    np.testing.assert_allclose(neuron.edges_[1], [0, 5, 10])


def test_quantiles_share_rows_evenly_and_merge_ties(rng):
    X = rng.exponential(size=(400, 1))
    est = BinningMIEstimator(strategy="quantile", n_bins=4).fit(X)
    assert est.entropy_ == pytest.approx(np.log(4), abs=1e-3)
    tied = BinningMIEstimator(strategy="quantile", n_bins=4).fit([[0.0]] * 9 + [[1.0]])
    assert tied.entropy_ == pytest.approx(reference.discrete_entropy([[0]] * 9 + [[1]]))


@pytest.mark.parametrize("n_levels", [2, 3, 5])
def test_quantiles_tell_the_levels_of_a_discrete_unit_apart(n_levels, rng):
    X = rng.integers(0, n_levels, size=(1000, 2)).astype(float)
    est = BinningMIEstimator(strategy="quantile", n_bins=30).fit(X)
    assert est.entropy_ == pytest.approx(reference.discrete_entropy(X))


def test_width_cells_do_not_depend_on_the_precision_of_the_array():
    X = (np.arange(200) / 10).astype(np.float32)[:, None]
    low = BinningMIEstimator(bin_width=0.1).fit(X)
    assert low.entropy_ == BinningMIEstimator(bin_width=0.1).fit(X.astype(np.float64)).entropy_


def test_independent_labels_have_no_negative_information():
    X, y = np.repeat([0.0, 1.0, 2.0], 2)[:, None], np.tile([0, 1], 3)
    assert BinningMIEstimator(bin_width=1.0).fit(X, y).label_mutual_info_ == 0


def test_given_edges_one_or_one_each():
    X = [[0.5, 5.0], [1.5, 5.0], [9.0, 15.0]]
    one = BinningMIEstimator(bin_edges=[0, 1, 10]).fit(X)
    each = BinningMIEstimator(bin_edges=[[0, 1, 10], [0, 10, 20]]).fit(X)
    assert one.n_occupied_ == 2
    assert each.n_occupied_ == 3


def test_values_outside_count_in_the_outer_cells():
    est = BinningMIEstimator(bin_edges=[0, 1, 2]).fit([[0.5], [1.5]])
    assert est.score([[-7.0], [0.5], [1.5], [99.0]]) == pytest.approx(np.log(2))


def test_score_uses_the_fitted_edges():
    est = BinningMIEstimator(n_bins=4).fit([[0.0], [4.0]])
    assert est.score([[0.5], [0.6]]) == 0
    assert est.score([[0.5], [1.5]]) == pytest.approx(np.log(2))


def test_groups_subtract_the_entropy_within_inputs():
    X = np.array([[0.5], [1.5], [0.5], [1.5], [2.5], [2.5], [2.5], [2.5]] * 4)
    groups = np.repeat([0, 1, 0, 1, 0, 1, 0, 1], [2, 2, 0, 0, 0, 4, 0, 0])[:8]
    groups = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 4)
    est = BinningMIEstimator(bin_width=1.0).fit(X, groups=groups)
    assert est.entropy_ == pytest.approx(1.5 * np.log(2))
    assert est.mutual_info_ == pytest.approx(np.log(2))


def test_too_few_replicas_are_said_aloud(rng):
    with pytest.warns(ReplicaWarning, match="too few"):
        BinningMIEstimator(bin_width=0.01).fit(rng.normal(size=(40, 3)), groups=np.arange(40) // 4)


def test_rows_and_units_may_be_permuted(rng):
    X = rng.normal(size=(100, 4))
    est = BinningMIEstimator(n_bins=5).fit(X)
    other = BinningMIEstimator(n_bins=5).fit(X[rng.permutation(100)][:, ::-1])
    assert other.entropy_ == pytest.approx(est.entropy_, abs=1e-12)


def test_bits():
    assert BinningMIEstimator(bin_width=1, units="bits").fit([[0], [1]]).entropy_ == pytest.approx(
        1
    )


def test_numbers_of_cells_survive_hash_collisions():
    """Codes that differ in high bits only, and many more rows than cells."""
    codes = np.array([[0, 1 << 40], [0, 1 << 41], [0, 1 << 40], [-1, 0], [1 << 62, 0]] * 50)
    numbers, n_occupied = number_cells(codes)
    assert n_occupied == 4
    np.testing.assert_array_equal(numbers[:5], [0, 1, 0, 2, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin_range": (1.0, 1.0)}, "low < high"),
        ({"bin_edges": [[0, 1]], "bin_width": 1.0}, "not both"),
        ({"bin_edges": [0, 0, 1]}, "increasing"),
        ({"bin_edges": [[0, 1], [0, 1], [0, 1]]}, "3 arrays for 2 units"),
        ({"bin_width": 0.0}, "'bin_width' parameter"),
        ({"n_bins": 0}, "'n_bins' parameter"),
        ({"bin_range": (0.0, 1.0, 2.0)}, "low, high"),
        ({"bin_width": 1e-300}, "bin_width"),
    ],
)
def test_bad_edges_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BinningMIEstimator(**options).fit([[0.0, 1.0], [1.0, 0.0]])
