"""What a run says of itself: layers, split, losses, seed, versions, settings; and its JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from skinfo.errors import RunError

SCHEMA = 1
#: Arrays that lie beside a description.
BESIDE = ("labels", "groups")

Record = dict[str, Any]
_installed = cache(version)


@dataclass(frozen=True)
class Layer:
    """A layer whose activations before its own noise are stored.

    Attributes
    ----------
    name : str
        Its name.
    sigma : float or None
        Standard deviation of the noise added to its output; 0 for none, None for unknown.
    noise_before : bool
        Whether noise enters the network before this layer, so that its rows need replicas.

    Examples
    --------
    >>> from skinfo.runs import Layer
    >>> [Layer("layer1", sigma=0.1), Layer("layer2", sigma=0.1, noise_before=True)][1].noise_before
    True
    """

    name: str
    sigma: float | None = None
    noise_before: bool = False


def make_layers(
    names: Sequence[str], sigma: float | Mapping[str, float] | None
) -> tuple[Layer, ...]:
    """Describe layers given in network order: noise precedes all after the first noisy one."""
    if isinstance(sigma, Mapping):
        unknown = [name for name in sigma if name not in names]
        if unknown:
            raise ValueError(
                f"sigma names {unknown[0]!r}, which is not a layer of {', '.join(names)}."
            )
    layers: list[Layer] = []
    for name in names:
        own = sigma.get(name) if isinstance(sigma, Mapping) else sigma
        if own is not None and not (own >= 0 and isfinite(own)):
            raise ValueError(f"sigma of layer {name!r} must be a standard deviation; got {own!r}.")
        noise_before = any(layer.sigma or layer.noise_before for layer in layers)
        layers.append(Layer(str(name), None if own is None else float(own), noise_before))
    return tuple(layers)


def as_layers(
    layers: Sequence[Layer | str], sigma: float | Mapping[str, float] | None = None
) -> tuple[Layer, ...]:
    """Layers as they are, or names described by sigma.

    Examples
    --------
    >>> as_layers(["a", "b"], sigma={"a": 0.1})[1]
    Layer(name='b', sigma=None, noise_before=True)
    """
    if isinstance(layers, str):
        raise ValueError(f"layers is a list of layers, also of one alone; got {layers!r}.")
    names = [layer for layer in layers if isinstance(layer, str)]
    described = [layer for layer in layers if isinstance(layer, Layer)]
    if len(described) == len(layers):
        if layers and sigma is not None:
            raise ValueError("sigma is given for names of layers; a Layer has its own.")
        return tuple(described)
    if len(names) == len(layers):
        return make_layers(names, sigma)
    raise ValueError(f"layers are names, or each a Layer(name, sigma); got {list(layers)!r}.")


def make_record(
    layers: Sequence[Layer],
    fmt: str,
    *,
    train: Any = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Record:
    """Describe a run that has no checkpoints yet."""
    return as_json({
        "schema": SCHEMA,
        "format": fmt,
        "layers": [asdict(layer) for layer in layers],
        "train": None if train is None else list(train),
        "seed": seed,
        "settings": dict(settings or {}),
        "versions": software_versions(),
        "losses": {},
    })  # fmt: skip


def software_versions() -> dict[str, str]:
    """Versions of what the numbers depend on.

    Examples
    --------
    >>> "numpy" in software_versions()
    True
    """
    versions = {"python": platform.python_version()}
    for name in ("skinfo", "numpy", "scipy", "scikit-learn", "numba", "torch"):
        with suppress(PackageNotFoundError):
            versions[name] = _installed(name)
    return versions


def parse_record(text: bytes, where: str | Path) -> Record:
    """Read a description; raises RunError if it is damaged, or of a newer schema."""
    try:
        record = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"is no description of a run ({error!r})", path=where) from error
    check_record(record, where)
    return record


def check_record(record: Any, where: str | Path) -> None:
    """Check a description: the error names the first part that is not what the layout says."""
    if not isinstance(record, dict):
        raise RunError("is no description of a run: expected a mapping", path=where)
    schema: Any = record.get("schema")
    if _is_whole(schema) and schema > SCHEMA:
        raise RunError(
            f"written with schema {schema}, this version reads up to {SCHEMA}; "
            "install a newer skinfo",
            path=where,
        )
    for name, (fits, expected) in _PARTS.items():
        if not fits(record.get(name, _OPTIONAL.get(name))):
            raise RunError(
                f"is no description of a run: {name} must be {expected}; got "
                f"{json.dumps(record.get(name))[:80]}",
                path=where,
            )
    names = [layer["name"] for layer in record["layers"]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RunError("is no description of a run: two layers have this name", path=where,
                       layer=twice)  # fmt: skip


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_sigma(value: Any) -> bool:
    return value is None or (_is_number(value) and value >= 0 and isfinite(value))


def _is_layer(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"name", "sigma", "noise_before"}
        and isinstance(value.get("name"), str)
        and _is_sigma(value.get("sigma"))
        and isinstance(value.get("noise_before", False), bool)
    )


def _are_losses(value: Any) -> bool:
    return isinstance(value, dict) and all(
        epoch.isdecimal() and isinstance(losses, dict) and all(map(_is_number, losses.values()))
        for epoch, losses in value.items()
    )


#: What is checked of each part, and how that is said.
_PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "schema": (lambda value: _is_whole(value) and value >= 1, "a whole number from 1 on"),
    "layers": (
        lambda value: isinstance(value, list) and bool(value) and all(map(_is_layer, value)),
        "a list of at least one layer, each with a name, sigma (a standard deviation or null) and "
        "noise_before (true or false)",
    ),
    "train": (
        lambda value: value is None or (isinstance(value, list) and all(map(_is_whole, value))),
        "null or a list of the numbers of inputs",
    ),
    "seed": (lambda value: value is None or _is_whole(value), "null or a whole number"),
    "settings": (lambda value: isinstance(value, dict), "a mapping"),
    "versions": (
        lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
        "a mapping of names to versions",
    ),
    "losses": (_are_losses, "a mapping of epochs to numbers by name"),
    "format": (lambda value: isinstance(value, str), "the name of a format"),
}
_OPTIONAL: dict[str, Any] = {"settings": {}, "versions": {}, "losses": {}}


def whole_epoch(epoch: Any, path: str | Path | None = None) -> int:
    """The number of a checkpoint; raises RunError unless it is a whole number from 0 on.

    Examples
    --------
    >>> whole_epoch(12.0)
    12
    """
    number = isinstance(epoch, Real) and not isinstance(epoch, bool)
    if not number or not (epoch >= 0 and float(epoch).is_integer()):
        raise RunError(f"an epoch is a whole number from 0 on; got {epoch!r}", path=path)
    return int(epoch)


def training_mask(train: Any, labels: np.ndarray | None, path: str | Path) -> np.ndarray | None:
    """Turn indices of training inputs into a mask over the inputs."""
    if train is None:
        return None
    if labels is None:
        raise RunError("names training inputs, but there are no labels", path=path)
    indices = np.asarray(train)
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise RunError("train must be a list of the numbers of inputs", path=path)
    if len(indices) and (indices.min() < 0 or indices.max() >= len(labels)):
        raise RunError(
            f"train numbers the {len(labels)} inputs from 0; found {indices.min()} … "
            f"{indices.max()}",
            path=path,
        )
    mask = np.zeros(len(labels), dtype=bool)
    mask[indices.astype(np.int64)] = True
    return mask


def check_groups(groups: np.ndarray | None, labels: np.ndarray | None, path: str | Path) -> None:
    """Check that every group names an input."""
    if groups is None:
        return
    n_inputs = np.inf if labels is None else len(labels)
    if groups.dtype.kind not in "iu" or groups.ndim != 1:
        raise RunError("groups must be one integer per row", path=path)
    if len(groups) and (groups.min() < 0 or groups.max() >= n_inputs):
        raise RunError(
            f"groups index the {n_inputs} labels; found {groups.min()} … {groups.max()}", path=path
        )


def as_json(description: Record) -> Record:
    """Numbers and arrays of numpy as plain ones, as JSON gives them back."""
    return json.loads(json.dumps(description, default=lambda value: value.tolist()))
