"""ClusteringScore: how activations cluster by class."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skinfo.estimators.validation import check_rows
from skinfo.measures.clustering import measure_distances, measure_nc1, measure_silhouette
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows


class ClusteringScore(BaseEstimator):
    """Clustering of activations by class, from pairwise distances.

    Two rows of one group, replicas of one input, are never paired.

    Parameters
    ----------
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance between rows; cosine distance is 1 minus the cosine of the angle.
    criterion : {"auc", "silhouette", "nc1"}, default="auc"
        What ``score`` returns.

    Attributes
    ----------
    within_histogram_, between_histogram_ : ndarray of shape (4096,)
        Number of pairs by distance, of one class and of two classes.
    distance_edges_ : ndarray of shape (4097,)
        Edges of their cells, equal steps from 0.
    auc_ : float
        Probability that a between-class distance exceeds a within-class one; 0.5 means no
        clustering, 1 perfect. Exact up to a million pairs; beyond, from the histograms, with the
        mass they tie as its bracket in ``quantities_``.
    silhouette_ : float
        Mean silhouette of the classes, one row an input, from at most 2,048 (or two a class).
    nc1_ : float
        Neural collapse, trace(Sigma_W pinv(Sigma_B)) / K; falls as classes collapse.
    quantities_ : tuple of Quantity
        The three numbers with error and bracket.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, section 5;
    Rousseeuw, "Silhouettes", 1987; Papyan, Han and Donoho, PNAS 2020.

    Examples
    --------
    >>> from skinfo import ClusteringScore
    >>> est = ClusteringScore().fit([[0.0], [0.1], [5.0], [5.2]], [0, 0, 1, 1])
    >>> est.auc_
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "metric": [StrOptions({"euclidean", "cosine"})],
        "criterion": [StrOptions({"auc", "silhouette", "nc1"})],
    }

    def __init__(self, *, metric: str = "euclidean", criterion: str = "auc") -> None:
        self.metric = metric
        self.criterion = criterion

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None
    ) -> ClusteringScore:
        """Measure the distances and how the rows cluster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T).
        y : array-like of shape (n_samples,)
            Class of each row's input.
        groups : array-like of shape (n_samples,), default=None
            Input of each row; rows of one group are never paired.
        sample_weight : array-like of shape (n_samples,), default=None
            Probability of each row's input, up to a factor; a pair counts the product.

        Returns
        -------
        ClusteringScore
            The estimator itself.

        Raises
        ------
        ValueError
            Without y, with one class only, with no class of two inputs, or for the input errors
            named in the message.
        """
        rows = check_rows(self, X, self._required(y), groups, sample_weight)
        found = measure_distances(rows, self.metric)
        self.distance_edges_ = found.edges
        self.within_histogram_ = found.within
        self.between_histogram_ = found.between
        self.quantities_ = (found.auc, measure_silhouette(rows, self.metric), measure_nc1(rows))
        self.auc_, self.silhouette_, self.nc1_ = (q.value for q in self.quantities_)
        return self

    def score(self, X: Any, y: Any) -> float:
        """Measure the criterion on other activations; larger always means more clustered.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T).
        y : array-like of shape (n_samples,)
            Class of each row.

        Returns
        -------
        float
            AUC, silhouette, or minus NC1.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, self._required(y), None, None, reset=False)
        found = self._criterion(rows)
        return -found.value if self.criterion == "nc1" else found.value

    def _criterion(self, rows: Rows) -> Quantity:
        if self.criterion == "auc":
            return measure_distances(rows, self.metric).auc
        if self.criterion == "silhouette":
            return measure_silhouette(rows, self.metric)
        return measure_nc1(rows)

    @staticmethod
    def _required(y: Any) -> np.ndarray:
        if y is None:
            raise ValueError(
                "ClusteringScore requires y to be passed, but the target y is None: clustering by "
                "class needs the class of each row."
            )
        return y
