"""The noisy channel: information and entropy of activations with Gaussian noise."""

from skinfo.noisy.bounds import (
    bounded_risk,
    information_risk,
    min_samples,
    pairwise_bounds,
    subgaussian_risk,
)
from skinfo.noisy.estimator import NoisyMIEstimator
from skinfo.noisy.labels import LabelMIEstimator
from skinfo.noisy.sigma_curve import sigma_curve

__all__ = [
    "LabelMIEstimator",
    "NoisyMIEstimator",
    "bounded_risk",
    "information_risk",
    "min_samples",
    "pairwise_bounds",
    "sigma_curve",
    "subgaussian_risk",
]
