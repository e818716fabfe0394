"""Noise on the layers of a torch module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from numbers import Real
from typing import Any

import torch
from torch import nn

from skinfo.networks.inputs import uncompiled


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
        if not _is_deviation(sigma):
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
    device = x.device
    if not torch.jit.is_scripting() and generator is not None:
        # It draws on its own device alone; the layers of a model may lie on several.
        device = generator.device
    noise = torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype)
    return torch.add(x, noise.to(x.device), alpha=sigma)


def tensor_of(output: Any, name: str) -> torch.Tensor:
    """Check that a layer returns one tensor, of real numbers."""
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"Layer {name!r} returns a {type(output).__name__}, not a tensor; name a submodule "
            "that returns one, or hand the tensor on through an nn.Identity and name that."
        )
    if output.is_nested:
        raise ValueError(nested_tensors(name))
    if output.is_complex():
        raise ValueError(
            f"Layer {name!r} returns complex numbers; take their real and imaginary parts, by "
            "torch.view_as_real in a module of its own, or their absolute values."
        )
    return output


def nested_tensors(*names: str) -> str:
    """Say what to do where rows with padding are packed into nested tensors."""
    return (
        f"Layer {', '.join(map(repr, names))}: in evaluation mode the model packs padded rows into "
        "nested tensors, which have no rows to record; build nn.TransformerEncoder with "
        "enable_nested_tensor=False."
    )


def not_called(name: str) -> ValueError:
    """Say that a layer does not run."""
    return ValueError(
        f"Layer {name!r} is not called when the model runs; its parent may use its weights, or a "
        "copy of it, without calling it: record the parent, and add noise there."
    )


def find_layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Find submodules by name; the error for a name that no submodule has lists their names."""
    if isinstance(names, str):
        raise TypeError(f"layers is a list of names, also of one alone; got {names!r}.")
    modules = {name: module for name, module in model.named_modules() if name}
    missing = [name for name in names if name not in modules]
    if missing:
        raise ValueError(
            f"The model has no layer {missing[0]!r}; it has: {', '.join(modules) or 'none'}."
        )
    for name in [*names, *(name for name, module in modules.items() if _is_noise(module))]:
        if isinstance(modules[name], torch.jit.ScriptModule):
            raise ValueError(
                f"Layer {name!r} belongs to what torch.jit has scripted or traced, which calls no "
                "hooks; give the model before that, or follow it by an nn.Identity and name that."
            )
    return {name: modules[name] for name in names}


def _is_noise(module: nn.Module) -> bool:
    """Whether it is a noise module, also where torch.jit has made another class of it."""
    return getattr(module, "original_name", type(module).__name__) == GaussianNoise.__name__


def check_by_layer(sigma: Any) -> None:
    """Check that sigma says which layers are noisy, as a number does not."""
    if not isinstance(sigma, Mapping):
        raise TypeError(
            f'sigma must say which layers are noisy, as in {{"layer1": 0.1}}; got {sigma!r}.'
        )


def check_deviations(sigma: Mapping[str, Any]) -> dict[str, float]:
    """Check the standard deviation of the noise of each layer."""
    for name, value in sigma.items():
        if not _is_deviation(value):
            raise ValueError(f"sigma of layer {name!r} must be >= 0 and finite; got {value!r}.")
    return {name: float(value) for name, value in sigma.items()}


def _is_deviation(value: Any) -> bool:
    return isinstance(value, Real | torch.Tensor) and 0 <= float(value) < inf


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
        For a number instead of a mapping: it does not say which layers are noisy. From a pass of
        the model, for a layer that does not return floating-point numbers.
    ValueError
        For a layer that the model does not have or that torch.jit has scripted or traced, or a
        negative sigma. From a pass of the model, for a layer that has not been called.

    Notes
    -----
    What torch.compile made runs uncompiled while the context lasts, since compiled code does not
    call new hooks. To train compiled code with noise, put :class:`GaussianNoise` modules into the
    model, and train it outside of this context. Where torch.utils.checkpoint runs layers again for
    their gradients, leave ``generator`` out: torch restores the state of its global one alone.

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
    deviations = check_deviations(sigma)
    layers = find_layers(model, list(sigma))
    not_yet = {name for name in layers if deviations[name] > 0}

    def add(name: str, output: Any) -> torch.Tensor:
        not_yet.discard(name)
        x = tensor_of(output, name)
        if not x.is_floating_point():
            raise TypeError(
                f"Layer {name!r} returns {x.dtype}; noise is added to floating-point numbers."
            )
        return add_noise(x, deviations[name], generator)

    def check(*_: Any) -> None:
        if not_yet:
            raise not_called(min(not_yet))

    with ExitStack() as undo:
        undo.enter_context(uncompiled())
        undo.enter_context(switching_noise(model, True, generator))
        for name in sorted(not_yet):
            hook = layers[name].register_forward_hook(
                lambda _module, _args, output, name=name: add(name, output)
            )
            undo.callback(hook.remove)
        undo.callback(model.register_forward_hook(check).remove)
        yield


@contextmanager
def switching_noise(
    model: nn.Module, active: bool, generator: torch.Generator | None = None
) -> Iterator[None]:
    """Switch the noise modules of a model on or off while the context lasts."""
    modules = [module for module in model.modules() if isinstance(module, GaussianNoise)]
    before = [(module, module.active, module.generator) for module in modules]
    try:
        for module in modules:
            module.active, module.generator = active, generator
        yield
    finally:
        for module, was_active, own in before:
            module.active, module.generator = was_active, own
