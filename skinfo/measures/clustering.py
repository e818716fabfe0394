"""How activations cluster by class: pairwise distances within and between classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.metrics import silhouette_samples

from skinfo.kernels.distances import add_pair_distances
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows

#: Cells of the distance histograms.
N_CELLS = 4096
# Distances beyond this have no square in double precision.
_LARGEST = 1e150
#: Up to so many pairs all distances are ranked; beyond, the AUC comes from the histograms.
MOST_RANKED_PAIRS = 1_000_000
#: Rows that the silhouette is computed from, at most (or two a class).
MOST_SILHOUETTE_ROWS = 2048


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
    norms = np.linalg.norm(points, axis=1)
    zero = norms == 0
    unit = points / np.where(zero, 1, norms)[:, None]
    return np.column_stack([unit, zero.astype(np.float64)])


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
    labels = rows.required_labels()
    if labels.max() == 0:
        raise ValueError("Distances between classes need at least two classes in y; got one class.")
    inputs_of_label = np.bincount(labels[np.unique(rows.inputs, return_index=True)[1]])
    if inputs_of_label.max() < 2:
        raise ValueError(
            "Distances within classes need a class with at least two inputs; every class in y "
            "has one."
        )
    coordinates = metric_coordinates(rows.points, metric)
    largest = np.abs(coordinates).max()
    if largest > _LARGEST:
        raise ValueError(
            f"The activations are too large: they reach {largest:.3g}, and the squares of their "
            "distances overflow. Scale them first."
        )
    edges = distance_edges(coordinates, metric)
    counts = rows.weights * len(rows.weights)
    within, between = np.zeros(N_CELLS + 1), np.zeros(N_CELLS + 1)
    # Subtracting the mean keeps the digits of activations that sit far from the origin.
    centred = coordinates - (coordinates.mean(axis=0) if metric == "euclidean" else 0)
    add_pair_distances(
        np.ascontiguousarray(centred.T), counts, labels, rows.inputs,
        N_CELLS / edges[-1], metric == "cosine", within, between,
    )  # fmt: skip
    if len(counts) * (len(counts) - 1) // 2 <= MOST_RANKED_PAIRS:
        auc = _ranked_auc(centred, counts, rows, metric)
    else:
        auc = _binned_auc(within, between)
    for histogram in (within, between):
        histogram[-2] += histogram[-1]
    return Distances(edges, within[:-1], between[:-1], auc)


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
    mass = within.sum() * between.sum()
    below = np.cumsum(within) - within
    tied = float(np.sum(between * within) / mass) / 2
    return float(np.sum(between * below) / mass) + tied, tied


def _binned_auc(within: np.ndarray, between: np.ndarray) -> Quantity:
    auc, tied = auc_of_histograms(within, between)
    return Quantity("auc", auc, 0.0, auc - tied, auc + tied, "")


def measure_silhouette(rows: Rows, metric: str) -> Quantity:
    """Mean silhouette of the classes, one row an input; sampled evenly over classes where many.

    The standard error is that of the sample, 0 where every input was used.
    """
    first = np.unique(rows.inputs, return_index=True)[1]
    labels = rows.required_labels()[first]
    n_classes = int(labels.max()) + 1
    by_class = np.argsort(labels, kind="stable")
    limit = max(MOST_SILHOUETTE_ROWS, 2 * n_classes)
    chosen = by_class
    if len(first) > limit:
        evenly = by_class[np.linspace(0, len(by_class) - 1, limit).astype(np.int64)]
        chosen = np.union1d(evenly, np.unique(labels, return_index=True)[1])
    values = silhouette_samples(
        rows.points[first[chosen]].astype(np.float64), labels[chosen], metric=metric
    )
    mean = float(values.mean())
    if len(chosen) == len(first):
        return Quantity.exact("silhouette", mean, "")
    stderr = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Quantity("silhouette", mean, stderr, mean - 1.96 * stderr, mean + 1.96 * stderr, "")


def measure_nc1(rows: Rows) -> Quantity:
    """Within-class variability, trace(Sigma_W pinv(Sigma_B)) / K; infinite if all means coincide.

    Papyan, Han and Donoho, "Prevalence of neural collapse", PNAS 2020. It falls as classes collapse
    onto their means.
    """
    points = np.asarray(rows.points, dtype=np.float64)
    labels = rows.required_labels()
    p = np.bincount(labels, weights=rows.weights)
    points = points - rows.weights @ points
    means = np.zeros((len(p), points.shape[1]))
    np.add.at(means, labels, points * rows.weights[:, None])
    means /= p[:, None]
    between = np.sqrt(p)[:, None] * means
    largest = np.abs(points).max()
    if not np.abs(between).max() > 1e-12 * largest:
        return Quantity.exact("nc1", np.inf, "")
    projected = (points - means[labels]) @ np.linalg.pinv(between, rcond=1e-10)
    return Quantity.exact("nc1", float(rows.weights @ np.sum(projected**2, axis=1)) / len(p), "")
