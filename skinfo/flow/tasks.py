"""One layer at one checkpoint: read once, measured by every estimator, one row per number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from scipy.special import stdtrit
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from skinfo.errors import OF_THE_CALL, RunError, in_words
from skinfo.flow.estimators import (
    fit_quantities,
    has_steps,
    last_step,
    noise_asked,
    uses_replicas,
)
from skinfo.flow.keeping import Keep
from skinfo.flow.memory import Budget
from skinfo.flow.workers import stop_if_asked
from skinfo.noise import make_noise
from skinfo.quantities import QUANTITIES, Quantity, notes_of
from skinfo.runs import Activations, Layer, LayerActivations, Run
from skinfo.runs.beside import label_sets
from skinfo.runs.stores.memory import MemoryStore

_NO_LABEL = "no label per row"
_CEILINGS = {description.ceiling for description in QUANTITIES.values()}


@dataclass(frozen=True, eq=False)
class Place:
    """One layer at one checkpoint of a run, which another process can read as well.

    ``need`` is the memory in bytes that measuring it takes at its peak. ``sent`` is what reading
    gave, or its error, where that came before this was sent to another process.
    """

    run: Run
    epoch: int
    layer: str
    mask: np.ndarray | None = None
    need: int = 0
    sent: LayerActivations | RunError | None = None

    def load(self) -> LayerActivations:
        """Read the array."""
        if isinstance(self.sent, RunError):
            raise self.sent
        return self.sent or self.run.load(self.epoch, self.layer, subset=self.mask)

    def said(self, error: Exception, who: str = "") -> str:
        """What went wrong here, in one line."""
        if who or not isinstance(error, RunError):
            error = RunError(
                f"{who}{in_words(error)}",
                path=self.run.name, epoch=self.epoch, layer=self.layer,
            )  # fmt: skip
        return " ".join(str(error).split())

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens a run on disk itself; of arrays in memory it is sent this one."""
        if not isinstance(self.run.store, MemoryStore):
            return vars(self)
        try:
            sent: LayerActivations | RunError = self.load()
        except RunError as error:
            sent = error
        return vars(self) | {"run": replace(self.run, store=MemoryStore({})), "sent": sent}


def places_of(
    run: Run,
    estimators: Collection[BaseEstimator],
    mask: np.ndarray | None,
    budget: Budget,
    n_noise_draws: int = 1,
) -> list[Place]:
    """All layers at each checkpoint; those that alone are too large for the budget are not read.

    The RunError of a layer that is too large at all checkpoints is raised: it is of the limit.
    """
    places, fit = [], set()
    # A file is opened once for all its layers.
    for epoch, layer in product(run.epochs, [layer.name for layer in run.layers]):
        need = budget.need(run, epoch, layer, estimators, n_noise_draws)
        error = budget.too_large(run, epoch, layer, need)
        places.append(Place(run, epoch, layer, mask, 0 if error else need, error))
        if error is None:
            fit.add(layer)
    for place in places:
        if place.layer not in fit and isinstance(place.sent, RunError):
            raise place.sent
    return places


@dataclass(frozen=True, eq=False)
class Task:
    """All estimators on one layer at one checkpoint.

    An estimator is None where the layer has no noise and the estimator no sigma of its own.
    """

    place: Place
    estimators: Mapping[str, BaseEstimator | None]


#: Name of an estimator, and of the set of labels that it was given: "" for one without a name.
Key: TypeAlias = tuple[str, str]


@dataclass
class Outcome:
    """What each estimator measured, or one quantity without a name, and what went wrong.

    With labels that have a name, what depends on them is under that name, and the rest under "".
    ``faults`` are exceptions that would be of the call if they were the same everywhere.
    """

    quantities: dict[Key, list[Quantity]] = field(default_factory=dict)
    errors: dict[Key, str] = field(default_factory=dict)
    faults: dict[Key, Exception] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """An exception of a stranger may not survive the way from another process."""
        return vars(self) | {"faults": {}}

    def leave_out(self, key: Key, note: str, error: str | None = None) -> None:
        """Note why an estimator measured nothing."""
        self.quantities[key] = [Quantity("", np.nan, np.nan, unit="", notes=(note,))]
        if error is not None:
            self.errors[key] = error

    def of(self, name: str, sets: Iterable[str]) -> dict[str, list[Quantity]]:
        """What an estimator measured without labels, and with each of the sets."""
        every = dict.fromkeys(["", *sets])
        return {s: self.quantities[name, s] for s in every if (name, s) in self.quantities}


@dataclass(frozen=True, eq=False)
class SweepSettings:
    """What all tasks of a sweep share; the arguments of ``information_flow``."""

    mask: np.ndarray | None
    n_jobs: int | None
    keep: Keep
    budget: Budget
    random_state: int = 0
    n_noise_draws: int = 1


def measure(task: Task, settings: SweepSettings) -> Outcome:
    """Measure a layer; what cannot be read or measured becomes a row that says so."""
    outcome = Outcome()
    chosen = {name: e for name, e in task.estimators.items() if e is not None}
    for name in task.estimators:
        if name not in chosen:
            outcome.leave_out((name, ""), "no noise")
    try:
        with settings.budget.held(task.place.need):
            _measure(task, chosen, settings, outcome)
    # Whatever a reader stumbles over, an array that no memory holds included.
    except Exception as error:
        for name in chosen:
            if not any(own == name for own, _ in outcome.quantities):
                outcome.leave_out((name, ""), "read error", task.place.said(error))
    return outcome


def _measure(
    task: Task,
    chosen: Mapping[str, BaseEstimator],
    settings: SweepSettings,
    outcome: Outcome,
) -> None:
    loaded = task.place.load()
    of_replicas = {name: e for name, e in chosen.items() if uses_replicas(e)}
    if of_replicas:
        rows = loaded.replicas()
        for key, quantities in _fit(task, of_replicas, rows, settings.keep, outcome):
            notes = _notes(loaded.layer, of_replicas[key[0]], rows)
            outcome.quantities[key] = [quantity.noted(*notes) for quantity in quantities]
        del rows
    of_samples = {name: e for name, e in chosen.items() if not uses_replicas(e)}
    if of_samples:
        has_noise = bool(loaded.layer.sigma or loaded.layer.noise_before)
        n_draws = loaded.n_draws(settings.n_noise_draws)
        draws: dict[Key, list[Quantity]] = {}
        for draw in range(n_draws):
            stop_if_asked()
            rows = loaded.noisy_sample(settings.random_state, draw)
            if draw == n_draws - 1:
                # The sample is an array of its own.
                del loaded
            for key, quantities in _fit(task, of_samples, rows, settings.keep, outcome):
                draws.setdefault(key, []).extend(quantities)
        for key, measured in draws.items():
            if key not in outcome.errors:
                measured = mean_over_draws(measured) if has_noise else measured
                if has_noise and n_draws == 1 < settings.n_noise_draws:
                    measured = [quantity.noted("one noise draw") for quantity in measured]
                outcome.quantities[key] = measured


def _fit(
    task: Task,
    estimators: Mapping[str, BaseEstimator],
    rows: Activations,
    keep: Keep,
    outcome: Outcome,
) -> Iterator[tuple[Key, list[Quantity]]]:
    """What each estimator measures; one that fails leaves an error and a row, and is left out."""
    missing = label_sets(task.place.run.labels).keys() - rows.label_sets.keys()
    # The rows with each set of labels that they have, or without any.
    labelled = [rows.with_labels(name) for name in rows.label_sets] or [rows]
    digests = [keep.digest(one) for one in labelled]
    for name, estimator in estimators.items():
        needs_labels = bool(missing) and get_tags(last_step(estimator)).target_tags.required
        yielded: set[Key] = set()
        for given, digest in zip(labelled, digests, strict=True):
            key = (name, next(iter(given.label_sets), ""))
            if key in outcome.errors or (needs_labels and not given.label_sets):
                continue
            try:
                quantities = keep.result(fit_quantities, name, estimator, digest, given)
            except Exception as error:
                outcome.leave_out(key, "not measured", task.place.said(error, f"{name}: "))
                if isinstance(error, OF_THE_CALL):
                    outcome.faults[key] = error
                continue
            if "" in missing:
                quantities = tuple(quantity.noted(_NO_LABEL) for quantity in quantities)
            for part, found in _by_labels(key, quantities, last_step(estimator)):
                # What does not depend on labels is taken of the first set.
                if part == key or part not in yielded:
                    yielded.add(part)
                    yield part, found
        for labels in missing:
            if (name, labels) not in yielded:
                outcome.leave_out((name, labels), _NO_LABEL)


def _by_labels(
    key: Key, quantities: Sequence[Quantity], last: BaseEstimator
) -> Iterator[tuple[Key, list[Quantity]]]:
    """Quantities under the set of labels that they depend on, and the others under none."""
    declared = {d.name: d for d in getattr(last, "quantity_descriptions", ())}
    parts: dict[Key, list[Quantity]] = {}
    for quantity in quantities:
        name = quantity.name.partition(" [")[0]
        described = QUANTITIES.get(name) or declared.get(name)
        of_labels = described is None or described.of_labels
        parts.setdefault(key if of_labels else (key[0], ""), []).append(quantity)
    yield from parts.items()


def mean_over_draws(quantities: Sequence[Quantity]) -> list[Quantity]:
    r"""Average quantities of the same name, each measured at another draw of the noise.

    The standard error of the mean of n draws is

    .. math:: e = \sqrt{s^2 / n + \overline{e_k^2}}

    with s the standard deviation between the draws and :math:`e_k` the estimator's own standard
    error at draw k, which does not shrink with n: an estimator with a ``random_state`` makes the
    same error each time. The bracket is the 95 % interval of Student's t with n - 1 degrees of
    freedom. Of one draw the error is unknown: NaN. A ceiling does not depend on the noise.

    Examples
    --------
    >>> draws = [Quantity.exact("auc", value, "") for value in (0.7, 0.8, 0.9)]
    >>> (mean,) = mean_over_draws(draws)
    >>> round(mean.value, 6), round(mean.stderr, 6), round(mean.lower, 4), round(mean.upper, 4)
    (0.8, 0.057735, 0.5516, 1.0484)
    >>> mean_over_draws(draws[:1])[0].stderr
    nan
    """
    by_name: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        by_name.setdefault(quantity.name, []).append(quantity)
    return [_average(draws) for draws in by_name.values()]


def _average(draws: Sequence[Quantity]) -> Quantity:
    first, n = replace(draws[0], notes=notes_of(draws)), len(draws)
    if first.name.partition(" [")[0] in _CEILINGS:
        return first
    if n == 1:
        return replace(first, stderr=np.nan, lower=np.nan, upper=np.nan)
    values = np.array([quantity.value for quantity in draws])
    own_variance = np.mean([quantity.stderr**2 for quantity in draws])
    mean = float(values.mean())
    error = float(np.sqrt(values.var(ddof=1) / n + own_variance))
    half = float(stdtrit(n - 1, 0.975)) * error
    return replace(first, value=mean, stderr=error, lower=mean - half, upper=mean + half)


def _notes(layer: Layer, estimator: BaseEstimator, rows: Activations) -> list[str]:
    """What the run knows of a number from replicas and its estimator does not."""
    notes = ["replicas missing"] if rows.replicas_missing else []
    last = last_step(estimator)
    sigma, noise = last.get_params(deep=False).get("sigma"), noise_asked(last)
    if layer.sigma is None:
        differs = layer.noise not in ("additive", noise)
        return [*notes, "noise differs from run"] if differs else notes
    if sigma is None and noise == layer.noise:
        return notes
    if layer.sigma == 0:
        return [*notes, "noise added"]
    if noise != layer.noise:
        return [*notes, "noise differs from run"]
    in_rms = getattr(last, "sigma_unit", "activations") != "activations"
    if in_rms or not _is_own(sigma, layer):
        return [*notes, "sigma differs from run"]
    # Other noise than one sigma for all is that of the layer's own units.
    differs = has_steps(estimator) and (layer.noise != "additive" or isinstance(layer.sigma, tuple))
    return [*notes, "noise differs from run"] if differs else notes


def _is_own(sigma: Any, layer: Layer) -> bool:
    """Whether a sigma, of the layer's kind of noise, is the layer's own."""
    own = layer.noise_model
    if own is None:
        return False
    given = make_noise(layer.noise, sigma)
    return all(map(partial(np.allclose, atol=0), given.sigmas, own.sigmas))
