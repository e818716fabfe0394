"""Distributions of pairwise distances within and between classes, by all pairs or by a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skinfo._parallel import in_order
from skinfo._rows import Rows
from skinfo.clustered.cells import N_CELLS, DistanceCells
from skinfo.clustered.kernels import TILE, add_pairs, count_pairs
from skinfo.clustered.pairs import MOST_LABEL_SETS, PairRows
from skinfo.clustered.ranking import binned_auc, rank_keys, ranked_auc, sampled_auc, weighted_auc
from skinfo.quantities import Quantity

#: Up to so many pairs all distances are ranked; beyond, the AUC comes from the histograms.
MOST_RANKED_PAIRS = 10_000_000
#: Mean distances are kept class by class up to so many classes.
MOST_MATRIX_CLASSES = 1024
#: Levels of the quantiles that are reported.
QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
# Pairs of each kind that tell where the cells should be narrow.
_PILOTS = 8192


@dataclass(frozen=True)
class Distances:
    """Weighted counts of pairs by distance.

    Attributes
    ----------
    edges : ndarray of shape (N_CELLS + 1,)
        Edges of the cells, from 0; narrow where pairs are.
    within, between : ndarray of shape (N_CELLS,)
        Pairs of one class and of two; pairs of replicas of one input are in neither.
    auc : Quantity
        Probability that a between-class distance exceeds a within-class one, ties counting half.
    within_mean, between_mean : Quantity
        Mean distances.
    class_distances : ndarray of shape (n_classes, n_classes) or None
        Mean distance of the pairs of two classes; NaN where there is no pair. None beyond 1,024
        classes.
    """

    edges: np.ndarray
    within: np.ndarray
    between: np.ndarray
    auc: Quantity
    within_mean: Quantity
    between_mean: Quantity
    class_distances: np.ndarray | None

    def quantiles(self, kind: str) -> list[Quantity]:
        """Quantiles of the distances "within" or "between" classes; their cells are the brackets.

        Within a cell pairs are taken to lie evenly.
        """
        counts = self.within if kind == "within" else self.between
        total = np.concatenate([[0.0], np.cumsum(counts)])
        found = []
        for level in QUANTILE_LEVELS:
            wanted = level * total[-1]
            cell = min(int(np.searchsorted(total, wanted, side="left")), len(counts)) - 1
            cell = max(cell, int(np.flatnonzero(counts)[0]))
            low, high = self.edges[cell], self.edges[cell + 1]
            share = np.clip((wanted - total[cell]) / counts[cell], 0, 1) if counts[cell] else 0.5
            value = float(low + share * (high - low))
            name = f"{kind}_q{round(100 * level):02d}"
            found.append(Quantity(name, value, 0.0, float(low), float(high), ""))
        return found


def measure_distances(rows: Rows, metric: str, *, n_jobs: int | None = None) -> Distances:
    """Count the distances between all rows of different inputs, within and between classes.

    See :func:`measure_label_sets`; this is the answer for the labels of the rows themselves.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows.make(np.array([[0.0], [1.0], [3.0], [7.0]]), labels=np.array([0, 0, 1, 1]))
    >>> found = measure_distances(rows, "euclidean")
    >>> found.auc.value, found.within_mean.value, found.between_mean.value
    (0.75, 2.5, 4.5)
    """
    return measure_label_sets(rows, rows.required_labels()[None], metric, n_jobs=n_jobs)[0]


def measure_label_sets(
    rows: Rows, label_sets: np.ndarray, metric: str, *, max_pairs: int | None = None,
    random_state: np.random.RandomState | int | None = None, n_jobs: int | None = None,
) -> list[Distances]:  # fmt: skip
    """Count distances within and between the classes of several label sets, in one pass.

    Parameters
    ----------
    rows : Rows
        Activations.
    label_sets : ndarray of shape (n_sets, n)
        Labels 0, 1, … of every row, at most eight sets.
    metric : {"euclidean", "cosine"}
        The distance; cosine distance is 1 minus the cosine of the angle.
    max_pairs : int, optional
        Where there are more, measure a random sample of so many pairs, half of them within and half
        between classes, and give standard errors.
    random_state : int, RandomState or None
        What the sample is drawn with.
    n_jobs : int, optional
        Threads; the numbers do not depend on it.

    Raises
    ------
    ValueError
        If a label set has one class only or no class with two inputs, for more than eight sets,
        and for activations that are too large.
    """
    if len(label_sets) > MOST_LABEL_SETS:
        raise ValueError(
            f"At most {MOST_LABEL_SETS} label sets are measured at once; got {len(label_sets)}."
        )
    n = len(rows.points)
    if max_pairs is not None and n * (n - 1) // 2 > max_pairs:
        random = np.random.RandomState(0) if random_state is None else random_state
        if not isinstance(random, np.random.RandomState):
            random = np.random.RandomState(random)
        return [
            _measure_sample(PairRows.make(rows, labels[None], metric), max_pairs, random)
            for labels in label_sets
        ]
    pairs = PairRows.make(rows, label_sets, metric)
    counted = _count_all(pairs, _learn_cells(pairs), n_jobs)
    return [counted.of_set(s) for s in range(len(label_sets))]


@dataclass(frozen=True)
class _Counted:
    """Sums over all pairs, by kind: the label sets that agree on the pair, a bit each."""

    pairs: PairRows
    cells: DistanceCells
    counts: np.ndarray
    sums: np.ndarray
    class_sums: np.ndarray
    keys: list[np.ndarray]
    masses: list[np.ndarray]

    def of_set(self, s: int) -> Distances:
        """What the pass says of one label set."""
        kinds = np.arange(len(self.counts))
        same = (kinds >> s) & 1 == 1
        within, between = self.counts[same].sum(axis=0), self.counts[~same].sum(axis=0)
        auc = self._auc(same, within, between)
        unit = self.cells.scale ** (2 if self.pairs.halved else 1)
        means = [
            Quantity.exact(f"{kind}_mean", self.sums[chosen].sum() / counts.sum() / unit, "")
            for kind, chosen, counts in (("within", same, within), ("between", ~same, between))
        ]
        matrix = None
        if len(self.class_sums):
            labels = self.pairs.labels[s][self.pairs.classes]
            sums = self.class_sums[s][: labels.max() + 1, : labels.max() + 1] / unit
            matrix = _over_pairs(sums, self.pairs, labels)
        return Distances(
            self.cells.edges(), within, between, auc, means[0], means[1], matrix
        )  # fmt: skip

    def _auc(self, same: np.ndarray, within: np.ndarray, between: np.ndarray) -> Quantity:
        if not self.keys:
            return binned_auc(within, between)
        low, high = ([self.keys[k] for k in np.flatnonzero(chosen)] for chosen in (same, ~same))
        if not self.masses:
            return ranked_auc(low, high, (within.sum(), between.sum()))
        low_masses, high_masses = (
            np.concatenate([self.masses[k] for k in np.flatnonzero(chosen)])
            for chosen in (same, ~same)
        )
        return weighted_auc(
            (np.concatenate(low), low_masses), (np.concatenate(high), high_masses)
        )  # fmt: skip


def _over_pairs(sums: np.ndarray, pairs: PairRows, labels: np.ndarray) -> np.ndarray:
    """Mean distances of two classes, from sums over pairs in the order of the rows."""
    mass = np.bincount(labels, weights=pairs.weights)
    _, first, inputs = np.unique(pairs.begins, return_index=True, return_inverse=True)
    squares = np.bincount(inputs, weights=pairs.weights) ** 2
    own = np.bincount(labels[first], weights=squares, minlength=len(mass))
    n_pairs = np.outer(mass, mass)
    np.fill_diagonal(n_pairs, (mass**2 - own) / 2)
    total = sums + sums.T
    np.fill_diagonal(total, np.diag(sums))
    # A class of one input has no pair; what rounding leaves of its mass is none.
    alone = np.bincount(labels[first], minlength=len(mass)) < 2
    alone |= ~(np.diag(n_pairs) > 1e-12 * mass**2)
    np.fill_diagonal(n_pairs, np.where(alone, np.nan, np.diag(n_pairs)))
    return total / np.where(n_pairs == 0, np.nan, n_pairs)


def _learn_cells(pairs: PairRows) -> DistanceCells:
    """Cells from pilot pairs: of any rows, and within the classes of every label set."""
    random = np.random.RandomState(0)
    squares = []
    for labels in pairs.labels:
        sampler = PairSampler.make(pairs, labels[pairs.classes])
        for draw in (sampler.within, sampler.between):
            left, right = draw(_PILOTS // len(pairs.labels), random)
            squares.append(pairs.squared_distances(left, right))
    return DistanceCells.learn(np.concatenate(squares), pairs.scale, halved=pairs.halved)


def _count_all(pairs: PairRows, cells: DistanceCells, n_jobs: int | None) -> _Counted:
    n, n_kinds = len(pairs.points), 1 << len(pairs.labels)
    n_labels = int(pairs.labels.max()) + 1
    shape = (len(pairs.labels), n_labels, n_labels)
    if n_labels > MOST_MATRIX_CLASSES:
        shape = (0, 0, 0)
    ranks, values, masses = _room_for_ranking(pairs, n_kinds)
    firsts = ranks[0].copy() if len(values) else None
    blocks, squares = pairs.blocks(), pairs.padded(pairs.squares)
    weights, classes = pairs.padded(pairs.weights), pairs.padded(pairs.classes).ravel()
    stops = pairs.class_starts[1:]

    def count(tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        counts, sums = np.zeros((n_kinds, N_CELLS)), np.zeros(n_kinds)
        class_sums = np.zeros(shape)
        add_pairs(
            tile * TILE, pairs.points, squares, blocks, weights, pairs.begins, classes, stops,
            pairs.labels, cells.lowest, cells.bases, cells.parts, pairs.halved, counts, sums,
            class_sums, ranks, values, masses,
        )  # fmt: skip
        return counts, sums, class_sums

    totals = [np.zeros((n_kinds, N_CELLS)), np.zeros(n_kinds), np.zeros(shape)]
    for parts in in_order(count, -(-n // TILE), n_jobs):
        for total, part in zip(totals, parts, strict=True):
            total += part
    keys: list[np.ndarray] = []
    by_kind: list[np.ndarray] = []
    if firsts is not None:
        ends = [*firsts[1:], len(values)]
        keys = [rank_keys(values[a:b]) for a, b in zip(firsts, ends, strict=True)]
        if len(masses):
            by_kind = [masses[a:b] for a, b in zip(firsts, ends, strict=True)]
        else:
            list(in_order(lambda k: keys[k].sort(), n_kinds, n_jobs))
    return _Counted(pairs, cells, totals[0], totals[1], totals[2], keys, by_kind)


def _room_for_ranking(pairs: PairRows, n_kinds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where every row writes its distances, kind after kind; empty where there are too many."""
    n_pairs = int(pairs.begins.sum())
    if n_pairs > MOST_RANKED_PAIRS:
        return np.empty((0, n_kinds), dtype=np.int64), np.empty(0), np.empty(0)
    numbers = np.zeros((len(pairs.points), n_kinds), dtype=np.int64)
    count_pairs(pairs.begins, pairs.classes, pairs.class_starts, pairs.labels, numbers)
    by_kind = numbers.T.ravel()
    ranks = np.ascontiguousarray((np.cumsum(by_kind) - by_kind).reshape(numbers.T.shape).T)
    return ranks, np.empty(n_pairs), np.empty(0 if pairs.equal_weights else n_pairs)


@dataclass(frozen=True)
class PairSampler:
    """Draws pairs of rows of different inputs in proportion to their weights.

    Rows must be sorted so that each label, and in it each input, is one stretch.

    Attributes
    ----------
    ends : ndarray of shape (n + 1,)
        Cumulative weights of the rows.
    labels, inputs : tuple of ndarray
        Cumulative weight where the label of each row begins and ends; the same of its input.
    """

    ends: np.ndarray
    labels: tuple[np.ndarray, np.ndarray]
    inputs: tuple[np.ndarray, np.ndarray]
    order: np.ndarray

    @classmethod
    def make(cls, pairs: PairRows, labels: np.ndarray) -> PairSampler:
        """Prepare to draw within and between the classes of one label set."""
        order = np.argsort(labels, kind="stable")
        sorted_labels, begins = labels[order], pairs.begins[order]
        ends = np.concatenate([[0.0], np.cumsum(pairs.weights[order])])
        first, last = (
            np.searchsorted(sorted_labels, sorted_labels, side) for side in ("left", "right")
        )
        position = np.empty(len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        begin = position[begins]
        end = begin + (pairs.ends - pairs.begins)[order]
        return cls(ends, (ends[first], ends[last]), (ends[begin], ends[end]), order)

    def within(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Draw pairs of one class."""
        (low, high), (skip, resume) = self.labels, self.inputs
        return self._draw(n, random, (high - low) - (resume - skip), low, skip, resume)

    def between(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Draw pairs of two classes."""
        low, high = self.labels
        room = self.ends[-1] - (high - low)
        return self._draw(n, random, room, np.zeros(len(low)), low, high)

    def _draw(
        self, n: int, random: np.random.RandomState, room: np.ndarray, start: np.ndarray,
        skip: np.ndarray, resume: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Draw a row by its weight times the weight of its partners, then one of these."""
        weights = np.diff(self.ends)
        # What rounding leaves of a stretch without partners is none.
        mass = np.where(room > 1e-9 * weights, weights * room, 0.0)
        if not mass.sum() > 0:
            # Weights whose products underflow; that they decide nothing is said where they count.
            mass = np.ones(len(weights))
        total = np.cumsum(mass)
        left = np.searchsorted(total, random.uniform(size=n) * total[-1], side="right")
        left = np.minimum(left, int(np.flatnonzero(mass)[-1]))
        at = start[left] + random.uniform(size=n) * room[left]
        at = np.where(at >= skip[left], at + (resume - skip)[left], at)
        right = np.searchsorted(self.ends, at, side="right") - 1
        return self.order[left], self.order[np.minimum(right, len(self.order) - 1)]


def _measure_sample(pairs: PairRows, max_pairs: int, random: np.random.RandomState) -> Distances:
    """Distances of a random sample of pairs, half within and half between classes."""
    labels = pairs.labels[0][pairs.classes]
    sampler = PairSampler.make(pairs, labels)
    draws: list[Callable[..., tuple[np.ndarray, np.ndarray]]] = [sampler.within, sampler.between]
    drawn = [draw(max(max_pairs // 2, 2), random) for draw in draws]
    squares = [pairs.squared_distances(left, right) for left, right in drawn]
    cells = DistanceCells.learn(np.concatenate(squares), pairs.scale, halved=pairs.halved)
    counts = [np.bincount(cells.number(s), minlength=N_CELLS).astype(np.float64) for s in squares]
    distances = [cells.distance(s) for s in squares]
    means = [
        Quantity.sampled(name, float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d))), "")
        for name, d in zip(("within_mean", "between_mean"), distances, strict=True)
    ]
    auc = sampled_auc(*(rank_keys(s) for s in squares))
    matrix = None
    n_labels = int(labels.max()) + 1
    if n_labels <= MOST_MATRIX_CLASSES:
        matrix = _sample_matrix(n_labels, labels, drawn, distances)
    return Distances(cells.edges(), counts[0], counts[1], auc, means[0], means[1], matrix)


def _sample_matrix(
    n_labels: int, labels: np.ndarray, drawn: list[tuple[np.ndarray, np.ndarray]],
    distances: list[np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Mean sampled distance of two classes; NaN where no pair was drawn."""
    left, right = (np.concatenate([pair[side] for pair in drawn]) for side in (0, 1))
    code = labels[left] * n_labels + labels[right]
    size = n_labels**2
    shape = (n_labels, n_labels)
    sums = np.bincount(code, weights=np.concatenate(distances), minlength=size).reshape(shape)
    counts = np.bincount(code, minlength=size).reshape(shape)
    counts = counts + counts.T
    return (sums + sums.T) / np.where(counts == 0, np.nan, counts)
