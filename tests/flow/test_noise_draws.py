"""Several draws of the noise: their mean, its standard error, and what is unknown of one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinfo import BinningMIEstimator, ClusteringScore, open_run
from skinfo.flow.ranges import layer_ranges
from skinfo.quantities import Quantity

from .small_flows import LABELS, Spy, arrays, flow_of, noisy, value_of
from .test_what_is_measured import settings

N = 60


@pytest.fixture(scope="module")
def drawn_run():
    """A layer with noise of its own, one behind noise with three replicas, and one without."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(N, 2))
    replicas = S[:, None] + 0.5 * rng.normal(size=(N, 3, 2))
    made = {(1, "still"): S, (1, "front"): S, (1, "back"): replicas}
    return open_run(made, labels=np.arange(N) % 2, sigma={"still": 0.0, "front": 0.5})


def measured():
    return {"b": BinningMIEstimator(bin_width=0.5), "c": ClusteringScore()}


def test_the_standard_error_over_draws_is_the_spread_of_means_of_independent_draws(drawn_run):
    """Means of 4 draws at 40 seeds: their standard deviation is the error that each claims."""
    run = replace(drawn_run, layers=drawn_run.layers[1:2])
    tables = [flow_of(measured(), run, random_state=seed, n_noise_draws=4) for seed in range(40)]
    for quantity in ("binned_entropy", "auc"):
        rows = [t[(t["layer"] == "front") & (t["quantity"] == quantity)] for t in tables]
        spread = np.std([row["value"].item() for row in rows], ddof=1)
        claimed = np.sqrt(np.mean([row["stderr"].item() ** 2 for row in rows]))
        # The standard deviation of 40 numbers is known to a ninth, four of its errors here.
        assert claimed == pytest.approx(spread, rel=0.45)
        mean = np.mean([row["value"].item() for row in rows])
        inside = [row["lower"].item() < mean < row["upper"].item() for row in rows]
        assert np.mean(inside) > 0.8


def test_several_draws_are_the_mean_of_single_ones(drawn_run):
    table = flow_of(measured(), drawn_run, random_state=3, n_noise_draws=3)
    for layer in ("front", "back"):
        loaded = drawn_run.load(1, layer)
        samples = [loaded.noisy_sample(3, draw).X for draw in range(3)]
        values = [ClusteringScore().fit(X, drawn_run.labels).auc_ for X in samples]
        row = table[(table["layer"] == layer) & (table["quantity"] == "auc")].iloc[0]
        assert row["value"] == pytest.approx(np.mean(values), rel=1e-14)
        assert row["stderr"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(3), rel=1e-12)
        # Student's t of two degrees of freedom.
        assert row["upper"] - row["value"] == pytest.approx(4.302653 * row["stderr"], rel=1e-6)
    np.testing.assert_array_equal(
        [sample - drawn_run.load(1, "back").array[:, k] for k, sample in enumerate(samples)], 0
    )


def test_of_one_draw_the_error_is_unknown_and_without_noise_there_is_none(drawn_run):
    for n_draws in (1, 5):
        table = flow_of(measured(), drawn_run, n_noise_draws=n_draws)
        exact = table["stderr"].eq(0)
        assert exact[table["layer"] == "still"].all()
        assert exact[table["quantity"].str.endswith("_ceiling")].all()
        rest = table[(table["layer"] != "still") & ~table["quantity"].str.endswith("_ceiling")]
        unknown = rest[["stderr", "lower", "upper"]].isna()
        assert unknown.all(axis=None) == (n_draws == 1)
        assert unknown.any(axis=None) == (n_draws == 1)


def test_behind_noise_there_are_no_more_draws_than_replicas():
    alone = open_run({(1, "front"): np.eye(4), (1, "back"): np.eye(4)}, sigma=0.3)
    table = flow_of(Spy(), alone, n_noise_draws=4)
    assert Spy.fits >= 5
    assert table.loc[table["layer"] == "back", "stderr"].isna().all()
    assert (table.loc[table["layer"] == "back", "notes"] == "one noise draw").all()
    assert value_of(table[table["layer"] == "front"], "total") != 0
    assert table.loc[table["layer"] == "front", "stderr"].notna().all()
    groups = [0, 0, 0, 1, 1]
    rows = open_run({(1, "a"): np.zeros((5, 1)), (1, "b"): np.arange(5.0)[:, None]},
                    groups=groups, sigma=0.0)  # fmt: skip
    assert rows.load(1, "b").n_draws(9) == 1
    noisy_rows = open_run(
        {(1, "a"): np.zeros((5, 1)), (1, "b"): np.arange(5.0)[:, None]},
        groups=groups, sigma={"a": 0.1},
    )  # fmt: skip
    loaded = noisy_rows.load(1, "b")
    assert loaded.n_draws(9) == 2
    assert loaded.noisy_sample(draw=1).X.ravel().tolist() == [1, 4]


class Uncertain(Spy):
    """Measures with an error of its own."""

    def fit(self, X, y=None, *, groups=None):  # noqa: ARG002
        self.quantities_ = (Quantity.sampled("spread", X.std(), 0.25, "", notes=(f"{len(X)}",)),)
        return self


def test_an_estimators_own_error_is_part_of_the_error_and_does_not_shrink(drawn_run):
    table = flow_of(Uncertain(), drawn_run, n_noise_draws=50)
    row = table[table["layer"] == "front"].iloc[0]
    assert 0.25 < row["stderr"] < 0.26
    assert row["notes"] == "60"


def test_replicas_are_measured_as_they_are_whatever_the_draws(drawn_run):
    one = flow_of(noisy(), drawn_run)
    several = flow_of(noisy(), drawn_run, n_noise_draws=4, random_state=9)
    pd.testing.assert_frame_equal(one, several, check_exact=True)


def test_draws_are_kept_each_by_itself(run, spy, tmp_path):
    first = flow_of(spy, run, memory=tmp_path, n_noise_draws=2)
    assert Spy.fits == 6 * 2
    flow_of(spy, run, memory=tmp_path, n_noise_draws=3)
    # The first layer has three streams, and the one behind it three replicas of five.
    assert Spy.fits == 6 * 3
    again = flow_of(spy, run, memory=tmp_path, n_noise_draws=2)
    assert Spy.fits == 6 * 3
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    other = flow_of(spy, run, memory=tmp_path, n_noise_draws=2, random_state=1)
    assert Spy.fits == 6 * 5
    assert (other["value"] != first["value"]).any()


def test_the_range_of_a_run_is_that_of_all_draws():
    run = open_run({(1, "a"): np.zeros((30, 1)), (2, "a"): np.zeros((30, 1))}, sigma=1.0)
    drawn = [run.load(e, "a").noisy_sample(7, k).X for e in (1, 2) for k in range(5)]
    found = layer_ranges(run, settings(random_state=7, n_noise_draws=5), BinningMIEstimator())["a"]
    assert found == (np.min(drawn), np.max(drawn))
    table = flow_of(BinningMIEstimator(bin_range="run"), run, random_state=7, n_noise_draws=5)
    assert set(table.loc[table["quantity"] == "outside_fraction", "value"]) == {0}


@pytest.mark.parametrize("n_draws", [0, -1, 1.5, None])
def test_a_number_of_draws_that_is_none_is_refused(n_draws):
    with pytest.raises(ValueError, match="n_noise_draws"):
        flow_of(Spy(), open_run(arrays(), labels=LABELS), n_noise_draws=n_draws)


def test_the_settings_of_the_noise_travel_with_the_table(run):
    table = flow_of(Spy(), run, random_state=np.random.RandomState(3), n_noise_draws=2)
    again = flow_of(Spy(), run, random_state=table.attrs["random_state"], n_noise_draws=2)
    assert table.attrs["n_noise_draws"] == 2
    pd.testing.assert_frame_equal(table, again, check_exact=True)
