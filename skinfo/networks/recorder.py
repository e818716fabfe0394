"""Recording the outputs of layers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfo.networks.inputs import (
    ModelInputs,
    evaluating,
    make_generator,
    one_thread_if_small,
    tensors_in,
)
from skinfo.networks.noise import GaussianNoise, find_layers, noisy_layers, tensor_of
from skinfo.runs import Layer
from skinfo.runs.flatten import Flatten, Flattening

# The axes of an output by their number; tokens, where they are chosen, take the second.
_AXES = {1: "n", 2: "nc", 3: "ncl", 4: "nchw", 5: "ncdhw"}


class Recorder:
    """Record the outputs of chosen layers before their noise, in several noisy passes.

    Parameters
    ----------
    model : torch.nn.Module
        Any module.
    layers : sequence of str
        Names of the submodules to record; of a :class:`GaussianNoise` its input is recorded.
    sigma : float or mapping of str to float, optional
        Standard deviation of the noise to add to the outputs of the recorded layers: one number for
        all of them, or a mapping by name, which may name layers that are not recorded.
    n_replicas : int, default=24
        Passes over the inputs, each with fresh noise. A layer with no noise before it is recorded
        once.
    batch_size : int, default=4096
        Inputs per batch.
    random_state : int or None, default=0
        Seed of the noise; torch's global generator is left alone.
    flatten : str, int, callable, or mapping of str to these, optional
        How maps and sequences become rows of units, for all layers or by name, as in
        :func:`skinfo.open_run`, except "tokens"; without it they are an error. Axes are
        (n_inputs, n_channels, …), or (n_inputs, n_tokens, n_units) where tokens are chosen.

    Notes
    -----
    The model is in evaluation mode while it is recorded (no dropout, running statistics), with
    noise on; afterwards it is as it was, even after an exception.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.networks import Recorder
    >>> from skinfo.szt import make_mlp
    >>> model, layers = make_mlp((4, 3, 2, 2)), ["layer1", "layer2"]
    >>> recorder = Recorder(model, layers, sigma=0.1, n_replicas=5)
    >>> with recorder.record(np.zeros((7, 4))) as arrays:
    ...     {name: array.shape for name, array in arrays.items()}
    {'layer1': (7, 3), 'layer2': (7, 5, 2)}
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        *,
        sigma: float | Mapping[str, float] | None = None,
        n_replicas: int = 24,
        batch_size: int = 4096,
        random_state: int | None = 0,
        flatten: Flatten = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; got a {type(model).__name__}.")
        if n_replicas < 1 or batch_size < 1:
            raise ValueError(
                f"n_replicas and batch_size must be at least 1; got {n_replicas} and {batch_size}."
            )
        Flattening(flatten).check_names(layers)
        self.model = model
        if not isinstance(sigma, Mapping):
            sigma = dict.fromkeys(layers, float(sigma or 0))
        self.sigma = dict(sigma)
        self.n_replicas = n_replicas
        self.batch_size = batch_size
        self.random_state = random_state
        self.flatten = flatten
        self._modules = find_layers(model, list(layers))

    @property
    def noise(self) -> dict[str, float]:
        """Standard deviation of the noise of every layer that has some, recorded or not."""
        deviations = {name: self._sigma_of(name) for name, _ in self.model.named_modules()}
        return {name: sigma for name, sigma in deviations.items() if sigma > 0}

    def describe(self, inputs: Any) -> tuple[Layer, ...]:
        """Find the order of the layers, their sigma and what has noise before it, from one input.

        Parameters
        ----------
        inputs : array-like or tensor, tuple or mapping of them
            One input or more, as the model takes them; see :meth:`record`.

        Raises
        ------
        ValueError
            For a layer that does not run, or runs twice, or does not return one row per input; for
            a model with noise that the recorder does not know of, or parameters that are not
            initialised yet.
        TypeError
            For a layer that does not return a tensor.
        """
        if any(nn.parameter.is_lazy(parameter) for parameter in self.model.parameters()):
            raise ValueError(
                "The model has parameters that its first pass initialises; run it once before you "
                "record it."
            )
        one = ModelInputs.of(inputs, self.model).take(slice(1))
        seen, *results = self._pass_quietly(one)
        again, *others = self._pass_quietly(one)
        noise_before: dict[str, bool] = {}
        noise_seen = False
        for name, output in seen:
            if name in self._modules:
                if name in noise_before:
                    raise ValueError(
                        f"Layer {name!r} runs more than once per pass, so it has no single output "
                        "to record. Give each use a module of its own."
                    )
                self._check_output(name, tensor_of(output, name))
                noise_before[name] = noise_seen
            noise_seen = noise_seen or self._sigma_of(name) > 0
        if not _equal([seen, results], [again, others]):
            raise ValueError(
                "The model gives two results for one input, with skinfo's own noise off: it has "
                "noise that the recorder does not know of. Add noise by GaussianNoise or sigma, "
                "so that its standard deviation is recorded."
            )
        missing = [name for name in self._modules if name not in noise_before]
        if missing:
            raise ValueError(
                f"Layer {missing[0]!r} is not called when the model runs; its parent may use its "
                "weights without calling it: record the parent."
            )
        return tuple(Layer(name, self._sigma_of(name), noise_before[name]) for name in noise_before)

    def _pass_quietly(self, inputs: ModelInputs) -> list[Any]:
        """One pass without noise: (layer, output) in the order of running, then the result."""
        seen: list[tuple[str, Any]] = []
        with ExitStack() as undo:
            for name, module in self.model.named_modules():
                watched = name in self._modules or name in self.sigma
                if watched or isinstance(module, GaussianNoise):
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: seen.append((name, output))
                    )
                    undo.callback(hook.remove)
            undo.enter_context(evaluating(self.model))
            return [seen, inputs.run(self.model)]

    def _check_output(self, name: str, output: torch.Tensor) -> None:
        """Check that a layer returns one row per input, flat or to be flattened."""
        if output.ndim < 1 or len(output) != 1:
            raise ValueError(
                f"Layer {name!r} returns shape {tuple(output.shape)} for one input; its first "
                "axis must be that of the inputs. Record a layer before it is folded or pooled."
            )
        if output.ndim != 2 and self._choice(name) is None:
            raise ValueError(
                f"Layer {name!r} returns {tuple(output.shape[1:])} values per input; keep all of "
                "them as units with flatten='all', or pool them with another flatten or a layer."
            )
        try:
            n_rows = len(self._as_units(name, output))
        except ValueError as error:
            raise ValueError(f"Layer {name!r}: {error}.") from error
        if n_rows != 1:
            raise ValueError(
                f"Layer {name!r}: flatten='tokens' makes each token an input of its own, which a "
                "recording has not; choose a token or their mean."
            )

    def _choice(self, name: str) -> Any:
        return self.flatten.get(name) if isinstance(self.flatten, Mapping) else self.flatten

    def _as_units(self, name: str, output: torch.Tensor) -> np.ndarray:
        """Values of a layer as (n_inputs, n_units), flattened as chosen."""
        values = output.detach().float().cpu().numpy()
        choice = self._choice(name)
        of_tokens = isinstance(choice, int) or choice in ("token_mean", "token_last", "tokens")
        axes = "ntc" if of_tokens and values.ndim == 3 else _AXES.get(values.ndim)
        return Flattening(self.flatten, axes=axes).of(name, values.ndim).apply(values)

    def _sigma_of(self, name: str) -> float:
        module = self.model.get_submodule(name)
        own = module.sigma if isinstance(module, GaussianNoise) else 0.0
        return float(np.hypot(own, self.sigma.get(name, 0.0)))

    @contextmanager
    def record(self, inputs: Any) -> Iterator[dict[str, np.ndarray]]:
        """Run the model and yield the outputs of its layers, as arrays on disk.

        Parameters
        ----------
        inputs : array-like or tensor of shape (n_inputs, …), tuple or mapping of them
            The inputs. A tuple is passed to the model as ``model(*inputs)``, a mapping as
            ``model(**inputs)``; the first axis of each array is that of the inputs.

        Yields
        ------
        dict of str to ndarray
            For a layer with noise before it (n_inputs, n_replicas, n_units), for others
            (n_inputs, n_units); float32, in files that are removed when the context ends.
        """
        inputs = ModelInputs.of(inputs, self.model)
        noise_before = {layer.name: layer.noise_before for layer in self.describe(inputs)}
        generator = make_generator(self.random_state, inputs.device)
        arrays: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory(prefix="skinfo-") as directory:
            paths = {name: Path(directory) / f"{k}.npy" for k, name in enumerate(noise_before)}

            def keep(name: str, output: torch.Tensor) -> None:
                rows, replica = batch
                if not noise_before[name] and replica > 0:
                    return
                values = self._as_units(name, output)
                if name not in arrays:
                    replicas = (self.n_replicas,) if noise_before[name] else ()
                    arrays[name] = np.lib.format.open_memmap(
                        paths[name], "w+", np.float32, (len(inputs), *replicas, values.shape[1])
                    )
                arrays[name][(rows, replica) if noise_before[name] else rows] = values

            passes = self.n_replicas if any(noise_before.values()) else 1
            with one_thread_if_small(self.model), self._listening(keep, generator):
                for replica in range(passes):
                    for start in range(0, len(inputs), self.batch_size):
                        batch = slice(start, start + self.batch_size), replica
                        inputs.take(batch[0]).run(self.model)
            yield {name: arrays[name] for name in noise_before}

    @contextmanager
    def _listening(
        self, keep: Callable[[str, torch.Tensor], None], generator: torch.Generator
    ) -> Iterator[None]:
        """Noise on, evaluation mode, and ``keep`` called with the output of each layer."""
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.model))
            # Hooks run in the order of registration: what is kept has no noise yet.
            for name, module in self._modules.items():
                if isinstance(module, GaussianNoise):
                    hook = module.register_forward_pre_hook(
                        lambda _module, args, name=name: keep(name, args[0])
                    )
                else:
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: keep(name, output)
                    )
                stack.callback(hook.remove)
            stack.enter_context(noisy_layers(self.model, self.sigma, generator))
            yield


def _equal(one: Any, other: Any) -> bool:
    """Whether two results hold the same tensors; NaN equals NaN."""
    pairs = zip_longest(tensors_in(one), tensors_in(other))
    return all(
        a is not None
        and b is not None
        and a.shape == b.shape
        and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in pairs
    )
