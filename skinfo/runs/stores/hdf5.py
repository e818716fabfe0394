"""One HDF5 file: /<epoch>/activations/<layer>, beside them /labels, /groups and /run.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from skinfo._files import remove_leftovers, write_atomically
from skinfo.errors import needs_extra
from skinfo.runs.description import BESIDE, Record, parse_record
from skinfo.runs.naming import by_epoch, natural_order, quoted
from skinfo.runs.staging import StagedFile, is_changing, recover
from skinfo.runs.stores.base import Arrays, DiskStore, no_such_layer, reading

_RECORD = "run.json"
_ARRAYS = "activations"
# Arrays start where any processor likes to find them in a mapped file.
_ALIGNED = {"alignment_threshold": 512, "alignment_interval": 64}
_MAGIC = b"\x89HDF\r\n\x1a\n"


class Hdf5Store(DiskStore):
    """Checkpoints of a file; arrays stored in one piece are mapped into memory."""

    format = "hdf5"

    def epochs(self) -> list[int]:
        """Epochs of the groups in the file, increasing."""
        with self._open() as file:
            return list(self._groups(file))

    def _groups(self, file: Any) -> dict[int, str]:
        h5py = _library()
        names = [name for name in file if file.get(name, getclass=True) is h5py.Group]
        if self.own:
            return {int(name): name for name in sorted(filter(str.isdigit, names), key=int)}
        return by_epoch(((name, name) for name in names), self.path)

    def _checkpoint(self, file: Any, epoch: int) -> Any:
        name = str(epoch) if self.own else self._groups(file)[epoch]
        group = file[name]
        return group.get(_ARRAYS, group)

    def names(self, epoch: int) -> list[str]:
        """Datasets of a checkpoint as they were created if the file knows, or by their numbers."""
        h5py = _library()
        found: list[str] = []

        def visit(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                found.append(name)

        with self._open(epoch) as file:
            group = self._checkpoint(file, epoch)
            group.visititems(visit)
            if _tracks_order(group) and all("/" not in name for name in found):
                found = [name for name in group if name in found]
            else:
                found = natural_order(found)
        return [unquote(name) for name in found] if self.own else found

    def keeps_order(self, epoch: int) -> bool:
        """Whether the file tracks it, and no names are nested."""
        with self._open(epoch) as file:
            tracked = _tracks_order(self._checkpoint(file, epoch))
        return tracked and (self.own or all("/" not in name for name in self.names(epoch)))

    def _dataset(self, file: Any, epoch: int, layer: str) -> Any:
        group = self._checkpoint(file, epoch)
        name = quoted(layer) if self.own else layer
        found = group.get(name)
        if not isinstance(found, _library().Dataset):
            raise no_such_layer(self.names(epoch), self.path, layer, epoch)
        return found

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One dataset: mapped if it lies in one piece, else read."""
        with self._open(epoch, layer) as file:
            dataset = self._dataset(file, epoch, layer)
            offset = self._offset(file, dataset)
            if offset is None:
                return np.asarray(dataset[()])
            mapped = np.memmap(self.path, dataset.dtype, "r", offset, dataset.shape)
            return np.asarray(mapped)

    def _offset(self, file: Any, dataset: Any) -> int | None:
        """Where in the file an array lies as it is, if it does."""
        plain = (
            file.driver == "sec2"
            and file.userblock_size == 0
            and dataset.chunks is None
            and not dataset.is_virtual
            and dataset.external is None
            and dataset.dtype.kind in "fiu"
            and dataset.size
        )
        offset = dataset.id.get_offset() if plain else None
        return None if offset is None or offset % dataset.dtype.itemsize else int(offset)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of a dataset."""
        with self._open(epoch, layer) as file:
            dataset = self._dataset(file, epoch, layer)
            return tuple(dataset.shape), dataset.dtype

    def record(self) -> Record | None:
        """The text in /run.json, or None where there is none."""
        with self._open() as file:
            if _RECORD not in file:
                return None
            text = file[_RECORD][()]
        return parse_record(text, self.where("record"))

    def beside(self, name: str) -> np.ndarray | None:
        """/labels or /groups, or None."""
        h5py = _library()
        with self._open() as file:
            if not isinstance(file.get(name), h5py.Dataset):
                return None
            dataset = file[name]
            words = dataset.dtype.kind == "O"
            return np.asarray(dataset.asstr()[()], dtype=str) if words else dataset[()]

    def where(self, name: str) -> str:
        """Place inside the file."""
        return f"{self.path}:/{_RECORD if name == 'record' else name}"

    def create(self, record: Record, arrays: dict[str, np.ndarray | None]) -> None:
        """Make the file, with no checkpoints yet."""
        h5py = _library()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(self.path) as stream, h5py.File(stream, "w") as file:
            for name in BESIDE:
                values = arrays[name]
                if values is None:
                    continue
                if values.dtype.kind == "U":
                    file.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
                else:
                    file.create_dataset(name, data=values)
            _put_record(file, record)

    def write_record(self, record: Record) -> None:
        """Replace /run.json."""
        with self._change() as (file, _):
            _put_record(file, record)

    def write(self, epoch: int, arrays: Arrays) -> None:
        """Add a group; what was committed before is not touched until the group is whole."""
        with self._change() as (file, staged):
            made = file.create_group(f".{epoch}/{_ARRAYS}", track_order=True)
            for name, array in arrays:
                made.create_dataset(quoted(name), data=array)
                staged.check()
            if str(epoch) in file:
                del file[str(epoch)]
            file.move(f".{epoch}", str(epoch))

    def tidy(self) -> None:
        """Remove what has no name yet; what a journal holds comes into the file."""
        name = re.escape(self.path.name)
        remove_leftovers(self.path.parent, rf"{name}|\.{name}\.journal")
        if self.path.is_file():
            recover(self.path)

    @contextmanager
    def _change(self) -> Iterator[tuple[Any, StagedFile]]:
        h5py = _library()
        self.tidy()
        with StagedFile(self.path, writable=True) as staged:
            try:
                with h5py.File(staged, "r+", **_ALIGNED) as file:
                    yield file, staged
                staged.commit()
            except BaseException:
                staged.roll_back()
                raise

    @contextmanager
    def _open(self, epoch: int | None = None, layer: str | None = None) -> Iterator[Any]:
        h5py = _library()
        with reading(self.path, layer, epoch):
            if is_changing(self.path):
                with StagedFile(self.path, writable=False) as staged, h5py.File(staged, "r") as f:
                    yield f
            else:
                with h5py.File(self.path, "r") as file:
                    yield file


def _tracks_order(group: Any) -> bool:
    return bool(group.id.get_create_plist().get_link_creation_order())


def _put_record(file: Any, record: Record) -> None:
    if _RECORD in file:
        del file[_RECORD]
    file.create_dataset(_RECORD, data=json.dumps(record, indent=1).encode())


def looks_like_hdf5(path: Path) -> bool:
    """Whether a file is one of this format."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        # What its user put before it is 512 bytes long, or a power of two times that.
        while at < size:
            file.seek(at)
            if file.read(len(_MAGIC)) == _MAGIC:
                return True
            at = 2 * at or 512
    return False


def _library() -> Any:
    with needs_extra("Reading and writing HDF5", "runs"):
        import h5py
    return h5py
