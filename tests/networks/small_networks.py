"""Small networks, and what their tests look at."""

import contextlib
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

SIZES = (6, 5, 4, 3, 2)
SIGMAS = {"layer1": 0.1, "layer2": 0.2, "layer3": 0.3}
NAMES = list(SIGMAS)


class BrokenError(Exception):
    """Raised by tests in the middle of things."""


class Breaking(nn.Module):
    """Pass inputs on until a certain call."""

    def __init__(self, at_call):
        super().__init__()
        self.at_call = at_call

    def forward(self, x):
        self.at_call -= 1
        if self.at_call == 0:
            raise BrokenError
        return x


def make_conv_net():
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(
                OrderedDict(conv=nn.Conv2d(1, 4, 3), relu=nn.ReLU(), pool=nn.MaxPool2d(2))
            ),
            flatten=nn.Flatten(),
            head=nn.Sequential(nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)),
        )
    )


def images(n=200):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def hooks(model):
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]


def modes(model):
    return [module.training for module in model.modules()]


def outputs_of(model, x):
    """What every submodule hands on, noise included, in one pass."""
    found = {}

    def keep(name):
        return lambda _module, _args, output: found.update({name: output.detach()})

    handles = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if name]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found


def recorded(recorder, inputs):
    with recorder.record(inputs) as arrays:
        return {name: np.array(array) for name, array in arrays.items()}


def close_to_std(sigma, n):
    """Five standard errors of a standard deviation from n draws."""
    return pytest.approx(sigma, abs=5 * sigma / np.sqrt(2 * n))


@contextlib.contextmanager
def global_state_untouched():
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)
