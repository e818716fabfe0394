"""Runs to sweep, estimators to sweep them with, and what a table says."""

import numpy as np
from sklearn.base import BaseEstimator

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.quantities import Quantity
from skinfo.runs import Layer, RunWriter

LABELS = np.arange(12) % 2
EPOCHS = (1, 10, 100)
LAYERS = ("front", "back")


def arrays(seed=0, epochs=EPOCHS, layers=LAYERS, shape=(12, 5, 2)):
    """Replicas of the first layer are equal: no noise is before it."""
    rng = np.random.default_rng(seed)
    made = {(epoch, layer): rng.normal(size=shape) for epoch in epochs for layer in layers}
    for epoch in epochs if len(shape) == 3 else ():
        made[epoch, layers[0]][:] = made[epoch, layers[0]][:, :1]
    return made


def flow_of(estimators, run, **options):
    return information_flow(estimators, run, progress=False, **options)


def noisy(sigma=None, tol=0.1, **options):
    return NoisyMIEstimator(sigma, tol=tol, random_state=0, **options)


def write_run(path, activations, layers, **options):
    """Write arrays keyed by (epoch, layer) to disk."""
    writer = RunWriter(path, layers, **options)
    for epoch in dict.fromkeys(epoch for epoch, _ in activations):
        writer.add(epoch, {name: a for (e, name), a in activations.items() if e == epoch})
    return open_run(path)


def on_disk(path, *, shape=(12, 5, 2), epochs=EPOCHS, **options):
    layers = [Layer("front", 0.5), Layer("back", 0.5, noise_before=True)]
    return write_run(path, arrays(shape=shape, epochs=epochs), layers, labels=LABELS, **options)


def words(table):
    return {word for cell in table["notes"] for word in cell.split("; ") if word}


def value_of(table, quantity, **where):
    rows = table[table["quantity"] == quantity]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1
    return rows["value"].item()


class Spy(BaseEstimator):
    """Reports what it was given as quantities, and counts its fits."""

    fits = 0

    def __init__(self, tag=0):
        self.tag = tag

    def fit(self, X, y=None, *, groups=None):
        Spy.fits += 1
        found = {
            "n_rows": len(X), "n_units": X.shape[1], "grouped": groups is not None,
            "labelled": y is not None, "total": X.sum(), "spread": X.std(), "dimensions": X.ndim,
        }  # fmt: skip
        self.quantities_ = tuple(Quantity.exact(name, v, "") for name, v in found.items())
        return self
