import os

import numpy as np
import pytest
from hypothesis import settings

# Without compilation an example takes a hundred times longer.
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
settings.register_profile(
    "skinfo", deadline=None, derandomize=True, max_examples=60 if COMPILED else 20
)
settings.load_profile("skinfo")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
