"""Mixtures whose rows lie on a line: their entropies by quadrature."""

from __future__ import annotations

import numpy as np

from skinfo.noisy.kernels.line import integrate_line, integrate_segments


def line_cross_entropy(
    points: np.ndarray, weights: np.ndarray, model: np.ndarray, model_weights: np.ndarray
) -> float:
    """Compute E[-log q(t)] + log phi's share: the cross-information of two mixtures on a line.

    Parameters
    ----------
    points, model : ndarray of shape (n,) and (m,)
        Rows of the law drawn from and of the law evaluated, in units of sigma.
    weights, model_weights : ndarray of shape (n,) and (m,)
        Their probabilities.

    Returns
    -------
    float
        E log phi(Z) / q(s + Z) in nats. With both laws the same it is I(S; S + Z), to 1e-10;
        between far rows of another model its logarithm has a bend, which costs up to 2e-5 of the
        value.
    """
    order, model_order = np.argsort(points), np.argsort(model)
    integral = integrate_line(
        np.asarray(points, dtype=np.float64)[order],
        weights[order],
        np.asarray(model, dtype=np.float64)[model_order],
        model_weights[model_order],
    )
    return float(integral) - 0.5


def line_information(points: np.ndarray, weights: np.ndarray, parts: np.ndarray) -> float:
    """Compute the mean over parts of I(S; S + Z) within each part, in nats.

    Parameters
    ----------
    points, weights : ndarray of shape (n,)
        Rows on a line in units of sigma, and their probabilities.
    parts : ndarray of shape (n,), int
        The input or the label of each row, 0, 1, ….
    """
    order = np.lexsort((points, parts))
    mass = np.bincount(parts, weights=weights)
    starts = np.searchsorted(parts[order], np.arange(len(mass) + 1))
    integrals = np.empty(len(mass))
    integrate_segments(
        np.asarray(points, dtype=np.float64)[order],
        (weights / mass[parts])[order],
        starts,
        integrals,
    )
    return float(mass @ (integrals - 0.5))
