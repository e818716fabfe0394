"""Sweeps that meet bad layers, sudden ends, clusters and limits of memory: nothing is lost."""

import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tokenize
import warnings
import zlib

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_info

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    RunError,
    information_flow,
    open_run,
)
from skinfo.errors import SaturationWarning
from skinfo.flow import workers
from skinfo.flow.budget import Budget, need_of_task, parse_bytes, resident_memory
from skinfo.flow.reading import guarded, to_send
from skinfo.flow.sweep import _memory
from skinfo.flow.tasks import Keep, Task
from skinfo.measures.quantity import Quantity
from skinfo.runs import Layer, Run, RunWriter

LABELS = np.arange(12) % 2
EPOCHS = (1, 10, 100)
LAYERS = ("front", "back")


def arrays(shape=(12, 5, 2), epochs=EPOCHS):
    rng = np.random.default_rng(0)
    return {(epoch, layer): rng.normal(size=shape) for epoch in epochs for layer in LAYERS}


def on_disk(path, shape=(12, 5, 2), epochs=EPOCHS):
    layers = [Layer("front", 0.5), Layer("back", 0.5, noise_before=True)]
    writer = RunWriter(path, layers, labels=LABELS)
    made = arrays(shape, epochs)
    for epoch in epochs:
        writer.add(epoch, {name: made[epoch, name] for name in LAYERS})
    return open_run(path)


def several():
    return {
        "n": NoisyMIEstimator(None, tol=0.1, random_state=0),
        "b": BinningMIEstimator(bin_range="run"),
        "c": ClusteringScore(),
    }


def flow_of(estimators, run, **options):
    return information_flow(estimators, run, progress=False, **options)


class Counting:
    """A store that counts what is read."""

    def __init__(self, made):
        self.made = made
        self.reads = []

    def epochs(self):
        return sorted({epoch for epoch, _ in self.made})

    def shape(self, epoch, layer):
        return self.made[epoch, layer].shape, self.made[epoch, layer].dtype

    def read(self, epoch, layer):
        self.reads.append((epoch, layer))
        return self.made[epoch, layer]


def counted(made=None, labels=LABELS, sigma=0.5):
    store = Counting(arrays() if made is None else made)
    layers = tuple(Layer(name, sigma, name == "back" and bool(sigma)) for name in LAYERS)
    return Run(store, layers, labels=labels), store


class Picky(BaseEstimator):
    """Refuses activations that reach far."""

    def fit(self, X, y=None):  # noqa: ARG002
        if X.max() > 100:
            raise ValueError("these\nreach  too far")
        self.quantities_ = (Quantity.exact("largest", X.max(), ""),)
        return self


class Witness(BaseEstimator):
    """Reports where it was fitted, and warns."""

    def fit(self, X, y=None):  # noqa: ARG002
        blas = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
        found = {"process": os.getpid(), "blas": max(blas, default=1), "total": X.sum(),
                 "finite": get_config()["assume_finite"]}  # fmt: skip
        self.quantities_ = tuple(Quantity.exact(name, value, "") for name, value in found.items())
        warnings.warn("all inputs can be told apart", SaturationWarning, stacklevel=2)
        warnings.warn("something else", RuntimeWarning, stacklevel=2)
        return self


# --- one read for all ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_array_is_read_once_for_all_estimators(n_jobs):
    run, store = counted()
    estimators = several() | {"b": BinningMIEstimator(), "p": Picky()}
    flow_of(estimators, run, n_jobs=n_jobs)
    assert sorted(store.reads) == sorted(store.made)
    # The range of a run takes a first pass.
    flow_of(several(), run, n_jobs=n_jobs)
    assert len(store.reads) == 3 * len(store.made)


# --- what cannot be measured ---------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_an_estimator_refuses_is_a_row_and_the_rest_is_finished(n_jobs):
    made = arrays()
    whole = flow_of([Picky(), ClusteringScore()], counted(made)[0])
    made[10, "back"][0, 0, 0] = 1e3
    with pytest.warns(UserWarning, match="not measured: memory, epoch 10, layer 'back'") as caught:
        table = flow_of([Picky(), ClusteringScore()], counted(made)[0], n_jobs=n_jobs)
    assert len(caught) == 1
    assert str(caught[0].message).endswith("Picky: these reach too far")
    refused = table["notes"] == "not measured"
    words = table.loc[refused, ["epoch", "layer", "estimator", "quantity", "unit"]]
    assert words.to_numpy().tolist() == [[10, "back", "Picky", "", ""]]
    numbers = table.loc[refused, ["value", "stderr", "lower", "upper"]]
    assert numbers.isna().all(axis=None)
    (error,) = table.attrs["errors"]
    assert error["message"] in str(caught[0].message)
    assert [error[k] for k in ("epoch", "layer", "estimator")] == [10, "back", "Picky"]
    here = (table["epoch"] == 10) & (table["layer"] == "back")
    there = (whole["epoch"] == 10) & (whole["layer"] == "back")
    rest, expected = (t.reset_index(drop=True) for t in (table[~here], whole[~there]))
    pd.testing.assert_frame_equal(rest, expected, check_exact=True)
    assert "auc" in set(table.loc[here, "quantity"])


class Fragile(BaseEstimator):
    """Fails on activations that reach far in a way of its own."""

    def __init__(self, error=None):
        self.error = error

    def fit(self, X, y=None):  # noqa: ARG002
        if X.max() > 100:
            raise self.error
        self.quantities_ = (Quantity.exact("largest", X.max(), ""),)
        return self


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    "error", [FloatingPointError("underflow"), np.linalg.LinAlgError("singular"), IndexError(3)]
)
def test_what_an_estimator_fails_on_is_a_row_and_the_rest_is_finished(error, n_jobs):
    made = arrays()
    made[10, "back"][0, 0, 0] = 1e3
    with pytest.warns(UserWarning, match=f"Fragile: .*{error}"):
        table = flow_of([Fragile(error), ClusteringScore()], counted(made)[0], n_jobs=n_jobs)
    lost = table[table["notes"] == "not measured"]
    assert lost[["epoch", "layer", "estimator"]].to_numpy().tolist() == [[10, "back", "Fragile"]]
    assert table["value"].isna().sum() == 1
    assert [one["epoch"] for one in table.attrs["errors"]] == [10]


class Mute(BaseEstimator):
    """Leaves what was told, which is no tuple of quantities."""

    def __init__(self, left=None):
        self.left = left

    def fit(self, X, y=None):  # noqa: ARG002
        if self.left is not None:
            self.quantities_ = self.left
        return self


@pytest.mark.parametrize("left", [None, {"a": 1.0}, (1.0,)], ids=str)
def test_an_estimator_that_leaves_no_quantities_is_told_what_to_leave(left):
    with pytest.raises(TypeError, match=r"Mute\.fit must leave quantities_, a tuple"):
        flow_of(Mute(left), counted(arrays())[0])


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), MemoryError("no room"), TypeError("two arguments"), AttributeError("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_layer_ends_the_sweep(error):
    made = arrays()
    made[10, "back"][0, 0, 0] = 1e3
    with pytest.raises(type(error)):
        flow_of(Fragile(error), counted(made)[0])


class Stumbling(Counting):
    """A store whose reader raises what its library does, for one array."""

    def __init__(self, made, error):
        super().__init__(made)
        self.error = error

    def read(self, epoch, layer):
        if (epoch, layer) == (10, "back"):
            raise self.error
        return super().read(epoch, layer)

    def shape(self, epoch, layer):
        if (epoch, layer) == (10, "back"):
            raise self.error
        return super().shape(epoch, layer)


def stumbling(error):
    layers = tuple(Layer(name, 0.5, name == "back") for name in LAYERS)
    return Run(Stumbling(arrays(), error), layers, labels=LABELS)


@pytest.mark.parametrize("limit", [None, "2GB"])
@pytest.mark.parametrize(
    "error",
    [EOFError("ended"), zlib.error("incorrect data check"), tokenize.TokenError("EOF", (2, 0)),
     AttributeError("'Datatype' object has no attribute 'shape'")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_a_reader_stumbles_over_is_a_read_error_and_the_rest_is_finished(error, limit):
    with pytest.warns(UserWarning, match=f"epoch 10, layer 'back'.*{type(error).__name__}"):
        table = flow_of(several(), stumbling(error), memory_limit=limit)
    lost = table[table["notes"] == "read error"]
    assert lost[["epoch", "layer"]].drop_duplicates().to_numpy().tolist() == [[10, "back"]]
    assert lost["estimator"].tolist() == list(several())
    assert table["value"].isna().sum() == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room")])
def test_what_is_no_fault_of_a_file_ends_the_sweep(error):
    with pytest.raises(type(error)):
        flow_of(several(), stumbling(error))


class Unreadable:
    """What looks like an array and cannot be read."""

    shape, dtype, ndim = (12, 2), np.dtype(float), 2

    def __array__(self, *args, **kwargs):
        raise EOFError("ended")


def test_of_a_reader_that_stumbles_a_worker_is_sent_the_error():
    run = guarded(open_run({(1, "a"): Unreadable(), (2, "a"): np.zeros((12, 2))}, labels=LABELS))
    sent = pickle.loads(pickle.dumps(to_send(run, 1, "a")))
    with pytest.raises(RunError, match="epoch 1, layer 'a'.*EOFError: ended"):
        sent.array(1, "a")
    assert pickle.loads(pickle.dumps(to_send(run, 2, "a"))).array(2, "a").shape == (12, 2)


class Reading(Counting):
    """A store of maps that nobody may read."""

    def read(self, epoch, layer):
        raise AssertionError((epoch, layer))


def test_a_choice_that_is_missing_is_said_once_before_anything_is_read():
    maps = {(epoch, "conv"): np.zeros((12, 3, 4, 4)) for epoch in EPOCHS}
    run = Run(Reading(maps), (Layer("conv", 0.5),), labels=LABELS)
    with pytest.raises(RunError, match="epoch 1, layer 'conv'.*choose flatten='all'"):
        flow_of(several(), run)


def test_a_choice_is_not_missing_where_one_checkpoint_is_damaged():
    made = {(epoch, "a"): np.ones((12, 2)) * epoch for epoch in EPOCHS}
    made[1, "a"] = np.zeros((12, 3, 4, 4))
    with pytest.warns(UserWarning, match="choose flatten"):
        table = flow_of(BinningMIEstimator(), open_run(made, labels=LABELS))
    assert table.loc[table["notes"] == "read error", "epoch"].tolist() == [1]


def test_errors_travel_with_the_table_into_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    made = arrays()
    made[1, "front"][0, 0, 0] = 1e3
    made[10, "back"][0, 0, 0] = np.nan
    with pytest.warns(UserWarning, match="not measured"):
        table = flow_of(Picky(), counted(made)[0])
    table.to_parquet(tmp_path / "flow.parquet")
    errors = pd.read_parquet(tmp_path / "flow.parquet").attrs["errors"]
    assert [error["epoch"] for error in errors] == [1, 10]
    assert "reach too far" in errors[0]["message"]
    assert "NaN" in errors[1]["message"]
    assert table["notes"].tolist()[:2] == ["not measured", "one noise draw"]
    at_the_end = table.loc[table["epoch"] == 10, "notes"]
    assert at_the_end.tolist() == ["one noise draw", "read error"]


def flat():
    """Activations of a network without noise."""
    return {key: array[:, 0] for key, array in arrays().items()}


def bad(kind):
    """Activations of which one checkpoint cannot be measured in some way."""
    made = flat()
    if kind == "fractions":
        made = {key: np.round(array) for key, array in made.items()}
        made[10, "back"] = made[10, "back"] + 0.5
        return made, BinningMIEstimator(strategy="discrete"), "is not an integer"
    made[10, "back"] = made[10, "back"] * 1e307
    return made, ClusteringScore(measures=()), "too large"


@pytest.mark.parametrize("kind", ["fractions", "huge"])
def test_a_bad_layer_costs_no_more_than_itself(kind):
    made, estimator, says = bad(kind)
    with pytest.warns(UserWarning, match=says):
        table = flow_of({"e": estimator, "b": BinningMIEstimator()}, counted(made, sigma=0.0)[0])
    lost = table[table["notes"] == "not measured"]
    assert lost[["epoch", "layer", "estimator"]].to_numpy().tolist() == [[10, "back", "e"]]
    measured = table[table["estimator"].eq("e") & table["value"].notna()]
    assert len(measured.groupby(["epoch", "layer"])) == 5


def test_mixed_types_are_measured():
    made = arrays()
    made[10, "back"] = made[10, "back"].astype(np.float32)
    made[100, "front"] = np.random.default_rng(2).integers(-3, 3, size=(12, 5, 2))
    table = flow_of(several(), counted(made)[0])
    assert table["value"].notna().all()


def test_a_dead_layer_is_measured():
    made = flat()
    made[10, "back"] = np.zeros((12, 2))
    table = flow_of(ClusteringScore(), counted(made, sigma=0.0)[0])
    auc = table.query("epoch == 10 and layer == 'back' and quantity == 'auc'")
    assert auc["value"].item() == 0.5


def test_labels_of_one_class_leave_the_other_estimators_alone():
    run, _ = counted(labels=np.zeros(12, dtype=int))
    with pytest.warns(UserWarning, match="at least two classes"):
        table = flow_of({"c": ClusteringScore(), "b": BinningMIEstimator()}, run)
    assert set(table.loc[table["estimator"] == "c", "notes"]) == {"not measured"}
    assert len(table.attrs["errors"]) == 6
    assert table.loc[table["estimator"] == "b", "value"].notna().all()


@pytest.mark.parametrize(
    ("estimator", "labels", "says"),
    [
        (NoisyMIEstimator(-1.0), LABELS, "must be a positive standard deviation"),
        (NoisyMIEstimator(0.1, tol=-1), LABELS, "'tol' parameter"),
        (BinningMIEstimator(bin_width=1.0, bin_edges=[0, 1]), LABELS, "not both"),
        (BinningMIEstimator(bin_range=(1, 0)), LABELS, "low < high"),
        (BinningMIEstimator(strategy="discrete", bin_width=1.0), LABELS, "takes no bin_width"),
        (BinningMIEstimator(strategy="quantile", bin_range="run"), LABELS, "no bin_range"),
        (ClusteringScore(measures=("nc3",)), LABELS, "'nc3'"),
        (ClusteringScore(measures=("binned_entropy",)), LABELS, "needs bin_width"),
        (ClusteringScore(), None, "requires y"),
    ],
)
def test_a_mistake_in_the_call_is_an_error_before_anything_is_read(estimator, labels, says):
    run, store = counted(labels=labels)
    with pytest.raises(ValueError, match=says):
        flow_of({"good": BinningMIEstimator(), "bad": estimator}, run)
    assert store.reads == []


def test_a_store_that_fails_is_a_read_error():
    run, store = counted()

    def read(epoch, layer):
        if epoch == 10:
            raise OSError("the network is down")
        return store.made[epoch, layer]

    store.read = read
    with pytest.warns(UserWarning, match="the network is down"):
        table = flow_of(several(), run)
    assert set(table.loc[table["epoch"] == 10, "notes"]) == {"read error"}
    assert table.loc[table["epoch"] != 10, "value"].notna().all()


# --- progress ------------------------------------------------------------------------------------


def test_the_time_left_is_known_though_steps_take_minutes():
    pytest.importorskip("rich")
    from rich.progress import TimeRemainingColumn

    from skinfo.progress import progress_bar

    bar, now = progress_bar(), [0.0]
    bar.get_time = lambda: now[0]
    task = bar.add_task("Estimating", total=10)
    for done in (1, 2, 3):
        now[0] += 600
        bar.update(task, completed=done)
    left = next(column for column in bar.columns if isinstance(column, TimeRemainingColumn))
    assert str(left.render(bar.tasks[0])) == "1:10:00"


def test_progress_counts_what_was_lost_and_what_was_kept_as_well(tmp_path):
    run = on_disk(tmp_path / "run")
    (tmp_path / "run" / "epoch_00000010.npz").write_bytes(b"")
    calls = []
    for _ in range(2):
        calls.clear()
        with pytest.warns(UserWarning, match="not measured"):
            information_flow(
                several(), run, memory=tmp_path / "store", progress=lambda *c: calls.append(c)
            )
        assert calls == [(k, 18) for k in range(1, 19)]


# --- killed at any moment ------------------------------------------------------------------------

KILLED = """
import sys, time
import numpy as np
from sklearn.base import BaseEstimator
from skinfo import information_flow, open_run
from skinfo.measures.quantity import Quantity

class Slow(BaseEstimator):
    def __init__(self, log=None):
        self.log = log
    def fit(self, X, y=None):
        with open(self.log, "a") as log:
            log.write(f"{X.sum():.12f}\\n")
        time.sleep(0.03)
        self.quantities_ = (Quantity.exact("total", X.sum(), ""),)
        return self

run, store, log = sys.argv[1:]
table = information_flow(Slow(log), run, memory=store, n_jobs=2, progress=False)
table.to_csv(log + ".csv", index=False)
"""


def test_a_killed_sweep_goes_on_and_measures_nothing_twice(tmp_path):
    """Killed twice in the middle by SIGKILL; what had begun and was not kept is made again."""
    epochs = tuple(range(30))
    run = on_disk(tmp_path / "run", epochs=epochs)
    script, log, store = (tmp_path / name for name in ("sweep.py", "log", "store"))
    script.write_text(textwrap.dedent(KILLED))
    log.touch()
    command = [sys.executable, script, run.name, store, log]
    total, in_flight, begun = 2 * len(epochs), 2, 0
    for moment in (15, 35):
        with subprocess.Popen(command) as process:
            while len(log.read_text().splitlines()) < moment:
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        begun = len(log.read_text().splitlines())
        assert moment <= begun < total
        kept = len(list(store.rglob("output.pkl")))
        assert kept >= moment - 2 * in_flight
    subprocess.run(command, check=True)
    fits = log.read_text().splitlines()
    assert len(fits) == begun + total - kept
    assert total <= len(fits) <= total + 2 * in_flight
    assert len(set(fits)) == total
    found = pd.read_csv(f"{log}.csv")["value"].to_numpy()
    expected = [run.noisy_samples(epoch, layer).X.sum() for epoch in epochs for layer in LAYERS]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert len(list(store.rglob("output.pkl"))) == total


class Shifting(BaseEstimator):
    """A step that counts its fits."""

    fits = 0

    def fit(self, X, y=None):  # noqa: ARG002
        Shifting.fits += 1
        return self

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)

    def transform(self, X):
        return X + 1


def test_ranges_of_what_a_pipeline_makes_are_kept_as_well(tmp_path):
    Shifting.fits = 0
    pipeline = make_pipeline(Shifting(), BinningMIEstimator(bin_range="run"))
    run, _ = counted()
    table = flow_of(pipeline, run, memory=tmp_path)
    assert Shifting.fits == 12
    pd.testing.assert_frame_equal(flow_of(pipeline, run, memory=tmp_path), table)
    assert Shifting.fits == 12
    pd.testing.assert_frame_equal(flow_of(pipeline, run), table)


class Logged(BaseEstimator):
    """Counts its fits."""

    fits = 0

    def fit(self, X, y=None):  # noqa: ARG002
        Logged.fits += 1
        self.quantities_ = (Quantity.exact("total", X.sum(), ""),)
        return self


def test_an_entry_that_was_cut_short_is_made_again(tmp_path, caplog):
    run, Logged.fits = on_disk(tmp_path / "run"), 0
    whole = flow_of(Logged(), run, memory=tmp_path / "store")
    entries = sorted((tmp_path / "store").rglob("output.pkl"))
    assert len(entries) == Logged.fits == 6
    entries[0].write_bytes(entries[0].read_bytes()[:20])
    (entries[1].parent / "metadata.json").write_text("{")
    (entries[2].parent / "output.pkl.thread-1-pid-1").write_bytes(b"half")
    again = flow_of(Logged(), run, memory=tmp_path / "store")
    assert "Exception while loading" in caplog.text
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    assert Logged.fits == 7
    flow_of(Logged(), run, memory=tmp_path / "store")
    assert Logged.fits == 7


def test_data_that_changed_on_disk_is_measured_again(tmp_path):
    run, Logged.fits = on_disk(tmp_path / "run"), 0
    before = flow_of(Logged(), run, memory=tmp_path / "store")
    changed = arrays()
    changed[10, "back"][3, 0, 1] += 1e-12
    RunWriter(
        tmp_path / "run", run.layers, labels=LABELS
    ).add(10, {name: changed[10, name] for name in LAYERS})  # fmt: skip
    after = flow_of(Logged(), run, memory=tmp_path / "store")
    assert Logged.fits == 7
    differs = before["value"] != after["value"]
    assert before.loc[differs, ["epoch", "layer"]].to_numpy().tolist() == [[10, "back"]]


# --- a cluster -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as workers,
        distributed.Client(workers),
        parallel_config("dask"),
    ):
        yield


def test_a_cluster_gives_the_same_bits(cluster, tmp_path):
    run = on_disk(tmp_path / "run")
    with parallel_config("threading", n_jobs=1):
        expected = flow_of(several(), run)
    found = flow_of(several(), run, memory=tmp_path / "store", memory_limit="4GB")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(list((tmp_path / "store").rglob("output.pkl"))) == 18
    in_memory = open_run(arrays(), labels=LABELS, sigma=0.5)
    pd.testing.assert_frame_equal(flow_of(several(), in_memory), expected, check_exact=True)


def test_a_cluster_works_elsewhere_on_one_thread_and_its_warnings_arrive(cluster, tmp_path):
    run = on_disk(tmp_path / "run")
    (tmp_path / "run" / "epoch_00000010.npz").write_bytes(b"x" * 100)
    with config_context(assume_finite=True), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = flow_of(Witness(), run)
    told = [(one.category, str(one.message)) for one in caught]
    assert [text for kind, text in told if kind is RuntimeWarning] == ["something else"] * 4
    unread = [text for kind, text in told if kind is UserWarning]
    assert len(unread) == 2
    assert all("not measured" in text and "epoch_00000010.npz" in text for text in unread)
    assert SaturationWarning not in {kind for kind, _ in told}
    assert set(table.loc[table["epoch"] == 10, "notes"]) == {"read error"}
    values = {name: set(rows["value"]) for name, rows in table.groupby("quantity")}
    assert os.getpid() not in values["process"]
    assert 1 <= len(values["process"]) <= 2
    assert values["blas"] == {1}
    assert values["finite"] == {True}


def test_of_a_run_in_memory_a_worker_is_sent_one_array():
    made = arrays(shape=(12, 5, 1000))
    run = open_run(made, labels=LABELS, sigma=0.5)
    task = Task(run, 10, "back", {}, None, Keep(_memory(None)), Budget())
    sent = pickle.dumps(task)
    assert made[10, "back"].nbytes < len(sent) < 1.1 * made[10, "back"].nbytes + 5000
    arrived = pickle.loads(sent).run
    np.testing.assert_array_equal(arrived.array(10, "back"), made[10, "back"])
    assert arrived.epochs == run.epochs
    assert arrived.store.shape(1, "back") == run.store.shape(1, "back")


def test_of_arrays_with_all_epochs_a_worker_is_sent_one():
    made = {name: np.random.default_rng(0).normal(size=(3, 12, 500)) for name in LAYERS}
    run = open_run(made, epochs=EPOCHS, labels=LABELS)
    task = Task(run, 10, "back", {}, None, Keep(_memory(None)), Budget())
    sent = pickle.dumps(task)
    assert len(sent) < 1.1 * made["back"][0].nbytes + 5000
    np.testing.assert_array_equal(pickle.loads(sent).run.array(10, "back"), made["back"][1])


def test_tokens_need_as_much_as_rows_and_pooled_maps_less():
    made = {(1, "a"): np.zeros((20, 50, 8), dtype=np.float32)}
    kinds = {
        kind: open_run(made, labels=np.arange(20) % 2, flatten=kind)
        for kind in ("tokens", "token_mean")
    }
    needs = {kind: need_of_task(run, 1, "a", [ClusteringScore()]) for kind, run in kinds.items()}
    assert needs["tokens"] > 8 * 20 * 50 * 8 * 3
    assert needs["token_mean"] < needs["tokens"] / 3


def test_an_array_that_is_not_there_is_missed_by_the_worker_as_well():
    made = arrays()
    del made[10, "back"]
    run = open_run(made, labels=LABELS, sigma=0.5)
    task = Task(run, 10, "back", {}, None, Keep(_memory(None)), Budget())
    with pytest.raises(RunError, match="no such layer at this epoch; it has: front"):
        pickle.loads(pickle.dumps(task)).run.array(10, "back")


def test_of_a_run_on_disk_a_worker_is_sent_the_path(tmp_path):
    run = on_disk(tmp_path / "run", shape=(12, 5, 1000))
    task = Task(run, 10, "back", {}, None, Keep(_memory(None)), Budget())
    assert len(pickle.dumps(task)) < 5000


def test_what_a_worker_hears_is_its_own():
    """Two threads of one process, as a worker of a cluster has them."""
    meet = threading.Barrier(2, timeout=10)

    def work(word):
        meet.wait()
        warnings.warn(word, RuntimeWarning, stacklevel=1)
        meet.wait()
        return word

    before, shown, found = warnings.showwarning, list(warnings.filters), {}

    def call(word):
        found[word] = workers._call(work, 0, word, -1, get_config())

    threads = [threading.Thread(target=call, args=(word,)) for word in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for word in ("one", "two"):
        assert [str(message) for message in found[word][2]] == [word]
    assert warnings.showwarning is before
    assert list(warnings.filters) == shown


# --- a limit of memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_numbers_do_not_depend_on_the_limit(n_jobs):
    expected = flow_of(several(), counted()[0])
    found = flow_of(several(), counted()[0], n_jobs=n_jobs, memory_limit="20 GB")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    tight = resident_memory() + 151 * 10**6
    found = flow_of(several(), counted()[0], n_jobs=n_jobs, memory_limit=tight)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_layer_that_cannot_fit_is_named_with_its_size_before_anything_is_read():
    run, store = counted()
    store.shape = lambda epoch, layer: (
        ((1000, 5, 100_000) if (epoch, layer) == (10, "back") else (12, 5, 2)),
        np.dtype(np.float32),
    )
    with pytest.raises(RunError, match="epoch 10, layer 'back': an array of 2,000 MB") as caught:
        flow_of(several(), run, memory_limit="2GB")
    assert store.reads == []
    advised = re.search(r"limit of ([\d,]+) MB or more", str(caught.value))[1].replace(",", "")
    # The array, and copies of it.
    assert int(advised) > 3 * 2000
    flow_of({"c": ClusteringScore()}, run, memory_limit=f"{advised}MB")


def test_tasks_wait_until_what_they_need_is_free(monkeypatch):
    monkeypatch.setattr("skinfo.flow.budget.resident_memory", lambda: 0)
    budget = Budget(150 * 10**6 + 100)
    most, running, lock = [], [0], threading.Lock()

    def task(need):
        with budget.held(lambda: need):
            with lock:
                running[0] += need
                most.append(running[0])
            time.sleep(0.005)
            with lock:
                running[0] -= need

    needs = [60, 40, 50, 30, 20, 100, 10, 90] * 3
    threads = [threading.Thread(target=task, args=(need,)) for need in needs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == len(needs)
    assert max(most) <= 100
    assert max(most) > 60, "and not one by one"
    # One that was foreseen too small runs alone rather than never.
    with budget.held(lambda: 10**9):
        pass


def test_copies_of_a_budget_are_one_in_each_process():
    budget = Budget(10**9)
    sent = pickle.dumps(budget)
    first, second = pickle.loads(sent), pickle.loads(sent)
    assert first is second
    assert first.limit == budget.limit


@pytest.mark.parametrize(
    ("text", "amount"), [("1GB", 10**9), ("1.5 gib", 3 * 2**29), ("500M", 5 * 10**8), ("12", 12)]
)
def test_amounts_of_memory_are_read(text, amount):
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("amount", ["much", "1XB", "GB", "-1GB", 0, -5, True, 1.5, "1iB"])
def test_amounts_that_are_none_are_refused(amount):
    with pytest.raises(ValueError, match="memory_limit"):
        flow_of(BinningMIEstimator(), counted()[0], memory_limit=amount)


def test_what_a_layer_needs_grows_with_what_measures_it():
    run, _ = counted()
    sampled = NoisyMIEstimator(0.1, inputs="sampled")
    needs = [
        need_of_task(run, 1, "back", [estimator])
        for estimator in (BinningMIEstimator(), ClusteringScore(), NoisyMIEstimator(0.1), sampled)
    ]
    assert needs == sorted(needs)
    assert need_of_task(run, 1, "back", [ClusteringScore(), sampled]) == needs[-1]
    assert need_of_task(run, 1, "back", [None]) == 0


LIMITED = """
import json
from pathlib import Path
import numpy as np
from skinfo import BinningMIEstimator, ClusteringScore, information_flow
from skinfo.runs import Layer, Run

class Seeded:
    def epochs(self):
        return list(range(6))
    def shape(self, epoch, layer):
        return (50_000, 100), np.dtype(np.float32)
    def read(self, epoch, layer):
        out = np.empty((50_000, 100), np.float32)
        np.random.default_rng(epoch).standard_normal(out=out, dtype=np.float32)
        return out

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

run = Run(Seeded(), (Layer("a", 0.0),), labels=np.arange(50_000) % 10)
estimators = [BinningMIEstimator(), ClusteringScore(measures=(), max_pairs=1000, random_state=0)]
peaks = []
for limit in (620_000_000, None):
    information_flow(estimators, run, n_jobs=6, memory_limit=limit, progress=False)
    peaks.append(peak())
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_peak_memory_stays_under_the_limit():
    """Arrays of 20 MB, six threads: without the limit the peak passes it."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], check=True, capture_output=True, text=True
    )
    limited, free = map(int, done.stdout.strip("[]\n").split(","))
    assert limited < 620e6 < free
