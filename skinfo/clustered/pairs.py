"""Rows ready to be paired: in the coordinates of the metric, sorted by class, and who may pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skinfo._rows import Rows
from skinfo.clustered.kernels import WIDE, fill_pair_squares

# Sums of values beyond this overflow.
_LARGEST = 1e300
#: More label sets than this make too many kinds of pairs.
MOST_LABEL_SETS = 8


@dataclass(frozen=True)
class PairRows:
    """Rows sorted by class and input; a class is what no label set tells apart.

    Attributes
    ----------
    points : ndarray of shape (n, d)
        Centred coordinates times ``scale``; all squared distances are at most 1.
    scale : float
        A power of two.
    weights : ndarray of shape (n,)
        Weights, 1 on average; exactly 1 where all are equal.
    begins, ends : ndarray of shape (n,)
        Where the rows of each row's input begin and end.
    classes : ndarray of shape (n,)
        Class of each row, increasing.
    labels : ndarray of shape (n_sets, n_classes)
        Label of each class in every label set.
    halved : bool
        Whether a distance is half the square (cosine).
    """

    points: np.ndarray
    scale: float
    weights: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    classes: np.ndarray
    labels: np.ndarray
    halved: bool

    @classmethod
    def make(cls, rows: Rows, label_sets: np.ndarray, metric: str) -> PairRows:
        """Sort, centre and scale rows.

        Parameters
        ----------
        rows : Rows
            Activations; their own labels are not looked at.
        label_sets : ndarray of shape (n_sets, n)
            Labels 0, 1, … of every row.
        metric : {"euclidean", "cosine"}
            The distance.

        Raises
        ------
        ValueError
            If a label set has one class only, or no class with two inputs; for activations too
            large to be squared.
        """
        for labels in label_sets:
            check_classes(labels, rows)
        order = np.lexsort([rows.inputs, *label_sets[::-1]])
        labels = label_sets[:, order]
        steps = (labels[:, 1:] != labels[:, :-1]).any(axis=0)
        starts = np.concatenate([[0], np.flatnonzero(steps) + 1])
        classes = np.concatenate([[0], np.cumsum(steps)])
        inputs = rows.inputs[order]
        begins = np.concatenate([[0], np.flatnonzero(np.diff(inputs)) + 1])
        sizes = np.diff(np.append(begins, len(order)))
        points, scale = _coordinates(rows.points, order, metric)
        weights = rows.weights[order] * len(order)
        if np.ptp(rows.weights) <= 1e-12 * rows.weights.max():
            weights = np.ones(len(order))
        return cls(
            points, scale, weights, np.repeat(begins, sizes), np.repeat(begins + sizes, sizes),
            classes, np.ascontiguousarray(labels[:, starts]), metric == "cosine",
        )  # fmt: skip

    @cached_property
    def equal_weights(self) -> bool:
        """Whether all rows weigh the same."""
        return bool((self.weights == 1).all())

    @cached_property
    def class_starts(self) -> np.ndarray:
        """Where classes begin, and the number of rows."""
        return np.searchsorted(self.classes, np.arange(self.labels.shape[1] + 1))

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared length of every row."""
        return np.einsum("ij,ij->i", self.points, self.points)

    def blocks(self) -> np.ndarray:
        """The rows by 256, of shape (n_blocks, d + 1, 256): minus twice them, then their squares.

        Padding lies at the centre.
        """
        n, d = self.points.shape
        blocks = np.zeros((-(-n // WIDE), d + 1, WIDE))
        for b, block in enumerate(blocks):
            part = slice(b * WIDE, min((b + 1) * WIDE, n))
            block[:d, : part.stop - part.start] = -2 * self.points[part].T
            block[d, : part.stop - part.start] = self.squares[part]
        return blocks

    def padded(self, values: np.ndarray) -> np.ndarray:
        """One value a row, of shape (n_blocks, 256), zeros up to the end of the last block."""
        out = np.zeros((-(-len(values) // WIDE), WIDE), dtype=values.dtype)
        out.ravel()[: len(values)] = values
        return out

    def squared_distances(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Scaled squared distances of given pairs of rows."""
        out = np.empty(len(left))
        fill_pair_squares(self.points, left, right, out)
        return out


def makes_pairs(labels: np.ndarray) -> bool:
    """Whether the labels of inputs are of two classes at least, and two inputs are of one of them.

    Examples
    --------
    >>> import numpy as np
    >>> [makes_pairs(np.array(y)) for y in (["a", "a", "b"], ["a", "a"], ["a", "b"])]
    [True, False, False]
    """
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() > 1)


def check_classes(labels: np.ndarray, rows: Rows) -> None:
    """Check that labels of rows make pairs within a class and between two.

    Raises
    ------
    ValueError
        If they do not.
    """
    if makes_pairs(labels[rows.first_rows]):
        return
    if labels.max() == labels.min():
        raise ValueError("Distances between classes need at least two classes in y; got one class.")
    raise ValueError(
        "Distances within classes need a class with at least two inputs; every class in y has one."
    )


def metric_coordinates(points: np.ndarray, metric: str) -> np.ndarray:
    """Coordinates whose Euclidean distances give the metric: for "cosine", rows of unit length.

    Coordinates of unit rows are multiples of 2^-40. Rows of zeros have no direction; they are given
    one, orthogonal to that of all other rows, so that a dead row is at distance 1 from what lives
    and at 0 from what is dead.

    Raises
    ------
    ValueError
        If sums of the activations would overflow.
    """
    points = np.asarray(points, dtype=np.float64)
    largest = np.abs(points).max()
    if largest > _LARGEST:
        raise ValueError(
            f"The activations are too large: they reach {largest:.3g}, and sums of them overflow. "
            "Scale them first."
        )
    if metric == "euclidean":
        return points
    # The squares of very large and very small values are none.
    points = points / _power_of_two(np.abs(points).max(axis=1))[:, None]
    norms = np.linalg.norm(points, axis=1)
    zero = norms == 0
    # Rows of one direction are equal only once the rounding of their lengths is cut off.
    unit = np.round(points / np.where(zero, 1, norms)[:, None] * 2.0**40) / 2.0**40
    return np.column_stack([unit, zero.astype(np.float64)])


def _power_of_two(values: np.ndarray) -> np.ndarray:
    """The largest powers of two that are no larger: dividing by them changes no digit."""
    return np.ldexp(1.0, np.frexp(values)[1] - 1)


def centred(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Points less their mean, and the power of two they were divided by.

    Subtracting keeps the digits of activations that sit far from 0; the division keeps the squares
    of very small and very large ones.
    """
    extent = np.ptp(points, axis=0).max()
    scale = float(_power_of_two(extent)) if extent > 0 else 1.0
    return (points - points.mean(axis=0)) / scale, scale


def _coordinates(points: np.ndarray, order: np.ndarray, metric: str) -> tuple[np.ndarray, float]:
    """Centred, so that no distance exceeds 1, and sorted."""
    points, divided = centred(metric_coordinates(points, metric)[order])
    longest = np.sqrt(np.einsum("ij,ij->i", points, points).max())
    if longest == 0:
        return points, 1.0
    again = 2.0 ** -(np.frexp(longest)[1] + 1)
    points *= again
    return points, float(again / divided)
