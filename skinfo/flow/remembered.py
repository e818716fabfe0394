"""What layers know of each input and each class, at the snapshots of a run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skinfo.errors import noted_by_a_table
from skinfo.flow.estimators import fit_last_step, for_layer, last_step
from skinfo.quantities import nats_to
from skinfo.runs import Activations, Run

# Attributes of a fitted estimator by their name in the snapshots, and whether they are information.
_ATTRIBUTES = {
    "pointwise": ("pointwise_mutual_info_", True),
    "pointwise_stderr": ("pointwise_stderr_", True),
    "confusion": ("confusion_", False),
    "confusion_stderr": ("confusion_stderr_", False),
    "class_conditional": ("class_conditional_mutual_info_", True),
    "class_conditional_stderr": ("class_conditional_stderr_", True),
}


def estimator_of_inputs(estimators: Mapping[str, BaseEstimator]) -> BaseEstimator | None:
    """The first of several that measures input by input; None if none does."""
    for estimator in estimators.values():
        if last_step(estimator).get_params(deep=False).get("posterior_draws"):
            return estimator
    return None


def collect_remembered(
    run: Run, estimator: BaseEstimator, epochs: np.ndarray, subset: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Measure every layer at some epochs; the arrays by their names in the snapshots.

    What cannot be read or measured stays NaN, as the table says.
    """
    found: dict[str, np.ndarray] = {}
    for k, layer in enumerate(run.layers):
        chosen = for_layer(estimator, layer, None)
        if chosen is None:
            continue
        for j, epoch in enumerate(epochs.tolist()):
            with suppress(Exception), noted_by_a_table():
                loaded = run.load(epoch, layer.name, subset=subset)
                rows = loaded.replicas()
                last = fit_last_step(chosen, rows)
                _put(found, (k, j), (len(run.layers), len(epochs)), last)
                found = {"inputs": np.unique(loaded.inputs)} | _names(last, rows) | found
    return found


def _put(
    found: dict[str, np.ndarray], place: tuple[int, int], n_places: tuple[int, int], last: Any
) -> None:
    """Write the arrays of a fitted estimator at their place.

    Those of other inputs than the first layer's, as tokens may be, are left out.
    """
    for name, values in _arrays(last).items():
        kept = found.setdefault(name, np.full((*n_places, *values.shape), np.nan))
        if kept.shape[2:] == values.shape:
            kept[place] = values


def _arrays(last: Any) -> dict[str, np.ndarray]:
    """Arrays of a fitted estimator, information in nats."""
    factor = nats_to(last.units)
    return {
        name: getattr(last, attribute) / (factor if is_information else 1.0)
        for name, (attribute, is_information) in _ATTRIBUTES.items()
        if getattr(last, attribute) is not None
    }


def _names(last: Any, rows: Activations) -> dict[str, np.ndarray]:
    """The classes, and the number of that of each input."""
    if rows.y is None:
        return {}
    labels = rows.y
    if rows.groups is not None:
        labels = labels[np.unique(rows.groups, return_index=True)[1]]
    return {
        "classes": last.classes_.astype(str),
        "input_classes": np.searchsorted(last.classes_, labels),
    }
