"""What the paper says of the SZT network, found again in small runs."""

from dataclasses import replace

import numpy as np
import pytest

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.szt import SztSettings, record_training

DEEP = ["layer4", "layer5"]


def measured(folder, layers=DEEP, **variant):
    """Values and brackets of some layers, and the accuracies, of 100 epochs."""
    settings = SztSettings(epochs=100, n_replicas=8, n_checkpoints=7, **variant)
    run = record_training(folder, settings)
    estimator = NoisyMIEstimator(sigma=None, tol=0.05, random_state=0)
    chosen = tuple(layer for layer in run.layers if layer.name in layers)
    flow = information_flow(estimator, replace(run, layers=chosen), progress=False)
    information = flow[flow["quantity"] == "mutual_info"]
    return information, run.losses[100]["test_accuracy"]


def falls(information):
    """Largest drop from a running maximum, by layer."""
    values = information.pivot(index="epoch", columns="layer", values="value")
    return (values.cummax() - values).max()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("tanh"), ["layer1", *DEEP])


@pytest.fixture(scope="module")
def parseval(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("parseval"), parseval=1e-3)


def test_deep_layers_are_compressed_while_the_network_learns(plain):
    information, accuracy = plain
    fall = falls(information)
    assert (fall[DEEP] > 0.5).all()
    assert fall["layer1"] < 0.01
    assert accuracy > 0.8
    for layer in DEEP:
        # For certain: a later bracket lies below an earlier one.
        rows = information[information["layer"] == layer]
        assert (rows["lower"].cummax() - rows["upper"]).max() > 0.3


def test_orthonormal_weights_are_compressed_less_and_generalise_as_well(plain, parseval):
    # One seed: falls of 0.00 and 0.04 nats beside 1.11 and 0.79, accuracies 0.879 and 0.883.
    assert (falls(parseval[0])[DEEP] < falls(plain[0])[DEEP] / 3).all()
    assert parseval[1] > plain[1] - 0.01


def test_a_linear_network_is_compressed_too(plain, tmp_path):
    """What cannot saturate falls as far, and generalises worse."""
    information, accuracy = measured(tmp_path, activation="linear")
    assert (falls(information)[DEEP] > 0.5).all()
    assert accuracy < plain[1]


def test_brackets_of_different_numbers_of_replicas_overlap(tmp_path):
    """The brackets hold the same truth, whatever the number of replicas; none is in both."""
    settings = SztSettings(epochs=60, n_replicas=36, n_checkpoints=1)
    run = record_training(tmp_path, settings)
    ends = {}
    arrays = {(60, layer): run.load(60, layer).array for layer in ["layer2", *DEEP]}
    for r, replicas in ((12, slice(12)), (24, slice(12, 36))):
        fewer = {key: array[:, replicas] for key, array in arrays.items()}
        # The noise before layer 2 is that of layer 1, which is left out.
        axes = {"layer2": "nrc"}
        part = open_run(fewer, labels=run.labels, sigma=settings.sigma, axes=axes)
        flow = information_flow(
            NoisyMIEstimator(None, tol=0.05, random_state=0), part, progress=False
        )
        rows = flow[flow["quantity"] == "mutual_info"].set_index("layer")
        ends[r] = rows[["lower", "upper"]]
    assert (ends[12]["lower"] <= ends[24]["upper"]).all()
    assert (ends[24]["lower"] <= ends[12]["upper"]).all()
    width = {r: (e["upper"] - e["lower"])[DEEP] for r, e in ends.items()}
    assert (width[24] < width[12]).all()
    assert np.all(width[24] > 0)
