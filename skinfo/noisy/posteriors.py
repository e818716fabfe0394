"""What T says of each input and each class: pointwise information, confusion, the Bayes error.

    i(x) = E[log g_x(t) / g(t) | x],   P(c|t) = p(c) g_c(t) / g(t),   1 - E max_c P(c|t)

with equally many draws of the noise for every input, however light.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp, ndtri
from scipy.stats import qmc

from skinfo._rows import Rows
from skinfo.noisy.information import noted_at_an_end
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import contributions, point_contributions
from skinfo.noisy.sampling import MISSED, N_RANDOMISATIONS, Average, Draws, average_draws
from skinfo.noisy.sums import DrawSums
from skinfo.quantities import Quantity

# Numbers of a portion of the draws: noise, and sums of classes.
_PER_PORTION = 2**20
# An end of a bracket that lies so far from the error rate is worth a note.
_FAR = 0.02


@dataclass(frozen=True)
class ClassPosteriors:
    """How well classes are told apart by the likeliest of them, given T."""

    confusion: np.ndarray  # (n_classes, n_classes): E[P(c'|t) | c], a row per class c
    confusion_stderr: np.ndarray
    # The same with P from rows that never held the own row or, of a population, the own input; None
    # where all that are drawn from are known.
    confusion_left_out: np.ndarray | None
    bayes_error: Quantity
    ceiling: Quantity  # the error of guessing the likeliest class


@dataclass(frozen=True)
class Posteriors:
    """What :func:`measure_posteriors` found."""

    pointwise: np.ndarray  # (n_inputs,): i(x) in nats
    pointwise_stderr: np.ndarray
    classes: ClassPosteriors | None  # None without labels


def measure_posteriors(
    mixture: Mixture,
    *,
    n_draws: int,
    population: bool = False,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Posteriors:
    """Measure every input with ``n_draws`` vectors of noise, 16 times a power of two, or more.

    Examples
    --------
    Two points a distance of 2 apart: the Bayes error is Q(1 / sigma) = 0.02275 for sigma = 0.5.

    >>> from skinfo._rows import Rows
    >>> rows = Rows.make(np.array([[-1.0], [1.0]]), labels=np.array([0, 1]))
    >>> found = measure_posteriors(Mixture.of(rows, 0.5), n_draws=2**14)
    >>> round(found.classes.bayes_error.value, 3), found.pointwise.round(3).tolist()
    (0.023, [0.633, 0.633])
    """
    rows = mixture.rows
    n, m = len(rows.input_weights), _points_per_randomisation(n_draws)
    shape = (N_RANDOMISATIONS, n, m)
    information, control = np.empty(shape), np.empty(shape)
    classes = None if rows.labels is None else _Classes(rows, shape, population=population)
    for inputs, draws in _portions(mixture, m, seed):
        sums = mixture.sums_at(draws, population=population, n_jobs=n_jobs)
        half = None if sums.half_data is None else contributions(sums.half_data, sums)
        values = point_contributions(contributions(sums.all_data, sums), half).mutual_info
        information[:, inputs] = values.reshape(N_RANDOMISATIONS, -1, m)
        # Its mean is 0 at every row.
        of_noise = sums.control - sums.leverage
        control[:, inputs] = of_noise.reshape(N_RANDOMISATIONS, -1, m)
        if classes is not None:
            classes.add(inputs, sums, mixture, draws, n_jobs)
    means = _without_control(information, control).mean(axis=2)
    return Posteriors(
        means.mean(axis=0),
        means.std(axis=0, ddof=1) / np.sqrt(N_RANDOMISATIONS),
        None if classes is None else classes.found(),
    )


def _points_per_randomisation(n_draws: int) -> int:
    return 1 << max(0, -(-n_draws // N_RANDOMISATIONS) - 1).bit_length()


def _portions(mixture: Mixture, m: int, seed: int) -> Iterator[tuple[np.ndarray, Draws]]:
    """Inputs that are neighbours, and m draws of each in every randomisation."""
    rows, rank = mixture.rows, mixture.space.rank
    in_order = rows.inputs[mixture.order]
    inputs = in_order[np.sort(np.unique(in_order, return_index=True)[1])]
    by_input = np.argsort(rows.inputs, kind="stable")
    starts = np.cumsum(rows.replicas) - rows.replicas
    n_classes = 0 if rows.label_weights is None else len(rows.label_weights)
    step = max(1, _PER_PORTION // (N_RANDOMISATIONS * m * (1 + rank + n_classes)))
    rng = np.random.default_rng([seed, m])
    points = qmc.Sobol(rank, scramble=False).random(m) if rank else np.empty((m, 0))
    for start in range(0, len(inputs), step):
        some = inputs[start : start + step]
        shape = (N_RANDOMISATIONS, len(some), m)
        # Each input has its own shift of the points in each randomisation.
        shifts = rng.random((*shape[:2], 1, rank + 1))
        replica = (shifts[..., 0] + np.arange(m) / m) % 1 * rows.replicas[some, None]
        drawn = by_input[starts[some, None] + replica.astype(np.int64)]
        noise = ndtri(np.clip((shifts[..., 1:] + points) % 1, 2.0**-53, 1 - 2.0**-53))
        flat = (N_RANDOMISATIONS, len(some) * m)
        yield some, Draws(drawn.reshape(flat), noise.reshape(*flat, rank), np.ones(flat))


def _without_control(values: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Values less what follows the control, of mean 0 at every input, with one slope for all."""
    square = np.sum(control**2)
    if not square > 0:
        return values
    centred = values - values.mean(axis=(0, 2), keepdims=True)
    return values - np.sum(centred * control) / square * control


class _Classes:
    """Sums over portions of inputs of what becomes the confusion and the Bayes error."""

    def __init__(self, rows: Rows, shape: tuple[int, ...], *, population: bool) -> None:
        self._rows, self._population = rows, population
        self._labels = rows.required_labels()[rows.first_rows]
        self._weights = weights = np.bincount(self._labels, weights=rows.input_weights)
        self._leaves_out = population or rows.has_replicas
        self._error = np.empty(shape)
        # Whether the likeliest class is wrong: of the same mean, and what an input moves it by.
        self._wrong = np.empty(shape)
        self._error_left_out = np.empty(shape if self._leaves_out else (0,))
        n = len(weights)
        self._sums = np.zeros((N_RANDOMISATIONS, n, n))
        self._sums_left_out = np.zeros((n, n))

    def add(
        self, inputs: np.ndarray, sums: DrawSums, mixture: Mixture, draws: Draws, n_jobs: int | None
    ) -> None:
        """Add the draws of some inputs, m of each."""
        own = sums.all_data.label
        left_out = own
        if self._leaves_out:
            without = sums.without_own_input if self._population else sums.without_own_row
            left_out = without.label
        logs = mixture.class_sums(draws, left_out, n_jobs)
        shape = (*self._error[:, inputs].shape, logs.shape[-1])
        labels = self._labels[inputs]
        posterior = _posterior(logs, own, labels, shape, self._weights)
        self._error[:, inputs] = 1 - posterior.max(axis=-1)
        self._wrong[:, inputs] = posterior.argmax(axis=-1) != labels[:, None]
        means = posterior.mean(axis=2)
        weights = self._rows.input_weights[inputs]
        for label in np.unique(labels):
            of_label = labels == label
            p, some = weights[of_label], means[:, of_label]
            self._sums[:, label] += np.einsum("x,rxc->rc", p, some)
        if self._leaves_out:
            posterior = _posterior(logs, left_out, labels, shape, self._weights)
            likeliest = posterior.argmax(axis=-1)
            self._error_left_out[:, inputs] = likeliest != labels[:, None]
            np.add.at(self._sums_left_out, labels, weights[:, None] * posterior.mean(axis=(0, 2)))

    def found(self) -> ClassPosteriors:
        by_randomisation = self._sums / self._weights[:, None]
        confusion = by_randomisation.mean(axis=0)
        stderr = by_randomisation.std(axis=0, ddof=1) / np.sqrt(N_RANDOMISATIONS)
        left_out = self._sums_left_out / self._weights[:, None] if self._leaves_out else None
        ceiling = self._ceiling()
        return ClassPosteriors(confusion, stderr, left_out, self._bayes_error(ceiling), ceiling)

    def _bayes_error(self, ceiling: Quantity) -> Quantity:
        """The plug-in, which is no larger than the truth; the classifier left out errs as often."""
        wrong = self._average(self._wrong)
        plug_in = replace(self._average(self._error), replicas=wrong.replicas, inputs=wrong.inputs)
        upper = plug_in.mean + plug_in.margin(population=self._population)
        if self._leaves_out:
            upper = ceiling.upper
            # What leaves an input out has seen others of its cluster.
            if self._rows.clusters is None or not self._population:
                without = self._average(self._error_left_out)
                upper = without.mean + without.margin(population=self._population) + self._unseen()
        lower = max(0.0, plug_in.mean - plug_in.margin(population=self._population))
        quantity = Quantity(
            "bayes_error", plug_in.mean, plug_in.integration, lower, min(upper, ceiling.upper), "",
            stderr_sampling=plug_in.replicas, stderr_other_inputs=plug_in.inputs,
        )  # fmt: skip
        if self._population:
            sampling = float(np.hypot(plug_in.replicas, plug_in.inputs))
            quantity = replace(quantity, stderr_sampling=sampling, stderr_other_inputs=0.0)
            quantity = noted_at_an_end(quantity, _FAR)
        return quantity

    def _average(self, values: np.ndarray) -> Average:
        flat = values.reshape(N_RANDOMISATIONS, -1)
        n, m = values.shape[1:]
        inputs = np.broadcast_to(np.repeat(np.arange(n), m), flat.shape)
        p, drawn = self._rows.input_weights[inputs], self._rows.first_rows[inputs]
        return average_draws(flat, np.zeros_like(flat), p, drawn, self._rows)

    def _unseen(self) -> float:
        """Probability of what none of those drawn shows, and which may all be misjudged."""
        weights = self._rows.input_weights if self._population else self._rows.weights
        return min(0.5, MISSED * float(np.sum(weights**2)))

    def _ceiling(self) -> Quantity:
        p = float(self._weights.max())
        ceiling = Quantity.exact("bayes_error_ceiling", 1 - p, "")
        if not self._population:
            return ceiling
        spread = float(np.sqrt(p * (1 - p) / self._rows.n_effective))
        upper = min(1.0, 1 - p + 1.96 * spread)
        return replace(
            ceiling, lower=max(0.0, 1 - p - 1.96 * spread), upper=upper, stderr_sampling=spread
        )


def _posterior(
    logs: np.ndarray, own: np.ndarray, labels: np.ndarray, shape: tuple[int, ...],
    prior: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """P(c|t) with ``own`` the sum of the own class; the prior where no class is seen."""
    logs = logs.reshape(shape).copy()
    of_draws = np.broadcast_to(labels[:, None], shape[:-1])
    np.put_along_axis(logs, of_draws[..., None], own.reshape(*shape[:-1], 1), axis=-1)
    total = logsumexp(logs, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(total), prior, np.exp(logs - total))
