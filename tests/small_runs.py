"""Small runs that tables, snapshots and the demo are made of."""

import contextlib

import numpy as np
import pytest

from skinfo import open_run
from skinfo.datasets import make_szt
from skinfo.runs import Layer, RunWriter

EPOCHS = (1, 3, 10, 30, 100, 300)
LABELS = np.arange(20) % 2


def arrays(n_units=(4, 3), epochs=EPOCHS, n=20):
    """Layers named as torch.nn.Sequential names them, wider first."""
    rng = np.random.default_rng(0)
    return {
        # No noise is before the first layer, so that its replicas are equal.
        (epoch, str(2 * k)): rng.normal(size=(n, 3 if k else 1, d)) * np.ones((1, 3, 1))
        for epoch in epochs
        for k, d in enumerate(n_units)
    }


def broken_run(path, how):
    """A run on disk whose first checkpoint is damaged, if ``how`` says so."""
    writer = RunWriter(path, [Layer("0", 0.5), Layer("2", 0.5, noise_before=True)], labels=LABELS)
    made = arrays()
    for epoch in EPOCHS:
        layers = {name: made[epoch, name] for name in ("0", "2")}
        if epoch == 1 and how in (np.nan, np.inf):
            layers["2"][4, 0, 0] = how
        writer.add(epoch, layers)
    if how == "truncated":
        file = path / "epoch_00000001.npz"
        file.write_bytes(file.read_bytes()[:1000])
    return open_run(path)


@contextlib.contextmanager
def small_demo():
    """256 of the 4,096 inputs and a loose tolerance: all of the demo in a few seconds."""
    from skinfo.szt import demo, recording

    X, y = make_szt()
    rows = np.random.default_rng(0).permutation(4096)[:256]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "make_szt", lambda: (X[rows], y[rows]))
        patch.setattr(recording, "N_TRAIN", 200)
        patch.setattr(demo, "TOLERANCE", 0.2)
        yield
