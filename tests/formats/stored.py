"""Arrays of every kind, and the formats that keep them."""

import numpy as np

from skinfo.runs.stores.formats import WRITTEN

FORMATS = tuple(WRITTEN)
LABELS = np.array([5, 7, 7, 5])


def activations(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "block10/dense 1": rng.standard_normal((4, 5)),
        "block9.conv": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "tail%2F": rng.standard_normal((4, 3, 2)).astype(np.float16),
        "..": rng.integers(-5, 5, (4, 1)),
    }
    arrays["block10/dense 1"][0] = [-0.0, 5e-324, 1e308, np.pi, -1]
    return arrays


def bits(array):
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()
