"""What a run says of itself: layers, split, seed, versions, settings; and its JSON."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skinfo.errors import RunError
from skinfo.noise import NOISES, Noise, make_noise

# Version 2 knows noise other than additive, and deviations of units and rows; version 3 a mask of
# tokens, and labels in several sets.
SCHEMA = 3
#: Beyond this two numbers become one where a table is read as doubles.
LAST_EPOCH = 2**53
# Every format can hold so much beside the arrays of a checkpoint.
_MOST_LOSSES = 60_000
# NUL ends a name in a .npz, and half of a pair of surrogates is no text in any file.
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")

Record = dict[str, Any]
_installed = cache(version)


@dataclass(frozen=True)
class Layer:
    """A layer whose activations before its own noise are stored.

    Attributes
    ----------
    name : str
        Its name.
    sigma : float, tuple, str or None
        Standard deviation of the noise of its output, or a tuple of one per unit; of a noise model
        of several parameters a tuple of these. 0 for none, None for unknown. A name is that of the
        stored array which holds a standard deviation for each row and unit, as the encoder of a
        variational autoencoder gives them.
    noise_before : bool
        Whether noise enters the network before this layer, so that its rows need replicas.
    noise : str
        Name of the noise model, see :func:`skinfo.noise.make_noise`.

    Raises
    ------
    ValueError
        For an unknown noise, and a sigma that it does not take.

    Examples
    --------
    >>> from skinfo.runs import Layer
    >>> [Layer("layer1", sigma=0.1), Layer("layer2", sigma=0.1, noise_before=True)][1].noise_before
    True
    >>> Layer("dropped", sigma=[0.5, 1], noise="multiplicative").sigma
    (0.5, 1.0)
    """

    name: str
    sigma: Any = None
    noise_before: bool = False
    noise: str = "additive"

    def __post_init__(self) -> None:
        check_name(self.name, "a layer")
        try:
            sigma = _plain_sigma(self.noise, self.sigma)
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from error
        object.__setattr__(self, "sigma", sigma)

    def record(self) -> Record:
        """What JSON holds of it; additive noise goes without saying, as in runs written before."""
        described: Record = plain(asdict(self), np.inf)
        if self.noise == "additive":
            del described["noise"]
        return described

    @property
    def noise_model(self) -> Noise | None:
        """The model with its parameters; None without noise, and where an array holds them."""
        if not self.sigma or self.deviations is not None:
            return None
        return make_noise(self.noise, self.sigma)

    @property
    def deviations(self) -> str | None:
        """Name of the stored array of standard deviations; None where there is none."""
        return self.sigma if isinstance(self.sigma, str) else None


def _plain_sigma(noise: Any, sigma: Any) -> Any:
    """Sigma as numbers of Python, checked by the noise model."""
    if isinstance(sigma, str):
        if noise != "additive":
            raise ValueError(
                f"sigma={sigma!r} names an array of standard deviations, which are those of "
                f"additive noise; got noise={noise!r}."
            )
        check_name(sigma, "a layer")
        return sigma
    none = sigma is None or (_is_scalar(sigma) and sigma == 0)
    if none and isinstance(noise, str) and noise in NOISES:
        return None if sigma is None else 0.0
    return _in_tuples(make_noise(noise, sigma).sigma)


def _is_scalar(value: Any) -> bool:
    return (
        getattr(value, "ndim", 0) == 0
        and isinstance(value, Real | np.ndarray)
        and (not isinstance(value, bool | np.bool_))
    )


def _in_tuples(value: Any) -> Any:
    return tuple(map(_in_tuples, value)) if isinstance(value, list) else float(value)


def stored_names(layers: Sequence[Layer]) -> list[str]:
    """Names of the arrays of a checkpoint: those of the layers, and of their deviations.

    Examples
    --------
    >>> stored_names([Layer("mean", sigma="deviation"), Layer("decoded")])
    ['mean', 'decoded', 'deviation']
    """
    beside = [layer.deviations for layer in layers if layer.deviations is not None]
    return list(dict.fromkeys([*(layer.name for layer in layers), *beside]))


def check_name(name: Any, kind: str) -> None:
    """Check the name of a layer, a loss, an estimator: text that every file can hold.

    Examples
    --------
    >>> check_name("", "a layer")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    skinfo.errors.RunError: '' is no name of a layer: it is no text, empty, or holds ...
    """
    if not _is_name(name):
        raise RunError(
            f"{name!r} is no name of {kind}: it is no text, empty, or holds what no file can hold "
            "(NUL, or half of a character); rename it, or leave it out"
        )


def make_layers(
    names: Sequence[str], sigma: Any = None, noise: str | Mapping[str, str] | None = None
) -> tuple[Layer, ...]:
    """Describe layers given in network order: noise precedes all after the first noisy one.

    A name that is the sigma of another is no layer, but the array of that one's deviations.
    """
    names = list(map(str, names))
    for what, given in (("sigma", sigma), ("noise", noise)):
        unknown = given.keys() - set(names) if isinstance(given, Mapping) else ()
        if unknown:
            raise ValueError(
                f"{what} names {min(unknown, key=str)!r}, which is not a layer of "
                f"{', '.join(names)}."
            )
    if isinstance(sigma, str):
        raise ValueError(
            f"sigma is a standard deviation, or a mapping of each layer to its own; got {sigma!r}."
        )
    own = dict(sigma) if isinstance(sigma, Mapping) else dict.fromkeys(names, sigma)
    kinds = dict(noise) if isinstance(noise, Mapping) else dict.fromkeys(names, noise)
    beside = {given for given in own.values() if isinstance(given, str)}
    for name in beside & {name for name, given in own.items() if given is not None}:
        raise ValueError(
            f"sigma names {name!r} as standard deviations of another layer, and gives it a sigma "
            "of its own; an array of standard deviations has none."
        )
    layers: list[Layer] = []
    noise_before = False
    for name in names:
        if name not in beside:
            kind = kinds.get(name)
            kind = "additive" if kind is None else kind
            layers.append(Layer(name, own.get(name), noise_before, kind))
            noise_before = noise_before or bool(layers[-1].sigma)
    return tuple(layers)


def as_layers(
    layers: Sequence[Layer | str], sigma: Any = None, noise: str | Mapping[str, str] | None = None
) -> tuple[Layer, ...]:
    """Layers as they are, or names described by sigma and noise.

    Examples
    --------
    >>> as_layers(["a", "b"], sigma={"a": 0.1})[1]
    Layer(name='b', sigma=None, noise_before=True, noise='additive')
    """
    if isinstance(layers, str):
        raise ValueError(f"layers is a list of layers, also of one alone; got {layers!r}.")
    names = [layer for layer in layers if isinstance(layer, str)]
    described = [layer for layer in layers if isinstance(layer, Layer)]
    if len(described) == len(layers):
        for what, given in (("sigma", sigma), ("noise", noise)):
            if layers and given is not None:
                raise ValueError(f"{what} is given for names of layers; a Layer has its own.")
        return tuple(described)
    if len(names) == len(layers):
        return make_layers(names, sigma, noise)
    raise ValueError(f"layers are names, or each a Layer(name, sigma); got {list(layers)!r}.")


def make_record(
    layers: Sequence[Layer],
    fmt: str,
    *,
    train: Any = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    beside: Record | None = None,
) -> Record:
    """Describe a run that has no checkpoints yet; ``beside`` is what is said of its arrays."""
    if not isinstance(settings, Mapping | None):
        raise RunError(f"settings must be a mapping, such as vars(args); got {settings!r}")
    described_layers = [layer.record() for layer in layers]
    record = {
        # Older versions read what they know.
        "schema": 3 if beside else 2 if any(map(_needs_schema_2, described_layers)) else 1,
        "format": fmt,
        "layers": described_layers,
        "train": train if np.ndim(train) == 0 else list(train),
        "seed": seed,
        "settings": settings or {},
        "versions": software_versions(),
    }
    described: Record = plain(record | (beside or {}), np.inf)
    return described


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
    for layer in record["layers"]:
        try:
            Layer(**layer)
        except ValueError as error:
            own = (
                ""
                if layer.get("noise", "additive") in NOISES
                else (" A model of your own is known once its class has been imported.")
            )
            raise RunError(f"is no description of a run: {error}{own}", path=where) from error
    counts = Counter(layer["name"] for layer in record["layers"])
    twice, count = counts.most_common(1)[0]
    if count > 1:
        raise RunError("is no description of a run: two layers have this name", path=where,
                       layer=twice)  # fmt: skip


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not _UNWRITABLE.search(value)


def _needs_schema_2(layer: Record) -> bool:
    return "noise" in layer or isinstance(layer["sigma"], list | str)


def _is_layer(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"name", "sigma", "noise_before", "noise"}
        and isinstance(value.get("name"), str)
        and isinstance(value.get("noise", "additive"), str)
        and isinstance(value.get("noise_before", False), bool)
    )


#: What is checked of each part, and how that is said.
_PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "schema": (lambda value: _is_whole(value) and value >= 1, "a whole number from 1 on"),
    "layers": (
        lambda value: isinstance(value, list) and bool(value) and all(map(_is_layer, value)),
        "a list of at least one layer, each with a name, sigma (a standard deviation or null), "
        "noise_before (true or false) and noise (the name of a model)",
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
    "format": (lambda value: isinstance(value, str), "the name of a format"),
    "labels": (
        lambda value: isinstance(value, list) and all(map(_is_name, value)),
        "a list of the names of sets of labels",
    ),
    "mask": (lambda value: isinstance(value, bool), "true where tokens are masked, or false"),
}
_OPTIONAL: dict[str, Any] = {"settings": {}, "versions": {}, "labels": [], "mask": False}


def whole_epoch(epoch: Any, path: str | Path | None = None) -> int:
    """The number of a checkpoint; raises RunError unless it is a whole number from 0 to 2**53.

    Examples
    --------
    >>> whole_epoch(12.0)
    12
    """
    number = isinstance(epoch, Real) and not isinstance(epoch, bool)
    if not number or not (epoch >= 0 and epoch % 1 == 0):
        raise RunError(f"an epoch is a whole number from 0 on; got {epoch!r}", path=path)
    if epoch > LAST_EPOCH:
        raise RunError(f"epochs beyond 2**53 become one in a table; got {epoch!r}", path=path)
    return int(epoch)


def check_losses(losses: Any, path: str | Path | None, epoch: int) -> dict[str, float]:
    """Numbers of an epoch by name; the RunError names the one that is none.

    Examples
    --------
    >>> check_losses({"train_loss": np.float32(0.5)}, "run", 3)
    {'train_loss': 0.5}
    """
    if not isinstance(losses, Mapping | None):
        raise RunError(f"losses must be a mapping of names to numbers; got {losses!r}",
                       path=path, epoch=epoch)  # fmt: skip
    numbers: dict[str, float] = {}
    for name, value in (losses or {}).items():
        check_name(name, "a loss")
        try:
            # Arrays and tensors of one number are numbers.
            number = value.item() if hasattr(value, "item") else value
            numbers[name] = float("text" if isinstance(number, str | bytes) else number)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise RunError(f"losses[{name!r}] must be a number; got {value!r}", path=path,
                           epoch=epoch) from error  # fmt: skip
    if len(json.dumps(numbers)) > _MOST_LOSSES:
        raise RunError(f"losses of an epoch take at most {_MOST_LOSSES} characters", path=path,
                       epoch=epoch)  # fmt: skip
    return numbers


def plain(value: Any, listed: float = 100) -> Any:
    """Turn a value into what JSON can hold, the same in every process.

    Numbers of numpy become Python's; an estimator is described by its class and all its parameters,
    a pipeline by all its steps; a callable is given by its name, anything else by its text. Arrays
    of more numbers than ``listed``, such as edges of bins, are told apart by their digest.

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
        return _plain_array(value, listed)
    if hasattr(value, "tolist") and not isinstance(value, type):
        return plain(value.tolist(), listed)
    if isinstance(value, Mapping):
        return {str(name): plain(inner, listed) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, listed) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(inner, listed) for inner in value), key=str)
    if isinstance(value, BaseEstimator) and not isinstance(value, type):
        return _plain_estimator(value)
    if isinstance(value, Path):
        return str(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", " ".join(repr(value).split()))


def _plain_estimator(estimator: BaseEstimator) -> dict[str, Any]:
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        steps = [plain(step) for _, step in estimator.steps]
        inner = [s["steps"] if isinstance(s, dict) and "steps" in s else [s] for s in steps]
        return {"class": "Pipeline", "steps": [step for several in inner for step in several]}
    parameters = estimator.get_params(deep=False)
    return {"class": type(estimator).__name__} | plain(dict(sorted(parameters.items())))


def _plain_array(array: np.ndarray, listed: float) -> Any:
    if array.size <= listed or array.dtype.kind not in "biufc":
        return plain(array.tolist(), listed)
    digest = hashlib.blake2b(array.tobytes(), digest_size=8).hexdigest()
    return f"array of shape {array.shape}, {array.dtype}, digest {digest}"
