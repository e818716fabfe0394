"""What a flow was measured with, as far as its table knows, and where two flows differ in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

# They change the error of a number, not what it means; other units are an error of their own.
_HARMLESS = {
    "random_state", "tol", "max_evaluations", "n_jobs", "max_pairs", "pairwise_bounds", "measures",
    "units", "memory", "verbose", "copy", "posterior_draws",
}  # fmt: skip
_ABSENT = object()
# A longer list is shown by its first parts.
_MOST_LISTED = 4


def settings_differ(one: pd.DataFrame, other: pd.DataFrame, layer: str, estimator: str) -> str:
    """Say in which settings two flows differ at a layer; empty where they do not, or none is known.

    What counts is what changes the meaning of a number: noise and sigma, bins, inputs, the subset,
    how maps become units, the steps of a pipeline. Seeds and tolerances do not. Settings stand in a
    table's ``attrs``, where :func:`skinfo.information_flow` puts them.

    Examples
    --------
    >>> import pandas as pd
    >>> one, other = pd.DataFrame(), pd.DataFrame()
    >>> one.attrs = {"estimators": {"noisy": {"class": "N", "sigma": 0.1, "tol": 0.02}}}
    >>> other.attrs = {"estimators": {"noisy": {"class": "N", "sigma": 0.2, "tol": 0.01}}}
    >>> settings_differ(one, other, "hidden", "noisy")
    'sigma 0.1 and 0.2'
    """
    ours, theirs = (_settings(flow, layer, estimator) for flow in (one, other))
    if not ours or not theirs:
        return ""
    return ", ".join(
        f"{name} {_shown(ours[name])} and {_shown(theirs[name])}"
        for name in ours
        if name in theirs and not _same(ours[name], theirs[name])
    )


def noise_of_layer(flow: pd.DataFrame, estimator: str, layer: str) -> tuple[Any, ...] | None:
    """Noise that an estimator measured a layer with, its model and sigma; None where none is known.

    Sigma is as of :class:`skinfo.runs.Layer`, or an empty tuple for one per unit that the table
    does not list. Its unit, "rms", comes third where it is not that of the activations.

    Examples
    --------
    >>> import pandas as pd
    >>> flow = pd.DataFrame()
    >>> flow.attrs = {"estimators": {"noisy": {"class": "N", "sigma": None}},
    ...               "layers": [{"name": "a", "sigma": 0.5}, {"name": "b", "sigma": None},
    ...                          {"name": "c", "sigma": [0.5, 1], "noise": "multiplicative"}]}
    >>> noise_of_layer(flow, "noisy", "a"), noise_of_layer(flow, "noisy", "b")
    (('additive', 0.5), None)
    >>> noise_of_layer(flow, "noisy", "c")
    ('multiplicative', (0.5, 1.0))
    """
    step = _steps(_described(flow, estimator))[-1]
    sigma, owner = step.get("sigma", _ABSENT), step
    if sigma is None:
        owner = _layer(flow, layer)
        sigma = owner.get("sigma")
    elif isinstance(sigma, str):
        # The digest of a long array.
        sigma = []
    kind = owner.get("noise", "additive")
    known = isinstance(sigma, str | list) or (isinstance(sigma, int | float) and sigma > 0)
    unit = ("rms",) if owner.get("sigma_unit") == "rms" else ()
    return (kind, _in_tuples(sigma), *unit) if known and isinstance(kind, str) else None


def _in_tuples(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_in_tuples, value))
    return value if isinstance(value, str) else float(value)


def own_bins(one: pd.DataFrame, other: pd.DataFrame, estimator: str) -> str:
    """Say that bins of equal settings are other bins all the same: those of each run's range.

    Flows measured from the same files have the same range.
    """
    files = one.attrs.get("files")
    same_files = files is not None and files == other.attrs.get("files")
    over_runs = all(_over_run(_steps(_described(flow, estimator))[-1]) for flow in (one, other))
    return "bins over each run's own range" if over_runs and not same_files else ""


def _over_run(step: Mapping[str, Any]) -> bool:
    """Whether a sweep looked for the range of the bins; a width or edges need none."""
    given = step.get("bin_width") is not None or step.get("bin_edges") is not None
    uniform = step.get("strategy", "uniform") == "uniform"
    return uniform and not given and step.get("bin_range") == "run"


def _described(flow: pd.DataFrame, estimator: str) -> dict[str, Any]:
    estimators = flow.attrs.get("estimators")
    described = estimators.get(estimator) if isinstance(estimators, Mapping) else None
    return dict(described) if isinstance(described, Mapping) else {}


def _steps(described: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a pipeline, or an estimator alone; a step such as "passthrough" has a class."""
    steps = described.get("steps") if described.get("class") == "Pipeline" else None
    return [x if isinstance(x, dict) else {"class": str(x)} for x in steps or [described]]


def _settings(flow: pd.DataFrame, layer: str, estimator: str) -> dict[str, Any]:
    """Collect what gives a number of a layer its meaning, by name; sigma that of the layer."""
    described = _described(flow, estimator)
    if not described:
        return {}
    steps = _steps(described)
    classes = [str(step.get("class", step)) for step in steps]
    settings = {"estimator": " + ".join(classes)}
    for place, (step, of_class) in enumerate(zip(steps, classes, strict=True), 1):
        short = of_class if classes[:-1].count(of_class) == 1 else f"{of_class} in step {place}"
        owner = f" of {short}" if place < len(steps) else ""
        meaningful = [name for name in step if name not in _HARMLESS and name != "class"]
        settings |= {f"{name}{owner}": step[name] for name in meaningful}
    of_layer = _layer(flow, layer)
    if "sigma" in settings:
        # Older tables, and layers of additive noise, do not say it.
        settings.setdefault("noise", "additive")
    if settings.get("sigma", _ABSENT) is None:
        sigma = of_layer.get("sigma")
        settings["sigma"] = "each layer's own" if sigma is None else sigma
        settings["noise"] = of_layer.get("noise", "additive")
    if "flatten" in of_layer:
        settings["flatten"] = of_layer["flatten"]
    if "subset" in flow.attrs:
        settings["subset"] = flow.attrs["subset"]
    return settings


def _layer(flow: pd.DataFrame, name: str) -> dict[str, Any]:
    layers = flow.attrs.get("layers")
    for layer in layers if isinstance(layers, list | tuple) else []:
        if isinstance(layer, Mapping) and layer.get("name") == name:
            return dict(layer)
    return {}


def _same(one: Any, other: Any) -> bool:
    """Compare settings: numbers to the six digits shown, and not the draws of a step inside."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_same(one.get(k), other.get(k)) for k in {*one, *other} - _HARMLESS)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, float | int) and isinstance(other, float | int)
        return numbers and math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list) and len(value) > _MOST_LISTED:
        first = ", ".join(map(_shown, value[:_MOST_LISTED]))
        return f"[{first}, … {len(value)} in all]"
    return f"{value:g}" if isinstance(value, float) else str(value)
