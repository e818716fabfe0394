"""Noisy networks in torch: noise on layers, recording, the SZT network and its training."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from skinfo.errors import MissingExtraError, RunError
from skinfo.runs import Layer

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("Training and recording networks", "torch") from error

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "linear": nn.Identity,
}
# Networks of fewer parameters run on one thread.
_SMALL = 100_000


class GaussianNoise(nn.Module):
    """Add Gaussian noise to whatever passes, in training mode.

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


def _tensor_of(output: Any, name: str) -> torch.Tensor:
    """What a layer hands out, if it is one tensor."""
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"Layer {name!r} hands out a {type(output).__name__}, not a tensor; name a submodule "
            "that hands out one."
        )
    return output


def find_layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Find submodules by name.

    Raises
    ------
    ValueError
        For a name that no submodule has; the message lists those there are.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    missing = [name for name in names if name not in modules]
    if missing:
        raise ValueError(
            f"The model has no layer {missing[0]!r}; it has: {', '.join(modules) or 'none'}."
        )
    return {name: modules[name] for name in names}


@contextmanager
def noisy_layers(
    model: nn.Module, sigmas: Mapping[str, float], generator: torch.Generator | None = None
) -> Iterator[None]:
    """Add noise to the outputs of named layers while the context lasts.

    Parameters
    ----------
    model : torch.nn.Module
        Any module; its own noise modules, if it has some, are switched on as well.
    sigmas : mapping of str to float
        Standard deviation for the output of each named submodule.
    generator : torch.Generator, optional
        Source of the noise; torch's global one by default.

    Raises
    ------
    ValueError
        For a layer that the model does not have, or a negative sigma.

    Examples
    --------
    >>> import torch
    >>> from skinfo.networks import make_mlp, noisy_layers
    >>> model, x = make_mlp((2, 3, 2)), torch.zeros(1, 2)
    >>> with noisy_layers(model, {"layer1": 0.1}):
    ...     noisy = bool((model(x) == model(x)).all())
    >>> noisy, bool((model(x) == model(x)).all())
    (False, True)
    """
    with ExitStack() as undo:
        for module in model.modules():
            if isinstance(module, GaussianNoise):
                undo.callback(module.__dict__.update, {
                    "active": module.active, "generator": module.generator,
                })  # fmt: skip
                module.active, module.generator = True, generator
        for name, module in find_layers(model, list(sigmas)).items():
            sigma = float(sigmas[name])
            if not sigma >= 0:
                raise ValueError(f"sigma of layer {name!r} must be >= 0; got {sigma!r}.")
            hook = module.register_forward_hook(
                lambda _module, _args, output, name=name, sigma=sigma: add_noise(
                    _tensor_of(output, name), sigma, generator
                )
            )
            undo.callback(hook.remove)
        yield


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients while the context lasts; each module's mode comes back."""
    with _keeping_modes(model), torch.no_grad():
        model.eval()
        yield


@contextmanager
def _one_thread_if_small(model: nn.Module) -> Iterator[None]:
    """Keep torch to one thread: a batch of a small network is less work than threads cost."""
    threads = torch.get_num_threads()
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _keeping_modes(model: nn.Module) -> Iterator[None]:
    """Give each module its own mode back, training or evaluation."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _as_tensor(values: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor of any values; arrays that may not be written to are copied."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values, dtype=dtype)


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
                shape = tuple(_tensor_of(output, name).shape)
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
            with _evaluating(self.model):
                result = self.model(one)
        with _evaluating(self.model):
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
        tensor = _as_tensor(inputs).to(parameter.device)
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
            with _one_thread_if_small(self.model):
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
            stack.enter_context(_evaluating(self.model))
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


def make_mlp(
    sizes: Sequence[int] = (12, 10, 7, 5, 4, 3, 2), *, activation: str = "tanh", seed: int = 0
) -> nn.Sequential:
    """Make a multilayer perceptron; by default the SZT network of the paper.

    Parameters
    ----------
    sizes : sequence of int, default=(12, 10, 7, 5, 4, 3, 2)
        Units of the input, of each hidden layer and of the output.
    activation : {"tanh", "relu", "leaky_relu", "linear"}, default="tanh"
        Activation of the hidden layers; leaky ReLU has slope 0.01.
    seed : int, default=0
        Seed of the weights, torch's default initialisation; its global generator is left alone.

    Returns
    -------
    torch.nn.Sequential
        Submodules "layer1", "layer2", … (linear map and activation) and "output".

    Examples
    --------
    >>> from skinfo.networks import make_mlp
    >>> [name for name, _ in make_mlp().named_children()]
    ['layer1', 'layer2', 'layer3', 'layer4', 'layer5', 'output']
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
    if len(sizes) < 2:
        raise ValueError(f"sizes names at least an input and an output; got {tuple(sizes)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = [
            (f"layer{k}", nn.Sequential(nn.Linear(n_in, n_out), ACTIVATIONS[activation]()))
            for k, (n_in, n_out) in enumerate(pairwise(sizes[:-1]), start=1)
        ]
        return nn.Sequential(
            OrderedDict[str, nn.Module]([*hidden, ("output", nn.Linear(sizes[-2], sizes[-1]))])
        )


class Trainer:
    """Train a classifier with noise on, epoch by epoch, from a state that can be saved.

    Parameters
    ----------
    model : torch.nn.Module
        Maps inputs to class scores.
    X, y : array-like of shape (n_samples, …) and (n_samples,)
        Training inputs and class numbers.
    sigmas : mapping of str to float, default={}
        Noise on the outputs of named layers.
    learning_rate, batch_size : float and int, default 4e-4 and 256
        Of Adam.
    parseval : float, default=0
        Strength alpha of the orthonormal regularisation: after each step, for the weights of every
        linear layer but the last, W <- W - alpha (W W' W - W).
    shuffle_labels : bool, default=False
        Whether to train on a random permutation of the labels.
    seed : int, default=0
        Seed of batches, noise and shuffling; torch's global generator is left alone.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.networks import Trainer, make_mlp
    >>> X = np.array([[-1.0], [1.0]] * 50)
    >>> trainer = Trainer(make_mlp((1, 4, 2)), X, (X > 0).ravel(), learning_rate=0.05)
    >>> trainer.train_until(50)
    >>> trainer.evaluate(X, (X > 0).ravel())[1]
    1.0
    """

    def __init__(
        self,
        model: nn.Module,
        X: Any,
        y: Any,
        *,
        sigmas: Mapping[str, float] | None = None,
        learning_rate: float = 4e-4,
        batch_size: int = 256,
        parseval: float = 0.0,
        shuffle_labels: bool = False,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.epoch = 0
        self._X = _as_tensor(X, torch.float32)
        self._y = _as_tensor(y, torch.int64)
        self._sigmas = dict(sigmas or {})
        self._batch_size = batch_size
        self._parseval = parseval
        self._generator = torch.Generator().manual_seed(seed)
        if shuffle_labels:
            self._y = self._y[torch.randperm(len(self._y), generator=self._generator)]
        self._loss = nn.CrossEntropyLoss()
        self._optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
        linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
        self._regularised = [module.weight for module in linear[:-1]]

    def train_until(self, epoch: int, after_epoch: Callable[[int], None] | None = None) -> None:
        """Train up to and including an epoch; ``after_epoch`` is called with each one's number."""
        with _one_thread_if_small(self.model):
            while self.epoch < epoch:
                with (
                    _keeping_modes(self.model),
                    noisy_layers(self.model, self._sigmas, self._generator),
                ):
                    self.model.train()
                    self._train_epoch()
                self.epoch += 1
                if after_epoch is not None:
                    after_epoch(self.epoch)

    def _train_epoch(self) -> None:
        order = torch.randperm(len(self._X), generator=self._generator)
        for rows in order.split(self._batch_size):
            self._optimiser.zero_grad()
            self._loss(self.model(self._X[rows]), self._y[rows]).backward()
            self._optimiser.step()
            if self._parseval:
                parseval_step(self._regularised, self._parseval)

    def evaluate(self, X: Any, y: Any) -> tuple[float, float]:
        """Cross-entropy in nats and accuracy on any data, with noise off."""
        with _evaluating(self.model):
            scores = self.model(_as_tensor(X, torch.float32))
            target = _as_tensor(y, torch.int64)
            accuracy = (scores.argmax(dim=1) == target).float().mean()
            return float(self._loss(scores, target)), float(accuracy)

    def save(self, file: Any) -> None:
        """Save everything that the next epoch depends on."""
        state = {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
        }
        torch.save(state, file)

    def load(self, path: str | Path) -> None:
        """Go on from a saved state, to the same weights as without the interruption."""
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:
            raise RunError(
                f"the state of the training cannot be read ({error}); remove the file to train "
                "again from the start",
                path=path,
            ) from error
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self.epoch = state["epoch"]


def parseval_step(weights: Sequence[torch.Tensor], alpha: float) -> None:
    """Move weights towards orthonormal rows: W <- W - alpha (W W' W - W).

    Cisse et al., "Parseval Networks", ICML 2017.

    Examples
    --------
    >>> import torch
    >>> W = 2 * torch.eye(2)
    >>> parseval_step([W], 0.1)
    >>> W.diagonal().tolist()
    [1.399999976158142, 1.399999976158142]
    """
    with torch.no_grad():
        for weight in weights:
            weight.sub_(weight @ weight.T @ weight - weight, alpha=alpha)
