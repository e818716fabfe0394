"""One zarr container: /<epoch>/activations/<layer>, beside them /labels and /groups."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from skinfo._files import OLD, directory_atomically, recover_replaced, remove_leftovers
from skinfo.errors import RunError, needs_extra
from skinfo.runs.description import BESIDE, Record, parse_record
from skinfo.runs.naming import by_epoch, natural_order, quoted
from skinfo.runs.stores.base import Arrays, WritableStore, list_directory, no_such_layer, reading

_RECORD = "run.json"
_ARRAYS = "activations"
_WORDS = "words"
#: Files that mark a group, of version 3 and 2.
_MARKS = ("zarr.json", ".zgroup")


class ZarrStore(WritableStore):
    """Checkpoints of a container on the local disk, version 3 or 2, read chunk by chunk."""

    format = "zarr"
    path_suffix = ".zarr"
    shares_directory = False

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a directory is marked as a group."""
        return any((path / mark).is_file() for mark in _MARKS)

    def _groups(self) -> dict[int, str]:
        names = [
            entry.name
            for entry in list_directory(self.path)
            if self.recognises(entry) and not entry.name.startswith(".")
        ]
        if not self.own:
            return by_epoch(((name, name) for name in sorted(names)), self.path)
        found = {int(name): name for name in names if name.isdigit()}
        for name in names:
            number = name.removesuffix(OLD)
            if number.isdigit():
                found.setdefault(int(number), name)
        return dict(sorted(found.items()))

    def epochs(self) -> list[int]:
        """Epochs of the groups, increasing."""
        return list(self._groups())

    def _checkpoint(self, root: Any, epoch: int) -> Any:
        group = root[self._groups()[epoch]]
        return group.get(_ARRAYS, group)

    def names(self, epoch: int) -> list[str]:
        """Arrays of a checkpoint, in the order of the numbers in their names."""
        with self._open(epoch) as root:
            group = self._checkpoint(root, epoch)
            members = group.members(max_depth=None)
            found = natural_order(name for name, node in members if hasattr(node, "dtype"))
        return [unquote(name) for name in found] if self.own else found

    def _array(self, root: Any, epoch: int, layer: str) -> Any:
        group = self._checkpoint(root, epoch)
        found = group.get(quoted(layer) if self.own else layer)
        if not hasattr(found, "dtype"):
            raise no_such_layer(self.names(epoch), self.path, layer, epoch)
        return found

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array; a chunk that skinfo wrote and that is gone is an error, not zeros."""
        with self._open(epoch, layer) as root:
            array = self._array(root, epoch, layer)
            if self.own and array.nchunks_initialized < array.nchunks:
                raise RunError(
                    f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are "
                    "missing; the container is damaged: write it again",
                    path=self.path, epoch=epoch, layer=layer,
                )  # fmt: skip
            return np.asarray(array[...])

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array."""
        with self._open(epoch, layer) as root:
            array = self._array(root, epoch, layer)
            return tuple(array.shape), np.dtype(array.dtype)

    def record(self) -> Record | None:
        """The attribute run.json of the root, or None where there is none."""
        with self._open() as root:
            text = root.attrs.get(_RECORD)
        return None if text is None else parse_record(str(text).encode(), self.where("record"))

    def beside(self, name: str) -> np.ndarray | None:
        """/labels or /groups, or None."""
        with self._open() as root:
            array = root.get(name)
            if not hasattr(array, "dtype"):
                return None
            values, words = np.asarray(array[...]), array.attrs.get(_WORDS)
        return values if words is None else np.array(words)[values]

    def where(self, name: str) -> str:
        """Place inside the container."""
        return f"{self.path}:/{_RECORD if name == 'record' else name}"

    def create(self, record: Record, arrays: dict[str, np.ndarray | None]) -> None:
        """Make the container, with no checkpoints yet."""
        zarr = _library()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with directory_atomically(self.path) as made:
            root = zarr.open_group(made, mode="a", zarr_format=3)
            for name in BESIDE:
                values = arrays[name]
                if values is None:
                    continue
                if values.dtype.kind == "U":
                    words, values = np.unique(values, return_inverse=True)
                    _put(root, name, values).attrs[_WORDS] = words.tolist()
                else:
                    _put(root, name, values)
            root.attrs[_RECORD] = json.dumps(record)

    def write_record(self, record: Record) -> None:
        """Replace the attribute, which zarr does in one step."""
        zarr = _library()
        root = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        root.attrs[_RECORD] = json.dumps(record)

    def write(self, epoch: int, arrays: Arrays) -> None:
        """Fill a group beside the container, then move it in."""
        zarr = _library()
        self.tidy()
        hidden = f"{self.path.name}.checkpoint"
        beside = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=f".{hidden}."))
        try:
            with directory_atomically(self.path / str(epoch), beside=beside) as made:
                group = zarr.open_group(made, mode="a", zarr_format=3).create_group(_ARRAYS)
                for name, array in arrays:
                    _put(group, quoted(name), array)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what has no name yet; of two versions one stays."""
        name = re.escape(self.path.name)
        remove_leftovers(self.path.parent, rf"{name}(\.checkpoint)?")
        # zarr's own, of the attributes, is not named like ours.
        for half in self.path.glob("zarr*.partial"):
            half.unlink(missing_ok=True)
        recover_replaced(self.path, r"\d+")

    @contextmanager
    def _open(self, epoch: int | None = None, layer: str | None = None) -> Iterator[Any]:
        zarr = _library()
        with reading(self.path, layer, epoch):
            yield zarr.open_group(self.path, mode="r", use_consolidated=False)


def _put(group: Any, name: str, values: np.ndarray) -> Any:
    """Write an array with a checksum, and chunks of zeros as chunks: a missing one is damage."""
    zarr = _library()
    return group.create_array(
        name,
        data=np.ascontiguousarray(values),
        compressors=zarr.codecs.ZstdCodec(level=1, checksum=True),
        config={"write_empty_chunks": True},
    )


def _library() -> Any:
    with needs_extra("Reading and writing zarr", "runs"):
        import zarr
    return zarr
