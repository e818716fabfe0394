"""Mixtures on a line, integrated on a lattice; lengths in units of sigma."""

from __future__ import annotations

import numpy as np

from skinfo._numba import EXACT, kernel

# The trapezoidal rule at this step is exact to 1e-12 for a mixture times its own logarithm.
STEP = 0.125
# Beyond this many sigma from every row the density is below 1e-16.
REACH = 8.5
# Terms smaller than exp(-40) of the nearest row's do not count.
_SPAN = 80.0


@kernel(EXACT)
def _log_density(t, points, weights, heaviest, nearest):
    """Logarithm of sum w exp(-(t - s)^2 / 2) over sorted points; ``nearest`` is a hint."""
    n = points.shape[0]
    while nearest + 1 < n and abs(points[nearest + 1] - t) <= abs(points[nearest] - t):
        nearest += 1
    offset = points[nearest] - t
    span = _SPAN
    if weights[nearest] < heaviest:
        span += 2.0 * np.log(heaviest / weights[nearest])
    total = weights[nearest]
    i = nearest - 1
    while i >= 0:
        # A product, not a difference of squares: far away those are all rounding.
        closer = (offset - (points[i] - t)) * (offset + (points[i] - t))
        if closer < -span:
            break
        total += weights[i] * np.exp(0.5 * closer)
        i -= 1
    i = nearest + 1
    while i < n:
        closer = (offset - (points[i] - t)) * (offset + (points[i] - t))
        if closer < -span:
            break
        total += weights[i] * np.exp(0.5 * closer)
        i += 1
    return np.log(total) - 0.5 * offset * offset, nearest


@kernel(EXACT)
def integrate_line(points, weights, model_points, model_weights):
    """Return the integral of -p log q, both unnormalised by sqrt(2 pi), over the line.

    ``points`` and ``model_points`` are sorted. The densities are mixtures of unit Gaussians.
    """
    heaviest, model_heaviest = weights.max(), model_weights.max()
    integral = 0.0
    node = -np.inf
    near, model_near = 0, 0
    for i in range(points.shape[0]):
        first = np.floor((points[i] - REACH) / STEP)
        last = np.ceil((points[i] + REACH) / STEP)
        node = max(node + 1.0, first)
        while node <= last:
            t = node * STEP
            log_p, near = _log_density(t, points, weights, heaviest, near)
            log_q, model_near = _log_density(
                t, model_points, model_weights, model_heaviest, model_near
            )
            integral -= np.exp(log_p) * log_q
            node += 1.0
        node -= 1.0
    return integral * STEP / np.sqrt(2.0 * np.pi)


@kernel(EXACT)
def integrate_segments(points, weights, starts, out):
    """Fill out[g] with the integral of -p log p for the rows starts[g] … starts[g + 1]."""
    for g in range(out.shape[0]):
        part = slice(starts[g], starts[g + 1])
        out[g] = integrate_line(points[part], weights[part], points[part], weights[part])
