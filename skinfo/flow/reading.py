"""One array of a run, read once and shared by all that measure it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skinfo.errors import RunError
from skinfo.runs import Run
from skinfo.runs.opening import MemoryStore
from skinfo.runs.run import Store


class ReadOnce:
    """A store that keeps the array it read last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[tuple[int, str], np.ndarray] = {}

    def epochs(self) -> list[int]:
        """Epochs of the checkpoints."""
        return self._store.epochs()

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array, from the store behind the first time."""
        if (epoch, layer) not in self._kept:
            self._kept = {(epoch, layer): self._store.read(epoch, layer)}
        return self._kept[epoch, layer]

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array."""
        return self._store.shape(epoch, layer)

    def forget(self) -> None:
        """Let go of the array."""
        self._kept = {}


def reading_once(run: Run) -> tuple[Run, ReadOnce]:
    """The same run, reading through a store that keeps the last array."""
    store = ReadOnce(run.store)
    return replace(run, store=store), store


def to_send(run: Run, epoch: int, layer: str) -> Run:
    """What another process needs of a run: of arrays in memory this one, of a path the path."""
    if not isinstance(run.store, MemoryStore):
        return run
    try:
        return replace(run, store=MemoryStore({(epoch, layer): run.store.read(epoch, layer)}))
    except RunError:
        # The worker meets the same error, with the layers that are there.
        return run
