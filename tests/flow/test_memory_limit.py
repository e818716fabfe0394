"""A limit of memory holds for the whole process, and changes no number."""

import pickle
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator, RunError
from skinfo.flow import measure_run
from skinfo.flow.memory import Budget, parse_bytes, resident_memory

from .small_flows import flow_of
from .stores import counted, usual


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_numbers_do_not_depend_on_the_limit(n_jobs):
    expected = flow_of(usual(), counted()[0])
    found = flow_of(usual(), counted()[0], n_jobs=n_jobs, memory_limit="20 GB")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    tight = resident_memory() + 151 * 10**6
    found = flow_of(usual(), counted()[0], n_jobs=n_jobs, memory_limit=tight)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_layer_that_cannot_fit_is_named_with_its_size_before_anything_is_read():
    run, store = counted()
    store.shape = lambda _, layer: (
        ((1000, 5, 100_000) if layer == "back" else (12, 5, 2)),
        np.dtype(np.float32),
    )
    with pytest.raises(RunError, match="epoch 1, layer 'back': an array of 2,000 MB") as caught:
        flow_of(usual(), run, memory_limit="2GB")
    assert store.reads == []
    advised = re.search(r"limit of ([\d,]+) MB or more", str(caught.value))[1].replace(",", "")
    # The array, and copies of it.
    assert int(advised) > 3 * 2000
    flow_of({"c": ClusteringScore()}, run, memory_limit=f"{advised}MB")


def test_one_array_that_cannot_fit_is_a_row_and_is_never_read(monkeypatch):
    run, store = counted()
    shape = store.shape
    store.shape = lambda epoch, layer: (
        ((10**12, 2), np.dtype(np.float32)) if (epoch, layer) == (10, "back")
        else shape(epoch, layer)
    )  # fmt: skip
    with pytest.warns(UserWarning, match="epoch 10, layer 'back': an array of 8,000,000 MB"):
        table, _ = measure_run(run, usual(), memory_limit="2GB", progress=False)
    assert (10, "back") not in store.reads
    lost = table[table["value"].isna()]
    assert set(lost["notes"]) == {"read error"}
    assert lost[["epoch", "layer"]].drop_duplicates().to_numpy().tolist() == [[10, "back"]]


def test_tasks_wait_until_what_they_need_is_free(monkeypatch):
    monkeypatch.setattr("skinfo.flow.memory.resident_memory", lambda: 0)
    budget = Budget(100)
    most, running, lock = [], [0], threading.Lock()

    def task(need):
        with budget.held(need):
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
    with budget.held(10**9):
        pass


def test_copies_of_a_budget_are_one_in_each_process():
    first, second = (pickle.loads(pickle.dumps(Budget(10**9))) for _ in range(2))
    with first.held(10**6):
        assert second._running == [10**6]
    assert second.limit == 10**9


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
    sampled = NoisyMIEstimator(0.1, population=True)
    needs = [
        Budget(10**9).need(run, 1, "back", [estimator])
        for estimator in (BinningMIEstimator(), ClusteringScore(), NoisyMIEstimator(0.1), sampled)
    ]
    assert needs == sorted(needs)
    assert Budget(10**9).need(run, 1, "back", [ClusteringScore(), sampled]) == needs[-1]
    assert Budget().need(run, 1, "back", [ClusteringScore()]) == 0


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
