"""Estimators with scikit-learn's conventions: parameters, validation, fitted attributes."""

from skinfo.estimators.binning import BinningMIEstimator
from skinfo.estimators.clustering import ClusteringScore
from skinfo.estimators.noisy import NoisyMIEstimator

__all__ = ["BinningMIEstimator", "ClusteringScore", "NoisyMIEstimator"]
