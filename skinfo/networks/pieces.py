"""What has been recorded of a checkpoint so far, on disk: a recording that was killed goes on."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinfo._files import only_writer, write_atomically
from skinfo.errors import RunError

_KEY, _BATCHES = "key.json", "batches.jsonl"

#: Takes the name of a layer, its values, and the number of the replica or None where it has none.
Write = Callable[[str, np.ndarray, int | None], None]


@dataclass(frozen=True)
class _File:
    """An array in a file of numbers alone, or a part of one."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def map(self, mode: str) -> np.ndarray:
        """Map it into memory; the system reads and writes the pages in use."""
        if mode == "r+" and hasattr(os, "posix_fallocate"):
            # Where the disk is full, writing to a page without room ends the process.
            with self.path.open("ab") as file:
                os.posix_fallocate(file.fileno(), self.offset, self.end - self.offset)
        return np.memmap(self.path, self.dtype, mode, self.offset, self.shape)  # type: ignore[call-overload]


class _Mapped(Mapping[str, np.ndarray]):
    """Arrays that are mapped into memory when they are asked for."""

    def __init__(self, files: Mapping[str, _File]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> np.ndarray:
        return self._files[name].map("r")

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


class Pieces:
    """Arrays of layers that grow batch by batch, in files inside of the run.

    Parameters
    ----------
    folder : Path
        Where they are until the checkpoint is written; the key stays there.
    key : mapping
        What the recording depends on, as JSON; its "layers" are names.

    Attributes
    ----------
    digests : list of str
        Of the inputs of each batch that is on disk.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder = folder
        self.key = json.loads(json.dumps(key))
        self.digests: list[str] = []
        self._paths = {name: folder / f"{k}.values" for k, name in enumerate(key["layers"])}
        # The arrays of each layer, one after another in its file.
        self._parts: dict[str, list[_File]] = {name: [] for name in self._paths}

    @classmethod
    @contextmanager
    def of(cls, path: Path, epoch: int, key: Mapping[str, Any]) -> Iterator[Pieces]:
        """Hold the lock of a recording, with what an earlier call has left of it.

        Raises
        ------
        RunError
            If another process records here, or what was left has another key.
        """
        home = path / ".recording"
        made = [folder for folder in (home, path, *path.parents) if not folder.exists()]
        home.mkdir(parents=True, exist_ok=True)
        try:
            with only_writer(home / "lock", path, epoch, keep=False):
                pieces = cls(home / f"{epoch:08d}", key)
                pieces._go_on(path, epoch)
                yield pieces
        finally:
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()

    def _go_on(self, path: Path, epoch: int) -> None:
        if not self.begun:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        stored = json.loads((self.folder / _KEY).read_text(encoding="utf-8"))
        different = [name for name in self.key | stored if stored.get(name) != self.key.get(name)]
        if different:
            name = different[0]
            raise RunError(
                f"was recorded before, or begun, with another {name} ({stored.get(name)!r} then, "
                f"{self.key.get(name)!r} now): give another epoch or another path. To record it "
                f"anew remove {self.folder}, and its checkpoint where there is one",
                path=path, epoch=epoch,
            )  # fmt: skip
        journal = self.folder / _BATCHES
        if not journal.exists():
            return
        *whole, _ = journal.read_text(encoding="utf-8").split("\n")
        for line in whole:
            digest, parts = json.loads(line)
            self._keep(digest, {n: self._next(n, *part) for n, part in parts.items()})
        # The last line may have been cut short.
        with write_atomically(journal) as file:
            file.write("".join(f"{line}\n" for line in whole).encode())

    def _next(self, name: str, dtype: str, shape: Sequence[int]) -> _File:
        """Where the next array of a layer lies."""
        before = self._parts[name]
        offset = before[-1].end if before else 0
        return _File(self._paths[name], dtype, tuple(shape), offset)

    def _keep(self, digest: str, parts: Mapping[str, _File]) -> None:
        self.digests.append(digest)
        for name, part in parts.items():
            self._parts[name].append(part)

    @property
    def begun(self) -> bool:
        """Whether there is a recording, which may have ended."""
        return (self.folder / _KEY).exists()

    @contextmanager
    def adding(self, digest: str, n_replicas: int, *, padded: bool) -> Iterator[Write]:
        """Yield what writes the values of a batch, which counts when the context ends.

        ``padded`` says whether values of three axes may have another number of tokens than those
        of other batches.
        """
        parts: dict[str, _File] = {}
        mapped: dict[str, np.ndarray] = {}

        def write(name: str, values: np.ndarray, replica: int | None) -> None:
            if name not in parts:
                replicas = () if replica is None else (n_replicas,)
                shape = len(values), *replicas, *values.shape[1:]
                parts[name] = part = self._next(name, values.dtype.str, shape)
                self._check_like_first(name, part, padded and values.ndim == 3)
                part.path.touch()
                mapped[name] = part.map("r+")
            mapped[name][slice(None) if replica is None else (slice(None), replica)] = values

        self.folder.mkdir(exist_ok=True)
        try:
            yield write
        except BaseException:
            if not self.digests:
                shutil.rmtree(self.folder)
            raise
        mapped.clear()
        if not self.digests:
            with write_atomically(self.folder / _KEY) as file:
                file.write(json.dumps(self.key, indent=1).encode())
        self._keep(digest, parts)
        line = [digest, {name: [part.dtype, part.shape] for name, part in parts.items()}]
        with (self.folder / _BATCHES).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")

    def _check_like_first(self, name: str, part: _File, padded: bool) -> None:
        """Check that a layer gives the same numbers and shape as in the first batch."""
        first = next(iter(self._parts[name]), part)
        before, now = first.shape[1:], part.shape[1:]
        if padded and len(before) == len(now):
            tokens = len(now) - 2
            before, now = (shape[:tokens] + shape[tokens + 1 :] for shape in (before, now))
        if before != now or first.dtype != part.dtype:
            raise ValueError(
                f"Layer {name!r} gives {part.dtype} of shape {part.shape[1:]} for an input, and "
                f"{first.dtype} of shape {first.shape[1:]} in the first batch; pad tokens to one "
                "length, give a mask with them, or pool by flatten"
            )

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of all batches, those of fewer tokens than others padded with 0."""
        return _Mapped({name: _joined(parts) for name, parts in self._parts.items()})

    def finish(self) -> None:
        """Remove all but the key, which says what the checkpoint was recorded of."""
        for file in self.folder.iterdir():
            if file.name != _KEY:
                file.unlink()


def _joined(parts: Sequence[_File]) -> _File:
    """One file of the parts of a layer: their own, or another where they have to be padded."""
    first = parts[0]
    tail = np.max([part.shape[1:] for part in parts], axis=0).tolist()
    shape = sum(part.shape[0] for part in parts), *tail
    if all(part.shape[1:] == shape[1:] for part in parts):
        return _File(first.path, first.dtype, shape)
    path, offset = first.path.with_suffix(".padded"), 0
    path.write_bytes(b"")
    for part in parts:
        padded = _File(path, part.dtype, (part.shape[0], *tail), offset)
        padded.map("r+")[tuple(map(slice, part.shape))] = part.map("r")
        offset = padded.end
    return _File(path, first.dtype, shape)
