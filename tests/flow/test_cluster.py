"""On a cluster the same bits, and little to send."""

import os
import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_info, threadpool_limits

from skinfo import BinningMIEstimator, ClusteringScore, RunError, open_run
from skinfo.errors import SaturationWarning
from skinfo.flow import workers
from skinfo.flow.memory import Budget
from skinfo.flow.tasks import Place, Task
from skinfo.quantities import Quantity

from .small_flows import LABELS, arrays, flow_of, on_disk
from .stores import usual


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
        expected = flow_of(usual(), run)
    found = flow_of(usual(), run, memory=tmp_path / "store", memory_limit="4GB")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(list((tmp_path / "store").glob("*.json"))) == 18
    in_memory = open_run(arrays(), labels=LABELS, sigma=0.5)
    pd.testing.assert_frame_equal(flow_of(usual(), in_memory), expected, check_exact=True)


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
    task = Task(Place(run, 10, "back"), {})
    sent = pickle.dumps(task)
    assert made[10, "back"].nbytes < len(sent) < 1.1 * made[10, "back"].nbytes + 5000
    np.testing.assert_array_equal(pickle.loads(sent).place.load().array, made[10, "back"])


def test_tokens_need_as_much_as_rows_and_pooled_maps_less():
    made = {(1, "a"): np.zeros((20, 50, 8), dtype=np.float32)}
    kinds = {
        kind: open_run(made, labels=np.arange(20) % 2, flatten=kind)
        for kind in ("tokens", "token_mean")
    }
    needs = {k: Budget(1).need(run, 1, "a", [ClusteringScore()]) for k, run in kinds.items()}
    assert needs["tokens"] > 8 * 20 * 50 * 8 * 3
    assert needs["token_mean"] < needs["tokens"] / 3


def test_an_array_that_is_not_there_is_missed_by_the_worker_as_well():
    made = arrays()
    del made[10, "back"]
    run = open_run(made, labels=LABELS, sigma=0.5)
    task = Task(Place(run, 10, "back"), {})
    with pytest.raises(RunError, match="no such layer at this epoch; it has: front"):
        pickle.loads(pickle.dumps(task)).place.load()


def test_of_a_run_on_disk_a_worker_is_sent_the_path(tmp_path):
    run = on_disk(tmp_path / "run", shape=(12, 5, 1000))
    task = Task(Place(run, 10, "back"), {})
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


class Waits(BaseEstimator):
    """Two of them begin one after the other, and end in the same order."""

    def __init__(self, before=None, after=None):
        self.before, self.after = before, after

    def fit(self, X, y=None):  # noqa: ARG002
        BEGUN[self.before].set()
        assert BEGUN[self.after].wait(10)
        BinningMIEstimator(bin_edges=[0, 1]).fit(X + 5)
        self.quantities_ = (Quantity.exact("one", 1.0, ""),)
        return self


BEGUN = {}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_sweeps_that_overlap_leave_filters_and_threads_as_they_were(n_jobs):
    BEGUN.update({name: threading.Event() for name in ("one", "two", "ended")})
    run, made = open_run({(1, "a"): np.eye(4)}), {}

    def sweep(before, after):
        made[before] = flow_of(Waits(before, after), run, n_jobs=n_jobs)

    with threadpool_limits(2, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        first = threading.Thread(target=sweep, args=("one", "two"))
        second = threading.Thread(target=sweep, args=("two", "ended"))
        first.start()
        assert BEGUN["one"].wait(10)
        second.start()
        first.join()
        BEGUN["ended"].set()
        second.join()
        assert warnings.filters == filters
        blas = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
    assert blas == {2}
    for table in made.values():
        assert table["value"].tolist() == [1.0]
    assert len(made) == 2
