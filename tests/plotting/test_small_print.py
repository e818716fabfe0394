"""What pictures share: files, cells of epochs, notes below, which estimator, least heights."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo.flow.snapshots import collect_snapshots
from skinfo.view import (
    Curves,
    DepthDisplay,
    DistanceHistogramDisplay,
    DistanceRidgesDisplay,
    InformationFlowDisplay,
    InformationPlaneDisplay,
    QuantityCurveDisplay,
    cell_edges,
    save_figure,
)
from skinfo.view.report.drawing import draw_curves

from .drawn import curves, drawn, grid


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
    narrow = table["estimator"].eq("narrow") & table["quantity"].eq("binned_mutual_info")
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
    overview = drawn(InformationFlowDisplay.from_flow(noted).plot())
    assert NARROW in small_print(overview.axes_["binned_entropy"])
    curve = QuantityCurveDisplay.from_flow(noted, "binned_label_mutual_info", estimator="edges")
    assert small_print(drawn(curve.plot()).ax_) == EDGES


def test_notes_of_numbers_that_are_not_drawn_stay_away(table):
    table = table.assign(notes=np.where(table["quantity"] == "silhouette", "sampled", None))
    assert small_print(drawn(QuantityCurveDisplay.from_flow(table).plot()).ax_) == ""
    assert small_print(InformationPlaneDisplay.from_flow(table).plot().ax_) == ""


def test_notes_of_many_layers_are_counted():
    layers = [f"layer{k}" for k in range(9)]
    rows = pd.DataFrame({"layer": layers, "epoch": 1, "estimator": "mine", "unit": "",
                         "quantity": "auc", "value": 0.5, "stderr": 0.0, "lower": 0.5, "upper": 0.5,
                         "notes": ["sampled"] * 8 + [""]})  # fmt: skip
    ax = drawn(QuantityCurveDisplay.from_flow(rows).plot()).ax_
    assert small_print(ax).endswith("layer3, layer4 and 3 more")


@pytest.fixture(scope="module")
def stuck(noted):
    """Binned information that hangs just below its ceiling, and moves by 0.0008 nats."""
    table = noted[noted["estimator"] == "narrow"].copy()
    rows = table["quantity"].isin(["binned_mutual_info", "binned_entropy"])
    wiggle = np.log(16) - 0.001 + 0.0008 * (table.loc[rows, "epoch"] % 5) / 4
    for column in ("value", "lower", "upper"):
        table.loc[rows, column] = wiggle
    return table


def test_a_wiggle_below_the_ceiling_does_not_fill_the_axis(stuck):
    overview = drawn(InformationFlowDisplay.from_flow(stuck).plot())
    curve = drawn(QuantityCurveDisplay.from_flow(stuck, "binned_mutual_info").plot())
    plane = drawn(InformationPlaneDisplay.from_flow(stuck).plot())
    ends = (overview.axes_["binned_entropy"].get_ylim(), curve.ax_.get_ylim(), plane.ax_.get_xlim())
    for low, high in ends:
        assert high - low >= 0.0199 * np.log(16)
        assert low < np.log(16) - 0.01
        assert high > np.log(16)


def test_axes_of_what_moves_are_left_as_they_were(table):
    """Clustering has no ceiling in nats, and information that moves fills its axis."""
    overview = InformationFlowDisplay.from_flow(table).plot()
    values = grid(table, "binned_entropy", estimator="binned")
    assert (
        overview.axes_["binned_entropy"].get_ylim()[0] > values.min() - 0.1 * np.ptp(values) - 0.1
    )
    flat = table.assign(value=np.where(table["quantity"] == "auc", 0.7, table["value"]))
    low, high = QuantityCurveDisplay.from_flow(flat).plot().ax_.get_ylim()
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
        QuantityCurveDisplay.from_flow(noted, "binned_entropy"),
    ):
        assert display.left_out == {"narrow": ["edges"]}
    overview = InformationFlowDisplay.from_flow(noted, estimator="edges")
    assert overview.left_out == {"edges": ["narrow"]}
    lines = curves(drawn(overview.plot()).axes_["binned_entropy"])
    expected = grid(noted, "binned_entropy", estimator="edges")
    np.testing.assert_array_equal([line.get_ydata() for line in lines], expected)
    (guide,) = (
        line for line in overview.axes_["binned_entropy"].lines if len(line.get_xdata()) == 2
    )
    np.testing.assert_allclose(guide.get_ydata(), np.log(16))


def test_estimators_of_other_kinds_stay_as_they_are(table, noted):
    both = pd.concat([table, noted], ignore_index=True)
    plane = InformationPlaneDisplay.from_flow(both)
    assert plane.quantities == ("mutual_info", "label_mutual_info")
    assert plane.left_out == {"noisy": []}
    overview = InformationFlowDisplay.from_flow(both, estimator="edges").plot()
    assert list(overview.axes_) == ["mutual_info", "label_mutual_info", "binned_entropy", "auc"]
    assert overview.left_out == {"noisy": [], "edges": ["binned", "narrow"], "clustered": []}
    lines = curves(overview.axes_["mutual_info"])
    np.testing.assert_array_equal([line.get_ydata() for line in lines], grid(table, "mutual_info"))


def test_an_estimator_that_is_not_there_is_answered_with_those_that_are(noted):
    with pytest.raises(ValueError, match="'nobody' that an overview shows.* narrow, edges"):
        InformationFlowDisplay.from_flow(noted, estimator="nobody")
    with pytest.raises(ValueError, match="'nobody'; it holds narrow, edges"):
        InformationPlaneDisplay.from_flow(noted, estimator="nobody")
    with pytest.raises(ValueError, match="no 'binned_entropy' of 'nobody', but of narrow, edges"):
        QuantityCurveDisplay.from_flow(noted, "binned_entropy", estimator="nobody")


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
        ("binned", "binned_mutual_info", "I(X;Bin(T)) [nats]"),
        ("binned", "binned_entropy", "H(Bin(T)) [nats]"),
        ("binned", "n_occupied", "Cells occupied"),
        ("clustered", "auc", "Clustering AUC ↑"),
    ],
)
def test_curve_is_called_what_its_kind_of_estimator_measured(table, estimator, quantity, name):
    display = QuantityCurveDisplay.from_flow(table, quantity, estimator=estimator)
    assert display.plot().ax_.get_ylabel() == name


def test_a_table_that_went_through_csv_draws_the_same(tmp_path, table):
    table.to_csv(tmp_path / "flow.csv", index=False)
    back = pd.read_csv(tmp_path / "flow.csv")
    one = InformationPlaneDisplay.from_flow(back)
    np.testing.assert_allclose(one.information, grid(table, "mutual_info"))
    assert list(drawn(InformationFlowDisplay(back).plot()).axes_) == [
        "mutual_info", "label_mutual_info", "binned_entropy", "auc",
    ]  # fmt: skip


HOSTILE = ("_orig_mod.0", r"$\frac$", "a$b$" + "c" * 400)


@pytest.fixture(scope="module")
def hostile():
    """Three layers with names that matplotlib would hide, typeset, or make room for."""
    arrays = {
        (epoch, name): np.eye(8, 2) * (k + epoch)
        for epoch in (1, 2)
        for k, name in enumerate(HOSTILE)
    }
    run = open_run(arrays, labels=np.arange(8) % 2, sigma=0.5, layers=list(HOSTILE))
    estimators = {"noisy": NoisyMIEstimator(None, tol=0.2, random_state=0), "c": ClusteringScore()}
    return information_flow(estimators, run, progress=False), collect_snapshots(run)


@pytest.mark.parametrize("picture", ["overview", "plane", "curve", "ridges"])
def test_names_of_layers_are_drawn_as_they_are(hostile, picture):
    table, snapshots = hostile
    display = drawn({
        "overview": lambda: InformationFlowDisplay.from_flow(table, snapshots),
        "plane": lambda: InformationPlaneDisplay.from_flow(table),
        "curve": lambda: QuantityCurveDisplay.from_flow(table),
        "ridges": lambda: DistanceRidgesDisplay.from_snapshots(snapshots),
    }[picture]().plot())  # fmt: skip
    figure = display.figure_
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    shown = [text.get_text().replace(r"\$", "$") for text in texts]
    assert {*HOSTILE[:2]} <= set(shown)
    assert [text for text in shown if text.startswith("a$b$") and len(text) < 40]
    assert not [text for text in texts if is_math_text(text.get_text()) and text.get_parse_math()]
    widths = [ax.get_position().width for ax in figure.axes]
    assert max(widths) > 0.15


def test_far_upper_ends_do_not_flatten_what_is_drawn_and_are_said(table):
    far = table.copy()
    chosen = (far["quantity"] == "label_mutual_info") & (far["layer"] == "third")
    far.loc[chosen, "upper"] = [183.0, 9.0, 1000.0, np.inf, 0.7]
    display = drawn(QuantityCurveDisplay.from_flow(far, "label_mutual_info").plot())
    assert np.log(2) < display.ax_.get_ylim()[1] < 1.0
    assert small_print(display.ax_).endswith("upper ends above the axis: third to ∞")
    overview = drawn(InformationFlowDisplay.from_flow(far).plot())
    assert overview.axes_["label_mutual_info"].get_ylim()[1] < 1.0
    near = QuantityCurveDisplay.from_flow(table, "label_mutual_info")
    assert near.curves.above_axis() == ""


def test_a_far_ceiling_does_not_flatten_what_is_drawn_and_is_said(table):
    far = table.copy()
    chosen = far["quantity"] == "label_mutual_info"
    far.loc[chosen, ["value", "stderr", "lower", "upper"]] *= 0.1
    (ceiling,) = set(
        far.loc[far["quantity"].eq("label_ceiling") & far["estimator"].eq("noisy"), "value"]
    )
    said = f"I(Y;T): ceiling above the axis: {ceiling:.4f}"
    overview = drawn(InformationFlowDisplay.from_flow(far).plot())
    assert overview.axes_["label_mutual_info"].get_ylim()[1] < ceiling / 3
    assert said in small_print([*overview.axes_.values()][-1])
    depth = drawn(DepthDisplay.from_flow(far).plot())
    assert depth.axes_["label_mutual_info", "noisy"].get_ylim()[1] < ceiling / 3
    assert said in depth.figure_.get_supxlabel()
    curves = Curves.of(far, "noisy", "label_mutual_info")
    figure = draw_curves(curves, several=False)
    assert said in figure.footnote
    assert curves.highest_ceiling is None
    near = Curves.of(table, "noisy", "label_mutual_info")
    assert near.ceiling_above_axis() == ""
    assert near.highest_ceiling == ceiling


@pytest.mark.parametrize("cell", ["much", 1j, [1.0], True])
def test_a_table_edited_by_hand_is_checked_by_every_picture(table, cell):
    wrong = table.astype({"value": object})
    wrong.at[3, "value"] = cell
    for picture in (InformationPlaneDisplay, InformationFlowDisplay, QuantityCurveDisplay):
        with pytest.raises(ValueError, match="The table, row 4, column 'value': expected a number"):
            picture.from_flow(wrong)


@pytest.mark.parametrize("number", [np.inf, -np.inf, 1e308, -1e308])
def test_numbers_that_no_axis_can_span_are_gaps(table, number):
    far = table.copy()
    chosen = far["quantity"].isin(["mutual_info", "label_mutual_info"]) & far["epoch"].eq(8)
    far.loc[chosen, ["value", "lower", "upper"]] = number
    for display in (
        InformationPlaneDisplay.from_flow(far),
        InformationFlowDisplay.from_flow(far),
        QuantityCurveDisplay.from_flow(far, "mutual_info"),
    ):
        drawn(display.plot())
    line = display.ax_.lines[0]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False, False, False]
