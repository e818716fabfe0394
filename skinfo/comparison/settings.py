"""What a flow was measured with, as far as its table knows, and where two flows differ in it."""

from __future__ import annotations

import ast
from typing import Any

import pandas as pd

# They change the error of a number, not what it means.
_HARMLESS = {"random_state", "tol", "max_evaluations", "n_jobs", "max_pairs", "bounds", "measures"}


#: Bins of equal settings that are other bins all the same.
OWN_BINS = "bins over each run's own range"


def settings_differ(one: pd.DataFrame, other: pd.DataFrame, layer: str, estimator: str) -> str:
    """Say in which settings two flows differ at a layer; empty where they do not, or none is known.

    What counts is what changes the meaning of a number: sigma, bins, inputs, the subset. Seeds and
    tolerances do not. Settings stand in a table's ``attrs``, where ``skinfo analyze`` puts them.

    Examples
    --------
    >>> import pandas as pd
    >>> one, other = pd.DataFrame(), pd.DataFrame()
    >>> one.attrs = {"estimators": {"noisy": "NoisyMIEstimator(sigma=0.1, tol=0.02)"}}
    >>> other.attrs = {"estimators": {"noisy": "NoisyMIEstimator(sigma=0.2)"}}
    >>> settings_differ(one, other, "hidden", "noisy")
    'sigma 0.1 and 0.2'
    """
    ours, theirs = (_settings(flow, layer, estimator) for flow in (one, other))
    differences = [
        f"{name} {ours.get(name, 'its default')} and {theirs.get(name, 'its default')}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if ours and theirs and ours.get("bin_range") == theirs.get("bin_range") == "'run'":
        differences.append(OWN_BINS)
    return ", ".join(differences) if ours and theirs else ""


def _settings(flow: pd.DataFrame, layer: str, estimator: str) -> dict[str, str]:
    """Parameters of an estimator as its table tells them, sigma that of the layer."""
    estimators = flow.attrs.get("estimators")
    described = estimators.get(estimator) if isinstance(estimators, dict) else None
    if not isinstance(described, str):
        return {}
    known = parameters(described)
    known = {name: value for name, value in known.items() if name not in _HARMLESS}
    if known.get("sigma") == "None":
        own = _layer_sigma(flow.attrs.get("layers"), layer)
        known["sigma"] = "each layer's own" if own is None else own
    subset = flow.attrs.get("subset")
    return known | ({} if subset is None else {"subset": str(subset)})


def _layer_sigma(layers: Any, layer: str) -> str | None:
    for known in layers if isinstance(layers, list) else []:
        if isinstance(known, dict) and known.get("name") == layer:
            return f"{known['sigma']:g}" if known.get("sigma") is not None else None
    return None


def parameters(described: str) -> dict[str, str]:
    """Take the parameters out of an estimator's text.

    Examples
    --------
    >>> parameters("BinningMIEstimator(bin_width=0.5, units='bits')")
    {'estimator': 'BinningMIEstimator', 'bin_width': '0.5', 'units': "'bits'"}
    """
    try:
        call = ast.parse(described, mode="eval").body
    except SyntaxError:
        return {"estimator": described}
    if not isinstance(call, ast.Call):
        return {"estimator": described}
    given = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
    return {"estimator": ast.unparse(call.func), **given}
