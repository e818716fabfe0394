"""A directory of one .npz a checkpoint, with one member a layer."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from skinfo._files import write_atomically
from skinfo.runs.stores.base import Arrays, DirectoryStore, no_such_layer, reading
from skinfo.runs.stores.stream import read_header, write_npy


class NpzStore(DirectoryStore):
    """Checkpoints of a directory, read one member at a time and checked by its checksum."""

    format = "npz"
    suffix = ".npz"

    def names(self, epoch: int) -> list[str]:
        """Members of a file, in the order in which they were written."""
        path = self.entry(epoch)
        with reading(path, epoch=epoch), zipfile.ZipFile(path) as archive:
            return _layers(archive)

    def keeps_order(self, epoch: int) -> bool:  # noqa: ARG002
        """As they were written."""
        return True

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One member of a file."""
        with self._open(epoch, layer) as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
            # The checksum is looked at when the end is reached.
            if member.read():
                raise ValueError("it is longer than its array")
            return array

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a member."""
        with self._open(epoch, layer) as member:
            return read_header(member)

    @contextmanager
    def _open(self, epoch: int, layer: str) -> Iterator[IO[bytes]]:
        path = self.entry(epoch)
        with reading(path, layer, epoch), zipfile.ZipFile(path) as archive:
            if layer not in _layers(archive):
                raise no_such_layer(_layers(archive), path, layer, epoch)
            whole = f"{layer}.npy"
            # Not layer itself where both are there: "a.npy" is stored as "a.npy.npy".
            with archive.open(whole if whole in archive.namelist() else layer) as member:
                yield member

    def _write(self, path: Path, arrays: Arrays) -> None:
        with (
            write_atomically(path) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_npy(member, array)


def _layers(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]
