"""Pairs and indices of any rows against the oracle, on shapes small enough to run uncompiled."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skinfo._rows import Rows
from skinfo.clustered.distances import measure_distances
from skinfo.clustered.indices import measure_nc1, measure_silhouette

import reference


@st.composite
def class_rows(draw):
    """Rows with labels in which some class has two inputs."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, d = draw(st.integers(4, 40)), draw(st.integers(1, 4))
    X = rng.normal(size=(n, d)) * 10.0 ** draw(st.sampled_from([-200, 0, 3]))
    if draw(st.booleans()):
        X[n // 2 :] = X[: n - n // 2]
    groups = np.arange(n) // 2 if draw(st.booleans()) else np.arange(n)
    labels = groups % draw(st.sampled_from([2, 3]))
    assume(groups.max() > labels.max() > 0)
    weights = rng.choice([1.0, 2.0, 5.0], size=n) if draw(st.booleans()) else np.ones(n)
    return Rows.make(X, groups=groups, labels=labels, input_weights=weights[groups])


@given(rows=class_rows(), metric=st.sampled_from(["euclidean", "cosine"]))
def test_pairs_of_any_rows_equal_the_oracle(rows, metric):
    scale = np.abs(rows.points).max()
    measured = measure_distances(rows, metric)
    weights = rows.weights * len(rows.weights)
    pairs = reference.all_pairs(rows.points / scale, rows.labels, rows.inputs, weights, metric)
    distances, masses = reference.within_and_between(pairs)
    if metric == "cosine":
        # A cosine that is 1 may be computed as a little more.
        distances, unit = tuple(np.maximum(part, 0.0) for part in distances), 1.0
    else:
        unit = scale
    for histogram, part, mass in zip(
        (measured.within, measured.between), distances, masses, strict=True
    ):
        assert histogram.sum() == pytest.approx(mass.sum())
        # Rounding may move a distance across the edge of its cell.
        inner = measured.edges[1:-2:97] / unit
        below = [(mass * (part < edge - 1e-9)).sum() for edge in inner]
        not_above = [(mass * (part < edge + 1e-9)).sum() for edge in inner]
        counted = np.cumsum(histogram)[0:-2:97]
        assert (counted >= np.array(below) - 1e-9).all()
        assert (counted <= np.array(not_above) + 1e-9).all()
    rounded = [np.round(part, 12) for part in distances]
    assert measured.auc.value == pytest.approx(reference.auc(*rounded, *masses), abs=1e-9)


@given(rows=class_rows())
def test_silhouette_and_collapse_of_any_rows_equal_the_oracle(rows):
    points = rows.points / np.abs(rows.points).max()
    first = np.unique(rows.inputs, return_index=True)[1]
    expected = reference.silhouette(points[first], rows.labels[first], rows.input_weights)
    assert measure_silhouette(rows, "euclidean").value == pytest.approx(expected, abs=1e-9)
    # Means that coincide give infinity, or what their rounding leaves.
    expected = min(reference.nc1(points, rows.labels, rows.weights), 1e12)
    assert min(measure_nc1(rows).value, 1e12) == pytest.approx(expected, rel=1e-6)
