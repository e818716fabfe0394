"""What every format on disk can do, and what all directories of files share."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypeVar
from urllib.parse import quote

import numpy as np
import psutil

from skinfo._files import (
    OLD,
    recover_replaced,
    remove_leftovers,
    replaced,
    size_on_disk,
    write_atomically,
)
from skinfo.errors import MissingExtraError, RunError, in_words
from skinfo.runs.beside import Beside, checked, names_beside, needed_beside
from skinfo.runs.description import Record, parse_record, plain, whole_epoch

#: Arrays of a checkpoint by layer, each made when it is written.
Arrays = Iterable[tuple[str, np.ndarray]]
Entry = TypeVar("Entry")
# Of the name of a file, before its suffix.
_LONGEST = 250
_SMALL = 2**20
_RESERVED = ("__metadata__", "zarr.json")
# What such words number are parts and repetitions.
_OF_PARTS = re.compile(r"(rank|shard|worker|gpu|fold|seed)s?[\W_]*\d+", re.IGNORECASE)


class DiskStore(ABC):
    """The checkpoints of a run on disk, in one format."""

    format: ClassVar[str]
    #: Whether skinfo wrote it. If not, names are free, with an epoch in them.
    own = False

    def __init__(self, path: Path) -> None:
        self.path = path
        #: What others named their checkpoints, as it was seen last: listing them takes long.
        self._known: dict[int, Any] = {}

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

    def beside(self, name: str) -> np.ndarray | None:
        """Labels, groups or the mask, or None; raises RunError if they are none."""
        values = self._beside(name)
        of_tokens = name.startswith("labels") and values is not None and values.ndim == 2
        mask = self.beside("mask") if of_tokens else None
        return checked(values, name, self.where(name), mask)

    @abstractmethod
    def _beside(self, name: str) -> np.ndarray | None:
        """An array beside the checkpoints as it is stored, or None."""

    def where(self, name: str) -> Path | str:
        """Place of an array beside the checkpoints, or of the record, for messages."""
        return f"{self.path}:/{name}"

    def size(self) -> int:
        """Bytes on disk."""
        return size_on_disk(self.path)


class DirectoryStore(DiskStore):
    """A directory with run.json, labels.npy, groups.npy, mask.npy and one file per checkpoint.

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
        """Whether an entry named like a checkpoint may hold arrays, at a first look."""
        return not entry.is_dir()

    def entries(self) -> dict[int, Path]:
        """File or directory of each checkpoint, increasing."""
        if self.own:
            return {epoch: self.entry(epoch) for epoch in self.epochs()}
        entries = sorted(list_directory(self.path))
        kept = (e for e in entries if self.is_checkpoint(e) and self.has_arrays(e))
        return by_epoch(((e.name.removesuffix(self.suffix), e) for e in kept), self.path)

    def entry(self, epoch: int) -> Path:
        """File or directory of a checkpoint, written or not."""
        written = self._written(epoch)
        if self.own:
            return written
        if epoch not in self._known or not self._known[epoch].exists():
            self._known = self.entries()
        return self._known.get(epoch, written)

    def _written(self, epoch: int) -> Path:
        return self.path / f"epoch_{epoch:08d}{self.suffix}"

    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing."""
        if not self.own:
            return list(self.entries())
        return sorted(set(self.written()))

    def written(self) -> Iterator[int]:
        """Epochs of our own checkpoints, in any order; to find one does not list the others."""
        # Most runs begin with one of these; even the first names of a long directory take a while.
        yield from (epoch for epoch in (0, 1) if self.entry(epoch).exists())
        matches = map(self._own_name().fullmatch, names_in(self.path))
        yield from (int(match[1]) for match in matches if match)

    @classmethod
    def _own_name(cls) -> re.Pattern[str]:
        return re.compile(rf"epoch_(\d{{8,}}){re.escape(cls.suffix)}")

    def _beside(self, name: str) -> np.ndarray | None:
        path = self.where(name)
        # A link to nothing is an error, not a run without labels.
        if not os.path.lexists(path):
            return None
        with reading(path):
            return load_npy(path)

    def where(self, name: str) -> Path:
        """File of an array beside the checkpoints, or of the record."""
        return self.path / ("run.json" if name == "record" else f"{quoted(name)}.npy")

    def create(self, record: Record, arrays: Beside) -> None:
        """Make the directory, with run.json as the last file in it."""
        for name in [*(layer["name"] for layer in record["layers"]), *arrays]:
            check_storable(name)
        self.path.mkdir(parents=True, exist_ok=True)
        self.tidy()
        for name, values in arrays.items():
            there = self.beside(name)
            if there is not None and not (values is not None and np.array_equal(there, values)):
                raise RunError("is there already and is not of this run; remove it, or write "
                               "elsewhere", path=self.where(name))  # fmt: skip
            if values is not None:
                with write_atomically(self.where(name)) as file:
                    write_npy(file, values)
        self.write_record(record)

    def write_record(self, record: Record) -> None:
        """Write run.json."""
        with write_atomically(self.path / "run.json") as file:
            file.write(json.dumps(record, indent=1).encode())

    def write(self, epoch: int, arrays: Arrays, losses: Mapping[str, float]) -> None:
        """Write one entry, its losses inside it: both are there, or neither."""
        if self.begun.exists():
            self.tidy()
        text = json.dumps({name: plain(value) for name, value in losses.items()})
        self.begun.touch()
        try:
            self.write_entry(self._written(epoch), arrays, text if losses else "")
        finally:
            # If it stays, the next writer looks for what is left.
            with suppress(OSError):
                self.begun.unlink()

    @abstractmethod
    def write_entry(self, path: Path, arrays: Arrays, losses: str) -> None:
        """Write a checkpoint that appears under its path when it is complete."""

    def losses(self, epoch: int) -> dict[str, float]:
        """Numbers that were written with a checkpoint; raises RunError if it cannot be read."""
        if not self.own:
            return {}
        path = self.entry(epoch)
        with reading(path, epoch=epoch):
            text = self._read_losses(path)
            return {name: float(value) for name, value in json.loads(text or "{}").items()}

    @abstractmethod
    def _read_losses(self, path: Path) -> str | None:
        """What :meth:`write_entry` was given, if it was anything."""

    def tidy(self) -> None:
        """Remove what a killed writer left half; only the holder of the lock may."""
        remove_leftovers(self.path, rf"epoch_\d+{re.escape(self.suffix)}|run\.json|.+\.npy")

    @property
    def begun(self) -> Path:
        """The file that is there while a checkpoint is written, and after a writer was killed."""
        return self.path / ".begun"

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

    @classmethod
    def _own_name(cls) -> re.Pattern[str]:
        """One that was being replaced counts."""
        return re.compile(rf"{super()._own_name().pattern}({re.escape(OLD)})?")

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
    if not os.path.lexists(file):
        return None
    with reading(file):
        text = file.read_bytes()
        if instead := _what_it_is(text):
            raise RunError(instead, path=file)
        return parse_record(text, file)


def read_beside(store: DiskStore, record: Record | None) -> Beside:
    """All arrays beside a run; raises RunError if one cannot be read that the run says it has."""
    arrays = {name: store.beside(name) for name in names_beside(record)}
    for name in needed_beside(record):
        if arrays[name] is None:
            raise RunError(
                "is missing, and the run says that it has one; put it back, or write the run again",
                path=store.where(name),
            )
    return arrays


def list_directory(path: Path) -> list[Path]:
    """Entries of a directory; raises RunError if it cannot be read."""
    return [path / name for name in list_names(path)]


def list_names(path: Path) -> list[str]:
    """Names in a directory; raises RunError if it cannot be read."""
    return list(names_in(path))


def names_in(path: Path) -> Iterator[str]:
    """Names in a directory, one by one; raises RunError if it cannot be read."""
    with entries_of(path) as entries:
        yield from (entry.name for entry in entries)


def entries_of(path: Path) -> Any:
    """Open a directory, of which nothing is read yet; raises RunError if it cannot be read."""
    try:
        return os.scandir(path)
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", path=path) from error


@contextmanager
def reading(path: Path | str, layer: str | None = None, epoch: int | None = None) -> Iterator[None]:
    """Raise whatever goes wrong as a RunError that names the file, the layer and the epoch.

    What is no file, such as a named pipe, is refused before it is opened: it may have no end.
    """
    try:
        check_regular(path)
        yield
    except (RunError, MissingExtraError):
        raise
    except Exception as error:
        raise RunError(_cause(error, Path(path)), path=path, layer=layer, epoch=epoch) from error


class Unreadable(Exception):  # noqa: N818
    """Why something cannot be read, in words; :func:`reading` says where it is."""


def check_regular(path: Path | str) -> None:
    """Check that there is a file or a directory, and no named pipe, at which libraries wait."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Unreadable(f"{path} is a pipe or a device, not a file")


def _cause(error: Exception, path: Path) -> str:
    """Why something could not be read, "damaged" only where nothing else is known.

    Libraries raise many things for a damaged file: for headers of numpy alone ValueError, EOFError,
    SyntaxError and TokenError.
    """
    text = " ".join(in_words(error).split())
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    if isinstance(error, BlockingIOError) or "already open" in text:
        return "is open elsewhere to be written to: close it there, or try again later"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({os.strerror(error.errno)})"
    if instead := instead_of(path):
        return instead
    if re.search(r"allow_pickle|Python objects|Object arrays", text):
        return "holds Python objects, which are never loaded; save plain arrays of numbers"
    if isinstance(error, NotImplementedError | TypeError | AttributeError | LookupError) or (
        isinstance(error, RuntimeError) and "password" in text
    ):
        return f"cannot be read ({text}); save it as plain arrays of float32 or float64"
    return f"cannot be read ({text}); the file is damaged or cut short: write it again"


def instead_of(path: Path) -> str | None:
    """What is at a path instead of numbers; None where that is unknown."""
    return next(filter(None, map(_what_it_is, _starts(path))), None)


def _starts(path: Path) -> Iterator[bytes]:
    """The first bytes of a file, or of the files of a directory."""
    with suppress(OSError):
        files = [path] if path.is_file() else (f for f in path.rglob("*") if f.is_file())
        for file in islice(files, 1000):
            with file.open("rb") as stream:
                yield stream.read(64)


def _what_it_is(start: bytes) -> str | None:
    """What a file is that no library can read, from its first bytes; None where that is unknown."""
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`"
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a file of numbers: download that again"
    return None


def check_fits(shape: tuple[int, ...], dtype: np.dtype, stored: int | None = None) -> None:
    """Check that an array of ``stored`` bytes ends with its file, and fits into memory."""
    size = math.prod(shape) * dtype.itemsize
    if stored is not None and size > stored:
        raise ValueError("it ends before its array does")
    # To ask the system takes longer than to read so little.
    if size > _SMALL and size > (free := psutil.virtual_memory().available):
        raise MemoryError(f"an array of {size:,} bytes, where {free:,} are free")


def no_such_layer(names: Iterable[str], path: Path | str, layer: str, epoch: int) -> RunError:
    """Say which layers there are instead."""
    what = f"the file has no such layer; it has: {', '.join(names) or 'none'}"
    return RunError(what, path=path, layer=layer, epoch=epoch)


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise TypeError(f"version {version} of the .npy format is not known")
    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Python objects")
    return shape, dtype


def npy_shape(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy, which has to hold as many numbers."""
    with path.open("rb") as file:
        shape, dtype = read_npy_header(file)
        check_fits(shape, dtype, os.fstat(file.fileno()).st_size - file.tell())
        return shape, dtype


def load_npy(path: Path, mode: Literal["r"] | None = None) -> np.ndarray:
    """The array of a .npy, mapped into memory or read."""
    npy_shape(path)
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))


def write_npy(file: IO[bytes], array: np.ndarray) -> None:
    """Write a .npy; what goes wrong is the system's own error, with its number."""

    class Stream:
        # numpy would hand a real file to the C library, which does not say why it stopped.
        write = staticmethod(file.write)

    np.lib.format.write_array(Stream(), array, allow_pickle=False)


def epoch_of(name: str) -> int | None:
    """The epoch that a name given by others stands for: the number after "epoch" or "step".

    In a name without these words it is the last whole number.

    Examples
    --------
    >>> epoch_of("epoch=01-val_loss=0.93"), epoch_of("net2-after-12"), epoch_of("labels")
    (1, 12, None)
    """
    return _epoch_in(name)[0]


def _epoch_in(name: str) -> tuple[int | None, tuple[str, ...]]:
    """The epoch in a name, and the other whole numbers in it where no word says which it is."""
    name = _OF_PARTS.sub("", name)
    for word in ("epoch", "step", "iter(?:ation)?"):
        # A minus with another separator before it is a sign.
        after = re.search(rf"{word}s?[\W_]*?((?<=[\W_])-)?(\d+)(?!\d*\.\d)", name, re.IGNORECASE)
        if after is not None:
            return int((after[1] or "") + after[2]), ()
    numbers = re.findall(r"\d+(?:\.\d+)+(?:e[+-]?\d+)?|\d+", name, re.IGNORECASE)
    whole = [number for number in numbers if number.isdecimal()]
    return (int(whole[-1]) if whole else None), tuple(whole[:-1])


def by_epoch(named: Iterable[tuple[str, Entry]], path: Path) -> dict[int, Entry]:
    """Entries by the epoch in their names, increasing; it is an error where that is unclear."""
    entries: dict[int, Entry] = {}
    names: dict[int, str] = {}
    guessed: dict[tuple[str, ...], str] = {}
    for name, entry in named:
        epoch, others = _epoch_in(name)
        if epoch is None and not re.search(r"\d", name):
            continue
        if epoch is None:
            raise RunError(f"{name} has no whole number in its name to be its epoch; rename it",
                           path=path)  # fmt: skip
        whole_epoch(epoch, path / name)
        if epoch in names:
            raise RunError(
                f"{names[epoch]} and {name} are both of this epoch: that is the number after the "
                "word epoch or step in a name, else the last; rename one of them",
                path=path, epoch=epoch,
            )  # fmt: skip
        names[epoch], entries[epoch] = name, entry
        if others:
            guessed.setdefault(others, name)
    if len(guessed) > 1:
        first, second = list(guessed.values())[:2]
        raise RunError(
            f"{first} and {second} differ in several numbers: which is the epoch? Rename the "
            "checkpoints, with the word epoch before it, or give arrays, open_run({epoch: {layer: "
            "array}})",
            path=path,
        )
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
        return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts], name

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
