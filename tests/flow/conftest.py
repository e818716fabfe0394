"""A run, estimators, and their table, measured once for all tests of a file."""

import pytest

from skinfo import BinningMIEstimator, ClusteringScore, open_run

from .small_flows import LABELS, LAYERS, Spy, arrays, flow_of, noisy


@pytest.fixture
def spy():
    Spy.fits = 0
    return Spy()


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma={"front": 0.5, "back": 0.3}, layers=LAYERS)


@pytest.fixture(scope="module")
def several():
    return {"n": noisy(), "b": BinningMIEstimator(bin_width=0.5), "c": ClusteringScore()}


@pytest.fixture(scope="module")
def table(run, several):
    return flow_of(several, run)
