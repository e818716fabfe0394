"""The plug-in values: log-ratios of the mixtures at draws, and their averages with errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from skinfo.noisy.kernels.line import (
    integrate_line,
    integrate_other_segments,
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
    if model is points and model_weights is weights:
        model_order = order[:0]
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


def line_cross_information(
    law: tuple[np.ndarray, np.ndarray, np.ndarray],
    model: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> float:
    """Compute the mean over parts of E log phi(Z) / q(s + Z), q the model's mixture of the part.

    Each is points in units of sigma, weights and parts, (n,), numbered alike. Infinite where a part
    has no row in the model.
    """
    n_parts = max(int(law[2].max()), int(model[2].max())) + 1
    mass = np.bincount(law[2], weights=law[1], minlength=n_parts)
    sorted_law, sorted_model = (_in_segments(*rows, n_parts) for rows in (law, model))
    integrals = np.empty(n_parts)
    integrate_other_segments(*sorted_law, *sorted_model, integrals)
    here = mass > 0
    return float(mass[here] @ (integrals[here] - 0.5) / mass.sum())


def _in_segments(
    points: np.ndarray, weights: np.ndarray, parts: np.ndarray, n_parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points by part and place, their shares of it, and where each part begins and ends."""
    order = np.lexsort((points, parts))
    mass = np.bincount(parts, weights=weights, minlength=n_parts)
    starts = np.searchsorted(parts[order], np.arange(n_parts + 1))
    return points[order].astype(np.float64), (weights / mass[parts])[order], starts


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
        self._plug_in = contributions(sums.all_data, sums)
        self._half = None if sums.half_data is None else contributions(sums.half_data, sums)
        self._point = point_contributions(self._plug_in, self._half)

    def of(self, values: np.ndarray) -> Average:
        """Average one value per draw."""
        average = average_draws(
            values,
            self._control,
            self.draws.weights,
            self.draws.rows,
            self.rows,
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
            within, _ = variance_components(
                values.ravel(), rows.inputs[self.draws.rows].ravel(), weights
            )
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
