"""Values against depth, and curves of a run against sigma: what is drawn where, and what is cut."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skinfo.flow.tables import read_table, write_table
from skinfo.view import DepthDisplay, RunSigmasDisplay, SigmaCurveDisplay

LAYERS = [f"encoder.layer.{k}.output" for k in range(12)]
SIGMAS = [0.1, 1.0, 10.0]


def numbers(quantity, value, upper=None, **columns):
    rows = pd.DataFrame({"value": np.ravel(value)} | columns)
    upper = rows["value"] + 0.2 if upper is None else np.ravel(upper)
    unit = "" if quantity == "auc" else "nats"
    return rows.assign(
        estimator="clustered" if quantity == "auc" else "noisy", quantity=quantity, stderr=0.05,
        lower=rows["value"] - 0.2, upper=upper, unit=unit, notes="",
    )  # fmt: skip


def flow(epochs=(3,), upper=None, layers=LAYERS):
    n = len(layers)
    at = {"epoch": np.repeat(epochs, n), "layer": np.tile(layers, len(epochs))}
    value = np.concatenate([5 - 0.3 * np.arange(n) + 0.1 * j for j in range(len(epochs))])
    return pd.concat(
        [
            numbers("mutual_info", value, upper, **at),
            numbers("ceiling", 6.0 + 0 * value, **at),
            numbers("auc", 0.5 + value / 20, **at),
        ],
        ignore_index=True,
    )


def curves(epochs=(1, 2, 4, 8), n_layers=3, upper=None):
    layers = LAYERS[:n_layers]
    index = pd.MultiIndex.from_product([epochs, layers, SIGMAS], names=["epoch", "layer", "sigma"])
    at = index.to_frame(index=False)
    value = 3 - np.log10(at["sigma"]) - at["layer"].map(layers.index) * 0.5 + 0.01 * at["epoch"]
    columns = {name: at[name] for name in at}
    ceiling = numbers("ceiling", 5 + 0 * value, **columns)
    return pd.concat([numbers("mutual_info", value, upper, **columns), ceiling], ignore_index=True)


def points(ax):
    return [line.get_ydata().tolist() for line in ax.lines if line.get_marker() in [*"osD^v"]]


def drawn(display):
    display.figure_.canvas.draw()
    return display


def test_a_point_per_layer_lies_at_its_value_over_its_short_name():
    table = flow()
    display = drawn(DepthDisplay.from_flow(table).plot())
    assert list(display.axes_) == [("mutual_info", "noisy"), ("auc", "clustered")]
    ax = display.axes_["mutual_info", "noisy"]
    assert table.loc[table["quantity"] == "mutual_info", "value"].tolist() in points(ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == [str(k) for k in range(12)]
    assert ax.get_xlabel() == "Layer encoder.layer.*.output, at epoch 3"
    assert [text.get_text() for text in ax.texts] == ["ceiling = 6"]
    # Names stand side by side: none covers the next.
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_few_of_many_checkpoints_are_drawn_or_those_asked_for():
    table = flow(epochs=(1, 2, 4, 8, 16))
    display = drawn(DepthDisplay.from_flow(table).plot())
    names = [text.get_text() for text in display.figure_.legends[0].get_texts()]
    assert names == ["epoch 1", "epoch 4", "epoch 16"]
    assert len(points(display.axes_["mutual_info", "noisy"])) == 3
    assert DepthDisplay.from_flow(table, epochs=[2, 8]).epochs == [2, 8]
    with pytest.raises(ValueError, match="no epoch 3; it has 1, 2, 4, 8, 16"):
        DepthDisplay.from_flow(table, epochs=[3])


@pytest.mark.parametrize("far", [200.0, np.inf])
def test_a_wide_bracket_does_not_flatten_the_picture(far):
    upper = np.full(12, 5.5)
    upper[4] = far
    ax = drawn(DepthDisplay.from_flow(flow(upper=upper)).plot()).axes_["mutual_info", "noisy"]
    assert ax.get_ylim()[1] < 10
    (mark,) = [
        m.get_offsets()
        for m in ax.collections
        if len(m.get_offsets()) and m.get_offsets()[0, 1] == 1
    ]
    np.testing.assert_array_equal(mark, [[4, 1]])
    # Of curves against sigma, too.
    upper = np.full(3, 4.5)
    upper[0] = far
    ends = {name: curves(epochs=(1,), n_layers=1, upper=upper)[name] for name in ("sigma", "upper")}
    display = RunSigmasDisplay.from_table(curves(epochs=(1,), n_layers=1, upper=upper)).plot()
    ax = drawn(display).axes_["mutual_info", 1]
    assert ends["upper"].max() == far
    assert ax.get_ylim()[1] < 10
    (mark,) = [m for m in ax.collections if m.get_gid() == "cut bracket"]
    np.testing.assert_allclose(mark.get_offsets(), [[0.1, 1]])


def test_of_several_estimators_each_has_a_facet_or_the_one_asked_for():
    table = pd.concat([flow(), flow().assign(estimator="other")[:24]], ignore_index=True)
    display = drawn(DepthDisplay.from_flow(table).plot())
    assert list(display.axes_)[:2] == [("mutual_info", "noisy"), ("mutual_info", "other")]
    one = DepthDisplay.from_flow(table, estimator="other").plot()
    assert list(one.axes_) == [("mutual_info", "other")]
    with pytest.raises(ValueError, match="nothing of 'third'.*noisy, other, clustered"):
        DepthDisplay.from_flow(table, estimator="third")


def test_layers_and_checkpoints_that_were_not_measured_are_gaps():
    table = flow(epochs=(1, 5))
    lost = (table["epoch"] == 5) & (table["layer"] == LAYERS[2])
    ax = drawn(DepthDisplay.from_flow(table[~lost]).plot()).axes_["mutual_info", "noisy"]
    assert np.isnan(points(ax)[1][2])
    with pytest.raises(ValueError, match="nothing that is drawn by depth"):
        DepthDisplay.from_flow(table[table["quantity"] == "ceiling"])


def test_all_layers_of_a_run_are_drawn_by_sigma_at_some_checkpoints():
    table = curves()
    display = drawn(RunSigmasDisplay.from_table(table).plot())
    assert list(display.axes_) == [("mutual_info", 1), ("mutual_info", 4), ("mutual_info", 8)]
    for (_, epoch), ax in display.axes_.items():
        at = table[(table["epoch"] == epoch) & (table["quantity"] == "mutual_info")]
        for _, rows in at.groupby("layer"):
            assert rows["value"].tolist() in points(ax)
        assert ax.get_xscale() == "log"
    # One scale for all.
    assert len({ax.get_ylim() for ax in display.axes_.values()}) == 1
    legend = [text.get_text() for text in display.figure_.legends[0].get_texts()]
    assert legend == ["0", "1", "2", "ceiling"]
    said = display.figure_.get_supxlabel()
    assert said == "I(X;T) of encoder.layer.*.output at all 3 σ from 0.1 to 10: 0 > 1 > 2"
    assert RunSigmasDisplay.from_table(table, epochs=[2]).epochs == [2]


def test_the_axis_says_the_unit_of_sigma():
    axes = RunSigmasDisplay.from_table(curves(epochs=(1,)).assign(rms=2.0)).plot().axes_
    assert "root mean square deviations" in axes["mutual_info", 1].get_xlabel()
    axes = RunSigmasDisplay.from_table(curves(epochs=(1,))).plot().axes_
    assert "units of the activations" in axes["mutual_info", 1].get_xlabel().replace("\n", " ")


def test_tables_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="RunSigmasDisplay draws these"):
        SigmaCurveDisplay(curves())
    one = curves(epochs=(1,), n_layers=1)
    assert SigmaCurveDisplay(one).noise == "additive"
    with pytest.raises(ValueError, match="SigmaCurveDisplay draws it"):
        RunSigmasDisplay(one.drop(columns=["epoch", "layer"]))
    with pytest.raises(ValueError, match="curves against sigma and is not a flow table"):
        DepthDisplay(curves())
    with pytest.raises(ValueError, match="nothing of 'other', but of noisy"):
        RunSigmasDisplay(curves(), estimator="other")


def test_the_command_draws_what_a_table_holds(call, tmp_path, monkeypatch):
    shown = []

    def plot(display):
        shown.append((type(display), display.epochs))
        display.figure_ = plt.figure()
        return display

    for display in (DepthDisplay, RunSigmasDisplay):
        monkeypatch.setattr(display, "plot", plot)
    write_table(tmp_path / "deep.csv", flow(epochs=(1, 5)))
    write_table(tmp_path / "long.csv", flow(epochs=(1, 2, 3), layers=LAYERS[:2]))
    write_table(tmp_path / "curves.csv", curves())
    assert read_table(tmp_path / "curves.csv")[0].equals(curves())
    for options in (
        ("deep.csv",), ("long.csv",), ("long.csv", "--kind", "depth", "--epochs", "2"),
        ("curves.csv", "--epochs", "1,8"),
    ):  # fmt: skip
        code, _, err = call("plot", tmp_path / options[0], *options[1:], "--force")
        assert (code, err) == (0, "")
    assert shown == [
        (DepthDisplay, [1, 5]), (DepthDisplay, [2]), (RunSigmasDisplay, [1, 8])
    ]  # fmt: skip
    for options, said in (
        (("long.csv", "--epochs", "2"), "--epochs has no effect on --kind overview"),
        (("long.csv", "--kind", "depth", "--epochs", "two"), "--epochs is whole numbers"),
        (("curves.csv", "--kind", "plane"), "holds curves against sigma: nothing for --kind plane"),
    ):
        code, _, err = call("plot", tmp_path / options[0], *options[1:], "--force")
        assert code == 2
        assert said in " ".join(err.split())
