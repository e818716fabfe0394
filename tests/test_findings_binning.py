"""Networks without noise: H(Bin(T)) tells what its width was chosen to tell."""

import numpy as np
import pytest

from skinfo import NoisyMIEstimator, binning_sweep
from skinfo.datasets import make_szt
from skinfo.networks import Recorder, Trainer, make_mlp

CEILING = np.log(4096)
WIDTHS = (1e-5, 1e-3, 1e-2, 1e-1)


@pytest.fixture(scope="module")
def task():
    X, y = make_szt()
    return X, y, np.random.default_rng(0).permutation(4096)[:3277]


@pytest.fixture(scope="module")
def layer(task):
    """The last hidden layer, of two units, of a network without noise at epochs 10 and 80."""
    X, y, train = task
    model = make_mlp((12, 10, 7, 5, 4, 2, 2), seed=0)
    trainer = Trainer(model, X[train], y[train], seed=0)
    recorder = Recorder(model, ["layer5"], n_replicas=1)
    layer = {}
    for epoch in (10, 80):
        trainer.train_until(epoch)
        with recorder.record(X) as activations:
            layer[epoch] = np.array(activations["layer5"])
    return layer


def test_inputs_stay_apart_whatever_the_bins_say(layer):
    assert {len(np.unique(T, axis=0)) for T in layer.values()} == {4096}


def test_between_two_epochs_binned_entropy_stays_falls_or_rises_as_its_width_decides(layer):
    early, late = (
        binning_sweep(T, bin_widths=WIDTHS).set_index("bin_width")["entropy"]
        for T in layer.values()
    )
    assert min(early[1e-5], late[1e-5]) > 0.99 * CEILING
    assert late[1e-3] < early[1e-3] - 0.3
    assert late[1e-2] > early[1e-2] + 0.2
    assert late[1e-1] > early[1e-1] + 1.5


def test_brackets_of_the_noisy_twin_do_not_depend_on_the_number_of_replicas(task):
    X, y, train = task
    layers = ["layer4", "layer5"]
    sigmas = dict.fromkeys((f"layer{k}" for k in range(1, 6)), 0.005)
    model = make_mlp(seed=0)
    Trainer(model, X[train], y[train], sigmas=sigmas, seed=0).train_until(30)
    recorder = Recorder(model, layers, sigmas=sigmas, n_replicas=16)
    with recorder.record(X[::16]) as activations:
        for name in layers:
            few, many = (_bracket(np.array(activations[name][:, :r])) for r in (8, 16))
            assert max(few[0], many[0]) <= min(few[1], many[1])
            assert many[1] - many[0] < few[1] - few[0]


def _bracket(rows):
    n, r, d = rows.shape
    estimator = NoisyMIEstimator(0.005, tol=0.05, random_state=0)
    return estimator.fit(rows.reshape(-1, d), groups=np.repeat(np.arange(n), r)).bracket_
