"""How activations cluster by class."""

from skinfo.clustered.estimator import ClusteringScore

__all__ = ["ClusteringScore"]
