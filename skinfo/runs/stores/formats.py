"""Which format a run is in, and which one a new run gets."""

from __future__ import annotations

import os
from pathlib import Path

from skinfo.errors import RunError
from skinfo.runs.description import format_of
from skinfo.runs.stores.base import DiskStore, WritableStore, list_directory, read_record
from skinfo.runs.stores.files import NpyStore, NpzStore, SafetensorsStore
from skinfo.runs.stores.hdf5 import Hdf5File, Hdf5Store
from skinfo.runs.stores.zarr import ZarrStore

#: Every format, the default first; a new one is one line here.
STORES: tuple[type[DiskStore], ...] = (
    NpzStore,
    NpyStore,
    SafetensorsStore,
    Hdf5Store,
    Hdf5File,
    ZarrStore,
)
_WRITTEN = {kind.format: kind for kind in STORES if issubclass(kind, WritableStore)}
_SINGLE_FILES = (".h5", ".hdf5")


def find_store(path: Path, fmt: str | None = None) -> DiskStore:
    """Recognise what is at a path.

    Raises
    ------
    RunError
        If there is nothing that could be a run, it cannot be read, or it could be two things.
    """
    check_format(fmt)
    if not _exists(path):
        raise _no_run(path)
    if path.is_dir():
        # Raises where only its owner may look into it.
        list_directory(path)
    record = read_record(path)
    if record is not None:
        kind = _WRITTEN.get(format_of(record))
        if kind is None:
            raise RunError(f"is a run of format {format_of(record)!r}, which is not known",
                           path=path / "run.json")  # fmt: skip
        kinds: list[type[DiskStore]] = [kind]
    else:
        kinds = [kind for kind in STORES if kind.recognises(path)]
        if len(kinds) > 1 and fmt is not None:
            kinds = [kind for kind in kinds if kind.format == fmt]
    if not kinds:
        raise _no_run(path)
    if len(kinds) > 1:
        several = " and ".join(kind.format for kind in kinds)
        raise RunError(f"holds checkpoints of the formats {several}; say which with format=",
                       path=path)  # fmt: skip
    store = kinds[0](path)
    if fmt is not None and store.format != fmt:
        raise RunError(f"is a run of format {store.format}; format= says {fmt}", path=path)
    store.own = store.record() is not None
    return store


def new_store(path: Path, fmt: str | None = None) -> tuple[WritableStore, bool]:
    """The store that a run is written to, and whether the run exists already.

    If no format is named the suffix of the path decides: .zarr, else a directory of .npz.
    """
    check_format(fmt)
    occupied = _exists(path) and not (path.is_dir() and not list_directory(path))
    if occupied and path.is_file():
        raise RunError(
            "is a file, and not of a format that a run can be added to: a run is a directory. A "
            "single HDF5 file is only read; to go on with it, convert it to a directory first",
            path=path,
        )
    if occupied and ((path / "run.json").exists() or ZarrStore.recognises(path)):
        store = find_store(path, fmt)
        if not store.own or not isinstance(store, WritableStore):
            raise RunError(
                "was not written by skinfo, which would not add to it; convert it first", path=path
            )
        return store, True
    kind = _WRITTEN[format_for(path, fmt)]
    if occupied and not kind.shares_directory:
        raise RunError("is a directory of other things; write elsewhere", path=path)
    return kind(path), False


def format_for(path: Path, fmt: str | None = None) -> str:
    """The format of a run that will be written to a path.

    Examples
    --------
    >>> from pathlib import Path
    >>> format_for(Path("runs/szt")), format_for(Path("runs/szt.zarr"))
    ('npz', 'zarr')
    """
    check_format(fmt)
    suffix = path.suffix.lower()
    if suffix in _SINGLE_FILES:
        raise RunError(
            "HDF5 is written as a directory of one .h5 file per checkpoint: give a name without "
            f'{path.suffix}, and format="hdf5"',
            path=path,
        )
    named = next((kind.format for kind in _WRITTEN.values() if kind.path_suffix == suffix), None)
    if fmt is not None and named is not None and named != fmt:
        raise RunError(f"the name ends like {named}, format= says {fmt}; change one", path=path)
    return fmt or named or NpzStore.format


def check_format(fmt: str | None) -> None:
    """Check that a format is a known one."""
    if fmt is not None and fmt not in _WRITTEN:
        raise ValueError(f"format must be one of {', '.join(_WRITTEN)}; got {fmt!r}.")


def growing_beside(target: Path) -> Path:
    """Where a conversion writes until its target is complete."""
    return target.with_name(f".{target.name}.converting{target.suffix}")


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
    return RunError(
        "there is no run here: expected a directory with a run.json or with checkpoints, numbered "
        ".npz, .safetensors, .h5 or directories of .npy; an HDF5 file; or a zarr container",
        path=path,
    )
