"""What the layers of a model give while it runs, with its noise or without."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from skinfo.networks.inputs import UNCOMPILED, ModelInputs, evaluating, one_thread_if_small
from skinfo.networks.noise import (
    LayerNoise,
    find_layers,
    nested_tensors,
    noise_by_layer,
    noisy_layers,
    not_called,
    switching_noise,
    tensor_of,
)
from skinfo.noise import NOISES
from skinfo.runs import Layer
from skinfo.runs.flatten import Flatten, Flattening

# The axes of an output by their number; tokens, where they are chosen, take the second.
_AXES = {1: "n", 2: "nc", 3: "ncl", 4: "nchw", 5: "ncdhw"}

#: The outputs of layers in the order of running, and last of all, without a name, the result.
Seen = list[tuple[str, Any]]
#: What is called with the name of a layer and its values, an array whose rows are the inputs.
Keep = Callable[[str, np.ndarray], None]
#: Runs the model on inputs, and hands on what the layers of these names give.
Pass = Callable[[ModelInputs, Collection[str], Keep], None]


class Listener:
    """The layers of a model that are recorded, their noise, and how their outputs become rows.

    Parameters
    ----------
    model, layers, sigma, noise, flatten
        As of :class:`skinfo.networks.Recorder`.
    output : callable, optional
        Makes a tensor of what a layer returns; without it a layer has to return one.
    whole : bool, default=False
        Whether maps and tokens are kept as they are where ``flatten`` says nothing of them.
    keep_dropout : bool, default=False
        Whether dropout modules drop units in noisy passes.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        sigma: Any = None,
        noise: str | Mapping[str, str] = "additive",
        flatten: Flatten = None,
        *,
        output: Callable[[Any], Any] | None = None,
        whole: bool = False,
        keep_dropout: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; got a {type(model).__name__}.")
        Flattening(flatten).check_names(layers)
        if sigma is None and noise != "additive":
            raise ValueError(
                f"noise={noise!r} is given without sigma, so that no layer has noise; give sigma "
                "as well. Noise modules inside the model are found by themselves."
            )
        if not isinstance(sigma, Mapping):
            sigma = dict.fromkeys(layers, 0.0 if sigma is None else sigma)
        self.model = model
        self.flatten = flatten
        self.output = output
        self.whole = whole
        self.dropout = _dropout_in(model) if keep_dropout else {}
        self.added = noise_by_layer(sigma, noise)
        self.modules = find_layers(model, layers)
        find_layers(model, list(self.added))
        for name in self.added:
            self.noise_of(name)

    @property
    def noisy(self) -> dict[str, Layer]:
        """The noise of every layer that has some, recorded or not."""
        layers = {name: self.noise_of(name) for name, _ in self.model.named_modules() if name}
        return {name: layer for name, layer in layers.items() if layer.sigma}

    def noise_of(self, name: str) -> Layer:
        """A layer with the noise of its module and the noise that is added to that."""
        module = self.model.get_submodule(name)
        added = self.added.get(name, Layer(name, 0.0))
        if not isinstance(module, LayerNoise):
            return added
        own = Layer(name, module.sigma, noise=module.noise)
        if not (own.sigma and added.sigma):
            return added if added.sigma else own
        if own.noise != added.noise or not NOISES[own.noise].adds_up:
            raise ValueError(
                f"Layer {name!r} has {own.noise} noise of its own, and with {added.noise} noise "
                "after that it has no noise of one model; put an nn.Identity behind it, and add "
                "the noise there."
            )
        return replace(own, sigma=np.hypot(own.sigma, added.sigma))

    @contextmanager
    def quiet_passes(self, device: torch.device) -> Iterator[Callable[[ModelInputs], Seen]]:
        """Yield a function that runs the model without noise and returns what its layers gave."""
        seen: Seen = []

        def run(inputs: ModelInputs) -> Seen:
            seen.clear()
            result = inputs.run(self.model)
            return [*seen, ("", result)]

        with ExitStack() as undo:
            for name, module in self.model.named_modules():
                if name in {*self.modules, *self.dropout} or (name and self.noise_of(name).sigma):
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: seen.append((name, output))
                    )
                    undo.callback(hook.remove)
            undo.enter_context(switching_noise(self.model, False))
            undo.enter_context(self._undisturbed(device))
            yield run

    @contextmanager
    def noisy_passes(self, generator: torch.Generator) -> Iterator[Pass]:
        """Yield a function that runs the model with noise and hands on the values of layers."""
        heard: Callable[[str, Any], None]

        def run(inputs: ModelInputs, names: Collection[str], keep: Keep) -> None:
            nonlocal heard
            called: set[str] = set()

            def heard(name: str, output: Any) -> None:
                if name in called:
                    raise _runs_twice(name)
                called.add(name)
                if name in names:
                    keep(name, self.values(name, output, inputs))

            inputs.run(self.model)
            for name in self.modules.keys() - called:
                raise not_called(name)

        with ExitStack() as stack:
            stack.enter_context(self._undisturbed(generator.device))
            # Hooks run in the order of registration: what is kept has no noise yet.
            for name, module in self.modules.items():
                if isinstance(module, LayerNoise):
                    hook = module.register_forward_pre_hook(
                        lambda _module, args, given, name=name: heard(
                            name, next(iter((*args, *given.values())))
                        ),
                        with_kwargs=True,
                    )
                else:
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: heard(name, output)
                    )
                stack.callback(hook.remove)
            sigma = {name: layer.sigma for name, layer in self.added.items()}
            noise = {name: layer.noise for name, layer in self.added.items()}
            stack.enter_context(noisy_layers(self.model, sigma, generator, noise))
            for module in self.dropout.values():
                module.training = True
            if self.dropout:
                _seed_dropout(generator)
            yield run

    @contextmanager
    def _undisturbed(self, device: torch.device) -> Iterator[None]:
        """Evaluation mode with hooks that are called, and torch's generators as they were after."""
        devices = [device] if device.type == "cuda" else []
        with (
            evaluating(self.model), one_thread_if_small(self.model), UNCOMPILED,
            torch.random.fork_rng(devices),
        ):  # fmt: skip
            try:
                yield
            except RuntimeError as error:
                if "NestedTensor" in str(error):
                    raise ValueError(nested_tensors(*self.modules)) from error
                raise

    def values_in(self, seen: Seen, inputs: ModelInputs) -> dict[str, np.ndarray]:
        """Values of each layer, in the order of running; each layer has run once."""
        called = [name for name, _ in seen]
        for name in (*self.modules, *(name for name in self.added if self.added[name].sigma)):
            if name not in called:
                raise not_called(name)
            if name in self.modules and called.count(name) > 1:
                raise _runs_twice(name)
        return {
            name: self.values(name, output, inputs) for name, output in seen if name in self.modules
        }

    def values(self, name: str, output: Any, inputs: ModelInputs) -> np.ndarray:
        """Values of a layer as (n_inputs, n_units), flattened as chosen, or whole."""
        tensor = tensor_of(self.output(output) if self.output else output, name)
        n_inputs, mask = len(inputs), inputs.mask
        if tensor.ndim < 1 or len(tensor) != n_inputs:
            count = "one input" if n_inputs == 1 else f"{n_inputs} inputs"
            raise ValueError(
                f"Layer {name!r} returns shape {tuple(tensor.shape)} for {count}; its first axis "
                "must be that of the inputs. Record a layer before it is folded or pooled."
            )
        if mask is not None and tensor.ndim == 3 and tensor.shape[1] != mask.shape[1]:
            raise ValueError(
                f"Layer {name!r} returns shape {tuple(tensor.shape)} where the mask has "
                f"{mask.shape[1]} tokens per input; its second axis must be that of the tokens. "
                "Leave the layer out, choose an output= of that shape, or record with mask=None."
            )
        choice = self.flatten.get(name) if isinstance(self.flatten, Mapping) else self.flatten
        try:
            array = _as_floats(_as_array(tensor))
            if choice is None and self.whole:
                return _whole(array, mask)
            if tensor.ndim == 2 or choice is not None:
                return self._flattened(name, array, choice, mask)
        except ValueError as error:
            raise ValueError(f"Layer {name!r}: {error}.") from error
        raise ValueError(
            f"Layer {name!r} returns {tuple(tensor.shape[1:])} values per input; keep all of "
            "them as units with flatten='all', or pool them with another flatten or a layer."
        )

    def _flattened(
        self, name: str, array: np.ndarray, choice: Any, mask: np.ndarray | None
    ) -> np.ndarray:
        of_tokens = isinstance(choice, int) or choice in ("token_mean", "token_last", "tokens")
        of_tokens = of_tokens or mask is not None
        axes = "ntc" if of_tokens and array.ndim == 3 else _AXES.get(array.ndim)
        flattener = Flattening(self.flatten, axes=axes).of(name, array.ndim)
        if flattener.per_token:
            raise ValueError(
                "flatten='tokens' makes each token an input of its own, which a recording has not; "
                "choose a token or their mean, or record a run with its tokens as they are, and "
                "open that with flatten='tokens'"
            )
        if mask is not None:
            flattener.check_mask(mask, array.shape)
        return _as_floats(flattener.apply(array, mask if "t" in flattener.axes else None))


def _dropout_in(model: nn.Module) -> dict[str, nn.Module]:
    """Dropout modules by name, those that drop something."""
    found: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if name and isinstance(module, _DropoutNd) and module.p > 0
    }
    if not found:
        raise ValueError(
            "keep_dropout=True, but the model has no torch.nn.Dropout with p above 0; what drops "
            "units inside of other modules, such as attention, is switched off by evaluation mode."
        )
    return found


def _seed_dropout(generator: torch.Generator) -> None:
    """Seed torch's global generator, from which dropout draws, apart from that of the noise."""
    seed = generator.initial_seed() ^ 1
    torch.default_generator.manual_seed(seed)
    if generator.device.type == "cuda":
        with torch.cuda.device(generator.device):
            torch.cuda.manual_seed(seed)


def _whole(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Maps or tokens as they are, with 0 in the place of tokens that are padding."""
    if array.ndim == 1:
        return array[:, None]
    if mask is None or array.ndim != 3:
        return array
    return np.where(mask[:, :, None], array, array.dtype.type(0))


def _runs_twice(name: str) -> ValueError:
    return ValueError(
        f"Layer {name!r} runs more than once per pass, so it has no single output to record. Give "
        "each use a module of its own."
    )


def _as_array(output: torch.Tensor) -> np.ndarray:
    narrow = output.is_floating_point() and output.itemsize < 4
    return (output.float() if narrow else output).detach().cpu().numpy()


def _as_floats(values: np.ndarray) -> np.ndarray:
    """Numbers as float32, or as float64 where only that holds them."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"holds {values.dtype}, where real numbers are expected")
    whole = values.dtype.kind in "iu" and values.size
    if whole and (values.max() > 2**53 or values.min() < -(2**53)):
        raise ValueError("holds integers beyond 2^53, more than float64 can tell apart")
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)
