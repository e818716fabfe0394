"""Noise on the layers of a torch module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from skinfo.networks.inputs import UNCOMPILED
from skinfo.noise import NOISES
from skinfo.runs import Layer
from skinfo.runs.description import make_layers


class LayerNoise(nn.Module):
    """Noise of a layer, in training mode.

    Parameters
    ----------
    sigma : float, tuple of float, or of these
        Standard deviation of the noise: a number, or one for each of the values of an input; affine
        noise has two parameters. 0: no noise.
    noise : str, default="additive"
        Which noise; see :func:`skinfo.noise.make_noise`.

    Attributes
    ----------
    active : bool or None
        Whether there is noise; None: in training mode only, as dropout does.
    generator : torch.Generator or None
        Source of the noise; None: torch's global one.

    Raises
    ------
    ValueError
        For an unknown noise, and a sigma that it does not take. From a pass, for an input of
        another number of values than sigma has.

    Examples
    --------
    >>> import torch
    >>> from skinfo.networks import LayerNoise
    >>> noise = LayerNoise((0.3, 0.4), noise="affine")  # of hardware
    >>> [round(float((noise(x) - x).std()), 1) for x in (torch.zeros(10_000), torch.ones(10_000))]
    [0.3, 0.5]
    """

    def __init__(self, sigma: Any, noise: str = "additive") -> None:
        super().__init__()
        layer = _known(Layer(type(self).__name__, sigma, noise=noise))
        self.sigma, self.noise = layer.sigma, layer.noise
        self.active: bool | None = None
        self.generator: torch.Generator | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Make the output noisy."""
        active = self.training if self.active is None else self.active
        return self.perturbed(x) if active else x

    # Without it torch.jit would script what it cannot; it reads no types that are written as words.
    @torch.jit.unused
    def perturbed(self, x):  # type: ignore[no-untyped-def]
        """The output with noise, whatever the mode."""
        return with_noise(x, self.sigma, self.noise, self.generator)

    def extra_repr(self) -> str:
        """Show sigma, and which noise where the class does not tell."""
        named = f", noise={self.noise!r}" if type(self) is LayerNoise else ""
        return f"sigma={self.sigma}{named}"


class GaussianNoise(LayerNoise):
    """Add Gaussian noise to its input, in training mode: T = S + sigma Z.

    Parameters
    ----------
    sigma : float, or tuple of float
        Standard deviation of the noise: a number, or one per unit.

    Attributes
    ----------
    active, generator
        As of :class:`LayerNoise`.

    Examples
    --------
    >>> import torch
    >>> from skinfo.networks import GaussianNoise
    >>> noise = GaussianNoise(0.5)
    >>> x = torch.zeros(10_000)
    >>> round(float(noise(x).std()), 1), float(noise.eval()(x).std())
    (0.5, 0.0)
    """

    def __init__(self, sigma: Any) -> None:
        super().__init__(sigma)

    def perturbed(self, x: torch.Tensor) -> torch.Tensor:
        """The output with noise, whatever the mode."""
        if not torch.jit.is_scripting():
            noisy: torch.Tensor = super().perturbed(x)
            return noisy
        return torch.add(x, torch.randn_like(x), alpha=self.sigma)


class GaussianDropout(LayerNoise):
    """Multiply its input by Gaussian noise around 1, in training mode: T = S (1 + sigma Z).

    Unlike the dropout that leaves units out, it has a finite I(X;T). Mean and variance are those of
    ``torch.nn.Dropout(p)`` where sigma is :func:`skinfo.dropout_sigma` of p.

    Parameters
    ----------
    sigma : float, or tuple of float
        Standard deviation of the noise: a number, or one per unit.

    Attributes
    ----------
    active, generator
        As of :class:`LayerNoise`.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR
    2014, section 10.

    Examples
    --------
    >>> import torch
    >>> from skinfo import dropout_sigma
    >>> from skinfo.networks import GaussianDropout
    >>> dropout, x = GaussianDropout(dropout_sigma(0.2)), torch.full((10_000,), 2.0)
    >>> dropout, round(float(dropout(x).std()), 1)
    (GaussianDropout(sigma=0.5), 1.0)
    """

    def __init__(self, sigma: Any) -> None:
        super().__init__(sigma, "multiplicative")


class LogNormalDropout(LayerNoise):
    """Multiply its input by log-normal noise, in training mode: T = S exp(sigma Z).

    Its median is S, its mean S exp(sigma^2 / 2).

    Parameters
    ----------
    sigma : float, or tuple of float
        Standard deviation of the noise's logarithm: a number, or one per unit.

    Attributes
    ----------
    active, generator
        As of :class:`LayerNoise`.

    References
    ----------
    Achille and Soatto, "Information Dropout: Learning Optimal Representations Through Noisy
    Computation", IEEE PAMI 2018.

    Examples
    --------
    >>> import torch
    >>> from skinfo.networks import LogNormalDropout
    >>> dropout, x = LogNormalDropout(0.3), torch.ones(10_000)
    >>> round(float(dropout(x).log().std()), 1)
    0.3
    """

    def __init__(self, sigma: Any) -> None:
        super().__init__(sigma, "lognormal")


def with_noise(
    x: torch.Tensor,
    sigma: Any,
    noise: str = "additive",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """What a layer's output ``x`` becomes by its noise."""
    if not sigma:
        return x
    if generator is None:
        # Compiled code of any size of batch does not take a generator, even where it is None.
        z = torch.randn(x.shape, device=x.device, dtype=x.dtype)
    else:
        # It draws on its own device alone; the layers of a model may lie on several.
        device = generator.device
        z = torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype).to(x.device)
    if noise == "additive" and isinstance(sigma, float):
        # Rounded once, where the sum of a product is rounded twice.
        return torch.add(x, z, alpha=sigma)
    model = NOISES[noise]
    parameters = (sigma,) if len(model.parameters) == 1 else sigma
    noisy: torch.Tensor = model.perturb(x, z, *(_for_units(value, x) for value in parameters))
    return noisy


def _for_units(sigma: Any, x: torch.Tensor) -> Any:
    """A standard deviation, or one for each value of an input, in the order of flattening."""
    if isinstance(sigma, float):
        return sigma
    units = x.shape[1:]
    if len(sigma) != units.numel():
        raise ValueError(
            f"sigma has {len(sigma)} standard deviations, but an input has {units.numel()} values "
            f"here, of shape {tuple(units)}; give one number, or one per value."
        )
    return x.new_tensor(sigma).reshape(units)


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
    kinds: list[type] = [LayerNoise, *LayerNoise.__subclasses__()]
    name = getattr(module, "original_name", type(module).__name__)
    return name in {kind.__name__ for kind in kinds}


def noise_by_layer(sigma: Any, noise: Any) -> dict[str, Layer]:
    """Check the noise of each layer; a number does not say which layers are noisy."""
    if not isinstance(sigma, Mapping):
        raise TypeError(
            f'sigma must say which layers are noisy, as in {{"layer1": 0.1}}; got {sigma!r}.'
        )
    silent = noise.keys() - sigma.keys() if isinstance(noise, Mapping) else ()
    if silent:
        raise ValueError(f"noise names layer {min(silent)!r}, for which there is no sigma.")
    layers = make_layers(list(sigma), sigma, noise)
    return {layer.name: replace(_known(layer), noise_before=False) for layer in layers}


def _known(layer: Layer) -> Layer:
    """A layer whose noise can be drawn here: its sigma is no unknown one, and no array."""
    if layer.sigma is None or isinstance(layer.sigma, str):
        raise ValueError(
            f"layer {layer.name!r}: sigma must be a standard deviation; got {layer.sigma!r}."
        )
    return layer


@contextmanager
def noisy_layers(
    model: nn.Module,
    sigma: Mapping[str, Any],
    generator: torch.Generator | None = None,
    noise: str | Mapping[str, str] = "additive",
) -> Iterator[None]:
    """Make the outputs of named layers noisy while the context lasts.

    Parameters
    ----------
    model : torch.nn.Module
        Any module; its own noise modules, if it has any, are switched on as well.
    sigma : mapping of str to float, or to tuple of float
        Standard deviation of the noise on the output of each named submodule, as of
        :class:`LayerNoise`.
    generator : torch.Generator, optional
        Source of the noise; torch's global one by default.
    noise : str or mapping of str to str, default="additive"
        Which noise, of all these layers or by layer; see :func:`skinfo.noise.make_noise`.

    Raises
    ------
    TypeError
        For a number instead of a mapping: it does not say which layers are noisy. From a pass of
        the model, for a layer that does not return floating-point numbers.
    ValueError
        For a layer that the model does not have or that torch.jit has scripted or traced, an
        unknown noise, or a sigma that it does not take. From a pass of the model, for a layer that
        has not been called or has another number of units than sigma.

    Notes
    -----
    What torch.compile made runs uncompiled while the context lasts, since compiled code does not
    call new hooks. To train compiled code with noise, put :class:`LayerNoise` modules into the
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
    noises = noise_by_layer(sigma, noise)
    layers = find_layers(model, list(noises))
    not_yet = {name for name in layers if noises[name].sigma}

    def perturb(name: str, output: Any) -> torch.Tensor:
        not_yet.discard(name)
        x = tensor_of(output, name)
        if not x.is_floating_point():
            raise TypeError(
                f"Layer {name!r} returns {x.dtype}; only floating-point numbers can be noisy."
            )
        try:
            return with_noise(x, noises[name].sigma, noises[name].noise, generator)
        except ValueError as error:
            raise ValueError(f"Layer {name!r}: {error}") from error

    def check(*_: Any) -> None:
        if not_yet:
            raise not_called(min(not_yet))

    with ExitStack() as undo:
        undo.enter_context(UNCOMPILED)
        undo.enter_context(switching_noise(model, True, generator))
        for name in sorted(not_yet):
            hook = layers[name].register_forward_hook(
                lambda _module, _args, output, name=name: perturb(name, output)
            )
            undo.callback(hook.remove)
        undo.callback(model.register_forward_hook(check).remove)
        yield


@contextmanager
def switching_noise(
    model: nn.Module, active: bool, generator: torch.Generator | None = None
) -> Iterator[None]:
    """Switch the noise modules of a model on or off while the context lasts."""
    modules = [module for module in model.modules() if isinstance(module, LayerNoise)]
    before = [(module, module.active, module.generator) for module in modules]
    try:
        for module in modules:
            module.active, module.generator = active, generator
        yield
    finally:
        for module, was_active, own in before:
            module.active, module.generator = was_active, own
