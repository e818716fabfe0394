"""What every format on disk can do, and what all directories of files share."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, ClassVar, TypeVar
from urllib.parse import quote

import numpy as np

from skinfo._files import (
    OLD,
    recover_replaced,
    remove_leftovers,
    replaced,
    size_on_disk,
    write_atomically,
)
from skinfo.errors import MissingExtraError, RunError
from skinfo.runs.description import Record, parse_record, plain

#: Arrays of a checkpoint by layer, each made when it is written.
Arrays = Iterable[tuple[str, np.ndarray]]
Entry = TypeVar("Entry")
# Of the name of a file, before its suffix.
_LONGEST = 250
_RESERVED = ("__metadata__", "zarr.json")
_OWN = re.compile(r"epoch_(\d{8,})")


class DiskStore(ABC):
    """The checkpoints of a run on disk, in one format."""

    format: ClassVar[str]
    #: Whether skinfo wrote it. If not, names are free: the last number in a name is its epoch.
    own = False

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a path holds a run of this format that may not describe itself."""

    @abstractmethod
    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing."""

    @abstractmethod
    def names(self, epoch: int) -> list[str]:
        """Layers of a checkpoint: in the order of the file if it has one, else by their numbers."""

    def keeps_order(self, epoch: int) -> bool:  # noqa: ARG002
        """Whether the names of a checkpoint are in the order of its file."""
        return False

    @abstractmethod
    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array; raises RunError if it cannot be read."""

    @abstractmethod
    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it; raises RunError if it is missing."""

    @abstractmethod
    def beside(self, name: str) -> np.ndarray | None:
        """Labels or groups, or None."""

    def where(self, name: str) -> Path | str:
        """Place of labels, groups or the record, for messages."""
        return f"{self.path}:/{name}"

    def size(self) -> int:
        """Bytes on disk."""
        return size_on_disk(self.path)


class DirectoryStore(DiskStore):
    """A directory with run.json, labels.npy, groups.npy and one file per checkpoint.

    This is how runs are written: each checkpoint appears whole or not at all, and the others stay
    as they are.
    """

    #: How the name of a checkpoint ends.
    suffix: ClassVar[str]
    own = True

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a directory holds a numbered checkpoint."""
        return path.is_dir() and any(
            epoch_of(entry.name.removesuffix(cls.suffix)) is not None
            and cls.is_checkpoint(entry)
            and cls.has_arrays(entry)
            for entry in list_directory(path)
        )

    @classmethod
    def is_checkpoint(cls, entry: Path) -> bool:
        """Whether an entry of the directory may be a checkpoint of this format."""
        return entry.name.endswith(cls.suffix) and not entry.name.startswith(".")

    @classmethod
    def has_arrays(cls, entry: Path) -> bool:
        """Whether an entry named like a checkpoint holds arrays, at a first look."""
        return entry.is_file()

    def entries(self) -> dict[int, Path]:
        """File or directory of each checkpoint, increasing."""
        entries = {e.name.removesuffix(self.suffix): e for e in sorted(list_directory(self.path))
                   if self.is_checkpoint(e)}  # fmt: skip
        if self.own:
            entries = {stem: entry for stem, entry in entries.items() if _OWN.fullmatch(stem)}
        return by_epoch(entries.items(), self.path)

    def entry(self, epoch: int) -> Path:
        """File or directory of a checkpoint, written or not."""
        written = self._written(epoch)
        return written if self.own else self.entries().get(epoch, written)

    def _written(self, epoch: int) -> Path:
        return self.path / f"epoch_{epoch:08d}{self.suffix}"

    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing."""
        return list(self.entries())

    def record(self) -> Record | None:
        """run.json, or None where there is none."""
        return read_record(self.path)

    def beside(self, name: str) -> np.ndarray | None:
        """labels.npy or groups.npy, or None."""
        path = self.path / f"{name}.npy"
        if not path.exists():
            return None
        with reading(path):
            return np.asarray(np.load(path, allow_pickle=False))

    def where(self, name: str) -> Path:
        """File of labels, groups or the record."""
        return self.path / ("run.json" if name == "record" else f"{name}.npy")

    def create(self, record: Record, arrays: dict[str, np.ndarray | None]) -> None:
        """Make the directory, with run.json as the last file in it."""
        for layer in record["layers"]:
            check_storable(layer["name"])
        self.path.mkdir(parents=True, exist_ok=True)
        for name, values in arrays.items():
            there = self.beside(name)
            if there is not None and not (values is not None and np.array_equal(there, values)):
                raise RunError("is there already and is not of this run; remove it, or write "
                               "elsewhere", path=self.where(name))  # fmt: skip
            if values is not None:
                with write_atomically(self.path / f"{name}.npy") as file:
                    write_npy(file, values)
        self.write_record(record)

    def write_record(self, record: Record) -> None:
        """Write run.json."""
        with write_atomically(self.path / "run.json") as file:
            file.write(json.dumps(record, indent=1).encode())

    def write(self, epoch: int, arrays: Arrays, losses: Mapping[str, float]) -> None:
        """Write one entry, its losses inside it: both are there, or neither."""
        self.tidy()
        text = json.dumps({name: plain(value) for name, value in losses.items()})
        self.write_entry(self._written(epoch), arrays, text if losses else "")

    @abstractmethod
    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write a checkpoint that appears under its path when it is complete."""

    def losses(self, epoch: int) -> dict[str, float]:
        """Numbers that were written with a checkpoint; raises RunError if it cannot be read."""
        path = self.entry(epoch)
        with reading(path, epoch=epoch):
            text = self._read_losses(path)
            return {name: float(value) for name, value in json.loads(text or "{}").items()}

    @abstractmethod
    def _read_losses(self, path: Path) -> str | None:
        """What :meth:`write_entry` was given, if it was anything."""

    def tidy(self) -> None:
        """Remove what a killed writer left half; only the holder of the lock may."""
        remove_leftovers(self.path, rf"epoch_\d+{re.escape(self.suffix)}|run\.json|\w+\.npy")

    @property
    def lock(self) -> Path:
        """The file that a writer locks: inside, as its owner may write nowhere else."""
        return self.path / ".lock"


class FoldersStore(DirectoryStore):
    """A directory with one directory per checkpoint, which is replaced in two steps."""

    @classmethod
    def is_checkpoint(cls, entry: Path) -> bool:
        """Whether an entry is a directory."""
        return super().is_checkpoint(entry) and entry.is_dir()

    def entries(self) -> dict[int, Path]:
        """Directories of the checkpoints; one that was being replaced counts."""
        entries = super().entries()
        for entry in list_directory(self.path) if self.own else ():
            match = _OWN.fullmatch(entry.name.removesuffix(OLD).removesuffix(self.suffix))
            if match and entry.name.endswith(OLD):
                entries.setdefault(int(match[1]), entry)
        return dict(sorted(entries.items()))

    def entry(self, epoch: int) -> Path:
        """Directory of a checkpoint."""
        path = super().entry(epoch)
        return replaced(path) if not path.exists() and replaced(path).exists() else path

    def tidy(self) -> None:
        """Remove what has no name yet; of two versions one stays."""
        super().tidy()
        recover_replaced(self.path, rf"epoch_\d+{re.escape(self.suffix)}")


def read_record(path: Path) -> Record | None:
    """The run.json of a directory, or None where there is none."""
    file = path / "run.json"
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", path=file) from error
    return parse_record(text, file)


def list_directory(path: Path) -> list[Path]:
    """Entries of a directory; raises RunError if it cannot be read."""
    try:
        return [path / name for name in os.listdir(path)]
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", path=path) from error


@contextmanager
def reading(path: Path | str, layer: str | None = None, epoch: int | None = None) -> Iterator[None]:
    """Raise whatever goes wrong as a RunError that names the file, the layer and the epoch.

    Libraries raise many things for a damaged file: for headers of numpy alone ValueError, EOFError,
    SyntaxError and TokenError.
    """
    try:
        yield
    except (RunError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and re.search("allow_pickle|Python objects", str(error)):
            what = "holds Python objects, which are never loaded; save plain arrays of numbers"
        else:
            what = f"cannot be read ({error}); the file is damaged or cut short: write it again"
        raise RunError(what, path=path, layer=layer, epoch=epoch) from error


def no_such_layer(names: Iterable[str], path: Path | str, layer: str, epoch: int) -> RunError:
    """Say which layers there are instead."""
    what = f"the file has no such layer; it has: {', '.join(names) or 'none'}"
    return RunError(what, path=path, layer=layer, epoch=epoch)


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is not known")
    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, _, dtype = read(file)
    return shape, dtype


def write_npy(file: IO[bytes], array: np.ndarray) -> None:
    """Write a .npy; what goes wrong is the system's own error, with its number."""

    class Stream:
        # numpy would hand a real file to the C library, which does not say why it stopped.
        write = staticmethod(file.write)

    np.lib.format.write_array(Stream(), array, allow_pickle=False)


def epoch_of(name: str) -> int | None:
    """The epoch that a name given by others stands for: its last number.

    Examples
    --------
    >>> epoch_of("run2-epoch_0012"), epoch_of("labels")
    (12, None)
    """
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def by_epoch(named: Iterable[tuple[str, Entry]], path: Path) -> dict[int, Entry]:
    """Entries by the epoch in their names, increasing; two of one epoch are an error."""
    entries: dict[int, Entry] = {}
    names: dict[int, str] = {}
    for name, entry in named:
        epoch = epoch_of(name)
        if epoch in names:
            raise RunError(
                f"{names[epoch]} and {name} are both of this epoch: the last number in a name is "
                "its epoch; rename one of them",
                path=path, epoch=epoch,
            )  # fmt: skip
        if epoch is not None:
            names[epoch], entries[epoch] = name, entry
    return dict(sorted(entries.items()))


def natural_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the numbers in them.

    Examples
    --------
    >>> natural_order(["layer10", "layer9", "input"])
    ['input', 'layer9', 'layer10']
    """

    def key(name: str) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.findall(r"\d+|\D+", name)
        return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts], name

    return sorted(names, key=key)


def quoted(layer: str) -> str:
    """A layer's name as one part of a path, in a directory or an array container.

    Examples
    --------
    >>> quoted("block1.conv"), quoted("encoder/dense 1"), quoted("..")
    ('block1.conv', 'encoder%2Fdense 1', '%2E%2E')
    """
    name = quote(layer, safe=" !#$&'()+,;=@[]{}^~")
    return name.replace(".", "%2E") if not name.strip(".") or name.startswith("__") else name


def check_storable(layer: str) -> None:
    """Check that every format can store a layer of this name, not only the one in use."""
    if len(quoted(layer)) > _LONGEST or layer in _RESERVED:
        raise RunError(
            f"a layer of this name cannot be stored: some format means it otherwise, or it has "
            f"more than {_LONGEST} characters as the name of a file (%2F for / and so on)",
            layer=layer,
        )
