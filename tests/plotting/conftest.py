"""One run, its tables and displays, drawn once for all tests of a file."""

import matplotlib as mpl

from .drawn import LABELS, LAYERS, UNREADABLE, arrays, measure, with_losses

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skinfo import ClusteringScore, open_run
from skinfo.flow.snapshots import collect_snapshots


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma=0.5, layers=LAYERS)


@pytest.fixture(scope="module")
def table(run):
    return measure(run)


@pytest.fixture(scope="module")
def in_bits(run):
    return measure(run, "bits")


@pytest.fixture(scope="module")
def snapshots(run):
    return with_losses(collect_snapshots(run))


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module", params=UNREADABLE)
def unreadable(request):
    """A run some of whose arrays cannot be read: its table, its snapshots, what was lost."""
    epochs, layers = UNREADABLE[request.param]
    made = arrays() | {(e, name): np.array([["no number"]]) for e in epochs for name in layers}
    run = open_run(made, labels=LABELS, sigma=0.5, layers=LAYERS)
    with pytest.warns(UserWarning, match="not measured"):
        table = measure(run)
    return table, collect_snapshots(run), epochs, layers


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    return ClusteringScore().fit(rng.normal(size=(90, 4)) + 2 * labels[:, None], labels)
