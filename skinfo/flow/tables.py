"""Tables on disk, and beside a flow table its snapshots."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo._files import only_writer, remove_leftovers, write_atomically
from skinfo.errors import needs_extra
from skinfo.flow.snapshots import Snapshots
from skinfo.quantities import COLUMNS, CURVE_COLUMNS
from skinfo.runs.description import LAST_EPOCH, plain

_WORDS = (
    "layer", "estimator", "quantity", "unit", "notes", "randomisations", "seed_values", "noise",
    "inputs",
)  # fmt: skip
# Empty in a file where they are not known.
_NUMBERS = (
    "value", "stderr", "lower", "upper", "spread", "bias_below", "bias_above", "stderr_sampling",
    "stderr_other_inputs", "rms",
)  # fmt: skip
_ONE_ROW = "Keep one of the rows; several seeds are several tables."
# How long another process may write the same table before this one gives up, in seconds.
_PATIENCE = 60

#: Endings of the files of tables.
SUFFIXES = (".parquet", ".csv")
#: Columns that name a number in a flow table, and in a curve against sigma.
KEYS, CURVE_KEYS = ("epoch", "layer", "estimator", "quantity"), ("sigma", "quantity")
#: The quantity of a row whose activations could not be read.
UNREAD = ""


def check_output(path: Path, *, force: bool) -> None:
    """Check that a result may be written: its directory is there, and nothing is overwritten."""
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no directory {path.parent}.")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; choose another name, or overwrite it with force.")


def check_table_name(path: Path) -> None:
    """Check that a table's suffix says how to write it, and that what writes it is there."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a table ends in {' or '.join(SUFFIXES)}.")
    if path.suffix == ".parquet":
        with needs_extra("Reading and writing parquet", "runs"):
            import pyarrow  # noqa: F401


def check_no_snapshots(path: Path) -> None:
    """Check that no other table's .npz would be taken for that of a table without one."""
    beside = path.with_suffix(".npz")
    if beside.exists():
        raise ValueError(f"{beside} belongs to another table; choose another name or remove it.")


def write_table(path: str | Path, table: pd.DataFrame, snapshots: Snapshots | None = None) -> None:
    """Write a table, and beside it under the same name .npz what a picture needs.

    The settings travel in both: in the table's metadata (parquet) and in the .npz. A curve against
    sigma has no snapshots. The .npz holds the digest of its table, so that a killed process leaves
    both old or both new; where two write one name at once the second waits.

    Raises
    ------
    ValueError
        For another suffix than .parquet and .csv, or an .npz of the same name that would be taken
        for this table's.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, information_flow, open_run
    >>> from skinfo.flow import read_table, write_table
    >>> run = open_run({(1, "hidden"): np.eye(4)})
    >>> table = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    >>> path = Path(tempfile.mkdtemp()) / "flow.parquet"
    >>> write_table(path, table)
    >>> again, snapshots = read_table(path)
    >>> again.equals(table), snapshots is None
    (True, True)
    """
    path = Path(path)
    check_table_name(path)
    table = table.copy()
    archive: dict[str, Any] = {}
    if snapshots is None:
        check_no_snapshots(path)
    else:
        archive = {name: v for name, v in vars(snapshots).items() if isinstance(v, np.ndarray)}
        archive |= {f"loss:{name}": values for name, values in snapshots.losses.items()}
        archive["layers"] = json.dumps(snapshots.layers)
        archive["settings"] = json.dumps(snapshots.settings)
        table.attrs.update(snapshots.settings)
    content = _as_bytes(table, path.suffix)
    beside, coming = path.with_suffix(".npz"), _coming(path)
    lock = path.with_name(f".{path.name}.lock")
    with only_writer(lock, path, wait=_PATIENCE, keep=False):
        names = (path.name, beside.name, coming.name)
        remove_leftovers(path.parent, "|".join(map(re.escape, names)))
        coming.unlink(missing_ok=True)
        if archive:
            with write_atomically(coming) as file:
                np.savez_compressed(file, allow_pickle=False, table=_digest(content), **archive)
        try:
            with write_atomically(path) as file:
                file.write(content)
        except BaseException:
            coming.unlink(missing_ok=True)
            raise
        _take_name(coming, beside)


def _as_bytes(table: pd.DataFrame, suffix: str) -> bytes:
    if suffix == ".parquet":
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        return file.getvalue()
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        # Unquoted it would begin a row; Python quotes it by itself from 3.13 on.
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    return text.encode()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _coming(path: Path) -> Path:
    """What is beside a table from before the table has its name until it has its own."""
    return path.with_name(f".{path.name}.npz")


def _take_name(coming: Path, beside: Path) -> None:
    # Where it cannot, or a reader was first, it is found under either name.
    with suppress(OSError):
        os.replace(coming, beside)


def read_table(path: str | Path) -> tuple[pd.DataFrame, Snapshots | None]:
    r"""Read a table and, where it is there, what its picture needs.

    Returns
    -------
    table : DataFrame
        One row per number, as :func:`skinfo.information_flow` gives it.
    snapshots : Snapshots or None
        What was written beside it.

    Raises
    ------
    ValueError
        If there is no such table, it cannot be read, or a column is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skinfo.flow import read_table
    >>> path = Path(tempfile.mkdtemp()) / "flow.csv"
    >>> _ = path.write_text(
    ...     "epoch,layer,estimator,quantity,value,stderr,lower,upper,unit,notes\n"
    ...     "1,layer1,noisy,mutual_info,8.249,0.003,8.23,8.26,nats,\n"
    ... )
    >>> table, snapshots = read_table(path)
    >>> table["value"].tolist(), snapshots is None
    ([8.249], True)
    """
    path = Path(path)
    check_table_name(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such table.")
    content = path.read_bytes()
    try:
        if path.suffix == ".csv":
            texts = dict.fromkeys(("sigma", *_WORDS, *_NUMBERS), str)
            table = pd.read_csv(io.BytesIO(content), dtype=texts, keep_default_na=False)
            for name in table.columns.intersection(["sigma", *_NUMBERS]):
                table[name] = _exact(table[name])
        else:
            table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    table = checked_table(table, str(path))
    beside, coming = path.with_suffix(".npz"), _coming(path)
    for file in (coming, beside):
        archive = _read_archive(file, path)
        if archive.pop("table", None) == _digest(content):
            if file == coming:
                _take_name(coming, beside)
            snapshots = Snapshots(**archive)
            table.attrs.update(snapshots.settings)
            return table, snapshots
    if path.read_bytes() != content:
        # Both were replaced meanwhile.
        return read_table(path)
    if beside.exists():
        raise ValueError(
            f"{beside} does not belong to {path.name} as it is now: one of them was changed. "
            f"Remove {beside.name} to go on without what it holds, or measure again."
        )
    return table, None


def _exact(texts: pd.Series) -> pd.Series:
    """Numbers to the last bit, which pandas reads from 3.1 on; texts where one is no number."""
    texts = texts.astype(object).where(~texts.isin(["", "nan", "NaN"]), np.nan)
    numbers = _numbers(texts)
    return texts if (numbers.isna() & texts.notna()).any() else numbers


def _read_archive(file: Path, path: Path) -> dict[str, Any]:
    """Fields of the snapshots, and the digest of their table; empty where there is no file."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            fields: dict[str, Any] = dict(archive)
        fields |= {name: json.loads(str(fields[name])) for name in ("layers", "settings")}
        names = [name for name in fields if name.startswith("loss:")]
        fields["losses"] = {name.removeprefix("loss:"): fields.pop(name) for name in names}
        return fields | {"table": str(fields["table"])}
    except FileNotFoundError:
        return {}
    except Exception as error:
        raise ValueError(
            f"{file} cannot be read as what belongs to {path.name}: {error!r}; remove it, or "
            "measure again."
        ) from error


def is_curve(table: pd.DataFrame) -> bool:
    """Tell curves against sigma, of rows or of a run, from a flow table.

    Examples
    --------
    >>> import pandas as pd
    >>> is_curve(pd.DataFrame({"sigma": [0.1], "value": [2.0]}))
    True
    """
    return "sigma" in table


def _columns_of(table: pd.DataFrame, *, curve: bool) -> tuple[str, ...]:
    """Columns that a table has to have; those of curves of a run name its layers too."""
    if not curve:
        return COLUMNS
    return (*COLUMNS, "sigma") if "epoch" in table else CURVE_COLUMNS


def checked_table(
    table: pd.DataFrame, where: str, *, curve: bool | None = None, advice: str = _ONE_ROW
) -> pd.DataFrame:
    """Check a table where it is taken, and give its numbers as such and what is empty as "".

    Raises
    ------
    ValueError
        As :func:`check_columns` and :func:`check_once`, and for a table without rows.

    Examples
    --------
    >>> curve = pd.DataFrame({name: ["0.5"] for name in CURVE_COLUMNS})
    >>> float(checked_table(curve, "curve.csv")["value"].sum())
    0.5
    """
    check_columns(table, where, curve=curve)
    check_once(table, where, advice)
    if table.empty:
        raise ValueError(f"{where} has no rows.")
    numbers = {n: pd.to_numeric(table[n]) for n in table if n in ("epoch", "sigma", *_NUMBERS)}
    empty = [n for n in table if n in _WORDS and table[n].isna().any()]
    words = {n: table[n].astype(object).fillna("") for n in empty}
    return table.assign(**numbers, **words)


def check_columns(table: pd.DataFrame, where: str, *, curve: bool | None = None) -> None:
    """Check that a table has all columns of a flow table, or of a curve against sigma.

    Which of the two is told from its columns, unless ``curve`` says so; the error calls the table
    ``where`` and names the first column that is missing, or the first cell that is not what its
    column holds.

    Examples
    --------
    >>> curve = pd.DataFrame({name: [0.5] for name in CURVE_COLUMNS}).assign(sigma=["much"])
    >>> check_columns(curve, "curve.csv")
    Traceback (most recent call last):
    ValueError: curve.csv, row 1, column 'sigma': expected a positive number; got 'much'.
    """
    curve = is_curve(table) if curve is None else curve
    kind = "curve against sigma" if curve else "flow table"
    missing = [name for name in _columns_of(table, curve=curve) if name not in table]
    if not curve and not missing and is_curve(table):
        raise ValueError(f"{where} holds curves against sigma and is not a flow table.")
    if missing:
        raise ValueError(f"{where} is not a {kind}: it has no column {missing[0]!r}.")
    for name, values in table.items():
        if name in ("epoch", "sigma", *_NUMBERS):
            numbers = _numbers(values)
            wrong, expected = numbers.isna() & values.notna(), "a number, or nothing"
            if name == "epoch":
                whole = numbers.between(0, LAST_EPOCH) & (numbers % 1 == 0)
                wrong, expected = ~whole, "a whole number from 0 to 2**53"
            elif name == "sigma":
                wrong, expected = ~(numbers.gt(0) & numbers.lt(np.inf)), "a positive number"
        elif name in _WORDS:
            texts = pd.Series([isinstance(v, str) for v in values], values.index, dtype=bool)
            wrong, expected = ~texts & values.notna(), "text"
            if name == "layer":
                wrong, expected = ~texts | values.eq(""), "the name of a layer"
        else:
            continue
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{where}, row {row + 1}, column {name!r}: expected {expected}; got "
                f"{plain(values.iloc[row])!r}."
            )


def _numbers(values: pd.Series) -> pd.Series:
    """The numbers of a column; NaN for anything else, truth values and complex numbers too."""

    def number(value: Any) -> float:
        if isinstance(value, Real | str) and not isinstance(value, bool | np.bool_):
            with suppress(ValueError):
                return float(value)
        return np.nan

    return values if values.dtype.kind in "iuf" else values.map(number).astype(np.float64)


def check_once(table: pd.DataFrame, where: str, advice: str) -> None:
    """Check that a flow table, or a curve, holds every number once; unread rows may repeat.

    Examples
    --------
    >>> import pandas as pd
    >>> curve = pd.DataFrame({"sigma": [0.1, 0.1], "quantity": ["mutual_info", "mutual_info"]})
    >>> check_once(curve, "curve.csv", "Draw one.")
    Traceback (most recent call last):
    ValueError: curve.csv holds sigma 0.1, mutual_info more than once. Draw one.
    """
    keys = KEYS if not is_curve(table) else (*KEYS, "sigma") if "epoch" in table else CURVE_KEYS
    twice = table[table.duplicated(list(keys)) & table["quantity"].ne(UNREAD)]
    if len(twice):
        raise ValueError(f"{where} holds {describe_row(twice.iloc[0])} more than once. {advice}")


def describe_row(row: pd.Series) -> str:
    """Name a number: its epoch, layer, estimator and quantity; of a curve, its sigma."""
    if "epoch" not in row:
        return f"sigma {row['sigma']}, {row['quantity']}"
    epoch = f"{row['epoch']:.15g}" if isinstance(row["epoch"], Real) else row["epoch"]
    sigma = f", sigma {row['sigma']}" if "sigma" in row else ""
    named = f"epoch {epoch}, layer {row['layer']!r}{sigma}, {row['estimator']} {row['quantity']}"
    return named.strip()


def count_unmeasured(table: pd.DataFrame) -> int:
    """Count the rows of a table, or of a pooled one, that could not be read or measured.

    Examples
    --------
    >>> import pandas as pd
    >>> count_unmeasured(pd.DataFrame({"notes": ["", "read error; seeds missing", "saturated"]}))
    1
    """
    return int(table["notes"].str.contains("read error|not measured").sum())
