"""The noise of layers in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from skinfo.noise.model import NOISES

_SYMBOLS = {"sigma": "σ"}


def noise_in_words(noises: Sequence[tuple[Any, ...] | None]) -> str:
    """Say the noise of all layers, each the name of a model and sigma; empty where there is none.

    A sigma is as of :class:`skinfo.runs.Layer`; an empty tuple stands for one per unit that is not
    on record. A unit other than that of the activations comes third.

    Examples
    --------
    >>> noise_in_words([("additive", 0.5), None, ("additive", 0.5)])
    'σ = 0.5'
    >>> noise_in_words([("additive", 0.5, "rms")])
    'σ = 0.5 rms'
    >>> noise_in_words([("additive", 0.1), ("multiplicative", (0.5, 1.0))])
    'σ = 0.1; Gaussian dropout, σ = 0.5 to 1, each unit its own; each layer its own'
    >>> noise_in_words([("multiplicative", 0.5)]), noise_in_words([("affine", (0.2, 0.3))])
    ('Gaussian dropout, σ = 0.5 (rate 0.2)', 'affine noise, a = 0.2, b = 0.3')
    """
    different = list(dict.fromkeys(noise for noise in noises if noise is not None))
    by_model: dict[tuple[str, ...], list[Any]] = {}
    for name, sigma, *unit in different:
        by_model.setdefault((name, *unit), []).append(sigma)
    kinds = [_model_in_words(sigmas, *model) for model, sigmas in by_model.items()]
    if len(different) > 1:
        kinds.append("each layer its own")
    return ("; " if len(by_model) > 1 else ", ").join(kinds)


def _model_in_words(sigmas: Sequence[Any], name: str, unit: str = "") -> str:
    model = NOISES.get(name)
    title = f"{name} noise, " if model is None or model.title is None else model.title
    if any(isinstance(sigma, str) for sigma in sigmas):
        return f"{title}σ of each row and unit"
    if not all(sigmas):
        return f"{title}σ of each unit"
    names = ("sigma",) if model is None else model.parameters
    parameters = [sigmas] if len(names) == 1 else list(zip(*sigmas, strict=True))
    said = []
    for parameter, values in zip(names, parameters, strict=True):
        numbers = list(_numbers(values))
        low, high = min(numbers), max(numbers)
        span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        said.append(f"{_SYMBOLS.get(parameter, parameter)} = {span} {unit}".rstrip())
        if model is not None and low == high:
            said[-1] += model.beside(low)
    if any(isinstance(value, tuple) for values in parameters for value in values):
        said.append("each unit its own")
    return title + ", ".join(said)


def _numbers(values: Iterable[Any]) -> Iterable[float]:
    for value in values:
        yield from _numbers(value) if isinstance(value, tuple) else (value,)
