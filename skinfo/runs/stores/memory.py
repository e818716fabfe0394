"""Arrays in memory, or whatever can be sliced like one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skinfo.errors import RunError
from skinfo.runs.arrays import as_array
from skinfo.runs.naming import whole_epoch


class MemoryStore:
    """Arrays in a dict keyed by (epoch, layer)."""

    def __init__(self, arrays: Mapping[tuple[int, str], Any]) -> None:
        for key in arrays:
            if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], Integral)):
                raise RunError(
                    f"arrays are keyed by (epoch, layer), a whole number first; got {key!r}"
                )
        self._arrays = {(int(epoch), str(layer)): a for (epoch, layer), a in arrays.items()}

    def epochs(self) -> list[int]:
        """Epochs of the keys, increasing."""
        return sorted({epoch for epoch, _ in self._arrays})

    def _find(self, epoch: int, layer: str) -> Any:
        try:
            return self._arrays[epoch, layer]
        except KeyError:
            known = ", ".join(name for e, name in self._arrays if e == epoch)
            raise RunError(f"no such layer at this epoch; it has: {known}", epoch=epoch,
                           layer=layer) from None  # fmt: skip

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array."""
        return as_array(self._find(epoch, layer))

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array."""
        return _shape_of(self._find(epoch, layer))


class StackedStore:
    """Arrays of all checkpoints of a layer, the epoch along one axis.

    Parameters
    ----------
    arrays : mapping of str to array
        By layer; memory-mapped arrays, HDF5 datasets and zarr arrays are read an epoch at a time.
    epochs : sequence of int
        The epochs, in the order of that axis.
    axes : mapping of str to str
        What the axes of each layer's array are; ``e`` is the epoch.
    """

    def __init__(
        self, arrays: Mapping[str, Any], epochs: Sequence[int], axes: Mapping[str, str]
    ) -> None:
        numbers = [whole_epoch(epoch) for epoch in epochs]
        if len(set(numbers)) < len(numbers):
            raise RunError("epochs names one of them twice")
        for name, array in arrays.items():
            if len(axes[name]) != array.ndim or axes[name].count("e") != 1:
                raise RunError(
                    f"has shape {array.shape}; expected one axis each of {axes[name]!r}, e being "
                    "the epoch. Give axes=",
                    layer=name,
                )
            count = array.shape[axes[name].index("e")]
            if count != len(numbers):
                raise RunError(f"holds {count} epochs where epochs= names {len(numbers)}",
                               layer=name)  # fmt: skip
        self._arrays = dict(arrays)
        self._place = {epoch: place for place, epoch in enumerate(numbers)}
        self._axis = {name: axes[name].index("e") for name in arrays}

    def epochs(self) -> list[int]:
        """Epochs, increasing."""
        return sorted(self._place)

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One epoch of an array."""
        where = (slice(None),) * self._axis[layer] + (self._place[epoch],)
        return as_array(self._arrays[layer][where])

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of one epoch of an array."""
        if epoch not in self._place:
            raise RunError("there is no such checkpoint", epoch=epoch, layer=layer)
        shape, dtype = _shape_of(self._arrays[layer])
        axis = self._axis[layer]
        return shape[:axis] + shape[axis + 1 :], dtype


def _shape_of(array: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type, without reading what only looks like an array."""
    dtype = getattr(array, "dtype", None)
    if not isinstance(dtype, np.dtype):
        array = as_array(array)
        dtype = array.dtype
    return tuple(array.shape), dtype
