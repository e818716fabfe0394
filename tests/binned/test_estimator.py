"""BinningMIEstimator against hand-worked values and the dict-counting oracle."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinfo import BinningMIEstimator, OutsideEdgesWarning, ReplicaWarning, binning_sweep
from skinfo.binned.cells import first_rows

import reference


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


@pytest.mark.parametrize("options", [{"bin_width": 0.3}, {}, {"strategy": "quantile"}])
def test_counts_sum_to_n(options, rng):
    X = rng.normal(size=(200, 2))
    est = BinningMIEstimator(**options).fit(X)
    counts = np.bincount(first_rows(X, est._cells))
    assert counts.sum() == 200
    assert np.count_nonzero(counts) == est.n_occupied_ < 200
    occupied = counts[counts > 0] / 200
    assert est.entropy_ == pytest.approx(-(occupied * np.log(occupied)).sum())


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


def test_given_edges_one_or_one_each():
    X = [[0.5, 5.0], [1.5, 5.0], [9.0, 15.0]]
    with pytest.warns(OutsideEdgesWarning, match="16.67% of the values lie outside the edges"):
        one = BinningMIEstimator(bin_edges=[0, 1, 10]).fit(X)
    each = BinningMIEstimator(bin_edges=[[0, 1, 10], [0, 10, 20]]).fit(X)
    assert one.n_occupied_ == 2
    assert each.n_occupied_ == 3


def test_quantiles_share_rows_evenly_and_merge_ties(rng):
    X = rng.exponential(size=(400, 1))
    est = BinningMIEstimator(strategy="quantile", n_bins=4).fit(X)
    assert est.entropy_ == pytest.approx(np.log(4), abs=1e-3)
    tied = BinningMIEstimator(strategy="quantile", n_bins=4).fit([[0.0]] * 9 + [[1.0]])
    assert tied.entropy_ == pytest.approx(reference.discrete_entropy([[0]] * 9 + [[1]]))


@pytest.mark.parametrize(
    ("values", "n_bins", "sizes"),
    [
        (np.arange(8), 4, [2, 2, 2, 2]),
        (np.arange(12) ** 3, 3, [4, 4, 4]),
        (np.arange(9), 9, [1] * 9),
        ([0] * 90 + list(range(1, 11)), 4, [90, 10]),
        ([0] * 90 + list(range(1, 11)), 20, [90, 5, 5]),
        ([0] * 90 + [1] * 10, 4, [90, 10]),
        ([-3] * 10 + [0] * 80 + [2] * 10, 2, [90, 10]),
        ([5] * 30 + list(range(6, 16)) + [20] * 60, 10, [30, 10, 60]),
        ([1.0, np.nextafter(1, 2), np.nextafter(1, 2), 5.0], 4, [1, 2, 1]),
        ([-1.7e308, 1.7e308], 2, [1, 1]),
        ([0.0, 5e-324], 2, [1, 1]),
        ([7.0] * 5, 4, [5]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_quantiles_cut_between_values_that_differ(values, n_bins, sizes, dtype, rng):
    X = rng.permutation(np.asarray(values, float))[:, None]
    if np.equal(X, np.round(X)).all() and np.abs(X).max() < 1e4:
        X = X.astype(dtype)
    est = BinningMIEstimator(strategy="quantile", n_bins=n_bins).fit(X)
    inner = est.edges_[0][1:-1]
    counts = np.bincount(np.searchsorted(inner, X[:, 0].astype(float), side="right"))
    assert counts.tolist() == sizes
    assert est.entropy_ == pytest.approx(
        reference.discrete_entropy(np.repeat(range(len(sizes)), sizes)[:, None])
    )


def test_quantiles_weigh_rows():
    est = BinningMIEstimator(strategy="quantile", n_bins=2)
    est.fit(np.arange(6.0)[:, None], sample_weight=[5, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(est.edges_[0], [0, 0.5, 5])


def test_the_information_about_labels_has_its_ceiling(rng):
    X, y = rng.normal(size=(40, 2)), np.repeat([0, 1, 2], [20, 10, 10])
    found = {
        q.name: q for q in BinningMIEstimator(bin_width=9e9, units="bits").fit(X, y).quantities_
    }
    assert found["label_ceiling"].value == pytest.approx(1.5)
    assert "label_ceiling" not in {q.name for q in BinningMIEstimator().fit(X).quantities_}


@pytest.mark.parametrize("n_levels", [2, 3, 5])
def test_quantiles_tell_the_levels_of_a_discrete_unit_apart(n_levels, rng):
    X = rng.integers(0, n_levels, size=(1000, 2)).astype(float)
    est = BinningMIEstimator(strategy="quantile", n_bins=30).fit(X)
    assert est.entropy_ == pytest.approx(reference.discrete_entropy(X))


def test_width_cells_do_not_depend_on_the_precision_of_the_array():
    X = (np.arange(200) / 10).astype(np.float32)[:, None]
    low = BinningMIEstimator(bin_width=0.1).fit(X)
    assert low.entropy_ == BinningMIEstimator(bin_width=0.1).fit(X.astype(np.float64)).entropy_


def test_single_precision_is_cut_as_it_is(rng):
    """0.3 in single precision lies above 0.3: cells are found in double, from the value stored."""
    X = (rng.integers(-40, 40, size=(500, 3)) / 10).astype(np.float32)
    single = BinningMIEstimator(bin_width=0.1).fit(X)
    double = BinningMIEstimator(bin_width=0.1).fit(X.astype(np.float64))
    assert single.mutual_info_ == double.mutual_info_
    cells = np.floor(X.astype(np.float64) / 0.1)
    assert single.n_occupied_ == len(np.unique(cells, axis=0))
    assert len(np.unique(np.floor(X / np.float32(0.1)), axis=0)) != single.n_occupied_


def test_independent_labels_have_no_negative_information():
    X, y = np.repeat([0.0, 1.0, 2.0], 2)[:, None], np.tile([0, 1], 3)
    assert BinningMIEstimator(bin_width=1.0).fit(X, y).label_mutual_info_ == 0


@pytest.mark.filterwarnings("ignore::skinfo.OutsideEdgesWarning")
def test_values_outside_count_in_the_outer_cells():
    est = BinningMIEstimator(bin_edges=[0, 1, 2]).fit([[0.5], [1.5]])
    assert est.score([[-7.0], [0.5], [1.5], [99.0]]) == pytest.approx(np.log(2))


def test_score_uses_the_fitted_edges():
    est = BinningMIEstimator(n_bins=4).fit([[0.0], [4.0]])
    assert est.score([[0.5], [0.6]]) == 0
    assert est.score([[0.5], [1.5]]) == pytest.approx(np.log(2))


def test_groups_subtract_the_entropy_within_inputs():
    X = np.array([[0.5], [1.5], [0.5], [1.5], [2.5], [2.5], [2.5], [2.5]] * 4)
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


@pytest.mark.parametrize("options", [{"bin_width": 0.01}, {}, {"bin_range": (-1, 1)},
                                     {"strategy": "quantile"}, {"strategy": "discrete"}],
                         ids=str)  # fmt: skip
@pytest.mark.filterwarnings("ignore::skinfo.OutsideEdgesWarning")
def test_memory_stays_below_two_copies(options, rng):
    X = np.floor(3 * rng.normal(size=(20_000, 64)))
    est = BinningMIEstimator(**options).fit(X[:100])
    tracemalloc.start()
    try:
        est.fit(X)
        assert tracemalloc.get_traced_memory()[1] < 2 * X.nbytes
        if "bin_width" in options:
            tracemalloc.reset_peak()
            binning_sweep(X, bin_widths=2.0 ** np.arange(-8, 8))
            assert tracemalloc.get_traced_memory()[1] < X.nbytes
    finally:
        tracemalloc.stop()


# --- the conventions of the field ----------------------------------------------------------------


def test_thirty_bins_on_minus_one_to_one():
    """The convention of Shwartz-Ziv & Tishby: equal bins, the last one closed."""
    rng = np.random.default_rng(1)
    X = np.tanh(rng.normal(size=(500, 3)))
    X[0] = 1.0
    est = BinningMIEstimator(n_bins=30, bin_range=(-1, 1)).fit(X)
    cells = np.minimum(np.digitize(X, np.linspace(-1, 1, 31)), 30)
    assert est.entropy_ == pytest.approx(reference.discrete_entropy(cells), abs=1e-12)


def entropy_of_counts(strings):
    """H of texts that name cells, by sorting: another way than that of skinfo and its oracle."""
    p = np.unique(strings, return_counts=True)[1] / len(strings)
    return -(p * np.log(p)).sum()


def agrees(est, cells, y):
    names = np.array([" ".join(str(c) for c in row) for row in cells])
    given_label = sum((y == k).mean() * entropy_of_counts(names[y == k]) for k in np.unique(y))
    entropy = entropy_of_counts(names)
    assert est.entropy_ == pytest.approx(entropy, abs=1e-12)
    assert est.label_mutual_info_ == pytest.approx(entropy - given_label, abs=1e-12)


@pytest.mark.parametrize("activation", [np.tanh, lambda x: np.maximum(x, 0)], ids=["tanh", "relu"])
def test_floor_counting_of_saxe_et_al(activation, rng):
    """Cells floor(t / 0.07), for any activation."""
    X, y = activation(0.3 * rng.normal(size=(700, 3))), rng.integers(0, 3, size=700)
    est = BinningMIEstimator(bin_width=0.07).fit(X, y)
    agrees(est, np.floor(X / 0.07).astype(int), y)
    assert 0 < est.label_mutual_info_ < est.entropy_ < np.log(700)


def test_thirty_bins_of_shwartz_ziv_and_tishby(rng):
    """Thirty equal bins on [-1, 1], a value at the upper end in the last."""
    X, y = np.tanh(2 * rng.normal(size=(700, 2))), rng.integers(0, 2, size=700)
    X[:3] = [[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]]
    est = BinningMIEstimator(n_bins=30, bin_range=(-1, 1)).fit(X, y)
    edges = np.linspace(-1, 1, 31)
    cells = [[int(np.histogram([t], edges)[0].argmax()) for t in row] for row in X]
    agrees(est, cells, y)
    assert est.outside_fraction_ == 0


def test_many_labels_are_counted_as_few_are(rng):
    """Beyond sixteen labels pairs are sorted, not laid out."""
    X, y = rng.normal(size=(300, 2)), rng.integers(0, 40, size=300)
    est = BinningMIEstimator(bin_width=0.7).fit(X, y)
    agrees(est, np.floor(X / 0.7).astype(int), y)


# --- values outside, and bins that show nothing --------------------------------------------------


def test_the_range_of_tanh_on_a_relu_layer_is_not_silent():
    X = np.array([[0.5, 3.0], [0.2, -1.0], [1.0, -1.5], [9.0, 0.0]])
    with pytest.warns(OutsideEdgesWarning, match="37.50% of the values lie outside the edges"):
        est = BinningMIEstimator(bin_range=(-1, 1)).fit(X, [0, 0, 1, 1])
    assert est.outside_fraction_ == 3 / 8
    marked = {q.name for q in est.quantities_ if "outside edges" in q.notes}
    assert marked == {
        "binned_mutual_info",
        "binned_entropy",
        "binned_label_mutual_info",
        "outside_fraction",
    }
    before = dict(vars(est))
    with pytest.warns(OutsideEdgesWarning, match="25.00% of the values lie outside"):
        est.score([[1.0, 2.0], [0.0, -1.0]])
    assert vars(est) == before


@pytest.mark.parametrize("options", [{}, {"bin_range": "neuron"}, {"strategy": "quantile"},
                                     {"bin_width": 0.1}])  # fmt: skip
def test_what_fit_saw_is_inside(options, rng):
    X = rng.normal(size=(50, 3)).astype(np.float32)
    est = BinningMIEstimator(**options).fit(X)
    assert est.outside_fraction_ == 0
    assert "outside edges" not in est.notes_
    est.score(X)


def test_cells_that_tell_all_inputs_apart_say_nothing_of_labels(rng):
    """I(Y;Bin(T)) of random labels is H(Y) then."""
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 4, size=200)
    est = BinningMIEstimator(bin_width=1e-6).fit(X, y)
    assert est.label_mutual_info_ > 0.99 * np.log(4)
    noted = {q.name for q in est.quantities_ if "at ceiling" in q.notes}
    assert noted == {"binned_mutual_info", "binned_entropy", "binned_label_mutual_info"}


def test_bins_too_narrow_or_too_wide_are_noted(rng):
    X = rng.normal(size=(50, 2))
    narrow = BinningMIEstimator(bin_width=1e-6).fit(X)
    assert narrow.notes_ == ("at ceiling",)
    assert narrow.singleton_fraction_ == 1
    wide = BinningMIEstimator(bin_edges=[-9.0, 9.0]).fit(X)
    assert wide.notes_ == ("in one cell",)
    assert wide.entropy_ == wide.singleton_fraction_ == 0
    assert BinningMIEstimator(bin_width=1.0).fit(X).notes_ == ()


def test_singletons_are_rows_whose_cell_no_other_input_reached():
    X = [[0.0], [0.1], [1.0], [1.1], [2.0]]
    assert BinningMIEstimator(bin_width=1).fit(X).singleton_fraction_ == pytest.approx(0.2)
    with pytest.warns(ReplicaWarning):
        est = BinningMIEstimator(bin_width=1).fit(X, groups=[0, 1, 2, 2, 2])
    assert est.singleton_fraction_ == pytest.approx(1 / 3)
    assert "too few replicas" in est.notes_


# --- integers as they are ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
def test_quantised_activations_are_counted_as_they_are(dtype):
    X = np.array([[0, 127], [0, 127], [-128, 5], [0, 126]], dtype=dtype)
    est = BinningMIEstimator(strategy="discrete", units="bits").fit(X, [0, 0, 1, 1])
    assert est.entropy_ == pytest.approx(1.5)
    assert est.label_mutual_info_ == pytest.approx(1)
    assert est.n_occupied_ == 3
    assert est.score(np.array([[3, 3], [3, 4]], dtype=dtype)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "what"), [(0.5, "0.5 in row 2, column 1 is not an"), (2.0**53, "row 2.*2\\^53")]
)
def test_a_value_that_is_not_an_integer_is_named(value, what):
    X = np.zeros((4, 2))
    est = BinningMIEstimator(strategy="discrete").fit(X)
    X[2, 1] = value
    with pytest.raises(ValueError, match=what):
        BinningMIEstimator(strategy="discrete").fit(X)
    with pytest.raises(ValueError, match=what):
        est.score(X)


# --- Miller and Madow ----------------------------------------------------------------------------


def test_miller_madow_on_four_points():
    X, y = [[0.0], [0.0], [1.0], [2.0]], [0, 1, 1, 1]
    est = BinningMIEstimator(bin_width=1, correction="miller-madow").fit(X, y)
    assert est.entropy_ == pytest.approx(1.5 * np.log(2) + 2 / 8)
    assert est.mutual_info_ == est.entropy_
    plain = BinningMIEstimator(bin_width=1).fit(X, y).label_mutual_info_
    assert est.label_mutual_info_ == pytest.approx(plain + (2 + 1 - 3) / 8)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 40), replicas=st.integers(2, 5), seed=st.integers(0, 999))
@pytest.mark.filterwarnings("ignore::skinfo.errors.ReplicaWarning")
def test_miller_madow_enters_every_entropy(n, replicas, seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n), replicas)
    X, y = rng.normal(size=(n * replicas, 2)), rng.integers(0, 3, size=n)[groups]
    est = BinningMIEstimator(bin_width=0.8, correction="miller-madow", units="bits")
    est.fit(X, y, groups=groups)
    cells, H = np.floor(X / 0.8), reference.miller_madow

    def shared(code):
        return (H(cells) + H(code[:, None]) - H(np.column_stack([cells, code]))) / np.log(2)

    assert est.entropy_ == pytest.approx(H(cells) / np.log(2), abs=1e-12)
    assert est.label_mutual_info_ == pytest.approx(shared(y), abs=1e-11)
    assert est.mutual_info_ == pytest.approx(shared(groups), abs=1e-11)


def test_miller_madow_is_not_cut_but_noted():
    X, y = np.repeat([[0.0], [1.0]], 4, axis=0), np.tile([0, 1], 4)
    est = BinningMIEstimator(bin_width=1, correction="miller-madow").fit(X, y)
    assert est.label_mutual_info_ == pytest.approx(-1 / 16)
    assert est.notes_ == ("correction beyond bounds",)
    apart = BinningMIEstimator(bin_width=0.1, correction="miller-madow").fit([[0.0], [1.0]])
    assert apart.mutual_info_ == pytest.approx(np.log(2) + 1 / 4)
    assert set(apart.notes_) == {"at ceiling", "correction beyond bounds"}


def test_miller_madow_comes_closer_to_the_truth(rng):
    """Sixty samples of a uniform law over sixteen cells, log 16."""
    samples = rng.integers(0, 16, size=(200, 60, 1))

    def error(correction):
        est = BinningMIEstimator(strategy="discrete", correction=correction)
        return np.mean([est.fit(X).entropy_ for X in samples]) - np.log(16)

    assert error(None) < -0.1
    assert abs(error("miller-madow")) < 0.02


def test_miller_madow_refuses_rows_of_different_weight():
    X = np.arange(4.0)[:, None]
    est = BinningMIEstimator(correction="miller-madow")
    with pytest.raises(ValueError, match="rows of equal weight"):
        est.fit(X, sample_weight=[1, 1, 1, 2])
    with pytest.raises(ValueError, match="groups of different sizes"):
        est.fit(X, groups=[0, 0, 0, 1])
    est.fit(X, sample_weight=[3, 3, 3, 3])


# --- what is refused -----------------------------------------------------------------------------


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
        ({"bin_range": "run"}, "only information_flow knows"),
        ({"strategy": "discrete", "bin_width": 1.0}, "takes no bin_width"),
        ({"strategy": "discrete", "bin_edges": [0, 1]}, "takes no bin_width"),
        ({"correction": "james-stein"}, "'correction' parameter"),
    ],
)
def test_bad_edges_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BinningMIEstimator(**options).fit([[0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    "edges",
    [{"bin_width": 1.0}, {"bin_edges": [0, 1]}, {"bin_range": "run"}, {"bin_range": (0, 1)}],
)
def test_quantiles_take_no_edges_of_another_kind(edges):
    with pytest.raises(ValueError, match="quantile"):
        BinningMIEstimator(strategy="quantile", **edges).fit(np.arange(8.0)[:, None])
