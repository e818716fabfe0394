"""The paper's multilayer perceptrons, and their training with noise."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skinfo.errors import RunError
from skinfo.networks.inputs import (
    as_tensor,
    evaluating,
    keeping_modes,
    make_generator,
    one_thread_if_small,
)
from skinfo.networks.noise import noise_by_layer, noisy_layers

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "linear": nn.Identity,
}
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


def make_mlp(
    sizes: Sequence[int] = (12, 10, 7, 5, 4, 3, 2),
    *,
    activation: str = "tanh",
    random_state: int | None = 0,
) -> nn.Sequential:
    """Make a multilayer perceptron; by default the SZT network of the paper.

    Parameters
    ----------
    sizes : sequence of int, default=(12, 10, 7, 5, 4, 3, 2)
        Units of the input, of each hidden layer and of the output.
    activation : {"tanh", "relu", "leaky_relu", "linear"}, default="tanh"
        Activation of the hidden layers; leaky ReLU has slope 0.01.
    random_state : int or None, default=0
        Seed of the weights, torch's default initialisation; its global generator is left alone.

    Returns
    -------
    torch.nn.Sequential
        Submodules "layer1", "layer2", … (linear map and activation) and "output".

    Examples
    --------
    >>> from skinfo.szt import make_mlp
    >>> [name for name, _ in make_mlp().named_children()]
    ['layer1', 'layer2', 'layer3', 'layer4', 'layer5', 'output']
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
    if len(sizes) < 2:
        raise ValueError(f"sizes needs at least an input and an output; got {tuple(sizes)}.")
    with torch.random.fork_rng(devices=[]):
        if random_state is None:
            torch.seed()
        else:
            torch.manual_seed(random_state)
        hidden = [
            (f"layer{k}", nn.Sequential(nn.Linear(n_in, n_out), ACTIVATIONS[activation]()))
            for k, (n_in, n_out) in enumerate(pairwise(sizes[:-1]), start=1)
        ]
        return nn.Sequential(
            OrderedDict[str, nn.Module]([*hidden, ("output", nn.Linear(sizes[-2], sizes[-1]))])
        )


class Trainer:
    """Train a classifier with noise, epoch by epoch, from a state that can be saved.

    Parameters
    ----------
    model : torch.nn.Module
        Maps inputs to class scores.
    X, y : array-like of shape (n_samples, …) and (n_samples,)
        Training inputs and class numbers.
    sigma : mapping of str to float, or to tuple of float, default={}
        Standard deviation of the noise on the outputs of named layers.
    noise : str or mapping of str to str, default="additive"
        Which noise, of all these layers or by layer; see :func:`skinfo.noise.make_noise`.
    learning_rate, batch_size : float and int, default 4e-4 and 256
        Step of the optimiser and inputs per step.
    optimiser : {"adam", "sgd"}, default="adam"
        Adam, or stochastic gradient descent without momentum.
    parseval : float, default=0
        Strength alpha of the orthonormal regularisation: after each step, for the weights of every
        linear layer but the last, W <- W - alpha (W W' W - W).
    shuffle_labels : bool, default=False
        Whether to train on a random permutation of the labels.
    random_state : int or None, default=0
        Seed of batches, noise and shuffling; torch's global generator is left alone.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.szt import Trainer, make_mlp
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
        sigma: Mapping[str, Any] | None = None,
        noise: str | Mapping[str, str] = "additive",
        learning_rate: float = 4e-4,
        batch_size: int = 256,
        optimiser: str = "adam",
        parseval: float = 0.0,
        shuffle_labels: bool = False,
        random_state: int | None = 0,
    ) -> None:
        self.model = model
        self.epoch = 0
        self._X = _exactly(X, torch.float32)
        self._y = _exactly(y, torch.int64)
        self._sigma = {} if sigma is None else sigma
        self._noise = noise
        noise_by_layer(self._sigma, noise)
        self._batch_size = batch_size
        self._parseval = parseval
        self._generator = make_generator(random_state)
        if shuffle_labels:
            self._y = self._y[torch.randperm(len(self._y), generator=self._generator)]
        self._loss = nn.CrossEntropyLoss()
        if optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser is one of {', '.join(OPTIMISERS)}; got {optimiser!r}.")
        self._optimiser = OPTIMISERS[optimiser](model.parameters(), lr=learning_rate, fused=True)
        linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
        self._regularised = [module.weight for module in linear[:-1]]

    def train_until(self, epoch: int, after_epoch: Callable[[int], None] | None = None) -> None:
        """Train up to and including an epoch; ``after_epoch`` gets the number of each one."""
        with one_thread_if_small(self.model):
            while self.epoch < epoch:
                with (
                    keeping_modes(self.model),
                    noisy_layers(self.model, self._sigma, self._generator, self._noise),
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
        """Cross-entropy in nats and accuracy, with noise off."""
        with evaluating(self.model):
            scores = self.model(_exactly(X, torch.float32))
            target = _exactly(y, torch.int64)
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
        """Continue from a saved state, to the same weights as without the interruption."""
        if not Path(path).is_file():
            raise RunError("the state of a training is a file, and this is none", path=path)
        try:
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._generator.set_state(state["generator"])
            self.epoch = state["epoch"]
        except OSError as error:
            raise RunError(
                f"the state of the training cannot be read ({error.strerror}); nothing says that "
                "it is damaged",
                path=path,
            ) from error
        except Exception as error:
            raise RunError(
                f"the state of the training cannot be read ({error!r}); remove the file to train "
                "again from the start",
                path=path,
            ) from error


def _exactly(values: Any, dtype: torch.dtype) -> torch.Tensor:
    """Numbers as another type: fractions may be rounded, and nothing else changes."""
    given = as_tensor(values)
    rounded = given.is_floating_point() and dtype.is_floating_point
    if given.is_complex() or not (rounded or torch.equal(given.to(dtype).to(given.dtype), given)):
        raise ValueError(
            f"{dtype} cannot hold all of these numbers ({given.dtype}); inputs are real numbers, "
            "and classes whole ones."
        )
    return given.to(dtype)


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
