"""Binned activations: edges, cells, and the discrete entropies of the cells.

For a deterministic network I(X;Bin(T)) = H(Bin(T)): the entropy of how the inputs fall into cells.
It is log n when no two inputs share a cell and falls as they cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skinfo.kernels.binning import (
    differ_by_edges,
    differ_by_width,
    hash_by_edges,
    hash_by_width,
    mark_shared,
)
from skinfo.measures.counting import first_rows
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows, discrete_entropy

# More edges than this are not written out.
_MOST_EDGES = 10_000_000
# Up to so many labels, a table of rows and labels is laid out in full.
_FULL_TABLE = 16
# This close to its ceiling, in relative terms, a value says only that all inputs are apart.
_NEAR = 0.01
# Beyond this floor(t / w) is no exact integer in double precision.
_MOST_CELLS = 2.0**53
# The steps that cut a wider range overflow.
_WIDEST = 1e308


@dataclass(frozen=True)
class WidthCells:
    """Cells [k w, (k + 1) w) along every unit, anchored at 0.

    Attributes
    ----------
    width : float
        The width w.
    first, last : ndarray of shape (d,) or None
        Lowest and highest cell number that the rows reached, where they were looked at.
    """

    width: float
    first: np.ndarray | None = None
    last: np.ndarray | None = None

    @classmethod
    def learn(cls, points: np.ndarray, width: float) -> WidthCells:
        """Note which cells the rows reach.

        Raises
        ------
        ValueError
            If the cells are so narrow that they cannot be counted in 64 bits.
        """
        low, high = (end.astype(np.float64) for end in (points.min(axis=0), points.max(axis=0)))
        largest = float(max(np.abs(low).max(), np.abs(high).max()))
        if largest >= _MOST_CELLS * width:
            raise _too_narrow(width, largest)
        return cls(width, np.floor(low / width), np.floor(high / width))

    def hash_rows(
        self, points: np.ndarray, rows: np.ndarray, multipliers: np.ndarray, out: np.ndarray
    ) -> None:
        """Hash the cells of some rows.

        Raises
        ------
        ValueError
            If the cells are so narrow that they cannot be counted in 64 bits.
        """
        if not hash_by_width(points, rows, self.width, multipliers, out):
            raise _too_narrow(self.width, float(np.abs(points[rows]).max()))

    def differ(self, points: np.ndarray, rows: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row's cell is not that of the row it stands beside."""
        return bool(differ_by_width(points, rows, first, self.width))

    def outside_fraction(self, points: np.ndarray) -> float:  # noqa: ARG002
        """Share of values outside the edges: none, for the cells go on."""
        return 0.0

    def edges(self) -> list[np.ndarray]:
        """The edges of every unit, over the range that the rows reached."""
        if self.first is None or self.last is None:
            raise ValueError("These cells were not learnt from rows, so they go on without end.")
        if (self.last - self.first).max() > _MOST_EDGES:
            raise ValueError(
                f"The range of a unit holds {int((self.last - self.first).max()):,} cells of width "
                f"{self.width:g}; their edges, k * {self.width:g}, are not written out."
            )
        return [
            np.arange(first, last + 2) * self.width
            for first, last in zip(self.first, self.last, strict=True)
        ]


def _too_narrow(width: float, largest: float) -> ValueError:
    return ValueError(
        f"bin_width={width:g} is too narrow for activations up to {largest:.3g}: there would be "
        "more than 2^53 cells along a unit, narrower than the activations' own precision."
    )


@dataclass(frozen=True)
class EdgeCells:
    """Cells between given edges, one array a unit; the last is closed, values outside join it.

    Attributes
    ----------
    unit_edges : tuple of ndarray
        Increasing edges of every unit.
    """

    unit_edges: tuple[np.ndarray, ...]

    @cached_property
    def _packed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges one after the other, where each unit's start, and cells over their range."""
        starts = np.cumsum([0, *(len(edges) for edges in self.unit_edges)])
        ranges = np.array([edges[-1] - edges[0] for edges in self.unit_edges])
        n_cells = np.diff(starts) - 1
        scales = np.divide(n_cells, ranges, out=np.zeros(len(ranges)), where=ranges > 0)
        return np.concatenate(self.unit_edges), starts, scales

    def hash_rows(
        self, points: np.ndarray, rows: np.ndarray, multipliers: np.ndarray, out: np.ndarray
    ) -> None:
        """Hash the cells of some rows; values outside the edges count in the outer cells."""
        hash_by_edges(points, rows, *self._packed, multipliers, out)

    def differ(self, points: np.ndarray, rows: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row's cell is not that of the row it stands beside."""
        return bool(differ_by_edges(points, rows, first, *self._packed))

    def outside_fraction(self, points: np.ndarray) -> float:
        """Share of values outside the edges of their unit."""
        lows = np.array([edges[0] for edges in self.unit_edges])
        highs = np.array([edges[-1] for edges in self.unit_edges])
        n_outside = np.count_nonzero(points < lows) + np.count_nonzero(points > highs)
        return n_outside / points.size

    def edges(self) -> list[np.ndarray]:
        """The edges of every unit."""
        return list(self.unit_edges)


Cells = WidthCells | EdgeCells


def uniform_edges(
    points: np.ndarray, n_bins: int, bin_range: str | tuple[float, float]
) -> EdgeCells:
    """Equal cells over the range of the layer, of each neuron, or a given one."""
    d = points.shape[1]
    if bin_range == "neuron":
        lows, highs = points.min(axis=0), points.max(axis=0)
    else:
        low, high = points.min(), points.max()
        if not isinstance(bin_range, str):
            low, high = bin_range
        lows, highs = np.full(d, low), np.full(d, high)
    lows, highs = lows.astype(np.float64), highs.astype(np.float64)
    with np.errstate(over="ignore"):
        widest = (highs - lows).max()
    if not widest < _WIDEST:
        raise ValueError(
            f"The bins would cut a range that overflows, from {lows.min():.3g} to "
            f"{highs.max():.3g}: the activations are too large. Scale them first."
        )
    return EdgeCells(
        tuple(np.linspace(low, high, n_bins + 1) for low, high in zip(lows, highs, strict=True))
    )


def quantile_edges(points: np.ndarray, weights: np.ndarray, n_bins: int) -> EdgeCells:
    """Cells of equal weight along every unit, with ties merged."""
    levels = np.linspace(0, 1, n_bins + 1)
    unit_edges = []
    for unit in points.T.astype(np.float64):
        edges = np.unique(np.quantile(unit, levels, weights=weights, method="inverted_cdf"))
        if len(edges) < n_bins + 1:
            # Ties: the largest value gets a cell of its own, as the other tied values have.
            with np.errstate(over="ignore"):
                edges = np.append(edges, np.nextafter(edges[-1], np.inf))
        unit_edges.append(edges)
    return EdgeCells(tuple(unit_edges))


@dataclass(frozen=True)
class BinnedInformation:
    """What :func:`measure_binned` found, in nats.

    Attributes
    ----------
    mutual_info, entropy : Quantity
        I(X;Bin(T)) and H(Bin(T)); the same where every input has one row.
    label_mutual_info : Quantity or None
        I(Y;Bin(T)).
    ceiling : float
        H of the inputs; with one row an input the entropy cannot exceed it.
    n_occupied : int
        Number of occupied cells.
    singleton_fraction : float
        Share of the rows whose cell no other input reached.
    too_few_replicas : bool
        Whether inputs have too few rows for H(Bin(T)|X) to mean anything.
    """

    mutual_info: Quantity
    entropy: Quantity
    label_mutual_info: Quantity | None
    ceiling: float
    n_occupied: int
    singleton_fraction: float
    too_few_replicas: bool


def measure_binned(rows: Rows, cells: Cells, correction: str | None = None) -> BinnedInformation:
    """Count rows in cells and take the entropies of the counts."""
    return measure_cells(rows, first_rows(rows.points, cells), correction)


def measure_cells(
    rows: Rows, first: np.ndarray, correction: str | None = None
) -> BinnedInformation:
    """Take the entropies of the cells, given the first row in the cell of each row.

    Raises
    ------
    ValueError
        If a correction is asked for and rows have different weights.
    """
    per_cell = _bias_per_cell(rows, correction)
    # Cells go by their first row; those of no row weigh nothing.
    masses = np.bincount(first, weights=rows.weights)
    n_occupied = int(np.count_nonzero(masses))
    cells = _Counted.of(masses, per_cell)
    information, too_few = cells, False
    if rows.has_replicas:
        inputs = _Counted.of(rows.input_weights, per_cell)
        joint = _Counted.of(_joint_masses(first, rows.inputs, rows.weights), per_cell)
        information = cells.shared_with(inputs, joint)
        typical = float(np.sum(rows.input_weights * np.log(rows.replicas)))
        too_few = joint.entropy - inputs.entropy > typical - np.log(4)
    label = None
    if rows.labels is not None and rows.label_weights is not None:
        labels = _Counted.of(rows.label_weights, per_cell)
        joint = _Counted.of(_joint_masses(first, rows.labels, rows.weights), per_cell)
        label = cells.shared_with(labels, joint).quantity("label_mutual_info", labels.entropy)
    ceiling = rows.input_entropy
    notes = _stuck(n_occupied, information.entropy, ceiling)
    if too_few:
        notes = (*notes, "too few replicas")
    return BinnedInformation(
        mutual_info=information.quantity("mutual_info", ceiling).noted(*notes),
        entropy=Quantity.exact("entropy", cells.entropy + cells.bias),
        label_mutual_info=label,
        ceiling=ceiling,
        n_occupied=n_occupied,
        singleton_fraction=_singleton_fraction(rows, first),
        too_few_replicas=too_few,
    )


@dataclass(frozen=True)
class _Counted:
    """An entropy, or a difference of some, as counted, and what is to be added to it."""

    entropy: float
    bias: float

    @classmethod
    def of(cls, masses: np.ndarray, per_cell: float) -> _Counted:
        return cls(discrete_entropy(masses), per_cell * (np.count_nonzero(masses) - 1))

    def shared_with(self, other: _Counted, joint: _Counted) -> _Counted:
        """H(A) + H(B) - H(A,B), each with its own correction."""
        entropy = self.entropy + (other.entropy - joint.entropy)
        return _Counted(_settle(entropy), self.bias + other.bias - joint.bias)

    def quantity(self, name: str, ceiling: float) -> Quantity:
        """The corrected information; it is left where the correction carries it, and noted."""
        value = self.entropy + self.bias
        beyond = self.bias != 0 and not 0 <= value <= ceiling
        return Quantity.exact(name, value).noted(*(["correction beyond bounds"] if beyond else []))


def _bias_per_cell(rows: Rows, correction: str | None) -> float:
    """1 / (2 n) for Miller and Madow, who counted rows of equal weight; 0 for no correction."""
    if correction is None:
        return 0.0
    if not np.allclose(rows.weights, rows.weights[0], rtol=1e-9, atol=0):
        raise ValueError(
            "correction='miller-madow' counts rows of equal weight, but here they differ, by "
            "sample_weight or by groups of different sizes; use correction=None."
        )
    return 1 / (2 * len(rows.weights))


def _stuck(n_occupied: int, information: float, ceiling: float) -> tuple[str, ...]:
    """Words for bins that show nothing: too wide, or too narrow."""
    if n_occupied == 1:
        return ("in one cell",)
    return ("at ceiling",) if information >= (1 - _NEAR) * ceiling else ()


def _singleton_fraction(rows: Rows, first: np.ndarray) -> float:
    """Share of the rows, by weight, whose cell no other input reached."""
    shared = np.zeros(len(first), dtype=bool)
    mark_shared(rows.inputs, first, shared)
    return float(min(1.0, rows.weights[~shared[first]].sum()))


def _settle(information: float) -> float:
    """A difference of entropies, its rounding around 0 removed and nothing else."""
    return 0.0 if abs(information) < 1e-12 else information


def _joint_masses(first: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mass of every pair of a cell and a code, by cell, then by code."""
    n_codes = int(codes.max()) + 1
    pairs = first * n_codes + codes
    if n_codes > _FULL_TABLE:
        pairs = np.unique(pairs, return_inverse=True)[1]
    return np.bincount(pairs, weights=weights)
