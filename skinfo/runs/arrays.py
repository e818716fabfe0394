"""Arrays of numpy from whatever holds numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

# What numpy lacks and float32 holds exactly.
_NARROW = ("bfloat16", "float8")


def as_array(values: Any) -> np.ndarray:
    """An array of the same numbers; a tensor of torch leaves its graph and its device.

    Tensors of bfloat16, which numpy lacks, become float32 of the same values.

    Examples
    --------
    >>> as_array([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if any(name in str(values.dtype) for name in _NARROW):
            values = values.float()
    return np.asanyarray(values)
