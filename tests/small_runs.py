"""Small runs that tables and snapshots are made of."""

import numpy as np

from skinfo import open_run
from skinfo.runs import Layer, RunWriter

EPOCHS = (1, 3, 10, 30, 100, 300)
LABELS = np.arange(20) % 2


def arrays(n_units=(4, 3), epochs=EPOCHS, n=20):
    """Layers named as torch.nn.Sequential names them, wider first."""
    rng = np.random.default_rng(0)
    return {
        (epoch, str(2 * k)): rng.normal(size=(n, 3, d))
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
