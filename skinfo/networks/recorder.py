"""Recording what layers put out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfo.networks.inputs import ModelInputs, tensors_in
from skinfo.networks.noise import GaussianNoise, find_layers, noisy_layers, tensor_of
from skinfo.networks.running import evaluating, make_generator, one_thread_if_small
from skinfo.runs import Layer
from skinfo.runs.layers import check_passes


class Recorder:
    """Save what chosen layers put out before their noise, for several noisy passes.

    Parameters
    ----------
    model : torch.nn.Module
        Any module.
    layers : sequence of str
        Names of the submodules to record. A :class:`GaussianNoise` records what enters it.
    sigma : float or mapping of str to float, optional
        Standard deviation of the noise to add to the outputs of the recorded layers: one number for
        all of them, or a mapping by name, which may name layers that are not recorded.
    n_replicas : int, default=24
        Passes over the inputs, each with fresh noise. A layer with no noise before it is recorded
        once.
    batch_size : int, default=4096
        Inputs a pass takes at a time.
    random_state : int or None, default=0
        Seed of the noise; torch's global generator is left alone.
    flatten : bool, default=False
        Whether layers that put out maps or sequences are recorded with all their values in a row;
        otherwise they are an error. Pooling is a choice too: record a layer that pools.

    Notes
    -----
    The model is in evaluation mode while it is recorded (no dropout, running statistics), with
    noise on; afterwards it is as it was, also when an exception passes.

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
        flatten: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; got a {type(model).__name__}.")
        check_passes(n_replicas, batch_size, flatten)
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
        """Find the order of the layers, their sigma and where noise precedes, from one input.

        Parameters
        ----------
        inputs : array-like or tensor, tuple or mapping of them
            One input or more, as the model takes them; see :meth:`record`.

        Raises
        ------
        ValueError
            For a layer that does not run, or runs twice, or has no one row an input; for a model
            with noise that the recorder does not know of, or parameters that are yet to be made.
        TypeError
            For a layer that does not hand out a tensor.
        """
        if any(nn.parameter.is_lazy(parameter) for parameter in self.model.parameters()):
            raise ValueError(
                "The model has parameters that its first pass makes; run it once, then record it."
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
                        f"Layer {name!r} runs more than once in a pass; it has no one output to "
                        "record. Give each use a module of its own."
                    )
                self._check_output(name, tensor_of(output, name))
                noise_before[name] = noise_seen
            noise_seen = noise_seen or self._sigma_of(name) > 0
        if not _equal([seen, results], [again, others]):
            raise ValueError(
                "The model gives two results for one input, with skinfo's own noise off: it has "
                "noise that the recorder does not know of. Add noise by GaussianNoise or sigma, "
                "so that its standard deviation is on record."
            )
        missing = [name for name in self._modules if name not in noise_before]
        if missing:
            raise ValueError(
                f"Layer {missing[0]!r} is not used when the model runs; its parent may use its "
                "weights without calling it: record the parent."
            )
        return tuple(Layer(name, self._sigma_of(name), noise_before[name]) for name in noise_before)

    def _pass_quietly(self, inputs: ModelInputs) -> list[Any]:
        """One pass without noise: (layer, output) in the order of running, then the result."""
        seen: list[tuple[str, Any]] = []
        with ExitStack() as undo:
            for name, module in self.model.named_modules():
                known = name in self._modules or name in self.sigma
                if known or isinstance(module, GaussianNoise):
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: seen.append((name, output))
                    )
                    undo.callback(hook.remove)
            undo.enter_context(evaluating(self.model))
            return [seen, inputs.run(self.model)]

    def _check_output(self, name: str, output: torch.Tensor) -> None:
        """Check that a layer puts out one row an input, flat or to be flattened."""
        if output.ndim < 1 or len(output) != 1:
            raise ValueError(
                f"Layer {name!r} puts out shape {tuple(output.shape)} for one input; its first "
                "axis must be that of the inputs. Record a layer before it is folded or pooled."
            )
        if output.ndim != 2 and not self.flatten:
            raise ValueError(
                f"Layer {name!r} puts out {tuple(output.shape[1:])} values an input; record them "
                "in a row with flatten=True, or record a layer that pools them."
            )

    def _sigma_of(self, name: str) -> float:
        module = self.model.get_submodule(name)
        own = module.sigma if isinstance(module, GaussianNoise) else 0.0
        return float(np.hypot(own, self.sigma.get(name, 0.0)))

    @contextmanager
    def record(self, inputs: Any) -> Iterator[dict[str, np.ndarray]]:
        """Run the model and hand out what its layers put out, as arrays on disk.

        Parameters
        ----------
        inputs : array-like or tensor of shape (n_inputs, …), tuple or mapping of them
            The inputs. A tuple is handed to the model as ``model(*inputs)``, a mapping as
            ``model(**inputs)``; the first axis of each array is that of the inputs.

        Yields
        ------
        dict of str to ndarray
            For a layer with noise before it (n_inputs, n_replicas, n_units), for others
            (n_inputs, n_units); float32, in files that go when the context ends.
        """
        given = ModelInputs.of(inputs, self.model)
        noise_before = {layer.name: layer.noise_before for layer in self.describe(given)}
        generator = make_generator(self.random_state, given.device)
        arrays: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory(prefix="skinfo-") as directory:
            paths = {name: Path(directory) / f"{k}.npy" for k, name in enumerate(noise_before)}

            def keep(rows: slice, replica: int, name: str, output: torch.Tensor) -> None:
                if not noise_before[name] and replica > 0:
                    return
                values = output.detach().reshape(len(output), -1).float().cpu().numpy()
                if name not in arrays:
                    replicas = (self.n_replicas,) if noise_before[name] else ()
                    arrays[name] = np.lib.format.open_memmap(
                        paths[name], "w+", np.float32, (len(given), *replicas, values.shape[1])
                    )
                arrays[name][(rows, replica) if noise_before[name] else rows] = values

            passes = self.n_replicas if any(noise_before.values()) else 1
            with one_thread_if_small(self.model):
                for replica in range(passes):
                    for start in range(0, len(given), self.batch_size):
                        rows = slice(start, min(start + self.batch_size, len(given)))
                        with self._listening(partial(keep, rows, replica), generator):
                            given.take(rows).run(self.model)
            yield {name: arrays[name] for name in noise_before}

    @contextmanager
    def _listening(
        self, keep: Callable[[str, torch.Tensor], None], generator: torch.Generator
    ) -> Iterator[None]:
        """Noise on, evaluation mode, and ``keep`` called with what each layer puts out."""
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.model))
            # Hooks run in the order of their making: what is kept has no noise yet.
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
    """Whether two results are the same tensors, NaN where the other has NaN."""
    pairs = zip_longest(tensors_in(one), tensors_in(other))
    return all(
        a is not None
        and b is not None
        and a.shape == b.shape
        and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in pairs
    )
