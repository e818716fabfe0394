"""Directions of slices: orthonormal at random, the same for one seed and one number of units."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from skinfo.noisy.sampling import N_RANDOMISATIONS

# Bases of so many units are used as a whole: then sums of squares along slices do not vary at all.
_WHOLE = 16
# Directions of more units that are orthogonal to each other.
_FEW = 4


def slices_per_block(d: int, k: int) -> int:
    """How many slices of k directions are orthogonal to each other, of a layer of d units."""
    return max(1, (d if d <= _WHOLE else max(_FEW, k)) // k)


def draw_directions(d: int, k: int, seed: int, blocks: range) -> np.ndarray:
    """Draw blocks of slices for every randomisation, (N_RANDOMISATIONS, n_slices, d, k).

    A block is uniform on the orthonormal frames of its size (Haar); it depends on its number, the
    seed, d and k alone.

    Examples
    --------
    >>> slices = draw_directions(3, 1, 0, range(2))
    >>> slices.shape, bool(np.allclose(slices[0, :3, :, 0] @ slices[0, :3, :, 0].T, np.eye(3)))
    ((16, 6, 3, 1), True)
    """
    n_slices = slices_per_block(d, k)
    frames = [
        _frame(d, n_slices * k, np.random.default_rng([seed, d, k, randomisation, block]))
        for randomisation in range(N_RANDOMISATIONS)
        for block in blocks
    ]
    shape = (N_RANDOMISATIONS, len(blocks), d, n_slices, k)
    in_slices = np.moveaxis(np.reshape(frames, shape), 3, 2)
    return in_slices.reshape(N_RANDOMISATIONS, len(blocks) * n_slices, d, k)


def _frame(d: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Orthonormal columns, uniform: of a normal matrix, each with the sign of its diagonal."""
    q, r = np.linalg.qr(rng.normal(size=(d, columns)))
    return q * np.sign(np.diag(r))


def mean_log_form(eigenvalues: np.ndarray, others: np.ndarray) -> float:
    r"""Compute E log(theta' A theta / theta' B theta) over uniform directions, to rounding.

    By the eigenvalues of A and B, (d,), positive. With g standard normal the norm of theta cancels,
    and

    .. math:: E \log g'Ag - E \log g'Bg = \int_0^\infty \frac{du}{u} \left[
        \prod_i (1 + 2 u b_i)^{-1/2} - \prod_i (1 + 2 u a_i)^{-1/2} \right]

    Examples
    --------
    >>> round(mean_log_form(np.array([4.0, 4.0]), np.ones(2)) - float(np.log(4)), 9) + 0
    0.0
    """
    scales = np.concatenate([eigenvalues, others])
    # The integrand is analytic in log u in a strip of half-width pi: the trapezoidal rule is exact.
    step = 0.25
    first, last = -40.0 - np.log(len(scales) * scales.max()), 82.0 - np.log(scales.min())
    u = np.exp(np.arange(first, last, step))
    products = []
    for values in (others, eigenvalues):
        logs = np.zeros_like(u)
        for value in values:
            logs += np.log1p(2 * u * value)
        products.append(np.exp(-0.5 * logs))
    return float(step * np.sum(products[0] - products[1]))


def telling_directions(
    points: np.ndarray, weights: np.ndarray, labels: np.ndarray | None, most: int
) -> np.ndarray:
    """Principal and discriminant directions of rows in units of the noise, (d, n).

    The discriminant ones have the largest variance between classes relative to that of T within.
    """
    if not points.shape[1]:
        return np.empty((0, 0))
    weights = weights / weights.sum()
    centred = points - weights @ points
    whole = (centred * weights[:, None]).T @ centred
    d = len(whole)
    _, principal = eigh(whole, subset_by_index=(max(0, d - most), d - 1))
    if labels is None:
        return principal
    mass = np.bincount(labels, weights=weights)
    means = np.array([np.bincount(labels, weights * unit, len(mass)) for unit in centred.T])
    between = (means / np.where(mass > 0, mass, 1.0)) @ means.T
    n = min(most, d, max(1, int(np.count_nonzero(mass)) - 1))
    within = whole - between + np.eye(d)
    _, discriminant = eigh(between, within, subset_by_index=(d - n, d - 1))
    discriminant /= np.linalg.norm(discriminant, axis=0)
    return np.column_stack([principal, discriminant])
