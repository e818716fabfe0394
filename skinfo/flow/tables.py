"""Tables on disk, and beside a flow table its snapshots."""

from __future__ import annotations

import json
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo._files import write_atomically
from skinfo.errors import needs_extra
from skinfo.flow.snapshots import Snapshots
from skinfo.quantities import COLUMNS, CURVE_COLUMNS

_WORDS = ("layer", "estimator", "quantity", "unit", "notes", "randomisations", "seed_values")
# Empty in a file where they are not known.
_NUMBERS = (
    "value", "stderr", "lower", "upper", "spread", "bias_below", "bias_above", "stderr_sampling",
    "stderr_other_inputs",
)  # fmt: skip

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
    sigma has no snapshots.

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
    with write_atomically(path) as file:
        if path.suffix == ".csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
    if archive:
        with write_atomically(path.with_suffix(".npz")) as file:
            np.savez_compressed(file, allow_pickle=False, **archive)


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
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(
                path,
                dtype=dict.fromkeys(_WORDS, str),
                keep_default_na=False,
                na_values={name: ["", "nan", "NaN"] for name in _NUMBERS},
            )
        else:
            table = pd.read_parquet(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    check_columns(table, str(path))
    beside = path.with_suffix(".npz")
    if not beside.is_file():
        return table, None
    try:
        with beside.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        texts = {name: json.loads(str(arrays.pop(name))) for name in ("layers", "settings")}
        names = [name for name in arrays if name.startswith("loss:")]
        losses = {name.removeprefix("loss:"): arrays.pop(name) for name in names}
        table.attrs.update(texts["settings"])
        return table, Snapshots(**arrays, **texts, losses=losses)
    except Exception as error:
        raise ValueError(
            f"{beside} cannot be read as what belongs to {path.name}: {error!r}; remove it, or "
            "measure again."
        ) from error


def is_curve(table: pd.DataFrame) -> bool:
    """Tell a curve against sigma from a flow table.

    Examples
    --------
    >>> import pandas as pd
    >>> is_curve(pd.DataFrame({"sigma": [0.1], "value": [2.0]}))
    True
    """
    return "sigma" in table and "epoch" not in table


def check_columns(table: pd.DataFrame, where: str, *, curve: bool | None = None) -> None:
    """Check that a table has all columns of a flow table, or of a curve against sigma.

    Which of the two is told from its columns, unless ``curve`` says so; the error calls the table
    ``where`` and names the first column that is missing.
    """
    curve = is_curve(table) if curve is None else curve
    kind, columns = ("curve against sigma", CURVE_COLUMNS) if curve else ("flow table", COLUMNS)
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"{where} is not a {kind}: it has no column {missing[0]!r}.")


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
    keys = CURVE_KEYS if is_curve(table) else KEYS
    twice = table[table.duplicated(list(keys)) & table["quantity"].ne(UNREAD)]
    if len(twice):
        raise ValueError(f"{where} holds {describe_row(twice.iloc[0])} more than once. {advice}")


def describe_row(row: pd.Series) -> str:
    """Name a number: its epoch, layer, estimator and quantity; of a curve, its sigma."""
    if "epoch" not in row:
        return f"sigma {row['sigma']}, {row['quantity']}"
    epoch = f"{row['epoch']:.15g}" if isinstance(row["epoch"], Real) else row["epoch"]
    return f"epoch {epoch}, layer {row['layer']!r}, {row['estimator']} {row['quantity']}".strip()


def count_unmeasured(table: pd.DataFrame) -> int:
    """Count the rows of a table, or of a pooled one, that could not be read or measured.

    Examples
    --------
    >>> import pandas as pd
    >>> count_unmeasured(pd.DataFrame({"notes": ["", "read error; seeds missing", "saturated"]}))
    1
    """
    return int(table["notes"].str.contains("read error|not measured").sum())
