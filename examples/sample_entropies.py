r"""
Entropies from samples alone
============================

What is used where the noise of a layer is not known, or not used: a differential entropy from
samples of T. Other examples hold these against the estimator that knows the noise.

The entropy from nearest neighbours is ten lines. With :math:`r_i` the distance of a sample to its
k-th neighbour and :math:`c_d` the volume of the unit ball, it is
:math:`\psi(n) - \psi(k) + \log c_d + \frac dn \sum_i \log r_i` (Kozachenko and Leonenko, *Sample
estimate of the entropy of a random vector*, Problems of Information Transmission, 1987).

The kernel density gets every help short of knowing the noise: each sample is left out of its own
density, and the bandwidth is the best of twelve by the likelihood of 256 samples. As its entropy is
too large in expectation whatever the bandwidth, the smallest one is also the best.
"""

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma, gammaln


def knn_entropy(T: np.ndarray, k: int = 3) -> float:
    """Differential entropy of samples by Kozachenko and Leonenko, in nats."""
    n, d = T.shape
    distance = cKDTree(T).query(T, k + 1)[0][:, -1]
    log_ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    return float(digamma(n) - digamma(k) + log_ball + d * np.log(distance).mean())


def kde_entropy(T: np.ndarray, *, most: int = 2048) -> float:
    """Differential entropy of samples by a kernel density, at ``most`` of them, in nats."""
    n, n_used = len(T), min(len(T), most)
    widths = np.geomspace(0.01, 1, 12) * T.std()
    best = widths[np.argmin(_cross_entropies(T, np.arange(min(n, 256)), widths))]
    parts = np.array_split(np.arange(n_used), -(-n_used // 256))
    values = [_cross_entropies(T, part, np.array([best]))[0] for part in parts]
    return float(np.average(values, weights=[len(part) for part in parts]))


def _cross_entropies(T: np.ndarray, rows: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Minus the mean log density at some samples, each left out of it, for every bandwidth."""
    n, d = T.shape
    square = cdist(T[rows], T, "sqeuclidean")
    square[np.arange(len(rows)), rows] = np.inf
    nearest = square.min(axis=1)
    square -= nearest[:, None]
    sums = np.array([np.exp(square / (-2 * h**2)).sum(axis=1) for h in widths])
    logs = np.log(sums) - nearest / (2 * widths[:, None] ** 2)
    return np.log(n - 1) + d / 2 * np.log(2 * np.pi * widths**2) - logs.mean(axis=1)
