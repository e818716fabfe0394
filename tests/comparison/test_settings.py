"""What was measured differently is noted, and refused where seeds are pooled."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skinfo import (
    BinningMIEstimator,
    NoisyMIEstimator,
    compare_flows,
    information_flow,
    open_run,
    pool_flows,
)
from skinfo.flow.defaults import measure_run
from skinfo.flow.snapshots import collect_snapshots
from skinfo.flow.tables import read_table, write_table
from skinfo.monitoring import FlowMonitor

from .flows import flow, kind, measured, row, with_settings

LAYER = {"name": "hidden", "sigma": 0.1, "noise_before": False}
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
        (with_settings(kind("N", sigma=0.1, posterior_draws=0)),
         with_settings(kind("N", sigma=0.1, posterior_draws=16)), ""),
        (with_settings(kind("N", sigma=0.5)), with_settings(kind("N", sigma=0.5, noise="additive")),
         ""),
        (with_settings(kind("N", sigma=0.5)),
         with_settings(kind("N", sigma=0.5, noise="multiplicative")),
         "noise additive and multiplicative"),
        (with_settings(kind("N", noise="additive", sigma=None), [LAYER]),
         with_settings(kind("N", noise="additive", sigma=None), [LAYER | {"noise": "lognormal"}]),
         "noise additive and lognormal"),
        (with_settings(kind("N", noise="additive", sigma=None), [LAYER | {"noise": "lognormal"}]),
         with_settings(kind("N", noise="lognormal", sigma=0.1)), ""),
        (with_settings(kind("N", noise="affine", sigma=[0.2, 0.3])),
         with_settings(kind("N", noise="affine", sigma=[0.2, [0.3, 0.4]])),
         "sigma [0.2, 0.3] and [0.2, [0.3, 0.4]]"),
        (with_settings(kind("N", sigma=None), [LAYER | {"sigma": [0.1] * 9}]),
         with_settings(kind("N", sigma=None), [LAYER | {"sigma": "deviations"}]),
         "sigma [0.1, 0.1, 0.1, 0.1, … 9 in all] and deviations"),
        (with_settings(kind("N", sigma=0.1, random_state=0, tol=0.1)),
         with_settings(kind("N", random_state=5, sigma=0.1, tol=0.2)), ""),
        (with_settings(kind("N", sigma=1)), with_settings(kind("N", sigma=1.0)), ""),
        (with_settings(kind("N", population=False)), with_settings(kind("N", population=True)),
         "population False and True"),
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
        write_table(tmp_path / f"{name}.csv", table, collect_snapshots(run, settings=table.attrs))
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
    write_table(tmp_path / f"a{suffix}", *measure_run(run, estimators, progress=False))
    options = {"sigma": {"h": 0.1}, "path": tmp_path / "m.parquet"}
    with FlowMonitor(estimators, ["h"], labels, **options) as monitor:
        for epoch, array in arrays.items():
            monitor.update(epoch, {"h": array})
    flows = {"a": tmp_path / f"a{suffix}", "m": tmp_path / "m.parquet"}
    found = compare_flows(flows)
    assert set(found["change"]) == {"within error"}
    assert not found["notes"].str.contains("settings").any()
    assert set(pool_flows(flows)["n_seeds"]) == {2}
    options["sigma"], options["path"] = {"h": 0.2}, tmp_path / "other.parquet"
    with FlowMonitor(estimators, ["h"], labels, **options) as other:
        other.update(1, {"h": arrays[1]})
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
    write_table(tmp_path / "flow.csv", table, collect_snapshots(run, settings=attrs))
    assert read_table(tmp_path / "flow.csv")[0].attrs == attrs
