"""The pictures draw what the table holds, say its unit, and warn of nothing."""

from dataclasses import replace

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.patches import StepPatch

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo.panel import collect_panel
from skinfo.plotting import (
    ClassDistancesDisplay,
    ClusteringCurveDisplay,
    DistanceHistogramDisplay,
    DistanceRidgesDisplay,
    InformationFlowDisplay,
    InformationPlaneDisplay,
    cell_edges,
    plot_distances,
    save_figure,
)

LAYERS = ["first", "second", "third"]
EPOCHS = (1, 8, 40, 200, 900)
LABELS = np.arange(16) % 2
LOSSES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


def arrays(epochs=EPOCHS, n_units=2):
    """Layers that cluster by label as training goes on."""
    rng = np.random.default_rng(0)
    return {
        (epoch, layer): rng.normal(size=(16, 4, n_units)) + k * 0.1 * np.log(epoch + 1.0)
        * LABELS[:, None, None]
        for epoch in epochs
        for k, layer in enumerate(LAYERS, start=1)
    }  # fmt: skip


def measure(run, units="nats", others=True):
    noisy = NoisyMIEstimator(0.5, tol=0.2, units=units, random_state=0)
    estimators = {"noisy": noisy}
    if others:
        estimators["binned"] = BinningMIEstimator(bin_width=0.5, units=units)
        if run.labels is not None:
            estimators["clustering"] = ClusteringScore()
    return information_flow(estimators, run, progress=False)


def with_losses(panel):
    n = len(panel.epochs)
    losses = {name: np.linspace(0.7, 0.1 * k, n) for k, name in enumerate(LOSSES)}
    return replace(panel, losses=losses)


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma=0.5, layers=LAYERS)


@pytest.fixture(scope="module")
def table(run):
    return measure(run)


@pytest.fixture(scope="module")
def in_bits(run):
    return measure(run, "bits")


@pytest.fixture(scope="module")
def panel(run):
    return with_losses(collect_panel(run))


@pytest.fixture(scope="module")
def plane(table):
    return drawn(InformationPlaneDisplay.from_flow(table).plot())


@pytest.fixture(scope="module")
def flow(table, panel):
    return drawn(InformationFlowDisplay.from_flow(table, panel).plot())


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def drawn(display_or_figure):
    """Render in full: some warnings appear only then."""
    figure = getattr(display_or_figure, "figure_", display_or_figure)
    figure.canvas.draw()
    return display_or_figure


def grid(table, quantity, column="value", estimator="noisy"):
    chosen = table[(table["quantity"] == quantity) & (table["estimator"] == estimator)]
    return chosen.pivot(index="layer", columns="epoch", values=column).loc[LAYERS].to_numpy()


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


# --- the information plane -----------------------------------------------------------------------


def test_plane_points_are_the_numbers_of_the_table(table, plane):
    points = [c for c in plane.ax_.collections if isinstance(c, PathCollection)]
    assert len(points) == len(LAYERS)
    information, label = grid(table, "mutual_info"), grid(table, "label_mutual_info")
    for k, collection in enumerate(points):
        np.testing.assert_array_equal(collection.get_offsets(), np.c_[information[k], label[k]])
        assert collection.get_label() == LAYERS[k]
        np.testing.assert_array_equal(collection.get_array(), EPOCHS)


def test_plane_joins_the_layers_of_an_epoch_by_one_faint_line(table, plane):
    ax = plane.ax_
    information, label = grid(table, "mutual_info"), grid(table, "label_mutual_info")
    assert len(ax.lines) == len(EPOCHS)
    for k, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xydata(), np.c_[information[:, k], label[:, k]])
        assert line.get_linewidth() < 1
        assert min(mpl.colors.to_rgb(line.get_color())) > 0.6


def test_plane_has_a_colour_bar_of_epochs(plane):
    others = [ax for ax in plane.figure_.axes if ax is not plane.ax_]
    assert [ax.get_ylabel() for ax in others] == ["Epoch"]
    assert others[0].get_ylim() == pytest.approx((EPOCHS[0], EPOCHS[-1]))
    points = [c for c in plane.ax_.collections if isinstance(c, PathCollection)]
    assert all(isinstance(c.norm, LogNorm) for c in points)
    assert {c.get_clim() for c in points} == {(1, 900)}


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_plane_axes_name_quantity_and_unit(table, in_bits, unit):
    shown = {"nats": table, "bits": in_bits}[unit]
    ax = InformationPlaneDisplay.from_flow(shown).plot().ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == (f"I(X;T) [{unit}]", f"I(Y;T) [{unit}]")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == LAYERS


def test_plane_of_another_estimator_can_be_asked_for(table):
    display = InformationPlaneDisplay.from_flow(table, estimator="binned")
    binned = grid(table, "mutual_info", estimator="binned")
    np.testing.assert_array_equal(display.information, binned)
    first = InformationPlaneDisplay.from_flow(table).information
    np.testing.assert_array_equal(first, grid(table, "mutual_info"))


def test_plane_falls_back_to_binned_information(table):
    binned = table[table["estimator"] != "noisy"]
    display = InformationPlaneDisplay.from_flow(binned)
    np.testing.assert_array_equal(display.information,
                                  grid(table, "mutual_info", "value", "binned"))  # fmt: skip


def test_plane_of_binned_information_calls_it_so(table):
    """The numbers of bins are those of Bin(T): I(X;T) of the layer itself is another matter."""
    alone = table[table["estimator"] == "binned"]
    for shown, name in ((alone, None), (table, "binned")):
        ax = InformationPlaneDisplay.from_flow(shown, estimator=name).plot().ax_
        assert ax.get_xlabel() == "I(X;Bin(T)) [nats]"
        assert ax.get_ylabel() == "I(Y;Bin(T)) [nats]"


def test_plane_is_drawn_into_the_axes_given(table):
    figure, ax = plt.subplots()
    display = drawn(InformationPlaneDisplay.from_flow(table).plot(ax))
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("epochs", [(5,), (0, 1, 100), (3, 4), (0,)])
def test_plane_of_any_epochs_draws(epochs):
    run = open_run(arrays(epochs), labels=LABELS, sigma=0.5, layers=LAYERS)
    display = drawn(InformationPlaneDisplay.from_flow(measure(run, others=False)).plot())
    assert len(display.ax_.lines) == len(epochs)
    assert display.information.shape == (3, len(epochs))


def test_plane_needs_label_information(table):
    without = table[table["quantity"] != "label_mutual_info"]
    with pytest.raises(ValueError, match="label_mutual_info.*run that has labels"):
        InformationPlaneDisplay.from_flow(without)


@pytest.mark.parametrize("estimator", ["clustering", "nobody"])
def test_plane_names_the_estimator_that_has_no_information(table, estimator):
    with pytest.raises(ValueError, match=f"named '{estimator}'"):
        InformationPlaneDisplay.from_flow(table, estimator=estimator)


# --- the panel -----------------------------------------------------------------------------------


def test_panel_curves_are_the_numbers_of_the_table(table, flow):
    axes = flow.axes_
    assert list(axes) == ["information", "label_information", "binned", "clustering", "losses"]
    shown = {
        "information": ("mutual_info", "noisy"),
        "label_information": ("label_mutual_info", "noisy"),
        "binned": ("entropy", "binned"),
        "clustering": ("auc", "clustering"),
    }
    for name, (quantity, estimator) in shown.items():
        lines = curves(axes[name])
        assert [line.get_label() for line in lines] == LAYERS
        expected = grid(table, quantity, "value", estimator)
        for line, values in zip(lines, expected, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), EPOCHS)
            np.testing.assert_array_equal(line.get_ydata(), values)


@pytest.mark.parametrize("name", ["information", "label_information"])
def test_panel_brackets_are_bands_between_lower_and_upper(table, flow, name):
    ax = flow.axes_[name]
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert len(bands) == len(LAYERS)
    quantity = {"information": "mutual_info", "label_information": "label_mutual_info"}[name]
    lower, upper = grid(table, quantity, "lower"), grid(table, quantity, "upper")
    assert (upper > lower).all()
    for k, band in enumerate(bands):
        x, y = band.get_paths()[0].vertices.T
        for at, low, high in zip(EPOCHS, lower[k], upper[k], strict=True):
            assert (y[x == at].min(), y[x == at].max()) == (low, high)


def test_panel_has_a_log_axis_of_epochs_that_all_curves_share(flow):
    assert {ax.get_xscale() for ax in flow.axes_.values()} == {"log"}
    assert {ax.get_xlim() for ax in flow.axes_.values()} == {(1, 900)}
    assert flow.axes_["losses"].get_xlabel() == "Epoch"


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_panel_axes_name_quantity_and_unit(table, in_bits, panel, unit):
    shown = {"nats": table, "bits": in_bits}[unit]
    axes = InformationFlowDisplay(shown, panel).plot().axes_
    assert {name: ax.get_ylabel() for name, ax in axes.items()} == {
        "information": f"I(X;T) [{unit}]",
        "label_information": f"I(Y;T) [{unit}]",
        "binned": f"H(Bin(T)) [{unit}]",
        "clustering": "Clustering AUC",
        "losses": "Loss [nats]",
    }


def test_panel_names_the_layers_in_a_legend(flow):
    legend = flow.axes_["information"].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == LAYERS


def test_panel_draws_the_ceiling_of_the_inputs(flow):
    axes = flow.axes_
    for name, height in (("binned", np.log(16)), ("label_information", np.log(2))):
        guides = [line for line in axes[name].lines if len(line.get_xdata()) == 2]
        assert len(guides) == 1
        np.testing.assert_allclose(guides[0].get_ydata(), height)
        assert any(f"{height:.3f}" in text.get_text() for text in axes[name].texts)


def test_panel_calls_a_ceiling_below_the_entropy_of_the_inputs_not_by_its_name(table, flow):
    """Gaussian capacity is lower than H(X) = log 16 here: the line is not H(X)."""
    highest = table.query("quantity == 'ceiling' and estimator == 'noisy'")["value"].max()
    assert highest < np.log(16) - 0.1
    texts = flow.axes_["information"].texts
    assert not any(f"H(X) = {highest:.3f}" in text.get_text() for text in texts)


def test_panel_draws_losses_and_accuracies(flow, panel):
    ax = flow.axes_["losses"]
    losses = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert list(losses) == ["train loss", "test loss"]
    np.testing.assert_array_equal(losses["test loss"], panel.losses["test_loss"])
    twin = [a for a in flow.figure_.axes if a.get_ylabel() == "Accuracy"]
    assert len(twin) == 1
    assert [line.get_label() for line in twin[0].lines] == ["train accuracy", "test accuracy"]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["train loss", "test loss", "train accuracy", "test accuracy"]


def test_panel_draws_the_activations_of_every_layer_over_the_epochs(flow, panel):
    meshes = {ax.get_title(): mesh for ax in flow.figure_.axes for mesh in ax.collections
              if isinstance(mesh, QuadMesh)}  # fmt: skip
    assert list(meshes) == LAYERS
    for k, mesh in enumerate(meshes.values()):
        counts = panel.value_counts[k]
        share = counts / counts.max(axis=1, keepdims=True)
        np.testing.assert_allclose(mesh.get_array().reshape(share.T.shape) ** 2, share.T)
        corners = mesh.get_coordinates()
        np.testing.assert_array_equal(corners[:, 0, 1], panel.value_edges[k])


@pytest.mark.parametrize("n_units", [1, 2, 3])
def test_panel_scatters_the_last_layer_at_the_snapshots(table, n_units):
    panel = collect_panel(
        open_run(arrays(n_units=n_units), labels=LABELS, sigma=0.5, layers=LAYERS)
    )
    alone = table[table["estimator"] == "clustering"]
    figure = InformationFlowDisplay(alone, panel).plot().figure_
    if n_units == 3:
        drawn(figure)
    titles = [f"third, epoch {epoch}" for epoch in panel.snapshots]
    axes = [ax for ax in figure.axes if ax.get_title() in titles]
    assert [ax.get_title() for ax in axes] == titles
    for ax, points in zip(axes, panel.scatter, strict=True):
        (dots,) = ax.collections
        dots.update_scalarmappable()
        assert (ax.name == "3d") == (n_units >= 3)
        if n_units < 3:
            np.testing.assert_array_equal(dots.get_offsets()[:, :n_units], points)
            np.testing.assert_array_equal(dots.get_array(), panel.scatter_labels)
        assert len(np.unique(dots.get_facecolors()[:, :3], axis=0)) == 2


def test_panel_scatters_the_units_of_the_largest_variance_and_names_them(table, panel):
    """The first units are dead; of those that live, the same three are drawn at all snapshots."""
    scatter = np.random.default_rng(0).normal(size=(4, 16, 7)) * [0, 0, 0.1, 3, 0, 1, 2]
    scatter[0, :, 2] *= 20
    # A unit that moves, but tells no inputs apart.
    scatter[:, :, 4] = 100 * np.arange(4)[:, None]
    made = replace(panel, scatter=scatter, scatter_labels=LABELS)
    alone = table[table["estimator"] == "clustering"]
    display = drawn(InformationFlowDisplay(alone, made).plot())
    axes = [ax for ax in display.figure_.axes if ax.name == "3d"]
    assert len(axes) == 4
    for ax, points in zip(axes, scatter, strict=True):
        (dots,) = ax.collections
        np.testing.assert_array_equal(np.transpose(dots._offsets3d), points[:, [3, 5, 6]])
    column = axes[0].figure
    assert column.get_suptitle().startswith("Units 3, 5, 6 of 7, counted from 0")


def test_panel_scatters_three_units_without_a_word(table, panel):
    for n in (1, 2, 3):
        made = replace(panel, scatter=np.ones((4, 16, n)), scatter_labels=LABELS)
        display = InformationFlowDisplay(table, made).plot()
        assert {ax.figure.get_suptitle() for ax in display.figure_.axes} == {""}


@pytest.mark.parametrize(
    ("scatter", "units"),
    [
        (np.zeros((4, 16, 5)), "0, 1, 2"),
        (np.full((4, 16, 5), np.nan), "0, 1, 2"),
        (np.arange(320).reshape(4, 16, 5) * [0, 0, 1, 1e200, 1e300], "0, 3, 4"),
        (np.where(np.arange(320).reshape(4, 16, 5) < 80, np.nan, LABELS[:, None]) * np.arange(5),
         "2, 3, 4"),
    ],
    ids=["dead", "unread", "diverged", "one unread"],
)  # fmt: skip
def test_panel_scatters_whatever_was_kept(table, panel, scatter, units):
    made = replace(panel, scatter=scatter, scatter_labels=LABELS)
    display = InformationFlowDisplay(table, made).plot()
    words = {ax.figure.get_suptitle() for ax in display.figure_.axes} - {""}
    assert [text.split(" of ")[0] for text in words] == [f"Units {units}"]


def test_panel_without_its_arrays_draws_the_curves(table):
    display = drawn(InformationFlowDisplay.from_flow(table).plot())
    assert list(display.axes_) == ["information", "label_information", "binned", "clustering"]
    assert len(display.figure_.axes) == 4


def test_panel_without_losses_draws_the_rest(table, panel):
    display = InformationFlowDisplay.from_flow(table, replace(panel, losses={})).plot()
    assert list(display.axes_) == ["information", "label_information", "binned", "clustering"]


def test_panel_without_labels_draws():
    run = open_run(arrays(), layers=LAYERS, sigma=0.5)
    display = drawn(InformationFlowDisplay(measure(run), collect_panel(run)).plot())
    assert list(display.axes_) == ["information", "binned"]


@pytest.mark.parametrize("epochs", [(7,), (0,), (0, 1, 50), (1, 2, 20)])
def test_panel_of_any_epochs_draws(epochs):
    run = open_run(arrays(epochs), labels=LABELS, sigma=0.5, layers=LAYERS)
    table = measure(run, others=False)
    display = drawn(InformationFlowDisplay(table, with_losses(collect_panel(run))).plot())
    assert {ax.get_xscale() for ax in display.axes_.values()} == {"linear"}
    for line in display.axes_["information"].lines[: len(LAYERS)]:
        assert line.get_xdata().tolist() == list(epochs)


@pytest.mark.parametrize("estimator", ["noisy", "binned", "clustering"])
def test_panel_of_one_estimator_draws_its_curves_alone(table, panel, estimator):
    alone = table[table["estimator"] == estimator]
    display = InformationFlowDisplay(alone, panel).plot()
    rows = {
        "noisy": ["information", "label_information", "losses"],
        "binned": ["binned", "losses"],
        "clustering": ["clustering", "losses"],
    }
    assert list(display.axes_) == rows[estimator]


def test_panel_of_nothing_is_refused(table):
    with pytest.raises(ValueError, match="nothing that a panel shows"):
        InformationFlowDisplay(table[table["quantity"] == "silhouette"]).plot()


UNREADABLE = {
    "last epoch": ([900], LAYERS),
    "first epochs": ([1, 8], LAYERS),
    "last layer": (EPOCHS, ["third"]),
    "first layer": (EPOCHS, ["first"]),
}


@pytest.fixture(scope="module", params=UNREADABLE)
def unreadable(request):
    """A run some of whose arrays cannot be read: its table, its panel, what was lost."""
    epochs, layers = UNREADABLE[request.param]
    made = arrays() | {(e, name): np.array([["no number"]]) for e in epochs for name in layers}
    run = open_run(made, labels=LABELS, sigma=0.5, layers=LAYERS)
    with pytest.warns(UserWarning, match="not measured"):
        table = measure(run)
    return table, collect_panel(run), epochs, layers


def test_panel_of_a_run_with_unreadable_parts_draws_the_rest(unreadable):
    table, panel, epochs, layers = unreadable
    display = InformationFlowDisplay(table, panel).plot()
    if layers == ["third"]:
        drawn(display)
    for line in display.axes_["information"].lines[: len(LAYERS)]:
        missing = dict(zip(line.get_xdata(), np.isnan(line.get_ydata()), strict=True))
        lost = {epoch: epoch in epochs and line.get_label() in layers for epoch in EPOCHS}
        assert {epoch: missing.get(epoch, True) for epoch in EPOCHS} == lost


def test_plane_of_a_run_with_unreadable_parts_draws_the_rest(unreadable):
    table, _, epochs, _ = unreadable
    ax = InformationPlaneDisplay.from_flow(table).plot().ax_
    points = [c for c in ax.collections if isinstance(c, PathCollection)]
    read = [epoch for epoch in EPOCHS if epoch not in epochs] or EPOCHS
    assert {c.get_clim() for c in points} == {(read[0], read[-1])}


def test_plane_colours_an_epoch_alike_in_all_layers(table):
    """A layer that was not measured at the first and last epochs has no scale of its own."""
    lost = table["layer"].eq("second") & table["epoch"].isin([1, 900])
    ax = InformationPlaneDisplay.from_flow(table[~lost]).plot().ax_
    points = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert {c.get_clim() for c in points} == {(1, 900)}


def test_distances_of_a_run_with_unreadable_parts_draw_the_rest(unreadable):
    figure = plot_distances(unreadable[1])
    assert len(figure.axes) == len(LAYERS) * len(unreadable[1].snapshots)


# --- distances -----------------------------------------------------------------------------------


def outlines(ax):
    return [patch for patch in ax.patches if isinstance(patch, StepPatch) and not patch.get_fill()]


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    return ClusteringScore().fit(rng.normal(size=(90, 4)) + 2 * labels[:, None], labels)


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


def test_distances_of_a_run_are_a_small_multiple_each(panel):
    figure = drawn(plot_distances(panel))
    expected = [f"{layer}, epoch {epoch}" for layer in LAYERS for epoch in panel.snapshots]
    assert [ax.get_title() for ax in figure.axes] == expected
    for ax in figure.axes:
        for patch in outlines(ax):
            density, edges, _ = patch.get_data()
            assert np.sum(density * np.diff(edges)) == pytest.approx(1, abs=1e-12)


def test_distances_of_a_run_without_labels_are_refused():
    panel = collect_panel(open_run(arrays(), sigma=0.5, layers=LAYERS))
    with pytest.raises(ValueError, match="no labels"):
        plot_distances(panel)


# --- clustering ----------------------------------------------------------------------------------


def test_ridges_are_the_densities_of_every_layer_and_snapshot(panel):
    display = drawn(DistanceRidgesDisplay.from_panel(panel).plot())
    assert [ax.get_title() for ax in display.axes_] == LAYERS
    for k, ax in enumerate(display.axes_):
        lines = outlines(ax)
        assert len(lines) == 2 * len(panel.snapshots)
        for j in range(len(panel.snapshots)):
            edges, width = panel.distance_edges[k, j], np.diff(panel.distance_edges[k, j])
            densities = [c[k, j] / c[k, j].sum() / width for c in (panel.within, panel.between)]
            heights = [j - line.get_data()[0] for line in lines[2 * j : 2 * j + 2]]
            factor = np.max(heights) / np.max(densities)
            np.testing.assert_allclose(heights, factor * np.array(densities), atol=1e-12)
            np.testing.assert_array_equal(lines[2 * j].get_data()[1], edges)
        assert ax.get_xlabel() == "Distance"
    named = [text.get_text() for text in display.axes_[0].get_yticklabels()]
    assert named == [str(epoch) for epoch in panel.snapshots]
    (legend,) = display.figure_.legends
    assert [t.get_text() for t in legend.get_texts()] == ["within classes", "between classes"]


def test_ridges_of_estimators_are_those_of_the_panel(run, panel):
    made = {
        (epoch, layer): ClusteringScore(measures=()).fit(run.noisy_samples(epoch, layer).X, LABELS)
        for layer in LAYERS
        for epoch in panel.snapshots
    }
    display = DistanceRidgesDisplay.from_estimators(made)
    np.testing.assert_array_equal(display.within, panel.within)
    np.testing.assert_array_equal(display.edges, panel.distance_edges)
    assert display.layers == LAYERS


def test_ridges_of_a_run_with_unreadable_parts_say_so(unreadable):
    display = drawn(DistanceRidgesDisplay.from_panel(unreadable[1]).plot())
    said = [t for ax in display.axes_ for t in ax.texts if t.get_text() == "not measured"]
    assert len(said) == (~unreadable[1].within.any(axis=2)).sum() > 0


def test_ridges_need_labels_and_an_axes_a_layer(panel):
    without = collect_panel(open_run(arrays(), sigma=0.5, layers=LAYERS))
    with pytest.raises(ValueError, match="no labels"):
        DistanceRidgesDisplay.from_panel(without)
    with pytest.raises(ValueError, match="3 layers"):
        DistanceRidgesDisplay.from_panel(panel).plot([plt.figure().subplots()])


@pytest.mark.parametrize("quantity", ["auc", "silhouette", "nc1"])
def test_clustering_curves_are_the_numbers_of_the_table(table, quantity):
    display = drawn(ClusteringCurveDisplay.from_flow(table, quantity).plot())
    lines = curves(display.ax_)
    assert [line.get_label() for line in lines] == LAYERS
    expected = grid(table, quantity, "value", "clustering")
    for line, values in zip(lines, expected, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert display.ax_.get_xlabel() == "Epoch"
    assert display.ax_.get_ylabel()[-1] == {"nc1": "↓"}.get(quantity, "↑")


def test_clustering_curves_that_are_not_there_are_refused(table):
    with pytest.raises(ValueError, match="no 'davies_bouldin'; of what .* holds auc"):
        ClusteringCurveDisplay.from_flow(table, "davies_bouldin")


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


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"),
                                               (".svg", b"<?xml")])  # fmt: skip
def test_a_figure_is_saved_in_the_format_of_its_suffix(tmp_path, fitted, suffix, magic):
    figure = DistanceHistogramDisplay.from_estimator(fitted).plot().figure_
    save_figure(figure, tmp_path / f"picture{suffix}")
    assert (tmp_path / f"picture{suffix}").read_bytes().startswith(magic)


@pytest.mark.parametrize("name", ["picture.xyz", "picture"])
def test_another_format_is_refused_and_nothing_written(tmp_path, fitted, name):
    figure = DistanceHistogramDisplay.from_estimator(fitted).plot().figure_
    with pytest.raises(ValueError, match=r"a picture ends in one of .*\.png"):
        save_figure(figure, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("epochs", "edges"),
    [
        ([1, 100], [0.1, 10, 1000]),
        ([0, 10], [-5, 5, 15]),
        ([0, 10, 30], [-5, 5, 20, 40]),
        ([1, 2, 10], [0.5, 1.5, 6, 14]),
    ],
)
def test_cell_edges_lie_halfway(epochs, edges):
    np.testing.assert_allclose(cell_edges(np.array(epochs)), edges)


@pytest.mark.parametrize("epoch", [0, 5])
def test_one_epoch_has_a_cell_around_it(epoch):
    low, high = cell_edges(np.array([epoch]))
    assert low < epoch < high


def small_print(ax):
    return " ".join(text.get_text().replace("\n", " ") for text in ax.texts)


@pytest.fixture(scope="module")
def noted(run):
    """Two estimators of cells: too narrow ones in two layers, values beyond the edges in all."""
    table = information_flow(
        {"narrow": BinningMIEstimator(bin_width=0.5), "edges": BinningMIEstimator(
            bin_edges=[-0.5, 0.0, 0.5])}, run, progress=False,
    ).assign(notes="")  # fmt: skip
    narrow = table["estimator"].eq("narrow") & table["quantity"].eq("mutual_info")
    table.loc[narrow & table["layer"].eq("first"), "notes"] = "at ceiling; too few replicas"
    table.loc[narrow & table["layer"].eq("third") & (table["epoch"] < 10), "notes"] = "at ceiling"
    edges = table["estimator"].eq("edges") & table["quantity"].eq("outside_fraction")
    table.loc[edges, "notes"] = "outside edges"
    return table


NARROW = "narrow: at ceiling in first (5 of 5 epochs), third (2 of 5); too few replicas in first"
EDGES = "edges: outside edges in all layers"


def test_notes_of_what_is_drawn_are_written_below(noted):
    assert small_print(drawn(InformationPlaneDisplay.from_flow(noted).plot()).ax_) == NARROW
    plane = InformationPlaneDisplay.from_flow(noted, estimator="edges")
    assert small_print(drawn(plane.plot()).ax_) == EDGES
    panel = drawn(InformationFlowDisplay.from_flow(noted).plot())
    assert NARROW in small_print(panel.axes_["binned"])
    curve = ClusteringCurveDisplay.from_flow(noted, "label_mutual_info", estimator="edges")
    assert small_print(drawn(curve.plot()).ax_) == EDGES


def test_notes_of_numbers_that_are_not_drawn_stay_away(table):
    table = table.assign(notes=np.where(table["quantity"] == "silhouette", "sampled", None))
    assert small_print(drawn(ClusteringCurveDisplay.from_flow(table).plot()).ax_) == ""
    assert small_print(InformationPlaneDisplay.from_flow(table).plot().ax_) == ""


def test_notes_of_many_layers_are_counted():
    layers = [f"layer{k}" for k in range(9)]
    rows = pd.DataFrame({"layer": layers, "epoch": 1, "estimator": "mine", "unit": "",
                         "quantity": "auc", "value": 0.5, "lower": 0.5, "upper": 0.5,
                         "notes": ["sampled"] * 8 + [""]})  # fmt: skip
    ax = drawn(ClusteringCurveDisplay.from_flow(rows).plot()).ax_
    assert small_print(ax).endswith("layer3, layer4, 3 more layers")


@pytest.fixture(scope="module")
def stuck(noted):
    """Binned information that hangs just below its ceiling, and moves by 0.0008 nats."""
    table = noted[noted["estimator"] == "narrow"].copy()
    rows = table["quantity"].isin(["mutual_info", "entropy"])
    wiggle = np.log(16) - 0.001 + 0.0008 * (table.loc[rows, "epoch"] % 5) / 4
    for column in ("value", "lower", "upper"):
        table.loc[rows, column] = wiggle
    return table


def test_a_wiggle_below_the_ceiling_does_not_fill_the_axis(stuck):
    panel = drawn(InformationFlowDisplay.from_flow(stuck).plot())
    curve = drawn(ClusteringCurveDisplay.from_flow(stuck, "mutual_info").plot())
    plane = drawn(InformationPlaneDisplay.from_flow(stuck).plot())
    ends = (panel.axes_["binned"].get_ylim(), curve.ax_.get_ylim(), plane.ax_.get_xlim())
    for low, high in ends:
        assert high - low >= 0.0199 * np.log(16)
        assert low < np.log(16) - 0.01
        assert high > np.log(16)


def test_axes_of_what_moves_are_left_as_they_were(table):
    """Clustering has no ceiling in nats, and information that moves fills its axis."""
    panel = InformationFlowDisplay.from_flow(table).plot()
    values = grid(table, "entropy", estimator="binned")
    assert panel.axes_["binned"].get_ylim()[0] > values.min() - 0.1 * np.ptp(values) - 0.1
    flat = table.assign(value=np.where(table["quantity"] == "auc", 0.7, table["value"]))
    low, high = ClusteringCurveDisplay.from_flow(flat).plot().ax_.get_ylim()
    ends = table.loc[table["quantity"] == "auc", ["lower", "upper"]].to_numpy()
    assert low > min(0.5, ends.min()) - 0.1
    assert high < max(0.7, ends.max()) + 0.1


def test_a_second_plane_in_the_same_axes_is_seen_whole(table, stuck):
    ax = InformationPlaneDisplay.from_flow(stuck).plot().ax_
    InformationPlaneDisplay.from_flow(table).plot(ax)
    low, high = ax.get_xlim()
    values = grid(table, "mutual_info")
    assert low < values.min()
    assert high > np.log(16) - 0.001


def test_of_two_estimators_of_a_kind_one_is_drawn_and_the_other_named(noted):
    for display in (
        InformationPlaneDisplay.from_flow(noted),
        InformationFlowDisplay.from_flow(noted),
        ClusteringCurveDisplay.from_flow(noted, "entropy"),
    ):
        assert display.left_out == {"narrow": ["edges"]}
    panel = InformationFlowDisplay.from_flow(noted, estimator="edges")
    assert panel.left_out == {"edges": ["narrow"]}
    lines = curves(drawn(panel.plot()).axes_["binned"])
    expected = grid(noted, "entropy", estimator="edges")
    np.testing.assert_array_equal([line.get_ydata() for line in lines], expected)
    (guide,) = (line for line in panel.axes_["binned"].lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(guide.get_ydata(), np.log(16))


def test_estimators_of_other_kinds_stay_as_they_are(table, noted):
    both = pd.concat([table, noted], ignore_index=True)
    plane = InformationPlaneDisplay.from_flow(both)
    assert (plane.kind, plane.left_out) == ("noisy", {"noisy": []})
    panel = InformationFlowDisplay.from_flow(both, estimator="edges").plot()
    assert list(panel.axes_) == ["information", "label_information", "binned", "clustering"]
    assert panel.left_out == {"noisy": [], "edges": ["binned", "narrow"], "clustering": []}
    lines = curves(panel.axes_["information"])
    np.testing.assert_array_equal([line.get_ydata() for line in lines], grid(table, "mutual_info"))


def test_an_estimator_that_is_not_there_is_answered_with_those_that_are(noted):
    with pytest.raises(ValueError, match="'nobody' that a panel shows.* narrow, edges"):
        InformationFlowDisplay.from_flow(noted, estimator="nobody")
    with pytest.raises(ValueError, match="'nobody'; it holds narrow, edges"):
        InformationPlaneDisplay.from_flow(noted, estimator="nobody")
    with pytest.raises(ValueError, match="no 'entropy' of 'nobody', but of narrow, edges"):
        ClusteringCurveDisplay.from_flow(noted, "entropy", estimator="nobody")


def test_small_print_stays_within_the_picture(noted):
    display = drawn(InformationPlaneDisplay.from_flow(noted).plot())
    (text,) = display.ax_.texts
    box = text.get_window_extent()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= display.figure_.bbox.width
    assert box.y1 <= display.ax_.xaxis.label.get_window_extent().y0


@pytest.mark.parametrize(
    ("estimator", "quantity", "name"),
    [
        ("noisy", "mutual_info", "I(X;T) [nats]"),
        ("noisy", "entropy", "h(T) [nats]"),
        ("binned", "mutual_info", "I(X;Bin(T)) [nats]"),
        ("binned", "entropy", "H(Bin(T)) [nats]"),
        ("binned", "n_occupied", "Cells occupied"),
        ("clustering", "auc", "Clustering AUC ↑"),
    ],
)
def test_curve_is_called_what_its_kind_of_estimator_measured(table, estimator, quantity, name):
    display = ClusteringCurveDisplay.from_flow(table, quantity, estimator=estimator)
    assert display.plot().ax_.get_ylabel() == name


def test_a_table_that_went_through_csv_draws_the_same(tmp_path, table):
    table.to_csv(tmp_path / "flow.csv", index=False)
    back = pd.read_csv(tmp_path / "flow.csv")
    one = InformationPlaneDisplay.from_flow(back)
    np.testing.assert_allclose(one.information, grid(table, "mutual_info"))
    assert list(drawn(InformationFlowDisplay(back).plot()).axes_) == [
        "information", "label_information", "binned", "clustering",
    ]  # fmt: skip
