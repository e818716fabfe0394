"""The noise that the numbers of a table were measured with, as its settings tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OWN_SIGMA = "each layer's own"


def sigmas_of(
    settings: Mapping[Any, Any], estimator: str, layers: Sequence[str]
) -> tuple[float | None, ...]:
    """The sigma of every layer; None where an estimator adds no noise, or none is on record.

    Examples
    --------
    >>> layers = [{"name": "a", "sigma": 0.5}, {"name": "b", "sigma": None}]
    >>> settings = {"estimators": {"mine": {"class": "N", "sigma": None}}, "layers": layers}
    >>> sigmas_of(settings, "mine", ["a", "b"])
    (0.5, None)
    """
    estimators = settings.get("estimators")
    described = estimators.get(estimator) if isinstance(estimators, Mapping) else None
    if isinstance(described, Mapping) and described.get("steps"):
        described = list(described["steps"])[-1]
    if not isinstance(described, Mapping) or "sigma" not in described:
        return (None,) * len(layers)
    if described["sigma"] is not None:
        return (_number(described["sigma"]),) * len(layers)
    known = settings.get("layers")
    own = {
        layer["name"]: _number(layer.get("sigma"))
        for layer in (known if isinstance(known, list | tuple) else [])
        if isinstance(layer, Mapping) and "name" in layer
    }
    return tuple(own.get(layer) for layer in layers)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def sigma_in_words(sigmas: Sequence[float | None]) -> str:
    """Say the noise of all layers; empty where there is none.

    Examples
    --------
    >>> sigma_in_words((0.5, None, 0.5)), sigma_in_words((0.1, 0.5)), sigma_in_words((None,))
    ('σ = 0.5', 'σ = 0.1 to 0.5, each layer its own', '')
    """
    known = sorted({sigma for sigma in sigmas if sigma is not None})
    if not known:
        return ""
    if len(known) == 1:
        return f"σ = {known[0]:g}"
    return f"σ = {known[0]:g} to {known[-1]:g}, each layer its own"
