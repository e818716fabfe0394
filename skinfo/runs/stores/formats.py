"""Which format a run is in, and which one a new run gets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from skinfo.errors import RunError
from skinfo.runs.description import format_of
from skinfo.runs.naming import epoch_of
from skinfo.runs.stores.base import DirectoryStore, DiskStore, list_directory, read_record
from skinfo.runs.stores.hdf5 import Hdf5Store, looks_like_hdf5
from skinfo.runs.stores.npy import NpyStore
from skinfo.runs.stores.npz import NpzStore
from skinfo.runs.stores.safetensors import SafetensorsStore
from skinfo.runs.stores.zarr import MARKS, ZarrStore

FORMATS: dict[str, type[DiskStore]] = {
    store.format: store for store in (NpzStore, NpyStore, SafetensorsStore, Hdf5Store, ZarrStore)
}
_DIRECTORIES: tuple[type[DirectoryStore], ...] = (NpzStore, SafetensorsStore, NpyStore)
_SUFFIXES = {".h5": "hdf5", ".hdf5": "hdf5", ".zarr": "zarr"}


def find_store(path: Path, fmt: str | None = None) -> DiskStore:
    """Recognise what is at a path.

    Raises
    ------
    RunError
        If there is nothing that could be a run, it cannot be looked at, or it could be two things.
    """
    check_format(fmt)
    mode = _mode(path)
    if mode is not None and stat.S_ISREG(mode):
        if not looks_like_hdf5(path):
            raise _no_run(path)
        return _checked(_container(Hdf5Store, path), fmt)
    if mode is None or not stat.S_ISDIR(mode):
        raise _no_run(path)
    entries = list_directory(path)
    names = {entry.name for entry in entries}
    if names & set(MARKS):
        return _checked(_container(ZarrStore, path), fmt)
    record = read_record(path)
    if record is not None:
        known = FORMATS.get(format_of(record))
        if known is None:
            raise RunError(f"is a run of format {format_of(record)!r}, which is not known",
                           path=path / "run.json")  # fmt: skip
        return _checked(known(path), fmt)
    found = [store for store in _DIRECTORIES if _has_checkpoints(store, entries)]
    if fmt is not None:
        found = [store for store in found if store.format == fmt]
    if not found:
        raise _no_run(path)
    if len(found) > 1:
        several = " and ".join(store.format for store in found)
        raise RunError(f"holds checkpoints of the formats {several}; say which with format=",
                       path=path)  # fmt: skip
    return found[0](path, own=False)


def new_store(path: Path, fmt: str | None = None) -> tuple[DiskStore, bool]:
    """The store that a run is written to, and whether it is there already.

    The suffix of the path decides if no format is named: .h5 and .hdf5, .zarr, else a directory of
    .npz.
    """
    check_format(fmt)
    mode = _mode(path)
    if mode is not None and not _is_empty_directory(path, mode):
        if stat.S_ISREG(mode) and not looks_like_hdf5(path):
            raise RunError("is a file, and not of a format that a run can be added to", path=path)
        if stat.S_ISREG(mode) or (path / "run.json").exists() or _is_zarr(path):
            store = find_store(path, fmt)
            if not store.own:
                raise RunError(
                    "was not written by skinfo, which would not add to it; convert it first",
                    path=path,
                )
            return store, True
    kind = FORMATS[format_for(path, fmt)]
    if kind is ZarrStore and mode is not None and not _is_empty_directory(path, mode):
        raise RunError("is a directory of other things; write elsewhere", path=path)
    return kind(path), False


def format_for(path: Path, fmt: str | None = None) -> str:
    """The format of a run that will be at a path.

    Examples
    --------
    >>> from pathlib import Path
    >>> format_for(Path("runs/szt")), format_for(Path("runs/szt.h5"))
    ('npz', 'hdf5')
    """
    check_format(fmt)
    suffix = _SUFFIXES.get(path.suffix.lower())
    if fmt is not None and suffix is not None and suffix != fmt:
        raise RunError(f"the name ends like {suffix}, format= says {fmt}; change one", path=path)
    return fmt or suffix or NpzStore.format


def check_format(fmt: str | None) -> None:
    """Check that a format is one of those there are."""
    if fmt is not None and fmt not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {fmt!r}.")


def _mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", path=path) from error


def _is_empty_directory(path: Path, mode: int) -> bool:
    return stat.S_ISDIR(mode) and not list_directory(path)


def _is_zarr(path: Path) -> bool:
    return any((path / mark).is_file() for mark in MARKS)


def _container(kind: type[DiskStore], path: Path) -> DiskStore:
    store = kind(path)
    return store if store.record() is not None else kind(path, own=False)


def _checked(store: DiskStore, fmt: str | None) -> DiskStore:
    if fmt is not None and store.format != fmt:
        raise RunError(f"is a run of format {store.format}; format= says {fmt}", path=store.path)
    return store


def _has_checkpoints(kind: type[DirectoryStore], entries: list[Path]) -> bool:
    for entry in entries:
        if entry.name.startswith(".") or epoch_of(entry.name.removesuffix(kind.suffix)) is None:
            continue
        if kind is NpyStore:
            if entry.is_dir() and any(f.suffix == ".npy" for f in list_directory(entry)):
                return True
        elif entry.suffix == kind.suffix and entry.is_file():
            return True
    return False


def growing_beside(target: Path) -> Path:
    """Where a conversion writes until its target is complete."""
    return target.with_name(f".{target.name}.converting{target.suffix}")


def _no_run(path: Path) -> RunError:
    if path.name not in ("", "..") and growing_beside(path).exists():
        return RunError(
            "there is no run here yet: a conversion to it has not ended; if none is running, the "
            "same command goes on where it stopped",
            path=path,
        )
    return RunError(
        "there is no run here: expected a directory with a run.json or with checkpoints, numbered "
        ".npz, .safetensors or directories of .npy; an HDF5 file; or a zarr container",
        path=path,
    )
