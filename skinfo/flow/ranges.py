"""The range of each layer over all checkpoints of a run: one set of bins for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfo.flow.estimators import needs_run_range, steps_before, transformed_ends
from skinfo.flow.tasks import Place, SweepSettings, places_of
from skinfo.flow.workers import in_workers, stop_if_asked
from skinfo.runs import Run

Range = tuple[float, float]


def ranges_of_run(
    named: Mapping[str, BaseEstimator], run: Run, settings: SweepSettings
) -> dict[str, dict[str, Range]]:
    """Find the range of every layer for each estimator that needs it, by the estimator's name."""
    ranges: dict[str, dict[str, Range]] = {}
    for name, estimator in named.items():
        if needs_run_range(estimator):
            # All without steps before them share one pass.
            key = "" if steps_before(estimator) is None else name
            if key not in ranges:
                ranges[key] = layer_ranges(run, settings, estimator, name)
            ranges[name] = ranges[key]
    return ranges


def layer_ranges(
    run: Run, settings: SweepSettings, estimator: BaseEstimator, name: str = ""
) -> dict[str, Range]:
    """Find (low, high) of each layer's noisy samples over all checkpoints of a run, low < high.

    The steps of a pipeline before the estimator are fitted at each checkpoint anew. Checkpoints
    that cannot be read or transformed are left out, and layers of which none can.
    """
    places = places_of(run, [estimator], settings.mask, settings.budget)
    find = partial(_range, settings=settings, name=name, transform=steps_before(estimator))
    ranges: dict[str, Range] = {}
    for number, ends in in_workers(find, places, settings.n_jobs):
        if ends is not None:
            layer = places[number].layer
            low, high = ranges.get(layer, ends)
            ranges[layer] = (min(low, ends[0]), max(high, ends[1]))
    # A layer that is one value everywhere falls into one cell of any width.
    return {
        layer: (low, high if high > low else float(np.nextafter(low, np.inf)))
        for layer, (low, high) in ranges.items()
    }


def _range(
    place: Place, settings: SweepSettings, name: str, transform: Pipeline | None
) -> Range | None:
    ends: list[float] = []
    with settings.budget.held(place.need):
        try:
            loaded = place.load()
        except Exception:
            # It gets a row of its own in the table.
            return None
        for draw in range(loaded.n_draws(settings.n_noise_draws)):
            stop_if_asked()
            rows = loaded.noisy_sample(settings.random_state, draw)
            if not rows.X.size:
                return None
            if transform is None:
                ends += [float(rows.X.min()), float(rows.X.max())]
                continue
            try:
                digest = settings.keep.digest(rows)
                ends += settings.keep.result(transformed_ends, name, transform, digest, rows)
            except Exception:
                # Fitting the whole pipeline fails in the same way, and says so.
                return None
    return min(ends), max(ends)
