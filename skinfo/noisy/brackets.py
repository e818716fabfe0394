"""The plug-in values, and the two ends that hold the truth between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from skinfo._rows import Rows, discrete_entropy
from skinfo.noisy.gaussians import (
    MAX_POSTERIOR_DIMENSION,
    InputGaussians,
    own_input_out_entropies,
    own_row_out_entropies,
    posterior_log_sums,
)
from skinfo.noisy.kernels.line import (
    integrate_line,
    integrate_segments,
    integrate_unequal,
    integrate_unequal_segments,
)
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.sampling import (
    Average,
    Draws,
    average_draws,
    class_means,
    integration_error,
    missed,
    randomisation_means,
    variance_components,
)
from skinfo.noisy.sums import Densities, DrawSums
from skinfo.quantities import Quantity

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Measured(Generic[_Value]):
    """One value of each quantity: I(X;T), I(Y;T), h(T), h(T|X) and I(X;T|Y).

    Entropies are relative to the noise's, (d / 2) log(2 pi e sigma^2), until they are reported.
    """

    mutual_info: _Value
    label_mutual_info: _Value
    entropy: _Value
    conditional_entropy: _Value
    conditional_mutual_info: _Value

    def __iter__(self) -> Iterator[_Value]:
        return (getattr(self, name) for name in MEASURED_NAMES)


#: What is measured, each with a bracket.
MEASURED_NAMES = tuple(field.name for field in fields(Measured))

#: A mode of which so many rows are expected is missed by all of them with 5 %.
MISSED = 3.0
# Shares of a posterior that go to p(y): no draw costs more than the logarithm of the share.
_PRIOR_SHARES = (0.003, 0.01, 0.03, 0.1, 0.3)
# The classes seen are all there are where each was drawn so often.
_OFTEN = 5

# Averages that may be the end of a bracket, by the name of the quantity.
_Candidates = dict[str, list[Average]]


def contributions(densities: Densities, sums: DrawSums) -> Measured[np.ndarray]:
    """Log g_x/g, log g_y/g, -log g, -log g_x, log g_x/g_y at each draw: means are measured."""
    log_input = densities.input - np.log(sums.input_weight)
    log_label = densities.label - np.log(sums.label_weight)
    with np.errstate(invalid="ignore"):
        return Measured(
            mutual_info=_minus(log_input, densities.total),
            label_mutual_info=_minus(log_label, densities.total),
            entropy=-densities.total,
            conditional_entropy=-log_input,
            conditional_mutual_info=_minus(log_input, log_label),
        )


def point_contributions(
    plug_in: Measured[np.ndarray], half: Measured[np.ndarray] | None
) -> Measured[np.ndarray]:
    """Remove the bias of order 1/r by Richardson's extrapolation: 2 u_r - u_{r/2}."""
    if half is None:
        return plug_in
    return Measured(*(2 * all_rows - part for all_rows, part in zip(plug_in, half, strict=True)))


def _minus(logarithm: np.ndarray, total: np.ndarray) -> np.ndarray:
    """A difference of logarithms in which log 0 - log 0 is log 0."""
    return np.where(np.isneginf(logarithm), -np.inf, logarithm - total)


def line_cross_entropy(
    points: np.ndarray,
    weights: np.ndarray,
    model: np.ndarray,
    model_weights: np.ndarray,
    deviations: np.ndarray | None = None,
    model_deviations: np.ndarray | None = None,
) -> float:
    """Compute E log phi(Z) / q(s + Z) in nats: the cross-information of two mixtures on a line.

    Rows, in units of sigma, and probabilities of the law drawn from, (n,), and of the law
    evaluated, (m,). With both the same it is I(S; S + Z), to 1e-10; between far rows of another
    model its logarithm has a bend, which costs up to 2e-5 of the value. With ``deviations``, (n,)
    and (m,), the noise of every row has its own, phi is that of the row drawn, and a bend costs
    nothing; NaN where it would take longer than about a second.
    """
    if deviations is not None or model_deviations is not None:
        own = np.ones(len(points)) if deviations is None else deviations
        others = np.ones(len(model)) if model_deviations is None else model_deviations
        integral, _ = integrate_unequal(
            np.concatenate([points, model]).astype(np.float64),
            np.concatenate([own, others]).astype(np.float64),
            np.concatenate([weights, model_weights]),
            len(points),
        )
        return float(integral) - 0.5 - float(weights @ np.log(own))
    order, model_order = np.argsort(points), np.argsort(model)
    integral = integrate_line(
        np.asarray(points, dtype=np.float64)[order],
        weights[order],
        np.asarray(model, dtype=np.float64)[model_order],
        model_weights[model_order],
    )
    return float(integral) - 0.5


def line_information(
    points: np.ndarray,
    weights: np.ndarray,
    parts: np.ndarray,
    deviations: np.ndarray | None = None,
) -> float:
    """Compute the mean over parts, inputs or labels, of I(S; S + Z) within each part, in nats.

    With ``deviations``, (n,), the noise of every row has its own; NaN where it would take longer
    than about a second.
    """
    order = np.lexsort((points, parts))
    mass = np.bincount(parts, weights=weights)
    starts = np.searchsorted(parts[order], np.arange(len(mass) + 1))
    integrals = np.empty(len(mass))
    sorted_points = np.asarray(points, dtype=np.float64)[order]
    shares = (weights / mass[parts])[order]
    if deviations is None:
        integrate_segments(sorted_points, shares, starts, integrals)
        return float(mass @ (integrals - 0.5))
    widths = np.asarray(deviations, dtype=np.float64)[order]
    integrate_unequal_segments(sorted_points, widths, shares, starts, integrals)
    return float(mass @ (integrals - 0.5)) - float(weights @ np.log(deviations))


def plug_in_by_quadrature(mixture: Mixture) -> Measured[float] | None:
    """Integrate where all rows lie on a line or in a point; None elsewhere."""
    rows, components = mixture.in_space, mixture.components
    if mixture.space.rank > 1:
        return None
    nobody = np.zeros(len(rows.points), dtype=np.int64)

    def within(parts: np.ndarray) -> float:
        """Information of S within each part: of its pattern, and of T given that."""
        of_pattern = components.pattern_entropy_within(parts)
        if mixture.space.rank == 0:
            return of_pattern
        line = rows.points[:, 0]
        deviations = None if rows.deviations is None else rows.deviations[:, 0]
        if components.strata is not None:
            parts = components.cells(parts)
        elif parts is nobody and deviations is None:
            return line_cross_entropy(line, rows.weights, line, rows.weights)
        return of_pattern + line_information(line, rows.weights, parts, deviations)

    total = within(nobody)
    if not np.isfinite(total):
        return None
    of_input = within(rows.inputs) if rows.has_replicas else 0.0
    of_label = total if rows.labels is None else within(rows.labels)
    informations = (total - of_input, total - of_label, of_label - of_input)
    if not np.isfinite(informations).all():
        return None
    mutual_info, label, conditional = (max(0.0, difference) for difference in informations)
    return Measured(mutual_info, label, total, of_input, conditional)


class Averages:
    """Averages over the draws so far, of the plug-in, of the ends, of the point estimates."""

    def __init__(
        self, mixture: Mixture, draws: Draws, sums: DrawSums, exact: Measured[float] | None
    ) -> None:
        self.rows = mixture.rows
        self.draws = draws
        self._control, self._unseen = sums.control, _error_of_light_rows(self.rows.weights, draws)
        if missed(sums.leverage):
            self._control = sums.control - sums.leverage
            self._unseen += _error_of_far_rows(mixture, draws)
        self.sums = sums
        self._exact = exact
        self._inputs = self.rows.inputs[draws.rows]
        self._plug_in = contributions(sums.all_data, sums)
        self._half = None if sums.half_data is None else contributions(sums.half_data, sums)
        self._point = point_contributions(self._plug_in, self._half)

    def of(self, values: np.ndarray) -> Average:
        """Average one value per draw."""
        average = average_draws(
            values,
            self._control,
            self.draws.weights,
            self._inputs,
            self.rows.weights,
            self.rows.input_weights,
        )
        return replace(average, integration=float(np.hypot(average.integration, self._unseen)))

    def of_rows(self, values: np.ndarray) -> Average:
        """Average one value per row, computed without drawing."""
        if not np.isfinite(values).all():
            return Average(np.inf)
        at_draws = self.of(values[self.draws.rows])
        return replace(at_draws, mean=float(self.rows.weights @ values), integration=0.0)

    @cached_property
    def plug_in(self) -> Measured[Average]:
        """The plug-in values, by quadrature where that gives them without error."""
        averages = Measured(*map(self.of, self._plug_in))
        if self._exact is None:
            return averages
        pairs = zip(averages, self._exact, strict=True)
        return Measured(*(replace(a, mean=exact, integration=0.0) for a, exact in pairs))

    @cached_property
    def point(self) -> Measured[Average]:
        """The values with their bias of order 1/r removed."""
        if self._half is None:
            return self.plug_in
        if self._exact is None:
            return Measured(*map(self.of, self._point))
        corrected = []
        for plug_in, all_rows, half in zip(self.plug_in, self._plug_in, self._half, strict=True):
            correction = self.of(all_rows - half)
            mean = plug_in.mean + correction.mean
            corrected.append(replace(plug_in, mean=mean, integration=correction.integration))
        return Measured(*corrected)

    def class_conditional(self) -> tuple[np.ndarray, np.ndarray]:
        """E[log g_x / g_y | y] of every label and its standard error of integration."""
        labels = self.rows.required_labels()
        return class_means(
            self._point.conditional_mutual_info,
            self._control,
            self.draws.weights,
            labels[self.draws.rows],
            np.bincount(labels, weights=self.rows.weights),
        )

    def repeated(self, name: str, *, plug_in: bool = False, population: bool) -> dict[str, Any]:
        """How far repeated measurements of a value fall apart: fields of a quantity.

        Replicas: the variance between the rows of an input, that of the noise at one row taken out,
        times sum w^2; each row is a part 1/r of its own density, which makes it look nearer to the
        others by 1 - 1/r.
        """
        values = getattr(self._plug_in if plug_in else self._point, name)
        if not np.isfinite(values).all():
            return {"stderr_sampling": np.nan}
        rows, weights = self.rows, self.draws.weights.ravel()
        replicas = 0.0
        if rows.has_replicas:
            within, _ = variance_components(values.ravel(), self._inputs.ravel(), weights)
            noise, between = variance_components(values.ravel(), self.draws.rows.ravel(), weights)
            # Where rows hardly repeat, the noise at one row is not known.
            variance = max(within - noise, 0.0) if noise != between else within
            leverage = 1 - len(rows.input_weights) / len(rows.weights)
            replicas = float(np.sqrt(variance * np.sum(rows.weights**2))) / leverage
        inputs = getattr(self.plug_in if plug_in else self.point, name).inputs
        integrated = values
        if self._exact is not None:
            integrated = values - getattr(self._plug_in, name)
        means = randomisation_means(integrated, self._control, self.draws.weights)
        spread = means.std(ddof=1)
        steps = np.rint(1000 * (means - means.mean()) / spread) if spread > 0 else np.empty(0)
        return {
            "stderr_sampling": float(np.hypot(replicas, inputs)) if population else replicas,
            "stderr_other_inputs": 0.0 if population else inputs,
            "randomisations": tuple(steps.astype(int).tolist()),
        }

    def largest_stderr(self) -> float:
        """The standard error that the tolerance is about."""
        n = 1 if self.rows.labels is None else 2
        if self._exact is not None:
            return max(average.integration for average in list(self.point)[:n])
        finite = [values for values in list(self._point)[:n] if np.isfinite(values).all()]
        control, weights = self._control, self.draws.weights
        drawn = max((integration_error(v, control, weights)[1] for v in finite), default=0.0)
        return float(np.hypot(drawn, self._unseen))


def _error_of_light_rows(weights: np.ndarray, draws: Draws) -> float:
    """What rows lighter than all that were drawn may contribute, at most; no spread shows them."""
    light = weights[weights < weights[draws.rows].min()]
    return float(light @ -np.log(light))


def _error_of_far_rows(mixture: Mixture, draws: Draws) -> float:
    """What rows that lie farther out than all that were drawn may contribute, at most."""
    weights = mixture.rows.weights
    parts = np.array_split(np.arange(len(weights)), 1 + weights.size * mixture.space.rank // 2**20)
    leverages = np.concatenate([mixture.leverages(part) for part in parts])
    far = leverages > leverages[draws.rows].max()
    return float(weights[far] @ -np.log(weights[far]))


def find_ends(
    averages: Averages, mixture: Mixture, *, population: bool, tol: float, n_jobs: int | None
) -> Measured[tuple[float, float]]:
    """The brackets: plug-in at one end, what never saw the own row or input at the other.

    Each end is widened by its own error.
    """
    lows: _Candidates = {
        name: [average] for name, average in zip(MEASURED_NAMES, averages.plug_in, strict=True)
    }
    highs = lows
    if mixture.rows.has_replicas:
        lower, upper = _with_replicas(averages, mixture, tol, n_jobs)
        lows, highs = lows | lower, highs | upper
    if population:
        lower, upper = _of_population(averages, mixture)
        lows, highs = lows | lower, highs | upper
    return Measured(
        *(
            (
                max(low.mean - low.margin(population=population) for low in lows[name]),
                min(high.mean + high.margin(population=population) for high in highs[name]),
            )
            for name in MEASURED_NAMES
        )
    )


def _with_replicas(
    averages: Averages, mixture: Mixture, tol: float, n_jobs: int | None
) -> tuple[_Candidates, _Candidates]:
    """Lower and upper ends that leave the own row out."""
    sums, plug_in, rows = averages.sums, averages.plug_in, mixture.rows
    every, out = contributions(sums.all_data, sums), contributions(sums.without_own_row, sums)
    label_entropy = every.conditional_entropy + every.conditional_mutual_info
    conditional_highs = [averages.of(out.conditional_entropy)]
    several = rows.replicas[rows.inputs] > 1
    information = -sums.all_data.total - out.conditional_entropy
    information_lows = [_average_known(averages, information, several)]
    within_label = label_entropy - out.conditional_entropy
    within_label_lows = [_average_known(averages, within_label, several, rows.labels)]
    # Gaussians know of no strata.
    gaussians = InputGaussians.fit(mixture.in_space) if mixture.components.strata is None else None
    if gaussians is not None:
        entropies = own_row_out_entropies(gaussians, mixture.in_space)
        conditional_highs.append(averages.of_rows(entropies))
        entropy = plug_in.entropy
        if not several.all():
            entropy = _average_known(averages, -sums.all_data.total, several)
        within = _negative(averages.of_rows(np.where(several, entropies, 0.0)))
        information_lows.append(entropy.plus(within))
        of_label = _average_known(averages, label_entropy, several, rows.labels)
        within_label_lows.append(of_label.plus(within))
    # A posterior needs equally many replicas of all inputs, else it is biased upwards.
    if np.ptp(mixture.rows.replicas) == 0:
        mixture_posterior = averages.of(out.mutual_info)
        information_lows.append(mixture_posterior)
        within_label_lows.append(averages.of(out.conditional_mutual_info))
        # The Gaussians cost as much as all the rest, and can only close a gap that is open.
        gap = plug_in.mutual_info.mean - mixture_posterior.mean
        if gaussians is not None and gap > tol:
            posteriors = _gaussian_posteriors(averages, mixture, gaussians, n_jobs)
            information_lows += [averages.of(posterior) for posterior in posteriors]
            # I(X;T|Y) = I(X;T) - I(Y;T), of which the plug-in is an upper end.
            within_label_lows += [averages.of(p - every.label_mutual_info) for p in posteriors]
        if not _any_positive(information_lows):
            information_lows += _mixed_with_prior(averages, out.mutual_info, out.entropy)
        if not _any_positive(within_label_lows):
            of_label_out = -sums.without_own_row.label
            within_label_lows += _mixed_with_prior(
                averages, out.conditional_mutual_info, of_label_out
            )
    in_label = several if rows.labels is None else np.bincount(rows.labels)[rows.labels] > 1
    label_lows = [_average_known(averages, out.label_mutual_info, in_label)]
    if not _any_positive(label_lows):
        label_lows += _mixed_with_prior(averages, out.label_mutual_info, out.entropy)
    lows = {
        "mutual_info": information_lows,
        "label_mutual_info": label_lows,
        "conditional_mutual_info": within_label_lows,
    }
    return lows, {"entropy": [averages.of(out.entropy)], "conditional_entropy": conditional_highs}


def _average_known(
    averages: Averages, values: np.ndarray, known: np.ndarray, labels: np.ndarray | None = None
) -> Average:
    """Average a lower end where an input, or a class, of a single row has nothing to go by.

    With p the probability of the rows that are ``known`` and K whether one was drawn, a function
    of X, I(X;T) >= p I(X;T|K), in which the law of T among them is at most 1 / p times that of T;
    given ``labels``, that among those of a label.
    """
    if known.all():
        return averages.of(values)
    weights, drawn = averages.rows.weights, averages.draws.rows
    if labels is None:
        log_share = np.log(weights[known].sum())
    else:
        with np.errstate(divide="ignore"):
            shares = np.log(np.bincount(labels, weights * known) / np.bincount(labels, weights))
        log_share = shares[labels[drawn]]
    return averages.of(np.where(known[drawn], values + log_share, 0.0))


def _of_population(averages: Averages, mixture: Mixture) -> tuple[_Candidates, _Candidates]:
    """Lower and upper ends that leave the own input out: others of the population are to come."""
    sums, rows = averages.sums, mixture.rows
    without = contributions(sums.without_own_input, sums)
    rest = np.log1p(-np.minimum(sums.input_weight, 1 - 1e-16))
    log_input = -contributions(sums.all_data, sums).conditional_entropy
    entropies = own_input_out_entropies(mixture.in_space)
    outside = averages.of_rows(entropies + mixture.components.own_input_out_lengths())
    within = _negative(averages.plug_in.conditional_entropy)
    missed = Average(_missed_entropy(rows))
    log_label = sums.without_own_input.label - np.log(sums.label_weight)
    rest_of_label = np.log1p(-np.minimum(sums.input_weight / sums.label_weight, 1 - 1e-16))
    upper = {
        "mutual_info": [averages.of(log_input + without.entropy + rest), outside.plus(within)],
        "entropy": [averages.of(without.entropy + rest), outside],
        # Infinite where a class was drawn once.
        "conditional_mutual_info": [averages.of(log_input - log_label + rest_of_label)],
    }
    # One mode, of whatever class, adds no more to h(T|Y) than to h(T).
    highs = {name: [average.plus(missed) for average in upper[name]] for name in upper}
    lows = {
        "label_mutual_info": _mixed_with_prior(averages, without.label_mutual_info, without.entropy)
    }
    # I(X;T|Y) = I(X;T) - I(Y;T).
    highs["conditional_mutual_info"] += [
        high.plus(_negative(low))
        for high in highs["mutual_info"]
        for low in lows["label_mutual_info"]
    ]
    highs["label_mutual_info"] = [
        averages.plug_in.label_mutual_info.plus(_missing_label_entropy(rows))
    ]
    return lows, highs


def _any_positive(lows: list[Average]) -> bool:
    return any(low.mean > low.margin(population=False) for low in lows)


def _mixed_with_prior(
    averages: Averages, log_ratio: np.ndarray, entropy: np.ndarray
) -> list[Average]:
    """E log of q(y|t) / p(y), given its logarithm, with some p(y) mixed into q; or of x for y.

    The posterior q never saw the own row, and ``entropy`` is infinite where it sees nothing; there
    it is all p(y). p(y) is kept with its draw: the classes of a population are sampled too.
    """
    ratio = np.where(np.isfinite(entropy), log_ratio, 0.0)
    return [
        averages.of(np.logaddexp(ratio + np.log1p(-share), np.log(share)))
        for share in _PRIOR_SHARES
    ]


def _missed_entropy(rows: Rows) -> float:
    """What a mode that no input was drawn from may add to h(T): the entropy of its mass."""
    mass = min(0.5, MISSED / rows.n_effective)
    return discrete_entropy(np.array([mass, 1 - mass]))


def _missing_label_entropy(rows: Rows) -> Average:
    """What H(Y) of a sample lacks: Miller and Madow's term, and errors of second order.

    Classes of one input say that there are others, of which none was drawn.
    """
    counts = rows.inputs_of_labels
    if counts is None:
        return Average(0.0)
    n, degrees = rows.n_effective, len(counts) - 1
    unseen = np.sqrt(np.count_nonzero(counts == 1)) * np.log(n)
    return Average(degrees / (2 * n), inputs=float(np.hypot(np.sqrt(degrees / 2), unseen) / n))


def sampled_label_entropy(rows: Rows, p: np.ndarray, counts: np.ndarray) -> Quantity:
    """Estimate H(Y) of the population, given p(y) and the number of inputs of every class drawn.

    Where of every class five inputs or more were drawn, these are taken for all classes.
    """
    value = discrete_entropy(p)
    spread = np.sqrt(max(0.0, p @ np.log(p) ** 2 - value**2) / rows.n_effective)
    estimate = Average(value, inputs=float(spread)).plus(_missing_label_entropy(rows))
    margin = estimate.margin(population=True)
    most = float(np.log(len(p))) if counts.min() >= _OFTEN else np.inf
    value, upper = min(estimate.mean, most), min(estimate.mean + margin, most)
    lower = max(0.0, min(estimate.mean - margin, value))
    return Quantity(
        "label_ceiling", value, lower=lower, upper=upper, stderr_sampling=estimate.inputs
    )


def _negative(average: Average) -> Average:
    return replace(average, mean=-average.mean)


def _gaussian_posteriors(
    averages: Averages, mixture: Mixture, gaussians: InputGaussians, n_jobs: int | None
) -> list[np.ndarray]:
    """H(p) + E log q(x|t) for one Gaussian per input, and for half that and half the mixture.

    A value per draw.
    """
    sums, d = averages.sums, mixture.space.rank
    if not 0 < d <= MAX_POSTERIOR_DIMENSION:
        return []
    shape = averages.draws.rows.shape
    drawn, noise = averages.draws.rows.ravel(), averages.draws.noise.reshape(-1, d)
    own, others = (
        logs.reshape(shape)
        for logs in posterior_log_sums(gaussians, mixture.in_space, drawn, noise, n_jobs)
    )
    log_p = np.log(sums.input_weight)
    without = sums.without_own_row
    both_own = np.logaddexp(own, without.input)
    both_total = np.logaddexp(np.logaddexp(own, others), without.total)
    return [own - np.logaddexp(own, others) - log_p, both_own - both_total - log_p]
