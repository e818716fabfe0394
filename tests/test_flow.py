"""The flow table: every estimator on every layer and checkpoint, with notes, nothing lost."""

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import Memory
from sklearn.base import BaseEstimator

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo.comparison import POOLING_NOTES
from skinfo.flow import ranges
from skinfo.flow.inequality import note_data_processing
from skinfo.flow.ranges import layer_ranges
from skinfo.measures.quantity import COLUMNS, NOTES, Quantity
from skinfo.runs import Layer, RunWriter

COLUMN_NAMES = [
    "epoch", "layer", "estimator", "quantity", "value", "stderr", "lower", "upper", "unit", "notes",
]  # fmt: skip
LABELS = np.arange(12) % 2
EPOCHS = (1, 10, 100)
LAYERS = ("front", "back")


def arrays(seed=0, epochs=EPOCHS, layers=LAYERS, shape=(12, 5, 2)):
    rng = np.random.default_rng(seed)
    return {(epoch, layer): rng.normal(size=shape) for epoch in epochs for layer in layers}


def flow_of(estimators, run, **options):
    return information_flow(estimators, run, progress=False, **options)


def noisy(sigma=None, tol=0.1, **options):
    return NoisyMIEstimator(sigma, tol=tol, random_state=0, **options)


def write_run(path, activations, layers, **options):
    """Write arrays keyed by (epoch, layer) to disk."""
    writer = RunWriter(path, layers, **options)
    for epoch in dict.fromkeys(epoch for epoch, _ in activations):
        writer.add(epoch, {name: a for (e, name), a in activations.items() if e == epoch})
    return open_run(path)


def on_disk(path, **options):
    layers = [Layer("front", 0.5), Layer("back", 0.5, noise_before=True)]
    return write_run(path, arrays(), layers, labels=LABELS, **options)


def words(table):
    return {word for cell in table["notes"] for word in cell.split("; ") if word}


def value_of(table, quantity, **where):
    rows = table[table["quantity"] == quantity]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1
    return rows["value"].item()


class Spy(BaseEstimator):
    """Reports what it was given as quantities, and counts its fits."""

    fits = 0

    def __init__(self, tag=0):
        self.tag = tag

    def fit(self, X, y=None, *, groups=None):
        Spy.fits += 1
        found = {
            "n_rows": len(X), "n_units": X.shape[1], "grouped": groups is not None,
            "labelled": y is not None, "total": X.sum(), "spread": X.std(), "dimensions": X.ndim,
        }  # fmt: skip
        self.quantities_ = tuple(Quantity.exact(name, v, "") for name, v in found.items())
        return self


@pytest.fixture
def spy():
    Spy.fits = 0
    return Spy()


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma={"front": 0.5, "back": 0.3}, layers=LAYERS)


@pytest.fixture(scope="module")
def several():
    return {"n": noisy(), "b": BinningMIEstimator(bin_width=0.5), "c": ClusteringScore()}


@pytest.fixture(scope="module")
def table(run, several):
    return flow_of(several, run)


# --- the table -----------------------------------------------------------------------------------


def test_columns_are_those_of_the_specification(table):
    assert list(COLUMNS) == COLUMN_NAMES
    assert list(table.columns) == COLUMN_NAMES
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
    run = open_run(arrays(layers=("a", "z")), labels=LABELS, sigma=0.5, layers=["z", "a"])
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
            fitted = several[name].fit(run.noisy_samples(epoch, layer).X, LABELS)
        assert list(rows["quantity"]) == [q.name for q in fitted.quantities_]
        for row, quantity in zip(rows.itertuples(), fitted.quantities_, strict=True):
            numbers = (row.value, row.stderr, row.lower, row.upper)
            assert numbers == (quantity.value, quantity.stderr, quantity.lower, quantity.upper)
            assert row.unit == quantity.unit
            drawn = ["one noise draw"] * (name != "n" and quantity.name != "ceiling")
            assert row.notes == "; ".join((*quantity.notes, *drawn))


def test_values_lie_inside_their_brackets(table):
    assert (table["lower"] <= table["value"]).all()
    assert (table["value"] <= table["upper"]).all()
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
    assert value_of(table, "entropy", estimator=fine, **at) == pytest.approx(np.log(12))
    assert value_of(table, "entropy", estimator=coarse, **at) < 2


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


# --- notes ---------------------------------------------------------------------------------------


def test_replicas_missing_is_noted_where_noise_comes_before():
    run = open_run(arrays(shape=(12, 2)), sigma=0.5, labels=LABELS)
    table = flow_of([noisy(), BinningMIEstimator(bin_width=0.5)], run)
    noted = table["notes"].str.contains("replicas missing")
    expected = (table["layer"] == "back") & (table["estimator"] == "NoisyMIEstimator")
    pd.testing.assert_series_equal(noted, expected, check_names=False)


def test_replicas_that_are_there_are_not_missing(table):
    assert "replicas missing" not in words(table)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_saturation_is_a_note_and_no_warning(n_jobs):
    far = np.arange(8.0)[:, None] * 100
    run = open_run({(1, "far"): far, (1, "near"): far / 1000}, sigma=0.1, labels=np.arange(8) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = flow_of(noisy(), run, n_jobs=n_jobs)
    information = table[table["quantity"] == "mutual_info"].set_index("layer")
    assert "saturated" in information.loc["far", "notes"]
    assert information.loc["far", "value"] == pytest.approx(np.log(8), abs=1e-12)
    assert "saturated" not in information.loc["near", "notes"]


def test_a_tolerance_out_of_reach_is_noted(run):
    table = flow_of(noisy(tol=1e-9, max_evaluations=2**9), run)
    assert "tolerance not met" in words(table)


def points_apart(step):
    """Eight inputs on a line, four replicas of each that are alike."""
    return np.repeat(np.arange(8.0)[:, None, None] * step, 4, axis=1)


def test_a_dead_layer_has_no_information():
    run = open_run({(1, "dead"): np.zeros((8, 4, 2))}, sigma=1.0, labels=np.arange(8) % 2)
    table = flow_of([noisy(), BinningMIEstimator()], run)
    information = table[table["quantity"].isin(["mutual_info", "label_mutual_info"])]
    noisy_rows = information[information["estimator"] == "NoisyMIEstimator"]
    assert len(noisy_rows) == 2
    np.testing.assert_allclose(noisy_rows[["value", "lower", "upper"]], 0, atol=1e-12)


def violation(first, second):
    run = open_run({(3, "first"): first, (3, "second"): second}, sigma=1.0)
    table = flow_of([noisy(), BinningMIEstimator(bin_width=1e-9)], run)
    return table[table["notes"].str.contains("data processing violated")]


def test_data_processing_violated_is_noted_at_the_richer_layer():
    found = violation(points_apart(1e-3), points_apart(50.0))
    assert found[["layer", "estimator", "quantity"]].to_numpy().tolist() == [
        ["second", "NoisyMIEstimator", "mutual_info"]
    ]


def test_data_processing_that_holds_is_not_noted():
    assert violation(points_apart(50.0), points_apart(1e-3)).empty
    assert violation(points_apart(1.0), points_apart(1.0)).empty


def test_more_within_the_brackets_is_not_noted():
    """The second layer has the larger value, but few replicas: its bracket reaches below."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(8, 2, 2)) * 0.8
    second = rng.normal(size=(8, 2, 2)) * 1.2
    run = open_run({(1, "first"): first, (1, "second"): second}, sigma=1.0)
    rows = flow_of(noisy(), run).query("quantity == 'mutual_info'").set_index("layer")
    assert rows.loc["second", "value"] > rows.loc["first", "value"]
    assert rows.loc["second", "lower"] <= rows.loc["first", "upper"]
    assert "data processing violated" not in words(rows)


def hand_made(brackets, notes=""):
    rows = []
    for layer, (lower, upper) in brackets.items():
        for quantity in ("mutual_info", "conditional_entropy"):
            numbers = {"value": (lower + upper) / 2, "lower": lower, "upper": upper}
            rows.append({"epoch": 1, "layer": layer, "estimator": "n", "quantity": quantity,
                         **numbers, "notes": notes})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("brackets", "violated"),
    [
        ({"a": (1, 2), "b": (2.0, 3)}, set()),
        ({"a": (1, 2), "b": (2.001, 3)}, {"b"}),
        ({"a": (1, 2), "b": (0, 9), "c": (2.5, 3)}, {"c"}),
        ({"b": (3, 4), "a": (1, 2)}, {"b"}),
        ({"a": (1, 2), "c": (2.5, 3)}, {"c"}),
    ],
    ids=["touching", "beyond", "over a wide one", "rows in another order", "over an unread one"],
)
def test_data_processing_is_judged_by_brackets_along_the_network(brackets, violated):
    table = note_data_processing(hand_made(brackets), [Layer(name, 0.1) for name in "abc"])
    noted = table[table["notes"] == "data processing violated"]
    assert set(noted["layer"]) == violated
    assert set(noted["quantity"]) <= {"mutual_info"}


def test_data_processing_joins_the_notes_that_are_there():
    table = hand_made({"a": (1, 2), "b": (3, 4)}, notes="saturated")
    noted = note_data_processing(table, [Layer("a", 0.1), Layer("b", 0.1)])
    assert noted["notes"].tolist() == [
        "saturated", "saturated", "saturated; data processing violated", "saturated",
    ]  # fmt: skip


@pytest.mark.parametrize("notes", ["sigma differs from run", "noise added", "replicas missing"])
def test_data_processing_is_asked_of_the_networks_own_channel_alone(notes):
    table = hand_made({"a": (1, 2), "b": (3, 4)}, notes=notes)
    layers = [Layer("a", 0.1), Layer("b", 0.1)]
    assert set(note_data_processing(table, layers)["notes"]) == {notes}


@pytest.mark.parametrize("sigmas", [(None, 0.1), (0.1, None), (0.0, 0.1), (None, None)])
def test_data_processing_is_not_asked_of_layers_without_a_sigma_on_record(sigmas):
    layers = [Layer(name, sigma) for name, sigma in zip("ab", sigmas, strict=True)]
    table = hand_made({"a": (1, 2), "b": (3, 4)})
    assert set(note_data_processing(table, layers)["notes"]) == {""}


def test_notes_are_words_of_the_fixed_list():
    of_bins = {
        "at ceiling", "in one cell", "too few replicas", "outside edges",
        "correction beyond bounds",
    }  # fmt: skip
    assert set(NOTES) == of_bins | {
        "saturated",
        "above ceiling",
        "data processing violated",
        "tolerance not met",
        "telescoped",
        "sampled",
        "replicas missing",
        "sigma differs from run",
        "noise added",
        "one noise draw",
        "read error",
        "no noise",
        "not measured",
    }
    far = np.arange(12.0)[:, None] * np.ones(2)
    seen = np.repeat(far[:, None], 4, axis=1)
    made = {
        (1, "front"): np.zeros((12, 2)), (1, "back"): far,
        (2, "front"): far, (2, "back"): np.full((12, 2), np.nan),
        (3, "front"): far / 99, (3, "back"): seen,
        **{(e, "quiet"): np.random.default_rng(e).normal(size=(12, 2)) for e in (1, 2, 3)},
    }  # fmt: skip
    run = open_run(made, sigma={"front": 0.2, "back": 0.2, "quiet": 0.0}, labels=LABELS)
    quick = {"tol": 1e-9, "max_evaluations": 2**9}
    estimators = [noisy(0.1, **quick), noisy(0.2, **quick), BinningMIEstimator()]
    with pytest.warns(UserWarning, match="not measured"):
        found = words(flow_of(estimators, run))
    assert found <= set(NOTES)
    elsewhere = {"above ceiling", "sampled", "telescoped", "no noise", "not measured"}
    assert found >= set(NOTES) - of_bins - elsewhere
    assert found & of_bins == {"at ceiling"}


def test_the_readme_lists_all_notes():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    listed = readme[readme.index("The **notes** of a table") :].split(".\n")[0]
    assert set(re.findall("`([^`]+)`", " ".join(listed.split()))) == set(NOTES)
    assert all(f"`{note}`" in readme for note in POOLING_NOTES)


# --- what the estimators are given ---------------------------------------------------------------


def test_others_get_one_row_an_input_without_groups(run, spy):
    table = flow_of(spy, run).pivot(index=["epoch", "layer"], columns="quantity", values="value")
    assert (table["n_rows"] == 12).all()
    assert (table["n_units"] == 2).all()
    assert (table["grouped"] == 0).all()
    assert (table["labelled"] == 1).all()


def test_others_get_the_noise_of_the_layer():
    """All activations are 0: what is seen is the noise alone."""
    zeros = np.zeros((2000, 3, 4))
    run = open_run({(1, "a"): zeros, (1, "b"): zeros, (1, "c"): zeros},
                   sigma={"a": 0.25, "b": 3.0, "c": 0.0})  # fmt: skip
    table = flow_of(Spy(), run)
    assert value_of(table, "spread", layer="a") == pytest.approx(0.25, rel=0.05)
    assert value_of(table, "spread", layer="b") == pytest.approx(3.0, rel=0.05)
    assert value_of(table, "spread", layer="c") == 0


def test_binned_entropy_is_that_of_noisy_samples():
    run = open_run({(1, "a"): np.zeros((16, 2, 1))}, sigma=1.0)
    table = flow_of(BinningMIEstimator(bin_width=1e-9), run)
    assert value_of(table, "entropy") == pytest.approx(np.log(16))
    silent = open_run({(1, "a"): np.zeros((16, 2, 1))}, sigma=0.0)
    assert value_of(flow_of(BinningMIEstimator(bin_width=1e-9), silent), "entropy") == 0


# --- one range for a whole run -------------------------------------------------------------------


def growing(sigma=0.0):
    """Two layers whose values spread in training: by epoch 1, 10 and 100 to 1, 2 and 8."""
    rng = np.random.default_rng(3)
    unit = rng.uniform(-1, 1, size=(40, 2))
    unit[:2] = [[-1, 0], [1, 0]]
    made = {
        (epoch, layer): np.maximum(unit * scale, low)
        for epoch, scale in zip(EPOCHS, (1.0, 2.0, 8.0), strict=True)
        for layer, low in (("front", -9), ("back", 0))
    }
    return open_run(made, sigma=sigma, layers=LAYERS, labels=np.arange(40) % 2)


def test_one_set_of_edges_for_all_checkpoints_of_a_layer():
    run = growing()
    table = flow_of(BinningMIEstimator(n_bins=8, bin_range="run"), run)
    for layer, low in (("front", -8), ("back", 0)):
        for epoch in EPOCHS:
            X = run.array(epoch, layer)
            expected = BinningMIEstimator(bin_edges=np.linspace(low, 8, 9)).fit(X, run.labels)
            at = {"epoch": epoch, "layer": layer}
            assert value_of(table, "entropy", **at) == expected.entropy_
            assert value_of(table, "label_mutual_info", **at) == expected.label_mutual_info_
            assert value_of(table, "outside_fraction", **at) == 0
    entropies = table[table["quantity"] == "entropy"].groupby("layer")["value"]
    assert (entropies.diff().dropna() > 0.05).all(), "the layers spread, so their entropy grows"
    anew = flow_of(BinningMIEstimator(n_bins=8), run).query("quantity == 'entropy'")
    assert np.ptp(anew[anew["layer"] == "front"]["value"]) < 1e-12


def test_the_range_of_a_run_is_that_of_the_noisy_samples_of_the_subset():
    run, keep = growing(sigma=1.5), np.arange(40) % 3 == 0
    samples = np.stack([run.noisy_samples(e, "front", subset=keep).X for e in EPOCHS])
    low, high = samples.min(), samples.max()
    assert layer_ranges(run, keep)["front"] == (low, high)
    assert layer_ranges(run)["front"] != (low, high)
    found = flow_of(BinningMIEstimator(bin_range="run"), run, subset=keep, n_jobs=2)
    given = flow_of(BinningMIEstimator(bin_range=(low, high)), run, subset=keep)
    columns = ["epoch", "quantity", "value"]
    found, given = (t.loc[t["layer"] == "front", columns] for t in (found, given))
    pd.testing.assert_frame_equal(found, given, check_exact=True)


def test_a_layer_of_one_value_and_checkpoints_that_cannot_be_read_have_a_range_too():
    made = {(e, "dead"): np.full((6, 2), 3.0) for e in (1, 2)}
    made |= {(1, "alive"): np.full((6, 2), np.nan), (2, "alive"): np.arange(12.0).reshape(6, 2)}
    made |= {(e, "lost"): np.full((6, 2), np.nan) for e in (1, 2)}
    run = open_run(made, sigma=0.0)
    ranges = layer_ranges(run)
    assert set(ranges) == {"dead", "alive"}
    assert ranges["alive"] == (0, 11)
    with pytest.warns(UserWarning, match="not measured"):
        table = flow_of(BinningMIEstimator(bin_range="run", n_bins=11), run)
    assert value_of(table, "entropy", epoch=2, layer="dead") == 0
    assert value_of(table, "entropy", epoch=2, layer="alive") == pytest.approx(np.log(6))
    assert (table["notes"] == "read error").sum() == 3


def test_other_estimators_make_no_first_pass(monkeypatch):
    integers = open_run({(1, "a"): np.arange(12).reshape(6, 2)})
    monkeypatch.setattr(ranges, "layer_ranges", None)
    flow_of([BinningMIEstimator(), BinningMIEstimator(bin_width=1.0)], growing())
    given = BinningMIEstimator(bin_width=1.0, bin_range="run")
    flow_of([given, BinningMIEstimator(strategy="discrete", bin_range="run")], integers)
    with pytest.raises(TypeError):
        flow_of(BinningMIEstimator(bin_range="run"), growing())


def test_rows_with_groups_are_measured_as_the_same_rows_in_three_dimensions(run):
    """Two-dimensional arrays and a shuffled groups array hold the same replicas."""
    order = np.random.default_rng(5).permutation(60)
    groups = np.repeat(np.arange(12), 5)[order]
    flat = {key: a.reshape(60, 2)[order] for key, a in arrays().items()}
    sigma = {"front": 0.5, "back": 0.3}
    estimator = noisy(tol=0.01)
    table = flow_of(estimator, open_run(flat, labels=LABELS, groups=groups, sigma=sigma))
    cubes = flow_of(estimator, run)
    for quantity, atol in (("ceiling", 1e-12), ("label_ceiling", 1e-12), ("plug_in", 0.05)):
        found, expected = (t.loc[t["quantity"] == quantity, "value"] for t in (table, cubes))
        np.testing.assert_allclose(found, expected, atol=atol)
    assert "replicas missing" not in words(table)


def test_a_run_without_labels_has_no_label_information(several):
    run = open_run(arrays(), sigma=0.5)
    table = flow_of([noisy(), BinningMIEstimator()], run)
    assert not table["quantity"].str.startswith("label").any()
    with pytest.raises(ValueError, match="ClusteringScore requires y"):
        flow_of(several["c"], run)


# --- subset --------------------------------------------------------------------------------------

TRAIN = np.array([0, 1, 2, 5, 6, 7, 11])


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return on_disk(tmp_path_factory.mktemp("split") / "run", train=TRAIN)


def cut(keep):
    return open_run({k: a[keep] for k, a in arrays().items()}, labels=LABELS[keep], sigma=0.5)


@pytest.mark.parametrize("part", ["train", "test", "mask", "list"])
def test_a_subset_is_measured_as_a_run_cut_by_hand(split, part):
    train = np.isin(np.arange(12), TRAIN)
    mask = np.arange(12) >= 4
    keep = {"train": train, "test": ~train, "mask": mask, "list": mask}[part]
    subset = {"mask": mask, "list": mask.tolist()}.get(part, part)
    found = flow_of({"n": noisy()}, split, subset=subset)
    pd.testing.assert_frame_equal(found, flow_of({"n": noisy()}, cut(keep)), check_exact=True)
    ceiling = found.loc[found["quantity"] == "plug_in", "value"].max()
    assert ceiling <= np.log(keep.sum()) + 1e-9


def test_a_subset_is_cut_out_of_the_same_noisy_samples(split):
    keep = np.arange(12) >= 4
    table = flow_of(ClusteringScore(), split, subset=keep)
    for epoch in EPOCHS:
        sample = split.noisy_samples(epoch, "back").X[keep]
        expected = ClusteringScore().fit(sample, LABELS[keep]).auc_
        assert value_of(table, "auc", epoch=epoch, layer="back") == expected


def test_a_subset_of_a_grouped_run_keeps_all_replicas_of_its_inputs():
    groups = np.tile(np.arange(12), 5)
    flat = {k: a.transpose(1, 0, 2).reshape(60, 2) for k, a in arrays().items()}
    run = open_run(flat, labels=LABELS, groups=groups, sigma=0.5)
    keep = np.arange(12) >= 4
    by_hand = {k: a[keep[groups]] for k, a in flat.items()}
    renumbered = groups[keep[groups]] - 4
    hand = open_run(by_hand, labels=LABELS[keep], groups=renumbered, sigma=0.5)
    found = flow_of(noisy(), run, subset=keep)
    pd.testing.assert_frame_equal(found, flow_of(noisy(), hand), check_exact=True)


@pytest.mark.parametrize(
    ("subset", "says"),
    [
        ("validation", "'train', 'test' or a mask"),
        (np.ones(11, dtype=bool), "11 entries for 12 inputs"),
        (np.ones(13, dtype=bool), "13 entries for 12 inputs"),
        (np.arange(12), "True or False"),
        (np.ones((12, 1), dtype=bool), "True or False"),
        (np.zeros(12, dtype=bool), "0 sample|no inputs"),
    ],
    ids=["word", "short", "long", "indices", "column", "nothing"],
)
def test_a_bad_subset_is_refused(split, subset, says):
    with pytest.raises(ValueError, match=says):
        flow_of(noisy(), split, subset=subset)


@pytest.mark.parametrize("n", [11, 13])
def test_a_mask_of_another_length_is_refused_without_labels_too(n):
    with pytest.raises(ValueError, match=f"{n} entries"):
        flow_of(noisy(), open_run(arrays(), sigma=0.5), subset=np.ones(n, dtype=bool))


@pytest.mark.parametrize("subset", ["train", "test"])
def test_a_run_without_a_split_has_no_such_subset(run, subset):
    with pytest.raises(ValueError, match="does not say what it trained on"):
        flow_of(noisy(), run, subset=subset)


# --- jobs, memory, progress ----------------------------------------------------------------------


def test_numbers_do_not_depend_on_n_jobs(run, several, table):
    for n_jobs in (1, 2):
        found = flow_of(several, run, n_jobs=n_jobs)
        pd.testing.assert_frame_equal(found, table, check_exact=True)


def test_memory_fits_nothing_twice(run, spy, tmp_path):
    first = flow_of(spy, run, memory=str(tmp_path / "store"))
    assert Spy.fits == 6
    again = flow_of(spy, run, memory=Memory(str(tmp_path / "store"), verbose=0), n_jobs=2)
    assert Spy.fits == 6
    pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_memory_tells_estimators_and_subsets_apart(run, spy, tmp_path):
    flow_of(spy, run, memory=str(tmp_path))
    flow_of(Spy(tag=1), run, memory=str(tmp_path))
    assert Spy.fits == 12
    half = flow_of(spy, run, memory=str(tmp_path), subset=np.arange(12) < 6)
    assert Spy.fits == 18
    assert (half.loc[half["quantity"] == "n_rows", "value"] == 6).all()


def test_an_interrupted_sweep_goes_on_where_it_stopped(run, spy, tmp_path):
    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        information_flow(spy, run, memory=str(tmp_path), progress=interrupt)
    before = Spy.fits
    assert 4 <= before <= 6
    table = flow_of(spy, run, memory=str(tmp_path))
    assert Spy.fits == 6
    pd.testing.assert_frame_equal(table, flow_of(Spy(), run), check_exact=True)


def test_without_memory_nothing_is_kept(run, spy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow_of(spy, run)
    flow_of(spy, run)
    assert Spy.fits == 12
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_is_called_with_finished_and_all(run, several, n_jobs):
    calls = []
    information_flow(several, run, n_jobs=n_jobs, progress=lambda *c: calls.append(c))
    assert calls == [(k, 18) for k in range(1, 19)]


def test_a_progress_bar_goes_to_the_error_stream(run, spy, capsys):
    information_flow(spy, run, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "6/6" in err


def test_progress_false_is_silent(run, spy, capsys):
    information_flow(spy, run, progress=False)
    assert capsys.readouterr() == ("", "")


def test_without_rich_there_is_no_bar_and_no_error(run, spy, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "skinfo.progress", None)
    assert len(information_flow(spy, run, progress=True)) == 6 * 7
    assert capsys.readouterr() == ("", "")


# --- nothing is lost -----------------------------------------------------------------------------


def damage(file, how):
    content = bytearray(file.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "emptied":
        content = bytearray()
    elif how == "overwritten":
        content[:] = b"x" * len(content)
    if how == "an array":
        with file.open("wb") as other:
            np.save(other, np.zeros((12, 2)))
    else:
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "n_jobs"),
    [("truncated", 1), ("truncated", 2), ("emptied", 1), ("overwritten", 1), ("an array", 1)],
)
def test_a_corrupt_checkpoint_is_a_row_and_a_warning_and_all_else_is_finished(
    tmp_path, several, how, n_jobs
):
    run = on_disk(tmp_path / "run")
    whole = flow_of(several, run)
    file = tmp_path / "run" / "epoch_00000010.npz"
    damage(file, how)
    with pytest.warns(UserWarning, match="epoch_00000010.npz") as caught:
        table = flow_of(several, run, n_jobs=n_jobs)
    assert len(caught) == len(LAYERS), "one for all estimators of a layer"
    unread = table[table["epoch"] == 10]
    assert unread[["layer", "estimator"]].to_numpy().tolist() == [
        [layer, name] for layer in LAYERS for name in several
    ]
    assert set(unread["notes"]) == {"read error"}
    assert unread[["value", "lower", "upper"]].isna().all(axis=None)
    rest, expected = (t[t["epoch"] != 10].reset_index(drop=True) for t in (table, whole))
    pd.testing.assert_frame_equal(rest, expected, check_exact=True)


def test_a_flipped_bit_is_a_read_error_and_no_number(tmp_path):
    run = on_disk(tmp_path / "run")
    file = tmp_path / "run" / "epoch_00000010.npz"
    content = bytearray(file.read_bytes())
    at = content.find(run.array(10, "back").tobytes())
    assert at > 0
    content[at + 6] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="epoch_00000010.npz.*'back'"):
        table = flow_of(ClusteringScore(), run)
    broken = table[table["notes"] == "read error"]
    assert broken[["epoch", "layer"]].to_numpy().tolist() == [[10, "back"]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_is_not_finite_is_a_read_error_of_its_layer(tmp_path, several, value, kind):
    made = arrays()
    whole = flow_of(several, open_run(made, labels=LABELS, sigma=0.5))
    made[10, "back"][3, 0, 1] = value
    if kind == "memory":
        run, named = open_run(made, labels=LABELS, sigma=0.5), "memory"
    else:
        layers = [Layer("front", 0.5), Layer("back", 0.5, noise_before=True)]
        run = write_run(tmp_path / "run", made, layers, labels=LABELS)
        named = "run"
    with pytest.warns(UserWarning, match=f"{named}, epoch 10, layer 'back'") as caught:
        table = flow_of(several, run)
    assert len(caught) == 1
    assert {"NaN" in str(w.message) for w in caught} == {True}
    unread = (table["epoch"] == 10) & (table["layer"] == "back")
    assert (table["notes"].eq("read error") == unread).all()
    ok = (whole["epoch"] != 10) | (whole["layer"] != "back")
    pd.testing.assert_frame_equal(
        table[~unread].reset_index(drop=True), whole[ok].reset_index(drop=True), check_exact=True
    )


def test_a_layer_that_one_checkpoint_lacks_is_a_read_error():
    made = arrays(shape=(12, 2))
    del made[10, "back"]
    run = open_run(made, labels=LABELS, sigma=0.5)
    with pytest.warns(UserWarning, match="no such layer at this epoch; it has: front"):
        table = flow_of(ClusteringScore(), run)
    unread = table[table["notes"] == "read error"]
    assert unread[["epoch", "layer"]].to_numpy().tolist() == [[10, "back"]]
    assert len(table) == 5 * len(ClusteringScore().fit(np.eye(12), LABELS).quantities_) + 1


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([["a"] * 2] * 12), "where numbers are expected"),
        (np.zeros((12, 3, 4, 4)), "choose flatten='all'"),
        (np.zeros((11, 2)), "12 labels, one an input, for 11 rows"),
        (np.zeros((0, 2)), "shape"),
    ],
    ids=["words", "maps", "short", "empty"],
)
def test_activations_that_cannot_be_used_are_a_read_error(array, says):
    made = arrays(shape=(12, 2))
    made[10, "front"] = array
    with pytest.warns(UserWarning, match=says):
        table = flow_of(ClusteringScore(), open_run(made, labels=LABELS, sigma=0.5))
    assert table["notes"].eq("read error").sum() == 1
    assert len(table) == 5 * len(ClusteringScore().fit(np.eye(12), LABELS).quantities_) + 1


def test_read_errors_are_not_kept_in_memory(tmp_path, spy):
    run = on_disk(tmp_path / "run")
    file = tmp_path / "run" / "epoch_00000010.npz"
    content = file.read_bytes()
    damage(file, "truncated")
    with pytest.warns(UserWarning, match="not measured"):
        flow_of(spy, run, memory=str(tmp_path / "store"))
    assert Spy.fits == 4
    file.write_bytes(content)
    table = flow_of(spy, run, memory=str(tmp_path / "store"))
    assert Spy.fits == 6
    assert words(table) == {"one noise draw"}


def test_data_processing_is_not_asked_of_noise_added_at_each_layer_alone():
    """A later layer that is only scaled up knows more at the same sigma, and nothing is wrong."""
    S = np.random.default_rng(0).normal(size=(40, 2))
    run = open_run({(1, "front"): 0.1 * S, (1, "back"): S}, sigma=0.0)
    table = flow_of(noisy(0.1), run)
    assert words(table) == {"noise added"}


def test_data_processing_is_not_asked_of_a_network_without_a_sigma_on_record():
    S = np.random.default_rng(0).normal(size=(40, 2))
    run = open_run({(0, "front"): 0.1 * S, (0, "back"): S})
    table = flow_of(noisy(0.1), run)
    information = table[table["quantity"] == "mutual_info"].set_index("layer")
    assert information.loc["back", "lower"] > information.loc["front", "upper"]
    assert words(table) == set()


@pytest.mark.parametrize("choice", ["channel_mean", lambda maps: 0 * maps[:, :, 0, 0]])
def test_data_processing_is_not_asked_of_summaries_of_maps(choice):
    """The mean of a map may know less than the next layer, which sees all of it."""
    S = np.random.default_rng(0).normal(size=(40, 1, 1))
    made = {(1, "maps"): np.stack([S, -S], axis=-1), (1, "after"): np.repeat(S, 2, axis=1)}
    table = flow_of(noisy(), open_run(made, sigma=0.1, flatten={"maps": choice}))
    information = table[table["quantity"] == "mutual_info"].set_index("layer")
    assert information.loc["after", "lower"] > information.loc["maps", "upper"]
    assert words(table) == set()
    made[1, "after"] = 9 * made[1, "after"]
    assert "data processing violated" in words(
        flow_of(noisy(), open_run(made, sigma=0.1, flatten="all"))
    )
