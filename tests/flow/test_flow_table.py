"""The flow table: every estimator on every layer and checkpoint, at its sigma."""

import numpy as np
import pandas as pd
import pytest

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator, open_run
from skinfo.quantities import COLUMNS, ERROR_COLUMNS

from .small_flows import EPOCHS, LABELS, LAYERS, Spy, arrays, flow_of, noisy, value_of, words

COLUMN_NAMES = [
    "epoch", "layer", "estimator", "quantity", "value", "stderr", "lower", "upper", "unit", "notes",
]  # fmt: skip


# --- the table -----------------------------------------------------------------------------------


def test_columns_are_those_of_the_specification(table):
    assert list(COLUMNS) == COLUMN_NAMES
    assert list(table.columns) == [*COLUMN_NAMES, *ERROR_COLUMNS]
    assert table.index.equals(pd.RangeIndex(len(table)))


def test_rows_are_epochs_then_layers_then_estimators_then_their_quantities(table, several):
    clone_of = {name: estimator.__class__ for name, estimator in several.items()}
    X, y = np.random.default_rng(1).normal(size=(12, 5, 2)).reshape(60, 2), np.repeat(LABELS, 5)
    groups = np.repeat(np.arange(12), 5)
    names = {
        "n": [q.name for q in noisy(0.5).fit(X, y, groups=groups).quantities_],
        "b": [q.name for q in clone_of["b"]().fit(X, y).quantities_],
        "c": [q.name for q in clone_of["c"]().fit(X, y).quantities_],
    }
    expected = [
        (epoch, layer, estimator, quantity)
        for epoch in EPOCHS
        for layer in LAYERS
        for estimator in "nbc"
        for quantity in names[estimator]
    ]
    found = table[["epoch", "layer", "estimator", "quantity"]].itertuples(index=False, name=None)
    assert list(found) == expected


def test_layers_come_in_network_order_not_in_that_of_the_source():
    run = open_run(arrays(layers=("z", "a")), labels=LABELS, sigma=0.5, layers=["z", "a"])
    assert list(flow_of(ClusteringScore(), run)["layer"].unique()) == ["z", "a"]


def test_epochs_come_in_increasing_order():
    run = open_run(arrays(epochs=(100, 2, 30)), labels=LABELS, sigma=0.5)
    assert list(flow_of(ClusteringScore(), run)["epoch"].unique()) == [2, 30, 100]


def test_every_row_equals_a_direct_fit(run, several, table):
    for (epoch, layer, name), rows in table.groupby(["epoch", "layer", "estimator"]):
        if name == "n":
            sigma = {"front": 0.5, "back": 0.3}[layer]
            stored = run.store.read(epoch, layer)
            fitted = noisy(sigma).fit(
                stored.reshape(60, 2), np.repeat(LABELS, 5), groups=np.repeat(np.arange(12), 5)
            )
        else:
            fitted = several[name].fit(run.load(epoch, layer).noisy_sample().X, LABELS)
        assert list(rows["quantity"]) == [q.name for q in fitted.quantities_]
        for row, quantity in zip(rows.itertuples(), fitted.quantities_, strict=True):
            numbers = [row.value, row.stderr, row.lower, row.upper]
            expected = [quantity.value, quantity.stderr, quantity.lower, quantity.upper]
            if name != "n" and not quantity.name.endswith("_ceiling"):
                # Of one draw of the noise the error is unknown.
                expected[1:] = [np.nan] * 3
            np.testing.assert_array_equal(numbers, expected)
            assert row.unit == quantity.unit
            assert row.notes == "; ".join(quantity.notes)


def test_values_lie_inside_their_brackets(table):
    known = table[table["stderr"].notna()]
    assert len(known) == 66
    assert (known["lower"] <= known["value"]).all()
    assert (known["value"] <= known["upper"]).all()
    assert (table.loc[table["quantity"] == "mutual_info", "lower"] >= 0).all()


def test_units_are_those_of_the_estimator(run, table):
    bits = flow_of({"n": noisy(units="bits", tol=0.1 / np.log(2))}, run)
    nats = table[table["estimator"] == "n"].reset_index(drop=True)
    assert set(bits["unit"]) == {"bits"}
    assert set(nats["unit"]) == {"nats"}
    np.testing.assert_allclose(bits["value"] * np.log(2), nats["value"], rtol=1e-12)
    np.testing.assert_allclose(bits["upper"] * np.log(2), nats["upper"], rtol=1e-12)
    assert set(flow_of(ClusteringScore(), run)["unit"]) == {""}


# --- the estimators ------------------------------------------------------------------------------


def test_one_estimator_a_list_and_a_generator_give_the_same(run):
    one = flow_of(ClusteringScore(), run)
    assert set(one["estimator"]) == {"ClusteringScore"}
    pd.testing.assert_frame_equal(one, flow_of([ClusteringScore()], run))
    pd.testing.assert_frame_equal(one, flow_of((e for e in [ClusteringScore()]), run))


def test_names_of_a_dict_are_kept(run):
    table = flow_of({"fine": BinningMIEstimator(bin_width=0.01), "c": ClusteringScore()}, run)
    assert list(table["estimator"].unique()) == ["fine", "c"]


def test_two_of_one_class_stay_distinguishable(run):
    widths = [BinningMIEstimator(bin_width=0.01), BinningMIEstimator(bin_width=10.0)]
    table = flow_of([*widths, ClusteringScore()], run)
    fine, coarse, clustering = table["estimator"].unique()
    assert "0.01" in fine
    assert "10.0" in coarse
    assert clustering == "ClusteringScore"
    at = {"epoch": 1, "layer": "front"}
    assert value_of(table, "binned_entropy", estimator=fine, **at) == pytest.approx(np.log(12))
    assert value_of(table, "binned_entropy", estimator=coarse, **at) < 2


def test_two_that_are_the_same_are_refused(run):
    with pytest.raises(ValueError, match="twice"):
        flow_of([ClusteringScore(), ClusteringScore()], run)


@pytest.mark.parametrize("nothing", [[], {}])
def test_no_estimator_is_refused(run, nothing):
    with pytest.raises(ValueError, match="at least one"):
        flow_of(nothing, run)


def test_estimators_given_are_left_as_they_were(run):
    estimator = noisy()
    flow_of(estimator, run)
    assert estimator.sigma is None
    assert not hasattr(estimator, "quantities_")


def test_any_estimator_with_quantities_is_measured(run, spy):
    table = flow_of(spy, run)
    assert (table.loc[table["quantity"] == "n_rows", "value"] == 12).all()
    assert Spy.fits == len(EPOCHS) * len(LAYERS)


# --- sigma ---------------------------------------------------------------------------------------


def test_sigma_none_takes_each_layers_own(run, table):
    given = flow_of({"n": noisy(0.3)}, run)
    own = table[table["estimator"] == "n"]
    for epoch in EPOCHS:
        at = {"epoch": epoch, "layer": "back"}
        assert value_of(own, "mutual_info", **at) == value_of(given, "mutual_info", **at)
        at["layer"] = "front"
        assert value_of(own, "mutual_info", **at) < value_of(given, "mutual_info", **at)


def test_another_sigma_than_the_runs_is_noted_where_it_differs(run):
    table = flow_of([noisy(0.3), BinningMIEstimator(bin_width=0.5)], run)
    noted = table["notes"].str.contains("sigma differs from run")
    differs = (table["layer"] == "front") & (table["estimator"] == "NoisyMIEstimator")
    pd.testing.assert_series_equal(noted, differs, check_names=False)


def test_the_runs_own_sigma_is_not_noted(table):
    assert "sigma differs from run" not in words(table)


def test_noise_put_on_a_deterministic_layer_is_noted():
    """The network was run without noise: there is no sigma of its own to differ from."""
    run = open_run(arrays(shape=(12, 2)), sigma={"front": 0.0, "back": 0.5}, labels=LABELS)
    table = flow_of(noisy(0.5), run)
    assert words(table[table["layer"] == "front"]) == {"noise added"}
    assert words(table[table["layer"] == "back"]) == set()


def test_a_sigma_not_on_record_differs_from_nothing():
    run = open_run(arrays(shape=(12, 2)), labels=LABELS)
    assert "sigma differs from run" not in words(flow_of(noisy(0.5), run))


@pytest.mark.parametrize("sigma", [None, 0.0])
def test_a_layer_without_noise_is_a_row_that_says_so(sigma, several):
    run = open_run(arrays(), labels=LABELS, sigma={"front": 0.5, "back": sigma})
    table = flow_of(several, run)
    silent = table[table["notes"] == "no noise"]
    assert silent[["epoch", "layer", "estimator"]].to_numpy().tolist() == [
        [epoch, "back", "n"] for epoch in EPOCHS
    ]
    assert silent["value"].isna().all()
    assert set(silent["unit"]) == {""}
    assert table.attrs["errors"] == []
    rest = table[table["notes"] != "no noise"].reset_index(drop=True)
    front = flow_of({"n": noisy(0.5)}, run).query("layer == 'front'").reset_index(drop=True)
    measured = rest[rest["estimator"] == "n"].reset_index(drop=True)
    pd.testing.assert_frame_equal(measured, front, check_exact=True)
    assert set(rest.loc[rest["layer"] == "back", "estimator"]) == {"b", "c"}


@pytest.mark.parametrize("sigma", [None, 0.0])
def test_sigma_none_needs_some_layer_with_a_sigma_on_record(sigma):
    run = open_run(arrays(), sigma=sigma)
    with pytest.raises(ValueError, match="no layer of the run has noise.*BinningMIEstimator"):
        flow_of([noisy(), BinningMIEstimator()], run)


@pytest.mark.parametrize("sigma", [0.0, -0.1])
def test_a_sigma_that_is_not_positive_is_explained(run, sigma):
    with pytest.raises(ValueError, match="told apart.*BinningMIEstimator or ClusteringScore"):
        flow_of(NoisyMIEstimator(sigma), run)
