"""Slices: what one direction of a layer, or a few, knows, on average and at best."""

from skinfo.sliced.estimator import SlicedMIEstimator, sliced_information

__all__ = ["SlicedMIEstimator", "sliced_information"]
