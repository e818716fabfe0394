"""Files and directories that appear whole or not at all, one writer at a time."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from skinfo.errors import RunError

#: How the name of a directory ends while a new one takes its place.
OLD = ".old"
_SYNCED_AT_ONCE = 8


@contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that appears under its name only when it is complete.

    If anything goes wrong the old file, if there was one, survives and the new one is removed.
    """
    unfinished = _unfinished(path)
    try:
        with unfinished.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def directory_atomically(path: Path) -> Iterator[Path]:
    """Fill a directory that appears under its name only when it is complete.

    It is filled in a hidden directory beside it. A directory cannot be replaced in one step: the
    old one is renamed to ``replaced(path)`` first, where readers find it if the process ends before
    the new one has its name.
    """
    filling, old = _unfinished(path), replaced(path)
    try:
        filling.mkdir()
        yield filling
        _sync_all(list(filling.rglob("*")))
        if path.exists():
            # One that could not be removed before.
            shutil.rmtree(old, ignore_errors=True)
            os.rename(path, old)
        os.rename(filling, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.rename(old, path)
        shutil.rmtree(filling, ignore_errors=True)
        raise
    # It is written: what fails from here on does not undo it.
    with suppress(OSError):
        _sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _unfinished(path: Path) -> Path:
    """A hidden name beside a path; the system gives what is made there its usual permissions."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def replaced(path: Path) -> Path:
    """Where a directory is while a new one takes its name."""
    return path.with_name(f"{path.name}{OLD}")


def recover_replaced(parent: Path, pattern: str) -> None:
    """Finish what a killed writer began to replace: the new version stays, if it is complete.

    Directories of ``parent`` count whose name, without its ending, matches ``pattern``.
    """
    for name in os.listdir(parent):
        if not (name.endswith(OLD) and re.fullmatch(pattern, name.removesuffix(OLD))):
            continue
        old, path = parent / name, parent / name.removesuffix(OLD)
        if path.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, path)


def remove_leftovers(parent: Path, pattern: str) -> None:
    """Remove what killed writers left half written; only the holder of the lock may.

    Files and directories of ``parent`` count that were to have a name that matches ``pattern``.
    """
    half = re.compile(rf"\.({pattern})\.[0-9a-f]{{8}}")
    for name in os.listdir(parent):
        if name.startswith(".") and half.fullmatch(name):
            entry = parent / name
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


@contextmanager
def only_writer(
    lock: Path, path: Path, epoch: int | None = None, *, wait: float = 0, keep: bool = True
) -> Iterator[None]:
    """Keep other writers out until the block ends, or the process does, however it ends.

    The operating system holds the lock, not the file, which stays unless ``keep`` is false: a
    killed writer blocks nobody.
    Where another process still is writing after ``wait`` seconds, the RunError names ``path`` and
    ``epoch``.
    """
    try:
        held = FileLock(lock, timeout=wait).acquire()
    except Timeout:
        raise RunError(
            f"another process is writing this {'table' if wait else 'run'} (it holds {lock}); let "
            "it finish or write elsewhere",
            path=path, epoch=epoch,
        ) from None  # fmt: skip
    with held:
        try:
            yield
        finally:
            if not keep:
                # Windows removes no file that is open.
                with suppress(OSError):
                    lock.unlink()


def describe_files(path: str | Path) -> str | None:
    """Tell the files of a run from what they were before: a digest of names, sizes and times.

    None where nothing is at the path, as for a run in memory. Contents are not read.
    """
    files = sorted(_files_of(str(path)))
    return hashlib.blake2b(repr(files).encode(), digest_size=16).hexdigest() if files else None


def written_after(path: str | Path, table: str | Path) -> bool:
    """Whether a file of a run is younger than a table of it."""
    written = os.stat(table).st_mtime_ns
    return any(time > written for _, _, time in _files_of(str(path)))


def _files_of(path: str) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of what a run consists of; hidden files are locks and unfinished work."""
    if os.path.isfile(path):
        status = os.stat(path)
        yield "", status.st_size, status.st_mtime_ns
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            # Hidden files of zarr describe its arrays.
            if name.startswith(".") and not name.startswith(".z"):
                continue
            file = os.path.join(folder, name)
            try:
                status = os.stat(file)
            except FileNotFoundError:
                # A checkpoint was replaced meanwhile.
                continue
            yield os.path.relpath(file, path), status.st_size, status.st_mtime_ns


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a directory but hidden ones."""
    return sum(size for _, size, _ in _files_of(str(path)))


def _sync_all(paths: list[Path]) -> None:
    """A disk takes hardly longer for several at once than for one."""
    try:
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            list(pool.map(_sync, paths))
    except RuntimeError:
        # No thread is started while the interpreter ends.
        for path in paths:
            _sync(path)


def _sync(path: Path) -> None:
    if os.name == "nt":
        # Windows cannot open a directory, nor sync a file that was opened to be read.
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
