"""What every format on disk can do, and what all that are directories of files share."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from skinfo._files import remove_leftovers, size_on_disk, write_atomically
from skinfo.errors import MissingExtraError, RunError
from skinfo.runs.description import BESIDE, Record, parse_record
from skinfo.runs.naming import by_epoch
from skinfo.runs.stores.stream import write_npy

#: Arrays of a checkpoint, each made when its turn comes.
Arrays = Iterable[tuple[str, np.ndarray]]
_OWN = re.compile(r"epoch_(\d{8,})")


class DiskStore(ABC):
    """The checkpoints of a run on disk, in one format.

    Parameters
    ----------
    path : Path
        The run.
    own : bool, default=True
        Whether skinfo wrote it. If not, names are free: the last number in one is its epoch.
    """

    format: ClassVar[str]

    def __init__(self, path: Path, *, own: bool = True) -> None:
        self.path = path
        self.own = own

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
        """Shape and type of an array, without reading it; raises RunError if there is none."""

    @abstractmethod
    def record(self) -> Record | None:
        """The description, or None where there is none."""

    @abstractmethod
    def beside(self, name: str) -> np.ndarray | None:
        """Labels or groups, or None."""

    @abstractmethod
    def where(self, name: str) -> Path | str:
        """Place of labels, groups or the record, for messages."""

    @abstractmethod
    def create(self, record: Record, arrays: dict[str, np.ndarray | None]) -> None:
        """Begin a run that has no checkpoints yet."""

    @abstractmethod
    def write_record(self, record: Record) -> None:
        """Replace the description."""

    @abstractmethod
    def write(self, epoch: int, arrays: Arrays) -> None:
        """Write a checkpoint: it is there whole or not at all, and the others stay as they are."""

    @abstractmethod
    def tidy(self) -> None:
        """Finish or remove what a killed writer left half; only whoever holds the lock may."""

    @property
    def lock(self) -> Path:
        """File that a writer locks."""
        return self.path.with_name(f".{self.path.name}.lock")

    def size(self) -> int:
        """Bytes on disk."""
        return size_on_disk(self.path)


class DirectoryStore(DiskStore):
    """A directory with run.json, labels.npy, groups.npy and one entry a checkpoint."""

    #: How the name of a checkpoint ends.
    suffix: ClassVar[str]

    def entries(self) -> dict[int, Path]:
        """What holds each checkpoint, increasing."""
        found = {entry.name: entry for entry in list_directory(self.path) if self._holds(entry)}
        if self.own:
            numbers = {name: _OWN.fullmatch(name.removesuffix(self.suffix)) for name in found}
            own = {int(match[1]): found[name] for name, match in numbers.items() if match}
            return dict(sorted(own.items()))
        stems = ((name.removesuffix(self.suffix), entry) for name, entry in sorted(found.items()))
        return by_epoch(stems, self.path)

    def _holds(self, entry: Path) -> bool:
        """Whether an entry may be a checkpoint of this format."""
        return entry.name.endswith(self.suffix) and not entry.name.startswith(".")

    def entry(self, epoch: int) -> Path:
        """What holds a checkpoint, or would."""
        if not self.own:
            found = self.entries().get(epoch)
            if found is not None:
                return found
        return self.path / f"epoch_{epoch:08d}{self.suffix}"

    def epochs(self) -> list[int]:
        """Epochs of the files that are there, increasing."""
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
        self.path.mkdir(parents=True, exist_ok=True)
        for name in BESIDE:
            values = arrays[name]
            if values is not None:
                with write_atomically(self.path / f"{name}.npy") as file:
                    write_npy(file, values)
        self.write_record(record)

    def write_record(self, record: Record) -> None:
        """Replace run.json."""
        with write_atomically(self.path / "run.json") as file:
            file.write(json.dumps(record, indent=1).encode())

    def write(self, epoch: int, arrays: Arrays) -> None:
        """Write one entry."""
        self.tidy()
        self._write(self.path / f"epoch_{epoch:08d}{self.suffix}", arrays)

    def tidy(self) -> None:
        """Remove what has no name yet."""
        remove_leftovers(self.path, rf"epoch_\d+{re.escape(self.suffix)}|run\.json|\w+\.npy")

    @abstractmethod
    def _write(self, path: Path, arrays: Arrays) -> None:
        """Write a checkpoint to an entry."""

    @property
    def lock(self) -> Path:
        """Inside: a run may be the only directory that its owner may write to."""
        return self.path / ".lock"


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
    """Name the file, the layer and the epoch in whatever goes wrong.

    What a library raises for a damaged file is anybody's guess: of numpy's headers alone it is
    ValueError, EOFError, SyntaxError and TokenError.
    """
    try:
        yield
    except (RunError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(error, path, layer, epoch) from error


def unreadable(error: Exception, path: Path | str, layer: str | None = None,
               epoch: int | None = None) -> RunError:  # fmt: skip
    """Say that a file is damaged, or holds what is never loaded."""
    if isinstance(error, ValueError) and re.search("allow_pickle|Python objects", str(error)):
        what = "holds Python objects, which are never loaded; save plain arrays of numbers"
    else:
        what = f"cannot be read ({error}); the file is damaged or cut short: write it again"
    return RunError(what, path=path, layer=layer, epoch=epoch)


def no_such_layer(known: Iterable[str], path: Path | str, layer: str,
                  epoch: int | None = None) -> RunError:  # fmt: skip
    """Say which layers there are instead."""
    return RunError(f"the file has no such layer; it has: {', '.join(known) or 'none'}", path=path,
                    layer=layer, epoch=epoch)  # fmt: skip
