"""Whether the files of a run are those that were measured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["describe_files", "written_after"]


def describe_files(path: str | Path) -> str | None:
    """Tell the files of a run from what they were before: a digest of names, sizes and times.

    None where nothing is at the path, as of a run in memory. Contents are not read.
    """
    found = sorted(_files(str(path)))
    if not found:
        return None
    return hashlib.blake2b(repr(found).encode(), digest_size=16).hexdigest()


def written_after(path: str | Path, table: str | Path) -> bool:
    """Whether a file of a run is younger than a table of it."""
    made = os.stat(table).st_mtime_ns
    return any(time > made for _, _, time in _files(str(path)))


def _files(path: str) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of what a run consists of; hidden files are locks and work in hand."""
    if os.path.isfile(path):
        found = os.stat(path)
        yield "", found.st_size, found.st_mtime_ns
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            # Those of zarr describe its arrays.
            if name.startswith(".") and not name.startswith(".z"):
                continue
            file = os.path.join(folder, name)
            found = os.stat(file)
            yield os.path.relpath(file, path), found.st_size, found.st_mtime_ns
