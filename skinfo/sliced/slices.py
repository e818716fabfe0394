"""Information of slices: exact on a line, by the estimator itself on more directions.

    SI(X;T) = E_theta I(X; theta'T),   theta'T = theta'S + theta'(noise), Gaussian on the line

so that a slice of given rows has no error, and the mean over slices has that of slices alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve
from scipy.stats import t as student

from skinfo._numba import in_order
from skinfo._rows import Rows, discrete_entropy
from skinfo.noise import AdditiveNoise
from skinfo.noisy.brackets import sampled_label_entropy
from skinfo.noisy.channel import Components, Placed
from skinfo.noisy.folds import N_FOLDS, assign_folds
from skinfo.noisy.information import (
    MixtureInformation,
    cross_information,
    measure_mixture,
    noted_at_an_end,
)
from skinfo.noisy.layout import Subspace
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import line_cross_entropy, line_cross_information, line_information
from skinfo.noisy.population import FEWEST
from skinfo.noisy.sampling import N_RANDOMISATIONS, Average, StoppingRule, integration_error
from skinfo.noisy.sampling import randomisation_means as means_of_randomisations
from skinfo.quantities import Quantity
from skinfo.sliced.directions import (
    draw_directions,
    mean_log_form,
    slices_per_block,
    telling_directions,
)

# Random slices among the candidates for the best one, and principal or discriminant ones.
_RANDOM, _TELLING = 64, 5
# Of several directions each slice is measured with so many evaluations, at most.
_PER_SLICE = 2**14
# Their errors shrink in the mean: each slice is measured to so many tolerances.
_LOOSER = 4.0
# Within this share of the entropy of the inputs slices tell all of them apart.
_SATURATED = 0.99
# Where the ceiling of slices is not so many tolerances high, they cannot tell much.
_FAINT = 10.0
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Layer:
    """The rows of a layer in units of its noise, in the directions in which they vary."""

    rows: Rows  # points (n, rank)
    to_rank: np.ndarray | None  # (d, rank): the directions kept, or None for all
    units: np.ndarray  # (d,): standard deviation of the noise of each unit
    origin: np.ndarray  # (d,): their mean

    @classmethod
    def of(cls, rows: Rows, noise: AdditiveNoise) -> Layer:
        """Divide by the noise, centre, and leave out directions in which all rows agree."""
        # The order in memory is that of some sums.
        rows = replace(rows, points=np.ascontiguousarray(rows.points))
        components = Components.of(rows, noise)
        sigma = components.channel.sigma or 1.0
        space = Subspace.of(components.rows, sigma)
        units = np.broadcast_to(noise.sigmas[0], rows.points.shape[1:])
        points = space.place(components.rows, slice(None))
        return cls(
            replace(components.rows, points=points, deviations=None),
            space.basis,
            units,
            space.origin * (units / sigma),
        )

    @property
    def dimension(self) -> int:
        """Number of units, d."""
        return len(self.units)

    def weights_of(self, slices: np.ndarray) -> np.ndarray:
        """Turn directions (..., d, k) of T into those of rows, (..., rank, k), of unit noise.

        The noise of a slice has covariance theta' diag(sigma^2) theta; information does not depend
        on which basis of the slice is taken.
        """
        scaled = slices * (self.units / self.units.max())[:, None]
        across = np.linalg.qr(scaled)[0] if len(set(self.units.tolist())) > 1 else slices
        return across if self.to_rank is None else self.to_rank.T @ across

    def directions_of(self, weights: np.ndarray) -> np.ndarray:
        """Orthonormal directions (d, k) of T whose noise in units of itself is that of weights."""
        across = weights if self.to_rank is None else self.to_rank @ weights
        return np.linalg.qr(across * (self.units.min() / self.units)[:, None])[0]

    def place(self, points: np.ndarray) -> np.ndarray:
        """Rows of other activations as those of the layer, (m, rank)."""
        centred = (points - self.origin) / self.units
        return centred if self.to_rank is None else centred @ self.to_rank

    @cached_property
    def mean_ceiling(self) -> float:
        """E 1/2 log(1 + theta'C theta / theta' diag(sigma^2) theta) over directions of a line."""
        points, weights = self.rows.points, self.rows.weights
        centred = points - weights @ points
        covariance = (centred * weights[:, None]).T @ centred
        if np.ptp(self.units) == 0:
            variances = np.zeros(self.dimension)
            variances[: len(covariance)] = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
            return 0.5 * mean_log_form(1 + variances, np.ones(self.dimension))
        if self.to_rank is not None:
            covariance = self.to_rank @ covariance @ self.to_rank.T
        relative = self.units / self.units.max()
        of_t = relative[:, None] * (covariance + np.eye(self.dimension)) * relative
        return 0.5 * mean_log_form(np.linalg.eigvalsh(of_t), relative**2)


@dataclass(frozen=True)
class _Measured:
    """What slices know, in nats, by randomisation, (N_RANDOMISATIONS, m), or of the only one."""

    information: np.ndarray
    lower: np.ndarray  # on a line equal to it
    upper: np.ndarray
    label: np.ndarray
    label_lower: np.ndarray
    label_upper: np.ndarray
    ceiling: np.ndarray  # 1/2 log det(1 + covariance of T / that of the noise)


@dataclass(frozen=True)
class _Folds:
    """Fold by fold what slices seem to know less what they know, (n_slices, n_folds)."""

    alone: np.ndarray  # rows of the fold alone: their spread is that of samples
    label_alone: np.ndarray
    mass: np.ndarray  # probability of the fold
    # What is tested on rows that it never saw: a mixture, a Gaussian, replicas of the same input.
    mixture: np.ndarray
    gaussian: np.ndarray
    lower: np.ndarray
    label_lower: np.ndarray

    def mean_of(self, gaps: np.ndarray) -> Average:
        """The mean over slices and folds; rows drawn anew move it as folds differ."""
        shares = self.mass[0] / self.mass[0].sum()
        of_folds = gaps.mean(axis=0)
        mean = float(shares @ of_folds)
        if not np.isfinite(mean):
            return Average(mean)
        n_slices, n_folds = gaps.shape
        over_slices = 0.0
        if n_slices > 1:
            over_slices = float((gaps @ shares).std(ddof=1) / np.sqrt(n_slices))
        variance = n_folds / (n_folds - 1) * np.sum((shares * (of_folds - mean)) ** 2)
        return Average(mean, over_slices, float(np.sqrt(variance)) * _wider(n_folds))


@dataclass(frozen=True)
class SlicedInformation:
    """What :func:`measure_slices` found, in nats."""

    quantities: tuple[Quantity, ...]
    slices: np.ndarray  # (n_slices, d, k): the directions
    information: np.ndarray  # (n_slices,): I(X; theta'T) of each
    best: np.ndarray  # (d, k): the direction that knows most of the input
    best_label: np.ndarray | None
    converged: bool


def measure_slices(
    layer: Layer,
    *,
    n_directions: int = 1,
    tol: float = 0.01,
    population: bool = False,
    max_slices: int = 4096,
    seed: int = 0,
    n_jobs: int | None = None,
) -> SlicedInformation:
    """Average the information of random slices until their spread leaves an error below ``tol``.

    The parameters are those of :class:`skinfo.SlicedMIEstimator`, ``tol`` in nats.

    Examples
    --------
    >>> layer = Layer.of(Rows.make(np.array([[-1.0], [1.0]])), AdditiveNoise(0.5))
    >>> round(measure_slices(layer).quantities[0].value, 6)
    0.63272
    """
    d, k = layer.dimension, n_directions
    of_inputs = _folds_of_inputs(layer.rows, seed) if population else None
    rule, taken = StoppingRule(tol), 0
    slices = np.empty((N_RANDOMISATIONS, 0, d, k))
    portions: list[_Measured] = []

    def measured(weights: np.ndarray) -> _Measured:
        points = layer.rows.points @ weights
        if k == 1:
            return _measure_line(layer.rows, points[:, 0])
        return _measure_by_draws(layer.rows, points, population=population, tol=_LOOSER * tol)

    if d == k:
        slices = np.eye(d)[None, None]
        found = _stacked([measured(layer.weights_of(np.eye(d)))])
        rule.met = True
    else:
        n = slices_per_block(d, k)
        most = max(1, max_slices // (N_RANDOMISATIONS * n))
        while not taken or 2 * taken <= most:
            more = draw_directions(d, k, seed, range(taken, max(1, 2 * taken)))
            taken = max(1, 2 * taken)
            slices = np.concatenate([slices, more], axis=1)
            weights = layer.weights_of(more.reshape(-1, d, k))
            portions.append(_stacked(list(in_order(measured, list(weights), n_jobs))))
            found = _joined(portions)
            if rule.is_done(_largest_stderr(found, layer, k)):
                break
    notes = () if rule.met else ("tolerance not met",)
    first = list(layer.weights_of(slices[:, 0]))

    def tested(folds: np.ndarray | None, *, population: bool) -> _Folds | None:
        if folds is None or k > 1:
            return None

        def of_slice(weights: np.ndarray) -> _Folds:
            line = (layer.rows.points @ weights)[:, 0]
            return _measure_folds(layer.rows, line, folds, population=population)

        return _of_slices(list(in_order(of_slice, first, n_jobs)))

    by_inputs = tested(of_inputs, population=True)
    by_replicas = tested(_folds_of_replicas(layer.rows), population=False)
    averages = _Averages(found, by_inputs, by_replicas, layer, k, population)
    sampled = sampled_ceiling(layer.rows, first) if population else Average(0.0)
    quantities = averages.quantities(tol, notes, sampled)
    label_most = next((q.upper for q in quantities if q.name == "label_ceiling"), np.inf)
    best = _best_slices(layer, slices, found, label_most, tol, population, seed, n_jobs)
    quantities += [quantity for quantity, _ in best]
    of_label = best[1][1] if len(best) > 1 else None
    flat = slices.reshape(-1, d, k)
    return SlicedInformation(
        tuple(quantities), flat, found.information.ravel(), best[0][1], of_label, rule.met
    )


def _folds_of_inputs(rows: Rows, seed: int) -> np.ndarray:
    n = len(rows.independent_weights)
    if n < 2:
        raise ValueError(
            "population=True asks what other inputs would show, and all rows are of one input "
            "or one cluster. Check groups and clusters, or take population=False."
        )
    return assign_folds(rows, seed, min(N_FOLDS, n))


def _folds_of_replicas(rows: Rows) -> np.ndarray | None:
    if not rows.has_replicas:
        return None
    return rows.replica_numbers % int(np.clip(rows.replicas.min(), 2, N_FOLDS))


def _measure_line(rows: Rows, line: np.ndarray) -> _Measured:
    """Measure a slice of one direction by quadrature."""
    weights = rows.weights
    total = line_cross_entropy(line, weights, line, weights)
    within, of_label = 0.0, total
    if rows.has_replicas:
        within = line_information(line, weights, rows.inputs)
    if rows.labels is not None:
        of_label = line_information(line, weights, rows.labels)
    variance = max(0.0, float(weights @ line**2 - (weights @ line) ** 2))
    information, label = max(0.0, total - within), max(0.0, total - of_label)
    numbers = (*[information] * 3, *[label] * 3, 0.5 * np.log1p(variance))
    return _Measured(*map(np.array, numbers))


def _measure_folds(rows: Rows, line: np.ndarray, folds: np.ndarray, *, population: bool) -> _Folds:
    """Test on each fold of a slice what the others say."""
    whole = _measure_line(rows, line)
    label_entropy = 0.0 if rows.label_weights is None else discrete_entropy(rows.label_weights)
    found = []
    for fold in range(int(folds.max()) + 1):
        own, others = (_part_of(rows, folds == fold), _part_of(rows, folds != fold))
        here, there = line[folds == fold], line[folds != fold]
        alone, nan = _measure_line(own, here), float("nan")
        nobody = (np.zeros(len(here), dtype=np.int64), np.zeros(len(there), dtype=np.int64))
        cross = _cross(own, others, here, there, nobody)
        # What rows know of an input beyond what their own position tells.
        known = 0.0 if not own.has_replicas else line_information(here, own.weights, own.inputs)
        lower = label_lower = nan
        if not population and rows.has_replicas:
            inputs = (rows.inputs[folds == fold], rows.inputs[folds != fold])
            total = line_cross_entropy(line, rows.weights, line, rows.weights)
            lower = total - _cross(own, others, here, there, inputs)
        if rows.labels is not None:
            labels = (rows.labels[folds == fold], rows.labels[folds != fold])
            prior = np.bincount(labels[1], others.weights, int(rows.labels.max()) + 1)
            with np.errstate(divide="ignore"):
                log_prior = float(own.weights @ np.log(prior[labels[0]]))
            log_loss = _cross(own, others, here, there, labels) - cross - log_prior
            label_lower = label_entropy - log_loss
        found.append(
            _Folds(
                mass=np.array(rows.weights[folds == fold].sum()),
                alone=alone.information - whole.information,
                label_alone=alone.label - whole.label,
                mixture=np.array(cross - known) - whole.information,
                gaussian=_cross_of_gaussian(own, others, here, there) - known - whole.information,
                lower=lower - whole.information,
                label_lower=label_lower - whole.label,
            )
        )
    return _of_slices(found)


def _cross(
    own: Rows, others: Rows, here: np.ndarray, there: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
) -> float:  # fmt: skip
    """Cross-information of some rows under others, within parts."""
    return line_cross_information((here, own.weights, parts[0]), (there, others.weights, parts[1]))


def _cross_of_gaussian(own: Rows, others: Rows, here: np.ndarray, there: np.ndarray) -> float:
    """Cross-information of some rows under a Gaussian of the mean and variance of others."""
    mean = others.weights @ there
    variance = 1 + others.weights @ (there - mean) ** 2
    square = 1 + own.weights @ (here - mean) ** 2
    return 0.5 * float(np.log(variance) + square / variance - 1)


def _of_slices(several: list[_Folds]) -> _Folds:
    """Folds, or slices, one above the other."""
    return _Folds(*(np.array([getattr(f, name.name) for f in several]) for name in fields(_Folds)))


def _measure_by_draws(rows: Rows, points: np.ndarray, *, population: bool, tol: float) -> _Measured:
    """Measure a slice of several directions as a layer of its own."""
    information = _as_layer(rows, points, population=population, tol=tol)
    x, y = information.mutual_info, information.label_mutual_info
    if rows.labels is None:
        y = Quantity.exact("label_mutual_info", 0.0)
    centred = points - rows.weights @ points
    covariance = (centred * rows.weights[:, None]).T @ centred
    ceiling = 0.5 * float(np.linalg.slogdet(np.eye(len(covariance)) + covariance)[1])
    numbers = (x.value, x.lower, x.upper, y.value, y.lower, y.upper, ceiling)
    return _Measured(*map(np.array, numbers))


def _as_layer(
    rows: Rows, points: np.ndarray, *, population: bool, tol: float,
    max_evaluations: int = _PER_SLICE, n_jobs: int | None = None,
) -> MixtureInformation:  # fmt: skip
    mixture = Mixture.of(replace(rows, points=points), 1.0)
    return measure_mixture(
        mixture, tol=tol, population=population, max_evaluations=max_evaluations, n_jobs=n_jobs
    )


def _stacked(slices: list[_Measured]) -> _Measured:
    """Slices in the order of their directions: by randomisation, where there are several."""
    n = N_RANDOMISATIONS if len(slices) > 1 else 1
    shape = (n, len(slices) // n)
    stacked = (np.stack([getattr(one, f.name) for one in slices]) for f in fields(_Measured))
    return _Measured(*(array.reshape(shape) for array in stacked))


def _joined(portions: list[_Measured]) -> _Measured:
    names = [field.name for field in fields(_Measured)]
    return _Measured(*(np.concatenate([getattr(p, n) for p in portions], axis=1) for n in names))


def _control(found: _Measured, layer: Layer, k: int) -> np.ndarray:
    """Ceiling of each slice less its mean over all directions, which is known on a line."""
    if k > 1:
        return np.zeros_like(found.ceiling)
    control = found.ceiling - layer.mean_ceiling
    # What is the same in all directions but for rounding follows nothing.
    return control if np.ptp(control) > _ROUNDING * layer.mean_ceiling else np.zeros_like(control)


def _largest_stderr(found: _Measured, layer: Layer, k: int) -> float:
    control = _control(found, layer, k)
    alike = np.ones_like(control)
    return max(
        integration_error(values, control, alike)[1] for values in (found.information, found.label)
    )


@dataclass(frozen=True)
class _Averages:
    """Means over slices, and their errors."""

    found: _Measured
    of_inputs: _Folds | None  # of a sample
    of_replicas: _Folds | None
    layer: Layer
    k: int
    population: bool

    def of(self, values: np.ndarray) -> Average:
        """The mean over directions."""
        if values.size == 1 or not np.isfinite(values).all():
            return Average(float(values.mean()))
        control = _control(self.found, self.layer, self.k)
        return Average(*integration_error(values, control, np.ones_like(control)))

    def quantities(self, tol: float, notes: tuple[str, ...], sampled: Average) -> list[Quantity]:
        """Both means in their brackets, and their ceilings, to which ``sampled`` is added."""
        rows, found, population = self.layer.rows, self.found, self.population
        ceiling = self.of(found.ceiling)
        if self.k == 1:
            ceiling = Average(self.layer.mean_ceiling)
        ceiling = ceiling.plus(sampled)
        most = np.inf if population else rows.input_entropy
        margin = ceiling.margin(population=True)
        limit, low, high = np.minimum(most, ceiling.mean + margin * np.array([0, -1, 1])).tolist()
        error = ceiling.integration if limit < most else 0.0
        if limit < _FAINT * tol:
            notes = (*notes, "slices too faint")
        information = self._information(notes, most)
        if not population and 0 < _SATURATED * rows.input_entropy <= information.value:
            information = information.noted("saturated")
        if rows.has_replicas and rows.replicas.min() == 1:
            information = information.noted("single rows")
        quantities = [
            information,
            Quantity("sliced_ceiling", limit, error, low, high, stderr_sampling=ceiling.inputs),
        ]
        if rows.label_weights is None:
            return quantities
        label_ceiling = self._label_ceiling(rows.label_weights)
        return [information, self._label(notes, label_ceiling), quantities[1], label_ceiling]

    def _information(self, notes: tuple[str, ...], most: float) -> Quantity:
        found, inputs, replicas = self.found, self.of_inputs, self.of_replicas
        value = self.of(found.information)
        lows, highs = [self.of(found.lower)], [self.of(found.upper)]
        if replicas is not None:
            # The information of few replicas is above that of many in the mean.
            lows = [value.plus(replicas.mean_of(replicas.lower))]
        if inputs is not None:
            # And that of a sample below that of its population.
            above = _smaller_on_other_folds(inputs.mixture, inputs.gaussian)
            highs = [value.plus(inputs.mean_of(above)) if self._enough else Average(np.inf)]
        folds = inputs or replicas
        if folds is not None:
            value = replace(value, replicas=folds.mean_of(folds.alone).replicas)
            lows = lows if replicas is not None else [value]
            highs = highs if inputs is not None else [value]
        return self._within("sliced_mutual_info", value, lows, highs, most, notes)

    def _label(self, notes: tuple[str, ...], ceiling: Quantity) -> Quantity:
        found, rows = self.found, self.layer.rows
        folds = self.of_inputs or self.of_replicas
        value = self.of(found.label)
        lows, highs = [self.of(found.label_lower)], [self.of(found.label_upper)]
        if folds is not None:
            lows = [value.plus(folds.mean_of(folds.label_lower))]
            value = replace(value, replicas=folds.mean_of(folds.label_alone).replicas)
            # H(Y) of a sample lacks that in the mean (Miller 1955).
            degrees = int(rows.required_labels().max()) if self.population else 0
            highs = [replace(value, mean=value.mean + degrees / (2 * rows.n_effective))]
            if not self._enough:
                highs = [Average(np.inf)]
        return self._within("sliced_label_mutual_info", value, lows, highs, ceiling.upper, notes)

    def _within(
        self, name: str, value: Average, lows: list[Average], highs: list[Average], most: float,
        notes: tuple[str, ...],
    ) -> Quantity:  # fmt: skip
        lower = max(low.mean - low.margin(population=False) for low in lows)
        upper = min(high.mean + high.margin(population=False) for high in highs)
        # Ends that cross, by their errors, span the bracket all the same.
        lower, upper = np.clip(sorted((lower, upper)), 0.0, most).tolist()
        quantity = Quantity(
            name, float(np.clip(value.mean, lower, upper)), value.integration, lower, upper,
            notes=notes, stderr_sampling=value.replicas,
            randomisations=self._randomisations(name),
        )  # fmt: skip
        return noted_at_an_end(quantity) if self.population else quantity

    @property
    def _enough(self) -> bool:
        """Whether there are inputs enough for an upper end of a population."""
        return not self.population or self.layer.rows.n_effective >= FEWEST

    def _randomisations(self, name: str) -> tuple[int, ...]:
        values = self.found.label if "label" in name else self.found.information
        if values.size == 1:
            return ()
        control = _control(self.found, self.layer, self.k)
        means = means_of_randomisations(values, control, np.ones_like(values))
        spread = means.std(ddof=1)
        if not spread > 0:
            return ()
        return tuple(np.rint(1000 * (means - means.mean()) / spread).astype(int).tolist())

    def _label_ceiling(self, p: np.ndarray) -> Quantity:
        counts = self.layer.rows.inputs_of_labels
        if self.population and counts is not None:
            return sampled_label_entropy(self.layer.rows, p, counts)
        return Quantity.exact("label_ceiling", discrete_entropy(p))


def sampled_ceiling(rows: Rows, slices: list[np.ndarray]) -> Average:
    """What the ceiling of a population is above that of its sample, which has a covariance less.

    To second order in the error of the covariance; exact on a line, and for Gaussian rows.
    """
    errors, shortfall = np.zeros(len(rows.weights)), 0.0
    for weights in slices:
        points = rows.points @ weights
        centred = points - rows.weights @ points
        covariance = (centred * rows.weights[:, None]).T @ centred
        leverages = np.sum(centred * solve(np.eye(len(covariance)) + covariance, centred.T).T, 1)
        errors += 0.5 * leverages / len(slices)
        shortfall += (1 + len(covariance)) / 2 * rows.error_of_mean(0.5 * leverages) ** 2
    return Average(shortfall / len(slices), inputs=rows.error_of_mean(errors))


def _smaller_on_other_folds(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two numbers per slice and fold, for each fold that which is smaller on all the others."""
    difference = (other - one).mean(axis=0)
    return np.where(difference.sum() - difference < 0, other, one)


def _wider(n_folds: int) -> float:
    """What makes the error of a mean of few folds one whose margins Student's t of 15 gives."""
    few, many = n_folds - 1, N_RANDOMISATIONS - 1
    return float(student.ppf(0.975, few) / student.ppf(0.975, many))


def _best_slices(
    layer: Layer, slices: np.ndarray, found: _Measured, label_most: float, tol: float,
    population: bool, seed: int, n_jobs: int | None,
) -> list[tuple[Quantity, np.ndarray]]:  # fmt: skip
    """The slices that know most of the input and of the label, with their lower ends.

    Chosen on half of the inputs of a sample, or of the replicas, and measured on the others; where
    all is given both are the whole.
    """
    rows, k = layer.rows, slices.shape[-1]
    searched, tested = rows, rows
    # Half of the replicas must still be replicas, else their information is that of rows.
    certain = not rows.has_replicas or rows.replicas.min() > 3
    if population or (rows.has_replicas and certain):
        half = assign_folds(rows, seed + 1, 2) if population else rows.replica_numbers % 2
        searched, tested = (_part_of(rows, half == side) for side in (0, 1))
    random = layer.weights_of(slices.reshape(-1, *slices.shape[2:])[:_RANDOM])
    telling = _telling_slices(searched, k)
    fresh = telling if searched is rows else np.concatenate([random, telling])

    def of_candidate(weights: np.ndarray) -> tuple[float, float]:
        points = searched.points @ weights
        if k == 1:
            one = _measure_line(searched, points[:, 0])
        else:
            one = _measure_by_draws(searched, points, population=False, tol=_LOOSER * tol)
        return float(one.information), float(one.label)

    values = np.array(list(in_order(of_candidate, list(fresh), n_jobs))).reshape(-1, 2)
    if searched is rows:
        known = np.column_stack([found.information.ravel(), found.label.ravel()])[:_RANDOM]
        values = np.concatenate([known, values])
    candidates = np.concatenate([random, telling])
    named = [("best_slice_mutual_info", "mutual_info")]
    if rows.labels is not None:
        named.append(("best_slice_label_mutual_info", "label_mutual_info"))
    best, known_of = [], {}
    for column, (name, measured_name) in enumerate(named):
        winner = int(values[:, column].argmax())
        weights = candidates[winner]
        if winner not in known_of:
            known_of[winner] = _as_layer(
                tested, tested.points @ weights, population=population, tol=tol,
                max_evaluations=2**20, n_jobs=n_jobs,
            )  # fmt: skip
        quantity = replace(getattr(known_of[winner], measured_name), name=name)
        if population and measured_name == "label_mutual_info":
            n_tested, n_classes = (len(np.unique(r.required_labels())) for r in (tested, rows))
            lacks = n_tested < n_classes
            upper = label_most if lacks else max(quantity.value, min(quantity.upper, label_most))
            quantity = replace(quantity, upper=upper)
            quantity = quantity.noted("too few inputs") if lacks else quantity
        if not certain:
            quantity = replace(quantity, lower=0.0).noted("too few replicas of slices")
        best.append((quantity, layer.directions_of(weights)))
    return best


def _telling_slices(rows: Rows, k: int) -> np.ndarray:
    """Principal and discriminant directions as slices, (n, rank, k)."""
    directions = telling_directions(rows.points, rows.weights, rows.labels, max(_TELLING, k))
    if k == 1:
        return directions.T[:, :, None]
    last = [directions[:, -k:]] if rows.labels is not None else []
    n = min(max(_TELLING, k), rows.points.shape[1])
    frames = [directions[:, max(0, n - k) : n], *last]
    of_k = [np.linalg.qr(across)[0] for across in frames if n >= k == across.shape[1]]
    return np.stack(of_k) if of_k else np.empty((0, len(directions), k))


def _part_of(rows: Rows, members: np.ndarray) -> Rows:
    """Some of the rows, with the weights of a law of their own."""
    return rows.part(np.flatnonzero(members))


def cross_information_of_slices(
    layer: Layer, placed: np.ndarray, slices: np.ndarray, *, tol: float, n_jobs: int | None
) -> float:
    """Mean over slices of E log of the noise's density over g at T of new rows, one by one."""
    rows = layer.rows
    new = np.full(len(placed), 1 / len(placed))

    def of_slice(weights: np.ndarray) -> float:
        model, points = rows.points @ weights, placed @ weights
        if model.shape[1] == 1:
            return line_cross_entropy(points[:, 0], new, model[:, 0], rows.weights)
        mixture = Mixture.of(replace(rows, points=model), 1.0)
        return cross_information(
            mixture, Placed(points, None, None, 0.0), tol=_LOOSER * tol, max_evaluations=_PER_SLICE,
            seed=0, n_jobs=None,
        )  # fmt: skip

    weights = layer.weights_of(slices)
    return float(np.mean(list(in_order(of_slice, list(weights), n_jobs))))
