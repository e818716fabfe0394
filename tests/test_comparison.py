"""Flows side by side: differences with their errors, and seeds pooled into mean and spread."""

from dataclasses import replace

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    compare_flows,
    information_flow,
    open_run,
    pool_flows,
)
from skinfo.analysis import analyze_run
from skinfo.comparison import CHANGES, COMPARISON_COLUMNS, POOLED_COLUMNS, POOLING_NOTES
from skinfo.measures.quantity import COLUMNS, NOTES
from skinfo.monitoring import FlowMonitor
from skinfo.panel import collect_panel
from skinfo.plotting import EstimatorComparisonDisplay, FlowComparisonDisplay
from skinfo.tables import read_table, write_table


def row(value, stderr=0.0, lower=np.nan, upper=np.nan, **other):
    """One number of a flow table; epoch 1 of one layer unless said otherwise."""
    cells = {
        "epoch": 1, "layer": "hidden", "estimator": "noisy", "quantity": "mutual_info",
        "value": value, "stderr": stderr, "lower": lower, "upper": upper, "unit": "nats",
        "notes": "",
    }  # fmt: skip
    return cells | other


def flow(*rows, **settings):
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs = settings
    return table


def unread(**other):
    return row(np.nan, np.nan, quantity="", unit="", notes="read error", **other)


def compared(one, other, **options):
    """The one row of a comparison of two flows of one number."""
    found = compare_flows({"a": flow(one), "b": flow(other)}, **options)
    assert len(found) == 1
    return found.iloc[0]


# --- differences ---------------------------------------------------------------------------------


def test_a_difference_worked_by_hand():
    found = compared(row(2.0, 0.03, 1.9, 2.3), row(3.0, 0.04, 2.8, 3.2))
    assert found["difference"] == 1.0
    assert found["difference_stderr"] == pytest.approx(0.05)
    assert found["difference_lower"] == pytest.approx(0.5)
    assert found["difference_upper"] == pytest.approx(1.3)
    assert found["change"] == "beyond brackets"
    assert (found["flow"], found["value"], found["value_stderr"]) == ("b", 3.0, 0.04)
    assert (found["reference"], found["reference_value"]) == ("a", 2.0)
    assert (found["reference_stderr"], found["unit"], found["notes"]) == (0.03, "nats", "")


@pytest.mark.parametrize(
    ("one", "other", "change"),
    [
        # 2.13 standard errors to each side: the bracket is the error of the integration.
        (row(1.0, 0.1, 0.787, 1.213), row(1.25, 0.1, 1.037, 1.463), "within error"),
        (row(1.0, 0.1, 0.787, 1.213), row(1.30, 0.1, 1.087, 1.513), "beyond error"),
        (row(1.0, 0.1, 0.787, 1.213), row(1.50, 0.1, 1.287, 1.713), "beyond brackets"),
        (row(1.5, 0.1, 1.287, 1.713), row(1.00, 0.1, 0.787, 1.213), "beyond brackets"),
        # Few replicas: wider on one side. Only the side towards the other flow matters.
        (row(1.0, 0.1, 0.787, 1.600), row(1.30, 0.1, 1.087, 1.513), "within brackets"),
        (row(1.0, 0.1, 0.300, 1.213), row(1.30, 0.1, 1.087, 1.513), "beyond error"),
        (row(1.0, 0.1, 0.787, 1.213), row(1.30, 0.1, 0.600, 1.513), "within brackets"),
        (row(1.3, 0.1, 0.600, 1.513), row(1.00, 0.1, 0.787, 1.213), "within brackets"),
        (row(1.3, 0.1, 1.087, 2.000), row(1.00, 0.1, 0.787, 1.213), "beyond error"),
        # Brackets that touch share a point.
        (row(1.0, 0.01, 0.9, 1.2), row(1.3, 0.01, 1.2, 1.4), "within brackets"),
        # The point estimate may be less certain than the ends.
        (row(1.0, 1.0, 0.9, 1.1), row(1.3, 1.0, 1.2, 1.4), "beyond brackets"),
        # Exact numbers.
        (row(1.0, 0.0, 1.0, 1.0), row(1.0, 0.0, 1.0, 1.0), "within error"),
        (row(1.0, 0.0, 1.0, 1.0), row(1.1, 0.0, 1.1, 1.1), "beyond brackets"),
        (row(0.7, 0.0, 0.6, 0.8), row(0.75, 0.0, 0.7, 0.8), "within brackets"),
        (row(1.0, 0.0, 1.0, 1.0), row(1 + 1e-13, 0.0, 1 + 1e-13, 1 + 1e-13), "within error"),
        (row(0.0, 0.0, 0.0, 0.0), row(1e-14, 0.0, 1e-14, 1e-14), "within error"),
        # No bracket on record.
        (row(1.0, 0.1), row(1.25, 0.1), "within error"),
        (row(1.0, 0.1), row(1.30, 0.1), "beyond error"),
        # Two infinite ceilings are one.
        (row(np.inf, 0.0, np.inf, np.inf), row(np.inf, 0.0, np.inf, np.inf), "within error"),
    ],
)  # fmt: skip
def test_what_is_called_a_change(one, other, change):
    found = compared(one, other)
    assert found["change"] == change
    assert found["change"] in CHANGES


def test_small_pure_numbers_are_told_apart():
    """Distances have the scale of the activations; only nats have an absolute one."""
    exact = [row(x, 0.0, x, x, unit="", quantity="within_mean") for x in (1e-14, 2e-14)]
    assert compared(*exact)["change"] == "beyond brackets"


def test_z_moves_what_is_beyond_error():
    pair = row(1.0, 0.1), row(1.25, 0.1)
    assert compared(*pair)["change"] == "within error"
    assert compared(*pair, z=1.5)["change"] == "beyond error"


@pytest.mark.parametrize("brackets", ["none", "of the error"])
def test_of_two_estimates_of_the_same_truth_one_in_twenty_is_beyond_error(brackets, rng):
    n = 1000
    truth, stderr = rng.uniform(0, 8, n), rng.uniform(0.002, 0.05, (2, n))
    values = truth + stderr * rng.standard_normal((2, n))

    def table(value, error):
        width = 2.131 * error if brackets == "of the error" else np.full(n, np.nan)
        return pd.DataFrame(row(value, error, value - width, value + width, epoch=range(n)))

    found = compare_flows({"a": table(values[0], stderr[0]), "b": table(values[1], stderr[1])})
    assert len(found) == n
    beyond = found["change"].isin(["beyond error", "beyond brackets"]).mean()
    assert beyond == pytest.approx(0.05, abs=0.02)
    assert found["change"].ne("within brackets").all()


def test_brackets_that_overlap_are_never_beyond_brackets(rng):
    n = 2000
    lower, value, upper = np.sort(rng.uniform(0, 0.5, (3, 2, n)), axis=0) + rng.uniform(
        0, 1, (2, n)
    )
    stderr = rng.uniform(0, 0.1, (2, n))
    tables = [
        pd.DataFrame(row(*numbers, epoch=range(n)))
        for numbers in zip(value, stderr, lower, upper, strict=True)
    ]
    found = compare_flows({"a": tables[0], "b": tables[1]})
    overlap = (lower[0] <= upper[1]) & (lower[1] <= upper[0])
    assert 0.2 < overlap.mean() < 0.8
    np.testing.assert_array_equal(found["change"] == "beyond brackets", ~overlap)


def test_the_interval_of_a_difference_holds_that_of_the_truths(rng):
    """Truths anywhere in their brackets."""
    n = 500
    lower, truth, upper = np.sort(rng.uniform(0, 1, (3, 2, n)), axis=0)
    tables = [
        pd.DataFrame(row((low + up) / 2, 0.0, low, up, epoch=range(n)))
        for low, up in zip(lower, upper, strict=True)
    ]
    found = compare_flows({"a": tables[0], "b": tables[1]})
    difference = truth[1] - truth[0]
    assert (found["difference_lower"] <= difference).all()
    assert (found["difference_upper"] >= difference).all()
    apart = found["change"] == "beyond brackets"
    assert (np.sign(difference)[apart] == np.sign(found["difference"])[apart]).all()


def measured(seed, draws=0, sigma=0.4, n_replicas=None, epochs=(1, 10)):
    rng = np.random.default_rng(seed)
    shape = (40, 3) if n_replicas is None else (40, n_replicas, 3)
    arrays = {(e, x): rng.normal(size=shape) for e in epochs for x in ("first", "second")}
    run = open_run(arrays, labels=np.arange(40) % 2, sigma=sigma)
    estimators = {
        "noisy": NoisyMIEstimator(None, tol=0.05, random_state=draws),
        "binned": BinningMIEstimator(bin_width=0.5),
    }
    return information_flow(estimators, run, progress=False), run


@pytest.fixture(scope="module")
def real():
    """Two flows of one run by different draws, and one of another run."""
    return {"one": measured(0)[0], "same": measured(0, draws=1)[0], "other": measured(1)[0]}


def recorded(noise):
    """The same weights, recorded twice: replicas differ by the noise of the layer before."""
    rng = np.random.default_rng(noise)
    clean = np.random.default_rng(99).normal(size=(40, 1, 3))
    arrays = {(1, "first"): clean[:, 0], (1, "second"): clean + 0.3 * rng.normal(size=(40, 2, 3))}
    run = open_run(arrays, labels=np.arange(40) % 2, sigma={"first": 0.3, "second": 0.3})
    estimators = {"clustering": ClusteringScore(), "binned": BinningMIEstimator(bin_width=0.5)}
    return information_flow(estimators, run, progress=False)


def test_of_one_draw_of_the_noise_no_difference_is_claimed():
    found = compare_flows({"one": recorded(0), "other": recorded(1)})
    second = found[(found["layer"] == "second") & (found["quantity"] != "ceiling")]
    moved = second[second["difference"] != 0]
    assert {"auc", "entropy"} <= set(moved["quantity"])
    assert set(moved["change"]) == {""}
    assert moved["notes"].str.contains("no standard error").all()
    assert moved["notes"].str.contains("one noise draw").all()
    # The first layer's noise is drawn when it is measured, the same both times.
    assert set(found.loc[found["layer"] == "first", "change"]) == {"within error"}


def test_seeds_know_the_spread_of_their_draws():
    one, other = (pool_flows([recorded(k) for k in range(first, first + 5)]) for first in (0, 5))
    found = compare_flows({"one": one, "other": other})
    changes = found.loc[found["quantity"].isin(["auc", "entropy"]), "change"]
    assert set(changes) <= {"within error", "beyond error"}
    assert (changes == "within error").mean() >= 0.75


def test_one_network_measured_twice_does_not_differ(real):
    found = compare_flows({"one": real["one"], "same": real["same"]})
    noisy = found[found["estimator"] == "noisy"]
    assert (noisy["difference"] != 0).any()
    assert (noisy["change"] == "within error").mean() > 0.8
    assert (found.loc[found["estimator"] == "binned", "change"] == "within error").all()


def test_every_number_of_every_flow_stands_beside_the_reference(real):
    found = compare_flows(real, reference="same")
    assert tuple(found) == COMPARISON_COLUMNS
    assert found.attrs == {"reference": "same", "z": 1.96}
    assert set(found["flow"]) == {"one", "other"}
    assert len(found) == 2 * len(real["one"])
    keys = ["epoch", "layer", "estimator", "quantity"]
    for name in ("one", "other"):
        part = found[found["flow"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[keys], real["one"][keys])
        np.testing.assert_array_equal(part["value"], real[name]["value"])
        np.testing.assert_array_equal(part["reference_value"], real["same"]["value"])
        np.testing.assert_array_equal(part["unit"], real["same"]["unit"])
    assert found["flow"].tolist() == ["one", "other"] * len(real["one"])


def test_the_tables_given_are_left_as_they_are(real):
    before = {name: table.copy() for name, table in real.items()}
    compare_flows(real)
    pool_flows(real)
    for name, table in real.items():
        pd.testing.assert_frame_equal(table, before[name])


def test_the_order_of_rows_does_not_matter(real):
    shuffled = real["other"].sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        compare_flows({"one": real["one"], "other": real["other"]}),
        compare_flows({"one": real["one"], "other": shuffled}),
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_are_compared_as_their_tables_are(real, tmp_path, suffix):
    paths = {name: tmp_path / f"{name}{suffix}" for name in real}
    for name, path in paths.items():
        write_table(path, real[name])
    expected = compare_flows(real)
    pd.testing.assert_frame_equal(compare_flows(paths), expected, rtol=1e-12)
    mixed = compare_flows({"one": real["one"], "same": str(paths["same"]), "other": paths["other"]})
    pd.testing.assert_frame_equal(mixed, expected, rtol=1e-12)
    write_table(tmp_path / f"comparison{suffix}", expected)
    with pytest.raises(ValueError, match="no flow table: it has no column 'stderr'"):
        read_table(tmp_path / f"comparison{suffix}")


# --- what one flow lacks -------------------------------------------------------------------------


def test_rows_of_one_flow_only_are_kept_and_noted():
    one = flow(row(1.0), row(2.0, epoch=10), row(5.0, layer="old"))
    other = flow(row(1.0), row(3.0, epoch=20), row(np.log(2), quantity="entropy"))
    found = compare_flows({"one": one, "other": other})
    places = found.set_index(["epoch", "layer", "quantity"])
    assert len(found) == 5
    assert places.loc[(10, "hidden", "mutual_info"), "notes"] == "not in other"
    assert places.loc[(20, "hidden", "mutual_info"), "notes"] == "not in one"
    assert places.loc[(1, "old", "mutual_info"), "notes"] == "not in other"
    assert places.loc[(1, "hidden", "mutual_info"), ["notes", "change"]].tolist() == [
        "", "within error",
    ]  # fmt: skip
    alone = places.loc[(20, "hidden", "mutual_info")]
    assert (alone["value"], alone["change"], alone["unit"]) == (3.0, "", "nats")
    assert np.isnan(alone["reference_value"])
    assert np.isnan(alone["difference"])
    assert found["epoch"].is_monotonic_increasing


def test_activations_that_could_not_be_read_are_said_to_be_why():
    one = flow(row(1.0), unread(epoch=10))
    other = flow(row(1.0), row(2.0, epoch=10), row(0.5, epoch=10, quantity="entropy"))
    found = compare_flows({"one": one, "other": other})
    notes = found[found["epoch"] == 10].set_index("quantity")["notes"]
    assert notes["mutual_info"] == notes["entropy"] == "not in one (read error)"
    assert notes[""] == "not in other; one: read error"
    both = compare_flows({"one": one, "two": one}).set_index("epoch").loc[10]
    assert (both["notes"], both["change"]) == ("one: read error; two: read error", "")


def test_notes_of_the_flows_are_repeated():
    found = compared(row(1.0, notes="saturated"), row(1.0, notes="saturated; telescoped"))
    assert found["notes"] == "a: saturated; b: saturated; b: telescoped"


def test_a_number_without_an_error_is_no_change_unless_brackets_say_so():
    found = compared(row(1.0, np.nan), row(2.0, 0.1))
    assert (found["change"], found["notes"]) == ("", "no standard error")
    assert compared(row(1.0, np.nan, 0.9, 1.1), row(2.0, 0.1, 1.9, 2.1))["change"] == (
        "beyond brackets"
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (row(1.0, epoch=2), "no epoch in common: 1 in the one, 2 in the other.*interpolated"),
        (row(1.0, layer="fc"), "no layer in common: hidden in the one, fc in the other"),
        (row(1.0, estimator="kde"), "no estimator in common: noisy .* kde"),
        (row(1.0, quantity="auc", unit=""), "no quantity in common: mutual_info .* auc"),
        (unread(), "no epoch in common: 1 in the one, none in the other"),
        (
            row(1.0, unit="bits"),
            "'a' is in nats, 'b' is in bits .*epoch 1, layer 'hidden', noisy mut",
        ),
    ],
)
def test_flows_that_cannot_be_compared(other, message):
    with pytest.raises(ValueError, match=message):
        compared(row(1.0), other)


def test_many_epochs_are_not_all_listed():
    with pytest.raises(ValueError, match="0, 1, 2, 3, 4, 5, 6, 7 and 12 more in the one"):
        compare_flows({
            "a": flow(*(row(1.0, epoch=e) for e in range(20))), "b": flow(row(1.0, epoch=99)),
        })  # fmt: skip


def test_a_place_that_differs_in_all_columns_together_is_refused():
    one = flow(row(1.0), row(1.0, epoch=2, layer="fc"))
    other = flow(row(1.0, layer="fc"), row(1.0, epoch=2))
    with pytest.raises(ValueError, match="no number of the same epoch, layer, estimator"):
        compare_flows({"a": one, "b": other})


def test_mistakes_are_named(real, tmp_path):
    curve = pd.DataFrame({"sigma": [0.1], "value": [1.0]})
    for flows, message in [
        ({"a": real["one"]}, "needs two flows or more; got 1"),
        ({}, "needs two flows or more; got 0"),
        ({"a": real["one"], "b": curve}, "flow 'b' is a curve against sigma"),
        ({"a": real["one"], "b": real["one"].drop(columns="upper")}, "'b'.*no column 'upper'"),
        ({"a": real["one"], "b": real["one"].head(0)}, "flow 'b' has no rows"),
        ({"a": real["one"], "b": tmp_path / "no.csv"}, r"no\.csv: there is no such table"),
        ({"a": real["one"], "b": pd.concat([real["one"]] * 2)},
         "'b' holds epoch 1, layer 'first', noisy mutual_info more than once.*pool_flows"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            compare_flows(flows)
    with pytest.raises(ValueError, match="no flow 'x' to refer to; got one, same, other"):
        compare_flows(real, reference="x")
    for z in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="z is a positive number"):
            compare_flows(real, z=z)
    with pytest.raises(TypeError, match="mapping of names to tables"):
        compare_flows([real["one"], real["other"]])
    with pytest.raises(TypeError, match="flow 'b' is a list"):
        compare_flows({"a": real["one"], "b": [1]})


# --- settings ------------------------------------------------------------------------------------


def with_settings(estimator, layers=None, **other):
    found = {"estimators": {"noisy": estimator}, **other}
    return found | ({} if layers is None else {"layers": layers})


LAYER = {"name": "hidden", "sigma": 0.1, "noise_before": False}


def kind(name, **parameters):
    """An estimator as a table tells of it."""
    return {"class": name, **parameters}


PCA_2, PCA_3 = (kind("PCA", n_components=n, random_state=n) for n in (2, 3))


@pytest.mark.parametrize(
    ("ours", "theirs", "note"),
    [
        (with_settings(kind("N", sigma=0.1)), with_settings(kind("N", sigma=0.2)),
         "sigma 0.1 and 0.2"),
        (with_settings(kind("N", sigma=None), [LAYER]),
         with_settings(kind("N", sigma=None), [LAYER]), ""),
        (with_settings(kind("N", sigma=None), [LAYER]),
         with_settings(kind("N", sigma=None), [LAYER | {"sigma": 0.3}]), "sigma 0.1 and 0.3"),
        (with_settings(kind("N", sigma=None), [LAYER]), with_settings(kind("N", sigma=0.1)), ""),
        (with_settings(kind("N", sigma=0.1, random_state=0, tol=0.1)),
         with_settings(kind("N", random_state=5, sigma=0.1, tol=0.2)), ""),
        (with_settings(kind("N", sigma=1)), with_settings(kind("N", sigma=1.0)), ""),
        (with_settings(kind("N", inputs="given")), with_settings(kind("N", inputs="sampled")),
         "inputs given and sampled"),
        (with_settings(kind("N"), subset="train"), with_settings(kind("N"), subset="test"),
         "subset train and test"),
        (with_settings(kind("N"), subset="train"), with_settings(kind("N"), subset=None),
         "subset train and none"),
        (with_settings(kind("N"), [LAYER | {"flatten": "all"}]),
         with_settings(kind("N"), [LAYER | {"flatten": "channel_mean of nchw"}]),
         "flatten all and channel_mean of nchw"),
        (with_settings(kind("N"), [LAYER | {"flatten": "all"}]), with_settings(kind("N"), [LAYER]),
         ""),
        (with_settings(kind("B", bin_width=0.5)), with_settings(kind("B", bin_width=0.1)),
         "bin_width 0.5 and 0.1"),
        (with_settings(kind("B", bin_range="run")), with_settings(kind("B", bin_range=[0, 1])),
         "bin_range run and [0, 1]"),
        (with_settings(kind("N")), with_settings(kind("M")), "estimator N and M"),
        (with_settings(kind("Pipeline", steps=[PCA_2, kind("N", sigma=0.1)])),
         with_settings(kind("Pipeline", steps=[PCA_3, kind("N", sigma=0.2)])),
         "n_components of PCA 2 and 3, sigma 0.1 and 0.2"),
        (with_settings(kind("Pipeline", steps=[PCA_2, PCA_2, kind("N")])),
         with_settings(kind("Pipeline", steps=[PCA_2, PCA_3, kind("N")])),
         "n_components of PCA in step 2 2 and 3"),
        (with_settings(kind("Pipeline", steps=[PCA_2, kind("N")])), with_settings(kind("N")),
         "estimator PCA + N and N"),
        (with_settings("N(sigma=0.1)"), with_settings("N(sigma=0.2)"), ""),
        (with_settings(kind("N", sigma=0.1)), {}, ""),
        (with_settings(kind("N", sigma=0.1)), {"estimators": "?", "layers": "?"}, ""),
        ({}, {}, ""),
    ],
)  # fmt: skip
def test_settings_that_differ_are_noted(ours, theirs, note):
    found = compare_flows({"a": flow(row(1.0), **ours), "b": flow(row(9.0, 0.1), **theirs)})
    assert found["notes"].tolist() == [f"settings differ: {note}" if note else ""]
    assert found["change"].tolist() == ["not comparable" if note else "beyond error"]


def test_bins_of_each_runs_own_range_are_noted_and_compared():
    one, other = (flow(row(v), **with_settings(kind("B", bin_range="run"))) for v in (1.0, 2.0))
    found = compare_flows({"a": one, "b": other})
    assert found["notes"].tolist() == ["settings differ: bins over each run's own range"]
    assert found["change"].tolist() == ["beyond error"]


@pytest.mark.parametrize(
    ("ours", "theirs", "noted"),
    [("digest", "digest", False), ("digest", "other", True), (None, None, True)],
)
def test_bins_over_the_range_of_one_run_are_the_same_bins(ours, theirs, noted):
    one, other = (flow(row(v), **with_settings(kind("B", bin_range="run"))) for v in (1.0, 2.0))
    one.attrs["files"], other.attrs["files"] = ours, theirs
    found = compare_flows({"a": one, "b": other})
    note = "settings differ: bins over each run's own range"
    assert found["notes"].tolist() == [note if noted else ""]


@pytest.mark.parametrize(
    "given", [{"bin_width": 0.5}, {"bin_edges": [0, 1]}, {"strategy": "discrete"}]
)
def test_bins_that_ignore_the_range_of_a_run_are_the_same_bins(given):
    settings = with_settings(kind("B", bin_range="run", **given))
    one, other = (flow(row(v), **settings) for v in (1.0, 2.0))
    assert "settings" not in compare_flows({"a": one, "b": other})["notes"].item()


def test_sigmas_beside_tables_on_disk_are_found(tmp_path):
    for name, sigma in (("quiet", 0.3), ("loud", 0.6)):
        table, run = measured(0, sigma=sigma)
        write_table(tmp_path / f"{name}.csv", table, collect_panel(run, settings=table.attrs))
    found = compare_flows({name: tmp_path / f"{name}.csv" for name in ("quiet", "loud")})
    noisy = found["estimator"] == "noisy"
    assert found.loc[noisy, "notes"].str.contains("settings differ: sigma 0.3 and 0.6").all()
    assert set(found.loc[noisy, "change"]) == {"not comparable"}
    assert not found.loc[~noisy, "notes"].str.contains("settings").any()


def pair(**options):
    """Arrays of one layer for the estimators that follow."""
    arrays = {(1, "hidden"): np.random.default_rng(0).normal(size=(20, 4))}
    return open_run(arrays, labels=np.arange(20) % 2, sigma=0.3, **options)


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        (NoisyMIEstimator(np.float64(0.3)), NoisyMIEstimator(0.3), ""),
        (NoisyMIEstimator(None), NoisyMIEstimator(0.3), ""),
        (
            make_pipeline(PCA(2, random_state=0), NoisyMIEstimator(0.3)),
            make_pipeline(PCA(2, random_state=1), NoisyMIEstimator(0.3)),
            "",
        ),
        (
            make_pipeline(PCA(2), NoisyMIEstimator(0.3)),
            make_pipeline(PCA(2), NoisyMIEstimator(0.9)),
            "sigma 0.3 and 0.9",
        ),
        (
            make_pipeline(PCA(2), NoisyMIEstimator(0.3)),
            make_pipeline(PCA(3), NoisyMIEstimator(0.3)),
            "n_components of PCA 2 and 3",
        ),
    ],
)
def test_seeds_measured_in_python_are_pooled_by_what_they_mean(one, other, refused):
    tables = [information_flow({"n": e}, pair(), progress=False) for e in (one, other)]
    if refused:
        with pytest.raises(ValueError, match=f"'hidden' n has {refused}"):
            pool_flows(tables)
    else:
        assert set(pool_flows(tables)["n_seeds"]) == {2}


def test_seeds_that_were_flattened_otherwise_are_refused():
    maps = {(1, "hidden"): np.random.default_rng(0).normal(size=(20, 2, 3, 3))}
    binned = BinningMIEstimator(bin_width=0.5)
    first, last, row_of_all, called = (
        information_flow(binned, open_run(maps, **options), progress=False)
        for options in (
            {"flatten": "channel_mean"}, {"flatten": "channel_mean", "channels": "last"},
            {"flatten": "all"}, {"flatten": lambda x: x[:, :, 0, 0]},
        )
    )  # fmt: skip
    assert first.attrs["flatten"] == {
        "choice": "channel_mean", "channels": "first", "axes": None,
    }  # fmt: skip
    assert called.attrs["flatten"]["choice"].endswith("<lambda>")
    for other, said in [
        (last, "channel_mean of nchw and channel_mean of nhwc"),
        (row_of_all, "channel_mean of nchw and all"),
        (called, "channel_mean of nchw and .*lambda"),
    ]:
        with pytest.raises(ValueError, match=f"flatten {said}"):
            pool_flows([first, other])
        notes = compare_flows({"a": first, "b": other})["notes"]
        assert notes.str.contains("settings differ: flatten channel_mean").all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_analyze_and_of_a_monitor_are_of_one_setting(tmp_path, suffix):
    arrays = {epoch: np.random.default_rng(epoch).normal(size=(20, 3)) for epoch in (1, 5)}
    labels, estimators = np.arange(20) % 2, {"n": NoisyMIEstimator(None, random_state=0)}
    run = open_run({(e, "h"): a for e, a in arrays.items()}, labels=labels, sigma=0.1)
    write_table(tmp_path / f"a{suffix}", *analyze_run(run, estimators, progress=False))
    options = {"sigmas": {"h": 0.1}, "path": tmp_path / "m.parquet"}
    with FlowMonitor(None, ["h"], estimators, None, labels, **options) as monitor:
        for epoch, array in arrays.items():
            monitor.update(epoch, activations={"h": array})
    flows = {"a": tmp_path / f"a{suffix}", "m": tmp_path / "m.parquet"}
    found = compare_flows(flows)
    assert set(found["change"]) == {"within error"}
    assert not found["notes"].str.contains("settings").any()
    assert set(pool_flows(flows)["n_seeds"]) == {2}
    options["sigmas"], options["path"] = {"h": 0.2}, tmp_path / "other.parquet"
    with FlowMonitor(None, ["h"], estimators, None, labels, **options) as other:
        other.update(1, activations={"h": arrays[1]})
    with pytest.raises(ValueError, match="sigma 0.1 and 0.2"):
        pool_flows({"a": flows["a"], "other": tmp_path / "other.parquet"})


def test_what_a_table_says_of_itself_survives_its_file(tmp_path):
    run = replace(pair(), settings={"rate": np.float32(0.5), "sizes": np.arange(3)})
    estimators = {"n": NoisyMIEstimator(0.1), "b": BinningMIEstimator(bin_edges=np.arange(3.0))}
    table = information_flow(estimators, run, subset=np.arange(20) < 15, progress=False)
    attrs = table.attrs
    assert attrs["errors"] == []
    assert attrs["subset"] == "a mask, 15 of 20 inputs"
    assert attrs["estimators"]["n"]["sigma"] == 0.1
    assert attrs["estimators"]["n"] == {"class": "NoisyMIEstimator", **estimators["n"].get_params()}
    assert attrs["estimators"]["b"]["bin_edges"] == [0.0, 1.0, 2.0]
    assert attrs["run settings"] == {"rate": 0.5, "sizes": [0, 1, 2]}
    assert attrs["measured with"]["numpy"] == np.__version__
    write_table(tmp_path / "flow.parquet", table)
    assert read_table(tmp_path / "flow.parquet")[0].attrs == attrs
    write_table(tmp_path / "flow.csv", table, collect_panel(run, settings=attrs))
    assert read_table(tmp_path / "flow.csv")[0].attrs == attrs


# --- seeds ---------------------------------------------------------------------------------------


def seeds(rng, n, *, mean=2.0, spread=0.3, stderr=0.01, bias=(0.0, 0.0), n_rows=1):
    """Flows of n seeds of one setting."""
    made = []
    for _ in range(n):
        values = mean + spread * rng.standard_normal(n_rows) + stderr * rng.standard_normal(n_rows)
        below, above = (max(b, 2.131 * stderr) for b in bias)
        one = pd.DataFrame(row(values, stderr, values - below, values + above))
        made.append(one.assign(epoch=range(n_rows)))
    return made


def test_pooled_numbers_are_those_of_numpy(rng):
    tables = seeds(rng, 5, n_rows=20)
    pooled = pool_flows(tables)
    assert tuple(pooled) == POOLED_COLUMNS
    values = np.array([t["value"] for t in tables])
    np.testing.assert_allclose(pooled["value"], values.mean(axis=0))
    np.testing.assert_allclose(pooled["spread"], values.std(axis=0, ddof=1))
    np.testing.assert_allclose(pooled["stderr"], values.std(axis=0, ddof=1) / np.sqrt(5))
    np.testing.assert_array_equal(pooled["lower"], np.min([t["lower"] for t in tables], axis=0))
    np.testing.assert_array_equal(pooled["upper"], np.max([t["upper"] for t in tables], axis=0))
    assert (pooled["n_seeds"] == 5).all()
    assert (pooled[["bias_below", "bias_above"]] == 0).all(axis=None)
    assert set(pooled["unit"]) == {"nats"}
    assert set(pooled["notes"]) == {""}


def test_seeds_closer_than_their_errors_keep_those(rng):
    pooled = pool_flows([flow(row(2.0, 0.3)), flow(row(2.0, 0.4))]).iloc[0]
    assert pooled["spread"] == 0
    assert pooled["stderr"] == pytest.approx(0.5 / 2)


def test_one_seed_has_no_spread():
    pooled = pool_flows([flow(row(2.0, 0.1, 1.5, 2.3))]).iloc[0]
    assert np.isnan(pooled["spread"])
    expected = {"value": 2.0, "stderr": 0.1, "lower": 1.5, "upper": 2.3, "n_seeds": 1}
    assert pooled[list(expected)].to_dict() == pytest.approx(expected)
    assert (pooled["bias_below"], pooled["bias_above"]) == pytest.approx((0.5, 0.3))
    assert pooled["notes"] == "one seed"
    assert "one seed" in POOLING_NOTES


def test_seeds_that_lack_a_number_are_counted_and_noted():
    one, two = flow(row(1.0), row(2.0, epoch=10)), flow(row(3.0), unread(epoch=10))
    three = flow(row(5.0), row(4.0, epoch=10))
    pooled = pool_flows([one, two, three]).set_index(["epoch", "quantity"])
    assert pooled.loc[(1, "mutual_info"), ["value", "n_seeds", "notes"]].tolist() == [3.0, 3, ""]
    at_10 = pooled.loc[(10, "mutual_info")]
    assert (at_10["value"], at_10["n_seeds"], at_10["notes"]) == (3.0, 2, "seeds missing")
    lost = pooled.loc[(10, "")]
    assert (lost["n_seeds"], lost["notes"]) == (0, "read error; seeds missing")
    assert lost[["value", "stderr", "spread", "lower", "upper"]].isna().all()


def test_a_value_that_is_not_defined_of_one_seed_is_not_averaged():
    pooled = pool_flows([flow(row(np.nan, np.nan)), flow(row(3.0, 0.1, 2.9, 3.1))]).iloc[0]
    assert (pooled["value"], pooled["stderr"], pooled["n_seeds"]) == (3.0, 0.1, 1)
    assert (pooled["lower"], pooled["upper"]) == (2.9, 3.1)


def test_infinite_ceilings_and_unknown_brackets_pool():
    tables = [flow(row(np.inf, 0.0, np.inf, np.inf, quantity="ceiling"), row(v, 0.1, np.nan, 3.0))
              for v in (1.0, 2.0)]  # fmt: skip
    pooled = pool_flows(tables).set_index("quantity")
    ceiling = pooled.loc["ceiling"]
    assert (ceiling["value"], ceiling["lower"], ceiling["spread"]) == (np.inf, np.inf, 0.0)
    assert np.isnan(pooled.loc["mutual_info", "lower"])
    assert pooled.loc["mutual_info", "upper"] == 3.0


def test_notes_of_seeds_are_joined():
    tables = [flow(row(1.0, notes=n)) for n in ("saturated", "", "telescoped; saturated")]
    assert pool_flows(tables)["notes"].tolist() == ["saturated; telescoped"]
    assert {"saturated", "telescoped"} <= set(NOTES)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_pooled_flow_is_written_and_read(tmp_path, rng, suffix):
    tables = [*seeds(rng, 2, n_rows=3), flow(row(1.0, 0.1))]
    tables[0] = pd.concat([tables[0], flow(row(7.0, 0.2, epoch=9))], ignore_index=True)
    pooled = pool_flows(tables)
    assert pooled["spread"].isna().any()
    path = tmp_path / f"pooled{suffix}"
    write_table(path, pooled)
    found, _ = read_table(path)
    found.attrs = pooled.attrs = {}
    pd.testing.assert_frame_equal(found, pooled, rtol=1e-12)


def test_what_cannot_be_pooled(tmp_path, rng):
    (table,) = seeds(rng, 1)
    path = tmp_path / "seed.csv"
    write_table(path, table)
    for flows, message in [
        ([], "at least one flow"),
        ([path, str(path)], r"seed\.csv is there twice"),
        ([table, pool_flows([table, table])], "'seed 1' is pooled already"),
        ([table, table.assign(epoch=99)], "'seed 0' and 'seed 1' have no epoch in common"),
        ([table, table.assign(unit="bits")], "'seed 0' is in nats, 'seed 1' is in bits"),
        ({"x": flow(row(1.0), **with_settings(kind("N", sigma=0.1))),
          "y": flow(row(1.0), **with_settings(kind("N", sigma=0.2)))},
         "'x' and 'y' are not seeds of one setting: at layer 'hidden' noisy has sigma 0.1 and 0.2"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            pool_flows(flows)


def test_pooled_flows_remember_their_settings(rng):
    kinds = [kind("N", sigma=0.1, random_state=v) for v in (1, 2)]
    tables = [flow(row(float(k)), **with_settings(kinds[k])) for k in (0, 1)]
    pooled = pool_flows({"s1": tables[0], "s2": tables[1]})
    assert pooled.attrs["pooled"] == ["s1", "s2"]
    other = flow(row(2.0), **with_settings(kind("N", sigma=0.5)))
    (notes,) = compare_flows({"pooled": pooled, "other": other})["notes"]
    assert "settings differ: sigma 0.1 and 0.5" in notes
    own = [flow(row(v), **with_settings(kind("B", bin_range="run"))) for v in (1, 2)]
    assert len(pool_flows(own)) == 1


# --- seeds beside seeds --------------------------------------------------------------------------


def test_the_error_between_pooled_flows_contains_the_spread(rng):
    one, other = (pool_flows(seeds(rng, n)) for n in (4, 6))
    found = compare_flows({"one": one, "other": other}).iloc[0]
    variances = np.array([one["spread"].iloc[0] ** 2 / 4, other["spread"].iloc[0] ** 2 / 6])
    assert found["difference_stderr"] == pytest.approx(np.sqrt(variances.sum()))
    assert found["difference_stderr"] > 5 * np.hypot(0.01, 0.01) / 2


@pytest.mark.parametrize("z", [1.0, 1.96])
@pytest.mark.parametrize(("n_one", "n_other"), [(2, 2), (3, 3), (3, 8)])
def test_equal_settings_differ_as_often_as_z_says(rng, n_one, n_other, z):
    """Few seeds: Student's t with the spread of each; Welch's degrees of freedom are coarse."""
    one, other = (pool_flows(seeds(rng, n, n_rows=2000)) for n in (n_one, n_other))
    found = compare_flows({"one": one, "other": other}, z=z)
    beyond = found["change"].isin(["beyond error", "beyond brackets"]).mean()
    expected = 2 * norm.sf(z)
    assert 0.4 * expected < beyond < 1.25 * expected


def test_the_quantile_is_welchs(rng):
    """Two pooled flows on either side of the threshold of scipy's t test."""
    from scipy.stats import ttest_ind

    one, other = rng.normal(0, 1, 4), rng.normal(0, 0.5, 3)
    probability = 2 * norm.sf(1.96)
    shifts = np.linspace(0, 4, 60)
    flows = {
        "one": pool_flows([flow(*(row(v, epoch=k) for k in range(60))) for v in one]),
        "other": pool_flows(
            [flow(*(row(v + shift, epoch=k) for k, shift in enumerate(shifts))) for v in other]
        ),
    }
    p = np.array([ttest_ind(one, other + shift, equal_var=False).pvalue for shift in shifts])
    expected = np.where(p < probability, "beyond error", "within error")
    assert len(set(expected)) == 2
    assert compare_flows(flows)["change"].tolist() == expected.tolist()


def test_a_single_seed_is_one_more_of_the_others(rng):
    """The spread it must have is theirs: t with their degrees of freedom."""
    several, single = seeds(rng, 5, n_rows=3000), seeds(rng, 1, n_rows=3000)[0]
    pooled = pool_flows(several)
    for flows in ({"pooled": pooled, "new": single}, {"new": single, "pooled": pooled}):
        found = compare_flows(flows)
        assert found["notes"].str.contains("new: one seed, taken to spread like pooled").all()
        spread = pooled["spread"].to_numpy()
        np.testing.assert_allclose(
            found["difference_stderr"], np.sqrt(spread**2 * (1 + 1 / 5) + 0.01**2), rtol=1e-9
        )
        beyond = (
            np.abs(found["difference"]) > student.isf(norm.sf(1.96), 4) * found["difference_stderr"]
        )
        np.testing.assert_array_equal(found["change"] != "within error", beyond)
        assert beyond.mean() == pytest.approx(0.05, abs=0.015)


def test_single_seeds_beside_each_other_are_compared_as_the_runs_they_are():
    one, other = row(1.0, 0.01, 0.98, 1.02), row(1.1, 0.01, 1.08, 1.12)
    plain = compare_flows({"one": flow(one), "other": flow(other)})
    pooled = compare_flows({"one": pool_flows([flow(one)]), "other": pool_flows([flow(other)])})
    columns = ["difference", "difference_stderr", "difference_lower", "difference_upper", "change"]
    pd.testing.assert_frame_equal(plain[columns], pooled[columns])
    assert plain["change"].tolist() == ["beyond brackets"]


def test_two_seeds_that_lie_apart_by_chance_are_within_error():
    """Of two and two seeds every third order is a complete separation."""
    one = pool_flows([flow(row(v, 0.001, v - 0.01, v + 0.01)) for v in (1.0, 1.3)])
    other = pool_flows([flow(row(v, 0.001, v - 0.01, v + 0.01)) for v in (1.35, 1.7)])
    found = compare_flows({"one": one, "other": other}).iloc[0]
    assert found["difference_lower"] > 0
    assert found["change"] == "within error"


@pytest.mark.parametrize(
    ("bias", "change"), [((0.0, 0.0), "beyond error"), ((0.3, 0.3), "within brackets")]
)
def test_a_bias_that_all_seeds_share_adds_in_full(rng, bias, change):
    """More seeds narrow the error of the mean, but not the bias of few replicas."""
    one = pool_flows(seeds(rng, 40, spread=0.2, mean=1.0, bias=bias))
    other = pool_flows(seeds(rng, 40, spread=0.2, mean=1.4, bias=bias))
    found = compare_flows({"one": one, "other": other}).iloc[0]
    assert found["change"] == change
    assert abs(found["difference"]) > 5 * found["difference_stderr"]


def test_seeds_that_are_all_above_all_others_are_beyond_brackets(rng):
    one, other = (pool_flows(seeds(rng, 6, mean=m, spread=0.05)) for m in (1.0, 2.0))
    assert compare_flows({"one": one, "other": other})["change"].tolist() == ["beyond brackets"]


# --- pictures ------------------------------------------------------------------------------------


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
        (name, layer) for name in ("information", "label_information")
        for layer in ("first", "second")
    ]  # fmt: skip
    for (name, layer), ax in display.axes_.items():
        quantity = {"information": "mutual_info", "label_information": "label_mutual_info"}[name]
        lines = drawn_lines(ax)
        for line, band, flow in zip(lines, bands(ax), flows.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [1, 10])
            np.testing.assert_array_equal(line.get_ydata(), curves_of(flow, quantity).loc[layer])
            for side, column in enumerate(("lower", "upper")):
                expected = curves_of(flow, quantity, column=column).loc[layer]
                np.testing.assert_allclose(band[:, side], expected)
        assert len({line.get_color() for line in lines}) == 2
    assert display.axes_["information", "first"].get_ylabel() == "I(X;T) [nats]"
    assert display.axes_["label_information", "first"].get_ylabel() == "I(Y;T) [nats]"
    assert display.axes_["label_information", "second"].get_xlabel() == "Epoch"
    assert [display.axes_["information", x].get_title() for x in ("first", "second")] == [
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
    ax = FlowComparisonDisplay({"one": one, "other": other}).plot().axes_["information", "hidden"]
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
        ax = display.axes_["information", layer]
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
    np.testing.assert_allclose(bands(display.axes_["information", "first"])[0][:, 1], expected)


def test_what_is_drawn_and_of_which_layers_can_be_chosen(real):
    display = FlowComparisonDisplay(real, shown=["binned"], layers=["second"]).plot()
    (ax,) = display.axes_.values()
    assert ax.get_ylabel() == "H(Bin(T)) [nats]"
    for line, flow in zip(drawn_lines(ax), real.values(), strict=True):
        expected = curves_of(flow, "entropy", "binned").loc["second"]
        np.testing.assert_array_equal(line.get_ydata(), expected)


def test_flows_of_other_checkpoints_are_drawn_without_marks(real):
    later = real["other"].assign(epoch=real["other"]["epoch"] * 3)
    display = FlowComparisonDisplay({"one": real["one"], "later": later}).plot()
    ax = display.axes_["information", "first"]
    assert [line.get_xdata().tolist() for line in drawn_lines(ax)] == [[1, 10], [3, 30]]
    assert legend_of(display) == ["one", "later", "bracket"]


def test_pictures_of_what_is_not_there_are_refused(real):
    for make, message in [
        (lambda: FlowComparisonDisplay({}), "no flow was given"),
        (lambda: FlowComparisonDisplay(real, reference="x"), "no flow 'x' to refer to"),
        (lambda: FlowComparisonDisplay(real, layers=["x"]), "layer 'x'; there are first, second"),
        (lambda: FlowComparisonDisplay(real, layers=[]), "nothing to draw: no layer was chosen"),
        (lambda: FlowComparisonDisplay(real, shown=["clustering"]),
         "hold information, label_information, binned; not 'clustering'"),
        (lambda: FlowComparisonDisplay({"a": flow(row(1.0, quantity="nc1"))}), "hold no curve"),
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


@pytest.fixture(scope="module")
def several():
    rng = np.random.default_rng(0)
    arrays = {(e, x): rng.normal(size=(30, 2)) for e in (1, 10, 100) for x in ("first", "second")}
    estimators = {
        "noisy": NoisyMIEstimator(None, tol=0.1, bounds=True, random_state=0),
        "binned": BinningMIEstimator(bin_width=0.5),
    }
    return information_flow(estimators, open_run(arrays, sigma=0.5), progress=False)


def test_estimators_of_one_run_in_one_figure(several):
    display = EstimatorComparisonDisplay.from_flow(several).plot()
    display.figure_.canvas.draw()
    assert list(display.axes_) == ["first", "second"]
    assert legend_of(display) == [
        "I(X;T) with bracket", "pairwise bounds", "H(Bin(T))", "ceiling of I(X;T)",
    ]  # fmt: skip
    for layer, ax in display.axes_.items():
        noisy, binned, ceiling = ax.lines
        for line, (quantity, estimator) in (
            (noisy, ("mutual_info", "noisy")),
            (binned, ("entropy", "binned")),
            (ceiling, ("ceiling", "noisy")),
        ):
            expected = curves_of(several, quantity, estimator).loc[layer]
            np.testing.assert_array_equal(line.get_ydata(), expected)
        assert ceiling.get_linestyle() == ":"
        bracket, bounds = bands(ax)
        low, high = (
            curves_of(several, f"mutual_info_pairwise_{side}").loc[layer]
            for side in ("lower", "upper")
        )
        np.testing.assert_allclose(bounds, np.c_[low, high])
        assert (low <= noisy.get_ydata()).all()
        assert (noisy.get_ydata() <= high).all()
        np.testing.assert_allclose(
            bracket[:, 0], curves_of(several, "mutual_info", column="lower").loc[layer]
        )
        assert ax.get_xscale() == "log"
    assert display.axes_["first"].get_ylabel() == "Information [nats]"


def test_estimators_that_are_missing_are_left_out(several):
    binned = several[several["estimator"] == "binned"]
    assert legend_of(EstimatorComparisonDisplay(binned).plot()) == ["H(Bin(T))"]
    without = several[~several["quantity"].str.contains("pairwise")]
    display = EstimatorComparisonDisplay(without, layers=["second"]).plot()
    assert legend_of(display) == ["I(X;T) with bracket", "H(Bin(T))", "ceiling of I(X;T)"]
    assert list(display.axes_) == ["second"]


def test_estimators_that_make_no_figure_are_refused(several):
    with pytest.raises(ValueError, match="nothing to compare"):
        EstimatorComparisonDisplay(several[several["quantity"] == "plug_in"])
    with pytest.raises(ValueError, match="no layer 'x'"):
        EstimatorComparisonDisplay(several, layers=["x"])
    with pytest.raises(ValueError, match="nothing to draw: no layer was chosen"):
        EstimatorComparisonDisplay(several, layers=[])
    bits = several.assign(unit=np.where(several["estimator"] == "binned", "bits", "nats"))
    with pytest.raises(ValueError, match="different units make no figure: .*in nats, .*in bits"):
        EstimatorComparisonDisplay(bits)
