"""What a monitor has measured, a line an epoch, so that a killed training loses none of it.

The first line describes the measurement as JSON: schema, settings, versions. Every other line is
an epoch: its number, a digest of the activations, the rows of the table, the losses. A line is
appended and synced, so that an epoch costs the same however many there are.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import pandas as pd

from skinfo._files import write_atomically
from skinfo.errors import RunError
from skinfo.quantities import COLUMNS

SCHEMA = 1
#: One epoch: epoch, digest, rows, losses.
Entry = dict[str, Any]


class Journal:
    """Append epochs to a file that is there already, if its settings are the same.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    settings : mapping
        What the numbers depend on, as JSON; two measurements whose settings differ do not mix.
    versions : mapping
        Versions of the software, noted when the file is made.

    Attributes
    ----------
    entries : dict of int to dict
        What was measured, by epoch.

    Raises
    ------
    RunError
        If the file is no journal, or one of other settings, or cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], versions: Mapping[str, str]):
        self.path = path
        if not path.exists():
            if not path.parent.is_dir():
                raise RunError(f"there is no directory {path.parent}", path=path)
            first = {"schema": SCHEMA, "settings": settings, "versions": versions}
            with write_atomically(path) as new:
                new.write(_line(first))
        with _locked(path) as file:
            header, self.entries, self._size, torn = _read(path, file.read())
            if torn:
                file.truncate(self._size)
                warnings.warn(
                    f"{path}: its last line was half written and is dropped; that epoch is "
                    "measured again",
                    UserWarning,
                    stacklevel=4,
                )
        there, here = header["settings"], json.loads(_line(settings))
        differ = [name for name in here if there.get(name) != here[name]]
        if differ:
            name = differ[0]
            raise RunError(
                f"another measurement is there already: its {name} differ ({there.get(name)!r} "
                f"there, {here[name]!r} here). Choose another path, or remove the file.",
                path=path,
            )

    def append(self, entry: Entry) -> None:
        """Add an epoch; if it is there already, it and all after it are void from now on.

        Raises
        ------
        RunError
            If the file cannot be written, or something else wrote to it; it is as it was then.
        """
        line = _line(entry)
        with _locked(self.path) as file:
            if file.seek(0, os.SEEK_END) != self._size:
                raise RunError(
                    "something else has written here since this monitor last did; two trainings "
                    "need two paths",
                    path=self.path,
                    epoch=entry["epoch"],
                )
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError(f"{written} of {len(line)} bytes were written")
                os.fsync(file.fileno())
            except OSError as error:
                with suppress(OSError):
                    file.truncate(self._size)
                raise RunError(
                    f"cannot be written ({error}); make room and start again: what is there stays",
                    path=self.path,
                    epoch=entry["epoch"],
                ) from error
        self._size += len(line)
        add_entry(self.entries, json.loads(line))


def read_journal(path: str | Path) -> pd.DataFrame:
    """Read the table of a monitor that was killed, or that is still at work.

    Parameters
    ----------
    path : path-like
        The journal, a table's name with ".journal" appended.

    Returns
    -------
    pandas.DataFrame
        The table as :func:`skinfo.information_flow` makes it; of a half-written line nothing.

    Raises
    ------
    RunError
        If the file is no journal.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator
    >>> from skinfo.monitoring import FlowMonitor, read_journal
    >>> from skinfo.szt import make_mlp
    >>> model, X = make_mlp((3, 4, 2)), np.random.RandomState(0).randn(50, 3)
    >>> path = tempfile.mkdtemp() + "/live.csv"
    >>> monitor = FlowMonitor(model, ["layer1"], BinningMIEstimator(bin_width=0.1), X, path=path)
    >>> table = monitor(1)
    >>> read_journal(path + ".journal")["epoch"].unique().tolist()
    [1]
    """
    path = Path(path)
    if not path.is_file():
        raise RunError("there is no such journal", path=path)
    header, entries, _, _ = _read(path, path.read_bytes())
    return as_table(entries, header)


def as_table(entries: Mapping[int, Entry], header: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of all epochs as a table; what they depend on goes into its attributes."""
    rows = [row for _, entry in sorted(entries.items()) for row in entry["rows"]]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    settings = dict(header["settings"])
    # What other tables carry too stands where it stands there.
    shared = {name: settings.pop(name) for name in ("layers", "estimators") if name in settings}
    versions = dict(header["versions"])
    table.attrs.update({"run": "a training", **shared, "subset": None, "run settings": settings,
                        "versions": versions, "measured with": versions})  # fmt: skip
    return table


def add_entry(entries: dict[int, Entry], entry: Entry) -> None:
    """Add an epoch; where it is there already, another training begins and voids the rest."""
    epoch = int(entry["epoch"])
    if epoch in entries:
        for later in [other for other in entries if other >= epoch]:
            del entries[later]
    entries[epoch] = entry


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _read(path: Path, content: bytes) -> tuple[dict[str, Any], dict[int, Entry], int, bool]:
    """The first line, the epochs, how many bytes are whole lines, and whether there are more."""
    size = content.rfind(b"\n") + 1
    lines = content[:size].splitlines()
    entries: dict[int, Entry] = {}
    number = 1
    try:
        header = json.loads(lines[0])
        if header["schema"] > SCHEMA:
            raise RunError(
                f"written with schema {header['schema']}, this version reads up to {SCHEMA}; "
                "install a newer skinfo",
                path=path,
            )
        dict(header["settings"]), dict(header["versions"])
        for line in lines[1:]:
            number += 1
            entry = json.loads(line)
            if not {"epoch", "digest", "rows", "losses"} <= set(entry):
                raise ValueError("it is no epoch")
            add_entry(entries, entry)
    except RunError:
        raise
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"line {number} is none of a monitor's journal ({error!r}); remove the file or choose "
            "another path",
            path=path,
        ) from error
    return header, entries, size, size < len(content)


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """Open a file to read and write, unbuffered, for one process at a time."""
    try:
        file = path.open("r+b", buffering=0)
    except OSError as error:
        raise RunError(f"cannot be opened ({error})", path=path) from error
    with file:
        # Without it, as on Windows, the size of the file still tells of another writer.
        with suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
