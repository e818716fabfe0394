"""How activations cluster, in single numbers: silhouette, neural collapse, indices, dimension."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from skinfo._numba import in_order
from skinfo._rows import Rows
from skinfo.binned.cells import WidthCells
from skinfo.binned.entropy import measure_binned
from skinfo.clustered.kernels import CANCELS, fill_pair_squares
from skinfo.clustered.pairs import (
    COSINE_RESOLUTION,
    check_classes,
    metric_coordinates,
    moved_and_scaled,
)
from skinfo.quantities import Quantity

#: Rows that the silhouette is computed from, at most (or two per class).
MOST_SILHOUETTE_ROWS = 2048
# Numbers in these rows, at most: there are two copies in double precision.
_MOST_SILHOUETTE_NUMBERS = 2**22
#: Inputs that the dimension is computed from, at most.
MOST_DIMENSION_INPUTS = 8192
# So many distances of the dimension are computed at a time.
_BATCH = 2**20
# Rows of the silhouette that a thread takes at a time.
_TILE = 128
# Distances below this share of the longest row, and squares that cancel, are computed from
# differences: products round the others by d / 2^46 of themselves at most.
_NEAR = 2.0**-12
# Parts of the sample that the jackknife leaves out in turn.
_FOLDS = 16
# A mean of numbers is off by less than this share of the largest.
_ROUNDING = 2.0**-48
# The largest tenth of the ratios of distances is censored: it depends on the borders of the data.
_KEPT_RATIOS = 0.9


def measure_silhouette(rows: Rows, metric: str, n_jobs: int | None = None) -> Quantity:
    """Mean silhouette of the classes, one row per input; of a sample, even over classes, if many.

    Means are weighted by the inputs' probabilities.

    The standard error of a sample is that of a jackknife over 16 parts of it, which leaves their
    rows out of the average and of all mean distances; 0 where every input was used.
    """
    first = rows.first_rows
    labels, weights = rows.required_labels()[first], rows.input_weights
    check_classes(labels)
    n_classes = int(labels.max()) + 1
    by_class = np.argsort(labels, kind="stable")
    fit = _MOST_SILHOUETTE_NUMBERS // rows.points.shape[1]
    limit = max(min(MOST_SILHOUETTE_ROWS, fit), 2 * n_classes)
    chosen = by_class
    if len(first) > limit:
        evenly = by_class[np.linspace(0, len(by_class) - 1, limit).astype(np.int64)]
        # A class with one row in the sample would count as a class of one row: two of each.
        starts = np.flatnonzero(np.diff(labels[by_class], prepend=-1))
        seconds = np.minimum(starts + 1, np.append(starts[1:], len(by_class)) - 1)
        chosen = np.unique(np.concatenate([evenly, by_class[starts], by_class[seconds]]))
        chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    points, mass = rows.points[first[chosen]], np.bincount(labels, weights=weights)
    labels, weights = labels[chosen], weights[chosen]
    if len(chosen) == len(first):
        values = _silhouettes(points, labels, weights[:, None], metric, n_jobs)[:, 0]
        return Quantity.exact("silhouette", _class_average(values, labels, weights, mass), "")
    folds = np.arange(len(chosen)) % _FOLDS
    left = np.column_stack([weights, *(weights * (folds != fold) for fold in range(_FOLDS))])
    values = _silhouettes(points, labels, left, metric, n_jobs)
    mean, *without = (
        _class_average(v, labels, w, mass) for v, w in zip(values.T, left.T, strict=True)
    )
    unseen = 1 - len(chosen) / len(first)
    stderr = np.sqrt((_FOLDS - 1) * np.var(without) * unseen)
    return Quantity.sampled("silhouette", mean, float(stderr), "")


def _class_average(
    values: np.ndarray, labels: np.ndarray, weights: np.ndarray, mass: np.ndarray
) -> float:
    """Average over rows; each class keeps its mass, however many of its rows there are."""
    drawn = np.bincount(labels, weights=weights, minlength=len(mass))
    sums = np.bincount(labels, weights=weights * values, minlength=len(mass))
    seen = drawn > 0
    return float(mass[seen] @ (sums[seen] / drawn[seen]) / mass[seen].sum())


def _silhouettes(
    points: np.ndarray, labels: np.ndarray, weights: np.ndarray, metric: str, n_jobs: int | None
) -> np.ndarray:
    """(b - a) / max(a, b) of every row, sorted by label; 0 where its class has no other row.

    ``weights`` has one column per set of rows that the mean distances are taken over; so has the
    result.
    """
    coordinates, _ = moved_and_scaled(metric_coordinates(points, metric))
    middle, squares = _centred(coordinates)
    n = len(weights)
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    class_mass = np.add.reduceat(weights, starts)

    def of_rows(part: slice) -> np.ndarray:
        distance = _squared_distances(coordinates, middle, squares, part)
        if metric != "cosine":
            np.sqrt(distance, out=distance)
        same = labels[part, None] == labels
        # Summed without the row itself: subtracting its weight would lose much lighter ones.
        same[np.arange(len(same)), np.arange(n)[part]] = False
        mass = same @ weights
        between, within = np.full(mass.shape, np.inf), np.zeros(mass.shape)
        for label, (start, stop) in enumerate(pairwise([*starts, n])):
            sums = distance[:, start:stop] @ weights[start:stop]
            own = labels[part] == label
            within[own] = sums[own]
            has_mass = class_mass[label] > 0
            means = sums / np.where(has_mass, class_mass[label], 1)
            between = np.where(has_mass & ~own[:, None], np.minimum(between, means), between)
        within /= np.where(mass > 0, mass, 1)
        longer = np.maximum(within, between)
        defined = (mass > 0) & (longer > 0) & np.isfinite(longer)
        return np.where(defined, between - within, 0) / np.where(defined, longer, 1)

    parts = [slice(start, start + _TILE) for start in range(0, n, _TILE)]
    return np.concatenate(list(in_order(of_rows, parts, n_jobs)))


def _centred(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points less their mean, and their squared lengths."""
    middle = points - points.mean(axis=0)
    return middle, np.einsum("ij,ij->i", middle, middle)


def _squared_distances(
    points: np.ndarray, middle: np.ndarray, squares: np.ndarray, part: slice
) -> np.ndarray:
    """Squared distances of some points to all; from differences where products would cancel."""
    both = squares[part, None] + squares
    square = both - 2 * (middle[part] @ middle.T)
    left, right = np.nonzero(square < np.maximum(CANCELS * both, _NEAR**2 * squares.max()))
    exact = np.empty(len(left))
    fill_pair_squares(points, part.start + left, np.ascontiguousarray(right), exact)
    square[left, right] = exact
    return square


def measure_calinski_harabasz(rows: Rows, metric: str) -> Quantity:
    """Between-class over within-class variance, each per degree of freedom (1974).

    Infinite for classes without spread; NaN where their means coincide as well. One row per input;
    weights are not used.
    """
    spread = _Spread.of_inputs(rows, metric)
    n, n_classes = len(spread.deviations), len(spread.means)
    between = spread.p @ np.sum(spread.means**2, axis=1) / (n_classes - 1)
    within = np.mean(np.sum(spread.deviations**2, axis=1)) / (n - n_classes)
    return _ratio("calinski_harabasz", between, within)


def measure_davies_bouldin(rows: Rows, metric: str) -> Quantity:
    """Mean over classes of the worst ratio of spreads to the distance of the means (1979).

    Infinite where the means of two classes coincide and the classes have spread; NaN where a ratio
    is 0 / 0. One row per input; weights are not used.
    """
    spread = _Spread.of_inputs(rows, metric)
    lengths = np.linalg.norm(spread.deviations, axis=1)
    widths = np.bincount(spread.labels, lengths) / np.bincount(spread.labels)
    worst = []
    for k, width in enumerate(widths):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.delete((width + widths) / spread.gaps(k), k)
        worst.append(np.inf if np.isinf(ratios).any() else ratios.max())
    # What is infinite stays so beside what is undefined.
    index = np.inf if np.isinf(worst).any() else np.mean(worst)
    return _defined("davies_bouldin", index)


def measure_nc1(rows: Rows) -> Quantity:
    """Within-class variability, trace(Sigma_W pinv(Sigma_B)) / K; infinite if all means coincide.

    With m_c the mean of a class and m_G that of all rows, Sigma_W is the mean over rows of
    (t - m_c) (t - m_c)', and Sigma_B the mean over classes, all counted alike, of
    (m_c - m_G) (m_c - m_G)'. It falls as classes collapse onto their means.

    Papyan, Han and Donoho, "Prevalence of neural collapse", PNAS 2020.
    """
    spread = _Spread.of_rows(rows)
    n_classes = len(spread.means)
    _, lengths, directions = np.linalg.svd(spread.means / np.sqrt(n_classes), full_matrices=False)
    seen = lengths > spread.floor
    if not seen.any():
        notes = () if spread.deviations.any() else ("zero by zero",)
        return Quantity.exact("nc1", np.inf, "").noted(*notes)
    projected = spread.deviations @ (directions[seen].T / lengths[seen])
    return Quantity.exact("nc1", spread.weights @ np.sum(projected**2, axis=1) / n_classes, "")


def measure_nc2(rows: Rows) -> tuple[Quantity, ...]:
    """How far the class means are from a simplex: spread of lengths, of angles, and their offset.

    With m_c the class means less the mean of all rows: the standard deviation over the mean of the
    lengths |m_c|; the standard deviation of cos(m_c, m_c') over all pairs of classes; and the mean
    of |cos + 1 / (K - 1)|. All three fall to 0 as the means of classes of equal weight become an
    equiangular tight frame. The mean of all rows is not the middle of the class means where classes
    weigh differently; ``sample_weight`` of 1 / (rows of the class) makes it so. A mean without
    length has no angle: NaN.

    Papyan, Han and Donoho, PNAS 2020, figures 2 to 4.

    Examples
    --------
    >>> import numpy as np
    >>> corners = np.repeat(np.eye(3), 2, axis=0)
    >>> quantities = measure_nc2(Rows.make(corners, labels=np.array([0, 0, 1, 1, 2, 2])))
    >>> [abs(round(q.value, 12)) for q in quantities]
    [0.0, 0.0, 0.0]
    """
    means = _Spread.of_rows(rows).means
    lengths = np.linalg.norm(means, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = means / lengths[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), k=1)]
    return (
        _ratio("nc2_equinorm", lengths.std(), lengths.mean()),
        _defined("nc2_equiangularity", cosines.std()),
        _defined("nc2_maximal_angle", np.abs(cosines + 1 / (len(unit) - 1)).mean()),
    )


def _ratio(name: str, above: float, below: float) -> Quantity:
    """A ratio; infinite over zero, not a number where both are zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _defined(name, np.divide(above, below))


def _defined(name: str, value: float) -> Quantity:
    """A number that is exact for the rows, noted where it is none."""
    return Quantity.exact(name, value, "").noted(*(["zero by zero"] if np.isnan(value) else []))


class _Spread(NamedTuple):
    """Rows around the means of their classes, and these around the mean of all."""

    deviations: np.ndarray  # (n, d): rows, sorted by class, less the mean of theirs
    labels: np.ndarray  # (n,): their classes
    weights: np.ndarray  # (n,): their weights, which sum to 1
    p: np.ndarray  # (n_classes,): weights of the classes
    means: np.ndarray  # (n_classes, d): of the classes, less that of all rows; 0 below the floor
    # (n_classes, d): a row of each class, and its mean less that row: what lies close together far
    # from all else keeps its digits, and a class in one place has no spread by rounding.
    bases: np.ndarray
    shifts: np.ndarray
    rounding: np.ndarray  # (n_classes,): how far the mean of each class may be off
    floor: float  # lengths of means up to this may be rounding

    @classmethod
    def of_rows(cls, rows: Rows) -> _Spread:
        """All rows, by their weights."""
        return cls._of(rows.points, "euclidean", rows.required_labels(), rows.weights, 0.0)

    @classmethod
    def of_inputs(cls, rows: Rows, metric: str) -> _Spread:
        """One row per input, all of one weight."""
        first = rows.first_rows
        resolution = COSINE_RESOLUTION if metric == "cosine" else 0.0
        weights = np.full(len(first), 1 / len(first))
        labels = rows.required_labels()[first]
        return cls._of(rows.points[first], metric, labels, weights, resolution)

    @classmethod
    def _of(
        cls, points: np.ndarray, metric: str, labels: np.ndarray, weights: np.ndarray,
        resolution: float,
    ) -> _Spread:  # fmt: skip
        check_classes(labels)
        order = np.argsort(labels, kind="stable")
        points, scale = moved_and_scaled(metric_coordinates(points[order], metric))
        labels, weights = labels[order], weights[order]
        n_classes = int(labels[-1]) + 1
        bases, shifts = np.zeros((2, n_classes, points.shape[1]))
        rounding = np.zeros(n_classes)
        edges = np.searchsorted(labels, np.arange(n_classes + 1))
        for k, (start, stop) in enumerate(pairwise(edges)):
            rows = points[start:stop]
            bases[k] = rows[0]
            rows -= bases[k]
            share = weights[start:stop] / weights[start:stop].sum()
            # The second sum is of what the first one left to rounding.
            for _ in range(2):
                shift = share @ rows
                rows -= shift
                shifts[k] += shift
            rounding[k] = _ROUNDING * np.linalg.norm(rows, axis=1).max()
        rounding += resolution * np.sqrt(points.shape[1]) / scale
        p = np.bincount(labels, weights)
        means = (bases - bases[0]) + shifts
        means -= p @ means / p.sum()
        lengths = np.linalg.norm(means, axis=1)
        floor = float(rounding.max() + _ROUNDING * lengths.max())
        means[lengths <= floor] = 0.0
        return cls(points, labels, weights, p, means, bases, shifts, rounding, floor)

    def gaps(self, k: int) -> np.ndarray:
        """Distances of the class means to that of class k; 0 where they may be rounding."""
        gaps = np.linalg.norm((self.bases - self.bases[k]) + (self.shifts - self.shifts[k]), axis=1)
        return np.where(gaps > self.rounding + self.rounding[k], gaps, 0.0)


def measure_binned_entropy(rows: Rows, bin_width: float) -> tuple[Quantity, ...]:
    """H(Bin(T)) in nats, and as a share of H(X) of the inputs, one row per input.

    Cells are floor(t / bin_width) along every unit. The share is 1 where no two inputs share a
    cell and falls to 0 as they cluster.
    """
    rows = Rows.make(rows.points[rows.first_rows], input_weights=rows.input_weights)
    if rows.input_entropy == 0:
        raise ValueError("The share of binned_entropy needs at least two inputs; got one.")
    entropy = measure_binned(rows, WidthCells(bin_width))["binned_entropy"].value
    return (
        Quantity.exact("binned_entropy", entropy),
        Quantity.exact("binned_entropy_share", entropy / rows.input_entropy, ""),
    )


def measure_dimension(rows: Rows, metric: str) -> Quantity:
    """Intrinsic dimension from two nearest neighbours, one row per input; of a sample if many.

    Where points are locally uniform in d dimensions, the ratio mu = r_2 / r_1 of the distances to
    the two nearest neighbours has the law P(mu > m) = m ** -d. The estimate is the unbiased
    maximum-likelihood d from the smallest nine tenths of the ratios, the rest censored:
    (r - 1) / (sum of log mu_i over i <= r + (N - r) log mu_r). Its standard error is
    d / sqrt(r - 2), as of independent ratios, times what the covariance of a point with its nearest
    neighbour, often of the same two, adds. Points that coincide count once; weights are not used.
    NaN for fewer than five different points; infinite where every point has its two neighbours
    equally far away, as on a lattice.

    There is no bracket, for the bias is unknown: near borders, and where the density varies between
    neighbours, the ratios have another law, the more so the higher the dimension. Of 2,000 points
    in a cube the mean is 1.98, 4.67, 8.5 and 15.3 in 2, 5, 10 and 20 dimensions; on a flat torus,
    curved and without a border, it is 5.16, 12.0 and 24.7 in the last three.

    Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a
    minimal neighborhood information", Scientific Reports 2017 (who fit a line to the same nine
    tenths).

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.ones((2, 7))
    >>> round(measure_dimension(Rows.make(plane), "euclidean").value, 1)
    1.0
    """
    points = np.unique(metric_coordinates(rows.points[rows.first_rows], metric), axis=0)
    notes: tuple[str, ...] = ()
    if len(points) > MOST_DIMENSION_INPUTS:
        chosen = np.random.RandomState(0).permutation(len(points))[:MOST_DIMENSION_INPUTS]
        points, notes = points[np.sort(chosen)], ("sampled",)
    n = len(points)
    r = int(np.ceil(_KEPT_RATIOS * n))
    value = error = np.nan
    if n >= 5:
        squares, neighbours = _two_nearest(moved_and_scaled(points)[0])
        logs = np.log(squares[:, 1] / squares[:, 0]) / 2
        largest = np.sort(logs)[r - 1]
        total = float(np.minimum(logs, largest).sum())
        value, error = np.inf, 0.0
        if total > 0:
            value = (r - 1) / total
            scores = np.minimum(logs, largest) * value - (logs <= largest)
            near = np.unique(np.sort([np.arange(n), neighbours], axis=0), axis=1)
            shared = 2 * np.prod(scores[near], axis=0).sum() / np.sum(scores**2)
            error = float(value * np.sqrt((1 + max(shared, 0)) / (r - 2)))
    return Quantity("intrinsic_dimension", value, error, np.nan, np.nan, "", notes)


def _two_nearest(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of every point to its two nearest others, (n, 2), and the nearest, (n,).

    Distances are from differences; products choose whose are taken, all others that their rounding
    leaves among the two nearest.
    """
    n, d = points.shape
    middle, squares = _centred(points)
    nearest, neighbours = np.empty((n, 2)), np.empty(n, dtype=np.int64)
    for part in np.array_split(np.arange(n), n * n // _BATCH + 1):
        square = squares[part, None] + squares - 2 * (middle[part] @ middle.T)
        square[np.arange(len(part)), part] = np.inf
        # At most so far off are centred coordinates and sums of d products.
        rounding = (d + 8) * 2.0**-51 * (squares[part] + squares.max())
        ordinals, first = np.arange(len(part)), square.argmin(axis=1)
        nearest_one = square[ordinals, first]
        square[ordinals, first] = np.inf
        farthest = square.min(axis=1) + 2 * rounding
        square[ordinals, first] = nearest_one
        left, right = np.nonzero(square <= farthest[:, None])
        exact = np.empty(len(left))
        fill_pair_squares(points, part[left], np.ascontiguousarray(right), exact)
        order = np.lexsort([exact, left])
        starts = np.searchsorted(left, np.arange(len(part)))
        nearest[part] = exact[order][starts[:, None] + [0, 1]]
        neighbours[part] = right[order[starts]]
    return nearest, neighbours
