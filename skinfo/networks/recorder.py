"""Recording what layers put out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfo.networks.noise import GaussianNoise, find_layers, noisy_layers, tensor_of
from skinfo.networks.running import as_tensor, evaluating, one_thread_if_small
from skinfo.runs import Layer


class Recorder:
    """Save what chosen layers put out before their noise, for several noisy passes.

    Parameters
    ----------
    model : torch.nn.Module
        Any module.
    layers : sequence of str
        Names of the submodules to record. A :class:`GaussianNoise` records what enters it.
    sigmas : mapping of str to float, default={}
        Noise to add to the outputs of named submodules, recorded or not.
    n_replicas : int, default=24
        Passes over the inputs, each with fresh noise. A layer with no noise before it is recorded
        once.
    batch_size : int, default=4096
        Inputs a pass takes at a time.
    seed : int, default=0
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
    >>> from skinfo.networks import Recorder, make_mlp
    >>> sigmas = {"layer1": 0.1, "layer2": 0.1}
    >>> recorder = Recorder(make_mlp((4, 3, 2, 2)), list(sigmas), sigmas=sigmas, n_replicas=5)
    >>> with recorder.record(np.zeros((7, 4))) as arrays:
    ...     {name: array.shape for name, array in arrays.items()}
    {'layer1': (7, 3), 'layer2': (7, 5, 2)}
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        *,
        sigmas: Mapping[str, float] | None = None,
        n_replicas: int = 24,
        batch_size: int = 4096,
        seed: int = 0,
        flatten: bool = False,
    ) -> None:
        if n_replicas < 1 or batch_size < 1:
            raise ValueError(
                f"n_replicas and batch_size must be at least 1; got {n_replicas} and {batch_size}."
            )
        self.model = model
        self.sigmas = dict(sigmas or {})
        self.n_replicas = n_replicas
        self.batch_size = batch_size
        self.seed = seed
        self.flatten = flatten
        self._modules = find_layers(model, list(layers))

    def describe(self, inputs: Any) -> tuple[Layer, ...]:
        """Find the order of the layers, their sigmas and where noise precedes, by one pass.

        Parameters
        ----------
        inputs : array-like or tensor
            One input or more, as the model takes them.
        """
        order: list[str] = []
        noise_seen: list[bool] = [False]
        noise_before: dict[str, bool] = {}

        def arrive(name: str, output: Any) -> None:
            if name in self._modules:
                if name in noise_before:
                    raise ValueError(
                        f"Layer {name!r} runs more than once in a pass; it has no one output to "
                        "record. Give each use a module of its own."
                    )
                shape = tuple(tensor_of(output, name).shape)
                if len(shape) != 2 and not self.flatten:
                    raise ValueError(
                        f"Layer {name!r} puts out {shape[1:]} values an input; record them in a "
                        "row with flatten=True, or record a layer that pools them."
                    )
                noise_before[name] = noise_seen[0]
                order.append(name)
            noise_seen[0] = noise_seen[0] or self._sigma_of(name) > 0

        with ExitStack() as undo:
            for name, module in self.model.named_modules():
                known = name in self._modules or name in self.sigmas
                if known or isinstance(module, GaussianNoise):
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: arrive(name, output)
                    )
                    undo.callback(hook.remove)
            one = self._tensor(inputs)[:1]
            with evaluating(self.model):
                result = self.model(one)
        with evaluating(self.model):
            again = self.model(one)
        if all(isinstance(x, torch.Tensor) for x in (result, again)) and not torch.equal(
            result, again
        ):
            raise ValueError(
                "The model gives two results for one input, with skinfo's own noise off: it has "
                "noise that the recorder does not know of. Add noise by GaussianNoise or sigmas, "
                "so that its standard deviation is on record."
            )
        missing = [name for name in self._modules if name not in order]
        if missing:
            raise ValueError(f"Layer {missing[0]!r} is not used when the model runs.")
        return tuple(Layer(name, self._sigma_of(name), noise_before[name]) for name in order)

    def _sigma_of(self, name: str) -> float:
        module = self.model.get_submodule(name)
        own = module.sigma if isinstance(module, GaussianNoise) else 0.0
        return float(np.hypot(own, self.sigmas.get(name, 0.0)))

    def _tensor(self, inputs: Any) -> torch.Tensor:
        parameter = next(self.model.parameters(), torch.empty(0))
        tensor = as_tensor(inputs).to(parameter.device)
        return tensor.to(parameter.dtype) if tensor.is_floating_point() else tensor

    @contextmanager
    def record(self, inputs: Any) -> Iterator[dict[str, np.ndarray]]:
        """Run the model and hand out what its layers put out, as arrays on disk.

        Parameters
        ----------
        inputs : array-like or tensor of shape (n_inputs, …)
            The inputs.

        Yields
        ------
        dict of str to ndarray
            For a layer with noise before it (n_inputs, n_replicas, n_units), for others
            (n_inputs, n_units); float32, in files that go when the context ends.
        """
        tensor = self._tensor(inputs)
        noise_before = {layer.name: layer.noise_before for layer in self.describe(tensor)}
        generator = torch.Generator(device=tensor.device).manual_seed(self.seed)
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
                        paths[name], "w+", np.float32, (len(tensor), *replicas, values.shape[1])
                    )
                arrays[name][(rows, replica) if noise_before[name] else rows] = values

            passes = self.n_replicas if any(noise_before.values()) else 1
            with one_thread_if_small(self.model):
                for replica in range(passes):
                    for start in range(0, len(tensor), self.batch_size):
                        rows = slice(start, min(start + self.batch_size, len(tensor)))
                        with self._listening(partial(keep, rows, replica), generator):
                            self.model(tensor[rows])
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
            stack.enter_context(noisy_layers(self.model, self.sigmas, generator))
            yield
