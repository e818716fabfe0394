"""Information and entropy of activations with noise: the log-ratio of two mixtures.

    I(X;T) = E log g_x(t) / g(t),   I(Y;T) = E log g_y(t) / g(t),   h(T) = -E log g(t)
    I(X;T|Y) = E log g_x(t) / g_y(t)

with t drawn around a row, g_x the mean over the replicas of x of the density of T given them, and
g, g_y the mixtures of these over all inputs and over the inputs of a label. Numerator and
denominator are evaluated at the same draw, so the noise's own density cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from skinfo._rows import Rows, discrete_entropy
from skinfo.noisy.brackets import find_ends, sampled_label_entropy
from skinfo.noisy.channel import Components, Placed
from skinfo.noisy.densities import DENSITIES, Density
from skinfo.noisy.gaussians import MAX_POSTERIOR_DIMENSION
from skinfo.noisy.layout import RESOLVED, Subspace, order_rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import (
    MEASURED_NAMES,
    Averages,
    Measured,
    contributions,
    line_cross_entropy,
    plug_in_by_quadrature,
)
from skinfo.noisy.population import hold_out
from skinfo.noisy.predictors import predict_labels
from skinfo.noisy.sampling import (
    N_RANDOMISATIONS,
    Average,
    Draws,
    DrawStream,
    StoppingRule,
    independent_draws,
    integration_error,
    level_sizes,
    missed,
)
from skinfo.noisy.sums import DrawSums
from skinfo.noisy.units import ScaledUnits
from skinfo.quantities import Quantity

# Draws that tell whether information is near its ceiling: below it by less than this, in nats.
_PILOT = 1024
_SMALL_DEFICIT = 0.3
# There half of the draws have their noise widened by 1 + _SPREAD / sqrt(d).
_SPREAD = 0.7
# Within this share of the entropy of the inputs, information says only that they can be told apart.
_SATURATED = 0.99
# A bracket is all on one side of its value that reaches so many times farther there, and so far in
# nats.
_ONE_SIDED, _FAR = 5.0, 0.1
_AT_AN_END = "too few inputs"
# A lower end of this share of the upper end leaves little to ask.
_WELL_KNOWN = 0.9
_OF_LABELS = ("label_mutual_info", "conditional_mutual_info", "conditional_ceiling")
# An estimate is above a ceiling if it is so by more than rounding, of single precision, and by more
# than so many 95 % margins: one of 20 healthy ones at their ceiling is above by one.
_SLACK, _MARGINS = 2e-4, 2.0

_Portion = TypeVar("_Portion", Draws, DrawSums)


@dataclass(frozen=True)
class MixtureInformation(Measured[Quantity]):
    """What :func:`measure_mixture` found, in nats."""

    plug_in: Quantity  # the paper's estimate of I(X;T); in mutual_info its bias is reduced
    ceiling: float  # what I(X;T) cannot exceed
    conditional_ceiling: float  # what I(X;T|Y) cannot exceed
    # H(Y), and of a population the logarithm of the number of classes seen; none without labels.
    label_ceilings: tuple[Quantity, ...]
    # E[log g_x / g_y | y] of every label, and its standard error; None without labels.
    class_conditional: tuple[np.ndarray, np.ndarray] | None
    of_patterns: tuple[Quantity, ...]  # parts of the values that zeros or signs alone give
    how_much_is_known: tuple[Quantity, ...]  # of a population; else empty
    stderr_inputs: float  # standard error of I(X;T) from the finite number of inputs
    n_evaluations: int  # points at which the mixture was evaluated
    converged: bool  # whether the standard errors fell below the tolerance
    rank: int  # number of directions in which the rows vary
    # Labels predicted on other rows beside permuted ones, if these were asked for.
    of_prediction: tuple[Quantity, ...] = ()

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All numbers, those of the label if there are labels."""
        every = (
            self.mutual_info,
            self.plug_in,
            self.label_mutual_info,
            self.entropy,
            self.conditional_entropy,
            self.conditional_mutual_info,
            Quantity.exact("ceiling", self.ceiling),
            *self.label_ceilings,
            Quantity.exact("conditional_ceiling", self.conditional_ceiling),
            *self.of_patterns,
            *self.how_much_is_known,
            *self.of_prediction,
        )
        return tuple(q for q in every if self.label_ceilings or q.name not in _OF_LABELS)


def measure_mixture(
    mixture: Mixture,
    *,
    tol: float = 0.01,
    population: bool = False,
    max_evaluations: int = 2**20,
    seed: int = 0,
    n_jobs: int | None = None,
    densities: Sequence[Density] = (),
    label_predictor: Any = None,
    n_permutations: int = 0,
) -> MixtureInformation:
    """Estimate I(X;T), I(Y;T), h(T), h(T|X) and I(X;T|Y) of a mixture, each with its bracket.

    The parameters are those of :class:`skinfo.NoisyMIEstimator`, ``tol`` in nats.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, eq. (9)-(10);
    lower ends by Barber and Agakov, "The IM Algorithm", NIPS 2003.

    Examples
    --------
    >>> import numpy as np
    >>> mixture = Mixture.of(Rows.make(np.array([[-1.0], [1.0]])), 0.5)
    >>> round(measure_mixture(mixture).mutual_info.value, 6)
    0.63272
    """
    exact = plug_in_by_quadrature(mixture)
    spread, spent = 1.0, 0
    if exact is None and not population and max_evaluations >= 4 * _PILOT:
        pilot = independent_draws(mixture.rows.weights, mixture.space.rank, _PILOT, seed)
        sums = mixture.sums_at(pilot, population=False, n_jobs=n_jobs)
        spread, spent = _choose_spread(sums, mixture.space.rank), _PILOT
    stream = mixture.draw_stream(seed, spread)
    rule = StoppingRule(tol)
    all_draws: list[Draws] = []
    all_sums: list[DrawSums] = []
    for m in level_sizes(max_evaluations - spent):
        for portion in mixture.portions_of(m):
            draws = stream.take(portion)
            all_sums.append(mixture.sums_at(draws, population=population, n_jobs=n_jobs))
            if mixture.space.rank > MAX_POSTERIOR_DIMENSION:
                # Only the Gaussian posteriors need the noise again.
                draws = replace(draws, noise=draws.noise[:, :, :0].copy())
            all_draws.append(draws)
        spent += m * N_RANDOMISATIONS
        averages = Averages(mixture, _join(all_draws), _join(all_sums), exact)
        if rule.is_done(averages.largest_stderr()) or (rule.met and exact is not None):
            break
    held_out = predicted = None
    if population and mixture.rows.labels is not None:
        predicted = predict_labels(
            mixture, averages.sums, seed=seed, predictor=label_predictor,
            n_permutations=n_permutations, n_jobs=n_jobs,
        )  # fmt: skip
    if population:
        candidates = (*DENSITIES, *densities)
        held_out = hold_out(mixture, averages.sums, candidates, seed=seed, n_jobs=n_jobs)
    ends = find_ends(
        averages, mixture, population=population, held_out=held_out, predicted=predicted, tol=tol,
        n_jobs=n_jobs,
    )  # fmt: skip
    found = _assemble(averages, mixture, ends, spent, population=population, converged=rule.met)
    if predicted is None:
        return found
    label = found.label_mutual_info
    if predicted.indistinguishable:
        label = label.noted("indistinguishable from no information")
    return replace(found, label_mutual_info=label, of_prediction=predicted.quantities)


def _assemble(
    averages: Averages, mixture: Mixture, ends: Measured[tuple[float, float]],
    n_evaluations: int, *, population: bool, converged: bool,
) -> MixtureInformation:  # fmt: skip
    """Put every value into its bracket and below its ceiling, with the notes that belong to it."""
    notes = () if converged else ("tolerance not met",)
    rows = mixture.rows
    ceiling = np.inf if population else min(rows.input_entropy, mixture.most_information)
    label_ceilings = _label_ceilings(rows, population=population)
    lowest = Measured(0.0, 0.0, -np.inf, -np.inf, 0.0)
    most = label_ceilings[0].upper if label_ceilings else np.nan
    conditional_ceiling = np.inf
    if rows.label_weights is not None and not population:
        # H(X|Y): the label is a function of the input.
        conditional_ceiling = max(0.0, rows.input_entropy - discrete_entropy(rows.label_weights))
    highest = Measured(ceiling, most, np.inf, np.inf, conditional_ceiling)
    in_brackets = zip(MEASURED_NAMES, averages.point, ends, lowest, highest, strict=True)
    found = [
        replace(_within(*parts, notes), **averages.repeated(parts[0], population=population))
        for parts in in_brackets
    ]
    if population:
        found = [noted_at_an_end(quantity) for quantity in found]
    mutual_info, label, entropy, conditional, within_labels = found
    # Of a population the value may be beyond H(X) of the rows, moved there by its lower end.
    apart = _SATURATED * rows.input_entropy <= mutual_info.value <= rows.input_entropy + _SLACK
    if apart and rows.input_entropy > 0:
        mutual_info = mutual_info.noted("saturated")
    if mixture.rows.has_replicas and mixture.rows.replicas.min() == 1:
        mutual_info = mutual_info.noted("single rows")
    return MixtureInformation(
        mutual_info=mutual_info,
        label_mutual_info=label,
        entropy=_shifted(entropy, mixture.components, population=population),
        conditional_entropy=_shifted(conditional, mixture.components, population=population),
        conditional_mutual_info=within_labels,
        plug_in=replace(
            _plug_in(averages.plug_in.mutual_info, ceiling),
            **averages.repeated("mutual_info", plug_in=True, population=population),
        ),
        ceiling=ceiling,
        conditional_ceiling=conditional_ceiling,
        label_ceilings=label_ceilings,
        class_conditional=averages.class_conditional() if label_ceilings else None,
        of_patterns=_pattern_information(mixture.components, population=population),
        how_much_is_known=_how_much_is_known(mutual_info, label, most, rows) if population else (),
        stderr_inputs=averages.point.mutual_info.inputs,
        n_evaluations=n_evaluations,
        converged=converged,
        rank=mixture.space.rank,
    )


def _how_much_is_known(
    mutual_info: Quantity, label: Quantity, label_ceiling: float, rows: Rows
) -> tuple[Quantity, ...]:
    """One less the width of each bracket as a share of the most that it may be, and what is needed.

    No lower end that holds for every law grows faster than 2 log n, so that one of nine tenths of
    the upper end takes so many times the inputs at least.
    """
    found = []
    if np.isfinite(mutual_info.upper):
        known = mutual_info.lower / mutual_info.upper if mutual_info.upper > 0 else 1.0
        found.append(Quantity.of_unknown_error("known", known))
        lacking = _WELL_KNOWN * mutual_info.upper - mutual_info.lower
        n = len(rows.independent_weights)
        with np.errstate(over="ignore"):
            factor = float(np.exp(max(0, lacking) / 2))
        found.append(Quantity.of_unknown_error("inputs_needed", n * factor))
    if label_ceiling > 0:
        width = label.upper - label.lower
        found.append(Quantity.of_unknown_error("label_known", 1 - width / label_ceiling))
    return tuple(found)


def _choose_spread(sums: DrawSums, rank: int) -> float:
    """Near saturation, how much wider half of the noise is drawn; 1 elsewhere."""
    information = contributions(sums.all_data, sums).mutual_info
    deficit = np.mean(-np.log(sums.input_weight) - information)
    return 1 + _SPREAD / np.sqrt(rank) if deficit < _SMALL_DEFICIT else 1.0


def cross_information(
    mixture: Mixture,
    new: Placed,
    *,
    tol: float,
    max_evaluations: int,
    seed: int,
    n_jobs: int | None,
) -> float:
    """Compute E log of the noise's density over g at T of new rows, in nats, rows one by one."""
    space = mixture.space
    if new.strata is not None and (new.strata < 0).any():
        # A row whose zeros or signs no fitted row has.
        return np.inf
    check_near(space, new.points, RESOLVED, "in double precision its rounding hides the noise")
    off = float(np.mean(_off_the_rows(space, new)))
    in_space = Rows.make(space.project(new.points))
    rank, one_stratum = space.rank, mixture.components.strata is None
    if rank == 0 and one_stratum:
        return off
    deviations = None
    if isinstance(space, ScaledUnits) and new.deviations is not None:
        deviations = new.deviations[:, space.kept] / space.scale
    if rank == 1 and one_stratum:
        model = mixture.in_space
        along_line = line_cross_entropy(
            in_space.points[:, 0],
            in_space.weights,
            model.points[:, 0],
            model.weights,
            None if deviations is None else deviations[:, 0],
            None if model.deviations is None else model.deviations[:, 0],
        )
        if np.isfinite(along_line):
            return off + along_line
    stream = DrawStream(in_space.weights, order_rows(in_space), rank, seed)
    rule = StoppingRule(tol)
    squares = space.standardised_squares(in_space.points)
    spread: float | np.ndarray
    if isinstance(space, ScaledUnits):
        of_noise = np.diag(space.precision)
        spread = of_noise.sum() if deviations is None else deviations**2 @ of_noise
    else:
        spread = rank - space.spectrum.linear_error
    log_volumes = None if deviations is None else np.log(deviations).sum(axis=1)
    values = control = leverage = np.empty((N_RANDOMISATIONS, 0))
    for m in level_sizes(max_evaluations):
        draws = stream.take(m)
        drawn, noise = draws.rows.ravel(), draws.noise.reshape(draws.rows.size, rank)
        square = np.einsum("ni,ni->n", noise, noise)
        t = in_space.points[drawn] + (noise if deviations is None else noise * deviations[drawn])
        references = 0.5 * square + (0.0 if log_volumes is None else log_volumes[drawn])
        strata = None if new.strata is None else new.strata[drawn]
        logs = mixture.log_ratios(t, references, n_jobs, strata=strata)
        values = np.concatenate([values, -logs.reshape(N_RANDOMISATIONS, m)], axis=1)
        along = space.standardised_squares(t) - square
        centred = 0.5 * (along - squares.mean() - np.mean(spread) + rank)
        control = np.concatenate([control, centred.reshape(N_RANDOMISATIONS, m)], axis=1)
        of_rows = 0.5 * (squares + spread - squares.mean() - np.mean(spread))[draws.rows]
        leverage = np.concatenate([leverage, of_rows], axis=1)
        seen = control - leverage if missed(leverage) else control
        value, stderr = integration_error(values, seen, np.ones_like(values))
        if rule.is_done(stderr):
            break
    return off + value


def _off_the_rows(space: Subspace | ScaledUnits, new: Placed) -> np.ndarray:
    """What rows contribute in directions or units in which the fitted rows are all the same.

    The Kullback-Leibler divergence of their noise from that of the fitted rows.
    """
    values = 0.5 * space.squared_distances(new.points)
    if isinstance(space, ScaledUnits) and new.deviations is not None:
        ratios = new.deviations[:, space.left_out] / space.common
        values += (0.5 * (ratios**2 - 1) - np.log(ratios)).sum(axis=1)
    return values


def check_near(space: Subspace | ScaledUnits, points: np.ndarray, limit: float, why: str) -> None:
    """Check that no point lies ``limit`` sigma or more from the fitted rows."""
    unit: np.ndarray | float
    if isinstance(space, ScaledUnits):
        unit, what = np.ones(space.dimension), "of the noise from the fitted rows"
        unit[space.kept] = space.scale
    else:
        unit, what = space.sigma, f"({space.sigma:g}) from the mean of the fitted rows"
    with np.errstate(over="ignore"):
        farthest = np.abs((points - space.origin) / unit).max(axis=1)
    row = int(farthest.argmax())
    if not farthest[row] < limit:
        raise ValueError(
            f"Row {row} lies {farthest[row]:.1e} sigma {what}: {why}. Check its units."
        )


def _join(portions: Sequence[_Portion]) -> _Portion:
    """One after another, draw by draw."""
    joined: dict[str, Any] = {}
    for field in fields(portions[0]):
        values = [getattr(portion, field.name) for portion in portions]
        joined[field.name] = None if values[0] is None else np.concatenate(values, axis=1)
    return type(portions[0])(**joined)


def _within(
    name: str, average: Average, ends: tuple[float, float], lowest: float, highest: float,
    notes: tuple[str, ...],
) -> Quantity:  # fmt: skip
    """Put a value into its bracket, and both below what cannot be exceeded."""
    # Ends that cross, by their errors, span the bracket all the same.
    lower, upper = np.clip(sorted(ends), lowest, highest).tolist()
    value = float(np.clip(average.mean, lower, upper))
    quantity = Quantity(name, value, average.integration, lower, upper, notes=notes)
    return quantity.noted("above ceiling") if _is_above(average, highest) else quantity


def _is_above(average: Average, ceiling: float) -> bool:
    """Whether an estimate is above a ceiling beyond its error."""
    return average.mean - _MARGINS * average.margin(population=False) > ceiling + _SLACK


def _shifted(quantity: Quantity, components: Components, *, population: bool) -> Quantity:
    """An entropy, no longer relative to that of the noise, which a sample gives with an error."""
    noise, sampled = components.noise_entropy, components.noise_entropy_error * population
    margin = Average(0.0, inputs=sampled).margin(population=True)
    return replace(
        quantity,
        value=quantity.value + noise,
        lower=quantity.lower + noise - margin,
        upper=quantity.upper + noise + margin,
        stderr_sampling=float(np.hypot(quantity.stderr_sampling, sampled)),
    )


def noted_at_an_end(quantity: Quantity, far: float = _FAR) -> Quantity:
    """Note, or no longer, a value that is one end of a bracket which goes on far beyond.

    Beyond ``far``, by default a number of nats.
    """
    sides = (quantity.value - quantity.lower, quantity.upper - quantity.value)
    if max(sides) > max(_ONE_SIDED * min(sides), far):
        return quantity.noted(_AT_AN_END)
    return replace(quantity, notes=tuple(note for note in quantity.notes if note != _AT_AN_END))


def _label_ceilings(rows: Rows, *, population: bool) -> tuple[Quantity, ...]:
    """H(Y), which I(Y;T) cannot exceed; of a population log K beside it."""
    p, counts = rows.label_weights, rows.inputs_of_labels
    if p is None or counts is None:
        return ()
    if population:
        classes = Quantity.exact("label_log_classes", float(np.log(len(p))))
        return (sampled_label_entropy(rows, p, counts), classes)
    return (Quantity.exact("label_ceiling", discrete_entropy(p)),)


def _plug_in(average: Average, ceiling: float) -> Quantity:
    """The paper's estimate, with the error of its integration alone."""
    average = replace(average, replicas=0.0)
    margin = average.margin(population=False)
    quantity = Quantity(
        "plug_in", average.mean, average.integration, average.mean - margin, average.mean + margin
    )
    return quantity.noted("above ceiling") if _is_above(average, ceiling) else quantity


def _pattern_information(components: Components, *, population: bool) -> tuple[Quantity, ...]:
    """What zeros, or signs, that the noise leaves tell of the input and of the label.

    Parts of the values, I(X;A) and I(Y;A) with A the pattern: exact for given inputs of one row.
    Replicas make it too large; its bias of order 1/r is removed as that of the values is.
    """
    rows = components.rows
    if components.strata is None:
        return ()
    parts = {"pattern_information": rows.inputs}
    if rows.labels is not None:
        parts["label_pattern_information"] = rows.labels
    found = []
    for name, codes in parts.items():
        plug_in = max(0.0, components.pattern_information(codes))
        value = plug_in
        if rows.has_replicas:
            of_halves = [
                components.pattern_information(codes, rows.weights_of_half(half)) for half in (0, 1)
            ]
            value = float(np.clip(2 * plug_in - np.mean(of_halves), 0.0, plug_in))
        lower = 0.0 if population or rows.has_replicas else value
        upper = np.inf if population else plug_in
        found.append(Quantity(name, value, lower=lower, upper=upper))
    return tuple(found)
