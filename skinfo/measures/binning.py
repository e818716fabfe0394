"""Binned activations: edges, cells, and the discrete entropies of the cells.

For a deterministic network I(X;Bin(T)) = H(Bin(T)): the entropy of how the inputs fall into cells.
It is log n when no two inputs share a cell and falls as they cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo.kernels.binning import number_rows
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows, discrete_entropy

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
    first, last : ndarray of shape (d,)
        Lowest and highest cell number that the rows reached.
    """

    width: float
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def learn(cls, points: np.ndarray, width: float) -> WidthCells:
        """Note which cells the rows reach.

        Raises
        ------
        ValueError
            If the cells are so narrow that they cannot be counted in 64 bits.
        """
        points = points.astype(np.float64)
        _check_width(points, width)
        return cls(
            width, np.floor(points.min(axis=0) / width), np.floor(points.max(axis=0) / width)
        )

    def code(self, points: np.ndarray) -> np.ndarray:
        """Cell number of every value; integers, as floor(t / w) makes them."""
        points = points.astype(np.float64)
        _check_width(points, self.width)
        return np.floor(points / self.width).astype(np.int64)

    def edges(self) -> list[np.ndarray]:
        """The edges of every unit, over the range that the rows reached."""
        if (self.last - self.first).max() > _MOST_EDGES:
            raise ValueError(
                f"The range of a unit holds {int((self.last - self.first).max()):,} cells of width "
                f"{self.width:g}; their edges, k * {self.width:g}, are not written out."
            )
        return [
            np.arange(first, last + 2) * self.width
            for first, last in zip(self.first, self.last, strict=True)
        ]


def _check_width(points: np.ndarray, width: float) -> None:
    largest = float(np.abs(points).max())
    if largest >= _MOST_CELLS * width:
        raise ValueError(
            f"bin_width={width:g} is too narrow for activations up to {largest:.3g}: there would "
            "be more than 2^53 cells along a unit, narrower than the activations' own precision."
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

    def code(self, points: np.ndarray) -> np.ndarray:
        """Cell number of every value; values outside the edges count in the outer cells."""
        codes = np.empty(points.shape, dtype=np.int64)
        for k, edges in enumerate(self.unit_edges):
            found = np.searchsorted(edges, points[:, k], side="right") - 1
            codes[:, k] = np.clip(found, 0, max(len(edges) - 2, 0))
        return codes

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


def number_cells(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the occupied cells.

    Returns
    -------
    numbers : ndarray of shape (n,), int64
        The cell of each row, numbered 0, 1, … in the order of appearance.
    n_occupied : int
        How many there are.

    Examples
    --------
    >>> import numpy as np
    >>> numbers, n_occupied = number_cells(np.array([[0, 1], [5, 5], [0, 1]]))
    >>> numbers.tolist(), n_occupied
    ([0, 1, 0], 2)
    """
    n = len(codes)
    table = np.full(1 << int(2 * n - 1).bit_length(), -1, dtype=np.int64)
    numbers = np.empty(n, dtype=np.int64)
    # The hash wraps around, which numpy mentions where the kernel is not compiled.
    with np.errstate(over="ignore"):
        return numbers, int(number_rows(np.ascontiguousarray(codes), table, numbers))


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
    too_few_replicas : bool
        Whether inputs have too few rows for H(Bin(T)|X) to mean anything.
    """

    mutual_info: Quantity
    entropy: Quantity
    label_mutual_info: Quantity | None
    ceiling: float
    n_occupied: int
    too_few_replicas: bool


def measure_binned(rows: Rows, cells: Cells) -> BinnedInformation:
    """Count rows in cells and take the entropies of the counts."""
    numbers, n_occupied = number_cells(cells.code(rows.points))
    entropy = discrete_entropy(np.bincount(numbers, weights=rows.weights))
    given_input, too_few = 0.0, False
    if rows.has_replicas:
        given_input = _joint_entropy(numbers, rows.inputs, rows.weights) - rows.input_entropy
        typical = float(np.sum(rows.input_weights * np.log(rows.replicas)))
        too_few = given_input > typical - np.log(4)
    label = None
    if rows.labels is not None:
        joint = _joint_entropy(numbers, rows.labels, rows.weights)
        label = Quantity.exact("label_mutual_info", _settle(entropy + rows.label_entropy - joint))
    return BinnedInformation(
        mutual_info=Quantity.exact("mutual_info", _settle(entropy - given_input)),
        entropy=Quantity.exact("entropy", entropy),
        label_mutual_info=label,
        ceiling=rows.input_entropy,
        n_occupied=n_occupied,
        too_few_replicas=too_few,
    )


def _settle(information: float) -> float:
    """A difference of entropies, its rounding around 0 removed and nothing else."""
    return 0.0 if abs(information) < 1e-12 else information


def _joint_entropy(numbers: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> float:
    pairs = numbers * (int(codes.max()) + 1) + codes
    return discrete_entropy(np.bincount(np.unique(pairs, return_inverse=True)[1], weights=weights))
