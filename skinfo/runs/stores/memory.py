"""Arrays in memory, of any library."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np

from skinfo.errors import RunError

# Types that numpy lacks and float32 holds exactly.
_NARROW = ("bfloat16", "float8")


class MemoryStore:
    """Arrays in a dict keyed by (epoch, layer)."""

    def __init__(self, arrays: Mapping[tuple[int, str], Any]) -> None:
        for key in arrays:
            if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], Integral)):
                raise RunError(
                    "arrays are keyed by (epoch, layer), a whole number first, or nested as "
                    f"{{epoch: {{layer: array}}}}; got {key!r}. Where the epoch is the first axis "
                    "of each array: {epoch: {layer: array[k] for layer, array in arrays.items()} "
                    "for k, epoch in enumerate(epochs)}"
                )
        self._arrays = {(int(epoch), str(layer)): a for (epoch, layer), a in arrays.items()}

    def epochs(self) -> list[int]:
        """Epochs of the keys, increasing."""
        return sorted({epoch for epoch, _ in self._arrays})

    def layers(self) -> list[str]:
        """Layers of the keys, in their order."""
        return list(dict.fromkeys(layer for _, layer in self._arrays))

    def _find(self, epoch: int, layer: str) -> Any:
        try:
            return self._arrays[epoch, layer]
        except KeyError:
            names = ", ".join(name for e, name in self._arrays if e == epoch)
            raise RunError(f"no such layer at this epoch; it has: {names}", epoch=epoch,
                           layer=layer) from None  # fmt: skip

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array."""
        return as_array(self._find(epoch, layer))

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading datasets of containers."""
        array = self._find(epoch, layer)
        if not isinstance(getattr(array, "dtype", None), np.dtype):
            array = as_array(array)
        return tuple(array.shape), array.dtype


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
