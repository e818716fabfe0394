"""Pairs of rows: rows in the coordinates of a metric, sorted by class, and which of them pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skinfo._rows import Rows
from skinfo.clustered.kernels import WIDE, fill_pair_squares

#: Coordinates of rows of unit length are multiples of this.
COSINE_RESOLUTION = 2.0**-40
# Sums of larger values overflow.
_LARGEST = 1e300


@dataclass(frozen=True)
class PairRows:
    """Rows sorted by class and input; rows of one class have the same label in every label set."""

    # (n, d): coordinates times ``scale``, so that all squared distances are at most 1; centred,
    # or moved without rounding where distances are to come from differences alone.
    points: np.ndarray
    direct: bool
    scale: float  # a power of two
    weights: np.ndarray  # (n,): weights, 1 on average; exactly 1 where all are equal
    # (n,): where the rows of each row's input begin and end.
    begins: np.ndarray
    ends: np.ndarray
    classes: np.ndarray  # (n,): class of each row, increasing
    labels: np.ndarray  # (n_sets, n_classes): label of each class in every label set
    halved: bool  # whether a distance is half its square (cosine)
    # Squared distances v tie within ``relative`` v + ``reach`` sqrt(v), which may be rounding.
    relative: float
    reach: float
    # (n,), or None: rows of one cluster were not drawn independently.
    clusters: np.ndarray | None = None

    @classmethod
    def make(
        cls, rows: Rows, label_sets: np.ndarray, metric: str, *, direct: bool = False
    ) -> PairRows:
        """Sort, centre and scale rows; ``label_sets``, (n_sets, n), hold labels 0, 1, … of each."""
        for labels in label_sets:
            check_classes(labels[rows.first_rows])
        order = np.lexsort([rows.inputs, *label_sets[::-1]])
        labels = label_sets[:, order]
        steps = (labels[:, 1:] != labels[:, :-1]).any(axis=0)
        starts = np.concatenate([[0], np.flatnonzero(steps) + 1])
        classes = np.concatenate([[0], np.cumsum(steps)])
        begins = np.concatenate([[0], np.flatnonzero(np.diff(rows.inputs[order])) + 1])
        sizes = np.diff(np.append(begins, len(order)))
        points, scale, reach = _coordinates(rows.points, order, metric, direct)
        # Of sums of d products, of which a 32nd may be left, and of sums of d squares.
        relative = (points.shape[1] + 3) * (2.0**-52 if direct else 2.0**-46)
        weights = rows.weights[order] * len(order)
        if np.ptp(rows.weights) <= 1e-12 * rows.weights.max():
            weights = np.ones(len(order))
        return cls(
            points, direct, scale, weights,
            np.repeat(begins, sizes), np.repeat(begins + sizes, sizes), classes,
            np.ascontiguousarray(labels[:, starts]), metric == "cosine",
            relative, reach, None if rows.clusters is None else rows.clusters[order],
        )  # fmt: skip

    @cached_property
    def class_starts(self) -> np.ndarray:
        """Where classes begin, and the number of rows."""
        return np.searchsorted(self.classes, np.arange(self.labels.shape[1] + 1))

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared length of every row."""
        return np.einsum("ij,ij->i", self.points, self.points)

    def blocks(self) -> np.ndarray:
        """Blocks of 256 rows, of shape (n_blocks, d + 1, 256): -2 times the rows, their squares.

        The last block is padded with rows at the centre.
        """
        n, d = self.points.shape
        blocks = np.zeros((-(-n // WIDE), d + 1, WIDE))
        for b, block in enumerate(blocks):
            part = slice(b * WIDE, min((b + 1) * WIDE, n))
            block[:d, : part.stop - part.start] = -2 * self.points[part].T
            block[d, : part.stop - part.start] = self.squares[part]
        return blocks

    def squared_distances(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Scaled squared distances of given pairs of rows."""
        out = np.empty(len(left))
        fill_pair_squares(self.points, left, right, out)
        return out


@dataclass(frozen=True)
class PairSampler:
    """Draws pairs of rows of different inputs in proportion to their weights."""

    # (n,): rows sorted by label, so that every label, and in it every input, is one stretch.
    order: np.ndarray
    cumulative: np.ndarray  # (n + 1,): cumulative weights of the sorted rows
    # Cumulative weight where the label of each sorted row begins and ends, and where its input
    # does.
    label_stretch: tuple[np.ndarray, np.ndarray]
    input_stretch: tuple[np.ndarray, np.ndarray]

    @classmethod
    def make(cls, pairs: PairRows, labels: np.ndarray) -> PairSampler:
        """Prepare to draw pairs within and between the classes of one label set."""
        order = np.argsort(labels, kind="stable")
        sorted_labels, begins = labels[order], pairs.begins[order]
        cumulative = np.concatenate([[0.0], np.cumsum(pairs.weights[order])])
        first, last = (
            np.searchsorted(sorted_labels, sorted_labels, side) for side in ("left", "right")
        )
        position = np.empty(len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        begin = position[begins]
        end = begin + (pairs.ends - pairs.begins)[order]
        return cls(
            order, cumulative, (cumulative[first], cumulative[last]),
            (cumulative[begin], cumulative[end]),
        )  # fmt: skip

    def within(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Draw pairs of one class."""
        (low, high), (skip, resume) = self.label_stretch, self.input_stretch
        return self._draw(n, random, (high - low) - (resume - skip), low, skip, resume)

    def between(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Draw pairs of two classes."""
        low, high = self.label_stretch
        room = self.cumulative[-1] - (high - low)
        return self._draw(n, random, room, np.zeros(len(low)), low, high)

    def _draw(
        self, n: int, random: np.random.RandomState, room: np.ndarray, start: np.ndarray,
        skip: np.ndarray, resume: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Draw rows by their weight times the weight of their partners, then a partner each.

        The partners of a row weigh ``room`` in all; they begin at ``start`` and leave out what lies
        between ``skip`` and ``resume``.
        """
        weights = np.diff(self.cumulative)
        # A row without partners has a room of exactly 0, for both of its stretches are one.
        mass = np.where(room > 0, weights * room, 0.0)
        if not mass.sum() > 0:
            # Products of weights underflow; the error comes where the pairs are counted.
            mass = np.ones(len(weights))
        total = np.cumsum(mass)
        left = np.searchsorted(total, random.uniform(size=n) * total[-1], side="right")
        left = np.minimum(left, int(np.flatnonzero(mass)[-1]))
        at = start[left] + random.uniform(size=n) * room[left]
        at = np.where(at >= skip[left], at + (resume - skip)[left], at)
        right = np.searchsorted(self.cumulative, at, side="right") - 1
        return self.order[left], self.order[np.minimum(right, len(self.order) - 1)]


def makes_pairs(labels: np.ndarray) -> bool:
    """Whether inputs have at least two classes, and some class at least two of the inputs.

    Examples
    --------
    >>> import numpy as np
    >>> [makes_pairs(np.array(y)) for y in (["a", "a", "b"], ["a", "a"], ["a", "b"])]
    [True, False, False]
    """
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() > 1)


def check_classes(labels: np.ndarray) -> None:
    """Check that the labels of inputs make pairs within a class and between two."""
    if makes_pairs(labels):
        return
    if labels.max() == labels.min():
        raise ValueError("Distances between classes need at least two classes in y; got one class.")
    raise ValueError(
        "Distances within classes need a class with at least two inputs; every class in y has one."
    )


def metric_coordinates(points: np.ndarray, metric: str) -> np.ndarray:
    """Coordinates whose Euclidean distances give the metric: for "cosine", rows of unit length.

    Coordinates of unit rows are multiples of 2^-40. Rows of zeros have no direction; they are given
    one of their own, orthogonal to that of all other rows, so that the distance of a dead row is 1
    to other rows and 0 to other dead rows.
    """
    largest = max(float(points.max()), -float(points.min()))
    points = np.asarray(points, dtype=np.float64)
    if largest > _LARGEST:
        raise ValueError(
            f"The activations are too large: they reach {largest:.3g}, and sums of them overflow. "
            "Scale them first."
        )
    if metric == "euclidean":
        return points
    # Squares of very large values overflow, those of very small ones underflow.
    points = points / _power_of_two(np.abs(points).max(axis=1))[:, None]
    norms = np.linalg.norm(points, axis=1)
    zero = norms == 0
    # Rows of one direction are equal only once the rounding of their lengths is cut off.
    unit = np.round(points / np.where(zero, 1, norms)[:, None] / COSINE_RESOLUTION)
    unit *= COSINE_RESOLUTION
    return np.column_stack([unit, zero.astype(np.float64)])


def moved_and_scaled(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Move points, in their place, and divide them by a power of two near their extent.

    No difference is rounded.

    An offset is subtracted where all values of a coordinate lie within a factor of two, and the
    result is exact (Sterbenz); dividing keeps the squares of very small and very large ones.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(over="ignore"):
        within = ((low > 0) & (high <= 2 * low)) | ((high < 0) & (low >= 2 * high))
        extent = (high - low).max()
    scale = float(_power_of_two(extent)) if extent > 0 else 1.0
    points -= np.where(within, low, 0.0)
    points /= scale
    return points, scale


def _power_of_two(values: np.ndarray) -> np.ndarray:
    """The largest powers of two that are not larger: dividing by them changes no digit."""
    return np.ldexp(1.0, np.frexp(values)[1] - 1)


def _coordinates(
    points: np.ndarray, order: np.ndarray, metric: str, direct: bool
) -> tuple[np.ndarray, float, float]:
    """Sorted coordinates, the scale that brings every distance below 1, and what they are off by.

    That is a bound where they are centred, and otherwise what half of up to a thousand rows were
    rounded by before they came here: rows of a lattice tie although 0.1 is no binary number.
    """
    points = metric_coordinates(points[order], metric)
    some = points[:: len(points) // 1000 + 1] if direct else points[:1]
    typical = np.median(np.abs(some), axis=0)
    points, divided = moved_and_scaled(points)
    if not direct:
        points -= points.mean(axis=0)
    longest = np.sqrt(np.einsum("ij,ij->i", points, points).max())
    if longest == 0:
        return points, 1.0, 0.0
    scale = 2.0 ** -(np.frexp(longest)[1] + 1)
    points *= scale
    rounding = longest * 2.0**-50
    if metric == "cosine":
        rounding = 4 * np.sqrt(points.shape[1]) * COSINE_RESOLUTION / divided
    elif direct:
        moving = np.ptp(points, axis=0) > 0
        rounding = np.linalg.norm(typical[moving] / divided) * 2.0**-50
    return points, float(scale / divided), float(rounding * scale)
