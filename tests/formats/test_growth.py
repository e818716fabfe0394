"""What one checkpoint, and one layer, costs does not grow with how many there are."""

import os
import shutil
import sys
import zipfile

import numpy as np
import pytest

from skinfo import BinningMIEstimator, information_flow, open_run, save_run
from skinfo.cli.info import _describe
from skinfo.flow import collect_snapshots
from skinfo.runs import RunWriter, convert_run
from skinfo.runs.description import make_layers

from .stored import LABELS

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
pytest.importorskip("safetensors.numpy")


class Counted:
    """The entries of a directory, counted as they are taken."""

    def __init__(self, entries, counts):
        self._entries, self._counts = entries, counts

    def __iter__(self):
        return self

    def __next__(self):
        entry = next(self._entries)
        self._counts.append(entry.name)
        return entry

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entries.close()

    close = __exit__


@pytest.fixture
def cost(monkeypatch):
    """How often a function asks the system for anything, names in directories included."""
    asked, scandir, listdir = [], os.scandir, os.listdir

    def listed(*path):
        names = listdir(*path)
        asked.extend(names)
        return names

    monkeypatch.setattr(os, "scandir", lambda *path: Counted(scandir(*path), asked))
    monkeypatch.setattr(os, "listdir", listed)

    def hear(_frame, event, function):
        if event == "c_call" and function.__module__ in ("posix", "nt", "io", "_io", "_stat"):
            asked.append(function.__name__)

    def count(function, *arguments, **options):
        asked.clear()
        sys.setprofile(hear)
        try:
            function(*arguments, **options)
        finally:
            sys.setprofile(None)
        return len(asked)

    return count


def arrays(n_layers=2):
    return {f"layer{k}": np.ones((4, 3)) for k in range(n_layers)}


def lengthen(path, epochs):
    """More checkpoints of a run, copied from its first."""
    first = min(path.glob("epoch_*"))
    copy = shutil.copytree if first.is_dir() else shutil.copy
    for epoch in epochs:
        copy(first, path / f"epoch_{epoch:08d}{first.name[14:]}")


def test_a_checkpoint_is_saved_at_the_same_cost(path, fmt, cost):
    options = {"labels": LABELS, "sigma": 0.1}
    writer = RunWriter(path, make_layers([*arrays()], 0.1), labels=LABELS, format=fmt)
    writer.add(3, arrays())
    save_run(path, 900, arrays(), **options)
    costs = []
    for epochs in (range(4, 8), range(8, 60)):
        lengthen(path, epochs)
        costs.append([
            cost(save_run, path, 901, arrays(), losses={"x": 1}, **options),
            cost(save_run, path, 901, arrays(), losses={"x": 2}, **options),
            cost(writer.add, 902, arrays()),
        ])  # fmt: skip
        for again in (901, 902):
            (there,) = path.glob(f"epoch_{again:08d}*")
            shutil.rmtree(there) if there.is_dir() else there.unlink()
    # Other checkpoints are asked for one that can be read, in whatever order they are given.
    assert np.ptp(costs, axis=0).max() <= 16
    assert open_run(path).epochs == [*range(3, 60), 900]


def read(run):
    for epoch in run.epochs:
        for layer in run.layers:
            run.shape(epoch, layer.name)
            run.load(epoch, layer.name)


@pytest.mark.parametrize("described", [True, False])
def test_a_checkpoint_is_read_at_the_same_cost(path, fmt, cost, described):
    save_run(path, 0, arrays(), format=fmt)
    if not described:
        (path / "run.json").unlink()
    costs = []
    for epochs in (range(1, 3), range(3, 10)):
        lengthen(path, epochs)
        n = epochs.stop
        costs.append([
            cost(open_run, path) / n, cost(read, open_run(path)) / n,
            cost(lambda: open_run(path).losses) / n,
        ])  # fmt: skip
    # What is done once is shared by more of them.
    assert (np.diff(costs, axis=0) <= 0).all()


def test_a_checkpoint_is_converted_at_the_same_cost(path, fmt, cost):
    save_run(path, 0, arrays(), format=fmt)
    (path / "run.json").unlink()
    costs = []
    for epochs in (range(1, 3), range(3, 8)):
        lengthen(path, epochs)
        target = path.with_name(f"to {epochs.stop}")
        costs.append(cost(convert_run, path, target, format="npz") / epochs.stop)
    assert costs[1] < costs[0]


def test_a_layer_is_saved_at_the_same_cost(tmp_path):
    costs = []
    save_run(tmp_path / "first", 0, arrays(), labels=LABELS, sigma=0.1)
    for n in (50, 200):
        calls = []
        sys.setprofile(lambda _frame, event, _argument, calls=calls: calls.append(event))
        try:
            save_run(tmp_path / str(n), 0, arrays(n), labels=LABELS, sigma=0.1)
        finally:
            sys.setprofile(None)
        costs.append(len(calls) / n)
    assert costs[1] < 1.1 * costs[0]


@pytest.mark.parametrize("described", [True, False])
def test_a_layer_is_read_at_the_same_cost(path, fmt, cost, described):
    costs = []
    for n in (4, 24):
        save_run(path / str(n), 0, arrays(n), format=fmt)
        if not described:
            (path / str(n) / "run.json").unlink()
        run = open_run(path / str(n))
        run.load(0, "layer0")
        costs.append([cost(run.shape, 0, "layer2"), cost(run.load, 0, "layer3")])
    assert costs[0] == costs[1]


def test_a_file_is_opened_once_for_all_its_layers(tmp_path, monkeypatch):
    """Where all layers are looked at, or read, in a pass."""
    for epoch in range(6):
        save_run(tmp_path / "run", epoch, arrays(8), labels=LABELS, sigma=0.1)
    run, opened = open_run(tmp_path / "run"), []
    index = zipfile.ZipFile._RealGetContents

    def counted(file):
        opened.append(file)
        return index(file)

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", counted)
    estimators = [BinningMIEstimator(bin_width=0.5), BinningMIEstimator(n_bins=4, bin_range="run")]
    for passes, work in (
        (4, lambda: information_flow(estimators, run, memory_limit="64GB", progress=False)),
        (2, lambda: collect_snapshots(open_run(tmp_path / "run"))),
        (1, lambda: _describe(open_run(tmp_path / "run"), [])),
    ):
        opened.clear()
        work()
        # Once more for the losses, and to find the first checkpoint.
        assert len(opened) <= (passes + 2) * 6, passes
