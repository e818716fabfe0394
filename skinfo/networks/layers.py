"""Layers of a model chosen by name, pattern or type."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from skinfo.errors import name_some

#: Names of submodules, patterns of names, types of modules, or a list of these.
Layers = str | type[nn.Module] | Sequence[str | type[nn.Module]]
# They hold modules, and do not run.
_CONTAINERS = (nn.ModuleList, nn.ModuleDict)


def choose_layers(model: nn.Module, layers: Layers) -> list[str]:
    """Find the names of the submodules that are meant, each once.

    Raises
    ------
    ValueError
        For a name, a pattern or a type that no submodule has; the error names the nearest.
    TypeError
        For anything else.

    Examples
    --------
    >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> model = nn.Sequential(block(), block())
    >>> choose_layers(model, "*"), choose_layers(model, "*.0"), choose_layers(model, nn.ReLU)
    (['0', '1'], ['0.0', '1.0'], ['0.1', '1.1'])
    >>> choose_layers(model, ["1", "**.1"])
    ['1', '0.1', '1.1']
    """
    modules = {name: module for name, module in model.named_modules() if name}
    chosen = [layers] if isinstance(layers, str | type) else list(layers)
    if not chosen:
        raise ValueError("layers is empty; name one at least.")
    return list(dict.fromkeys(name for one in chosen for name in _matches(modules, one)))


def _matches(modules: dict[str, nn.Module], layer: Any) -> list[str]:
    if isinstance(layer, type):
        found = [name for name, module in modules.items() if isinstance(module, layer)]
        if found:
            return found
        kinds = dict.fromkeys(type(module).__name__ for module in modules.values())
        raise ValueError(f"The model has no {layer.__name__}; it has: {name_some(kinds)}.")
    if not isinstance(layer, str):
        raise TypeError(f"layers are names, patterns or types of modules; got {layer!r}.")
    if layer in modules:
        return [layer]
    pattern = layer.split(".")
    found = [
        name
        for name, module in modules.items()
        if _fits(name.split("."), pattern) and not isinstance(module, _CONTAINERS)
    ]
    if found:
        return found
    if not modules:
        raise ValueError("The model has no submodules; put it into an nn.Sequential.")
    nearest = difflib.get_close_matches(layer, modules, n=5, cutoff=0)
    raise ValueError(
        f"No layer of the model matches {layer!r}; the nearest names are: {name_some(nearest)}. "
        "One * stands for any one part of a name between dots, ** for any number of parts."
    )


def _fits(name: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a name fit those of a pattern."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_fits(name[k:], pattern[1:]) for k in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])
