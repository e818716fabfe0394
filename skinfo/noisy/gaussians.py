"""Gaussians fitted to rows that leave the row (or the input) in question out.

A density that never saw a row gives a cross-entropy that is, in expectation, an upper bound of an
entropy; a posterior that never saw it gives a lower bound of an information. All lengths are in
units of sigma and all values relative to the entropy of the noise, (d / 2) log(2 pi e sigma^2).
Where each row has a noise of its own, lengths are in units of its root mean square in each unit,
which is what the fitted Gaussians are widened by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skinfo._numba import in_order, slices_of
from skinfo._rows import Rows
from skinfo.noisy.kernels.blocks import BLOCK, sort_kd
from skinfo.noisy.kernels.gaussians import GaussianBlocks, sum_gaussians
from skinfo.noisy.layout import LOG2

# Batched d x d matrices are built for so many numbers at a time.
_BATCH = 2**23
# Covariances of all inputs hold at most so many numbers, half a gigabyte.
_MOST_NUMBERS = 2**26
# Beyond so many sigma from the mean a row leaves the noise no digits in the covariance.
_FARTHEST = 1e5
#: In more dimensions a table of one Gaussian per input costs more memory than it is worth.
MAX_POSTERIOR_DIMENSION = 32


@dataclass(frozen=True)
class InputGaussians:
    """One Gaussian per input, of T given X: that of its rows' scatter, widened by the noise."""

    means: np.ndarray  # (n_inputs, d): mean m of the rows of each input, in units of sigma
    # (n_inputs, d, d): sum of (s - m)(s - m)' over the rows s of each input, in units of sigma^2.
    scatter: np.ndarray
    counts: np.ndarray  # (n_inputs,): number of rows, the replicas, of each input

    @classmethod
    def fit(cls, rows: Rows) -> InputGaussians | None:
        """Fit to the rows of every input; ``rows`` are in units of sigma.

        None where the covariances do not fit in memory, or replicas lie so far apart that no
        precision is left for the noise: the Gaussians are never needed, they only tighten an end.
        """
        d = rows.points.shape[1]
        if len(rows.replicas) * d * d > _MOST_NUMBERS:
            return None
        order = np.argsort(rows.inputs, kind="stable")
        counts = rows.replicas
        starts = np.concatenate([[0], np.cumsum(counts)])
        points = rows.points[order]
        means = np.add.reduceat(points, starts[:-1], axis=0) / counts[:, None]
        centred = points - np.repeat(means, counts, axis=0)
        if np.abs(centred).max(initial=0.0) > _FARTHEST:
            return None
        scatter = np.empty((len(counts), d, d))
        for first, last in _batches(starts, d * d):
            part = centred[starts[first] : starts[last]]
            scatter[first:last] = _sums_of_outer(part, part, starts[first:last] - starts[first])
        return cls(means, scatter, counts)

    @cached_property
    def without_one(self) -> tuple[np.ndarray, np.ndarray]:
        """Log-determinant and inverse of the covariances normalised for one row fewer."""
        covariances = self.covariances(left_out=1)
        return np.linalg.slogdet(covariances)[1], np.linalg.inv(covariances)

    def covariances(self, left_out: int) -> np.ndarray:
        """Covariance of T given X, were ``left_out`` rows fewer used to normalise the scatter."""
        freedom = np.maximum(self.counts - 1 - left_out, 1)
        return self.scatter / freedom[:, None, None] + np.eye(self.means.shape[1])


def _batches(starts: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of inputs whose rows, ``size`` numbers each, fit a batch."""
    first = 0
    while first < len(starts) - 1:
        limit = starts[first] + max(1, _BATCH // max(size, 1))
        last = max(first + 1, int(np.searchsorted(starts, limit, side="right")) - 1)
        yield first, last
        first = last


def _sums_of_outer(left: np.ndarray, right: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum of the outer products of rows over each segment."""
    if len(starts) == 1:
        return (left.T @ right)[None]
    return np.add.reduceat(left[:, :, None] * right[:, None, :], starts, axis=0)


@dataclass(frozen=True)
class _WithoutOwnRow:
    """The Gaussian of a row's input fitted without that row: a rank-one downdate."""

    log_determinant: np.ndarray
    inverse: np.ndarray  # of the covariance before the downdate, per row
    direction: np.ndarray  # inverse @ (s - m)
    correction: np.ndarray  # inverse covariance = inverse + correction * direction direction'
    shift: np.ndarray  # s - mean without s

    @classmethod
    def of(
        cls, gaussians: InputGaussians, points: np.ndarray, inputs: np.ndarray
    ) -> _WithoutOwnRow:
        log_determinants, inverses = gaussians.without_one
        inverse = inverses[inputs]
        r = gaussians.counts[inputs].astype(np.float64)
        removed = r / ((r - 1) * np.maximum(r - 2, 1))
        difference = points - gaussians.means[inputs]
        direction = np.einsum("nij,nj->ni", inverse, difference)
        left = 1 - removed * np.einsum("ni,ni->n", direction, difference)
        return cls(
            log_determinant=log_determinants[inputs] + np.log(left),
            inverse=inverse,
            direction=direction,
            correction=removed / left,
            shift=difference * (r / (r - 1))[:, None],
        )

    def quadratic(self, vectors: np.ndarray) -> np.ndarray:
        along = np.einsum("ni,ni->n", self.direction, vectors)
        return (
            np.einsum("ni,nij,nj->n", vectors, self.inverse, vectors) + self.correction * along**2
        )

    def trace(self, deviations: np.ndarray | None) -> np.ndarray:
        """Trace of the inverse covariance times that of the noise of the rows."""
        along = self.direction if deviations is None else self.direction * deviations
        return _trace(self.inverse, deviations) + self.correction * np.einsum(
            "ni,ni->n", along, along
        )


def _trace(inverse: np.ndarray, deviations: np.ndarray | None) -> np.ndarray:
    if deviations is None:
        return np.trace(inverse, axis1=1, axis2=2)
    return np.einsum("nii,ni->n", inverse, deviations**2)


def _log_volumes(rows: Rows) -> np.ndarray:
    """Logarithm of the volume of the noise of each row beside that of the unit noise."""
    if rows.deviations is None:
        return np.zeros(len(rows.points))
    volumes: np.ndarray = np.log(rows.deviations).sum(axis=1)
    return volumes


def own_row_out_entropies(gaussians: InputGaussians, rows: Rows) -> np.ndarray:
    """Cross-entropy of T = s + Z under the Gaussian of the input of s fitted without s.

    One value per row, an upper end of h(T | X = x) on average; inf where the input has one row.
    """
    n, d = rows.points.shape
    values = np.full(n, np.inf)
    several = np.flatnonzero(gaussians.counts[rows.inputs] > 1)
    for part in np.array_split(several, max(1, len(several) * d * d // _BATCH)):
        fit = _WithoutOwnRow.of(gaussians, rows.points[part], rows.inputs[part])
        trace = fit.trace(None if rows.deviations is None else rows.deviations[part])
        values[part] = 0.5 * (fit.log_determinant + fit.quadratic(fit.shift) + trace - d)
    return values if rows.deviations is None else values - _log_volumes(rows)


def own_input_out_entropies(rows: Rows) -> np.ndarray:
    """Cross-entropy of T = s + Z under the Gaussian fitted to the rows of all other inputs.

    One value per row, an upper end of h(T) on average; inf where there is no other input, or the
    others weigh so little, or the rows lie so far apart, that rounding would decide it.
    """
    n, d = rows.points.shape
    p = rows.input_weights
    if len(p) < 2:
        return np.full(n, np.inf)
    if not rows.has_replicas and np.ptp(p) == 0:
        together = replace(rows, inputs=np.zeros(n, dtype=np.int64))
        whole = InputGaussians.fit(together)
        return np.full(n, np.inf) if whole is None else own_row_out_entropies(whole, together)
    points = rows.points - rows.weights @ rows.points
    # The covariance of the others is a difference, divided by their share.
    if np.abs(points).max(initial=0.0) ** 2 >= _FARTHEST**2 * (1 - p).min():
        return np.full(n, np.inf)
    weighted = points * rows.weights[:, None]
    order = np.argsort(rows.inputs, kind="stable")
    starts = np.concatenate([[0], np.cumsum(rows.replicas)])
    covariance = weighted.T @ points
    values = np.empty(n)
    for first, last in _batches(starts, d * d):
        part = order[starts[first] : starts[last]]
        local = rows.inputs[part] - first
        cuts = starts[first:last] - starts[first]
        rest = (1 - p[first:last])[:, None]
        means = -np.add.reduceat(weighted[part], cuts, axis=0) / rest
        second = (covariance - _sums_of_outer(weighted[part], points[part], cuts)) / rest[
            :, :, None
        ]
        fitted = second - means[:, :, None] * means[:, None, :] + np.eye(d)
        log_determinants = np.linalg.slogdet(fitted)[1]
        inverse = np.linalg.inv(fitted)
        difference = points[part] - means[local]
        quadratic = np.einsum("ni,nij,nj->n", difference, inverse[local], difference)
        if rows.deviations is None:
            traces = np.trace(inverse, axis1=1, axis2=2)[local]
        else:
            traces = _trace(inverse[local], rows.deviations[part])
        values[part] = 0.5 * (log_determinants[local] + traces - d + quadratic)
    return values if rows.deviations is None else values - _log_volumes(rows)


def posterior_log_sums(
    gaussians: InputGaussians,
    rows: Rows,
    drawn: np.ndarray,
    noise: np.ndarray,
    n_jobs: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate p(x) N_x(t) for the draw's own input, its own row left out, and for all others.

    ``drawn``, (m,), holds the row of each draw, ``noise``, (m, d), its noise in units of sigma.
    Returns natural logarithms, relative to the density of the noise at the draw.
    """
    m, d = noise.shape
    points = rows.points[drawn]
    inputs = rows.inputs[drawn]
    reference = 0.5 * np.einsum("ni,ni->n", noise, noise)
    if rows.deviations is not None:
        noise = noise * rows.deviations[drawn]
        reference += _log_volumes(rows)[drawn]
    queries = points + noise
    own = np.empty(m)
    for part in np.array_split(np.arange(m), max(1, m * d * d // _BATCH)):
        fit = _WithoutOwnRow.of(gaussians, points[part], inputs[part])
        exponent = fit.log_determinant + fit.quadratic(fit.shift + noise[part])
        own[part] = np.log(rows.input_weights[inputs[part]]) - 0.5 * exponent + reference[part]

    slots, blocks = _in_blocks(gaussians, rows.input_weights)
    others = np.empty(m)

    def fill(part: slice) -> None:
        sum_gaussians(queries[part], slots[inputs[part]], blocks, others[part])

    list(in_order(fill, slices_of(m), n_jobs))
    return own, others * LOG2 + reference


def _in_blocks(
    gaussians: InputGaussians, input_weights: np.ndarray
) -> tuple[np.ndarray, GaussianBlocks]:
    """The slot of every input, and the Gaussians as the kernel reads them."""
    n, d = gaussians.means.shape
    order = np.arange(n)
    sort_kd(np.ascontiguousarray(gaussians.means), BLOCK, 0, n, order)
    covariances = gaussians.covariances(left_out=0)[order]
    cholesky = np.linalg.cholesky(covariances)
    inverse = np.linalg.inv(cholesky)
    half_log2_det = np.log2(np.diagonal(cholesky, axis1=1, axis2=2)).sum(axis=1)
    # Padding repeats the last Gaussian, with a constant that makes it nothing.
    in_block = np.minimum(np.arange(-(-n // BLOCK) * BLOCK), n - 1).reshape(-1, BLOCK)
    means = gaussians.means[order][in_block]
    rows_of_factor, columns = np.tril_indices(d)
    factors = inverse[:, rows_of_factor, columns][in_block]
    constants = (np.log2(input_weights[order]) - half_log2_det)[in_block]
    constants.ravel()[n:] = -1e300
    variances = np.linalg.eigvalsh(covariances)[:, -1][in_block]
    slots = np.empty(n, dtype=np.int64)
    slots[order] = np.arange(n)
    return slots, GaussianBlocks(
        means=np.ascontiguousarray(means.transpose(0, 2, 1)),
        factors=np.ascontiguousarray(factors.transpose(0, 2, 1)),
        constants=constants,
        low=np.ascontiguousarray(means.min(axis=1).T),
        high=np.ascontiguousarray(means.max(axis=1).T),
        top=constants.max(axis=1),
        reach=variances.max(axis=1),
    )
