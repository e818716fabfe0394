"""A directory of one directory a checkpoint, with one .npy a layer, mapped into memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from skinfo._files import OLD, directory_atomically, recover_replaced, replaced
from skinfo.runs.naming import natural_order, quoted
from skinfo.runs.stores.base import Arrays, DirectoryStore, list_directory, no_such_layer, reading
from skinfo.runs.stores.stream import read_header, write_npy


class NpyStore(DirectoryStore):
    """Checkpoints of a directory; the system reads the pages of an array that are looked at."""

    format = "npy"
    suffix = ""

    def entries(self) -> dict[int, Path]:
        """Directories of the checkpoints; one that was being replaced counts."""
        entries = super().entries()
        if self.own:
            for entry in list_directory(self.path):
                if entry.name.startswith("epoch_") and entry.name.endswith(OLD):
                    number = entry.name.removeprefix("epoch_").removesuffix(OLD)
                    if number.isdigit():
                        entries.setdefault(int(number), entry)
        return dict(sorted(entries.items()))

    def _holds(self, entry: Path) -> bool:
        return super()._holds(entry) and entry.is_dir()

    def entry(self, epoch: int) -> Path:
        """Directory of a checkpoint."""
        path = super().entry(epoch)
        return replaced(path) if not path.exists() and replaced(path).exists() else path

    def names(self, epoch: int) -> list[str]:
        """Layers that have a file, in the order of the numbers in their names."""
        files = [entry.name for entry in list_directory(self.entry(epoch))]
        stems = [name.removesuffix(".npy") for name in files if name.endswith(".npy")]
        return natural_order(unquote(stem) if self.own else stem for stem in stems)

    def _file(self, epoch: int, layer: str) -> Path:
        entry = self.entry(epoch)
        file = entry / f"{quoted(layer) if self.own else layer}.npy"
        if not file.is_file():
            raise no_such_layer(self.names(epoch), entry, layer, epoch)
        return file

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One file, mapped into memory and not yet read."""
        file = self._file(epoch, layer)
        with reading(file, layer, epoch):
            return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a file."""
        path = self._file(epoch, layer)
        with reading(path, layer, epoch), path.open("rb") as file:
            shape, dtype = read_header(file)
            if os.fstat(file.fileno()).st_size < file.tell() + math.prod(shape) * dtype.itemsize:
                raise ValueError("it ends before its array does")
            return shape, dtype

    def tidy(self) -> None:
        """Remove what has no name yet; of two versions one stays."""
        super().tidy()
        recover_replaced(self.path, r"epoch_\d+")

    def _write(self, path: Path, arrays: Arrays) -> None:
        with directory_atomically(path) as made:
            for name, array in arrays:
                # A file system may not tell A from a: neither is lost.
                with (made / f"{quoted(name)}.npy").open("xb") as file:
                    write_npy(file, array)
                    file.flush()
                    os.fsync(file.fileno())
