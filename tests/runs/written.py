"""Runs written for tests, whole or damaged."""

import numpy as np

from skinfo.runs import Layer, RunWriter

LAYERS = [Layer("first", 0.1), Layer("second", 0.2, noise_before=True), Layer("out", 0.0, True)]
LABELS = np.array([5, 7, 7, 5])
N_INPUTS, N_REPLICAS = 4, 3


def activations(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "first": rng.standard_normal((N_INPUTS, 5)),
        "second": rng.standard_normal((N_INPUTS, N_REPLICAS, 2)),
        "out": rng.standard_normal((N_INPUTS, N_REPLICAS, 3)).astype(np.float32),
    }


def write_run(path, arrays=None, layers=LAYERS, *, labels=LABELS, **options):
    """Write arrays by epoch; by default two checkpoints of three layers."""
    arrays = {1: activations(1), 20: activations(20)} if arrays is None else arrays
    writer = RunWriter(path, layers, labels=labels, **options)
    for epoch, layer_arrays in arrays.items():
        writer.add(epoch, layer_arrays)
    return writer


def write_checkpoint(path, epoch, **members):
    """Put a .npz there that RunWriter would not write."""
    np.savez(path / f"epoch_{epoch:08d}.npz", **members)
