"""Two mistakes in published estimates of the information in Gaussian dropout, made on purpose."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

#: What a unit that is exactly zero was counted as.
FLOOR = 1e-6


def dropout_information(
    S: np.ndarray,
    sigma: float,
    *,
    covariance: bool = False,
    floor: bool = False,
    n_draws: int = 4,
    random_state: int = 0,
) -> float:
    r"""I(X;T) of a layer with T = S (1 + sigma Z), one row per input, with or without mistakes.

    .. math:: h(T) - h(T|X) = -E \log g(t) - E \sum_k \log(\sigma |s_k| \sqrt{2 \pi e})

    with g the mixture of N(s, diag(sigma^2 s^2)) over the rows, at plain random draws.

    Parameters
    ----------
    S : ndarray of shape (n_inputs, n_units)
        Activations before the noise.
    sigma : float
        Standard deviation of the noise at an activation of 1.
    covariance : bool, default=False
        The first mistake: the mixture has variances sigma |s| instead of sigma^2 s^2. For one
        input, whose information is 0, that gives (u - 1 - log u) / 2 per unit with u = sigma |s|.
    floor : bool, default=False
        The second: h(T|X) counts a unit that is exactly zero, and has no noise, as one of 1e-6.
        That adds -log(1e-6 sigma sqrt(2 pi e)) for each of them.
    n_draws : int, default=4
        Draws of T for each row.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    float
        In nats. Without the mistakes it is right: rows that are zero in different units are told
        apart for certain, and a unit that is zero has a mass and no density.

    References
    ----------
    Adilova, Geiger and Fischer, "Information Plane Analysis for Dropout Neural Networks", ICLR
    2023; the mistakes are those of the code published with it.
    """
    rng = np.random.default_rng(random_state)
    _, pattern = np.unique(S != 0, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    total = 0.0
    for members in np.split(np.argsort(pattern), np.cumsum(np.bincount(pattern))[:-1]):
        centres = S[members][:, S[members[0]] != 0]
        size = np.abs(centres)
        Z = rng.standard_normal((n_draws, *centres.shape))
        T = (centres + sigma * size * Z).reshape(n_draws * len(centres), centres.shape[1])
        variances = sigma * size if covariance else (sigma * size) ** 2
        own = -0.5 * (Z**2).sum(axis=2) - np.log(sigma * size).sum(axis=1)
        of_all = (
            T @ (centres / variances).T
            - T**2 @ (0.5 / variances).T
            - 0.5 * (centres**2 / variances + np.log(variances)).sum(axis=1)
        )
        total += (own.ravel() - logsumexp(of_all, axis=1)).sum() / n_draws
    n_zeros = (S == 0).sum() if floor else 0
    total -= n_zeros * np.log(FLOOR * sigma * np.sqrt(2 * np.pi * np.e))
    return float(total / len(S) + np.log(len(S)))
