"""Directories with one .npz, one directory of .npy or one .safetensors per checkpoint."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import unquote

import numpy as np

from skinfo._files import directory_atomically, write_atomically
from skinfo.errors import needs_extra
from skinfo.runs.stores.base import (
    Arrays,
    DirectoryStore,
    FoldersStore,
    check_fits,
    list_directory,
    load_npy,
    natural_order,
    no_such_layer,
    npy_shape,
    quoted,
    read_npy_header,
    reading,
    write_npy,
)

Opened = TypeVar("Opened")
_LOSSES = "losses.json"
# What numpy calls the types of safetensors.
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


class NpzStore(DirectoryStore):
    """One .npz per checkpoint, one member per layer, read alone and checked by its checksum."""

    format = "npz"
    suffix = ".npz"

    def names(self, epoch: int) -> list[str]:
        """Members of a file, in the order in which they were written."""
        path = self.entry(epoch)
        with reading(path, epoch=epoch):
            return list(_archive(path).members)

    def keeps_order(self, epoch: int) -> bool:  # noqa: ARG002
        """As they were written."""
        return True

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One member of a file."""
        self.shape(epoch, layer)
        with self._open(epoch, layer) as (member, _):
            array = np.lib.format.read_array(member, allow_pickle=False)
            # The checksum is compared when the end is reached.
            if member.read(1):
                raise ValueError("it is longer than its array")
            return array

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a member, which has to be long enough for them."""
        with self._open(epoch, layer) as (member, size):
            shape, dtype = read_npy_header(member)
            check_fits(shape, dtype, size - member.tell())
            return shape, dtype

    @contextmanager
    def _open(self, epoch: int, layer: str) -> Iterator[tuple[IO[bytes], int]]:
        path = self.entry(epoch)
        with reading(path, layer, epoch):
            archive = _archive(path)
            if layer not in archive.members:
                raise no_such_layer(archive.members, path, layer, epoch)
            with archive.open(archive.members[layer]) as member:
                yield member, archive.members[layer].file_size

    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write one archive; the losses are its comment, behind their checksum."""
        with (
            write_atomically(path) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_npy(member, array)
            if losses:
                archive.comment = f"{zlib.crc32(losses.encode()):08x} {losses}".encode()

    def _read_losses(self, path: Path) -> str:
        with zipfile.ZipFile(path) as archive:
            checksum, _, losses = archive.comment.decode().partition(" ")
        if losses and checksum != f"{zlib.crc32(losses.encode()):08x}":
            raise ValueError("the checksum of its losses is another")
        return losses


class _Archive(zipfile.ZipFile):
    """A zip file whose table of contents is read once."""

    @cached_property
    def members(self) -> dict[str, zipfile.ZipInfo]:
        """Entries by layer; "a.npy" is stored as "a.npy.npy", others may have written "a"."""
        named = {name.removesuffix(".npy"): info for name, info in self.NameToInfo.items()}
        return named | {name: self.NameToInfo[f"{name}.npy"] for name in named
                        if f"{name}.npy" in self.NameToInfo}  # fmt: skip


def _archive(path: Path) -> _Archive:
    return _kept_open(_Archive, path)


def _kept_open(kind: Callable[[Path], Opened], path: Path) -> Opened:
    """An open file; it stays open for the other layers that are read of it, until it changes."""
    state = path.stat()
    opened: Opened = _open(kind, path, os.getpid(), state.st_ino, state.st_size, state.st_mtime_ns)
    return opened


@lru_cache(maxsize=4)
def _open(kind: Callable[[Path], Any], path: Path, *state: int) -> Any:  # noqa: ARG001
    return kind(path)


class NpyStore(FoldersStore):
    """One directory per checkpoint, one .npy per layer; the system reads the pages in use."""

    format = "npy"
    suffix = ""

    @classmethod
    def has_arrays(cls, entry: Path) -> bool:
        """Whether a .npy is in the directory."""
        return any(file.suffix == ".npy" for file in list_directory(entry))

    def names(self, epoch: int) -> list[str]:
        """Layers that have a file, in the order of the numbers in their names."""
        files = [entry.name for entry in list_directory(self.entry(epoch))]
        stems = [name.removesuffix(".npy") for name in files if name.endswith(".npy")]
        return natural_order(unquote(stem) if self.own else stem for stem in stems)

    def _file(self, epoch: int, layer: str) -> Path:
        entry = self.entry(epoch)
        file = entry / f"{quoted(layer) if self.own else layer}.npy"
        if not os.path.lexists(file):
            raise no_such_layer(self.names(epoch), entry, layer, epoch)
        return file

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One file, mapped into memory and not yet read."""
        file = self._file(epoch, layer)
        with reading(file, layer, epoch):
            return load_npy(file, "r")

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a file."""
        path = self._file(epoch, layer)
        with reading(path, layer, epoch):
            return npy_shape(path)

    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write one directory."""
        with directory_atomically(path) as directory:
            for name, array in arrays:
                # Where the file system takes A for a, writing the second is an error, not a loss.
                with (directory / f"{quoted(name)}.npy").open("xb") as file:
                    write_npy(file, array)
            if losses:
                (directory / _LOSSES).write_text(losses, encoding="utf-8")

    def _read_losses(self, path: Path) -> str | None:
        file = path / _LOSSES
        return file.read_text(encoding="utf-8") if file.exists() else None


class SafetensorsStore(DirectoryStore):
    """One .safetensors per checkpoint, one tensor per layer, read alone."""

    format = "safetensors"
    suffix = ".safetensors"

    def names(self, epoch: int) -> list[str]:
        """Tensors of a file: the format sorts them, so in the order of the numbers in them."""
        with self._open(epoch) as (file, _):
            return natural_order(file.keys())

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One tensor; bfloat16, which numpy lacks, becomes float32 of the same values."""
        with self._open(epoch, layer) as (file, path):
            if file.get_slice(layer).get_dtype() == "BF16":
                return _read_bfloat16(path, layer)
            return file.get_tensor(layer)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a file."""
        with self._open(epoch, layer) as (file, _):
            tensor = file.get_slice(layer)
            name = tensor.get_dtype()
            if name != "BF16" and name not in _TYPES:
                raise TypeError(f"numpy has no {name}")
            return tuple(tensor.get_shape()), np.dtype(_TYPES.get(name, "float32"))

    @contextmanager
    def _open(self, epoch: int, layer: str | None = None) -> Iterator[tuple[Any, Path]]:
        path = self.entry(epoch)
        with reading(path, layer, epoch):
            file, names = _kept_open(_open_tensors, path)
            if layer is not None and layer not in names:
                raise no_such_layer(names, path, layer, epoch)
            yield file, path

    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write one file, with all layers in memory."""
        _safetensors()
        from safetensors.numpy import save

        tensors = {
            name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
            for name, array in arrays
        }
        with write_atomically(path) as file:
            file.write(save(tensors, {"losses": losses} if losses else None))

    def _read_losses(self, path: Path) -> str | None:
        with _safetensors().safe_open(path, "np") as file:
            return (file.metadata() or {}).get("losses")


def _open_tensors(path: Path) -> tuple[Any, dict[str, None]]:
    """An open file and the names of its tensors."""
    # The library takes a file that it may not read for one that is not there.
    with path.open("rb"):
        file = _safetensors().safe_open(path, "np")
    return file, dict.fromkeys(file.keys())


def _read_bfloat16(path: Path, layer: str) -> np.ndarray:
    """A bfloat16 is the upper half of a float32."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensor = json.loads(file.read(length))[layer]
        start, end = tensor["data_offsets"]
        file.seek(8 + length + start)
        halves = np.frombuffer(file.read(end - start), dtype="<u2")
    values = (halves.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(tensor["shape"])


def _safetensors() -> Any:
    with needs_extra("Reading and writing safetensors", "runs"):
        import safetensors
    return safetensors
