"""Files and directories that are there whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "OLD",
    "directory_atomically",
    "recover_replaced",
    "remove_leftovers",
    "replaced",
    "size_on_disk",
    "write_atomically",
]

#: How the name of a directory ends while another takes its place.
OLD = ".old"


@contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that appears under its name only when it is complete.

    If anything goes wrong the old file, if there was one, survives and the new one is removed.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def directory_atomically(path: Path, *, beside: Path | None = None) -> Iterator[Path]:
    """Fill a directory that appears under its name only when it is complete.

    A directory cannot be replaced in one step: the old one steps aside as ``replaced(path)`` first,
    and whoever reads finds it there should the process end before the new one has its name.

    Parameters
    ----------
    path : Path
        The directory.
    beside : Path, optional
        Where it is made; by default beside it, hidden.
    """
    parent = path.parent if beside is None else beside
    made = Path(tempfile.mkdtemp(dir=parent, prefix=f".{path.name}."))
    try:
        yield made
        for file in made.rglob("*"):
            _sync(file)
        os.chmod(made, 0o777 & ~_umask())
        if path.exists():
            os.rename(path, replaced(path))
        os.rename(made, path)
        _sync(path.parent)
        shutil.rmtree(replaced(path), ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def replaced(path: Path) -> Path:
    """Where a directory is while another takes its name."""
    return path.with_name(f"{path.name}{OLD}")


def recover_replaced(parent: Path, pattern: str) -> None:
    """Finish what a killed writer began: of two versions the new one stays, if it is there.

    Parameters
    ----------
    parent : Path
        Where to look.
    pattern : str
        Regular expression of the names of what was to be replaced.
    """
    for old in list(parent.glob(f"*{OLD}")):
        path = old.with_name(old.name.removesuffix(OLD))
        if not re.fullmatch(pattern, path.name):
            continue
        if path.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, path)


def remove_leftovers(parent: Path, pattern: str) -> None:
    """Remove what killed writers left half; only whoever holds the lock may.

    Parameters
    ----------
    parent : Path
        Where to look.
    pattern : str
        Regular expression of the names of what was to be written.
    """
    # As mkstemp and mkdtemp name what is made above.
    half = re.compile(rf"\.({pattern})\.[a-z0-9_]{{8}}")
    for entry in parent.iterdir():
        if half.fullmatch(entry.name):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _sync(path: Path) -> None:
    if os.name == "nt":
        # There a directory cannot be opened, nor a file synced that was opened to be read.
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
