"""skinfo measures information flow in neural networks, with error bars."""

from skinfo.binned import BinningMIEstimator, binning_sweep
from skinfo.clustered import ClusteringScore
from skinfo.comparison import compare_flows, pool_flows
from skinfo.errors import (
    MissingExtraError,
    OutsideEdgesWarning,
    ReplicaWarning,
    RunError,
    SaturationWarning,
)
from skinfo.flow import information_flow
from skinfo.noisy import NoisyMIEstimator, sigma_curve
from skinfo.runs import open_run, save_run

__all__ = [
    "BinningMIEstimator",
    "ClusteringScore",
    "MissingExtraError",
    "NoisyMIEstimator",
    "OutsideEdgesWarning",
    "ReplicaWarning",
    "RunError",
    "SaturationWarning",
    "binning_sweep",
    "compare_flows",
    "information_flow",
    "open_run",
    "pool_flows",
    "save_run",
    "sigma_curve",
]
__version__ = "0.1.0"
