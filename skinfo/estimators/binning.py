"""BinningMIEstimator: discrete entropies of binned activations."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinfo.errors import ReplicaWarning
from skinfo.estimators.validation import check_activations, check_rows
from skinfo.measures.binning import (
    Cells,
    EdgeCells,
    WidthCells,
    measure_binned,
    quantile_edges,
    uniform_edges,
)
from skinfo.measures.quantity import Quantity, nats_to
from skinfo.measures.rows import Rows


class BinningMIEstimator(BaseEstimator):
    """Entropy of binned activations, a measure of how inputs cluster.

    Every unit is cut into bins, and a row falls into one cell, the product of its bins. For a
    deterministic network I(X;Bin(T)) = H(Bin(T)): log n when no two inputs share a cell, less as
    they cluster. It is not the information of the layer, which does not depend on bins.

    Parameters
    ----------
    bin_width : float or None, default=None
        Width of the cells [k w, (k + 1) w), anchored at 0: floor(t / w), the convention of Saxe et
        al. None: ``n_bins`` cells.
    n_bins : int, default=30
        Number of bins of a unit, where no width is given.
    bin_range : {"layer", "neuron"} or tuple of (low, high), default="layer"
        Range cut into ``n_bins`` equal bins, the last one closed: of all units together, of each
        unit, or a given one ((-1, 1) with 30 bins is the convention of Shwartz-Ziv & Tishby).
    strategy : {"uniform", "quantile"}, default="uniform"
        Equal widths, or equal weights along each unit with ties merged.
    bin_edges : array-like or list of array-like, default=None
        Edges themselves, one increasing array for all units or one for each.
    units : {"nats", "bits"}, default="nats"
        Unit of every information and entropy.

    Attributes
    ----------
    mutual_info_ : float
        H(Bin(T)), or H(Bin(T)) - H(Bin(T)|X) with groups.
    label_mutual_info_ : float or None
        I(Y;Bin(T)).
    entropy_ : float
        H(Bin(T)).
    n_occupied_ : int
        Number of occupied cells.
    ceiling_ : float
        H of the inputs, log n if they weigh the same.
    edges_ : list of ndarray
        Edges of every unit; values outside count in the outer cells, but for a given width, whose
        cells go on.
    quantities_ : tuple of Quantity
        All numbers with unit, error and bracket; they are exact for the rows given.

    References
    ----------
    Shwartz-Ziv and Tishby, arXiv 1703.00810; Saxe et al., "On the Information Bottleneck Theory of
    Deep Learning", ICLR 2018; Goldfeld et al., ICML 2019, section 5.

    Examples
    --------
    >>> from skinfo import BinningMIEstimator
    >>> est = BinningMIEstimator(bin_width=0.5, units="bits").fit([[0.1], [0.4], [0.6], [0.9]])
    >>> round(est.mutual_info_, 12), round(est.ceiling_, 12), est.n_occupied_
    (1.0, 2.0, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "bin_width": [Interval(Real, 0, None, closed="neither"), None],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "bin_range": [StrOptions({"layer", "neuron"}), tuple, list],
        "strategy": [StrOptions({"uniform", "quantile"})],
        "bin_edges": ["array-like", None],
        "units": [StrOptions({"nats", "bits"})],
    }

    def __init__(
        self,
        *,
        bin_width: float | None = None,
        n_bins: int = 30,
        bin_range: str | tuple[float, float] = "layer",
        strategy: str = "uniform",
        bin_edges: Any = None,
        units: str = "nats",
    ) -> None:
        self.bin_width = bin_width
        self.n_bins = n_bins
        self.bin_range = bin_range
        self.strategy = strategy
        self.bin_edges = bin_edges
        self.units = units

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None
    ) -> BinningMIEstimator:
        """Learn the edges and measure the entropy of the cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T).
        y : array-like of shape (n_samples,), default=None
            Label of each row's input.
        groups : array-like of shape (n_samples,), default=None
            Input of each row; rows of one group are replicas of it.
        sample_weight : array-like of shape (n_samples,), default=None
            Probability of each row's input, up to a factor; equal within a group.

        Returns
        -------
        BinningMIEstimator
            The estimator itself.

        Raises
        ------
        ValueError
            For edges that do not increase or do not fit the units, an empty range, both a width and
            edges, or the input errors named in the message.
        """
        rows = check_rows(self, X, y, groups, sample_weight)
        self._cells = self._learn_cells(rows)
        found = measure_binned(rows, self._cells)
        if found.too_few_replicas:
            warnings.warn(
                "H(Bin(T)|X) is about the logarithm of the number of replicas of an input: there "
                "are too few of them, and mutual_info_ says little. Use wider bins, more replicas, "
                "or one row per input.",
                ReplicaWarning,
                stacklevel=2,
            )
        quantities = [found.mutual_info, found.entropy, found.label_mutual_info]
        quantities.append(Quantity.exact("ceiling", found.ceiling))
        quantities.append(Quantity.exact("n_occupied", found.n_occupied, ""))
        self.quantities_ = tuple(q.in_units(self.units) for q in quantities if q is not None)
        by_name = {q.name: q.value for q in self.quantities_}
        self.mutual_info_ = by_name["mutual_info"]
        self.label_mutual_info_ = by_name.get("label_mutual_info")
        self.entropy_ = by_name["entropy"]
        self.ceiling_ = by_name["ceiling"]
        self.n_occupied_ = found.n_occupied
        return self

    @property
    def edges_(self) -> list[np.ndarray]:
        """Edges of every unit."""
        check_is_fitted(self, "quantities_")
        return self._cells.edges()

    def _learn_cells(self, rows: Rows) -> Cells:
        points = rows.points
        if self.bin_edges is not None:
            if self.bin_width is not None:
                raise ValueError("Give bin_width or bin_edges, not both.")
            return EdgeCells(check_edges(self.bin_edges, points.shape[1]))
        if self.bin_width is not None:
            return WidthCells.learn(points, float(self.bin_width))
        if self.strategy == "quantile":
            return quantile_edges(points, rows.weights, self.n_bins)
        bin_range = self.bin_range
        if not isinstance(bin_range, str):
            ends = np.asarray(bin_range, dtype=np.float64)
            if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] >= ends[1]:
                raise ValueError(
                    f"bin_range is 'layer', 'neuron' or (low, high), low < high; got {bin_range}."
                )
            bin_range = (float(ends[0]), float(ends[1]))
        return uniform_edges(points, self.n_bins, bin_range)

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """H(Bin(T)) of other activations under the fitted edges.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T), one row an input.
        y : None
            Ignored.

        Returns
        -------
        float
            The entropy, in ``units``.
        """
        check_is_fitted(self)
        rows = Rows.make(check_activations(self, X, reset=False))
        return measure_binned(rows, self._cells).mutual_info.value * nats_to(self.units)


def check_edges(bin_edges: Any, d: int) -> tuple[np.ndarray, ...]:
    """Check given edges: one increasing array for all units, or one for each."""
    several = len(bin_edges) > 0 and all(np.ndim(edges) == 1 for edges in bin_edges)
    arrays = [np.asarray(e, dtype=np.float64) for e in (bin_edges if several else [bin_edges] * d)]
    if len(arrays) != d:
        raise ValueError(f"bin_edges holds {len(arrays)} arrays for {d} units; one or {d} fit.")
    for unit, edges in enumerate(arrays):
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"bin_edges of unit {unit} must be at least two increasing numbers.")
    return tuple(arrays)
