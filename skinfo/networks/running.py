"""How a model is run: its modes, its threads, its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

# Networks of fewer parameters run on one thread.
_SMALL = 100_000


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients while the context lasts; each module's mode comes back."""
    with keeping_modes(model), torch.no_grad():
        model.eval()
        yield


@contextmanager
def one_thread_if_small(model: nn.Module) -> Iterator[None]:
    """Keep torch to one thread: a batch of a small network is less work than threads cost."""
    threads = torch.get_num_threads()
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def keeping_modes(model: nn.Module) -> Iterator[None]:
    """Give each module its own mode back, training or evaluation."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def make_generator(random_state: int | None, device: torch.device | None = None) -> torch.Generator:
    """Make a source of noise of its own; None seeds it from the system."""
    generator = torch.Generator(device=device or "cpu")
    if random_state is None:
        generator.seed()
    else:
        generator.manual_seed(random_state)
    return generator


@contextmanager
def seeded(random_state: int | None) -> Iterator[None]:
    """Seed torch's global generator while the context lasts; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        if random_state is None:
            torch.seed()
        else:
            torch.manual_seed(random_state)
        yield


def as_tensor(values: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor of any values; arrays that may not be written to are copied."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values, dtype=dtype)
