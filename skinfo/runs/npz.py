"""A directory of one .npz a checkpoint, with one member a layer."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from skinfo.errors import RunError
from skinfo.runs.disk import Arrays, DirectoryStore, no_such_layer, unreadable
from skinfo.runs.files import write_atomically
from skinfo.runs.stream import read_header, write_npy

# What numpy and zipfile raise for files that are damaged, or none of theirs.
_UNREADABLE = (
    OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class NpzStore(DirectoryStore):
    """Checkpoints of a directory, read one member at a time and checked by its checksum."""

    format = "npz"
    suffix = ".npz"

    def names(self, epoch: int) -> list[str]:
        """Members of a file, in the order in which they were written."""
        path = self.entry(epoch)
        try:
            with zipfile.ZipFile(path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        except _UNREADABLE as error:
            raise unreadable(error, path, epoch=epoch) from error

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One member of a file."""
        path = self.entry(epoch)
        try:
            with _open_archive(path) as archive:
                known = list(archive.files)
                found = archive[layer] if layer in archive.files else None
        except _UNREADABLE as error:
            raise unreadable(error, path, layer, epoch) from error
        if isinstance(found, np.ndarray):
            return found
        if found is not None:
            raise RunError("is no array; the file is damaged or not of this format", path=path,
                           epoch=epoch, layer=layer)  # fmt: skip
        raise no_such_layer(known, path, layer, epoch)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a member."""
        path = self.entry(epoch)
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                if layer not in names:
                    raise no_such_layer(names, path, layer, epoch)
                with archive.open(f"{layer}.npy") as member:
                    return read_header(member)
        except RunError:
            raise
        except (*_UNREADABLE, KeyError) as error:
            raise unreadable(error, path, layer, epoch) from error

    def _write(self, path: Path, arrays: Arrays) -> None:
        with (
            write_atomically(path) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_npy(member, array)


@contextmanager
def _open_archive(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """Open an .npz; the file is closed again also when numpy gives up on it halfway."""
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds one array, not an archive of them")
        with archive:
            yield archive
