"""How activations cluster by class: pairwise distances within and between classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist, pdist

from skinfo.kernels.distances import add_pair_distances
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows

#: Cells of the distance histograms.
N_CELLS = 4096
# Sums of values beyond this overflow.
_LARGEST = 1e300
#: Up to so many pairs all distances are ranked; beyond, the AUC comes from the histograms.
MOST_RANKED_PAIRS = 1_000_000
#: Rows that the silhouette is computed from, at most (or two a class).
MOST_SILHOUETTE_ROWS = 2048
# Distances of the silhouette are computed so many at a time.
_BATCH = 2**23


@dataclass(frozen=True)
class Distances:
    """Weighted counts of pairs by distance.

    Attributes
    ----------
    edges : ndarray of shape (N_CELLS + 1,)
        Edges of the cells, from 0.
    within, between : ndarray of shape (N_CELLS,)
        Pairs of one class and of two; pairs of replicas of one input are in neither.
    auc : Quantity
        Probability that a between-class distance exceeds a within-class one, ties counting half.
    """

    edges: np.ndarray
    within: np.ndarray
    between: np.ndarray
    auc: Quantity


def metric_coordinates(points: np.ndarray, metric: str) -> np.ndarray:
    """Coordinates whose Euclidean distances give the metric: for "cosine", rows of unit length.

    Rows of zeros have no direction; they are given one, orthogonal to that of all other rows, so
    that a dead row is at distance 1 from what lives and at 0 from what is dead.
    """
    points = np.asarray(points, dtype=np.float64)
    if metric == "euclidean":
        return points
    # The squares of very large and very small values are none.
    points = points / _power_of_two(np.abs(points).max(axis=1))[:, None]
    norms = np.linalg.norm(points, axis=1)
    zero = norms == 0
    unit = points / np.where(zero, 1, norms)[:, None]
    return np.column_stack([unit, zero.astype(np.float64)])


def _power_of_two(values: np.ndarray) -> np.ndarray:
    """The largest powers of two that are no larger: dividing by them changes no digit."""
    return np.ldexp(1.0, np.frexp(values)[1] - 1)


def _centred(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Points less their mean, and the power of two they were divided by.

    Subtracting keeps the digits of activations that sit far from 0; the division keeps the squares
    of very small and very large ones.
    """
    extent = np.ptp(points, axis=0).max()
    scale = float(_power_of_two(extent)) if extent > 0 else 1.0
    return (points - points.mean(axis=0)) / scale, scale


def _check_classes(rows: Rows) -> None:
    labels = rows.required_labels()
    if labels.max() == 0:
        raise ValueError("Distances between classes need at least two classes in y; got one class.")
    inputs_of_label = np.bincount(labels[np.unique(rows.inputs, return_index=True)[1]])
    if inputs_of_label.max() < 2:
        raise ValueError(
            "Distances within classes need a class with at least two inputs; every class in y "
            "has one."
        )
    largest = float(np.abs(rows.points).max())
    if largest > _LARGEST:
        raise ValueError(
            f"The activations are too large: they reach {largest:.3g}, and sums of them overflow. "
            "Scale them first."
        )


def distance_edges(coordinates: np.ndarray, metric: str) -> np.ndarray:
    """Edges from 0 to where hardly a distance reaches: three times the 99th percentile, or 2.

    A single row far away must not squeeze all other distances into one cell; what lies beyond
    counts in a last, open cell.
    """
    if metric == "cosine":
        return np.linspace(0, 2 * (1 + 1e-12), N_CELLS + 1)
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, len(coordinates), size=(2, 4000))
    distances = np.linalg.norm(coordinates[i] - coordinates[j], axis=1)[i != j]
    diagonal = float(np.linalg.norm(np.ptp(coordinates, axis=0)))
    usual = 3 * float(np.quantile(distances, 0.99)) if len(distances) else diagonal
    top = min(diagonal, usual) or diagonal or 1.0
    return np.linspace(0, top * (1 + 1e-12), N_CELLS + 1)


def makes_pairs(labels: np.ndarray) -> bool:
    """Whether there are two classes, and two inputs of one of them."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() > 1)


def measure_distances(rows: Rows, metric: str) -> Distances:
    """Count the distances between rows of different inputs, within and between classes.

    Parameters
    ----------
    rows : Rows
        Activations with labels.
    metric : {"euclidean", "cosine"}
        The distance; cosine distance is 1 minus the cosine of the angle.

    Raises
    ------
    ValueError
        If there is one class only, or no class with two inputs.
    """
    _check_classes(rows)
    coordinates = metric_coordinates(rows.points, metric)
    scale = 1.0
    if metric == "euclidean":
        coordinates, scale = _centred(coordinates)
    edges = distance_edges(coordinates, metric)
    counts = rows.weights * len(rows.weights)
    within, between = np.zeros(N_CELLS + 1), np.zeros(N_CELLS + 1)
    add_pair_distances(
        np.ascontiguousarray(coordinates.T), counts, rows.required_labels(), rows.inputs,
        N_CELLS / edges[-1], metric == "cosine", within, between,
    )  # fmt: skip
    if len(counts) * (len(counts) - 1) // 2 <= MOST_RANKED_PAIRS:
        auc = _ranked_auc(coordinates, counts, rows, metric)
    else:
        auc = _binned_auc(within, between)
    for histogram in (within, between):
        histogram[-2] += histogram[-1]
    return Distances(edges * scale, within[:-1], between[:-1], auc)


def _ranked_auc(coordinates: np.ndarray, counts: np.ndarray, rows: Rows, metric: str) -> Quantity:
    i, j = np.triu_indices(len(coordinates), k=1)
    distance = pdist(coordinates, "sqeuclidean" if metric == "cosine" else "euclidean")
    counted = rows.inputs[i] != rows.inputs[j]
    labels = rows.required_labels()
    same = (labels[i] == labels[j])[counted]
    weight = (counts[i] * counts[j])[counted]
    # Distances that are equal may differ in their rounding.
    distance = np.round(distance / (distance.max() or 1.0), 12)
    _, level = np.unique(distance[counted], return_inverse=True)
    return Quantity.exact("auc", _auc_of_levels(level, weight, same)[0], "")


def _auc_of_levels(level: np.ndarray, weight: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    n_levels = int(level.max()) + 1
    within = np.bincount(level[same], weights=weight[same], minlength=n_levels)
    between = np.bincount(level[~same], weights=weight[~same], minlength=n_levels)
    return auc_of_histograms(within, between)


def auc_of_histograms(within: np.ndarray, between: np.ndarray) -> tuple[float, float]:
    """Compute the probability that a between-class distance exceeds a within-class one.

    Returns
    -------
    auc : float
        Pairs in one cell count half.
    tied : float
        Half the mass of such pairs: the most that the cells can hide.

    Examples
    --------
    >>> import numpy as np
    >>> auc_of_histograms(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    (0.75, 0.25)
    """
    if not (within.sum() > 0 and between.sum() > 0):
        raise ValueError(
            "No pair within a class, or none between classes, has a weight that is a number above "
            "0: the products of the weights of two rows underflow."
        )
    within, between = within / within.sum(), between / between.sum()
    below = np.cumsum(within) - within
    tied = float(np.sum(between * within)) / 2
    return float(np.sum(between * below)) + tied, tied


def _binned_auc(within: np.ndarray, between: np.ndarray) -> Quantity:
    auc, tied = auc_of_histograms(within, between)
    return Quantity("auc", auc, 0.0, auc - tied, auc + tied, "")


def measure_silhouette(rows: Rows, metric: str) -> Quantity:
    """Mean silhouette of the classes, one row an input; sampled evenly over classes where many.

    Means are weighted by the inputs' probabilities.

    The standard error is that of the sample, 0 where every input was used.
    """
    _check_classes(rows)
    first = np.unique(rows.inputs, return_index=True)[1]
    labels, weights = rows.required_labels()[first], rows.input_weights
    n_classes = int(labels.max()) + 1
    by_class = np.argsort(labels, kind="stable")
    limit = max(MOST_SILHOUETTE_ROWS, 2 * n_classes)
    chosen = by_class
    if len(first) > limit:
        evenly = by_class[np.linspace(0, len(by_class) - 1, limit).astype(np.int64)]
        one_each = by_class[np.flatnonzero(np.diff(labels[by_class], prepend=-1))]
        chosen = np.unique(np.concatenate([evenly, one_each]))
        chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    values = _silhouettes(rows.points[first[chosen]], labels[chosen], weights[chosen], metric)
    share = weights[chosen] / weights[chosen].sum()
    mean = float(share @ values)
    if len(chosen) == len(first):
        return Quantity.exact("silhouette", mean, "")
    n = len(values)
    stderr = float(np.sqrt(np.sum((share * (values - mean)) ** 2) * n / (n - 1)))
    return Quantity("silhouette", mean, stderr, mean - 1.96 * stderr, mean + 1.96 * stderr, "")


def _silhouettes(
    points: np.ndarray, labels: np.ndarray, weights: np.ndarray, metric: str
) -> np.ndarray:
    """(b - a) / max(a, b) of every row, sorted by label; 0 where its class has no other row."""
    coordinates = metric_coordinates(points, metric)
    if metric == "euclidean":
        coordinates, _ = _centred(coordinates)
    n = len(labels)
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    class_mass = np.add.reduceat(weights, starts)
    values = np.zeros(n)
    for part in np.array_split(np.arange(n), n * n // _BATCH + 1):
        kind = "sqeuclidean" if metric == "cosine" else "euclidean"
        distance = cdist(coordinates[part], coordinates, kind)
        to_class = np.add.reduceat(distance * weights, starts, axis=1) / class_mass
        to_class[np.arange(len(part)), labels[part]] = np.inf
        between = to_class.min(axis=1)
        same = labels[part, None] == labels
        # Summed without the row itself: subtracting its weight would lose those of lighter rows.
        same[np.arange(len(part)), part] = False
        mass = same @ weights
        within = ((distance * same) @ weights) / np.where(mass > 0, mass, 1)
        longer = np.maximum(within, between)
        known = (mass > 0) & (longer > 0)
        values[part[known]] = ((between - within)[known]) / longer[known]
    return values


def measure_nc1(rows: Rows) -> Quantity:
    """Within-class variability, trace(Sigma_W pinv(Sigma_B)) / K; infinite if all means coincide.

    Papyan, Han and Donoho, "Prevalence of neural collapse", PNAS 2020. It falls as classes collapse
    onto their means.
    """
    _check_classes(rows)
    points = np.asarray(rows.points, dtype=np.float64)
    labels = rows.required_labels()
    p = np.bincount(labels, weights=rows.weights)
    points, _ = _centred(points)
    # Without the offset the weighted mean keeps its digits too: a remainder would look like a
    # direction in which the classes differ.
    points = points - rows.weights @ points
    means = np.zeros((len(p), points.shape[1]))
    np.add.at(means, labels, points * rows.weights[:, None])
    means /= p[:, None]
    between = np.sqrt(p)[:, None] * means
    extent = np.ptp(points, axis=0).max()
    if extent == 0 or not np.abs(between).max() > 1e-12 * extent:
        return Quantity.exact("nc1", np.inf, "")
    projected = (points - means[labels]) @ np.linalg.pinv(between, rcond=1e-10)
    return Quantity.exact("nc1", float(rows.weights @ np.sum(projected**2, axis=1)) / len(p), "")
