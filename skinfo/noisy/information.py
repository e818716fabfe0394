"""Information and entropy of activations with Gaussian noise: the log-ratio of two mixtures.

    I(X;T) = E log g_x(t) / g(t),   I(Y;T) = E log g_y(t) / g(t),   h(T) = -E log g(t)

with t = s_i + sigma Z, g_x the mean over the replicas of x of the noise's density around them, and
g, g_y the mixtures of these over all inputs and over the inputs of a label. Numerator and
denominator are evaluated at the same draw, so the noise's own density cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skinfo._rows import Rows
from skinfo.noisy.brackets import Averages, find_ends, plug_in_by_quadrature
from skinfo.noisy.gaussians import MAX_POSTERIOR_DIMENSION
from skinfo.noisy.layout import order_rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.quadrature import line_cross_entropy
from skinfo.noisy.sampling import (
    N_RANDOMISATIONS,
    Average,
    Draws,
    DrawStream,
    StoppingRule,
    independent_draws,
    integration_error,
    level_sizes,
)
from skinfo.noisy.subspace import RESOLVED, Subspace
from skinfo.noisy.sums import Contributions, DrawSums
from skinfo.quantities import Quantity

# Draws that tell whether information is near its ceiling: below it by less than this, in nats.
_PILOT = 1024
_SMALL_DEFICIT = 0.3
# There half of the draws have their noise widened by 1 + _SPREAD / sqrt(d).
_SPREAD = 0.7
# Within this share of the entropy of the inputs, information says only that they can be told apart.
_SATURATED = 0.99
# An estimate that is above a ceiling by less is above it by the rounding of its draws.
_SLACK = 1e-4


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
    mixture: Mixture,
    *,
    tol: float = 0.01,
    population: bool = False,
    max_evaluations: int = 2**20,
    seed: int = 0,
    n_jobs: int | None = None,
) -> MixtureInformation:
    """Estimate I(X;T), I(Y;T), h(T) and h(T|X) of T = S + sigma Z, each with its bracket.

    Parameters
    ----------
    mixture : Mixture
        The mixture of Gaussians of this layer's noise around activations before it.
    tol : float
        Standard error aimed at, in nats.
    population : bool
        Whether the inputs were drawn from a larger population, or are the whole input law.
    max_evaluations : int
        Most points at which the mixture is evaluated.
    seed : int
        Seed of the draws.
    n_jobs : int or None
        Threads; the result does not depend on it.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, eq. (9)-(10);
    lower ends by Barber and Agakov, "The IM Algorithm", NIPS 2003.

    Examples
    --------
    >>> import numpy as np
    >>> mixture = Mixture.of(Rows.make(np.array([[-1.0], [1.0]])), sigma=0.5)
    >>> round(measure_mixture(mixture).mutual_info.value, 6)
    0.63272
    """
    exact = plug_in_by_quadrature(mixture)
    spread, spent = 1.0, 0
    if exact is None and not population and max_evaluations >= 4 * _PILOT:
        spread, spent = _choose_spread(mixture, seed, n_jobs), _PILOT
    stream = mixture.draw_stream(seed, spread)
    rule = StoppingRule(tol)
    portions: list[tuple[Draws, DrawSums]] = []
    for m in level_sizes(max_evaluations - spent):
        draws = stream.take(m)
        sums = mixture.sums_at(draws, population=population, n_jobs=n_jobs)
        if mixture.subspace.rank > MAX_POSTERIOR_DIMENSION:
            # Only the Gaussian posteriors need the noise again.
            draws = replace(draws, noise=draws.noise[:, :, :0])
        portions.append((draws, sums))
        spent += m * N_RANDOMISATIONS
        averages = Averages(mixture, _join_draws(portions), _join_sums(portions), exact)
        if rule.is_done(averages.largest_stderr()) or (rule.met and exact is not None):
            break
    return _assemble(averages, mixture, population, tol, n_jobs, spent, rule.met)


def _choose_spread(mixture: Mixture, seed: int, n_jobs: int | None) -> float:
    """Near saturation, how much wider half of the noise is drawn; 1 elsewhere."""
    draws = independent_draws(mixture.rows.weights, mixture.subspace.rank, _PILOT, seed)
    sums = mixture.sums_at(draws, population=False, n_jobs=n_jobs)
    information = Contributions.of(sums.all_data, sums).mutual_info
    deficit = np.mean(-np.log(sums.input_weight) - information)
    return 1 + _SPREAD / np.sqrt(mixture.subspace.rank) if deficit < _SMALL_DEFICIT else 1.0


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
    check_near(subspace, points, RESOLVED, "in double precision its rounding hides the noise")
    off = float(np.mean(subspace.squared_distances(points))) / 2
    new = Rows.make(subspace.project(points))
    rank = subspace.rank
    if rank == 0:
        return off
    if rank == 1:
        model = mixture.in_subspace
        return off + line_cross_entropy(
            new.points[:, 0], new.weights, model.points[:, 0], model.weights
        )
    stream = DrawStream(new.weights, order_rows(new), rank, seed)
    rule = StoppingRule(tol)
    precision = subspace.precision
    mean_along = float(np.einsum("ni,ni->n", new.points @ precision, new.points).mean())
    values = control = np.empty((N_RANDOMISATIONS, 0))
    for m in level_sizes(max_evaluations):
        draws = stream.take(m)
        noise = draws.noise.reshape(-1, rank)
        square = np.einsum("ni,ni->n", noise, noise)
        t = new.points[draws.rows.ravel()] + noise
        logs = mixture.log_ratios(t, 0.5 * square, n_jobs)
        values = np.concatenate([values, -logs.reshape(N_RANDOMISATIONS, m)], axis=1)
        along = np.einsum("ni,ni->n", t @ precision, t) - square
        centred = 0.5 * (along - mean_along - np.trace(precision) + rank)
        control = np.concatenate([control, centred.reshape(N_RANDOMISATIONS, m)], axis=1)
        value, stderr = integration_error(values, control, np.ones_like(values))
        if rule.is_done(stderr):
            break
    return off + value


def check_near(subspace: Subspace, points: np.ndarray, limit: float, why: str) -> None:
    """Check that no point lies ``limit`` sigma or more from the mean of the fitted rows."""
    with np.errstate(over="ignore"):
        farthest = np.abs((points - subspace.origin) / subspace.sigma).max(axis=1)
    row = int(farthest.argmax())
    if not farthest[row] < limit:
        raise ValueError(
            f"Row {row} lies {farthest[row]:.1e} sigma ({subspace.sigma:g}) from the mean of the "
            f"fitted rows: {why}. Check its units."
        )


def _join_draws(portions: list[tuple[Draws, DrawSums]]) -> Draws:
    return Draws(
        np.concatenate([draws.rows for draws, _ in portions], axis=1),
        np.concatenate([draws.noise for draws, _ in portions], axis=1),
        np.concatenate([draws.weights for draws, _ in portions], axis=1),
    )


def _join_sums(portions: list[tuple[Draws, DrawSums]]) -> DrawSums:
    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(sums, name) for _, sums in portions], axis=1)

    halves = [sums.half for _, sums in portions if sums.half is not None]
    half = None
    if halves:
        group, label, other = (np.concatenate(part, axis=1) for part in zip(*halves, strict=True))
        half = (group, label, other)
    return DrawSums(
        own=join("own"),
        group=join("group"),
        label=join("label"),
        other=join("other"),
        half=half,
        half_replicas=join("half_replicas"),
        replicas=join("replicas"),
        input_weight=join("input_weight"),
        label_weight=join("label_weight"),
        control=join("control"),
    )


def _assemble(
    averages: Averages,
    mixture: Mixture,
    population: bool,
    tol: float,
    n_jobs: int | None,
    n_evaluations: int,
    converged: bool,
) -> MixtureInformation:
    ends = find_ends(averages, mixture, population, tol, n_jobs)
    notes = () if converged else ("tolerance not met",)
    ceiling, label_ceiling = _ceilings(mixture, population)

    def within(name: str, lowest: float = -np.inf, highest: float = np.inf) -> Quantity:
        # Ends that cross, by their errors, span the bracket all the same.
        lower, upper = np.clip(sorted(getattr(ends, name)), lowest, highest).tolist()
        point = averages.point(name)
        value = float(np.clip(point.mean, lower, upper))
        found = Quantity(name, value, point.integration, lower, upper, notes=notes)
        return found.noted("above ceiling") if point.mean > highest + _SLACK else found

    def entropy(name: str) -> Quantity:
        found, constant = within(name), mixture.subspace.noise_entropy
        value, lower, upper = (end + constant for end in (found.value, found.lower, found.upper))
        return replace(found, value=value, lower=lower, upper=upper)

    plug_in = averages.plug_in("mutual_info")
    paper = Quantity("plug_in", plug_in.mean, plug_in.integration, *_around(plug_in))
    if plug_in.mean > ceiling + _SLACK:
        paper = paper.noted("above ceiling")
    mutual_info = within("mutual_info", 0.0, ceiling)
    if 0 < _SATURATED * mixture.rows.input_entropy <= mutual_info.value:
        mutual_info = mutual_info.noted("saturated")
    label = None if label_ceiling is None else within("label_mutual_info", 0.0, label_ceiling)
    return MixtureInformation(
        mutual_info=mutual_info,
        plug_in=paper,
        entropy=entropy("entropy"),
        conditional_entropy=entropy("conditional_entropy"),
        label_mutual_info=label,
        ceiling=ceiling,
        label_ceiling=label_ceiling,
        stderr_inputs=averages.point("mutual_info").inputs,
        n_evaluations=n_evaluations,
        converged=converged,
        rank=mixture.subspace.rank,
    )


def _ceilings(mixture: Mixture, population: bool) -> tuple[float, float | None]:
    """What I(X;T) and, with labels, I(Y;T) cannot exceed."""
    rows = mixture.rows
    ceiling = (
        np.inf if population else min(rows.input_entropy, mixture.subspace.gaussian_information)
    )
    if rows.label_weights is None:
        return ceiling, None
    # Of a population only the number of classes is known for certain.
    return ceiling, float(np.log(len(rows.label_weights))) if population else rows.label_entropy


def _around(average: Average) -> tuple[float, float]:
    margin = replace(average, replicas=0.0).margin(population=False)
    return average.mean - margin, average.mean + margin
