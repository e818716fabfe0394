"""How activations cluster by class, in single numbers: silhouette, indices, neural collapse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score

from skinfo._rows import Rows
from skinfo.binned.cells import WidthCells
from skinfo.binned.entropy import measure_binned
from skinfo.clustered.pairs import centred, check_classes, metric_coordinates
from skinfo.quantities import Quantity

#: Rows that the silhouette is computed from, at most (or two a class).
MOST_SILHOUETTE_ROWS = 2048
# Distances of the silhouette are computed so many at a time.
_BATCH = 2**23
# Parts of the sample that the jackknife leaves out in turn.
_FOLDS = 16


def measure_silhouette(rows: Rows, metric: str) -> Quantity:
    """Mean silhouette of the classes, one row an input; sampled evenly over classes where many.

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
        # A class seen once would count as one that has no other row: two of each.
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
    there = drawn > 0
    return float(mass[there] @ (sums[there] / drawn[there]) / mass[there].sum())


def _silhouettes(
    points: np.ndarray, labels: np.ndarray, weights: np.ndarray, metric: str
) -> np.ndarray:
    """(b - a) / max(a, b) of every row, sorted by label; 0 where its class has no other row.

    ``weights`` holds a column for each set of rows that the mean distances are taken over, and the
    result a column for each.
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
        # Summed without the row itself: subtracting its weight would lose those of lighter rows.
        same[np.arange(len(part)), part] = False
        mass = same @ weights
        between, within = np.full(mass.shape, np.inf), np.zeros(mass.shape)
        for label, (start, stop) in enumerate(pairwise([*starts, n])):
            sums = distance[:, start:stop] @ weights[start:stop]
            own = labels[part] == label
            within[own] = sums[own]
            there = class_mass[label] > 0
            means = sums / np.where(there, class_mass[label], 1)
            between = np.where(there & ~own[:, None], np.minimum(between, means), between)
        within /= np.where(mass > 0, mass, 1)
        longer = np.maximum(within, between)
        known = (mass > 0) & (longer > 0) & np.isfinite(longer)
        values[part] = np.where(known, between - within, 0) / np.where(known, longer, 1)
    return values


def measure_calinski_harabasz(rows: Rows, metric: str) -> Quantity:
    """Between-class over within-class variance, a degree of freedom; one row an input.

    Calinski and Harabasz, 1974, by scikit-learn; weights are not used.
    """
    points, labels = _one_row_an_input(rows, metric)
    return Quantity.exact("calinski_harabasz", calinski_harabasz_score(points, labels), "")


def measure_davies_bouldin(rows: Rows, metric: str) -> Quantity:
    """Mean over classes of the worst ratio of spreads to the distance of means; one row an input.

    Davies and Bouldin, 1979, by scikit-learn; smaller is more clustered; weights are not used.
    """
    points, labels = _one_row_an_input(rows, metric)
    return Quantity.exact("davies_bouldin", davies_bouldin_score(points, labels), "")


def _one_row_an_input(rows: Rows, metric: str) -> tuple[np.ndarray, np.ndarray]:
    check_classes(rows.required_labels(), rows)
    points, _ = centred(metric_coordinates(rows.points[rows.first_rows], metric))
    return points, rows.required_labels()[rows.first_rows]


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


def measure_nc2(rows: Rows) -> tuple[Quantity, Quantity, Quantity]:
    """How far the class means are from a simplex: lengths, angles, angles against -1 / (K - 1).

    With m_c the class means less their own mean (where classes are equally frequent, the global
    mean of the paper): the standard deviation over the mean of the lengths |m_c|; the standard
    deviation of cos(m_c, m_c') over all pairs of classes; and the mean of |cos + 1 / (K - 1)|. All
    three fall to 0 as the means become an equiangular tight frame; NaN where a mean has no length.

    Papyan, Han and Donoho, PNAS 2020, figures 2 to 4.

    Examples
    --------
    >>> import numpy as np
    >>> corners = np.repeat(np.eye(3), 2, axis=0)
    >>> found = measure_nc2(Rows.make(corners, labels=np.array([0, 0, 1, 1, 2, 2])))
    >>> [abs(round(q.value, 12)) for q in found]
    [0.0, 0.0, 0.0]
    """
    points, means, _ = _class_means(rows)
    means = means - means.mean(axis=0)
    norms = np.linalg.norm(means, axis=1)
    names = ("nc2_equinorm", "nc2_equiangularity", "nc2_maximal_angle")
    if not norms.min() > 1e-12 * np.ptp(points, axis=0).max():
        return tuple(Quantity.exact(name, np.nan, "") for name in names)  # type: ignore[return-value]
    unit = means / norms[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(len(means), k=1)]
    values = (
        norms.std() / norms.mean(),
        cosines.std(),
        np.abs(cosines + 1 / (len(means) - 1)).mean(),
    )
    first, second, third = map(Quantity.exact, names, values, [""] * 3)
    return first, second, third


def _class_means(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and class means, both less the mean of all and scaled, and the weights of classes."""
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


def measure_binned_entropy(rows: Rows, bin_width: float) -> tuple[Quantity, Quantity]:
    """H(Bin(T)) in nats, and as a share of H of the inputs, one row an input.

    Cells are floor(t / bin_width) along every unit. The share is 1 where no two inputs meet in a
    cell and falls to 0 as they cluster.
    """
    rows = Rows.make(rows.points[rows.first_rows], input_weights=rows.input_weights)
    if rows.input_entropy == 0:
        raise ValueError("The share of binned_entropy needs two inputs at least; got one.")
    quantities = measure_binned(rows, WidthCells(bin_width))
    entropy = next(q.value for q in quantities if q.name == "binned_entropy")
    return (
        Quantity.exact("binned_entropy", entropy),
        Quantity.exact("binned_entropy_share", entropy / rows.input_entropy, ""),
    )
