"""The overview of a run draws what the table and its arrays hold."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection, QuadMesh

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.flow.snapshots import collect_snapshots
from skinfo.view import InformationFlowDisplay

from .drawn import EPOCHS, LABELS, LAYERS, arrays, curves, drawn, grid, measure, with_losses


@pytest.fixture(scope="module")
def flow(table, snapshots):
    return drawn(InformationFlowDisplay.from_flow(table, snapshots).plot())


def test_overview_curves_are_the_numbers_of_the_table(table, flow):
    axes = flow.axes_
    assert list(axes) == ["mutual_info", "label_mutual_info", "binned_entropy", "auc", "losses"]
    shown = {
        "mutual_info": "noisy",
        "label_mutual_info": "noisy",
        "binned_entropy": "binned",
        "auc": "clustered",
    }
    for quantity, estimator in shown.items():
        lines = curves(axes[quantity])
        assert [line.get_label() for line in lines] == LAYERS
        expected = grid(table, quantity, "value", estimator)
        for line, values in zip(lines, expected, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), EPOCHS)
            np.testing.assert_array_equal(line.get_ydata(), values)


@pytest.mark.parametrize("quantity", ["mutual_info", "label_mutual_info"])
def test_overview_brackets_are_bands_between_lower_and_upper(table, flow, quantity):
    ax = flow.axes_[quantity]
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert len(bands) == len(LAYERS)
    lower, upper = grid(table, quantity, "lower"), grid(table, quantity, "upper")
    assert (upper > lower).all()
    for k, band in enumerate(bands):
        x, y = band.get_paths()[0].vertices.T
        for at, low, high in zip(EPOCHS, lower[k], upper[k], strict=True):
            assert (y[x == at].min(), y[x == at].max()) == (low, high)


def test_overview_has_a_log_axis_of_epochs_that_all_curves_share(flow):
    assert {ax.get_xscale() for ax in flow.axes_.values()} == {"log"}
    assert {ax.get_xlim() for ax in flow.axes_.values()} == {(1, 900)}
    assert flow.axes_["losses"].get_xlabel() == "Epoch"


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_overview_axes_name_quantity_and_unit(table, in_bits, snapshots, unit):
    shown = {"nats": table, "bits": in_bits}[unit]
    axes = InformationFlowDisplay(shown, snapshots).plot().axes_
    assert {name: ax.get_ylabel() for name, ax in axes.items()} == {
        "mutual_info": f"I(X;T) [{unit}]",
        "label_mutual_info": f"I(Y;T) [{unit}]",
        "binned_entropy": f"H(Bin(T)) [{unit}]",
        "auc": "Clustering AUC ↑",
        "losses": "Loss [nats]",
    }


def test_overview_names_the_layers_in_a_legend(flow):
    legend = flow.axes_["mutual_info"].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == LAYERS


def test_overview_draws_the_ceiling_of_the_inputs(flow):
    axes = flow.axes_
    for name, height in (("binned_entropy", np.log(16)), ("label_mutual_info", np.log(2))):
        guides = [line for line in axes[name].lines if len(line.get_xdata()) == 2]
        assert len(guides) == 1
        np.testing.assert_allclose(guides[0].get_ydata(), height)
        assert any(f"{height:.3f}" in text.get_text() for text in axes[name].texts)


def test_overview_calls_a_ceiling_below_the_entropy_of_the_inputs_not_by_its_name(table, flow):
    """Gaussian capacity is lower than H(X) = log 16 here: the line is not H(X)."""
    highest = table.query("quantity == 'ceiling' and estimator == 'noisy'")["value"].max()
    assert highest < np.log(16) - 0.1
    texts = flow.axes_["mutual_info"].texts
    assert not any(f"H(X) = {highest:.3f}" in text.get_text() for text in texts)


def test_overview_draws_losses_and_accuracies(flow, snapshots):
    ax = flow.axes_["losses"]
    losses = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert list(losses) == ["train loss", "test loss"]
    np.testing.assert_array_equal(losses["test loss"], snapshots.losses["test_loss"])
    twin = [a for a in flow.figure_.axes if a.get_ylabel() == "Accuracy"]
    assert len(twin) == 1
    assert [line.get_label() for line in twin[0].lines] == ["train accuracy", "test accuracy"]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["train loss", "test loss", "train accuracy", "test accuracy"]


def test_overview_draws_the_activations_of_every_layer_over_the_epochs(flow, snapshots):
    meshes = {ax.get_title(): mesh for ax in flow.figure_.axes for mesh in ax.collections
              if isinstance(mesh, QuadMesh)}  # fmt: skip
    assert list(meshes) == LAYERS
    for k, mesh in enumerate(meshes.values()):
        counts = snapshots.value_counts[k]
        share = counts / counts.max(axis=1, keepdims=True)
        np.testing.assert_allclose(mesh.get_array().reshape(share.T.shape) ** 2, share.T)
        corners = mesh.get_coordinates()
        np.testing.assert_array_equal(corners[:, 0, 1], snapshots.value_edges[k])


@pytest.mark.parametrize("n_units", [1, 2, 3])
def test_overview_scatters_the_last_layer_at_the_snapshots(table, n_units):
    snapshots = collect_snapshots(
        open_run(arrays(n_units=n_units), labels=LABELS, sigma=0.5, layers=LAYERS)
    )
    alone = table[table["estimator"] == "clustered"]
    figure = InformationFlowDisplay(alone, snapshots).plot().figure_
    if n_units == 3:
        drawn(figure)
    titles = [f"third, epoch {epoch}" for epoch in snapshots.snapshot_epochs]
    axes = [ax for ax in figure.axes if ax.get_title() in titles]
    assert [ax.get_title() for ax in axes] == titles
    for ax, points in zip(axes, snapshots.scatter, strict=True):
        (dots,) = ax.collections
        dots.update_scalarmappable()
        assert (ax.name == "3d") == (n_units >= 3)
        if n_units < 3:
            np.testing.assert_array_equal(dots.get_offsets()[:, :n_units], points)
            np.testing.assert_array_equal(dots.get_array(), snapshots.scatter_labels)
        assert len(np.unique(dots.get_facecolors()[:, :3], axis=0)) == 2


def test_overview_scatters_the_units_of_the_largest_variance_and_names_them(table, snapshots):
    """The first units are dead; of those that live, the same three are drawn at all snapshots."""
    scatter = np.random.default_rng(0).normal(size=(4, 16, 7)) * [0, 0, 0.1, 3, 0, 1, 2]
    scatter[0, :, 2] *= 20
    # A unit that moves, but tells no inputs apart.
    scatter[:, :, 4] = 100 * np.arange(4)[:, None]
    made = replace(snapshots, scatter=scatter, scatter_labels=LABELS)
    alone = table[table["estimator"] == "clustered"]
    display = drawn(InformationFlowDisplay(alone, made).plot())
    axes = [ax for ax in display.figure_.axes if ax.name == "3d"]
    assert len(axes) == 4
    for ax, points in zip(axes, scatter, strict=True):
        (dots,) = ax.collections
        np.testing.assert_array_equal(np.transpose(dots._offsets3d), points[:, [3, 5, 6]])
    column = axes[0].figure
    assert column.get_suptitle().startswith("Units 3, 5, 6 of 7, counted from 0")


def test_overview_scatters_three_units_without_a_word(table, snapshots):
    for n in (1, 2, 3):
        made = replace(snapshots, scatter=np.ones((4, 16, n)), scatter_labels=LABELS)
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
def test_overview_scatters_whatever_was_kept(table, snapshots, scatter, units):
    made = replace(snapshots, scatter=scatter, scatter_labels=LABELS)
    display = InformationFlowDisplay(table, made).plot()
    words = {ax.figure.get_suptitle() for ax in display.figure_.axes} - {""}
    assert [text.split(" of ")[0] for text in words] == [f"Units {units}"]


def test_overview_without_its_arrays_draws_the_curves(table):
    display = drawn(InformationFlowDisplay.from_flow(table).plot())
    assert list(display.axes_) == ["mutual_info", "label_mutual_info", "binned_entropy", "auc"]
    assert len(display.figure_.axes) == 4


def test_overview_without_losses_draws_the_rest(table, snapshots):
    display = InformationFlowDisplay.from_flow(table, replace(snapshots, losses={})).plot()
    assert list(display.axes_) == ["mutual_info", "label_mutual_info", "binned_entropy", "auc"]


def test_overview_without_labels_draws():
    run = open_run(arrays(), layers=LAYERS, sigma=0.5)
    display = drawn(InformationFlowDisplay(measure(run), collect_snapshots(run)).plot())
    assert list(display.axes_) == ["mutual_info", "binned_entropy"]


@pytest.mark.parametrize("epochs", [(0, 1, 50), (1, 2, 20)])
def test_overview_of_any_epochs_draws(epochs):
    run = open_run(arrays(epochs), labels=LABELS, sigma=0.5, layers=LAYERS)
    table = measure(run, others=False)
    display = drawn(InformationFlowDisplay(table, with_losses(collect_snapshots(run))).plot())
    assert {ax.get_xscale() for ax in display.axes_.values()} == {"linear"}
    for line in display.axes_["mutual_info"].lines[: len(LAYERS)]:
        assert line.get_xdata().tolist() == list(epochs)


@pytest.mark.parametrize("epoch", [7, 0])
def test_overview_of_one_checkpoint_is_drawn_against_depth(epoch):
    run = open_run(arrays((epoch,)), labels=LABELS, sigma=0.5, layers=LAYERS)
    table = measure(run, others=False)
    display = drawn(InformationFlowDisplay(table, with_losses(collect_snapshots(run))).plot())
    assert list(display.axes_) == ["mutual_info", "label_mutual_info"]
    ax = display.axes_["label_mutual_info"]
    points = [tuple(line.get_xydata()[0]) for line in ax.lines[1:4]]
    assert points == list(enumerate(grid(table, "label_mutual_info")[:, 0]))
    assert [label.get_text() for label in ax.get_xticklabels()] == LAYERS
    assert ax.get_xlabel() == f"Layer, at epoch {epoch}"
    # A bracket per layer, and in words what is no curve.
    assert len(ax.collections[0].get_segments()) == 3
    assert "test accuracy 0.7" in ax.texts[-1].get_text()


@pytest.mark.parametrize("estimator", ["noisy", "binned", "clustered"])
def test_overview_of_one_estimator_draws_its_curves_alone(table, snapshots, estimator):
    alone = table[table["estimator"] == estimator]
    display = InformationFlowDisplay(alone, snapshots).plot()
    rows = {
        "noisy": ["mutual_info", "label_mutual_info", "losses"],
        "binned": ["binned_entropy", "losses"],
        "clustered": ["auc", "losses"],
    }
    assert list(display.axes_) == rows[estimator]


def test_overview_of_nothing_is_refused(table):
    with pytest.raises(ValueError, match="nothing that an overview shows"):
        InformationFlowDisplay(table[table["quantity"] == "silhouette"]).plot()


def test_overview_of_a_run_with_unreadable_parts_draws_the_rest(unreadable):
    table, snapshots, epochs, layers = unreadable
    display = InformationFlowDisplay(table, snapshots).plot()
    if layers == ["third"]:
        drawn(display)
    for line in display.axes_["mutual_info"].lines[: len(LAYERS)]:
        missing = dict(zip(line.get_xdata(), np.isnan(line.get_ydata()), strict=True))
        lost = {epoch: epoch in epochs and line.get_label() in layers for epoch in EPOCHS}
        assert {epoch: missing.get(epoch, True) for epoch in EPOCHS} == lost


def test_log_k_stands_beside_an_entropy_of_labels_that_is_less():
    labels = np.arange(16) // 12
    run = open_run(arrays((1, 8)), labels=labels, sigma=0.5, layers=LAYERS)
    asked = NoisyMIEstimator(0.5, population=True, tol=0.2, random_state=0)
    table = information_flow(asked, run, progress=False)
    ax = InformationFlowDisplay(table).plot().axes_["label_mutual_info"]
    value = table.loc[table["quantity"] == "label_ceiling", "value"].iloc[0]
    assert value < np.log(2)
    assert f"H(Y) = {value:.3f}, log K = 0.693" in [text.get_text() for text in ax.texts]
