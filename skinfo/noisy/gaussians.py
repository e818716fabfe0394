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
from skinfo.noisy.kernels.gaussians import STEP, GaussianBlocks, sum_gaussians
from skinfo.noisy.layout import LOG2

# Batched d x d matrices are built for so many numbers at a time.
_BATCH = 2**23
# Covariances of all inputs hold at most so many numbers, half a gigabyte.
_MOST_NUMBERS = 2**26
# Replicas are held out in so many folds at most.
_FOLDS = 10
# For how many rows the covariance that all inputs share may count beside those of an input; the
# first leaves nothing of an input's own.
_STRENGTHS = (1e9, 16.0, 4.0, 1.0)
# More rows do not choose better between these.
_FEW = 1024
# A variance of the means that is as good as none, in units of sigma^2.
_NO_VARIANCE = 1e-3
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
        fitted = cls.of(rows)
        variances = np.einsum("nii->ni", fitted.scatter) / fitted.counts[:, None]
        return None if variances.max(initial=0.0) > _FARTHEST**2 else fitted

    @classmethod
    def of(cls, rows: Rows) -> InputGaussians:
        """Fit to rows that are known to be few and near enough."""
        order = np.argsort(rows.inputs, kind="stable")
        counts = rows.replicas
        starts = np.concatenate([[0], np.cumsum(counts)])
        points = rows.points[order]
        means = np.add.reduceat(points, starts[:-1], axis=0) / counts[:, None]
        centred = points - np.repeat(means, counts, axis=0)
        return cls(means, _sums_of_outer(centred, centred, starts[:-1]), counts)

    @cached_property
    def pooled(self) -> np.ndarray:
        """Covariance of rows within an input, the same for all inputs."""
        pooled: np.ndarray = self.scatter.sum(axis=0) / max(int(self._freedom.sum()), 1)
        return pooled

    @cached_property
    def _freedom(self) -> np.ndarray:
        return (self.counts - 1)[:, None, None]

    def covariances(self, strength: float) -> np.ndarray:
        """Covariance of rows within each input; the pooled one counts for ``strength`` rows."""
        return _shrunk(self.scatter, self._freedom, self.pooled, strength)

    def without_one(self, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-determinant and inverse of the covariances of T normalised for one row fewer.

        They are shrunk towards what the other inputs have, if anything, and contain the error of
        the mean. Third, what the outer product of a row less its mean is counted by in them.
        """
        rest, left = self._freedom.sum() - self._freedom, np.maximum(self._freedom, 1)
        pooled = (self.scatter.sum(axis=0) - self.scatter) / np.maximum(rest, 1)
        strengths = np.where(rest > 0, strength, 0.0)
        error = 1 + 1 / left
        covariances = error * _shrunk(self.scatter, left - 1, pooled, strengths)
        covariances += np.eye(self.means.shape[1])
        counted = error * error / np.maximum(left - 1 + strengths, 1)
        return np.linalg.slogdet(covariances)[1], np.linalg.inv(covariances), counted[:, 0, 0]


def _shrunk(
    scatter: np.ndarray, freedom: np.ndarray, pooled: np.ndarray, strength: np.ndarray | float
) -> np.ndarray:
    shrunk: np.ndarray = (scatter + strength * pooled) / np.maximum(freedom + strength, 1)
    return shrunk


def _batches(starts: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of inputs whose rows, ``size`` numbers each, fit a batch."""
    first = 0
    while first < len(starts) - 1:
        limit = starts[first] + max(1, _BATCH // max(size, 1))
        last = max(first + 1, int(np.searchsorted(starts, limit, side="right")) - 1)
        yield first, last
        first = last


def _sums_of_outer(left: np.ndarray, right: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum of the outer products of rows over each segment, those of one length together."""
    sizes = np.diff(starts, append=len(left))
    sums = np.empty((len(starts), left.shape[1], right.shape[1]))
    for size in np.unique(sizes):
        mine = np.flatnonzero(sizes == size)
        members = starts[mine][:, None] + np.arange(size)
        sums[mine] = np.matmul(left[members].transpose(0, 2, 1), right[members])
    return sums


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


def own_row_out_entropies(gaussians: InputGaussians, rows: Rows, strength: float) -> np.ndarray:
    """Cross-entropy of T = s + Z under the Gaussian of the input of s fitted without s.

    The covariance of the other inputs counts for ``strength`` rows. One value per row, an upper
    end of h(T | X = x) on average; inf where the input has one row.
    """
    log_determinants, inverses, counted = gaussians.without_one(strength)
    n, d = rows.points.shape
    values = np.full(n, np.inf)
    several = np.flatnonzero(gaussians.counts[rows.inputs] > 1)
    for part in np.array_split(several, max(1, len(several) * d * d // _BATCH)):
        inputs = rows.inputs[part]
        inverse, removed = inverses[inputs], counted[inputs]
        difference = rows.points[part] - gaussians.means[inputs]
        direction = np.einsum("nij,nj->ni", inverse, difference)
        square = np.einsum("ni,ni->n", direction, difference)
        # Leaving the row out is a downdate of rank one: the inverse gains a multiple of
        # direction direction', the determinant is multiplied by what is left.
        left = 1 - removed * square
        gain = removed / left
        deviations = None if rows.deviations is None else rows.deviations[part]
        along = direction if deviations is None else direction * deviations
        trace = _trace(inverse, deviations) + gain * np.einsum("ni,ni->n", along, along)
        r = gaussians.counts[inputs]
        # From the mean without it the row is r / (r - 1) times as far.
        quadratic = (r / (r - 1)) ** 2 * (square + gain * square**2)
        values[part] = 0.5 * (log_determinants[inputs] + np.log(left) + quadratic + trace - d)
    return values if rows.deviations is None else values - _log_volumes(rows)


def _best(candidates: list[np.ndarray], weights: np.ndarray, members: np.ndarray) -> int:
    """The candidate of the smallest average over some rows, the first if there are several."""
    costs = [weights[members] @ values[members] for values in candidates]
    return int(np.argmin(np.round(costs, 9)))


def shrunk_entropies(gaussians: InputGaussians, rows: Rows) -> np.ndarray:
    """:func:`own_row_out_entropies` of the strength that the other half of the inputs chose."""
    several = gaussians.counts[rows.inputs] > 1
    candidates = [own_row_out_entropies(gaussians, rows, s) for s in _STRENGTHS]
    values = np.empty(len(several))
    for half in (0, 1):
        mine = rows.inputs % 2 == half
        values[mine] = candidates[_best(candidates, rows.weights, several & ~mine)][mine]
    return values


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
        return np.full(n, np.inf) if whole is None else own_row_out_entropies(whole, together, 0.0)
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
    rows: Rows, drawn: np.ndarray, noise: np.ndarray, n_jobs: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evaluate p(x) N_x(t) for the draw's own input and for all others, fitted to other replicas.

    ``drawn``, (m,), holds the row of each draw, ``noise``, (m, d), its noise in units of sigma. The
    replicas of all inputs are held out together, a fold at a time, so that each draw meets a
    posterior that is a function of t alone. Inputs have two rows or more. Returns natural
    logarithms, relative to the density of the noise at the draw, and the weight of each draw: with
    it every input is as likely in all folds.
    """
    references = 0.5 * np.einsum("ni,ni->n", noise, noise)
    if rows.deviations is not None:
        noise = noise * rows.deviations[drawn]
        references += _log_volumes(rows)[drawn]
    queries = rows.points[drawn] + noise
    folds = _ReplicaFolds.of(rows)
    fold_of_draw, weights = folds.assign(drawn)
    own, others = np.empty(len(drawn)), np.empty(len(drawn))
    for fold in range(folds.n_folds):
        fitted = InputPosterior.fit(rows.take(folds.kept(fold)), rows.input_weights)
        at = np.flatnonzero(fold_of_draw == fold)
        inputs = rows.inputs[drawn[at]]
        own[at], others[at] = fitted.log_sums(queries[at], inputs, n_jobs)
    return own + references, others + references, weights


@dataclass(frozen=True)
class _ReplicaFolds:
    """Folds of replicas, each of which holds out some rows of every input and leaves some.

    Inputs of fewer rows than there are folds hold out theirs in turn, and again.
    """

    n_folds: int
    inputs: np.ndarray  # (n,)
    turns: np.ndarray  # (n_inputs,): after so many folds the rows of an input are held out again
    numbers: np.ndarray  # (n,): the first fold that holds a row out

    @classmethod
    def of(cls, rows: Rows) -> _ReplicaFolds:
        n_folds = min(_FOLDS, int(rows.replicas.max()))
        turns = np.minimum(rows.replicas, n_folds)
        return cls(n_folds, rows.inputs, turns, rows.replica_numbers % turns[rows.inputs])

    def kept(self, fold: int) -> np.ndarray:
        """The rows that a fold does not hold out."""
        return np.flatnonzero(self.numbers != (fold % self.turns)[self.inputs])

    def assign(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The fold of each draw, one of those that hold its row out, and the weight of the draw.

        The latter is the probability 1 / n_folds over that of this fold given the input.
        """
        turns = self.turns[self.inputs]
        n_own = (self.n_folds - 1 - self.numbers) // turns + 1
        held_out = self.inputs * self.n_folds + self.numbers
        together = np.bincount(held_out)[held_out]
        rows_of_input = np.bincount(self.inputs)[self.inputs]
        weights = rows_of_input * n_own / (self.n_folds * together)
        choice = np.random.default_rng(0).integers(0, n_own[drawn])
        return self.numbers[drawn] + turns[drawn] * choice, weights[drawn]


@dataclass(frozen=True)
class InputPosterior:
    """p(x) N_x(t), one Gaussian per input: means and covariances are both shrunk."""

    means: np.ndarray  # (n_inputs, d)
    factors: np.ndarray  # (n_inputs, d, d): the inverses of the Cholesky factors of the covariances
    constants: np.ndarray  # (n_inputs,): log p(x) - log det(C) / 2
    variances: np.ndarray  # (n_inputs,): no direction has a larger one

    @classmethod
    def fit(cls, rows: Rows, p: np.ndarray) -> InputPosterior:
        """Fit to all rows, in units of sigma; p(x) of every input is given."""
        fitted = InputGaussians.of(rows)
        few = rows.take(np.flatnonzero(rows.inputs % (1 + len(rows.points) // _FEW) == 0))
        of_few = InputGaussians.of(few)
        candidates = [own_row_out_entropies(of_few, few, s) for s in _STRENGTHS]
        best = _best(candidates, few.weights, of_few.counts[few.inputs] > 1)
        covariances = fitted.covariances(_STRENGTHS[best])
        shares = p / p.sum()
        centre = shares @ fitted.means
        centred = fitted.means - centre
        # Means vary by the covariance between inputs and by that within over the number of rows.
        between = (centred * shares[:, None]).T @ centred / max(1 - shares @ shares, _NO_VARIANCE)
        between -= shares @ (1 / fitted.counts) * fitted.pooled
        values, vectors = np.linalg.eigh(between)
        between = (vectors * np.maximum(values, 0)) @ vectors.T
        unit, means = np.eye(len(centre)), np.empty_like(centred)
        for r in np.unique(fitted.counts):
            mine, error = fitted.counts == r, fitted.pooled / r
            gain = np.linalg.solve(between + error + _NO_VARIANCE * unit, between).T
            means[mine] = centre + centred[mine] @ gain.T
            left = gain @ error
            covariances[mine] += 0.5 * (left + left.T) + unit
        factors = np.linalg.inv(np.linalg.cholesky(covariances))
        constants = np.log(p) + np.log(np.einsum("nii->ni", factors)).sum(axis=1)
        return cls(means, factors, constants, np.linalg.norm(covariances, axis=(1, 2)))

    def log_sums(
        self, queries: np.ndarray, inputs: np.ndarray, n_jobs: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The logarithm for the input given and that of the sum over all others."""
        m, d = queries.shape
        own, others = np.empty(m), np.empty(m)
        for part in np.array_split(np.arange(m), 1 + m * d * d // _BATCH):
            x = inputs[part]
            difference = queries[part] - self.means[x]
            projected = np.einsum("nij,nj->ni", self.factors[x], difference)
            own[part] = self.constants[x] - 0.5 * np.einsum("ni,ni->n", projected, projected)
        slots, blocks = _in_blocks(self)

        def fill(part: slice) -> None:
            sum_gaussians(queries[part], slots[inputs[part]], blocks, others[part])

        list(in_order(fill, slices_of(m), n_jobs))
        return own, others * LOG2


def _in_blocks(
    posterior: InputPosterior,
) -> tuple[np.ndarray, GaussianBlocks]:
    """The slot of every input, and the Gaussians as the kernel reads them."""
    n, d = posterior.means.shape
    order = np.arange(n)
    sort_kd(np.ascontiguousarray(posterior.means), BLOCK, 0, n, order)
    # Padding repeats the last Gaussian, with a constant that makes it nothing.
    in_block = np.minimum(np.arange(-(-n // BLOCK) * BLOCK), n - 1).reshape(-1, BLOCK)
    means = posterior.means[order][in_block]
    centres = means.mean(axis=1)
    factors = posterior.factors[order]
    shifts = np.matmul(factors[in_block], (means - centres[:, None])[..., None])[..., 0]
    # Rows up to the diagonal, and zeros above it up to a multiple of the step.
    widths = STEP * -(-np.arange(1, d + 1) // STEP)
    row_of_number, columns = np.nonzero(np.arange(d + STEP - 1) < widths[:, None])
    padded = np.pad(factors, ((0, 0), (0, 0), (0, STEP - 1)))
    factors = padded[:, row_of_number, columns][in_block]
    constants = posterior.constants[order][in_block] / LOG2
    constants.ravel()[n:] = -1e300
    variances = posterior.variances[order][in_block]
    slots = np.empty(n, dtype=np.int64)
    slots[order] = np.arange(n)
    return slots, GaussianBlocks(
        centres=centres,
        factors=np.ascontiguousarray(factors.transpose(0, 2, 1)),
        shifts=np.ascontiguousarray(shifts.transpose(0, 2, 1)),
        constants=constants,
        low=np.ascontiguousarray(means.min(axis=1).T),
        high=np.ascontiguousarray(means.max(axis=1).T),
        top=constants.max(axis=1),
        reach=variances.max(axis=1),
    )
