"""Data sets of the field that are made by a formula."""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.utils import check_random_state

# The icosahedron: the neighbours of each vertex, and the pairs of opposite vertices. Bit 0 is the
# most significant bit of the row number.
_NEIGHBOURS = (
    (1, 3, 5, 10, 11),
    (0, 2, 3, 4, 11),
    (1, 3, 4, 8, 9),
    (0, 1, 2, 8, 10),
    (1, 2, 6, 9, 11),
    (0, 6, 7, 10, 11),
    (4, 5, 7, 9, 11),
    (5, 6, 8, 9, 10),
    (2, 3, 7, 9, 10),
    (2, 4, 6, 7, 8),
    (0, 3, 5, 7, 8),
    (0, 1, 4, 5, 6),
)
_ANTIPODES = ((0, 9), (1, 7), (2, 5), (3, 6), (4, 10), (8, 11))


def make_szt() -> tuple[np.ndarray, np.ndarray]:
    """Make the 4,096 inputs and labels of the Shwartz-Ziv & Tishby task.

    The 12 bits of an input sit on the vertices of an icosahedron. With n bits on, N1 adjacent
    pairs and N3 antipodal pairs both on, the label is 1 iff ``30 n - 3 n^2 + 8 N1 - 4 N3 >= 120``.
    The rule reproduces the labels of the task and is invariant under the icosahedron's 120
    symmetries; the copyrighted data file is not needed.

    Returns
    -------
    X : ndarray of shape (4096, 12), float64
        Row i is the binary form of i, most significant bit first.
    y : ndarray of shape (4096,), int64
        The label, 0 or 1; 2,118 are 1, so H(Y) = 0.692563 nat.

    References
    ----------
    Shwartz-Ziv and Tishby, "Opening the Black Box of Deep Neural Networks via Information",
    arXiv 1703.00810.

    Examples
    --------
    >>> from skinfo.datasets import make_szt
    >>> X, y = make_szt()
    >>> X.shape, int(y.sum())
    ((4096, 12), 2118)
    """
    bits = (np.arange(4096)[:, None] >> np.arange(11, -1, -1)) & 1
    adjacency = np.zeros((12, 12), dtype=np.int64)
    for vertex, neighbours in enumerate(_NEIGHBOURS):
        adjacency[vertex, list(neighbours)] = 1
    n_on = bits.sum(axis=1)
    n_adjacent = np.einsum("ni,ij,nj->n", bits, adjacency, bits) // 2
    n_antipodal = sum(bits[:, i] * bits[:, j] for i, j in _ANTIPODES)
    y = 30 * n_on - 3 * n_on**2 + 8 * n_adjacent - 4 * n_antipodal >= 120
    return bits.astype(np.float64), y.astype(np.int64)


def make_spiral(
    n_samples: int = 300,
    *,
    n_classes: int = 3,
    noise: float = 0.02,
    turns: float = 0.75,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make interleaved two-dimensional spirals, one arm per class.

    Parameters
    ----------
    n_samples : int, default=300
        Number of points, spread over the arms as evenly as possible.
    n_classes : int, default=3
        Number of arms.
    noise : float, default=0.02
        Standard deviation of the Gaussian jitter added to both coordinates; arms have radius 1.
    turns : float, default=0.75
        Full turns of an arm.
    random_state : int, RandomState instance or None, default=None
        Seed of the positions along the arms and of the jitter.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        The points.
    y : ndarray of shape (n_samples,), int64
        The arm of each point.

    Raises
    ------
    ValueError
        If there are fewer samples than classes, or the noise is negative.

    Examples
    --------
    >>> from skinfo.datasets import make_spiral
    >>> X, y = make_spiral(6, noise=0.0, random_state=0)
    >>> X.shape, y.tolist()
    ((6, 2), [0, 1, 2, 0, 1, 2])
    """
    if n_classes < 1 or n_samples < n_classes:
        raise ValueError(
            f"make_spiral needs at least one sample per class; got n_samples={n_samples}, "
            f"n_classes={n_classes}."
        )
    if noise < 0:
        raise ValueError(f"noise is a standard deviation and must be >= 0; got {noise}.")
    rng = check_random_state(random_state)
    y = np.arange(n_samples) % n_classes
    radius = np.sqrt(rng.uniform(0.01, 1.0, size=n_samples))
    angle = 2 * np.pi * (y / n_classes + turns * radius)
    X = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return X + noise * rng.standard_normal(X.shape), y


def make_constellation(
    kind: Literal["pam", "psk", "qam"] = "qam", n_points: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """Make the points of a digital modulation, scaled to unit mean power.

    A hidden layer with noise is a constellation sent over a Gaussian channel, so these are known
    cases to test an estimator on.

    Parameters
    ----------
    kind : {"pam", "psk", "qam"}, default="qam"
        Equidistant points on a line, points on the unit circle, or a square grid.
    n_points : int, default=16
        Number of points, at least 2; a perfect square for "qam".

    Returns
    -------
    X : ndarray of shape (n_points, 1) for "pam", (n_points, 2) otherwise
        The points; the mean of their squared norms is 1.
    y : ndarray of shape (n_points,), int64
        The number of each point.

    Raises
    ------
    ValueError
        For an unknown kind, fewer than two points, or a "qam" whose number of points is not a
        perfect square.

    Examples
    --------
    >>> from skinfo.datasets import make_constellation
    >>> make_constellation("pam", 2)[0].ravel().tolist()
    [-1.0, 1.0]
    """
    if n_points < 2:
        raise ValueError(f"A constellation has at least 2 points; got n_points={n_points}.")
    if kind == "pam":
        X = np.arange(n_points, dtype=np.float64)[:, None]
    elif kind == "psk":
        angle = 2 * np.pi * np.arange(n_points) / n_points
        X = np.column_stack([np.cos(angle), np.sin(angle)])
    elif kind == "qam":
        side = round(n_points**0.5)
        if side * side != n_points:
            raise ValueError(f"A square grid needs a perfect square; got n_points={n_points}.")
        grid = np.arange(side, dtype=np.float64)
        X = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    else:
        raise ValueError(f"kind is 'pam', 'psk' or 'qam'; got {kind!r}.")
    X = X - X.mean(axis=0)
    return X / np.sqrt(np.mean(np.sum(X**2, axis=1))), np.arange(n_points)
