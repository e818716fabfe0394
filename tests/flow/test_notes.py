"""What a flow table notes of its numbers."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from skinfo import BinningMIEstimator, information_flow, open_run
from skinfo.flow.sweep import note_data_processing
from skinfo.quantities import NOTES
from skinfo.runs import Layer, RunWriter

from .small_flows import LABELS, arrays, flow_of, noisy, words


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
    rng = np.random.default_rng(1)
    first = np.repeat(rng.normal(size=(8, 1, 2)) * 0.8, 2, axis=1)
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


def test_data_processing_of_many_checkpoints_is_judged_at_once():
    one, layers = hand_made({"a": (1, 2), "b": (0, 1)}), [Layer("a", 0.1), Layer("b", 0.1)]
    calls = []
    for n in (5, 50):
        table = pd.concat([one.assign(epoch=epoch) for epoch in range(n)], ignore_index=True)
        calls.append(0)

        def hear(_frame, event, _argument):
            calls[-1] += event in ("call", "c_call")

        sys.setprofile(hear)
        try:
            note_data_processing(table, layers)
        finally:
            sys.setprofile(None)
    assert calls[1] < 2 * calls[0]


def test_a_run_that_has_yet_to_begin_has_an_empty_table(tmp_path):
    RunWriter(tmp_path / "run", [Layer("a", 0.1)])
    run = open_run(tmp_path / "run")
    assert information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False).empty


def test_data_processing_joins_the_notes_that_are_there():
    table = hand_made({"a": (1, 2), "b": (3, 4)}, notes="saturated")
    noted = note_data_processing(table, [Layer("a", 0.1), Layer("b", 0.1)])
    assert noted["notes"].tolist() == [
        "saturated", "saturated", "saturated; data processing violated", "saturated",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "notes",
    ["sigma differs from run", "noise differs from run", "noise added", "replicas missing"],
)
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
        "too few inputs",
        "single rows",
        "one noise draw",
        "sampled",
        "replicas missing",
        "no label per row",
        "sigma differs from run",
        "noise differs from run",
        "noise added",
        "read error",
        "no noise",
        "not measured",
        "zero by zero",
        "slope differs",
        "indistinguishable from no information",
        "slices too faint",
        "too few replicas of slices",
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
    elsewhere = {
        "above ceiling", "sampled", "no noise", "not measured", "zero by zero", "too few inputs",
        "single rows", "one noise draw", "noise differs from run", "slope differs",
        "indistinguishable from no information", "slices too faint", "too few replicas of slices",
        "no label per row",
    }  # fmt: skip
    assert found >= set(NOTES) - of_bins - elsewhere
    assert found & of_bins == {"at ceiling"}


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
