"""One layer without noise, measured with many sigmas: what is said of it depends on sigma."""

import numpy as np
import pytest

from skinfo import sigma_curve
from skinfo.datasets import make_szt
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp

SIGMAS = (1e-4, 5e-4, 1e-2, 1e-1)


@pytest.fixture(scope="module")
def curves():
    """Brackets of I(X;T) of the last hidden layer at two epochs, by sigma."""
    X, y = make_szt()
    train = np.random.default_rng(0).permutation(4096)[:3277]
    model = make_mlp(random_state=0)
    trainer = Trainer(model, X[train], y[train], random_state=0)
    recorder = Recorder(model, ["layer5"], n_replicas=1)
    found = {}
    for epoch in (10, 80):
        trainer.train_until(epoch)
        with recorder.record(X) as activations:
            table = sigma_curve(
                np.array(activations["layer5"]), sigmas=SIGMAS, tol=0.02, random_state=0
            )
        found[epoch] = table[table["quantity"] == "mutual_info"].set_index("sigma")
    return found


def test_a_layer_compresses_at_small_sigma_and_expands_at_large(curves):
    early, late = curves[10], curves[80]
    for sigma in (1e-4, 5e-4):
        assert late.loc[sigma, "upper"] < early.loc[sigma, "lower"] - 0.1
    for sigma in (1e-2, 1e-1):
        assert late.loc[sigma, "lower"] > early.loc[sigma, "upper"] + 0.5


def test_the_smallest_sigma_gives_the_largest_value_and_says_the_least(curves):
    for curve in curves.values():
        assert curve["value"].is_monotonic_decreasing
    # At epoch 10 the network does little better than guess.
    assert curves[10].loc[1e-4, "notes"] == "saturated"
