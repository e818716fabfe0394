"""One array of a run, read once and shared by all that measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np

from skinfo.errors import RunError
from skinfo.flow.failures import in_words
from skinfo.runs import Layer, Run
from skinfo.runs.run import Store
from skinfo.runs.stores.memory import MemoryStore

Found = TypeVar("Found")
#: Stores that hold their arrays themselves; others are opened again wherever they arrive.
IN_MEMORY = (MemoryStore,)


class Guarded:
    """A store whose reader may stumble in its own way over what is damaged: a RunError then.

    Readers of files that others wrote raise whatever their libraries do, and only for one array.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self._name = name

    def epochs(self) -> list[int]:
        """Epochs of the checkpoints."""
        return self.store.epochs()

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array."""
        with self._named(epoch, layer):
            return self.store.read(epoch, layer)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array."""
        with self._named(epoch, layer):
            return self.store.shape(epoch, layer)

    @contextmanager
    def _named(self, epoch: int, layer: str) -> Iterator[None]:
        try:
            yield
        except (RunError, MemoryError, Warning):
            raise
        except Exception as error:
            raise RunError(
                f"cannot be read ({in_words(error)}); write it again, or leave it out",
                path=self._name, epoch=epoch, layer=layer,
            ) from error  # fmt: skip


def guarded(run: Run) -> Run:
    """The same run, whose arrays can fail to be read in one way only."""
    if isinstance(run.store, Guarded):
        return run
    return replace(run, store=Guarded(run.store, run.name))


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


class SentStore:
    """What another process needs of arrays in memory: one of them, and what is said of the layer.

    An error that reading meets here is met there.
    """

    def __init__(self, store: Store, epoch: int, layer: str) -> None:
        self._epochs = store.epochs()
        self._shapes = {e: _attempt(store.shape, e, layer) for e in self._epochs}
        self._array = _attempt(store.read, epoch, layer)

    def epochs(self) -> list[int]:
        """Epochs of the whole run."""
        return self._epochs

    def read(self, epoch: int, layer: str) -> np.ndarray:  # noqa: ARG002
        """The array."""
        return _or_raise(self._array)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:  # noqa: ARG002
        """Shape and type of the layer at any checkpoint."""
        return _or_raise(self._shapes[epoch])


def _attempt(look: Callable[[int, str], Found], epoch: int, layer: str) -> Found | RunError:
    try:
        return look(epoch, layer)
    except RunError as error:
        return error


def _or_raise(found: Found | RunError) -> Found:
    if isinstance(found, RunError):
        raise found
    return found


def to_send(run: Run, epoch: int, layer: str) -> Run:
    """What another process needs of a run: of arrays in memory this one, of a path the path."""
    behind = run.store.store if isinstance(run.store, Guarded) else run.store
    if not isinstance(behind, IN_MEMORY):
        return run
    return replace(run, store=SentStore(run.store, epoch, layer))


def whole_layers(run: Run) -> list[Layer]:
    """Layers whose rows hold all values of each input, not a summary of them nor a token each."""
    found = []
    for layer in run.layers:
        for epoch in run.epochs:
            try:
                ndim = len(run.store.shape(epoch, layer.name)[0])
                choice = run.flattening.of(layer.name, ndim).choice
            except (ValueError, OSError):
                continue
            if choice is None or choice == "all":
                found.append(layer)
            break
    return found


def check_flattening(run: Run) -> None:
    """Check that it is known of each layer how its arrays become rows, without reading them.

    A checkpoint that differs from the others, or cannot be read, is no mistake of the call. What a
    callable makes of an array only the array shows.

    Raises
    ------
    RunError
        That names the choices, where no checkpoint of a layer can be flattened.
    """
    choices = run.flattening.choice
    for layer in run.layers:
        failure = None
        if callable(choices.get(layer.name) if isinstance(choices, Mapping) else choices):
            continue
        for epoch in run.epochs:
            try:
                shape, dtype = run.store.shape(epoch, layer.name)
            except (RunError, OSError):
                continue
            if len(shape) < 2 or 0 in shape or dtype.kind not in "fiu":
                continue
            try:
                run.shape(epoch, layer.name)
            except RunError as error:
                failure = failure or error
                continue
            failure = None
            break
        if failure is not None:
            raise failure
