"""Information and entropy of activations with Gaussian noise: the log-ratio of two mixtures.

    I(X;T) = E log g_x(t) / g(t),   I(Y;T) = E log g_y(t) / g(t),   h(T) = -E log g(t)

with t = s_i + sigma Z, g_x the mean over the replicas of x of the noise's density around them, and
g, g_y the mixtures of these over all inputs and over the inputs of a label. Numerator and
denominator are evaluated at the same draw, so the noise's own density cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from skinfo.kernels.mixture import sum_mixture
from skinfo.measures.brackets import Contributions, DrawSums
from skinfo.measures.draws import N_RANDOMISATIONS, Average, Draws, DrawStream, average_draws
from skinfo.measures.gaussians import (
    MAX_POSTERIOR_DIMENSION,
    InputGaussians,
    own_input_out_entropies,
    own_row_out_entropies,
    posterior_log_sums,
)
from skinfo.measures.layout import Layout, lay_out, order_rows
from skinfo.measures.parallel import in_slices
from skinfo.measures.quadrature import line_cross_entropy, line_information
from skinfo.measures.quantity import Quantity
from skinfo.measures.rows import Rows

_LOG2 = np.log(2.0)
# With lengths in units of sigma, this factor turns exp(-x^2 / 2) into 2^(-x^2).
_BINARY = np.sqrt(0.5 / _LOG2)
# Draws a randomisation at the first level.
_FIRST_LEVEL = 256
# Directions whose variance, in units of sigma^2, is below this are dropped.
_FLAT = 1e-12
# Within this share of the entropy of the inputs, information says only that they can be told apart.
_SATURATED = 0.99

Inputs = Literal["given", "sampled"]


@dataclass(frozen=True)
class Subspace:
    """The directions in which the rows vary, in units of sigma.

    Attributes
    ----------
    origin : ndarray of shape (d,)
        The mean of the rows.
    basis : ndarray of shape (d, rank) or None
        Orthonormal directions; None where all coordinates are kept.
    sigma : float
        Standard deviation of the noise.
    dimension : int
        d.
    """

    origin: np.ndarray
    basis: np.ndarray | None
    sigma: float
    dimension: int

    @classmethod
    def of(cls, rows: Rows, sigma: float) -> Subspace:
        """Find the directions of a variance that the noise does not drown utterly."""
        d = rows.points.shape[1]
        origin = rows.weights @ rows.points.astype(np.float64, copy=False)
        scaled = (rows.points - origin) / sigma
        weighted = scaled * np.sqrt(rows.weights)[:, None]
        if len(scaled) >= d:
            _, directions = np.linalg.eigh(weighted.T @ weighted)
        else:
            directions = np.linalg.svd(weighted, full_matrices=False)[2].T
        # The variance along a direction, measured there: rounding in the covariance may exceed it.
        variances = np.sum((weighted @ directions) ** 2, axis=0)
        kept = variances > _FLAT
        whole = len(scaled) >= d and bool(kept.all())
        return cls(origin, None if whole else directions[:, kept], float(sigma), d)

    @property
    def rank(self) -> int:
        """Number of directions kept."""
        return self.dimension if self.basis is None else self.basis.shape[1]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Coordinates in the subspace, in units of sigma."""
        scaled = (points - self.origin) / self.sigma
        return scaled if self.basis is None else scaled @ self.basis

    def squared_distances(self, points: np.ndarray) -> np.ndarray:
        """Squared distance from the subspace, in units of sigma^2."""
        if self.basis is None:
            return np.zeros(len(points))
        scaled = (points - self.origin) / self.sigma
        off = scaled - (scaled @ self.basis) @ self.basis.T
        return np.einsum("ni,ni->n", off, off)

    @property
    def noise_entropy(self) -> float:
        """Entropy of the noise in all d dimensions, (d / 2) log(2 pi e sigma^2)."""
        return 0.5 * self.dimension * float(np.log(2 * np.pi * np.e * self.sigma**2))


@dataclass(frozen=True)
class Mixture:
    """The mixture of Gaussians around rows of activations, ready to be summed.

    Attributes
    ----------
    rows : Rows
        The rows in their subspace, in units of sigma.
    subspace : Subspace
        How they got there.
    order : ndarray of shape (n,)
        Neighbours in space are neighbours here.
    layouts : tuple of Layout
        The rows in blocks; two halves of every input's replicas where inputs have replicas.
    half_of_row : ndarray of shape (n,)
        The layout that holds each row.
    """

    rows: Rows
    subspace: Subspace
    order: np.ndarray
    layouts: tuple[Layout, ...]
    half_of_row: np.ndarray

    @classmethod
    def of(cls, rows: Rows, sigma: float) -> Mixture:
        """Reduce, scale, sort and store the rows."""
        subspace = Subspace.of(rows, sigma)
        rows = rows.moved_to(np.asarray(subspace.project(rows.points), dtype=np.float64))
        order = order_rows(rows)
        if rows.has_replicas and rows.replicas.min() > 1:
            half_of_row = _rank_within(rows.inputs) % 2
        else:
            half_of_row = np.zeros(len(order), dtype=np.int64)
        halves = range(int(half_of_row.max()) + 1)
        layouts = tuple(lay_out(rows, order[half_of_row[order] == h], _BINARY) for h in halves)
        return cls(rows, subspace, order, layouts, half_of_row)

    def draw_stream(self, seed: int) -> DrawStream:
        """Start drawing from the mixture."""
        return DrawStream(self.rows.weights, self.order, self.subspace.rank, seed)

    def sums_at(self, draws: Draws, inputs: Inputs, n_jobs: int | None) -> DrawSums:
        """Evaluate the four disjoint sums at draws from the mixture's own rows."""
        rows = self.rows
        shape = draws.rows.shape
        drawn = draws.rows.ravel()
        noise = draws.noise.reshape(len(drawn), -1)
        queries = (rows.points[drawn] + noise) * _BINARY
        references = np.einsum("ni,ni->n", noise, noise) * _BINARY**2
        input_of = rows.inputs[drawn]
        label_of = (
            np.zeros(len(drawn), dtype=np.int64) if rows.labels is None else rows.labels[drawn]
        )
        own_weight = rows.weights[drawn]
        given = inputs == "given"
        # With other replicas the own row does not count as a reference: the ends leave it out.
        floors = (
            np.log2(own_weight) if given and not rows.has_replicas else np.full(len(drawn), -np.inf)
        )
        parts = np.empty((len(self.layouts), len(drawn), 3))
        for layout, out in zip(self.layouts, parts, strict=True):
            in_slices(
                lambda part, layout=layout, out=out: sum_mixture(
                    queries[part], references[part], layout.slots[drawn[part]],
                    layout.input_slots[input_of[part]], layout.label_blocks[label_of[part]],
                    floors[part], given, layout.blocks, layout.weights, layout.low, layout.high,
                    layout.log_weight, out[part],
                ),
                len(drawn),
                n_jobs,
            )  # fmt: skip
        parts *= _LOG2
        half, half_replicas = None, np.ones(len(drawn))
        if len(self.layouts) == 2:
            own_half = self.half_of_row[drawn]
            mine = parts[own_half, np.arange(len(drawn))].T.reshape(3, *shape)
            half = (mine[0], mine[1], mine[2])
            half_replicas = np.bincount(rows.inputs * 2 + self.half_of_row)[input_of * 2 + own_half]
        group, label, other = np.logaddexp.reduce(parts, axis=0).T.reshape(3, *shape)
        label_weight = (
            np.ones(shape) if rows.label_weights is None else rows.label_weights[label_of]
        )
        return DrawSums(
            own=np.log(own_weight).reshape(shape),
            group=group,
            label=label,
            other=other,
            half=half,
            half_replicas=half_replicas.reshape(shape),
            replicas=rows.replicas[input_of].reshape(shape).astype(np.float64),
            input_weight=rows.input_weights[input_of].reshape(shape),
            label_weight=label_weight.reshape(shape),
        )

    def log_ratios(
        self, queries: np.ndarray, references: np.ndarray, n_jobs: int | None
    ) -> np.ndarray:
        """Logarithm of the mixture at any points of the subspace, times exp(references).

        The factor (2 pi)^(-rank / 2) is left out. ``queries`` are in units of sigma.
        """
        m = len(queries)
        nowhere = np.full(m, -1, dtype=np.int64)
        no_slots = np.zeros((m, 2), dtype=np.int64)
        floors = np.full(m, -np.inf)
        scaled = queries * _BINARY
        binary_references = references / _LOG2
        parts = np.empty((len(self.layouts), m, 3))
        for layout, out in zip(self.layouts, parts, strict=True):
            in_slices(
                lambda part, layout=layout, out=out: sum_mixture(
                    scaled[part], binary_references[part], nowhere[part], no_slots[part],
                    no_slots[part], floors[part], False, layout.blocks, layout.weights,
                    layout.low, layout.high, layout.log_weight, out[part],
                ),
                m,
                n_jobs,
            )  # fmt: skip
        return np.logaddexp.reduce(parts[:, :, 2], axis=0) * _LOG2

    def log_density(self, points: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Logarithm of g at points of the layer's full space, in nats."""
        queries = np.asarray(self.subspace.project(points), dtype=np.float64)
        logs = self.log_ratios(queries, np.zeros(len(queries)), n_jobs)
        constant = 0.5 * self.subspace.dimension * np.log(2 * np.pi * self.subspace.sigma**2)
        return logs - 0.5 * self.subspace.squared_distances(points) - constant


def _rank_within(codes: np.ndarray) -> np.ndarray:
    """Position of each element among those of its code, in the order they stand."""
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes))])[:-1]
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - starts[codes[order]]
    return rank


@dataclass(frozen=True)
class MixtureInformation:
    """What :func:`measure_mixture` found, in nats.

    Attributes
    ----------
    mutual_info, plug_in, entropy, conditional_entropy : Quantity
        I(X;T) with its bias reduced, the paper's estimate of it, h(T), h(T|X).
    label_mutual_info : Quantity or None
        I(Y;T).
    ceiling, label_ceiling : float
        What I(X;T) and I(Y;T) cannot exceed.
    stderr_inputs : float
        Standard error of I(X;T) from the finite number of inputs.
    n_evaluations : int
        Points at which the mixture was evaluated.
    converged : bool
        Whether the standard errors fell below the tolerance.
    rank : int
        Number of directions in which the rows vary.
    """

    mutual_info: Quantity
    plug_in: Quantity
    entropy: Quantity
    conditional_entropy: Quantity
    label_mutual_info: Quantity | None
    ceiling: float
    label_ceiling: float | None
    stderr_inputs: float
    n_evaluations: int
    converged: bool
    rank: int


def measure_mixture(
    rows: Rows,
    sigma: float,
    *,
    tol: float = 0.01,
    inputs: Inputs = "given",
    max_evaluations: int = 2**20,
    seed: int = 0,
    n_jobs: int | None = None,
    mixture: Mixture | None = None,
) -> MixtureInformation:
    """Estimate I(X;T), I(Y;T), h(T) and h(T|X) of T = S + sigma Z, each with its bracket.

    Parameters
    ----------
    rows : Rows
        Activations before this layer's noise, with weights, inputs and labels.
    sigma : float
        Standard deviation of the noise.
    tol : float
        Standard error aimed at, in nats.
    inputs : {"given", "sampled"}
        Whether the inputs are the whole input law or drawn from a larger population.
    max_evaluations : int
        Most points at which the mixture is evaluated.
    seed : int
        Seed of the draws.
    n_jobs : int or None
        Threads; the result does not depend on it.
    mixture : Mixture, optional
        The mixture of these rows, where it is already laid out.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, eq. (9)-(10);
    lower ends by Barber and Agakov, "The IM Algorithm", NIPS 2003.
    """
    mixture = mixture or Mixture.of(rows, sigma)
    rows = mixture.rows
    stream = mixture.draw_stream(seed)
    exact = _plug_in_by_quadrature(mixture)
    portions: list[tuple[Draws, DrawSums]] = []
    m = min(_FIRST_LEVEL, 2 ** int(np.log2(max(1, max_evaluations // N_RANDOMISATIONS))))
    taken, once_more = 0, False
    while True:
        draws = stream.take(m)
        portions.append((draws, mixture.sums_at(draws, inputs, n_jobs)))
        taken += m
        averages = _Averages(mixture, _join_draws(portions), _join_sums(portions), exact)
        converged = averages.largest_stderr() <= tol
        if (converged and (once_more or exact is not None)) or (
            2 * taken * N_RANDOMISATIONS > max_evaluations
        ):
            break
        once_more = converged
        m = taken
    return _assemble(averages, mixture, inputs, n_jobs, taken * N_RANDOMISATIONS, converged)


def cross_information(
    mixture: Mixture,
    points: np.ndarray,
    *,
    tol: float,
    max_evaluations: int,
    seed: int,
    n_jobs: int | None,
) -> float:
    """Compute E log phi(Z) / g(s + sigma Z) over rows s of ``points``, in nats, rows one by one."""
    subspace = mixture.subspace
    off = float(np.mean(subspace.squared_distances(points))) / 2
    new = Rows.make(np.asarray(subspace.project(points), dtype=np.float64))
    rank = subspace.rank
    if rank == 0:
        return off
    if rank == 1:
        model = mixture.rows
        return off + line_cross_entropy(
            new.points[:, 0], new.weights, model.points[:, 0], model.weights
        )
    stream = DrawStream(new.weights, order_rows(new), rank, seed)
    values = np.empty((N_RANDOMISATIONS, 0))
    m = min(_FIRST_LEVEL, 2 ** int(np.log2(max(1, max_evaluations // N_RANDOMISATIONS))))
    once_more = False
    while True:
        draws = stream.take(m)
        noise = draws.noise.reshape(-1, rank)
        references = 0.5 * np.einsum("ni,ni->n", noise, noise)
        logs = mixture.log_ratios(new.points[draws.rows.ravel()] + noise, references, n_jobs)
        values = np.concatenate([values, -logs.reshape(N_RANDOMISATIONS, m)], axis=1)
        stderr = values.mean(axis=1).std(ddof=1) / np.sqrt(N_RANDOMISATIONS)
        if (stderr <= tol and once_more) or 2 * values.size > max_evaluations:
            return off + float(values.mean())
        once_more = bool(stderr <= tol)
        m = values.shape[1]


@dataclass(frozen=True)
class _PlugIn:
    """The plug-in values of all rows, where quadrature gives them without error."""

    mutual_info: float
    label_mutual_info: float
    entropy: float
    conditional_entropy: float


def _plug_in_by_quadrature(mixture: Mixture) -> _PlugIn | None:
    rows = mixture.rows
    if mixture.subspace.rank > 1:
        return None
    if mixture.subspace.rank == 0:
        return _PlugIn(0.0, 0.0, 0.0, 0.0)
    line = rows.points[:, 0]
    total = line_cross_entropy(line, rows.weights, line, rows.weights)
    of_input = line_information(line, rows.weights, rows.inputs) if rows.has_replicas else 0.0
    of_label = total if rows.labels is None else line_information(line, rows.weights, rows.labels)
    return _PlugIn(max(0.0, total - of_input), max(0.0, total - of_label), total, of_input)


def _join_draws(portions: list[tuple[Draws, DrawSums]]) -> Draws:
    return Draws(
        np.concatenate([draws.rows for draws, _ in portions], axis=1),
        np.concatenate([draws.noise for draws, _ in portions], axis=1),
    )


def _join_sums(portions: list[tuple[Draws, DrawSums]]) -> DrawSums:
    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(sums, name) for _, sums in portions], axis=1)

    halves = [sums.half for _, sums in portions]
    half = None
    if halves[0] is not None:
        half = tuple(np.concatenate([h[c] for h in halves], axis=1) for c in range(3))
    names = ("own", "group", "label", "other", "half_replicas", "replicas")
    names += ("input_weight", "label_weight")
    return DrawSums(**{name: join(name) for name in names}, half=half)


class _Averages:
    """Averages over the draws so far, of the plug-in, of the ends, of the point estimates."""

    def __init__(
        self, mixture: Mixture, draws: Draws, sums: DrawSums, exact: _PlugIn | None
    ) -> None:
        self.rows = mixture.rows
        self.draws = draws
        self.sums = sums
        self._exact = exact
        self._inputs = self.rows.inputs[draws.rows]
        self._plug_in = Contributions.of(sums.all_data, sums)
        half = None if sums.half_data is None else Contributions.of(sums.half_data, sums)
        self._half = half
        self._point = self._plug_in.extrapolated(half)

    def of(self, values: np.ndarray) -> Average:
        """Average one value a draw."""
        return average_draws(values, self._inputs, self.rows.weights, self.rows.input_weights)

    def of_rows(self, values: np.ndarray) -> Average:
        """Average one value a row, known without drawing."""
        if not np.isfinite(values).all():
            return Average(np.inf)
        at_draws = self.of(values[self.draws.rows])
        return replace(at_draws, mean=float(self.rows.weights @ values), integration=0.0)

    def plug_in(self, name: str) -> Average:
        """The plug-in value of a quantity."""
        average = self.of(getattr(self._plug_in, name))
        if self._exact is None:
            return average
        return replace(average, mean=getattr(self._exact, name), integration=0.0)

    def point(self, name: str) -> Average:
        """The value of a quantity with its bias of order 1/r removed."""
        if self._exact is None or self._half is None:
            return self.plug_in(name) if self._half is None else self.of(getattr(self._point, name))
        correction = self.of(getattr(self._plug_in, name) - getattr(self._half, name))
        plug_in = self.plug_in(name)
        return replace(
            plug_in, mean=plug_in.mean + correction.mean, integration=correction.integration
        )

    def largest_stderr(self) -> float:
        """The standard error that the tolerance is about."""
        names = ["mutual_info"] + (["label_mutual_info"] if self.rows.labels is not None else [])
        return max(self.point(name).integration for name in names)


@dataclass(frozen=True)
class _Ends:
    """Lower and upper ends of the four quantities, each widened by its own error."""

    mutual_info: tuple[float, float]
    label_mutual_info: tuple[float, float]
    entropy: tuple[float, float]
    conditional_entropy: tuple[float, float]


def _find_ends(averages: _Averages, mixture: Mixture, inputs: Inputs, n_jobs: int | None) -> _Ends:
    """The brackets: plug-in at one end, what never saw the own row or input at the other."""
    rows, sums = mixture.rows, averages.sums
    sampled = inputs == "sampled"

    def low(*candidates: Average) -> float:
        return max(c.mean - c.margin(sampled=sampled) for c in candidates)

    def high(*candidates: Average) -> float:
        return min(c.mean + c.margin(sampled=sampled) for c in candidates)

    plug_in = {name: averages.plug_in(name) for name in _Ends.__annotations__}
    information_low, information_high = [plug_in["mutual_info"]], [plug_in["mutual_info"]]
    label_low, label_high = [plug_in["label_mutual_info"]], [plug_in["label_mutual_info"]]
    entropy_high = [plug_in["entropy"]]
    conditional_high = [plug_in["conditional_entropy"]]

    if rows.has_replicas:
        out = Contributions.of(sums.without_own_row, sums)
        gaussians = InputGaussians.fit(rows)
        gaussian_entropy = averages.of_rows(own_row_out_entropies(gaussians, rows))
        conditional_high = [averages.of(out.conditional_entropy), gaussian_entropy]
        entropy_high = [averages.of(out.entropy)]
        label_low = [averages.of(out.label_mutual_info)]
        total = -sums.all_data.total
        information_low = [
            averages.of(total - out.conditional_entropy),
            plug_in["entropy"].plus(replace(gaussian_entropy, mean=-gaussian_entropy.mean)),
            *_posterior_averages(averages, mixture, out, gaussians, n_jobs),
        ]
    if sampled:
        without = Contributions.of(sums.without_own_input, sums)
        rest = np.log1p(-np.minimum(sums.input_weight, 1 - 1e-16))
        log_input = -Contributions.of(sums.all_data, sums).conditional_entropy
        outside = averages.of_rows(own_input_out_entropies(rows))
        entropy_high = [averages.of(without.entropy + rest), outside]
        within = replace(plug_in["conditional_entropy"], mean=-plug_in["conditional_entropy"].mean)
        information_high = [averages.of(log_input + without.entropy + rest), outside.plus(within)]
        if rows.labels is not None:
            labels_entropy = rows.label_entropy + np.log(sums.label_weight)
            label_low = [averages.of(without.label_mutual_info + labels_entropy)]
    return _Ends(
        (low(*information_low), high(*information_high)),
        (low(*label_low), high(*label_high)),
        (low(plug_in["entropy"]), high(*entropy_high)),
        (low(plug_in["conditional_entropy"]), high(*conditional_high)),
    )


def _posterior_averages(
    averages: _Averages,
    mixture: Mixture,
    out: Contributions,
    gaussians: InputGaussians,
    n_jobs: int | None,
) -> list[Average]:
    """H(p) + E log q(x|t) for three posteriors q that never saw the draw's own row.

    They need equally many replicas of all inputs, else they are biased upwards.
    """
    rows, sums = mixture.rows, averages.sums
    if np.ptp(rows.replicas) > 0:
        return []
    found = [averages.of(out.mutual_info)]
    d = mixture.subspace.rank
    if not 0 < d <= MAX_POSTERIOR_DIMENSION:
        return found
    shape = averages.draws.rows.shape
    drawn, noise = averages.draws.rows.ravel(), averages.draws.noise.reshape(-1, d)
    own, others = (
        logs.reshape(shape) for logs in posterior_log_sums(gaussians, rows, drawn, noise, n_jobs)
    )
    log_p = np.log(sums.input_weight)
    without = sums.without_own_row
    both_own = np.logaddexp(own, without.input)
    both_total = np.logaddexp(np.logaddexp(own, others), without.total)
    return [
        *found,
        averages.of(own - np.logaddexp(own, others) - log_p),
        averages.of(both_own - both_total - log_p),
    ]


def _gaussian_ceiling(rows: Rows) -> float:
    """1/2 log det(I + Cov(S) / sigma^2): no law of this covariance carries more."""
    weighted = (rows.points - rows.mean) * np.sqrt(rows.weights)[:, None]
    small = weighted.T @ weighted if weighted.shape[1] <= len(weighted) else weighted @ weighted.T
    return 0.5 * float(np.linalg.slogdet(np.eye(len(small)) + small)[1])


def _assemble(
    averages: _Averages,
    mixture: Mixture,
    inputs: Inputs,
    n_jobs: int | None,
    n_evaluations: int,
    converged: bool,
) -> MixtureInformation:
    rows = mixture.rows
    ends = _find_ends(averages, mixture, inputs, n_jobs)
    notes = () if converged else ("tolerance not met",)
    ceiling = np.inf
    if inputs == "given":
        ceiling = min(rows.input_entropy, _gaussian_ceiling(rows))

    def information(name: str, highest: float) -> Quantity:
        lower, upper = getattr(ends, name)
        point = averages.point(name)
        # An interval may be cut at what is certain; an estimate above it, beyond its own error,
        # deserves a word.
        too_high = _around(averages.plug_in(name))[0] > highest + 1e-9 * (1 + abs(highest))
        upper = max(0.0, min(upper, highest))
        lower = max(0.0, min(lower, upper))
        value = float(np.clip(point.mean, lower, upper))
        found = Quantity(name, value, point.integration, lower, upper, notes=notes)
        return found.noted("above ceiling") if too_high else found

    def entropy(name: str) -> Quantity:
        lower, upper = getattr(ends, name)
        point = averages.point(name)
        value = float(np.clip(point.mean, lower, upper))
        found = Quantity(name, value, point.integration, lower, upper, notes=notes)
        constant = mixture.subspace.noise_entropy
        return replace(
            found, value=value + constant, lower=lower + constant, upper=upper + constant
        )

    plug_in = averages.plug_in("mutual_info")
    mutual_info = information("mutual_info", ceiling)
    if rows.input_entropy > 0 and plug_in.mean >= _SATURATED * rows.input_entropy:
        mutual_info = mutual_info.noted("saturated")
    label = None
    if rows.labels is not None:
        label = information("label_mutual_info", float(rows.label_entropy))
    return MixtureInformation(
        mutual_info=mutual_info,
        plug_in=Quantity("plug_in", plug_in.mean, plug_in.integration, *_around(plug_in)),
        entropy=entropy("entropy"),
        conditional_entropy=entropy("conditional_entropy"),
        label_mutual_info=label,
        ceiling=ceiling,
        label_ceiling=rows.label_entropy,
        stderr_inputs=averages.point("mutual_info").inputs,
        n_evaluations=n_evaluations,
        converged=converged,
        rank=mixture.subspace.rank,
    )


def _around(average: Average) -> tuple[float, float]:
    margin = replace(average, replicas=0.0).margin(sampled=False)
    return average.mean - margin, average.mean + margin
