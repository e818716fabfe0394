"""skinfo measures information flow in neural networks, with error bars."""

from skinfo.errors import ReplicaWarning, RunError, SaturationWarning
from skinfo.estimators import BinningMIEstimator, ClusteringScore, NoisyMIEstimator

__all__ = [
    "BinningMIEstimator",
    "ClusteringScore",
    "NoisyMIEstimator",
    "ReplicaWarning",
    "RunError",
    "SaturationWarning",
]
__version__ = "0.1.0"
