"""Rows of activations with what is known of each: its weight, its input, its label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Weights below this share of the largest are zero.
_LIGHTEST = 1e-300


@dataclass(frozen=True)
class Rows:
    """Checked activations, ready to be measured.

    Attributes
    ----------
    points : ndarray of shape (n, d)
        Activations before this layer's own noise.
    weights : ndarray of shape (n,)
        Probability of each row, p(x) / r_x; positive, sums to 1.
    inputs : ndarray of shape (n,), int64
        The input of each row, 0 … n_inputs - 1; rows of one input are its replicas.
    labels : ndarray of shape (n,), int64, or None
        The label of each row's input, 0 … n_labels - 1.
    """

    points: np.ndarray
    weights: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray | None = None

    @classmethod
    def make(
        cls,
        points: np.ndarray,
        *,
        groups: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        input_weights: np.ndarray | None = None,
    ) -> Rows:
        """Build rows from arrays of any codes; rows of weight zero are dropped.

        ``input_weights`` holds the unnormalised p(x) of each row's input, equal within a group. A
        weight below 1e-300 of the largest is zero: as a probability it would underflow.
        """
        n = len(points)
        mass = np.ones(n) if input_weights is None else np.asarray(input_weights, dtype=np.float64)
        keep = counted(mass)
        mass = mass / mass.max()
        if not keep.all():
            points, mass = points[keep], mass[keep]
            groups = None if groups is None else groups[keep]
            labels = None if labels is None else labels[keep]
        inputs, counts = np.arange(len(points)), np.ones(len(points), dtype=np.int64)
        if groups is not None:
            _, inputs, counts = np.unique(groups, return_inverse=True, return_counts=True)
        weights = mass / counts[inputs]
        codes = None if labels is None else np.unique(labels, return_inverse=True)[1]
        return cls(points, weights / weights.sum(), inputs.astype(np.int64), codes)

    @cached_property
    def input_weights(self) -> np.ndarray:
        """p(x) of every input."""
        return np.bincount(self.inputs, weights=self.weights)

    @cached_property
    def replicas(self) -> np.ndarray:
        """Number of rows of every input."""
        return np.bincount(self.inputs)

    @cached_property
    def first_rows(self) -> np.ndarray:
        """The first row of every input."""
        return np.unique(self.inputs, return_index=True)[1]

    @cached_property
    def replica_numbers(self) -> np.ndarray:
        """Position of each row among those of its input, in the order they stand."""
        order = np.argsort(self.inputs, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.replicas)])[:-1]
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.arange(len(order)) - starts[self.inputs[order]]
        return numbers

    @cached_property
    def label_weights(self) -> np.ndarray | None:
        """p(y) of every label."""
        return None if self.labels is None else np.bincount(self.labels, weights=self.weights)

    def required_labels(self) -> np.ndarray:
        """The labels, for measures that make no sense without."""
        if self.labels is None:
            raise ValueError("This measure needs the label of each row.")
        return self.labels

    @property
    def has_replicas(self) -> bool:
        """Whether some input has more than one row."""
        return bool(len(self.replicas) < len(self.points))

    @cached_property
    def input_entropy(self) -> float:
        """H(p) of the inputs in nats: no layer can know more about one of them."""
        return discrete_entropy(self.input_weights)

    @cached_property
    def label_entropy(self) -> float:
        """H(Y) in nats; 0 without labels."""
        return 0.0 if self.label_weights is None else discrete_entropy(self.label_weights)

    @cached_property
    def mean(self) -> np.ndarray:
        """The weighted mean of the rows."""
        return self.weights @ self.points

    def moved_to(self, points: np.ndarray) -> Rows:
        """Give the same rows other coordinates."""
        return Rows(points, self.weights, self.inputs, self.labels)


def counted(weights: np.ndarray) -> np.ndarray:
    """Tell the weights that count from those that are zero beside the largest.

    Examples
    --------
    >>> import numpy as np
    >>> counted(np.array([1.0, 0.0, 1e-301])).tolist()
    [True, False, False]
    """
    return weights / weights.max() > _LIGHTEST


def discrete_entropy(probabilities: np.ndarray) -> float:
    """Entropy in nats of a finite law, -sum p log p.

    Examples
    --------
    >>> import numpy as np
    >>> round(discrete_entropy(np.array([0.25, 0.75])), 6)
    0.562335
    """
    p = probabilities[probabilities > 0]
    entropy = float(-np.sum(p * np.log(p)))
    return entropy if entropy > 1e-14 else 0.0
