"""The range of each layer over all checkpoints of a run: one set of bins for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from joblib import Memory
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfo.errors import OF_THE_CALL, RunError
from skinfo.flow.estimators import needs_run_range, steps_before
from skinfo.flow.memory import Budget, need_of_samples
from skinfo.flow.tasks import Keep, Place
from skinfo.flow.workers import in_workers
from skinfo.runs import Run

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Look:
    """One layer at one checkpoint, and what its samples go through."""

    place: Place
    transform: Pipeline | None
    budget: Budget
    keep: Keep
    need: int


def ranges_of_run(
    named: Mapping[str, BaseEstimator],
    run: Run,
    mask: np.ndarray | None,
    n_jobs: int | None,
    budget: Budget,
    keep: Keep,
) -> dict[str, dict[str, Range]]:
    """By name of the estimators with ``bin_range="run"``, the range of every layer."""
    plain: dict[str, Range] | None = None
    found: dict[str, dict[str, Range]] = {}
    for name, estimator in named.items():
        if not needs_run_range(estimator):
            continue
        transform = steps_before(estimator)
        if transform is not None:
            options = {"transform": transform, "budget": budget, "keep": keep}
            found[name] = layer_ranges(run, mask, n_jobs, **options)
            continue
        plain = layer_ranges(run, mask, n_jobs, budget=budget) if plain is None else plain
        found[name] = plain
    return found


def layer_ranges(
    run: Run,
    mask: np.ndarray | None = None,
    n_jobs: int | None = None,
    *,
    transform: Pipeline | None = None,
    budget: Budget | None = None,
    keep: Keep | None = None,
) -> dict[str, Range]:
    """Find the range of each layer's noisy samples over all checkpoints of a run.

    Parameters
    ----------
    run : Run
        Saved activations; they are read one checkpoint of a layer at a time.
    mask : ndarray of shape (n_inputs,), bool, optional
        Inputs to look at.
    n_jobs : int or None, default=None
        Threads.
    transform : Pipeline, optional
        What the samples go through first, fitted at each checkpoint anew.
    budget : Budget, optional
        Memory to stay within.
    keep : Keep, optional
        Where the ranges of what was transformed are kept.

    Returns
    -------
    dict of str to (low, high)
        By layer, low < high; checkpoints that cannot be read or transformed are left out, and
        layers of which none can.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> run = open_run({(1, "a"): np.array([[0.0], [1.0]]), (2, "a"): np.array([[-2.0], [0.5]])})
    >>> layer_ranges(run)
    {'a': (-2.0, 1.0)}
    """
    budget = Budget() if budget is None else budget
    keep = Keep(Memory(None)) if keep is None else keep
    looks = [
        _Look(
            Place(run, epoch, layer.name, mask), transform, budget, keep,
            need_of_samples(budget, run, epoch, layer.name, transform),
        )
        for layer in run.layers
        for epoch in run.epochs
    ]  # fmt: skip
    found = dict(in_workers(_ends, looks, n_jobs))
    ranges: dict[str, Range] = {}
    for place, look in enumerate(looks):
        ends = found[place]
        if ends is not None:
            low, high = ranges.get(look.place.layer, ends)
            ranges[look.place.layer] = (min(low, ends[0]), max(high, ends[1]))
    # A layer that is one value everywhere falls into one cell of any width.
    return {
        layer: (low, high if high > low else float(np.nextafter(low, np.inf)))
        for layer, (low, high) in ranges.items()
    }


def _ends(look: _Look) -> Range | None:
    with look.budget.held(look.need):
        try:
            rows = look.place.load().noisy_sample()
        except RunError:
            # It gets a row of its own in the table.
            return None
        if not rows.X.size:
            return None
        if look.transform is None:
            return float(rows.X.min()), float(rows.X.max())
        try:
            return look.keep.ends(look.transform, rows)
        except OF_THE_CALL:
            raise
        except Exception:
            # Fitting the whole pipeline fails in the same way, and says so.
            return None
