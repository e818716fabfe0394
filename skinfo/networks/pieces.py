"""What has been recorded of a checkpoint so far, on disk: a recording that was killed goes on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
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
    batches : list of dict
        What is on disk of each batch: a digest of its inputs, and of each layer the type and the
        shape of its array.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder = folder
        self.key = json.loads(json.dumps(key))
        self.batches: list[dict[str, Any]] = []
        self._paths = {name: folder / f"{k}.values" for k, name in enumerate(key["layers"])}

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
        # The last line may be cut short.
        with suppress(ValueError):
            for line in journal.read_text(encoding="utf-8").splitlines():
                self.batches.append(json.loads(line))
        with write_atomically(journal) as file:
            file.writelines(json.dumps(batch).encode() + b"\n" for batch in self.batches)

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
        batch: dict[str, Any] = {"digest": digest, "layers": {}}
        mapped: dict[str, np.ndarray] = {}

        def write(name: str, values: np.ndarray, replica: int | None) -> None:
            if name not in mapped:
                replicas = () if replica is None else (n_replicas,)
                shape = len(values), *replicas, *values.shape[1:]
                file = _File(self._paths[name], values.dtype.str, shape, self._end(name))
                self._check_like_before(name, file, padded and values.ndim == 3)
                file.path.touch()
                mapped[name] = file.map("r+")
                batch["layers"][name] = {"dtype": file.dtype, "shape": shape}
            mapped[name][(slice(None), replica) if replica is not None else slice(None)] = values

        self.folder.mkdir(exist_ok=True)
        try:
            yield write
        except BaseException:
            if not self.batches:
                shutil.rmtree(self.folder)
            raise
        mapped.clear()
        if not self.batches:
            with write_atomically(self.folder / _KEY) as file:
                file.write(json.dumps(self.key, indent=1).encode())
        self.batches.append(batch)
        with (self.folder / _BATCHES).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(batch) + "\n")

    def _check_like_before(self, name: str, file: _File, padded: bool) -> None:
        """Check that a layer gives the same numbers and shape as in the first batch."""
        if not self.batches:
            return
        first = self.batches[0]["layers"][name]
        before, now = tuple(first["shape"][1:]), file.shape[1:]
        axis = len(now) - 2
        if padded and len(before) == len(now):
            before, now = (shape[:axis] + shape[axis + 1 :] for shape in (before, now))
        if before != now or first["dtype"] != file.dtype:
            raise ValueError(
                f"Layer {name!r} gives {file.dtype} of shape {file.shape[1:]} for an input, and "
                f"{first['dtype']} of shape {tuple(first['shape'][1:])} in the first batch; pad "
                "tokens to one length, give a mask with them, or pool by flatten"
            )

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of all batches, those of fewer tokens than others padded with 0."""
        return _Mapped({name: self._whole(name) for name in self._paths})

    def _whole(self, name: str) -> _File:
        files = list(self._files(name))
        n = sum(file.shape[0] for file in files)
        shape = n, *np.max([file.shape[1:] for file in files], axis=0).tolist()
        first = files[0]
        if all(file.shape[1:] == shape[1:] for file in files):
            return _File(first.path, first.dtype, shape)
        path, offset = first.path.with_suffix(".padded"), 0
        path.write_bytes(b"")
        for file in files:
            part = _File(path, file.dtype, (file.shape[0], *shape[1:]), offset)
            part.map("r+")[tuple(map(slice, file.shape))] = file.map("r")
            offset = part.end
        return _File(path, first.dtype, shape)

    def _files(self, name: str) -> Iterator[_File]:
        """Where each batch of a layer is."""
        offset = 0
        for batch in self.batches:
            layer = batch["layers"][name]
            file = _File(self._paths[name], layer["dtype"], tuple(layer["shape"]), offset)
            yield file
            offset = file.end

    def _last(self, name: str) -> _File:
        *_, file = self._files(name)
        return file

    def _end(self, name: str) -> int:
        return self._last(name).end if self.batches else 0

    def finish(self) -> None:
        """Remove all but the key, which says what the checkpoint was recorded of."""
        for file in self.folder.iterdir():
            if file.name != _KEY:
                file.unlink()
