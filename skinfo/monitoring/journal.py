"""The epochs that a monitor has measured, in an SQLite file that survives a killed training.

SQLite's rollback journal makes each epoch appear whole or not at all. Its write-ahead log would
need two more files, write access even for readers, and no network file system.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from skinfo.errors import RunError
from skinfo.quantities import COLUMNS, ERROR_COLUMNS

SCHEMA = 1
# How SQLite tells which program a file belongs to: "skin" in ASCII.
_APPLICATION = 0x736B696E
# A number is given once: the last one tells whether another writer was here.
_CREATE = (
    "CREATE TABLE header (settings TEXT, versions TEXT)",
    "CREATE TABLE epochs (number INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER, entry TEXT)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
)
_BUSY_SECONDS = 60.0
# What to do about an error of SQLite, by the beginning of its name.
_ADVICE = {
    "SQLITE_BUSY": "another process is writing to it, or holds it open; end that, or try again",
    "SQLITE_FULL": "the disk or the quota is full; make room and start again: all earlier epochs "
    "are kept",
    "SQLITE_IOERR": "the disk did not do what it was told (full, over its quota, or gone?); all "
    "earlier epochs are kept",
    "SQLITE_READONLY": "it may not be written; ask for permission, or choose another path",
    "SQLITE_CANTOPEN": "it cannot be opened; look at the permissions of the file and its directory",
    "SQLITE_PERM": "it may not be opened; ask for permission, or choose another path",
    "SQLITE_CORRUPT": "the file is damaged; remove it, or choose another path",
}
#: One epoch: digest of the activations, rows of the table, losses.
Entry = dict[str, Any]


class Journal:
    """Epochs measured: in memory and, if there is a path, in a file that is continued.

    Measurements with different ``settings``, plain values that the numbers depend on, do not mix;
    ``versions`` of the software are noted when the file is made. ``entries`` holds what was
    measured, by epoch.

    Raises
    ------
    RunError
        If the file is no journal, has other settings, or cannot be written.
    """

    def __init__(
        self, path: Path | None, settings: Mapping[str, Any], versions: Mapping[str, str]
    ) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.versions = dict(versions)
        self.entries: dict[int, Entry] = {}
        self._number: int | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise RunError(f"there is no directory {path.parent}", path=path)
        with _transaction(path) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _CREATE:
                    connection.execute(statement)
                header = json.dumps(self.settings), json.dumps(self.versions)
                connection.execute("INSERT INTO header VALUES (?, ?)", header)
            stored, self.versions, self.entries = _read(connection, path)
            self._number = _last_number(connection)
        now = self.settings
        different = [name for name in now | stored if stored.get(name) != now.get(name)]
        if different:
            name = different[0]
            raise RunError(
                f"the file holds another measurement: its {name} differ ({stored.get(name)!r} in "
                f"the file, {now.get(name)!r} now). Choose another path, or remove the file.",
                path=path,
            )

    def add(self, epoch: int, entry: Entry) -> None:
        """Add an epoch; if it was measured before, it and all later ones are removed first.

        Raises
        ------
        RunError
            If the file cannot be written, or something else wrote to it; it is left as it was.
        """
        if self.path is not None:
            with _transaction(self.path, epoch) as connection:
                if _last_number(connection) != self._number:
                    raise RunError(
                        "something else has written here since this monitor last did; two "
                        "trainings need two paths",
                        path=self.path,
                        epoch=epoch,
                    )
                if epoch in self.entries:
                    connection.execute("DELETE FROM epochs WHERE epoch >= ?", (epoch,))
                values = epoch, json.dumps(entry)
                connection.execute("INSERT INTO epochs (epoch, entry) VALUES (?, ?)", values)
                number = _last_number(connection)
            self._number = number
        if epoch in self.entries:
            self.entries = {e: earlier for e, earlier in self.entries.items() if e < epoch}
        self.entries[epoch] = entry

    def table(self, *epochs: int) -> pd.DataFrame:
        """Make the table of all epochs, or of those named, with the settings in its attributes."""
        chosen = [self.entries[epoch] for epoch in epochs or sorted(self.entries)]
        rows = [row for entry in chosen for row in entry["rows"]]
        table = pd.DataFrame(rows, columns=[*COLUMNS, *ERROR_COLUMNS])
        settings = dict(self.settings)
        # Settings that every flow table has are attributes of their own.
        names = ("layers", "estimators", "quantities", "random_state", "n_noise_draws")
        shared = {name: settings.pop(name) for name in names if name in settings}
        table.attrs.update({
            "run": "a training", **shared, "subset": None, "run settings": settings,
            "versions": dict(self.versions), "measured with": dict(self.versions),
        })  # fmt: skip
        return table


def read_journal(path: str | Path) -> pd.DataFrame:
    """Read the table of a monitor that was killed, or that is still at work.

    Parameters
    ----------
    path : path-like
        The journal: a table's name with ".journal" appended.

    Returns
    -------
    pandas.DataFrame
        The table as :func:`skinfo.information_flow` makes it, with all epochs that were finished.

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
    >>> path = tempfile.mkdtemp() + "/live.csv"
    >>> monitor = FlowMonitor(BinningMIEstimator(bin_width=0.1), ["layer1"], path=path)
    >>> table = monitor.update(1, {"layer1": np.random.RandomState(0).randn(50, 3)})
    >>> read_journal(path + ".journal")["epoch"].unique().tolist()
    [1]
    """
    path = Path(path)
    if not path.exists():
        raise RunError("there is no such journal", path=path)
    with _transaction(path, begin="BEGIN") as connection:
        settings, versions, entries = _read(connection, path)
    journal = Journal(None, settings, versions)
    journal.entries = entries
    return journal.table()


def _read(
    connection: sqlite3.Connection, path: Path
) -> tuple[dict[str, Any], dict[str, str], dict[int, Entry]]:
    """Settings, versions and epochs of a file that is checked to be a journal."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise sqlite3.DatabaseError("the database of another program")
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if schema > SCHEMA:
        raise RunError(
            f"written with schema {schema}, this version reads up to {SCHEMA}; install a newer "
            "skinfo",
            path=path,
        )
    header = connection.execute("SELECT settings, versions FROM header").fetchone()
    epochs = connection.execute("SELECT epoch, entry FROM epochs ORDER BY epoch")
    try:
        settings, versions = map(json.loads, header)
        entries = {epoch: json.loads(entry) for epoch, entry in epochs}
        if all(entry.keys() >= {"digest", "rows", "losses"} for entry in entries.values()):
            return settings, versions, entries
    except (ValueError, TypeError, AttributeError):
        pass
    raise sqlite3.DatabaseError("its header or one of its epochs is not what a monitor writes")


def _last_number(connection: sqlite3.Connection) -> int | None:
    number: int | None = connection.execute("SELECT max(number) FROM epochs").fetchone()[0]
    return number


@contextmanager
def _transaction(
    path: Path, epoch: int | None = None, *, begin: str = "BEGIN IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    """Open the file for one writer at a time, in one transaction: all of it is kept, or nothing."""
    if path.exists() and not path.is_file():
        raise RunError("the journal is a file, and this is none; choose another path", path=path)
    try:
        connecting = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        with closing(connecting) as connection:
            connection.execute(begin)
            with connection:
                yield connection
    except sqlite3.DatabaseError as error:
        # An error of our own has no name.
        name = getattr(error, "sqlite_errorname", "")
        advice = next((_ADVICE[start] for start in _ADVICE if name.startswith(start)), None)
        message = f"the file is no journal of a monitor ({error}); remove it or choose another path"
        if advice is not None:
            message = f"cannot be read or written ({error}): {advice}"
        raise RunError(message, path=path, epoch=epoch) from error
