"""Flows over one another as pictures."""

import matplotlib as mpl

from .flows import flow, row, unread

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skinfo import compare_flows, pool_flows
from skinfo.view import FlowComparisonDisplay


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def curves_of(flow, quantity, estimator="noisy", column="value"):
    chosen = flow[(flow["quantity"] == quantity) & (flow["estimator"] == estimator)]
    return chosen.pivot(index="layer", columns="epoch", values=column)


def bands(ax):
    """Lower and upper ends of the bands of an axes, by their order."""
    found = []
    for band in ax.collections:
        x, y = band.get_paths()[0].vertices.T
        at = np.unique(x)
        found.append(np.array([(y[x == epoch].min(), y[x == epoch].max()) for epoch in at]))
    return found


def drawn_lines(ax):
    return [line for line in ax.lines if line.get_linestyle() == "-"]


def legend_of(display):
    return [text.get_text() for text in display.figure_.legends[0].get_texts()]


def test_flows_over_one_another_are_the_numbers_of_their_tables(real):
    flows = {name: real[name] for name in ("one", "other")}
    display = FlowComparisonDisplay.from_flows(flows).plot()
    display.figure_.canvas.draw()
    assert list(display.axes_) == [
        (name, layer) for name in ("mutual_info", "label_mutual_info")
        for layer in ("first", "second")
    ]  # fmt: skip
    for (quantity, layer), ax in display.axes_.items():
        lines = drawn_lines(ax)
        for line, band, one in zip(lines, bands(ax), flows.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [1, 10])
            np.testing.assert_array_equal(line.get_ydata(), curves_of(one, quantity).loc[layer])
            for side, column in enumerate(("lower", "upper")):
                expected = curves_of(one, quantity, column=column).loc[layer]
                np.testing.assert_allclose(band[:, side], expected)
        assert len({line.get_color() for line in lines}) == 2
    assert display.axes_["mutual_info", "first"].get_ylabel() == "I(X;T) [nats]"
    assert display.axes_["label_mutual_info", "first"].get_ylabel() == "I(Y;T) [nats]"
    assert display.axes_["label_mutual_info", "second"].get_xlabel() == "Epoch"
    assert [display.axes_["mutual_info", x].get_title() for x in ("first", "second")] == [
        "first", "second",
    ]  # fmt: skip
    assert legend_of(display) == ["one", "other", "bracket", "differs from one beyond error"]


def test_filled_markers_are_the_changes_of_the_comparison(rng):
    values = np.array([1.0, 1.5, 1.002, 1.5])
    wide = np.array([0.01, 0.01, 0.01, 2.0])
    one, other = (
        pd.concat(
            [
                pd.DataFrame(row(v, 0.005, v - wide, v + wide, epoch=[1, 2, 3, 4])),
                flow(*(row(0.1, quantity="conditional_entropy", epoch=e) for e in (1, 2, 3, 4))),
            ]
        )
        for v in (np.ones(4), values)
    )
    changes = compare_flows({"one": one, "other": other}).set_index(["quantity", "epoch"])["change"]
    assert changes["mutual_info"].tolist() == [
        "within error", "beyond brackets", "within error", "within brackets",
    ]  # fmt: skip
    ax = FlowComparisonDisplay({"one": one, "other": other}).plot().axes_["mutual_info", "hidden"]
    marked = {
        line.get_markerfacecolor(): line.get_xdata().tolist() for line in ax.lines
        if line.get_linestyle() == "None"
    }  # fmt: skip
    white = marked.pop("white")
    assert white == [1, 3, 4]
    assert list(marked.values()) == [[2]]


def test_a_pooled_flow_is_drawn_as_mean_and_spread(real):
    pooled = pool_flows([real["one"], real["other"]])
    display = FlowComparisonDisplay({"two": pooled, "alone": real["same"]}).plot()
    assert legend_of(display) == [
        "two: mean ± standard deviation of 2 seeds", "alone, bracket",
        "differs from two beyond error",
    ]  # fmt: skip
    mean, spread = (
        curves_of(pooled, "mutual_info"),
        curves_of(pooled, "mutual_info", column="spread"),
    )
    for layer in ("first", "second"):
        ax = display.axes_["mutual_info", layer]
        np.testing.assert_array_equal(drawn_lines(ax)[0].get_ydata(), mean.loc[layer])
        expected = np.c_[mean.loc[layer] - spread.loc[layer], mean.loc[layer] + spread.loc[layer]]
        np.testing.assert_allclose(bands(ax)[0], expected)
        own = [
            curves_of(real["same"], "mutual_info", column=c).loc[layer] for c in ("lower", "upper")
        ]
        np.testing.assert_allclose(bands(ax)[1], np.c_[tuple(own)])


def test_a_pool_of_one_seed_is_drawn_with_its_bracket(real):
    pooled = pool_flows([real["one"]])
    display = FlowComparisonDisplay({"one": pooled}).plot()
    assert legend_of(display) == ["one", "bracket"]
    expected = curves_of(real["one"], "mutual_info", column="upper").loc["first"]
    np.testing.assert_allclose(bands(display.axes_["mutual_info", "first"])[0][:, 1], expected)


def test_what_is_drawn_and_of_which_layers_can_be_chosen(real):
    display = FlowComparisonDisplay(real, quantities=["binned_entropy"], layers=["second"]).plot()
    (ax,) = display.axes_.values()
    assert ax.get_ylabel() == "H(Bin(T)) [nats]"
    for line, one in zip(drawn_lines(ax), real.values(), strict=True):
        expected = curves_of(one, "binned_entropy", "binned").loc["second"]
        np.testing.assert_array_equal(line.get_ydata(), expected)


def test_flows_of_other_checkpoints_are_drawn_without_marks(real):
    later = real["other"].assign(epoch=real["other"]["epoch"] * 3)
    display = FlowComparisonDisplay({"one": real["one"], "later": later}).plot()
    ax = display.axes_["mutual_info", "first"]
    assert [line.get_xdata().tolist() for line in drawn_lines(ax)] == [[1, 10], [3, 30]]
    assert legend_of(display) == ["one", "later", "bracket"]


def test_every_estimator_of_a_quantity_has_a_row_or_can_be_chosen():
    def table(shift):
        rows = [row(v + shift, 0.01, estimator=name, epoch=e)
                for name, v in (("fine", 2.0), ("coarse", 1.0)) for e in (1, 2)]  # fmt: skip
        return flow(*rows)

    flows = {"one": table(0.0), "other": table(0.5)}
    display = FlowComparisonDisplay(flows).plot()
    names = ["mutual_info by fine", "mutual_info by coarse"]
    assert list(display.axes_) == [(name, "hidden") for name in names]
    for name, value in zip(names, (2.0, 1.0), strict=True):
        lines = drawn_lines(display.axes_[name, "hidden"])
        assert [line.get_ydata()[0] for line in lines] == [value, value + 0.5]
        assert display.axes_[name, "hidden"].get_ylabel() == "I(X;T) [nats]\n" + name[12:]
    chosen = FlowComparisonDisplay(flows, estimators=["coarse"]).plot()
    assert list(chosen.axes_) == [("mutual_info", "hidden")]
    lines = drawn_lines(chosen.axes_["mutual_info", "hidden"])
    assert [line.get_ydata()[0] for line in lines] == [1.0, 1.5]
    with pytest.raises(ValueError, match="measured by fine, coarse; not by 'x'"):
        FlowComparisonDisplay(flows, estimators=["x"])


def test_names_are_drawn_as_they_are(tmp_path):
    rows = [row(1.0, 0.1, 0.9, 1.1, layer=name, epoch=1) for name in ("_orig_mod.0", r"$\frac$")]
    display = FlowComparisonDisplay({"_a$": flow(*rows), r"$\x$": flow(*rows)}).plot()
    display.figure_.savefig(tmp_path / "names.png")
    assert legend_of(display)[:2] == [r"_a\$", r"\$\x\$"]
    titles = [ax.get_title() for ax in display.axes_.values()]
    assert titles == ["_orig_mod.0", r"\$\frac\$"]


def test_marks_are_those_of_the_comparison_asked_for():
    one, other = flow(row(1.0, 0.1)), flow(row(1.25, 0.1))
    for z, face in ((1.96, "white"), (1.0, None)):
        display = FlowComparisonDisplay({"one": one, "other": other}, z=z).plot()
        points = [line for line in display.axes_["mutual_info", "hidden"].lines
                  if line.get_linestyle() == "None" and len(line.get_xdata())]  # fmt: skip
        assert [line.get_markerfacecolor() == "white" for line in points] == [face == "white"]


def test_pictures_of_what_is_not_there_are_refused(real):
    for make, message in [
        (lambda: FlowComparisonDisplay({}), "no flow was given"),
        (lambda: FlowComparisonDisplay(real, reference="x"), "no flow 'x' to refer to"),
        (lambda: FlowComparisonDisplay(real, layers=["x"]), "layer 'x'; there are first, second"),
        (lambda: FlowComparisonDisplay(real, layers=[]), "nothing to draw: no layer was chosen"),
        (lambda: FlowComparisonDisplay(real, quantities=["auc"]),
         "hold mutual_info, .*binned_entropy, .*; not 'auc'"),
        (lambda: FlowComparisonDisplay({"a": flow(unread(epoch=1))}), "hold no curve"),
        (lambda: FlowComparisonDisplay({"a": real["one"], "b": real["one"].assign(unit="bits")}),
         "'a' is in nats, 'b' is in bits"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("n", [1, 6, 7])
def test_many_layers_of_one_quantity_are_wrapped(n):
    rows = [
        row(1.0, layer=f"layer{k}", epoch=e, quantity=q) for k in range(n) for e in (1, 2)
        for q in ("mutual_info", "conditional_entropy")
    ]  # fmt: skip
    display = FlowComparisonDisplay({"a": flow(*rows)}).plot()
    display.figure_.canvas.draw()
    axes = list(display.axes_.values())
    assert [ax.get_title() for ax in axes] == [f"layer{k}" for k in range(n)]
    assert max(ax.get_subplotspec().get_gridspec().ncols for ax in axes) <= 5
    assert axes[-1].get_xlabel() == "Epoch"
    assert sum(ax.get_visible() for ax in display.figure_.axes) == n
