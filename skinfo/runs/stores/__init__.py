"""Formats: where the arrays of a run lie, which one it is in, and which one a new run gets."""

from __future__ import annotations

import os
from pathlib import Path

from skinfo.errors import RunError
from skinfo.runs.description import Record
from skinfo.runs.stores.base import (
    DirectoryStore,
    DiskStore,
    entries_of,
    instead_of,
    read_record,
)
from skinfo.runs.stores.files import NpyStore, NpzStore, SafetensorsStore
from skinfo.runs.stores.hdf5 import Hdf5File, Hdf5Store
from skinfo.runs.stores.zarr import ZarrContainer, ZarrStore

#: Formats that runs are written in, the default first. A new one is one line here.
WRITTEN: dict[str, type[DirectoryStore]] = {
    kind.format: kind for kind in (NpzStore, NpyStore, SafetensorsStore, Hdf5Store, ZarrStore)
}
#: What opens as well: files of others that hold all checkpoints.
_ONLY_READ: tuple[type[DiskStore], ...] = (Hdf5File, ZarrContainer)
#: Names that would say the wrong thing of a directory.
_SUFFIXES = {".hdf5": "hdf5"} | {kind.suffix: name for name, kind in WRITTEN.items() if kind.suffix}


def find_store(path: Path, fmt: str | None = None) -> tuple[DiskStore, Record | None]:
    """Recognise what is at a path, and read its description, if it has one."""
    _check_format(fmt)
    if not _exists(path):
        raise _no_run(path)
    if path.is_dir():
        # Raises where only its owner may look into it.
        entries_of(path).close()
    record = read_record(path)
    kinds: list[type[DiskStore]]
    if record is None:
        kinds = [kind for kind in (*WRITTEN.values(), *_ONLY_READ) if kind.recognises(path)]
        if len(kinds) > 1 and fmt is not None:
            kinds = [kind for kind in kinds if kind.format == fmt]
    elif record["format"] in WRITTEN:
        kinds = [WRITTEN[record["format"]]]
    else:
        raise RunError(f"is a run of format {record['format']!r}, which is not known",
                       path=path / "run.json")  # fmt: skip
    if not kinds:
        raise _no_run(path)
    if len(kinds) > 1:
        several = " and ".join(kind.format for kind in kinds)
        raise RunError(f"holds checkpoints of the formats {several}; say which with format=",
                       path=path)  # fmt: skip
    store = kinds[0](path)
    if fmt is not None and store.format != fmt:
        raise RunError(f"is a run of format {store.format}; format= says {fmt}", path=path)
    store.own = record is not None
    return store, record


def new_store(path: Path, fmt: str | None = None) -> tuple[DirectoryStore, Record | None]:
    """The store that a run is written to, and its description if the run exists already."""
    if _exists(path) and path.is_file():
        raise RunError(
            "is a file, and not of a format that a run can be added to: a run is a directory. A "
            "single HDF5 file is only read; to go on with it, convert it to a directory first",
            path=path,
        )
    if (path / "run.json").exists():
        store, record = find_store(path, fmt)
        assert isinstance(store, DirectoryStore)
        return store, record
    if ZarrContainer.recognises(path):
        raise RunError(
            "was not written by skinfo, which would not add to it; convert it first", path=path
        )
    return WRITTEN[format_for(path, fmt)](path), None


def format_for(path: Path, fmt: str | None = None) -> str:
    """The format of a new run; its name must not end like that of a single file."""
    _check_format(fmt)
    named = _SUFFIXES.get(path.suffix.lower())
    if named is not None:
        raise RunError(
            f"a run is a directory of one {WRITTEN[named].suffix} per checkpoint: give a name "
            f'without {path.suffix}, and format="{named}"',
            path=path,
        )
    return fmt or NpzStore.format


def _check_format(fmt: str | None) -> None:
    if fmt is not None and fmt not in WRITTEN:
        raise ValueError(f"format must be one of {', '.join(WRITTEN)}; got {fmt!r}.")


def growing_beside(target: Path) -> Path:
    """Where a conversion writes until its target is complete."""
    return target.with_name(f".{target.name}.converting")


def _exists(path: Path) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", path=path) from error
    return True


def _no_run(path: Path) -> RunError:
    if path.name not in ("", "..") and growing_beside(path).exists():
        return RunError(
            "there is no run here yet: a conversion to it has not ended; if none is running, the "
            "same command goes on where it stopped",
            path=path,
        )
    if path.is_file() and (instead := instead_of(path)):
        return RunError(instead, path=path)
    return RunError(
        "there is no run here: expected a directory with a run.json or with checkpoints, numbered "
        ".npz, .safetensors, .h5, .zarr or directories of .npy; an HDF5 file; or a zarr container",
        path=path,
    )
