"""Cells: units cut by a width or by edges, and which rows share a cell.

No table of cell numbers is made: a row is cut into cells, hashed and forgotten. Rows of one hash
are cut again and compared; should two of them differ, all rows are hashed anew with other
multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count

import numpy as np

from skinfo.binned.kernels import (
    differ_by_edges,
    differ_by_width,
    hash_by_edges,
    hash_by_width,
    link_hashes,
)

# More edges than this are not written out.
_MOST_EDGES = 10_000_000
# The steps that cut a wider range overflow.
_WIDEST = 1e308


@dataclass(frozen=True)
class WidthCells:
    """Cells [k w, (k + 1) w) along every unit, anchored at 0."""

    width: float  # w
    # (d,), optional: lowest and highest activation of every unit; needed for the edges alone.
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def hash_rows(self, points: np.ndarray, multipliers: np.ndarray, out: np.ndarray) -> None:
        """Hash the cell of every row."""
        if not hash_by_width(points, self.width, multipliers, out):
            raise ValueError(
                f"bin_width={self.width:g} is too narrow for activations up to "
                f"{np.abs(points).max():.3g}: there would be more than 2^53 cells along a unit, "
                "narrower than the activations' own precision."
            )

    def differ(self, points: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row lies in another cell than the row given for it in ``first``."""
        return bool(differ_by_width(points, first, self.width))

    def outside_fraction(self, points: np.ndarray) -> float:  # noqa: ARG002
        """Share of values outside the edges: 0, because there is no outermost cell."""
        return 0.0

    def edges(self) -> list[np.ndarray]:
        """The edges of every unit, from its lowest to its highest activation."""
        if self.low is None or self.high is None:
            raise ValueError("Cells of a given width have no lowest and no highest edge.")
        first, last = (np.floor(e.astype(np.float64) / self.width) for e in (self.low, self.high))
        if (last - first).max() > _MOST_EDGES:
            raise ValueError(
                f"The range of a unit holds {int((last - first).max()):,} cells of width "
                f"{self.width:g}; their edges, k * {self.width:g}, are not written out."
            )
        return [np.arange(a, b + 2) * self.width for a, b in zip(first, last, strict=True)]


@dataclass(frozen=True)
class EdgeCells:
    """Cells between given edges, the last one closed; values outside count in the outer cells."""

    unit_edges: tuple[np.ndarray, ...]  # increasing edges of every unit

    @cached_property
    def _packed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All edges in one array, where those of each unit start, and cells over their range."""
        starts = np.cumsum([0, *(len(edges) for edges in self.unit_edges)])
        ranges = np.array([edges[-1] - edges[0] for edges in self.unit_edges])
        n_cells = np.diff(starts) - 1
        scales = np.divide(n_cells, ranges, out=np.zeros(len(ranges)), where=ranges > 0)
        return np.concatenate(self.unit_edges), starts, scales

    def hash_rows(self, points: np.ndarray, multipliers: np.ndarray, out: np.ndarray) -> None:
        """Hash the cell of every row."""
        hash_by_edges(points, *self._packed, multipliers, out)

    def differ(self, points: np.ndarray, first: np.ndarray) -> bool:
        """Whether some row lies in another cell than the row given for it in ``first``."""
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
    """Cells of equal weight along every unit, cut halfway between two values that differ.

    The cuts are those whose share of the weight below is nearest to 1 / n_bins, 2 / n_bins, …, so
    that equal values share a cell, and a cell that outgrows its share swallows no others.

    Examples
    --------
    >>> import numpy as np
    >>> quantile_edges(np.array([[0.0], [0.0], [0.0], [2.0], [3.0]]), np.full(5, 0.2), 4).edges()
    [array([0. , 1. , 2.5, 3. ])]
    """
    levels = np.arange(1, n_bins) / n_bins
    unit_edges = []
    for unit in points.T.astype(np.float64):
        values, codes = np.unique(unit, return_inverse=True)
        low, high = values[:-1], values[1:]
        cuts = low / 2 + high / 2
        # Between neighbouring numbers there is none.
        cuts = np.where(cuts > low, cuts, high)
        below = np.cumsum(np.bincount(codes, weights))[:-1]
        if len(cuts):
            after = np.searchsorted(below, levels - 1e-12).clip(max=len(cuts) - 1)
            before = (after - 1).clip(min=0)
            nearer = levels - below[before] < below[after] - levels - 1e-12
            cuts = cuts[np.unique(np.where(nearer, before, after))]
        with np.errstate(over="ignore"):
            last = max(values[-1], np.nextafter(values[0], np.inf))
        unit_edges.append(np.concatenate([values[:1], cuts, [last]]))
    return EdgeCells(tuple(unit_edges))


def first_rows(points: np.ndarray, cells: Cells) -> np.ndarray:
    """Find for every row the number of the first row in the same cell.

    Examples
    --------
    >>> import numpy as np
    >>> first_rows(np.array([[0.1, 3.0], [0.9, 3.5], [1.0, 3.0]]), WidthCells(1.0)).tolist()
    [0, 0, 2]
    """
    points = np.ascontiguousarray(points)
    n, d = points.shape
    hashes, first = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    n_slots = 1 << int(2 * n - 1).bit_length()
    for attempt in count():
        # Hashes wrap around, and numpy warns of it where the kernel is not compiled.
        with np.errstate(over="ignore"):
            cells.hash_rows(points, odd_multipliers(d, attempt), hashes)
        link_hashes(hashes, np.full(n_slots, -1, dtype=np.int64), first)
        if not cells.differ(points, first):
            break
    return first


@lru_cache(maxsize=64)
def odd_multipliers(d: int, attempt: int) -> np.ndarray:
    """Draw the multipliers of a hash, other ones at each attempt."""
    return np.random.default_rng([d, attempt]).integers(-(2**62), 2**62, size=d) | 1
