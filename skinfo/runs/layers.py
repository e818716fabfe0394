"""What a run says of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite


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


def layers_in_order(
    names: Sequence[str], sigma: float | Mapping[str, float] | None
) -> tuple[Layer, ...]:
    """Describe layers given in network order: noise precedes all after the first noisy one."""
    if isinstance(sigma, Mapping):
        unknown = [name for name in sigma if name not in names]
        if unknown:
            raise ValueError(f"sigma names {unknown[0]!r}, no layer of {', '.join(names)}.")
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
    """Layers as they are, or described where only names are given.

    Raises
    ------
    ValueError
        For what is no list of names or of layers, or a sigma beside layers that have their own.

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
        return layers_in_order(names, sigma)
    raise ValueError(f"layers are names, or each a Layer(name, sigma); got {list(layers)!r}.")
