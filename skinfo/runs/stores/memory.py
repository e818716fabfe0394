"""Arrays in memory, of any library."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np

from skinfo._rows import as_array
from skinfo.errors import RunError
from skinfo.runs.description import whole_epoch


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
        self._arrays = {(whole_epoch(e), str(layer)): a for (e, layer), a in arrays.items()}
        self._epochs = sorted({epoch for epoch, _ in self._arrays})

    def epochs(self) -> list[int]:
        """Epochs of the keys, increasing."""
        return self._epochs.copy()

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
        array = self._find(epoch, layer)
        try:
            return as_array(array)
        except ValueError as error:
            raise RunError(str(error), epoch=epoch, layer=layer) from error

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading datasets of containers."""
        array = self._find(epoch, layer)
        if not isinstance(getattr(array, "dtype", None), np.dtype):
            array = as_array(array)
        return tuple(array.shape), array.dtype
