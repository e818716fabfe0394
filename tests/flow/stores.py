"""A store that counts what is read of it, and the usual estimators."""

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator
from skinfo.runs import Layer, Run

from .small_flows import LABELS, LAYERS, arrays


def usual():
    return {
        "n": NoisyMIEstimator(None, tol=0.1, random_state=0),
        "b": BinningMIEstimator(bin_range="run"),
        "c": ClusteringScore(),
    }


class Counting:
    """A store that counts what is read."""

    def __init__(self, made):
        self.made = made
        self.reads = []

    def epochs(self):
        return sorted({epoch for epoch, _ in self.made})

    def shape(self, epoch, layer):
        return self.made[epoch, layer].shape, self.made[epoch, layer].dtype

    def read(self, epoch, layer):
        self.reads.append((epoch, layer))
        return self.made[epoch, layer]


def counted(made=None, labels=LABELS, sigma=0.5):
    store = Counting(arrays() if made is None else made)
    layers = tuple(Layer(name, sigma, name == "back" and bool(sigma)) for name in LAYERS)
    return Run(store, layers, labels=labels), store
