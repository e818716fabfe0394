"""Mixtures on a line: on a lattice, in units of sigma; in panels where deviations differ."""

from __future__ import annotations

import numpy as np

from skinfo._numba import EXACT, FAST, NO_NAN, inner_kernel, kernel
from skinfo.noisy.kernels.blocks import exp2

# The trapezoidal rule at this step is exact to 1e-12 for a mixture times its own logarithm.
STEP = 0.125
# Beyond this many sigma from every row the density is below 1e-16.
REACH = 8.5
# Terms smaller than exp(-40) of the nearest row's do not count.
_SPAN = 80.0

# Panels are so long, in deviations of the narrowest component there, and have so many nodes: with
# these the quadrature of Gauss and Legendre is exact to 1e-12.
_PANEL = 0.8
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)
# A panel is halved unless its halves add up to it, as far as this share of a deviation.
_SMOOTH, _SHORTEST = 1e-12, 1e-6
_LOG2_E = np.log2(np.e)
#: So many terms, or looks at a component, take about a second.
MOST_LOOKS = 2e8


@inner_kernel(EXACT)
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

    ``points`` and ``model_points`` are sorted. The densities are mixtures of unit Gaussians; q is p
    where there are no model points.
    """
    heaviest, model_heaviest = weights.max(), 0.0
    own = model_points.shape[0] == 0
    if not own:
        model_heaviest = model_weights.max()
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
            log_q = log_p
            if not own:
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
        out[g] = integrate_line(points[part], weights[part], points[:0], weights[:0])


@kernel(EXACT)
def integrate_other_segments(
    points, weights, starts, model_points, model_weights, model_starts, out
):  # fmt: skip
    """Fill out[g] with the integral of -p log q for rows and model rows of part g; inf of none."""
    for g in range(out.shape[0]):
        part = slice(starts[g], starts[g + 1])
        model = slice(model_starts[g], model_starts[g + 1])
        out[g] = np.inf
        if starts[g] == starts[g + 1]:
            out[g] = 0.0
        elif model_starts[g] < model_starts[g + 1]:
            out[g] = integrate_line(
                points[part], weights[part], model_points[model], model_weights[model]
            )


@inner_kernel(EXACT)
def _narrowest(points, deviations, n_drawn, anchor, offset):
    """The component of the smallest deviation that reaches a place; -1 if none drawn does.

    The place is ``offset`` from the point ``anchor``: where points are large and deviations small,
    only differences of points have digits enough.
    """
    drawn = False
    narrowest = -1
    for j in range(points.shape[0]):
        own = offset + (points[anchor] - points[j])
        if -REACH * deviations[j] <= own < REACH * deviations[j]:
            drawn = drawn or j < n_drawn
            if narrowest < 0 or deviations[j] < deviations[narrowest]:
                narrowest = j
    return narrowest if drawn else -1


@inner_kernel(EXACT)
def _next_to_begin(points, deviations, widest, anchor, offset):
    """The component, below a deviation, whose reach begins next, and where; -1 and inf for none."""
    following, beginning = -1, np.inf
    for j in range(points.shape[0]):
        own = offset + (points[anchor] - points[j])
        begins = (points[j] - points[anchor]) - REACH * deviations[j]
        if own < -REACH * deviations[j] and deviations[j] < widest and begins < beginning:
            following, beginning = j, begins
    return following, beginning


@inner_kernel(NO_NAN, inline=True)
def _largest(work, n):
    largest = -np.inf
    for k in range(n):
        largest = max(largest, work[3, k])
    return largest


@inner_kernel(FAST, inline=True)
def _log_sum(work, n):
    """Logarithm of the sum of exp(x) over the first n of the last row."""
    largest = _largest(work, n)
    total = 0.0
    for k in range(n):
        total += exp2((work[3, k] - largest) * _LOG2_E)
    return largest + np.log(total)


@inner_kernel(EXACT)
def _log_densities(points, deviations, constants, middle, start, step, work, out):
    """Logarithms of sum exp(constant - z^2 / 2) at a panel's nodes; return the looks it took.

    The panel begins ``start`` after the place ``middle``; ``work`` has room for every component.
    """
    highest = -np.inf
    for j in range(points.shape[0]):
        low = start + (middle - points[j])
        farthest = max(abs(low), abs(low + step)) / deviations[j]
        highest = max(highest, constants[j] - 0.5 * farthest * farthest)
    n = 0
    for j in range(points.shape[0]):
        low = start + (middle - points[j])
        nearest = max(max(low, -low - step), 0.0) / deviations[j]
        if constants[j] - 0.5 * nearest * nearest >= highest - 0.5 * _SPAN:
            work[0, n], work[1, n], work[2, n] = low, deviations[j], constants[j]
            n += 1
    for node in range(_NODES.shape[0]):
        t = 0.5 * (_NODES[node] + 1.0) * step
        for k in range(n):
            z = (work[0, k] + t) / work[1, k]
            work[3, k] = work[2, k] - 0.5 * z * z
        out[node] = _log_sum(work, n)
    return 2.0 * points.shape[0] + _NODES.shape[0] * n


@inner_kernel(EXACT)
def _integrate_panel(points, deviations, constants, n_drawn, anchor, start, step, work, logs):
    """The integral of -p log q over a panel, unnormalised by sqrt(2 pi), and the looks it took."""
    middle, n = points[anchor], points.shape[0]
    looks = _log_densities(
        points[:n_drawn], deviations[:n_drawn], constants[:n_drawn],
        middle, start, step, work, logs[0],
    )  # fmt: skip
    model = logs[0]
    if n_drawn < n:
        model = logs[1]
        looks += _log_densities(
            points[n_drawn:], deviations[n_drawn:], constants[n_drawn:],
            middle, start, step, work, model,
        )  # fmt: skip
    integral = 0.0
    for node in range(_NODES.shape[0]):
        integral -= 0.5 * step * _NODE_WEIGHTS[node] * np.exp(logs[0, node]) * model[node]
    return integral, looks


@kernel(EXACT)
def integrate_unequal(points, deviations, weights, n_drawn, looks=MOST_LOOKS):
    """Return the integral of -p log q, both unnormalised by sqrt(2 pi), over the line.

    p is the mixture of the first ``n_drawn`` Gaussians, q that of the others, or p itself where
    there are no others. Far from its rows log q has bends, and panels there are halved until it is
    smooth. NaN where all that takes more than so many looks; then those that are left.
    """
    n = points.shape[0]
    constants = np.log(weights) - np.log(deviations)
    work, logs = np.empty((4, n)), np.empty((2, _NODES.shape[0]))
    total = 0.0
    anchor, offset = 0, -np.inf  # left of everything
    while looks > 0.0:
        looks -= 2.0 * n
        narrowest = _narrowest(points, deviations, n_drawn, anchor, offset)
        if narrowest < 0:
            following = _next_to_begin(
                points[:n_drawn], deviations[:n_drawn], np.inf, anchor, offset
            )[0]
            if following < 0:
                return total / np.sqrt(2.0 * np.pi), looks
            anchor, offset = following, -REACH * deviations[following]
            continue
        offset += points[anchor] - points[narrowest]
        anchor = narrowest
        longest = _PANEL * deviations[anchor]
        following, beginning = _next_to_begin(points, deviations, longest, anchor, offset)
        end = min(min(offset + longest, REACH * deviations[anchor]), beginning)
        while offset < end and looks > 0.0:
            step = end - offset
            value, spent = _integrate_panel(
                points, deviations, constants, n_drawn, anchor, offset, step, work, logs
            )
            looks -= spent
            while n_drawn < n and step > _SHORTEST * deviations[anchor]:
                step *= 0.5
                first, spent = _integrate_panel(
                    points, deviations, constants, n_drawn, anchor, offset, step, work, logs
                )
                second, more = _integrate_panel(
                    points, deviations, constants, n_drawn, anchor, offset + step, step, work, logs
                )
                looks -= spent + more
                if abs(first + second - value) <= _SMOOTH * max(1.0, abs(value)):
                    step *= 2.0
                    break
                value = first
            total += value
            offset = end if offset + step >= end else offset + step
        if beginning <= end:
            anchor, offset = following, -REACH * deviations[following]
    return np.nan, looks


@kernel(EXACT)
def integrate_unequal_segments(points, deviations, weights, starts, out):
    """Fill out[g] with the integral of -p log p for the rows starts[g] … starts[g + 1].

    NaN for those that come after the looks are spent.
    """
    looks = MOST_LOOKS
    for g in range(out.shape[0]):
        part = slice(starts[g], starts[g + 1])
        n = starts[g + 1] - starts[g]
        out[g], looks = integrate_unequal(points[part], deviations[part], weights[part], n, looks)
