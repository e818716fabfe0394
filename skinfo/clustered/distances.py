"""Pairwise distances within and between classes, and which are larger, by all pairs or a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from skinfo._numba import in_order
from skinfo._rows import Rows
from skinfo.clustered.cells import N_CELLS, DistanceCells
from skinfo.clustered.kernels import (
    TILE,
    WIDE,
    Ranking,
    Sums,
    TiledRows,
    add_pairs,
    count_pairs,
    count_wins,
)
from skinfo.clustered.pairs import PairRows, PairSampler
from skinfo.quantities import Quantity

#: Up to so many pairs all distances are ranked; beyond, the AUC comes from the histograms.
MOST_RANKED_PAIRS = 10_000_000
#: Mean distances are kept class by class up to so many classes.
MOST_MATRIX_CLASSES = 1024
#: Levels of the quantiles that are reported.
QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
# With more label sets there are too many kinds of pairs.
_MOST_LABEL_SETS = 8
# So many pairs of each kind are drawn to tell where the cells should be narrow.
_PILOTS = 8192
# Should a larger share of the comparisons turn on the rounding of products, differences decide.
_MOST_AMBIGUOUS = 1e-7


@dataclass(frozen=True)
class Distances:
    """Weighted counts of pairs by distance."""

    edges: np.ndarray  # (N_CELLS + 1,): edges of the cells, from 0; narrow where pairs are
    # (N_CELLS,): pairs of one class and of two; pairs of replicas of one input are in neither.
    within: np.ndarray
    between: np.ndarray
    # Probability that a between-class distance exceeds a within-class one, ties counting half.
    auc: Quantity
    # Mean distances.
    within_mean: Quantity
    between_mean: Quantity
    # (n_classes, n_classes) or None: mean distance of the pairs of two classes; NaN where there is
    # no pair. None beyond 1,024 classes.
    class_distances: np.ndarray | None

    def quantiles(self, kind: str) -> list[Quantity]:
        """Quantiles of the distances "within" or "between" classes, each with its cell as bracket.

        Within a cell pairs are taken to be spread evenly.
        """
        counts = self.within if kind == "within" else self.between
        total = np.concatenate([[0.0], np.cumsum(counts)])
        quantiles = []
        for level in QUANTILE_LEVELS:
            wanted = level * total[-1]
            cell = min(int(np.searchsorted(total, wanted, side="left")), len(counts)) - 1
            cell = max(cell, int(np.flatnonzero(counts)[0]))
            low, high = self.edges[cell], self.edges[cell + 1]
            share = np.clip((wanted - total[cell]) / counts[cell], 0, 1) if counts[cell] else 0.5
            value = float(low + share * (high - low))
            name = f"{kind}_q{round(100 * level):02d}"
            quantiles.append(Quantity(name, value, 0.0, float(low), float(high), ""))
        return quantiles

    def quantities(self) -> list[Quantity]:
        """All numbers: AUC, means and quantiles."""
        quantiles = [*self.quantiles("within"), *self.quantiles("between")]
        return [self.auc, self.within_mean, self.between_mean, *quantiles]


def measure_distances(
    rows: Rows, metric: str, *, ranked: bool = True, n_jobs: int | None = None
) -> Distances:
    """Count the distances between all rows of different inputs, within and between classes.

    The classes are the labels of the rows; see :func:`measure_label_sets`. Where they are not
    ``ranked`` the AUC is that of the cells, in half the time.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows.make(np.array([[0.0], [1.0], [3.0], [7.0]]), labels=np.array([0, 0, 1, 1]))
    >>> distances = measure_distances(rows, "euclidean")
    >>> distances.auc.value, distances.within_mean.value, distances.between_mean.value
    (0.75, 2.5, 4.5)
    """
    labels = rows.required_labels()[None]
    return measure_label_sets(rows, labels, metric, ranked=ranked, n_jobs=n_jobs)[0]


def measure_label_sets(
    rows: Rows, label_sets: np.ndarray, metric: str, *, max_pairs: int | None = None,
    random_state: np.random.RandomState | None = None, n_jobs: int | None = None,
    device: str | None = None, ranked: bool = True,
) -> list[Distances]:  # fmt: skip
    """Count distances within and between the classes of several label sets, in one pass.

    ``label_sets``, (n_sets, n), holds labels 0, 1, … of every row; the other parameters are those
    of :class:`skinfo.ClusteringScore`, ``device`` one of torch or None for the compiled engine,
    ``ranked`` whether all distances are sorted, as far as memory allows.
    """
    if len(label_sets) > _MOST_LABEL_SETS:
        raise ValueError(
            f"At most {_MOST_LABEL_SETS} label sets are measured at once; got {len(label_sets)}."
        )
    n = len(rows.points)
    if max_pairs is not None and n * (n - 1) // 2 > max_pairs:
        random = np.random.RandomState(0) if random_state is None else random_state
        return [
            _measure_sample(
                PairRows.make(rows, labels[None], metric, direct=True), max_pairs, random
            )
            for labels in label_sets
        ]
    pairs = PairRows.make(rows, label_sets, metric)
    found, ambiguous = _measure_all(pairs, n_jobs, device, ranked=ranked)
    if ambiguous > _MOST_AMBIGUOUS:
        exact = PairRows.make(rows, label_sets, metric, direct=True)
        found, _ = _measure_all(exact, n_jobs, device, ranked=ranked)
    return found


# --- all pairs -----------------------------------------------------------------------------------


class _PairSums(NamedTuple):
    """Sums over all pairs, and what ranks their distances."""

    sums: Sums
    squares: list[np.ndarray]  # by kind, sorted squared distances; none for too many pairs
    masses: list[np.ndarray]  # by kind, weights of the pairs; none where all are equal


def _measure_all(
    pairs: PairRows, n_jobs: int | None, device: str | None, *, ranked: bool
) -> tuple[list[Distances], float]:
    """Distances of every label set, and the largest share of comparisons that rounding decides."""
    cells, pilots = _learn_cells(pairs)
    bearings = np.stack([_bearings(*of_set) for of_set in pilots]).astype(np.float32)
    ranked = ranked and int(pairs.begins.sum()) <= MOST_RANKED_PAIRS
    measured = _sum_over_pairs(pairs, cells, bearings, n_jobs, device, ranked=ranked)
    found = [
        _distances_of_set(s, pairs, cells, bearings[s], measured) for s in range(len(pairs.labels))
    ]
    return [distances for distances, _ in found], max(ambiguous for _, ambiguous in found)


def _sum_over_pairs(
    pairs: PairRows, cells: DistanceCells, bearings: np.ndarray, n_jobs: int | None,
    device: str | None, *, ranked: bool,
) -> _PairSums:  # fmt: skip
    n, n_kinds = len(pairs.points), 1 << len(pairs.labels)
    n_labels = int(pairs.labels.max()) + 1
    shape = (len(pairs.labels), n_labels, n_labels)
    if n_labels > MOST_MATRIX_CLASSES:
        shape = (0, 0, 0)

    def zeros() -> Sums:
        return Sums(
            np.zeros((n_kinds, N_CELLS)), np.zeros(n_kinds), np.zeros(shape),
            np.zeros((len(pairs.labels), 2, n)),
        )  # fmt: skip

    totals = zeros()
    if device is not None:
        from skinfo.clustered.torch_pairs import add_pairs as add_pairs_on

        ranks = add_pairs_on(pairs, cells, bearings, totals, device, ranked=ranked)
        return _PairSums(totals, *ranks)
    ranking = _room_for_ranking(pairs, n_kinds, ranked=ranked)
    firsts = ranking.ranks[0].tolist() if len(ranking.values) else []
    rows = TiledRows(
        pairs.points, pairs.direct, _padded(pairs.squares), pairs.blocks(), _padded(pairs.weights),
        pairs.begins, _padded(pairs.classes).ravel(), pairs.class_starts[1:], pairs.labels,
        bearings,
    )  # fmt: skip

    def add_tile(first: int) -> Sums:
        sums = zeros()
        add_pairs(first, rows, cells, sums, ranking)
        return sums

    for sums in in_order(add_tile, range(0, n, TILE), n_jobs):
        for total, part in zip(totals, sums, strict=True):
            total += part
    stretches = list(pairwise([*firsts, len(ranking.values)]))
    squares = [ranking.values[a:b] for a, b in stretches]
    masses = [ranking.masses[a:b] for a, b in stretches] if len(ranking.masses) else []
    if masses:
        orders = [np.argsort(part) for part in squares]
        squares = [part[order] for part, order in zip(squares, orders, strict=True)]
        masses = [part[order] for part, order in zip(masses, orders, strict=True)]
    else:
        list(in_order(np.ndarray.sort, squares, n_jobs))
    return _PairSums(totals, squares, masses)


def _padded(values: np.ndarray) -> np.ndarray:
    """One value per row, of shape (n_blocks, 256), zeros up to the end of the last block."""
    out = np.zeros((-(-len(values) // WIDE), WIDE), dtype=values.dtype)
    out.ravel()[: len(values)] = values
    return out


def _room_for_ranking(pairs: PairRows, n_kinds: int, *, ranked: bool) -> Ranking:
    """Where every row writes its distances, kind after kind; empty where they are not ranked."""
    n_pairs = int(pairs.begins.sum())
    if not ranked:
        return Ranking(np.empty((0, n_kinds), dtype=np.int64), np.empty(0), np.empty(0))
    numbers = np.zeros((len(pairs.points), n_kinds), dtype=np.int64)
    count_pairs(pairs.begins, pairs.classes, pairs.class_starts, pairs.labels, numbers)
    by_kind = numbers.T.ravel()
    ranks = np.ascontiguousarray((np.cumsum(by_kind) - by_kind).reshape(numbers.T.shape).T)
    n_masses = 0 if (pairs.weights == 1).all() else n_pairs
    return Ranking(ranks, np.empty(n_pairs), np.empty(n_masses))


def _learn_cells(pairs: PairRows) -> tuple[DistanceCells, list[list[np.ndarray]]]:
    """Cells from pilot pairs, and how many in each are within and between classes, by label set."""
    random = np.random.RandomState(0)
    squares = []
    for labels in pairs.labels:
        sampler = PairSampler.make(pairs, labels[pairs.classes])
        for draw in (sampler.within, sampler.between):
            left, right = draw(_PILOTS // len(pairs.labels), random)
            squares.append(pairs.squared_distances(left, right))
    cells = DistanceCells.learn(np.concatenate(squares), pairs.scale, halved=pairs.halved)
    counts = [np.bincount(cells.number(s), minlength=N_CELLS) for s in squares]
    return cells, [counts[at : at + 2] for at in range(0, len(counts), 2)]


def _distances_of_set(
    s: int, pairs: PairRows, cells: DistanceCells, bearings: np.ndarray, measured: _PairSums
) -> tuple[Distances, float]:
    """Distances within and between the classes of one label set; what rounding decides of them."""
    sums = measured.sums
    same = (np.arange(len(sums.counts)) >> s) & 1 == 1
    within, between = sums.counts[same].sum(axis=0), sums.counts[~same].sum(axis=0)
    auc, ambiguous = binned_auc(within, between), 0.0
    if measured.squares:
        auc, ambiguous = _ranked_auc(same, pairs, measured)
    totals = np.array([between.sum(), within.sum()])
    moves = pairs.weights * (sums.influences[s] / totals[:, None]).sum(axis=0)
    # A pair counts by the product of two weights, and its square by that of their squares.
    heavier = np.mean(pairs.weights**2) ** 2
    shares = np.stack([between, within]) / totals[:, None]
    own = heavier * np.sum(shares * bearings**2 / totals[:, None])
    other_inputs = _error_over_inputs(auc.value, pairs, moves, float(own))
    auc = replace(auc, stderr_other_inputs=other_inputs)
    unit = cells.scale ** (2 if pairs.halved else 1)
    within_mean, between_mean = (
        Quantity.exact(f"{kind}_mean", sums.distances[chosen].sum() / counts.sum() / unit, "")
        for kind, chosen, counts in (("within", same, within), ("between", ~same, between))
    )
    matrix = None
    if len(sums.by_class):
        labels = pairs.labels[s][pairs.classes]
        n_labels = int(labels.max()) + 1
        matrix = _over_pairs(sums.by_class[s][:n_labels, :n_labels] / unit, pairs, labels)
    distances = Distances(cells.edges(), within, between, auc, within_mean, between_mean, matrix)
    return distances, ambiguous


def _ranked_auc(same: np.ndarray, pairs: PairRows, measured: _PairSums) -> tuple[Quantity, float]:
    """The AUC from the ranked distances, and the share of comparisons that rounding may decide."""
    weighs = bool(measured.masses)
    sizes = np.array(
        [part.sum() for part in measured.masses]
        if weighs
        else [len(part) for part in measured.squares],
        dtype=np.float64,
    )
    totals = np.where(same, sizes[same].sum(), sizes[~same].sum())
    masses = [part / total for part, total in zip(measured.masses, totals, strict=weighs)]
    none, counted = np.empty(0), np.zeros(2)
    for low, high in product(np.flatnonzero(same), np.flatnonzero(~same)):
        counted += count_wins(
            measured.squares[low], measured.squares[high], masses[low] if weighs else none,
            masses[high] if weighs else none, pairs.relative, pairs.reach,
        )  # fmt: skip
    twice, unequal = counted if weighs else counted / totals[same][0] / totals[~same][0]
    return Quantity.exact("auc", twice / 2, ""), float(unequal)


def _bearings(within: np.ndarray, between: np.ndarray) -> np.ndarray:
    """How a pair in each cell bears on the AUC, (2, n_cells): one of two classes, and of one.

    It is the share of the pairs of the other kind that it is in the right order with, less the mean
    of that.
    """
    below = (np.cumsum(within) - within / 2) / within.sum()
    above = 1 - (np.cumsum(between) - between / 2) / between.sum()
    return np.stack(
        [below - below @ between / between.sum(), above - above @ within / within.sum()]
    )


def _error_over_inputs(
    auc: float, pairs: PairRows, moves: np.ndarray, of_pairs: float, n_taken_off: int = 1
) -> float:
    """What inputs drawn anew add to the error of the AUC, of how much each row moves it.

    The AUC is a mean over pairs that share inputs, so to first order its variance is the sum over
    inputs of the squares of what their pairs move it by, less the squares of single pairs, of which
    this counts each in both of its inputs. Where no distances overlap, few inputs prove little: at
    an AUC of 1 the error is at least that of two inputs more, all pairs of one in the right order
    and of the other in the wrong one. Where inputs were drawn in clusters the sum is over these; of
    one alone the error is unknown, NaN.
    """
    starts = np.unique(pairs.begins)
    of_inputs, mass = (np.add.reduceat(values, starts) for values in (moves, pairs.weights))
    if pairs.clusters is not None:
        clusters = pairs.clusters[starts]
        of_inputs, mass = (np.bincount(clusters, values) for values in (of_inputs, mass))
        if np.count_nonzero(mass) < 2:
            return np.nan
    of_inputs -= of_inputs.sum() * mass / mass.sum()
    n_inputs = mass.sum() ** 2 / np.sum(mass**2)
    unseen = 8 * ((2 * auc - 1) / n_inputs) ** 2
    total = np.sum(of_inputs**2)
    # Half of it is all if no two pairs share an input.
    return float(np.sqrt(max(total - n_taken_off * min(of_pairs, total / 2), unseen)))


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
    # A class of one input has no pair, whatever rounding leaves of the mass of its pairs.
    alone = np.bincount(labels[first], minlength=len(mass)) < 2
    alone |= ~(np.diag(n_pairs) > 1e-12 * mass**2)
    np.fill_diagonal(n_pairs, np.where(alone, np.nan, np.diag(n_pairs)))
    return total / np.where(n_pairs == 0, np.nan, n_pairs)


# --- a sample of pairs ---------------------------------------------------------------------------


def _measure_sample(pairs: PairRows, max_pairs: int, random: np.random.RandomState) -> Distances:
    """Distances of a random sample of pairs, half within and half between classes."""
    labels = pairs.labels[0][pairs.classes]
    sampler, n_drawn = PairSampler.make(pairs, labels), max(max_pairs // 2, 2)
    drawn = [draw(n_drawn, random) for draw in (sampler.within, sampler.between)]
    squares = [pairs.squared_distances(left, right) for left, right in drawn]
    cells = DistanceCells.learn(np.concatenate(squares), pairs.scale, halved=pairs.halved)
    numbers = [cells.number(s) for s in squares]
    within, between = (np.bincount(n, minlength=N_CELLS).astype(np.float64) for n in numbers)
    distances = [cells.distance(s) for s in squares]
    means = [
        Quantity.sampled(name, float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d))), "")
        for name, d in zip(("within_mean", "between_mean"), distances, strict=True)
    ]
    auc = sampled_auc(squares[0], squares[1], pairs.relative, pairs.reach)
    moves, own = np.zeros(len(labels)), 0.0
    of_cells = _bearings(within, between) / n_drawn
    for number, bearing, ends in zip(numbers, of_cells[::-1], drawn, strict=True):
        own += float(np.sum(bearing[number] ** 2))
        for end in ends:
            moves += np.bincount(end, bearing[number], len(labels))
    # The error of the pairs drawn stands by itself.
    other_inputs = _error_over_inputs(auc.value, pairs, moves, own, n_taken_off=2)
    auc = replace(auc, stderr_other_inputs=other_inputs)
    matrix = None
    n_labels = int(labels.max()) + 1
    if n_labels <= MOST_MATRIX_CLASSES:
        matrix = _sample_matrix(n_labels, labels, drawn, distances)
    return Distances(cells.edges(), within, between, auc, means[0], means[1], matrix)


def _sample_matrix(
    n_labels: int, labels: np.ndarray, drawn: list[tuple[np.ndarray, np.ndarray]],
    distances: list[np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Mean sampled distance of two classes; NaN where no pair was drawn."""
    left, right = (np.concatenate([pair[side] for pair in drawn]) for side in (0, 1))
    code = labels[left] * n_labels + labels[right]
    size, shape = n_labels**2, (n_labels, n_labels)
    sums = np.bincount(code, weights=np.concatenate(distances), minlength=size).reshape(shape)
    counts = np.bincount(code, minlength=size).reshape(shape)
    counts = counts + counts.T
    return (sums + sums.T) / np.where(counts == 0, np.nan, counts)


# --- AUC: the probability that a between-class distance exceeds a within-class one ---------------


def binned_auc(within: np.ndarray, between: np.ndarray) -> Quantity:
    """The AUC of two histograms over the same cells; pairs in one cell count half.

    Half the mass of such pairs is the most that the cells can hide, so its bracket reaches as far.

    Raises
    ------
    ValueError
        If all weights of one kind underflow.

    Examples
    --------
    >>> import numpy as np
    >>> auc = binned_auc(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    >>> auc.lower, auc.value, auc.upper
    (0.5, 0.75, 1.0)
    """
    if not (within.sum() > 0 and between.sum() > 0):
        raise ValueError(
            "No pair within a class, or none between classes, has a weight above 0: the products "
            "of the weights of two rows underflow."
        )
    within, between = within / within.sum(), between / between.sum()
    below = np.cumsum(within) - within
    tied = float(np.sum(between * within)) / 2
    auc = float(np.sum(between * below)) + tied
    return Quantity("auc", auc, 0.0, auc - tied, auc + tied, "")


def sampled_auc(
    within: np.ndarray, between: np.ndarray, relative: float = 0.0, reach: float = 0.0
) -> Quantity:
    """The AUC of two independent samples of squared distances, with the error of their sampling.

    DeLong, DeLong and Clarke-Pearson, Biometrics 1988: the variances of the share of the other
    sample that each distance beats, over the sizes of the samples. Two more shares, 0 and 1, enter
    each variance (Agresti and Coull, 1998): a sample in which no pair overlaps proves nothing.
    """
    low, high, none = np.sort(within), np.sort(between), np.empty(0)
    twice, _ = count_wins(low, high, none, none, relative, reach)
    shares = (_shares_below(low, high), 1 - _shares_below(high, low))
    variances = [np.append(part, [0.0, 1.0]).var(ddof=1) for part in shares]
    stderr = float(np.sqrt(variances[0] / len(high) + variances[1] / len(low)))
    return Quantity.sampled("auc", twice / 2 / len(low) / len(high), stderr, "")


def _shares_below(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of a sorted sample below each value, equal ones counting half."""
    left = np.searchsorted(sample, values, "left")
    return (left + np.searchsorted(sample, values, "right")) / (2 * len(sample))
