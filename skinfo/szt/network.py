"""The paper's multilayer perceptrons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "linear": nn.Identity,
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
