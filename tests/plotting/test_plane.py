"""The information plane draws what the table holds."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm

from skinfo import open_run
from skinfo.view import InformationPlaneDisplay

from .drawn import EPOCHS, LABELS, LAYERS, arrays, drawn, grid, measure


@pytest.fixture(scope="module")
def plane(table):
    return drawn(InformationPlaneDisplay.from_flow(table).plot())


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
    binned = grid(table, "binned_mutual_info", estimator="binned")
    np.testing.assert_array_equal(display.information, binned)
    first = InformationPlaneDisplay.from_flow(table).information
    np.testing.assert_array_equal(first, grid(table, "mutual_info"))


def test_plane_falls_back_to_binned_information(table):
    binned = table[table["estimator"] != "noisy"]
    display = InformationPlaneDisplay.from_flow(binned)
    np.testing.assert_array_equal(display.information,
                                  grid(table, "binned_mutual_info", "value", "binned"))  # fmt: skip


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
    without = table[~table["quantity"].str.contains("label_mutual_info")]
    with pytest.raises(ValueError, match="label_mutual_info.*run that has labels"):
        InformationPlaneDisplay.from_flow(without)


@pytest.mark.parametrize("estimator", ["clustered", "nobody"])
def test_plane_names_the_estimator_that_has_no_information(table, estimator):
    with pytest.raises(ValueError, match=f"named '{estimator}'"):
        InformationPlaneDisplay.from_flow(table, estimator=estimator)


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


def test_plane_of_quantities_that_lack_different_epochs_has_gaps(table):
    lacks = (table["quantity"] == "mutual_info") & (table["epoch"] == 8)
    lacks |= (table["quantity"] == "label_mutual_info") & (table["epoch"] == 40)
    plane = drawn(InformationPlaneDisplay.from_flow(table[~lacks]).plot())
    assert plane.epochs.tolist() == [1, 8, 40, 200, 900]
    assert np.isnan(plane.information[:, 1]).all()
    assert np.isnan(plane.label_information[:, 2]).all()
