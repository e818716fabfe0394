"""Bins: units cut by a width or by edges, and the cells that rows fall into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skinfo.binned.kernels import differ_by_edges, differ_by_width, hash_by_edges, hash_by_width

# More edges than this are not written out.
_MOST_EDGES = 10_000_000
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

    def hash_rows(self, points: np.ndarray, multipliers: np.ndarray, out: np.ndarray) -> None:
        """Hash the cell of every row.

        Raises
        ------
        ValueError
            If the cells are so narrow that they cannot be counted in 64 bits.
        """
        if not hash_by_width(points, self.width, multipliers, out):
            raise _too_narrow(self.width, float(np.abs(points).max()))

    def differ(self, points: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row's cell is not that of the row it was taken to equal."""
        return bool(differ_by_width(points, first, self.width))

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

    def hash_rows(self, points: np.ndarray, multipliers: np.ndarray, out: np.ndarray) -> None:
        """Hash the cell of every row; values outside the edges count in the outer cells."""
        hash_by_edges(points, *self._packed, multipliers, out)

    def differ(self, points: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row's cell is not that of the row it was taken to equal."""
        return bool(differ_by_edges(points, first, *self._packed))

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
