"""Runs that the tests of formats write, and what must be true of them afterwards."""

import numpy as np

from skinfo import open_run
from skinfo.runs.stores import WRITTEN

FORMATS = tuple(WRITTEN)
LABELS = np.array([5, 7, 7, 5])


def activations(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "block10/dense 1": rng.standard_normal((4, 5)),
        "block9.conv": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "tail%2F": rng.standard_normal((4, 3, 2)).astype(np.float16),
        "..": rng.integers(-5, 5, (4, 1)),
    }
    arrays["block10/dense 1"][0] = [-0.0, 5e-324, 1e308, np.pi, -1]
    return arrays


def bits(array):
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()


def two_layers(seed=0, width=40):
    rng = np.random.default_rng(seed)
    return {"first": rng.standard_normal((4, width)), "second": rng.standard_normal((4, 3, 2, 2))}


def check_is_whole(path, epochs):
    run = open_run(path)
    assert run.epochs == epochs
    assert run.labels.tolist() == LABELS.tolist()
    for epoch in epochs:
        # A checkpoint has the losses of its own arrays.
        seed = int(run.losses.get(epoch, {"x": epoch})["x"])
        for name, array in two_layers(seed).items():
            np.testing.assert_array_equal(run.store.read(epoch, name), array)


def nothing_else(path):
    """Whether nothing lies beside a run or, hidden, in it, but the file of its lock."""
    unexpected = [e for e in path.iterdir() if e.name.startswith(".") or e.suffix == ".old"]
    unexpected += [e for e in path.parent.iterdir() if e != path]
    return all(entry.name.endswith(".lock") for entry in unexpected)
