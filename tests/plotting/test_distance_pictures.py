"""Distances and clustering draw what was measured."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import StepPatch

from skinfo import ClusteringScore, open_run
from skinfo.flow.snapshots import collect_snapshots
from skinfo.view import (
    ClassDistancesDisplay,
    DistanceHistogramDisplay,
    DistanceRidgesDisplay,
    QuantityCurveDisplay,
    plot_distances,
)

from .drawn import LABELS, LAYERS, arrays, curves, drawn, grid


def test_distances_of_a_run_with_unreadable_parts_draw_the_rest(unreadable):
    figure = plot_distances(unreadable[1])
    assert len(figure.axes) == len(LAYERS) * len(unreadable[1].snapshot_epochs)


# --- distances -----------------------------------------------------------------------------------


def outlines(ax):
    return [patch for patch in ax.patches if isinstance(patch, StepPatch) and not patch.get_fill()]


def test_distance_densities_integrate_to_one(fitted):
    ax = drawn(DistanceHistogramDisplay.from_estimator(fitted, title="third").plot()).ax_
    assert len(outlines(ax)) == 2
    for patch in outlines(ax):
        density, edges, _ = patch.get_data()
        assert len(density) == 64
        assert np.sum(density * np.diff(edges)) == pytest.approx(1, abs=1e-12)
    assert [p.get_label() for p in outlines(ax)] == ["within classes", "between classes"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("Distance", "Density", "third")


def test_distance_cells_hold_the_pairs_of_the_estimator(fitted):
    display = DistanceHistogramDisplay.from_estimator(fitted)
    assert display.within.sum() == fitted.within_histogram_.sum()
    assert display.between.sum() == fitted.between_histogram_.sum()
    assert display.edges[0] == fitted.distance_edges_[0]
    assert np.isin(display.edges, fitted.distance_edges_).all()
    fine = np.histogram(fitted.distance_edges_[:-1] + 1e-9, display.edges,
                        weights=fitted.within_histogram_)[0]  # fmt: skip
    np.testing.assert_allclose(display.within, fine)


def test_distances_shown_reach_the_last_pair(fitted):
    ax = drawn(DistanceHistogramDisplay.from_estimator(fitted).plot()).ax_
    either = fitted.within_histogram_ + fitted.between_histogram_
    largest = fitted.distance_edges_[np.flatnonzero(either)[-1] + 1]
    low, high = ax.get_xlim()
    assert low == 0
    assert largest <= high <= fitted.distance_edges_[-1]


def test_distances_are_drawn_into_the_axes_given(fitted):
    figure, ax = plt.subplots()
    display = drawn(DistanceHistogramDisplay.from_estimator(fitted).plot(ax))
    assert (display.ax_, display.figure_) == (ax, figure)


def test_distances_of_one_kind_only_draw():
    edges = np.linspace(0, 2, 65)
    display = DistanceHistogramDisplay(edges, np.ones(64), np.zeros(64))
    within, between = (patch.get_data()[0] for patch in outlines(drawn(display.plot()).ax_))
    assert np.sum(within * np.diff(edges)) == pytest.approx(1)
    assert not between.any()


def test_distances_of_a_run_are_a_small_multiple_each(snapshots):
    figure = drawn(plot_distances(snapshots))
    expected = [
        f"{layer}, epoch {epoch}" for layer in LAYERS for epoch in snapshots.snapshot_epochs
    ]
    assert [ax.get_title() for ax in figure.axes] == expected
    for ax in figure.axes:
        for patch in outlines(ax):
            density, edges, _ = patch.get_data()
            assert np.sum(density * np.diff(edges)) == pytest.approx(1, abs=1e-12)


def test_distances_of_a_run_without_labels_are_refused():
    snapshots = collect_snapshots(open_run(arrays(), sigma=0.5, layers=LAYERS))
    with pytest.raises(ValueError, match="no labels"):
        plot_distances(snapshots)


# --- clustering ----------------------------------------------------------------------------------


def test_ridges_are_the_densities_of_every_layer_and_snapshot(snapshots):
    display = drawn(DistanceRidgesDisplay.from_snapshots(snapshots).plot())
    assert [ax.get_title() for ax in display.axes_] == LAYERS
    for k, ax in enumerate(display.axes_):
        lines = outlines(ax)
        assert len(lines) == 2 * len(snapshots.snapshot_epochs)
        for j in range(len(snapshots.snapshot_epochs)):
            edges, width = snapshots.distance_edges[k, j], np.diff(snapshots.distance_edges[k, j])
            densities = [
                c[k, j] / c[k, j].sum() / width for c in (snapshots.within, snapshots.between)
            ]
            heights = [j - line.get_data()[0] for line in lines[2 * j : 2 * j + 2]]
            factor = np.max(heights) / np.max(densities)
            np.testing.assert_allclose(heights, factor * np.array(densities), atol=1e-12)
            np.testing.assert_array_equal(lines[2 * j].get_data()[1], edges)
        assert ax.get_xlabel() == "Distance"
    named = [text.get_text() for text in display.axes_[0].get_yticklabels()]
    assert named == [str(epoch) for epoch in snapshots.snapshot_epochs]
    (legend,) = display.figure_.legends
    assert [t.get_text() for t in legend.get_texts()] == ["within classes", "between classes"]


def test_ridges_of_estimators_are_those_of_the_snapshots(run, snapshots):
    made = {
        (epoch, layer): ClusteringScore(measures=()).fit(
            run.load(epoch, layer).noisy_sample().X, LABELS
        )
        for layer in LAYERS
        for epoch in snapshots.snapshot_epochs
    }
    display = DistanceRidgesDisplay.from_estimators(made)
    np.testing.assert_array_equal(display.within, snapshots.within)
    np.testing.assert_array_equal(display.edges, snapshots.distance_edges)
    assert display.layers == LAYERS


def test_ridges_of_a_run_with_unreadable_parts_say_so(unreadable):
    display = drawn(DistanceRidgesDisplay.from_snapshots(unreadable[1]).plot())
    said = [t for ax in display.axes_ for t in ax.texts if t.get_text() == "not measured"]
    assert len(said) == (~unreadable[1].within.any(axis=2)).sum() > 0


def test_ridges_need_labels_and_one_axes_per_layer(snapshots):
    without = collect_snapshots(open_run(arrays(), sigma=0.5, layers=LAYERS))
    with pytest.raises(ValueError, match="no labels"):
        DistanceRidgesDisplay.from_snapshots(without)
    with pytest.raises(ValueError, match="3 layers"):
        DistanceRidgesDisplay.from_snapshots(snapshots).plot([plt.figure().subplots()])


@pytest.mark.parametrize("quantity", ["auc", "silhouette", "nc1"])
def test_clustering_curves_are_the_numbers_of_the_table(table, quantity):
    display = drawn(QuantityCurveDisplay.from_flow(table, quantity).plot())
    lines = curves(display.ax_)
    assert [line.get_label() for line in lines] == LAYERS
    expected = grid(table, quantity, "value", "clustered")
    for line, values in zip(lines, expected, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert display.ax_.get_xlabel() == "Epoch"
    assert display.ax_.get_ylabel()[-1] == {"nc1": "↓"}.get(quantity, "↑")


def test_clustering_curves_that_are_not_there_are_refused(table):
    with pytest.raises(ValueError, match="no 'davies_bouldin'; it holds auc"):
        QuantityCurveDisplay.from_flow(table, "davies_bouldin")


def test_class_distances_are_drawn_with_their_classes(fitted):
    display = drawn(ClassDistancesDisplay.from_estimator(fitted, title="third").plot())
    ax = display.ax_
    np.testing.assert_array_equal(ax.images[0].get_array(), fitted.class_distances_)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1", "2"]
    texts = {t.get_position(): t.get_text() for t in ax.texts}
    assert texts[1, 0] == f"{fitted.class_distances_[0, 1]:#.2g}"
    others = [a.get_ylabel() for a in display.figure_.axes if a is not ax]
    assert others == ["Mean distance"]


def test_class_distances_of_one_label_set_of_several(rng):
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 4
    est = ClusteringScore(metric="cosine", measures=()).fit(X, {"a": y, "b": y // 2})
    display = drawn(ClassDistancesDisplay.from_estimator(est, label_set="b").plot())
    assert display.matrix.shape == (2, 2)
    assert display.figure_.axes[-1].get_ylabel() == "Mean cosine distance"
    with pytest.raises(ValueError, match="label_set is one of 'a', 'b'"):
        ClassDistancesDisplay.from_estimator(est)
