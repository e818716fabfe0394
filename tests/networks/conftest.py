import numpy as np
import pytest
import torch

from .small_networks import SIZES


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(name="X")
def make_inputs(rng):
    return rng.standard_normal((50, SIZES[0])).astype(np.float32)
