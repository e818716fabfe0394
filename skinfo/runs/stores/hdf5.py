"""HDF5: a directory of one .h5 per checkpoint, or a single file that something else wrote."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import NoneType
from typing import Any
from urllib.parse import unquote

import numpy as np

from skinfo._files import write_atomically
from skinfo.errors import RunError, needs_extra
from skinfo.runs.stores.base import (
    Arrays,
    DirectoryStore,
    DiskStore,
    Unreadable,
    by_epoch,
    check_fits,
    check_regular,
    natural_order,
    no_such_layer,
    quoted,
    reading,
)

_ARRAYS = "activations"
# Arrays start where any processor likes to find them in a mapped file.
_ALIGNED = {"alignment_threshold": 512, "alignment_interval": 64}
_MAGIC = b"\x89HDF\r\n\x1a\n"


class _Datasets(DiskStore):
    """Checkpoints whose layers are datasets; those stored in one piece are mapped into memory."""

    @abstractmethod
    def _open(
        self, epoch: int, layer: str | None = None
    ) -> AbstractContextManager[tuple[Any, Path]]:
        """The group that holds a checkpoint, and its file."""

    def names(self, epoch: int) -> list[str]:
        """Datasets in the order of their creation if the file knows it, or by their numbers."""
        with self._open(epoch) as (group, _):
            names = _datasets(group)
            names = names if _keeps_order(group, names) else natural_order(names)
        return [unquote(name) for name in names] if self.own else names

    def keeps_order(self, epoch: int) -> bool:
        with self._open(epoch) as (group, _):
            return _keeps_order(group, _datasets(group))

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One dataset: mapped if it lies in one piece, else read."""
        with self._open(epoch, layer) as (group, path):
            dataset = self._dataset(group, epoch, layer)
            offset = _offset(dataset, path)
            if offset is None:
                return _read(dataset, path.parent if path == self.path else self.path)
            return np.asarray(np.memmap(path, dataset.dtype, "r", offset, dataset.shape))

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        with self._open(epoch, layer) as (group, _):
            dataset = self._dataset(group, epoch, layer)
            return tuple(dataset.shape or (0,)), dataset.dtype

    def _dataset(self, group: Any, epoch: int, layer: str) -> Any:
        dataset = group
        for part in (quoted(layer) if self.own else layer).split("/"):
            dataset = _follow(dataset, part) if isinstance(dataset, _library().Group) else None
        if not isinstance(dataset, _library().Dataset):
            raise no_such_layer(self.names(epoch), group.file.filename, layer, epoch)
        return dataset


class Hdf5Store(_Datasets, DirectoryStore):
    """One .h5 per checkpoint, one dataset per layer."""

    format = "hdf5"
    suffix = ".h5"

    @contextmanager
    def _open(self, epoch: int, layer: str | None = None) -> Iterator[tuple[Any, Path]]:
        path = self.entry(epoch)
        with reading(path, layer, epoch), _library().File(path, "r") as file:
            root = file["/"]
            yield root if self.own else _arrays_of(root), path

    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write one file; the losses are an attribute of its root."""
        h5py = _library()
        with write_atomically(path) as stream:
            written = _Written(stream.fileno(), "r+", closefd=False)
            with h5py.File(written, "w", track_order=True, **_ALIGNED) as file:
                for name, array in arrays:
                    file.create_dataset(quoted(name), data=array)
                    written.check()
                if losses:
                    file.attrs["losses"] = losses
            written.check()

    def _read_losses(self, path: Path) -> str | None:
        with _library().File(path, "r") as file:
            return file.attrs.get("losses")


class Hdf5File(_Datasets):
    """Groups of a single file that something else wrote, one per checkpoint; only read."""

    format = "hdf5"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file is one of this format, whatever its suffix."""
        if not path.is_file():
            return False
        size, start = path.stat().st_size, 0
        with reading(path), path.open("rb") as file:
            # What its user put before it is 512 bytes long, or a power of two times that.
            while start < size:
                file.seek(start)
                if file.read(len(_MAGIC)) == _MAGIC:
                    return True
                start = 2 * start or 512
        return False

    @contextmanager
    def _file(self, epoch: int | None = None, layer: str | None = None) -> Iterator[Any]:
        with reading(self.path, layer, epoch), _library().File(self.path, "r") as file:
            yield file

    @contextmanager
    def _open(self, epoch: int, layer: str | None = None) -> Iterator[tuple[Any, Path]]:
        with self._file(epoch, layer) as file:
            if epoch not in self._known or self._known[epoch] not in file:
                self._known = self._groups(file)
            yield _arrays_of(_follow(file, self._known[epoch])), self.path

    def _groups(self, file: Any) -> dict[int, str]:
        # A link that leads nowhere is a checkpoint that cannot be read.
        kinds = (_library().Group, NoneType)
        names = [name for name in file if isinstance(_follow(file, name, must=False), kinds)]
        return by_epoch(((name, name) for name in names), self.path)

    def epochs(self) -> list[int]:
        """Epochs of the groups in the file, increasing."""
        with self._file() as file:
            return list(self._groups(file))

    def _beside(self, name: str) -> np.ndarray | None:
        with self._file() as file:
            dataset = _follow(file, name)
            if not isinstance(dataset, _library().Dataset):
                return None
            return _read(dataset, self.path.parent)


class _Written(io.FileIO):
    """A new file as HDF5 writes it; the first error is kept until HDF5 has closed the file.

    If closing fails, the library holds the file open for ever.
    """

    _failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        length = len(view)
        try:
            while view and self._failure is None:
                view = view[super().write(view) :]
        except OSError as error:
            self._failure = error
        return length

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure


def _arrays_of(group: Any) -> Any:
    """Where the arrays of a checkpoint are that something else wrote."""
    inner = group.get(_ARRAYS)
    return inner if isinstance(inner, _library().Group) else group


def _datasets(group: Any, above: tuple[Any, ...] = ()) -> list[str]:
    """Names of all datasets of a group, in groups within it too; links count, broken ones too."""
    h5py, names = _library(), []
    for name in group:
        node = _follow(group, name, must=False)
        if isinstance(node, h5py.Dataset) or node is None:
            names.append(name)
        elif isinstance(node, h5py.Group) and node not in (*above, group):
            names += [f"{name}/{inner}" for inner in _datasets(node, (*above, group))]
    return names


def _follow(group: Any, name: str, *, must: bool = True) -> Any:
    """What has a name in a group, or None; where a link leads nowhere, None or an error."""
    link = group.get(name, getlink=True) if name else None
    outside = getattr(link, "filename", None)
    if outside is not None and (file := Path(group.file.filename).parent / outside).exists():
        check_regular(file)
    node = None if link is None else group.get(name)
    if node is None and link is not None and must:
        where = f" in {outside}" if outside is not None else ""
        raise Unreadable(
            f"{name!r} is a link to {link.path}{where}, which is not there or cannot be opened"
        )
    return node


def _keeps_order(group: Any, names: list[str]) -> bool:
    tracked = group.id.get_create_plist().get_link_creation_order()
    return bool(tracked) and not any("/" in name for name in names)


def _read(dataset: Any, home: Path) -> np.ndarray:
    """The numbers of a dataset, or its words, as h5py gives them."""
    if dataset.shape is None:
        return np.empty(0)
    if dataset.dtype.kind == "V":
        raise TypeError(f"its numbers are of type {dataset.dtype}")
    _check_sources(dataset, home)
    check_fits(dataset.shape, dataset.dtype)
    if dataset.dtype.kind == "O":
        return np.asarray(dataset.asstr()[()], dtype=str)
    return np.asarray(dataset[()])


def _check_sources(dataset: Any, home: Path) -> None:
    """Check that what a dataset is made of is there: HDF5 would fill in what is missing.

    Raw numbers that lie outside of the file are read from beside the run alone.
    """
    created = dataset.id.get_create_plist()
    for number, *_, name in map(created.get_filter, range(created.get_nfilters())):
        if not _library().h5z.filter_avail(number):
            raise Unreadable(
                f"is compressed with filter {number} {name.decode(errors='replace')}, which is not "
                "installed: `pip install hdf5plugin`, and import it before"
            )
    for name, offset, size in dataset.external or ():
        # HDF5 looks in the working directory.
        file = Path(os.fsdecode(name)).resolve()
        if not file.is_relative_to(home.resolve()) or not file.is_file():
            raise Unreadable(f"has its numbers in {file}, which is no file beside the run")
        if file.stat().st_size < offset + min(size, dataset.nbytes):
            raise Unreadable(f"has its numbers in {file}, which ends before they do")
    if dataset.is_virtual:
        sources = dataset.virtual_sources()
        missing = dataset.size - sum(_check_source(dataset, source, home) for source in sources)
        if missing > 0:
            raise Unreadable(f"is put together from others, which lack {missing} of its numbers")


def _check_source(dataset: Any, source: Any, home: Path) -> int:
    """How many numbers of a virtual dataset come from one source, which has to hold them."""
    file = Path(dataset.file.filename)
    file = file if source.file_name == "." else file.parent / source.file_name
    h5s, chosen, taken = _library().h5s, source.vspace, source.src_space
    # One without a limit gives as many as it has.
    unlimited = chosen.is_regular_hyperslab() and h5s.UNLIMITED in sum(
        chosen.get_regular_hyperslab(), ()
    )
    count = dataset.size if unlimited else chosen.get_select_npoints()
    try:
        with reading(file), _library().File(file, "r") as opened:
            part = opened[source.dset_name]
            _check_sources(part, home)
            if taken.get_select_type() == h5s.SEL_ALL:
                whole = part.size >= count
            else:
                whole = unlimited or all(np.less(taken.get_select_bounds()[1], part.shape))
    except RunError as error:
        raise Unreadable(f"is put together from others: {error}") from error
    if not whole:
        raise Unreadable(f"is put together from {source.dset_name} in {file}, which is too small")
    return int(count)


def _offset(dataset: Any, path: Path) -> int | None:
    """Where in the file the numbers lie as numpy would write them, if the library says so.

    Behind an external link they lie in another file, and numpy has not all types of HDF5: then
    h5py has to read them.
    """
    h5py = _library()
    plain = (
        dataset.file.filename == str(path)
        and dataset.file.driver == "sec2"
        and dataset.file.userblock_size == 0
        and dataset.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        and dataset.external is None
        and dataset.dtype.kind in "fiu"
        and dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype)
        and dataset.size
    )
    offset = dataset.id.get_offset() if plain else None
    return None if offset is None or offset % dataset.dtype.itemsize else int(offset)


def _library() -> Any:
    with needs_extra("Reading and writing HDF5", "runs"):
        import h5py
    return h5py
