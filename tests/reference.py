"""Slow, obvious versions of what skinfo computes fast: loops over rows, one draw at a time."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from scipy.integrate import quad
from scipy.special import logsumexp


def log_terms(points, weights, row, noise, sigma):
    """log of w_j N(t; s_j, sigma_j) / N(t; s_row, sigma_row) for all j, at t = s_row + sigma_row Z.

    ``sigma`` is a number, or one per row and unit.
    """
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.longdouble), points.shape)
    t = points[row] + sigma[row] * noise
    logs = -(((t - points) / sigma) ** 2).sum(axis=1) / 2 - np.log(sigma).sum(axis=1)
    own = -(noise**2).sum() / 2 - np.log(sigma[row]).sum()
    return (np.log(weights) + logs - own).astype(float)


def disjoint_sums(points, weights, inputs, labels, row, noise, sigma, keep=None):
    """Natural logarithms of own, rest of the input, rest of the label, others, at one draw."""
    terms = log_terms(points, weights, row, noise, sigma)
    j = np.arange(len(points))
    keep = np.ones(len(points), dtype=bool) if keep is None else keep
    same_input = inputs == inputs[row]
    same_label = np.zeros(len(points), dtype=bool) if labels is None else labels == labels[row]

    def total(mask):
        chosen = terms[mask & keep]
        return logsumexp(chosen) if len(chosen) else -np.inf

    return (
        terms[row],
        total(same_input & (j != row)),
        total(same_label & ~same_input),
        total(~same_label & ~same_input),
    )


def contributions(points, weights, inputs, labels, row, noise, sigma):
    """log g_x / g, log g_y / g, -log g, -log g_x at one draw, relative to the noise's density."""
    terms = log_terms(points, weights, row, noise, sigma)
    total = logsumexp(terms)
    of_input = logsumexp(terms[inputs == inputs[row]]) - np.log(
        weights[inputs == inputs[row]].sum()
    )
    mask = np.ones(len(points), dtype=bool) if labels is None else labels == labels[row]
    of_label = logsumexp(terms[mask]) - np.log(weights[mask].sum())
    return of_input - total, of_label - total, -total, -of_input


def scatter_of(points):
    """Number of degrees of freedom, and sum of outer products of rows less their mean."""
    centred = points - points.mean(axis=0)
    return len(points) - 1, centred.T @ centred


def gaussian_without_row(points, inputs, row, sigma, strength=0.0):
    """Mean and covariance (with the noise's) of T given the other rows of a row's input.

    The covariance within the other inputs counts for so many rows; the mean has its own error.
    """
    others = points[(inputs == inputs[row]) & (np.arange(len(points)) != row)]
    freedom, scatter = scatter_of(others)
    rest = [scatter_of(points[inputs == x]) for x in np.unique(inputs) if x != inputs[row]]
    known = sum(f for f, _ in rest)
    if known and strength:
        scatter = scatter + strength * sum(s for _, s in rest) / known
        freedom += strength
    covariance = scatter / max(freedom, 1) * (1 + 1 / len(others))
    return others.mean(axis=0), covariance + sigma**2 * np.eye(points.shape[1])


def shrunk_gaussians(points, inputs, p, strength):
    """Means and covariances of T given each input of probability p, in units of sigma.

    The covariance within all inputs counts for so many rows; means are those of their normal
    posterior, given that means of inputs are normal, with its variance, but for 1e-3 of noise.
    """
    n, d = len(p), points.shape[1]
    rows = [points[inputs == x] for x in range(n)]
    parts = [scatter_of(part) for part in rows]
    pooled = sum(s for _, s in parts) / max(sum(f for f, _ in parts), 1)
    raw = np.array([part.mean(axis=0) for part in rows])
    share = p / p.sum()
    centre = share @ raw
    between = sum(
        share[x] * np.outer(raw[x] - centre, raw[x] - centre) / max(1 - share @ share, 1e-3)
        - share[x] * pooled / len(rows[x])
        for x in range(n)
    )
    values, vectors = np.linalg.eigh(between)
    between = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
    means, covariances = [], []
    for x in range(n):
        error = pooled / len(rows[x])
        gain = between @ np.linalg.inv(between + error + 1e-3 * np.eye(d))
        freedom, scatter = parts[x]
        own = (scatter + strength * pooled) / max(freedom + strength, 1)
        means.append(centre + gain @ (raw[x] - centre))
        covariances.append(own + (gain @ error + error @ gain.T) / 2 + np.eye(d))
    return means, covariances


def cross_entropy(point, mean, covariance, sigma):
    """-E log N(s + sigma Z; mean, covariance) in nats."""
    inverse = np.linalg.inv(covariance)
    shift = point - mean
    return 0.5 * (
        np.linalg.slogdet(2 * np.pi * covariance)[1]
        + shift @ inverse @ shift
        + sigma**2 * np.trace(inverse)
    )


def discrete_entropy(rows, weights=None):
    """Entropy of the law of rows, counted in a dict."""
    weights = np.full(len(rows), 1 / len(rows)) if weights is None else weights
    counts = {}
    for row, weight in zip(map(tuple, np.atleast_2d(rows)), weights, strict=True):
        counts[row] = counts.get(row, 0.0) + weight
    p = np.array(list(counts.values()))
    return float(-(p * np.log(p)).sum())


def miller_madow(rows):
    """Entropy of the law of rows and the first term of its bias, (m - 1) / (2 n)."""
    rows = [tuple(row) for row in np.atleast_2d(rows)]
    return discrete_entropy(rows) + (len(set(rows)) - 1) / (2 * len(rows))


def cells_between(points, unit_edges):
    """Cell of every value by trying all edges; outside values count in the outer cells."""
    cells = np.empty(points.shape, dtype=int)
    for row, unit in np.ndindex(points.shape):
        edges = unit_edges[unit]
        passed = sum(points[row, unit] >= edge for edge in edges)
        cells[row, unit] = min(max(passed - 1, 0), len(edges) - 2)
    return cells


def first_rows(cells):
    """The first row in the same cell, for every row."""
    rows = [tuple(row) for row in cells]
    return [rows.index(row) for row in rows]


def log_density(queries, points, weights, sigma):
    """log g at every query: all rows, one query at a time."""
    d = points.shape[1]
    found = np.empty(len(queries))
    for k, t in enumerate(queries):
        square = ((t - points) ** 2).sum(axis=1) / (2 * sigma**2)
        found[k] = logsumexp(-square, b=weights)
    return found - d / 2 * np.log(2 * np.pi * sigma**2)


def log_sum_of_gaussians(query, weights, means, covariances, left_out):
    """log of the sum of p N(query; m, C) over all Gaussians but one."""
    terms = []
    for j, (p, mean, covariance) in enumerate(zip(weights, means, covariances, strict=True)):
        if j != left_out:
            shift = query - mean
            square = shift @ np.linalg.solve(covariance, shift)
            log_determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
            terms.append(np.log(p) - 0.5 * (square + log_determinant))
    return logsumexp(terms) if terms else -np.inf


def inverse_covariance(points, deviations, weights):
    """Mean of T, inverse and log-determinant of its covariance, in rational numbers.

    A row and unit has its own deviation; the inverse is by Gauss and Jordan.
    """
    n, d = points.shape
    w, s, v = ([*map(Fraction, array.ravel().tolist())] for array in (weights, points, deviations))
    total = sum(w)
    mean = [sum(w[j] * s[j * d + k] for j in range(n)) / total for k in range(d)]
    matrix = [[Fraction(int(k == m)) for m in range(-d, d)] for k in range(d)]
    for k in range(d):
        for m in range(d):
            terms = ((s[j * d + k] - mean[k]) * (s[j * d + m] - mean[m]) for j in range(n))
            matrix[k][m] = sum(w[j] * term for j, term in enumerate(terms)) / total
        matrix[k][k] += sum(w[j] * v[j * d + k] ** 2 for j in range(n)) / total
    determinant = Fraction(1)
    for k in range(d):
        pivot = matrix[k][k]
        determinant *= pivot
        matrix[k] = [value / pivot for value in matrix[k]]
        for m in range(d):
            if m != k:
                factor = matrix[m][k]
                matrix[m] = [a - factor * b for a, b in zip(matrix[m], matrix[k], strict=True)]
    log_determinant = math.log(determinant.numerator) - math.log(determinant.denominator)
    return np.array(mean), np.array([row[d:] for row in matrix]), log_determinant


def line_cross_entropy(points, weights, model, model_weights):
    """-E log q(t) + log phi's share for mixtures of unit Gaussians, on one grid over all rows."""
    t = np.arange(points.min() - 10, points.max() + 10, 1 / 64)[:, None]
    log_p = logsumexp(-((t - points) ** 2) / 2, b=weights, axis=1)
    log_q = logsumexp(-((t - model) ** 2) / 2, b=model_weights, axis=1)
    return -np.sum(np.exp(log_p) * log_q) / 64 / np.sqrt(2 * np.pi) - 0.5


def halves_are_separated(points, leaf):
    """Whether every box of more than ``leaf`` points is halved along its widest side."""
    n = len(points)
    if n <= leaf or points.shape[1] == 0:
        return True
    widest = np.argmax(np.ptp(points, axis=0))
    middle = -(-(n // 2) // leaf) * leaf
    return (
        points[:middle, widest].max() <= points[middle:, widest].min()
        and halves_are_separated(points[:middle], leaf)
        and halves_are_separated(points[middle:], leaf)
    )


def all_pairs(points, labels, inputs, weights=None, metric="euclidean"):
    """Distance, weight, label and label of every pair of rows of different inputs, by two loops."""
    weights = np.ones(len(points)) if weights is None else weights
    pairs = []
    for i in range(len(points)):
        for j in range(i):
            if inputs[i] != inputs[j]:
                a, b = points[i], points[j]
                if metric == "euclidean":
                    distance = np.sqrt(((a - b) ** 2).sum())
                else:
                    distance = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
                pairs.append((distance, weights[i] * weights[j], labels[i], labels[j]))
    return tuple(map(np.array, zip(*pairs, strict=True)))


def within_and_between(pairs):
    """Distances within and between classes, and the weights of these pairs."""
    distance, weight, a, b = pairs
    return (distance[a == b], distance[a != b]), (weight[a == b], weight[a != b])


def class_distances(pairs, k):
    """Mean distance of every two classes; NaN without a pair."""
    distance, weight, left, right = pairs
    out = np.full((k, k), np.nan)
    for a, b in np.ndindex(k, k):
        chosen = ((left == a) & (right == b)) | ((left == b) & (right == a))
        if chosen.any():
            out[a, b] = np.average(distance[chosen], weights=weight[chosen])
    return out


def auc(within, between, within_mass=None, between_mass=None, rounding=0.0):
    """Share of (within, between) pairs in the right order, ties counting half."""
    v = np.ones(len(within)) if within_mass is None else within_mass
    w = np.ones(len(between)) if between_mass is None else between_mass
    right = 0.0
    for distance, mass in zip(within, v, strict=True):
        tied = np.abs(between - distance) <= rounding * np.maximum(between, distance)
        right += mass * (w @ np.where(tied, 0.5, between > distance))
    return right / (v.sum() * w.sum())


def silhouette(points, labels, weights):
    """Weighted mean of (b - a) / max(a, b), one row at a time."""
    values = []
    for i in range(len(points)):
        distance = np.sqrt(((points - points[i]) ** 2).sum(axis=1))
        others = np.arange(len(points)) != i
        means = {
            y: np.average(distance[mask], weights=weights[mask])
            for y in set(labels)
            if (mask := others & (labels == y)).any()
        }
        a = means.pop(labels[i], None)
        b = min(means.values())
        values.append(0.0 if a is None or max(a, b) == 0 else (b - a) / max(a, b))
    return np.average(values, weights=weights)


def nc1(points, labels, weights):
    """trace(Sigma_W pinv(Sigma_B)) / K with weighted means, and classes alike in Sigma_B."""
    w = weights / weights.sum()
    mean = w @ points
    d, kinds = points.shape[1], sorted(set(labels))
    within, between = np.zeros((d, d)), np.zeros((d, d))
    for y in kinds:
        mask = labels == y
        centre = w[mask] @ points[mask] / w[mask].sum()
        between += np.outer(centre - mean, centre - mean) / len(kinds)
        for row, p in zip(points[mask], w[mask], strict=True):
            within += p * np.outer(row - centre, row - centre)
    return np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(kinds)


def plane_information(points, sigma):
    """I(S; S + sigma Z) of equally likely points in the plane, by the trapezoidal rule."""
    step = sigma / 8
    low, high = points.min(axis=0) - 9 * sigma, points.max(axis=0) + 9 * sigma
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    square = ((grid - points) ** 2).sum(axis=2) / (2 * sigma**2)
    log_density = logsumexp(-square, axis=1) - np.log(len(points) * 2 * np.pi * sigma**2)
    entropy = -np.sum(np.exp(log_density) * log_density) * step**2
    return entropy - np.log(2 * np.pi * np.e * sigma**2)


# --- noise on one unit, by adaptive quadrature --------------------------------------------------


def line_channel(noise, sigma, s):
    """Centres, deviations, strata and d log |T| / dt of one unit's rows, where noise is normal.

    A deviation of 0 is an atom: T is 0 there. Rows of different strata are never confused.
    """
    s = np.asarray(s, dtype=float)
    if noise == "per row":
        return s, np.asarray(sigma, dtype=float), np.zeros(len(s)), np.zeros(len(s))
    if noise == "lognormal":
        log_size = np.log(np.where(s == 0, 1, np.abs(s)))
        return log_size, np.where(s == 0, 0, sigma), np.sign(s), log_size
    if noise == "affine":
        deviations = np.hypot(sigma[0], sigma[1] * s)
    else:
        deviations = sigma * (np.abs(s) if noise == "multiplicative" else np.ones(len(s)))
    return s, deviations, (deviations == 0).astype(float), np.zeros(len(s))


def normals_cross_entropy(law, model):
    """-integral of p log q, each (centres, deviations, weights); no atoms.

    Row by row and panel by panel, so that no narrow component is missed. Offsets count from the
    row, so that what is narrow keeps its digits far from 0.
    """
    constants = np.log(model[2]) - np.log(model[1])
    total = 0.0
    for s, width, weight in zip(*law, strict=True):
        offsets = model[0] - s
        edges = [np.linspace(-11, 11, 5) * width, *offsets + np.outer([-11, -3, 3, 11], model[1])]
        edges = np.unique(np.clip(np.concatenate(edges), -11 * width, 11 * width))

        def term(u, width=width, offsets=offsets):
            logs = constants - ((u - offsets) / model[1]) ** 2 / 2
            largest = logs.max()
            log_q = largest + math.log(np.exp(logs - largest).sum())
            return -math.exp(-((u / width) ** 2) / 2) / width * log_q

        total += weight * sum(
            quad(term, *panel, epsabs=1e-14, epsrel=1e-12, limit=200)[0]
            for panel in pairwise(edges)
        )
    return total / math.sqrt(2 * math.pi) + law[2].sum() * math.log(2 * math.pi) / 2


def line_entropy_of(centres, deviations, strata, weights):
    """-E log g(T) of a mixture of normals and atoms, whose density at an atom is its mass."""
    total = 0.0
    for stratum in set(strata):
        own = strata == stratum
        law = centres[own], deviations[own], weights[own]
        if law[1].max() == 0:
            mass = law[2].sum()
            total -= mass * np.log(mass)
        else:
            total += normals_cross_entropy(law, law)
    return total


def line_truth(noise, sigma, s, weights=None, inputs=None, labels=None):
    """I(X;T), I(Y;T), h(T) and h(T|X) of one unit, in nats; labels None are all different."""
    centres, deviations, strata, slope = line_channel(noise, sigma, s)
    n = len(centres)
    weights = np.full(n, 1 / n) if weights is None else np.asarray(weights) / np.sum(weights)
    inputs = np.arange(n) if inputs is None else np.asarray(inputs)
    labels = inputs if labels is None else np.asarray(labels)
    change = weights @ slope

    def within(parts):
        total = change
        for part in set(parts):
            own = parts == part
            share = weights[own].sum()
            law = centres[own], deviations[own], strata[own], weights[own] / share
            total += share * line_entropy_of(*law)
        return total

    entropy, of_input, of_label = within(np.zeros(n)), within(inputs), within(labels)
    return entropy - of_input, entropy - of_label, entropy, of_input


# --- what T says of each input and class, by quadrature ----------------------------------------


def line_facts(points, weights, labels, sigma):
    """i(x) of every row, I(X;T|Y=y) and E[P(c'|t) | c] of every class, and the Bayes error.

    Rows of one unit, by adaptive quadrature; every row is an input.
    """
    kinds = np.unique(labels)
    of_class = np.array([weights * (labels == c) for c in kinds])
    p = of_class.sum(axis=1)

    def terms(t):
        return np.exp(-((t - points) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))

    def logs(t, chosen):
        return logsumexp(-((t - points) ** 2) / (2 * sigma**2), b=chosen)

    def integral(f):
        ends = np.unique(np.concatenate([points - 9 * sigma, points, points + 9 * sigma]))
        return quad(f, ends[0], ends[-1], points=ends, epsabs=1e-9, epsrel=1e-9, limit=2000)[0]

    def ratio(t, i, chosen):
        return -((t - points[i]) ** 2) / (2 * sigma**2) - logs(t, chosen)

    pointwise, within = np.empty(len(points)), np.zeros(len(kinds))
    for i in range(len(points)):
        c = np.flatnonzero(kinds == labels[i])[0]
        pointwise[i] = integral(lambda t, i=i: terms(t)[i] * ratio(t, i, weights))
        of_label = integral(lambda t, i=i, c=c: terms(t)[i] * ratio(t, i, of_class[c] / p[c]))
        within[c] += weights[i] / p[c] * of_label
    confusion = np.empty((len(kinds), len(kinds)))
    for a, b in np.ndindex(confusion.shape):

        def joint(t, a=a, b=b):
            f = of_class @ terms(t)
            return f[a] * f[b] / max(f.sum(), 1e-300) / p[a]

        confusion[a, b] = integral(joint)
    return pointwise, within, confusion, 1 - integral(lambda t: (of_class @ terms(t)).max())


def plane_conditional(points, labels, sigma):
    """I(X;T|Y=y) of every class of equally likely points in the plane."""
    return np.array([plane_information(points[labels == c], sigma) for c in np.unique(labels)])


def pairwise_bounds(points, deviations, strata):
    """Both bounds of Kolchinsky and Tracey, one pair at a time."""
    n = len(points)
    kl, half = np.full((2, n, n), np.inf)
    for i, j in np.ndindex(n, n):
        if strata[i] == strata[j]:
            s, u, a, b = points[i], points[j], deviations[i], deviations[j]
            both = np.hypot(a, b)
            kl[i, j] = np.sum(np.log(b) - np.log(a) + ((a / b) ** 2 + ((s - u) / b) ** 2 - 1) / 2)
            logs = np.log(both) - (np.log(2) + np.log(a) + np.log(b)) / 2
            half[i, j] = np.sum(((s - u) / both / 2) ** 2 + logs)
    lower, upper = (np.mean(np.log(n) - logsumexp(-of, axis=1)) for of in (half, kl))
    return lower, upper
