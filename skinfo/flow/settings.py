"""What the numbers of a table depend on, as plain values that every table carries."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfo.runs import Run
from skinfo.runs.description import software_versions

# Longer arrays, such as edges of bins, are told apart by their digest.
_LISTED = 100


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
        "layers": [plain(asdict(layer)) | _flattened(run, layer.name) for layer in run.layers],
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


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold, the same in every process.

    Numbers of numpy become Python's; an estimator is described by its class and all its parameters,
    a pipeline by all its steps; a callable is given by its name, anything else by its text.

    Examples
    --------
    >>> plain({"a": (np.float32(0.5), np.arange(2)), "b": len, "c": float("nan")})
    {'a': [0.5, [0, 1]], 'b': 'len', 'c': 'nan'}
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from skinfo import ClusteringScore, NoisyMIEstimator
    >>> plain(NoisyMIEstimator(np.float64(0.3)))["sigma"]
    0.3
    >>> pipeline = plain(make_pipeline(PCA(2), ClusteringScore()))
    >>> [step["class"] for step in pipeline["steps"]], pipeline["steps"][0]["n_components"]
    (['PCA', 'ClusteringScore'], 2)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(inner) for inner in value), key=str)
    if isinstance(value, BaseEstimator) and not isinstance(value, type):
        return _plain_estimator(value)
    if isinstance(value, Path):
        return str(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", " ".join(repr(value).split()))


def _plain_estimator(estimator: BaseEstimator) -> dict[str, Any]:
    if isinstance(estimator, Pipeline):
        steps = [plain(step) for _, step in estimator.steps]
        inner = [s["steps"] if isinstance(s, dict) and "steps" in s else [s] for s in steps]
        return {"class": "Pipeline", "steps": [step for several in inner for step in several]}
    parameters = estimator.get_params(deep=False)
    return {"class": type(estimator).__name__} | plain(dict(sorted(parameters.items())))


def _plain_array(array: np.ndarray) -> Any:
    if array.size <= _LISTED or array.dtype.kind not in "biufc":
        return plain(array.tolist())
    digest = hashlib.blake2b(array.tobytes(), digest_size=8).hexdigest()
    return f"array of shape {array.shape}, {array.dtype}, digest {digest}"


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
