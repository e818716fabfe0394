"""One layer at one checkpoint: read once, measured by every estimator, nothing lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfo.errors import OF_THE_CALL, RunError, in_words
from skinfo.flow.estimators import fit_quantities, last_step, transformed_ends, uses_replicas
from skinfo.flow.memory import Budget
from skinfo.quantities import Quantity
from skinfo.runs import Activations, LayerActivations, Run
from skinfo.runs.stores.memory import MemoryStore

# Estimates kept by another version are made again.
_VERSION = version("skinfo")


@dataclass(frozen=True, eq=False)
class Place:
    """One layer at one checkpoint of a run, which another process can read as well.

    Attributes
    ----------
    run, epoch, layer : Run, int, str
        Where the activations are.
    mask : ndarray of shape (n_inputs,), bool, or None
        Inputs to measure.
    sent : LayerActivations, RunError or None
        What reading gave before this was sent to another process; None where that reads by itself.
    """

    run: Run
    epoch: int
    layer: str
    mask: np.ndarray | None = None
    sent: LayerActivations | RunError | None = None

    def load(self) -> LayerActivations:
        """Read the array."""
        if isinstance(self.sent, RunError):
            raise self.sent
        return self.sent or self.run.load(self.epoch, self.layer, subset=self.mask)

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens a run on disk itself; of arrays in memory it is sent this one."""
        if not isinstance(self.run.store, MemoryStore):
            return vars(self)
        try:
            sent: LayerActivations | RunError = self.load()
        except RunError as error:
            sent = error
        return vars(self) | {"run": replace(self.run, store=MemoryStore({})), "sent": sent}


@dataclass(frozen=True, eq=False)
class Task:
    """All estimators on one layer at one checkpoint.

    Attributes
    ----------
    place : Place
        Where the activations are.
    estimators : mapping of str to estimator or None
        By name; None where the layer has no noise and the estimator no sigma of its own.
    keep : Keep
        Where finished estimates are kept.
    budget : Budget
        Memory shared with the other tasks.
    need : int
        Bytes that it takes at its peak, estimated.
    """

    place: Place
    estimators: Mapping[str, BaseEstimator | None]
    keep: Keep
    budget: Budget
    need: int = 0


@dataclass
class Outcome:
    """Rows of a table, by estimator, and what went wrong."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class Keep:
    """Finished estimates, looked up by what they depend on.

    Parameters
    ----------
    memory : joblib.Memory
        Where they are; entries appear whole or not at all.
    """

    def __init__(self, memory: joblib.Memory) -> None:
        self._on = memory.location is not None
        self._fit = memory.cache(_kept_quantities, ignore=["rows"])
        self._ends = memory.cache(_kept_ends, ignore=["rows"])
        if self._on:
            # Whoever comes first writes down the function; workers that did so side by side could
            # each take the other's half for a change, and clear the store.
            for function in (self._fit, self._ends):
                function.check_call_in_cache(_VERSION, None, "", None)

    def digest(self, rows: Activations) -> str:
        """What identifies the data, made once for all estimators that share them."""
        return joblib.hash((rows.X, rows.y, rows.groups)) if self._on else ""

    def fit(self, estimator: BaseEstimator, digest: str, rows: Activations) -> tuple[Quantity, ...]:
        """Fit, or look up what an equal fit gave."""
        return self._fit(_VERSION, estimator, digest, rows)

    def ends(self, transform: Pipeline, rows: Activations) -> tuple[float, float]:
        """Find the range of what a copy of a pipeline makes of the rows, or look it up."""
        return self._ends(_VERSION, transform, self.digest(rows), rows)


def _kept_quantities(
    version: str,  # noqa: ARG001
    estimator: BaseEstimator,
    digest: str,  # noqa: ARG001
    rows: Activations,
) -> tuple[Quantity, ...]:
    return fit_quantities(estimator, rows)


def _kept_ends(
    version: str,  # noqa: ARG001
    transform: Pipeline,
    digest: str,  # noqa: ARG001
    rows: Activations,
) -> tuple[float, float]:
    return transformed_ends(transform, rows)


def measure(task: Task) -> Outcome:
    """Measure a layer; what cannot be read or measured becomes a row that says so."""
    outcome = Outcome()
    chosen = {name: e for name, e in task.estimators.items() if e is not None}
    for name in task.estimators:
        if name not in chosen:
            outcome.rows[name] = [_unmeasured(task, name, "no noise")]
    with task.budget.held(task.need):
        try:
            loaded = task.place.load()
        except RunError as error:
            for name in chosen:
                outcome.errors[name] = str(error)
                outcome.rows[name] = [_unmeasured(task, name, "read error")]
            return outcome
        of_replicas = {name: e for name, e in chosen.items() if uses_replicas(e)}
        of_samples = {name: e for name, e in chosen.items() if not uses_replicas(e)}
        if of_replicas:
            _measure_rows(task, of_replicas, loaded.replicas(), outcome)
        if of_samples:
            sample = loaded.noisy_sample()
            # It is an array of its own.
            del loaded
            _measure_rows(task, of_samples, sample, outcome)
    return outcome


def _measure_rows(
    task: Task, estimators: Mapping[str, BaseEstimator], rows: Activations, outcome: Outcome
) -> None:
    digest = task.keep.digest(rows)
    for name, estimator in estimators.items():
        try:
            quantities = task.keep.fit(estimator, digest, rows)
        except OF_THE_CALL:
            raise
        except Exception as error:
            what = RunError(
                f"{name}: {in_words(error)}",
                path=task.place.run.name, epoch=task.place.epoch, layer=task.place.layer,
            )  # fmt: skip
            outcome.errors[name] = " ".join(str(what).split())
            outcome.rows[name] = [_unmeasured(task, name, "not measured")]
            continue
        notes = _notes(task, estimator, rows)
        drawn = [] if uses_replicas(estimator) else _of_a_draw(task)
        outcome.rows[name] = [
            # What no layer can exceed is that of the inputs.
            _row(task, name, quantity.noted(*notes, *([] if "ceiling" in quantity.name else drawn)))
            for quantity in quantities
        ]


def _notes(task: Task, estimator: BaseEstimator, rows: Activations) -> list[str]:
    """What the run knows of a number and its estimator does not."""
    if not uses_replicas(estimator):
        return []
    notes = ["replicas missing"] if rows.replicas_missing else []
    measured_at = last_step(estimator).get_params(deep=False).get("sigma")
    own = task.place.run.layer(task.place.layer).sigma
    if measured_at is None or own is None:
        return notes
    if own == 0:
        notes.append("noise added")
    elif not np.isclose(measured_at, own):
        notes.append("sigma differs from run")
    return notes


def _of_a_draw(task: Task) -> list[str]:
    """What is measured on T itself, one sample an input, changes with the noise drawn."""
    layer = task.place.run.layer(task.place.layer)
    return ["one noise draw"] if layer.sigma or layer.noise_before else []


def _unmeasured(task: Task, name: str, note: str) -> dict[str, Any]:
    return _row(task, name, Quantity("", np.nan, np.nan, unit="", notes=(note,)))


def _row(task: Task, name: str, quantity: Quantity) -> dict[str, Any]:
    where = {"epoch": task.place.epoch, "layer": task.place.layer, "estimator": name}
    return where | quantity.cells()
