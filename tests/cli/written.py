"""Runs that the commands are given, and what their output is held against."""

import os
import subprocess

import numpy as np

from skinfo.flow.tables import read_table
from skinfo.runs import Layer, RunWriter

LABELS = np.arange(16) % 2
NOISY = (Layer("first", 0.5), Layer("second", 0.5, noise_before=True))
MIXED = (Layer("first", 0.5), Layer("second", 0.0, noise_before=True))
SILENT = (Layer("first", 0.0), Layer("second", None))
QUICK = ("--tol", "0.2")


def write_run(path, layers=NOISY, epochs=(1, 10, 100), broken=None, labels=LABELS, seed=0):
    writer = RunWriter(path, layers, labels=labels, train=None if labels is None else range(10))
    rng = np.random.default_rng(seed)
    for epoch in epochs:
        stored = {layer.name: rng.normal(size=(16, 4, 2)) for layer in layers}
        for layer in layers:
            if not layer.noise_before:
                # Before any noise all replicas of an input are the same.
                stored[layer.name] = np.repeat(stored[layer.name][:, :1], 4, axis=1)
        if broken == "nan" and epoch == 10:
            stored["second"][3, 0, 0] = np.nan
        writer.add(epoch, stored, losses={"train_loss": 1 / (1 + epoch)})
    if broken == "truncated":
        file = path / "epoch_00000010.npz"
        file.write_bytes(file.read_bytes()[:700])
    return path


def squeezed(text):
    """Text without white space: a terminal may break lines anywhere."""
    return "".join(text.split())


def says(err, *parts):
    return all(squeezed(str(part)) in squeezed(err) for part in parts)


def started(command, folder):
    """A process of its own, in a terminal of 80 columns, warnings shown as usual."""
    environment = {**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        cwd=folder, env=environment, timeout=300,
    )  # fmt: skip


def assert_the_rest_is_there(target, lost_layers):
    table, snapshots = read_table(target)
    lost = table[table["notes"] == "read error"]
    places = lost[["epoch", "layer"]].drop_duplicates().to_numpy().tolist()
    assert places == [[10, name] for name in lost_layers]
    assert len(lost) == 3 * len(lost_layers)
    assert table["value"].notna().sum() == 192 - 32 * len(lost_layers)
    assert snapshots.value_counts[1].sum(axis=1).tolist() == [32, 0, 32]
