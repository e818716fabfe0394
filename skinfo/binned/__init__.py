"""Binned activations: discrete entropies."""

from skinfo.binned.estimator import BinningMIEstimator
from skinfo.binned.sweep import binning_sweep

__all__ = ["BinningMIEstimator", "binning_sweep"]
