"""Flows side by side: differences with their errors, and what one flow lacks."""

import numpy as np
import pandas as pd
import pytest

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    compare_flows,
    information_flow,
    open_run,
    pool_flows,
)
from skinfo.comparison import CHANGES, COMPARISON_COLUMNS, SCOPES
from skinfo.flow.tables import read_table, write_table

from .flows import flow, row, unread


def compared(one, other, **options):
    """The one row of a comparison of two flows of one number."""
    comparison = compare_flows({"a": flow(one), "b": flow(other)}, **options)
    assert len(comparison) == 1
    return comparison.iloc[0]


# --- differences ---------------------------------------------------------------------------------


def test_a_difference_worked_by_hand():
    comparison = compared(row(2.0, 0.03, 1.9, 2.3), row(3.0, 0.04, 2.8, 3.2))
    assert comparison["difference"] == 1.0
    assert comparison["difference_stderr"] == pytest.approx(0.05)
    assert comparison["difference_lower"] == pytest.approx(0.5)
    assert comparison["difference_upper"] == pytest.approx(1.3)
    assert comparison["change"] == "beyond brackets"
    assert (comparison["flow"], comparison["value"], comparison["value_stderr"]) == ("b", 3.0, 0.04)
    assert (comparison["reference"], comparison["reference_value"]) == ("a", 2.0)
    assert (comparison["reference_stderr"], comparison["unit"], comparison["notes"]) == (
        0.03,
        "nats",
        "",
    )


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
    comparison = compared(one, other)
    assert comparison["change"] == change
    assert comparison["change"] in CHANGES


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

    comparison = compare_flows({"a": table(values[0], stderr[0]), "b": table(values[1], stderr[1])})
    assert len(comparison) == n
    beyond = comparison["change"].isin(["beyond error", "beyond brackets"]).mean()
    assert beyond == pytest.approx(0.05, abs=0.02)
    assert comparison["change"].ne("within brackets").all()


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
    comparison = compare_flows({"a": tables[0], "b": tables[1]})
    overlap = (lower[0] <= upper[1]) & (lower[1] <= upper[0])
    assert 0.2 < overlap.mean() < 0.8
    np.testing.assert_array_equal(comparison["change"] == "beyond brackets", ~overlap)


def test_the_interval_of_a_difference_holds_that_of_the_truths(rng):
    """Truths anywhere in their brackets."""
    n = 500
    lower, truth, upper = np.sort(rng.uniform(0, 1, (3, 2, n)), axis=0)
    tables = [
        pd.DataFrame(row((low + up) / 2, 0.0, low, up, epoch=range(n)))
        for low, up in zip(lower, upper, strict=True)
    ]
    comparison = compare_flows({"a": tables[0], "b": tables[1]})
    difference = truth[1] - truth[0]
    assert (comparison["difference_lower"] <= difference).all()
    assert (comparison["difference_upper"] >= difference).all()
    apart = comparison["change"] == "beyond brackets"
    assert (np.sign(difference)[apart] == np.sign(comparison["difference"])[apart]).all()


def recorded(noise):
    """The same weights, recorded twice: replicas differ by the noise of the layer before."""
    rng = np.random.default_rng(noise)
    clean = np.random.default_rng(99).normal(size=(40, 1, 3))
    arrays = {(1, "first"): clean[:, 0], (1, "second"): clean + 0.3 * rng.normal(size=(40, 2, 3))}
    run = open_run(arrays, labels=np.arange(40) % 2, sigma={"first": 0.3, "second": 0.3})
    estimators = {"clustered": ClusteringScore(), "binned": BinningMIEstimator(bin_width=0.5)}
    return information_flow(estimators, run, progress=False)


def test_of_one_draw_of_the_noise_no_difference_is_claimed():
    comparison = compare_flows({"one": recorded(0), "other": recorded(1)})
    second = comparison[
        (comparison["layer"] == "second") & ~comparison["quantity"].str.endswith("_ceiling")
    ]
    moved = second[second["difference"] != 0]
    assert {"auc", "binned_entropy"} <= set(moved["quantity"])
    assert set(moved["change"]) == {""}
    assert moved["notes"].str.contains("error unknown").all()
    # The first layer's noise is drawn when it is measured, the same both times.
    assert set(comparison.loc[comparison["layer"] == "first", "change"]) == {"within error"}


def test_seeds_know_the_spread_of_their_draws():
    one, other = (pool_flows([recorded(k) for k in range(first, first + 5)]) for first in (0, 5))
    comparison = compare_flows({"one": one, "other": other})
    changes = comparison.loc[comparison["quantity"].isin(["auc", "binned_entropy"]), "change"]
    assert set(changes) <= {"within error", "beyond error"}
    assert (changes == "within error").mean() >= 0.75


def test_one_network_measured_twice_does_not_differ(real):
    comparison = compare_flows({"one": real["one"], "same": real["same"]})
    noisy = comparison[comparison["estimator"] == "noisy"]
    assert (noisy["difference"] != 0).any()
    assert (noisy["change"] == "within error").mean() > 0.8
    assert (comparison.loc[comparison["estimator"] == "binned", "change"] == "within error").all()


def test_every_number_of_every_flow_stands_beside_the_reference(real):
    comparison = compare_flows(real, reference="same")
    assert tuple(comparison) == COMPARISON_COLUMNS
    assert comparison.attrs == {"reference": "same", "z": 1.96, "pair_by": None}
    assert set(comparison["flow"]) == {"one", "other"}
    assert len(comparison) == 2 * len(real["one"])
    keys = ["epoch", "layer", "estimator", "quantity"]
    for name in ("one", "other"):
        part = comparison[comparison["flow"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[keys], real["one"][keys])
        np.testing.assert_array_equal(part["value"], real[name]["value"])
        np.testing.assert_array_equal(part["reference_value"], real["same"]["value"])
        np.testing.assert_array_equal(part["unit"], real["same"]["unit"])
    assert comparison["flow"].tolist() == ["one", "other"] * len(real["one"])


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
    with pytest.raises(ValueError, match="not a flow table: it has no column 'stderr'"):
        read_table(tmp_path / f"comparison{suffix}")


# --- what repeated measurements would change -----------------------------------------------------


def test_errors_of_what_was_sampled_and_of_shared_draws_by_hand():
    steps = np.array([1.0, -1.0, 2.0, -2.0])
    pair = [
        row(v, e, stderr_sampling=s, randomisations=str((1000 * k * steps).tolist()))
        for v, e, s, k in ((2.0, 0.03, 0.3, 1), (3.0, 0.04, 0.4, 2))
    ]
    one, other = (pd.DataFrame([cells]) for cells in pair)
    found = compare_flows({"a": one, "b": other}).iloc[0]
    assert found["difference_stderr"] == pytest.approx(np.hypot(0.5, 0.01))
    against = other.assign(randomisations=str((-steps).tolist()))
    found = compare_flows({"a": one, "b": against}).iloc[0]
    assert found["difference_stderr"] == pytest.approx(np.hypot(0.5, 0.07))
    for table in (one, other):
        table.attrs["files"] = {"run": 1}
    found = compare_flows({"a": one, "b": other}).iloc[0]
    assert found["difference_stderr"] == pytest.approx(0.01)
    with pytest.raises(ValueError, match="'two' in a flow table is no JSON list of numbers"):
        compare_flows({"a": one, "b": other.assign(randomisations="two")})


@pytest.mark.parametrize(
    ("sampling", "anew", "difference", "change", "about"),
    [
        # The errors are .03 and .04, with inputs drawn anew .3 and .4 as well.
        (0.0, np.nan, 0.2, "beyond error", "these inputs"),
        (0.0, (0.3, 0.4), 0.2, "beyond error", "these inputs alone"),
        (0.0, (0.3, 0.4), 0.97, "beyond error", "these inputs alone"),
        (0.0, (0.3, 0.4), 1.0, "beyond error", "inputs like these"),
        ((0.3, 0.4), 0.0, 0.97, "within error", "the population"),
        ((0.3, 0.4), 0.0, 1.0, "beyond error", "the population"),
        (0.0, (0.3, 0.4), 0.05, "within error", "these inputs"),
        (np.nan, 0.0, 0.2, "", ""),
    ],
)
def test_what_a_difference_is_about(sampling, anew, difference, change, about):
    tables = []
    for k, (value, error) in enumerate(((1.0, 0.03), (1.0 + difference, 0.04))):
        errors = [x[k] if isinstance(x, tuple) else x for x in (sampling, anew)]
        cells = row(value, error, stderr_sampling=errors[0], stderr_other_inputs=errors[1])
        tables.append(pd.DataFrame([cells]))
    found = compare_flows({"a": tables[0], "b": tables[1]}).iloc[0]
    assert (found["change"], found["about"]) == (change, about)
    assert about in (*SCOPES, "")


def repeated(pairs, sigma=0.4, random_state=(0, 1), **options):
    """Differences of pairs of runs whose truths are the same, each pair at an epoch of its own."""
    flows = {}
    for k, (name, draws) in enumerate(zip("ab", random_state, strict=True)):
        arrays = {(epoch, "hidden"): pair[k] for epoch, pair in enumerate(pairs)}
        axes = {"hidden": "nrc"} if pairs[0][k].ndim == 3 else None
        labels = np.arange(len(pairs[0][k])) % 2
        run = open_run(arrays, labels=labels, sigma=sigma, axes=axes)
        estimator = NoisyMIEstimator(sigma, tol=0.05, random_state=draws, **options)
        flows[name] = information_flow(estimator, run, progress=False)
    found = compare_flows(flows)
    return found[found["quantity"] == "mutual_info"]


def ratio(rows):
    """The standard error claimed over the standard deviation found."""
    return rows["difference_stderr"].mean() / rows["difference"].std(ddof=1)


def test_the_error_of_replicas_recorded_anew_is_theirs(rng):
    """Of the integration alone it would be a fifth."""
    clean = rng.normal(size=(60, 1, 3))
    rows = repeated([clean + 0.5 * rng.normal(size=(2, 60, 5, 3)) for _ in range(8)])
    assert 0.6 < ratio(rows) < 1.6
    assert np.hypot(rows["value_stderr"], rows["reference_stderr"]).mean() < (
        rows["difference_stderr"].mean() / 2
    )


@pytest.mark.parametrize("population", [True, False])
def test_two_samples_of_a_population_differ_as_samples(population, rng):
    """At hand they nearly always differ, and it is said that this is about them alone."""
    pairs = [rng.normal(size=(2, 80, 2)) for _ in range(8)]
    rows = repeated(pairs, population=population)
    if population:
        assert 0.6 < ratio(rows) < 1.6
        assert set(rows["change"]) <= {"within error", "within brackets"}
        assert set(rows["about"]) == {"the population"}
    else:
        assert (rows["change"] == "beyond brackets").mean() > 0.5
        assert rows["about"].isin(["these inputs", "these inputs alone"]).mean() > 0.8


def test_a_clustering_of_other_inputs_is_said_to_be_about_these_alone(rng):
    """Half a hundredth of an AUC of 300 inputs, which is exact for these."""
    y = np.arange(300) % 2
    flows = {
        name: information_flow(
            ClusteringScore(),
            open_run({(1, "hidden"): rng.normal(size=(300, 4)) + 0.5 * y[:, None]}, labels=y),
            progress=False,
        )
        for name in "ab"
    }
    found = compare_flows(flows).set_index("quantity").loc["auc"]
    assert 0 < abs(found["difference"]) < 0.03
    assert (found["change"], found["about"]) == ("beyond brackets", "these inputs alone")


def test_the_error_that_the_same_draws_share_drops_out(rng):
    """Of a layer and the same 1.02 times as large, nine tenths of the error and more."""
    layer = rng.normal(size=(100, 2))
    seeds = [repeated([(layer, 1.02 * layer)], random_state=(k, k)) for k in range(6)]
    rows = pd.concat(seeds)
    assert 0.5 < ratio(rows) < 2
    assert np.hypot(rows["value_stderr"], rows["reference_stderr"]).mean() > (
        10 * rows["difference_stderr"].mean()
    )


# --- what one flow lacks -------------------------------------------------------------------------


def test_rows_of_one_flow_only_are_kept_and_noted():
    one = flow(row(1.0), row(2.0, epoch=10), row(5.0, layer="old"))
    other = flow(row(1.0), row(3.0, epoch=20), row(np.log(2), quantity="binned_entropy"))
    comparison = compare_flows({"one": one, "other": other})
    places = comparison.set_index(["epoch", "layer", "quantity"])
    assert len(comparison) == 5
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
    assert comparison["epoch"].is_monotonic_increasing


def test_activations_that_could_not_be_read_are_said_to_be_why():
    one = flow(row(1.0), unread(epoch=10))
    other = flow(row(1.0), row(2.0, epoch=10), row(0.5, epoch=10, quantity="binned_entropy"))
    comparison = compare_flows({"one": one, "other": other})
    notes = comparison[comparison["epoch"] == 10].set_index("quantity")["notes"]
    assert notes["mutual_info"] == notes["binned_entropy"] == "not in one (read error)"
    assert notes[""] == "not in other; one: read error"
    both = compare_flows({"one": one, "two": one}).set_index("epoch").loc[10]
    assert (both["notes"], both["change"]) == ("one: read error; two: read error", "")


def test_notes_of_the_flows_are_repeated():
    comparison = compared(row(1.0, notes="saturated"), row(1.0, notes="saturated; above ceiling"))
    assert comparison["notes"] == "a: saturated; b: saturated; b: above ceiling"


def test_a_number_without_an_error_is_no_change_unless_brackets_say_so():
    comparison = compared(row(1.0, np.nan), row(2.0, 0.1))
    assert (comparison["change"], comparison["notes"]) == ("", "error unknown")
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
