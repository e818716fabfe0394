"""What the numbers of a table depend on, as plain values that every table carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skinfo.runs import Run
from skinfo.runs.description import plain, software_versions


def describe_settings(
    run: Run, named: Mapping[str, BaseEstimator], subset: str | np.ndarray | None = None
) -> dict[str, Any]:
    """Describe a measurement, as in the ``attrs`` of every table.

    Parameters
    ----------
    run : Run
        What was measured.
    named : mapping of str to estimator
        What it was measured with.
    subset : {"train", "test"} or ndarray of shape (n_inputs,), optional
        Inputs that were measured.

    Returns
    -------
    dict
        Values that JSON can hold: run (its name), layers (a dict each, with sigma, and ``flatten``
        where an array can be looked at), seed, subset, flatten (as the run was opened), estimators
        (class and parameters), "run settings" (what its writer noted), versions (of the software
        that wrote the run) and "measured with" (versions of the software that measured).

    Examples
    --------
    >>> from skinfo import BinningMIEstimator, open_run
    >>> run = open_run({(1, "hidden"): np.zeros((4, 2, 3, 3))}, flatten="channel_mean")
    >>> settings = describe_settings(run, {"binned": BinningMIEstimator(bin_width=0.5)})
    >>> settings["layers"]  # doctest: +NORMALIZE_WHITESPACE
    [{'name': 'hidden', 'sigma': None, 'noise_before': False,
      'flatten': 'channel_mean of nchw'}]
    >>> settings["estimators"]["binned"]["class"], settings["estimators"]["binned"]["bin_width"]
    ('BinningMIEstimator', 0.5)
    """
    chosen = run.flattening
    return {
        "run": run.name,
        "layers": [layer.record() | _flattened(run, layer.name) for layer in run.layers],
        "seed": plain(run.seed),
        "subset": subset if subset is None or isinstance(subset, str) else (
            # Inputs differ between runs, so a mask is described by how much it keeps.
            f"a mask, {int(np.count_nonzero(subset))} of {len(subset)} inputs"
        ),
        "flatten": {
            "choice": plain(chosen.choice), "channels": chosen.channels, "axes": plain(chosen.axes),
        },
        "estimators": plain(named),
        "run settings": plain(run.settings),
        "versions": plain(run.versions),
        "measured with": software_versions(),
    }  # fmt: skip


def _flattened(run: Run, layer: str) -> dict[str, str | None]:
    """How the arrays of a layer become units; nothing where none of them can be looked at."""
    flattener = run.flattener(layer)
    if flattener is None:
        return {}
    if flattener.choice is None:
        return {"flatten": None}
    choice = str(plain(flattener.choice))
    # "all" puts every value into the row, whatever the order of the axes.
    return {"flatten": choice if choice == "all" else f"{choice} of {flattener.axes}"}
