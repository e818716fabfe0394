"""zarr: a directory of one .zarr per checkpoint, or a container that something else wrote."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from skinfo._files import directory_atomically
from skinfo.errors import RunError, needs_extra
from skinfo.runs.stores.base import (
    Arrays,
    DiskStore,
    FoldersStore,
    by_epoch,
    check_fits,
    check_regular,
    list_directory,
    natural_order,
    no_such_layer,
    quoted,
    reading,
)

_ARRAYS = "activations"
# Where something says what it is, in version 3 and 2.
_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class _ZarrArrays(DiskStore):
    """Checkpoints whose layers are zarr arrays, version 3 or 2, read chunk by chunk."""

    @abstractmethod
    def _open(self, epoch: int, layer: str | None = None) -> AbstractContextManager[Any]:
        """The group that holds a checkpoint."""

    def names(self, epoch: int) -> list[str]:
        """Arrays of a checkpoint, in the order of the numbers in their names."""
        with self._open(epoch) as group:
            members = group.members(max_depth=None)
            names = natural_order(name for name, node in members if hasattr(node, "dtype"))
        return [unquote(name) for name in names] if self.own else names

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array; a chunk that skinfo wrote and that is gone is an error, not zeros."""
        with self._open(epoch, layer) as group:
            array = self._array(group, epoch, layer)
            if self.own and array.nchunks_initialized < array.nchunks:
                raise RunError(
                    f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are "
                    "missing; the container is damaged: write it again",
                    path=self.path, epoch=epoch, layer=layer,
                )  # fmt: skip
            check_fits(array.shape, np.dtype(array.dtype))
            return np.asarray(array[...])

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        with self._open(epoch, layer) as group:
            array = self._array(group, epoch, layer)
            return tuple(array.shape), np.dtype(array.dtype)

    def _array(self, group: Any, epoch: int, layer: str) -> Any:
        array = group.get(quoted(layer) if self.own else layer)
        if not hasattr(array, "dtype"):
            raise no_such_layer(self.names(epoch), self.path, layer, epoch)
        return array


class ZarrStore(_ZarrArrays, FoldersStore):
    """One .zarr per checkpoint, one array per layer."""

    format = "zarr"
    suffix = ".zarr"

    @classmethod
    def has_arrays(cls, entry: Path) -> bool:
        """Whether a directory is marked as a group."""
        return _is_group(entry)

    @contextmanager
    def _open(self, epoch: int, layer: str | None = None) -> Iterator[Any]:
        path = self.entry(epoch)
        with reading(path, layer, epoch):
            group = _open_group(path, quoted(layer) if layer and self.own else layer)
            yield group if self.own else _arrays_of(group)

    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write one container, with checksums; the losses are an attribute of the group.

        zarr fills memory, one layer at a time: of files it writes several at once, and goes on with
        the others where one has failed.
        """
        zarr = _library()
        held: dict[str, Any] = {}
        with directory_atomically(path) as directory:
            memory, noted = zarr.storage.MemoryStore(held), {"losses": losses} if losses else {}
            group = zarr.open_group(memory, mode="a", zarr_format=3, attributes=noted)
            for name, array in arrays:
                group.create_array(
                    quoted(name),
                    data=np.ascontiguousarray(array),
                    compressors=zarr.codecs.ZstdCodec(level=1, checksum=True),
                    # A chunk of zeros is written too: a missing one is damage.
                    config={"write_empty_chunks": True},
                )
                for key in [key for key in held if "/" in key]:
                    file = directory / key
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(held.pop(key).to_bytes())
            (directory / "zarr.json").write_bytes(held.pop("zarr.json").to_bytes())

    def _read_losses(self, path: Path) -> str | None:
        losses: Any = _open_group(path).attrs.get("losses")
        return losses


class ZarrContainer(_ZarrArrays):
    """Groups of one container that something else wrote, one per checkpoint; only read."""

    format = "zarr"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a directory is marked as a group."""
        return _is_group(path)

    @contextmanager
    def _open(self, epoch: int, layer: str | None = None) -> Iterator[Any]:
        with reading(self.path, layer, epoch):
            if epoch not in self._known or not (self.path / self._known[epoch]).exists():
                self._known = self._groups()
            yield _arrays_of(_open_group(self.path / self._known[epoch], layer))

    def _groups(self) -> dict[int, str]:
        groups = [entry.name for entry in sorted(list_directory(self.path)) if _is_group(entry)]
        return by_epoch(((name, name) for name in groups if name[0] != "."), self.path)

    def epochs(self) -> list[int]:
        """Epochs of the groups, increasing."""
        return list(self._groups())

    def _beside(self, name: str) -> np.ndarray | None:
        with reading(self.path):
            array = _open_group(self.path, name).get(name)
            if not hasattr(array, "dtype"):
                return None
            check_fits(array.shape, np.dtype(array.dtype))
            return np.asarray(array[...])


def _is_group(path: Path) -> bool:
    """Whether a directory is marked as a group, and not as an array."""
    mark = path / "zarr.json"
    if not mark.is_file():
        return (path / ".zgroup").is_file()
    with reading(mark):
        return json.loads(mark.read_bytes()).get("node_type") != "array"


def _arrays_of(group: Any) -> Any:
    """Where the arrays of a checkpoint are that something else wrote."""
    inner = group.get(_ARRAYS)
    return group if inner is None or hasattr(inner, "dtype") else inner


def _open_group(path: Path, layer: str | None = "") -> Any:
    """A group; where one layer alone is read of it, the files of the others are not looked at."""
    inside = ("",) if layer is None else (layer, f"{_ARRAYS}/{layer}") if layer else ()
    groups = (path / part / mark for part in ("", _ARRAYS) for mark in _MARKS)
    for file in chain(filter(Path.exists, groups), *((path / part).rglob("*") for part in inside)):
        check_regular(file)
    return _library().open_group(path, mode="r", use_consolidated=False)


def _library() -> Any:
    with needs_extra("Reading and writing zarr", "runs"):
        import zarr
    return zarr
