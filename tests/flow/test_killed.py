"""Sweeps that end at any moment go on where they stopped, and tell how far they are."""

import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from skinfo import BinningMIEstimator, information_flow
from skinfo.quantities import Quantity
from skinfo.runs import RunWriter

from .small_flows import LABELS, LAYERS, arrays, flow_of, on_disk
from .stores import counted, usual

# --- progress ------------------------------------------------------------------------------------


def test_the_time_left_is_known_though_steps_take_minutes():
    pytest.importorskip("rich")
    from rich.progress import TimeRemainingColumn

    from skinfo._progress import progress_bar

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
                usual(), run, memory=tmp_path / "store", progress=lambda *c: calls.append(c)
            )
        assert calls == [(k, 18) for k in range(1, 19)]


# --- killed at any moment ------------------------------------------------------------------------


KILLED = """
import sys, time
import numpy as np
from sklearn.base import BaseEstimator
from skinfo import information_flow, open_run
from skinfo.quantities import Quantity

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
        kept = len(list(store.glob("*.json")))
        assert kept >= moment - 2 * in_flight
    subprocess.run(command, check=True)
    fits = log.read_text().splitlines()
    assert len(fits) == begun + total - kept
    assert total <= len(fits) <= total + 2 * in_flight
    assert len(set(fits)) == total
    found = pd.read_csv(f"{log}.csv")["value"].to_numpy()
    expected = [
        run.load(epoch, layer).noisy_sample().X.sum() for epoch in epochs for layer in LAYERS
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert len(list(store.glob("*.json"))) == total


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


def test_an_entry_that_was_cut_short_is_made_again(tmp_path):
    run, Logged.fits = on_disk(tmp_path / "run"), 0
    whole = flow_of(Logged(), run, memory=tmp_path / "store")
    entries = sorted((tmp_path / "store").glob("*.json"))
    assert len(entries) == Logged.fits == 6
    entries[0].write_bytes(entries[0].read_bytes()[:20])
    entries[1].write_bytes(b"")
    again = flow_of(Logged(), run, memory=tmp_path / "store")
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    assert Logged.fits == 8
    flow_of(Logged(), run, memory=tmp_path / "store")
    assert Logged.fits == 8


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
