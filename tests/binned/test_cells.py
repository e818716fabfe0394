"""Which rows share a cell, against a search of all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinfo.binned import cells as cells_module
from skinfo.binned.cells import EdgeCells, WidthCells, first_rows, odd_multipliers

import reference


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60), d=st.integers(1, 4), width=st.floats(0.05, 3), seed=st.integers(0, 999)
)
def test_first_rows_are_those_of_a_search(n, d, width, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(rng.choice([np.float32, np.float64]))
    expected = reference.first_rows(np.floor(X.astype(np.float64) / width))
    assert first_rows(X, WidthCells(width)).tolist() == expected
    edges = tuple(np.unique(rng.normal(size=rng.integers(2, 9))) for _ in range(d))
    expected = reference.first_rows(reference.cells_between(X, edges))
    assert first_rows(X, EdgeCells(edges)).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    width=st.floats(1e-6, 1e6),
)
def test_any_values_and_any_width(values, width):
    X = np.array(values)[:, None]
    assert first_rows(X, WidthCells(width)).tolist() == reference.first_rows(np.floor(X / width))


# Where decimal widths go wrong: at or beside multiples of them.
EDGE_VALUES = st.builds(
    lambda k, width, ulps: float(k * width * (1 + ulps * 2.0**-52)),
    st.integers(-40, 40),
    st.sampled_from([0.1, 0.01, 0.3, 0.07]),
    st.integers(-3, 3),
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(EDGE_VALUES, EDGE_VALUES), min_size=1, max_size=30),
    width=st.sampled_from([0.01, 0.07, 0.1, 0.14, 0.25, 0.3, 0.6, 1.0, 1e-4]),
)
def test_rows_at_the_edges_of_decimal_widths(rows, width):
    X = np.array(rows)
    assert first_rows(X, WidthCells(width)).tolist() == reference.first_rows(np.floor(X / width))


def test_values_lost_to_underflow():
    X = np.array([[-5e-324], [-0.5], [0.0], [5e-324]])
    for width in (1.0, 8.0):
        expected = reference.first_rows(np.floor(X / width))
        assert first_rows(X, WidthCells(width)).tolist() == expected


def test_equal_edges_are_met_exactly():
    """Where a bin is guessed from its width, rounding must not move a value off its edge."""
    edges = np.linspace(-1, 1, 31)
    near = np.concatenate([edges, np.nextafter(edges, 9), np.nextafter(edges, -9), [-5.0, 5.0]])
    X = np.stack([near, np.zeros(len(near))], axis=1)
    expected = reference.first_rows(reference.cells_between(X, (edges, edges)))
    assert first_rows(X, EdgeCells((edges, edges))).tolist() == expected


def test_rows_that_are_not_contiguous_are_read_right(rng):
    X = rng.normal(size=(40, 6))
    for view in (X[:, ::2], X.T, np.asfortranarray(X), X[::-1]):
        expected = reference.first_rows(np.floor(view / 1.5))
        assert first_rows(view, WidthCells(1.5)).tolist() == expected


@pytest.mark.parametrize("cells", [WidthCells(1.0), EdgeCells((np.arange(9.0),) * 2)])
def test_hashes_that_collide_do_not_make_rows_equal(cells, monkeypatch):
    """The first multipliers hash every row alike; others are tried."""
    X = np.array([[0.0, 5.0], [1.0, 5.0], [0.5, 5.5], [7.0, 0.0]] * 5)
    attempts = []

    def multipliers(d, attempt):
        attempts.append(attempt)
        return np.zeros(d, dtype=np.int64) if attempt < 2 else odd_multipliers(d, attempt)

    monkeypatch.setattr(cells_module, "odd_multipliers", multipliers)
    assert first_rows(X, cells).tolist() == reference.first_rows(np.floor(X))
    assert attempts == [0, 1, 2]


def test_cells_far_from_zero_are_told_apart():
    """2^52 and 2^52 + 1 are the last neighbours that floor(t / w) tells apart."""
    far = 2.0**52
    X = np.array([[far], [far + 1], [-far], [far], [-0.0], [0.0]])
    assert first_rows(X, WidthCells(1.0)).tolist() == [0, 1, 2, 0, 4, 4]
    with pytest.raises(ValueError, match="bin_width=0.1 is too narrow for activations up to 4.5e"):
        first_rows(X, WidthCells(0.1))


def test_widths_alone_hold_no_edges():
    with pytest.raises(ValueError, match="no lowest and no highest edge"):
        WidthCells(1.0).edges()
