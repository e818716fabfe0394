"""Noise on the layers of a torch module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


class GaussianNoise(nn.Module):
    """Add Gaussian noise to its input, in training mode.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise.

    Attributes
    ----------
    active : bool or None
        Whether noise is added; None: in training mode only, as dropout does.
    generator : torch.Generator or None
        Source of the noise; None: torch's global one.

    Examples
    --------
    >>> import torch
    >>> from skinfo.networks import GaussianNoise
    >>> noise = GaussianNoise(0.5)
    >>> x = torch.zeros(10_000)
    >>> round(float(noise(x).std()), 1), float(noise.eval()(x).std())
    (0.5, 0.0)
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        if not sigma >= 0:
            raise ValueError(f"sigma is a standard deviation and must be >= 0; got {sigma!r}.")
        self.sigma = float(sigma)
        self.active: bool | None = None
        self.generator: torch.Generator | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the noise."""
        active = self.training if self.active is None else self.active
        return add_noise(x, self.sigma, self.generator) if active else x

    def extra_repr(self) -> str:
        """Show sigma."""
        return f"sigma={self.sigma:g}"


def add_noise(
    x: torch.Tensor, sigma: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Add Gaussian noise of standard deviation ``sigma`` to a tensor."""
    if sigma == 0:
        return x
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return torch.add(x, noise, alpha=sigma)


def tensor_of(output: Any, name: str) -> torch.Tensor:
    """Check that a layer returns one tensor."""
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"Layer {name!r} returns a {type(output).__name__}, not a tensor; name a submodule "
            "that returns one."
        )
    return output


def find_layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Find submodules by name; the error for a name that no submodule has lists their names."""
    modules = {name: module for name, module in model.named_modules() if name}
    missing = [name for name in names if name not in modules]
    if missing:
        raise ValueError(
            f"The model has no layer {missing[0]!r}; it has: {', '.join(modules) or 'none'}."
        )
    return {name: modules[name] for name in names}


def check_by_layer(sigma: Any) -> None:
    """Check that sigma says which layers are noisy, as a number does not."""
    if not isinstance(sigma, Mapping):
        raise TypeError(
            f'sigma must say which layers are noisy, as in {{"layer1": 0.1}}; got {sigma!r}.'
        )


@contextmanager
def noisy_layers(
    model: nn.Module, sigma: Mapping[str, float], generator: torch.Generator | None = None
) -> Iterator[None]:
    """Add noise to the outputs of named layers while the context lasts.

    Parameters
    ----------
    model : torch.nn.Module
        Any module; its own noise modules, if it has any, are switched on as well.
    sigma : mapping of str to float
        Standard deviation of the noise on the output of each named submodule.
    generator : torch.Generator, optional
        Source of the noise; torch's global one by default.

    Raises
    ------
    TypeError
        For a number instead of a mapping: it does not say which layers are noisy.
    ValueError
        For a layer that the model does not have, or a negative sigma.

    Examples
    --------
    >>> import torch
    >>> from skinfo.szt import make_mlp
    >>> from skinfo.networks import noisy_layers
    >>> model, x = make_mlp((2, 3, 2)), torch.zeros(1, 2)
    >>> with noisy_layers(model, {"layer1": 0.1}):
    ...     noisy = bool((model(x) == model(x)).all())
    >>> noisy, bool((model(x) == model(x)).all())
    (False, True)
    """
    check_by_layer(sigma)
    with ExitStack() as undo:
        for module in model.modules():
            if isinstance(module, GaussianNoise):
                undo.callback(module.__dict__.update, {
                    "active": module.active, "generator": module.generator,
                })  # fmt: skip
                module.active, module.generator = True, generator
        for name, module in find_layers(model, list(sigma)).items():
            deviation = float(sigma[name])
            if not deviation >= 0:
                raise ValueError(f"sigma of layer {name!r} must be >= 0; got {deviation!r}.")
            hook = module.register_forward_hook(
                lambda _module, _args, output, name=name, deviation=deviation: add_noise(
                    tensor_of(output, name), deviation, generator
                )
            )
            undo.callback(hook.remove)
        yield
