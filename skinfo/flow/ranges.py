"""The range of each layer over all checkpoints of a run: one set of bins for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfo.errors import OF_THE_CALL, RunError
from skinfo.flow.estimators import needs_run_range, steps_before
from skinfo.flow.memory import need_of_layer
from skinfo.flow.tasks import Place, SweepSettings
from skinfo.flow.workers import in_workers
from skinfo.runs import Run

Range = tuple[float, float]


def ranges_of_run(
    named: Mapping[str, BaseEstimator], run: Run, settings: SweepSettings
) -> dict[str, dict[str, Range]]:
    """Find the range of every layer for each estimator that needs it, by the estimator's name."""
    ranges: dict[str, dict[str, Range]] = {}
    without_steps: dict[str, Range] | None = None
    for name, estimator in named.items():
        if not needs_run_range(estimator):
            continue
        if steps_before(estimator) is not None:
            ranges[name] = layer_ranges(run, settings, estimator)
            continue
        if without_steps is None:
            without_steps = layer_ranges(run, settings, estimator)
        ranges[name] = without_steps
    return ranges


def layer_ranges(run: Run, settings: SweepSettings, estimator: BaseEstimator) -> dict[str, Range]:
    """Find the range of each layer's noisy samples over all checkpoints of a run.

    Parameters
    ----------
    run : Run
        Saved activations; they are read one checkpoint of a layer at a time.
    settings : SweepSettings
        Inputs to look at, threads, memory and draws of the noise.
    estimator : estimator
        What needs the ranges; the steps of a pipeline before it are fitted at each checkpoint anew.

    Returns
    -------
    dict of str to (low, high)
        By layer, low < high; checkpoints that cannot be read or transformed are left out, and
        layers of which none can.
    """
    looks = [
        (
            Place(run, epoch, layer.name, settings.mask),
            0
            if settings.budget.limit is None
            else need_of_layer(run, epoch, layer.name, [estimator]),
        )
        for layer in run.layers
        for epoch in run.epochs
    ]
    find = partial(_range, settings=settings, transform=steps_before(estimator))
    ranges: dict[str, Range] = {}
    for number, ends in in_workers(find, looks, settings.n_jobs):
        if ends is not None:
            layer = looks[number][0].layer
            low, high = ranges.get(layer, ends)
            ranges[layer] = (min(low, ends[0]), max(high, ends[1]))
    # A layer that is one value everywhere falls into one cell of any width.
    return {
        layer: (low, high if high > low else float(np.nextafter(low, np.inf)))
        for layer, (low, high) in ranges.items()
    }


def _range(
    look: tuple[Place, int], settings: SweepSettings, transform: Pipeline | None
) -> Range | None:
    place, need = look
    ends: list[float] = []
    with settings.budget.held(need):
        try:
            loaded = place.load()
        except RunError:
            # It gets a row of its own in the table.
            return None
        for draw in range(loaded.n_draws(settings.n_noise_draws)):
            rows = loaded.noisy_sample(settings.random_state, draw)
            if not rows.X.size:
                return None
            if transform is None:
                ends += [float(rows.X.min()), float(rows.X.max())]
                continue
            try:
                ends += settings.keep.ends(transform, rows)
            except OF_THE_CALL:
                raise
            except Exception:
                # Fitting the whole pipeline fails in the same way, and says so.
                return None
    return min(ends), max(ends)
