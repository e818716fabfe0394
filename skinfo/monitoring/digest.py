"""What tells the arrays of one epoch, or of one training, from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from skinfo.runs.arrays import as_array


def digest_of(*values: Any) -> str:
    """What tells arrays from others: of their types, shapes and bytes."""
    state = hashlib.blake2b(digest_size=16)
    for array in _arrays_in(values):
        array = array.astype(str) if array.dtype.kind == "O" else array
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _arrays_in(values: Any) -> Iterator[np.ndarray]:
    """All arrays, in tuples and mappings too; None is none."""
    if isinstance(values, Mapping):
        for name in sorted(values):
            yield np.asarray(str(name))
            yield from _arrays_in(values[name])
    elif isinstance(values, tuple):
        for value in values:
            yield from _arrays_in(value)
    elif values is not None:
        yield as_array(values)
