"""Networks without noise: H(Bin(T)) tells what its width was chosen to tell."""

import numpy as np
import pytest

from skinfo import NoisyMIEstimator, binning_sweep
from skinfo.datasets import make_szt
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp

CEILING = np.log(4096)
WIDTHS = (1e-5, 1e-3, 1e-2, 1e-1)


@pytest.fixture(scope="module")
def task():
    X, y = make_szt()
    return X, y, np.random.default_rng(0).permutation(4096)[:3277]


@pytest.fixture(scope="module")
def layer(task):
    """The last hidden layer of the paper's network without noise, at three epochs."""
    X, y, train = task
    model = make_mlp(random_state=0)
    trainer = Trainer(model, X[train], y[train], random_state=0)
    recorder = Recorder(model, ["layer5"], n_replicas=1)
    layer = {}
    for epoch in (10, 24, 80):
        trainer.train_until(epoch)
        with recorder.record(X) as activations:
            layer[epoch] = np.array(activations["layer5"])
    return layer


def test_inputs_stay_apart_whatever_the_bins_say(layer):
    assert {len(np.unique(T, axis=0)) for T in layer.values()} == {4096}


def test_the_curve_of_binned_entropy_has_the_shape_that_its_width_decides(layer):
    early, middle, late = (
        binning_sweep(T, bin_widths=WIDTHS).set_index("bin_width")["binned_entropy"]
        for T in layer.values()
    )
    # With seeds 0, 1 and 2 the changes from the first to the last epoch are, by width, 0.00 at
    # 1e-5; -1.1, -0.8, -1.1 at 1e-3; and +1.7, +1.3, +1.3 at 1e-1.
    assert min(early[1e-5], middle[1e-5], late[1e-5]) > 0.999 * CEILING
    assert late[1e-3] < min(early[1e-3], middle[1e-3]) - 0.5
    assert middle[1e-2] > max(early[1e-2], late[1e-2]) + 0.5
    assert late[1e-1] > early[1e-1] + 0.8


def test_brackets_of_the_noisy_twin_overlap_whatever_the_number_of_replicas(task):
    X, y, train = task
    layers = ["layer4", "layer5"]
    sigmas = dict.fromkeys((f"layer{k}" for k in range(1, 6)), 0.005)
    model = make_mlp(random_state=0)
    Trainer(model, X[train], y[train], sigma=sigmas, random_state=0).train_until(30)
    recorder = Recorder(model, layers, sigma=sigmas, n_replicas=24)
    with recorder.record(X[::16]) as activations:
        for name in layers:
            # Of one another's replicas none, so that nothing but the truth brings them together.
            disjoint = (slice(8), slice(8, 24))
            few, many = (_bracket(np.array(activations[name][:, part])) for part in disjoint)
            assert max(few[0], many[0]) <= min(few[1], many[1])
            assert many[1] - many[0] < few[1] - few[0]


def _bracket(rows):
    n, r, d = rows.shape
    estimator = NoisyMIEstimator(0.005, tol=0.05, random_state=0)
    return estimator.fit(rows.reshape(-1, d), groups=np.repeat(np.arange(n), r)).bracket_
