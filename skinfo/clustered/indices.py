"""How activations cluster, in single numbers: silhouette, neural collapse, indices, dimension."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score
from sklearn.neighbors import NearestNeighbors

from skinfo._rows import Rows
from skinfo.binned.cells import WidthCells
from skinfo.binned.entropy import measure_binned
from skinfo.clustered.pairs import centred, check_classes, metric_coordinates
from skinfo.quantities import Quantity

#: Rows that the silhouette is computed from, at most (or two per class).
MOST_SILHOUETTE_ROWS = 2048
#: Inputs that the dimension is computed from, at most.
MOST_DIMENSION_INPUTS = 8192
# So many distances of the silhouette are computed at a time.
_BATCH = 2**23
# Parts of the sample that the jackknife leaves out in turn.
_FOLDS = 16
# The largest tenth of the ratios of distances is censored: it depends on the borders of the data.
_KEPT_RATIOS = 0.9


def measure_silhouette(rows: Rows, metric: str) -> Quantity:
    """Mean silhouette of the classes, one row per input; of a sample, even over classes, if many.

    Means are weighted by the inputs' probabilities.

    The standard error of a sample is that of a jackknife over 16 parts of it, which leaves their
    rows out of the average and of all mean distances; 0 where every input was used.
    """
    check_classes(rows.required_labels(), rows)
    first = rows.first_rows
    labels, weights = rows.required_labels()[first], rows.input_weights
    n_classes = int(labels.max()) + 1
    by_class = np.argsort(labels, kind="stable")
    limit = max(MOST_SILHOUETTE_ROWS, 2 * n_classes)
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
        values = _silhouettes(points, labels, weights[:, None], metric)[:, 0]
        return Quantity.exact("silhouette", _class_average(values, labels, weights, mass), "")
    folds = np.arange(len(chosen)) % _FOLDS
    left = np.column_stack([weights, *(weights * (folds != fold) for fold in range(_FOLDS))])
    values = _silhouettes(points, labels, left, metric)
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
    points: np.ndarray, labels: np.ndarray, weights: np.ndarray, metric: str
) -> np.ndarray:
    """(b - a) / max(a, b) of every row, sorted by label; 0 where its class has no other row.

    ``weights`` has one column per set of rows that the mean distances are taken over; so has the
    result.
    """
    coordinates = metric_coordinates(points, metric)
    if metric == "euclidean":
        coordinates, _ = centred(coordinates)
    n, n_sets = weights.shape
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    class_mass = np.add.reduceat(weights, starts)
    values = np.zeros((n, n_sets))
    for part in np.array_split(np.arange(n), n * n // _BATCH + 1):
        kind = "sqeuclidean" if metric == "cosine" else "euclidean"
        distance = cdist(coordinates[part], coordinates, kind)
        same = labels[part, None] == labels
        # Summed without the row itself: subtracting its weight would lose much lighter ones.
        same[np.arange(len(part)), part] = False
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
        values[part] = np.where(defined, between - within, 0) / np.where(defined, longer, 1)
    return values


def measure_calinski_harabasz(rows: Rows, metric: str) -> Quantity:
    """Between-class over within-class variance, each per degree of freedom (1974)."""
    index = calinski_harabasz_score(*_row_per_input(rows, metric))
    return Quantity.exact("calinski_harabasz", index, "")


def measure_davies_bouldin(rows: Rows, metric: str) -> Quantity:
    """Mean over classes of the worst ratio of spreads to the distance of the means (1979)."""
    return Quantity.exact("davies_bouldin", davies_bouldin_score(*_row_per_input(rows, metric)), "")


def _row_per_input(rows: Rows, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """One point and one label per input; weights are not used."""
    labels = rows.required_labels()
    check_classes(labels, rows)
    points, _ = centred(metric_coordinates(rows.points[rows.first_rows], metric))
    return points, labels[rows.first_rows]


def measure_nc1(rows: Rows) -> Quantity:
    """Within-class variability, trace(Sigma_W pinv(Sigma_B)) / K; infinite if all means coincide.

    Papyan, Han and Donoho, "Prevalence of neural collapse", PNAS 2020. It falls as classes collapse
    onto their means.
    """
    points, means, p = _class_means(rows)
    between = np.sqrt(p)[:, None] * means
    extent = np.ptp(points, axis=0).max()
    if extent == 0 or not np.abs(between).max() > 1e-12 * extent:
        return Quantity.exact("nc1", np.inf, "")
    projected = (points - means[rows.required_labels()]) @ np.linalg.pinv(between, rcond=1e-10)
    return Quantity.exact("nc1", float(rows.weights @ np.sum(projected**2, axis=1)) / len(p), "")


def measure_nc2(rows: Rows) -> tuple[Quantity, ...]:
    """How far the class means are from a simplex: spread of lengths, of angles, and their offset.

    With m_c the class means less their own mean (where classes are equally frequent, the global
    mean of the paper): the standard deviation over the mean of the lengths |m_c|; the standard
    deviation of cos(m_c, m_c') over all pairs of classes; and the mean of |cos + 1 / (K - 1)|. All
    three fall to 0 as the means become an equiangular tight frame; NaN where a mean has no length.

    Papyan, Han and Donoho, PNAS 2020, figures 2 to 4.

    Examples
    --------
    >>> import numpy as np
    >>> corners = np.repeat(np.eye(3), 2, axis=0)
    >>> quantities = measure_nc2(Rows.make(corners, labels=np.array([0, 0, 1, 1, 2, 2])))
    >>> [abs(round(q.value, 12)) for q in quantities]
    [0.0, 0.0, 0.0]
    """
    points, means, _ = _class_means(rows)
    means = means - means.mean(axis=0)
    norms = np.linalg.norm(means, axis=1)
    names = ("nc2_equinorm", "nc2_equiangularity", "nc2_maximal_angle")
    if not norms.min() > 1e-12 * np.ptp(points, axis=0).max():
        return tuple(Quantity.exact(name, np.nan, "") for name in names)
    unit = means / norms[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(len(means), k=1)]
    values = (
        norms.std() / norms.mean(),
        cosines.std(),
        np.abs(cosines + 1 / (len(means) - 1)).mean(),
    )
    return tuple(Quantity.exact(n, value, "") for n, value in zip(names, values, strict=True))


def _class_means(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and class means, both centred and scaled alike, and the weights of the classes."""
    labels = rows.required_labels()
    check_classes(labels, rows)
    p = np.bincount(labels, weights=rows.weights)
    points, _ = centred(metric_coordinates(rows.points, "euclidean"))
    # Without the offset the weighted mean keeps its digits too: a remainder would look like a
    # direction in which the classes differ.
    points = points - rows.weights @ points
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(p)))
    means = np.add.reduceat((points * rows.weights[:, None])[order], starts) / p[:, None]
    return points, means, p


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
    (r - 1) / (sum of log mu_i over i <= r + (N - r) log mu_r), with standard error d / sqrt(r - 2),
    as if ratios were independent. Points that coincide count once; weights are not used. NaN for
    fewer than five different points; infinite where every point has its two neighbours equally far
    away, as on a lattice.

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
    coordinates = metric_coordinates(rows.points[rows.first_rows], metric)
    points = np.unique(centred(coordinates)[0], axis=0)
    notes: tuple[str, ...] = ()
    if len(points) > MOST_DIMENSION_INPUTS:
        chosen = np.random.RandomState(0).permutation(len(points))[:MOST_DIMENSION_INPUTS]
        points, notes = points[np.sort(chosen)], ("sampled",)
    n = len(points)
    r = int(np.ceil(_KEPT_RATIOS * n))
    if n < 5:
        return Quantity("intrinsic_dimension", np.nan, np.nan, np.nan, np.nan, "", notes)
    nearest = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)[0]
    logs = np.sort(np.log(nearest[:, 2] / np.maximum(nearest[:, 1], np.finfo(np.float64).tiny)))
    total = float(logs[:r].sum() + (n - r) * logs[r - 1])
    if total <= 0:
        return Quantity("intrinsic_dimension", np.inf, 0.0, np.inf, np.inf, "", notes)
    value = (r - 1) / total
    return Quantity.sampled("intrinsic_dimension", value, value / np.sqrt(r - 2), "", notes)
