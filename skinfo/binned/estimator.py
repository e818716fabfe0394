"""BinningMIEstimator: discrete entropies of binned activations."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinfo._rows import Rows, check_activations, check_rows
from skinfo.binned.cells import Cells, EdgeCells, WidthCells, quantile_edges, uniform_edges
from skinfo.binned.entropy import measure_binned
from skinfo.errors import OutsideEdgesWarning, ReplicaWarning, warn_unless_noted
from skinfo.quantities import Quantity, notes_of

# So many rows are looked at together for a value that is not an integer.
_BLOCK = 4096
# From here on double precision does not tell integers apart.
_LARGEST_INTEGER = 2.0**53


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
        Number of bins per unit, where no width is given.
    bin_range : {"layer", "neuron", "run"} or tuple of (low, high), default="layer"
        Range cut into ``n_bins`` equal bins, the last one closed: of all units together, of each
        unit, or a given one ((-1, 1) with 30 bins is the convention of Shwartz-Ziv & Tishby).
        "run": of all units at all checkpoints of a run, which :func:`skinfo.information_flow`
        learns for each layer in a first pass; ``fit`` by itself refuses it.
    strategy : {"uniform", "quantile", "discrete"}, default="uniform"
        Equal widths, or equal weights along each unit, cut halfway between values that differ, the
        nearest to the quantiles (so equal values share a cell), or no bins at all: integer
        activations are counted as they are, which gives the exact information of a quantised
        network.
    correction : {"miller-madow"} or None, default=None
        What is added to every entropy; see Notes.
    bin_edges : array-like or list of array-like, default=None
        The edges themselves, one increasing array for all units or one per unit.
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
    singleton_fraction_ : float
        Share of the rows, by weight, whose cell no other input reached. With one row per input it
        is the share of inputs alone in their cell, Good and Turing's estimate of how likely the
        next input opens a new cell; at 1 the entropy is log n.
    outside_fraction_ : float
        Share of the values given to ``fit`` that lie outside the edges and count in the outer
        cells.
    ceiling_ : float
        H(X) of the inputs, log n if they weigh the same; without correction no value exceeds it.
    notes_ : tuple of str
        Words from :data:`skinfo.quantities.NOTES`: "at ceiling" or "in one cell" where the
        bins are too narrow or too wide to show anything, "too few replicas", "outside edges",
        "correction beyond bounds".
    edges_ : list of ndarray
        Edges of every unit. Values outside count in the outer cells, except with a given width,
        whose cells go on without end.
    quantities_ : tuple of Quantity
        All numbers with unit, error and bracket; they are exact for the rows given.

    Notes
    -----
    A flow reads two attributes of the class: ``uses_replicas`` is False, so a layer with noise is
    given as one noisy sample per input; ``needs_run_range`` is True where ``bin_range="run"``
    decides the edges, and the flow then puts the range of the layer in its place.

    Both conventions of the field: ``bin_width=0.07`` counts floor(t / 0.07), as Saxe et al. do for
    any activation; ``n_bins=30, bin_range=(-1, 1)`` is Shwartz-Ziv and Tishby's, made for tanh. On
    a ReLU network the latter puts many values into its outer cells: ``outside_fraction_`` and the
    note "outside edges" say so.

    Activations in single precision are cut in double, each at the value it holds: the number stored
    for 0.3 is a little more than 0.3, and lies in the cell above an edge at 0.3.

    ``correction="miller-madow"`` adds (m - 1) / (2 n) to an entropy with m occupied cells of n
    rows, the first term of its bias, to estimate the entropy of the population that the inputs were
    drawn from. It is added to every entropy of a difference: H(Bin(T)), and so I(X;Bin(T)) without
    groups, grows by (m_T - 1) / (2 n); I(Y;Bin(T)) = H(Bin(T)) + H(Y) - H(Bin(T),Y) changes by
    (m_T + m_Y - m_TY - 1) / (2 n), downwards where cells hold several labels; with groups
    I(X;Bin(T)) changes by (m_T + m_X - m_TX - 1) / (2 n). Nothing is clipped: a value
    below 0 or above its ceiling carries the note "correction beyond bounds". Rows must weigh the
    same.

    References
    ----------
    Shwartz-Ziv and Tishby, arXiv 1703.00810; Saxe et al., "On the Information Bottleneck Theory of
    Deep Learning", ICLR 2018; Goldfeld et al., ICML 2019, section 5; Miller, "Note on the bias of
    information estimates", 1955; Lorenzen, Igel and Nielsen, ICLR 2022, for quantised networks.

    Examples
    --------
    >>> from skinfo import BinningMIEstimator
    >>> est = BinningMIEstimator(bin_width=0.5, units="bits").fit([[0.1], [0.4], [0.6], [0.9]])
    >>> round(est.mutual_info_, 12), round(est.ceiling_, 12), est.n_occupied_
    (1.0, 2.0, 2)

    Activations of a quantised layer, counted as they are:

    >>> est = BinningMIEstimator(strategy="discrete", units="bits").fit([[0], [7], [7], [-3]])
    >>> round(est.entropy_, 12), est.singleton_fraction_
    (1.5, 0.5)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "bin_width": [Interval(Real, 0, None, closed="neither"), None],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "bin_range": [StrOptions({"layer", "neuron", "run"}), tuple, list],
        "strategy": [StrOptions({"uniform", "quantile", "discrete"})],
        "correction": [StrOptions({"miller-madow"}), None],
        "bin_edges": ["array-like", None],
        "units": [StrOptions({"nats", "bits"})],
    }

    #: A flow hands over one noisy row per input.
    uses_replicas: ClassVar[bool] = False
    #: Peak memory of a fit, in copies of the layer in double precision.
    memory_factor: ClassVar[float] = 2.5

    def __init__(
        self,
        *,
        bin_width: float | None = None,
        n_bins: int = 30,
        bin_range: str | tuple[float, float] = "layer",
        strategy: str = "uniform",
        correction: str | None = None,
        bin_edges: Any = None,
        units: str = "nats",
    ) -> None:
        self.bin_width = bin_width
        self.n_bins = n_bins
        self.bin_range = bin_range
        self.strategy = strategy
        self.correction = correction
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
            For edges that do not increase or do not fit the units, an empty range, the range of a
            run, both a width and edges, activations that are not integers where integers are
            counted, a correction of rows that weigh differently, or the input errors named in the
            message.
        """
        rows = check_rows(self, X, y, groups, sample_weight)
        self._cells = self._learn_cells(rows)
        self._discrete = self.strategy == "discrete"
        measured = self._measure(rows)
        self.quantities_ = tuple(measured.values())
        values = {name: quantity.value for name, quantity in measured.items()}
        self.mutual_info_ = values["binned_mutual_info"]
        self.label_mutual_info_ = values.get("binned_label_mutual_info")
        self.entropy_ = values["binned_entropy"]
        self.ceiling_ = values["binned_ceiling"]
        self.n_occupied_ = int(values["n_occupied"])
        self.singleton_fraction_ = values["singleton_fraction"]
        self.outside_fraction_ = values["outside_fraction"]
        self.notes_ = notes_of(self.quantities_)
        if "too few replicas" in self.notes_:
            warnings.warn(
                "H(Bin(T)|X) is about the logarithm of the number of replicas of an input: there "
                "are too few of them, and mutual_info_ says little. Use wider bins, more replicas, "
                "or one row per input.",
                ReplicaWarning,
                stacklevel=2,
            )
        return self

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """H(Bin(T)) of other activations under the fitted edges.

        Warns with :class:`skinfo.OutsideEdgesWarning` where values lie outside the edges, which
        stay as they are: such values count in the outer cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T), one row per input.
        y : None
            Ignored.

        Returns
        -------
        float
            The entropy, in ``units``.
        """
        check_is_fitted(self)
        rows = Rows.make(check_activations(self, X, reset=False))
        return self._measure(rows)["binned_mutual_info"].value

    def _measure(self, rows: Rows) -> dict[str, Quantity]:
        """Measure rows under the edges that fit learnt, and warn of values outside them."""
        if self._discrete:
            check_integers(rows.points)
        quantities = measure_binned(rows, self._cells, self.correction)
        outside = quantities["outside_fraction"].value
        if outside > 0:
            warn_unless_noted(
                f"{outside:.2%} of the values lie outside the edges and were counted in the outer "
                "cells, where inputs merge that the layer keeps apart. Give a bin_range that holds "
                "them or a bin_width, or fit on activations that reach as far.",
                OutsideEdgesWarning,
                stacklevel=3,
            )
        return {name: quantity.in_units(self.units) for name, quantity in quantities.items()}

    @property
    def edges_(self) -> list[np.ndarray]:
        """Edges of every unit."""
        check_is_fitted(self, "quantities_")
        return self._cells.edges()

    def check_settings(self) -> None:
        """Check the parameters as far as that is possible without activations.

        Raises
        ------
        ValueError
            For parameters that exclude each other, or a range without two increasing ends.
        """
        given = self._edges_given
        if self.strategy == "discrete" and given:
            raise ValueError(
                "strategy='discrete' counts integers as they are; it takes no bin_width and no "
                "bin_edges."
            )
        if self.strategy == "quantile" and (given or self.bin_range not in ("layer", "neuron")):
            raise ValueError(
                "strategy='quantile' learns edges from the activations it is fitted on; it "
                "takes no bin_width, no bin_edges and no given bin_range or that of a run."
            )
        if self.bin_width is not None and self.bin_edges is not None:
            raise ValueError("Give bin_width or bin_edges, not both.")
        if self.strategy == "uniform" and not given and not isinstance(self.bin_range, str):
            check_range(self.bin_range)

    @property
    def needs_run_range(self) -> bool:
        """Whether the bins cut the range of a layer over a whole run, which a flow must find."""
        uniform = self.strategy == "uniform" and not self._edges_given
        return uniform and self.bin_range == "run"

    @property
    def _edges_given(self) -> bool:
        return self.bin_width is not None or self.bin_edges is not None

    def _learn_cells(self, rows: Rows) -> Cells:
        self.check_settings()
        points = rows.points
        width = 1.0 if self.strategy == "discrete" else self.bin_width
        if width is not None:
            return WidthCells(float(width), points.min(axis=0), points.max(axis=0))
        if self.strategy == "quantile":
            return quantile_edges(points, rows.weights, self.n_bins)
        if self.bin_edges is not None:
            return EdgeCells(check_edges(self.bin_edges, points.shape[1]))
        if self.needs_run_range:
            raise ValueError(
                "bin_range='run' means the range of a layer over a whole run, which only "
                "information_flow knows; give 'layer', 'neuron' or (low, high) here."
            )
        named = isinstance(self.bin_range, str)
        return uniform_edges(
            points, self.n_bins, self.bin_range if named else check_range(self.bin_range)
        )


def check_range(bin_range: Any) -> tuple[float, float]:
    """Check that a given range has two finite ends, the lower one first."""
    ends = np.asarray(bin_range, dtype=np.float64)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] >= ends[1]:
        raise ValueError(
            f"bin_range is 'layer', 'neuron' or (low, high), low < high; got {bin_range}."
        )
    return float(ends[0]), float(ends[1])


def check_integers(points: np.ndarray) -> None:
    """Check that activations are integers, of whatever type, that double precision tells apart."""
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        bad = np.argwhere((block != np.floor(block)) | (np.abs(block) >= _LARGEST_INTEGER))
        if len(bad):
            row, column = start + int(bad[0, 0]), int(bad[0, 1])
            value = points[row, column]
            what = "is not an integer" if value != np.floor(value) else "is 2^53 or more"
            raise ValueError(
                f"strategy='discrete' counts integers as they are, but {float(value)!r} in row "
                f"{row}, column {column} {what}. Multiply by the scale of the quantisation and "
                "round, or give a bin_width."
            )


def check_edges(bin_edges: Any, d: int) -> tuple[np.ndarray, ...]:
    """Check given edges: one increasing array for all units, or one per unit."""
    several = len(bin_edges) > 0 and all(np.ndim(edges) == 1 for edges in bin_edges)
    arrays = [np.asarray(e, dtype=np.float64) for e in (bin_edges if several else [bin_edges] * d)]
    if len(arrays) != d:
        raise ValueError(
            f"bin_edges holds {len(arrays)} arrays for {d} units; give one array, or one per unit."
        )
    for unit, edges in enumerate(arrays):
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"bin_edges of unit {unit} must be at least two increasing numbers.")
    return tuple(arrays)
