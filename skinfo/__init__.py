"""skinfo measures information flow in neural networks, with error bars."""

from skinfo.errors import ReplicaWarning, RunError, SaturationWarning
from skinfo.estimators import BinningMIEstimator, ClusteringScore, NoisyMIEstimator
from skinfo.flow import information_flow
from skinfo.runs import open_run

__all__ = [
    "BinningMIEstimator",
    "ClusteringScore",
    "NoisyMIEstimator",
    "ReplicaWarning",
    "RunError",
    "SaturationWarning",
    "information_flow",
    "open_run",
]
__version__ = "0.1.0"
